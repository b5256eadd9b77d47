#!/bin/bash
# run.sh - everything that must hold, on a Debian with this repository.
#
# usage: tests/run.sh [PART...]
#   asan   build with ASan, UBSan and -Werror; unit and system tests, the Go
#          module's
#   tsan   build with TSan; unit tests, system tests of what has threads
#   dist   make distcheck: what is shipped builds, passes and installs by itself
# All of them without arguments. Installs what is missing, builds below
# build/tests (or $BUILD), and closes with the line
#   N passed, N failed, N skipped
# A sanitizer's report is a failure, whoever wrote it.
# shellcheck disable=SC2317 # functions are also called through one()
set -u
cd "$(dirname "$0")/.." || exit 1

top=$PWD
build=${BUILD:-$top/build/tests}
jobs=$(nproc)
export PYTHONDONTWRITEBYTECODE=1
# shellcheck source=tests/steps.sh
. tests/steps.sh

# make_programs NAME OPTION...: configure and build in $build/NAME.
make_programs() (
    mkdir -p "$build/$1" && cd "$build/$1" && shift || exit
    "$top/configure" "$@" && make -j"$jobs" && make -j"$jobs" check TESTS=
)

# count WORD: the number before or after WORD in the text on stdin; 0 if none.
count() { awk -v word="$1" '{ for (i = 1; i <= NF; i++) { w = $i
    gsub(/[,:]/, "", w); if (w == word) n += $(i + (word ~ /^[A-Z]/ ? 1 : -1)) } }
    END { print n + 0 }'; }

# unit NAME [TESTS]: make check in $build/NAME, its TAP cases summed.
unit() {
    local dir=$build/$1 log=$build/$1-unit.log summary
    say "unit tests, $1"
    make -C "$dir" -j"$jobs" check ${2:+"TESTS=$2"} >"$log" 2>&1
    summary=$(grep -E '^# (PASS|FAIL|XPASS|ERROR|SKIP|XFAIL): ' "$log")
    if [ -z "$summary" ]; then
        failed=$((failed + 1))
        tail -n 40 "$log"
        return
    fi
    grep -E '^(FAIL|ERROR|XPASS):' "$log"
    grep -E -A2 'not so:|Sanitizer' "$dir/test-suite.log"
    tally "$(count PASS <<<"$summary")" \
        $(($(count FAIL <<<"$summary") + $(count ERROR <<<"$summary") +
            $(count XPASS <<<"$summary"))) "$(count SKIP <<<"$summary")"
}

# pytests LOG ARGUMENT...: Python tests; quiet, what they say is in the log.
pytests() {
    /usr/bin/python3 -m pytest -p no:cacheprovider -q -rfEs "${@:2}" >"$1" 2>&1
}

# told LOG: show and count what Python tests said.
told() {
    local last
    grep -vE '^\.* *\[ *[0-9]+%\]$' "$1"
    last=$(tail -n 1 "$1")
    case $last in
    *passed* | *failed* | *error*)
        tally "$(count passed <<<"$last")" \
            $(($(count failed <<<"$last") + $(count error <<<"$last") +
                $(count errors <<<"$last"))) "$(count skipped <<<"$last")"
        ;;
    *) failed=$((failed + 1)) ;;
    esac
}

# system NAME [MARK]: the system tests against $build/NAME's programs. They
# mostly wait, so two runs share their files; --limit: none waits for ever.
system() {
    local run share=$build/$1-share
    say "system tests, $1"
    rm -rf "$share" && mkdir "$share" || exit
    for run in 1 2; do
        pytests "$build/$1-system-$run.log" --build="$build/$1" --share="$share" \
            --limit=600 ${2:+-m "$2"} "$top/tests/system" &
    done
    wait
    for run in 1 2; do
        told "$build/$1-system-$run.log"
    done
}

# fake NAME: does $build/NAME's fake Ollama behave like the real one?
fake() {
    say "the fake Ollama, $1"
    FAKE_OLLAMA=$build/$1/tests/fake-ollama/fake-ollama \
        pytests "$build/$1-fake.log" "$top/tests/fake-ollama/test_fake.py"
    told "$build/$1-fake.log"
}

# has_go: Go is here, and new enough; nothing is fetched to make it so.
has_go() {
    export GOTOOLCHAIN=local GOPROXY=off
    command -v go >/dev/null &&
        printf 'go1.26\n%s\n' "$(go env GOVERSION)" | sort -VC
}

go_format() { [ -z "$(gofmt -l . | tee /dev/stderr)" ]; }

# golang NAME: the Go module against $build/NAME's programs. Each test, subtest
# and example counts.
golang() {
    local log=$build/$1-golang.log status
    say "the Go module, $1"
    if ! has_go; then
        echo "SKIPPED: there is no Go 1.26 here; src/go is not tested"
        skipped=$((skipped + 1))
        return
    fi
    cd src/go || return
    one "gofmt" go_format
    one "go build" go build ./...
    one "go vet" go vet ./...
    one "go mod tidy" go mod tidy -diff # it would change nothing
    FOREMAN_BUILD=$build/$1 go test -race -count=1 -v ./... >"$log" 2>&1
    status=$?
    cd "$top" || exit
    grep -E '^ *--- (FAIL|SKIP)|^(SKIPPED|FAIL|panic)' "$log"
    if [ "$status" -ne 0 ]; then
        tail -n 60 "$log"
        # one that never began has no line of its own
        grep -qE '^ *--- FAIL' "$log" || failed=$((failed + 1))
    fi
    tally "$(grep -cE '^ *--- PASS' "$log")" "$(grep -cE '^ *--- FAIL' "$log")" \
        "$(grep -cE '^ *--- SKIP|^SKIPPED' "$log")"
}

tally() {
    echo "$1 passed, $2 failed, $3 skipped"
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + $3))
}

# no_reports NAME: nothing was written by a sanitizer during the unit tests.
# (Each system test looks after its own daemons' reports.)
no_reports() { ! tail -n 60 "$build/$1".report.* 2>/dev/null; }

sanitize() {
    local to=log_path=$build/$1.report
    rm -f "$build/$1".report.*
    export ASAN_OPTIONS=$to:detect_stack_use_after_return=1:strict_string_checks=1
    export UBSAN_OPTIONS=$to:print_stacktrace=1
    # leaving at once (_exit) lets threads go unjoined, on purpose
    export TSAN_OPTIONS=$to:second_deadlock_stack=1:report_thread_leaks=0
}

part_asan() {
    say "programs with ASan and UBSan"
    one "asan build" make_programs asan --enable-werror --enable-asan \
        CFLAGS='-O1 -g' || return
    sanitize asan
    unit asan
    fake asan
    system asan
    golang asan
    one "asan is quiet" no_reports asan
}

part_tsan() {
    say "programs with TSan"
    one "tsan build" make_programs tsan --enable-werror --enable-tsan \
        CFLAGS='-O1 -g' || return
    sanitize tsan
    # shellcheck disable=SC2016 # make expands it
    unit tsan '$(threaded_tests)'
    system tsan threads
    one "tsan is quiet" no_reports tsan
}

part_dist() {
    say "what is shipped"
    unset ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS
    one "dist build" make_programs dist --enable-werror &&
        one "distcheck" make -C "$build/dist" -j"$jobs" distcheck
}

[ $# -gt 0 ] || set -- asan tsan dist
for part in "$@"; do
    case $part in
    asan | tsan | dist) ;;
    *) echo "usage: $0 [asan] [tsan] [dist]" >&2; exit 64 ;;
    esac
done

mkdir -p "$build"
deploy/deps.sh build run test || { failed=1; close; }
one "autoreconf" autoreconf -fi || close
one "shellcheck" shellcheck deploy/*.sh tests/*.sh .ci/run
one "Caddyfile" caddy validate --adapter caddyfile --config Caddyfile
for part in "$@"; do
    case $part in
    asan) part_asan ;;
    tsan) part_tsan ;;
    dist) part_dist ;;
    esac
done
close
