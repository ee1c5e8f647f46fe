//! Programs that run and end: trainings and imports.

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume, VolumeMount,
};

use super::meta::object_meta;
use super::pod::{Program, device, model, template, variable};
use super::settings::Settings;
use crate::api::{ImportFormat, ImportSpec};
use crate::names::{Component, selector_labels};
use crate::validate::ValidatedIndex;

/// Exit statuses of the programs after which trying again changes nothing: a setting that is wrong, and a generation that the recall gate held.
const HOPELESS: [i32; 2] = [2, 3];

/// Name of the Job that trains a generation.
pub fn training_name(index: &str, generation: i64) -> String {
    format!("{index}-train-{generation}")
}

/// Name of the Job of an import.
pub fn import_name(index: &str, import: &str) -> String {
    format!("{index}-import-{import}")
}

/// The Job that trains and publishes a generation.
pub(super) fn training(index: &ValidatedIndex, settings: &Settings, generation: i64) -> Job {
    let quantizer = &index.spec.quantizer;
    let scratch = Volume {
        name: "data".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    let mut variables = vec![
        variable("TRAINING_SAMPLE", quantizer.training_sample.to_string()),
        variable("RECALL_GATE", format!("{:.2}", f64::from(quantizer.recall_gate_percent) / 100.0)),
        variable("SCRATCH", "/data"),
        variable("OPERATION_LISTEN", "0.0.0.0:9600"),
        variable("BITS", quantizer.bits.to_string()),
    ];
    variables.extend(quantizer.lists.map(|lists| variable("LISTS", lists.to_string())));
    variables.extend(quantizer.sub_quantizers.map(|parts| variable("SUB_QUANTIZERS", parts.to_string())));
    let program = Program {
        variables,
        volumes: vec![scratch],
        mounts: vec![VolumeMount {
            name: "data".to_owned(),
            mount_path: "/data".to_owned(),
            ..VolumeMount::default()
        }],
        ..Program::default()
    };
    let pods = template(index, Component::Trainer, &index.spec.trainer.workload, settings, program);
    job(index, Component::Trainer, training_name(&index.name, generation), pods, 3)
}

/// The Job that imports a data set. One that is cut off goes on where it was, so it is tried again for long.
pub(super) fn import(index: &ValidatedIndex, settings: &Settings, import: &ImportSpec) -> Job {
    // Importers run the embedders' model, so they run where those do.
    let workload = &index.spec.embedder.workload;
    let (model_volume, model_mount) = model(index);
    let files = Volume {
        name: "source".to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: import.source.claim.clone(),
            read_only: Some(true),
        }),
        ..Volume::default()
    };
    let path = match import.source.path.as_str() {
        "" => "/source".to_owned(),
        path => format!("/source/{path}"),
    };
    let mut variables = vec![
        variable("SOURCE", path),
        variable("MODEL_BATCH", index.spec.embedding.batch.to_string()),
        variable("OPERATION_LISTEN", "0.0.0.0:9600"),
        device(index),
    ];
    if import.format == ImportFormat::LabelledFolders {
        variables.push(variable("LABEL_FROM_FOLDER", "true"));
    }
    variables.extend(import.images_per_second.map(|rate| variable("IMAGES_PER_SECOND", rate.to_string())));
    let program = Program {
        variables,
        volumes: vec![model_volume, files],
        mounts: vec![
            model_mount,
            VolumeMount {
                name: "source".to_owned(),
                mount_path: "/source".to_owned(),
                read_only: Some(true),
                ..VolumeMount::default()
            },
        ],
        ..Program::default()
    };
    let mut pods = template(index, Component::Importer, workload, settings, program);
    if let (Some(image), Some(spec)) = (&import.image, &mut pods.spec) {
        for container in &mut spec.containers {
            container.image = Some(image.clone());
        }
    }
    job(index, Component::Importer, import_name(&index.name, &import.name), pods, 20)
}

fn job(
    index: &ValidatedIndex,
    component: Component,
    name: String,
    mut pods: PodTemplateSpec,
    tries: i32,
) -> Job {
    if let Some(spec) = &mut pods.spec {
        spec.restart_policy = Some("Never".to_owned());
        spec.topology_spread_constraints = None;
    }
    let hopeless = PodFailurePolicyRule {
        action: "FailJob".to_owned(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            container_name: Some(component.name().to_owned()),
            operator: "In".to_owned(),
            values: HOPELESS.to_vec(),
        }),
        ..PodFailurePolicyRule::default()
    };
    Job {
        metadata: object_meta(index, name, selector_labels(&index.name, component)),
        spec: Some(JobSpec {
            template: pods,
            backoff_limit: Some(tries),
            suspend: Some(index.spec.suspend),
            pod_failure_policy: Some(PodFailurePolicy { rules: vec![hopeless] }),
            ..JobSpec::default()
        }),
        status: None,
    }
}
