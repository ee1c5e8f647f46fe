//! The sweeper: sends accepted images again that are still not searchable, gives up uploads that were cut off before they were complete, finishes
//! deletions that were cut off, and once a day has the image store delete what crashed writers of blobs left behind.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use medindex_backends::Columns;
use medindex_backends::catalog::{FailedImage, ImageFilter, ImageRecord, ImageStatus, ListOrder};
use medindex_proto::identity::ImageId;
use medindex_proto::names::TOPIC_IMAGE_UPLOAD;

use tokio::time::Instant;

use crate::backend_error::BackendError;
use crate::core::{Core, now_ms};
use crate::delete::remove;
use crate::ingest::accept::upload_message;
use crate::ingest::embed::{lag, mark_failed};
use crate::operations::{Action, Event, note, outcome};

const PERIOD: Duration = Duration::from_secs(15);
/// Leftovers of blobs are deleted this often and at this age. Gateways that start together take turns by a random part of it.
const BLOBS_PERIOD: Duration = Duration::from_hours(24);
const PAGE: usize = 256;
/// After this many times the age at which images are sent again, one that has no bytes anywhere is given up.
const LOST_AFTER: u32 = 10;

/// Who else may be in the middle of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Uploaders {
    /// Only this process, as in a data folder, which is locked: what was received before this time (Unix milliseconds), when nobody could upload
    /// yet, and is incomplete is of a process that died.
    Here(i64),
    /// Others too: an incomplete upload is given up when it did not go on for long.
    Anywhere,
}

/// Runs until the context stops.
pub(crate) async fn run(core: Arc<Core>, uploaders: Uploaders) {
    let mut left_behind = match uploaders {
        Uploaders::Here(began_ms) => Some(began_ms),
        Uploaders::Anywhere => None,
    };
    let mut period = tokio::time::interval(PERIOD);
    let first = BLOBS_PERIOD.mul_f64(rand::random());
    let mut blobs_period = tokio::time::interval_at(Instant::now() + first, BLOBS_PERIOD);
    let mut watched = Watched::default();
    loop {
        tokio::select! {
            () = core.stop.cancelled() => return,
            _ = blobs_period.tick() => sweep_blobs(&core).await,
            _ = period.tick() => match sweep(&core, &mut watched, left_behind).await {
                Ok(Swept::Nothing) => {}
                Ok(Swept::All) => left_behind = None,
                Err(error) => tracing::error!(%error, "sweeping is interrupted and will be tried again"),
            }
        }
    }
}

async fn sweep_blobs(core: &Core) {
    match core.ports.store.sweep_blobs(BLOBS_PERIOD).await {
        Ok(0) => {}
        Ok(pieces) => tracing::info!(pieces, "deleted what crashed writers of segments left behind"),
        Err(error) => tracing::error!(%error, "leftovers of segments stay until tomorrow"),
    }
}

/// Images without bytes, and when this process saw each of them first. The times in their rows are those of other clocks.
type Watched = HashMap<ImageId, Instant>;

/// What a round got through.
#[derive(PartialEq, Eq)]
enum Swept {
    /// Uploads wait in the queue, so that no image was looked at; or there are more of them than one round takes.
    Nothing,
    /// All images that were due.
    All,
}

/// One round. Images are only looked at while nothing waits in the queue: what waits there is not lost. What was received before `left_behind` and
/// has no bytes is of a process that died, and is given up at once.
async fn sweep(core: &Core, watched: &mut Watched, left_behind: Option<i64>) -> Result<Swept, BackendError> {
    finish_deletions(core).await?;
    if lag(core).await? > 0 {
        return Ok(Swept::Nothing);
    }
    let resend_after = core.settings.resend_after;
    let before = left_behind.unwrap_or_else(|| now_ms() - resend_after.as_millis() as i64);
    let stale = core.ports.catalog.stale_received(before, PAGE).await?;
    let swept = if stale.len() < PAGE { Swept::All } else { Swept::Nothing };
    let (mut messages, mut resent, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    let seen = std::mem::take(watched);
    for record in stale {
        if has_bytes(core, &record).await? {
            messages.push(upload_message(&record.image, None)?);
            resent.push(record.image.id.to_string());
            continue;
        }
        let since = seen.get(&record.image.id).copied().unwrap_or_else(Instant::now);
        watched.insert(record.image.id, since);
        // A bulk import may be embedding what is in no store yet, or be waiting for one; and its clock may be late.
        if left_behind.is_some() || since.elapsed() >= resend_after * (LOST_AFTER - 1) {
            lost.push(record.image.id);
        }
    }
    give_up(core, &lost).await?;
    if !messages.is_empty() {
        tracing::info!(images = messages.len(), "sending images again that were not embedded");
        core.ports.queue.publish_many(TOPIC_IMAGE_UPLOAD, messages).await?;
        for id in resent {
            note(core, Event::new(core, Action::Resend, id, outcome::DONE));
        }
    }
    Ok(swept)
}

/// Marks images failed whose uploads were cut off, unless they are being sent again just now: accepting a known file holds its lock from the look
/// at its status until its message is in the queue.
async fn give_up(core: &Core, lost: &[ImageId]) -> Result<(), BackendError> {
    if lost.is_empty() {
        return Ok(());
    }
    let _guards = core.locks.lock(lost).await;
    if lag(core).await? > 0 {
        return Ok(());
    }
    let records = core.ports.catalog.images(lost).await?;
    let mut failed = Vec::with_capacity(lost.len());
    for record in records.into_iter().flatten().filter(|record| record.status == ImageStatus::Received) {
        let reason = "its upload was cut off before it was complete; upload it again".to_owned();
        let event = Event::new(core, Action::Fail, record.image.id.to_string(), outcome::FAILED);
        note(core, event.detail(&reason));
        failed.push(FailedImage { id: record.image.id, reason });
    }
    mark_failed(core, failed).await
}

async fn has_bytes(core: &Core, record: &ImageRecord) -> Result<bool, BackendError> {
    let row = core.ports.store.get(&record.image.row_key, Columns::BYTES).await?;
    Ok(row.is_some_and(|row| row.bytes.is_some()))
}

async fn finish_deletions(core: &Core) -> Result<(), BackendError> {
    let filter = ImageFilter { status: Some(ImageStatus::Deleting), ..ImageFilter::default() };
    let page = core.ports.catalog.list_images(&filter, ListOrder::OldestFirst, None, PAGE).await?;
    if page.items.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = page.items.iter().map(|record| record.image.id).collect();
    let _guards = core.locks.lock(&ids).await;
    remove(core, &page.items).await
}
