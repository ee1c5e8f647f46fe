//! Repairing a data folder that lost its image store or its catalog, or got an older one back.
//!
//! What the image store and the queue hold is written into the catalog again; what the catalog has and they do not is marked
//! failed, so that the next upload of the same file is taken as new. Nothing is invented and no file is removed but second copies of the
//! same bytes. It may be run again, and changes nothing where nothing is wrong. The index is made anew afterwards by the caller.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use bytes::Bytes;
use medindex_backends::catalog::{
    Cursor, FailedImage, ImageFilter, ImageStatus, IndexedImage, ListOrder, MAX_LONG_TEXT, NewImage,
    OperationFilter,
};
use medindex_backends::{Catalog, Columns, ImageRow};
use medindex_imaging::Limits;
use medindex_proto::identity::{ImageId, RowKey};
use medindex_proto::message::Message;
use medindex_proto::messages::ImageUpload;
use medindex_proto::names::TOPIC_IMAGE_UPLOAD;
use rayon::prelude::*;
use serde::Serialize;

use crate::backend_error::BackendError;
use crate::catalog_row::describe;
use crate::core::{Core, Ports, now_ms};
use crate::digest::digest_content;
use crate::ingest::embed::GROUP;
use crate::operations::{Action, outcome};
use crate::row_meta::RowMeta;
use crate::salvage::{Read, get_past_damage, lacks_vectors, scan_past_damage};
use crate::sidecar::Sidecar;

/// Records looked at together.
const PAGE: usize = 512;
/// Files read together.
const FILES: usize = 16;

/// An image that a repair could not save.
#[derive(Debug, Clone, Serialize)]
pub struct LostImage {
    /// Its id.
    pub id: ImageId,
    /// Name of the file, where it is known.
    pub name: String,
    /// Why, and what to do.
    pub reason: String,
}

/// What a repair did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RepairReport {
    /// Where a damaged catalog is kept since; `None` when it was whole or gone.
    pub catalog_set_aside: Option<PathBuf>,
    /// Where a damaged store is kept since; `None` when its pages were whole, or it was gone.
    pub store_set_aside: Option<PathBuf>,
    /// Images whose catalog records were written again.
    pub recovered: u64,
    /// Images whose files are gone: import them again.
    pub lost: Vec<LostImage>,
    /// Images in the image store that cannot be read.
    pub unreadable: Vec<LostImage>,
    /// Images that can be found now.
    pub searchable: u64,
}

/// Row keys of all images that a catalog has.
pub(crate) async fn known_rows(catalog: &dyn Catalog) -> Result<Vec<RowKey>, BackendError> {
    let (mut known, mut after) = (Vec::new(), None);
    loop {
        let page = catalog.list_images(&ImageFilter::default(), ListOrder::OldestFirst, after, PAGE).await?;
        known.extend(page.items.into_iter().map(|record| record.image.row_key));
        after = page.next;
        if after.is_none() {
            return Ok(known);
        }
    }
}

/// Makes catalog and image store fit each other.
pub(crate) async fn repair(core: &Core) -> Result<RepairReport, BackendError> {
    let (ports, partitions, settings) = (&core.ports, core.partitions, &core.settings);
    let deleted = deleted_images(ports).await?;
    let dimension = core.model().embedding.dimension;
    let report = RepairReport::default();
    let mut repair = Repair { ports, limits: settings.limits, dimension, deleted, report };
    repair.recall_uploads().await?;
    for partition in 0..partitions {
        repair.recall_rows(partition).await?;
    }
    repair.find_lost().await?;
    Ok(repair.report)
}

/// Images that somebody deleted: what is left of them is not to come back.
async fn deleted_images(ports: &Ports) -> Result<HashSet<String>, BackendError> {
    let filter =
        OperationFilter { action: Some(Action::Delete.name().to_owned()), ..OperationFilter::default() };
    let (mut deleted, mut after) = (HashSet::new(), None);
    loop {
        let page = ports.catalog.list_operations(&filter, after, PAGE).await?;
        let done = page.items.into_iter().filter(|operation| operation.outcome == outcome::DELETED);
        deleted.extend(done.map(|operation| operation.subject));
        after = page.next;
        if after.is_none() {
            return Ok(deleted);
        }
    }
}

struct Repair<'a> {
    ports: &'a Ports,
    limits: Limits,
    /// Components of a vector.
    dimension: usize,
    deleted: HashSet<String>,
    report: RepairReport,
}

impl Repair<'_> {
    /// Those of some images that the catalog neither has nor had until they were deleted.
    async fn unknown(&self, ids: Vec<ImageId>) -> Result<HashSet<ImageId>, BackendError> {
        let records = self.ports.catalog.images(&ids).await?;
        let unknown = ids.into_iter().zip(records).filter(|(id, record)| {
            record.is_none() && (self.deleted.is_empty() || !self.deleted.contains(&id.to_string()))
        });
        Ok(unknown.map(|(id, _)| id).collect())
    }

    /// Writes the records of uploads that wait in the queue; the embedder takes them from there.
    async fn recall_uploads(&mut self) -> Result<(), BackendError> {
        let queue = &self.ports.queue;
        let ends = queue.end_offsets(TOPIC_IMAGE_UPLOAD).await?;
        let mut from = queue.first_offsets(TOPIC_IMAGE_UPLOAD).await?;
        for (partition, done) in queue.committed(TOPIC_IMAGE_UPLOAD, GROUP).await? {
            let first = from.entry(partition).or_insert(0);
            *first = done.max(*first);
        }
        for (partition, end) in ends {
            let mut offset = from.get(&partition).copied().unwrap_or(0);
            while offset < end {
                let deliveries = queue.read_from(TOPIC_IMAGE_UPLOAD, partition, offset, FILES).await?;
                let Some(last) = deliveries.last() else { break };
                offset = last.offset + 1;
                // One that cannot be read is the embedder's to bury.
                let uploads = deliveries.iter().filter_map(|delivery| read_upload(&delivery.payload));
                let uploads: BTreeMap<ImageId, NewImage> = uploads.map(|image| (image.id, image)).collect();
                let unknown = self.unknown(uploads.keys().copied().collect()).await?;
                let images: Vec<NewImage> =
                    uploads.into_values().filter(|image| unknown.contains(&image.id)).collect();
                self.report.recovered += images.len() as u64;
                self.ports.catalog.accept_images(images).await?;
            }
        }
        Ok(())
    }

    /// Writes the records of a partition's embedded images.
    async fn recall_rows(&mut self, partition: u32) -> Result<(), BackendError> {
        let mut after: Option<RowKey> = None;
        loop {
            let store = self.ports.store.as_ref();
            let page = scan_past_damage(store, partition, Columns::META, after.as_ref(), PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            let keys: Vec<RowKey> = page.into_iter().map(|(row_key, _)| row_key).collect();
            let unknown = self.unknown(keys.iter().map(RowKey::image_id).collect()).await?;
            let keys: Vec<RowKey> =
                keys.into_iter().filter(|row_key| unknown.contains(&row_key.image_id())).collect();
            for keys in keys.chunks(FILES) {
                self.recall(keys).await?;
            }
        }
    }

    async fn recall(&mut self, keys: &[RowKey]) -> Result<(), BackendError> {
        let store = self.ports.store.as_ref();
        let rows = get_past_damage(store, keys, Columns::BYTES | Columns::INFORMATION).await?;
        let (keys, limits, dimension) = (keys.to_vec(), self.limits, self.dimension);
        let read = tokio::task::spawn_blocking(move || -> Vec<Result<Found, LostImage>> {
            let rows = keys.into_par_iter().zip(rows);
            rows.map(|(row_key, row)| match row {
                Ok(row) => read_row(row_key, row.unwrap_or_default(), &limits, dimension),
                Err(found) => {
                    let reason = format!("{found}; upload it again");
                    Err(LostImage { id: row_key.image_id(), name: String::new(), reason })
                }
            })
            .collect()
        });
        let (mut images, mut generations) = (Vec::new(), Vec::new());
        for outcome in read.await? {
            match outcome {
                Ok(found) => {
                    images.push(found.image);
                    generations.push(found.generation);
                }
                Err(unreadable) => self.report.unreadable.push(unreadable),
            }
        }
        let own: Vec<(ImageId, RowKey)> =
            images.iter().map(|image| (image.id, image.row_key.clone())).collect();
        let acceptances = self.ports.catalog.accept_images(images).await?;
        let (mut indexed, mut copies) = (Vec::new(), Vec::new());
        for (((id, row_key), generation), acceptance) in own.into_iter().zip(generations).zip(acceptances) {
            if acceptance.id() == id {
                indexed.push(IndexedImage { id, indexed_at_ms: now_ms(), generation, description: None });
            } else {
                copies.push(row_key);
            }
        }
        self.report.recovered += indexed.len() as u64;
        self.ports.catalog.mark_indexed(indexed).await?;
        self.ports.store.delete_many(&copies).await?;
        Ok(())
    }

    /// Reads stored files whole and compares them with what was uploaded.
    async fn compare_files(
        &self,
        keys: &[RowKey],
        expected: &[[u8; 32]],
    ) -> Result<Vec<Compared>, BackendError> {
        let columns = Columns::BYTES | Columns::INFORMATION;
        let rows = get_past_damage(self.ports.store.as_ref(), keys, columns).await?;
        let (expected, dimension) = (expected.to_vec(), self.dimension);
        let compared = tokio::task::spawn_blocking(move || {
            let rows = rows.into_par_iter().zip(expected);
            rows.map(|(row, expected)| Compared::of(row, &expected, dimension)).collect()
        });
        Ok(compared.await?)
    }

    /// Marks images failed that the catalog calls indexed and the image store does not have, or not as they were uploaded.
    async fn find_lost(&mut self) -> Result<(), BackendError> {
        let filter = ImageFilter { status: Some(ImageStatus::Indexed), ..ImageFilter::default() };
        let mut after: Option<Cursor> = None;
        loop {
            let catalog = &self.ports.catalog;
            let page = catalog.list_images(&filter, ListOrder::OldestFirst, after, PAGE).await?;
            let keys: Vec<RowKey> = page.items.iter().map(|record| record.image.row_key.clone()).collect();
            let expected: Vec<[u8; 32]> = page.items.iter().map(|record| record.image.sha256).collect();
            let mut outcomes = Vec::with_capacity(keys.len());
            for (keys, expected) in keys.chunks(FILES).zip(expected.chunks(FILES)) {
                outcomes.extend(self.compare_files(keys, expected).await?);
            }
            let mut failed = Vec::new();
            for (record, outcome) in page.items.into_iter().zip(outcomes) {
                let NewImage { id, name, .. } = record.image;
                let (reason, list) = match outcome {
                    Compared::Whole => continue,
                    Compared::Lost => {
                        let reason = "its file was lost from the image store; upload it again";
                        (reason.to_owned(), &mut self.report.lost)
                    }
                    Compared::Unreadable(found) => {
                        (format!("{found}; upload it again"), &mut self.report.unreadable)
                    }
                };
                failed.push(FailedImage { id, reason: reason.chars().take(MAX_LONG_TEXT).collect() });
                list.push(LostImage { id, name, reason });
            }
            catalog.mark_failed(failed).await?;
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}

/// What became of a stored image.
enum Compared {
    Whole,
    Lost,
    Unreadable(String),
}

impl Compared {
    fn of(row: Read<Option<ImageRow>>, expected: &[u8; 32], dimension: usize) -> Self {
        if let Ok(Some(row)) = &row
            && let Some(damage) = lacks_vectors(row, dimension)
        {
            return Self::Unreadable(damage);
        }
        match row {
            Ok(Some(ImageRow { bytes: Some(bytes), information: Some(_) })) => {
                if digest_content(&bytes).sha256 == *expected {
                    Self::Whole
                } else {
                    Self::Unreadable("its file is not the one that was uploaded".to_owned())
                }
            }
            Ok(_) => Self::Lost,
            Err(damage) => Self::Unreadable(damage),
        }
    }
}

fn read_upload(payload: &Bytes) -> Option<NewImage> {
    let upload = ImageUpload::read(payload).ok()?;
    let bytes = match &upload.content {
        Some(medindex_proto::messages::image_upload::Content::Inline(bytes)) => bytes.len() as u64,
        Some(medindex_proto::messages::image_upload::Content::StoredBytes(bytes)) => *bytes,
        None => return None,
    };
    Some(NewImage {
        id: ImageId::parse(&upload.image_id).ok()?,
        row_key: RowKey::parse(&upload.row_key).ok()?,
        organisation: upload.organisation,
        sha256: upload.sha256.as_ref().try_into().ok()?,
        md5: upload.md5.as_ref().try_into().ok()?,
        name: upload.name,
        label: upload.label,
        content_type: upload.content_type,
        format: upload.format,
        bytes,
        received_at_ms: upload.received_at_ms,
        // The embedder reads the header again.
        description: medindex_backends::catalog::ImageDescription::default(),
        sidecar: upload.sidecar,
    })
}

/// A stored image without a record.
struct Found {
    image: NewImage,
    generation: u64,
}

fn read_row(row_key: RowKey, row: ImageRow, limits: &Limits, dimension: usize) -> Result<Found, LostImage> {
    let id = row_key.image_id();
    let lost = |name: &str, reason: String| LostImage { id, name: name.to_owned(), reason };
    if let Some(damage) = lacks_vectors(&row, dimension) {
        return Err(lost("", format!("{damage}; upload it again")));
    }
    let information = row.information.unwrap_or_default();
    let meta = RowMeta::read(&information.meta_json)
        .map_err(|error| lost("", format!("its column MI:meta cannot be read: {error}")))?;
    let Some(bytes) = row.bytes else {
        return Err(lost(&meta.name, "its file is not in the image store; upload it again".to_owned()));
    };
    let mut info = medindex_imaging::inspect(&bytes, limits)
        .map_err(|error| lost(&meta.name, format!("its file cannot be read: {error}")))?;
    let sidecar = meta.sidecar.map(|sidecar| sidecar.to_string());
    if let Some(sidecar) = sidecar.as_deref().and_then(|text| serde_json::from_str::<Sidecar>(text).ok()) {
        sidecar.overrule(&mut info);
    }
    let digests = digest_content(&bytes);
    let image = NewImage {
        id,
        row_key,
        organisation: meta.organisation,
        sha256: digests.sha256,
        md5: digests.md5,
        name: meta.name,
        label: meta.label,
        content_type: info.format.media_type().to_owned(),
        format: info.format.name().to_owned(),
        bytes: bytes.len() as u64,
        received_at_ms: meta.received_at_ms,
        description: describe(&info),
        sidecar,
    };
    Ok(Found { image, generation: information.generation })
}
