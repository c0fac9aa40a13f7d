/*
 * Subscribers whose worker has fallen behind, or whose stream is gone: they get
 * all that they missed, or are told that something is missing.
 */

import assert from 'node:assert/strict';

import { Client, onAllWorkers } from './lib/client.mjs';
import { bare, userToken } from './lib/rights.mjs';
import { connected, event, sdkOf, subscribed } from './lib/sdk.mjs';
import { sleep, TEST_MODULE, until, within } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';
import { connections } from './lib/workers.mjs';

const OPEN = 'allow_subscribe_for_client on; allow_subscribe_for_anonymous on;';
const KEPT = `${OPEN} history_ttl 10m;`;

const HUB = `token_hmac_secret_key secret; api_insecure on;
    allow_anonymous_connect_without_token on;
    ${KEPT} history_size 100; force_recovery on; allowed_delta_types fossil;
    allow_tags_filter on; delta_publish on;
    namespace few { ${KEPT} history_size 5; force_recovery on; }
    namespace pos { ${KEPT} history_size 5; force_positioning on; }
    namespace any { ${KEPT} history_size 100; allow_recovery on; }
    namespace plain { ${KEPT} history_size 5; }
    namespace none { ${OPEN} }`;

const INSUFFICIENT = (channel) => ({ push: { channel,
    unsubscribe: { code: 2500, reason: 'insufficient state' } } });


/* A server, a connection to each of two workers, and one that can be held. */

async function pair(s, hub, options = {}) {
    const server = await s.start({ module: TEST_MODULE, hub, zone: '8m',
        locations: 'location = /wipe { centrifugo_test_wipe main; }',
        ...options });
    const [one, two] = [...(await connections(server)).values()];

    /* without somebody who hears it, a publication is not in the log */

    let hearer;

    do {
        hearer?.terminate();
        hearer = await Client.connect(server.ws());
    } while (hearer.worker !== one.pid);

    await hearer.subscribe('none:flood');
    hearer.take = () => {};

    return {
        server, one, two,

        /* a client of the worker that can be held */

        async client(opt) {
            for ( ;; ) {
                const c = await Client.connect(server.ws(), opt);

                if (c.worker === two.pid) {
                    return c;
                }

                c.terminate();
            }
        },

        async call(method, params) {
            const { status, body } = await one.request('POST',
                `/api/${method}`, { body: JSON.stringify(params) });

            assert.equal(status, 200);

            const { result, error } = JSON.parse(body);

            assert.equal(error, undefined, body);
            return result;
        },

        publish(channel, data, more) {
            return this.call('publish', { channel, data, ...more });
        },

        /* what happens while the second worker stands still, in its loop */

        async held(fn) {
            process.kill(two.pid, 'SIGSTOP');

            try {
                await fn();
            } finally {
                process.kill(two.pid, 'SIGCONT');
            }
        },

        /* more than the log takes */

        async flood() {
            for (let i = 0; i < 40; i++) {
                await this.publish('none:flood', 'x'.repeat(1000));
            }
        },
    };
}

const subscribe = async (c, channel, params = {}) => {
    const r = bare(await c.call({ subscribe: { channel, ...params } }));

    return r.subscribe ?? r.error.code;
};

const datas = async (c, n) => {
    const list = [];

    for (let i = 0; i < n; i++) {
        const { push } = await c.json();

        assert.ok(push.pub, JSON.stringify(push));
        list.push(push.pub);
    }

    return list;
};

const range = (from, to) => Array.from({ length: to - from + 1 },
                                       (_, i) => from + i);


suite('a worker falls behind', { timeout: 58000 }, async (s) => {
    const p = await pair(s, `${HUB} test_log 16k;`);
    const lost = () => p.server.metric('centrifugo_hub_log_lost_total');

    await s.serial('what was lost in the log is in the history', async () => {
        const a = await p.client();
        const delta = await p.client();
        const filter = await p.client();
        const quiet = await p.client();

        await subscribe(a, 'long');
        await subscribe(delta, 'long', { delta: 'fossil' });
        await subscribe(filter, 'long', { tf: { key: 't', cmp: 'eq',
                                                val: '1' } });
        await p.publish('quiet', 1);

        const sub = await subscribe(quiet, 'quiet');

        await p.publish('long', 1, { tags: { t: '1' } });
        await datas(a, 1);
        await datas(delta, 1);
        await datas(filter, 1);

        await p.held(async () => {
            for (let i = 2; i <= 60; i++) {
                await p.publish('long', i, { tags: { t: `${i % 10}` } });
            }

            await p.flood();
        });

        await p.publish('long', 61, { tags: { t: '1' } });

        const got = await datas(a, 60);

        assert.deepEqual(got.map((x) => x.data), range(2, 61));
        assert.deepEqual(got.map((x) => x.offset), range(2, 61));
        assert.deepEqual(got[0].tags, { t: '2' });
        assert.deepEqual((await datas(delta, 60)).map((x) => x.data),
                         range(2, 61).map(String));
        assert.deepEqual((await datas(filter, 6)).map((x) => x.data),
                         [11, 21, 31, 41, 51, 61]);

        for (const c of [a, delta, filter, quiet]) {
            assert.deepEqual(await c.settle(), []);
        }

        assert.match(p.server.log(), /this worker fell behind the log of hub/);
        await p.publish('quiet', 2);
        assert.equal((await datas(quiet, 1))[0].offset, sub.offset + 1);

        for (const c of [a, delta, filter, quiet]) {
            c.terminate();
        }
    });

    await s.serial('what the history has no more is told', async () => {
        const side = await p.client();
        const pos = await p.client();
        const plain = await p.client();
        const server = await p.client({ connect: { token: userToken('7',
            { channels: ['few:a'] }) } });
        const before = await lost();

        await subscribe(side, 'few:a');
        await subscribe(pos, 'pos:a');
        await subscribe(plain, 'plain:a');

        await p.held(async () => {
            for (let i = 1; i <= 6; i++) {
                await p.publish('few:a', i);
                await p.publish('pos:a', i);
                await p.publish('plain:a', i);
            }

            await p.flood();
        });

        assert.deepEqual(await side.json(), INSUFFICIENT('few:a'));
        assert.deepEqual(await pos.json(), INSUFFICIENT('pos:a'));

        const end = await server.untilClosed();

        assert.deepEqual([end.code, end.reason, end.lines],
                         [3010, 'insufficient state', []]);

        /* who has no position goes on behind the gap */

        await p.publish('plain:a', 7);
        assert.equal((await datas(plain, 1))[0].data, 7);
        assert.ok(await lost() > before);

        /* and after it all can be had again */

        const r = await subscribe(side, 'few:a', { recover: true, offset: 0 });

        assert.equal(r.recovered, undefined);
        assert.equal(r.offset, 6);
        await p.publish('few:a', 7);
        assert.equal((await datas(side, 1))[0].offset, 7);

        for (const c of [side, pos, plain]) {
            c.terminate();
        }
    });

    await s.serial('also when it was removed', async () => {
        const c = await p.client();

        await subscribe(c, 'removed');
        await subscribe(c, 'stays');
        await p.held(async () => {
            await p.publish('removed', 1);
            await p.publish('stays', 1);
            await p.call('history_remove', { channel: 'removed' });
            await p.flood();
        });

        const got = [await c.json(), await c.json()].sort((x, y) =>
            x.push.channel < y.push.channel ? -1 : 1);

        assert.deepEqual(got[0], INSUFFICIENT('removed'));
        assert.equal(got[1].push.pub.data, 1);
        assert.deepEqual(await c.settle(), []);
        c.terminate();
    });

    await s.serial('who begins then gets nothing older', async () => {
        for (let round = 0; round < 8; round++) {
            const channel = `any:${round}`;
            const follows = await p.client();
            const begins = await p.client();

            await subscribe(follows, channel, { recoverable: true });
            await p.held(async () => {

                /* which of both the worker sees first is by the order here */

                const begin = () => begins.send({ id: 1,
                                                  subscribe: { channel } });

                if (round % 2) {
                    begin();
                    await sleep(10);
                }

                for (let i = 1; i <= 5; i++) {
                    await p.publish(channel, i);
                }

                if (round % 2 === 0) {
                    begin();
                }

                await p.flood();
            });
            await until('the subscribe to be answered', () =>
                begins.lines.some((l) => l.startsWith('{"id":1')));
            await p.publish(channel, 6);
            assert.deepEqual((await datas(follows, 6)).map((x) => x.data),
                             range(1, 6));
            assert.deepEqual(JSON.parse(begins.lines.shift()),
                             { id: 1, subscribe: {} });
            assert.deepEqual((await datas(begins, 1)).map((x) => x.data), [6]);
            assert.deepEqual(await begins.settle(), []);
            follows.terminate();
            begins.terminate();
        }
    });

    await s.serial('subscribes and publications that wait for the worker',
        async () => {
            const c = await p.client();
            const other = await p.client();
            let n = 0;
            let { epoch } = await subscribe(c, 'wait');

            await subscribe(other, 'wait');

            for (let round = 0; round < 25; round++) {
                const first = n;

                await p.held(async () => {
                    const cmd = (id, what, more = {}) => ({ id, [what]: {
                        channel: 'wait', ...more } });

                    for (let i = 0; i < round % 4; i++) {
                        await p.publish('wait', ++n);
                    }

                    c.send(cmd(1, 'unsubscribe'),
                           cmd(2, 'subscribe', { recover: true, epoch,
                                                 offset: first }));

                    for (let i = 0; i < 1 + round % 3; i++) {
                        await p.publish('wait', ++n);
                    }

                    if (round % 5 === 4) {
                        await p.flood();
                    }
                });

                await p.publish('wait', ++n);

                /* each once, in the order, in a push or in the reply */

                const got = [];
                let replies = 0;

                while (got.length < n - first || replies < 2) {
                    const m = await c.json();

                    if (m.id) {
                        replies++;
                        assert.equal(m.error, undefined);
                    }

                    if (m.subscribe) {
                        assert.equal(m.subscribe.recovered, true);
                        assert.equal(m.subscribe.offset ?? 0, first);

                        /* what came before the end comes again */

                        got.length = 0;
                        got.push(...m.subscribe.publications ?? []);
                    } else if (m.push) {
                        got.push(m.push.pub);
                    }
                }

                assert.deepEqual(got.map((x) => x.data),
                                 range(first + 1, n), `round ${round}`);
                assert.deepEqual(got.map((x) => x.offset),
                                 range(first + 1, n));
                assert.deepEqual((await datas(other, n - first))
                    .map((x) => x.data), range(first + 1, n));
            }

            assert.deepEqual(await c.settle(), []);
            assert.deepEqual(await other.settle(), []);
            c.terminate();
            other.terminate();
        });

    p.one.close();
    p.two.close();
});


suite('a worker falls behind, and its engine is late', { timeout: 30000 },
    async (s) => {
    const p = await pair(s, `${HUB} test_log 16k; test_engine_delay 30ms;`);

    const batch = (channel, list) => p.one.request('POST', '/api/batch', {
        body: JSON.stringify({ parallel: true, commands: list.map((data) =>
            ({ publish: { channel, data } })) }) });

    await s.serial('what is in the history and in the log comes once',
        async () => {
        for (let round = 0; round < 10; round++) {
            const channel = `any:late${round}`;
            const follows = await p.client();
            const plain = await p.client();
            let between;

            await subscribe(follows, channel, { recoverable: true });
            await subscribe(plain, channel);

            await p.held(async () => {
                await batch(channel, range(1, 20));
                await batch('none:flood', Array(40).fill('x'.repeat(1000)));

                /* these come while the history is asked for */

                between = batch(channel, range(21, 30));
                await sleep(10 + round);
            });

            await between;
            await p.publish(channel, 31);

            const got = await datas(follows, 31);

            assert.deepEqual(got.map((x) => x.offset), range(1, 31));
            assert.deepEqual(got.map((x) => x.data), range(1, 31));
            assert.deepEqual((await datas(plain, 31)).map((x) => x.data),
                             range(1, 31));
            assert.deepEqual(await follows.settle(), []);
            assert.deepEqual(await plain.settle(), []);
            follows.terminate();
            plain.terminate();
        }

        assert.match(p.server.log(), /this worker fell behind the log of hub/);
    });

    p.one.close();
    p.two.close();
});


suite('publications that come late', { timeout: 30000 }, async (s) => {
    const p = await pair(s, `${HUB} channel_position_max_time_lag 1s;`);

    await s.serial('are not enough for who has a position', async () => {
        const c = await p.client();
        const plain = await p.client();

        await subscribe(c, 'a');
        await subscribe(plain, 'plain:a');
        await p.publish('a', 1);
        assert.equal((await datas(c, 1))[0].data, 1);
        await p.held(async () => {
            await p.publish('a', 2);
            await p.publish('plain:a', 2);
            await sleep(1300);
        });
        assert.deepEqual(await c.json(), INSUFFICIENT('a'));
        assert.equal((await datas(plain, 1))[0].data, 2);

        const r = await subscribe(c, 'a', { recover: true, offset: 1 });

        assert.deepEqual(r.publications.map((x) => x.data), [2]);
    });

    p.one.close();
    p.two.close();
});


suite('positions that are checked', { timeout: 30000 }, async (s) => {
    const p = await pair(s, `${HUB} channel_position_check_delay 1s;
        namespace brief { ${OPEN} history_size 10; history_ttl 1s;
            history_meta_ttl 1s; force_recovery on; }`);

    await s.serial('are right for all who missed nothing', async () => {
        const list = await onAllWorkers(p.server.workers(), 2,
            () => Client.connect(p.server.ws()));

        await p.publish('still', 1);

        for (const c of list) {
            c.still = await subscribe(c, 'still');
            c.brief = await subscribe(c, 'brief:a');
            await subscribe(c, 'busy');
        }

        /* a second and more than what the stream of `brief` lives */

        let n = 0;

        for (const end = Date.now() + 4500; Date.now() < end; ) {
            await p.publish('busy', ++n);
        }

        await p.publish('brief:a', 'end');
        await p.publish('still', 'end');

        for (const c of list) {
            const got = await datas(c, n + 2);
            const of = (data) => got.find((x) => x.data === data);

            assert.deepEqual(got.map((x) => x.data).filter(Number.isInteger),
                             range(1, n));
            assert.equal(of('end').offset, 1);
            assert.equal(of('end').epoch, c.brief.epoch);
            assert.equal(got.at(-1).offset, 2);
            assert.deepEqual(await c.settle(), []);
        }

        assert.equal(await p.server.metric(
            'centrifugo_hub_insufficient_state_total'), 0);
    });

    p.one.close();
    p.two.close();
});


suite('a shard is emptied', { timeout: 40000 }, async (s) => {
    const p = await pair(s, HUB);

    await s.serial('all are told, and none is deaf', async () => {
        const list = await onAllWorkers(p.server.workers(), 2,
            () => Client.connect(p.server.ws()));
        const servers = await onAllWorkers(p.server.workers(), 1,
            () => Client.connect(p.server.ws(), { connect: { token:
                userToken('8', { channels: ['a', 'none:a'] }) } }));

        const sdk = sdkOf(p.server.ws());
        const sub = sdk.newSubscription('a');
        const got = [];

        sub.on('publication', (ctx) => got.push(ctx.data));
        await connected(sdk);
        await subscribed(sub);
        const { epoch } = await p.publish('a', 'before');

        await until('before', () => got.length === 1);

        for (const c of list) {
            await subscribe(c, 'a');
            await subscribe(c, 'pos:a');
            await subscribe(c, 'plain:a');
            await subscribe(c, 'none:a');
        }

        const again = event(sub, 'subscribed');

        assert.equal((await p.server.get('/wipe')).status, 200);

        for (const c of list) {
            const lines = [await c.json(), await c.json()];

            assert.deepEqual(lines.sort((x, y) =>
                x.push.channel < y.push.channel ? -1 : 1),
                [INSUFFICIENT('a'), INSUFFICIENT('pos:a')]);
        }

        for (const c of servers) {
            assert.equal((await within(5000, 'the end of a client with a '
                + 'server-side subscription', c.closed)).code, 3010);
        }

        const ctx = await again;

        assert.deepEqual([ctx.recovered, ctx.wasRecovering], [false, true]);

        const p2 = await p.publish('a', 'after');

        assert.notEqual(p2.epoch, epoch);
        assert.equal(p2.offset, 1);
        await p.publish('plain:a', 'after');
        await p.publish('none:a', 'after');
        await until('after', () => got.length === 2);

        for (const c of list) {
            assert.deepEqual((await datas(c, 2)).map((x) => x.data),
                             ['after', 'after']);
            assert.deepEqual(await c.settle(), []);

            const r = await subscribe(c, 'a', { recover: true, epoch,
                                                offset: 1 });

            assert.deepEqual([r.recovered, r.was_recovering, r.epoch, r.offset],
                             [undefined, true, p2.epoch, 1]);
        }

        assert.deepEqual(got, ['before', 'after']);
        sdk.disconnect();
    });

    p.one.close();
    p.two.close();
});


suite('server-side subscriptions of the SDK', { timeout: 30000 },
    async (s) => {
    const p = await pair(s, `${HUB} subscribe_to_user_personal_channel on;
        personal_channel_namespace me;
        namespace me { ${KEPT} history_size 100; force_recovery on;
            allow_user_limited_channels on; }`);

    await s.serial('the personal channel is recovered by connect', async () => {
        const token = userToken('42', { channels: ['news'] });
        const sdk = sdkOf(p.server.ws(), { token });
        const got = [];
        const events = [];

        sdk.on('publication', (ctx) => got.push([ctx.channel, ctx.data]));
        sdk.on('subscribed', (ctx) => events.push([ctx.channel, ctx.recovered,
                                                   ctx.wasRecovering]));

        const context = await connected(sdk);

        assert.ok(context);
        await until('two', () => events.length === 2);
        assert.deepEqual(events.splice(0).sort(),
                         [['me:#42', false, false], ['news', false, false]]);

        await p.publish('me:#42', 1);
        await p.publish('news', 1);
        await until('both', () => got.length === 2);

        for (let turn = 0; turn < 3; turn++) {
            sdk.disconnect();

            const n = got.length;

            for (let i = 0; i < 5; i++) {
                await p.publish('me:#42', `${turn}.${i}`);
            }

            await connected(sdk);
            await until('all of them', () => got.length === n + 5);
            await until('two', () => events.length === 2);
            assert.deepEqual(events.splice(0).sort(),
                [['me:#42', true, true], ['news', true, true]]);
        }

        assert.deepEqual(got.slice(2).map(([, data]) => data),
            [0, 1, 2].flatMap((t) => range(0, 4).map((i) => `${t}.${i}`)));

        /* the stream is gone: it comes back by itself, and is told */

        const again = event(sdk, 'connected');

        await p.server.get('/wipe');
        await again;
        await until('two', () => events.length === 2);
        assert.deepEqual(events.splice(0).sort(),
            [['me:#42', false, true], ['news', false, true]]);
        await p.publish('me:#42', 'end');
        await until('the end', () => got.at(-1)[1] === 'end');
        sdk.disconnect();
    });

    p.one.close();
    p.two.close();
});
