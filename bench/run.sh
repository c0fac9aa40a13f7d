#!/usr/bin/env bash
# run.sh [SCENARIO ...]: what the module costs on this machine. Each scenario
# has an NGINX of its own, on a free port, in a directory that is removed.
#
#   WORKERS      of NGINX (1)
#   CLIENTS      of the scenarios without publications (10000)
#   IDLE         seconds, of the scenario "ping" (30)
#   SECONDS_RUN  of the others (5)
#   KEEP=1       leaves the directory where it is

set -euo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
PATH=$PATH:/usr/sbin:/sbin
NGINX=${NGINX:-$(command -v nginx || echo /usr/sbin/nginx)}
MODULE=${NGX_CENTRIFUGO_MODULE:-$ROOT/build/ngx_centrifugo_module.so}
OUT=$ROOT/build/bench
LOAD=$OUT/cfload

WORKERS=${WORKERS:-1}
CLIENTS=${CLIENTS:-10000}
IDLE=${IDLE:-30}
SECONDS_RUN=${SECONDS_RUN:-5}
KEY=$RANDOM$RANDOM$RANDOM

prefix=
pid=
failed=0

die() {
    printf 'bench: %s\n' "$*" >&2
    exit 1
}

stop() {
    [ -z "$pid" ] || { kill "$pid" 2>/dev/null && wait "$pid"; } || true
    pid=
    if [ -n "$prefix" ]; then
        if [ -n "${KEEP:-}" ]; then echo "kept: $prefix" >&2
        else rm -rf "$prefix"; fi
    fi
    prefix=
}

trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# the files that one process of NGINX and one of cfload need

files() {
    local most per need

    most=$CLIENTS
    [ "$most" -ge 1000 ] || most=1000
    per=$(( (most + WORKERS - 1) / WORKERS ))

    # the kernel spreads connections unevenly over workers
    [ "$WORKERS" = 1 ] || per=$(( per + per / 5 ))

    # NGINX closes connections that have not sent a request yet when fewer
    # than a sixteenth of worker_connections is free
    connections=$(( per + per / 8 + 200 ))
    need=$(( connections + 100 ))

    ulimit -n "$need" 2>/dev/null || [ "$(ulimit -n)" -ge "$need" ] \
        || die "$need open files are needed in each process and" \
               "$(ulimit -Hn) are allowed: raise the limit (ulimit -n" \
               "$need as root, or LimitNOFILE), or try" \
               "fewer CLIENTS (now $CLIENTS) or more WORKERS (now $WORKERS)"
}

free_port() {
    local n

    for n in {1..100}; do
        port=$(( 12000 + RANDOM % 20000 ))
        # nobody listens where nothing can be reached
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || return 0
    done

    die "no free port"
}

b64() {
    openssl base64 -A | tr '+/' '-_' | tr -d '='
}

jwt() {
    local text

    text=$(printf '{"alg":"HS256","typ":"JWT"}' | b64)
    text=$text.$(printf '{"sub":"bench"}' | b64)
    printf '%s.%s' "$text" "$(printf '%s' "$text" \
        | openssl dgst -sha256 -hmac "$KEY" -binary | b64)"
}

start() {
    local user=

    prefix=$(mktemp -d "${TMPDIR:-/tmp}/ngx-centrifugo-bench-XXXXXX")
    chmod 755 "$prefix"
    free_port

    [ "$(id -u)" != 0 ] || user="user nobody nogroup;"
    getent group nogroup >/dev/null || user=${user/ nogroup/}

    cat > "$prefix/nginx.conf" <<CONF
$user
daemon off;
worker_processes $WORKERS;
worker_rlimit_nofile $(ulimit -n);
pid $prefix/nginx.pid;
error_log $prefix/error.log warn;
load_module $MODULE;
events { worker_connections $connections; }
http {
    access_log off;
    client_body_temp_path $prefix/body;
    proxy_temp_path $prefix/proxy;
    fastcgi_temp_path $prefix/fastcgi;
    uwsgi_temp_path $prefix/uwsgi;
    scgi_temp_path $prefix/scgi;
    keepalive_requests 1000000000;
    centrifugo_hub main {
        zone 64m;
        token_hmac_secret_key "$KEY";
        api_key "$KEY";
        allow_subscribe_for_client on;
    }
    server {
        listen 127.0.0.1:$port reuseport backlog=4096;
        location = /connection/websocket { centrifugo_websocket main; }
        location /api { centrifugo_api main; client_max_body_size 4m; }
        location = /health { centrifugo_health main; }
    }
}
CONF

    "$NGINX" -p "$prefix" -c "$prefix/nginx.conf" -e "$prefix/error.log" &
    pid=$!

    for _ in {1..100}; do
        kill -0 "$pid" 2>/dev/null || break
        if curl -fs -o /dev/null "http://127.0.0.1:$port/health"; then
            return 0
        fi
        sleep 0.1
    done

    cat "$prefix/error.log" >&2
    die "NGINX did not start"
}

# run NAME ARGUMENTS-OF-CFLOAD...: the result is the last line of $OUT/NAME.json

run() {
    local name=$1

    shift
    echo "== $name" >&2
    start

    case " $* " in
    *" --api-key "*) set -- "$@" --api "http://127.0.0.1:$port/api" ;;
    esac

    "$LOAD" --url "ws://127.0.0.1:$port/connection/websocket" \
        --pid "$pid" "$@" >> "$OUT/$name.json" \
        || { failed=1; echo "bench: $name was not right" >&2; }
    grep -E '\[(alert|emerg|crit|error)\]' "$prefix/error.log" >&2 || true
    stop
    done_names+=("$name")
}

clients() {
    local procs

    procs=$(( (CLIENTS + 9999) / 10000 ))
    echo "--clients $CLIENTS --procs $procs --channels own%d --token $TOKEN
          --sources $(( CLIENTS > 20000 ? 16 : 1 ))"
}

scenario() {
    case $1 in
    idle)
        # shellcheck disable=SC2046
        run idle $(clients) --idle 3 ;;
    ping)
        # shellcheck disable=SC2046
        run ping $(clients) --idle "$IDLE" ;;
    fanout)
        run fanout --clients 1000 --token "$TOKEN" --size 128 --api-key "$KEY" \
            --pub-rate 20 --duration "$SECONDS_RUN" ;;
    batch)
        run batch --clients 1000 --token "$TOKEN" --size 128 --api-key "$KEY" \
            --pub-rate 200 --batch 10 --duration "$SECONDS_RUN" ;;
    publish)
        run publish --clients 0 --size 128 --api-key "$KEY" \
            --duration "$SECONDS_RUN" ;;
    *)
        die "no scenario $1: there are idle, ping, fanout, batch, publish" ;;
    esac
}

table() {
    python3 - "$OUT" "${done_names[@]}" <<'PY'
import json
import sys

WHAT = {'idle': 'own channel each', 'ping': 'the same, pings every 25 s',
        'fanout': '20/s to 1,000', 'batch': '20 bodies of 10/s to 1,000',
        'publish': 'no subscribers'}
COLUMNS = ('scenario', '', 'right', 'conn/s', 'PSS/conn', 'anon', 'shm',
           'CPU us/cl/s', 'us/pub', 'us/delivery', 'seg/delivery',
           'p50 us', 'p99 us')
rows = [COLUMNS]

for name in sys.argv[2:]:
    try:
        with open('%s/%s.json' % (sys.argv[1], name)) as f:
            d = json.loads(f.readlines()[-1])
    except (OSError, ValueError, IndexError):
        rows.append((name, WHAT[name], 'no result') + ('',) * 10)
        continue

    s = d['server']
    many = d['connected'] >= 1000 and not d['published']

    def number(x, digits=0):
        return '' if x is None else format(x, ',.%df' % digits)

    def late(q):
        l = d['latency_us' if d['deliveries'] else 'api_latency_us']
        return number(l[q]) if d['published'] else ''

    rows.append((
        name, WHAT[name], 'yes' if d['ok'] else 'NO',
        number(d['connects_per_second']) if d['connected'] else '',
        number(s.get('pss_per_connection')) if many else '',
        number(s.get('pss_anon_per_connection')) if many else '',
        number(s.get('pss_shmem_per_connection')) if many else '',
        number(s.get('cpu_us_per_client_second'), 2) if many else '',
        number(s.get('cpu_us_per_publication'), 1),
        number(s.get('cpu_us_per_delivery'), 2),
        number(d.get('tcp_segments_per_delivery'), 2),
        late('p50'), late('p99')))

wide = [max(len(r[i]) for r in rows) for i in range(len(COLUMNS))]

for r in rows:
    print('  '.join(c.ljust(w) if i < 3 else c.rjust(w)
                    for i, (c, w) in enumerate(zip(r, wide))).rstrip())
PY
}

[ -f "$MODULE" ] || die "$MODULE does not exist: run \"make build\""
[ -x "$LOAD" ] || die "$LOAD does not exist: run \"make -C bench\""
for tool in "$NGINX" curl openssl python3; do
    command -v "$tool" >/dev/null || die "$tool is not installed"
done

done_names=()
files
TOKEN=$(jwt)
mkdir -p "$OUT"

[ $# -gt 0 ] || set -- idle ping fanout batch publish
for s in "$@"; do
    scenario "$s"
done

echo
table
exit $failed
