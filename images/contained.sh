#!/usr/bin/env bash
# Runs the program of an image as Kubernetes would, without an engine: over a read-only root file system, as user 65532 without
# capabilities and without the way to new ones, with only the folders mounted that its flags name. Part of images/test.sh; wants root.
#
# usage: contained.sh ROOT ENVIRONMENT PROGRAM [FLAG=VALUE...]      ROOT: the unpacked image; ENVIRONMENT: a file of its variables
#
# --model-folder=DIR is mounted at /model, --data=DIR or --scratch=DIR at /data (writable), the folder of each --...-file=FILE at /etc/medindex.
# The network is the machine's. The process keeps its number, so signals reach the program.
set -euo pipefail

ROOT=$1 ENVIRONMENT=$2 PROGRAM=$3
shift 3
mounts=() arguments=()
for argument in "$@"; do
    value=${argument#*=}
    case $argument in
    --model-folder=*) mounts+=("$value:/model:ro") argument=--model-folder=/model ;;
    --data=* | --scratch=*)
        mkdir -p "$value"
        chown 65532:65532 "$value"
        mounts+=("$value:/data:rw") argument=${argument%%=*}=/data
        ;;
    --*-file=*)
        # As Kubernetes does with a secret's group.
        chown -R 65532:65532 "$(dirname "$value")"
        mounts+=("$(dirname "$value"):/etc/medindex:ro") argument=${argument%%=*}=/etc/medindex/$(basename "$value")
        ;;
    esac
    arguments+=("$argument")
done

inside() {
    mount --bind "$ROOT" "$ROOT"
    # What every runtime brings.
    mkdir -p "$ROOT/proc" "$ROOT/dev"
    touch "$ROOT/etc/hosts" "$ROOT/etc/resolv.conf"
    mount -t proc proc "$ROOT/proc"
    mount --bind /dev "$ROOT/dev"
    mount --bind /etc/hosts "$ROOT/etc/hosts"
    mount --bind /etc/resolv.conf "$ROOT/etc/resolv.conf"
    local mount from rest
    for mount in $MOUNTS; do
        from=${mount%%:*} rest=${mount#*:}
        mount --bind "$from" "$ROOT${rest%:*}"
        mount -o "remount,bind,${rest#*:}" "$ROOT${rest%:*}"
    done
    mount -o remount,bind,ro "$ROOT"
    local variables
    mapfile -t variables <"$ENVIRONMENT"
    exec env -i "${variables[@]}" setpriv --inh-caps=-all --no-new-privs \
        chroot --userspec=65532:65532 --groups= "$ROOT" "$@"
}

export ROOT ENVIRONMENT MOUNTS="${mounts[*]:-}"
exec unshare --mount --propagation private bash -euo pipefail -c "$(declare -f inside)"'; inside "$@"' contained "/usr/bin/$PROGRAM" "${arguments[@]}"
