#!/usr/bin/env bash
# Makes the operator of an earlier commit, to upgrade from. The commit stands in e2e/earlier: the newest whose pods are made as today's, so that an upgrade
# has none to replace. Who changes what pods are made of says so in the changelog, and moves it on when that is on main.
#
# usage: e2e/earlier.sh program     compiles it, once (a few minutes, with what `make test` has compiled already), into the cache folder
#        e2e/earlier.sh image       makes localhost/medindex-operator:earlier of it and today's image (e2e/images.sh)
set -euo pipefail

HERE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$HERE")
# shellcheck source=e2e/cluster/lib.sh
source "$HERE/cluster/lib.sh"
COMMIT=$(tr -d '[:space:]' <"$HERE/earlier")
PROGRAM=$CACHE/earlier/$COMMIT/medindex-operator

compile() {
    local sources target=${CARGO_TARGET_DIR:-$ROOT/target}
    [ ! -x "$PROGRAM" ] || return 0
    git -C "$ROOT" cat-file -e "$COMMIT^{commit}" 2>/dev/null || fail "this clone has no commit $COMMIT"
    say "compiling the operator of $COMMIT"
    sources=$(mktemp -d)
    # shellcheck disable=SC2064  # the folder of now
    trap "rm -rf '$sources'" EXIT
    git -C "$ROOT" archive "$COMMIT" | tar --extract --directory "$sources"
    # With a test among the targets, as in images/compile.sh: what is compiled for today's is used.
    (cd "$sources" && CARGO_TARGET_DIR=$target cargo build --release --workspace --bin medindex-operator --test index)
    mkdir -p "$(dirname "$PROGRAM")"
    objcopy --strip-all "$target/release/medindex-operator" "$PROGRAM.new"
    mv "$PROGRAM.new" "$PROGRAM"
}

image() {
    local container
    container=$(buildah from --pull=never localhost/medindex-operator:e2e)
    buildah copy --quiet "$container" "$PROGRAM" /usr/bin/medindex-operator >/dev/null
    buildah commit --quiet "$container" localhost/medindex-operator:earlier >/dev/null
    buildah rm "$container" >/dev/null
}

case ${1:-} in
program) compile ;;
image) image ;;
*) fail "usage: e2e/earlier.sh program|image" ;;
esac
