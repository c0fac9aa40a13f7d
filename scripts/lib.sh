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

# the Debian mirror among this machine's apt sources, nothing if there is none
debian_mirror() {
    apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' \
        'Created-By: Packages' \
        | awk '$1 == "Debian" && $2 == "Debian" && !n++ { print $3 }'
}

# apt_aside DIR deb|deb-src SUITE...: sets APT to an apt-get that has its lists
# in DIR and takes from these suites of Debian's signed archive alone; what the
# machine installs from stays as it is
apt_aside() {
    local dir=$1 type=$2 keyring uri suite

    shift 2
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    uri=$(debian_mirror)
    [ -n "$uri" ] || die "no Debian mirror among the apt sources"

    mkdir -p "$dir/parts" "$dir/lists/partial" "$dir/cache/archives/partial"

    for suite in "$@"; do
        printf '%s [signed-by=%s] %s %s main\n' "$type" "$keyring" "$uri" \
            "$suite"
    done > "$dir/sources.list"

    APT=(apt-get -qq -o "Dir::Etc::sourcelist=$dir/sources.list"
         -o "Dir::Etc::sourceparts=$dir/parts"
         -o "Dir::State::lists=$dir/lists" -o "Dir::Cache=$dir/cache"
         -o Acquire::Check-Valid-Until=false
         -o Acquire::Languages=none -o APT::Sandbox::User=root
         -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
         -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false)
}

# NGINX is in a directory that an ordinary user has not in PATH. It must not
# see this variable: it takes one of that name for inherited sockets and then
# stays in the foreground.
PATH=$PATH:/usr/sbin:/sbin
NGINX=${NGINX:-$(command -v nginx || echo /usr/sbin/nginx)}
export -n NGINX
