#!/bin/sh
# Ingest throughput and upload-to-searchable latency: `make bench-ingest` calls this. See docs/benchmarks.md.
#
#   MEDNIST=FILE   the image archive (default: ../shared/data/mednist-32735.tar.gz beside the repository)
#   QUICK=1        fewer images; results go to the cache folder
set -eu
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
cache=${MEDINDEX_CACHE:-$HOME/.cache/medindex}
mednist=${MEDNIST:-$repository/../shared/data/mednist-32735.tar.gz}
programs=${CARGO_TARGET_DIR:-$repository/target}/release

if [ ! -f "$mednist" ]; then
    echo "error: no image archive at $mednist: set MEDNIST to the path of mednist-32735.tar.gz" >&2
    exit 1
fi
scratch=$cache/bench/ingest
mkdir -p "$scratch"
(cd "$repository" && cargo build --release --quiet --package medindex --package medindex-benchmarks)
images=400 out=$repository/benchmarks/results
if [ -n "${QUICK:-}" ]; then
    images=40 out=$cache/bench/quick-results
fi
python3 "$here/bench.py" --medindex "$programs/medindex" --bench "$programs/medindex-benchmarks" \
    --archive "$mednist" --models "$cache/models" --scratch "$scratch" --out "$out" --images "$images"
echo "written: $out/ingest.md"
