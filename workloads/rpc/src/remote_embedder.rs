//! Asks embedders in other processes.
//!
//! Embedders are tried in turn; one that does not answer is passed over until it is looked up again. Guarantee: an answer comes from the
//! index's own model, whose digest every answer carries.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use async_trait::async_trait;
use medindex_embedding::ClassProbability;
use medindex_imaging::Rendered;
use medindex_pipeline::{Embedding, EmbeddingError};
use medindex_proto::services as wire;
use medindex_proto::services::embedder_client::EmbedderClient;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::MAX_MESSAGE;
use crate::channel;
use crate::discovery::Targets;
use crate::embed_server::write_picture;
use crate::trace::carrying;

/// How often embedders are looked up, and one is asked how it is.
const PERIOD: Duration = Duration::from_secs(1);
/// How long it may take to say so.
const PATIENCE: Duration = Duration::from_secs(2);

/// Embedders in other processes.
pub struct RemoteEmbedder {
    targets: Targets,
    model_digest: String,
    deadline: Duration,
    embedders: ArcSwap<Embedders>,
    /// Why none can be asked, as of the last look.
    unready: ArcSwapOption<String>,
    turn: AtomicUsize,
}

#[derive(Default)]
struct Embedders {
    channels: BTreeMap<SocketAddr, Channel>,
    trouble: Option<String>,
}

impl RemoteEmbedder {
    /// Asks the embedders at `targets`, which must run the model `model_digest`; a question takes `deadline` at the most.
    pub fn new(targets: Targets, model_digest: &str, deadline: Duration) -> Arc<Self> {
        let model_digest = model_digest.to_owned();
        let unready = ArcSwapOption::from_pointee("the embedders were not looked up yet".to_owned());
        let (embedders, turn) = (ArcSwap::default(), AtomicUsize::new(0));
        Arc::new(Self { targets, model_digest, deadline, embedders, unready, turn })
    }

    /// Looks embedders up again and again until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut period = tokio::time::interval(PERIOD);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = period.tick() => self.refresh().await,
            }
        }
    }

    /// Looks embedders up once.
    pub async fn refresh(&self) {
        let (addresses, failure) = self.targets.resolve().await;
        let before = self.embedders.load_full();
        let mut channels = BTreeMap::new();
        for address in addresses {
            let channel = before.channels.get(&address).cloned().or_else(|| channel::open(address));
            channels.extend(channel.map(|channel| (address, channel)));
        }
        let trouble = failure.map(|error| format!("cannot look up {error}"));
        self.embedders.store(Arc::new(Embedders { channels, trouble }));
        let described = tokio::time::timeout(PATIENCE, self.describe()).await;
        let late = || EmbeddingError::Ask { reason: format!("no answer within {PATIENCE:?}") };
        let trouble = described.unwrap_or_else(|_| Err(late())).err();
        self.unready.store(trouble.map(|error| Arc::new(error.to_string())));
    }

    /// Asks whether an embedder of the right model answers.
    async fn describe(&self) -> Result<(), EmbeddingError> {
        let asked = self.ask(|mut client| async move { client.describe(wire::DescribeRequest {}).await });
        let (address, answer) = asked.await?;
        self.check_model(address, &answer.model_digest)
    }

    /// Asks one embedder after the other until one answers.
    async fn ask<Answer, Asked>(
        &self,
        question: impl Fn(EmbedderClient<Channel>) -> Asked + Send + Sync,
    ) -> Result<(SocketAddr, Answer), EmbeddingError>
    where
        Asked: Future<Output = Result<tonic::Response<Answer>, Status>> + Send,
        Answer: Send,
    {
        let embedders = self.embedders.load_full();
        let mut reason = embedders.trouble.clone().unwrap_or_else(|| "none is known".to_owned());
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % embedders.channels.len().max(1);
        let in_turn = embedders.channels.iter().cycle().skip(first).take(embedders.channels.len());
        let try_all = async {
            for (address, channel) in in_turn {
                let client = EmbedderClient::new(channel.clone())
                    .max_decoding_message_size(MAX_MESSAGE)
                    .max_encoding_message_size(MAX_MESSAGE);
                match question(client).await {
                    Ok(answer) => return Ok((*address, answer.into_inner())),
                    Err(status) if is_answer(&status) => {
                        return Err(EmbeddingError::Embed { reason: status.message().to_owned() });
                    }
                    Err(status) => {
                        tracing::warn!(%address, message = status.message(), "an embedder failed");
                        reason = format!("{address}: {}", status.message());
                    }
                }
            }
            Err(EmbeddingError::Ask { reason: reason.clone() })
        };
        let late = || EmbeddingError::Ask { reason: format!("no answer within {:?}", self.deadline) };
        tokio::time::timeout(self.deadline, try_all).await.unwrap_or_else(|_| Err(late()))
    }

    fn check_model(&self, address: SocketAddr, found: &str) -> Result<(), EmbeddingError> {
        if found == self.model_digest {
            return Ok(());
        }
        Err(EmbeddingError::CompareModel {
            address: address.to_string(),
            found: found.to_owned(),
            expected: self.model_digest.clone(),
        })
    }

    async fn embed_pictures(
        &self,
        pictures: Vec<wire::Picture>,
    ) -> Result<Vec<Result<Vec<f32>, EmbeddingError>>, EmbeddingError> {
        let expected = pictures.len();
        let request = wire::EmbedRequest { pictures };
        let asked = self.ask(|mut client| {
            let request = request.clone();
            async move { client.embed(carrying(request)).await }
        });
        let (address, response) = asked.await?;
        self.check_model(address, &response.model_digest)?;
        if response.embeddings.len() != expected {
            let reason =
                format!("{address} answered {} embeddings for {expected} images", response.embeddings.len());
            return Err(EmbeddingError::Embed { reason });
        }
        Ok(response.embeddings.into_iter().map(read_embedding).collect())
    }
}

/// Whether an embedder itself says that it fails on the image, as any other would; a connection that breaks has the same codes, and a source.
fn is_answer(status: &Status) -> bool {
    matches!(status.code(), Code::InvalidArgument | Code::Internal) && status.source().is_none()
}

fn read_embedding(embedding: wire::Embedding) -> Result<Vec<f32>, EmbeddingError> {
    match embedding.outcome {
        Some(wire::embedding::Outcome::Vector(vector)) => Ok(vector.components),
        Some(wire::embedding::Outcome::Failure(reason)) => Err(EmbeddingError::Embed { reason }),
        None => Err(EmbeddingError::Embed { reason: "the embedder gave no outcome".to_owned() }),
    }
}

#[async_trait]
impl Embedding for RemoteEmbedder {
    async fn embed_each(&self, images: Vec<Rendered>) -> Vec<Result<Vec<f32>, EmbeddingError>> {
        let count = images.len();
        match self.embed_pictures(images.into_iter().map(write_picture).collect()).await {
            Ok(outcomes) => outcomes,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn embed(&self, image: Rendered) -> Result<Vec<f32>, EmbeddingError> {
        let outcomes = self.embed_pictures(vec![write_picture(image)]).await?;
        let none = || EmbeddingError::Embed { reason: "the embedder gave no outcome".to_owned() };
        outcomes.into_iter().next().unwrap_or_else(|| Err(none()))
    }

    async fn classify(&self, image: Rendered) -> Result<Vec<ClassProbability>, EmbeddingError> {
        let request = wire::ClassifyRequest { picture: Some(write_picture(image)) };
        let asked = self.ask(|mut client| {
            let request = request.clone();
            async move { client.classify(carrying(request)).await }
        });
        let (address, response) = asked.await?;
        self.check_model(address, &response.model_digest)?;
        let read = |class: wire::ClassProbability| ClassProbability {
            label: class.label,
            probability: class.probability,
        };
        Ok(response.classes.into_iter().map(read).collect())
    }

    async fn unready(&self) -> Option<String> {
        self.unready.load().as_deref().cloned()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers every request with frames of HTTP/2 that may not be: settings, then data of no stream.
    async fn broken_server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                connection.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
                let mut asked = [0; 64];
                let _ = connection.read(&mut asked).await;
                let _ = connection.write_all(&[0, 0, 1, 0, 0, 0, 0, 0, 0, 7]).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn an_embedder_whose_connection_breaks_is_passed_over_and_the_image_is_not_blamed() {
        let address = broken_server().await;
        let targets: Targets = address.to_string().parse().unwrap();
        let embedder = RemoteEmbedder::new(targets, "digest", Duration::from_secs(10));
        embedder.refresh().await;
        let error = embedder.describe().await.unwrap_err();
        assert!(
            matches!(&error, EmbeddingError::Ask { reason } if reason.contains(&address.to_string())),
            "{error:?}"
        );
    }

    #[test]
    fn what_an_embedder_says_of_an_image_is_an_answer() {
        assert!(is_answer(&Status::internal("the model failed")));
        assert!(is_answer(&Status::invalid_argument("no picture")));
        assert!(!is_answer(&Status::unavailable("stopping")));
    }
}
