//! Wrong settings end the program at once, with a line that names them and a status of its own.

#![allow(clippy::unwrap_used)]

use medindex_testbed::settings::{Program, REFUSED_BY_ALL, errors};

const PROGRAM: Program =
    Program { path: env!("CARGO_BIN_EXE_medindex-importer"), required: &["--model-folder", "/model"] };

#[test]
fn values_out_of_range_are_named_with_what_is_allowed() {
    let own: [(&[&str], &str); 3] = [
        (&["--images-per-second", "0"], "--images-per-second"),
        (&["--lesion-window", "lungs"], "unknown window"),
        (&["--labels", "a.csv", "--label-from-folder"], "--label-from-folder"),
    ];
    for (more, named) in REFUSED_BY_ALL.into_iter().chain(own) {
        let output = PROGRAM.run(&[&["--source", "."], more].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}: {}", errors(&output));
        assert!(errors(&output).contains(named), "{more:?}: {}", errors(&output));
    }
    let output = PROGRAM.run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("--source"), "{}", errors(&output));
}

#[test]
fn what_cannot_be_read_ends_it_before_it_connects() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("DL_info.csv");
    std::fs::write(&table, "File_name,Bounding_boxes\n").unwrap();
    let cases: [(&[&str], i32, &str); 4] = [
        (&["--source", "/nowhere/at/all"], 3, "cannot read /nowhere/at/all"),
        (&["--source", "/nowhere/*.dcm"], 3, "no file matches"),
        (&["--source", &folder.path().display().to_string()], 4, "Patient_index"),
        (&["--source", env!("CARGO_MANIFEST_DIR"), "--failures", "/nowhere/failures.csv"], 1, "--failures"),
    ];
    for (more, status, named) in cases {
        let output = PROGRAM.run(more);
        assert_eq!(output.status.code(), Some(status), "{more:?}: {}", errors(&output));
        assert!(errors(&output).contains(named), "{more:?}: {}", errors(&output));
    }
}

#[test]
fn every_setting_is_documented() {
    PROGRAM.assert_documented();
}
