//! Taking over published segments: those of the shard's own set of partitions as they are, else rows out of those that cover it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use medindex_backends::Positions;
use medindex_index::{EntryKey, Index, IndexOptions, LogPositions};
use medindex_proto::identity::{ImageId, partition_of};
use serde::Serialize;

use super::description::{self, Publication};
use super::lease::Lease;
use super::{SegmentsError, description_blob, fetch, layout_name, published_layouts};
use crate::generations;
use crate::shard::Shard;

/// How often a reader begins again because files were replaced while it read.
const ATTEMPTS: usize = 3;
/// Folder of what is being fetched, within the index's.
const INCOMING: &str = "incoming";

/// Where a shard's index came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadSource {
    /// There was nothing to load: the change log has everything.
    Log,
    /// Its own last snapshot.
    Disk,
    /// Published segments.
    Segments,
    /// The rows of the image store.
    Scan,
}

impl LoadSource {
    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Disk => "disk",
            Self::Segments => "segments",
            Self::Scan => "scan",
        }
    }
}

/// Replaces what the shard has by published segments, and brings it to the active generation. `false` when there are none that can be used:
/// the shard is empty then. `first` and `ends` are those of the change log.
pub(crate) async fn load(
    shard: &Arc<Shard>,
    first: &Positions,
    ends: &Positions,
) -> Result<bool, SegmentsError> {
    let reader = Reader { shard, first, ends, incoming: shard.index.path().join(INCOMING) };
    let taken = match reader.take_own().await {
        Ok(true) => true,
        Ok(false) => reader.take_others().await?,
        Err(error) => return Err(error),
    };
    fetch::remove(&reader.incoming)?;
    Ok(taken)
}

struct Reader<'a> {
    shard: &'a Arc<Shard>,
    first: &'a Positions,
    ends: &'a Positions,
    incoming: PathBuf,
}

impl Reader<'_> {
    /// Takes over the publication of the shard's own set of partitions.
    async fn take_own(&self) -> Result<bool, SegmentsError> {
        let layout = layout_name(&self.shard.held, self.shard.partitions);
        for attempt in 1.. {
            let lease = Lease::take(&self.shard.ports.store, &layout).await?;
            let outcome = self.adopt(&layout).await;
            lease.give_back().await;
            match outcome {
                Err(SegmentsError::FindPart { blob }) if attempt < ATTEMPTS => {
                    tracing::info!(
                        blob,
                        "published segments were replaced while they were read; begun again"
                    );
                }
                Err(error) if error.is_refusal() => {
                    self.refuse(&error);
                    return Ok(false);
                }
                other => return other,
            }
        }
        Ok(false)
    }

    async fn adopt(&self, layout: &str) -> Result<bool, SegmentsError> {
        let shard = self.shard;
        let Some(publication) = description::read(shard, layout).await? else { return Ok(false) };
        self.check(&publication, &shard.held).await?;
        self.say(&publication);
        fetch::fetch(&shard.ports.store, &publication, &self.incoming).await?;
        let (index, incoming) = (Arc::clone(&shard.index), self.incoming.clone());
        tokio::task::spawn_blocking(move || index.adopt(&incoming)).await?.map_err(SegmentsError::Adopt)?;
        generations::bring_up_to_date(shard).await?;
        Ok(true)
    }

    /// Takes the shard's rows out of publications of other sets of partitions.
    async fn take_others(&self) -> Result<bool, SegmentsError> {
        let index = Arc::clone(&self.shard.index);
        tokio::task::spawn_blocking(move || index.clear()).await??;
        generations::bring_up_to_date(self.shard).await?;
        let Some(sources) = self.sources().await? else { return Ok(false) };
        for (layout, partitions) in sources {
            let lease = Lease::take(&self.shard.ports.store, &layout).await?;
            let outcome = self.absorb(&layout, &partitions).await;
            lease.give_back().await;
            match outcome {
                Ok(()) => {}
                Err(error) if error.is_refusal() => {
                    self.refuse(&error);
                    let index = Arc::clone(&self.shard.index);
                    tokio::task::spawn_blocking(move || index.clear()).await??;
                    generations::bring_up_to_date(self.shard).await?;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Which of the shard's partitions to take from which layout, each from the one published last; `None` when a partition is in none.
    async fn sources(&self) -> Result<Option<BTreeMap<String, BTreeSet<u32>>>, SegmentsError> {
        let shard = self.shard;
        let own = layout_name(&shard.held, shard.partitions);
        let mut newest: BTreeMap<u32, (i64, String)> = BTreeMap::new();
        for layout in published_layouts(shard.ports.store.as_ref()).await? {
            if layout == own {
                continue;
            }
            let publication = match description::read(shard, &layout).await {
                Ok(Some(publication)) => publication,
                Ok(None) => continue,
                Err(error) if error.is_refusal() => {
                    self.refuse(&error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for &partition in publication.partitions.iter().filter(|held| shard.held.contains(held)) {
                let candidate = (publication.published_at_ms, layout.clone());
                let best = newest.entry(partition).or_insert_with(|| candidate.clone());
                if *best < candidate {
                    *best = candidate;
                }
            }
        }
        if newest.len() < shard.held.len() {
            return Ok(None);
        }
        let mut sources: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for (partition, (_, layout)) in newest {
            sources.entry(layout).or_default().insert(partition);
        }
        Ok(Some(sources))
    }

    async fn absorb(&self, layout: &str, partitions: &BTreeSet<u32>) -> Result<(), SegmentsError> {
        let shard = self.shard;
        let blob = description_blob(layout);
        let publication = description::read(shard, layout).await?.ok_or(SegmentsError::FindPart { blob })?;
        let wanted: Vec<u32> = partitions.iter().copied().collect();
        self.check(&publication, &wanted).await?;
        self.say(&publication);
        fetch::fetch(&shard.ports.store, &publication, &self.incoming).await?;
        let options = IndexOptions {
            verify_vectors_up_to: u64::MAX,
            ..IndexOptions::new(shard.model().embedding.dimension, shard.model_digest())
        };
        let of = |partition: &u32| publication.positions.get(partition).copied().unwrap_or(0);
        let positions: LogPositions =
            partitions.iter().map(|partition| (*partition, of(partition))).collect();
        let (index, incoming) = (Arc::clone(&shard.index), self.incoming.clone());
        let (count, wanted) = (shard.partitions, partitions.clone());
        let absorbed = tokio::task::spawn_blocking(move || {
            let other = Index::open(&incoming, options)?;
            let keep = |key: &EntryKey| wanted.contains(&partition_of(&ImageId::from_bytes(key.id), count));
            index.absorb(&other, keep, &positions)
        });
        absorbed.await?.map_err(SegmentsError::Adopt)
    }

    /// Refuses what this index or this machine cannot use for the `wanted` partitions.
    async fn check(&self, publication: &Publication, wanted: &[u32]) -> Result<(), SegmentsError> {
        let blob = || description_blob(&publication.layout());
        let of = |positions: &Positions, partition: u32| positions.get(&partition).copied().unwrap_or(0);
        for &partition in wanted {
            let position = publication.positions.get(&partition).copied().unwrap_or(0);
            let (first, end) = (of(self.first, partition), of(self.ends, partition));
            if position < first || position > end {
                return Err(SegmentsError::CheckPosition { blob: blob(), partition, position, first, end });
            }
        }
        let generation = publication.generation;
        if !generations::is_known(self.shard, generation, publication.quantizer).await? {
            return Err(SegmentsError::CheckGeneration { blob: blob(), found: generation });
        }
        let rows = publication.rows * wanted.len() as u64 / (publication.partitions.len() as u64).max(1);
        let held = self.shard.index.row_count() as u64 * u64::from(wanted.len() < self.shard.held.len());
        Ok(self.shard.memory.check(held + rows)?)
    }

    fn say(&self, publication: &Publication) {
        let (layout, entries) = (publication.layout(), publication.entries);
        tracing::info!(layout, entries, "published segments are taken over");
        *self.shard.loading.lock() = Some(format!("it takes over {entries} entries of published segments"));
    }

    fn refuse(&self, error: &SegmentsError) {
        self.shard.loaded.refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%error, "published segments are refused");
    }
}
