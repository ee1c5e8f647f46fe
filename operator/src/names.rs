//! Names and labels of what the operator makes, in Kubernetes and in the backends.

use std::collections::BTreeMap;
use std::fmt;

/// Who applies fields (server-side apply), and the value of the label `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "medindex-operator";
/// Finalizer of the resource under `deletionPolicy: Delete`. Under `Retain` it has none, and can be deleted without an operator.
pub const FINALIZER: &str = "medindex.dev/backends";
/// Annotation by which a person lets a resource go although its backends cannot be cleaned up.
pub const FORCE_DELETION: &str = "medindex.dev/force-deletion";
/// Annotation by which a person has a generation trained now: its number, trained once unless a newer training is there.
pub const TRAIN_GENERATION: &str = "medindex.dev/train-generation";
/// Annotation of pod templates: a hash of the settings that the pods were started with, so that only changed ones start anew.
pub const SETTINGS_HASH: &str = "medindex.dev/settings-hash";

/// A kind of workload: the label `app.kubernetes.io/component`, the image's name, the end of objects' names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// HTTP API and page.
    Gateway,
    /// Vectors of uploads and queries.
    Embedder,
    /// Shards.
    Search,
    /// Generations.
    Trainer,
    /// Bulk imports.
    Importer,
}

impl Component {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Embedder => "embedder",
            Self::Search => "search",
            Self::Trainer => "trainer",
            Self::Importer => "importer",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Name of an object of a component: `radiology-gateway`.
pub fn object_name(index: &str, component: Component) -> String {
    format!("{index}-{component}")
}

/// Labels by which pods of a component are selected; they never change.
pub fn selector_labels(index: &str, component: Component) -> BTreeMap<String, String> {
    let mut labels = index_labels(index);
    labels.insert("app.kubernetes.io/component".to_owned(), component.name().to_owned());
    labels
}

/// The label that says who made an object.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Labels of everything of an index.
pub fn index_labels(index: &str) -> BTreeMap<String, String> {
    let labels = [
        ("app.kubernetes.io/name", "medindex"),
        ("app.kubernetes.io/instance", index),
        (MANAGED_BY, MANAGER),
    ];
    labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// Selects everything that the operator made, of all indexes.
pub fn made_selector() -> String {
    format!("{MANAGED_BY}={MANAGER}")
}

/// Labels as the text of a selector: `a=b,c=d`.
pub fn selector_text(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_names_index_and_component() {
        let text = selector_text(&selector_labels("radiology", Component::Search));
        assert!(text.contains("app.kubernetes.io/instance=radiology"), "{text}");
        assert!(text.contains("app.kubernetes.io/component=search"), "{text}");
        assert_eq!(object_name("radiology", Component::Gateway), "radiology-gateway");
    }
}
