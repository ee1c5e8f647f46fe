//! The data set of the engine benchmark: embeddings of every image of a tar archive, four views each.
//!
//! `archive` reads the images, `views` makes the four views, `store` keeps the vectors on disk so that a
//! run that was interrupted goes on where it stopped, and `embed` joins them. What follows (projection,
//! interpolation, exact neighbours) is the business of `engine/dataset.py`, because it is linear algebra
//! that all engines share.

mod archive;
mod embed;
mod store;
mod views;

pub(crate) use archive::{ArchiveError, ArchivedImage, read_images};
pub(crate) use embed::{EmbedArguments, EmbedError, embed_archive};
