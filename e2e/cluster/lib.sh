# Part of e2e/cluster.sh: names, places, and how processes are started and stopped.
# shellcheck shell=bash

# Everything that a cluster leaves lies here: settings, keys, data, logs, process ids. A file system that holds containers (not an overlay).
STATE=${MEDINDEX_E2E_STATE:-/var/tmp/medindex-e2e}
CACHE=${MEDINDEX_CACHE:-${HOME:?set HOME or MEDINDEX_CACHE}/.cache/medindex}
BIN=${MEDINDEX_KUBERNETES_BIN:-$CACHE/kubernetes/bin}
# Network namespace of the first node and the control plane; node N has NETWORK-nodeN. Nothing listens outside of them.
NETWORK=medindex-e2e
NODES=3
ADDRESS=10.89.0.1
PODS=10.244.0.0/16
SERVICES=10.96.0.0/16
DNS=10.96.0.10
# How long a program may take until it answers, in seconds: other work may share the machine.
PATIENCE=180

say() { printf 'e2e: %s\n' "$*" >&2; }

fail() {
    printf 'e2e: %s\n' "$*" >&2
    exit 1
}

network() { if [ "$1" = 0 ]; then echo "$NETWORK"; else echo "$NETWORK-node$1"; fi; }
address() { echo "10.89.0.$((1 + $1))"; }
folder() { if [ "$1" = 0 ]; then echo "$STATE"; else echo "$STATE/node$1"; fi; }

# inside NODE COMMAND...: in the node's network. Not by `ip netns exec`, which would hide the control groups from kubelet.
inside() {
    local node=$1
    shift
    nsenter --net="/run/netns/$(network "$node")" "$@"
}

# launch NODE NAME COMMAND...: in the background, with a log; its process id is kept with its time of start, so that `stop` hits no other.
launch() {
    local node=$1 name=$2 place
    place=$(folder "$1")
    shift 2
    mkdir -p "$place/log" "$place/run"
    setsid nsenter --net="/run/netns/$(network "$node")" "$@" >>"$place/log/$name.log" 2>&1 </dev/null &
    echo "$! $(started $!)" >"$place/run/$name.pid"
}

# When a process started, in clock ticks since the system did.
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# stop FILE SIGNAL: the process that the file names, if it is still that one.
stop() {
    local process start
    read -r process start <"$1"
    if [ "$(started "$process")" = "$start" ]; then kill -s "$2" "$process" || true; fi
}

# wait_for WHAT LOG COMMAND...: until the command succeeds.
wait_for() {
    local what=$1 log=$2 deadline=$((SECONDS + PATIENCE))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $deadline ]; then
            tail -n 20 "$log" >&2 || true
            fail "$what is not there after $PATIENCE s; its log is $log"
        fi
        sleep 0.3
    done
}

kubectl() { inside 0 "$BIN/kubectl" --kubeconfig "$STATE/pki/admin.conf" "$@"; }

container_tool() { ctr --address "$(folder "$1")/run/containerd.sock" --namespace k8s.io "${@:2}"; }
