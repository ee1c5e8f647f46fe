//! What every program measures: the alarms that it knows of, and what became of the operations that it recorded.

use std::sync::Arc;

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
}

impl CoreMetrics {
    /// Registers `medindex_alarms` and `medindex_operations_recorded`.
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
        metrics
    }

    /// Brings them up to date.
    pub fn set(&self, core: &Core) {
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
