#!/usr/bin/env bash
# A real Kubernetes of three nodes on this machine, without Docker, virtual machines or a network: for the end-to-end tests, and to try things.
#
#   e2e/cluster.sh up                  starts it, or leaves a running one alone; the first time after `tools/setup.sh kubernetes containers`
#   e2e/cluster.sh api                 starts only etcd and the API server, without nodes and controllers
#   e2e/cluster.sh kubectl ...         kubectl in it
#   e2e/cluster.sh enter COMMAND...    a command in its network and with its DNS, as in a pod of node0, with KUBECONFIG set
#   e2e/cluster.sh load [--node N] IMAGE...     brings images of buildah's store to one node or all
#   e2e/cluster.sh disks N             makes empty volumes until N wait for a claim, and removes those of claims that are gone
#   e2e/cluster.sh lose N | return N   cuts node N off at once (kubelet, containerd and link), and brings it back
#   e2e/cluster.sh freeze | thaw NAMESPACE POD     halts all processes of a pod, and lets them go on: a server that hangs
#   e2e/cluster.sh kill NAMESPACE POD  kills the processes of a pod without a word
#   e2e/cluster.sh restart-api         kills the API server and starts it again
#   e2e/cluster.sh down                stops it and leaves nothing behind
#
# node0 has the control plane and is for backends (label pool=backends), node1 is the pool cpu, node2 the pool gpu: tainted, and with two
# extended resources nvidia.com/gpu that nothing is behind. Wants root and Linux. State: $MEDINDEX_E2E_STATE, default /var/tmp/medindex-e2e.
set -euo pipefail

HERE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$HERE")
# shellcheck source=e2e/cluster/lib.sh
source "$HERE/cluster/lib.sh"
# shellcheck source=e2e/cluster/keys.sh
source "$HERE/cluster/keys.sh"
# shellcheck source=e2e/cluster/images.sh
source "$HERE/cluster/images.sh"
# shellcheck source=e2e/cluster/control_plane.sh
source "$HERE/cluster/control_plane.sh"
# shellcheck source=e2e/cluster/node.sh
source "$HERE/cluster/node.sh"
# shellcheck source=e2e/cluster/disks.sh
source "$HERE/cluster/disks.sh"
# shellcheck source=e2e/cluster/faults.sh
source "$HERE/cluster/faults.sh"
# shellcheck source=e2e/cluster/down.sh
source "$HERE/cluster/down.sh"

is_up() { [ -f "$STATE/complete" ] && kubectl get --raw /readyz >/dev/null 2>&1; }

# Makes way, keys and network for a new one.
begin() {
    [ -x "$BIN/kubelet" ] || fail "the programs of Kubernetes are not in $BIN: run tools/setup.sh kubernetes containers"
    down
    mkdir -p "$STATE/log" "$STATE/run"
    make_authority
    make_network
}

up() {
    local began=$SECONDS
    if is_up; then
        say "the cluster runs already"
        return
    fi
    begin
    make_images
    start_data
    start_api_server
    start_controllers
    start_node 0 pool=backends ''
    start_node 1 pool=cpu ''
    start_node 2 pool=gpu '{key: nvidia.com/gpu, value: present, effect: NoSchedule}'
    container_tool 0 images import "$CACHE/e2e/coredns.tar" >/dev/null
    container_tool 0 images import "$CACHE/e2e/metrics-server.tar" >/dev/null
    wait_for "three nodes" "$STATE/node2/log/kubelet.log" all_ready
    kubectl patch node node2 --subresource=status --type=json \
        --patch='[{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": "2"}]' >/dev/null
    kubectl apply -f "$HERE/cluster/dns.yaml" -f "$HERE/cluster/metrics.yaml" -f "$HERE/cluster/disks.yaml" >/dev/null
    kubectl -n kube-system rollout status deployment/coredns --timeout="${PATIENCE}s" >/dev/null
    touch "$STATE/complete"
    say "three nodes are ready after $((SECONDS - began)) s; KUBECONFIG=$STATE/pki/admin.conf in the network namespace $NETWORK"
}

api() {
    if is_up; then fail "a cluster runs already: e2e/cluster.sh down"; fi
    begin
    start_data
    start_api_server
}

all_ready() {
    [ "$(kubectl get nodes --no-headers | grep -c ' Ready ')" = $NODES ]
}

enter() {
    printf 'nameserver %s\nsearch svc.cluster.local cluster.local\noptions ndots:5\n' "$DNS" >"$STATE/resolv.conf"
    KUBECONFIG=$STATE/pki/admin.conf PATH=$BIN:$PATH inside 0 unshare --mount --propagation private \
        bash -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$STATE/resolv.conf" "$@"
}

[ "$(id -u)" = 0 ] || fail "networks and control groups want root"
command=${1:-}
[ $# -eq 0 ] || shift
case $command in
up) up ;;
api) api ;;
kubectl) kubectl "$@" ;;
enter) enter "$@" ;;
load) load "$@" ;;
disks) make_disks "$1" ;;
lose) lose "$1" ;;
return) come_back "$1" ;;
freeze) in_containers "$@" pause ;;
thaw) in_containers "$@" resume ;;
kill) in_containers "$@" kill --signal SIGKILL ;;
restart-api) restart_api_server ;;
down) down ;;
*) fail "usage: e2e/cluster.sh up | api | kubectl ... | enter COMMAND... | load [--node N] IMAGE... | disks N | lose N | return N | freeze NAMESPACE POD | thaw NAMESPACE POD | kill NAMESPACE POD | restart-api | down" ;;
esac
