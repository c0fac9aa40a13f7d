#!/usr/bin/env bash
# matrix.sh: builds the module with the NGINX of several Debian suites and runs
# the quick tests on each.
#   SUITES="bookworm trixie sid"    these suites, one NGINX each
# The sources are downloaded through apt lists of their own and built in
# build/matrix/<version>; nothing is installed from there. What is built
# already and has not changed is kept.

. "$(dirname "$0")/lib.sh"

need gcc make apt-get prove node npm

SUITES=${SUITES:-bookworm trixie sid}
E2E="sdk protocol websocket reload kill faults"
POINTS=SHARD_LOCKED,RING_WRITTEN,REAP_SHARD,WIPE_MARKED

MATRIX=$ROOT/build/matrix
FLAGS=(--with-compat --with-threads --with-pcre --with-http_ssl_module
       --with-http_v2_module --with-http_auth_request_module)

failed=
rows=()

# version of NGINX in a suite
version_in() {
    "${APT[@]}" source --print-uris --tar-only --only-source "nginx/$1" \
        | sed -n 's/.* nginx_\(.*\)\.orig\.tar\.[a-z0-9]* .*/\1/p'
}

# The pool may have lost what the lists name: then this one, whose checksum is
# that of the signed nginx_1.30.4-5.dsc.
fallback() {
    [ "$1" = sid ] || return 0
    echo "1.30.4 xz" \
         c069474bbe03be87917fdcad353c33d1a04e693a66fb74a822e06f5b3552cc21
}

# NGINX's own sources, without Debian's patches: each new revision of the
# package replaces these in the pool, before the lists may know of it
unpack() {
    local suite=$1 version=$2 dir=$3 other type sum file uri

    mkdir -p "$dir/download" "$dir/src"
    read -r other type sum <<< "$(fallback "$suite")"

    if [ "$version" = "$other" ]; then
        file=nginx_$version.orig.tar.$type
        uri=$(debian_mirror)
        curl -fsS -m 120 -o "$dir/download/$file" \
            "${uri%/}/pool/main/n/nginx/$file" \
            && (cd "$dir/download" && sha256sum --quiet -c <<< "$sum  $file")
    else
        (cd "$dir/download" \
            && "${APT[@]}" source --download-only --tar-only --only-source \
               "nginx/$suite")
    fi \
        && tar -xf "$dir"/download/nginx_*.orig.tar.* -C "$dir/src" \
           --strip-components=1 \
        && rm -r "$dir/download"
}

build_nginx() {
    local dir=$1 flags

    flags=("${FLAGS[@]}" "--prefix=$dir/prefix" --error-log-path=stderr)

    # in the form in which nginx-dev has them, for build.sh
    printf 'NGX_CONF_FLAGS=(%s )\n' "$(printf ' %q' "${flags[@]}")" \
        > "$dir/src/conf_flags"

    (cd "$dir/src" && bash ./configure "${flags[@]}" --with-cc-opt="-g -O2" \
        --builddir="$dir/nginx") > "$dir/configure.log" 2>&1 \
        && make -s -j"$(nproc)" -C "$dir/src" -f "$dir/nginx/Makefile" binary \
        > "$dir/make.log" 2>&1
}

# one NGINX of this version and with these flags, or the reason why there is
# none
prepare() {
    local suite=$1 version=$2 dir=$3 stamp

    stamp="$version ${FLAGS[*]} $(gcc -dumpfullversion)"
    [ "$stamp" != "$(cat "$dir/stamp" 2>/dev/null)" ] || return 0

    rm -rf "$dir"
    mkdir -p "$dir"
    say "$suite: download nginx $version"
    unpack "$suite" "$version" "$dir" \
        || { echo "nginx $version could not be downloaded" >&2; return 1; }
    say "$suite: build nginx $version"
    build_nginx "$dir" \
        || { tail -n 20 "$dir/configure.log" "$dir/make.log" >&2; return 1; }
    printf '%s' "$stamp" > "$dir/stamp"
}

# NGINX's own configure adds -Werror: a module that compiles has no warnings of
# the compiler, and what is counted is the linker's, or why it does not compile
build_module() {
    local dir=$1

    OUT=$dir NGINX_SRC=$dir/src "$ROOT/scripts/build.sh" \
        && TEST=1 OUT=$dir NGINX_SRC=$dir/src "$ROOT/scripts/build.sh"
}

warnings() {
    cat "$1"/obj/make.log "$1"/test/obj/make.log 2>/dev/null \
        | grep -cE '(warning|error): ' || true
}

run_tests() {
    local dir=$1 rc=0

    export TEST_NGINX_BINARY=$dir/nginx/nginx
    export NGX_CENTRIFUGO_MODULE=$dir/ngx_centrifugo_module.so
    export NGX_CENTRIFUGO_TEST_MODULE=$dir/test/ngx_centrifugo_module.so

    NGINX=$TEST_NGINX_BINARY timeout 300 \
        "$ROOT/scripts/test.sh" nginx -v > "$dir/prove.log" 2>&1 || rc=1

    # shellcheck disable=SC2086
    POINT=$POINTS timeout 900 "$ROOT/scripts/test.sh" e2e \
        $(printf '%s.test.mjs ' $E2E) > "$dir/e2e.log" 2>&1 || rc=1

    return $rc
}

# sum of what node says it counted, in either of its forms
counted() {
    sed -nE "s/^(#|ℹ) ($1) ([0-9]+)$/\3/p" "$2" \
        | awk '{ n += $1 } END { print n + 0 }'
}

passed() {
    echo $(($(grep -c '^ok ' "$1/prove.log") + $(counted pass "$1/e2e.log")))
}

not_passed() {
    echo $(($(grep -c '^not ok ' "$1/prove.log") \
            + $(counted 'fail|cancelled' "$1/e2e.log")))
}

row() {
    rows+=("$(printf '%-9s %-8s %9s %9s %7s %7s  %s' "$@")")
    [ "${!#}" = ok ] || failed=1
}

one() {
    local suite=$1 version dir size warned result=ok

    version=$(version_in "$suite")
    [ -n "$version" ] || { row "$suite" - - - - - "no nginx"; return; }
    dir=$MATRIX/$version

    if ! prepare "$suite" "$version" "$dir"; then
        read -r version _ <<< "$(fallback "$suite")"
        dir=$MATRIX/$version
        [ -n "$version" ] && prepare "$suite" "$version" "$dir"
    fi || { row "$suite" "$version" - - - - "no nginx"; return; }
    "$dir/nginx/nginx" -V > "$dir/nginx-V.log" 2>&1

    say "$suite: build the module with nginx $version"
    build_module "$dir" || result="not built"
    warned=$(warnings "$dir")

    if [ "$result" != ok ]; then
        row "$suite" "$version" - "$warned" - - "$result"
        return
    fi

    size=$(stat -c %s "$dir/ngx_centrifugo_module.so")
    [ "$warned" = 0 ] || result="warnings"

    say "$suite: test with nginx $version"
    run_tests "$dir" || {
        result="failed"
        grep -hE '^\s*not ok |^#   Failed|Dubious' "$dir/prove.log" \
            "$dir/e2e.log" >&2 || true
        echo "see $dir/prove.log and $dir/e2e.log" >&2
    }

    row "$suite" "$version" "$size" "$warned" "$(passed "$dir")" \
        "$(not_passed "$dir")" "$result"
}

# shellcheck disable=SC2086
apt_aside "$MATRIX/apt" deb-src $SUITES
say "apt-get update (sources of $SUITES)"
"${APT[@]}" update || die "the lists of sources could not be downloaded"

for suite in $SUITES; do
    one "$suite"
done

printf '\n%-9s %-8s %9s %9s %7s %7s\n' suite nginx "module" warnings passed \
    failed
printf '%s\n' "${rows[@]}"
[ -z "$failed" ] || die "not all is well"
