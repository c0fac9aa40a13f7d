/*
 * What is special to the Protobuf encoding: how it is chosen, its framing, bad
 * messages, payloads between both encodings, pings.
 */

import assert from 'node:assert/strict';

import { Centrifuge } from 'centrifuge/build/protobuf';
import WebSocket from 'ws';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers } from './lib/client.mjs';
import { apply } from './lib/fossil.mjs';
import { message, replies } from './lib/protobuf.mjs';
import { BINARY, frame, PING, PONG, Raw, TEXT } from './lib/raw.mjs';
import { connected, event, subscribed } from './lib/sdk.mjs';
import { hold, sleep, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const HUB = `
    client_insecure on;
    api_insecure on;
    history_size 100;
    history_ttl 10m;
    allowed_delta_types fossil;
    publication_data_format binary;
    namespace any { }
    namespace json { publication_data_format json; }
    namespace object { publication_data_format json_object; }
    namespace bin { publication_data_format binary; history_size 10;
                    history_ttl 1m; }`;

const QUICK = 'client_insecure on; ping_interval 1s; pong_timeout 500ms;';
const SMALL = 'client_insecure on; message_size_limit 1k;';

const PROTOBUF = { encoding: 'protobuf' };
const JSON_ = { encoding: 'json' };

const CONNECT = { id: 1, connect: {} };
const UNSUB = { id: 2, unsubscribe: { channel: 'a' } };

const command = (fields) => message('Command', fields);
const bytes = (v) => Buffer.from(typeof v === 'string' ? v
                                                       : JSON.stringify(v));


suite('Protobuf', { concurrency: 8, timeout: 60000 }, async (s) => {
    const server = await s.start({ hub: HUB,
        hubs: { quick: QUICK, small: SMALL },
        locations: `location = /quick { centrifugo_websocket quick; }
                    location = /small { centrifugo_websocket small; }` });
    const api = apiOf(server);
    const main = '/connection/websocket';
    const both = 'centrifuge-protobuf, centrifuge-json';

    const open = async (uri = main, protocol = 'centrifuge-protobuf') => {
        const r = await Raw.open(server.port, uri,
            { headers: { 'Sec-WebSocket-Protocol': protocol } });

        r.say = (...list) => r.write(frame(BINARY,
            Buffer.concat(list.map((x) => Buffer.isBuffer(x) ? x
                                                             : command(x)))));
        r.hear = async (ms) => {
            const f = await r.frame(ms);

            assert.ok(f && f.opcode === BINARY && f.fin && !f.rsv,
                      JSON.stringify(f));
            return replies(f.payload);
        };

        return r;
    };

    const connect = async (uri, protocol) => {
        const r = await open(uri, protocol);

        r.say(CONNECT);

        const [reply] = await r.hear();

        assert.ok(reply.connect && reply.id === 1);
        r.connect = reply.connect;
        return r;
    };


    /* how it is chosen */

    for (const [query, offer, echo, protobuf] of [
        ['', 'centrifuge-protobuf', 'centrifuge-protobuf', true],
        ['', both, 'centrifuge-protobuf', true],
        ['', 'chat,centrifuge-protobuf', 'centrifuge-protobuf', true],
        ['', ['chat', 'centrifuge-protobuf'], 'centrifuge-protobuf', true],
        ['', 'Centrifuge-Protobuf', undefined, false],
        ['', 'centrifuge-protobufx', undefined, false],
        ['?format=protobuf', undefined, undefined, true],
        ['?format=protobuf', 'centrifuge-json', 'centrifuge-json', true],
        ['?cf_protocol=protobuf', undefined, undefined, true],
        ['?a=1&cf_protocol=protobuf&b', undefined, undefined, true],
        ['?format=json', 'centrifuge-protobuf', 'centrifuge-protobuf', true],
        ['?format=json', undefined, undefined, false],
        ['?format=protobufx', undefined, undefined, false],
        ['?xformat=protobuf', undefined, undefined, false],
        ['?format', undefined, undefined, false],
    ]) {
        s.it(`"${query}" with subprotocol ${JSON.stringify(offer)}`,
            async () => {
                const r = await Raw.open(server.port, main + query,
                    { headers: { 'Sec-WebSocket-Protocol': offer } });

                assert.equal(r.head.headers['sec-websocket-protocol'], echo);

                if (protobuf) {
                    r.write(frame(BINARY, command(CONNECT)));

                    const f = await r.frame();

                    assert.equal(f.opcode, BINARY);
                    assert.ok(replies(f.payload)[0].connect);

                } else {
                    r.text(JSON.stringify(CONNECT));
                    assert.match(await r.message(), /^\{"id":1,"connect"/);
                }

                r.destroy();
            });
    }


    /* framing */

    s.it('many commands in a message, one reply message', async () => {
        const r = await connect();

        r.say(UNSUB, { ...UNSUB, id: 3 }, { ...UNSUB, id: 4 });
        assert.deepEqual((await r.hear()).map((x) => x.id), [2, 3, 4]);

        /* also as text, and in pieces */

        r.write(frame(TEXT, command(UNSUB)));
        assert.equal((await r.hear())[0].id, 2);

        const b = command(UNSUB);

        r.write(frame(BINARY, b.subarray(0, 1), { fin: false }));
        r.write(frame(0, b.subarray(1, 3), { fin: false }));
        r.write(frame(0, b.subarray(3)));
        assert.equal((await r.hear())[0].id, 2);
        r.destroy();
    });

    for (const [name, ...list] of [
        ['an empty message', Buffer.alloc(0)],
        ['no more than half a length', Buffer.from([0x80])],
        ['a length beyond the message', Buffer.from([5, 8, 1])],
        ['a length of 64 bits', Buffer.from('ffffffffffffffffff01', 'hex')],
        ['a length of more', Buffer.from('ffffffffffffffffff7f', 'hex')],
        ['a field cut off', Buffer.from([1, 8])],
        ['a string cut off', Buffer.from([4, 0x32, 2, 10, 5])],
        ['field number 0', Buffer.from([2, 0, 0])],
        ['wire type 6', Buffer.from([2, 0x0e, 0])],
        ['a group that does not end', Buffer.from([1, 0x0b])],
        ['a string that is not UTF-8',
         Buffer.from([8, 8, 2, 0x32, 4, 10, 2, 0xc3, 0x28])],
        ['a command without anything but an id', { id: 5 }],
        ['a command without an id', { unsubscribe: { channel: 'a' } }],
        ['a pong nobody has asked for', {}],
        ['a ping command', { id: 5, ping: {} }],
        ['JSON', bytes('{"id":2,"unsubscribe":{"channel":"a"}}')],
    ]) {
        s.it(`3501: ${name}`, async () => {
            const r = await connect();

            r.say(...list);
            assert.deepEqual(await r.closeFrame(),
                             { code: 3501, reason: 'bad request' });
            r.destroy();

            /* what was good before it is answered */

            if (list[0].length) {
                const other = await connect();

                other.say(UNSUB, ...list);
                assert.equal((await other.hear())[0].id, 2);
                assert.equal((await other.closeFrame()).code, 3501);
                other.destroy();
            }
        });
    }

    s.it('unknown fields are passed over', async () => {
        const r = await connect();
        const b = command(UNSUB).subarray(1);
        const more = Buffer.concat([
            Buffer.from('a00601', 'hex'),                   /* varint */
            Buffer.from('a1060102030405060708', 'hex'),     /* 64 bits */
            Buffer.from('a206027879', 'hex'),               /* bytes */
            Buffer.from('a50601020304', 'hex'),             /* 32 bits */
            Buffer.from('a30608011314a406', 'hex'),         /* a group */
            b,
            Buffer.from('f8ffffff0f01', 'hex'),
        ]);

        r.say(Buffer.concat([Buffer.from([more.length]), more]));

        const [reply] = await r.hear();

        assert.ok(reply.id === 2 && reply.unsubscribe);
        r.destroy();
    });

    s.it('the last of a field counts, messages are joined', async () => {
        const r = await connect();
        const b = Buffer.concat([
            command({ id: 9, subscribe: { channel: 'x' } }).subarray(1),
            command({ id: 10, subscribe: { positioned: true } }).subarray(1)]);

        r.say(Buffer.concat([Buffer.from([b.length]), b]));

        const [reply] = await r.hear();

        assert.ok(reply.id === 10 && reply.subscribe.positioned);
        r.destroy();
    });

    s.it('nesting', async () => {

        /* a filter in which each node is the only one of the node around it */

        const nested = (n) => {
            const varint = (len) => (len > 127 ? [len & 127 | 128,
                                                  ...varint(len >> 7)] : [len]);
            const within = (tag, b) => Buffer.concat([
                Buffer.from([tag, ...varint(b.length)]), b]);
            let filter = Buffer.alloc(0);

            while (n--) {
                filter = within(0x32, filter);
            }

            const b = Buffer.concat([Buffer.from([8, 2]),
                within(0x2a, Buffer.concat([Buffer.from([10, 1, 97]),
                                            within(0x6a, filter)]))]);

            return within(0, b).subarray(1);
        };

        const r = await connect();

        r.say(nested(50));

        const [reply] = await r.hear();

        assert.ok(reply.id === 2 && reply.error.code === 107);
        r.say(nested(64));
        assert.equal((await r.closeFrame()).code, 3501);
        r.destroy();

        const other = await connect();

        other.say(nested(16000));
        assert.equal((await other.closeFrame()).code, 3501);
        other.destroy();
    });

    s.it('message_size_limit', async () => {
        const r = await connect('/small');
        const publish = (n) => ({ id: 2, publish: { channel: 'a',
                                                    data: Buffer.alloc(n, 49) } });
        const room = command(publish(500)).length - 500;

        r.say(publish(1024 - room));
        assert.equal((await r.hear())[0].id, 2);
        r.say(publish(1024 - room + 1));
        assert.equal((await r.closeFrame()).code, 1009);
        r.destroy();
    });


    /* payloads between the encodings */

    const receivers = async (channel) => ({
        json: await onAllWorkers(server.workers(), 1, async () => {
            const c = await Client.connect(server.ws(), JSON_);

            await c.subscribe(channel);
            return c;
        }),
        protobuf: await Promise.all([1, 2].map(async () => {
            const r = await connect();

            r.say({ id: 2, subscribe: { channel } });
            await r.hear();
            return r;
        })),
    });

    s.it('JSON that Protobuf clients publish reaches all', async () => {
        const all = await receivers('any:a');
        const r = await connect();

        for (const text of ['{"a":1}', '[1, 2]', '"é"', 'null', ' 1 ',
                            '{"a":\n1}'])
        {
            r.say({ id: 3, publish: { channel: 'any:a', data: bytes(text) } });
            assert.ok((await r.hear())[0].publish);

            for (const c of all.json) {
                const line = await c.line();

                assert.ok(line.includes(
                    `"data":${text.replace('\n', '')}`), line);
            }

            for (const p of all.protobuf) {
                const { pub } = (await p.hear())[0].push;

                assert.equal(pub.data.toString('utf8'), text);
                assert.equal(pub.info.client, r.connect.client);
            }
        }

        for (const c of [...all.json, ...all.protobuf]) {
            (c.terminate || c.destroy).call(c);
        }
    });

    for (const data of ['hello', '{"a":', '\u0000\u0001', '1 2', ' ', '\xff']) {
        s.it(`3506 for JSON clients: ${JSON.stringify(data)}`, async () => {
            const channel = `bin:${Buffer.from(data, 'latin1').toString('hex')}`;
            const all = await receivers(channel);
            const r = await connect();

            r.say({ id: 3, publish: { channel,
                                      data: Buffer.from(data, 'latin1') } });
            assert.ok((await r.hear())[0].publish);

            for (const c of all.json) {
                const end = await c.untilClosed();

                assert.deepEqual([end.code, end.reason],
                                 [3506, 'inappropriate protocol']);
            }

            for (const p of all.protobuf) {
                const { pub } = (await p.hear())[0].push;

                assert.equal(pub.data.toString('latin1'), data);
                p.destroy();
            }
        });
    }

    for (const [channel, data, code] of [
        ['json:a', '{"a":1}', 0], ['json:a', '1', 0], ['json:a', 'x', 107],
        ['json:a', '', 107], ['json:a', '{} {}', 107], ['json:a', '\xff', 107],
        ['object:a', ' {"a":1}', 0], ['object:a', '1', 107],
        ['object:a', '{', 107], ['bin:a', '', 0], ['bin:a', '\xff\x00', 0],
        ['any:b', '', 107], ['any:b', '\xff', 0],
    ]) {
        s.it(`publication_data_format: ${JSON.stringify(data)} to ${channel}`,
            async () => {
                const r = await connect();

                r.say({ id: 3, publish: { channel,
                                          data: Buffer.from(data, 'latin1') } });

                const [reply] = await r.hear();

                assert.equal(reply.error ? reply.error.code : 0, code);
                r.destroy();
            });
    }

    s.it('history and recovery give the bytes that were published',
        async () => {
            const data = ['{"a":\n1}', '\x00\xff', 'text'];
            const r = await connect();

            for (const d of data) {
                r.say({ id: 3, publish: { channel: 'kept',
                                          data: Buffer.from(d, 'latin1') } });
                await r.hear();
            }

            r.say({ id: 4, history: { channel: 'kept', limit: -1 } });

            const { history } = (await r.hear())[0];

            assert.deepEqual(history.publications.map(
                (p) => p.data.toString('latin1')), data);
            assert.deepEqual(history.publications.map((p) => Number(p.offset)),
                             [1, 2, 3]);
            assert.equal(history.publications[0].epoch, history.epoch);

            r.say({ id: 5, subscribe: { channel: 'kept', recover: true,
                recoverable: true, epoch: history.epoch, offset: 1 } });

            const { subscribe } = (await r.hear())[0];

            assert.ok(subscribe.recovered && subscribe.wasRecovering !== false);
            assert.deepEqual(subscribe.publications.map(
                (p) => p.data.toString('latin1')), data.slice(1));
            r.destroy();

            const c = await Client.connect(server.ws(), JSON_);

            await c.call({ history: { channel: 'kept', limit: -1 } })
                .catch(() => {});
            assert.equal((await c.closed).code, 3506);
        });

    s.it('deltas of bytes', async () => {
        const r = await connect();
        const page = (i) => Buffer.concat([Buffer.alloc(400, 0xfe),
                                           Buffer.from([0, 10, 13, i]),
                                           Buffer.alloc(400, 0x80)]);

        r.say({ id: 2, subscribe: { channel: 'delta', delta: 'fossil',
                                    positioned: true } });
        assert.ok((await r.hear())[0].subscribe.delta);

        let base;

        for (let i = 0; i < 5; i++) {
            await api.call('publish', { channel: 'delta', delta: true,
                b64data: page(i).toString('base64') });

            const { pub } = (await r.hear())[0].push;

            assert.equal(pub.delta, i > 0);
            base = i ? Buffer.from(apply(base, pub.data)) : pub.data;
            assert.ok(Buffer.from(base).equals(page(i)));
            assert.ok(i === 0 || pub.data.length < 50);
        }

        r.destroy();
    });

    s.it('one channel, all kinds of subscribers', async () => {
        const json = await Client.connect(server.ws(), JSON_);
        const protobuf = await Client.connect(server.ws(), PROTOBUF);
        const deltas = [await Client.connect(server.ws(), JSON_),
                        await Client.connect(server.ws(), PROTOBUF)];
        const text = (i) => JSON.stringify({ i, s: 'long '.repeat(100) });

        await json.subscribe('mixed');
        await protobuf.subscribe('mixed');

        for (const c of deltas) {
            await c.call({ subscribe: { channel: 'mixed', delta: 'fossil',
                                        positioned: true } });
        }

        const base = [];

        for (let i = 0; i < 20; i++) {
            await api.call('publish', { channel: 'mixed', delta: true,
                                        data: JSON.parse(text(i)) });

            for (const c of [json, protobuf]) {
                assert.deepEqual((await c.json()).push.pub.data,
                                 JSON.parse(text(i)));
            }

            for (const [k, c] of deltas.entries()) {
                const { pub } = (await c.json()).push;

                base[k] = pub.delta ? apply(base[k], Buffer.from(pub.data))
                                    : Buffer.from(pub.data);
                assert.equal(!!pub.delta, i > 0);
                assert.equal(Buffer.from(base[k]).toString(), text(i));
            }
        }
    });


    /* pings */

    s.it('ping and pong are one byte', async () => {
        const r = await connect('/quick');

        assert.deepEqual([r.connect.ping, r.connect.pong], [1, true]);

        for (let i = 0; i < 2; i++) {
            const f = await r.frame(3000);

            assert.ok(f.opcode === BINARY && f.payload.equals(Buffer.from([0])));
            r.say(Buffer.from([0]));
        }

        assert.ok((await r.frame(3000)).payload.equals(Buffer.from([0])));
        assert.deepEqual(await r.closeFrame(3000),
                         { code: 3012, reason: 'no pong' });
        r.destroy();
    });

    for (const [name, encoding] of [['JSON', 'centrifuge-json'],
                                    ['Protobuf', 'centrifuge-protobuf']])
    {
        const uri = '/quick?cf_ws_frame_ping_pong=true';
        const text = name === 'JSON';

        const begin = async (query = uri) => {
            const r = await open(query, encoding);

            if (text) {
                r.text(JSON.stringify(CONNECT));

                const { connect: c } = JSON.parse(await r.message());

                r.connect = c;
                return r;
            }

            r.say(CONNECT);
            r.connect = (await r.hear())[0].connect;
            return r;
        };

        s.it(`${name}: pings as frames`, async () => {
            const r = await begin();

            assert.ok(!r.connect.ping && !r.connect.pong);

            for (let i = 0; i < 2; i++) {
                const f = await r.frame(3000);

                assert.equal(f.opcode, PING);
                r.write(frame(PONG, f.payload));
            }

            /* one nobody has asked for is nothing wrong */

            r.write(frame(PONG, 'x'));
            assert.equal((await r.frame(3000)).opcode, PING);
            assert.deepEqual(await r.closeFrame(3000),
                             { code: 3012, reason: 'no pong' });
            r.destroy();
        });

        s.it(`${name}: an empty command is no pong then`, async () => {
            const r = await begin();

            assert.equal((await r.frame(3000)).opcode, PING);
            r.write(text ? frame(TEXT, '{}') : frame(BINARY,
                                                     Buffer.from([0])));
            assert.equal((await r.closeFrame()).code, 3501);
            r.destroy();
        });

        s.it(`${name}: not without "true"`, async () => {
            const r = await begin('/quick?cf_ws_frame_ping_pong=1');

            assert.equal(r.connect.ping, 1);
            r.destroy();
        });
    }


    /* the SDK, with bytes */

    s.it('the SDK publishes and gets bytes', async () => {
        const list = [];

        for (let i = 0; i < 4; i++) {
            const sdk = new Centrifuge(server.ws(), { websocket: WebSocket });

            hold(() => sdk.disconnect());
            await connected(sdk);
            sdk.sub = sdk.newSubscription('bin:sdk');
            sdk.got = [];
            sdk.sub.on('publication', (ctx) => sdk.got.push(ctx));
            await subscribed(sdk.sub);
            list.push(sdk);
        }

        const data = Buffer.from([0, 1, 255, 10]);

        await list[0].sub.publish(data);
        await until('all have it', () => list.every((x) => x.got.length === 1));

        for (const { got } of list) {
            assert.ok(Buffer.from(got[0].data).equals(data));
        }

        const { publications } = await list[1].sub.history({ limit: 10 });

        assert.ok(Buffer.from(publications[0].data).equals(data));

        const ended = event(list[0], 'disconnected');

        list[0].disconnect();
        await ended;
        list.forEach((x) => x.disconnect());
        await sleep(50);
    });

    await s.all();
    api.close();
});
