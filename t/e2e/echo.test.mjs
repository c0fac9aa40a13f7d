/*
 * The WebSocket layer alone, in the manner of compliance suites: a location
 * of the test build sends each message back.  And a look at the shipped
 * build, which must have nothing of the test build in it.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';

import { BINARY, CLOSE, closePayload, frame, PING, PONG, Raw, TEXT,
         upgrade } from './lib/raw.mjs';
import { MODULE, TEST_MODULE, until, within } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const CONT = 0;
const MB = 1024 * 1024;
const LIMIT = 16 * MB;

const hex = (s) => Buffer.from(s.replace(/ /g, ''), 'hex');

/* not UTF-8, each for a reason of its own */

const INVALID = [
    '80', 'bf', '80 bf', 'c0 80', 'c0 af', 'c1 bf', 'c2', 'c2 c2', 'c3 28',
    'df', 'e0 80 80', 'e0 9f bf', 'e0 a0', 'e2 28 a1', 'e2 82 28', 'e2 82',
    'ed a0 80', 'ed af bf', 'ed b0 80', 'ed bf bf', 'ef bf', 'f0 80 80 80',
    'f0 8f bf bf', 'f0 90 80', 'f0 28 8c bc', 'f0 90 28 bc', 'f0 90 8c 28',
    'f4 90 80 80', 'f4 bf bf bf', 'f5 80 80 80', 'f7 bf bf bf',
    'f8 88 80 80 80', 'fc 84 80 80 80 80', 'fe', 'ff', 'fe fe ff ff',
    'ed a0 80 ed b0 80',
];

/* the first and last character of each length, and those next to gaps */

const VALID = [0, 0x7f, 0x80, 0x7ff, 0x800, 0xfff, 0x1000, 0xcfff, 0xd7ff,
               0xe000, 0xfdd0, 0xfeff, 0xfffd, 0xfffe, 0xffff, 0x10000,
               0x1ffff, 0x3ffff, 0x40000, 0xfffff, 0x100000, 0x10ffff];


suite('WebSocket echo', { concurrency: 12 }, async (s) => {
    const server = await s.start({
        module: TEST_MODULE,
        hub: 'client_insecure on; api_insecure on; queue_max_size 64m; '
             + 'write_timeout 5s;',
        locations: 'location = /echo { centrifugo_ws_echo main; }',
    });

    const open = () => Raw.open(server.port, '/echo');

    const sameFrame = (f, opcode, payload, what = '') => {
        assert.ok(f, `the connection ended instead of a frame ${what}`);
        assert.deepEqual([f.fin, f.rsv, f.masked, f.opcode, f.payload.length],
                         [true, 0, false, opcode, payload.length], what);
        assert.ok(f.payload.equals(payload), `other bytes ${what}`);

        /* the shortest form of the length is the only one allowed */

        assert.equal(f.size - payload.length,
                     payload.length < 126 ? 2 : payload.length < 65536 ? 4
                                                                       : 10);
    };

    const echoed = async (r, opcode, payload, what) =>
        sameFrame(await r.frame(20000), opcode, Buffer.from(payload), what);

    /*
     * A close frame of this code, nothing but the end behind it.  Our side
     * ends with a FIN, which is an end whatever bytes were before it.
     */

    async function refused(r, code, what) {
        const got = await r.closeFrame(15000);

        assert.equal(got.code, code, what);
        r.socket.end();
        await r.end();
        assert.equal(r.data.length, 0, `more behind the close frame ${what}`);
    }

    const refuses = (name, code, ...parts) => s.it(`${name}: ${code}`,
        async () => {
            const r = await open();

            /* what was before is answered all the same */

            r.write(Buffer.concat([frame(TEXT, 'before'), ...parts]));
            await echoed(r, TEXT, 'before');
            await refused(r, code);
        });

    const echoes = (name, opcode, payload, ...parts) => s.it(name,
        async () => {
            const r = await open();

            r.write(Buffer.concat(parts));
            await echoed(r, opcode, payload);
            r.destroy();
        });


    /* sizes around each form of the length, up to the limit and over it */

    const ascii = (n) => Buffer.alloc(n, 'abcdefghijklmnopqrstuvwxyz');

    for (const [name, opcode, make] of [['text', TEXT, ascii],
                                        ['binary', BINARY,
                                         crypto.randomBytes]])
    {
        s.it(`${name} of all small sizes`, async () => {
            const r = await open();

            for (const n of [0, 1, 2, 3, 7, 8, 9, 124, 125, 126, 127, 128,
                             65534, 65535, 65536, 65537, MB])
            {
                const data = make(n);

                r.write(frame(opcode, data));
                await echoed(r, opcode, data, `of ${n} bytes`);
            }

            r.destroy();
        });

        s.it(`${name} of 16 MB`, async () => {
            const r = await open();
            const data = make(LIMIT);

            r.write(frame(opcode, data));
            await echoed(r, opcode, data);
            r.destroy();
        });

        s.it(`${name} of 16 MB and 1: 1009`, async () => {
            const r = await open();
            const bytes = frame(opcode, Buffer.alloc(LIMIT + 1));

            /* refused by its header, before the rest of it comes */

            r.write(bytes.subarray(0, 1000));
            assert.equal((await r.closeFrame()).code, 1009);

            /* the rest is passed over to find the answer to the close */

            const begin = Date.now();

            r.write(bytes.subarray(1000));
            r.write(frame(CLOSE, closePayload(1009)));
            await r.end();
            assert.ok(Date.now() - begin < 1800, 'the answer was not found');
        });
    }

    s.it('fragments of 16 MB and 1 together: 1009', async () => {
        const r = await open();

        r.write(frame(BINARY, Buffer.alloc(LIMIT), { fin: false }));
        r.write(frame(PING, 'whole so far'));
        await echoed(r, PONG, 'whole so far');
        r.write(frame(CONT, 'x', { fin: false }));
        await refused(r, 1009);
    });

    refuses('a length of 2^63', 1002, frame(BINARY, 'x',
        { announce: 1n << 63n }));
    refuses('a length of 2^63 - 1', 1009, frame(BINARY, 'x',
        { announce: (1n << 63n) - 1n }));

    for (const [n, size] of [[0, 16], [125, 16], [0, 64], [126, 64],
                             [65535, 64]])
    {
        refuses(`${n} bytes with a length of ${size} bits`, 1002,
                frame(BINARY, Buffer.alloc(n), { size }));
    }

    s.it('2,000 messages in one piece, in order', async () => {
        const r = await open();
        const all = Array.from({ length: 2000 }, (_, i) => `message ${i}`);

        r.write(Buffer.concat(all.map((m) => frame(TEXT, m))));

        for (const m of all) {
            await echoed(r, TEXT, m);
        }

        r.destroy();
    });


    /* fragments */

    const split = (opcode, bytes, n, between = () => []) => {
        const list = [];

        for (let i = 0; i === 0 || i < bytes.length; i += n) {
            list.push(frame(i ? CONT : opcode, bytes.subarray(i, i + n),
                            { fin: i + n >= bytes.length }),
                      ...(i + n < bytes.length ? between(i) : []));
        }

        return list;
    };

    const words = Buffer.from('Gr\u00fc\u00dfe, \u65e5\u672c\u8a9e, '
                              + '\ud83d\ude00 and \u03ba\u1f79\u03c3\u03bc.');

    for (const n of [1, 2, 3, 5, words.length - 1]) {
        echoes(`text in fragments of ${n}`, TEXT, words,
               ...split(TEXT, words, n));
    }

    const noise = crypto.randomBytes(200000);

    echoes('binary in 2,000 fragments', BINARY, noise,
           ...split(BINARY, noise, 100));
    echoes('empty fragments around', TEXT, 'x',
           frame(TEXT, '', { fin: false }), frame(CONT, '', { fin: false }),
           frame(CONT, 'x', { fin: false }), frame(CONT, ''));
    echoes('nothing but empty fragments', BINARY, '',
           frame(BINARY, '', { fin: false }), frame(CONT, '', { fin: false }),
           frame(CONT, ''));

    s.it('1 MB in fragments of 4 KB with pings between', async () => {
        const r = await open();
        const data = crypto.randomBytes(MB);

        r.write(Buffer.concat(split(BINARY, data, 4096, (i) => [
            frame(PING, `at ${i}`), frame(PONG, 'nobody asked')])));

        /* pongs do not wait for the message to be whole */

        for (let i = 0; i + 4096 < MB; i += 4096) {
            await echoed(r, PONG, `at ${i}`);
        }

        await echoed(r, BINARY, data);
        r.destroy();
    });

    s.it('a pong comes before a message that is not whole', async () => {
        const r = await open();

        r.write(Buffer.concat([frame(TEXT, 'a', { fin: false }),
                               frame(PING, 'now')]));
        await echoed(r, PONG, 'now');
        r.write(frame(CONT, 'b'));
        await echoed(r, TEXT, 'ab');
        r.destroy();
    });

    refuses('a continuation of nothing', 1002, frame(CONT, 'x'));
    refuses('an open continuation of nothing', 1002,
            frame(CONT, 'x', { fin: false }));
    refuses('text within fragments', 1002,
            frame(TEXT, 'a', { fin: false }), frame(TEXT, 'b'));
    refuses('binary within fragments', 1002,
            frame(TEXT, 'a', { fin: false }), frame(CONT, 'b',
            { fin: false }), frame(BINARY, 'c', { fin: false }));

    s.it('a continuation behind a whole message: 1002', async () => {
        const r = await open();

        r.write(Buffer.concat([...split(TEXT, words, 4), frame(CONT, 'x')]));
        await echoed(r, TEXT, words);
        await refused(r, 1002);
    });


    /* however the bytes come */

    const stream = () => {
        const parts = [], want = [];
        const add = (opcode, data, frames) => {
            parts.push(...frames);
            want.push([opcode, Buffer.from(data)]);
        };

        for (const n of [0, 1, 125, 126, 300]) {
            const data = crypto.randomBytes(n);

            add(BINARY, data, [frame(BINARY, data)]);
            add(PONG, `ping ${n}`, [frame(PING, `ping ${n}`)]);
        }

        add(TEXT, words, split(TEXT, words, 3));

        return { bytes: Buffer.concat(parts), want };
    };

    s.it('byte by byte, the handshake too', async () => {
        const r = await Raw.tcp(server.port);
        const { bytes, want } = stream();

        await r.drip(upgrade('/echo'));
        assert.equal((await r.response()).status, 101);
        await r.drip(bytes);

        for (const [opcode, data] of want) {
            await echoed(r, opcode, data);
        }

        r.destroy();
    });

    for (const n of [2, 3, 7, 64, 997]) {
        s.it(`in pieces of ${n} bytes`, async () => {
            const r = await open();
            const { bytes, want } = stream();

            for (let i = 0; i < bytes.length; i += n) {
                r.write(bytes.subarray(i, i + n));
                await new Promise((ok) => setImmediate(ok));
            }

            for (const [opcode, data] of want) {
                await echoed(r, opcode, data);
            }

            r.destroy();
        });
    }

    s.it('frames in one piece with the handshake', async () => {
        const r = await Raw.tcp(server.port);
        const { bytes, want } = stream();

        r.write(Buffer.concat([Buffer.from(upgrade('/echo')), bytes]));
        assert.equal((await r.response()).status, 101);

        for (const [opcode, data] of want) {
            await echoed(r, opcode, data);
        }

        r.destroy();
    });

    s.it('1 MB in pieces of 1,000 bytes', async () => {
        const r = await open();
        const data = crypto.randomBytes(MB);
        const bytes = frame(BINARY, data);

        for (let i = 0; i < bytes.length; i += 1000) {
            r.write(bytes.subarray(i, i + 1000));

            if (i % 16000 === 0) {
                await new Promise((ok) => setImmediate(ok));
            }
        }

        await echoed(r, BINARY, data);
        r.destroy();
    });


    /* pings */

    const ping = (n) => crypto.randomBytes(n);

    s.it('pings of 0 to 125 bytes one by one', async () => {
        const r = await open();

        for (let n = 0; n <= 125; n++) {
            const data = ping(n);

            r.write(frame(PING, data));
            await echoed(r, PONG, data);
        }

        r.destroy();
    });

    s.it('pings of 0 to 125 bytes at once, in order', async () => {
        const r = await open();
        const all = Array.from({ length: 126 }, (_, n) => ping(n));

        r.write(Buffer.concat(all.map((data) => frame(PING, data))));

        for (const data of all) {
            await echoed(r, PONG, data);
        }

        r.destroy();
    });

    s.it('pongs nobody asked for are ignored', async () => {
        const r = await open();

        r.write(Buffer.concat([frame(PONG), frame(PONG, ping(125)),
                               frame(TEXT, 'x')]));
        await echoed(r, TEXT, 'x');
        r.destroy();
    });

    for (const [name, opcode] of [['ping', PING], ['pong', PONG],
                                  ['close', CLOSE]])
    {
        const body = (n) => (opcode === CLOSE
            ? closePayload(1000, 'x'.repeat(n - 2)) : ping(n));

        refuses(`a ${name} of 126 bytes`, 1002, frame(opcode, body(126)));
        refuses(`a ${name} of 125 bytes in 16 bits`, 1002,
                frame(opcode, body(125), { size: 16 }));
        refuses(`a ${name} of 65,536 bytes`, 1002,
                frame(opcode, body(65536)));
        refuses(`a ${name} in fragments`, 1002,
                frame(opcode, body(4), { fin: false }));
        refuses(`a ${name} in fragments within a message`, 1002,
                frame(TEXT, 'x', { fin: false }),
                frame(opcode, body(4), { fin: false }));
        refuses(`an unmasked ${name}`, 1002,
                frame(opcode, body(4), { mask: false }));
    }


    /* reserved bits and opcodes, masks */

    for (let rsv = 1; rsv <= 7; rsv++) {
        refuses(`reserved bits ${rsv} in text`, 1002,
                frame(TEXT, 'x', { rsv }));
    }

    for (const rsv of [1, 2, 4]) {
        refuses(`reserved bits ${rsv} in an empty binary frame`, 1002,
                frame(BINARY, '', { rsv }));
        refuses(`reserved bits ${rsv} in a ping`, 1002,
                frame(PING, 'x', { rsv }));
        refuses(`reserved bits ${rsv} in a close`, 1002,
                frame(CLOSE, closePayload(1000), { rsv }));
        refuses(`reserved bits ${rsv} in a continuation`, 1002,
                frame(TEXT, 'x', { fin: false }), frame(CONT, 'y', { rsv }));
    }

    for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
        refuses(`opcode ${opcode}`, 1002, frame(opcode, 'x'));
        refuses(`opcode ${opcode}, empty`, 1002, frame(opcode));
        refuses(`opcode ${opcode} within fragments`, 1002,
                frame(TEXT, 'x', { fin: false }), frame(opcode, 'x'));
    }

    refuses('unmasked text', 1002, frame(TEXT, 'x', { mask: false }));
    refuses('unmasked binary', 1002, frame(BINARY, noise, { mask: false }));
    refuses('an unmasked empty frame', 1002,
            frame(TEXT, '', { mask: false }));
    refuses('an unmasked continuation', 1002,
            frame(TEXT, 'x', { fin: false }),
            frame(CONT, 'y', { mask: false }));
    refuses('an unmasked frame before a masked one', 1002,
            frame(TEXT, 'x', { mask: false }), frame(TEXT, 'y'));


    /* text is UTF-8 */

    for (const code of INVALID) {
        const bad = hex(code);

        s.it(`${code} is not UTF-8: 1007`, async () => {
            for (const data of [
                bad,
                Buffer.concat([bad, ascii(20)]),
                Buffer.concat([ascii(20), bad]),
                Buffer.concat([ascii(11), bad, ascii(21)]),
                Buffer.concat([words, bad, words]),
                Buffer.concat([ascii(70000), bad, ascii(7)]),
            ]) {
                const r = await open();

                r.write(Buffer.concat([frame(TEXT, words),
                                       frame(TEXT, data)]));
                await echoed(r, TEXT, words);
                await refused(r, 1007);
            }

            /* in fragments, cut at each place, with a ping in between */

            const around = Buffer.concat([Buffer.from('\u00e9'), bad,
                                          Buffer.from('z')]);

            for (let cut = 1; cut < around.length; cut++) {
                const r = await open();

                r.write(Buffer.concat([
                    frame(TEXT, around.subarray(0, cut), { fin: false }),
                    frame(PING, 'p'),
                    frame(CONT, around.subarray(cut))]));

                /* it may be refused as soon as it is seen */

                const first = await r.frame();

                if (first.opcode === CLOSE) {
                    assert.equal(first.payload.readUInt16BE(0), 1007);
                    r.destroy();
                    continue;
                }

                sameFrame(first, PONG, Buffer.from('p'));
                await refused(r, 1007, `cut at ${cut}`);
            }
        });

        echoes(`${code} may be binary`, BINARY, bad, frame(BINARY, bad));
    }

    s.it('a wrong byte at each place of 40', async () => {
        for (let at = 0; at < 40; at++) {
            const r = await open();
            const data = ascii(40);

            data[at] = 0xff;
            r.write(frame(TEXT, data));
            await refused(r, 1007, `at ${at}`);
        }
    });

    s.it('a character cut off by the end of the message: 1007', async () => {
        const r = await open();

        /* what follows belongs to another message */

        r.write(Buffer.concat([frame(TEXT, hex('f0 9f 98')),
                               frame(TEXT, hex('80'))]));
        await refused(r, 1007);
    });

    s.it('valid text is echoed, however it is cut', async () => {
        const r = await open();

        for (const code of VALID) {
            const data = Buffer.from(`a${String.fromCodePoint(code)}z`);

            for (let cut = 1; cut < data.length; cut++) {
                r.write(Buffer.concat([
                    frame(TEXT, data.subarray(0, cut), { fin: false }),
                    frame(CONT, data.subarray(cut))]));
                await echoed(r, TEXT, data, code.toString(16));
            }

            r.write(Buffer.concat(split(TEXT, data, 1)));
            await echoed(r, TEXT, data, code.toString(16));
        }

        r.destroy();
    });

    s.it('valid text at each distance from a block', async () => {
        const r = await open();

        for (let n = 0; n < 20; n++) {
            const data = Buffer.concat([ascii(n), words, ascii(n)]);

            r.write(frame(TEXT, data));
            await echoed(r, TEXT, data);
        }

        r.destroy();
    });


    /* the close */

    const closes = (name, payload, code) => s.it(`${name}: ${code}`,
        async () => {
            const r = await open();

            /* what was sent before is answered, what is behind is not */

            r.write(Buffer.concat([frame(TEXT, 'before'),
                                   frame(CLOSE, payload),
                                   frame(PING, 'behind'),
                                   frame(TEXT, 'behind')]));
            await echoed(r, TEXT, 'before');
            assert.equal((await r.closeFrame()).code, code);

            /* the server ends the connection, the client need not */

            await r.end(1500);
            assert.equal(r.data.length, 0);
            r.destroy();
        });

    for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011,
                        1012, 1013, 1014, 3000, 3001, 3999, 4000, 4500, 4999])
    {
        closes(`close with ${code}`, closePayload(code), code);
    }

    for (const code of [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999,
                        2000, 2999, 5000, 9999, 65535])
    {
        closes(`close with the wrong code ${code}`, closePayload(code), 1002);
    }

    closes('close without a code', Buffer.alloc(0), 1005);
    closes('close with half a code', Buffer.from([3]), 1002);
    closes('close with a reason', closePayload(1000, 'd\u00f6ne'), 1000);
    closes('close with the longest reason',
           closePayload(4000, 'x'.repeat(123)), 4000);

    for (const code of ['ff', 'c0 80', 'ed a0 80', 'e2 82', 'f4 90 80 80']) {
        closes(`close with the reason ${code}`,
               closePayload(1000, Buffer.concat([Buffer.from('a'),
                                                 hex(code)])), 1007);
    }

    s.it('close within fragments', async () => {
        const r = await open();

        r.write(Buffer.concat([frame(TEXT, 'a', { fin: false }),
                               frame(CLOSE, closePayload(1000)),
                               frame(CONT, 'b')]));
        assert.equal((await r.closeFrame()).code, 1000);
        await r.end(1500);
        assert.equal(r.data.length, 0);
    });

    s.it('close behind a large message is answered behind its echo', async () => {
        const r = await open();

        r.write(Buffer.concat([frame(BINARY, noise), frame(CLOSE)]));
        await echoed(r, BINARY, noise);
        assert.equal((await r.closeFrame()).code, 1005);
        await r.end(1500);
    });

    s.it('a peer that stays after 1002 is left', async () => {
        const r = await open();

        r.write(frame(3, 'x'));
        assert.equal((await r.closeFrame()).code, 1002);
        await r.end(4000);
    });


    /* connections that end in the middle of something */

    const whole = frame(TEXT, 'z'.repeat(300));
    const rest = frame(CONT, 'z'.repeat(300));

    for (const n of [1, 2, 3, 4, 7, 8, 9, 100, rest.length - 1]) {
        for (const how of ['end', 'reset']) {
            s.it(`${n} bytes of a frame, then ${how}`, async () => {
                const r = await open();

                r.write(frame(TEXT, 'a', { fin: false }));
                r.write(frame(PING, 'p'));
                r.write(rest.subarray(0, n));
                await echoed(r, PONG, 'p');

                if (how === 'end') {
                    r.socket.end();
                    await r.end();
                    assert.equal(r.data.length, 0);
                } else {
                    r.reset();
                }
            });
        }
    }

    s.it('half a frame is waited for', async () => {
        const r = await open();

        r.write(whole.subarray(0, 150));
        await assert.rejects(r.frame(500), /timed out/);
        r.write(whole.subarray(150));
        await echoed(r, TEXT, 'z'.repeat(300));
        r.destroy();
    });

    await s.serial('no session is left', () => within(8000, 'an end',
        until('no session', async () =>
            await server.metric('centrifugo_hub_sessions') === 0, 8000)));


    /* the builds */

    const nm = (file, ...options) =>
        execFileSync('nm', [...options, file], { encoding: 'utf8',
                                                 maxBuffer: 64 * MB })
            .split('\n').map((line) => line.trim().split(/\s+/).pop()
                .replace(/@.*/, ''))
            .filter(Boolean);

    const OURS = ['centrifugo_test_', 'centrifugo_ws_echo', 'fault_point',
                  'test_engine_delay', 'test_auth_delay', 'test_control',
                  'NGX_CENTRIFUGO_TEST', 'WIPE_MARKED'];

    const contains = (file, text) => fs.readFileSync(file).includes(text);

    s.it('the shipped build has nothing of the test build', () => {
        for (const text of OURS) {
            assert.ok(!contains(MODULE, text), `${text} in ${MODULE}`);
        }

        for (const name of nm(MODULE)) {
            assert.doesNotMatch(name, /centrifugo_(test|fault)|ws_echo/);
        }

        assert.ok(!nm(MODULE, '-D', '--undefined-only').includes('raise'));
    });

    /* or the case above could not fail */

    s.it('the test build has it', () => {
        for (const text of OURS.filter((x) => x !== 'NGX_CENTRIFUGO_TEST')) {
            assert.ok(contains(TEST_MODULE, text), `${text} in the test build`);
        }

        assert.ok(nm(TEST_MODULE, '-D', '--undefined-only')
            .includes('raise'));
        assert.ok(nm(TEST_MODULE).some((x) => /fault_point/.test(x)));
    });

    s.it('only what NGINX looks up is exported', () => {
        const map = fs.readFileSync(
            new URL('../../src/export.map', import.meta.url), 'utf8');
        const names = /global:([^}]*)local:/.exec(map)[1]
            .split(';').map((x) => x.trim()).filter(Boolean).sort();

        assert.equal(names.length, 4);
        assert.deepEqual(nm(MODULE, '-D', '--defined-only').sort(), names);
    });
});
