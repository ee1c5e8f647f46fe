//! An index that is deleted with everything that it has, while its programs run and users upload. `make e2e` runs this.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::time::{Duration, Instant};

use medindex_e2e::backends;
use medindex_e2e::cluster::is_ours;
use medindex_e2e::index::{self, NAMESPACE, PATIENCE};
use medindex_e2e::kubectl::{apply, get, kubectl, tidied, try_kubectl, wait_until};
use medindex_system_tests::Client;
use serde_json::{Value, json};

/// Beside the sample, of which it is a copy.
const NAME: &str = "shortlived";
const OWNED: &str = "app.kubernetes.io/instance=shortlived";
/// Programs end within half a minute, topics and tables go after them.
const GONE_WITHIN: Duration = Duration::from_mins(2);

/// It goes whatever becomes of the test.
struct Copy;

impl Drop for Copy {
    fn drop(&mut self) {
        tidied(try_kubectl(&[
            "delete",
            "mii",
            NAME,
            "--namespace",
            NAMESPACE,
            "--ignore-not-found",
            "--wait=false",
        ]));
    }
}

fn resource() -> Value {
    get(NAMESPACE, &["mii", NAME])
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn under_delete_topics_and_tables_go_with_the_index_after_its_pods() {
    if !is_ours() {
        return;
    }
    let _turn = index::turn();
    let mut copy = json!({"metadata": {"name": NAME, "namespace": NAMESPACE}});
    for field in ["apiVersion", "kind", "spec"] {
        copy[field] = index::resource()[field].clone();
    }
    copy["spec"]["deletionPolicy"] = json!("Delete");
    copy["spec"]["search"]["shards"] = json!(1);
    backends::make_database(NAME);
    let _copy = Copy;
    apply(&copy.to_string());
    let took = wait_until("the copy to be ready", PATIENCE, || index::is_ready(&resource()));
    println!("a second index beside the first is ready after {:.1} s", took.as_secs_f64());
    let client = Client::of(format!("http://{NAME}-gateway.{NAMESPACE}.svc"));
    let picture = index::new_picture();
    let answer = client.try_upload(&picture.name, &picture.bytes, None).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(client.wait_for(answer.body["id"].as_str().unwrap(), PATIENCE), "indexed");
    assert_eq!((backends::topics_of(NAME).len(), backends::tables_of(NAME).len()), (4, 2));

    let begun = Instant::now();
    kubectl(&["delete", "mii", NAME, "--namespace", NAMESPACE, "--wait=false"]);
    let (mut accepted, mut serves) = (0, true);
    wait_until("the resource to be gone", GONE_WITHIN, || {
        // As long as a gateway is there; what it takes goes with the index.
        if serves {
            let picture = index::new_picture();
            let answer = client.try_upload(&picture.name, &picture.bytes, None);
            serves = answer.is_ok_and(|answer| answer.status == 202);
            accepted += usize::from(serves);
        }
        resource().is_null()
    });
    let took = begun.elapsed().as_secs_f64();
    println!("kubectl delete mii under Delete: {took:.1} s, {accepted} uploads accepted meanwhile");
    let pods = get(NAMESPACE, &["pods,deployments,statefulsets", "--selector", OWNED]);
    assert!(pods["items"].as_array().is_none_or(Vec::is_empty), "topics went before the pods: {pods}");
    assert_eq!((backends::topics_of(NAME), backends::tables_of(NAME)), (Vec::new(), Vec::new()));
    wait_until("its disks to be gone", PATIENCE, || {
        let claims = get(NAMESPACE, &["persistentvolumeclaims", "--selector", OWNED]);
        claims["items"].as_array().is_none_or(Vec::is_empty)
    });
    assert!(index::is_ready(&index::resource()), "the index beside it");
}
