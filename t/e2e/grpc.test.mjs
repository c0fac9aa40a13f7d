/*
 * The server API over GRPC: each method against what the HTTP API answers,
 * errors in both modes, keys, bodies that are wrong or too large, and many
 * calls at once, over TLS beside HTTP/1.1 and over h2c.
 */

import assert from 'node:assert/strict';
import http2 from 'node:http2';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import zlib from 'node:zlib';

import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers } from './lib/client.mjs';
import { freePort, hold, TEST_MODULE, within } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const PROTO = path.join(path.dirname(fileURLToPath(import.meta.url)),
                        '../../proto/api.proto');
const { CentrifugoApi } = grpc.loadPackageDefinition(loader.loadSync(PROTO,
    { keepCase: true, longs: Number, defaults: true }))
    .centrifugal.centrifugo.api;

const SERVICE = '/centrifugal.centrifugo.api.CentrifugoApi';
const KEY = 'k3y';

const HUB = `
    client_insecure on;
    api_key ${KEY};
    presence on;
    history_size 10;
    history_ttl 10m;
    namespace none { }
    namespace json { publication_data_format json; }
    namespace bin { publication_data_format binary; history_size 10;
                    history_ttl 1m; }`;

const FREE = 'client_insecure on; api_insecure on;';

const STATUS = grpc.status;

const bytes = (v) => Buffer.from(JSON.stringify(v));


suite('GRPC API', { concurrency: 8, timeout: 60000 }, async (s) => {
    const port = await freePort();
    const locations = `
        location ${SERVICE}/ {
            centrifugo_grpc_api main; client_max_body_size 1m;
        }`;
    const server = await s.start({ hub: HUB,
        hubs: { free: FREE, modes: `${FREE} api_error_mode transport;` },
        tls: true, tlsListen: 'http2', locations,
        http: `
            server {
                listen 127.0.0.1:${port} http2 reuseport;
                ${locations}
                location /tiny${SERVICE}/ {
                    rewrite ^/tiny(.*)$ $1 break;
                    centrifugo_grpc_api free; client_max_body_size 1k;
                }
                location /modes${SERVICE}/ {
                    rewrite ^/modes(.*)$ $1 break;
                    centrifugo_grpc_api modes; client_max_body_size 1m;
                }
                location /denied/ {
                    centrifugo_grpc_api free; client_max_body_size 1m;
                    deny all;
                }
            }` });
    const api = apiOf(server, { key: KEY });

    const h2c = `127.0.0.1:${port}`;
    let serial = 0;
    const fresh = (ns = '') => `${ns}ch${++serial}`;

    const meta = (fields) => {
        const m = new grpc.Metadata();

        Object.entries(fields).forEach(([k, v]) => m.set(k, v));
        return m;
    };

    const auth = { authorization: `apikey ${KEY}` };

    const made = (address, credentials = grpc.credentials.createInsecure(),
                  options = {}) => {
        const c = new CentrifugoApi(address, credentials,
            { 'grpc.use_local_subchannel_pool': 1, ...options });

        hold(() => c.close());

        c.ask = (method, params = {}, fields = auth, call = {}) =>
            within(8000, method, new Promise((ok, fail) =>
                c[method](params, meta(fields),
                    { deadline: Date.now() + 7000, ...call },
                    (e, r) => (e ? fail(e) : ok(r)))));

        return c;
    };

    const client = made(h2c);
    const tls = made(`127.0.0.1:${server.tlsPort}`,
        grpc.credentials.createSsl(null, null, null,
                                   { checkServerIdentity: () => undefined,
                                     rejectUnauthorized: false }));

    const status = async (promise) => {
        try {
            await promise;
        } catch (e) {
            return [e.code, e.details];
        }

        return [0, ''];
    };

    const both = [['h2c', client], ['TLS', tls]];


    /* methods */

    for (const [name, c] of both) {
        s.it(`${name}: publish`, async () => {
            const channel = fresh();
            const subs = await onAllWorkers(server.workers(), 1, async () => {
                const x = await Client.connect(server.ws());

                await x.subscribe(channel);
                return x;
            });

            const r = await c.ask('Publish', { channel, data: bytes({ a: 1 }),
                tags: { k: 'v', '': '' } });

            assert.equal(r.error, null);
            assert.equal(r.result.offset, 1);
            assert.match(r.result.epoch, /^.{8}$/);

            for (const x of subs) {
                const { pub } = (await x.json()).push;

                assert.deepEqual([pub.data, pub.tags],
                                 [{ a: 1 }, { k: 'v', '': '' }]);
                x.terminate();
            }

            /* the key of before */

            const p = { channel, data: bytes(2), idempotency_key: 'once' };
            const first = await c.ask('Publish', p);

            assert.deepEqual(await c.ask('Publish', p), first);
            assert.equal(first.result.offset, 2);
            assert.deepEqual((await c.ask('Publish', { channel,
                data: bytes(3), skip_history: true })).result,
                { offset: 0, epoch: '' });
        });

        s.it(`${name}: broadcast`, async () => {
            const list = [fresh(), '', fresh('unknown:'), fresh('none:')];
            const { result, error } = await c.ask('Broadcast',
                { channels: list, data: bytes(1) });

            assert.equal(error, null);
            assert.deepEqual(result.responses.map(
                (x) => (x.error ? x.error.code : x.result.offset)),
                [1, 107, 102, 0]);
            assert.equal((await c.ask('Broadcast', { data: bytes(1) }))
                .error.code, 107);
        });

        s.it(`${name}: presence, presence_stats, channels, info`, async () => {
            const channel = fresh();
            const list = await onAllWorkers(server.workers(), 1, async () => {
                const x = await Client.connect(server.ws());

                await x.subscribe(channel);
                return x;
            });
            const n = list.length;

            const { presence } = (await c.ask('Presence', { channel })).result;

            assert.deepEqual(Object.keys(presence).sort(),
                             list.map((x) => x.id).sort());
            assert.ok(Object.values(presence).every((x) => x.user === ''
                && presence[x.client] === x));
            assert.deepEqual((await c.ask('PresenceStats', { channel })).result,
                             { num_clients: n, num_users: 1 });
            assert.deepEqual((await c.ask('Channels', { pattern: channel }))
                .result.channels, { [channel]: { num_clients: n } });

            const [node] = (await c.ask('Info')).result.nodes;
            const [same] = (await api.call('info', {})).result.nodes;

            assert.equal(node.uid, same.uid);
            assert.equal(node.name, same.name);
            assert.equal(node.version, same.version);
            assert.ok(node.num_clients >= n && node.num_subs >= n);
            list.forEach((x) => x.terminate());
        });

        s.it(`${name}: history and history_remove`, async () => {
            const channel = fresh('bin:');
            const data = [Buffer.from('{"a":1}'), Buffer.from([0, 255]),
                          Buffer.from('x')];

            for (const d of data) {
                await c.ask('Publish', { channel, data: d, tags: { t: '1' } });
            }

            const { result } = await c.ask('History', { channel, limit: -1 });

            assert.deepEqual(result.publications.map((p) => p.data), data);
            assert.deepEqual(result.publications.map((p) => p.offset),
                             [1, 2, 3]);
            assert.deepEqual(result.publications[0].tags, { t: '1' });
            assert.equal(result.offset, 3);

            const since = { offset: 3, epoch: result.epoch };

            assert.deepEqual((await c.ask('History', { channel, limit: 1,
                since, reverse: true })).result.publications
                .map((p) => p.offset), [2]);
            assert.equal((await c.ask('History', { channel, limit: 1,
                since: { offset: 1, epoch: 'other' } })).error.code, 112);
            assert.deepEqual((await c.ask('History', { channel })).result
                .publications, []);
            assert.deepEqual(await c.ask('HistoryRemove', { channel }),
                             { error: null, result: {} });
            assert.deepEqual((await c.ask('History', { channel, limit: -1 }))
                .result, { publications: [], epoch: result.epoch, offset: 3 });
        });

        s.it(`${name}: subscribe, refresh, unsubscribe, disconnect`,
            async () => {
                const x = await Client.connect(server.ws());
                const channel = fresh();
                const whom = { user: '', client: x.id };

                assert.deepEqual(await c.ask('Subscribe', { channel, ...whom,
                    info: bytes({ i: 1 }), data: bytes([1]),
                    override: { presence: { value: true } } }),
                    { error: null, result: {} });
                assert.deepEqual((await x.json()).push,
                    { channel, subscribe: { data: [1] } });
                assert.deepEqual((await api.call('presence', { channel }))
                    .result.presence[x.id].chan_info, { i: 1 });

                assert.equal((await c.ask('Subscribe', { channel, ...whom,
                    info: Buffer.from('no JSON') })).error.code, 107);
                assert.equal((await c.ask('Subscribe', { channel, ...whom,
                    b64data: '!' })).error.code, 107);

                await c.ask('Refresh', { ...whom,
                    expire_at: Math.floor(Date.now() / 1000) + 600 });
                assert.ok((await x.json()).push.refresh.ttl > 590);

                await c.ask('Unsubscribe', { channel, ...whom });
                assert.equal((await x.json()).push.unsubscribe.code, 2000);

                await c.ask('Disconnect', { ...whom,
                    disconnect: { code: 4123, reason: 'go' } });
                assert.deepEqual(await x.untilClosed(),
                                 { lines: [], code: 4123, reason: 'go' });
            });

        s.it(`${name}: batch`, async () => {
            const channel = fresh();

            for (const parallel of [false, true]) {
                const { replies } = await c.ask('Batch', { parallel, commands: [
                    { publish: { channel, data: bytes(1) } },
                    { broadcast: { channels: [channel, ''],
                                   data: bytes(2) } },
                    { presence_stats: { channel } },
                    { history: { channel, limit: -1 } },
                    {},
                    { publish: { channel: fresh('unknown:'), data: bytes(1) } },
                    { rpc: { method: 'x' } },
                    { info: {} },
                ] });

                assert.deepEqual(replies.map((r) => (r.error ? r.error.code
                    : Object.keys(r).find((k) => r[k] !== null))),
                    ['publish', 'broadcast', 'presence_stats', 'history', 104,
                     102, 104, 'info']);
                assert.equal(replies[1].broadcast.responses[1].error.code, 107);
            }

            assert.deepEqual(await c.ask('Batch', {}), { replies: [] });
        });
    }

    for (const [method, params, code, mode] of [
        ['Publish', {}, 107, STATUS.INVALID_ARGUMENT],
        ['Publish', { channel: 'unknown:a', data: bytes(1) }, 102,
         STATUS.NOT_FOUND],
        ['Publish', { channel: 'a' }, 107, STATUS.INVALID_ARGUMENT],
        ['Publish', { channel: 'json:a', data: Buffer.from('x') }, 107,
         STATUS.INVALID_ARGUMENT],
        ['Publish', { channel: 'a', b64data: '!' }, 107,
         STATUS.INVALID_ARGUMENT],
        ['Presence', { channel: 'none:a' }, 108, STATUS.INVALID_ARGUMENT],
        ['History', { channel: 'none:a' }, 108, STATUS.INVALID_ARGUMENT],
        ['RPC', { method: 'x' }, 104, STATUS.NOT_FOUND],
        ['RPC', {}, 107, STATUS.INVALID_ARGUMENT],
        ['History', { channel: 'a', limit: 1, reverse: true,
                      since: { offset: 0 } }, 100, STATUS.INTERNAL],
        ['History', { channel: 'a', limit: 1,
                      since: { offset: 1, epoch: 'x' } }, 112,
         STATUS.OUT_OF_RANGE],
    ]) {
        s.it(`${method} ${JSON.stringify(params)}: ${code}`, async () => {
            const r = await client.ask(method, params);

            assert.equal(r.error.code, code);
            assert.equal(r.result, null);
            assert.deepEqual(await status(client.ask(method, params,
                { ...auth, 'x-centrifugo-error-mode': 'transport' })),
                [mode, r.error.message]);
        });
    }

    s.it('error mode of the hub, and never within a batch', async () => {
        const c = made(h2c, undefined, {});
        const at = (method) => new Promise((ok) => c.makeUnaryRequest(
            `/modes${SERVICE}/${method}`, (x) => x, (x) => x, Buffer.alloc(0),
            meta({}), { deadline: Date.now() + 5000 }, (e, r) => ok([e, r])));

        assert.equal((await at('Publish'))[0].code, STATUS.INVALID_ARGUMENT);
        assert.equal((await at('RPC'))[0].details, 'bad request');
        assert.equal((await at('Batch'))[0], null);
    });


    /* keys */

    for (const [value, ok] of [
        [`apikey ${KEY}`, true], ['apikey wrong', false], ['apikey ', false],
        [`apikey  ${KEY}`, false], [`Apikey ${KEY}`, false], [KEY, false],
        [`apikey ${KEY}x`, false], [`bearer ${KEY}`, false],
        [undefined, false]])
    {
        s.it(`authorization: ${value}`, async () => {
            const [code] = await status(client.ask('Info', {},
                value === undefined ? {} : { authorization: value }));

            assert.equal(code, ok ? 0 : STATUS.UNAUTHENTICATED);
        });
    }

    s.it('x-api-key is of the HTTP API', async () => {
        assert.equal((await status(client.ask('Info', {},
            { 'x-api-key': KEY })))[0], STATUS.UNAUTHENTICATED);
    });


    /* compression, limits */

    for (const [name, c] of both) {
        s.it(`${name}: gzip`, async () => {
            const zip = made(c === tls ? `127.0.0.1:${server.tlsPort}` : h2c,
                c === tls ? grpc.credentials.createSsl(null, null, null,
                    { checkServerIdentity: () => undefined,
                      rejectUnauthorized: false })
                    : undefined,
                { 'grpc.default_compression_algorithm': 2 });
            const channel = fresh();
            const data = bytes('long '.repeat(1000));

            await zip.ask('Publish', { channel, data });

            const { publications } = (await zip.ask('History',
                { channel, limit: 1 })).result;

            assert.ok(publications[0].data.equals(data));
        });

        s.it(`${name}: a message over client_max_body_size`, async () => {
            const [code, text] = await status(c.ask('Publish',
                { channel: fresh(), data: Buffer.alloc(2 << 20, 49) }));

            assert.equal(code, STATUS.RESOURCE_EXHAUSTED);
            assert.match(text, /client_max_body_size/);

            /* the connection goes on */

            assert.equal((await status(c.ask('Info')))[0], 0);
        });
    }


    /* requests by hand */

    const session = http2.connect(`http://${h2c}`);

    hold(() => session.destroy());

    const raw = (body, headers = {}, uri = `${SERVICE}/Publish`) =>
        within(8000, 'an answer', new Promise((ok, fail) => {
            const req = session.request({ ':method': 'POST', ':path': uri,
                'content-type': 'application/grpc', 'te': 'trailers',
                ...auth, ...headers });
            const parts = [];
            let head, trailers = {};

            req.on('response', (h) => { head = h; });
            req.on('trailers', (t) => { trailers = t; });
            req.on('data', (d) => parts.push(d));
            req.on('error', (e) => (head ? 0 : fail(e)));
            req.on('close', () => ok({ status: head[':status'],
                type: head['content-type'],
                code: trailers['grpc-status'] ?? head['grpc-status'],
                only: head['grpc-status'] !== undefined,
                text: head['grpc-message'], head,
                body: Buffer.concat(parts) }));
            req.end(body);
        }));

    const framed = (data, flag = 0) => {
        const b = Buffer.alloc(5);

        b[0] = flag;
        b.writeUInt32BE(data.length, 1);
        return Buffer.concat([b, data]);
    };

    /* { channel: "a", data: "1" } */

    const GOOD = Buffer.from([10, 1, 97, 18, 1, 49]);

    s.it('headers, a message, trailers', async () => {
        const r = await raw(framed(GOOD));

        assert.deepEqual([r.status, r.type, r.code, r.only, r.body[0]],
                         [200, 'application/grpc', '0', false, 0]);
        assert.equal(r.body.readUInt32BE(1), r.body.length - 5);

        for (const type of ['application/grpc+proto',
                            'application/grpc; charset=x'])
        {
            assert.equal((await raw(framed(GOOD), { 'content-type': type }))
                .code, '0');
        }
    });

    for (const [name, code, body, headers, uri] of [
        ['no message', 13, Buffer.alloc(0)],
        ['half a prefix', 13, Buffer.alloc(4)],
        ['a message cut off', 13, framed(GOOD).subarray(0, 9)],
        ['something behind it', 13, Buffer.concat([framed(GOOD), GOOD])],
        ['two messages', 13, Buffer.concat([framed(GOOD), framed(GOOD)])],
        ['a flag of 2', 13, framed(GOOD, 2)],
        ['a length of 4 GB', 13, Buffer.from([0, 255, 255, 255, 255, 1])],
        ['no Protobuf', 13, framed(Buffer.from([8]))],
        ['a string that is not UTF-8', 13,
         framed(Buffer.from([10, 2, 0xc3, 0x28]))],
        ['compressed without an encoding', 13, framed(zlib.gzipSync(GOOD), 1)],
        ['compressed as identity', 13, framed(zlib.gzipSync(GOOD), 1),
         { 'grpc-encoding': 'identity' }],
        ['compressed by deflate', 12, framed(zlib.deflateSync(GOOD), 1),
         { 'grpc-encoding': 'deflate' }],
        ['compressed by gzip', 0, framed(zlib.gzipSync(GOOD), 1),
         { 'grpc-encoding': 'gzip' }],
        ['a flag of 0 beside gzip', 0, framed(GOOD),
         { 'grpc-encoding': 'gzip' }],
        ['no gzip', 13, framed(GOOD, 1), { 'grpc-encoding': 'gzip' }],
        ['gzip cut off', 13, framed(zlib.gzipSync(GOOD).subarray(0, 20), 1),
         { 'grpc-encoding': 'gzip' }],
        ['gzip with more behind it', 13,
         framed(Buffer.concat([zlib.gzipSync(GOOD), GOOD]), 1),
         { 'grpc-encoding': 'gzip' }],
        ['a ratio of 1000', 8, framed(zlib.gzipSync(Buffer.alloc(1 << 24)), 1),
         { 'grpc-encoding': 'gzip' }],
        ['a length in front', 8, framed(Buffer.alloc(1 << 20)),
         { 'content-length': String((1 << 20) + 5) }],
        ['1 KB at most', 8, framed(Buffer.alloc(1024)), {},
         `/tiny${SERVICE}/Publish`],
        ['1 KB of gzip', 8, framed(zlib.gzipSync(Buffer.alloc(1025)), 1),
         { 'grpc-encoding': 'gzip' }, `/tiny${SERVICE}/Publish`],
        ['an unknown method', 12, framed(GOOD), {}, `${SERVICE}/publish`],
        ['no method', 12, framed(GOOD), {}, `${SERVICE}/`],
        ['a method and more', 12, framed(GOOD), {}, `${SERVICE}/Publish/`],
        ['denied', 7, framed(GOOD), {}, '/denied/a'],
    ]) {
        s.it(`status ${code}: ${name}`, async () => {
            const r = await raw(body, headers, uri);

            assert.deepEqual([r.status, r.type, r.code],
                             [200, 'application/grpc', String(code)]);
            assert.equal(r.only, code !== 0);
            assert.ok(code === 0 || (r.text && r.body.length === 0));

            if (name === 'compressed by deflate') {
                assert.equal(r.head['grpc-accept-encoding'], 'identity,gzip');
            }
        });
    }

    s.it('what is not GRPC', async () => {
        for (const type of ['application/json', 'application/grpc+json',
                            'application/grpcx', 'application/grp'])
        {
            assert.equal((await raw(framed(GOOD), { 'content-type': type }))
                .status, 415);
        }

        const res = await server.request('POST', `${SERVICE}/Publish`,
            { body: framed(GOOD), headers: { ...auth,
              'Content-Type': 'application/grpc' } });

        assert.equal(res.status, 415);
        assert.match(res.body, /HTTP\/2/);
        assert.equal((await raw(undefined, { ':method': 'GET' })).code, '12');
    });

    s.it('a body that comes byte by byte', async () => {
        const req = session.request({ ':method': 'POST',
            ':path': `${SERVICE}/Publish`, 'content-type': 'application/grpc',
            ...auth });
        const end = new Promise((ok) => req.on('trailers', ok));

        for (const b of framed(GOOD)) {
            req.write(Buffer.from([b]));
            await new Promise((ok) => setImmediate(ok));
        }

        req.end();
        req.resume();
        assert.equal((await within(5000, 'trailers', end))['grpc-status'],
                     '0');
    });

    await s.all();

    await s.serial('1,000 calls at once on a connection', async () => {
        const channel = fresh();
        const c = await Client.connect(server.ws());

        await c.subscribe(channel);

        const list = await Promise.all(Array.from({ length: 1000 }, (_, i) =>
            client.ask('Publish', { channel, data: bytes(i) })));

        assert.deepEqual(list.map((r) => r.result.offset)
            .sort((a, b) => a - b), Array.from({ length: 1000 },
                                               (_, i) => i + 1));

        const got = new Set();

        for (let i = 0; i < 1000; i++) {
            got.add((await c.json()).push.pub.data);
        }

        assert.equal(got.size, 1000);
        c.terminate();
    });

    session.destroy();
    client.close();
    tls.close();
    api.close();
});


suite('GRPC API with late engines', { concurrency: 4, timeout: 60000 },
    async (s) => {
        const port = await freePort();
        const server = await s.start({ module: TEST_MODULE,
            hub: `${FREE} test_engine_delay 200ms; presence on;`,
            http: `server {
                listen 127.0.0.1:${port} http2 reuseport;
                location ${SERVICE}/ {
                    centrifugo_grpc_api main; client_max_body_size 1m;
                }
            }` });
        const client = new CentrifugoApi(`127.0.0.1:${port}`,
                                         grpc.credentials.createInsecure());

        hold(() => client.close());

        const ask = (method, params, options = {}) => {
            let call;
            const p = new Promise((ok) => {
                call = client[method](params, new grpc.Metadata(), options,
                                      (e, r) => ok([e ? e.code : 0, r]));
            });

            return { p, call };
        };

        s.it('an answer that comes later', async () => {
            const [code, r] = await ask('Publish', { channel: 'a',
                                                     data: bytes(1) }).p;

            assert.equal(code, 0);
            assert.equal(r.error, null);
        });

        s.it('cancelled, and too late', async () => {
            for (let i = 0; i < 20; i++) {
                const { p, call } = ask('PresenceStats', { channel: 'a' });

                setTimeout(() => call.cancel(), 10 * i);
                assert.equal((await p)[0], STATUS.CANCELLED);
            }

            assert.equal((await ask('PresenceStats', { channel: 'a' },
                { deadline: Date.now() + 50 }).p)[0],
                STATUS.DEADLINE_EXCEEDED);
            assert.equal((await ask('PresenceStats', { channel: 'a' })
                .p)[0], 0);
        });

        await s.all();
        client.close();
    });
