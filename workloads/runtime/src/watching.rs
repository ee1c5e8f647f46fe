//! What a process watches itself for.

use medindex_pipeline::{Core, MemoryCheck};

use crate::memory;

/// Raises an alarm when the process comes near its memory limit, where it has one.
pub fn watch_memory(core: &Core) {
    if let Some(limit) = memory::limit() {
        core.add_check(MemoryCheck::new(limit, memory::anonymous));
    }
}
