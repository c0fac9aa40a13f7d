#!/usr/bin/env bash
# test.sh lint|unit|nginx|e2e|sanitize: one part of the tests.
# test.sh nginx OPTION...      with more options for prove
# test.sh e2e FILE...          these files of t/e2e instead of all

. "$(dirname "$0")/lib.sh"

export NGX_CENTRIFUGO_MODULE=${NGX_CENTRIFUGO_MODULE:-$ROOT/build/ngx_centrifugo_module.so}

lint() {
    local bad=0 files

    need cppcheck
    mapfile -t files < <(find "$ROOT/src" -name '*.[ch]')
    files+=("$ROOT/ngx_centrifugo_module.c")

    # NGINX's own style: no tabs, no blanks at the end, 80 columns

    if grep -nP '\t|[ ]+$|^.{81,}' "${files[@]}"; then
        bad=1
    fi

    cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c99 \
        --enable=warning,portability \
        --suppress=missingInclude --suppress=missingIncludeSystem \
        --suppress=uninitvar:*ngx_centrifugo_shard.c \
        "${files[@]}" || bad=1

    for f in "$ROOT"/scripts/*.sh "$ROOT"/.ci/run; do
        bash -n "$f" || bad=1
    done

    [ $bad = 0 ] || die "lint found something"
    say "lint: ok"
}

case "${1:-}" in
lint)
    lint
    ;;
unit)
    make -s -C "$ROOT/t/unit" test
    ;;
nginx)
    need prove "$NGINX"
    cd "$ROOT"
    TEST_NGINX_BINARY=$NGINX TEST_NGINX_SERVROOT=$(mktemp -d)/servroot \
        prove "${@:2}" t/
    ;;
e2e | sanitize)
    if [ "$1" = sanitize ]; then
        export NGX_CENTRIFUGO_MODULE=$ROOT/build/asan/ngx_centrifugo_module.so
        export NGX_CENTRIFUGO_TEST_MODULE=$ROOT/build/asan-test/ngx_centrifugo_module.so
        NGINX_LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
        export NGINX_LD_PRELOAD

        # NGINX itself does not free all at its end
        export ASAN_OPTIONS=detect_leaks=0:abort_on_error=0
        export UBSAN_OPTIONS=print_stacktrace=1
    fi

    need node npm
    for d in t/e2e examples/quickstart; do
        [ -d "$ROOT/$d/node_modules" ] \
            || (cd "$ROOT/$d" && npm ci --no-audit --no-fund --silent)
    done
    cd "$ROOT/t/e2e"
    files=("${@:2}")
    [ $# -gt 1 ] || files=(./*.test.mjs)
    node --test --test-concurrency=1 "${files[@]}"

    # whatever has clients once more with Protobuf clients

    if [ "$*" = e2e ]; then
        mapfile -t files < <(grep -lE "lib/(client|sdk|follower|room)\.mjs" \
                                  ./*.test.mjs)
        PROTOCOL=protobuf node --test --test-concurrency=1 "${files[@]}"
    fi
    ;;
*)
    die "usage: test.sh lint|unit|nginx|e2e|sanitize"
    ;;
esac
