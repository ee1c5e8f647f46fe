//! From what a user wrote to what can be built: the last check before anything is made.
//!
//! The API server evaluates the schema's rules at admission; they are evaluated here again, because a resource may be older than a rule, and
//! with them what no rule of a schema can tell. Pure: no client, no clock.

use std::sync::LazyLock;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt as _;
use kube::core::ObjectMeta;
use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use serde::Deserialize as _;
use serde_json::Value;

use crate::api::{MedicalImageIndex, MedicalImageIndexSpec, WorkloadSpec};
use crate::build::import_name;
use crate::definition::definition;
use crate::names::{Component, TRAIN_GENERATION};
use crate::quantity;
use crate::release::Release;

/// Highest number of a generation that can be asked for; it ends the name of a Job.
const MAX_GENERATION: i64 = 999_999;

/// Longest name of a Job, which is a label of its pods.
const MAX_JOB_NAME: usize = 63;

/// Something in the resource that only a person can change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {remedy}")]
pub struct ValidationError {
    /// The field, as in `spec.search.disk`.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub remedy: String,
}

/// All errors of a resource as one text.
pub fn joined(errors: &[ValidationError], separator: &str) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}

/// A resource that can be built. Everything is there that the builders need, and nothing else can reach them.
#[derive(Debug, Clone)]
pub struct ValidatedIndex {
    /// Name of the resource, and of its objects' beginnings.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Unique id, for owner references.
    pub uid: String,
    /// Name in the backends: what topics begin with.
    pub index: String,
    /// HBase namespace.
    pub hbase_namespace: String,
    /// Database of the catalog.
    pub database: String,
    /// What was asked for.
    pub spec: MedicalImageIndexSpec,
    /// The generation that a person wants trained now, whatever the policy says.
    pub train_generation: Option<i64>,
    release: Release,
}

impl ValidatedIndex {
    /// Image of a component: the resource's own, else that of the operator's release.
    pub fn image(&self, component: Component) -> String {
        let own = self.workload(component).and_then(|workload| workload.image.clone());
        own.unwrap_or_else(|| self.release.image(component))
    }

    /// What the resource says about a component's pods. Importers run where embedders do: they run the same model.
    pub fn workload(&self, component: Component) -> Option<&WorkloadSpec> {
        match component {
            Component::Gateway => Some(&self.spec.gateway.workload),
            Component::Embedder => Some(&self.spec.embedder.workload),
            Component::Search => Some(&self.spec.search.workload),
            Component::Trainer => Some(&self.spec.trainer.workload),
            Component::Importer => None,
        }
    }

    /// Pods of search: all replicas of all shards.
    pub fn search_pods(&self) -> i32 {
        if self.spec.suspend { 0 } else { self.spec.search.shards.saturating_mul(self.spec.search.replicas) }
    }
}

/// Checks a resource.
///
/// # Errors
/// Every [`ValidationError`] found.
pub fn validate(
    index: &MedicalImageIndex,
    release: &Release,
) -> Result<ValidatedIndex, Vec<ValidationError>> {
    let mut errors = rules(index);
    let ObjectMeta { name, namespace, .. } = &index.metadata;
    for (value, field) in [(name, "name"), (namespace, "namespace")] {
        if value.is_none() {
            errors.push(error(&format!("metadata.{field}"), "is missing"));
        }
    }
    let spec = &index.spec;
    for (component, workload) in [
        (Component::Gateway, &spec.gateway.workload),
        (Component::Embedder, &spec.embedder.workload),
        (Component::Search, &spec.search.workload),
        (Component::Trainer, &spec.trainer.workload),
    ] {
        check_workload(component, workload, &mut errors);
    }
    check_disk(&spec.search.disk.0, &mut errors);
    check_imports(&index.name_any(), spec, &mut errors);
    let train_generation = train_generation(index).unwrap_or_else(|wrong| {
        errors.push(wrong);
        None
    });
    if errors.is_empty() { Ok(named(index, release, train_generation)) } else { Err(errors) }
}

/// The resource with the names that its backends have for it, whether it can be built or not: what they are does not depend on that.
pub fn named(index: &MedicalImageIndex, release: &Release, train_generation: Option<i64>) -> ValidatedIndex {
    ValidatedIndex {
        name: index.name_any(),
        namespace: index.namespace().unwrap_or_default(),
        uid: index.uid().unwrap_or_default(),
        hbase_namespace: index.hbase_namespace(),
        database: index.database(),
        index: index.index_name().to_owned(),
        spec: index.spec.clone(),
        train_generation,
        release: release.clone(),
    }
}

/// The generation that the annotation asks for.
fn train_generation(index: &MedicalImageIndex) -> Result<Option<i64>, ValidationError> {
    let Some(text) = index.annotations().get(TRAIN_GENERATION) else { return Ok(None) };
    match text.parse::<i64>() {
        Ok(number) if (1..=MAX_GENERATION).contains(&number) => Ok(Some(number)),
        _ => Err(error(
            &format!("metadata.annotations[{TRAIN_GENERATION}]"),
            &format!(
                "{text:?} is no number of a generation from 1 to {MAX_GENERATION}: kubectl medindex train sets the next one, or remove it"
            ),
        )),
    }
}

/// The rules of the schema, made ready once: that takes milliseconds, and a reconcile should not.
static RULES: LazyLock<CompiledSchema> = LazyLock::new(|| {
    let definition = serde_json::to_value(definition()).unwrap_or_default();
    let schema = definition.pointer("/spec/versions/0/schema/openAPIV3Schema");
    compile_schema(schema.unwrap_or(&Value::Null))
});

/// What the rules of the schema say.
fn rules(index: &MedicalImageIndex) -> Vec<ValidationError> {
    match evaluate(None, index) {
        Ok(()) => Vec::new(),
        Err(failed) => vec![error("spec", &failed)],
    }
}

/// What the rules of the schema say about changing `old` into `new`, as the API server asks them.
///
/// # Errors
/// The [`ValidationError`]s, such as that of a field that cannot change.
pub fn rules_of_change(old: &MedicalImageIndex, new: &MedicalImageIndex) -> Result<(), Vec<ValidationError>> {
    evaluate(Some(old), new).map_err(|failed| vec![error("spec", &failed)])
}

fn evaluate(old: Option<&MedicalImageIndex>, new: &MedicalImageIndex) -> Result<(), String> {
    let json = |index| serde_json::to_value(index).map_err(|failed| failed.to_string());
    let old = old.map(json).transpose()?;
    let checked = Validator::new().validate_compiled(&RULES, &json(new)?, old.as_ref());
    checked.map_err(|failed| failed.to_string())
}

fn check_workload(component: Component, workload: &WorkloadSpec, errors: &mut Vec<ValidationError>) {
    let path = format!("spec.{component}");
    for (kind, quantities) in [("requests", &workload.requests), ("limits", &workload.limits)] {
        for (resource, amount) in quantities {
            check_quantity(&format!("{path}.{kind}[{resource}]"), &amount.0, errors);
        }
    }
    check_requests(&path, workload, errors);
    if let Some(gpu) = &workload.node_pool.gpu {
        let resource = gpu.resource();
        if workload.requests.contains_key(&resource) || workload.limits.contains_key(&resource) {
            errors.push(error(
                &format!("{path}.nodePool.gpu"),
                &format!("{resource} is asked for here and under requests or limits: leave it out there"),
            ));
        }
    }
    if let Some(overrides) = &workload.pod_overrides {
        check_overrides(&format!("{path}.podOverrides"), overrides, errors);
    }
}

/// The API server takes no pod that asks for more than it may have.
fn check_requests(path: &str, workload: &WorkloadSpec, errors: &mut Vec<ValidationError>) {
    for (resource, request) in &workload.requests {
        let Some(limit) = workload.limits.get(resource) else { continue };
        let amounts = quantity::parse(&request.0).zip(quantity::parse(&limit.0));
        if amounts.is_some_and(|(asked, most)| asked > most) {
            errors.push(error(
                &format!("{path}.requests[{resource}]"),
                &format!(
                    "{} is more than {}, its limit: ask for less, or raise the limit",
                    request.0, limit.0
                ),
            ));
        }
    }
}

/// Overrides may change everything but what the operator finds its pods by.
fn check_overrides(path: &str, overrides: &Value, errors: &mut Vec<ValidationError>) {
    let Some(fields) = overrides.as_object() else {
        errors.push(error(path, "is not an object: write it as a pod template, with metadata and spec"));
        return;
    };
    if let Some(field) = fields.keys().find(|field| !matches!(field.as_str(), "metadata" | "spec")) {
        errors.push(error(
            &format!("{path}.{field}"),
            "is no field of a pod template: put it under metadata or spec",
        ));
    }
    // A null takes a field away, and is no value of its type.
    let written = without_nulls(overrides);
    match PodTemplateSpec::deserialize(&written) {
        Err(wrong) => errors.push(error(path, &format!("is no pod template: {wrong}"))),
        Ok(typed) => {
            let kept = serde_json::to_value(typed).unwrap_or_default();
            let mut unknown = Vec::new();
            unknown_fields(&written, &kept, path, &mut unknown);
            let wrong = unknown
                .iter()
                .map(|path| error(path, "is no field of a pod template: see kubectl explain pod"));
            errors.extend(wrong);
        }
    }
    let labels = overrides.pointer("/metadata/labels").and_then(Value::as_object);
    let own = labels.and_then(|labels| labels.keys().find(|label| label.starts_with("app.kubernetes.io/")));
    if let Some(label) = own {
        let path = format!("{path}.metadata.labels[{label}]");
        errors.push(error(&path, "is how the operator finds its pods: use another label"));
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(field, value)| (field.clone(), without_nulls(value))).collect())
        }
        Value::Array(elements) => Value::Array(elements.iter().map(without_nulls).collect()),
        value => value.clone(),
    }
}

/// Fields that a type did not keep. What is empty it may leave out.
fn unknown_fields(written: &Value, kept: &Value, path: &str, found: &mut Vec<String>) {
    match (written, kept) {
        (Value::Object(written), Value::Object(kept)) => {
            for (field, value) in written {
                let path = format!("{path}.{field}");
                match kept.get(field) {
                    Some(kept) => unknown_fields(value, kept, &path, found),
                    None if is_empty(value) => {}
                    None => found.push(path),
                }
            }
        }
        (Value::Array(written), Value::Array(kept)) => {
            for (place, (written, kept)) in written.iter().zip(kept).enumerate() {
                unknown_fields(written, kept, &format!("{path}[{place}]"), found);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// Names of the Jobs, too: no rule of the schema can ask for both names without holding up every write of a resource that is stored already.
fn check_imports(name: &str, spec: &MedicalImageIndexSpec, errors: &mut Vec<ValidationError>) {
    for (number, import) in spec.imports.iter().enumerate() {
        let job = import_name(name, &import.name);
        if job.len() > MAX_JOB_NAME {
            let path = format!("spec.imports[{number}].name");
            let remedy = format!(
                "makes a Job named {job}, and Kubernetes takes {MAX_JOB_NAME} characters: leave out {}",
                job.len() - MAX_JOB_NAME
            );
            errors.push(error(&path, &remedy));
        }
        if spec.imports[..number].iter().any(|other| other.name == import.name) {
            let path = format!("spec.imports[{number}].name");
            errors.push(error(
                &path,
                &format!("{:?} is taken by an import above: choose another", import.name),
            ));
        }
    }
}

/// A disk holds a byte at the least; also a number without quotes, to which the schema's pattern does not apply.
fn check_disk(size: &str, errors: &mut Vec<ValidationError>) {
    let path = "spec.search.disk";
    check_quantity(path, size, errors);
    if quantity::parse(size).is_some_and(|bytes| (0.0..1.0).contains(&bytes)) {
        errors.push(error(path, &format!("{size:?} is no size of a disk: write it as 20Gi")));
    }
}

fn check_quantity(path: &str, text: &str, errors: &mut Vec<ValidationError>) {
    if quantity::parse(text).is_none_or(|value| value < 0.0) {
        errors.push(error(path, &format!("{text:?} is no quantity: write it as 500m, 2, 512Mi or 20Gi")));
    }
}

fn error(path: &str, remedy: &str) -> ValidationError {
    ValidationError { path: path.to_owned(), remedy: remedy.to_owned() }
}
