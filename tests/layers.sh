#!/bin/sh
# layers.sh - which way the includes point, as TAP.
#
# Each layer may include itself and what is left of it; neighbours split by '|'
# never include each other:
#     base <- core <- store | http | fcgi <- responder | worker
#     base <- core <- http <- client <- cli
# and each library's header has one door. The linker catches calls that go the
# wrong way (tests/local.mk); this reads the #include lines, and, among the
# objects that were built, who calls whom: no module one that calls it, however
# many lie between.
set -u

objects=$(cd "${builddir:-.}" && pwd)/src

cd "${srcdir:-$(dirname "$0")/..}/src" || { echo 'Bail out! no sources'; exit 1; }
count=0
failed=0

# report NAME OFFENCES: one test, which passes when there are no offences.
report() {
    count=$((count + 1))
    if [ -z "$2" ]; then
        echo "ok $count - $1"
    else
        echo "not ok $count - $1"
        printf '%s\n' "$2" | sed 's/^/# /'
        failed=1
    fi
}

# includes PATH...: "file:line:header" of every #include below the paths.
includes() {
    find "$@" -name '*.[ch]' -exec \
        grep -HnE '^[[:space:]]*#[[:space:]]*include' {} + |
        sed -E 's/:[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]([^>"]*)[>"].*/:\1/'
}

# layer NAME ALLOWED: NAME's includes of ours name only layers in ALLOWED, a
# regular expression of alternatives.
layer() {
    report "$1 includes only $(echo "$2" | tr '|' ' ')" \
        "$(includes "$1" | grep -E ':[a-z]+/[a-z]+\.h$' |
            grep -E ":($ours)/" | grep -vE ":($2)/")"
}

# door LIBRARY HEADER PLACE: HEADER is included only by files below PLACE; both
# are regular expressions.
door() {
    report "$1 has one door" \
        "$(includes . | grep -E ":$2\$" | grep -vE "^\./$3")"
}

# callers: "module module" of every call from one to another.
callers() {
    find "$objects" -name 'lib*_la-*.o' ! -name 'libforeman_*' ! -path '*/.libs/*' \
        -exec nm -A {} + 2>/dev/null |
        sed -E 's,^.*/([a-z]+)/lib[a-z]+_la-([a-z0-9_]+)\.o:,\1/\2 ,' |
        awk '$(NF - 1) == "T" { owner[$NF] = $1 }
            $(NF - 1) == "U" { user[++n] = $1; used[n] = $NF }
            END { for (i = 1; i <= n; i++) {
                to = owner[used[i]]
                if (to != "" && to != user[i]) print user[i], to } }'
}

# circles: what tsort says of calls that come back; nothing when none does.
circles() { { callers | tsort >/dev/null; } 2>&1; }

ours='base|core|store|http|fcgi|responder|worker|client|cli'
core='base|core'

echo 1..17

layer base base
layer core "$core"
layer store "$core|store"
layer http "$core|http"
layer fcgi "$core|fcgi"
layer responder "$core|store|http|fcgi|responder"
layer worker "$core|store|http|worker"
layer client "$core|http|client"
layer cli "$core|store|http|client|cli"

door sqlite 'sqlite3\.h' 'store/'
door curl 'curl/.*' 'http/'
door fcgi2 'fcgi[a-z_]*\.h' 'fcgi/'
door cJSON 'cjson/.*' 'base/json\.h:'
door libcrypto 'openssl/.*' 'base/sha\.c:'

report 'every layer is one of those above' \
    "$(find . -mindepth 1 -maxdepth 1 -type d | grep -vE "^\./($ours|go)\$")"
report 'our own headers are included with their layer' \
    "$(find . -name '*.[ch]' -exec grep -HnE '#[[:space:]]*include "[^/"]*"' {} +)"

if [ -n "$(callers)" ]; then
    report 'no module calls one that calls it' "$(circles)"
else
    count=$((count + 1))
    echo "ok $count - no module calls one that calls it # SKIP nothing was built here"
fi

exit "$failed"
