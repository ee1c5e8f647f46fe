# Part of e2e/cluster.sh: stopping all of it.
# shellcheck shell=bash

# Kubelets first, so that nothing is started again; then containers, containerd, the control plane; then what they left mounted.
down() {
    local node file
    # From here on it is none that could be used again.
    rm -f "$STATE/complete"
    for node in $(seq 0 $((NODES - 1))); do
        for file in "$(folder "$node")"/run/{kubelet,proxy}.pid; do [ ! -f "$file" ] || stop "$file" TERM; done
    done
    for node in $(seq 0 $((NODES - 1))); do
        kill_group "$(control_group "$node")"
        kill_shims "$(folder "$node")/run/containerd.sock"
        file=$(folder "$node")/run/containerd.pid
        [ ! -f "$file" ] || stop "$file" TERM
    done
    for file in "$STATE"/run/{controllers,scheduler,apiserver,etcd}.pid; do [ ! -f "$file" ] || stop "$file" KILL; done
    unmount_all
    for node in $(seq 0 $((NODES - 1))); do
        ip netns delete "$(network "$node")" 2>/dev/null || true
        remove_group "$(control_group "$node")"
    done
    rm -rf "$STATE"
}

# Every process of the pods: those in the control groups below the node's.
kill_group() {
    local process processes
    for _ in 1 2 3 4 5; do
        # Groups go while one looks at them.
        processes=$(find /sys/fs/cgroup -type f -name cgroup.procs -path "*/$1/*" -exec cat {} + 2>/dev/null | sort -un) || true
        [ -n "$processes" ] || return 0
        for process in $processes; do kill -KILL "$process" 2>/dev/null || true; done
        sleep 0.2
    done
}

# The processes that hold containers for a containerd: its socket is among their arguments.
kill_shims() {
    local folder
    for folder in /proc/[0-9]*; do
        [[ $(tr '\0' ' ' 2>/dev/null <"$folder/cmdline") == *containerd-shim*"-address $1 "* ]] && kill -KILL "${folder#/proc/}" 2>/dev/null
    done
    return 0
}

unmount_all() {
    local place
    while read -r place; do
        umount --lazy "$place" 2>/dev/null || true
    done < <(cut -d' ' -f2 /proc/mounts | grep "^$STATE/" | sort -r)
}

remove_group() {
    find /sys/fs/cgroup -depth -type d -path "*/$1*" -exec rmdir {} + 2>/dev/null || true
}
