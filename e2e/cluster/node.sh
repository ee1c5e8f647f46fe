# Part of e2e/cluster.sh: a node: containerd, kubelet and kube-proxy; those after the first in a network of their own.
# shellcheck shell=bash

# Pods of node N. The controllers hand out the subnets of the nodes' objects, which need not be these: only the bridges and routes here count.
pods_of() { echo "10.244.$1.0/24"; }

start_node() {
    local node=$1 place labels=$2 taints=$3
    place=$(folder "$node")
    mkdir -p "$place"/{log,run,kubelet,containerd,cni,addresses}
    [ "$node" = 0 ] || join_network "$node"
    make_client "node$node" "/O=system:nodes/CN=system:node:node$node" "DNS:node$node,IP:$(address "$node")"
    write_pod_network "$node" "$place"
    write_containerd "$place"
    write_kubelet "$node" "$place" "$taints"
    start_containerd "$node"
    container_tool "$node" images import "$CACHE/e2e/pause.tar" >/dev/null
    start_kubelet "$node" "$labels"
}

start_containerd() {
    local place
    place=$(folder "$1")
    launch "$1" containerd containerd --config "$place/containerd.toml"
    wait_for "containerd of node $1" "$place/log/containerd.log" container_tool "$1" version
}

# kubelet, and kube-proxy beside it. Labels are taken when the node is first seen.
start_kubelet() {
    local node=$1 labels=$2 place
    place=$(folder "$node")
    launch "$node" kubelet "$BIN/kubelet" --config="$place/kubelet.yaml" --kubeconfig="$STATE/pki/node$node.conf" \
        --hostname-override="node$node" --node-ip="$(address "$node")" --root-dir="$place/kubelet" --node-labels="$labels"
    launch "$node" proxy "$BIN/kube-proxy" --kubeconfig="$STATE/pki/proxy.conf" --cluster-cidr=$PODS --proxy-mode=iptables \
        --hostname-override="node$node" --conntrack-max-per-core=0 --conntrack-min=0
}

join_network() {
    local node=$1 network link
    network=$(network "$node")
    link=node$node
    ip netns add "$network"
    ip -n "$network" link set lo up
    ip link add "$link" netns "$NETWORK" type veth peer name eth0 netns "$network"
    ip -n "$NETWORK" link set "$link" master node0
    ip -n "$NETWORK" link set "$link" up
    ip -n "$network" address add "$(address "$node")/24" dev eth0
    ip -n "$network" link set eth0 up
    ip -n "$network" route add default via $ADDRESS
    inside "$node" sysctl -qw net.ipv4.ip_forward=1
    inside "$node" sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
    local other
    for other in $(seq 0 $((node - 1))); do
        ip -n "$(network "$other")" route replace "$(pods_of "$node")" via "$(address "$node")"
        [ "$other" = 0 ] || ip -n "$network" route replace "$(pods_of "$other")" via "$(address "$other")"
    done
}

write_pod_network() {
    cat >"$2/cni/10-pods.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "pods$1", "plugins": [
  {"type": "bridge", "bridge": "pods$1", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$2/addresses", "ranges": [[{"subnet": "$(pods_of "$1")"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
EOF
}

write_containerd() {
    cat >"$1/containerd.toml" <<EOF
version = 2
root = "$1/containerd/root"
state = "$1/containerd/state"
[grpc]
  address = "$1/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  # So that pods' networks are found again when the cluster is stopped.
  netns_mounts_under_state_dir = true
  # The kernel refuses lower values to containers that are themselves in one.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$1/cni"
EOF
}

write_kubelet() {
    local node=$1 place=$2 taints=$3
    cat >"$place/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $STATE/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $STATE/pki/node$node.crt
tlsPrivateKeyFile: $STATE/pki/node$node.key
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
containerRuntimeEndpoint: unix://$place/run/containerd.sock
clusterDNS: ["$DNS"]
clusterDomain: cluster.local
evictionHard: {memory.available: "200Mi", nodefs.available: "2%", imagefs.available: "2%"}
# Never: images are loaded, not pulled, so one that a full disk costs would not come back.
imageGCHighThresholdPercent: 100
address: $(address "$node")
# Of its own: a kubelet removes the logs of pods that it does not know.
podLogsDir: $place/pods
registerWithTaints: [$taints]
cgroupRoot: /$(control_group "$node")
EOF
    make_control_group "$node"
}

control_group() { echo "$NETWORK-$1"; }

# kubelet wants its control group to be there; with groups of version 1, one in each hierarchy, and processor sets have to be told.
make_control_group() {
    local group hierarchy
    group=$(control_group "$1")
    if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
        mkdir -p "/sys/fs/cgroup/$group"
        return
    fi
    for hierarchy in /sys/fs/cgroup/*/; do mkdir -p "$hierarchy$group" 2>/dev/null || true; done
    local set
    for set in cpuset.cpus cpuset.mems; do
        cat "/sys/fs/cgroup/cpuset/$set" >"/sys/fs/cgroup/cpuset/$group/$set"
    done
}
