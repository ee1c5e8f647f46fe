//! Pod templates: what every workload's pods have in common.
//!
//! They satisfy the Pod Security Standard `restricted`: a user that is not root, no capability, no way to new privileges, a root file
//! system that cannot be written, the runtime's seccomp profile, and no token of the API server.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapEnvSource, Container, ContainerPort, EmptyDirVolumeSource, EnvFromSource, EnvVar,
    HTTPGetAction, ImageVolumeSource, Lifecycle, LifecycleHandler, LocalObjectReference,
    PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ResourceRequirements, SeccompProfile, SecurityContext, SleepAction, TopologySpreadConstraint, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sha2::{Digest as _, Sha256};

use super::meta::selector;
use super::settings::{Settings, config_map_name};
use crate::api::{ComputeDevice, NodePool, WorkloadSpec};
use crate::names::{Component, SETTINGS_HASH, object_name, selector_labels};
use crate::validate::ValidatedIndex;

/// User and group of the images.
const USER: i64 = 65_532;
/// Port of probes and metrics of every program.
pub(crate) const OPERATION_PORT: i32 = 9_600;
/// What Kubernetes waits after SIGTERM; the programs end sooner.
const GRACE_SECONDS: i64 = 30;

/// What a workload's pod is made of, beside what all have.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) variables: Vec<EnvVar>,
    pub(super) ports: Vec<(&'static str, i32)>,
    pub(super) volumes: Vec<Volume>,
    pub(super) mounts: Vec<VolumeMount>,
    /// Whether it serves; jobs run and end, and have no probes.
    pub(super) serves: bool,
    /// How long it goes on serving after Kubernetes began to take it away.
    pub(super) linger_seconds: i64,
}

/// The pod template of a component. What the user wants otherwise is merged last, by [`super::build`].
pub(super) fn template(
    index: &ValidatedIndex,
    component: Component,
    workload: &WorkloadSpec,
    settings: &Settings,
    mut program: Program,
) -> PodTemplateSpec {
    let labels = selector_labels(&index.name, component);
    let annotations = BTreeMap::from([(SETTINGS_HASH.to_owned(), settings_hash(&settings.variables))]);
    let scratch = Volume {
        name: "tmp".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    let mut volumes = settings.volumes.clone();
    volumes.append(&mut program.volumes);
    volumes.push(scratch);
    let grace = GRACE_SECONDS + program.linger_seconds;
    let spec = PodSpec {
        containers: vec![container(index, component, workload, settings, program)],
        volumes: Some(volumes),
        image_pull_secrets: pull_secrets(index),
        service_account_name: Some(object_name(&index.name, component)),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(grace),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        node_selector: Some(workload.node_pool.node_selector.clone()).filter(|labels| !labels.is_empty()),
        tolerations: Some(workload.node_pool.tolerations.clone())
            .filter(|tolerations| !tolerations.is_empty()),
        topology_spread_constraints: Some(spread(index, component, &workload.node_pool)),
        ..PodSpec::default()
    };
    let metadata =
        ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() };
    PodTemplateSpec { metadata: Some(metadata), spec: Some(spec) }
}

/// By what nodes sign in at registries.
fn pull_secrets(index: &ValidatedIndex) -> Option<Vec<LocalObjectReference>> {
    let secrets = index.spec.image_pull_secrets.iter();
    let secrets: Vec<_> = secrets.map(|name| LocalObjectReference { name: name.clone() }).collect();
    Some(secrets).filter(|secrets| !secrets.is_empty())
}

fn container(
    index: &ValidatedIndex,
    component: Component,
    workload: &WorkloadSpec,
    settings: &Settings,
    program: Program,
) -> Container {
    let Program { variables, ports, mounts: own_mounts, serves, linger_seconds, .. } = program;
    let mut mounts = settings.mounts.clone();
    mounts.extend(own_mounts);
    mounts.push(VolumeMount {
        name: "tmp".to_owned(),
        mount_path: "/tmp".to_owned(),
        ..VolumeMount::default()
    });
    let source = ConfigMapEnvSource { name: config_map_name(index), ..ConfigMapEnvSource::default() };
    let ports = ports.into_iter().chain([("operation", OPERATION_PORT)]).map(|(name, port)| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    });
    Container {
        name: component.name().to_owned(),
        image: Some(index.image(component)),
        env_from: Some(vec![EnvFromSource { config_map_ref: Some(source), ..EnvFromSource::default() }]),
        env: Some(variables).filter(|variables| !variables.is_empty()),
        ports: Some(ports.collect()),
        resources: Some(resources(workload)),
        volume_mounts: Some(mounts),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        lifecycle: linger(linger_seconds),
        // A long start (loading a shard) is no failure: only a process that does not answer at all is started again.
        startup_probe: serves.then(|| probe("/healthz", 2, 150)),
        liveness_probe: serves.then(|| probe("/healthz", 10, 6)),
        readiness_probe: serves.then(|| probe("/readyz", 2, 2)),
        ..Container::default()
    }
}

/// Holds SIGTERM back, where there is something to wait for. Wants Kubernetes 1.30.
fn linger(seconds: i64) -> Option<Lifecycle> {
    let sleep = LifecycleHandler { sleep: Some(SleepAction { seconds }), ..LifecycleHandler::default() };
    (seconds > 0).then(|| Lifecycle { pre_stop: Some(sleep), ..Lifecycle::default() })
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("operation".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// Requests and limits, and the GPUs of the pool, which Kubernetes wants as limits.
fn resources(workload: &WorkloadSpec) -> ResourceRequirements {
    let mut limits = workload.limits.clone();
    if let Some(gpu) = &workload.node_pool.gpu {
        limits.insert(gpu.resource(), Quantity(gpu.count.to_string()));
    }
    let some =
        |quantities: BTreeMap<String, Quantity>| Some(quantities).filter(|quantities| !quantities.is_empty());
    ResourceRequirements { requests: some(workload.requests.clone()), limits: some(limits), claims: None }
}

/// Pods of a component spread over the pool, but never wait for it to be even.
fn spread(index: &ValidatedIndex, component: Component, pool: &NodePool) -> Vec<TopologySpreadConstraint> {
    let keys = if pool.spread_over.is_empty() {
        vec!["kubernetes.io/hostname".to_owned()]
    } else {
        pool.spread_over.clone()
    };
    let constraint = |topology_key| TopologySpreadConstraint {
        max_skew: 1,
        topology_key,
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector(index, component)),
        ..TopologySpreadConstraint::default()
    };
    keys.into_iter().map(constraint).collect()
}

/// A volume with the model's folder, and where it is mounted.
pub(super) fn model(index: &ValidatedIndex) -> (Volume, VolumeMount) {
    let source = &index.spec.embedding.model;
    let image = source
        .image
        .as_ref()
        .map(|image| ImageVolumeSource { reference: Some(image.clone()), pull_policy: None });
    let claim = source
        .claim
        .as_ref()
        .map(|claim| PersistentVolumeClaimVolumeSource { claim_name: claim.clone(), read_only: Some(true) });
    let volume =
        Volume { name: "model".to_owned(), image, persistent_volume_claim: claim, ..Volume::default() };
    let mount = VolumeMount {
        name: "model".to_owned(),
        mount_path: "/model".to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    (volume, mount)
}

/// Has the model compute where the resource says.
pub(super) fn device(index: &ValidatedIndex) -> EnvVar {
    let device = match index.spec.embedding.device {
        ComputeDevice::Cpu => "cpu",
        ComputeDevice::Cuda => "cuda",
    };
    variable("DEVICE", device)
}

/// A variable with a value.
pub(super) fn variable(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar { name: format!("MEDINDEX_{name}"), value: Some(value.into()), ..EnvVar::default() }
}

fn settings_hash(variables: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    for (name, value) in variables {
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update(value.as_bytes());
        hash.update([0]);
    }
    hex::encode(&hash.finalize()[..8])
}
