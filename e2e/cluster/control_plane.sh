# Part of e2e/cluster.sh: etcd, the API server, the controllers and the scheduler.
# shellcheck shell=bash

# The whole cluster is on one bridge; there is no way out of it but through the machine's own files.
make_network() {
    ip netns add "$NETWORK"
    ip -n "$NETWORK" link set lo up
    # A bridge, because not every machine has links of the type dummy.
    ip -n "$NETWORK" link add node0 type bridge
    ip -n "$NETWORK" address add "$ADDRESS/24" dev node0
    ip -n "$NETWORK" link set node0 up
    ip -n "$NETWORK" route add default dev node0
    inside 0 sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.route_localnet=1
    # Packets between pods of one node pass iptables only with this module; some machines have it built in.
    modprobe br_netfilter 2>/dev/null || true
    inside 0 sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
}

start_data() {
    mkdir -p "$STATE/etcd"
    chmod 700 "$STATE/etcd"
    # A test's cluster may lose its data with the machine: no waiting for the disk.
    launch 0 etcd "$BIN/etcd" --data-dir "$STATE/etcd" --unsafe-no-fsync \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
    cat >"$STATE/audit.yaml" <<EOF
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, verbs: [create, update, patch, delete, deletecollection]}
- {level: None}
EOF
}

start_controllers() {
    local pki=$STATE/pki
    launch 0 controllers "$BIN/kube-controller-manager" --kubeconfig="$pki/controllers.conf" --leader-elect=false \
        --service-account-private-key-file="$pki/service-accounts.key" --root-ca-file="$pki/ca.crt" --use-service-account-credentials \
        --allocate-node-cidrs=true --cluster-cidr=$PODS --node-monitor-grace-period=20s
    launch 0 scheduler "$BIN/kube-scheduler" --kubeconfig="$pki/scheduler.conf" --leader-elect=false
}

# Writes are kept in audit.log: tests count there what a reconcile wrote.
start_api_server() {
    local pki=$STATE/pki
    launch 0 apiserver "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --bind-address=$ADDRESS --advertise-address=$ADDRESS \
        --secure-port=6443 --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
        --service-account-key-file="$pki/service-accounts.key" --service-account-signing-key-file="$pki/service-accounts.key" \
        --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range=$SERVICES --authorization-mode=Node,RBAC \
        --allow-privileged=true --kubelet-client-certificate="$pki/admin.crt" --kubelet-client-key="$pki/admin.key" \
        --kubelet-preferred-address-types=InternalIP --audit-policy-file="$STATE/audit.yaml" --audit-log-path="$STATE/log/audit.log" \
        --requestheader-client-ca-file="$pki/ca.crt" --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
        --requestheader-extra-headers-prefix=X-Remote-Extra- --proxy-client-cert-file="$pki/admin.crt" --proxy-client-key-file="$pki/admin.key"
    wait_for "the API server" "$STATE/log/apiserver.log" kubectl get --raw /readyz
}
