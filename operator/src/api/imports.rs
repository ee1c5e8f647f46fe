//! Data sets to import in bulk.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::patterns::{IMAGE, OBJECT_NAME};

/// One data set, imported by a Job that goes on where it was cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImportSpec {
    /// Name of the import, part of its Job's name.
    #[schemars(length(min = 1, max = 20), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Where the files are.
    pub source: ImportSource,
    /// How they are laid out.
    #[serde(default)]
    pub format: ImportFormat,
    /// Container image; the operator's release names one when left out, which runs the model on processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = IMAGE))]
    pub image: Option<String>,
    /// Images a second at the most; no limit when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub images_per_second: Option<i32>,
}

/// Where the files of an import are.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!self.path.startsWith('/') && !self.path.split('/').exists(part, part == '..')")
    .message("path is relative to the claim's root and stays in it: leave out a leading / and every .."))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImportSource {
    /// PersistentVolumeClaim, mounted read-only.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub claim: String,
    /// Folder or file in it; the whole when empty.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub path: String,
}

/// How files of an import are laid out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImportFormat {
    /// Every image in the folder. A DICOMDIR, a table of labels and DeepLesion's `DL_info.csv` are recognised.
    #[default]
    Folder,
    /// Every image, labelled by the folder that it is in.
    LabelledFolders,
}
