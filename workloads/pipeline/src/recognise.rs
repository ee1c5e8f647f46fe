//! Recognition: what the model and the nearest neighbours make of an image.
//!
//! The result is cached under `image:<md5>`; a hit answers without computing, a miss computes once however many ask at the same time, in one
//! process or in several (who computes says so in the cache). A cached result of another model or generation counts as a miss. A cache that fails slows, it never fails a request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use medindex_backends::Cache;
use medindex_imaging::{FrameSelection, ImagingError};
use medindex_proto::names::recognition_cache_key;

use crate::backend_error::BackendError;
use crate::context::Context;
use crate::digest::digest_content;
use crate::embedding::EmbeddingError;
use crate::error::{Classified, ErrorKind};
use crate::ingest::error::{imaging_kind, imaging_limit_option};
use crate::ingest::prepare::prepare;
use crate::operations::{Action, Event, note, outcome};
use crate::report::{ClassScore, Recognition};
use crate::search::{Hit, Query, SearchError, SearchRequest, run};

/// Neighbours that have to be asked before enough labelled ones are among them.
const NEIGHBOURS_PER_VOTER: usize = 4;

/// How long others wait for a process that computes, if it dies meanwhile.
const CLAIM: Duration = Duration::from_secs(10);
/// How often they look whether it is done.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Why an image was not recognised.
#[derive(Debug, thiserror::Error)]
pub enum RecogniseError {
    /// The file cannot be read.
    #[error(transparent)]
    Decode(ImagingError),
    /// The model failed.
    #[error(transparent)]
    Embed(EmbeddingError),
    /// Its neighbours could not be found.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// A backend failed.
    #[error(transparent)]
    Backend(BackendError),
}

impl Classified for RecogniseError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Decode(error) => imaging_kind(error),
            Self::Embed(error) => error.kind(),
            Self::Search(error) => error.kind(),
            Self::Backend(error) => error.kind(),
        }
    }

    fn limit_option(&self) -> Option<&'static str> {
        match self {
            Self::Decode(error) => imaging_limit_option(error),
            Self::Search(error) => error.limit_option(),
            Self::Embed(_) | Self::Backend(_) => None,
        }
    }
}

impl From<tokio::task::JoinError> for RecogniseError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Backend(error.into())
    }
}

pub(crate) async fn recognise(
    context: &Arc<Context>,
    name: String,
    bytes: Bytes,
) -> Result<Recognition, RecogniseError> {
    let content = bytes.clone();
    let md5 = tokio::task::spawn_blocking(move || hex::encode(digest_content(&content).md5)).await?;
    let key = recognition_cache_key(&md5);
    if let Some(found) = cached(context, &key).await {
        context.caches.recognitions.hit();
        return Ok(found);
    }
    let flights = &context.recognitions;
    flights.run(&key, || async { compute_and_keep(context, &key, md5, name, bytes).await }).await
}

/// Records a recognition in the background.
pub(crate) fn note_recognition(context: &Context, ended: &Result<Recognition, RecogniseError>) {
    let event = match ended {
        Ok(found) => {
            let ended = if found.cached { outcome::CACHED } else { outcome::ANSWERED };
            Event::new(context, Action::Recognise, recognition_cache_key(&found.md5), ended)
        }
        Err(error) => Event::new(context, Action::Recognise, "", outcome::REFUSED).detail(error.to_string()),
    };
    note(context, event);
}

/// A cached result that the present model and generation would give again.
async fn cached(context: &Arc<Context>, key: &str) -> Option<Recognition> {
    let value = match context.ports.cache.get(key).await {
        Ok(value) => value?,
        Err(error) => {
            tracing::warn!(%error, "the cache cannot be read; computing instead");
            return None;
        }
    };
    let found: Recognition = match serde_json::from_slice(&value) {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(key, %error, "a cached recognition cannot be read; computing it anew");
            return None;
        }
    };
    let generation = match context.searcher.generation().await {
        Ok(generation) => generation,
        Err(error) => {
            tracing::warn!(%error, "the generation cannot be told; computing the recognition anew");
            return None;
        }
    };
    let current = found.model == context.model_name() && found.generation == generation;
    current.then_some(Recognition { cached: true, ..found })
}

async fn compute_and_keep(
    context: &Arc<Context>,
    key: &str,
    md5: String,
    name: String,
    bytes: Bytes,
) -> Result<Recognition, RecogniseError> {
    // Whoever waited for another computation, in this process or in another, finds its result here. Who may compute looks once more: between the
    // look and the claim, another may have kept its result and given its claim back.
    let mut claim = None;
    loop {
        if let Some(found) = cached(context, key).await {
            context.caches.recognitions.hit();
            return Ok(found);
        }
        if claim.is_some() {
            break;
        }
        match Claim::take(context, key).await {
            ClaimOutcome::Others => tokio::time::sleep(LOOK_AGAIN).await,
            ClaimOutcome::Mine(mine) => claim = Some(mine),
            ClaimOutcome::Unknown => break,
        }
    }
    context.caches.recognitions.miss();
    let recognition = compute(context, md5, name, bytes).await?;
    match serde_json::to_vec(&recognition) {
        Ok(value) => {
            let kept = context.ports.cache.set(key, value.into(), context.settings.recognition_ttl).await;
            if let Err(error) = kept {
                tracing::warn!(%error, "a recognition cannot be cached");
            }
        }
        Err(error) => tracing::warn!(%error, "a recognition cannot be written as JSON"),
    }
    drop(claim);
    Ok(recognition)
}

/// Tells other processes that this one computes a recognition. It is given back when dropped, and expires with its process.
struct Claim {
    cache: Arc<dyn Cache>,
    key: String,
}

enum ClaimOutcome {
    /// This process computes.
    Mine(Claim),
    /// Another process does.
    Others,
    /// The cache does not say.
    Unknown,
}

impl Claim {
    async fn take(context: &Arc<Context>, key: &str) -> ClaimOutcome {
        let (cache, key) = (Arc::clone(&context.ports.cache), format!("{key}:computing"));
        match cache.set_if_absent(&key, Bytes::from_static(b"1"), CLAIM).await {
            Ok(true) => ClaimOutcome::Mine(Self { cache, key }),
            Ok(false) => ClaimOutcome::Others,
            Err(error) => {
                tracing::debug!(%error, "the cache does not say who computes");
                ClaimOutcome::Unknown
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let (cache, key) = (Arc::clone(&self.cache), std::mem::take(&mut self.key));
        tokio::spawn(async move {
            if let Err(error) = cache.delete(&key).await {
                tracing::debug!(%error, "a claim stays until it expires");
            }
        });
    }
}

async fn compute(
    context: &Arc<Context>,
    md5: String,
    name: String,
    bytes: Bytes,
) -> Result<Recognition, RecogniseError> {
    let classes = classify(context, bytes.clone()).await?;
    let voters = context.settings.voters;
    let k = (voters * NEIGHBOURS_PER_VOTER).min(context.settings.max_results);
    let request = SearchRequest { k, ..SearchRequest::new(Query::File { name, bytes }) };
    let answer = run::search(context, request).await?;
    Ok(Recognition {
        md5,
        model: context.model_name(),
        generation: answer.generation,
        classes,
        vote: vote(&answer.results, voters),
        cached: false,
    })
}

async fn classify(context: &Arc<Context>, bytes: Bytes) -> Result<Vec<ClassScore>, RecogniseError> {
    if context.model().classification.is_none() {
        return Ok(Vec::new());
    }
    let worker = Arc::clone(context);
    let frame = tokio::task::spawn_blocking(move || {
        prepare(&worker, &bytes, None, FrameSelection::Middle, None)
            .map(|prepared| prepared.frames.into_iter().next())
    })
    .await?
    .map_err(RecogniseError::Decode)?;
    let Some(frame) = frame else { return Ok(Vec::new()) };
    let classes = context.embedding.classify(frame.image).await.map_err(RecogniseError::Embed)?;
    let mut scores: Vec<ClassScore> = classes
        .into_iter()
        .map(|class| ClassScore { label: class.label, probability: class.probability })
        .collect();
    sort_and_cut(&mut scores);
    Ok(scores)
}

/// Share of each label among the `voters` nearest labelled images, each weighing its similarity.
fn vote(hits: &[Hit], voters: usize) -> Vec<ClassScore> {
    let labelled = hits.iter().filter_map(|hit| Some((hit.label.as_deref()?, hit.distance)));
    let mut weights: BTreeMap<&str, f32> = BTreeMap::new();
    for (label, distance) in labelled.take(voters) {
        *weights.entry(label).or_default() += (1.0 - distance).max(f32::EPSILON);
    }
    let total: f32 = weights.values().sum();
    let mut scores: Vec<ClassScore> = weights
        .into_iter()
        .map(|(label, weight)| ClassScore { label: label.to_owned(), probability: weight / total })
        .collect();
    sort_and_cut(&mut scores);
    scores
}

/// Most probable first; ten are enough for people.
fn sort_and_cut(scores: &mut Vec<ClassScore>) {
    scores.sort_by(|left, right| right.probability.total_cmp(&left.probability));
    scores.truncate(10);
}

#[cfg(test)]
mod tests {
    use medindex_proto::identity::ImageId;

    use super::*;

    fn hit(label: Option<&str>, distance: f32) -> Hit {
        Hit {
            rank: 1,
            id: ImageId::new(),
            frame: 0,
            distance,
            name: String::new(),
            label: label.map(str::to_owned),
            modality: None,
            body_part: None,
            study_uid: None,
        }
    }

    #[test]
    fn nearer_neighbours_weigh_more_and_unlabelled_ones_nothing() {
        let hits = [hit(Some("Hand"), 0.1), hit(None, 0.1), hit(Some("CXR"), 0.4), hit(Some("CXR"), 0.9)];
        let scores = vote(&hits, 2);
        assert_eq!(scores[0].label, "Hand");
        assert!((scores[0].probability - 0.6).abs() < 1e-6);
        assert!((scores[1].probability - 0.4).abs() < 1e-6);
        assert!(vote(&[hit(None, 0.0)], 5).is_empty());
    }
}
