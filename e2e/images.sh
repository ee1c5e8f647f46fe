#!/usr/bin/env bash
# Builds the images that the end-to-end tests run: the project's own by images/build.sh with the tag e2e, and those of the backends and of a model
# (backends/Dockerfile). Wants root and buildah.
#
# usage: e2e/images.sh [--backends]      --backends: only those
set -euo pipefail

HERE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$HERE")
# shellcheck source=e2e/cluster/lib.sh
source "$HERE/cluster/lib.sh"
BASE=docker.io/library/debian:bookworm-slim

# Debian's image: from the registry, or where that is out of reach out of Debian's packages.
make_base() {
    buildah inspect --type image "$BASE" >/dev/null 2>&1 && return
    buildah pull --quiet "$BASE" >/dev/null 2>&1 && return
    say "making $BASE with debootstrap"
    local folder container
    folder=$(mktemp -d)
    debootstrap --variant=minbase bookworm "$folder" >"$folder.log" 2>&1 || fail "debootstrap failed; its log is $folder.log"
    rm -rf "$folder"/var/lib/apt/lists/* "$folder"/var/cache/apt/archives/*.deb
    # The machine's own settings of apt, so that builds find packages where the machine does.
    rm -rf "$folder/etc/apt"
    cp -r /etc/apt "$folder/etc/apt"
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$folder" / >/dev/null
    buildah config --cmd /bin/bash "$container"
    buildah commit --quiet "$container" "$BASE" >/dev/null
    buildah rm "$container" >/dev/null
    rm -rf "$folder" "$folder.log"
}

make_backends() {
    local target
    for target in kafka hbase mariadb redis model; do
        say "building the image of $target"
        buildah build --quiet --isolation chroot --layers --pull=never --file "$HERE/backends/Dockerfile" --target "$target" \
            --tag "localhost/medindex-e2e-$target:1" "$CACHE" >/dev/null || fail "building the image of $target failed (above)"
    done
}

[ "$(id -u)" = 0 ] || fail "building images here wants root"
command -v buildah >/dev/null || fail "buildah is not there: run tools/setup.sh containers"
make_base
make_backends
[ "${1:-}" = --backends ] || TAG=e2e "$ROOT/images/build.sh"
