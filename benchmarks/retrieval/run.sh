#!/usr/bin/env bash
# Retrieval quality on MedNIST: what `medindex evaluate` measures, written to benchmarks/results.
#
#   benchmarks/retrieval/run.sh                          both models
#   benchmarks/retrieval/run.sh efficientnet-lite0       one of them
#
# Data: 32,735 images of MedNIST (gathered by B. Erickson, Mayo Clinic; CC BY-SA 4.0) in MEDNIST, by default the archive in the
# folder shared/data beside the checkout. VGG-16 imports a balanced sample of SAMPLE images (3,060: over 3,000 without those whose bytes are the same), EfficientNet-Lite0 all.
# Extracted images and data folders stay in $MEDINDEX_CACHE/bench/mednist; a second run imports nothing again.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
cache=${MEDINDEX_CACHE:-$HOME/.cache/medindex}
archive=${MEDNIST:-$root/../shared/data/mednist-32735.tar.gz}
sample=${SAMPLE:-3060}
work=$cache/bench/mednist
results=$root/benchmarks/results
medindex=${MEDINDEX:-$root/target/release/medindex}

say() { printf '%s\n' "$*" >&2; }

[ -x "$medindex" ] || { say "build first: cargo build --release -p medindex"; exit 1; }
[ -f "$archive" ] || { say "no MedNIST archive at $archive; set MEDNIST to its path"; exit 1; }

if [ ! -f "$work/extracted" ]; then
    say "extracting $archive"
    mkdir -p "$work/images"
    tar -xzf "$archive" -C "$work/images"
    touch "$work/extracted"
fi

# A folder with every n-th image of each label, so that the labels are balanced and the choice never changes.
sampled_folder() {
    local folder=$work/sample-$sample
    if [ ! -f "$folder/.complete" ]; then
        rm -rf "$folder"
        local labels each
        labels=$(find "$work/images" -mindepth 1 -maxdepth 1 -type d | sort)
        each=$((sample / $(wc -l <<<"$labels")))
        while read -r label; do
            local into=$folder/${label##*/}
            mkdir -p "$into"
            local all count
            all=$(find "$label" -type f | sort)
            count=$(wc -l <<<"$all")
            awk -v count="$count" -v each="$each" 'int(NR * each / count) > int((NR - 1) * each / count)' <<<"$all" |
                xargs -d '\n' ln -s -t "$into"
        done <<<"$labels"
        touch "$folder/.complete"
    fi
    printf '%s\n' "$folder"
}

evaluate() {
    local model=$1 images=$2 data=$work/data-$1-${2##*/}
    say "$model: importing $images"
    "$medindex" --data "$data" --model "$model" import "$images" --label-from-folder >&2
    # The last generation of its own was learned when there were fewer images.
    "$medindex" --data "$data" train >&2
    say "$model: evaluating"
    "$medindex" --data "$data" evaluate \
        --save "$results/retrieval-$model.json" \
        --markdown "$results/retrieval-$model.md" \
        --plot "$results/retrieval-$model.svg"
}

mkdir -p "$results"
[ $# -gt 0 ] || set -- vgg16 efficientnet-lite0
for name; do
    case $name in
        vgg16) evaluate vgg16 "$(sampled_folder)" ;;
        efficientnet-lite0) evaluate efficientnet-lite0 "$work/images" ;;
        *) say "no model $name here: vgg16 or efficientnet-lite0"; exit 1 ;;
    esac
done
