#!/bin/bash
# quickstart.sh - foreman on this machine, from nothing, with a demonstration.
#
# usage: deploy/quickstart.sh [--once]
#   Installs what is missing (apt, as root or through sudo), builds, starts
#   Caddy, the responders and the worker in a directory of their own, shows a
#   streamed chat, embeddings beside it, and a job with signed webhooks, and
#   serves on FOREMAN_LISTEN (default :8080) until Ctrl-C.
#   --once: leave after the show; status 0 only if all of it worked.
#
# The target is FOREMAN_OLLAMA_URL if set, else an Ollama that answers on
# 127.0.0.1:11434, else the fake one of the tests. Other FOREMAN_* settings are
# passed on. Nothing is kept: the database goes when this ends.
# shellcheck disable=SC2317 # tidy is called by a trap
set -euo pipefail
cd "$(dirname "$0")/.."

once=false
case ${1-} in
'') ;;
--once) once=true ;;
*) sed -n '2,15s/^# \{0,1\}//p' "$0"; exit 64 ;;
esac

top=$PWD
build=$top/build/quickstart
run=''
pids=()

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

# quietly LOG COMMAND...: its output only if it fails.
quietly() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 || { tail -n 40 "$log" >&2; return 1; }
}

start() {
    local name=$1
    shift
    "$@" </dev/null >"$run/$name.log" 2>&1 &
    pids+=($!)
}

# await COMMAND...: until it succeeds; not if one of ours has ended.
await() {
    local pid tries=0
    until "$@"; do
        for pid in "${pids[@]}"; do
            kill -0 "$pid" 2>/dev/null || { logs; return 1; }
        done
        [ $((tries += 1)) -le 300 ] || { logs; return 1; }
        sleep 0.1
    done
}

logs() {
    local log
    for log in "$run"/*.log; do
        printf -- '--- %s\n' "${log##*/}"
        tail -n 20 "$log"
    done >&2
}

# answers URL: a GET gives a good status.
answers() {
    python3 -c '
import os, sys, urllib.request as http
token = os.environ.get("FOREMAN_API_TOKEN", "")
ask = http.Request(sys.argv[1], headers={"Authorization": "Bearer " + token})
http.urlopen(ask, timeout=2)' "$1" 2>/dev/null
}

tidy() {
    local pid
    trap '' INT TERM
    # the last started first: nobody is left without who it speaks to
    for ((pid = ${#pids[@]} - 1; pid >= 0; pid--)); do
        kill "${pids[pid]}" 2>/dev/null || true
    done
    wait
    [ -z "$run" ] || rm -rf "$run"
}
trap tidy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- build ---------------------------------------------------------------------

say 'What foreman needs'
deploy/deps.sh build run
echo 'is there'

say 'Building'
mkdir -p "$build"
[ -x configure ] || quietly "$build/autoreconf.log" autoreconf -fi
cd "$build"
[ -f Makefile ] || quietly configure.log "$top/configure"
quietly make.log make -j"$(nproc)" \
    foreman-responder foreman-worker tests/fake-ollama/fake-ollama
cd "$top"
echo "is done, in ${build#"$top"/}"

# --- start ---------------------------------------------------------------------

say 'Starting'
run=$(mktemp -d "${TMPDIR:-/tmp}/foreman.XXXXXX")
: "${FOREMAN_LISTEN:=:8080}" "${FOREMAN_WEBHOOK_ALLOW:=public,lan,loopback}"
export FOREMAN_LISTEN FOREMAN_WEBHOOK_ALLOW
export FOREMAN_DB=$run/foreman.db
export FOREMAN_SOCKET=$run/responder.sock FOREMAN_RELAY=$run/relay.sock
export XDG_CONFIG_HOME=$run XDG_DATA_HOME=$run
if [ -n "${FOREMAN_OLLAMA_URL-}" ]; then
    echo "the target is $FOREMAN_OLLAMA_URL"
elif answers http://127.0.0.1:11434/api/version; then
    export FOREMAN_OLLAMA_URL=http://127.0.0.1:11434
    echo "the target is the Ollama at $FOREMAN_OLLAMA_URL"
else
    start fake-ollama "$build/tests/fake-ollama/fake-ollama" \
        --listen 127.0.0.1:0 --load-ms 500 --token-ms 100 --tokens 20
    await grep -q 'listening on' "$run/fake-ollama.log"
    export FOREMAN_OLLAMA_URL
    FOREMAN_OLLAMA_URL=http://$(sed -n 's/.*listening on //p' "$run/fake-ollama.log")
    echo "no Ollama is here: the target is the tests' fake, $FOREMAN_OLLAMA_URL"
fi

start responder "$build/foreman-responder"
start worker "$build/foreman-worker"
# Caddy would take the host for a name: bind that address, serve every name.
host=${FOREMAN_LISTEN%:*}
[ -z "$host" ] || export CADDY_GLOBAL="default_bind $host" FOREMAN_LISTEN=":${FOREMAN_LISTEN##*:}"
case $(caddy version) in
2.[0-7].* | v2.[0-7].*) buffers=$'buffer_requests\nmax_buffer_size 4MiB' ;;
*) buffers='request_buffers 4MiB' ;;
esac
start caddy env FOREMAN_REQUEST_BUFFERS="${FOREMAN_REQUEST_BUFFERS-$buffers}" \
    caddy run --adapter caddyfile --config Caddyfile
port=${FOREMAN_LISTEN##*:}
base=http://${host:-localhost}:$port
await answers "$base/readyz"
echo "foreman is ready on $base"

# --- show ----------------------------------------------------------------------

status=0
python3 deploy/show.py "$base" || status=$?
[ "$status" -eq 0 ] || logs
if $once; then
    exit "$status"
fi

say "Serving on $base until Ctrl-C"
cat <<END
Point a client of Ollama there, or:
    curl $base/api/tags
    curl $base/queue
    sqlite3 -readonly $FOREMAN_DB 'SELECT * FROM history'
Logs are in $run
END
wait -n || true
say 'One of the programs has ended'
logs
exit 1
