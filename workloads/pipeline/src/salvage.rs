//! Reading an image store of which some rows are damaged: one bad row does not keep the others back.
//!
//! Whole pages are read as ever; only where that fails because of damage, each row is read alone. The keys of a page are then taken from a
//! column that can be read: two rows of a page that are damaged in different columns are told apart, one that is damaged in every column ends the
//! reading with the store's error.

use medindex_backends::{Columns, Fault, ImageRow, ImageStore, ImageStoreError};
use medindex_proto::identity::RowKey;

/// A row, or why it cannot be read.
pub(crate) type Read<T> = Result<T, String>;

/// Several rows in the order asked for.
pub(crate) async fn get_past_damage(
    store: &dyn ImageStore,
    keys: &[RowKey],
    columns: Columns,
) -> Result<Vec<Read<Option<ImageRow>>>, ImageStoreError> {
    match store.get_many(keys, columns).await {
        Ok(rows) => return Ok(rows.into_iter().map(Ok).collect()),
        Err(error) if !is_damage(&error) => return Err(error),
        Err(_) => {}
    }
    let mut rows = Vec::with_capacity(keys.len());
    for key in keys {
        rows.push(match store.get(key, columns).await {
            Ok(row) => Ok(row),
            Err(error) if is_damage(&error) => Err(found(&error)),
            Err(error) => return Err(error),
        });
    }
    Ok(rows)
}

/// The next rows of a partition; see [`ImageStore::scan`].
pub(crate) async fn scan_past_damage(
    store: &dyn ImageStore,
    partition: u32,
    columns: Columns,
    after: Option<&RowKey>,
    limit: usize,
) -> Result<Vec<(RowKey, Read<ImageRow>)>, ImageStoreError> {
    let failure = match store.scan(partition, columns, after, limit).await {
        Ok(page) => return Ok(page.into_iter().map(|(key, row)| (key, Ok(row))).collect()),
        Err(error) if !is_damage(&error) => return Err(error),
        Err(error) => error,
    };
    // The files are large, but in a table of their own.
    for others in [Columns::META, Columns::CODES, Columns::VECTORS, Columns::BYTES] {
        let Ok(page) = store.scan(partition, others, after, limit).await else { continue };
        let keys: Vec<RowKey> = page.into_iter().map(|(key, _)| key).collect();
        let rows = get_past_damage(store, &keys, columns).await?;
        return Ok(keys
            .into_iter()
            .zip(rows)
            .map(|(key, row)| (key, row.map(Option::unwrap_or_default)))
            .collect());
    }
    Err(failure)
}

/// What is damaged of one row, without what is said of a store that is damaged as a whole.
fn found(error: &ImageStoreError) -> String {
    match error.fault() {
        Some(Fault::Corrupted { source, .. }) => source.to_string(),
        _ => error.to_string(),
    }
}

fn is_damage(error: &ImageStoreError) -> bool {
    matches!(error, ImageStoreError::JoinCells { .. })
        || matches!(error.fault(), Some(Fault::Corrupted { .. }))
}
