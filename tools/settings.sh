#!/usr/bin/env bash
# Writes docs/settings.md: the settings of every program of the cluster, as the programs themselves print them.
#
# usage: tools/settings.sh        after cargo build --release --workspace --features medindex-gateway/cluster
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

BUILT=${CARGO_TARGET_DIR:-target}/release
{
    cat <<'TEXT'
# Settings of the programs of a cluster

Every setting is a flag and an environment variable; a flag wins. Secrets (passwords, keys) are never settings: they are files, of which the
path is a setting, and which are read again when they change. This page is made by `tools/settings.sh`; tests compare it with the programs.
TEXT
    for program in gateway embedder search trainer importer; do
        printf '\n## medindex-%s\n\n' "$program"
        "$BUILT/medindex-$program" --print-settings
    done
} >docs/settings.md
echo "docs/settings.md is written" >&2
