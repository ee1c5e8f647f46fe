#!/bin/sh
# What dividing an index over shards costs: `make bench-scatter` calls this. See docs/benchmarks.md.
#
#   QUICK=1   a tenth of the vectors and few rounds; results go to the cache folder
set -eu
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
cache=${MEDINDEX_CACHE:-$HOME/.cache/medindex}
program=${CARGO_TARGET_DIR:-$repository/target}/release/medindex-cluster-benchmarks

scratch=$cache/bench/scatter
vectors=200000 rounds=10 out=$repository/benchmarks/results
if [ -n "${QUICK:-}" ]; then
    vectors=20000 rounds=2 out=$cache/bench/quick-results
fi
mkdir -p "$scratch"
cd "$repository"
cargo build --release --quiet --workspace --features medindex-gateway/cluster --bin medindex-cluster-benchmarks
"$program" scatter --model "$repository/models/vgg16" --vectors "$vectors" --rounds "$rounds" \
    --scratch "$scratch" --out "$out"
echo "written: $out/scatter.md"
