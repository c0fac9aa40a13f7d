# Common to the scripts; to be sourced.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() {
    printf '%s\n' "== $*"
}

die() {
    printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2
    exit 1
}

need() {
    local tool

    for tool in "$@"; do
        command -v "$tool" >/dev/null \
            || die "$tool is not installed, run \"make deps\""
    done
}

# "major minor" of the Node.js found, "0 0" if there is none
node_version() {
    local v

    v=$(node --version 2>/dev/null) || v=v0.0.0
    v=${v#v}
    printf '%s %s\n' "${v%%.*}" "$(cut -d . -f 2 <<< "$v")"
}

# NGINX is in a directory that an ordinary user has not in PATH.
PATH=$PATH:/usr/sbin:/sbin
NGINX=${NGINX:-$(command -v nginx || echo /usr/sbin/nginx)}
