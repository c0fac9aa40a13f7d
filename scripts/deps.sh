#!/usr/bin/env bash
# deps.sh run|check|test|matrix|model: installs by apt what is missing to build
# and run the module, to check it, to test it in full, to try it with other
# versions of NGINX, or to check its models. Starts no service.

. "$(dirname "$0")/lib.sh"

NODE_MIN=18

BUILD="gcc libc6-dev make pkg-config libssl-dev zlib1g-dev
       libpcre2-dev libprotobuf-c-dev protobuf-c-compiler ca-certificates
       openssl"
RUN="$BUILD nginx nginx-dev libnginx-mod-http-js curl"
CHECK="clang-14 libclang-rt-14-dev cppcheck perl libyajl-dev"
TEST="chromium python3 python3-jwt php-cli ruby"
MATRIX="xz-utils debian-archive-keyring perl curl"

SUDO=
POLICY=/usr/sbin/policy-rc.d
made_policy=
updated=
tmp=

cleanup() {
    [ -z "$made_policy" ] || $SUDO rm -f "$POLICY"
    [ -z "$tmp" ] || rm -rf "$tmp"
}

trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

as_root() {
    [ "$(id -u)" != 0 ] || return 0
    command -v sudo >/dev/null || die "not root and no sudo: cannot install $*"
    SUDO=sudo
}

update() {
    [ -z "$updated" ] || return 0
    say "apt-get update"
    $SUDO apt-get update -qq || die "apt-get update failed"
    updated=1
}

install() {
    as_root "$*"

    # invoke-rc.d asks this file whether it may start a service
    if [ ! -e "$POLICY" ]; then
        printf '#!/bin/sh\nexit 101\n' | $SUDO tee "$POLICY" >/dev/null
        made_policy=1
        $SUDO chmod 755 "$POLICY"
    fi

    update
    say "apt-get install $*"
    $SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends -o Dpkg::Use-Pty=0 "$@" \
        || die "apt-get install failed"
}

missing_packages() {
    local have

    have=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "$@" \
           2>/dev/null | sed -n 's/ installed$//p') || true

    for p in "$@"; do
        grep -qxF "$p" <<< "$have" || printf '%s\n' "$p"
    done
}

# Test::Nginx is packaged in Debian sid only. One file is taken from there,
# through lists of its own, checked against the signed archive; what it
# depends on comes from the sources of this machine.
install_test_nginx() {
    local deb

    ! perl -MTest::Nginx::Socket -e 1 2>/dev/null || return 0

    as_root libtest-nginx-perl
    update
    say "apt-get download libtest-nginx-perl (from sid)"
    tmp=$(mktemp -d)
    chmod 755 "$tmp"
    apt_aside "$tmp" deb sid

    (cd "$tmp" && "${APT[@]}" update \
        && "${APT[@]}" download libtest-nginx-perl) \
        || die "libtest-nginx-perl could not be downloaded"
    deb=$(echo "$tmp"/libtest-nginx-perl_*.deb)
    install "$deb"
    perl -MTest::Nginx::Socket -e 1 || die "Test::Nginx does not load"
}

[ -x /usr/bin/apt-get ] || die "apt is needed (Debian 12 or later)"

case "${1:-}" in
run)   packages=$RUN ;;
check) packages="$RUN $CHECK" ;;
test)  packages="$RUN $CHECK $TEST" ;;
matrix) packages="$BUILD $MATRIX" ;;
model) packages="gcc libc6-dev make spin" ;;
*)     die "usage: deps.sh run|check|test|matrix|model" ;;
esac

# shellcheck disable=SC2086
list=$(missing_packages $packages)

if [ "$1" = model ]; then
    # shellcheck disable=SC2086
    [ -z "$list" ] || install $list
    exit 0
fi

read -r major _ <<< "$(node_version)"

if [ "$major" -lt $NODE_MIN ]; then
    list="$list nodejs"
fi

command -v npm >/dev/null || list="$list npm"

if [ -n "${list//[[:space:]]/}" ]; then
    # shellcheck disable=SC2086
    install $list
fi

if [ "$1" != run ]; then
    install_test_nginx
fi

# the mirror is known by what apt has lists of
if [ "$1" = matrix ] && [ -z "$(debian_mirror)" ]; then
    as_root "what is missing"
    update
fi

hash -r
read -r major _ <<< "$(node_version)"
[ "$major" -ge $NODE_MIN ] \
    || die "Node.js $NODE_MIN or later is needed, $(command -v node) is" \
           "$(node --version)"
