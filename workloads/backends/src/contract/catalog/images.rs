//! Checks of image records.

use std::sync::Arc;

use medindex_proto::{ImageId, RowKey};

use super::{Catalogs, Port, description, image};
use crate::catalog::{
    Acceptance, CatalogError, FailedImage, ImageFilter, ImageRecord, ImageStatus, IndexedImage, ListOrder,
    NewImage,
};

async fn indexed(catalog: &Port, image: &NewImage, generation: u64) {
    let id = image.id;
    let indexed = IndexedImage { id, indexed_at_ms: 5, generation, description: None };
    catalog.mark_indexed(vec![indexed]).await.unwrap();
}

async fn failed(catalog: &Port, image: &NewImage, reason: &str) {
    catalog.mark_failed(vec![FailedImage { id: image.id, reason: reason.into() }]).await.unwrap();
}

async fn record(catalog: &Port, id: ImageId) -> ImageRecord {
    catalog.image(&id).await.unwrap().unwrap()
}

pub(super) async fn a_new_image_is_kept_field_by_field(place: Catalogs) {
    let catalog = place.open().await;
    let plain = image(1);
    let mut full = image(2);
    full.name = "Ordner/Röntgen 胸部 \u{1fa7b} 'quoted' \"; DROP TABLE images; --.dcm".into();
    full.label = Some("Lunge".into());
    full.description = description();
    for image in [plain, full] {
        let accepted = catalog.accept_image(image.clone()).await.unwrap();
        assert_eq!(accepted, Acceptance::New(image.id));
        let expected = ImageRecord {
            image: image.clone(),
            status: ImageStatus::Received,
            reason: None,
            indexed_at_ms: None,
            generation: 0,
        };
        assert_eq!(record(&*catalog, image.id).await, expected);
    }
    assert_eq!(catalog.image(&ImageId::new()).await.unwrap(), None);
}

pub(super) async fn the_same_bytes_are_a_duplicate_within_their_organisation(place: Catalogs) {
    let catalog = place.open().await;
    let first = image(1);
    catalog.accept_image(first.clone()).await.unwrap();
    let again = NewImage { name: "other.dcm".into(), ..image(1) };
    assert_eq!(catalog.accept_image(again.clone()).await.unwrap(), Acceptance::Duplicate(first.id));
    assert_eq!(catalog.image(&again.id).await.unwrap(), None);
    assert_eq!(record(&*catalog, first.id).await.image, first);
    indexed(&*catalog, &first, 3).await;
    assert_eq!(catalog.accept_image(again).await.unwrap(), Acceptance::Duplicate(first.id));
    for organisation in ["", "klinik", "KLINIK", "Klinik "] {
        let other = NewImage { organisation: organisation.into(), ..image(1) };
        assert_eq!(catalog.accept_image(other.clone()).await.unwrap(), Acceptance::New(other.id));
    }
}

pub(super) async fn the_same_offer_again_gives_the_same_answer(place: Catalogs) {
    let catalog = place.open().await;
    let image = image(1);
    for _ in 0..3 {
        assert_eq!(catalog.accept_image(image.clone()).await.unwrap(), Acceptance::New(image.id));
    }
    indexed(&*catalog, &image, 1).await;
    assert_eq!(catalog.accept_image(image.clone()).await.unwrap(), Acceptance::Duplicate(image.id));
}

pub(super) async fn of_many_who_offer_the_same_bytes_one_is_new(place: Catalogs) {
    let catalog = place.open().await;
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let catalog = Arc::clone(&catalog);
            tokio::spawn(async move { catalog.accept_image(image(number % 4)).await.unwrap() })
        })
        .collect();
    let (mut new, mut duplicates) = (Vec::new(), Vec::new());
    for task in tasks {
        match task.await.unwrap() {
            Acceptance::New(id) => new.push(id),
            Acceptance::Duplicate(id) => duplicates.push(id),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((new.len(), duplicates.len()), (4, 60));
    assert!(duplicates.iter().all(|id| new.contains(id)));
}

pub(super) async fn a_batch_with_the_same_bytes_twice_accepts_them_once(place: Catalogs) {
    let catalog = place.open().await;
    let images = vec![image(1), image(2), image(1), image(2)];
    let ids: Vec<_> = images.iter().map(|image| image.id).collect();
    let accepted = catalog.accept_images(images).await.unwrap();
    let expected = [
        Acceptance::New(ids[0]),
        Acceptance::New(ids[1]),
        Acceptance::Duplicate(ids[0]),
        Acceptance::Duplicate(ids[1]),
    ];
    assert_eq!(accepted, expected);
}

pub(super) async fn a_failed_image_may_be_offered_again(place: Catalogs) {
    let catalog = place.open().await;
    let first = image(1);
    catalog.accept_image(first.clone()).await.unwrap();
    failed(&*catalog, &first, "truncated at byte 7").await;
    let failure = record(&*catalog, first.id).await;
    assert_eq!(failure.status, ImageStatus::Failed);
    assert_eq!(failure.reason.as_deref(), Some("truncated at byte 7"));
    let sidecar = Some("{\"second\":\"try\"}".to_owned());
    let again = NewImage { received_at_ms: first.received_at_ms + 77, sidecar, ..image(1) };
    assert_eq!(catalog.accept_image(again.clone()).await.unwrap(), Acceptance::Retry(first.id));
    let retried = record(&*catalog, first.id).await;
    assert_eq!((retried.status, retried.reason), (ImageStatus::Received, None));
    assert_eq!(retried.image.received_at_ms, again.received_at_ms);
    assert_eq!(catalog.accept_image(again).await.unwrap(), Acceptance::Duplicate(first.id));
}

pub(super) async fn an_image_being_deleted_stays_so(place: Catalogs) {
    let catalog = place.open().await;
    let image = image(1);
    catalog.accept_image(image.clone()).await.unwrap();
    let unknown = ImageId::new();
    for _ in 0..2 {
        let there = catalog.mark_deleting(&[unknown, image.id]).await.unwrap();
        assert_eq!(there, [image.id]);
    }
    indexed(&*catalog, &image, 1).await;
    failed(&*catalog, &image, "late").await;
    assert_eq!(record(&*catalog, image.id).await.status, ImageStatus::Deleting);
    let offered = catalog.accept_image(super::image(1)).await.unwrap();
    assert_eq!(offered, Acceptance::BeingDeleted(image.id));
}

pub(super) async fn an_id_of_other_bytes_is_refused_and_spoils_no_other(place: Catalogs) {
    let catalog = place.open().await;
    let first = image(0);
    catalog.accept_image(first.clone()).await.unwrap();
    let tasks: Vec<_> = (1..=40)
        .map(|number| {
            let catalog = Arc::clone(&catalog);
            let mut image = image(number);
            if number % 10 == 0 {
                (image.id, image.row_key) = (first.id, first.row_key.clone());
            }
            tokio::spawn(async move { (number, catalog.accept_image(image).await) })
        })
        .collect();
    for task in tasks {
        let (number, outcome) = task.await.unwrap();
        if number % 10 == 0 {
            assert!(matches!(outcome, Err(CatalogError::IdTaken(id)) if id == first.id), "{outcome:?}");
        } else {
            assert!(matches!(outcome, Ok(Acceptance::New(_))), "{outcome:?}");
        }
    }
    assert_eq!(catalog.counts().await.unwrap().of_status(ImageStatus::Received), 37);
}

pub(super) async fn too_long_texts_are_refused_and_nothing_is_written(place: Catalogs) {
    let catalog = place.open().await;
    let longest = "ä".repeat(255);
    let fits = NewImage { label: Some(longest.clone()), name: "n".repeat(8192), ..image(1) };
    catalog.accept_image(fits.clone()).await.unwrap();
    assert_eq!(record(&*catalog, fits.id).await.image, fits);
    let label = NewImage { label: Some(longest.clone() + "x"), ..image(2) };
    let mut patient = image(3);
    patient.description.patient_id = Some(longest + "x");
    for (image, name) in [(label, "label"), (patient, "patient id")] {
        let error = catalog.accept_images(vec![super::image(9), image.clone()]).await.unwrap_err();
        assert!(matches!(error, CatalogError::TooLong { field, .. } if field == name), "{error}");
        assert_eq!(catalog.image(&image.id).await.unwrap(), None);
    }
    let reason = FailedImage { id: fits.id, reason: "r".repeat(8193) };
    catalog.mark_failed(vec![reason]).await.unwrap_err();
    assert_eq!(catalog.counts().await.unwrap().of_status(ImageStatus::Received), 1);
}

pub(super) async fn marks_change_what_they_say(place: Catalogs) {
    let catalog = place.open().await;
    let (one, other) = (image(1), image(2));
    catalog.accept_images(vec![one.clone(), other.clone()]).await.unwrap();
    failed(&*catalog, &one, "first try").await;
    let unknown = ImageId::new();
    let marks = vec![
        IndexedImage { id: unknown, indexed_at_ms: 1, generation: 1, description: None },
        IndexedImage { id: one.id, indexed_at_ms: 77, generation: 3, description: Some(description()) },
        IndexedImage { id: other.id, indexed_at_ms: 78, generation: 0, description: None },
    ];
    for _ in 0..2 {
        catalog.mark_indexed(marks.clone()).await.unwrap();
        let expected = ImageRecord {
            image: NewImage { description: description(), ..one.clone() },
            status: ImageStatus::Indexed,
            reason: None,
            indexed_at_ms: Some(77),
            generation: 3,
        };
        assert_eq!(record(&*catalog, one.id).await, expected);
        assert_eq!(record(&*catalog, other.id).await.image, other);
        assert_eq!(catalog.image(&unknown).await.unwrap(), None);
    }
    catalog.mark_failed(vec![FailedImage { id: unknown, reason: "none".into() }]).await.unwrap();
    assert_eq!(catalog.image(&unknown).await.unwrap(), None);
}

pub(super) async fn a_label_is_set_where_there_is_none(place: Catalogs) {
    let catalog = place.open().await;
    let labelled = NewImage { label: Some("Hand".into()), ..image(2) };
    let (plain, going) = (image(1), image(3));
    catalog.accept_images(vec![plain.clone(), labelled.clone(), going.clone()]).await.unwrap();
    catalog.mark_deleting(&[going.id]).await.unwrap();
    let unknown = ImageId::new();
    let ids = [plain.id, labelled.id, going.id, unknown];
    for label in ["Head", "Foot"] {
        let labels = ids.iter().map(|id| (*id, label.to_owned())).collect();
        catalog.set_labels(labels).await.unwrap();
        let expected = NewImage { label: Some("Head".into()), ..plain.clone() };
        assert_eq!(record(&*catalog, plain.id).await.image, expected, "the first label stays");
        assert_eq!(record(&*catalog, labelled.id).await.image, labelled);
        assert_eq!(record(&*catalog, going.id).await.image, going);
        assert_eq!(catalog.image(&unknown).await.unwrap(), None);
    }
    let long = catalog.set_labels(vec![(plain.id, "x".repeat(100_000))]).await.unwrap_err();
    assert!(matches!(long, CatalogError::TooLong { .. }), "{long}");
}

pub(super) async fn images_are_read_in_the_order_asked_for(place: Catalogs) {
    let catalog = place.open().await;
    let images: Vec<_> = (0..700).map(image).collect();
    catalog.accept_images(images.clone()).await.unwrap();
    let mut ids: Vec<_> = images.iter().rev().map(|image| image.id).collect();
    ids.insert(1, ImageId::new());
    ids.push(images[3].id);
    let read = catalog.images(&ids).await.unwrap();
    let found: Vec<_> = read.iter().map(|record| record.as_ref().map(|record| record.image.id)).collect();
    let mut expected: Vec<_> = ids.iter().copied().map(Some).collect();
    expected[1] = None;
    assert_eq!(found, expected);
    assert!(catalog.images(&[]).await.unwrap().is_empty());
}

async fn listed(catalog: &Port, filter: ImageFilter) -> Vec<ImageId> {
    let page = catalog.list_images(&filter, ListOrder::OldestFirst, None, 1000).await.unwrap();
    assert_eq!(page.next, None);
    page.items.iter().map(|record| record.image.id).collect()
}

pub(super) async fn what_a_filter_asks_for_is_listed(place: Catalogs) {
    let catalog = place.open().await;
    let mut images: Vec<_> = (0..4).map(image).collect();
    images[1].description = description();
    images[2].label = Some("Lunge".into());
    images[2].organisation = "Praxis".into();
    let ids: Vec<_> = images.iter().map(|image| image.id).collect();
    catalog.accept_images(images.clone()).await.unwrap();
    failed(&*catalog, &images[3], "x").await;
    let none = ImageFilter::default;
    let some = |text: &str| Some(text.to_owned());
    let start = 1_700_000_000_000;
    let cases = [
        (none(), vec![0, 1, 2, 3]),
        (ImageFilter { status: Some(ImageStatus::Failed), ..none() }, vec![3]),
        (ImageFilter { status: Some(ImageStatus::Indexed), ..none() }, vec![]),
        (ImageFilter { organisation: some("Praxis"), ..none() }, vec![2]),
        (ImageFilter { organisation: some("praxis"), ..none() }, vec![]),
        (ImageFilter { image_type: some("CT"), ..none() }, vec![1]),
        (ImageFilter { modality: some("CT"), ..none() }, vec![1]),
        (ImageFilter { modality: some("%"), ..none() }, vec![]),
        (ImageFilter { body_part: some("CHEST"), ..none() }, vec![1]),
        (ImageFilter { label: some("Lunge"), ..none() }, vec![2]),
        (ImageFilter { patient_id: description().patient_id, ..none() }, vec![1]),
        (ImageFilter { study_uid: some("1.2.840.1"), ..none() }, vec![1]),
        (ImageFilter { study_uid: some("' OR 1 = 1 --"), ..none() }, vec![]),
        (ImageFilter { received_from_ms: Some(start + 2), ..none() }, vec![2, 3]),
        (ImageFilter { received_before_ms: Some(start + 2), ..none() }, vec![0, 1]),
        (ImageFilter { label: some("Lunge"), organisation: some("Klinik"), ..none() }, vec![]),
        (ImageFilter { label: some("Lunge"), organisation: some("Praxis"), ..none() }, vec![2]),
    ];
    for (filter, expected) in cases {
        let expected: Vec<_> = expected.into_iter().map(|number: usize| ids[number]).collect();
        assert_eq!(listed(&*catalog, filter.clone()).await, expected, "{filter:?}");
    }
}

pub(super) async fn pages_cover_a_list_without_gaps_or_repeats(place: Catalogs) {
    let catalog = place.open().await;
    // Many are accepted in the same millisecond.
    let images: Vec<_> =
        (0..53).map(|seed| NewImage { received_at_ms: i64::from(seed / 10), ..image(seed) }).collect();
    catalog.accept_images(images.clone()).await.unwrap();
    let mut expected: Vec<_> = images.iter().map(|image| (image.received_at_ms, image.id)).collect();
    expected.sort_unstable();
    for order in [ListOrder::OldestFirst, ListOrder::NewestFirst] {
        for limit in [1, 7, 53, 100] {
            let mut seen = Vec::new();
            let mut after = None;
            loop {
                let filter = ImageFilter::default();
                let page = catalog.list_images(&filter, order, after, limit).await.unwrap();
                assert!(page.items.len() <= limit);
                seen.extend(page.items.iter().map(|record| (record.image.received_at_ms, record.image.id)));
                let Some(next) = page.next else { break };
                after = Some(next.to_string().parse().unwrap());
            }
            assert_eq!(seen, expected, "{order:?} in pages of {limit}");
        }
        expected.reverse();
    }
    let page = catalog.list_images(&ImageFilter::default(), ListOrder::OldestFirst, None, 0).await.unwrap();
    assert_eq!((page.items.len(), page.next), (0, None));
}

pub(super) async fn patients_images_are_found(place: Catalogs) {
    let catalog = place.open().await;
    let mut images: Vec<_> = (0..6).map(image).collect();
    for image in &mut images[1..5] {
        image.description.patient_id = Some("患者 7".into());
    }
    images[4].organisation = "Praxis".into();
    catalog.accept_images(images.clone()).await.unwrap();
    let sorted = |images: &[NewImage]| {
        let mut ids: Vec<_> = images.iter().map(|image| image.id).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(catalog.ids_of_patient("患者 7", None).await.unwrap(), sorted(&images[1..5]));
    assert_eq!(catalog.ids_of_patient("患者 7", Some("Klinik")).await.unwrap(), sorted(&images[1..4]));
    assert!(catalog.ids_of_patient("患者", None).await.unwrap().is_empty());
}

pub(super) async fn waiting_images_are_found_oldest_first(place: Catalogs) {
    let catalog = place.open().await;
    let images: Vec<_> =
        (0..6).map(|seed| NewImage { received_at_ms: 100 - i64::from(seed), ..image(seed) }).collect();
    catalog.accept_images(images.clone()).await.unwrap();
    indexed(&*catalog, &images[3], 1).await;
    failed(&*catalog, &images[4], "x").await;
    let stale = async |before, limit| {
        let records = catalog.stale_received(before, limit).await.unwrap();
        records.iter().map(|record| record.image.id).collect::<Vec<_>>()
    };
    assert_eq!(stale(100, 10).await, [images[5].id, images[2].id, images[1].id]);
    assert_eq!(stale(100, 2).await, [images[5].id, images[2].id]);
    assert_eq!(stale(95, 10).await, []);
}

pub(super) async fn counts_follow_the_images(place: Catalogs) {
    let catalog = place.open().await;
    assert_eq!(catalog.counts().await.unwrap().by_status, []);
    let mut images: Vec<_> = (0..9).map(image).collect();
    for image in &mut images[..5] {
        image.description.modality = Some("CT".into());
    }
    images[5].description.modality = Some("MR".into());
    images[0].label = Some("Lunge".into());
    catalog.accept_images(images.clone()).await.unwrap();
    for searchable in [0, 3, 4, 5, 6, 7] {
        indexed(&*catalog, &images[searchable], 1).await;
    }
    failed(&*catalog, &images[1], "x").await;
    catalog.mark_deleting(&[images[2].id]).await.unwrap();
    let counts = catalog.counts().await.unwrap();
    assert_eq!(counts.of_status(ImageStatus::Received), 1);
    assert_eq!(counts.of_status(ImageStatus::Indexed), 6);
    assert_eq!(counts.of_status(ImageStatus::Failed), 1);
    assert_eq!(counts.of_status(ImageStatus::Deleting), 1);
    assert_eq!(counts.by_modality, [(Some("CT".into()), 3), (None, 2), (Some("MR".into()), 1)]);
    assert_eq!(counts.by_label, [(None, 5), (Some("Lunge".into()), 1)]);
}

pub(super) async fn a_deleted_image_is_gone_and_may_come_again(place: Catalogs) {
    let catalog = place.open().await;
    let (image, kept) = (image(1), image(2));
    catalog.accept_images(vec![image.clone(), kept.clone()]).await.unwrap();
    catalog.mark_deleting(&[image.id]).await.unwrap();
    assert_eq!(catalog.delete_images(&[image.id, ImageId::new()]).await.unwrap(), 1);
    assert_eq!(catalog.delete_images(&[image.id]).await.unwrap(), 0);
    assert_eq!(catalog.image(&image.id).await.unwrap(), None);
    indexed(&*catalog, &image, 1).await;
    assert_eq!(catalog.image(&image.id).await.unwrap(), None, "a late mark brought a deleted image back");
    let again = super::image(1);
    assert_eq!(RowKey::new(&again.id, 9), again.row_key);
    assert_eq!(catalog.accept_image(again.clone()).await.unwrap(), Acceptance::New(again.id));
    assert_eq!(record(&*catalog, kept.id).await.image, kept);
}
