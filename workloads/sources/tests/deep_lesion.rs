//! The DeepLesion layout as a source: what is read of a data set, and what is refused row by row.
#![allow(clippy::unwrap_used, reason = "a test stops where its ground gives way")]

use std::path::Path;

use bytes::Bytes;
use medindex_imaging::{Limits, WindowChoice, WindowPreset};
use medindex_pipeline::Sidecar;
use medindex_sources::{Items, Labels, LesionWindow, SourceErrorKind, expand};
use medindex_testbed::deep_lesion::{ExampleSlice, write_data_set};
use tokio_util::sync::CancellationToken;

/// An item after it was read.
#[derive(Debug)]
struct Read {
    name: String,
    label: Option<String>,
    sidecar: Option<Sidecar>,
    outcome: Result<Bytes, String>,
}

fn read(path: &Path, window: LesionWindow) -> Vec<Read> {
    let limits = Limits::default();
    let candidates = expand(&[path.display().to_string()], &limits).unwrap();
    let (items, remainder) = Items::new(candidates, Labels::None, limits, window, CancellationToken::new());
    let read = items.map(|item| Read {
        name: item.name,
        label: item.label,
        sidecar: item.sidecar,
        outcome: (item.read)().map_err(|error| error.to_string()),
    });
    let read = read.collect();
    assert!(remainder.lock().skipped.is_empty());
    read
}

/// A data set, and a change of its table.
fn data_set(slices: usize, change: impl Fn(String) -> String) -> (tempfile::TempDir, Vec<ExampleSlice>) {
    let folder = tempfile::tempdir().unwrap();
    let examples = write_data_set(folder.path(), slices).unwrap();
    let table = folder.path().join("DL_info.csv");
    std::fs::write(&table, change(std::fs::read_to_string(&table).unwrap())).unwrap();
    (folder, examples)
}

fn failures(read: &[Read]) -> Vec<(&str, &str)> {
    read.iter().filter_map(|item| Some((item.name.as_str(), item.outcome.as_ref().err()?.as_str()))).collect()
}

#[test]
fn a_slice_is_one_image_with_its_lesions_as_regions() {
    let (folder, examples) = data_set(6, |table| table);
    for path in [folder.path().to_owned(), folder.path().join("DL_info.csv")] {
        let read = read(&path, LesionWindow::Table);
        assert_eq!(read.len(), examples.len());
        for (item, example) in read.iter().zip(&examples) {
            assert_eq!((&item.name, item.label.as_deref()), (&example.file_name, example.label));
            assert_eq!(item.outcome.as_ref().unwrap(), &std::fs::read(&example.path).unwrap());
            let sidecar = item.sidecar.as_ref().unwrap();
            let regions = sidecar.regions.iter().map(|marked| marked.region);
            let regions: Vec<_> =
                regions.map(|region| [region.x, region.y, region.width, region.height]).collect();
            assert_eq!(regions, example.regions);
            assert_eq!(sidecar.patient_id.as_ref(), Some(&example.patient));
            assert_eq!(sidecar.modality.as_deref(), Some("CT"));
            assert_eq!(sidecar.hounsfield_offset, Some(-32_768.0));
        }
    }
}

#[test]
fn the_window_is_the_rows_or_the_one_for_all() {
    let (folder, _) = data_set(2, |table| table);
    let window = |item: &Read| item.sidecar.as_ref().unwrap().window.unwrap();
    let by_table = read(folder.path(), LesionWindow::Table);
    assert_eq!(window(&by_table[0]), WindowChoice::Explicit { center: -500.0, width: 2000.0 });
    assert_eq!(window(&by_table[1]), WindowChoice::Explicit { center: 50.0, width: 450.0 });
    let lung = WindowChoice::Preset(WindowPreset::Lung);
    assert!(read(folder.path(), LesionWindow::Same(lung)).iter().all(|item| window(item) == lung));
}

#[test]
fn rows_that_cannot_be_used_are_named_and_the_others_go_on() {
    // Lines 2, 3+4, 5, 6+7: slices 0 to 3.
    let (folder, examples) = data_set(4, |table| {
        let mut lines: Vec<String> = table.lines().map(str::to_owned).collect();
        lines[3] = lines[3].replacen(",-1,0,", ",11,0,", 1);
        lines[4] = lines[4].replacen("34.75", "340.75", 1);
        lines.push("nonsense.png,1,1,1,1,,,,,,,,,,,,,".to_owned());
        lines.push("too,few,cells".to_owned());
        lines.join("\n")
    });
    let read = read(folder.path(), LesionWindow::Table);
    let failed = failures(&read);
    let reason_of = |part: &str| {
        let found = failed.iter().find(|(name, _)| name.contains(part));
        found.unwrap_or_else(|| panic!("{part} in {failed:?}")).1.to_owned()
    };
    assert_eq!(failed.len(), 4, "{failed:?}");
    assert!(reason_of("(line 4 of DL_info.csv)").contains("Coarse_lesion_type 11"));
    assert!(reason_of("(line 5 of DL_info.csv)").contains("outside the image of"));
    assert!(reason_of("nonsense.png (line 8").contains("File_name"));
    assert!(reason_of("line 9 of DL_info.csv").contains("3 fields"), "{failed:?}");
    let stored: Vec<&str> =
        read.iter().filter(|item| item.outcome.is_ok()).map(|item| item.name.as_str()).collect();
    let kept = [0, 1, 3].map(|place: usize| examples[place].file_name.as_str());
    assert_eq!(stored, kept, "a slice whose only lesion is wrong is not imported");
    assert_eq!(read[1].sidecar.as_ref().unwrap().regions.len(), 1, "the lesion that is right stays");
}

#[test]
fn files_that_are_missing_or_lost_their_depth_fail_with_their_lines() {
    let (folder, examples) = data_set(4, |table| table);
    std::fs::remove_file(&examples[0].path).unwrap();
    let eight_bits =
        medindex_imaging::Rendered::new(128, 128, medindex_imaging::Channels::Grey, vec![7; 128 * 128]);
    std::fs::write(&examples[1].path, eight_bits.unwrap().to_png(128).unwrap()).unwrap();
    std::fs::write(&examples[2].path, b"\x89PNG\r\n\x1a\n cut off").unwrap();
    let read = read(folder.path(), LesionWindow::Table);
    let failed = failures(&read);
    assert_eq!(failed.len(), 3, "{failed:?}");
    assert!(
        failed[0].1.contains("No such file") && failed[0].1.contains("line 2 of DL_info.csv"),
        "{failed:?}"
    );
    assert!(failed[1].1.contains("8 bits") && failed[1].1.contains("line 3, 4 of"), "{failed:?}");
    assert!(failed[2].1.contains("line 5 of"), "{failed:?}");
    assert!(read[3].outcome.is_ok());
}

#[test]
fn a_table_without_its_columns_is_refused_as_a_whole() {
    let (folder, _) = data_set(1, |table| table.replacen("Bounding_boxes", "Boxes", 1));
    let refusal = expand(&[folder.path().display().to_string()], &Limits::default()).unwrap_err();
    assert_eq!(refusal.kind(), SourceErrorKind::Refused);
    assert!(refusal.to_string().contains("Bounding_boxes is not in it"), "{refusal}");
    let (folder, _) = data_set(0, |table| table);
    let refusal = expand(&[folder.path().display().to_string()], &Limits::default()).unwrap_err();
    assert!(refusal.to_string().contains("has no rows"), "{refusal}");
}
