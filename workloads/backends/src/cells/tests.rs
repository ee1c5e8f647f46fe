use super::*;
use medindex_proto::ImageId;

fn row() -> RowKey {
    RowKey::new(&ImageId::new(), 9)
}

fn information(frames: u32, dimension: usize, code: usize) -> ImageInformation {
    let frame = |number: u32| FrameVector {
        frame: number * 3,
        vector: (0..dimension).map(|index| f16::from_f32(index as f32 - number as f32)).collect(),
        code: (0..code).map(|index| (index as u32 + number) as u8).collect(),
    };
    ImageInformation {
        generation: 0x0102_0304_0506_0708,
        frames: (0..frames).map(frame).collect(),
        meta_json: r#"{"name":"Röntgen 胸部"}"#.to_owned(),
        facts: ImageFacts {
            modality: "MR".to_owned(),
            name: "Röntgen 胸部".to_owned(),
            received_ms: 1_700_000_000_000,
            ..ImageFacts::default()
        },
    }
}

fn file(length: usize) -> Bytes {
    (0..length).map(|index| ((index * 31) >> 3) as u8).collect::<Vec<_>>().into()
}

fn round_trip(values: &ImageRow) -> Option<ImageRow> {
    let row = row();
    join_row(&row, split_row(&row, values).unwrap()).unwrap()
}

#[test]
fn files_of_every_length_around_a_cell_come_back_whole() {
    for length in [0, 1, CELL_BYTES - 1, CELL_BYTES, CELL_BYTES + 1, 2 * CELL_BYTES, 9 << 20] {
        let values = ImageRow { bytes: Some(file(length)), information: None };
        let cells = split_row(&row(), &values).unwrap().data.unwrap();
        assert_eq!(cells.len() as u64, 1 + data_cell_count(length as u64), "{length}");
        assert!(cells.iter().all(|cell| cell.value.len() <= CELL_BYTES));
        assert_eq!(round_trip(&values), Some(values), "{length}");
    }
}

#[test]
fn information_comes_back_with_any_number_of_frames_with_and_without_codes() {
    for (frames, dimension, code) in [(0, 0, 0), (1, 512, 0), (1, 512, 32), (7, 3, 5), (1, 0, 0)] {
        let values = ImageRow { bytes: None, information: Some(information(frames, dimension, code)) };
        assert_eq!(round_trip(&values), Some(values));
    }
}

#[test]
fn columns_not_asked_for_are_empty() {
    let row = row();
    let whole = information(2, 8, 4);
    let cells =
        split_row(&row, &ImageRow { bytes: None, information: Some(whole.clone()) }).unwrap().information;
    let kept = cells.unwrap().into_iter().filter(|cell| is_needed(&cell.qualifier, Columns::CODES)).collect();
    let read = join_row(&row, RowCells { data: None, information: Some(kept) }).unwrap().unwrap();
    let read = read.information.unwrap();
    assert_eq!(read.generation, whole.generation);
    assert_eq!((read.meta_json.as_str(), &read.facts), ("", &ImageFacts::default()));
    for (read, whole) in read.frames.iter().zip(&whole.frames) {
        assert_eq!((read.frame, &read.code), (whole.frame, &whole.code));
        assert!(read.vector.is_empty());
    }
}

#[test]
fn facts_lie_in_columns_of_their_own_as_phoenix_encodes_them() {
    let values = ImageRow { bytes: None, information: Some(information(1, 8, 4)) };
    let cells = split_row(&row(), &values).unwrap().information.unwrap();
    let value = |name: &str| &cells.iter().find(|cell| cell.qualifier == name).unwrap().value;
    assert_eq!(value("modality"), "MR");
    assert_eq!(value("name"), "Röntgen 胸部");
    assert!(value("label").is_empty(), "what is not known is an empty cell");
    assert_eq!(value("received")[..], 1_700_000_000_000_u64.to_be_bytes());
}

#[test]
fn every_column_that_is_read_is_written_and_needed_for_something() {
    let values = ImageRow { bytes: None, information: Some(information(1, 8, 4)) };
    let mut written: Vec<String> = split_row(&row(), &values)
        .unwrap()
        .information
        .unwrap()
        .into_iter()
        .map(|cell| cell.qualifier)
        .filter(|name| name != COLUMN_ID)
        .collect();
    written.sort();
    let mut read = READ_COLUMNS;
    read.sort_unstable();
    assert_eq!(written, read);
    assert!(READ_COLUMNS.iter().all(|name| is_needed(name, Columns::INFORMATION)));
}

#[test]
fn a_row_from_before_there_were_facts_has_none() {
    let (row, whole) = (row(), information(1, 8, 4));
    let values = ImageRow { bytes: None, information: Some(whole.clone()) };
    let mut cells = split_row(&row, &values).unwrap();
    let old = [COLUMN_ID, COLUMN_GENERATION, COLUMN_FRAMES, COLUMN_VECTOR, COLUMN_CODE, COLUMN_META];
    cells.information.as_mut().unwrap().retain(|cell| old.contains(&cell.qualifier.as_str()));
    let read = join_row(&row, cells).unwrap().unwrap().information;
    assert_eq!(read, Some(ImageInformation { facts: ImageFacts::default(), ..whole }));
}

#[test]
fn no_cells_are_no_row() {
    assert_eq!(join_row(&row(), RowCells::default()).unwrap(), None);
    let empty = RowCells { data: Some(Vec::new()), information: Some(Vec::new()) };
    assert_eq!(join_row(&row(), empty).unwrap(), None);
}

#[test]
fn cells_of_a_longer_file_before_are_ignored() {
    let row = row();
    let long = ImageRow { bytes: Some(file(2 * CELL_BYTES + 5)), information: None };
    let short = ImageRow { bytes: Some(file(10)), information: None };
    let mut cells = split_row(&row, &long).unwrap().data.unwrap();
    for cell in split_row(&row, &short).unwrap().data.unwrap() {
        cells.retain(|old| old.qualifier != cell.qualifier);
        cells.push(cell);
    }
    let read = join_row(&row, RowCells { data: Some(cells), information: None }).unwrap();
    assert_eq!(read, Some(short));
}

#[test]
fn ragged_information_is_refused_with_its_reason() {
    let mut ragged = information(2, 8, 4);
    ragged.frames[1].vector.pop();
    let error = split_row(&row(), &ImageRow { bytes: None, information: Some(ragged) }).unwrap_err();
    assert!(error.to_string().contains("vectors differ in length"), "{error}");
    let mut ragged = information(2, 8, 4);
    ragged.frames[0].code.pop();
    let error = split_row(&row(), &ImageRow { bytes: None, information: Some(ragged) }).unwrap_err();
    assert!(error.to_string().contains("codes differ in length"), "{error}");
    let mut unordered = information(2, 8, 4);
    unordered.frames.swap(0, 1);
    let error = split_row(&row(), &ImageRow { bytes: None, information: Some(unordered) }).unwrap_err();
    assert!(error.to_string().contains("ascending order"), "{error}");
}

#[test]
fn damaged_cells_are_refused_by_name() {
    let row = row();
    let values = ImageRow { bytes: Some(file(CELL_BYTES + 7)), information: Some(information(2, 8, 4)) };
    let whole = split_row(&row, &values).unwrap();
    for name in ["length", "0", "1"] {
        let mut cells = whole.clone();
        cells.data.as_mut().unwrap().retain(|cell| cell.qualifier != name);
        let error = join_row(&row, cells).unwrap_err().to_string();
        assert!(error.contains(&format!("MD:{name}")), "{error}");
    }
    for name in ["generation", "frames", "vector", "code", "received"] {
        let mut cells = whole.clone();
        let cell =
            cells.information.as_mut().unwrap().iter_mut().find(|cell| cell.qualifier == name).unwrap();
        cell.value = cell.value.slice(..cell.value.len() - 1);
        let error = join_row(&row, cells).unwrap_err().to_string();
        assert!(error.contains(&format!("MI:{name}")), "{error}");
    }
}
