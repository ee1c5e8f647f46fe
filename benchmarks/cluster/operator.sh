#!/bin/sh
# The operator over a thousand resources: `make bench-operator` calls this. See docs/benchmarks.md.
#
#   QUICK=1   a hundred resources and two rounds; results go to the cache folder
#
# Wants root: the API server runs in a network of its own (e2e/cluster.sh api). MEDINDEX_COMPILE_WITH is as in images/compile.sh.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
cache=${MEDINDEX_CACHE:-$HOME/.cache/medindex}
program=${CARGO_TARGET_DIR:-$repository/target}/release/medindex-cluster-benchmarks

resources=1000 rounds=4 out=$repository/benchmarks/results
if [ -n "${QUICK:-}" ]; then
    resources=100 rounds=2 out=$cache/bench/quick-results
fi
mkdir -p "$cache/bench"
cd "$repository"
# shellcheck disable=SC2086  # several words
cargo build --release --quiet --workspace --features medindex-gateway/cluster ${MEDINDEX_COMPILE_WITH:-} --bin medindex-cluster-benchmarks
trap '"$repository/e2e/cluster.sh" down' EXIT
"$repository/e2e/cluster.sh" api
"$repository/e2e/cluster.sh" enter "$program" operator --resources "$resources" --rounds "$rounds" --scratch "$cache/bench" --out "$out"
echo "written: $out/operator.md"
