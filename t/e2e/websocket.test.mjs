/*
 * The WebSocket transport: handshake, frames, limits, and what NGINX puts in
 * front of it.
 */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import http2 from 'node:http2';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers } from './lib/client.mjs';
import { acceptOf, BINARY, CLOSE, closePayload, frame, KEY, PING, PONG, Raw,
         TEXT, upgrade } from './lib/raw.mjs';
import { sleep, until, within } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const HUBS = {
    origins: `client_insecure on; allowed_origins https://example.com
        https://*.example.com file://* null http://localhost:*;`,
    any: 'client_insecure on; allowed_origins *;',
    two: `client_insecure on; connection_limit 2;
        allowed_origins https://example.com;`,
    small: 'client_insecure on; message_size_limit 1k;',
};

const CONNECT = '{"id":1,"connect":{}}';
const UNSUB = '{"id":2,"unsubscribe":{"channel":"a"}}';
const UNSUB_OK = '{"id":2,"unsubscribe":{}}';


suite('WebSocket', { concurrency: 16 }, async (s) => {
    const server = await s.start({
        hub: 'client_insecure on; api_insecure on;', hubs: HUBS, h2: true,
        http: `limit_req_zone $uri zone=one:1m rate=1r/s;
               limit_req_zone $uri zone=two:1m rate=5r/s;`,
        locations: Object.keys(HUBS).map((h) => `
            location = /${h} { centrifugo_websocket ${h}; }`).join('\n') + `
            location = /auth/request {
                auth_request /auth/check;
                centrifugo_websocket main;
            }
            location = /auth/check {
                internal;
                if ($request_uri ~ "pass=yes") { return 204; }
                if ($request_uri ~ "pass=login") { return 401; }
                return 403;
            }
            location = /denied { deny all; centrifugo_websocket main; }
            location = /allowed {
                allow 127.0.0.1; deny all; centrifugo_websocket main;
            }
            location = /basic {
                auth_basic realm;
                auth_basic_user_file users;
                centrifugo_websocket main;
            }
            location = /limited {
                limit_req zone=one;
                limit_req_status 429;
                centrifugo_websocket main;
            }
            location = /delayed {
                limit_req zone=two burst=20;
                centrifugo_websocket main;
            }`,
    });

    fs.writeFileSync(`${server.prefix}/users`, 'ann:{PLAIN}pass\n');
    fs.chmodSync(`${server.prefix}/users`, 0o644);

    const port = server.port;
    const main = '/connection/websocket';

    async function ask(uri, options) {
        const r = await Raw.tcp(port);

        try {
            r.write(upgrade(uri, options));
            return await r.response({ method: options && options.method });
        } finally {
            r.destroy();
        }
    }

    /* Shows that a session works, whatever was sent before. */

    async function works(r) {
        r.text(UNSUB);
        assert.equal(await r.message(), UNSUB_OK);
    }

    /* A close frame of this code, then the end of the connection. */

    async function closed(r, code) {
        const got = await r.closeFrame();

        assert.ok([].concat(code).includes(got.code),
                  `close code ${got.code}, expected ${code}`);
        r.write(frame(CLOSE, closePayload(1000)));
        await r.end();
    }


    /* the handshake, in the order of its checks */

    const http = (name, options, status, headers = {}, uri = main) =>
        s.it(`handshake: ${name}: ${status}`, async () => {
            const res = await ask(uri, options);

            assert.ok(res, 'no response');
            assert.equal(res.status, status, res.body);

            for (const [k, v] of Object.entries(headers)) {
                assert.equal(res.headers[k], v, `header ${k}`);
            }

            if (status === 101) {
                assert.equal(res.headers['sec-websocket-accept'],
                             acceptOf(KEY));
                assert.equal(res.headers.upgrade.toLowerCase(), 'websocket');
                assert.equal(res.headers.connection.toLowerCase(),
                             'upgrade');
                assert.equal(res.headers['sec-websocket-extensions'],
                             undefined);
                assert.equal(res.headers['content-length'], undefined);
                assert.equal(res.headers['transfer-encoding'], undefined);

            } else if (!options || options.method !== 'HEAD') {
                assert.match(res.headers['content-type'], /^text\/plain/);
                assert.match(res.body, /^[A-Z][^\r\n]*[^.]\.\r?\n?$/,
                             'a body of one sentence');
                assert.equal(res.body.match(/\. /g), null, res.body);
            }
        });

    const h = (headers) => ({ headers });
    const UP = { upgrade: 'websocket' };
    const V13 = { 'sec-websocket-version': '13' };

    http('plain', undefined, 101);
    http('names in another case', h({ 'Upgrade': 'WebSocket',
                                      'Connection': 'upgrade' }), 101);
    http('Connection with more', h({ 'Connection': 'keep-alive, Upgrade' }),
        101);
    http('Connection with more behind',
        h({ 'Connection': 'Upgrade,keep-alive' }), 101);
    http('a query', undefined, 101, {}, main + '?a=b&c=%20');
    http('extensions offered',
        h({ 'Sec-WebSocket-Extensions': 'permessage-deflate; '
            + 'client_max_window_bits' }), 101);

    for (const method of ['POST', 'PUT', 'DELETE', 'HEAD']) {
        http(method, { method, headers: { 'Content-Length': '0' } }, 405,
            { allow: 'GET' });
    }

    http('POST before all', { method: 'POST', version: '1.0', headers: {
        'Upgrade': undefined, 'Connection': undefined, 'Origin': 'x',
        'Content-Length': '0' } }, 405, { allow: 'GET' });
    http('HTTP/1.0', { version: '1.0' }, 400);
    http('HTTP/1.0 before Upgrade', { version: '1.0', headers: {
        'Upgrade': undefined, 'Connection': undefined } }, 400);
    http('no Upgrade', h({ 'Upgrade': undefined }), 426, UP);
    http('another Upgrade', h({ 'Upgrade': 'h2c' }), 426, UP);
    http('nearly Upgrade', h({ 'Upgrade': 'websockets' }), 426, UP);
    http('empty Upgrade', h({ 'Upgrade': '' }), 426, UP);
    http('a browser that looks', h({
        'Upgrade': undefined, 'Connection': 'keep-alive',
        'Sec-WebSocket-Key': undefined, 'Sec-WebSocket-Version': undefined }),
        426, UP);
    http('Upgrade before Origin', h({ 'Upgrade': undefined,
                                      'Origin': 'http://x' }), 426, UP);
    http('no Connection', h({ 'Connection': undefined }), 400);
    http('Connection: keep-alive', h({ 'Connection': 'keep-alive' }), 400);
    http('Connection: close', h({ 'Connection': 'close' }), 400);
    http('nearly Connection', h({ 'Connection': 'upgraded' }), 400);
    http('nearly Connection, in front', h({ 'Connection': 'x-upgrade' }),
        400);
    http('Connection before version', h({ 'Connection': undefined,
        'Sec-WebSocket-Version': '8' }), 400);
    http('no key', h({ 'Sec-WebSocket-Key': undefined }), 400);
    http('empty key', h({ 'Sec-WebSocket-Key': '' }), 400);
    http('key of 15 bytes', h({ 'Sec-WebSocket-Key':
        Buffer.alloc(15, 'x').toString('base64') }), 400);
    http('key of 17 bytes', h({ 'Sec-WebSocket-Key':
        Buffer.alloc(17, 'x').toString('base64') }), 400);
    http('key not base64', h({ 'Sec-WebSocket-Key':
        '!!!!!!!!!!!!!!!!!!!!!!==' }), 400);
    http('key of 9,000 bytes', h({ 'Sec-WebSocket-Key':
        Buffer.alloc(5000, 'x').toString('base64') }), 400);
    http('key before version', h({ 'Sec-WebSocket-Key': 'x',
        'Sec-WebSocket-Version': '8' }), 400);
    http('key before Origin', h({ 'Sec-WebSocket-Key': 'x',
        'Origin': 'http://x' }), 400);
    http('no version', h({ 'Sec-WebSocket-Version': undefined }), 426, V13);
    http('version 8', h({ 'Sec-WebSocket-Version': '8' }), 426, V13);
    http('version 130', h({ 'Sec-WebSocket-Version': '130' }), 426, V13);
    http('version 013', h({ 'Sec-WebSocket-Version': '013' }), 426, V13);
    http('version before Origin', h({ 'Sec-WebSocket-Version': '8',
        'Origin': 'http://x' }), 426, V13);

    s.it('handshake: HTTP/2: 400', async () => {
        const session = http2.connect(`https://127.0.0.1:${server.h2Port}`,
                                      { rejectUnauthorized: false });
        session.on('error', () => {});

        const res = await within(5000, 'an answer over HTTP/2',
            new Promise((ok, fail) => {
                const req = session.request({ ':path': main });
                let body = '';
                let head;

                req.setEncoding('utf8');
                req.on('response', (x) => { head = x; });
                req.on('data', (x) => { body += x; });
                req.on('end', () => ok({ head, body }));
                req.on('error', fail);
                req.end();
            }));

        session.close();
        assert.equal(res.head[':status'], 400);
        assert.match(res.head['content-type'], /^text\/plain/);
        assert.match(res.body, /^[A-Z][^\n]*\.\r?\n?$/);
    });

    s.it('a refused handshake keeps the HTTP connection', async () => {
        const r = await Raw.tcp(port);

        r.write(upgrade(main, h({ 'Upgrade': undefined,
                                  'Connection': 'keep-alive' })));
        assert.equal((await r.response()).status, 426);
        r.write(upgrade(main));
        assert.equal((await r.response()).status, 101);
        r.text(CONNECT);
        assert.match(await r.message(), /"connect"/);
        r.destroy();
    });

    s.it('a handshake behind other requests of the connection', async () => {
        const r = await Raw.tcp(port);

        r.write('GET /pid HTTP/1.1\r\nHost: x\r\n\r\n'
                + 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n' + upgrade(main));
        assert.equal((await r.response()).status, 200);
        assert.equal((await r.response()).status, 200);
        assert.equal((await r.response()).status, 101);
        r.text(CONNECT);
        assert.match(await r.message(), /"connect"/);
        r.destroy();
    });


    /* subprotocols */

    for (const [offer, echo] of [
        [undefined, undefined],
        ['centrifuge-json', 'centrifuge-json'],
        ['chat', undefined],
        ['chat, centrifuge-json', 'centrifuge-json'],
        ['centrifuge-json,centrifuge-protobuf', 'centrifuge-json'],
        [['chat', 'centrifuge-json'], 'centrifuge-json'],
        ['centrifuge-jsonx', undefined],
        ['xcentrifuge-json', undefined],
        ['', undefined],
    ]) {
        s.it(`subprotocol ${JSON.stringify(offer)}`, async () => {
            const r = await Raw.open(port, main,
                h({ 'Sec-WebSocket-Protocol': offer }));

            assert.equal(r.head.headers['sec-websocket-protocol'], echo);
            r.text(CONNECT);
            assert.match(await r.message(), /"connect"/);
            r.destroy();
        });
    }


    /* Origin */

    const origin = (hub, value, status) =>
        http(`Origin ${value} at ${hub}`, h({ 'Origin': value }), status, {},
             hub === 'main' ? main : `/${hub}`);

    for (const [value, status] of [
        [undefined, 101],
        ['https://example.com', 101],
        ['HTTPS://Example.COM', 101],
        ['https://a.example.com', 101],
        ['https://a.b.example.com', 101],
        ['null', 101],
        ['file:///tmp/x', 101],
        ['http://localhost:3000', 101],
        ['http://localhost', 403],
        ['http://example.com', 403],
        ['https://example.com:8443', 403],
        ['https://example.com.evil.org', 403],
        ['https://evilexample.com', 403],
        ['https://evil.org', 403],
        ['https://example.co', 403],
        ['https://a.example.com.evil.org', 403],
        ['xhttps://example.com', 403],
        ['nullx', 403],
        ['file:/x', 403],
        ['https://' + 'a'.repeat(3000) + '.org', 403],
    ]) {
        origin('origins', value, status);
    }

    origin('main', undefined, 101);
    origin('main', 'https://example.com', 403);
    origin('main', 'null', 403);
    origin('main', 'http://localhost', 403);
    origin('any', 'https://evil.org', 101);
    origin('any', 'null', 101);
    origin('any', undefined, 101);


    /* frames */

    const frames = (name, bytes, check, uri = main) => s.it(name,
        async () => {
            const r = await Raw.connect(port, uri);

            for (const b of [].concat(bytes)) {
                r.write(b);
            }

            try {
                if (typeof check === 'function') {
                    await check(r);
                } else {
                    await closed(r, check);
                }
            } finally {
                r.destroy();
            }
        });

    const reply = (want = UNSUB_OK) => async (r) => {
        assert.equal(await r.message(), want);
        await works(r);
    };

    frames('a text frame', frame(TEXT, UNSUB), reply());
    frames('a binary frame', frame(BINARY, UNSUB), reply());
    frames('a length in 16 bits', frame(TEXT, UNSUB.padEnd(126)), reply());
    frames('the longest length in 16 bits', frame(TEXT, UNSUB.padEnd(65535)),
        reply());
    frames('the largest message, length in 64 bits',
        frame(TEXT, UNSUB.padEnd(65536)), reply());
    frames('an unmasked frame', frame(TEXT, UNSUB, { mask: false }), 1002);
    frames('an unmasked ping', frame(PING, '', { mask: false }), 1002);

    for (const rsv of [1, 2, 4, 7]) {
        frames(`reserved bits ${rsv}`, frame(TEXT, UNSUB, { rsv }), 1002);
    }

    frames('a reserved bit in a ping', frame(PING, '', { rsv: 4 }), 1002);

    for (const op of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
        frames(`opcode ${op}`, frame(op, ''), 1002);
    }

    frames('a continuation of nothing', frame(0, UNSUB), 1002);
    frames('an empty continuation of nothing', frame(0, ''), 1002);
    frames('a text inside a fragmented message',
        [frame(TEXT, '{"id"', { fin: false }), frame(TEXT, UNSUB)], 1002);
    frames('a fragmented message',
        [frame(TEXT, UNSUB.slice(0, 5), { fin: false }),
         frame(0, UNSUB.slice(5, 9), { fin: false }),
         frame(0, UNSUB.slice(9))], reply());
    frames('a fragment for each byte',
        [frame(TEXT, '', { fin: false }),
         ...[...UNSUB].map((x) => frame(0, x, { fin: false })),
         frame(0, '')], reply());
    frames('a fragmented binary message',
        [frame(BINARY, UNSUB.slice(0, 5), { fin: false }),
         frame(0, UNSUB.slice(5))], reply());
    frames('a fragmented empty message',
        [frame(TEXT, '', { fin: false }), frame(0, '')], 3501);
    frames('control frames between fragments',
        [frame(TEXT, UNSUB.slice(0, 5), { fin: false }), frame(PING, 'one'),
         frame(0, UNSUB.slice(5, 9), { fin: false }), frame(PONG, 'x'),
         frame(PING, 'two')],
        async (r) => {
            for (const want of ['one', 'two']) {
                const f = await r.frame();

                assert.equal(f.opcode, PONG);
                assert.equal(f.payload.toString(), want);
            }

            r.write(frame(0, UNSUB.slice(9)));
            await reply()(r);
        });
    frames('a close between fragments',
        [frame(TEXT, UNSUB.slice(0, 5), { fin: false }),
         frame(CLOSE, closePayload(1000))],
        async (r) => {
            assert.equal((await r.closeFrame()).code, 1000);
            await r.end();
        });
    frames('20,000 empty fragments',
        [frame(TEXT, UNSUB.slice(0, 5), { fin: false }),
         Buffer.concat(Array.from({ length: 20000 },
                                  () => frame(0, '', { fin: false }))),
         frame(0, UNSUB.slice(5))], reply());

    for (const text of ['', 'hello', '\u0000\uffff', 'x'.repeat(125)]) {
        frames(`a ping of ${text.length}`, frame(PING, text), async (r) => {
            const f = await r.frame();

            assert.equal(f.opcode, PONG);
            assert.equal(f.fin, true);
            assert.equal(f.masked, false);
            assert.equal(f.payload.toString(), text);
            await works(r);
        });
    }

    frames('a ping with any bytes', frame(PING, Buffer.from([0xff, 0, 0x80])),
        async (r) => {
            assert.deepEqual([...(await r.frame()).payload],
                             [0xff, 0, 0x80]);
        });
    frames('many pings', Buffer.concat(Array.from({ length: 500 },
        (_, i) => frame(PING, String(i)))), async (r) => {
        for (let i = 0; i < 500; i++) {
            const f = await r.frame();

            assert.equal(f.opcode, PONG);
            assert.equal(f.payload.toString(), String(i));
        }

        await works(r);
    });
    frames('an unsolicited pong frame', [frame(PONG, 'x'), frame(PONG, '')],
        works);
    frames('a ping of 126', frame(PING, 'x'.repeat(126)), 1002);
    frames('a pong of 126', frame(PONG, 'x'.repeat(126)), 1002);
    frames('a close of 126', frame(CLOSE,
        closePayload(1000, 'x'.repeat(124))), 1002);
    frames('a ping that says 65536', frame(PING, '', { announce: 65536 }),
        1002);
    frames('a fragmented ping', frame(PING, 'x', { fin: false }), 1002);
    frames('a fragmented close',
        frame(CLOSE, closePayload(1000), { fin: false }), 1002);

    s.it('a ping before connect', async () => {
        const r = await Raw.open(port, main);

        r.write(frame(PING, 'early'));
        assert.equal((await r.frame()).payload.toString(), 'early');
        r.text(CONNECT);
        assert.match(await r.message(), /"connect"/);
        r.destroy();
    });


    /* closes */

    for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011,
                        3000, 3500, 3999, 4000, 4999])
    {
        frames(`a close of ${code}`,
            frame(CLOSE, closePayload(code, 'bye')), async (r) => {
                assert.equal((await r.closeFrame()).code, code);
                await r.end();
            });
    }

    for (const code of [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000,
                        2999, 5000, 65535])
    {
        frames(`a close of ${code}, which nobody may send`,
            frame(CLOSE, closePayload(code)), async (r) => {
                assert.equal((await r.closeFrame()).code, 1002);
                await r.end();
            });
    }

    frames('an empty close', frame(CLOSE, ''), async (r) => {
        assert.ok([1000, 1005].includes((await r.closeFrame()).code));
        await r.end();
    });
    frames('a close of one byte', frame(CLOSE, 'x'), async (r) => {
        assert.equal((await r.closeFrame()).code, 1002);
        await r.end();
    });
    frames('a close with a long reason',
        frame(CLOSE, closePayload(1000, 'x'.repeat(123))), async (r) => {
            assert.equal((await r.closeFrame()).code, 1000);
            await r.end();
        });
    frames('a close whose reason is not UTF-8',
        frame(CLOSE, closePayload(1000, Buffer.from([0xc0, 0x80]))),
        async (r) => {
            assert.ok([1002, 1007].includes((await r.closeFrame()).code));
            await r.end();
        });
    frames('nothing counts after a close',
        Buffer.concat([frame(CLOSE, closePayload(1000)), frame(TEXT, UNSUB),
                       frame(PING, 'x')]), async (r) => {
            assert.equal((await r.closeFrame()).code, 1000);
            assert.equal(await r.frame(), null);
        });
    frames('commands before a close are answered',
        [frame(TEXT, UNSUB), frame(CLOSE, closePayload(1000))], async (r) => {
            assert.equal(await r.message(), UNSUB_OK);
            assert.equal((await r.closeFrame()).code, 1000);
            await r.end();
        });
    frames('the server closes: close frame, answer, end',
        frame(TEXT, 'x'), async (r) => {
            assert.deepEqual(await r.closeFrame(),
                             { code: 3501, reason: 'bad request' });
            r.write(frame(CLOSE, closePayload(3501)));
            await r.end(2000);
        });
    frames('nothing is answered after the close of the server',
        [frame(TEXT, 'x'), frame(TEXT, UNSUB), frame(PING, 'x')],
        async (r) => {
            assert.equal((await r.closeFrame()).code, 3501);
            r.text(UNSUB);
            r.write(frame(CLOSE, closePayload(3501)));
            assert.equal(await r.frame(), null);
        });
    frames('a peer that does not answer the close',
        frame(TEXT, 'x'), async (r) => {
            const begin = Date.now();

            assert.equal((await r.closeFrame()).code, 3501);
            await r.end(8000);
            assert.ok(Date.now() - begin < 7000);
        });


    /* UTF-8 */

    const utf8 = (bytes) => Buffer.concat([
        Buffer.from('{"id":2,"rpc":{"data":"'), Buffer.from(bytes),
        Buffer.from('"}}')]);

    const RPC = '{"id":2,"error":{"code":108,"message":"not available"}}';

    for (const bytes of [
        [0xc0, 0x80], [0xc1, 0xbf], [0xe0, 0x80, 0x80], [0xe0, 0x9f, 0xbf],
        [0xf0, 0x80, 0x80, 0x80], [0xf0, 0x8f, 0xbf, 0xbf],
        [0xed, 0xa0, 0x80], [0xed, 0xbf, 0xbf],
        [0xed, 0xa0, 0x81, 0xed, 0xb0, 0x80],
        [0xf4, 0x90, 0x80, 0x80], [0xf5, 0x80, 0x80, 0x80],
        [0xf8, 0x88, 0x80, 0x80, 0x80],
        [0xff], [0xfe], [0x80], [0xbf], [0xe2, 0x82], [0xe2, 0x28, 0xa1],
        [0xc3], [0xf0, 0x9f, 0x98], [0x61, 0xc3, 0x28],
    ]) {
        const hex = Buffer.from(bytes).toString('hex');

        frames(`text with ${hex}`, frame(TEXT, utf8(bytes)), 1007);
        frames(`binary with ${hex}`, frame(BINARY, utf8(bytes)), 3501);
    }

    frames('a text that ends in half a character',
        frame(TEXT, Buffer.from([0x7b, 0xe2, 0x82])), 1007);
    frames('a fragmented text that ends in half a character',
        [frame(TEXT, '{', { fin: false }),
         frame(0, Buffer.from([0xe2, 0x82]))], 1007);

    for (const bytes of [[0xc2, 0x80], [0xe0, 0xa0, 0x80], [0xed, 0x9f, 0xbf],
                         [0xee, 0x80, 0x80], [0xef, 0xbf, 0xbf],
                         [0xf0, 0x90, 0x80, 0x80], [0xf4, 0x8f, 0xbf, 0xbf]])
    {
        const whole = utf8(bytes);

        frames(`text with ${Buffer.from(bytes).toString('hex')}, cut`, [
            frame(TEXT, whole.subarray(0, 24), { fin: false }),
            frame(0, whole.subarray(24, 25), { fin: false }),
            frame(0, whole.subarray(25))], reply(RPC));
    }

    frames('a surrogate cut in two fragments', [
        frame(TEXT, utf8([0xed, 0xa0, 0x80]).subarray(0, 24),
              { fin: false }),
        frame(0, utf8([0xed, 0xa0, 0x80]).subarray(24))], 1007);


    /* message_size_limit: the announced length is enough */

    for (const [name, bytes] of [
        ['1025', frame(TEXT, '', { announce: 1025 })],
        ['65536', frame(TEXT, '', { announce: 65536 })],
        ['2^32', frame(TEXT, '', { announce: 1n << 32n })],
        ['2^40', frame(TEXT, '', { announce: 1n << 40n })],
        ['2^63 - 1', frame(BINARY, '', { announce: (1n << 63n) - 1n })],
    ]) {
        frames(`a header that announces ${name} bytes`, bytes, 1009,
               '/small');
    }

    frames('a header that announces 2^64 - 1 bytes',
        frame(TEXT, '', { announce: (1n << 64n) - 1n }), [1002, 1009],
        '/small');
    frames('a fragment that makes it too much',
        [frame(TEXT, UNSUB.padEnd(1000), { fin: false }),
         frame(0, '', { announce: 25 })], 1009, '/small');
    frames('a fragment whose length overflows',
        [frame(TEXT, UNSUB.padEnd(1000), { fin: false }),
         frame(0, '', { announce: (1n << 63n) - 1n })], 1009, '/small');
    frames('fragments that fill the limit',
        [frame(TEXT, UNSUB.padEnd(1000), { fin: false }),
         frame(0, ' '.repeat(24))], reply(), '/small');
    frames('a ping does not count to the limit',
        [frame(TEXT, UNSUB.padEnd(1000), { fin: false }),
         frame(PING, 'x'.repeat(125)), frame(0, ' '.repeat(24))],
        async (r) => {
            assert.equal((await r.frame()).opcode, PONG);
            await reply()(r);
        }, '/small');


    /* how the bytes arrive */

    s.it('byte by byte', async () => {
        const r = await Raw.tcp(port);

        await r.drip(upgrade(main));
        assert.equal((await r.response()).status, 101);
        await r.drip(frame(TEXT, CONNECT));
        assert.match(await r.message(), /"connect"/);
        await r.drip(Buffer.concat([
            frame(TEXT, UNSUB.slice(0, 9), { fin: false }),
            frame(PING, 'mid'),
            frame(0, UNSUB.slice(9).padEnd(200)),
        ]));
        assert.equal((await r.frame()).payload.toString(), 'mid');
        assert.equal(await r.message(), UNSUB_OK);
        await r.drip(frame(CLOSE, closePayload(1000)));
        assert.equal((await r.closeFrame()).code, 1000);
        await r.end();
    });

    for (const cut of [1, 2, 3, 5, 6, 7, 13]) {
        s.it(`a frame cut after ${cut} bytes`, async () => {
            const r = await Raw.connect(port, main);

            for (const text of [UNSUB, UNSUB.padEnd(300)]) {
                const b = frame(TEXT, text);

                r.write(b.subarray(0, cut));
                await sleep(30);
                r.write(b.subarray(cut));
                assert.equal(await r.message(), UNSUB_OK);
            }

            r.destroy();
        });
    }

    s.it('frames right behind the handshake', async () => {
        const r = await Raw.tcp(port);

        r.write(Buffer.concat([Buffer.from(upgrade(main)),
                               frame(TEXT, CONNECT), frame(TEXT, UNSUB)]));
        assert.equal((await r.response()).status, 101);
        assert.match(await r.message(), /"connect"/);
        assert.equal(await r.message(), UNSUB_OK);
        await works(r);
        r.destroy();
    });

    s.it('many frames right behind the handshake', async () => {
        const r = await Raw.tcp(port);
        const n = 2000;
        const list = Array.from({ length: n }, (_, i) => frame(TEXT,
            `{"id":${i + 2},"unsubscribe":{"channel":"a"}}`));

        r.write(Buffer.concat([Buffer.from(upgrade(main)),
                               frame(TEXT, CONNECT), ...list]));
        assert.equal((await r.response()).status, 101);

        const lines = [];

        while (lines.length < n + 1) {
            lines.push(...(await r.message()).split('\n'));
        }

        assert.match(lines.shift(), /"connect"/);
        lines.forEach((line, i) => assert.equal(line,
            `{"id":${i + 2},"unsubscribe":{}}`));
        r.destroy();
    });

    s.it('half a frame behind the handshake', async () => {
        const r = await Raw.tcp(port);
        const b = frame(TEXT, CONNECT);

        r.write(Buffer.concat([Buffer.from(upgrade(main)),
                               b.subarray(0, 9)]));
        assert.equal((await r.response()).status, 101);
        await sleep(30);
        r.write(b.subarray(9));
        assert.match(await r.message(), /"connect"/);
        r.destroy();
    });

    s.it('a wrong frame behind the handshake', async () => {
        const r = await Raw.tcp(port);

        r.write(Buffer.concat([Buffer.from(upgrade(main)),
                               frame(TEXT, 'x', { mask: false })]));
        assert.equal((await r.response()).status, 101);
        await closed(r, 1002);
    });

    s.it('a close behind the handshake', async () => {
        const r = await Raw.tcp(port);

        r.write(Buffer.concat([Buffer.from(upgrade(main)),
                               frame(CLOSE, closePayload(1001))]));
        assert.equal((await r.response()).status, 101);
        assert.equal((await r.closeFrame()).code, 1001);
        await r.end();
    });

    s.it('the end of TCP behind the handshake', async () => {
        const r = await Raw.tcp(port);

        r.socket.end(upgrade(main));
        assert.equal((await r.response()).status, 101);
        await r.end();
    });

    s.it('many frames in a segment', async () => {
        const r = await Raw.connect(port, main);
        const n = 1000;

        r.write(Buffer.concat(Array.from({ length: n }, (_, i) => frame(TEXT,
            `{"id":${i + 2},"unsubscribe":{"channel":"a"}}`))));

        const lines = [];

        while (lines.length < n) {
            lines.push(...(await r.message()).split('\n'));
        }

        lines.forEach((line, i) => assert.equal(line,
            `{"id":${i + 2},"unsubscribe":{}}`));
        r.destroy();
    });

    s.it('a megabyte of frames in one write', async () => {
        const r = await Raw.connect(port, main);
        const n = 40;

        r.write(Buffer.concat(Array.from({ length: n }, (_, i) => frame(TEXT,
            `{"id":${i + 2},"unsubscribe":{"channel":"a"}}`
                .padEnd(30000)))));

        for (let i = 0; i < n; ) {
            for (const line of (await r.message()).split('\n')) {
                assert.equal(line, `{"id":${i + 2},"unsubscribe":{}}`);
                i++;
            }
        }

        r.destroy();
    });


    /* what NGINX has in front of it */

    const front = (name, uri, status, options) => s.it(
        `${name}: ${status}`, async () => {
            const res = await ask(uri, options);

            assert.equal(res.status, status);
        });

    front('auth_request refuses', '/auth/request', 403);
    front('auth_request asks to log in', '/auth/request?pass=login', 401);
    front('deny', '/denied', 403);
    front('auth_basic without a password', '/basic', 401);
    front('auth_basic with a wrong password', '/basic', 401,
        h({ 'Authorization': 'Basic '
            + Buffer.from('ann:no').toString('base64') }));

    const behind = (name, uri, options) => s.it(name, async () => {
        const list = await onAllWorkers(server.workers(), 1,
            () => Raw.open(port, uri, options));

        for (const r of list) {
            r.text(CONNECT);
            assert.match(await r.message(), /"connect"/);
            r.text('{"id":3,"subscribe":{"channel":"behind"}}');
            assert.equal(await r.message(), '{"id":3,"subscribe":{}}');
            r.destroy();
        }
    });

    behind('auth_request lets in', '/auth/request?pass=yes');
    behind('allow lets in', '/allowed');
    behind('auth_basic lets in', '/basic', h({ 'Authorization':
        'Basic ' + Buffer.from('ann:pass').toString('base64') }));
    behind('limit_req delays', '/delayed');

    s.it('limit_req refuses', async () => {
        const got = [];

        for (let i = 0; i < 3; i++) {
            got.push((await ask('/limited')).status);
        }

        assert.equal(got[0], 101);
        assert.ok(got.slice(1).includes(429), String(got));
    });

    s.it('eager bytes behind auth_request and limit_req', async () => {
        for (const uri of ['/auth/request?pass=yes', '/delayed']) {
            const r = await Raw.tcp(port);

            r.write(Buffer.concat([Buffer.from(upgrade(uri)),
                                   frame(TEXT, CONNECT)]));
            assert.equal((await r.response()).status, 101);
            assert.match(await r.message(), /"connect"/);
            r.destroy();
        }
    });


    /* connection_limit */

    await s.all();

    await s.serial('connection_limit: 503, over all workers', async () => {
        const list = [];
        let refused;

        for (let i = 0; i < 8; i++) {
            const r = await Raw.tcp(port);

            r.write(upgrade('/two'));

            const res = await r.response();

            if (res.status === 101) {
                list.push(r);
            } else {
                refused = res;
                r.destroy();
            }
        }

        assert.equal(list.length, 2);
        assert.equal(refused.status, 503);
        assert.match(refused.headers['content-type'], /^text\/plain/);
        assert.match(refused.body, /^[A-Z][^\n]*\.\r?\n?$/);

        /* the origin is looked at first */

        assert.equal((await ask('/two', h({ 'Origin': 'http://x' }))).status,
                     403);

        list.pop().destroy();

        list.push(await until('room for one', async () => {
            const r = await Raw.tcp(port);

            r.write(upgrade('/two'));

            if ((await r.response()).status === 101) {
                return r;
            }

            r.destroy();
            return false;
        }));

        assert.equal((await ask('/two')).status, 503);
        list.forEach((r) => r.destroy());
    });


    /* connections that end badly */

    await s.serial('half frames, then the end', async () => {
        const api = apiOf(server);
        const good = await onAllWorkers(server.workers(), 1, async () => {
            const c = await Client.connect(server.ws());

            await c.subscribe('good');
            return c;
        });

        await Promise.all(Array.from({ length: 100 }, async (_, i) => {
            const r = await Raw.connect(port, main);
            const b = frame(TEXT, UNSUB.padEnd(200 + 50 * i));

            r.write(b.subarray(0, 1 + i * 20));

            if (i % 3 === 0) {
                r.socket.end();
                await r.end();
            } else if (i % 3 === 1) {
                await sleep(20);
                r.reset();
            } else {
                await sleep(20);
                r.destroy();
            }
        }));

        await api.publish('good', 1);

        for (const c of good) {
            assert.equal((await c.json()).push.pub.data, 1);
            c.terminate();
        }

        for (const what of ['clients', 'subscriptions', 'channels']) {
            await until(`no ${what}`, async () => await server.metric(
                `centrifugo_node_num_${what}`) === 0, 8000);
        }

        api.close();
    });
});
