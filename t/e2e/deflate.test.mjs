/*
 * permessage-deflate: offers, messages of all sizes in both directions and in
 * pieces, what is wrong or too much, and who shares a channel with whom.
 */

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import zlib from 'node:zlib';

import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers } from './lib/client.mjs';
import { message as protobuf, replies } from './lib/protobuf.mjs';
import { BINARY, CLOSE, closePayload, frame, PING, PONG, Raw, TEXT }
    from './lib/raw.mjs';
import { connected, subscribed } from './lib/sdk.mjs';
import { hold, sleep, TEST_MODULE, until, within } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const OPEN = 'client_insecure on; api_insecure on;';
const HUB = `${OPEN} websocket_compression on;`;
const LARGE = `${HUB} message_size_limit 64m;`;

const PMD = 'permessage-deflate';
const ANSWER = `${PMD}; server_no_context_takeover; `
               + 'client_no_context_takeover';

const CONT = 0, RSV1 = 4;

const deflate = (data, options = {}) => {
    const b = zlib.deflateRawSync(data, { finishFlush: zlib.constants
        .Z_SYNC_FLUSH, ...options });

    return b.subarray(0, b.length - 4);
};

const inflate = (data) => zlib.inflateRawSync(
    Buffer.concat([data, Buffer.from([0, 0, 255, 255])]),
    { finishFlush: zlib.constants.Z_SYNC_FLUSH });

const packed = (opcode, data, options) => frame(opcode, deflate(data),
                                                { rsv: RSV1, ...options });


suite('compression', { concurrency: 8, timeout: 60000 }, async (s) => {
    const server = await s.start({ hub: HUB, tls: true,
        hubs: { off: OPEN, best: `${HUB} websocket_compression_level 9;`,
                large: `${HUB} websocket_compression_min_size 1k;` },
        locations: `location = /off { centrifugo_websocket off; }
                    location = /best { centrifugo_websocket best; }
                    location = /large { centrifugo_websocket large; }
                    location /largeapi { centrifugo_api large; }
                    location /bestapi { centrifugo_api best; }` });
    const api = apiOf(server);
    const main = '/connection/websocket';

    const open = async (uri = main, offer = PMD, more = {}) => {
        const r = await Raw.open(server.port, uri, { headers: {
            'Sec-WebSocket-Extensions': offer ?? undefined, ...more } });

        /* the next message, and whether it was compressed */

        r.hear = async (ms) => {
            const f = await r.frame(ms);

            assert.ok(f && f.fin && (f.rsv === 0 || f.rsv === RSV1),
                      JSON.stringify(f));
            r.compressed = f.rsv === RSV1;
            r.opcode = f.opcode;
            r.size = f.payload.length;

            return r.compressed ? inflate(f.payload) : f.payload;
        };

        return r;
    };

    const connect = async (uri, offer, more) => {
        const r = await open(uri, offer, more);

        r.write(packed(TEXT, '{"id":1,"connect":{}}'));
        assert.match((await r.hear()).toString(), /^\{"id":1,"connect":/);
        return r;
    };


    /* offers */

    for (const [offer, answer, uri = main] of [
        [PMD, ANSWER],
        [`${PMD}; client_max_window_bits`, ANSWER],
        [`${PMD}; client_max_window_bits=9`, ANSWER],
        [`${PMD}; server_no_context_takeover; client_no_context_takeover`,
         ANSWER],
        [`${PMD}; server_max_window_bits=15`,
         `${ANSWER}; server_max_window_bits=15`],
        [`${PMD}; server_max_window_bits=10`, undefined],
        [`${PMD}; server_max_window_bits=10, ${PMD}`, ANSWER],
        [[`${PMD}; server_max_window_bits=10`, PMD], ANSWER],
        [['x-webkit-deflate-frame', 'foo; a="b"', PMD], ANSWER],
        [`${PMD}; mux`, undefined],
        [`${PMD}; server_max_window_bits`, undefined],
        ['x-webkit-deflate-frame', undefined],
        ['', undefined], [null, undefined],
        [PMD, undefined, '/off'], [`${PMD};;`, undefined, '/off'],
    ]) {
        s.it(`${JSON.stringify(offer)} at ${uri}`, async () => {
            const r = await open(uri, offer);

            assert.equal(r.head.headers['sec-websocket-extensions'], answer);

            if (answer) {
                r.write(packed(TEXT, '{"id":1,"connect":{}}'));
                assert.match((await r.hear()).toString(), /"connect"/);

            } else {
                r.text('{"id":1,"connect":{}}');
                assert.match(await r.message(), /"connect"/);
            }

            r.destroy();
        });
    }

    for (const offer of [`${PMD};`, `${PMD} x`, `${PMD}; a=`, ';', 'a/b']) {
        s.it(`400: "${offer}"`, async () => {
            const r = await Raw.tcp(server.port);

            r.write(`GET ${main} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n`
                    + 'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
                    + 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
                    + `Sec-WebSocket-Extensions: ${offer}\r\n\r\n`);
            assert.equal((await r.response()).status, 400);
            r.destroy();
        });
    }


    /* reading */

    const UNSUB = (id) => `{"id":${id},"unsubscribe":{"channel":"a"}}`;
    const DONE = (id) => `{"id":${id},"unsubscribe":{}}`;

    s.it('compressed and plain messages, whole and in pieces', async () => {
        const r = await connect();
        let id = 1;

        const check = async (...bytes) => {
            for (const b of bytes) {
                r.write(b);
            }

            assert.equal((await r.hear()).toString(), DONE(id));
        };

        await check(packed(TEXT, UNSUB(++id)));
        await check(frame(TEXT, UNSUB(++id)));
        await check(packed(BINARY, UNSUB(++id)));

        for (const level of [0, 1, 9]) {
            const z = deflate(Buffer.from(UNSUB(++id)), { level });

            await check(frame(TEXT, z, { rsv: RSV1 }));
        }

        for (const size of [1, 2, 5, 20]) {
            const z = deflate(UNSUB(++id));
            const parts = [];

            for (let i = 0; i < z.length; i += size) {
                parts.push(frame(i ? CONT : TEXT, z.subarray(i, i + size),
                                 { fin: false, rsv: i ? 0 : RSV1 }));
            }

            parts.push(frame(PING, 'p'), frame(CONT, ''));

            for (const b of parts) {
                r.write(b);
            }

            assert.equal((await r.hear()).toString(), 'p');
            assert.equal(r.opcode, PONG);
            assert.equal((await r.hear()).toString(), DONE(id));
        }

        /* blocks that say they are the last, with and without what follows */

        const z = zlib.deflateRawSync(UNSUB(++id));

        await check(frame(TEXT, z, { rsv: RSV1 }));
        id++;
        await check(frame(TEXT, Buffer.concat([
            zlib.deflateRawSync(UNSUB(id)), Buffer.from([0])]),
            { rsv: RSV1 }));

        /* many in one segment, byte by byte */

        r.write(Buffer.concat([packed(TEXT, UNSUB(101)),
                               packed(TEXT, UNSUB(102))]));
        assert.equal((await r.hear()).toString(), DONE(101));
        assert.equal((await r.hear()).toString(), DONE(102));
        await r.drip(packed(TEXT, UNSUB(103)));
        assert.equal((await r.hear()).toString(), DONE(103));
        r.destroy();
    });

    for (const [name, code, ...frames] of [
        ['RSV1 in a continuation', 1002,
         packed(TEXT, 'x', { fin: false }), frame(CONT, 'y', { rsv: RSV1 })],
        ['RSV1 in a ping', 1002, frame(PING, 'x', { rsv: RSV1 })],
        ['RSV1 in a close', 1002, frame(CLOSE, closePayload(1000),
                                        { rsv: RSV1 })],
        ['RSV2', 1002, frame(TEXT, 'x', { rsv: 2 })],
        ['RSV1 and RSV3', 1002, frame(TEXT, 'x', { rsv: 5 })],
        ['no deflate', 1007, frame(TEXT, 'hello', { rsv: RSV1 })],
        ['a stored block cut off', 1007,
         frame(TEXT, Buffer.from([0, 5, 0, 0xfa, 0xff, 72]), { rsv: RSV1 })],
        ['a block of type 3', 1007, frame(TEXT, Buffer.from([6]),
                                          { rsv: RSV1 })],
        ['cut off', 1007, frame(TEXT, deflate('x'.repeat(50) + 'yz')
                                          .subarray(0, 4), { rsv: RSV1 })],
        ['text that is not UTF-8', 1007,
         packed(TEXT, Buffer.from([0xc3, 0x28]))],
        ['an empty message', 3501, packed(TEXT, '')],
        ['no bytes', 3501, frame(TEXT, '', { rsv: RSV1 })],
        ['one byte too much', 1009,
         packed(TEXT, UNSUB(1).padEnd(65537))],
        ['a ratio of 1000', 1009, packed(TEXT, Buffer.alloc(1 << 24))],
        ['plain, one byte too much', 1009,
         frame(TEXT, UNSUB(1).padEnd(65537))],
        ['stored blocks without end', 1009,
         frame(TEXT, Buffer.alloc(80000), { rsv: RSV1 })],
    ]) {
        s.it(`${code}: ${name}`, async () => {
            const r = await connect();

            frames.forEach((b) => r.write(b));
            assert.equal((await r.closeFrame()).code, code);
            r.destroy();
        });
    }

    s.it('1002: RSV1 without an agreement', async () => {
        for (const [uri, offer] of [[main, null], ['/off', PMD]]) {
            const r = await open(uri, offer);

            r.write(packed(TEXT, '{"id":1,"connect":{}}'));
            assert.equal((await r.closeFrame()).code, 1002);
            r.destroy();
        }
    });

    s.it('messages up to message_size_limit', async () => {
        const r = await connect();

        for (const [i, make] of [packed, frame].entries()) {
            r.write(make(TEXT, UNSUB(i + 2).padEnd(65536)));
            assert.equal((await r.hear()).toString(), DONE(i + 2));
        }

        /* one that does not get shorter: it is more bytes than the limit */

        const data = crypto.randomBytes(24400).toString('latin1');
        const text = `{"id":9,"publish":{"channel":"a","data":`
                     + `${JSON.stringify(data)}}}`;
        const b = Buffer.from(text);

        assert.ok(b.length < 65536);
        r.write(frame(BINARY, deflate(b.subarray(0), { level: 0 }),
                      { rsv: RSV1 }));
        assert.match((await r.hear()).toString(), /^\{"id":9,/);
        r.destroy();
    });

    await s.all();

    await s.serial('bombs cost nothing', async () => {
        const bomb = packed(TEXT, Buffer.alloc(1 << 26));
        const rss = (pid) => Number(/VmRSS:\s+(\d+)/.exec(
            fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
        const cpu = (pid) => {
            const f = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ');

            return Number(f[13]) + Number(f[14]);
        };
        const pids = server.workers();
        const before = pids.map((p) => [rss(p), cpu(p)]);

        for (let i = 0; i < 50; i++) {
            const r = await connect();

            r.write(bomb);
            assert.equal((await r.closeFrame()).code, 1009);
            r.destroy();
        }

        if (process.env.NGINX_LD_PRELOAD) {

            /* sanitizers keep what is freed */

            return;
        }

        pids.forEach((p, i) => {
            assert.ok(rss(p) - before[i][0] < 4096, `${rss(p)} KB`);
            assert.ok(cpu(p) - before[i][1] < 100, `${cpu(p)} ticks`);
        });
    });


    /* writing */

    const text = (i, n = 30) => JSON.stringify({ i, s: 'long '.repeat(n) });

    s.it('all kinds of subscribers of a channel', async () => {
        const plain = await onAllWorkers(server.workers(), 1, async () => {
            const c = await Client.connect(server.ws(), { encoding: 'json' });

            await c.subscribe('mixed');
            return c;
        });
        const raws = [];

        for (let i = 0; i < 4; i++) {
            const r = await connect();

            r.write(packed(TEXT,
                           '{"id":2,"subscribe":{"channel":"mixed"}}'));
            await r.hear();
            raws.push(r);
        }

        const bin = await open(main, PMD,
                               { 'Sec-WebSocket-Protocol':
                                 'centrifuge-protobuf' });

        bin.write(packed(BINARY, protobuf('Command',
                                          { id: 1, connect: {} })));
        await bin.hear();
        bin.write(packed(BINARY, protobuf('Command',
            { id: 2, subscribe: { channel: 'mixed' } })));
        await bin.hear();

        for (let i = 0; i < 20; i++) {
            await api.call('publish', { channel: 'mixed',
                                        data: JSON.parse(text(i)) });

            const expected = `{"push":{"channel":"mixed","pub":{"data":`
                             + `${text(i)}}}}`;

            for (const c of plain) {
                assert.equal(await c.line(), expected);
            }

            for (const r of raws) {
                assert.equal((await r.hear()).toString(), expected);
                assert.ok(r.compressed && r.opcode === TEXT && r.size < 80,
                          `${r.size}`);
            }

            const [{ push }] = replies(await bin.hear());

            assert.equal(push.pub.data.toString(), text(i));
            assert.ok(bin.compressed && bin.opcode === BINARY);
        }

        /* what does not get shorter comes as it is */

        await api.call('publish', { channel: 'mixed', data: 1 });

        for (const r of raws) {
            assert.match((await r.hear()).toString(), /"data":1/);
            r.destroy();
        }

        bin.destroy();
    });

    s.it('websocket_compression_min_size and _level', async () => {
        for (const [uri, at, sizes] of [
            ['/large', '/largeapi', [[100, false], [300, true]]],
            ['/best', '/bestapi', [[10, true], [300, true]]]])
        {
            const r = await connect(uri);
            const to = apiOf(server, { location: at });

            r.write(frame(TEXT, '{"id":2,"subscribe":{"channel":"a"}}'));
            await r.hear();

            for (const [n, compressed] of sizes) {
                await to.call('publish', { channel: 'a',
                                           data: JSON.parse(text(1, n)) });
                assert.ok((await r.hear()).toString().includes(text(1, n)));
                assert.equal(r.compressed, compressed);
            }

            to.close();
            r.destroy();
        }
    });

    s.it('ping and close frames are never compressed', async () => {
        const r = await connect();
        const payload = 'a'.repeat(100);

        r.write(frame(PING, payload));
        assert.equal((await r.hear()).toString(), payload);
        assert.ok(!r.compressed && r.opcode === PONG);
        r.write(frame(CLOSE, closePayload(1000, payload)));
        assert.equal((await r.closeFrame()).code, 1000);
        r.destroy();
    });


    /* the SDK, over a library that knows the extension, and over TLS */

    for (const [name, url] of [['ws', () => server.ws()],
                               ['wss', () => server.wss()]])
    {
        s.it(`the SDK over ${name}`, async () => {
            const used = [];
            const list = [];

            class Socket extends WebSocket {
                constructor(address, protocols) {
                    super(address, protocols, { rejectUnauthorized: false,
                        perMessageDeflate: { threshold: 0 } });
                    this.on('open', () => used.push(this.extensions));
                }
            }

            for (let i = 0; i < 4; i++) {
                const sdk = new Centrifuge(url(), { websocket: Socket });

                hold(() => sdk.disconnect());
                await connected(sdk);
                sdk.sub = sdk.newSubscription(`sdk-${name}`);
                sdk.got = [];
                sdk.sub.on('publication', (ctx) => sdk.got.push(ctx.data));
                await subscribed(sdk.sub);
                list.push(sdk);
            }

            for (let i = 0; i < 20; i++) {
                await list[i % 4].publish(`sdk-${name}`,
                                          JSON.parse(text(i, i * 40)));
            }

            await until('all', () => list.every((x) => x.got.length === 20));

            for (const x of list) {
                assert.deepEqual(x.got, Array.from({ length: 20 },
                    (_, i) => JSON.parse(text(i, i * 40))));
                x.disconnect();
            }

            assert.ok(used.length === 4 && used.every((x) => x === PMD));
            await sleep(50);
        });
    }

    await s.all();
    api.close();
});


/* whatever is sent comes back, by the endpoint of the test build */

suite('compressed echo', { concurrency: 4, timeout: 60000 }, async (s) => {
    const server = await s.start({ module: TEST_MODULE, hub: LARGE,
        locations: 'location = /echo { centrifugo_ws_echo main; }' });

    const socket = () => new Promise((ok, fail) => {
        const ws = new WebSocket(server.ws('/echo'), {
            perMessageDeflate: { threshold: 0 }, maxPayload: 1 << 26 });

        hold(() => ws.terminate());
        ws.once('error', fail);
        ws.once('open', () => ok(ws));
    });

    const echo = async (ws, data, options) => {
        const back = new Promise((ok) => ws.once('message',
            (d, binary) => ok([d, binary])));

        ws.send(data, options);
        return within(8000, 'the echo', back);
    };

    const kinds = {
        zeros: (n) => Buffer.alloc(n),
        text: (n) => Buffer.from('The quick brown fox. '
                                 .repeat(n / 21 + 1)).subarray(0, n),
        digits: (n) => Buffer.from(crypto.randomBytes(n).toString('hex'))
                             .subarray(0, n),
        noise: (n) => crypto.randomBytes(n),
    };

    const SIZES = [0, 1, 2, 16, 31, 32, 33, 64, 125, 126, 127, 128, 256, 1000,
                   1024, 4095, 4096, 4097, 8192, 16384, 32767, 32768, 65535,
                   65536, 65537, 131072];

    for (const [kind, make] of Object.entries(kinds)) {
        s.it(kind, async () => {
            const ws = await socket();

            for (const n of SIZES) {
                for (const binary of kind === 'noise' ? [true] : [true, false])
                {
                    const data = make(n);
                    const [back, was] = await echo(ws, data, { binary });

                    assert.ok(back.equals(data), `${n} bytes`);
                    assert.equal(was, binary);
                }
            }

            ws.terminate();
        });
    }

    s.it('much of few bytes does not keep others waiting', async () => {
        const list = await onAllWorkers(server.workers(), 2, () => Raw.open(
            server.port, '/echo', { headers: {
                'Sec-WebSocket-Extensions': PMD } }));
        const bad = list[0];
        const other = list.find((r) => r !== bad && r.worker === bad.worker);
        const n = 3000;
        let done = 0, behind = 0;

        /* 180 MB of less than 1 MB */

        bad.write(Buffer.concat(Array(n).fill(packed(TEXT,
                                                     'a'.repeat(60000)))));

        const all = (async () => {
            for ( ; done < n; done++) {
                await bad.frame(20000);
            }
        })();

        while (done < n) {
            other.write(frame(PING, 'x'));
            assert.equal((await other.frame(20000)).opcode, PONG);
            behind += done < n;
            await sleep(5);
        }

        await all;
        assert.ok(behind > 5, `only ${behind} pongs meanwhile`);
        list.forEach((r) => r.destroy());
    });

    for (const size of [1, 7, 64, 1000, 4096]) {
        s.it(`in pieces of ${size}`, async () => {
            const r = await Raw.open(server.port, '/echo', { headers: {
                'Sec-WebSocket-Extensions': PMD } });

            for (const n of [0, 1, 100, 3000, 20000]) {
                const data = kinds.digits(n);
                const z = deflate(data);
                let first = true;

                for (let i = 0; i < z.length; i += size) {
                    r.write(frame(first ? TEXT : CONT,
                                  z.subarray(i, i + size),
                                  { rsv: first ? RSV1 : 0,
                                    fin: i + size >= z.length }));
                    first = false;
                }

                const f = await r.frame();
                const back = f.rsv ? inflate(f.payload) : f.payload;

                assert.ok(back.equals(data), `${n} bytes`);
            }

            r.destroy();
        });
    }

    await s.all();
});
