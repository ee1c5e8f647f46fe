//! Wrong settings end the program at once, with a line that names them.

use medindex_testbed::settings::{Program, REFUSED_BY_ALL};

const PROGRAM: Program = Program {
    path: env!("CARGO_BIN_EXE_medindex-gateway"),
    required: &["--search", "127.0.0.1:9", "--embedders", "127.0.0.1:9", "--listen", "127.0.0.1:0"],
};

#[test]
fn values_out_of_range_are_named_with_what_is_allowed() {
    PROGRAM.assert_refuses(&REFUSED_BY_ALL);
    PROGRAM.assert_refuses(&[
        (&["--otlp-endpoint", "collector:4317"], "--otlp-endpoint"),
        (&["--alarm-seconds", "0"], "--alarm-seconds"),
    ]);
}

#[test]
fn every_setting_is_documented() {
    PROGRAM.assert_documented();
}
