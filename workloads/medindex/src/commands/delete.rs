//! `medindex delete`: removes an image, or all images of a patient, from every store.

use clap::Args;
use medindex_proto::identity::ImageId;
use serde::Deserialize;

use super::{Context, from_json};
use crate::failure::{Failure, describe};
use crate::service::Service;

/// Delete an image, or every image of a patient: bytes, vectors, catalog and cache.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct DeleteArguments {
    /// Id of the image.
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Delete all images with this DICOM patient id.
    #[arg(long, value_name = "ID")]
    patient: Option<String>,
}

#[derive(Deserialize)]
struct View {
    ids: Vec<String>,
}

pub(crate) async fn run(context: &Context, asked: &DeleteArguments) -> Result<(), Failure> {
    let id = asked
        .id
        .as_deref()
        .map(|text| ImageId::parse(text).map_err(|error| Failure::usage(describe(&error))))
        .transpose()?;
    if asked.patient.as_deref().is_some_and(|patient| patient.trim().is_empty()) {
        return Err(Failure::usage("--patient is empty: name the DICOM patient id whose images are to go"));
    }
    let service = Service::open_existing(&context.options).await?;
    let outcome = match (&id, &asked.patient) {
        (Some(id), _) => service.delete(id).await,
        (None, Some(patient)) => service.delete_patient(patient).await,
        (None, None) => Err(Failure::usage("name an image id or --patient")),
    };
    let json = service.finish(outcome).await?;
    context.output.result(&json, |json| {
        let view: View = from_json(json)?;
        Ok(view.ids.iter().map(|id| format!("deleted {id}")).collect::<Vec<_>>().join("\n") + "\n")
    })
}
