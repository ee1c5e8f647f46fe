#!/usr/bin/env bash
# Compiles the programs of the workloads and puts them, without symbols, into a folder, and ONNX Runtime beside them.
#
# usage: images/compile.sh FOLDER
#
# MEDINDEX_COMPILE_WITH names further targets for cargo (`--test NAME`): with a test among them, dependencies are those of `make test`, and what that
# has built is used.
#
# The same runs in the image build (stage `compiled` of the Dockerfile) and in `make images`, where what cargo has compiled before is used.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

mapfile -t PROGRAMS < <(cut -d' ' -f1 images/workloads)

OUT=$1
CACHE=${MEDINDEX_CACHE:-${HOME:?set HOME or MEDINDEX_CACHE}/.cache/medindex}
tools/setup.sh toolchain native onnxruntime
# shellcheck disable=SC2086  # a list of words
cargo build --release --workspace --features medindex-gateway/cluster ${MEDINDEX_COMPILE_WITH:-} "${PROGRAMS[@]/#/--bin=medindex-}"
rm -rf "$OUT"
mkdir -p "$OUT"
for program in "${PROGRAMS[@]/#/medindex-}"; do
    objcopy --strip-all "${CARGO_TARGET_DIR:-target}/release/$program" "$OUT/$program"
done
objcopy --strip-unneeded "$CACHE/onnxruntime/libonnxruntime.so" "$OUT/libonnxruntime.so"
