#!/usr/bin/env bash
# Runs every image as Kubernetes would (images/contained.sh), then the whole index in containers: gateway, embedder, search shards and trainer
# over real servers, with the test of a trained generation (workloads/system-tests/tests/flow.rs). `make images-test` runs it. The operator's image
# is run over the API server by `make e2e`.
#
# usage: images/test.sh [--no-flow]
#
# Wants buildah, root, and the images that images/build.sh built with buildah.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

mapfile -t WORKLOADS < <(cut -d' ' -f1 images/workloads)
TAG=${TAG:-latest}
CACHE=${MEDINDEX_CACHE:-${HOME:?set HOME or MEDINDEX_CACHE}/.cache/medindex}
RUN=$PWD/target/images-test
CONTAINERS=()

fail() {
    printf 'images-test: FAILED: %s\n' "$*" >&2
    exit 1
}

pass() { printf 'images-test: %s\n' "$*"; }

remove_containers() {
    local container
    for container in "${CONTAINERS[@]}"; do buildah rm "$container" >/dev/null; done
}

# unpack WORKLOAD: mounts its image, and makes a program of the workload's name that runs in it.
unpack() {
    local image=medindex-$1:$TAG container root
    container=$(buildah from --pull-never "$image") || fail "$image is not there: run \`make images\`"
    CONTAINERS+=("$container")
    root=$(buildah mount "$container")
    buildah inspect --type image --format '{{range .OCIv1.Config.Env}}{{println .}}{{end}}' "$image" |
        sed '/^$/d' >"$RUN/$1.environment"
    printf '#!/bin/sh\nexec "%s" "%s" "%s" "medindex-%s" "$@"\n' \
        "$PWD/images/contained.sh" "$root" "$RUN/$1.environment" "$1" >"$RUN/medindex-$1"
    chmod +x "$RUN/medindex-$1"
    ROOT=$root
}

# What an image must be: a number for a user, nothing that could be run beside the program, no file with rights of its own.
check_image() {
    local image=medindex-$1:$TAG user programs
    user=$(buildah inspect --type image --format '{{.OCIv1.Config.User}}' "$image")
    [ "$user" = 65532:65532 ] || fail "$image runs as \"$user\""
    programs=$(find "$ROOT" -xdev -type f -perm /111 ! -name '*.so*' -printf '/%P\n')
    [ "$programs" = "/usr/bin/medindex-$1" ] || fail "$image holds these programs: $programs"
    [ -z "$(find "$ROOT" -xdev -type f -perm /6000)" ] || fail "$image holds files with set-user-ID or set-group-ID"
    [ -s "$ROOT/etc/ssl/certs/ca-certificates.crt" ] || fail "$image holds no certificate authorities"
    pass "$image: user $user, one program, no shell"
}

# The program starts in the container, tells its version and its flags, and names what is missing.
check_program() {
    local program=$RUN/medindex-$1 output status=0
    output=$("$program" --version) || fail "medindex-$1 --version: status $?"
    [[ $output == "medindex-$1 "* ]] || fail "medindex-$1 --version printed: $output"
    if [ "$1" = operator ]; then
        check_operator "$program"
        return
    fi
    "$program" --help | grep -q -- --kafka-bootstrap || fail "medindex-$1 --help does not name its flags"
    output=$("$program" 2>&1) || status=$?
    [ "$status" = 2 ] && [[ $output == *--hbase-thrift* && $output == *required* ]] ||
        fail "medindex-$1 without settings ended with status $status: $output"
    pass "medindex-$1: --version, --help, and an error for missing settings"
}

# The operator knows its resource type, plans without a cluster, and without one says what it needs to run.
check_operator() {
    local output status=0
    "$1" crd | cmp -s - crds/medicalimageindexes.yaml || fail "medindex-operator crd prints another type than crds/ has"
    output=$("$1" plan --offline --file - <manifests/samples/medicalimageindex.yaml) || fail "medindex-operator plan: status $?"
    [[ $output == *radiology-search* ]] || fail "medindex-operator plan printed: $output"
    output=$("$1" run 2>&1) || status=$?
    [ "$status" = 1 ] && [[ $output == *KUBECONFIG* ]] || fail "medindex-operator without a cluster ended with status $status: $output"
    pass "medindex-operator: --version, crd, plan, and an error without a cluster"
}

# A service without its backends waits: it says so in /readyz, as user 65532 over a read-only root, and ends in order on SIGTERM.
check_waiting() {
    local port=$1 log=$RUN/embedder.log process answer='' status=0
    mkdir -p "$RUN/secrets"
    echo nobody >"$RUN/secrets/word"
    "$RUN/medindex-embedder" --kafka-bootstrap=127.0.0.1:1 --hbase-thrift=127.0.0.1:1 --redis-servers=127.0.0.1:1 \
        --mysql-server=127.0.0.1:1 "--mysql-user-file=$RUN/secrets/word" "--mysql-password-file=$RUN/secrets/word" \
        "--model-folder=$CACHE/models/efficientnet-lite0" "--operation-listen=127.0.0.1:$port" 2>"$log" &
    process=$!
    for _ in $(seq 300); do
        answer=$(curl --silent --max-time 2 "http://127.0.0.1:$port/readyz" || true)
        [[ $answer == *"waiting for the catalog"* ]] && break
        kill -0 "$process" 2>/dev/null || fail "the embedder ended: $(tail -n 5 "$log")"
        sleep 0.1
    done
    [[ $answer == *"waiting for the catalog"* ]] || fail "/readyz of an embedder without backends: $answer"
    local held
    held=$(grep -E '^(Uid|CapPrm|CapEff|NoNewPrivs):' "/proc/$process/status" | tr -s '\t\n' ' ')
    [[ $held == *"Uid: 65532 65532"* && $held == *"CapPrm: 0000000000000000"* && $held == *"CapEff: 0000000000000000"* &&
        $held == *"NoNewPrivs: 1"* ]] || fail "the embedder runs with $held"
    grep -qE '^[0-9]+ [0-9]+ [^ ]+ / / ro' "/proc/$process/mountinfo" || fail "the embedder's root file system can be written"
    kill -TERM "$process"
    wait "$process" || status=$?
    grep -q 'finishing what is in flight' "$log" || fail "SIGTERM ended the embedder with status $status: $(tail -n 3 "$log")"
    pass "the embedder waits for its backends as user 65532 without capabilities over a read-only root, and SIGTERM ends it"
}

[ "$(id -u)" = 0 ] || fail "mounting images wants root"
command -v buildah >/dev/null || fail "buildah is not there (Debian: apt-get install buildah)"
tools/setup.sh models
rm -rf "$RUN" && mkdir -p "$RUN"
trap remove_containers EXIT
for workload in "${WORKLOADS[@]}"; do
    unpack "$workload"
    check_image "$workload"
    check_program "$workload"
done
check_waiting "${PORT:-29600}"
if [ "${1:-}" != --no-flow ]; then
    tools/setup.sh native servers
    MEDINDEX_PROGRAMS=$RUN cargo test --release --workspace --test flow -- --nocapture --exact \
        a_generation_is_trained_published_and_taken_up_while_queries_go_on || fail "the flow over the images (above)"
    pass "an index of containers embeds, trains and answers"
fi
