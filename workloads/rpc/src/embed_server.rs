//! Serves the model: embeddings and classes of rendered images, on the same session as the stream of uploads.

use std::sync::Arc;

use medindex_imaging::{Channels, Rendered};
use medindex_pipeline::{Embedding, EmbeddingError};
use medindex_proto::services as wire;
use medindex_proto::services::embedder_server::{Embedder, EmbedderServer};
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use crate::MAX_MESSAGE;
use crate::convert::ConvertError;
use crate::trace::go_on;

/// Serves a model.
pub struct EmbedService {
    embedding: Arc<dyn Embedding>,
    model_digest: String,
    model: String,
}

impl EmbedService {
    /// Serves `embedding`, whose model has this digest and is called `model` (`name@version`).
    pub fn new(embedding: Arc<dyn Embedding>, model_digest: &str, model: &str) -> Self {
        Self { embedding, model_digest: model_digest.to_owned(), model: model.to_owned() }
    }

    /// The service for a server.
    pub fn into_server(self) -> EmbedderServer<Self> {
        EmbedderServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }
}

/// A picture as it came.
///
/// # Errors
/// [`ConvertError::ReadPicture`].
pub(crate) fn read_picture(picture: wire::Picture) -> Result<Rendered, ConvertError> {
    let wire::Picture { width, height, channels, pixels } = picture;
    let wrong = || ConvertError::ReadPicture { width, height, channels, bytes: pixels.len() };
    let kind = match channels {
        1 => Channels::Grey,
        3 => Channels::Rgb,
        _ => return Err(wrong()),
    };
    Rendered::new(width, height, kind, pixels.to_vec()).map_err(|_| wrong())
}

/// A picture as it is sent.
pub(crate) fn write_picture(image: Rendered) -> wire::Picture {
    wire::Picture {
        width: image.width(),
        height: image.height(),
        channels: image.channels().count() as u32,
        pixels: image.into_pixels().into(),
    }
}

fn status_of(error: &EmbeddingError) -> Status {
    match error {
        EmbeddingError::Ask { .. } => Status::unavailable(error.to_string()),
        _ => Status::internal(error.to_string()),
    }
}

#[tonic::async_trait]
impl Embedder for EmbedService {
    async fn embed(
        &self,
        request: Request<wire::EmbedRequest>,
    ) -> Result<Response<wire::EmbedResponse>, Status> {
        let span = tracing::info_span!("embed", otel.kind = "server");
        let span = go_on(span, request.metadata());
        let pictures = request.into_inner().pictures;
        let images = pictures.into_iter().map(read_picture).collect::<Result<Vec<_>, _>>();
        let images = images.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let outcomes = self.embedding.embed_each(images).instrument(span).await;
        let write = |outcome: Result<Vec<f32>, EmbeddingError>| wire::Embedding {
            outcome: Some(match outcome {
                Ok(components) => wire::embedding::Outcome::Vector(wire::Vector { components }),
                Err(error) => wire::embedding::Outcome::Failure(error.to_string()),
            }),
        };
        Ok(Response::new(wire::EmbedResponse {
            embeddings: outcomes.into_iter().map(write).collect(),
            model_digest: self.model_digest.clone(),
        }))
    }

    async fn classify(
        &self,
        request: Request<wire::ClassifyRequest>,
    ) -> Result<Response<wire::ClassifyResponse>, Status> {
        let span = tracing::info_span!("classify", otel.kind = "server");
        let span = go_on(span, request.metadata());
        let picture = request.into_inner().picture.unwrap_or_default();
        let image = read_picture(picture).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let classes = self.embedding.classify(image).instrument(span).await;
        let classes = classes.map_err(|error| status_of(&error))?;
        let write = |class: medindex_embedding::ClassProbability| wire::ClassProbability {
            label: class.label,
            probability: class.probability,
        };
        Ok(Response::new(wire::ClassifyResponse {
            classes: classes.into_iter().map(write).collect(),
            model_digest: self.model_digest.clone(),
        }))
    }

    async fn describe(
        &self,
        _request: Request<wire::DescribeRequest>,
    ) -> Result<Response<wire::DescribeResponse>, Status> {
        let (model_digest, model) = (self.model_digest.clone(), self.model.clone());
        Ok(Response::new(wire::DescribeResponse { model_digest, model }))
    }
}
