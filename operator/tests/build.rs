//! What the operator makes of resources: read as a user writes them, through the real validation.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where its ground gives way")]

mod sample;

use medindex_operator::api::MedicalImageIndex;
use medindex_operator::build::{Surroundings, build};
use medindex_operator::names::Component;
use medindex_operator::release::Release;
use medindex_operator::validate::{ValidatedIndex, validate};
use serde_json::{Value, json};

fn release() -> Release {
    Release { image_prefix: "registry.example/".to_owned(), image_tag: "1.2.3".to_owned() }
}

fn resource(changes: &[(&str, Value)]) -> MedicalImageIndex {
    let mut index = sample::with(changes);
    sample::put(&mut index, "/metadata/namespace", json!("imaging"));
    sample::put(&mut index, "/metadata/uid", json!("11111111-2222-3333-4444-555555555555"));
    serde_json::from_value(index).unwrap()
}

fn validated(changes: &[(&str, Value)]) -> ValidatedIndex {
    validate(&resource(changes), &release()).unwrap()
}

fn objects(changes: &[(&str, Value)], surroundings: &Surroundings) -> Vec<Value> {
    build(&validated(changes), surroundings).unwrap()
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects.iter().find(is_it).unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn variable_if_any<'a>(workload: &'a Value, name: &str) -> Option<&'a Value> {
    let variables = workload.pointer("/spec/template/spec/containers/0/env").unwrap().as_array().unwrap();
    variables.iter().find(|variable| variable["name"] == name).map(|variable| &variable["value"])
}

fn variable<'a>(workload: &'a Value, name: &str) -> &'a Value {
    variable_if_any(workload, name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn the_same_resource_gives_the_same_objects() {
    let surroundings = Surroundings::default();
    assert_eq!(objects(&[], &surroundings), objects(&[], &surroundings));
}

#[test]
fn every_object_belongs_to_the_resource_and_can_be_found_by_its_labels() {
    let all = Surroundings {
        pod_monitors: true,
        scaled_objects: true,
        training: Some(1),
        ..Surroundings::default()
    };
    let ingress = json!({"host": "search.example"});
    let import = json!([{"name": "trauma", "source": {"claim": "scans"}}]);
    for object in objects(&[("/spec/gateway/ingress", ingress), ("/spec/imports", import)], &all) {
        let metadata = &object["metadata"];
        assert_eq!(metadata["ownerReferences"][0]["uid"], "11111111-2222-3333-4444-555555555555", "{object}");
        assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], "radiology", "{object}");
        assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "medindex-operator", "{object}");
        assert_eq!(metadata["namespace"], "imaging", "{object}");
    }
}

#[test]
fn pods_satisfy_the_restricted_security_standard() {
    let objects = objects(&[], &Surroundings { training: Some(1), ..Surroundings::default() });
    let pods: Vec<&Value> =
        objects.iter().filter_map(|object| object.pointer("/spec/template/spec")).collect();
    assert_eq!(pods.len(), 4);
    for pod in pods {
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(pod["automountServiceAccountToken"], false);
        for container in pod["containers"].as_array().unwrap() {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
        }
    }
}

#[test]
fn search_has_a_pod_for_every_replica_of_every_shard() {
    let objects = objects(
        &[("/spec/search/shards", json!(3)), ("/spec/search/replicas", json!(2))],
        &Surroundings::default(),
    );
    let search = find(&objects, "StatefulSet", "radiology-search");
    assert_eq!(search["spec"]["replicas"], 6);
    assert_eq!(variable(search, "MEDINDEX_SHARDS"), "3");
    assert_eq!(find(&objects, "Service", "radiology-search")["spec"]["clusterIP"], "None");
    let gateway = find(&objects, "Deployment", "radiology-gateway");
    assert_eq!(variable(gateway, "MEDINDEX_SEARCH"), "radiology-search.imaging.svc:7000");
}

#[test]
fn a_gpu_pool_is_asked_for_and_pods_replace_each_other_in_place() {
    let pool = json!({"nodeSelector": {"pool": "gpu"}, "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}], "gpu": {"count": 1}});
    let objects = objects(&[("/spec/embedder/nodePool", pool)], &Surroundings::default());
    let embedder = find(&objects, "Deployment", "radiology-embedder");
    let pod = &embedder["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"], "1");
    assert_eq!(
        (&pod["nodeSelector"]["pool"], &pod["tolerations"][0]["key"]),
        (&json!("gpu"), &json!("nvidia.com/gpu"))
    );
    assert_eq!(rollout(embedder), (0, 1));
}

/// Pods more and pods fewer while a Deployment's are replaced.
fn rollout(deployment: &Value) -> (i64, i64) {
    let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
    (rolling["maxSurge"].as_i64().unwrap(), rolling["maxUnavailable"].as_i64().unwrap())
}

#[test]
fn pods_make_way_as_the_resource_says_and_else_a_new_one_comes_first() {
    let wanted = [("/spec/gateway/rollout", json!({"maxSurge": 0, "maxUnavailable": 2}))];
    let objects = objects(&wanted, &Surroundings::default());
    assert_eq!(rollout(find(&objects, "Deployment", "radiology-gateway")), (0, 2));
    assert_eq!(rollout(find(&objects, "Deployment", "radiology-embedder")), (1, 0));
}

#[test]
fn a_gateway_that_goes_serves_until_nobody_is_sent_to_it() {
    let plain = objects(&[], &Surroundings::default());
    let pod = |objects: &[Value]| {
        find(objects, "Deployment", "radiology-gateway")["spec"]["template"]["spec"].clone()
    };
    let found = pod(&plain);
    assert_eq!(found["containers"][0]["lifecycle"]["preStop"], json!({"sleep": {"seconds": 5}}));
    // The program itself has its 30 seconds after that.
    assert_eq!(found["terminationGracePeriodSeconds"], 35);
    let own = json!({"preStop": {"exec": {"command": ["/leave"]}}});
    let overrides = json!({"spec": {"containers": [{"name": "gateway", "lifecycle": own}]}});
    let found = pod(&objects(&[("/spec/gateway/podOverrides", overrides)], &Surroundings::default()));
    assert_eq!(found["containers"][0]["lifecycle"], own, "a container ends by one handler");
}

#[test]
fn an_embedder_or_shard_that_goes_serves_until_gateways_ask_others() {
    let objects = objects(&[], &Surroundings::default());
    for (kind, name) in [("Deployment", "radiology-embedder"), ("StatefulSet", "radiology-search")] {
        let pod = &find(&objects, kind, name)["spec"]["template"]["spec"];
        let handler = &pod["containers"][0]["lifecycle"]["preStop"];
        assert_eq!(*handler, json!({"sleep": {"seconds": 10}}), "{name}");
        assert_eq!(pod["terminationGracePeriodSeconds"], 40, "{name}");
    }
}

#[test]
fn the_next_embedder_or_shard_goes_when_gateways_know_the_one_before_if_another_can_answer_at_all() {
    let waits = |changes: &[(&str, Value)], kind: &str, name: &str| {
        find(&objects(changes, &Surroundings::default()), kind, name)["spec"]["minReadySeconds"].as_i64()
    };
    let gpu = ("/spec/embedder/nodePool", json!({"gpu": {}}));
    let single = ("/spec/embedder/replicas", json!(1));
    for (changes, kind, name, wanted) in [
        (vec![], "Deployment", "radiology-embedder", Some(32)),
        (vec![single.clone()], "Deployment", "radiology-embedder", Some(32)),
        (vec![gpu.clone()], "Deployment", "radiology-embedder", Some(32)),
        (vec![gpu, single], "Deployment", "radiology-embedder", None),
        (vec![], "StatefulSet", "radiology-search", Some(32)),
        (vec![("/spec/search/replicas", json!(1))], "StatefulSet", "radiology-search", None),
        (vec![], "Deployment", "radiology-gateway", None),
    ] {
        assert_eq!(waits(&changes, kind, name), wanted, "{name} {changes:?}");
    }
}

#[test]
fn embedders_and_importers_compute_where_the_resource_says_and_others_are_not_told() {
    let import =
        json!([{"name": "trauma", "source": {"claim": "scans"}, "image": "registry.example/cuda:1"}]);
    for (device, told) in [(None, "cpu"), (Some("Cpu"), "cpu"), (Some("Cuda"), "cuda")] {
        let mut changes =
            vec![("/spec/embedder/nodePool", json!({"gpu": {}})), ("/spec/imports", import.clone())];
        changes.extend(device.map(|device| ("/spec/embedding/device", json!(device))));
        let objects = objects(&changes, &Surroundings { training: Some(1), ..Surroundings::default() });
        for (kind, name) in [("Deployment", "radiology-embedder"), ("Job", "radiology-import-trauma")] {
            assert_eq!(variable(find(&objects, kind, name), "MEDINDEX_DEVICE"), told, "{name}");
        }
        for (kind, name) in [("Deployment", "radiology-gateway"), ("Job", "radiology-train-1")] {
            assert!(variable_if_any(find(&objects, kind, name), "MEDINDEX_DEVICE").is_none(), "{name}");
        }
        let job = find(&objects, "Job", "radiology-import-trauma");
        assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["image"], "registry.example/cuda:1");
    }
}

#[test]
fn an_autoscaler_owns_the_number_of_replicas() {
    let scaling = ("/spec/embedder/autoscaling", json!({"maxReplicas": 4}));
    let plain = objects(std::slice::from_ref(&scaling), &Surroundings::default());
    assert!(find(&plain, "Deployment", "radiology-embedder")["spec"].get("replicas").is_none());
    assert_eq!(find(&plain, "HorizontalPodAutoscaler", "radiology-embedder")["spec"]["maxReplicas"], 4);
    let undecided = Surroundings { replicas: [(Component::Embedder, 3)].into(), ..Surroundings::default() };
    let undecided = objects(std::slice::from_ref(&scaling), &undecided);
    assert_eq!(find(&undecided, "Deployment", "radiology-embedder")["spec"]["replicas"], 3);
    let keda = objects(&[scaling], &Surroundings { scaled_objects: true, ..Surroundings::default() });
    let trigger = &find(&keda, "ScaledObject", "radiology-embedder")["spec"]["triggers"][0]["metadata"];
    assert_eq!(
        (&trigger["topic"], &trigger["consumerGroup"]),
        (&json!("radiology.imageupload"), &json!("radiology.embedder"))
    );
    assert!(!keda.iter().any(|object| object["kind"] == "HorizontalPodAutoscaler"));
    assert!(!keda.iter().any(|object| object["kind"] == "TriggerAuthentication"), "Kafka asks for no login");
}

#[test]
fn keda_signs_in_at_kafka_by_the_secrets_of_the_workloads() {
    let tls = json!({"authorities": {"name": "kafka-ca", "key": "ca.crt"}, "clientSecret": "kafka-client"});
    let changes = [
        ("/spec/embedder/autoscaling", json!({"maxReplicas": 4})),
        ("/spec/kafka/loginSecret", json!("kafka-login")),
        ("/spec/kafka/tls", tls),
    ];
    let keda = objects(&changes, &Surroundings { scaled_objects: true, ..Surroundings::default() });
    let trigger = &find(&keda, "ScaledObject", "radiology-embedder")["spec"]["triggers"][0];
    assert_eq!(trigger["authenticationRef"]["name"], "radiology-embedder");
    assert_eq!(
        (&trigger["metadata"]["sasl"], &trigger["metadata"]["tls"]),
        (&json!("scram_sha512"), &json!("enable"))
    );
    let authentication = find(&keda, "TriggerAuthentication", "radiology-embedder");
    let secrets = authentication["spec"]["secretTargetRef"].as_array().unwrap();
    let parameters: Vec<&str> = secrets.iter().map(|entry| entry["parameter"].as_str().unwrap()).collect();
    assert_eq!(parameters, ["username", "password", "ca", "cert", "key"]);
    assert_eq!(secrets[2], json!({"parameter": "ca", "name": "kafka-ca", "key": "ca.crt"}));
}

#[test]
fn a_suspended_index_runs_nothing_and_keeps_its_objects() {
    let objects = objects(
        &[("/spec/suspend", json!(true))],
        &Surroundings { training: Some(2), ..Surroundings::default() },
    );
    for (kind, name) in [
        ("Deployment", "radiology-gateway"),
        ("Deployment", "radiology-embedder"),
        ("StatefulSet", "radiology-search"),
    ] {
        assert_eq!(find(&objects, kind, name)["spec"]["replicas"], 0, "{name}");
    }
    assert_eq!(find(&objects, "Job", "radiology-train-2")["spec"]["suspend"], true);
}

#[test]
fn secrets_are_mounted_as_files_and_never_written_anywhere() {
    let tls = json!({"authorities": {"name": "ca", "key": "ca.pem"}, "clientSecret": "client"});
    let objects = objects(
        &[("/spec/kafka/loginSecret", json!("kafka-login")), ("/spec/kafka/tls", tls)],
        &Surroundings::default(),
    );
    let settings = &find(&objects, "ConfigMap", "radiology-settings")["data"];
    assert_eq!(settings["MEDINDEX_KAFKA_PASSWORD_FILE"], "/etc/medindex/kafka-login/password");
    assert_eq!(settings["MEDINDEX_KAFKA_AUTHORITIES"], "/etc/medindex/kafka-authorities/ca.pem");
    let pod = &find(&objects, "Deployment", "radiology-gateway")["spec"]["template"]["spec"];
    let volumes: Vec<&str> =
        pod["volumes"].as_array().unwrap().iter().map(|volume| volume["name"].as_str().unwrap()).collect();
    for name in ["kafka-login", "kafka-authorities", "kafka-client", "mysql-login"] {
        assert!(volumes.contains(&name), "{volumes:?}");
    }
    assert!(!objects.iter().any(|object| object["kind"] == "Secret"));
}

#[test]
fn only_changed_settings_start_pods_anew() {
    let template = |changes: &[(&str, Value)], kind: &str, name: &str| {
        let objects = objects(changes, &Surroundings::default());
        find(&objects, kind, name)["spec"]["template"].clone()
    };
    let before = template(&[], "StatefulSet", "radiology-search");
    assert_eq!(before, template(&[("/spec/gateway/replicas", json!(5))], "StatefulSet", "radiology-search"));
    assert_ne!(
        before,
        template(&[("/spec/organisation", json!("other"))], "StatefulSet", "radiology-search")
    );
}

#[test]
fn pods_of_every_component_sign_in_at_registries_by_the_secrets_of_the_resource() {
    let import = json!([{"name": "trauma", "source": {"claim": "scans"}}]);
    let changes = [("/spec/imagePullSecrets", json!(["registry"])), ("/spec/imports", import)];
    let objects = objects(&changes, &Surroundings { training: Some(1), ..Surroundings::default() });
    let pods: Vec<&Value> =
        objects.iter().filter_map(|object| object.pointer("/spec/template/spec")).collect();
    assert_eq!(pods.len(), 5);
    assert!(pods.iter().all(|pod| pod["imagePullSecrets"] == json!([{"name": "registry"}])));
}

#[test]
fn an_ingress_has_the_annotations_that_its_controller_wants() {
    let annotations = json!({"nginx.ingress.kubernetes.io/proxy-body-size": "512m"});
    let ingress = json!({"host": "search.example", "annotations": annotations});
    let objects = objects(&[("/spec/gateway/ingress", ingress)], &Surroundings::default());
    assert_eq!(find(&objects, "Ingress", "radiology-gateway")["metadata"]["annotations"], annotations);
}

#[test]
fn a_gateways_service_is_of_the_kind_that_is_asked_for_and_others_stay_inside() {
    let annotations = json!({"networking.gke.io/load-balancer-type": "Internal"});
    let wanted = json!({"type": "LoadBalancer", "hosts": ["search.example"], "annotations": annotations});
    let objects = objects(&[("/spec/gateway/service", wanted)], &Surroundings::default());
    let gateway = find(&objects, "Service", "radiology-gateway");
    assert_eq!(gateway["spec"]["type"], "LoadBalancer");
    assert_eq!(gateway["metadata"]["annotations"], annotations);
    // It answers to hosts that it knows.
    let hosts = variable(find(&objects, "Deployment", "radiology-gateway"), "MEDINDEX_ALLOW_HOST");
    assert!(hosts.as_str().is_some_and(|hosts| hosts.ends_with(",search.example")), "{hosts}");
    let search = find(&objects, "Service", "radiology-search");
    assert_eq!((&search["spec"]["clusterIP"], &search["spec"]["type"]), (&json!("None"), &Value::Null));
    assert_eq!(search["metadata"]["annotations"], Value::Null);
}

#[test]
fn programs_are_told_how_to_sign_in_at_sentinels() {
    let cache = json!({
        "servers": ["redis-0:26379", "redis-1:26379"], "mode": "Sentinel", "loginSecret": "redis",
        "sentinelLogin": {"secret": "sentinels", "hasUser": true},
    });
    let objects = objects(&[("/spec/cache", cache)], &Surroundings::default());
    let data = &find(&objects, "ConfigMap", "radiology-settings")["data"];
    assert_eq!(data["MEDINDEX_REDIS_PASSWORD_FILE"], "/etc/medindex/redis-login/password");
    assert_eq!(data["MEDINDEX_REDIS_SENTINEL_USER_FILE"], "/etc/medindex/redis-sentinel-login/user");
    assert_eq!(data["MEDINDEX_REDIS_SENTINEL_PASSWORD_FILE"], "/etc/medindex/redis-sentinel-login/password");
    let volumes = &find(&objects, "Deployment", "radiology-gateway")["spec"]["template"]["spec"]["volumes"];
    let mounted = volumes.as_array().unwrap().iter().find(|volume| volume["name"] == "redis-sentinel-login");
    assert_eq!(mounted.unwrap()["secret"]["secretName"], "sentinels");
}

#[test]
fn overrides_are_merged_over_the_pods() {
    let overrides = json!({"spec": {"priorityClassName": "high", "hostAliases": [], "nodeSelector": null, "containers": [{"name": "gateway", "env": [{"name": "MEDINDEX_LOG", "value": "debug"}]}]}});
    let objects = objects(&[("/spec/gateway/podOverrides", overrides)], &Surroundings::default());
    let gateway = find(&objects, "Deployment", "radiology-gateway");
    assert_eq!(gateway["spec"]["template"]["spec"]["priorityClassName"], "high");
    assert_eq!(variable(gateway, "MEDINDEX_LOG"), "debug");
    assert_eq!(variable(gateway, "MEDINDEX_LISTEN"), "0.0.0.0:8080");
}

#[test]
fn what_no_schema_can_tell_is_refused_with_the_field_and_the_remedy() {
    let cases = [
        // The rules of the schema hold here too.
        ("/spec/search/shards", json!(12), "shards"),
        ("/spec/search/disk", json!("much"), "spec.search.disk: \"much\" is no quantity"),
        ("/spec/search/disk", json!("0Gi"), "spec.search.disk: \"0Gi\" is no size of a disk"),
        (
            "/spec/imports",
            json!([{"name": "b".repeat(48), "source": {"claim": "c"}}]),
            "spec.imports[0].name: makes a Job named radiology-import-bbb",
        ),
        ("/spec/search/requests", json!({"memory": "2 Gi"}), "spec.search.requests[memory]"),
        (
            "/spec/gateway/limits",
            json!({"cpu": "400m"}),
            "spec.gateway.requests[cpu]: 500m is more than 400m, its limit",
        ),
        ("/spec/gateway/podOverrides", json!({"containers": []}), "put it under metadata or spec"),
        ("/spec/gateway/podOverrides", json!({"spec": {"containers": "x"}}), "is no pod template"),
        (
            "/spec/gateway/podOverrides",
            json!({"spec": {"containers": [{"name": "gateway", "imagePullpolicy": "Always"}], "tolerations": null}}),
            "spec.gateway.podOverrides.spec.containers[0].imagePullpolicy: is no field of a pod template",
        ),
        (
            "/spec/gateway/podOverrides",
            json!({"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}),
            "use another label",
        ),
        (
            "/spec/embedder",
            json!({"limits": {"nvidia.com/gpu": "1"}, "nodePool": {"gpu": {}}}),
            "leave it out there",
        ),
        (
            "/spec/imports",
            json!([{"name": "a", "source": {"claim": "c"}}, {"name": "a", "source": {"claim": "d"}}]),
            "spec.imports[1].name",
        ),
    ];
    for (pointer, value, words) in cases {
        let errors = validate(&resource(&[(pointer, value)]), &release())
            .err()
            .unwrap_or_else(|| panic!("{pointer} was taken"));
        let text = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        assert!(text.contains(words), "{pointer}: {text}");
    }
}
