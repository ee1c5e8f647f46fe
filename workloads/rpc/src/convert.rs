//! Between the messages of the gRPC services and the types of the index.

use bytes::Bytes;
use medindex_index as index;
use medindex_proto::services as wire;

/// What a peer sent that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A filter names a field that this release does not know.
    #[error(transparent)]
    ReadField(#[from] index::UnknownField),
    /// An identity has another length.
    #[error("an image id has {0} bytes, not 16")]
    ReadId(usize),
    /// A picture whose pixels do not fit its size.
    #[error("a picture of {width} x {height} pixels and {channels} channels with {bytes} bytes")]
    ReadPicture {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes a pixel.
        channels: u32,
        /// Bytes that came.
        bytes: usize,
    },
}

/// The 16 bytes of an identity.
///
/// # Errors
/// [`ConvertError::ReadId`].
pub fn read_id(bytes: &Bytes) -> Result<[u8; 16], ConvertError> {
    bytes.as_ref().try_into().map_err(|_| ConvertError::ReadId(bytes.len()))
}

/// A question as it is sent.
pub fn write_request(request: &index::SearchRequest, model_digest: &str) -> wire::SearchRequest {
    wire::SearchRequest {
        vector: request.vector.clone(),
        model_digest: model_digest.to_owned(),
        k: request.k as u32,
        filter: write_filter(&request.filter),
        group_by: write_group(request.group_by).into(),
        probes: request.probes.map(|probes| probes as u32),
        rerank: request.rerank.map(|rerank| rerank as u32),
        exact: request.exact,
        exclude: request.exclude.map(|id| Bytes::copy_from_slice(&id)).unwrap_or_default(),
    }
}

/// A question as it came.
///
/// # Errors
/// [`ConvertError`].
pub fn read_request(request: wire::SearchRequest) -> Result<index::SearchRequest, ConvertError> {
    let group_by = match request.group_by() {
        wire::GroupBy::None => index::GroupBy::None,
        wire::GroupBy::Image => index::GroupBy::Image,
        wire::GroupBy::Study => index::GroupBy::Study,
        wire::GroupBy::Patient => index::GroupBy::Patient,
    };
    let exclude = if request.exclude.is_empty() { None } else { Some(read_id(&request.exclude)?) };
    Ok(index::SearchRequest {
        filter: request.filter.map_or(Ok(index::Filter::All), read_filter)?,
        group_by,
        probes: request.probes.map(|probes| probes as usize),
        rerank: request.rerank.map(|rerank| rerank as usize),
        exact: request.exact,
        exclude,
        ..index::SearchRequest::new(request.vector, request.k as usize)
    })
}

fn write_group(group_by: index::GroupBy) -> wire::GroupBy {
    match group_by {
        index::GroupBy::None => wire::GroupBy::None,
        index::GroupBy::Image => wire::GroupBy::Image,
        index::GroupBy::Study => wire::GroupBy::Study,
        index::GroupBy::Patient => wire::GroupBy::Patient,
    }
}

fn write_filter(filter: &index::Filter) -> Option<wire::Filter> {
    use wire::filter::Condition;
    let many = |filters: &[index::Filter]| wire::Filters {
        filters: filters.iter().map(|filter| write_filter(filter).unwrap_or_default()).collect(),
    };
    let condition = match filter {
        index::Filter::All => return None,
        index::Filter::Equals { field, value } => Condition::AnyOf(wire::FieldValues {
            field: field.name().to_owned(),
            values: vec![value.clone()],
        }),
        index::Filter::In { field, values } => {
            Condition::AnyOf(wire::FieldValues { field: field.name().to_owned(), values: values.clone() })
        }
        index::Filter::TimeRange { from_ms, to_ms } => {
            Condition::Time(wire::TimeRange { from_ms: *from_ms, to_ms: *to_ms })
        }
        index::Filter::And(filters) => Condition::All(many(filters)),
        index::Filter::Or(filters) => Condition::Any(many(filters)),
        index::Filter::Not(filter) => Condition::Not(Box::new(write_filter(filter).unwrap_or_default())),
    };
    Some(wire::Filter { condition: Some(condition) })
}

fn read_filter(filter: wire::Filter) -> Result<index::Filter, ConvertError> {
    use wire::filter::Condition;
    let many =
        |filters: wire::Filters| filters.filters.into_iter().map(read_filter).collect::<Result<_, _>>();
    Ok(match filter.condition {
        None => index::Filter::All,
        Some(Condition::AnyOf(wire::FieldValues { field, mut values })) => {
            let field = field.parse()?;
            match (values.len(), values.pop()) {
                (1, Some(value)) => index::Filter::Equals { field, value },
                (_, last) => {
                    values.extend(last);
                    index::Filter::In { field, values }
                }
            }
        }
        Some(Condition::Time(wire::TimeRange { from_ms, to_ms })) => {
            index::Filter::TimeRange { from_ms, to_ms }
        }
        Some(Condition::All(filters)) => index::Filter::And(many(filters)?),
        Some(Condition::Any(filters)) => index::Filter::Or(many(filters)?),
        Some(Condition::Not(filter)) => index::Filter::Not(Box::new(read_filter(*filter)?)),
    })
}

/// Hits as they are sent.
pub fn write_hits(hits: &[index::Hit]) -> Vec<wire::Hit> {
    let write = |hit: &index::Hit| wire::Hit {
        image_id: Bytes::copy_from_slice(&hit.key.id),
        frame: hit.key.frame,
        distance: hit.distance,
        group: hit.group,
    };
    hits.iter().map(write).collect()
}

/// Hits as they came.
///
/// # Errors
/// [`ConvertError::ReadId`].
pub fn read_hits(hits: &[wire::Hit]) -> Result<Vec<index::Hit>, ConvertError> {
    let read = |hit: &wire::Hit| {
        let key = index::EntryKey::new(read_id(&hit.image_id)?, hit.frame);
        Ok(index::Hit { key, distance: hit.distance, group: hit.group })
    };
    hits.iter().map(read).collect()
}

/// An explanation as it is sent.
pub fn write_explain(explain: &index::Explain) -> wire::Explain {
    let times = explain.microseconds;
    let plan = match explain.filter_plan {
        index::FilterPlan::None => wire::FilterPlan::None,
        index::FilterPlan::Empty => wire::FilterPlan::Empty,
        index::FilterPlan::InScan => wire::FilterPlan::InScan,
        index::FilterPlan::WidenedProbes => wire::FilterPlan::WidenedProbes,
        index::FilterPlan::Gather => wire::FilterPlan::Gather,
        index::FilterPlan::Exact => wire::FilterPlan::Exact,
    };
    wire::Explain {
        generation: explain.generation,
        kernel: explain.kernel.clone().into_owned(),
        segments: explain.segments as u64,
        tail_rows: explain.tail_rows as u64,
        entries: explain.entries as u64,
        lists_total: explain.lists_total as u64,
        lists_probed: explain.lists_probed as u64,
        blocks_scanned: explain.blocks_scanned as u64,
        blocks_skipped: explain.blocks_skipped as u64,
        codes_scanned: explain.codes_scanned as u64,
        reranked: explain.reranked as u64,
        exact_scored: explain.exact_scored as u64,
        filter_plan: plan.into(),
        filter_selectivity: explain.filter_selectivity,
        batch: explain.batch as u64,
        microseconds: Some(wire::StepTimes {
            filter: times.filter,
            transform: times.transform,
            coarse: times.coarse,
            tables: times.tables,
            scan: times.scan,
            rerank: times.rerank,
            exact: times.exact,
            merge: times.merge,
            total: times.total,
        }),
    }
}

/// An explanation as it came.
pub fn read_explain(explain: wire::Explain) -> index::Explain {
    let filter_plan = match explain.filter_plan() {
        wire::FilterPlan::None => index::FilterPlan::None,
        wire::FilterPlan::Empty => index::FilterPlan::Empty,
        wire::FilterPlan::InScan => index::FilterPlan::InScan,
        wire::FilterPlan::WidenedProbes => index::FilterPlan::WidenedProbes,
        wire::FilterPlan::Gather => index::FilterPlan::Gather,
        wire::FilterPlan::Exact => index::FilterPlan::Exact,
    };
    let times = explain.microseconds.unwrap_or_default();
    index::Explain {
        generation: explain.generation,
        kernel: explain.kernel.into(),
        segments: explain.segments as usize,
        tail_rows: explain.tail_rows as usize,
        entries: explain.entries as usize,
        lists_total: explain.lists_total as usize,
        lists_probed: explain.lists_probed as usize,
        blocks_scanned: explain.blocks_scanned as usize,
        blocks_skipped: explain.blocks_skipped as usize,
        codes_scanned: explain.codes_scanned as usize,
        reranked: explain.reranked as usize,
        exact_scored: explain.exact_scored as usize,
        filter_plan,
        filter_selectivity: explain.filter_selectivity,
        batch: explain.batch as usize,
        microseconds: index::StepTimes {
            filter: times.filter,
            transform: times.transform,
            coarse: times.coarse,
            tables: times.tables,
            scan: times.scan,
            rerank: times.rerank,
            exact: times.exact,
            merge: times.merge,
            total: times.total,
        },
    }
}

/// A status as it is sent.
pub fn write_status(status: &index::IndexStatus) -> wire::IndexStatus {
    wire::IndexStatus {
        entries: status.entries as u64,
        removed: status.removed as u64,
        tail_rows: status.tail_rows as u64,
        segments: status.segments as u64,
        coded_segments: status.coded_segments as u64,
        generation: status.generation,
        previous_generation: status.previous_generation,
        built_generation: status.built_generation,
        lists: status.lists as u64,
        memory_bytes: status.memory_bytes,
        mapped_bytes: status.mapped_bytes,
        log_positions: status.log_positions.clone(),
        durable_positions: status.durable_positions.clone(),
    }
}

/// A status as it came.
pub fn read_status(status: wire::IndexStatus) -> index::IndexStatus {
    index::IndexStatus {
        entries: status.entries as usize,
        removed: status.removed as usize,
        tail_rows: status.tail_rows as usize,
        segments: status.segments as usize,
        coded_segments: status.coded_segments as usize,
        generation: status.generation,
        previous_generation: status.previous_generation,
        built_generation: status.built_generation,
        lists: status.lists as usize,
        memory_bytes: status.memory_bytes,
        mapped_bytes: status.mapped_bytes,
        log_positions: status.log_positions,
        durable_positions: status.durable_positions,
    }
}

#[cfg(test)]
mod tests {
    use medindex_index::{Field, Filter, GroupBy, SearchRequest};

    use super::*;

    #[test]
    fn a_question_comes_back_as_it_was_sent() {
        let filter = Filter::And(vec![
            Filter::equals(Field::Modality, "CT"),
            Filter::In { field: Field::Label, values: vec!["a".into(), "b".into()] },
            Filter::Or(vec![Filter::TimeRange { from_ms: -5, to_ms: 7 }, Filter::All]),
            Filter::Not(Box::new(Filter::In { field: Field::Study, values: vec![] })),
        ]);
        let request = SearchRequest {
            filter,
            group_by: GroupBy::Patient,
            probes: Some(3),
            rerank: None,
            exact: true,
            exclude: Some([7; 16]),
            ..SearchRequest::new(vec![0.5, -1.0], 12)
        };
        let sent = write_request(&request, "digest");
        assert_eq!(sent.model_digest, "digest");
        let came = read_request(sent).unwrap();
        assert_eq!(format!("{came:?}"), format!("{request:?}"));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let unknown = wire::FieldValues { field: "colour".into(), values: vec!["red".into()] };
        let filter = wire::Filter { condition: Some(wire::filter::Condition::AnyOf(unknown)) };
        let request = wire::SearchRequest { filter: Some(filter), ..wire::SearchRequest::default() };
        assert!(read_request(request).unwrap_err().to_string().contains("colour"));
        let request = wire::SearchRequest { exclude: vec![1, 2].into(), ..wire::SearchRequest::default() };
        assert_eq!(read_request(request).unwrap_err(), ConvertError::ReadId(2));
    }

    #[test]
    fn explanations_come_back_as_they_were_sent() {
        let explain = index::Explain {
            generation: 3,
            kernel: "avx2".into(),
            codes_scanned: 99,
            filter_plan: index::FilterPlan::Gather,
            ..index::Explain::default()
        };
        assert_eq!(read_explain(write_explain(&explain)), explain);
    }
}
