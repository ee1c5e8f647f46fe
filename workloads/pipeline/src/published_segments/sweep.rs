//! Removing what no publication needs any more.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use super::description::{self, Publication};
use super::{ROOT, SegmentsError, description_blob, files_prefix, lease, published_layouts};
use crate::core::{Core, now_ms};

/// Files of a publication that never stood may be of one that is still at work, until they are this old.
const UNFINISHED: Duration = Duration::from_hours(1);
/// A publication of another number of shards that holds the same partitions is kept this long.
const OTHER_LAYOUT: Duration = Duration::from_hours(24);

/// After a publication stands: removes files that the former one alone had, leftovers of killed publishers, and other layouts that
/// nobody has published for a day. Nothing of what somebody reads.
pub(super) async fn after(
    core: &Core,
    standing: &Publication,
    former: Option<&Publication>,
) -> Result<(), SegmentsError> {
    let layout = standing.layout();
    sweep_files(core, &layout, standing, former).await?;
    for other in published_layouts(core.ports.store.as_ref()).await? {
        if other != layout && is_outdated(core, &other, standing).await? {
            remove_layout(core, &other).await?;
        }
    }
    Ok(())
}

async fn sweep_files(
    core: &Core,
    layout: &str,
    standing: &Publication,
    former: Option<&Publication>,
) -> Result<(), SegmentsError> {
    let store = core.ports.store.as_ref();
    let blobs_of = |publication: &Publication| {
        publication
            .files
            .iter()
            .flat_map(|file| file.parts(layout))
            .map(|(blob, _)| blob)
            .collect::<BTreeSet<_>>()
    };
    let needed = blobs_of(standing);
    let replaced = former.map(blobs_of).unwrap_or_default();
    let prefix = files_prefix(layout);
    let there = store.list_blobs(&prefix).await?;
    let is_left = |name: &str| {
        let publication = name.strip_prefix(&prefix).and_then(|rest| rest.split('/').next());
        replaced.contains(name) || publication.is_none_or(is_old)
    };
    let left: Vec<String> = there
        .into_iter()
        .map(|blob| blob.name)
        .filter(|name| !needed.contains(name) && is_left(name))
        .collect();
    // Asked even where nothing is left over: leases that expired go, whatever else there is to remove.
    if lease::anybody_reads(store, layout).await? || left.is_empty() {
        return Ok(());
    }
    tracing::info!(layout, blobs = left.len(), "old published segments are removed");
    for name in left {
        store.delete_blob(&name).await?;
    }
    Ok(())
}

/// Whether a publication, named by its id, began long ago.
fn is_old(publication: &str) -> bool {
    let began = Uuid::parse_str(publication).ok().and_then(|id| id.get_timestamp());
    began.is_none_or(|began| {
        let (seconds, _) = began.to_unix();
        now_ms() / 1000 - seconds as i64 > UNFINISHED.as_secs() as i64
    })
}

/// Whether another layout holds partitions of the standing publication and is no longer published.
async fn is_outdated(core: &Core, layout: &str, standing: &Publication) -> Result<bool, SegmentsError> {
    let publication = match description::read(core, layout).await {
        Ok(Some(publication)) => publication,
        Ok(None) => return Ok(false),
        // Not ours to judge: a newer release, or damage that its own publisher replaces.
        Err(error) if error.is_refusal() => return Ok(false),
        Err(error) => return Err(error),
    };
    let overlaps = publication.partitions.iter().any(|partition| standing.partitions.contains(partition));
    let age = standing.published_at_ms.saturating_sub(publication.published_at_ms);
    Ok(overlaps && age > OTHER_LAYOUT.as_millis() as i64)
}

async fn remove_layout(core: &Core, layout: &str) -> Result<(), SegmentsError> {
    let store = core.ports.store.as_ref();
    if lease::anybody_reads(store, layout).await? {
        return Ok(());
    }
    tracing::info!(layout, "published segments of another number of shards are removed");
    // The description first: what has none is not read.
    store.delete_blob(&description_blob(layout)).await?;
    for blob in store.list_blobs(&format!("{ROOT}{layout}/")).await? {
        store.delete_blob(&blob.name).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_publisher_at_work_has_sent_is_not_old() {
        assert!(!is_old(&Uuid::now_v7().to_string()));
        let hours_ago = uuid::Timestamp::from_unix(uuid::NoContext, (now_ms() / 1000) as u64 - 7_200, 0);
        assert!(is_old(&Uuid::new_v7(hours_ago).to_string()));
        assert!(is_old("no id"));
    }
}
