//! What a catalog promises.

mod images;
mod journal;

use std::sync::Arc;

use medindex_proto::{ImageId, RowKey};

use self::images::{
    a_batch_with_the_same_bytes_twice_accepts_them_once, a_deleted_image_is_gone_and_may_come_again,
    a_failed_image_may_be_offered_again, a_label_is_set_where_there_is_none,
    a_new_image_is_kept_field_by_field, an_id_of_other_bytes_is_refused_and_spoils_no_other,
    an_image_being_deleted_stays_so, counts_follow_the_images, images_are_read_in_the_order_asked_for,
    marks_change_what_they_say, of_many_who_offer_the_same_bytes_one_is_new,
    pages_cover_a_list_without_gaps_or_repeats, patients_images_are_found,
    the_same_bytes_are_a_duplicate_within_their_organisation, the_same_offer_again_gives_the_same_answer,
    too_long_texts_are_refused_and_nothing_is_written, waiting_images_are_found_oldest_first,
    what_a_filter_asks_for_is_listed,
};
use self::journal::{
    alarms_are_raised_once_and_cleared, an_alarm_that_somebody_still_sees_is_not_cleared,
    everything_survives_a_restart, operations_are_listed_latest_first_by_filter, settings_are_replaced,
    the_same_operation_again_changes_nothing, writes_of_nothing_succeed,
};
use super::{Place, restart};
use crate::catalog::{Catalog, ImageDescription, NewImage};

type Port = dyn Catalog;
type Catalogs = Arc<dyn Place<Port>>;

super::checks![Port:
    a_new_image_is_kept_field_by_field,
    the_same_bytes_are_a_duplicate_within_their_organisation,
    the_same_offer_again_gives_the_same_answer,
    of_many_who_offer_the_same_bytes_one_is_new,
    a_batch_with_the_same_bytes_twice_accepts_them_once,
    a_failed_image_may_be_offered_again,
    an_image_being_deleted_stays_so,
    an_id_of_other_bytes_is_refused_and_spoils_no_other,
    too_long_texts_are_refused_and_nothing_is_written,
    marks_change_what_they_say,
    a_label_is_set_where_there_is_none,
    images_are_read_in_the_order_asked_for,
    what_a_filter_asks_for_is_listed,
    pages_cover_a_list_without_gaps_or_repeats,
    patients_images_are_found,
    waiting_images_are_found_oldest_first,
    counts_follow_the_images,
    a_deleted_image_is_gone_and_may_come_again,
    operations_are_listed_latest_first_by_filter,
    the_same_operation_again_changes_nothing,
    alarms_are_raised_once_and_cleared,
    an_alarm_that_somebody_still_sees_is_not_cleared,
    settings_are_replaced,
    everything_survives_a_restart,
    writes_of_nothing_succeed,
];

/// An image with bytes of its own.
fn image(seed: u32) -> NewImage {
    let id = ImageId::new();
    let mut sha256 = [0; 32];
    sha256[..4].copy_from_slice(&seed.to_be_bytes());
    let mut md5 = [0xa5; 16];
    md5[..4].copy_from_slice(&seed.to_be_bytes());
    NewImage {
        id,
        row_key: RowKey::new(&id, 9),
        organisation: "Klinik".to_owned(),
        sha256,
        md5,
        name: format!("{seed}.dcm"),
        label: None,
        content_type: "application/dicom".to_owned(),
        format: "dicom".to_owned(),
        bytes: u64::from(seed) + (5 << 32),
        received_at_ms: 1_700_000_000_000 + i64::from(seed),
        description: ImageDescription::default(),
        sidecar: None,
    }
}

/// A description in which every field says something.
fn description() -> ImageDescription {
    ImageDescription {
        image_type: Some("CT".into()),
        modality: Some("CT".into()),
        body_part: Some("CHEST".into()),
        study_uid: Some("1.2.840.1".into()),
        series_uid: Some("1.2.840.1.2".into()),
        instance_uid: Some("1.2.840.1.2.3".into()),
        patient_id: Some("Pătient-Ω 患者 🩻".into()),
        study_date: Some("20240229".into()),
        acquired_ms: Some(-1_000),
        width: Some(512),
        height: Some(u32::MAX),
        frames: Some(1),
        transfer_syntax: Some("1.2.840.10008.1.2.1".into()),
    }
}
