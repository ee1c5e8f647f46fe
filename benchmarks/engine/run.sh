#!/bin/sh
# The engine benchmark: `make bench-engine` calls this. See docs/benchmarks.md.
#
#   MEDNIST=FILE          the image archive (default: ../shared/data/mednist-32735.tar.gz beside the repository)
#   QUICK=1               two minutes, too small to quote: results go to the cache folder
#   DIMENSION=256         dimensions after the projection
#   COUNT=1000000         vectors; with fewer than 129,940 none is interpolated. Others than a million get a folder of results
#   ONLY=build|scan|retrieval   one part; the others keep their last figures
#   ENGINES='MedIndex;FAISS'    parts of names of engines to build and measure; all when left out
set -eu
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
cache=${MEDINDEX_CACHE:-$HOME/.cache/medindex}
bench=$cache/bench
model=efficientnet-lite0
dimension=${DIMENSION:-256}
mednist=${MEDNIST:-$repository/../shared/data/mednist-32735.tar.gz}
quick=${QUICK:-}

fail() {
    echo "error: $*" >&2
    exit 1
}

[ "$(uname -s)" = Linux ] || fail "the benchmark reads memory figures from /proc: run it on Linux"
command -v taskset >/dev/null || fail "taskset is missing: install util-linux"
[ -f "$mednist" ] || fail "no image archive at $mednist: set MEDNIST to the path of mednist-32735.tar.gz"
[ -f "$cache/models/$model/model.onnx" ] || fail "the model $model is not prepared: run \`make setup\`"
mkdir -p "$bench"

# The peers, in a virtual environment that follows the pinned list.
pinned=$here/../peers/requirements.txt
venv=$bench/venv
if ! cmp -s "$pinned" "$venv/requirements.txt"; then
    echo "installing the peers into $venv"
    rm -rf "$venv"
    python3 -m venv "$venv" || fail "python3 -m venv failed: install python3-venv"
    "$venv/bin/pip" install --quiet --require-hashes --requirement "$pinned" ||
        fail "pip could not install the peers (hnswlib is compiled: it needs g++ and Python's headers)"
    cp "$pinned" "$venv/requirements.txt"
fi

(cd "$repository" && cargo build --release --quiet --package medindex-benchmarks)
MEDINDEX_BENCH=${CARGO_TARGET_DIR:-$repository/target}/release/medindex-benchmarks
export MEDINDEX_BENCH

results=$repository/benchmarks/results
if [ -n "$quick" ]; then
    images=quick every=20 count=${COUNT:-100000} name=quick out=$bench/quick-results
else
    images=full every=1 count=${COUNT:-1000000} name=full out=$results
    if [ "$count" != 1000000 ]; then
        name=$count out=$results/$count
    fi
fi
embeddings=$bench/embeddings/$model-$images
vectors=$bench/vectors/$model-$name-$dimension

# The stamp says that all images are embedded with this model.
stamp=$embeddings/complete
if [ ! -f "$stamp" ] || ! cmp -s "$stamp" "$cache/models/$model/manifest.yaml"; then
    "$MEDINDEX_BENCH" embed --archive "$mednist" --model "$cache/models/$model" --out "$embeddings" --every "$every"
    cp "$cache/models/$model/manifest.yaml" "$stamp"
    rm -rf "$vectors"
fi
if [ ! -f "$vectors/dataset.json" ]; then
    "$venv/bin/python" "$here/dataset.py" --embeddings "$embeddings" --out "$vectors" \
        --count "$count" --dimension "$dimension"
    rm -rf "$bench/indexes/$name-$dimension"
fi

# Waiting threads that spin would count as processor time.
export OMP_WAIT_POLICY=passive
"$venv/bin/python" "$here/bench.py" --data "$vectors" --cache "$bench/indexes/$name-$dimension" --out "$out" \
    ${quick:+--quick} ${ONLY:+--only "$ONLY"} ${ENGINES:+--engines "$ENGINES"}
echo "written: $out/engine.md"
