//! The sample resource as a user writes it, with changes.

use serde_json::Value;

/// The sample with values put at JSON pointers.
pub(crate) fn with(changes: &[(&str, Value)]) -> Value {
    let mut index: Value =
        serde_norway::from_str(include_str!("../../../manifests/samples/medicalimageindex.yaml")).unwrap();
    for (pointer, value) in changes {
        put(&mut index, pointer, value.clone());
    }
    index
}

/// Puts a value at a JSON pointer, whose parent is there.
pub(crate) fn put(object: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap_or_else(|| panic!("nothing at {parent}"))[name] = value;
}
