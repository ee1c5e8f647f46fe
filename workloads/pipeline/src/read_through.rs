//! Reading the embedded store through, slowly, so that damage is found before its image is asked for.
//!
//! Reading compares the checksums of all values; what does not fit is an alarm (`store_damaged`), raised by who watches the store. It goes at a pace
//! that leaves the disk to others, and gives way at the end of the process. On a cluster `HBase` and `HDFS` do this themselves.

use std::sync::Arc;
use std::time::Duration;

use medindex_backends::{Columns, ImageRow};
use medindex_proto::identity::RowKey;

use crate::backend_error::BackendError;
use crate::core::Core;

/// How many times the vectors of the index are looked at until the store is read through: files are a hundred times more.
const LOOKS: u32 = 7;
/// Rows read together.
const PAGE: usize = 16;
/// Bytes a second.
const PACE: f64 = 32.0 * 1024.0 * 1024.0;

/// Reads again and again until the core stops.
pub(crate) async fn run(core: Arc<Core>) {
    let period = core.settings.verify_every.saturating_mul(LOOKS);
    // A server that is started daily gets through as well.
    let mut wait = (period / 200).max(Duration::from_millis(1));
    loop {
        tokio::select! {
            () = core.stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        tokio::select! {
            () = core.stop.cancelled() => return,
            outcome = read_through(&core) => match outcome {
                Ok(bytes) => tracing::info!(bytes, "the store was read through"),
                Err(error) => tracing::error!(%error, "the store cannot be read through"),
            },
        }
        wait = period;
    }
}

/// Reads everything once; how many bytes of files.
async fn read_through(core: &Core) -> Result<u64, BackendError> {
    let mut bytes = 0;
    for partition in 0..core.partitions {
        let mut after: Option<RowKey> = None;
        loop {
            let columns = Columns::BYTES | Columns::INFORMATION;
            let page = core.ports.store.scan(partition, columns, after.as_ref(), PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let read: u64 = page.iter().map(|(_, row)| file_bytes(row)).sum();
            bytes += read;
            tokio::time::sleep(Duration::from_secs_f64(read as f64 / PACE)).await;
        }
    }
    Ok(bytes)
}

fn file_bytes(row: &ImageRow) -> u64 {
    row.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)
}
