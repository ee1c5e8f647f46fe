use super::*;

fn columns(rows: &[Attributes]) -> AttributeColumns {
    let mut builder = AttributesBuilder::with_capacity(rows.len());
    for (row, attributes) in rows.iter().enumerate() {
        builder.push(&(row as u128).to_be_bytes(), attributes);
    }
    builder.build()
}

fn at(time_ms: Option<i64>) -> Attributes {
    Attributes { time_ms, ..Attributes::default() }
}

#[test]
fn times_come_back_and_match_their_ranges() {
    let cases: [&[Option<i64>]; 5] = [
        &[Some(0), Some(86_400_000), None, Some(-86_400_000), Some(5 * 86_400_000)],
        &[Some(17), Some(17)],
        &[None, None],
        &[Some(i64::MIN), Some(i64::MAX), Some(0), None],
        &[Some(1), Some(2), Some(1 << 40)],
    ];
    for times in cases {
        let columns = columns(&times.iter().map(|&time| at(time)).collect::<Vec<_>>());
        let clamped: Vec<Option<i64>> =
            times.iter().map(|time| time.map(|time| time.clamp(-FARTHEST_TIME, FARTHEST_TIME))).collect();
        for (row, &time) in clamped.iter().enumerate() {
            assert_eq!(columns.time(row), time);
        }
        let bounds = [i64::MIN, -86_400_001, -1, 0, 1, 2, 17, 18, 86_400_000, 86_400_001, i64::MAX];
        for from in bounds {
            for to in bounds {
                let found: Vec<usize> = columns.rows_between(from, to).ones().collect();
                let expected: Vec<usize> = (0..times.len())
                    .filter(|&row| clamped[row].is_some_and(|time| from <= time && time < to))
                    .collect();
                assert_eq!(found, expected, "{from}..{to} of {times:?}");
            }
        }
    }
}

#[test]
fn days_take_two_bytes_a_row() {
    let rows: Vec<Attributes> = (0..2_000).map(|day| at(Some(day * 86_400_000))).collect();
    assert_eq!(columns(&rows).times.codes.width(), 2);
}

#[test]
fn merging_keeps_values_and_drops_those_of_removed_rows() {
    let with = |label: &str| Attributes { label: Some(label.to_owned()), ..Attributes::default() };
    let first = columns(&[with("b"), with("gone"), with("a")]);
    let second = columns(&[with("c"), Attributes::default(), with("a")]);
    let mut builder = AttributesBuilder::with_capacity(5);
    builder.extend(&first, [0, 2].into_iter());
    builder.extend(&second, 0..3);
    let merged = builder.build();
    assert_eq!(merged.fields[3].values, ["a", "b", "c"]);
    assert_eq!(merged.rows_with(Field::Label, &["a"]).ones().collect::<Vec<_>>(), [1, 4]);
    assert_eq!(merged.rows_with(Field::Label, &["b", "c", "unknown"]).ones().collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn an_image_without_a_study_is_its_own_group() {
    let columns = columns(&[
        Attributes::default(),
        Attributes::default(),
        Attributes {
            study: Some("1.2".to_owned()),
            patient: Some("1.2".to_owned()),
            ..Attributes::default()
        },
    ]);
    assert_ne!(columns.study(0), columns.study(1));
    assert_eq!(columns.study(0), columns.patient(0));
    assert_ne!(columns.study(2), columns.patient(2));
    assert_eq!(columns.rows_with(Field::Study, &["1.2"]).ones().collect::<Vec<_>>(), [2]);
}
