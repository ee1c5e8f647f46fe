//! Patterns of texts that fields of several parts hold.

/// Name of an object of Kubernetes, or of a host: parts of lower-case letters, digits and hyphens, joined by points.
pub(super) const OBJECT_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// Name of an entry of a Secret or ConfigMap.
pub(super) const ENTRY: &str = "^[-._a-zA-Z0-9]+$";
/// A container image: registry, folders, name, tag, digest.
pub(super) const IMAGE: &str = r"^[A-Za-z0-9\[][-A-Za-z0-9._:/@+\[\]]*$";
/// Name of a label, with a domain before a slash or without.
pub(super) const LABEL_NAME: &str =
    "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
/// Value of a label, which may be empty.
pub(super) const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
