#!/bin/sh
# deps.sh - install the Debian packages foreman needs, where they are missing.
#
# usage: deploy/deps.sh build|run|test...
# As root, or through sudo. Does nothing, and needs no network, when all of
# them are there.
set -eu

packages() {
    case $1 in
    build) echo autoconf automake libtool pkg-config gcc libc6-dev make \
        libsqlite3-dev libcurl4-openssl-dev libcjson-dev libssl-dev libfcgi-dev ;;
    run) echo caddy python3 ;;
    test) echo python3-pytest python3-venv nodejs npm sqlite3 shellcheck xz-utils \
        iproute2 curl jq openssl mandoc ;;
    *) echo "usage: $0 build|run|test..." >&2; exit 64 ;;
    esac
}

installed() {
    # from elsewhere they are as good
    case $1 in
    caddy | npm) command -v "$1" >/dev/null && return ;;
    nodejs) command -v node >/dev/null && return ;;
    esac
    dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed
}

root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

missing=''
for group in "$@"; do
    for package in $(packages "$group"); do
        installed "$package" || missing="$missing $package"
    done
done
[ -n "$missing" ] || exit 0

echo "installing:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086
{
    root apt-get -qq -o DPkg::Lock::Timeout=300 update &&
        root env DEBIAN_FRONTEND=noninteractive apt-get -qq \
            -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $missing
} >"$log" 2>&1 || { cat "$log" >&2; exit 1; }

# Debian's caddy package starts a server of its own on port 80; ours is run by
# hand or by a unit of its own.
case $missing in
*' caddy'*)
    [ ! -d /run/systemd/system ] || root systemctl disable --now --quiet caddy
    ;;
esac
