//! The images of the workloads that belong to this release of the operator.

use crate::names::Component;

/// Where the images of the workloads are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// What comes before `medindex-gateway`: a registry and a folder in it, such as `registry.example/medindex/`.
    pub image_prefix: String,
    /// Tag of the images.
    pub image_tag: String,
}

impl Release {
    /// The image of a component.
    pub fn image(&self, component: Component) -> String {
        format!("{}medindex-{component}:{}", self.image_prefix, self.image_tag)
    }
}
