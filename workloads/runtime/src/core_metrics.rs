//! What every program measures: the alarms that it knows of, and what became of the operations that it recorded.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use medindex_pipeline::{Core, OperationLogCounts};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::operation::Gauges;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlarmLabels {
    name: String,
    severity: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// The gauges; set when they are asked for.
#[derive(Debug, Clone, Default)]
pub struct CoreMetrics {
    alarms: Family<AlarmLabels, Gauge>,
    operations: Family<ResultLabel, Gauge>,
    clock_ahead: Gauge<f64, AtomicU64>,
}

impl CoreMetrics {
    /// Registers `medindex_alarms`, `medindex_operations_recorded` and `medindex_clock_ahead_seconds`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("medindex");
        registry.register(
            "alarms",
            "Alarms that are raised, as far as this process knows, by name and severity",
            metrics.alarms.clone(),
        );
        registry.register(
            "operations_recorded",
            "Operations of this process by what became of them: published, kept in the catalog, dropped, waiting",
            metrics.operations.clone(),
        );
        registry.register(
            "clock_ahead_seconds",
            "How far in the future the furthest time lay that this process read in the last minutes, 0 while clocks agree",
            metrics.clock_ahead.clone(),
        );
        metrics
    }

    /// Brings them up to date.
    pub fn set(&self, core: &Core) {
        self.clock_ahead.set(core.clock_ahead().as_secs_f64());
        self.alarms.clear();
        for alarm in core.raised_alarms() {
            let labels = AlarmLabels { name: alarm.name, severity: alarm.severity.name() };
            self.alarms.get_or_create(&labels).inc();
        }
        let OperationLogCounts { published, kept, dropped, waiting } = core.operation_counts();
        let counts = [("published", published), ("kept", kept), ("dropped", dropped), ("waiting", waiting)];
        for (result, count) in counts {
            self.operations
                .get_or_create(&ResultLabel { result })
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// For a program that measures nothing else.
    pub fn gauges(self, core: Arc<Core>) -> Gauges {
        Arc::new(move || {
            self.set(&core);
            Box::pin(std::future::ready(()))
        })
    }
}
