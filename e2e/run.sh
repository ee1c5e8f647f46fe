#!/usr/bin/env bash
# Makes a cluster, the backends and the operator, and runs the end-to-end tests. `make e2e` runs it.
#
# usage: e2e/run.sh [TEST...]      TEST: a part of a test's name; all when left out
#
# MEDINDEX_E2E_SUITES=index,plugin takes only these files of e2e/tests; cargo runs them in the order of their names.
# KEEP=1 leaves what it made for the next run: one that finds a cluster of e2e/cluster.sh uses it and leaves it. Without it nothing stays but the cache.
# With KUBECONFIG set that cluster is used, over a port that kubectl forwards: its nodes have to have the images (e2e/images.sh makes them),
# a default storage class, and the labels that e2e/cluster.sh gives (pool=backends, pool=cpu, pool=gpu with GPUs).
set -euo pipefail

HERE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$HERE")
# shellcheck source=e2e/cluster/lib.sh
source "$HERE/cluster/lib.sh"
PARTS=(kafka hbase mariadb redis)
SUITES=${MEDINDEX_E2E_SUITES:-index,scaling,maintenance,wrong_settings,outages,deaths,plugin,upgrade,generations,irreparable,removal,admission}
TESTS=()
for suite in ${SUITES//,/ }; do TESTS+=(--test "$suite"); done
OWN=yes
[ -z "${KUBECONFIG:-}" ] || OWN=
STARTED=

# within COMMAND...: where the cluster can be reached.
within() { if [ -n "$OWN" ]; then "$HERE/cluster.sh" enter "$@"; else PATH=$PATH:$BIN "$@"; fi; }

clean_up() {
    local left
    [ -z "${KEEP:-}" ] || return 0
    if [ -n "$STARTED" ]; then
        "$HERE/cluster.sh" down
    elif [ -z "$OWN" ]; then
        # The resources while the operator still runs, which their finalizers want.
        within kubectl delete namespace medindex medindex-lost medindex-admission --ignore-not-found
        within helm uninstall medindex --namespace medindex-system --ignore-not-found
        within kubectl delete namespace medindex-system backends --ignore-not-found
        # The chart keeps the type, because every index goes with it: it is deleted only where there is none, of others neither.
        if left=$(within kubectl get medicalimageindexes --all-namespaces --output name) && [ -z "$left" ]; then
            within kubectl delete customresourcedefinition medicalimageindexes.medindex.dev
        fi
    fi
}

# The version of the project's images: what is in them. A changed program is another version, so that pods take it up.
images_version() {
    local image
    while read -r image _; do buildah inspect --type image --format '{{.FromImageID}}' "medindex-$image:e2e"; done <"$ROOT/images/workloads" |
        sha256sum | cut -c1-12
}

load_images() {
    local image images=()
    for image in "${PARTS[@]}" model; do images+=("localhost/medindex-e2e-$image:1"); done
    "$HERE/cluster.sh" load --node 0 "${images[@]}"
    images=()
    while read -r image _; do
        buildah tag "medindex-$image:e2e" "localhost/medindex-$image:$VERSION"
        images+=("localhost/medindex-$image:$VERSION")
    done <"$ROOT/images/workloads"
    [ -z "$EARLIER" ] || images+=(localhost/medindex-operator:earlier)
    "$HERE/cluster.sh" load "${images[@]}"
}

# A Secret of user and password: LOGIN NAMESPACE NAME PASSWORD
login() {
    within kubectl create secret generic "$2" --namespace "$1" --from-literal=user=medindex --from-literal=password="$3" --dry-run=client --output yaml |
        within kubectl apply --filename - >/dev/null
}

start_backends() {
    local password part
    within kubectl apply --filename "$HERE/backends/namespace.yaml" --filename "$ROOT/manifests/samples/namespace.yaml" >/dev/null
    # MariaDB keeps the one that it was made with.
    password=$(within kubectl get secret mariadb --namespace backends --ignore-not-found --output 'jsonpath={.data.password}' | base64 -d)
    [ -n "$password" ] || password=$(openssl rand -hex 16)
    login backends mariadb "$password"
    login medindex radiology-catalog "$password"
    for part in "${PARTS[@]}"; do within kubectl apply --namespace backends --filename "$HERE/backends/$part.yaml" >/dev/null; done
    for part in "${PARTS[@]}"; do within kubectl rollout status "statefulset/$part" --namespace backends --timeout=180s >/dev/null; done
}

install_operator() {
    within helm upgrade --install medindex "$ROOT/helm/medindex" --namespace medindex-system --create-namespace --wait --timeout 10m \
        --set image.prefix=localhost/ --set image.tag="$VERSION" --set workloads.imageTag="$VERSION" >/dev/null
}

# What a test leaves out it says in a line with NOT CHECKED, behind its name, and passes: they are all told again at the end.
run_tests() {
    local output status=0
    output=$(mktemp)
    within env CARGO_NET_OFFLINE=true cargo test --release --workspace "${TESTS[@]}" --no-fail-fast -- --ignored --nocapture --test-threads=1 "$@" |
        tee "$output" || status=$?
    say "left out: $(grep -c 'NOT CHECKED' "$output" || true)"
    grep 'NOT CHECKED' "$output" >&2 || true
    rm -f "$output"
    return "$status"
}

timed() {
    local what=$1 began=$SECONDS
    shift
    "$@"
    say "$what: $((SECONDS - began)) s"
}

"$ROOT/tools/setup.sh" toolchain native onnxruntime models samples java kafka hbase kubernetes containers
case ",$SUITES," in
*,scaling,*) "$ROOT/tools/setup.sh" flux || say "Flux could not be built here: git pull and kubectl apply stand in for it" ;;
esac
cargo test --release --workspace "${TESTS[@]}" --no-run
# An operator to upgrade from; where it cannot be made the test says that it was left out. Before today's, because cargo puts both at the same place.
EARLIER=
case ",$SUITES," in
*,upgrade,*) if "$HERE/earlier.sh" program; then EARLIER=yes; else say "the earlier operator could not be made"; fi ;;
esac
# With a test among the targets, dependencies are those of `make test` and are not built twice.
export MEDINDEX_COMPILE_WITH="--test index"
# The plugin, and the operator's program, which one of the tests runs beside the cluster.
cargo build --release --workspace --bin kubectl-medindex --bin medindex-operator --test index
timed "images" "$HERE/images.sh"
VERSION=$(images_version)
[ -z "$EARLIER" ] || "$HERE/earlier.sh" image
export MEDINDEX_E2E_EARLIER=$EARLIER
trap clean_up EXIT
if [ -n "$OWN" ]; then
    "$HERE/cluster.sh" kubectl get --raw /readyz >/dev/null 2>&1 || STARTED=yes
    timed "cluster" "$HERE/cluster.sh" up
    timed "images to the nodes" load_images
    "$HERE/cluster.sh" disks 60
else
    export MEDINDEX_E2E_FORWARD=1
fi
timed "backends" start_backends
timed "operator" install_operator
run_tests "$@"
