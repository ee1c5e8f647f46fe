//! Reads of the catalog.

use std::collections::HashMap;

use medindex_proto::ImageId;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyPool, AssertSqlSafe, QueryBuilder, Row};

use super::faults::Dialect;
use super::pools::{give_back, within};
use super::rows::{
    IMAGE_COLUMNS, RowError, parse, read_alarm, read_id, read_image, read_operation, unsigned,
};
use crate::catalog::{
    Alarm, Cursor, ImageCounts, ImageFilter, ImageRecord, ListOrder, MAX_PAGE, Operation, OperationFilter,
    Page, Result,
};

/// Most ids in one query, below every database's limit of parameters.
const IDS_PER_QUERY: usize = 512;

/// Reads rows with a pool.
pub(super) struct Reader<'a> {
    pub(super) pool: &'a AnyPool,
    pub(super) dialect: &'a Dialect,
    /// What is read, for error messages.
    pub(super) what: &'static str,
}

impl Reader<'_> {
    async fn rows<T>(
        &self,
        mut query: QueryBuilder<Any>,
        read: impl Fn(&AnyRow) -> Result<T, RowError>,
    ) -> Result<Vec<T>> {
        let rows = self.fetch(query.build()).await?;
        rows.iter().map(|row| read(row).map_err(|error| self.explain(error))).collect()
    }

    async fn fetch(&self, query: Query<'_, Any, AnyArguments>) -> Result<Vec<AnyRow>> {
        let explain = |error| self.dialect.read_error(self.what, error);
        let mut connection = self.pool.acquire().await.map_err(explain)?;
        let outcome = within(self.dialect, query.fetch_all(&mut *connection)).await;
        give_back(connection, self.dialect, outcome.as_ref().err());
        outcome.map_err(explain)
    }

    fn explain(&self, error: RowError) -> crate::CatalogError {
        match error {
            RowError::Column(error) => self.dialect.read_error(self.what, error),
            RowError::Value(error) => error,
        }
    }

    /// Records by id, in the order asked for.
    pub(super) async fn images(&self, ids: &[ImageId]) -> Result<Vec<Option<ImageRecord>>> {
        let mut found = HashMap::with_capacity(ids.len());
        for part in ids.chunks(IDS_PER_QUERY) {
            let sql = select_by_ids(part.len().next_power_of_two());
            let mut query = sqlx::query(AssertSqlSafe(sql));
            let filler = part.iter().cycle().take(part.len().next_power_of_two());
            for id in filler {
                query = query.bind(id.to_string());
            }
            for row in self.fetch(query).await? {
                let record = read_image(&row).map_err(|error| self.explain(error))?;
                found.insert(record.image.id, record);
            }
        }
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    pub(super) async fn list_images(
        &self,
        filter: &ImageFilter,
        order: ListOrder,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<ImageRecord>> {
        let mut query = QueryBuilder::new(format!("SELECT {IMAGE_COLUMNS} FROM images WHERE 1 = 1"));
        push_filter(&mut query, filter);
        push_page(&mut query, "received_at_ms", order, after, limit);
        let items = self.rows(query, read_image).await?;
        Ok(page(items, limit, |record| Cursor { at_ms: record.image.received_at_ms, id: record.image.id }))
    }

    pub(super) async fn list_operations(
        &self,
        filter: &OperationFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Operation>> {
        let columns = "id, at_ms, actor, action, subject, outcome, detail, organisation, trace_id";
        let mut query = QueryBuilder::new(format!("SELECT {columns} FROM operations WHERE 1 = 1"));
        push_equal(&mut query, "actor", filter.actor.as_ref());
        push_equal(&mut query, "action", filter.action.as_ref());
        push_equal(&mut query, "subject", filter.subject.as_ref());
        push_equal(&mut query, "outcome", filter.outcome.as_ref());
        push_equal(&mut query, "organisation", filter.organisation.as_ref());
        push_times(&mut query, "at_ms", filter.from_ms, filter.before_ms);
        push_page(&mut query, "at_ms", ListOrder::NewestFirst, after, limit);
        let items = self.rows(query, read_operation).await?;
        Ok(page(items, limit, |operation| Cursor { at_ms: operation.at_ms, id: operation.id }))
    }

    pub(super) async fn ids_of_patient(
        &self,
        patient_id: &str,
        organisation: Option<&str>,
    ) -> Result<Vec<ImageId>> {
        let mut query = QueryBuilder::new("SELECT id FROM images WHERE patient_id = ");
        query.push_bind(patient_id.to_owned());
        push_equal(&mut query, "organisation", organisation.map(str::to_owned).as_ref());
        query.push(" ORDER BY id");
        self.rows(query, |row| Ok(read_id(row.try_get(0)?)?)).await
    }

    pub(super) async fn alarms(&self, only_open: bool, limit: usize) -> Result<Vec<Alarm>> {
        let columns = "kind, subject, raised_at_ms, seen_at_ms, cleared_at_ms, detail";
        let mut query = QueryBuilder::new(format!("SELECT {columns} FROM alarms"));
        if only_open {
            query.push(" WHERE open_key IS NOT NULL");
        }
        query.push(" ORDER BY raised_at_ms DESC, id DESC LIMIT ").push_bind(limit.min(MAX_PAGE) as i64);
        self.rows(query, read_alarm).await
    }

    pub(super) async fn setting(&self, key: &str) -> Result<Option<String>> {
        let mut query = QueryBuilder::new("SELECT setting_value FROM settings WHERE setting_key = ");
        query.push_bind(key.to_owned());
        Ok(self.rows(query, |row| Ok(row.try_get(0)?)).await?.pop())
    }

    pub(super) async fn counts(&self) -> Result<ImageCounts> {
        let statuses =
            QueryBuilder::new("SELECT status, COUNT(*) FROM images GROUP BY status ORDER BY status");
        let by_status = self.rows(statuses, |row| {
            let status = parse("status", row.try_get(0)?, |text| text.parse().ok())?;
            Ok((status, unsigned("count", row.try_get(1)?)?))
        });
        let by_status = by_status.await?;
        let by_modality = self.counts_of("modality").await?;
        Ok(ImageCounts { by_status, by_modality, by_label: self.counts_of("label").await? })
    }

    async fn counts_of(&self, column: &str) -> Result<Vec<(Option<String>, u64)>> {
        let query = QueryBuilder::new(format!(
            "SELECT {column}, COUNT(*) AS images FROM images WHERE status = 'indexed' \
             GROUP BY {column} ORDER BY images DESC, {column}"
        ));
        self.rows(query, |row| Ok((row.try_get(0)?, unsigned("count", row.try_get(1)?)?))).await
    }
}

/// A query for a number of ids; powers of two only, so that few statements are prepared.
fn select_by_ids(count: usize) -> String {
    let placeholders = vec!["?"; count].join(", ");
    format!("SELECT {IMAGE_COLUMNS} FROM images WHERE id IN ({placeholders})")
}

fn push_filter(query: &mut QueryBuilder<Any>, filter: &ImageFilter) {
    push_equal(query, "status", filter.status.map(|status| status.to_string()).as_ref());
    push_equal(query, "organisation", filter.organisation.as_ref());
    push_equal(query, "image_type", filter.image_type.as_ref());
    push_equal(query, "modality", filter.modality.as_ref());
    push_equal(query, "body_part", filter.body_part.as_ref());
    push_equal(query, "label", filter.label.as_ref());
    push_equal(query, "patient_id", filter.patient_id.as_ref());
    push_equal(query, "study_uid", filter.study_uid.as_ref());
    push_times(query, "received_at_ms", filter.received_from_ms, filter.received_before_ms);
}

fn push_equal(query: &mut QueryBuilder<Any>, column: &str, value: Option<&String>) {
    if let Some(value) = value {
        query.push(format!(" AND {column} = ")).push_bind(value.clone());
    }
}

fn push_times(query: &mut QueryBuilder<Any>, column: &str, from_ms: Option<i64>, before_ms: Option<i64>) {
    if let Some(from_ms) = from_ms {
        query.push(format!(" AND {column} >= ")).push_bind(from_ms);
    }
    if let Some(before_ms) = before_ms {
        query.push(format!(" AND {column} < ")).push_bind(before_ms);
    }
}

/// Order, begin and length of a page; one item more than the page tells whether another page follows.
fn push_page(
    query: &mut QueryBuilder<Any>,
    time: &str,
    order: ListOrder,
    after: Option<Cursor>,
    limit: usize,
) {
    let (beyond, direction) = match order {
        ListOrder::NewestFirst => ('<', "DESC"),
        ListOrder::OldestFirst => ('>', "ASC"),
    };
    if let Some(cursor) = after {
        // The first condition alone lets the database begin in the index where the page before ended.
        query.push(format!(" AND {time} {beyond}= ")).push_bind(cursor.at_ms);
        query.push(format!(" AND ({time} {beyond} ")).push_bind(cursor.at_ms);
        query.push(format!(" OR id {beyond} ")).push_bind(cursor.id.to_string()).push(")");
    }
    query.push(format!(" ORDER BY {time} {direction}, id {direction} LIMIT "));
    query.push_bind(limit.min(MAX_PAGE) as i64 + 1);
}

fn page<T>(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> Cursor) -> Page<T> {
    let limit = limit.min(MAX_PAGE);
    let has_more = items.len() > limit;
    items.truncate(limit);
    let next = if has_more { items.last().map(cursor) } else { None };
    Page { items, next }
}
