//! Locks by image, so that embedding and deleting one image never interleave.
//!
//! Images share a fixed number of locks. Several are always taken in ascending order, so two callers cannot wait for each other.

use medindex_proto::identity::ImageId;
use tokio::sync::{Mutex, MutexGuard};

const STRIPES: usize = 64;

/// A fixed set of locks that images are spread over.
pub(crate) struct ImageLocks {
    stripes: Vec<Mutex<()>>,
}

impl ImageLocks {
    pub(crate) fn new() -> Self {
        Self { stripes: (0..STRIPES).map(|_| Mutex::new(())).collect() }
    }

    /// Waits for the locks of all `ids`; they are released when the guards are dropped.
    pub(crate) async fn lock<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a ImageId>,
    ) -> Vec<MutexGuard<'_, ()>> {
        let mut wanted: Vec<usize> = ids.into_iter().map(stripe).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut guards = Vec::with_capacity(wanted.len());
        for index in wanted {
            guards.push(self.stripes[index].lock().await);
        }
        guards
    }
}

/// The last byte of a version 7 UUID is random.
fn stripe(id: &ImageId) -> usize {
    usize::from(id.as_bytes()[15]) % STRIPES
}
