/*
 * An engine and an authenticator that answer late: the test build puts 50 ms
 * or more in front of both.  Commands of a client wait for each other, all
 * else goes on, and whatever ends meanwhile leaves nothing behind.
 */

import assert from 'node:assert/strict';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers, UUID } from './lib/client.mjs';
import { jwt, now } from './lib/jwt.mjs';
import { CLOSE, closePayload, frame, PING, PONG, Raw, TEXT }
    from './lib/raw.mjs';
import { connected, endAll, event, sdkOf, subscribed } from './lib/sdk.mjs';
import { held, sleep, TEST_MODULE, until, within } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const DELAY = 50;
const LATE = `test_engine_delay ${DELAY}ms; test_auth_delay ${DELAY}ms;`;
const OPEN = 'client_insecure on; api_insecure on;';

const TOKEN = `token_hmac_secret_key secret; api_insecure on;
    allow_anonymous_connect_without_token on; expired_close_delay 1s;
    allow_subscribe_for_client on; allow_publish_for_client on;
    allow_subscribe_for_anonymous on;
    namespace closed { }`;

const HUBS = {
    open: `${OPEN} ${LATE}`,
    token: `${TOKEN} ${LATE}`,

    /* counts that no other case changes */

    gone: `${OPEN} token_hmac_secret_key secret; test_engine_delay 200ms;
        test_auth_delay 200ms;`,
    silent: `${OPEN} ${LATE}`,
    bound: `${OPEN} test_engine_delay 20ms; queue_max_size 64m;`,

    /* far behind every timer of the session */

    long: `${OPEN} test_engine_delay 1500ms; test_auth_delay 1500ms;`,
    ping: `${OPEN} test_engine_delay 3s; ping_interval 1s;
        pong_timeout 500ms;`,
    stuck: `${OPEN} test_engine_delay 3s; ping_interval 1s;
        pong_timeout 500ms; message_size_limit 1k;`,

    /* what this one takes is counted */

    counted: `${OPEN} test_engine_delay 3s; message_size_limit 1k;`,
    stale: `${TOKEN} test_auth_delay 3s; stale_close_delay 1s;`,
    expire: `${TOKEN} test_engine_delay 4s;`,
    renew: `${TOKEN} test_auth_delay 3s;`,
    present: `${TOKEN} ${LATE} presence on;`,
};

const MESSAGE = {
    103: 'permission denied', 105: 'already subscribed', 108: 'not available',
    109: 'token expired',
};

const BAD = [3501, 'bad request'];

const error = (id, code) =>
    `{"id":${id},"error":{"code":${code},"message":"${MESSAGE[code]}"}}`;
const subscribe = (id, channel) =>
    `{"id":${id},"subscribe":{"channel":"${channel}"}}`;
const unsubscribe = (id, channel) =>
    `{"id":${id},"unsubscribe":{"channel":"${channel}"}}`;
const publish = (id, channel, data) =>
    `{"id":${id},"publish":{"channel":"${channel}",`
    + `"data":${JSON.stringify(data)}}}`;
const connect = (id, token) =>
    `{"id":${id},"connect":${JSON.stringify(token ? { token } : {})}}`;
const rpc = (id) => `{"id":${id},"rpc":{}}`;
const push = (channel, data) =>
    `{"push":{"channel":"${channel}","pub":{"data":${JSON.stringify(data)}}}}`;

const isReply = (line) => line.startsWith('{"id"');
const dataOf = (line) => JSON.parse(line).push.pub.data;


suite('suspended', { concurrency: 24, timeout: 180000 }, async (s) => {
    const server = await s.start({
        module: TEST_MODULE, zone: '8m', hub: `${OPEN} ${LATE}`, hubs: HUBS,

        /* little room in the kernel, so that reading that stops is felt */

        listen: 'rcvbuf=32k',
        locations: Object.keys(HUBS).map((h) => `
            location = /${h} { centrifugo_websocket ${h}; }
            location = /metrics/${h} { centrifugo_metrics ${h}; }
            location /api/${h} { centrifugo_api ${h}; }`).join('\n'),
    });

    const url = (hub) => server.ws(`/${hub}`);
    const api = (hub) => apiOf(server, { location: `/api/${hub}`,
                                         keep: false });
    const metric = (hub, name) => server.metric(`centrifugo_${name}`,
                                                `/metrics/${hub}`);
    const user = (claims = {}, key) => jwt({ sub: '42', ...claims }, key);
    let serial = 0;
    const fresh = (name = 'ch') => `${name}${++serial}`;

    /* `n` replies and the lines between them */

    const replies = async (c, n, ms = 5000) => {
        const lines = [];

        for (let k = 0; k < n; ) {
            const line = await c.line(ms, `reply ${k + 1} of ${n}`);

            lines.push(line);
            k += isReply(line);
        }

        return lines;
    };

    const empty = async (hub, ms = 5000) => {
        for (const what of ['node_num_clients', 'node_num_subscriptions',
                            'node_num_channels', 'hub_sessions'])
        {
            await until(`${hub}: ${what} 0`,
                        async () => await metric(hub, what) === 0, ms);
        }
    };


    /* one after the other, each after its time */

    s.it('each command that needs the engine takes its time', async () => {
        const c = await Client.connect(url('open'));
        const ch = fresh();

        for (const command of [subscribe(2, ch), publish(3, ch, 1),
                               subscribe(4, fresh())])
        {
            const begin = Date.now();

            c.frame(command);
            await replies(c, 1);

            const took = Date.now() - begin;

            assert.ok(took >= DELAY - 5, `${command} took ${took} ms`);
        }

        c.terminate();
    });

    s.it('so does a token', async () => {
        const begin = Date.now();
        const c = await Client.connect(url('token'),
                                       { connect: { token: user() } });

        assert.ok(Date.now() - begin >= DELAY - 5);

        const again = Date.now();
        const reply = await c.call({ refresh: {
            token: user({ exp: now() + 100 }) } });

        assert.equal(reply.refresh.expires, true);
        assert.ok(Date.now() - again >= DELAY - 5);
        c.terminate();
    });

    /* commands that need the engine, and others that have to wait for them */

    const COMMANDS = (a, b) => [
        [subscribe(9, a), '{"id":9,"subscribe":{}}'],
        [rpc(8), error(8, 108)],
        [subscribe(7, a), error(7, 105)],
        [publish(6, a, 1), '{"id":6,"publish":{}}'],
        [subscribe(5, b), '{"id":5,"subscribe":{}}'],
        [unsubscribe(4, a), '{"id":4,"unsubscribe":{}}'],
        [unsubscribe(3, 'never'), '{"id":3,"unsubscribe":{}}'],
        [publish(2, b, 2), '{"id":2,"publish":{}}'],
        [subscribe(11, a), '{"id":11,"subscribe":{}}'],
        [unsubscribe(12, b), '{"id":12,"unsubscribe":{}}'],
        [subscribe(13, '$no'), error(13, 103)],
        [publish(14, a, 3), '{"id":14,"publish":{}}'],
        [rpc(15), error(15, 108)],
    ];

    const LATE_ONES = 6;

    for (const [name, cut] of [
        ['one frame', (list) => [list.join('\n')]],
        ['a frame each', (list) => list],
        ['frames of three', (list) => list.reduce((all, x, i) => {
            if (i % 3) {
                all[all.length - 1] += '\n' + x;
            } else {
                all.push(x);
            }
            return all;
        }, [])],
    ]) {
        s.it(`answers come in order: ${name}`, async () => {
            const c = await Client.connect(url('open'));
            const list = COMMANDS(fresh(), fresh());
            const begin = Date.now();

            for (const f of cut(list.map((x) => x[0]))) {
                c.frame(f);
            }

            const got = await replies(c, list.length);
            const took = Date.now() - begin;

            assert.deepEqual(got.filter(isReply), list.map((x) => x[1]));
            assert.ok(took >= LATE_ONES * DELAY - 10,
                      `not one after the other: ${took} ms`);
            assert.ok(took < 3000);
            assert.deepEqual((await c.settle()).filter(isReply), []);
            c.terminate();
        });
    }

    s.it('100 commands, some in a frame, some not', async () => {
        const c = await Client.connect(url('open'));
        const ch = fresh();
        let text = '';

        for (let i = 0; i < 100; i++) {
            const one = i % 3 ? unsubscribe(i + 2, ch)
                              : subscribe(i + 2, `${ch}.${i}`);

            text += (text && '\n') + one;

            if (i % 7 === 0 || i === 99) {
                c.frame(text);
                text = '';
            }
        }

        const got = (await replies(c, 100, 8000)).map((x) => JSON.parse(x));

        assert.deepEqual(got, Array.from({ length: 100 }, (_, i) =>
            ({ id: i + 2, [i % 3 ? 'unsubscribe' : 'subscribe']: {} })));
        c.terminate();
    });

    s.it('a command that is malformed waits for its turn', async () => {
        for (const text of [subscribe(2, 'x') + '\nhello',
                            subscribe(2, 'x') + '\n{"id":3}'])
        {
            const c = await Client.connect(url('open'));

            c.frame(text);

            const got = await c.untilClosed();

            assert.deepEqual(got.lines, ['{"id":2,"subscribe":{}}']);
            assert.deepEqual([got.code, got.reason], BAD);
        }

        /* the same in frames */

        for (const text of ['hello', '', '{"id":3}']) {
            const c = await Client.connect(url('open'));

            c.frame(subscribe(2, 'x'));
            c.frame(text);
            c.frame(subscribe(3, 'y'));

            const got = await c.untilClosed();

            assert.deepEqual(got.lines, ['{"id":2,"subscribe":{}}']);
            assert.deepEqual([got.code, got.reason], BAD);
        }
    });

    s.it('one client does not wait for another', async () => {
        const slow = await Client.connect(url('open'));
        const quick = await Client.connect(url('open'));

        for (let i = 0; i < 40; i++) {
            slow.frame(subscribe(i + 2, fresh()));
        }

        const begin = Date.now();

        await quick.subscribe(fresh());
        assert.ok(Date.now() - begin < 40 * DELAY / 2);
        slow.terminate();
        quick.terminate();
    });


    s.it('a subscription that is over when it comes', async () => {
        const c = await Client.connect(url('expire'),
                                       { connect: { token: user() } });
        const reply = await c.call({ subscribe: { channel: 'x',
            token: user({ channel: 'x', exp: now() + 2 }) } }, 9000);

        assert.deepEqual(reply.subscribe, { expires: true });
        c.terminate();
    });


    s.it('presence that is renewed as its subscription ends', async () => {
        const c = await Client.connect(url('present'),
                                       { connect: { token: user() } });
        const stats = async () => (await api('present').call(
            'presence_stats', { channel: 'x' })).result;


        /* the worker has to be in the channel still */

        let other;

        do {
            other?.terminate();
            other = await Client.connect(url('present'));
        } while (other.worker !== c.worker);

        await other.subscribe('x');
        await c.subscribe('x');
        assert.equal((await stats()).num_clients, 2);

        await c.call({ refresh: { token: user({ info: { a: 1 } }) } });
        await c.call({ unsubscribe: { channel: 'x' } });
        await sleep(3 * DELAY);
        assert.equal((await stats()).num_clients, 1);
        c.terminate();
        other.terminate();
    });


    /* subscriptions in flight */

    for (const [name, join] of [['frame', '\n'], ['frames', null]]) {
        const send = (c, ...list) => (join ? [list.join(join)] : list)
            .forEach((x) => c.frame(x));

        s.it(`unsubscribe behind a subscribe, in ${name}`, async () => {
            const c = await Client.connect(url('open'));
            const ch = fresh();

            send(c, subscribe(2, ch), unsubscribe(3, ch));
            assert.deepEqual(await replies(c, 2),
                             ['{"id":2,"subscribe":{}}',
                              '{"id":3,"unsubscribe":{}}']);
            await api('open').publish(ch, 'nobody');
            await sleep(100);
            assert.deepEqual(await c.settle(), []);

            /* it is gone indeed, so it may be made again */

            await c.subscribe(ch);
            await api('open').publish(ch, 'again');
            assert.equal(await c.line(), push(ch, 'again'));
            c.terminate();
        });

        s.it(`a second subscribe behind the first, in ${name}`, async () => {
            const c = await Client.connect(url('open'));
            const ch = fresh();

            send(c, subscribe(2, ch), subscribe(3, ch), subscribe(4, ch));
            assert.deepEqual(await replies(c, 3),
                             ['{"id":2,"subscribe":{}}', error(3, 105),
                              error(4, 105)]);

            /* the one that there is delivers once */

            await api('open').publish(ch, 1);
            assert.equal(await c.line(), push(ch, 1));
            await sleep(100);
            assert.deepEqual(await c.settle(), []);
            c.terminate();
        });

        s.it(`own publications come behind the reply, in ${name}`,
            async () => {
                const c = await Client.connect(url('open'));
                const ch = fresh();

                send(c, subscribe(2, ch), publish(3, ch, 1),
                     publish(4, ch, 2), publish(5, ch, 3));

                const got = await replies(c, 4);

                while (got.length < 7) {
                    got.push(await c.line());
                }

                assert.deepEqual(got.filter(isReply).map(
                    (x) => JSON.parse(x).id), [2, 3, 4, 5]);
                assert.deepEqual(got.filter((x) => !isReply(x)).map(dataOf),
                                 [1, 2, 3]);
                assert.equal(got[0], '{"id":2,"subscribe":{}}');
                c.terminate();
            });
    }

    s.it('subscribe, unsubscribe and again in flight', async () => {
        const c = await Client.connect(url('open'));
        const ch = fresh();
        let id = 1;

        for (let i = 0; i < 10; i++) {
            c.frame(subscribe(++id, ch) + '\n' + unsubscribe(++id, ch));
        }

        c.frame(subscribe(++id, ch));

        const got = (await replies(c, 21)).map((x) => JSON.parse(x));

        assert.deepEqual(got.map((x) => x.id),
                         Array.from({ length: 21 }, (_, i) => i + 2));
        assert.ok(got.every((x) => !x.error));
        await api('open').publish(ch, 1);
        assert.equal(await c.line(), push(ch, 1));
        c.terminate();
    });

    s.it('two clients of a worker subscribe to a channel at once',
        async () => {
            const ch = fresh();
            const list = await onAllWorkers(server.workers(), 3,
                () => Client.connect(url('open')));

            await Promise.all(list.map((c) => c.subscribe(ch)));
            await api('open').publish(ch, 1);

            for (const c of list) {
                assert.equal(await c.line(), push(ch, 1));
            }

            /* one that leaves while the other comes back changes nothing */

            const [a, ...others] = list;

            await Promise.all([
                a.call({ unsubscribe: { channel: ch } }),
                ...others.map((c) => c.call({ unsubscribe: { channel: ch } })
                    .then(() => c.subscribe(ch)))]);
            await api('open').publish(ch, 2);

            for (const c of others) {
                assert.equal(await c.line(), push(ch, 2));
                c.terminate();
            }

            assert.deepEqual(await a.settle(), []);
            a.terminate();
        });


    /* what goes on while a command waits */

    s.it('publications come while a command waits', async () => {
        const c = await Client.connect(url('long'));
        const ch = fresh();

        await c.subscribe(ch);

        const published = api('long').publish(ch, 'meanwhile');

        await sleep(700);
        c.frame(subscribe(9, fresh()));

        /* the publication is 1.5 s on its way, the reply 700 ms behind it */

        const got = await replies(c, 1);

        await published;
        assert.deepEqual(got, [push(ch, 'meanwhile'),
                               '{"id":9,"subscribe":{}}']);
        c.terminate();
    });

    s.it('WebSocket pings are answered while a command waits', async () => {
        const r = await Raw.connect(server.port, '/long');
        const begin = Date.now();

        r.text(subscribe(2, fresh()));
        r.text(subscribe(3, fresh()));

        for (let i = 0; i < 10; i++) {
            r.write(frame(PING, `ping ${i}`));

            const f = await r.frame();

            assert.equal(f.opcode, PONG);
            assert.equal(f.payload.toString(), `ping ${i}`);
            await sleep(20);
        }

        assert.ok(Date.now() - begin < 1400, 'they were answered late');
        assert.equal(await r.message(), '{"id":2,"subscribe":{}}');
        r.destroy();
    });

    s.it('a pong is heard while commands wait', async () => {
        const c = await Client.connect(url('ping'), { pings: 'keep' });
        const begin = Date.now();
        let pings = 0;

        c.frame(subscribe(2, fresh()));
        c.frame(unsubscribe(3, 'x'));

        for ( ;; ) {
            const line = await c.line(5000);

            if (line !== '{}') {
                assert.equal(line, '{"id":2,"subscribe":{}}');
                break;
            }

            pings++;
            c.frame('{}');
        }

        assert.ok(pings >= 2, `${pings} pings`);
        assert.ok(Date.now() - begin >= 2900);
        assert.equal(await c.line(), '{"id":3,"unsubscribe":{}}');
        c.terminate();
    });

    s.it('no pong ends it while a command waits, which is done all the same',
        async () => {
            const ch = fresh();
            const other = await Client.connect(url('ping'));

            await other.subscribe(ch);

            const c = await Client.connect(url('ping'), { pings: 'keep' });
            const begin = Date.now();

            c.frame(publish(2, ch, 'of one that is gone'));
            c.frame(publish(3, ch, 'never begun'));

            const got = await c.untilClosed();

            assert.deepEqual(got.lines, ['{}']);
            assert.deepEqual([got.code, got.reason], [3012, 'no pong']);
            assert.ok(Date.now() - begin < 2900);

            assert.equal(dataOf(await other.line(5000)),
                         'of one that is gone');
            await sleep(300);
            assert.deepEqual(await other.settle(), []);
            other.terminate();
        });


    /* the input behind a waiting command is bounded */

    s.it('reading stops behind waiting commands, and goes on', async () => {
        const N = 120, SIZE = 60000, LIMIT = 65536;
        const ch = fresh();
        const other = await Client.connect(url('bound'));

        await other.subscribe(ch);

        const r = await Raw.connect(server.port, '/bound');
        const base = await metric('bound', 'hub_bytes_in_total');
        const body = 'x'.repeat(SIZE);
        let answered = 0;
        let ended = false;

        for (let i = 0; i < N; i++) {
            r.text(publish(i + 2, ch, i + body));
        }

        const reader = (async () => {
            for (let i = 0; i < N; i++) {
                assert.equal(await r.message(10000),
                             `{"id":${i + 2},"publish":{}}`);
                answered++;
            }
        })().finally(() => { ended = true; });

        /*
         * What the server took and has not answered: at most the limit, the
         * message that went over it and the one under way; and some that are
         * answered between the two looks.
         */

        let most = 0;
        let blocked = 0;

        while (!ended) {
            const had = answered;
            const taken = await metric('bound', 'hub_bytes_in_total') - base;

            most = Math.max(most, taken - answered * SIZE);
            blocked += r.socket.writableLength > 0 && answered < N / 2;
            assert.ok(taken - answered * SIZE
                      <= LIMIT + (3 + answered - had) * (SIZE + 100),
                      `${taken} bytes taken, ${answered} answered`);
            await sleep(20);
        }

        await reader;
        assert.ok(most > SIZE, 'nothing waited');
        assert.ok(blocked > 5, 'the peer could write all the time');

        /* nothing was lost, nothing came twice, all in order */

        for (let i = 0; i < N; i++) {
            assert.equal(dataOf(await other.line(5000)), i + body);
        }

        r.text(unsubscribe(9999, 'x'));
        assert.equal(await r.message(), '{"id":9999,"unsubscribe":{}}');
        assert.deepEqual(await other.settle(), []);
        r.destroy();
        other.terminate();
    });

    s.it('small messages in one piece do not pass the bound either',
        async () => {
            const r = await Raw.connect(server.port, '/counted');
            const base = await metric('counted', 'hub_bytes_in_total');
            const one = unsubscribe(3, 'x'.repeat(40));

            /* one piece, read by one recv() */

            r.write(Buffer.concat([
                frame(TEXT, subscribe(2, fresh())),
                ...Array.from({ length: 200 }, () => frame(TEXT, one))]));
            await sleep(500);

            const taken = await metric('counted', 'hub_bytes_in_total') - base;

            assert.ok(taken > one.length && taken <= 1024 + 2 * one.length
                                                     + 100,
                      `${taken} bytes taken`);
            r.destroy();
        });

    s.it('a close is not held up by input that waits', async () => {
        const r = await Raw.connect(server.port, '/stuck');

        r.text(subscribe(2, fresh()));

        for (let i = 0; i < 40; i++) {
            r.text(unsubscribe(3, 'x'.repeat(60)));
        }

        /* its pong would not be read, so it ends by 3012 */

        assert.equal(await r.message(), '{}');
        assert.deepEqual(await r.closeFrame(3000),
                         { code: 3012, reason: 'no pong' });

        const begin = Date.now();

        r.write(frame(CLOSE, closePayload(3012)));
        await r.end(8000);
        assert.ok(Date.now() - begin < 2000,
                  `the close took ${Date.now() - begin} ms`);
    });


    /* clients that go while their command waits */

    const FLIGHTS = [
        ['subscribe', 'gone', (r) => r.text(subscribe(2, 'gone'))],
        ['publish', 'gone', (r) => r.text(publish(2, 'x', 1))],
        ['several', 'gone', (r) => {
            r.text(subscribe(2, 'gone'));
            r.text(subscribe(3, 'gone2') + '\n' + publish(4, 'gone', 1));
            r.text(unsubscribe(5, 'gone'));
        }],
        ['token refresh', 'gone', (r) => r.text(
            `{"id":2,"refresh":{"token":"${user()}"}}`)],
    ];

    for (const [name, hub, send] of FLIGHTS) {
        for (const how of ['close', 'end', 'reset']) {
            for (const wait of [0, 25]) {
                s.it(`${name} in flight, ${how} after ${wait} ms`,
                    async () => {
                        const r = await Raw.connect(server.port, `/${hub}`);

                        send(r);

                        if (wait) {
                            await sleep(wait);
                        }

                        if (how === 'close') {
                            r.write(frame(CLOSE, closePayload(1000)));
                            assert.equal((await r.closeFrame()).code, 1000);
                            await r.end();
                        } else if (how === 'end') {
                            r.socket.end();
                            await r.end();
                        } else {
                            r.reset();
                        }
                    });
            }
        }
    }

    s.it('connect in flight, then gone', async () => {
        for (const how of ['end', 'reset', 'close']) {
            const r = await Raw.open(server.port, '/gone');

            r.text(connect(1, user()));
            r.text(subscribe(2, 'gone'));

            if (how === 'end') {
                r.socket.end();
                await r.end();
            } else if (how === 'reset') {
                r.reset();
            } else {
                r.write(frame(CLOSE, closePayload(1000)));
                assert.equal((await r.closeFrame()).code, 1000);
            }
        }
    });

    s.it('a publication is delivered though its publisher is gone',
        async () => {
            for (const how of ['close', 'terminate', 'reset']) {
                const ch = fresh();
                const list = await onAllWorkers(server.workers(), 1,
                    () => Client.connect(url('open')));

                await Promise.all(list.map((c) => c.subscribe(ch)));

                const r = await Raw.connect(server.port, '/open');

                r.text(publish(2, ch, how));
                await sleep(20);

                if (how === 'close') {
                    r.write(frame(CLOSE, closePayload(1000)));
                } else if (how === 'terminate') {
                    r.destroy();
                } else {
                    r.reset();
                }

                for (const c of list) {
                    assert.equal(dataOf(await c.line()), how);
                    assert.deepEqual(await c.settle(), []);
                    c.terminate();
                }
            }
        });

    s.it('a subscribe in flight of one that is gone leaves no channel',
        async () => {
            const list = [];

            for (let i = 0; i < 20; i++) {
                const r = await Raw.connect(server.port, '/silent');

                r.text(subscribe(2, `channel${i}`));
                list.push(r);
            }

            list.forEach((r) => r.destroy());
            await until('no client',
                async () => await metric('silent', 'node_num_clients') === 0);

            /* their commands are answered to nobody after this */

            await sleep(3 * DELAY);
            await empty('silent', 0);

            /* the next ones find the channels as new */

            const c = await Client.connect(url('silent'));

            await c.subscribe('channel7');
            assert.equal(await metric('silent', 'node_num_channels'), 1);
            await api('silent').publish('channel7', 1);
            assert.equal(await c.line(), push('channel7', 1));
            c.terminate();
            await empty('silent');
        });


    /* connect waits too */

    s.it('commands behind a connect wait for it', async () => {
        for (const join of ['\n', null]) {
            const c = await Client.open(url('token'));
            const ch = fresh();
            const list = [connect(1, user()), subscribe(2, ch), rpc(3)];

            (join ? [list.join(join)] : list).forEach((x) => c.frame(x));

            const got = await replies(c, 3);

            assert.match(got[0], new RegExp(`^\\{"id":1,"connect":\\{`
                                            + `"client":"${UUID}"`));
            assert.deepEqual(got.slice(1), ['{"id":2,"subscribe":{}}',
                                            error(3, 108)]);
            c.terminate();
        }
    });

    s.it('a second connect behind the first', async () => {
        const c = await Client.open(url('token'));

        c.frame(connect(1, user()));
        c.frame(connect(2, user()));

        const got = await c.untilClosed();

        assert.equal(got.lines.length, 1);
        assert.match(got.lines[0], /^\{"id":1,"connect":/);
        assert.deepEqual([got.code, got.reason], BAD);
    });

    s.it('a wrong token behind which commands wait', async () => {
        for (const join of ['\n', null]) {
            const c = await Client.open(url('token'));
            const list = [connect(1, user({}, 'wrong')),
                          subscribe(2, fresh()), publish(3, fresh(), 1)];

            (join ? [list.join(join)] : list).forEach((x) => c.frame(x));

            const got = await c.untilClosed();

            assert.deepEqual(got.lines, []);
            assert.deepEqual([got.code, got.reason],
                             [3500, 'invalid token']);
        }
    });

    s.it('an expired token and commands in its frame', async () => {
        const c = await Client.open(url('token'));

        c.frame(connect(1, user({ exp: 1 })) + '\n' + subscribe(2, fresh()));

        const got = await c.untilClosed();

        assert.deepEqual(got.lines, [error(1, 109)]);
        assert.deepEqual([got.code, got.reason], BAD);
    });

    /* as without a delay: frames behind a failed connect are not read */

    s.it('an expired token and commands in frames behind it', async () => {
        const c = await Client.open(url('token'));

        c.frame(connect(1, user({ exp: 1 })));
        c.frame(subscribe(2, fresh()));
        c.frame(connect(3, user()));
        assert.equal(await c.line(), error(1, 109));
        await sleep(500);
        assert.equal(c.end, null, `closed with ${JSON.stringify(c.end)}`);
        assert.deepEqual(c.lines, []);
        assert.equal((await c.close(1000)).code, 1000);
    });

    s.it('stale while its connect waits', async () => {
        const c = await Client.open(url('stale'));
        const begin = Date.now();

        c.frame(connect(1, user()));
        c.frame(subscribe(2, 'x'));

        const got = await c.untilClosed();
        const took = Date.now() - begin;

        assert.deepEqual(got.lines, []);
        assert.deepEqual([got.code, got.reason], [3502, 'stale']);
        assert.ok(took >= 800 && took < 2500, `${took} ms`);

        /* the verdict comes to nobody */

        await sleep(2500);
        await empty('stale', 0);
    });


    /* expiry */

    s.it('a token expires while a command waits', async () => {
        const ch = fresh();
        const other = await Client.connect(url('expire'),
                                           { connect: { token: user() } });

        await other.call({ subscribe: { channel: ch } }, 8000);

        const c = await Client.connect(url('expire'), {
            connect: { token: user({ exp: now() + 2 }) } });
        const begin = Date.now();

        c.frame(publish(2, ch, 'behind the end'));
        c.frame(subscribe(3, ch));

        const got = await c.untilClosed(5000);

        assert.deepEqual(got.lines, []);
        assert.deepEqual([got.code, got.reason],
                         [3005, 'connection expired']);
        assert.ok(Date.now() - begin < 3900);
        assert.equal(dataOf(await other.line(6000)), 'behind the end');
        other.terminate();
    });

    s.it('a token expires while its refresh waits', async () => {
        const c = await Client.open(url('renew'));

        c.frame(connect(1, user({ exp: now() + 4 })));
        assert.match(await c.line(), /"expires":true/);
        c.frame(`{"id":2,"refresh":{"token":"${user({ exp: now() + 60 })}"}}`);

        const got = await c.untilClosed(5000);

        assert.deepEqual(got.lines, []);
        assert.deepEqual([got.code, got.reason],
                         [3005, 'connection expired']);
        await sleep(2000);
    });

    s.it('refresh keeps its place', async () => {
        const c = await Client.connect(url('token'), {
            connect: { token: user({ exp: now() + 2 }) } });
        const ch = fresh();

        c.frame([subscribe(2, ch),
                 `{"id":3,"refresh":{"token":"${user({ exp: now() + 60 })}"}}`,
                 unsubscribe(4, ch)].join('\n'));

        const got = (await replies(c, 3)).map((x) => JSON.parse(x));

        assert.deepEqual(got.map((x) => x.id), [2, 3, 4]);
        assert.equal(got[1].refresh.expires, true);
        assert.ok(got[1].refresh.ttl > 55);

        /* and counts: the first token would be over by then */

        await sleep(3500);
        assert.deepEqual(await c.settle(), []);
        c.terminate();
    });

    s.it('a refresh that fails ends what waits behind it', async () => {
        for (const [token, code, reason] of [
            [user({}, 'wrong'), 3500, 'invalid token'],
            [jwt({ sub: '43' }), 3500, 'invalid token'],
            [user({ exp: 1 }), 3005, 'connection expired'],
        ]) {
            const c = await Client.connect(url('token'),
                                           { connect: { token: user() } });

            c.frame(`{"id":2,"refresh":{"token":"${token}"}}`);
            c.frame(subscribe(3, fresh()));

            const got = await c.untilClosed();

            assert.deepEqual(got.lines, []);
            assert.deepEqual([got.code, got.reason], [code, reason]);
        }
    });


    /* the official SDK against the late hub */

    sdkFlows(s, server, { url: server.ws('/token'), api: api('token'), fresh,
                          open: server.ws('/open') });


    /* a server each for what ends workers */

    s.it('a reload while commands wait', () => reloaded(s), 40000);
    s.it('SIGQUIT while commands wait', () => quit(s), 40000);
    s.it('SIGTERM while commands wait', () => terminated(s), 40000);
    s.it('a worker is killed while commands wait', () => killed(s), 40000);

    await s.serial('nothing is left in any hub', async () => {
        for (const end of held) {
            end();
        }

        for (const h of Object.keys(HUBS)) {
            await empty(h, 8000);
            assert.equal(await metric(h, 'hub_queued_bytes'), 0);
        }
    });
});


function sdkFlows(s, server, { url, open, api, fresh }) {
    const user = (sub, claims = {}) => jwt({ sub, ...claims });

    const sdks = (channel, options = {}, address = url) =>
        onAllWorkers(server.workers(), 2, async () => {
            const sdk = sdkOf(address, options);

            await connected(sdk);
            sdk.sub = sdk.newSubscription(channel);
            sdk.got = [];
            sdk.sub.on('publication', (ctx) => sdk.got.push(ctx));
            await subscribed(sdk.sub);
            return sdk;
        });

    s.it('SDK: connects with and without a token', async () => {
        let asked = 0;

        for (const [address, options] of [
            [url, {}], [open, {}], [url, { token: user('42') }],
            [url, { getToken: async () => { asked++; return user('42'); } }],
        ]) {
            const sdk = sdkOf(address, options);

            await connected(sdk);
            assert.deepEqual(sdk.errors, []);
            sdk.disconnect();
        }

        assert.equal(asked, 1);
    });

    s.it('SDK: stops at a wrong token', async () => {
        const sdk = sdkOf(url, { token: jwt({ sub: '42' }, 'other') });
        const gone = event(sdk, 'disconnected');

        sdk.connect();
        assert.equal((await gone).code, 3500);
    });

    s.it('SDK: replaces an expired token', async () => {
        const sdk = sdkOf(url, {
            token: user('42', { exp: 1 }),
            getToken: async () => user('42', { exp: now() + 600 }),
        });

        await connected(sdk);
        assert.deepEqual(sdk.errors.map((x) => x.error.code), [109]);
        sdk.disconnect();
    });

    s.it('SDK: refreshes its token and stays', async () => {
        let asked = 0;
        const lost = [];
        const sdk = sdkOf(url, {
            token: user('42', { exp: now() + 2 }),
            getToken: async () => {
                asked++;
                return user('42', { exp: now() + 600 });
            },
        });

        await connected(sdk);
        sdk.on('connecting', (ctx) => lost.push(ctx));
        await sleep(4500);
        assert.equal(asked, 1);
        assert.deepEqual(lost, []);
        assert.deepEqual(sdk.errors, []);
        sdk.disconnect();
    });

    s.it('SDK: publishes and receives, all on all workers', async () => {
        const ch = fresh('sdk');
        const list = await sdks(ch, { token: user('42') });

        await api.publish(ch, 'api');
        await list[0].sub.publish({ text: 'hello' });
        await api.call('broadcast', { channels: [ch, fresh()], data: 'all' });

        for (const sdk of list) {
            await until('three publications', () => sdk.got.length === 3);
            assert.deepEqual(sdk.got.map((p) => p.data),
                             ['api', { text: 'hello' }, 'all']);
            assert.equal(sdk.got[1].info.user, '42');
            sdk.disconnect();
        }
    });

    s.it('SDK: unsubscribe and subscribe again at once', async () => {
        const ch = fresh('sdk');
        const sdk = sdkOf(url);
        const got = [];

        await connected(sdk);

        const sub = sdk.newSubscription(ch);

        sub.on('publication', (ctx) => got.push(ctx.data));

        for (let i = 0; i < 5; i++) {
            await subscribed(sub);
            await api.publish(ch, i);
            await until('a publication', () => got.length === i + 1);
            sub.unsubscribe();
        }

        /* unsubscribed before the reply to subscribe has come */

        sub.subscribe();
        await sleep(10);
        sub.unsubscribe();
        await subscribed(sub);
        await api.publish(ch, 'last');
        await until('the last one', () => got.length === 6);
        await sleep(200);
        assert.deepEqual(got, [0, 1, 2, 3, 4, 'last']);
        assert.equal(sdk.state, 'connected');
        sdk.disconnect();
    });

    s.it('SDK: errors keep the session', async () => {
        const sdk = sdkOf(url);

        await connected(sdk);
        await assert.rejects(sdk.rpc('x', {}), { code: 108 });
        await assert.rejects(sdk.publish('closed:x', 1), { code: 103 });

        const sub = sdk.newSubscription('closed:x');
        const gone = event(sub, 'unsubscribed');

        sub.subscribe();
        assert.equal((await gone).code, 103);
        assert.equal(sdk.state, 'connected');
        sdk.disconnect();
    });

    s.it('SDK: many subscriptions in one batch', async () => {
        const sdk = sdkOf(url);
        const ready = [], names = [], got = [];

        await connected(sdk);
        sdk.startBatching();

        for (let i = 0; i < 40; i++) {
            const sub = sdk.newSubscription(fresh('many'));

            sub.on('publication', (ctx) => got.push(ctx.channel));
            names.push(sub.channel);
            ready.push(subscribed(sub));
        }

        sdk.stopBatching();
        await Promise.all(ready);

        await api.call('broadcast', { channels: names, data: 1 });
        await until('a publication in each', () => got.length >= 40);
        assert.deepEqual(got.sort(), names.sort());
        sdk.disconnect();
    });

    s.it('SDK: publishes 40 in order without waiting', async () => {
        const ch = fresh('sdk');
        const [first, ...others] = await sdks(ch, {}, open);

        await Promise.all(Array.from({ length: 40 },
                                     (_, i) => first.publish(ch, i)));

        for (const sdk of [first, ...others]) {
            await until('all publications', () => sdk.got.length >= 40);
            assert.deepEqual(sdk.got.map((p) => p.data),
                             Array.from({ length: 40 }, (_, i) => i));
            sdk.disconnect();
        }
    });
}


/* What each client of a server that ends gets: its replies, or the close. */

const WAIT = 800;

async function waiting(s, hub = '') {
    const server = await s.start({
        module: TEST_MODULE, anyWorkers: true,
        hub: `${OPEN} ${hub} token_hmac_secret_key secret;
              test_engine_delay ${WAIT}ms; test_auth_delay ${WAIT}ms;`,
    });

    await until('two workers', () => server.workers().length === 2);

    const list = await onAllWorkers(server.workers(), 6,
        () => Client.connect(server.ws()));

    list.forEach((c, i) => {
        c.frame(subscribe(2, `ch${i}`));
        c.frame(publish(3, 'all', i) + '\n' + unsubscribe(4, 'x'));
        c.frame(subscribe(5, 'all'));
    });

    /* and connects that wait */

    for (let i = 0; i < 6; i++) {
        const c = await Client.open(server.ws());

        c.frame(connect(1, jwt({ sub: 'x' })));
        c.frame(subscribe(2, 'all'));
        list.push(c);
    }

    return { server, list };
}

/* Replies come in order, without gaps, whatever ends them. */

function inOrder(lines) {
    const ids = lines.filter(isReply).map((x) => JSON.parse(x).id);

    for (let i = 1; i < ids.length; i++) {
        assert.equal(ids[i], ids[i - 1] + 1, lines.join());
    }

    return ids.length;
}


async function counts(server, want) {
    for (const [what, n] of Object.entries(want)) {
        await until(`${what}: ${n}`, async () =>
            await server.metric(`centrifugo_node_num_${what}`) === n, 8000);
    }
}


async function reloaded(s) {
    const { server, list } = await waiting(s, 'drain_time 2s;');
    const old = server.workers();
    let answered = 0;

    server.signal('SIGHUP');

    for (const c of list) {
        const got = await c.untilClosed(8000);

        assert.deepEqual([got.code, got.reason], [3001, 'shutdown']);
        answered += inOrder(got.lines);
    }

    /* old workers serve until they are empty */

    assert.ok(answered > 0, 'nobody was answered in the drain time');
    await until('the old workers to end', () =>
        !server.workers().some((p) => old.includes(p)), 5000);
    await counts(server, { clients: 0, subscriptions: 0, channels: 0 });

    const c = await Client.connect(server.ws());

    await c.subscribe('all');
    await apiOf(server, { keep: false }).publish('all', 'new');

    const got = [];

    while (got[got.length - 1] !== 'new') {
        got.push(dataOf(await c.line()));
    }

    c.terminate();
    await server.finish();
    s.done(server);
}


async function quit(s) {
    const { server, list } = await waiting(s, 'drain_time 0;');

    server.signal('SIGQUIT');

    for (const c of list) {
        const got = await c.untilClosed(8000);

        assert.deepEqual([got.code, got.reason], [3001, 'shutdown']);
        inOrder(got.lines);
    }

    await within(5000, 'NGINX to end', server.exited);
    assert.deepEqual(server.child.done, { code: 0, signal: null });
    await server.run();
    await counts(server, { clients: 0, subscriptions: 0, channels: 0 });
    await server.finish();
    s.done(server);
}


async function terminated(s) {
    const { server, list } = await waiting(s);

    await server.halt('SIGTERM', 3000);
    assert.deepEqual(server.child.done, { code: 0, signal: null });

    for (const c of list) {
        inOrder((await c.untilClosed(3000)).lines);
    }

    await server.run();
    await counts(server, { clients: 0, subscriptions: 0, channels: 0 });
    await server.finish();
    s.done(server);
}


async function killed(s) {
    const { server, list } = await waiting(s);
    const [victim] = server.workers();
    const ended = new Set();

    server.allow(/exited on signal 9/);
    list.forEach((c) => c.ws.on('close', () => ended.add(c)));
    process.kill(victim, 'SIGKILL');

    for (const c of list) {
        if (c.worker === victim) {
            await within(3000, 'its clients to be cut off', c.closed);
            inOrder(c.lines);
        }
    }

    /* those of the other worker go on as if nothing had happened */

    const staying = list.filter((c) => c.worker !== victim);

    for (const c of staying.filter((x) => x.id)) {
        const got = [];

        while (got.length < 4) {
            const line = await c.line(8000);

            if (isReply(line)) {
                got.push(line);
            }
        }

        assert.equal(inOrder(got), 4);
        assert.ok(!ended.has(c));
    }

    staying.forEach((c) => c.terminate());
    await counts(server, { clients: 0, subscriptions: 0, channels: 0 });
    await server.finish();
    s.done(server);
}


process.on('beforeExit', endAll);


suite('suspended as the worker ends', { timeout: 60000 }, async (s) => {
    const hub = `${OPEN} token_hmac_secret_key secret; presence on;
        subscribe_to_user_personal_channel on; single_connection on;`;

    for (const late of ['test_engine_delay 3s;', 'test_auth_delay 3s;']) {
        await s.serial(late, async () => {
            const server = await s.start({ module: TEST_MODULE,
                                           hub: `${hub} ${late}` });

            for (let i = 0; i < 30; i++) {
                const c = await Client.open(server.ws());
                const token = jwt({ sub: `u${i % 7}`, channels: ['a'] });

                c.frame([connect(1, i % 3 && token), subscribe(2, 'b'),
                         publish(3, 'b', 1), unsubscribe(4, 'b')].join('\n'));
            }

            await sleep(50);
            await server.halt('SIGTERM');
            assert.deepEqual(server.badLines(), []);
            s.done(server);
        });
    }
});
