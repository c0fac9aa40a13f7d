#!/usr/bin/env bash
# build.sh: builds the module out of tree against the installed nginx-dev.
#   SAN=1        with AddressSanitizer and UndefinedBehaviorSanitizer
#   TEST=1       with what only tests need: late answers, kills, wipes
#   NGINX_SRC=   sources of another NGINX, with a conf_flags like nginx-dev's
#   OUT=         a directory other than build
# The result is build/ngx_centrifugo_module.so, with SAN=1 in build/asan, with
# TEST=1 in build/test, with both in build/asan-test.

. "$(dirname "$0")/lib.sh"

need gcc make
SRC=${NGINX_SRC:-/usr/share/nginx/src}
[ -f "$SRC/conf_flags" ] \
    || die "no NGINX headers in $SRC, run \"make deps\" (package nginx-dev)"

top=${OUT:-$ROOT/build}
out=$top
cc_opt="-g -O2"
ld_opt=

if [ -n "${SAN:-}" ]; then
    out=$top/asan
    cc_opt="-g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined"
    ld_opt="-fsanitize=address,undefined"
fi

unset NGX_CENTRIFUGO_TEST

if [ -n "${TEST:-}" ]; then
    if [ "$out" = "$top" ]; then out=$top/test
    else out=$out-test; fi
    export NGX_CENTRIFUGO_TEST=YES
fi

obj=$out/obj
mkdir -p "$obj"

# a changed list of sources or other flags need a new configure

stamp="$(cat "$ROOT/config" "$ROOT"/proto/*.proto) $cc_opt $(dpkg-query -W -f='${Version}' \
         nginx-dev 2>/dev/null || true)"

if [ ! -f "$obj/Makefile" ] || [ "$stamp" != "$(cat "$obj/stamp" 2>/dev/null)" ]; then
    (
        cd "$SRC"
        # shellcheck disable=SC1091
        . ./conf_flags
        bash ./configure --with-cc-opt="$cc_opt" --with-ld-opt="$ld_opt" \
            "${NGX_CONF_FLAGS[@]}" --add-dynamic-module="$ROOT" \
            --builddir="$obj"
    ) > "$obj/configure.log" 2>&1 \
        || { tail -n 20 "$obj/configure.log" >&2; die "configure failed"; }
    printf '%s' "$stamp" > "$obj/stamp"
fi

make -s -j"$(nproc)" -f "$obj/Makefile" -C "$SRC" modules \
    > "$obj/make.log" 2>&1 \
    || { grep -vE '^(cc|gcc|clang)|^\s+-' "$obj/make.log" >&2;
         die "the module did not compile"; }

if ! cmp -s "$obj/ngx_centrifugo_module.so" "$out/ngx_centrifugo_module.so"
then
    cp "$obj/ngx_centrifugo_module.so" "$out/ngx_centrifugo_module.so"
fi

say "built $out/ngx_centrifugo_module.so"
