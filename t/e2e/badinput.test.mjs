/*
 * Garbage of many kinds, from a seeded generator, while good clients in both
 * workers go on receiving numbered publications without a loss. The seed is
 * printed; SEED in the environment repeats a run.
 */

import assert from 'node:assert/strict';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers } from './lib/client.mjs';
import { jwt } from './lib/jwt.mjs';
import { BINARY, CLOSE, closePayload, frame, Raw, TEXT, upgrade }
    from './lib/raw.mjs';
import { sleep, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const SEED = Number(process.env.SEED) || (Date.now() & 0x7fffffff);

/* What workers may grow by after a first round of all kinds of garbage. */

const GROWTH = 6 << 20;

/* A sanitizer keeps what was freed: its memory says nothing. */

const EXACT = !process.env.NGINX_LD_PRELOAD;

/* mulberry32 */

function generator(seed) {
    let a = seed >>> 0;

    const next = () => {
        a = (a + 0x6d2b79f5) >>> 0;
        let t = Math.imul(a ^ (a >>> 15), 1 | a);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };

    const int = (n) => Math.floor(next() * n);
    const pick = (list) => list[int(list.length)];
    const bytes = (n) => Buffer.from(Array.from({ length: n },
                                                () => int(256)));

    return { next, int, pick, bytes };
}


const TOKEN = jwt({ sub: '42', exp: 4000000000, info: { a: [1] } });

const COMMANDS = [
    '{"id":1,"connect":{}}',
    `{"id":1,"connect":{"token":"${TOKEN}","name":"js","data":{"a":1}}}`,
    '{"id":2,"subscribe":{"channel":"bad","recover":true,"offset":12}}',
    '{"id":3,"unsubscribe":{"channel":"bad"}}',
    '{"id":4,"publish":{"channel":"bad","data":{"x":[1,2.5e3,"\u00e9"]}}}',
    '{"id":5,"presence":{"channel":"bad"}}',
    '{"id":6,"history":{"channel":"bad","limit":-1,"since":{"offset":1}}}',
    '{"id":7,"rpc":{"method":"m","data":null}}',
    `{"id":8,"refresh":{"token":"${TOKEN}"}}`,
    '{"id":9,"sub_refresh":{"channel":"bad","token":"t"}}',
    '{"send":{"data":true}}',
    '{}',
];

const API_BODIES = [
    '{"channel":"bad","data":{"x":1}}',
    '{"channel":"bad","b64data":"eyJ4IjoxfQ==","tags":{"a":"b"}}',
    '{"channels":["bad","nope:x",""],"data":"\u20ac"}',
    '{"id":1,"method":"publish","params":{"channel":"bad","data":1}}\n'
    + '{"id":2,"method":1,"params":{"channels":["bad"],"data":2}}',
];

const PIECES = ['{', '}', '[', ']', '"', ':', ',', '\\', '\\u', '\\ud800',
                '\n', '\r', '\u0000', 'null', 'true', '-', '0', '1e999',
                '99999999999999999999', '-1', '1.5', ' ', '\u00e9', '""',
                '{}', '[[[[', '"id":', '"connect":{}', '\t', '\v', '/**/'];


function mutate(g, text) {
    let b = Buffer.from(text);

    for (let n = 1 + g.int(4); n > 0; n--) {
        const at = g.int(b.length + 1);

        switch (g.int(8)) {
        case 0:     /* a byte is changed */
            if (at < b.length) {
                b = Buffer.from(b);
                b[at] = g.int(256);
            }
            break;
        case 1:     /* some are lost */
            b = Buffer.concat([b.subarray(0, at),
                               b.subarray(at + 1 + g.int(5))]);
            break;
        case 2:     /* some come in */
            b = Buffer.concat([b.subarray(0, at), g.bytes(1 + g.int(4)),
                               b.subarray(at)]);
            break;
        case 3:
        case 4:     /* something with a meaning comes in */
            b = Buffer.concat([b.subarray(0, at), Buffer.from(g.pick(PIECES)),
                               b.subarray(at)]);
            break;
        case 5:     /* the end is cut off */
            b = b.subarray(0, at);
            break;
        case 6: {   /* a part comes twice */
            const part = b.subarray(at, at + 1 + g.int(20));
            b = Buffer.concat([b.subarray(0, at), part, b.subarray(at)]);
            break;
        }
        default:    /* a part comes very often */
            b = Buffer.concat([b.subarray(0, at),
                Buffer.from(g.pick(PIECES).repeat(1 + g.int(3000))),
                b.subarray(at)]);
        }
    }

    return b.subarray(0, 100000);
}


suite('bad input', { concurrency: 6, timeout: 180000 }, async (s) => {
    console.log(`# SEED=${SEED}`);

    const server = await s.start({
        hub: `client_insecure on; token_hmac_secret_key secret;
            api_insecure on; stale_close_delay 2s;`,
        main: 'worker_rlimit_core 0;',
    });

    const main = '/connection/websocket';
    const pids = server.workers();
    const api = apiOf(server);

    const good = await onAllWorkers(pids, 2, async () => {
        const c = await Client.connect(server.ws());

        await c.subscribe('good');
        return c;
    });

    let published = 0;
    let stop = false;

    const feed = (async () => {
        while (!stop) {
            await api.publish('good', ++published);
            await sleep(5);
        }
    })();

    feed.catch(() => {});       /* looked at when it is awaited */

    /* What comes back on a garbled connection must be well-formed. */

    async function drain(r, ms = 300) {
        const end = Date.now() + ms;

        for ( ;; ) {
            const left = end - Date.now();

            if (left <= 0) {
                return;
            }

            let f;

            try {
                f = await r.frame(left);
            } catch {
                return;         /* still open, nothing to say */
            }

            if (!f) {
                return;
            }

            assert.equal(f.rsv, 0);
            assert.equal(f.masked, false);

            if (f.opcode === TEXT) {
                for (const line of f.payload.toString('utf8').split('\n')) {
                    JSON.parse(line);
                }

            } else if (f.opcode === CLOSE) {
                const code = f.payload.length ? f.payload.readUInt16BE(0)
                                              : 1005;

                /* its own, or an echo of one the generator hit upon */

                assert.ok(code >= 1000 && code < 5000
                          && ![1004, 1006, 1015].includes(code),
                          `close code ${code}`);
                r.write(frame(CLOSE, closePayload(1000)));
            }
        }
    }

    async function opened(connect) {
        const r = await (connect ? Raw.connect(server.port, main)
                                 : Raw.open(server.port, main));
        return r;
    }

    function bye(g, r) {
        if (g.int(3) === 0) {
            r.reset();
        } else {
            r.destroy();
        }
    }

    const KINDS = {
        async 'random bytes instead of frames'(g) {
            const r = await opened(g.int(2));

            r.write(g.bytes(1 + g.int(400)));
            await drain(r, 100);
            bye(g, r);
        },

        async 'random frames'(g) {
            const r = await opened(g.int(2));

            for (let n = g.int(8); n >= 0; n--) {
                r.write(frame(g.int(16), g.bytes(g.int(200)), {
                    fin: g.int(4) > 0, rsv: g.int(8) ? 0 : g.int(8),
                    mask: g.int(16) > 0,
                    announce: g.int(10) ? undefined
                                        : g.pick([1, 125, 70000, 1 << 30,
                                                  1n << 40n, 1n << 63n,
                                                  (1n << 64n) - 1n]),
                    size: g.int(10) ? undefined : 64,
                }));
            }

            await drain(r, 100);
            bye(g, r);
        },

        async 'commands that are nearly right'(g) {
            const r = await opened(g.int(4));

            for (let n = 1 + g.int(6); n > 0; n--) {
                const lines = Array.from({ length: 1 + g.int(3) },
                    () => (g.int(3) ? mutate(g, g.pick(COMMANDS))
                                    : Buffer.from(g.pick(COMMANDS))));

                r.write(frame(g.int(2) ? TEXT : BINARY,
                    Buffer.concat(lines.flatMap(
                        (x, i) => (i ? [Buffer.from('\n'), x] : [x])))));
            }

            await drain(r, 100);
            bye(g, r);
        },

        async 'frames cut anywhere'(g) {
            const r = await opened(1);
            const b = Buffer.concat(Array.from({ length: 1 + g.int(5) },
                () => frame(g.pick([TEXT, BINARY, 9, 10]),
                            g.pick(COMMANDS).slice(0, 120))));

            for (let at = 0; at < b.length; ) {
                const n = 1 + g.int(40);

                r.write(b.subarray(at, at + n));
                at += n;
                await new Promise((ok) => setImmediate(ok));

                if (g.int(30) === 0) {
                    break;
                }
            }

            bye(g, r);
        },

        async 'handshakes that are nearly right'(g) {
            const r = await Raw.tcp(server.port);

            r.write(mutate(g, upgrade(main)));
            r.write(frame(TEXT, COMMANDS[0]));
            await sleep(g.int(40));
            bye(g, r);
        },

        async 'API bodies that are nearly right'(g) {
            const res = await server.request('POST',
                g.pick(['/api', '/api/publish', '/api/broadcast']),
                { body: mutate(g, g.pick(API_BODIES)) });

            assert.ok([200, 400].includes(res.status), `${res.status}`);

            if (res.status === 200) {
                res.body.trimEnd().split('\n').forEach((x) => JSON.parse(x));
            }
        },

        async 'API requests cut anywhere'(g) {
            const r = await Raw.tcp(server.port);
            const body = mutate(g, g.pick(API_BODIES));

            r.write(`POST /api/publish HTTP/1.1\r\nHost: x\r\n`
                    + `Content-Length: ${body.length + g.int(50)}\r\n\r\n`);
            r.write(body);
            await sleep(g.int(10));
            bye(g, r);
        },

        async 'tokens that are nearly right'(g) {
            const r = await opened(0);

            r.write(frame(TEXT, JSON.stringify({ id: 1, connect: {
                token: mutate(g, TOKEN).toString('latin1') } })));
            await drain(r, 100);
            bye(g, r);
        },
    };

    /* A connection may be reset while the garbage is being written. */

    const gone = (e) => /ECONNRESET|EPIPE|ECONNABORTED|socket hang up/
        .test(`${e.code} ${e.message}`);

    async function round(name, times, seed, width = 12) {
        await Promise.all(Array.from({ length: width }, async (_, w) => {
            const g = generator(SEED + seed * 1000003 + w * 7919);

            for (let i = 0; i < times / width; i++) {
                try {
                    await KINDS[name](g);
                } catch (e) {
                    if (!gone(e)) {
                        throw e;
                    }
                }
            }
        }));
    }

    const names = Object.keys(KINDS);

    const quiet = () => until('the bad clients to be gone', async () =>
        await server.metric('centrifugo_node_num_clients') === good.length,
        8000);

    for (const [i, name] of names.entries()) {
        s.it(`${name}, first round`, () => round(name, 240, i), 60000);
    }

    await s.all();
    await quiet();

    const before = server.anonymousMemory();

    for (const [i, name] of names.entries()) {
        s.it(`${name}, second round`, () => round(name, 960, 100 + i), 60000);
    }

    await s.serial('a million braces', async () => {
        for (const [text, code] of [['{'.repeat(1 << 20), 1009],
                                    ['{'.repeat(60000), 3501],
                                    ['[{"a":'.repeat(10000), 3501],
                                    ['"'.repeat(60001), 3501],
                                    ['\\'.repeat(60000), 3501],
                                    ['\n'.repeat(60000), 3501]])
        {
            for (let i = 0; i < 20; i++) {
                const c = await Client.connect(server.ws(),
                                               { encoding: 'json' });

                c.frame(text);
                assert.equal((await c.untilClosed()).code, code);
            }
        }
    });

    await s.serial('500 connections that promise much and send nothing',
        async () => {
            const list = await Promise.all(Array.from({ length: 500 },
                async () => {
                    const r = await opened(1);

                    r.write(frame(TEXT, '{', { announce: 65000 }));
                    return r;
                }));

            const grown = server.anonymousMemory() - before;

            list.forEach((r) => r.destroy());
            assert.ok(grown < 500 * 16384 || !EXACT,
                      `grown by ${grown} bytes`);
        });

    await s.serial('no worker has grown, none has died', async () => {
        await quiet();

        const grown = server.anonymousMemory() - before;

        assert.ok(grown < GROWTH || !EXACT, `grown by ${grown} bytes`);
        assert.deepEqual(server.workers(), pids);
    });

    await s.serial('the good clients have received everything', async () => {
        stop = true;
        await feed;
        assert.ok(published > 200, `only ${published} publications`);

        for (const c of good) {
            for (let n = 1; n <= published; n++) {
                assert.equal(await c.line(),
                    `{"push":{"channel":"good","pub":{"data":${n}}}}`);
            }

            assert.deepEqual(await c.settle(), []);
            c.terminate();
        }
    });

    await s.serial('nothing is left of the bad ones', async () => {
        for (const what of ['clients', 'subscriptions', 'channels']) {
            await until(`no ${what}`, async () => await server.metric(
                `centrifugo_node_num_${what}`) === 0, 8000);
        }
    });

    api.close();
});
