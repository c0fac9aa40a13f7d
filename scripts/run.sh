#!/usr/bin/env bash
# run.sh: starts NGINX in the foreground with examples/quickstart.
#   PORT=8000    where it listens; Ctrl-C stops it

. "$(dirname "$0")/lib.sh"

need openssl curl
[ -x "$NGINX" ] || die "nginx is not installed, run \"make deps\""

PORT=${PORT:-8000}
module=$ROOT/build/ngx_centrifugo_module.so
web=$ROOT/examples/quickstart
sdk=$web/node_modules/centrifuge/dist/centrifuge.js

[ -f "$module" ] || die "the module is not built, run \"make build\""
[ -f "$sdk" ] || die "the page's packages are not installed, run \"make deps\""

if (exec 3<> "/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
    die "port $PORT is in use, choose another: make run PORT=8001"
fi

# workers run as nobody: what they read is copied to where they may read it

prefix=$(mktemp -d "${TMPDIR:-/tmp}/centrifugo-quickstart.XXXXXX")
pid=

cleanup() {
    if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then
        kill -TERM "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    fi
    rm -rf "$prefix"
}

trap cleanup EXIT
trap 'exit 0' INT TERM

chmod 755 "$prefix"
mkdir -p "$prefix"/{page,logs,tmp}
cp "$web"/page/* "$sdk" "$prefix/page/"
cp "$web/token.js" "$module" "$prefix/"
chmod -R a+rX "$prefix"

workers=$(nproc)
[ "$workers" -ge 2 ] || workers=2

modules=$("$NGINX" -V 2>&1 | sed -n 's/.*--modules-path=\([^ ]*\).*/\1/p')
secret=$(openssl rand -hex 32)
key=$(openssl rand -hex 16)
user=
[ "$(id -u)" != 0 ] || user="user nobody nogroup;"

sed -e "s|@prefix@|$prefix|g" -e "s|@modules@|$modules|g" \
    -e "s|@workers@|$workers|g" -e "s|@port@|$PORT|g" \
    -e "s|@secret@|$secret|g" -e "s|@key@|$key|g" -e "s|@user@|$user|g" \
    "$web/nginx.conf" > "$prefix/nginx.conf"
chmod 600 "$prefix/nginx.conf"

start=("$NGINX" -p "$prefix" -c "$prefix/nginx.conf"
       -e "$prefix/logs/error.log")

"${start[@]}" -t > "$prefix/logs/check" 2>&1 \
    || { grep -v '\[warn\]' "$prefix/logs/check" >&2;
         die "NGINX does not take the configuration"; }

"${start[@]}" &
pid=$!

for _ in $(seq 50); do
    kill -0 "$pid" 2>/dev/null \
        || { cat "$prefix/logs/error.log" >&2; die "NGINX did not start"; }
    if curl -fs -o /dev/null "http://127.0.0.1:$PORT/health"; then
        break
    fi
    sleep 0.1
done

cat <<EOF

The chat is at http://localhost:$PORT/ (open it in two windows).
Publish to it:

  curl -X POST -H 'X-API-Key: $key' -d '{"channel":"chat:lobby","data":{"text":"Hello from curl"}}' http://127.0.0.1:$PORT/api/publish

Metrics: http://127.0.0.1:$PORT/metrics     Ctrl-C stops it.
EOF

wait "$pid"
