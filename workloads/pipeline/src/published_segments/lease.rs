//! Readers say that they read, so that nobody removes what they are about to fetch.
//!
//! A reader writes its lease before it reads the description, a publisher looks for leases after it replaced one: whoever is not seen reads the
//! new description. A lease counts for ten minutes and is renewed while its reader reads; that of a killed reader is swept afterwards.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use medindex_backends::ImageStore;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{LEASE, SegmentsError, readers_prefix};
use crate::core::now_ms;

/// How often a reader renews its lease.
const RENEW: Duration = Duration::from_mins(2);

/// Says that a layout's files are read, until it is given back.
pub(super) struct Lease {
    store: Arc<dyn ImageStore>,
    blob: String,
    renewing: JoinHandle<()>,
}

impl Lease {
    /// Begins to read a layout.
    pub(super) async fn take(store: &Arc<dyn ImageStore>, layout: &str) -> Result<Self, SegmentsError> {
        let blob = format!("{}{}", readers_prefix(layout), Uuid::now_v7());
        store.put_blob(&blob, content()).await?;
        let (renewed, name) = (Arc::clone(store), blob.clone());
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEW).await;
                if let Err(error) = renewed.put_blob(&name, content()).await {
                    tracing::warn!(%error, "a reader's lease on published segments cannot be renewed");
                }
            }
        });
        Ok(Self { store: Arc::clone(store), blob, renewing })
    }

    /// Ends reading.
    pub(super) async fn give_back(self) {
        self.renewing.abort();
        if let Err(error) = self.store.delete_blob(&self.blob).await {
            tracing::warn!(%error, "a reader's lease on published segments stays until it expires");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

fn content() -> Bytes {
    now_ms().to_string().into()
}

/// Whether somebody reads a layout's files. Leases that expired are removed.
pub(super) async fn anybody_reads(store: &dyn ImageStore, layout: &str) -> Result<bool, SegmentsError> {
    let mut reading = false;
    for lease in store.list_blobs(&readers_prefix(layout)).await? {
        let Some(content) = store.get_blob(&lease.name).await? else { continue };
        let since = std::str::from_utf8(&content).ok().and_then(|text| text.parse::<i64>().ok());
        let expired = since.is_none_or(|since| now_ms().saturating_sub(since) > LEASE.as_millis() as i64);
        if expired {
            store.delete_blob(&lease.name).await?;
        } else {
            reading = true;
        }
    }
    Ok(reading)
}
