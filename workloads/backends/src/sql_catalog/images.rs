//! Writes to the table of images.

use async_trait::async_trait;
use medindex_proto::ImageId;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::faults::is_unique_violation;
use super::rows::{parse, read_id, signed};
use super::writer::{Write, WriteError};
use crate::catalog::{
    Acceptance, CatalogError, FailedImage, ImageDescription, ImageStatus, IndexedImage, NewImage, Result,
};

const INSERT: &str = "INSERT INTO images (id, organisation, row_key, sha256, md5, name, label, content_type, \
     format, bytes, status, image_type, modality, body_part, study_uid, series_uid, instance_uid, patient_id, \
     study_date, acquired_ms, width, height, frames, transfer_syntax, received_at_ms, sidecar, generation) \
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'received', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)";

const FIND_BY_CONTENT: &str = "SELECT id, status FROM images WHERE organisation = ? AND sha256 = ?";

const RETRY: &str = "UPDATE images SET status = 'received', reason = NULL, received_at_ms = ?, \
     sidecar = COALESCE(?, sidecar) WHERE id = ? AND status = 'failed'";

const MARK_INDEXED: &str = "UPDATE images SET status = 'indexed', reason = NULL, indexed_at_ms = ?, \
     generation = ? WHERE id = ? AND status <> 'deleting'";

const DESCRIBE: &str = "UPDATE images SET image_type = ?, modality = ?, body_part = ?, study_uid = ?, \
     series_uid = ?, instance_uid = ?, patient_id = ?, study_date = ?, acquired_ms = ?, width = ?, height = ?, \
     frames = ?, transfer_syntax = ? WHERE id = ? AND status <> 'deleting'";

const MARK_FAILED: &str =
    "UPDATE images SET status = 'failed', reason = ? WHERE id = ? AND status <> 'deleting'";

const SET_LABEL: &str = "UPDATE images SET label = ? WHERE id = ? AND label IS NULL AND status <> 'deleting'";

const MARK_DELETING: &str = "UPDATE images SET status = 'deleting' WHERE id = ?";

const DELETE: &str = "DELETE FROM images WHERE id = ?";

/// See [`crate::Catalog::accept_images`].
pub(super) struct AcceptImages(pub(super) Vec<NewImage>);

#[async_trait]
impl Write for AcceptImages {
    type Output = Vec<Acceptance>;
    const WHAT: &'static str = "images";

    async fn run(&self, connection: &mut AnyConnection) -> Result<Self::Output, WriteError> {
        let mut answers = Vec::with_capacity(self.0.len());
        for image in &self.0 {
            answers.push(accept(connection, image).await?);
        }
        Ok(answers)
    }
}

async fn accept(connection: &mut AnyConnection, image: &NewImage) -> Result<Acceptance, WriteError> {
    match insert(connection, image).await {
        Ok(()) => Ok(Acceptance::New(image.id)),
        Err(error) if is_unique_violation(&error) => accept_again(connection, image).await,
        Err(error) => Err(error.into()),
    }
}

async fn insert(connection: &mut AnyConnection, image: &NewImage) -> Result<(), sqlx::Error> {
    let query = sqlx::query(INSERT)
        .bind(image.id.to_string())
        .bind(&image.organisation)
        .bind(image.row_key.as_str())
        .bind(hex::encode(image.sha256))
        .bind(hex::encode(image.md5))
        .bind(&image.name)
        .bind(&image.label)
        .bind(&image.content_type)
        .bind(&image.format)
        .bind(signed(image.bytes));
    let query = bind_description(query, &image.description).bind(image.received_at_ms).bind(&image.sidecar);
    query.execute(connection).await?;
    Ok(())
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

fn bind_description<'q>(query: Query<'q>, description: &'q ImageDescription) -> Query<'q> {
    query
        .bind(&description.image_type)
        .bind(&description.modality)
        .bind(&description.body_part)
        .bind(&description.study_uid)
        .bind(&description.series_uid)
        .bind(&description.instance_uid)
        .bind(&description.patient_id)
        .bind(&description.study_date)
        .bind(description.acquired_ms)
        .bind(description.width.map(i64::from))
        .bind(description.height.map(i64::from))
        .bind(description.frames.map(i64::from))
        .bind(&description.transfer_syntax)
}

/// The organisation has these bytes, or the id is taken.
async fn accept_again(connection: &mut AnyConnection, image: &NewImage) -> Result<Acceptance, WriteError> {
    let found = sqlx::query(FIND_BY_CONTENT)
        .bind(&image.organisation)
        .bind(hex::encode(image.sha256))
        .fetch_optional(&mut *connection)
        .await?;
    let Some((id, status)) = found.map(|row| read_status(&row)).transpose()? else {
        return Err(CatalogError::IdTaken(image.id).into());
    };
    match status {
        // The same offer once more, after an answer that was lost.
        ImageStatus::Received if id == image.id => Ok(Acceptance::New(id)),
        ImageStatus::Received | ImageStatus::Indexed => Ok(Acceptance::Duplicate(id)),
        ImageStatus::Deleting => Ok(Acceptance::BeingDeleted(id)),
        ImageStatus::Failed => {
            let retry =
                sqlx::query(RETRY).bind(image.received_at_ms).bind(&image.sidecar).bind(id.to_string());
            let changed = retry.execute(connection).await?.rows_affected();
            // Another process may have been faster.
            Ok(if changed == 0 { Acceptance::Duplicate(id) } else { Acceptance::Retry(id) })
        }
    }
}

fn read_status(row: &AnyRow) -> Result<(ImageId, ImageStatus), WriteError> {
    let id = read_id(row.try_get(0)?)?;
    Ok((id, parse("status", row.try_get(1)?, |text| text.parse().ok())?))
}

/// See [`crate::Catalog::mark_indexed`].
pub(super) struct MarkIndexed(pub(super) Vec<IndexedImage>);

#[async_trait]
impl Write for MarkIndexed {
    type Output = ();
    const WHAT: &'static str = "indexed images";

    async fn run(&self, connection: &mut AnyConnection) -> Result<(), WriteError> {
        for image in &self.0 {
            let id = image.id.to_string();
            sqlx::query(MARK_INDEXED)
                .bind(image.indexed_at_ms)
                .bind(signed(image.generation))
                .bind(&id)
                .execute(&mut *connection)
                .await?;
            if let Some(description) = &image.description {
                bind_description(sqlx::query(DESCRIBE), description)
                    .bind(&id)
                    .execute(&mut *connection)
                    .await?;
            }
        }
        Ok(())
    }
}

/// See [`crate::Catalog::mark_failed`].
pub(super) struct MarkFailed(pub(super) Vec<FailedImage>);

#[async_trait]
impl Write for MarkFailed {
    type Output = ();
    const WHAT: &'static str = "failed images";

    async fn run(&self, connection: &mut AnyConnection) -> Result<(), WriteError> {
        for image in &self.0 {
            let query = sqlx::query(MARK_FAILED).bind(&image.reason).bind(image.id.to_string());
            query.execute(&mut *connection).await?;
        }
        Ok(())
    }
}

/// See [`crate::Catalog::set_labels`].
pub(super) struct SetLabels(pub(super) Vec<(ImageId, String)>);

#[async_trait]
impl Write for SetLabels {
    type Output = ();
    const WHAT: &'static str = "labels";

    async fn run(&self, connection: &mut AnyConnection) -> Result<(), WriteError> {
        for (id, label) in &self.0 {
            sqlx::query(SET_LABEL).bind(label).bind(id.to_string()).execute(&mut *connection).await?;
        }
        Ok(())
    }
}

/// See [`crate::Catalog::mark_deleting`].
pub(super) struct MarkDeleting(pub(super) Vec<ImageId>);

#[async_trait]
impl Write for MarkDeleting {
    type Output = Vec<ImageId>;
    const WHAT: &'static str = "images to be deleted";

    async fn run(&self, connection: &mut AnyConnection) -> Result<Self::Output, WriteError> {
        let mut there = Vec::new();
        for id in &self.0 {
            let query = sqlx::query(MARK_DELETING).bind(id.to_string());
            if query.execute(&mut *connection).await?.rows_affected() > 0 {
                there.push(*id);
            }
        }
        Ok(there)
    }
}

/// See [`crate::Catalog::delete_images`].
pub(super) struct DeleteImages(pub(super) Vec<ImageId>);

#[async_trait]
impl Write for DeleteImages {
    type Output = u64;
    const WHAT: &'static str = "deleted images";

    async fn run(&self, connection: &mut AnyConnection) -> Result<u64, WriteError> {
        let mut deleted = 0;
        for id in &self.0 {
            let query = sqlx::query(DELETE).bind(id.to_string());
            deleted += query.execute(&mut *connection).await?.rows_affected();
        }
        Ok(deleted)
    }
}
