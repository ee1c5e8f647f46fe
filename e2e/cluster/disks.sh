# Part of e2e/cluster.sh: volumes for claims. All nodes share the machine's file system, so a folder serves every node.
# shellcheck shell=bash

# make_disks N: until N volumes wait for a claim. A volume is used once: what was in it goes with its claim.
make_disks() {
    local name phase waiting=0
    while read -r name phase; do
        case $phase in
        Available) waiting=$((waiting + 1)) ;;
        Released | Failed)
            kubectl delete persistentvolume "$name" >/dev/null
            rm -rf "$STATE/disks/$name"
            ;;
        esac
    done < <(kubectl get persistentvolumes --no-headers -o custom-columns=NAME:.metadata.name,PHASE:.status.phase)
    [ "$waiting" -lt "$1" ] || return 0
    for _ in $(seq "$waiting" $(($1 - 1))); do
        make_disk "disk-$(date +%s%N)"
    done | kubectl apply -f - >/dev/null
}

make_disk() {
    mkdir -p "$STATE/disks/$1"
    chmod 777 "$STATE/disks/$1"
    cat <<EOF
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: $1}
spec:
  capacity: {storage: 10Gi}
  accessModes: [ReadWriteOnce, ReadOnlyMany]
  storageClassName: disks
  persistentVolumeReclaimPolicy: Retain
  local: {path: $STATE/disks/$1}
  nodeAffinity:
    required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/os, operator: In, values: [linux]}]}]}
EOF
}
