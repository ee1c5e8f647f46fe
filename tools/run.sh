#!/usr/bin/env bash
# `make run`: prepares, builds, imports the sample images into a new data folder, and serves it until Ctrl-C.
#
# usage: tools/run.sh MODEL DATA PORT
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

MODEL=$1 DATA=$2 PORT=$3
CACHE=${MEDINDEX_CACHE:-${HOME:?set HOME or MEDINDEX_CACHE}/.cache/medindex}
MEDINDEX=${CARGO_TARGET_DIR:-target}/release/medindex
# Says that the samples were imported into DATA, so that a second run does not decode them again; a user who has
# deleted a sample does not get it back.
IMPORTED=$DATA/samples-imported

# Ctrl-C is how a run ends, whatever it was doing: a status other than 0 would make make complain.
trap 'echo "run: stopped; make run goes on from here" >&2; exit 0' INT

tools/setup.sh toolchain onnxruntime models samples
cargo build --release --package medindex ||
    { echo "run: cargo build failed (above); if a crate could not be fetched, check that cargo reaches its registry" >&2; exit 1; }

if [ ! -f "$IMPORTED" ]; then
    echo "run: importing the sample images that PyPI's pydicom carries; those that are damaged on purpose are refused" >&2
    "$MEDINDEX" import --data "$DATA" --model "$MODEL" "$CACHE/samples/pydicom"
    touch "$IMPORTED"
fi

"$MEDINDEX" serve --data "$DATA" --model "$MODEL" --port "$PORT"
