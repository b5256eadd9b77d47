#!/bin/sh
# receiver.sh - one webhook on stdin, its answer on stdout; what is signed is
# kept as a file of the directory WEBHOOK_SPOOL, named by its webhook-id.
#
#   export WEBHOOK_SECRET=whsec_… WEBHOOK_SPOOL=/var/spool/webhooks
#   socat -T 10 TCP-LISTEN:8088,bind=127.0.0.1,reuseaddr,fork EXEC:./receiver.sh
set -uf

tolerance_s=300   # how old, or early, an attempt may be
max_body=1048576  # bytes; more where jobs ask for "artifact": "inline"

id='' timestamp='' signatures='' length=''

answer() {
    printf 'HTTP/1.1 %s\r\nConnection: close\r\n' "$1"
    case $1 in 204*) ;; *) printf 'Content-Length: 0\r\n' ;; esac
    printf '\r\n'
    exit
}

# number TEXT: is it one, of at most 10 digits?
number() { case $1 in '' | *[!0-9]* | ???????????*) return 1 ;; esac; }

# The key of an HMAC, its 64 bytes XORed with $1. openssl's own HMAC would have the
# secret among its arguments, for all to see.
key() {
    digits=$(printf %s "${WEBHOOK_SECRET#whsec_}" | base64 -d | od -An -v -tx1 | tr -d ' \n')
    n=0
    while [ $((n += 1)) -le 64 ]; do
        byte=0x${digits%"${digits#??}"}
        [ "$byte" != 0x ] || byte=0
        digits=${digits#??}
        byte=$((byte ^ $1))
        # shellcheck disable=SC2059
        printf "\\$((byte >> 6))$((byte >> 3 & 7))$((byte & 7))"
    done
}

sha256() { openssl dgst -sha256 -binary; }

# same A B: in a time that tells nothing of where they differ.
same() {
    salt=$(openssl rand -hex 16)
    [ "$(printf %s "$salt$1" | sha256 | base64)" = "$(printf %s "$salt$2" | sha256 | base64)" ]
}

cr=$(printf '\r')
read -r _
while IFS= read -r line && line=${line%"$cr"} && [ -n "$line" ]; do
    value=${line#*:}
    value=${value# }
    case $(printf %s "${line%%:*}" | tr '[:upper:]' '[:lower:]') in
    webhook-id) id=$value ;;
    webhook-timestamp) timestamp=$value ;;
    webhook-signature) signatures=$value ;;
    content-length) length=$value ;;
    esac
done
number "$length" || answer '400 Bad Request'
[ "$length" -le "$max_body" ] || answer '400 Bad Request'
number "$timestamp" || answer '400 Bad Request'
case $id in '' | *[!A-Za-z0-9_-]*) answer '400 Bad Request' ;; esac
age=$(($(date +%s) - $(printf %s "$timestamp" | sed 's/^0*\(.\)/\1/')))
[ "${age#-}" -le "$tolerance_s" ] || answer '401 Unauthorized'

body=$(mktemp "$WEBHOOK_SPOOL/.new.XXXXXX") || answer '500 Internal Server Error'
trap 'rm -f "$body"' EXIT
head -c "$length" >"$body"
want=$({ key 0x5c; { key 0x36; printf '%s.%s.' "$id" "$timestamp"; cat "$body"; } | sha256; } |
    sha256 | base64)
# several while secrets are exchanged; one that fits is enough
for entry in $signatures; do
    if same "$entry" "v1,$want"; then
        # the work: and a repeat finds it done
        ln "$body" "$WEBHOOK_SPOOL/$id" 2>/dev/null || [ -e "$WEBHOOK_SPOOL/$id" ] ||
            answer '500 Internal Server Error'
        answer '204 No Content'
    fi
done
answer '401 Unauthorized'
