#!/usr/bin/env bash
# `make lint`: format, clippy, the engine on another processor, and what the lock file holds (deny.toml).
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

DENY=${MEDINDEX_CACHE:-${HOME:?set HOME or MEDINDEX_CACHE}/.cache/medindex}/bin/cargo-deny

check_format() { cargo fmt --all --check; }

check_clippy() { cargo clippy --release --workspace --all-targets --quiet -- --deny warnings; }

# The engine must compile where no x86 kernel exists. Checked where the target's standard library is installed, and said where it is not.
check_portable() {
    local target=aarch64-unknown-linux-gnu
    if [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; then
        cargo check --release --quiet --package medindex-index --target "$target" && echo "$target compiles"
    else
        echo "$target NOT CHECKED: its standard library is not installed (rustup target add $target)"
    fi
}

check_deny() {
    "$DENY" --log-level error check --hide-inclusion-graph licenses bans sources
    check_advisories
}

# The advisories' database is fetched from outside the package registries; where it cannot be had, that is said.
check_advisories() {
    local output status=0
    output=$(timeout 120 "$DENY" --log-level error check --hide-inclusion-graph advisories 2>&1 </dev/null) || status=$?
    if [ "$status" -eq 0 ]; then
        echo "advisories ok"
    elif [ "$status" -eq 124 ] || grep -q "failed to fetch advisory database" <<<"$output"; then
        echo "advisories NOT CHECKED: the advisory database cannot be fetched from here"
    else
        printf '%s\n' "$output" >&2
        return 1
    fi
}

case ${1:-all} in
format | clippy | portable | deny) "check_$1" ;;
all) check_format && check_clippy && check_portable && check_deny ;;
*) echo "usage: tools/lint.sh [format|clippy|portable|deny]" >&2; exit 2 ;;
esac
