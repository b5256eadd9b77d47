#!/bin/sh
# pull-models.sh - the models foreman needs, on the target, and both slots kept.
#
# usage: deploy/pull-models.sh [--update] [--set] MODEL...
#   Pulls the worker models named, and the embedder FOREMAN_EMBED_MODEL if that
#   is set, with FOREMAN_OLLAMA_URL's Ollama (default http://127.0.0.1:11434).
#   Then loads the embedder and the first MODEL, and sees whether both stay.
#   What is there already is not pulled again.
#   --update  ask the registry for all of them, newer ones are fetched
#   --set     on Linux, on the target itself: give Ollama's systemd unit the two
#             settings below and restart it. Elsewhere it says what to do
#
#   OLLAMA_MAX_LOADED_MODELS=2  a slot for the embedder, one that rotates
#   OLLAMA_KEEP_ALIVE=30m       a worker model outlives a pause. Not -1: what is
#                               kept for ever is the embedder, and a model with
#                               less time left is the one Ollama puts out first
#
# FOREMAN_OLLAMA_TOKEN (or _FILE) is sent as foreman sends it. Needs sh, curl and
# nothing else. Status 0: all are there and both stay resident.
set -eu

url=${FOREMAN_OLLAMA_URL:-http://127.0.0.1:11434}
url=${url%/}
embedder=${FOREMAN_EMBED_MODEL-}
dropin=${OLLAMA_DROPIN:-/etc/systemd/system/ollama.service.d/foreman.conf}
slots=2
keep=30m
update=false
set_slots=false

usage() { sed -n '4,/^set -eu/s/^# \{0,1\}//p' "$0"; }
die() { echo "pull-models: $*" >&2; exit 1; }

while [ $# -gt 0 ]; do
    case $1 in
    --update) update=true ;;
    --set) set_slots=true ;;
    --help) usage; exit 0 ;;
    -*) usage >&2; exit 64 ;;
    *) break ;;
    esac
    shift
done
[ $# -gt 0 ] || [ -n "$embedder" ] || $set_slots || { usage >&2; exit 64; }
for model in "$@" $embedder; do
    case $model in
    *[!A-Za-z0-9._:/@-]*) echo "pull-models: '$model' is no model's name" >&2; exit 64 ;;
    esac
done

# The token goes by a file: the list of processes shows arguments to everybody.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
token=${FOREMAN_OLLAMA_TOKEN-}
[ -z "${FOREMAN_OLLAMA_TOKEN_FILE-}" ] || token=$(cat "$FOREMAN_OLLAMA_TOKEN_FILE")
(umask 077; echo 'Content-Type: application/json'
 [ -z "$token" ] || echo "Authorization: Bearer $token") >"$work/headers"

# ask PATH [BODY]: the answer, and failure for a status of 400 and above.
ask() {
    curl -sS --fail-with-body --connect-timeout 10 -H "@$work/headers" \
        ${2+-d "$2"} "$url$1"
}

# field NAME JSON: the string or number behind the name, of the first there is.
field() {
    case $2 in *"\"$1\":"*) ;; *) return 0 ;; esac
    rest=${2#*\""$1"\":}
    case $rest in
    \"*) rest=${rest#\"}; printf %s "${rest%%\"*}" ;;
    *) printf %s "${rest%%[,\}]*}" ;;
    esac
}

# --- pulling -------------------------------------------------------------------

# On a terminal one line that is written over; else a line a step.
show() {
    if [ -t 1 ]; then
        printf '\r\033[K%s: %s' "$1" "$2"
    elif [ "$2" != "$shown" ]; then
        echo "$1: $2"
    fi
    shown=$2
}

# The answer's lines on stdin: {"status":"pulling abc…","total":9,"completed":3}.
progress() {
    shown=''
    status=''
    while IFS= read -r line; do
        error=$(field error "$line")
        if [ -n "$error" ]; then
            status=failed
            show "$1" "$error"
            continue
        fi
        status=$(field status "$line")
        total=$(field total "$line")
        if [ "${total:-0}" -gt 0 ]; then
            got=$(field completed "$line")
            percent=$((${got:-0} * 100 / total))
            [ -t 1 ] || percent=$((percent / 10 * 10))
            show "$1" "$status, $percent % of $((total / 1000000)) MB"
        else
            show "$1" "$status"
        fi
    done
    [ ! -t 1 ] || echo
    [ "$status" = success ]
}

pull() {
    if ! $update && ask /api/show "{\"model\":\"$1\"}" >"$work/show" 2>&1; then
        echo "$1: is there"
        return
    fi
    # no time limit: silence is the registry's, and curl ends with the answer
    curl -sSN --connect-timeout 10 -H "@$work/headers" \
        -d "{\"model\":\"$1\",\"stream\":true}" "$url/api/pull" |
        progress "$1" || die "$1 was not pulled"
}

# --- the two settings ----------------------------------------------------------

explain() {
    cat <<END
On the target, Ollama needs
    OLLAMA_MAX_LOADED_MODELS=$slots
    OLLAMA_KEEP_ALIVE=$keep
Linux:  deploy/pull-models.sh --set, there; or by hand
            sudo systemctl edit ollama      # [Service]
                                            # Environment=OLLAMA_MAX_LOADED_MODELS=$slots
                                            # Environment=OLLAMA_KEEP_ALIVE=$keep
            sudo systemctl restart ollama
macOS:  launchctl setenv OLLAMA_MAX_LOADED_MODELS $slots
        launchctl setenv OLLAMA_KEEP_ALIVE $keep
        then quit and start Ollama; deploy/macos.md makes it last
END
}

set_here() {
    if [ "$(uname)" != Linux ] || ! command -v systemctl >/dev/null; then
        explain
        return
    fi
    wanted="# two slots for foreman: the embedder's, and one that rotates
[Service]
Environment=OLLAMA_MAX_LOADED_MODELS=$slots
Environment=OLLAMA_KEEP_ALIVE=$keep"
    if [ "$(cat "$dropin" 2>/dev/null)" = "$wanted" ]; then
        echo "settings: are there, in $dropin"
        return
    fi
    systemctl cat ollama.service >/dev/null 2>&1 ||
        die "--set: this machine has no ollama.service"
    if ! { mkdir -p "$(dirname "$dropin")" && echo "$wanted" >"$dropin"; }; then
        die "--set: cannot write $dropin (as root?)"
    fi
    systemctl daemon-reload
    systemctl restart ollama.service
    echo "settings: written to $dropin, Ollama restarted"
}

await_target() {
    tries=0
    until ask /api/version >"$work/version" 2>"$work/why"; do
        tries=$((tries + 1))
        [ $tries -lt "$1" ] || die "no Ollama at $url: $(cat "$work/why")"
        sleep 1
    done
    echo "Ollama $(field version "$(cat "$work/version")") at $url"
}

# --- do both stay? -------------------------------------------------------------

# resident MODEL: /api/ps names it; an untagged name means its :latest.
resident() {
    case $1 in *:*) name=$1 ;; *) name=$1:latest ;; esac
    grep -qiF "\"$name\"" "$work/ps"
}

# load MODEL PATH BODY
load() {
    echo "$1: loading"
    ask "$2" "$3" >"$work/load" || die "$1 does not load: $(cat "$work/load")"
}

check_slots() {
    [ -z "$embedder" ] ||
        load "$embedder" /api/embed "{\"model\":\"$embedder\",\"input\":[],\"keep_alive\":-1}"
    [ $# -eq 0 ] || load "$1" /api/generate "{\"model\":\"$1\",\"stream\":false}"
    ask /api/ps >"$work/ps" || die "/api/ps: $(cat "$work/ps")"
    for model in ${1+"$1"} $embedder; do
        if ! resident "$model"; then
            explain >&2
            die "$model did not stay loaded beside the other"
        fi
        echo "$model: is resident"
    done
}

if $set_slots; then
    set_here
    await_target 30
else
    await_target 1
fi
for model in "$@" $embedder; do
    pull "$model"
done
check_slots "$@"
if [ $# -eq 0 ] || [ -z "$embedder" ]; then
    echo "one model only: whether two stay was not tried"
else
    echo "both stay resident"
fi
