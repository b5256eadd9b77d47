#!/bin/bash
# nightly.sh - what takes too long for every change: hours, on 2 cores.
#
# usage: tests/nightly.sh [PART...]
#   lint      gcc's and clang's analyzers, cppcheck and shellcheck
#   fuzz      each fuzz target from its kept corpus, for $FUZZ_SECONDS (600)
#   valgrind  the unit tests of what lives long: store, http, fcgi, responder
#             and worker; one $LAYER alone where it is set
#   slow      the system tests of minutes too, with $KILLS (1000) kills
#   coverage  branches taken, in percent, for each layer; of the unit tests
#             alone where $UNIT_ONLY is set. A figure, not a test of its own.
#             tests/branches.py then shows the lines of a file.
# All of them without arguments. Builds below build/nightly (or $BUILD), says
# what it skips for want of a tool, and closes with the line
#   N passed, N failed, N skipped
# What the analyzers are not asked, and why: .clang-tidy and docs/hacking.md.
# shellcheck disable=SC2317 # functions are also called through one()
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

top=$PWD
build=${BUILD:-$top/build/nightly}
jobs=$(nproc)
export PYTHONDONTWRITEBYTECODE=1
# shellcheck source=tests/steps.sh
. tests/steps.sh

# has TOOL: is it here? Counts what is left out for want of it.
has() {
    command -v "$1" >/dev/null && return
    skipped=$((skipped + 1))
    echo "SKIPPED: there is no $1 here"
    return 1
}

# make_programs NAME OPTION...: configure and build in $build/NAME.
make_programs() (
    mkdir -p "$build/$1" && cd "$build/$1" && shift || exit
    [ -f Makefile ] || "$top/configure" -q "$@" || exit
    make -s -j"$jobs" && make -s -j"$jobs" check TESTS=
)

# --- lint ---------------------------------------------------------------------

# quietly COMMAND...: succeeds when it does and has nothing to say.
quietly() {
    local said
    said=$("$@" 2>&1) && [ -z "$said" ] && return
    echo "$said"
    return 1
}

# each_source COMMAND...: with every file of ours in place of {}, one at a time.
each_source() {
    find src -name '*.c' -print0 | sort -z | xargs -0 -I{} -P"$jobs" "$@"
}

gcc_analyzer() {
    # without the two of gcc 12's that forget what calloc and a struct hold:
    # clang's analyzer, ASan and valgrind look for the same
    quietly each_source gcc -std=gnu11 "${flags[@]}" -O1 -fanalyzer \
        -Wno-analyzer-malloc-leak -Wno-analyzer-use-of-uninitialized-value \
        -o /dev/null -c {}
}

clang_tidy() { # stderr: how many warnings it did not show
    quietly each_source sh -c 'exec "$@" 2>/dev/null' sh \
        clang-tidy --quiet {} -- -std=gnu11 "${flags[@]}"
}

# It knows neither cJSON's loop nor that what is mapped without a file has none,
# and takes a mapping kept for good for a leak.
cpp_check() {
    quietly cppcheck -q -j"$jobs" --std=c11 --error-exitcode=1 --inline-suppr \
        --enable=warning,portability,performance --library=posix \
        --suppress=missingIncludeSystem \
        --suppress=invalidFunctionArg:src/responder/tally.c \
        --suppress=memleak:src/responder/tally.c \
        -D'cJSON_ArrayForEach(e,a)=while((e=(a)->child))' \
        -D__linux__ "${flags[@]}" src
}

part_lint() {
    say "what analyzers say"
    one "lint build" make_programs plain --enable-werror CFLAGS='-O1 -g' || return
    read -ra flags <<<"-D_GNU_SOURCE -DHAVE_CONFIG_H -I$build/plain -Isrc $(
        pkg-config --cflags sqlite3 libcurl libcjson libcrypto fcgi | tr '\n' ' ')"
    has gcc && one "gcc -fanalyzer" gcc_analyzer
    has clang-tidy && one "clang-tidy" clang_tidy
    has cppcheck && one "cppcheck" cpp_check
    has shellcheck && one "shellcheck" shellcheck \
        deploy/*.sh tests/*.sh tests/fuzz/*.sh .ci/run
}

# --- fuzz ---------------------------------------------------------------------

part_fuzz() {
    say "fuzz targets, ${FUZZ_SECONDS:-600} s each"
    has clang || return
    local target
    for target in tests/fuzz/corpus/*; do
        one "fuzz ${target##*/}" env BUILD="$build/fuzz" \
            tests/fuzz/run.sh "${FUZZ_SECONDS:-600}" "${target##*/}"
    done
}

# --- valgrind -----------------------------------------------------------------

# Children that are forked, not started, are watched too. What libc keeps for
# good is not asked of it: it would free under getaddrinfo_a's own thread.
under_valgrind() (
    cd "$build/plain" && srcdir=$top builddir=. ./libtool --mode=execute \
        valgrind -q --error-exitcode=99 --run-libc-freeres=no --leak-check=full \
        --show-leak-kinds=definite --errors-for-leak-kinds=definite "$1"
)

part_valgrind() {
    say "unit tests under valgrind"
    has valgrind || return
    one "valgrind build" make_programs plain --enable-werror CFLAGS='-O1 -g' ||
        return
    local layer test
    for layer in ${LAYER:-store http fcgi responder worker}; do
        for test in "tests/unit/$layer"/test_*.c; do
            test=${test%.c}
            one "valgrind ${test#tests/unit/}" under_valgrind "$test"
        done
    done
}

# --- slow ---------------------------------------------------------------------

part_slow() {
    say "system tests of minutes, ${KILLS:-1000} kills"
    one "slow build" make_programs plain --enable-werror CFLAGS='-O1 -g' || return
    one "slow system tests" /usr/bin/python3 -m pytest -p no:cacheprovider -q -rs \
        --build="$build/plain" --slow --kills="${KILLS:-1000}" tests/system
    tail -n 1 "$build/slow-system-tests.log"
}

# --- coverage -----------------------------------------------------------------

part_coverage() {
    say "branches taken"
    has gcov || return
    # static: one object of each; -O0: the branches that were written
    one "coverage build" make_programs coverage --enable-coverage \
        --disable-shared CFLAGS='-O0 -g' || return
    find "$build/coverage" -name '*.gcda' -delete
    one "coverage unit tests" make -C "$build/coverage" -j"$jobs" check
    # but test_library: it links the installed library without gcov's
    [ -n "${UNIT_ONLY:-}" ] || one "coverage system tests" /usr/bin/python3 -m \
        pytest -p no:cacheprovider -q --build="$build/coverage" \
        --ignore=tests/system/test_library.py tests/system
    one "coverage report" tests/branches.py "$build/coverage" &&
        cat "$build/coverage-report.log"
}

[ $# -gt 0 ] || set -- lint fuzz valgrind slow coverage
for part in "$@"; do
    case $part in
    lint | fuzz | valgrind | slow | coverage) ;;
    *)
        echo "usage: $0 [lint] [fuzz] [valgrind] [slow] [coverage]" >&2
        exit 64
        ;;
    esac
done

mkdir -p "$build"
[ -x configure ] || one "autoreconf" autoreconf -fi || close
for part in "$@"; do
    "part_$part"
done
close
