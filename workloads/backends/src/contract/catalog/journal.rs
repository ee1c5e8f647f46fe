//! Checks of operation log, alarms, settings and restarts.

use medindex_proto::ImageId;

use super::{Catalogs, image, restart};
use crate::catalog::{Alarm, CatalogError, ImageFilter, ListOrder, Operation, OperationFilter};

fn operation(number: i64) -> Operation {
    Operation {
        id: ImageId::new(),
        at_ms: 1000 + number / 2,
        actor: if number % 2 == 0 { "Dr. Müller" } else { "sweeper" }.to_owned(),
        action: "image.upload".to_owned(),
        subject: format!("image {number}"),
        outcome: "accepted".to_owned(),
        detail: "患者 – O'Neil".to_owned(),
        organisation: if number % 3 == 0 { "Klinik Süd" } else { "" }.to_owned(),
        trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
    }
}

pub(super) async fn operations_are_listed_latest_first_by_filter(place: Catalogs) {
    let catalog = place.open().await;
    let operations: Vec<_> = (0..21).map(operation).collect();
    catalog.append_operations(operations.clone()).await.unwrap();
    let mut expected = operations.clone();
    expected.sort_by_key(|operation| std::cmp::Reverse((operation.at_ms, operation.id)));
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = catalog.list_operations(&OperationFilter::default(), after, 4).await.unwrap();
        seen.extend(page.items);
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    assert_eq!(seen, expected);
    let some = |text: &str| Some(text.to_owned());
    let cases = [
        (OperationFilter { actor: some("sweeper"), ..OperationFilter::default() }, 10),
        (OperationFilter { action: some("image.upload"), ..OperationFilter::default() }, 21),
        (OperationFilter { action: some("image"), ..OperationFilter::default() }, 0),
        (OperationFilter { subject: some("image 7"), ..OperationFilter::default() }, 1),
        (OperationFilter { outcome: some("accepted"), ..OperationFilter::default() }, 21),
        (OperationFilter { organisation: some("Klinik Süd"), ..OperationFilter::default() }, 7),
        (OperationFilter { from_ms: Some(1009), ..OperationFilter::default() }, 3),
        (OperationFilter { before_ms: Some(1001), ..OperationFilter::default() }, 2),
    ];
    for (filter, count) in cases {
        let page = catalog.list_operations(&filter, None, 100).await.unwrap();
        assert_eq!(page.items.len(), count, "{filter:?}");
    }
}

pub(super) async fn the_same_operation_again_changes_nothing(place: Catalogs) {
    let catalog = place.open().await;
    let first = operation(1);
    let changed = Operation { detail: "changed".into(), ..first.clone() };
    let other = operation(2);
    catalog.append_operations(vec![first.clone()]).await.unwrap();
    catalog.append_operations(vec![changed, other.clone()]).await.unwrap();
    let page = catalog.list_operations(&OperationFilter::default(), None, 10).await.unwrap();
    assert_eq!(page.items, [other, first]);
    let too_long = Operation { subject: "s".repeat(256), ..operation(3) };
    let error = catalog.append_operations(vec![too_long]).await.unwrap_err();
    assert!(matches!(error, CatalogError::TooLong { field: "subject", .. }), "{error}");
}

pub(super) async fn alarms_are_raised_once_and_cleared(place: Catalogs) {
    let catalog = place.open().await;
    let alarm = |subject: &str, raised_at_ms, seen_at_ms, detail: &str| Alarm {
        kind: "dead-letter".into(),
        subject: subject.into(),
        raised_at_ms,
        seen_at_ms,
        cleared_at_ms: None,
        detail: detail.into(),
    };
    assert!(!catalog.clear_alarm("dead-letter", "image 1", 1, 100).await.unwrap());
    assert!(catalog.raise_alarm("dead-letter", "image 1", "первый", 10).await.unwrap());
    assert!(!catalog.raise_alarm("dead-letter", "image 1", "second", 20).await.unwrap());
    assert!(catalog.raise_alarm("dead-letter", "", "of the whole", 30).await.unwrap());
    let open = [alarm("", 30, 30, "of the whole"), alarm("image 1", 10, 20, "second")];
    assert_eq!(catalog.open_alarms().await.unwrap(), open);
    assert!(catalog.clear_alarm("dead-letter", "image 1", 40, 21).await.unwrap());
    assert!(!catalog.clear_alarm("dead-letter", "image 1", 50, 100).await.unwrap());
    assert_eq!(catalog.open_alarms().await.unwrap(), open[..1]);
    assert!(catalog.raise_alarm("dead-letter", "image 1", "again", 60).await.unwrap());
    let cleared = Alarm { cleared_at_ms: Some(40), ..open[1].clone() };
    let all = [alarm("image 1", 60, 60, "again"), open[0].clone(), cleared];
    assert_eq!(catalog.recent_alarms(10).await.unwrap(), all);
    assert_eq!(catalog.recent_alarms(2).await.unwrap(), all[..2]);
}

pub(super) async fn an_alarm_that_somebody_still_sees_is_not_cleared(place: Catalogs) {
    let catalog = place.open().await;
    assert!(catalog.raise_alarm("queue-down", "", "seen by one", 10).await.unwrap());
    assert!(!catalog.raise_alarm("queue-down", "", "seen by another", 30).await.unwrap());
    // A report that was on its way for long does not make it older.
    assert!(!catalog.raise_alarm("queue-down", "", "late", 20).await.unwrap());
    assert_eq!(catalog.open_alarms().await.unwrap()[0].detail, "seen by another");
    assert!(!catalog.clear_alarm("queue-down", "", 40, 30).await.unwrap());
    assert_eq!(catalog.open_alarms().await.unwrap()[0].seen_at_ms, 30);
    let clear = || catalog.clear_alarm("queue-down", "", 50, 31);
    let (one, other) = tokio::join!(clear(), clear());
    assert!(one.unwrap() != other.unwrap(), "one of two is told that it cleared it");
    assert!(catalog.open_alarms().await.unwrap().is_empty());
}

pub(super) async fn settings_are_replaced(place: Catalogs) {
    let catalog = place.open().await;
    assert_eq!(catalog.setting("model").await.unwrap(), None);
    for value in ["vgg16", "efficientnet-lite0", "", "{\"größe\": \"胸\"}"] {
        catalog.put_setting("model", value).await.unwrap();
        assert_eq!(catalog.setting("model").await.unwrap().as_deref(), Some(value));
    }
    assert_eq!(catalog.setting("Model").await.unwrap(), None);
    let error = catalog.put_setting("model", &"x".repeat(8193)).await.unwrap_err();
    assert!(matches!(error, CatalogError::TooLong { .. }), "{error}");
}

pub(super) async fn everything_survives_a_restart(place: Catalogs) {
    let catalog = place.open().await;
    let images: Vec<_> = (0..10).map(image).collect();
    catalog.accept_images(images.clone()).await.unwrap();
    catalog.append_operations(vec![operation(1)]).await.unwrap();
    catalog.raise_alarm("disk", "", "short", 1).await.unwrap();
    catalog.put_setting("generation", "3").await.unwrap();
    let catalog = restart(&place, catalog).await;
    let page = catalog.list_images(&ImageFilter::default(), ListOrder::OldestFirst, None, 100).await.unwrap();
    assert!(page.items.iter().map(|record| &record.image).eq(&images));
    let operations = catalog.list_operations(&OperationFilter::default(), None, 10).await.unwrap();
    assert_eq!(operations.items.len(), 1);
    assert_eq!(catalog.open_alarms().await.unwrap().len(), 1);
    assert_eq!(catalog.setting("generation").await.unwrap().as_deref(), Some("3"));
}

pub(super) async fn writes_of_nothing_succeed(place: Catalogs) {
    let catalog = place.open().await;
    assert!(catalog.accept_images(Vec::new()).await.unwrap().is_empty());
    catalog.mark_indexed(Vec::new()).await.unwrap();
    catalog.mark_failed(Vec::new()).await.unwrap();
    assert!(catalog.mark_deleting(&[]).await.unwrap().is_empty());
    assert_eq!(catalog.delete_images(&[]).await.unwrap(), 0);
    catalog.append_operations(Vec::new()).await.unwrap();
}
