use super::*;

/// Id, its MD5 modulo 9, 10, 16 and 10,000, and its row key with 9 partitions; computed with Python's hashlib:
/// `n = int(hashlib.md5(id.encode()).hexdigest(), 16)`.
const GOLDEN: [(&str, [u32; 4], &str); 5] = [
    (
        "0197f0a2-1c3d-7e4f-8a5b-6c7d8e9f0a1b",
        [1, 0, 2, 5730],
        "0001|610bc3520197f0a2-1c3d-7e4f-8a5b-6c7d8e9f0a1b",
    ),
    (
        "00000000-0000-7000-8000-000000000000",
        [0, 7, 9, 3337],
        "0000|4e0bf04900000000-0000-7000-8000-000000000000",
    ),
    (
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
        [5, 9, 7, 9479],
        "0005|29effdf7ffffffff-ffff-7fff-bfff-ffffffffffff",
    ),
    (
        "01890a5d-ac96-774b-bcce-b302099a8057",
        [8, 0, 2, 8450],
        "0008|76738d5201890a5d-ac96-774b-bcce-b302099a8057",
    ),
    (
        "0192d4e8-93b0-7b1a-9d2c-0f1e2d3c4b5a",
        [8, 0, 8, 6760],
        "0008|55cd82780192d4e8-93b0-7b1a-9d2c-0f1e2d3c4b5a",
    ),
];

#[test]
fn partitions_and_row_keys_equal_those_computed_elsewhere() {
    for (text, partitions, row_key) in GOLDEN {
        let id = ImageId::parse(text).unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!([9, 10, 16, 10_000].map(|count| partition_of(&id, count)), partitions, "{text}");
        assert_eq!(partition_of(&id, 1), 0);
        assert_eq!(RowKey::new(&id, 9).as_str(), row_key);
    }
}

#[test]
fn images_spread_evenly_over_9_and_10_partitions() {
    const IMAGES: u32 = 100_000;
    for partitions in [9, 10] {
        let mut counts = vec![0_u32; partitions as usize];
        for number in 0..IMAGES {
            // Ids as uploads make them: the time first, then what is random.
            let id = ImageId::from_bytes(
                ((0x0197_f0a2_1c3d_7000_8000 + u128::from(number / 100)) << 48 | u128::from(number))
                    .to_be_bytes(),
            );
            counts[partition_of(&id, partitions) as usize] += 1;
        }
        let mean = f64::from(IMAGES) / f64::from(partitions);
        // Five standard deviations of a fair draw: about 5 % of the mean.
        let slack = 5.0 * mean.sqrt();
        for count in &counts {
            assert!((f64::from(*count) - mean).abs() < slack, "{partitions} partitions: {counts:?}");
        }
    }
}

#[test]
fn row_keys_are_read_back_with_partition_and_id() {
    for partitions in [1, 9, 10, MAX_PARTITIONS] {
        for _ in 0..50 {
            let id = ImageId::new();
            let key = RowKey::new(&id, partitions);
            assert_eq!(RowKey::parse(key.as_str()).unwrap(), key);
            assert_eq!((key.image_id(), key.partition()), (id, partition_of(&id, partitions)));
            assert!(key.as_str().starts_with(&row_prefix(key.partition())));
            key.check(partitions).unwrap();
        }
    }
}

#[test]
fn a_row_key_of_another_number_of_partitions_is_refused() {
    let id = ImageId::parse(GOLDEN[2].0).unwrap();
    let error = RowKey::new(&id, 9).check(10).unwrap_err();
    assert!(matches!(error, IdentityError::WrongPartition { found: 5, expected: 9, partitions: 10, .. }));
    assert!(error.to_string().contains("another number of partitions"), "{error}");
}

#[test]
fn damaged_row_keys_are_refused_with_the_reason() {
    let good = GOLDEN[0].2;
    let cases = [
        (String::new(), "49 characters"),
        (good[1..].to_owned(), "49 characters"),
        (format!("{good}0"), "49 characters"),
        (good.replace("0001", "00ä"), "49 characters"),
        (good.replacen("0001", "+001", 1), "four digits"),
        (good.replacen('|', "_", 1), "bar"),
        (good.replacen("610bc352", "610bc353", 1), "not those of its image id"),
        (good.replacen("610bc352", "610BC352", 1), "not those of its image id"),
        (good.replace('e', "g"), "image id"),
    ];
    for (text, reason) in cases {
        let error = RowKey::parse(&text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn an_id_has_one_spelling() {
    let good = GOLDEN[0].0;
    for text in [
        "",
        &good.to_uppercase(),
        &good.replace('-', ""),
        &format!("{{{good}}}"),
        &format!("urn:uuid:{good}"),
        &good[1..],
        &good.replace('0', "g"),
    ] {
        assert!(matches!(ImageId::parse(text), Err(IdentityError::ParseImageId { .. })), "{text}");
    }
    let long = "x".repeat(10_000);
    assert!(ImageId::parse(&long).unwrap_err().to_string().len() < 300, "errors repeat long input");
}

#[test]
fn new_ids_ascend() {
    let ids: Vec<_> = (0..10_000).map(|_| ImageId::new()).collect();
    assert!(ids.is_sorted_by(|one, next| one < next));
    assert!(ids.iter().map(ToString::to_string).is_sorted());
}

#[test]
fn split_keys_make_one_region_a_partition_and_none_empty() {
    assert_eq!(split_keys(1), Vec::<String>::new());
    let keys = split_keys(9);
    assert_eq!(keys, ["0001|", "0002|", "0003|", "0004|", "0005|", "0006|", "0007|", "0008|"]);
    for _ in 0..1000 {
        let key = RowKey::new(&ImageId::new(), 9);
        let region = keys.partition_point(|split| split.as_str() <= key.as_str());
        assert_eq!(region, key.partition() as usize);
    }
}

#[test]
fn only_usable_numbers_of_partitions_pass() {
    for partitions in [1, 9, MAX_PARTITIONS] {
        assert_eq!(check_partitions(partitions), Ok(partitions));
    }
    for partitions in [0, MAX_PARTITIONS + 1, u32::MAX] {
        assert_eq!(check_partitions(partitions), Err(IdentityError::CheckPartitions { partitions }));
    }
}
