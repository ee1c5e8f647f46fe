//! One search: embed, ask the index, add the catalog's data.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use medindex_backends::catalog::{ImageRecord, ImageStatus};
use medindex_index as index;
use medindex_proto::identity::ImageId;

use crate::context::Context;
use crate::hot_results::{self, Kept};
use crate::search::query::{QueryVector, named_query, query_vector};
use crate::search::{ExplainReport, Hit, QueryDescription, SearchError, SearchRequest, SearchResponse};
use crate::searcher::Found;

/// Results asked for beyond `k`, in case some were deleted a moment ago.
const SPARE: usize = 8;

pub(crate) async fn search(
    context: &Arc<Context>,
    request: SearchRequest,
) -> Result<SearchResponse, SearchError> {
    let started = Instant::now();
    check(context, &request)?;
    let (query, answer) = find(context, &request).await?;
    let looked_up = Instant::now();
    let results = join_catalog(context, &answer.hits, request.k).await?;
    let explain = request.explain.then(|| ExplainReport {
        decode_us: query.decode_us,
        embed_us: query.embed_us,
        catalog_us: looked_up.elapsed().as_micros() as u64,
        index: answer.explain.clone(),
    });
    Ok(SearchResponse {
        query: QueryDescription { id: query.id, name: query.name, region: request.region, k: request.k },
        generation: answer.explain.generation,
        partial: !answer.missing_partitions.is_empty(),
        missing_partitions: answer.missing_partitions,
        took_ms: started.elapsed().as_secs_f64() * 1e3,
        results,
        explain,
    })
}

/// The index's answer, kept or new.
async fn find(context: &Arc<Context>, request: &SearchRequest) -> Result<(QueryVector, Found), SearchError> {
    let kept = hot_results::find(context, request).await;
    if let Kept::Answer(found) = kept {
        return Ok((named_query(context, request).await?, found));
    }
    let query = query_vector(context, request).await?;
    let answer = ask_index(context, request, &query).await?;
    if let Kept::Missing(slot) = kept {
        hot_results::keep(context, slot, &answer).await;
    }
    Ok((query, answer))
}

fn check(context: &Context, request: &SearchRequest) -> Result<(), SearchError> {
    let most = context.settings.max_results;
    if !(1..=most).contains(&request.k) {
        return Err(SearchError::CheckResultCount { k: request.k, most });
    }
    if request.probes == Some(0) {
        return Err(SearchError::CheckProbes);
    }
    Ok(())
}

async fn ask_index(
    context: &Arc<Context>,
    request: &SearchRequest,
    query: &QueryVector,
) -> Result<Found, SearchError> {
    let question = index::SearchRequest {
        filter: request.filter.clone(),
        group_by: request.group_by,
        probes: request.probes,
        exact: request.exact,
        exclude: query.id.map(|id| *id.as_bytes()),
        ..index::SearchRequest::new(query.vector.clone(), request.k + SPARE)
    };
    let found = context.searcher.search(question).await?;
    if request.whole && !found.missing_partitions.is_empty() {
        return Err(SearchError::CheckWhole { missing: found.missing_partitions });
    }
    Ok(found)
}

/// The first `k` hits that the catalog still has, with its data.
async fn join_catalog(
    context: &Arc<Context>,
    hits: &[index::Hit],
    k: usize,
) -> Result<Vec<Hit>, SearchError> {
    let ids: Vec<ImageId> = hits.iter().map(|hit| ImageId::from_bytes(hit.key.id)).collect();
    let distinct: Vec<ImageId> = ids.iter().copied().collect::<HashSet<_>>().into_iter().collect();
    let records = context.ports.catalog.images(&distinct).await?;
    let records: std::collections::HashMap<ImageId, ImageRecord> = records
        .into_iter()
        .flatten()
        .filter(|record| record.status != ImageStatus::Deleting)
        .map(|record| (record.image.id, record))
        .collect();
    let present = hits.iter().zip(ids).filter_map(|(hit, id)| Some((hit, records.get(&id)?)));
    Ok(present.take(k).enumerate().map(|(place, (hit, record))| shown(place + 1, hit, record)).collect())
}

fn shown(rank: usize, hit: &index::Hit, record: &ImageRecord) -> Hit {
    let image = &record.image;
    Hit {
        rank,
        id: image.id,
        frame: hit.key.frame,
        distance: hit.distance,
        name: image.name.clone(),
        label: image.label.clone(),
        modality: image.description.modality.clone(),
        body_part: image.description.body_part.clone(),
        study_uid: image.description.study_uid.clone(),
    }
}
