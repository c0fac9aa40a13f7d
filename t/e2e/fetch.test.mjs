/*
 * Calls to a backend through locations of the server: what they answer, that
 * a backend can't do harm, and that nothing is left behind.
 */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

import { Backend, startFastcgi, startNames } from './lib/backend.mjs';
import { freePort, NGINX, sleep, TEST_MODULE, until }
    from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

/* ngx_centrifugo_call_rc_e */

const OK = 0, CUT = 1, TIMEOUT = 2, BUSY = 3, ERROR = 5;

/* directives of a module that this NGINX may lack */

const BUILT = spawnSync(NGINX, ['-V']).stderr.toString();
const of = (name, text) => (BUILT.includes(`http_${name}_module`) ? text : '');

const SANITIZED = !!process.env.NGINX_LD_PRELOAD;
const LOOP = Number(process.env.FETCHES || (SANITIZED ? 3000 : 20000));


suite('fetch', { concurrency: 6, timeout: 300000 }, async (s) => {
    const backend = await new Backend().start();
    const names = await startNames();
    const fastcgi = await startFastcgi();
    const dead = await freePort();

    const more = {
        module: TEST_MODULE,
        hub: 'client_insecure on; api_insecure on;',
        http: `
            upstream keep { server 127.0.0.1:${backend.port}; keepalive 16; }
            upstream by_hash {
                ip_hash;
                server 127.0.0.1:${backend.port};
            }
            upstream two {
                server 127.0.0.1:${dead};
                server 127.0.0.1:${backend.port};
            }
            proxy_cache_path cache keys_zone=cache:1m;
            log_format call '$remote_addr $remote_port $server_addr '
                '$server_port $host $http_host $request_method $request_uri '
                '$uri $connection $tcpinfo_rtt $status $http_cookie '
                '$binary_remote_addr $request_body $request $content_length '
                '$proxy_add_x_forwarded_for $scheme$https $pipe $server_name '
                '$remote_user $content_type $bytes_sent $request_time';
            limit_req_zone $remote_addr zone=req:1m rate=100000r/s;
            limit_req_zone $remote_addr zone=late:1m rate=20r/s;
            limit_conn_zone $remote_addr zone=conn:1m;`,
        locations: `
            location = /fetch { centrifugo_test_fetch main; }
            location = /call { centrifugo_test_call main; }

            location /_b/ {
                internal;
                deny all;
                proxy_pass http://127.0.0.1:${backend.port}/;
                proxy_http_version 1.1;
                proxy_set_header Connection "";
                subrequest_output_buffer_size 64k;
            }
            location /_one/ {
                proxy_pass http://127.0.0.1:${backend.port}/;
            }
            location /_keep/ {
                proxy_pass http://keep/;
                proxy_http_version 1.1;
                proxy_set_header Connection "";
                proxy_set_header Host $http_host;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                proxy_set_header X-Real-IP $remote_addr:$remote_port;
                proxy_set_header X-Host $host;
                proxy_set_header X-At $server_addr:$server_port;
            }
            location /_direct/ {
                proxy_pass http://keep/;
                proxy_buffering off;
                proxy_http_version 1.1;
                proxy_set_header Connection "";
            }
            location /_huge/ {
                proxy_pass http://keep/;
                subrequest_output_buffer_size 4m;
            }
            location /_hash/ { proxy_pass http://by_hash/; }
            location /_two/ { proxy_pass http://two/; }
            location /_dead/ { proxy_pass http://127.0.0.1:${dead}/; }
            location /_name/ {
                resolver 127.0.0.1:${names.port} ipv6=off;
                set $name app.example;
                rewrite ^/_name/(.*)$ /$1 break;
                proxy_pass http://$name:${backend.port};
            }
            location /_unnamed/ {
                resolver 127.0.0.1:${dead};
                resolver_timeout 500ms;
                set $name app.example;
                proxy_pass http://$name:${backend.port};
            }
            location /_cached/ {
                proxy_pass http://keep/;
                proxy_cache cache;
                proxy_cache_valid 200 1m;
            }
            location /_limits/ {
                limit_req zone=req burst=5;
                limit_conn conn 1000;
                limit_rate 1m;
                ${of('sub', 'sub_filter ok y; sub_filter_types *;')}
                ${of('realip', `set_real_ip_from 127.0.0.1;
                    real_ip_header X-Forwarded-For;`)}
                reset_timedout_connection on;
                proxy_pass http://keep/;
            }
            location /_delayed/ {
                limit_req zone=late burst=8;
                proxy_pass http://keep/;
            }
            location /_logged/ {
                access_log access.log call;
                log_subrequest on;
                post_action /_one/ok;
                proxy_pass http://keep/;
            }
            location /_fcgi {
                fastcgi_pass 127.0.0.1:${fastcgi.port};
                fastcgi_param REQUEST_METHOD $request_method;
                fastcgi_param REMOTE_ADDR $remote_addr;
                fastcgi_param URI $uri;
            }
            location = /_return { return 200 "hello"; }
            location = /_empty { return 204; }
            location = /_moved { return 302 /elsewhere; }
            location = /_444 { return 444; }
            location /_file/ { root files; }
            location /_aio/ {
                root files;
                ${BUILT.includes('--with-threads') ? 'aio threads;' : ''}
                subrequest_output_buffer_size 1m;
            }
            location /_ssi/ { root files; ssi on; ssi_types *; }
            location /_add/ {
                root files;
                ${of('addition', `add_after_body /_one/ok;
                    addition_types *;`)}
            }
            location /_page/ {
                error_page 404 500 502 =200 /_return;
                proxy_intercept_errors on;
                proxy_pass http://keep/;
            }
            location /_try/ { try_files /none @there; }
            location @there {
                rewrite ^/_try/(.*)$ /$1 break;
                proxy_pass http://keep;
            }
            location /_accel/ { rewrite ^ /_return last; }
            location /_loop/ { rewrite ^ /_loop/x last; }`,
    };

    /* [rc, status, bytes, body] of one call */

    const call = async (server, uri, rest = '') => {
        const { body } = await server.get(
            `/call?uri=${encodeURIComponent(uri)}${rest}`);
        const [head, ...tail] = body.split('\n');

        return [...head.split(' ').map(Number), tail.join('\n')];
    };

    /* {good, bytes, ms} of fetches */

    const fetch = async (server, uri, rest = '', options = {}) => {
        const { body } = await server.get(
            `/fetch?uri=${encodeURIComponent(uri)}${rest}`, options);
        const [good, bytes, ms] = body.split(' ').map(Number);

        return { good, bytes, ms };
    };

    const server = await s.start(more);

    for (const dir of ['_file', '_aio', '_ssi', '_add']) {
        fs.mkdirSync(path.join(server.prefix, 'files', dir),
                     { recursive: true });
        fs.writeFileSync(path.join(server.prefix, 'files', dir, 'a.json'),
                         dir === '_ssi'
                             ? 'a<!--# include virtual="/_one/ok" -->b'
                             : '{"file":1}');
    }

    fs.writeFileSync(path.join(server.prefix, 'files/_aio/b'),
                     'y'.repeat(500000));

    const good = '{"ok":true}';

    const table = [
        ['/_b/ok', OK, 200, good],
        ['/_one/ok', OK, 200, good],
        ['/_keep/ok', OK, 200, good],
        ['/_direct/ok', OK, 200, good],
        ['/_hash/ok', OK, 200, good],
        ['/_two/ok', OK, 200, good],
        ['/_name/ok', OK, 200, good],
        ['/_unnamed/ok', OK, 502, ''],
        ['/_limits/ok', OK, 200, of('sub', '{"y":true}') || good],
        ['/_cached/size/11', OK, 200, 'x'.repeat(11)],
        ['/_cached/size/11', OK, 200, 'x'.repeat(11)],
        ['/_fcgi', OK, 200, 'fcgi'],
        ['/_return', OK, 200, 'hello'],
        ['/_empty', OK, 204, ''],
        ['/_moved', OK, 302, ''],
        ['/_444', OK, 444, ''],
        ['/_file/a.json', OK, 200, '{"file":1}'],
        ['/_aio/a.json', OK, 200, '{"file":1}'],
        ['/_aio/b', OK, 200, 'y'.repeat(500000)],
        ['/_file/b.json', OK, 404, ''],
        ['/_file/', OK, 403, ''],
        ['/nowhere', OK, 404, ''],
        ['/_page/status/500', OK, 500, ''],
        ['/_try/ok', OK, 200, good],
        ['/_accel/', OK, 200, 'hello'],
        ['/_loop/', OK, 500, ''],
        ['/_dead/', OK, 502, ''],
        ['/_b/status/500', OK, 500, '{"status":true}'],
        ['/_b/status/204', OK, 204, ''],
        ['/_b/reset', OK, 502, ''],
        ['/_b/eof/100', OK, 200, 'x'.repeat(100)],
        ['/_b/size/0', OK, 200, ''],
        ['/_b/chunked/0', OK, 200, ''],
        ['/_b/size/65536', OK, 200, 'x'.repeat(65536)],
        ['/_b/chunked/65536', OK, 200, 'x'.repeat(65536)],
        ['/_direct/size/4000', OK, 200, 'x'.repeat(4000)],
        ['/_direct/chunked/4000', OK, 200, 'x'.repeat(4000)],
        ['/_b/cut', CUT, 200, ''],
        ['/_b/cutchunked', CUT, 200, ''],
        ['/_direct/cut', CUT, 200, ''],
        ['/_direct/cutchunked', CUT, 200, ''],
        ['/_b/size/65537', CUT, 200, ''],
        ['/_b/chunked/65537', CUT, 200, ''],
        ['/_b/chunked/2000000', CUT, 200, ''],
        ['/_direct/size/2000000', CUT, 200, ''],
        ['/_direct/chunked/2000000', CUT, 200, ''],
        ['/_keep/size/9999', CUT, 200, ''],
        ['/_add/a.json', null],
        ['/_ssi/a.json', null],
        ['', ERROR, 0, ''],
        ['nothing', ERROR, 0, ''],
        ['@there', ERROR, 0, ''],
        ['/_b/../ok', ERROR, 0, ''],
        ['/_b/%2e%2e/ok', ERROR, 0, ''],
        ['/_b/%00', ERROR, 0, ''],
        ['/_b/ok?a=1&b=..', OK, 200, good],
    ];

    for (const [uri, rc, status, body] of table) {
        s.it(`GET ${uri}`, async () => {
            for (let i = 0; i < 3; i++) {
                const got = await call(server, uri);

                if (rc !== null) {
                    assert.deepEqual(got, [rc, status, body.length, body]);
                }
            }
        });
    }

    s.it('a late answer', async () => {
        const begin = Date.now();
        const got = await call(server, '/_b/slow/1500', '&ms=300');

        assert.deepEqual(got, [TIMEOUT, 0, 0, '']);
        assert.ok(Date.now() - begin < 1000);
        assert.deepEqual(await call(server, '/_b/slow/100', '&ms=1000'),
                         [OK, 200, 13, '{"slow":true}']);
        await sleep(1500);              /* it comes now, to nobody */
    });

    const echo = async (rest) => {
        const got = await call(server, '/_keep/echo?x=%20y&z', rest);

        assert.deepEqual(got.slice(0, 2), [OK, 200]);
        return JSON.parse(got[3]);
    };

    s.it('what a backend gets without a client', async () => {
        const r = await echo('');

        assert.equal(r.method, 'GET');
        assert.equal(r.url, '/echo?x=%20y&z');
        assert.equal(r.body, '');
        assert.equal(r.headers.host, 'localhost');
        assert.equal(r.headers['x-call'], 'one');
        assert.equal(r.headers['content-length'], undefined);
        assert.equal(r.headers['x-forwarded-for'], '127.0.0.1');
        assert.match(r.headers['x-real-ip'], /^127\.0\.0\.1:\d+$/);
        assert.equal(r.headers['x-at'], `127.0.0.1:${server.port}`);
    });

    s.it('and on behalf of one', async () => {
        const r = await echo('&client=1&body=3000');

        assert.equal(r.method, 'POST');
        assert.equal(r.body, 'b'.repeat(3000));
        assert.equal(r.headers.host, 'chat.example.com:8443');
        assert.equal(r.headers['x-host'], 'chat.example.com');
        assert.equal(r.headers['content-length'], '3000');
        assert.equal(r.headers['content-type'], 'application/json');
        assert.equal(r.headers.cookie, 'a=b; c=d');
        assert.equal(r.headers.authorization, 'Bearer x');
        assert.equal(r.headers['user-agent'], 'Mozilla/5.0');
        assert.equal(r.headers['x-forwarded-for'], '192.0.2.7, 192.0.2.1');
        assert.equal(r.headers['x-real-ip'], '192.0.2.1:4321');
        assert.equal(r.headers.upgrade, undefined);
        assert.equal(r.headers['x-empty'], '');

        assert.equal((await echo('&body=0')).headers['content-length'], '0');
    });

    s.it('every variable of a log', async () => {
        for (const rest of ['', '&client=1&body=5']) {
            await call(server, '/_logged/ok', rest);
        }
    });

    s.it('requests that limit_req delays', async () => {
        const got = await fetch(server, '/_delayed/ok', '&n=12');

        /* by 50 ms more each, and three are refused */

        assert.equal(got.good, 9);
        assert.ok(got.ms >= 350 && got.ms < 950, `${got.ms} ms`);
    });

    s.it('a fetch', async () => {
        const f = async (uri) => {
            const { good: n, bytes, ms } = await fetch(server, uri);

            return [n, bytes, ms < 900];
        };

        assert.deepEqual(await f('/_b/ok'), [1, 11, true]);
        assert.deepEqual(await f('/_b/status/500'), [0, 0, true]);
        assert.deepEqual(await f('/_b/status/201'), [0, 0, true]);
        assert.deepEqual(await f('/_b/cut'), [0, 0, true]);
        assert.deepEqual(await f('/_b/size/99999'), [0, 0, true]);
        assert.deepEqual(await f('/_dead/'), [0, 0, true]);
        assert.deepEqual(await f('/_huge/size/1048576'), [1, 1048576, true]);
        assert.deepEqual(await f('/_huge/size/1048577'), [0, 0, true]);

        const late = await fetch(server, '/_b/slow/1600');

        assert.equal(late.good, 0);
        assert.ok(late.ms >= 990 && late.ms < 1500, `${late.ms} ms`);
        assert.match(server.log(), /could not fetch "\/_b\/slow\/1600"/);
    });

    await s.all();

    await s.serial('600 at once: 512, and the next go at once again',
        async () => {
            backend.most = 0;

            const got = await fetch(server, '/_b/slow/300', '&n=600');

            assert.deepEqual([got.good, got.ms < 990 || SANITIZED],
                             [512, true]);
            assert.ok(backend.most <= 512 && backend.most > 400,
                      `${backend.most}`);
            assert.match(server.log(), /too many calls are under way/);

            const next = await fetch(server, '/_b/ok', '&n=512');

            assert.equal(next.good, 512);
            assert.equal((await fetch(server, '/_return', '&n=600')).good,
                         512);
        });

    await s.serial('those that nobody waits for count until they end',
        async () => {
            const one = await s.start({ ...more, workers: 1 });
            const late = await fetch(one, '/_b/slow/2500', '&n=512');

            assert.deepEqual([late.good, late.ms < 2000], [0, true]);
            assert.equal((await call(one, '/_return'))[0], BUSY);
            await until('them to end',
                        async () => (await call(one, '/_return'))[0] === OK,
                        4000);
        });

    await s.serial(`${LOOP} calls, nothing grows`, async () => {
        const one = await s.start({ ...more, workers: 1 });

        for (const uri of ['/_keep/ok', '/_return', '/_b/ok', '/_b/chunked/9',
                           '/_b/cut', '/_keep/size/9999', '/_name/ok']) {

            /* one after another: many at once take what they need at once */

            const part = /chunked|cut/.test(uri) ? 200 : LOOP / 10;
            const rest = `&line=1&n=${part}`;

            await fetch(one, uri, rest, { timeout: 60000 });

            const before = one.anonymousMemory();
            const connections = backend.connections;
            let ms = 0;
            let n = 0;

            for (let i = 0; i < (uri === '/_keep/ok' ? 9 : 2); i++) {
                const got = await fetch(one, uri, rest, { timeout: 60000 });

                n += part;
                ms += got.ms;

                if (!/cut|9999/.test(uri)) {
                    assert.equal(got.good, part);
                }
            }

            const grown = one.anonymousMemory() - before;

            console.log(`# ${uri}: ${n} calls, ${(ms * 1000 / n).toFixed(1)} `
                        + `us each, ${grown >> 10} KB more, `
                        + `${backend.connections - connections} connections`);

            if (!SANITIZED) {
                assert.ok(grown < 300 * 1024, `${uri}: ${grown} bytes more`);
            }

            if (uri === '/_keep/ok') {
                assert.ok(backend.connections - connections < 20);
            }
        }
    }, 200000);

    await s.serial('a reload while calls are under way', async () => {
        const one = await s.start({ ...more, shutdown: '1h' });
        const old = one.workers();
        const list = [];

        for (let i = 0; i < 20; i++) {
            list.push(fetch(one, '/_b/slow/700', '&n=5'));
            list.push(call(one, '/_b/slow/20000', '&ms=1500'));
        }

        await sleep(300);
        one.signal('SIGHUP');

        const got = await Promise.all(list);

        for (const g of got) {
            if (g.good === undefined) {
                assert.equal(g[0], TIMEOUT);
            } else {
                assert.equal(g.good, 5);
            }
        }

        /* proxy_read_timeout is a minute */

        await until('the old workers to end',
                    () => !one.workers().some((p) => old.includes(p)), 3500);
        assert.equal((await fetch(one, '/_b/ok')).good, 1);
    });

    await s.serial('those that are late already end with their worker',
        async () => {
            const one = await s.start({ ...more, shutdown: '1h' });
            const old = one.workers();

            assert.equal((await call(one, '/_b/slow/20000', '&ms=50'))[0],
                         TIMEOUT);
            one.signal('SIGHUP');
            await until('the old workers to end',
                        () => !one.workers().some((p) => old.includes(p)),
                        3500);
        });

    for (const signal of ['SIGTERM', 'SIGQUIT']) {
        await s.serial(`${signal} while calls are under way`, async () => {
            const one = await s.start(more);
            const list = [];

            for (let i = 0; i < 20; i++) {
                list.push(call(one, '/_b/slow/20000', '&ms=1500')
                    .catch(() => null));
                list.push(fetch(one, '/_b/slow/400', '&n=5')
                    .catch(() => null));
                list.push(call(one, '/_unnamed/ok').catch(() => null));
            }

            await sleep(250);
            await one.halt(signal, 6000);

            const rcs = new Set((await Promise.all(list))
                .filter((g) => Array.isArray(g)).map((g) => g[0]));

            assert.ok(!rcs.has(BUSY) && !rcs.has(ERROR), [...rcs].join());

            if (signal === 'SIGQUIT') {
                assert.ok(rcs.has(TIMEOUT));
            }

            assert.deepEqual(one.badLines(), []);
            s.done(one);
        });
    }

    await s.serial('workers that are killed, clients that leave', async () => {
        /* a cache has processes of its own */

        const one = await s.start({
            ...more, anyWorkers: true,
            http: more.http.replace(/proxy_cache_path.*/, ''),
            locations: more.locations.replace(/proxy_cache .*/, ''),
        });

        one.allow(/exited on signal 9/);

        for (let round = 0; round < 3; round++) {
            const list = [];

            for (let i = 0; i < 10; i++) {
                list.push(fetch(one, '/_b/slow/300', '&n=20',
                                { timeout: i % 2 ? 100 : 5000 })
                    .catch(() => null));
            }

            await sleep(150);
            process.kill(one.workers()[0], 'SIGKILL');
            await Promise.all(list);
            await until('two workers', () => one.workers().length === 2);
        }

        assert.equal((await fetch(one, '/_b/ok', '&n=100')).good, 100);
    });

    s.it('ends what it began', () => {
        backend.stop();
        names.stop();
        fastcgi.stop();
    });
});
