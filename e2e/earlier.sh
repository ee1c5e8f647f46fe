#!/usr/bin/env bash
# Makes the image of the operator of an earlier commit, to upgrade from: localhost/medindex-operator:earlier. The commit stands in e2e/earlier.
#
# usage: e2e/earlier.sh
#
# Its program is compiled once (a few minutes, with what `make test` has compiled already) and kept in the cache folder. The rest of the image is
# that of today's (e2e/images.sh makes it before).
set -euo pipefail

HERE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$HERE")
# shellcheck source=e2e/cluster/lib.sh
source "$HERE/cluster/lib.sh"
COMMIT=$(tr -d '[:space:]' <"$HERE/earlier")
PROGRAM=$CACHE/earlier/$COMMIT/medindex-operator

git -C "$ROOT" cat-file -e "$COMMIT^{commit}" 2>/dev/null || fail "this clone has no commit $COMMIT"
if [ ! -x "$PROGRAM" ]; then
    say "compiling the operator of $COMMIT"
    sources=$(mktemp -d)
    trap 'rm -rf "$sources"' EXIT
    git -C "$ROOT" archive "$COMMIT" | tar --extract --directory "$sources"
    # With a test among the targets, as in images/compile.sh: what is compiled for today's is used.
    target=${CARGO_TARGET_DIR:-$ROOT/target}
    (cd "$sources" && CARGO_TARGET_DIR=$target cargo build --release --workspace --bin medindex-operator --test index)
    mkdir -p "$(dirname "$PROGRAM")"
    objcopy --strip-all "$target/release/medindex-operator" "$PROGRAM.new"
    mv "$PROGRAM.new" "$PROGRAM"
fi
container=$(buildah from --pull=never localhost/medindex-operator:e2e)
buildah copy --quiet "$container" "$PROGRAM" /usr/bin/medindex-operator >/dev/null
buildah commit --quiet "$container" localhost/medindex-operator:earlier >/dev/null
buildah rm "$container" >/dev/null
