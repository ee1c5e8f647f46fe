//! Serves one replica of a search shard.

use std::sync::Arc;

use medindex_index::IndexError;
use medindex_pipeline::{BackendError, Classified as _, ErrorKind, ImageId, Searcher as _, Shard};
use medindex_proto::services as wire;
use medindex_proto::services::search_shard_server::{SearchShard, SearchShardServer};
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use crate::MAX_MESSAGE;
use crate::convert::{read_id, read_request, write_explain, write_hits, write_status};
use crate::trace::go_on;

/// One replica of a search shard.
pub struct ShardService {
    shard: Arc<Shard>,
    /// Its place among the replicas, for people.
    number: u32,
    replica: u32,
}

impl ShardService {
    /// Serves `shard`, which is number `number` of the index's shards, as replica `replica` of it.
    pub fn new(shard: Arc<Shard>, number: u32, replica: u32) -> Self {
        Self { shard, number, replica }
    }

    /// The service for a server.
    pub fn into_server(self) -> SearchShardServer<Self> {
        SearchShardServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }
}

/// How a failure is told to a gateway: only what every replica would refuse is an invalid argument.
fn status_of(error: &BackendError) -> Status {
    match (error, error.kind()) {
        (BackendError::Index(IndexError::InvalidRequest { .. }), _) | (_, ErrorKind::BadRequest) => {
            Status::invalid_argument(error.to_string())
        }
        (_, ErrorKind::Unavailable) => Status::unavailable(error.to_string()),
        _ => Status::internal(error.to_string()),
    }
}

#[tonic::async_trait]
impl SearchShard for ShardService {
    async fn search(
        &self,
        request: Request<wire::SearchRequest>,
    ) -> Result<Response<wire::SearchResponse>, Status> {
        let span = tracing::info_span!(
            "search shard",
            otel.kind = "server",
            shard = self.number,
            replica = self.replica
        );
        let span = go_on(span, request.metadata());
        let request = request.into_inner();
        let expected = self.shard.model_digest();
        if request.model_digest != expected {
            return Err(Status::failed_precondition(format!(
                "the question comes from model {}, this shard holds vectors of {expected}: gateway and shard must have the same model",
                request.model_digest
            )));
        }
        let question = read_request(request).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let found = self.shard.search(question).instrument(span).await.map_err(|error| status_of(&error))?;
        Ok(Response::new(wire::SearchResponse {
            hits: write_hits(&found.hits),
            explain: Some(write_explain(&found.explain)),
            partitions: self.shard.partitions_held().to_vec(),
        }))
    }

    async fn holds(
        &self,
        request: Request<wire::HoldsRequest>,
    ) -> Result<Response<wire::HoldsResponse>, Status> {
        let id = read_id(&request.into_inner().image_id)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let holds = self.shard.holds(&ImageId::from_bytes(id)).await.map_err(|error| status_of(&error))?;
        Ok(Response::new(wire::HoldsResponse { holds }))
    }

    async fn status(
        &self,
        _request: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusResponse>, Status> {
        let index = self.shard.status().await.map_err(|error| status_of(&error))?;
        Ok(Response::new(wire::StatusResponse {
            shard: self.number,
            replica: self.replica,
            partitions: self.shard.partitions_held().to_vec(),
            model_digest: self.shard.model_digest().to_owned(),
            unready: self.shard.unready().await,
            index: Some(write_status(&index)),
        }))
    }
}
