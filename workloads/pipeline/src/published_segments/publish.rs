//! Publishing a shard's snapshots: files that are new first, the description last.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crc32fast::Hasher;
use medindex_index::{Export, ExportedFile};
use uuid::Uuid;

use super::description::{self, Publication, PublishedFile};
use super::{PART_BYTES, SegmentsError, layout_name, sweep};
use crate::alarms::AlarmKind;
use crate::core::now_ms;
use crate::retry::Backoff;
use crate::shard::Shard;

/// Publishes after snapshots, at the most once in `period`, until the core stops.
pub(crate) async fn run(shard: Arc<Shard>, period: Duration) {
    let mut snapshots = shard.snapshots.subscribe();
    let mut backoff = Backoff::default();
    loop {
        // Cut off anywhere it leaves the former publication.
        let outcome = tokio::select! {
            () = shard.stop.cancelled() => return,
            outcome = publish(&shard) => outcome,
        };
        match outcome {
            Ok(()) => {
                shard.release_alarm(AlarmKind::SegmentsUnpublished, &shard.name());
                backoff.reset();
            }
            Err(error) => {
                tracing::error!(%error, "segments cannot be published and will be tried again");
                let detail = error.to_string();
                shard.hold_alarm(AlarmKind::SegmentsUnpublished, &shard.name(), &detail).await;
                tokio::select! {
                    () = shard.stop.cancelled() => return,
                    () = backoff.wait() => continue,
                }
            }
        }
        let next = async {
            tokio::time::sleep(period).await;
            snapshots.changed().await
        };
        tokio::select! {
            () = shard.stop.cancelled() => return,
            outcome = next => if outcome.is_err() { return },
        }
    }
}

/// Publishes what the last snapshot has, unless that is published already.
async fn publish(shard: &Arc<Shard>) -> Result<(), SegmentsError> {
    let begun = Instant::now();
    let layout = layout_name(&shard.held, shard.partitions);
    let former = match description::read(shard, &layout).await {
        Ok(former) => former,
        Err(error) if error.is_refusal() => {
            tracing::warn!(%error, "the published segments are replaced");
            None
        }
        Err(error) => return Err(error),
    };
    let index = Arc::clone(&shard.index);
    let export = tokio::task::spawn_blocking(move || index.export()).await??;
    if export.files.is_empty() || former.as_ref().is_some_and(|former| is_same(former, &export)) {
        return Ok(());
    }
    let id = Uuid::now_v7();
    let mut sender = Sender { shard, layout: &layout, former: former.as_ref(), id, sent: 0 };
    let mut files = Vec::with_capacity(export.files.len());
    for file in export.files {
        files.push(sender.file(file).await?);
    }
    let sent = sender.sent;
    let publication = Publication {
        id,
        published_at_ms: now_ms(),
        partitions: shard.held.clone(),
        partition_count: shard.partitions,
        model_digest: shard.model_digest().to_owned(),
        generation: export.generation,
        quantizer: export.quantizer,
        entries: export.entries,
        rows: export.rows,
        positions: export.positions,
        manifest: String::from_utf8_lossy(&export.manifest).into_owned(),
        files,
    };
    description::write(shard.ports.store.as_ref(), &publication).await?;
    shard.loaded.publications.fetch_add(1, Ordering::Relaxed);
    shard.loaded.published_bytes.fetch_add(sent, Ordering::Relaxed);
    tracing::info!(
        layout,
        entries = publication.entries,
        files = publication.files.len(),
        sent,
        seconds = begun.elapsed().as_secs_f64(),
        "segments are published"
    );
    // What stands is published; leftovers cost space only.
    if let Err(error) = sweep::after(shard, &publication, former.as_ref()).await {
        tracing::warn!(%error, "old published segments stay until the next publication");
    }
    Ok(())
}

/// Whether a publication has what a new one would have.
fn is_same(former: &Publication, export: &Export) -> bool {
    former.positions == export.positions && former.manifest.as_bytes() == export.manifest
}

/// Sends files that are not in the store yet.
struct Sender<'a> {
    shard: &'a Arc<Shard>,
    layout: &'a str,
    former: Option<&'a Publication>,
    id: Uuid,
    /// Bytes sent.
    sent: u64,
}

impl Sender<'_> {
    async fn file(&mut self, exported: ExportedFile) -> Result<PublishedFile, SegmentsError> {
        let ExportedFile { name, bytes, checksum, file } = exported;
        let former = self.former.and_then(|former| former.same_file(&name, bytes, checksum));
        if let Some(former) = former
            && self.is_whole(former).await?
        {
            return Ok(former.clone());
        }
        let mut published =
            PublishedFile { name, bytes, engine_checksum: checksum, crc32: 0, publication: self.id };
        let (mut hasher, file) = (Hasher::new(), Arc::new(file));
        let mut offset = 0;
        for (blob, length) in published.parts(self.layout) {
            let (source, path) = (Arc::clone(&file), Path::new(&published.name).to_owned());
            let part = tokio::task::spawn_blocking(move || read_part(&source, offset, length))
                .await?
                .map_err(|source| SegmentsError::ReadFile { path, source })?;
            hasher.update(&part);
            self.shard.ports.store.put_blob(&blob, part).await?;
            offset += length;
            self.sent += length;
        }
        published.crc32 = hasher.finalize();
        Ok(published)
    }

    /// Whether every part of a file is still there, so that nothing is ever named that is gone.
    async fn is_whole(&self, file: &PublishedFile) -> Result<bool, SegmentsError> {
        let parts: Vec<(String, u64)> = file.parts(self.layout).collect();
        let Some((first, _)) = parts.first() else { return Ok(true) };
        let prefix = first.rsplit_once('/').map_or(first.as_str(), |(prefix, _)| prefix);
        let found = self.shard.ports.store.list_blobs(&format!("{prefix}/")).await?;
        let found: Vec<(String, u64)> = found.into_iter().map(|blob| (blob.name, blob.bytes)).collect();
        Ok(parts == found)
    }
}

fn read_part(mut file: &File, offset: u64, length: u64) -> std::io::Result<Bytes> {
    debug_assert!(length <= PART_BYTES as u64);
    file.seek(SeekFrom::Start(offset))?;
    let mut part = vec![0; length as usize];
    file.read_exact(&mut part)?;
    Ok(part.into())
}
