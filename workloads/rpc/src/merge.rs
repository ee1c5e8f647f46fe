//! Answers of several shards, put together.

use std::collections::HashSet;

use medindex_index::{Explain, FilterPlan, GroupBy, Hit, IndexStatus};

/// The nearest `k` hits of all answers, one of each group; hits that two answers have in common count once.
///
/// Every shard ranks by the exact distance, so that distances of different shards compare, whatever generation answered.
pub fn merge_hits(answers: Vec<Vec<Hit>>, k: usize, group_by: GroupBy) -> Vec<Hit> {
    let mut hits: Vec<Hit> = answers.into_iter().flatten().collect();
    hits.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then(a.key.cmp(&b.key)));
    let (mut keys, mut groups) = (HashSet::with_capacity(hits.len()), HashSet::new());
    hits.retain(|hit| keys.insert(hit.key) && (group_by == GroupBy::None || groups.insert(hit.group)));
    hits.truncate(k);
    hits
}

/// One explanation for all shards: counters are sums, times those of the slowest shard, the generation the oldest that answered.
pub fn merge_explain(explains: &[Explain]) -> Explain {
    let mut merged = Explain::default();
    let Some(slowest) = explains.iter().max_by(|a, b| a.microseconds.total.total_cmp(&b.microseconds.total))
    else {
        return merged;
    };
    let mut let_through = 0.0;
    for explain in explains {
        merged.segments += explain.segments;
        merged.tail_rows += explain.tail_rows;
        merged.entries += explain.entries;
        merged.lists_total = merged.lists_total.max(explain.lists_total);
        merged.lists_probed += explain.lists_probed;
        merged.blocks_scanned += explain.blocks_scanned;
        merged.blocks_skipped += explain.blocks_skipped;
        merged.codes_scanned += explain.codes_scanned;
        merged.reranked += explain.reranked;
        merged.exact_scored += explain.exact_scored;
        merged.batch = merged.batch.max(explain.batch);
        let_through += explain.filter_selectivity * explain.entries as f32;
    }
    merged.generation = explains.iter().map(|explain| explain.generation).min().unwrap_or_default();
    merged.kernel.clone_from(&slowest.kernel);
    merged.filter_plan = if explains.iter().all(|explain| explain.filter_plan == FilterPlan::Empty) {
        FilterPlan::Empty
    } else {
        slowest.filter_plan
    };
    merged.filter_selectivity =
        if merged.entries == 0 { slowest.filter_selectivity } else { let_through / merged.entries as f32 };
    merged.microseconds = slowest.microseconds;
    merged
}

/// One status for shards that hold disjoint partitions: sums, and the oldest generation.
pub fn merge_status(statuses: Vec<IndexStatus>) -> IndexStatus {
    let generation = statuses.iter().map(|status| status.generation).min().unwrap_or_default();
    let mut merged = IndexStatus { generation, ..IndexStatus::default() };
    for status in statuses {
        merged.entries += status.entries;
        merged.removed += status.removed;
        merged.tail_rows += status.tail_rows;
        merged.segments += status.segments;
        merged.coded_segments += status.coded_segments;
        merged.lists = merged.lists.max(status.lists);
        merged.memory_bytes += status.memory_bytes;
        merged.mapped_bytes += status.mapped_bytes;
        merged.previous_generation = merged.previous_generation.max(status.previous_generation);
        merged.built_generation = merged.built_generation.max(status.built_generation);
        merged.log_positions.extend(status.log_positions);
        merged.durable_positions.extend(status.durable_positions);
    }
    merged
}

#[cfg(test)]
mod tests {
    use medindex_index::{EntryKey, StepTimes};

    use super::*;

    fn hit(id: u8, distance: f32, group: u64) -> Hit {
        Hit { key: EntryKey::new([id; 16], 0), distance, group }
    }

    #[test]
    fn the_nearest_of_all_shards_come_first_and_each_once() {
        let answers = vec![vec![hit(1, 0.1, 0), hit(2, 0.4, 0)], vec![hit(3, 0.2, 0), hit(1, 0.1, 0)]];
        let merged = merge_hits(answers, 2, GroupBy::None);
        assert_eq!(merged, [hit(1, 0.1, 0), hit(3, 0.2, 0)]);
    }

    #[test]
    fn a_study_on_two_shards_is_one_result() {
        let answers = vec![vec![hit(1, 0.3, 7), hit(2, 0.4, 8)], vec![hit(3, 0.2, 7), hit(4, 0.5, 9)]];
        let merged = merge_hits(answers, 3, GroupBy::Study);
        assert_eq!(merged, [hit(3, 0.2, 7), hit(2, 0.4, 8), hit(4, 0.5, 9)]);
    }

    #[test]
    fn counters_are_sums_and_times_those_of_the_slowest() {
        let explain = |generation, codes_scanned, total| Explain {
            generation,
            codes_scanned,
            microseconds: StepTimes { total, ..StepTimes::default() },
            ..Explain::default()
        };
        let merged = merge_explain(&[explain(2, 10, 5.0), explain(1, 20, 9.0)]);
        assert_eq!((merged.generation, merged.codes_scanned), (1, 30));
        assert!((merged.microseconds.total - 9.0).abs() < f32::EPSILON);
    }
}
