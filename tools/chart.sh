#!/usr/bin/env bash
# Checks the Helm chart and the manifests, and writes the files that are copies of others.
#
#   tools/chart.sh          everything below but copy
#   tools/chart.sh copy     writes what is made of other files: the resource type in chart and base, the base's operator, dashboards, argocd-cm,
#                           docs/resource.md
#   tools/chart.sh drift    those are as `copy` would write them
#   tools/chart.sh lint     helm lint, and every rendering and kustomization against the schemas of Kubernetes and of the resource type
#   tools/chart.sh rights   the operator's rights against what its code makes and watches
#   tools/chart.sh unit     the chart's unit tests (helm/medindex/tests)
#   tools/chart.sh alerts   alerts by promtool, their runbooks, and whether every metric that alerts and dashboards name exists
#   tools/chart.sh health   Argo CD's health check
#
# Wants tools/setup.sh kubernetes (helm, kubeconform, kubectl) and Go; helm-unittest and glua are built here the first time. promtool is taken from
# PATH, else out of Debian's package of Prometheus, without installing that; where neither can be had, that is said. Types of others (Argo CD, Flux,
# Prometheus' operator) are checked where MEDINDEX_TYPES names a folder with their
# definitions; where it does not, that is said.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

ROOT=$PWD
CACHE=${MEDINDEX_CACHE:-${HOME:?set HOME or MEDINDEX_CACHE}/.cache/medindex}
BIN=${MEDINDEX_KUBERNETES_BIN:-$CACHE/kubernetes/bin}
OWN=$CACHE/chart
CHART=helm/medindex
CRD=crds/medicalimageindexes.yaml
KUBERNETES=1.34.4
OTHERS="PodMonitor PrometheusRule Application GitRepository Kustomization"

say() { printf 'chart: %s\n' "$*"; }

fail() {
    printf 'chart: %s\n' "$*" >&2
    exit 1
}

# A program of tools/setup.sh kubernetes.
run() {
    local program=$1
    shift
    [ -x "$BIN/$program" ] || fail "$program is not in $BIN: run tools/setup.sh kubernetes"
    "$BIN/$program" "$@"
}

# A program that only these checks need: NAME PACKAGE, pinned by tools/chart/NAME/go.mod.
build() {
    local name=$1 package=$2 version
    version=$(sha256sum <"tools/chart/$name/go.mod" | cut -c1-16)
    [ -x "$OWN/$name-$version" ] && return
    say "building $name"
    mkdir -p "$OWN"
    CGO_ENABLED=0 go build -C "tools/chart/$name" -trimpath -buildvcs=false -o "$OWN/$name-$version.new" "$package"
    mv "$OWN/$name-$version.new" "$OWN/$name-$version"
}

built() { printf '%s/%s-%s' "$OWN" "$1" "$(sha256sum <"tools/chart/$1/go.mod" | cut -c1-16)"; }

render() { run helm template medindex "$CHART" --namespace medindex-system --kube-version "$KUBERNETES" "$@"; }

# Writes all copies below FOLDER, a checkout or an empty one.
copy() {
    local out=$1
    [ -f "$CRD" ] || fail "$CRD is not there: it is written by medindex-operator crd"
    mkdir -p "$out/$CHART/files/dashboards" "$out/manifests/base" "$out/manifests/argocd" "$out/docs"
    cp "$CRD" "$out/$CHART/files/medicalimageindexes.yaml"
    cp "$CRD" "$out/manifests/base/medicalimageindexes.yaml"
    python3 tools/chart/dashboards.py "$out/$CHART/files/dashboards"
    {
        echo "# Written by tools/chart.sh copy, out of helm/medindex."
        render --set crd.install=false | sed -e '/helm\.sh\/chart:/d' -e 's/managed-by: Helm$/managed-by: kustomize/'
    } >"$out/manifests/base/operator.yaml"
    {
        echo "# Written by tools/chart.sh copy, out of health.lua."
        printf 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: argocd-cm\n  labels: {app.kubernetes.io/part-of: argocd}\ndata:\n'
        printf '  resource.customizations.health.medindex.dev_MedicalImageIndex: |\n'
        sed 's/^\(.\)/    \1/' manifests/argocd/health.lua
    } >"$out/manifests/argocd/argocd-cm.yaml"
    type_as_json >"$WORK/type.json"
    python3 tools/chart/reference.py "$WORK/type.json" >"$out/docs/resource.md"
}

# The resource type as JSON, with kubectl as a reader of YAML; no cluster is asked.
type_as_json() { run kubectl label --local --filename "$CRD" --output json checked=yes; }

check_drift() {
    local file
    copy "$WORK/copy"
    while read -r file; do
        diff -u "$file" "$WORK/copy/$file" >&2 || fail "$file is not what it is made of gives: run tools/chart.sh copy"
    done < <(cd "$WORK/copy" && find . -type f | sed 's|^\./||' | sort)
    say "copies are as tools/chart.sh copy writes them"
}

# Schemas for kubeconform, in $WORK/schemas.
schemas() {
    local sources types=() file
    sources=$(GOFLAGS=-mod=readonly go -C tools/kubernetes/kubernetes list -m -f '{{.Dir}}' k8s.io/kubernetes)
    if [ -z "$sources" ]; then
        go -C tools/kubernetes/kubernetes mod download k8s.io/kubernetes
        sources=$(go -C tools/kubernetes/kubernetes list -m -f '{{.Dir}}' k8s.io/kubernetes)
    fi
    mkdir -p "$WORK/types"
    for file in "$CRD" ${MEDINDEX_TYPES:+"$MEDINDEX_TYPES"/*.yaml}; do
        # kubectl as a reader of YAML; no cluster is asked.
        run kubectl label --local --filename "$file" --output json checked=yes >"$WORK/types/$(basename "$file" .yaml).json"
        types+=("$WORK/types/$(basename "$file" .yaml).json")
    done
    python3 tools/chart/schemas.py "$WORK/schemas" "$sources/api/openapi-spec/swagger.json" "${types[@]}"
}

# Counts in FAULTS what kubeconform finds wrong in a file: NAME FILE.
conform() {
    local skipped=() said
    [ -n "${MEDINDEX_TYPES:-}" ] || skipped=(-skip "${OTHERS// /,}")
    if said=$(run kubeconform -strict -summary "${skipped[@]}" \
        -schema-location "$WORK/schemas/{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json" "$2" 2>&1); then
        say "$1: ${said#Summary: }"
    else
        say "$1 FAILED: $said" >&2
        FAULTS=$((FAULTS + 1))
    fi
}

check_lint() {
    local values file
    FAULTS=0
    schemas
    [ -n "${MEDINDEX_TYPES:-}" ] || say "NOT CHECKED (MEDINDEX_TYPES): $OTHERS"
    for values in /dev/null tools/chart/values/*.yaml; do
        run helm lint --strict --quiet --kube-version "$KUBERNETES" --values "$values" "$CHART" || fail "helm lint with $values failed"
        render --values "$values" >"$WORK/rendered.yaml"
        conform "rendered with $values" "$WORK/rendered.yaml"
    done
    for file in manifests/samples/*.yaml; do
        [ "$(basename "$file")" = kustomization.yaml ] || conform "$file" "$file"
    done
    for file in manifests/base manifests/samples manifests/overlays/* manifests/argocd manifests/flux; do
        run kubectl kustomize "$file" >"$WORK/rendered.yaml" || fail "kubectl kustomize $file failed"
        conform "$file" "$WORK/rendered.yaml"
    done
    same_type
    [ "$FAULTS" -eq 0 ] || fail "$FAULTS files do not conform (above)"
}

# What the chart makes of the resource type is the type itself, but for labels and annotations.
same_type() {
    local part
    render --show-only templates/crd.yaml >"$WORK/chart-type.yaml"
    for part in "$CRD" "$WORK/chart-type.yaml"; do
        run kubectl label --local --filename "$part" --output json checked=yes | python3 -c '
import json, sys
print(json.dumps(json.load(sys.stdin)["spec"], sort_keys=True, indent=1))' >"$WORK/$(basename "$part").spec"
    done
    diff "$WORK/$(basename "$CRD").spec" "$WORK/chart-type.yaml.spec" >&2 || fail "the chart's resource type differs from $CRD"
    say "the chart's resource type is that of $CRD"
}

check_rights() {
    render --show-only templates/rbac.yaml >"$WORK/rights.yaml"
    # The role, and after it the binding: two texts of JSON.
    run kubectl label --local --filename "$WORK/rights.yaml" --output json checked=yes >"$WORK/rights.json"
    python3 tools/chart/rights.py "$WORK/rights.json"
}

check_unit() {
    build helm-unittest github.com/helm-unittest/helm-unittest/cmd/helm-unittest
    "$(built helm-unittest)" --strict "$CHART"
}

# The program of Prometheus that tests rules, where it can be had.
find_promtool() {
    type -P promtool && return
    if [ ! -x "$OWN/promtool" ]; then
        command -v apt-get >/dev/null || return 1
        say "fetching promtool" >&2
        mkdir -p "$OWN" "$WORK/promtool" || return 1
        (cd "$WORK/promtool" && apt-get download -qq prometheus && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xO ./usr/bin/promtool >program) >&2 || return 1
        chmod +x "$WORK/promtool/program" && mv "$WORK/promtool/program" "$OWN/promtool" || return 1
    fi
    printf '%s' "$OWN/promtool"
}

check_alerts() {
    local promtool
    python3 tools/chart/monitoring.py "$WORK/queries.yaml"
    if promtool=$(find_promtool); then
        "$promtool" check rules "$CHART/files/alerts.yaml" "$WORK/queries.yaml"
        "$promtool" test rules tools/chart/alerts_test.yaml
    else
        say "alerts and queries NOT TESTED: promtool is neither in PATH nor could it be fetched with apt-get"
    fi
}

check_health() {
    build glua github.com/yuin/gopher-lua/cmd/glua
    "$(built glua)" tools/chart/health_test.lua manifests/argocd/health.lua
}

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
case ${1:-all} in
copy) copy "$ROOT" ;;
drift | lint | rights | unit | alerts | health) "check_$1" ;;
all)
    for check in drift lint rights unit alerts health; do "check_$check"; done
    ;;
*) fail "usage: tools/chart.sh [copy|drift|lint|rights|unit|alerts|health]" ;;
esac
