# Part of e2e/cluster.sh: images that every cluster needs, and bringing images to the nodes.
# shellcheck shell=bash

# The image that holds a pod's network, CoreDNS and metrics-server, each one static program, as archives in the cache.
make_images() {
    mkdir -p "$CACHE/e2e"
    [ -f "$CACHE/e2e/pause.tar" ] || make_pause
    local program
    for program in coredns metrics-server; do
        [ "$CACHE/e2e/$program.tar" -nt "$BIN/$program" ] || make_program_image "$program" "$BIN/$program"
    done
}

# Waits until it is told to end: the process that keeps a pod's namespaces.
make_pause() {
    local work
    work=$(mktemp -d)
    cat >"$work/pause.c" <<'C'
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int signal) { exit(128 + signal); }
static void reap(int signal) { (void)signal; while (waitpid(-1, NULL, WNOHANG) > 0) {} }
int main(void) { signal(SIGTERM, end); signal(SIGINT, end); signal(SIGCHLD, reap); for (;;) pause(); }
C
    cc -static -Os -o "$work/pause" "$work/pause.c"
    make_program_image pause "$work/pause"
    rm -rf "$work"
}

# make_program_image NAME PROGRAM: an image localhost/NAME:1 of nothing but the program.
make_program_image() {
    local container
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$2" "/$1" >/dev/null
    buildah config --entrypoint "[\"/$1\"]" "$container"
    buildah commit --quiet "$container" "localhost/$1:1" >/dev/null
    buildah rm "$container" >/dev/null
    archive "localhost/$1:1" "$CACHE/e2e/$1.tar"
}

# archive IMAGE FILE
archive() {
    rm -f "$2.new"
    buildah push --quiet "$1" "docker-archive:$2.new:$1"
    mv "$2.new" "$2"
}

# load [--node N] IMAGE...: images of buildah's store, to one node or all. An image that a node has by the same digest is left alone.
load() {
    local image file digest node nodes
    nodes=$(seq 0 $((NODES - 1)))
    if [ "$1" = --node ]; then
        nodes=$2
        shift 2
    fi
    for image in "$@"; do
        digest=$(buildah inspect --type image --format '{{.FromImageDigest}}' "$image") || fail "there is no image $image"
        file=
        for node in $nodes; do
            local known
            known=$(folder "$node")/run/image-$(printf '%s' "$image" | tr '/:' '__')
            [ "$(cat "$known" 2>/dev/null)" = "$digest" ] && continue
            if [ -z "$file" ]; then
                file=$STATE/$(printf '%s' "$image" | tr '/:' '__').tar
                archive "$image" "$file"
            fi
            container_tool "$node" images import "$file" >/dev/null
            echo "$digest" >"$known"
        done
        [ -z "$file" ] || rm -f "$file"
    done
}
