//! How many rows to ask for at a time, so that an answer stays within what a Thrift server's memory bears.

/// Bytes that an answer should have at most, unless single rows are larger.
pub(crate) const ANSWER_BYTES: usize = 8 << 20;
/// Rows asked for first, while nothing is known of their sizes.
const FIRST_ROWS: usize = 16;
/// Most rows asked for at a time with a data cell each: should all the next ones be full, an answer has 128 MiB.
const MOST_WITH_DATA: usize = 32;
/// Most rows asked for at a time without data.
const MOST_WITHOUT_DATA: usize = 1000;

/// Looks at the sizes of rows that came and says how many to ask for next.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    rows: usize,
    most: usize,
}

impl Pace {
    /// For rows with a cell of data each, or without.
    pub(crate) fn new(with_data: bool) -> Self {
        Self { rows: FIRST_ROWS, most: if with_data { MOST_WITH_DATA } else { MOST_WITHOUT_DATA } }
    }

    /// Rows to ask for, 1 and up.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Learns that `rows` rows came with `bytes` bytes. Grows at most fourfold at a time.
    pub(crate) fn learn(&mut self, rows: usize, bytes: usize) {
        if let Some(size) = bytes.checked_div(rows) {
            let fitting = ANSWER_BYTES / size.max(1);
            self.rows = fitting.min(self.rows * 4).clamp(1, self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_rows_come_in_crowds_and_large_ones_by_the_few() {
        let mut pace = Pace::new(false);
        for _ in 0..5 {
            pace.learn(pace.rows(), pace.rows() * 100);
        }
        assert_eq!(pace.rows(), MOST_WITHOUT_DATA);
        pace.learn(10, 10 * (4 << 20));
        assert_eq!(pace.rows(), 2);
        pace.learn(1, 100 << 20);
        assert_eq!(pace.rows(), 1);
        pace.learn(0, 0);
        assert_eq!(pace.rows(), 1);
    }
}
