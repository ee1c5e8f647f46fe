//! Kafka's own tool, run in the broker's pod: what an administrator does behind the operator's back.

use crate::kubectl::kubectl;

/// Namespace of the backends.
pub const NAMESPACE: &str = "backends";

fn topic_settings(topic: &str, more: &[&str]) -> String {
    let tool: [&[&str]; 3] = [
        &["exec", "--namespace", NAMESPACE, "kafka-0", "--", "java", "-cp", "/jars/*", "kafka.admin.ConfigCommand"],
        &["--bootstrap-server", "kafka.backends:9092", "--entity-type", "topics", "--entity-name", topic],
        more,
    ];
    kubectl(&tool.concat())
}

/// Gives a topic a setting.
pub fn set_topic_setting(topic: &str, name: &str, value: &str) {
    topic_settings(topic, &["--alter", "--add-config", &format!("{name}={value}")]);
}

/// A setting of a topic's own.
pub fn topic_setting(topic: &str, name: &str) -> Option<String> {
    let told = topic_settings(topic, &["--describe"]);
    let line = told.lines().map(str::trim).find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    line.split_whitespace().next().map(str::to_owned)
}
