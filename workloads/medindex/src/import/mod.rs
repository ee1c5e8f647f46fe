//! What `medindex import` does with the files of [`medindex_sources`]: through a server, and its summary.

pub(crate) mod remote;
pub(crate) mod summary;
