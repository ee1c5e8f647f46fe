//! Which offsets a partition of a damaged store may have messages at. Pure.
//!
//! The record of a partition (first offset kept, next offset) carries no checksum, and neither do the keys of its messages. Guarantees: a record that is
//! possible loses nothing by what is found, so that an offset that was given is not given again; what comes out is never more than could have room in the
//! store, so that a wrong number does not make the salvage search for years.

/// The extent of a partition: its record, widened by the outermost messages that can be reached, as far as all of that is possible. `most` messages have
/// room in the store. `None` where nothing is known.
pub(super) fn corrected_extent(
    recorded: Option<(u64, u64)>,
    least: Option<u64>,
    greatest: Option<u64>,
    most: u64,
) -> Option<(u64, u64)> {
    let fits = |first: u64, end: u64| end.checked_sub(first).is_some_and(|length| length <= most);
    let past = greatest.map(|greatest| greatest.saturating_add(1));
    if let Some((first, end)) = recorded.filter(|(first, end)| fits(*first, *end)) {
        let first = least.filter(|least| *least < first && fits(*least, end)).unwrap_or(first);
        let end = past.filter(|past| *past > end && fits(first, *past)).unwrap_or(end);
        return Some((first, end));
    }
    match (recorded, least, past) {
        (_, Some(least), Some(past)) => Some((least, past.clamp(least, least.saturating_add(most)))),
        (_, Some(least), None) => Some((least, least.saturating_add(most))),
        (_, None, Some(past)) => Some((past.saturating_sub(most), past)),
        (Some((first, end)), None, None) => Some((first.max(end), first.max(end))),
        (None, None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::corrected_extent;

    const MOST: u64 = 1_000;

    #[test]
    fn a_possible_record_is_kept_and_at_most_widened() {
        for (recorded, least, greatest, expected) in [
            // Whole; trimmed to nothing; its messages lost at one end or at both.
            ((3, 50), Some(3), Some(49), (3, 50)),
            ((50, 50), None, None, (50, 50)),
            ((0, 100), Some(0), Some(94), (0, 100)),
            ((0, 100), Some(20), Some(60), (0, 100)),
            ((0, 100), None, None, (0, 100)),
            // Wrong by a little.
            ((40, 50), Some(3), Some(49), (3, 50)),
            ((0, 40), Some(0), Some(49), (0, 50)),
            // The key of a message is wrong.
            ((5_000_000, 5_000_100), Some(805_696), Some(5_000_099), (5_000_000, 5_000_100)),
            ((0, 50), Some(0), Some(1 << 40), (0, 50)),
        ] {
            assert_eq!(
                corrected_extent(Some(recorded), least, greatest, MOST),
                Some(expected),
                "{recorded:?}"
            );
        }
    }

    #[test]
    fn without_a_possible_record_the_messages_tell_and_the_search_is_bounded() {
        for (recorded, least, greatest, expected) in [
            (Some((0, 1 << 60)), Some(0), Some(49), Some((0, 50))),
            (Some((1 << 50, 0)), Some(3), Some(49), Some((3, 50))),
            (Some((0, 1 << 60)), Some(0), None, Some((0, MOST))),
            (Some((0, 1 << 60)), None, Some(5_000), Some((4_001, 5_001))),
            (None, Some(7), Some(1 << 60), Some((7, 7 + MOST))),
            (None, Some(u64::MAX), Some(u64::MAX), Some((u64::MAX, u64::MAX))),
            (None, Some(9), Some(3), Some((9, 9))),
            // Nothing is left, and no offset is given twice.
            (Some((0, 1 << 60)), None, None, Some((1 << 60, 1 << 60))),
            (None, None, None, None),
        ] {
            assert_eq!(corrected_extent(recorded, least, greatest, MOST), expected, "{recorded:?}");
        }
    }
}
