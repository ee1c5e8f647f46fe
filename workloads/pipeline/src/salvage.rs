//! Reading an image store of which some rows are damaged: one bad row does not keep the others back.
//!
//! Whole pages are read as ever; only where that fails because of damage, each row is read alone, by its key. Where keys themselves cannot be read, the
//! reading ends with the store's error.

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
    match store.scan(partition, columns, after, limit).await {
        Ok(page) => return Ok(page.into_iter().map(|(key, row)| (key, Ok(row))).collect()),
        Err(error) if !is_damage(&error) => return Err(error),
        Err(_) => {}
    }
    let keys = store.keys(partition, after, limit).await?;
    let rows = get_past_damage(store, &keys, columns).await?;
    Ok(keys.into_iter().zip(rows).map(|(key, row)| (key, row.map(Option::unwrap_or_default))).collect())
}

/// What is damaged of one row, without what is said of a store that is damaged as a whole.
fn found(error: &ImageStoreError) -> String {
    match error.fault() {
        Some(Fault::Corrupted { source, .. }) => source.to_string(),
        _ => error.to_string(),
    }
}

/// What is damaged of a row whose frames lack a vector of `dimension` components: a cell that cannot be read any more is not there.
pub(crate) fn lacks_vectors(row: &ImageRow, dimension: usize) -> Option<String> {
    let frames = &row.information.as_ref()?.frames;
    let short = frames.iter().find(|frame| frame.vector.len() != dimension)?;
    Some(format!(
        "the vector of its frame {} has {} components where the model makes {dimension}",
        short.frame,
        short.vector.len()
    ))
}

fn is_damage(error: &ImageStoreError) -> bool {
    matches!(error, ImageStoreError::JoinCells { .. })
        || matches!(error.fault(), Some(Fault::Corrupted { .. }))
}

#[cfg(test)]
mod tests {
    use half::f16;
    use medindex_backends::{FrameVector, ImageInformation};

    use super::*;

    #[test]
    fn a_frame_without_its_vector_is_damage() {
        let row = |components: usize| {
            let vector = vec![f16::ONE; components];
            let frames = vec![FrameVector { frame: 3, vector, code: Vec::new() }];
            let information = Some(ImageInformation { frames, ..ImageInformation::default() });
            ImageRow { bytes: None, information }
        };
        assert_eq!(lacks_vectors(&row(4), 4), None);
        assert_eq!(lacks_vectors(&ImageRow::default(), 4), None);
        for components in [0, 3, 5] {
            assert!(lacks_vectors(&row(components), 4).is_some_and(|damage| damage.contains("frame 3")));
        }
    }
}
