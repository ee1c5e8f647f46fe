//! Wrong settings end the program at once, with a line that names them.

use medindex_testbed::settings::{Program, REFUSED_BY_ALL};

const PROGRAM: Program =
    Program { path: env!("CARGO_BIN_EXE_medindex-search"), required: &["--data", "/data"] };

#[test]
fn values_out_of_range_are_named_with_what_is_allowed() {
    PROGRAM.assert_refuses(&REFUSED_BY_ALL);
}

#[test]
fn every_setting_is_documented() {
    PROGRAM.assert_documented();
}

#[test]
fn more_shards_than_partitions_are_refused() {
    PROGRAM.assert_refuses(&[(&["--partitions", "3", "--shards", "4"], "4 shards do not fit 3 partitions")]);
}
