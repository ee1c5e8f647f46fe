//! All resources that the operator watches, of every namespace that it looks after.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use tokio::sync::OnceCell;

use crate::api::MedicalImageIndex;

/// A resource, or why it cannot be read.
pub type Guarded = DeserializeGuard<MedicalImageIndex>;

/// A namespace that cannot be listed, for lack of rights say, holds up the others so long at the start and no longer.
const COMPLETE_WITHIN: Duration = Duration::from_secs(30);

/// What is known of the resources, one store for each watch.
pub struct Watched {
    stores: Vec<Store<Guarded>>,
    complete: OnceCell<()>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watched").field("stores", &self.stores.len()).finish_non_exhaustive()
    }
}

impl Watched {
    /// The resources of several watches, which somebody else keeps going.
    pub fn new(stores: Vec<Store<Guarded>>) -> Self {
        Self { stores, complete: OnceCell::new() }
    }

    /// All of them. The first call waits until every watch has listed what there is: which of two resources is the older cannot be told before.
    pub async fn all(&self) -> Vec<Arc<Guarded>> {
        self.complete
            .get_or_init(|| async {
                let listed = join_all(self.stores.iter().map(Store::wait_until_ready));
                if tokio::time::timeout(COMPLETE_WITHIN, listed).await.is_err() {
                    tracing::error!(
                        "a namespace cannot be listed: claims of its resources are not known; see the rights of the operator's account"
                    );
                }
            })
            .await;
        self.now()
    }

    /// Those that are known at this moment.
    pub fn now(&self) -> Vec<Arc<Guarded>> {
        self.stores.iter().flat_map(Store::state).collect()
    }
}

/// Those that can be read.
pub fn readable(all: &[Arc<Guarded>]) -> impl Iterator<Item = &MedicalImageIndex> {
    all.iter().filter_map(|guarded| guarded.0.as_ref().ok())
}
