//! What the operator counts. Labels are outcomes and calls, never names of resources.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::api::condition_types;
use crate::reconcile::watched::{Watched, readable};

/// Upper bounds of the buckets, in seconds.
const BUCKETS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 60.0];

/// What a condition's status may be.
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];
/// Place of `Unknown` among them.
const UNKNOWN: usize = 2;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    call: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabel {
    call: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiCallLabels {
    call: String,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConditionLabels {
    condition: &'static str,
    status: &'static str,
}

/// The counters.
#[derive(Debug)]
pub struct Metrics {
    reconciles: Family<OutcomeLabel, Counter>,
    reconcile_seconds: Histogram,
    calls: Family<CallLabels, Counter>,
    call_seconds: Family<CallLabel, Histogram, fn() -> Histogram>,
    api_calls: Family<ApiCallLabels, Counter>,
    leads: Gauge,
    resources: Gauge,
    conditions: Family<ConditionLabels, Gauge>,
    registry: Registry,
    /// The resources, which are counted when somebody asks; an operator that does not lead knows none.
    watched: OnceLock<Arc<Watched>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("medindex_operator");
        let reconciles = Family::default();
        registry.register("reconciles", "Reconciles by outcome: ok or error", reconciles.clone());
        let reconcile_seconds = Histogram::new(BUCKETS);
        registry.register_with_unit(
            "reconcile_duration",
            "Time of a reconcile",
            Unit::Seconds,
            reconcile_seconds.clone(),
        );
        let calls = Family::default();
        registry.register(
            "external_calls",
            "Calls to Kafka, HBase and gateways, by call and outcome",
            calls.clone(),
        );
        let call_seconds = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        registry.register_with_unit(
            "external_call_duration",
            "Time of a call to Kafka, HBase, a gateway or a pod's probe",
            Unit::Seconds,
            call_seconds.clone(),
        );
        let api_calls = Family::default();
        registry.register(
            "api_calls",
            "Calls to the API server, by verb and resource and by the status of HTTP; 0 without an answer",
            api_calls.clone(),
        );
        let leads = Gauge::default();
        registry.register("leader", "1 while this operator leads", leads.clone());
        let resources = Gauge::default();
        registry.register("resources", "Resources that are looked after", resources.clone());
        let conditions = Family::default();
        registry.register(
            "resource_conditions",
            "Resources by condition and its status; those that no operator has looked at count as the schema says: Reconciling True, the others Unknown",
            conditions.clone(),
        );
        let watched = OnceLock::new();
        Self {
            reconciles,
            reconcile_seconds,
            calls,
            call_seconds,
            api_calls,
            leads,
            resources,
            conditions,
            registry,
            watched,
        }
    }
}

impl Metrics {
    /// Counts a reconcile.
    pub fn reconcile(&self, succeeded: bool, took: Duration) {
        self.reconciles.get_or_create(&OutcomeLabel { outcome: outcome(succeeded) }).inc();
        self.reconcile_seconds.observe(took.as_secs_f64());
    }

    /// Counts a call to a backend.
    pub fn call(&self, call: &'static str, succeeded: bool, took: Duration) {
        self.call_seconds.get_or_create(&CallLabel { call }).observe(took.as_secs_f64());
        self.calls.get_or_create(&CallLabels { call, outcome: outcome(succeeded) }).inc();
    }

    /// Counts a call to the API server, with the status that it was answered with.
    pub fn api_call(&self, call: String, code: Option<u16>) {
        self.api_calls.get_or_create(&ApiCallLabels { call, code: code.unwrap_or(0) }).inc();
    }

    /// Notes whether this operator leads.
    pub fn lead(&self, leads: bool) {
        self.leads.set(i64::from(leads));
    }

    /// Has the resources counted from now on.
    pub fn watch(&self, watched: Arc<Watched>) {
        // A process leads once.
        self.watched.get_or_init(|| watched);
    }

    /// Counts the resources, and how they are.
    fn count_resources(&self) {
        let Some(watched) = self.watched.get() else { return };
        let all = watched.now();
        self.resources.set(i64::try_from(all.len()).unwrap_or(i64::MAX));
        let mut counts = [[0; STATUSES.len()]; condition_types::ALL.len()];
        for index in readable(&all) {
            for (condition, counts) in condition_types::ALL.into_iter().zip(&mut counts) {
                let status = index.condition(condition).map_or("Unknown", |found| found.status.as_str());
                let place = STATUSES.iter().position(|known| *known == status);
                counts[place.unwrap_or(UNKNOWN)] += 1;
            }
        }
        for (condition, counts) in condition_types::ALL.into_iter().zip(counts) {
            for (status, count) in STATUSES.into_iter().zip(counts) {
                self.conditions.get_or_create(&ConditionLabels { condition, status }).set(count);
            }
        }
    }

    /// All of it in the text format of `OpenMetrics`.
    ///
    /// # Errors
    /// When it cannot be written, which does not happen.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        self.count_resources();
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn outcome(succeeded: bool) -> &'static str {
    if succeeded { "ok" } else { "error" }
}
