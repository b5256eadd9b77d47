#!/bin/bash
# run.sh - fuzz every parser for a while, with ASan and UBSan.
#
# usage: tests/fuzz/run.sh SECONDS [NAME...]
# Builds below build/fuzz (or $BUILD) with clang. Starts from the inputs in
# tests/fuzz/corpus and keeps what it learns in the build, next to the finds.
# Fails on any find: minimise it with `fuzz_NAME -minimize_crash=1 FILE`, put it
# into tests/fuzz/corpus/NAME, and `make check` replays it ever after.
set -u
cd "$(dirname "$0")/../.." || exit 1

seconds=${1:-}
case $seconds in
'' | *[!0-9]*) echo "usage: $0 SECONDS [NAME...]" >&2; exit 64 ;;
esac
shift

top=$PWD
build=${BUILD:-$top/build/fuzz}
corpus=$top/tests/fuzz/corpus
[ $# -gt 0 ] || set -- "$corpus"/*
set -- "${@##*/}"

[ -x configure ] || autoreconf -i || exit
mkdir -p "$build/finds" && cd "$build" || exit
[ -f Makefile ] ||
    "$top/configure" -q CC=clang CFLAGS='-O1 -g' --enable-fuzzing --enable-asan ||
    exit
make -s "${@/#/tests/fuzz/fuzz_}" || exit

failed=0
for name in "$@"; do
    mkdir -p "learned/$name"
    if "tests/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=10 \
        -artifact_prefix="finds/$name-" "learned/$name" "$corpus/$name" \
        >"$name.log" 2>&1; then
        echo "ok: $name, $(grep -o '^Done.*' "$name.log")"
    else
        failed=$((failed + 1))
        echo "FAILED: $name; the end of $build/$name.log:"
        tail -n 40 "$name.log"
    fi
done
echo "$(($# - failed)) passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
