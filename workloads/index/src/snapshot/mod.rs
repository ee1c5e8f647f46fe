//! What an index keeps on disk: immutable data files, and a manifest that says which of them count.
//!
//! Guarantees: a process killed at any moment leaves the state of the last manifest; files it had begun are
//! removed at the next open. A damaged file is refused by name with the reason. A full disk fails the step that
//! needed space and leaves what was stored before.
//! Assumption: nothing but this crate writes to the folder; a lock keeps a second process out.

pub(crate) mod folder;
pub(crate) mod manifest;
pub(crate) mod mapping;
pub(crate) mod removed_rows;
pub(crate) mod section_file;
