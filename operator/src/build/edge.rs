//! What lies around the workloads: the Ingress, the autoscalers, and the rules of the network.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
    MetricTarget, ResourceMetricSource,
};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec, ServiceBackendPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::meta::{component_meta, selector};
use super::pod::OPERATION_PORT;
use super::workloads::{EMBEDDER_PORT, GATEWAY_PORT, SEARCH_PORT};
use crate::api::Autoscaling;
use crate::names::{Component, object_name};
use crate::validate::ValidatedIndex;

/// The way in from outside the cluster.
pub(super) fn ingress(index: &ValidatedIndex) -> Option<Ingress> {
    let wanted = index.spec.gateway.ingress.as_ref()?;
    let service = IngressServiceBackend {
        name: object_name(&index.name, Component::Gateway),
        port: Some(ServiceBackendPort { name: Some("http".to_owned()), number: None }),
    };
    let path = HTTPIngressPath {
        path: Some("/".to_owned()),
        path_type: "Prefix".to_owned(),
        backend: IngressBackend { service: Some(service), resource: None },
    };
    let tls = wanted.tls_secret.as_ref().map(|secret| {
        vec![IngressTLS { hosts: Some(vec![wanted.host.clone()]), secret_name: Some(secret.clone()) }]
    });
    let annotations = Some(wanted.annotations.clone()).filter(|annotations| !annotations.is_empty());
    Some(Ingress {
        metadata: ObjectMeta { annotations, ..component_meta(index, Component::Gateway) },
        spec: Some(IngressSpec {
            ingress_class_name: wanted.class.clone(),
            rules: Some(vec![IngressRule {
                host: Some(wanted.host.clone()),
                http: Some(HTTPIngressRuleValue { paths: vec![path] }),
            }]),
            tls,
            ..IngressSpec::default()
        }),
        status: None,
    })
}

/// An autoscaler on the use of processors.
pub(super) fn horizontal_autoscaler(
    index: &ValidatedIndex,
    component: Component,
    wanted: &Autoscaling,
) -> HorizontalPodAutoscaler {
    let processor = ResourceMetricSource {
        name: "cpu".to_owned(),
        target: MetricTarget {
            type_: "Utilization".to_owned(),
            average_utilization: Some(wanted.cpu_percent),
            ..MetricTarget::default()
        },
    };
    HorizontalPodAutoscaler {
        metadata: component_meta(index, component),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name: object_name(&index.name, component),
            },
            min_replicas: Some(wanted.min_replicas),
            max_replicas: wanted.max_replicas,
            metrics: Some(vec![MetricSpec {
                type_: "Resource".to_owned(),
                resource: Some(processor),
                ..MetricSpec::default()
            }]),
            ..HorizontalPodAutoscalerSpec::default()
        }),
        status: None,
    }
}

/// How KEDA signs in at Kafka, where that is asked for: by the same secrets as the workloads.
pub(super) fn trigger_authentication(index: &ValidatedIndex) -> Option<Value> {
    let kafka = &index.spec.kafka;
    let entry =
        |parameter: &str, name: &str, key: &str| json!({"parameter": parameter, "name": name, "key": key});
    let mut secrets = Vec::new();
    if let Some(login) = &kafka.login_secret {
        secrets.push(entry("username", login, "user"));
        secrets.push(entry("password", login, "password"));
    }
    if let Some(tls) = &kafka.tls {
        secrets.extend(
            tls.authorities.as_ref().map(|authorities| entry("ca", &authorities.name, &authorities.key)),
        );
        if let Some(client) = &tls.client_secret {
            secrets.push(entry("cert", client, "tls.crt"));
            secrets.push(entry("key", client, "tls.key"));
        }
    }
    (!secrets.is_empty()).then(|| {
        json!({
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "TriggerAuthentication",
            "metadata": component_meta(index, Component::Embedder),
            "spec": {"secretTargetRef": secrets},
        })
    })
}

/// KEDA's autoscaler of embedders, on the uploads that wait. The topic is named, so that a group that has not committed yet is seen too.
pub(super) fn scaled_object(
    index: &ValidatedIndex,
    wanted: &Autoscaling,
    authentication: Option<&Value>,
) -> Value {
    let kafka = &index.spec.kafka;
    let mut trigger = json!({
        "type": "kafka",
        "metadata": {
            "bootstrapServers": kafka.bootstrap_servers.join(","),
            "consumerGroup": format!("{}.embedder", index.index),
            "topic": format!("{}.{}", index.index, medindex_proto::names::TOPIC_IMAGE_UPLOAD),
            "lagThreshold": wanted.lag_per_replica.to_string(),
            "offsetResetPolicy": "earliest",
        },
    });
    if kafka.login_secret.is_some() {
        trigger["metadata"]["sasl"] = json!("scram_sha512");
    }
    if kafka.tls.is_some() {
        trigger["metadata"]["tls"] = json!("enable");
    }
    if let Some(authentication) = authentication {
        trigger["authenticationRef"] = json!({"name": authentication["metadata"]["name"]});
    }
    json!({
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": component_meta(index, Component::Embedder),
        "spec": {
            "scaleTargetRef": {"name": object_name(&index.name, Component::Embedder)},
            "minReplicaCount": wanted.min_replicas,
            "maxReplicaCount": wanted.max_replicas,
            "triggers": [trigger],
        },
    })
}

/// What Prometheus' operator scrapes: the operation port of every pod of the index.
pub(super) fn pod_monitor(index: &ValidatedIndex) -> Value {
    let metadata =
        super::meta::object_meta(index, index.name.clone(), crate::names::index_labels(&index.name));
    json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": metadata,
        "spec": {
            "selector": {"matchLabels": crate::names::index_labels(&index.name)},
            "podTargetLabels": ["app.kubernetes.io/instance", "app.kubernetes.io/component"],
            "podMetricsEndpoints": [{"port": "operation", "path": "/metrics"}],
        },
    })
}

/// Who may reach a component's pods: gateways the shards and embedders, everybody the gateway, and everybody the probes and metrics, which are
/// all that jobs answer. What pods reach themselves is not restricted: where the backends are is not for a selector to say.
pub(super) fn network_policy(index: &ValidatedIndex, component: Component) -> NetworkPolicy {
    let gateways = NetworkPolicyPeer {
        pod_selector: Some(selector(index, Component::Gateway)),
        ..NetworkPolicyPeer::default()
    };
    let served = match component {
        Component::Search => Some((SEARCH_PORT, Some(vec![gateways]))),
        Component::Embedder => Some((EMBEDDER_PORT, Some(vec![gateways]))),
        Component::Gateway => Some((GATEWAY_PORT, None)),
        Component::Trainer | Component::Importer => None,
    };
    let rule = |port, from| NetworkPolicyIngressRule {
        ports: Some(vec![NetworkPolicyPort {
            port: Some(IntOrString::Int(port)),
            protocol: Some("TCP".to_owned()),
            end_port: None,
        }]),
        from,
    };
    NetworkPolicy {
        metadata: component_meta(index, component),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(index, component)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(
                served
                    .into_iter()
                    .chain([(OPERATION_PORT, None)])
                    .map(|(port, from)| rule(port, from))
                    .collect(),
            ),
            egress: None,
        }),
    }
}
