# steps.sh - steps that count as tests; tests/run.sh and nightly.sh read it.
#
# They set `build`, where logs go, first.
# shellcheck shell=bash disable=SC2154

passed=0
failed=0
skipped=0

say() { printf '\n== %s\n' "$*"; }

# one NAME COMMAND...: a step that counts as one test.
one() {
    local name=$1 start=$SECONDS log
    shift
    log=$build/${name//[ \/]/-}.log
    if "$@" >"$log" 2>&1; then
        passed=$((passed + 1))
        echo "ok: $name ($((SECONDS - start)) s)"
    else
        failed=$((failed + 1))
        echo "FAILED: $name; the end of $log:"
        tail -n 60 "$log"
        return 1
    fi
}

# The last line comes whatever happens, and says what the status says.
close() {
    echo
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}
