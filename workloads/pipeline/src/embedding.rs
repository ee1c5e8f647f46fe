//! Who turns a rendered image into a vector or into classes: the model in this process, or an embedder in another.

use std::sync::Arc;

use async_trait::async_trait;
use medindex_embedding::{ClassProbability, EmbedError, Embedder};
use medindex_imaging::Rendered;

use crate::error::{Classified, ErrorKind};

/// Why an image was not embedded or recognised.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EmbeddingError {
    /// The model failed on it.
    #[error(transparent)]
    Model(#[from] EmbedError),
    /// The embedder failed on it, as it says itself.
    #[error("the embedder failed on the image: {reason}")]
    Embed {
        /// What it said.
        reason: String,
    },
    /// No embedder answers; trying again later may succeed.
    #[error("no embedder answers: {reason}; try again in a moment")]
    Ask {
        /// What was met.
        reason: String,
    },
    /// The embedder runs another model than the index was made with.
    #[error(
        "the embedder at {address} runs model {found}, the index holds vectors of {expected}: give both the same model"
    )]
    CompareModel {
        /// The embedder.
        address: String,
        /// Digest of its model.
        found: String,
        /// Digest of the index's model.
        expected: String,
    },
}

impl Classified for EmbeddingError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Ask { .. } => ErrorKind::Unavailable,
            Self::Model(_) | Self::Embed { .. } | Self::CompareModel { .. } => ErrorKind::Internal,
        }
    }
}

/// Embeds and recognises rendered images.
#[async_trait]
pub trait Embedding: Send + Sync {
    /// The embeddings of `images` in order, each with its own outcome: unit vectors of the model's dimension.
    async fn embed_each(&self, images: Vec<Rendered>) -> Vec<Result<Vec<f32>, EmbeddingError>>;

    /// The embedding of one image.
    async fn embed(&self, image: Rendered) -> Result<Vec<f32>, EmbeddingError>;

    /// The image's classes, most probable first; none when the model recognises nothing.
    async fn classify(&self, image: Rendered) -> Result<Vec<ClassProbability>, EmbeddingError>;

    /// Why nothing can be embedded right now; `None` when it can.
    async fn unready(&self) -> Option<String>;
}

#[async_trait]
impl Embedding for Embedder {
    async fn embed_each(&self, images: Vec<Rendered>) -> Vec<Result<Vec<f32>, EmbeddingError>> {
        let outcomes = Self::embed_each(self, images).await;
        outcomes.into_iter().map(|outcome| outcome.map_err(EmbeddingError::from)).collect()
    }

    async fn embed(&self, image: Rendered) -> Result<Vec<f32>, EmbeddingError> {
        Ok(Self::embed(self, image).await?)
    }

    async fn classify(&self, image: Rendered) -> Result<Vec<ClassProbability>, EmbeddingError> {
        if !self.model().recognises() {
            return Ok(Vec::new());
        }
        Ok(Self::classify(self, image).await?)
    }

    async fn unready(&self) -> Option<String> {
        None
    }
}

/// The quantizer whose codes are stored beside vectors.
pub trait Quantizers: Send + Sync {
    /// The active generation's; `None` before the first training.
    fn current(&self) -> Option<Arc<medindex_index::quantizer::Quantizer>>;
}
