#!/usr/bin/env bash
# Fetches and prepares what MedIndex needs beside its own code, once, into the cache folder.
#
# usage: tools/setup.sh PART...        parts: see PARTS below; `servers` means all servers that the tests start
#
# The cache folder is $MEDINDEX_CACHE, else ~/.cache/medindex; checkouts share it. Every wheel is checked against the
# SHA-256 kept in tools/setup/. A part that is done costs a few milliseconds and no network. Two runs at the same time
# wait for each other; one that is interrupted leaves nothing half done, because results are renamed into place.
set -euo pipefail

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
SETUP=$ROOT/tools/setup
CACHE=${MEDINDEX_CACHE:-${HOME:?set HOME or MEDINDEX_CACHE}/.cache/medindex}
case $CACHE in /*) ;; *) CACHE=$PWD/$CACHE ;; esac

# shellcheck source=tools/setup/lib.sh
source "$SETUP/lib.sh"

SERVERS="java kafka hbase phoenix mariadb redis"
PARTS="toolchain onnxruntime models samples moresamples deny native kubernetes containers flux $SERVERS"
[ $# -gt 0 ] || fail "usage: tools/setup.sh PART...   parts: $PARTS servers"
# shellcheck disable=SC2086  # a list of words
for part in ${*/#servers/$SERVERS}; do
    case " $PARTS " in
    *" $part "*) ;;
    *) fail "there is no set-up part \"$part\"; there are: $PARTS" ;;
    esac
    "done_$part" && continue
    # shellcheck source=/dev/null
    source "$SETUP/parts.sh"
    if [ "$part" = toolchain ]; then
        make_toolchain
    else
        # Asked again under the lock: another run may have done it meanwhile.
        with_lock "$part" once_more "$part"
    fi
done
