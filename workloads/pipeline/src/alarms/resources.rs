//! Disk and memory of this process.

use std::path::PathBuf;

use async_trait::async_trait;

use super::rules::Threshold;
use super::{AlarmCheck, AlarmKind, Finding};
use crate::core::Core;

/// Share of a disk in use above which it is an alarm, and below which it is over.
const DISK: (f64, f64) = (0.90, 0.85);
/// The same for main memory.
const MEMORY: (f64, f64) = (0.90, 0.80);

/// The disk that a folder is on.
pub struct DiskCheck {
    folder: PathBuf,
    rule: Threshold,
}

impl DiskCheck {
    /// Looks at the disk that `folder` is on.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), rule: Threshold::new(DISK.0, DISK.1) }
    }
}

#[async_trait]
impl AlarmCheck for DiskCheck {
    async fn look(&mut self, core: &Core) -> Vec<Finding> {
        let folder = self.folder.clone();
        let asked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&folder)).await;
        let disk = match asked {
            Ok(Ok(disk)) => disk,
            Ok(Err(error)) => {
                tracing::warn!(folder = %self.folder.display(), %error, "the disk cannot be looked at");
                return Vec::new();
            }
            Err(_) => return Vec::new(),
        };
        // What only root may use counts as used.
        let usable = disk.f_blocks.saturating_sub(disk.f_bfree.saturating_sub(disk.f_bavail)).max(1);
        let used = 1.0 - disk.f_bavail as f64 / usable as f64;
        if !self.rule.look(used) {
            return Vec::new();
        }
        let free = (disk.f_bavail * disk.f_frsize) >> 20;
        let detail = format!(
            "the disk of {} is {:.0} % full, {free} MiB are left",
            self.folder.display(),
            used * 100.0
        );
        vec![Finding { kind: AlarmKind::DiskShort, subject: core.settings.process.clone(), detail }]
    }
}

/// Main memory of this process against its limit.
pub struct MemoryCheck {
    limit: u64,
    rule: Threshold,
    resident: fn() -> u64,
}

impl MemoryCheck {
    /// Compares what the process has with `limit` bytes; `resident` tells what it has, mapped files left out.
    pub fn new(limit: u64, resident: fn() -> u64) -> Self {
        Self { limit: limit.max(1), rule: Threshold::new(MEMORY.0, MEMORY.1), resident }
    }
}

#[async_trait]
impl AlarmCheck for MemoryCheck {
    async fn look(&mut self, core: &Core) -> Vec<Finding> {
        let has = (self.resident)();
        let share = has as f64 / self.limit as f64;
        if !self.rule.look(share) {
            return Vec::new();
        }
        let detail = format!("it has {} MiB of memory of at most {} MiB", has >> 20, self.limit >> 20);
        vec![Finding { kind: AlarmKind::MemoryShort, subject: core.settings.process.clone(), detail }]
    }
}
