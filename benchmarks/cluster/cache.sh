#!/bin/sh
# What the cache saves: `make bench-cache` calls this. See docs/benchmarks.md.
#
#   QUICK=1   few images and requests; results go to the cache folder
set -eu
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
cache=${MEDINDEX_CACHE:-$HOME/.cache/medindex}
program=${CARGO_TARGET_DIR:-$repository/target}/release/medindex-cluster-benchmarks

images=200 requests=300 out=$repository/benchmarks/results
if [ -n "${QUICK:-}" ]; then
    images=30 requests=60 out=$cache/bench/quick-results
fi
cd "$repository"
cargo build --release --quiet --workspace --features medindex-gateway/cluster --bin medindex-cluster-benchmarks
"$program" cache --model "$cache/models/efficientnet-lite0" --images "$images" --requests "$requests" --out "$out"
echo "written: $out/cache.md"
