//! Messages are read back as written, and everything else is refused by name.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use bytes::Bytes;
use medindex_proto::messages::{
    Attributes, DeadLetter, FrameVector, Frames, ImageIndexed, ImageUpload, Indexed, OperationEvent,
    Tombstone, image_indexed, image_upload, indexed,
};
use medindex_proto::names::{MAX_INLINE_BYTES, MAX_MESSAGE_BYTES};
use medindex_proto::{IdentityError, ImageId, Message, MessageError, RowKey};
use prost::Message as _;

fn upload() -> ImageUpload {
    let id = ImageId::new();
    ImageUpload {
        image_id: id.to_string(),
        row_key: RowKey::new(&id, 9).to_string(),
        organisation: "Klinik für Radiologie".into(),
        name: "胸部.dcm".into(),
        label: Some("lung".into()),
        content_type: "application/dicom".into(),
        format: "dicom".into(),
        sha256: vec![7; 32].into(),
        md5: vec![8; 16].into(),
        received_at_ms: 1_760_000_000_000,
        attempt: 2,
        trace: [("traceparent".to_owned(), "00-ab-cd-01".to_owned())].into(),
        content: Some(image_upload::Content::Inline(vec![1; MAX_INLINE_BYTES].into())),
        ..ImageUpload::default()
    }
}

fn indexed_image() -> ImageIndexed {
    let id = ImageId::new();
    let frame = |frame| FrameVector { frame, vector: vec![0; 1024].into(), code: vec![3; 32].into() };
    let indexed = Indexed {
        generation: 4,
        attributes: Some(Attributes { modality: Some("CT".into()), ..Attributes::default() }),
        vectors: Some(indexed::Vectors::Frames(Frames { frames: vec![frame(0), frame(5)] })),
        model_digest: "ab".repeat(32),
    };
    ImageIndexed {
        image_id: id.to_string(),
        row_key: RowKey::new(&id, 9).to_string(),
        at_ms: 5,
        change: Some(image_indexed::Change::Indexed(indexed)),
        ..ImageIndexed::default()
    }
}

fn dead_letter() -> DeadLetter {
    DeadLetter { topic: "imageupload".into(), payload: "garbage".into(), offset: 9, ..DeadLetter::default() }
}

fn operation() -> OperationEvent {
    OperationEvent {
        event_id: ImageId::new().to_string(),
        action: "image.upload".into(),
        actor: "Dr. Ü".into(),
        trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
        ..OperationEvent::default()
    }
}

fn assert_round_trip<M: Message + std::fmt::Debug>(mut message: M) {
    let payload = message.write().unwrap();
    message.set_version();
    assert_eq!(M::read(&payload).unwrap(), message);
}

#[test]
fn every_message_is_read_back_as_written() {
    assert_round_trip(upload());
    assert_round_trip(ImageUpload { content: Some(image_upload::Content::StoredBytes(5 << 30)), ..upload() });
    assert_round_trip(indexed_image());
    let tombstone = image_indexed::Change::Tombstone(Tombstone { deleted_at_ms: 7 });
    assert_round_trip(ImageIndexed { change: Some(tombstone), ..indexed_image() });
    assert_round_trip(dead_letter());
    assert_round_trip(operation());
}

#[test]
fn a_message_of_a_later_release_is_refused_before_anything_else_is_read() {
    // Field 2 has another type in this future: the version must be seen before it is decoded.
    let mut future = Vec::new();
    prost::encoding::uint32::encode(1, &2, &mut future);
    prost::encoding::uint64::encode(2, &77, &mut future);
    let error = ImageUpload::read(&future.into()).unwrap_err();
    assert!(
        matches!(error, MessageError::FutureVersion { kind: "ImageUpload", found: 2, supported: 1 }),
        "{error}"
    );
    assert!(error.to_string().contains("upgrade"), "{error}");
}

#[test]
fn unknown_fields_of_the_same_version_are_ignored() {
    let mut payload = operation().write().unwrap().to_vec();
    prost::encoding::string::encode(4000, &"new and optional".to_owned(), &mut payload);
    assert_eq!(OperationEvent::read(&payload.into()).unwrap().action, "image.upload");
}

#[test]
fn empty_and_unversioned_messages_are_refused() {
    let unversioned = upload().encode_to_vec();
    for payload in [Bytes::new(), unversioned.into()] {
        let error = ImageUpload::read(&payload).unwrap_err();
        assert!(matches!(error, MessageError::Unversioned { .. }), "{error}");
    }
}

#[test]
fn garbage_is_refused_and_never_panics() {
    let mut state = 7_u64;
    for length in 0..2000 {
        let garbage: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        let garbage = Bytes::from(garbage);
        ImageUpload::read(&garbage).unwrap_err();
        ImageIndexed::read(&garbage).unwrap_err();
    }
    let error = ImageUpload::read(&Bytes::from_static(&[0xff; 64])).unwrap_err();
    assert!(matches!(error, MessageError::Decode { kind: "ImageUpload", .. }), "{error}");
}

#[test]
fn every_truncation_is_refused_or_names_what_is_missing() {
    let whole = indexed_image().write().unwrap();
    for length in 0..whole.len() {
        ImageIndexed::read(&whole.slice(..length)).unwrap_err();
    }
}

#[test]
fn oversized_messages_are_refused_in_both_directions() {
    let payload = Bytes::from(vec![0; MAX_MESSAGE_BYTES + 1]);
    let error = OperationEvent::read(&payload).unwrap_err();
    assert!(matches!(error, MessageError::TooLarge { limit: MAX_MESSAGE_BYTES, .. }), "{error}");
    let large = OperationEvent { detail: "x".repeat(MAX_MESSAGE_BYTES), ..operation() };
    let error = large.write().unwrap_err();
    assert!(matches!(error, MessageError::TooLarge { .. }), "{error}");
}

fn refusal(message: &impl Message) -> String {
    let error = message.write().unwrap_err().to_string();
    let mut stamped = message.clone();
    stamped.set_version();
    let read = read_like(message, &stamped.encode_to_vec().into());
    assert_eq!(read, error, "reading and writing refuse for different reasons");
    error
}

fn read_like<M: Message>(_: &M, payload: &Bytes) -> String {
    M::read(payload).err().unwrap().to_string()
}

#[test]
fn fields_that_contradict_each_other_are_named() {
    let other = ImageId::new();
    let cases: [(String, &str); 11] = [
        (refusal(&ImageUpload { image_id: "7".into(), ..upload() }), "is no image id"),
        (refusal(&ImageUpload { row_key: "0001|".into(), ..upload() }), "is no row key"),
        (refusal(&ImageUpload { row_key: RowKey::new(&other, 9).into(), ..upload() }), "of another image"),
        (refusal(&ImageUpload { sha256: vec![1; 31].into(), ..upload() }), "sha256"),
        (refusal(&ImageUpload { md5: Bytes::new(), ..upload() }), "md5"),
        (refusal(&ImageUpload { content: None, ..upload() }), "content"),
        (refusal(&ImageIndexed { change: None, ..indexed_image() }), "change"),
        (refusal(&DeadLetter { topic: String::new(), ..dead_letter() }), "topic"),
        (refusal(&OperationEvent { action: String::new(), ..operation() }), "action"),
        (refusal(&OperationEvent { event_id: "7".into(), ..operation() }), "is no image id"),
        (refusal(&OperationEvent { trace_id: "0af7".into(), ..operation() }), "trace_id"),
    ];
    for (error, named) in cases {
        assert!(error.contains(named), "{error}");
    }
    let large = vec![1; MAX_INLINE_BYTES + 1].into();
    let error = refusal(&ImageUpload { content: Some(image_upload::Content::Inline(large)), ..upload() });
    assert!(error.contains("image store"), "{error}");
}

#[test]
fn vectors_and_codes_of_different_lengths_are_refused() {
    let with = |frames: Vec<(usize, usize)>| {
        let frame = |(vector, code)| FrameVector {
            frame: 0,
            vector: vec![0; vector].into(),
            code: vec![0; code].into(),
        };
        let frames = Frames { frames: frames.into_iter().map(frame).collect() };
        let indexed = Indexed { vectors: Some(indexed::Vectors::Frames(frames)), ..Indexed::default() };
        ImageIndexed { change: Some(image_indexed::Change::Indexed(indexed)), ..indexed_image() }
    };
    with(vec![(8, 0), (8, 0)]).write().unwrap();
    assert!(refusal(&with(vec![])).contains("at least one frame"));
    assert!(refusal(&with(vec![(0, 4)])).contains("16-bit"));
    assert!(refusal(&with(vec![(7, 4)])).contains("16-bit"));
    assert!(refusal(&with(vec![(8, 4), (10, 4)])).contains("vectors of an image have one length"));
    assert!(refusal(&with(vec![(8, 4), (8, 5)])).contains("codes of an image have one length"));
}

#[test]
fn errors_carry_their_cause() {
    let wrong = ImageUpload { image_id: "7".into(), ..upload() };
    let MessageError::Identity { source, .. } = wrong.write().unwrap_err() else { panic!("another error") };
    assert!(matches!(source, IdentityError::ParseImageId { .. }));
}
