#!/usr/bin/env bash
# Builds the images of all workloads from programs that cargo compiles here, and prints their sizes. `make images` runs it.
#
# usage: images/build.sh [WORKLOAD...]      TAG names their tag (default: latest)
#
# Uses docker, or where there is none, or its daemon does not answer, buildah. The compiled programs have to fit the images' system: see the Dockerfile.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

mapfile -t ALL < <(cut -d' ' -f1 images/workloads)
TAG=${TAG:-latest}

fail() {
    printf 'images: %s\n' "$*" >&2
    exit 1
}

build() {
    local options=(--file images/Dockerfile --build-arg PROGRAMS=prebuilt --target "$1" --tag "medindex-$1:$TAG")
    if [ "$ENGINE" = docker ]; then
        docker build "${options[@]}" .
    else
        # Without namespaces of its own it also builds inside of a container.
        buildah build --isolation chroot --layers --pull=missing "${options[@]}" .
    fi
}

size() {
    if [ "$ENGINE" = docker ]; then
        docker image ls --format '{{.Size}}' "medindex-$1:$TAG"
    else
        buildah images --noheading --format '{{.Size}}' "medindex-$1:$TAG"
    fi
}

# A docker client alone builds nothing: its daemon has to answer.
if command -v docker >/dev/null && docker version >/dev/null 2>&1; then
    ENGINE=docker
elif command -v buildah >/dev/null; then
    ENGINE=buildah
else
    fail "neither a docker whose daemon answers nor buildah is there; install one (Debian: apt-get install buildah)"
fi
[ $# -gt 0 ] || set -- "${ALL[@]}"

images/compile.sh target/images
for workload in "$@"; do
    echo "images: building medindex-$workload:$TAG with $ENGINE" >&2
    build "$workload" >&2 || fail "building medindex-$workload failed (above)"
done
printf '| image | size |\n| --- | --- |\n'
for workload in "$@"; do printf '| medindex-%s | %s |\n' "$workload" "$(size "$workload")"; done
