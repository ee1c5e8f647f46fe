# Part of e2e/cluster.sh: what goes wrong in a cluster, on request.
# shellcheck shell=bash

# Cuts a node off at once: kubelet, containerd and link.
lose() {
    local place name
    place=$(folder "$1")
    [ "$1" != 0 ] || fail "node 0 has the control plane"
    for name in kubelet proxy containerd; do stop "$place/run/$name.pid" KILL; done
    ip -n "$NETWORK" link set "node$1" down
}

come_back() {
    ip -n "$NETWORK" link set "node$1" up
    start_containerd "$1"
    start_kubelet "$1" ''
}

# in_containers NAMESPACE POD COMMAND...: a command of `ctr tasks` for each of the pod's containers.
in_containers() {
    local node container
    node=$(kubectl get pod "$2" --namespace "$1" --output 'jsonpath={.spec.nodeName}')
    for container in $(kubectl get pod "$2" --namespace "$1" --output 'jsonpath={.status.containerStatuses[*].containerID}'); do
        container_tool "${node#node}" tasks "${@:3}" "${container#containerd://}"
    done
}

port_is_free() { ! inside 0 ss -Hltn 'sport = :6443' | grep -q .; }

restart_api_server() {
    stop "$STATE/run/apiserver.pid" KILL
    # A busy machine takes its time to end a process, and the next one would find the port taken.
    wait_for "the end of the former API server" "$STATE/log/apiserver.log" port_is_free
    start_api_server
}
