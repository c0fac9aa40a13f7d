/*
 * Channel compaction: pushes with a number in place of the channel, for who
 * asks for it where it is on.
 */

import assert from 'node:assert/strict';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers } from './lib/client.mjs';
import { userToken } from './lib/rights.mjs';
import { connected, event, sdkOf, subscribed } from './lib/sdk.mjs';
import { TEST_MODULE, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const OPEN = `token_hmac_secret_key secret; api_insecure on;
    allow_anonymous_connect_without_token on;
    allow_subscribe_for_client on; allow_subscribe_for_anonymous on;`;

const HUB = `${OPEN} channel_compaction on;
    namespace kept { allow_subscribe_for_client on;
        allow_subscribe_for_anonymous on; history_size 10; history_ttl 10m;
        force_recovery on; allow_tags_filter on; }
    namespace room { allow_subscribe_for_client on;
        allow_subscribe_for_anonymous on; presence on; join_leave on;
        force_push_join_leave on; }`;

const ask = async (c, channel, params = { flag: 1 }) =>
    (await c.call({ subscribe: { channel, ...params } })).subscribe;


/* The SDK always asks for it: everything has to be as without. */

async function sdk(server, api) {
    const a = sdkOf(server.ws(), { token: userToken('sdk') });
    const got = [];
    const subs = ['a', 'kept:a', 'room:a', 'b'].map((name) => {
        const sub = a.newSubscription(name, { recoverable: true,
                                              joinLeave: true });

        for (const what of ['publication', 'join', 'leave']) {
            sub.on(what, (ctx) => got.push([what, ctx.channel,
                what === 'publication' ? ctx.data : ctx.info.client]));
        }

        return sub;
    });
    const seen = (want) => until(JSON.stringify(want), () =>
        got.some((x) => JSON.stringify(x) === JSON.stringify(want)));

    await connected(a);

    await Promise.all(subs.map((x) => subscribed(x)));

    for (const [i, sub] of subs.entries()) {
        await api.publish(sub.channel, i);
        await seen(['publication', sub.channel, i]);
    }

    /* somebody else comes and goes */

    const other = await Client.connect(server.ws());

    await other.subscribe('room:a');
    await seen(['join', 'room:a', other.id]);
    await other.call({ unsubscribe: { channel: 'room:a' } });
    await seen(['leave', 'room:a', other.id]);

    /* numbers are another connection's after a reconnect */

    a.disconnect();
    await api.publish('kept:a', 'missed');

    const again = subs.map((x) => event(x, 'subscribed'));

    a.connect();
    await Promise.all(again);
    await seen(['publication', 'kept:a', 'missed']);

    for (const sub of subs) {
        await api.publish(sub.channel, `again ${sub.channel}`);
        await seen(['publication', sub.channel, `again ${sub.channel}`]);
    }

    /* the server takes one away, the client another */

    const gone = event(subs[0], 'unsubscribed');

    await api.call('unsubscribe', { channel: 'a', user: 'sdk' });
    await gone;
    subs[3].unsubscribe();
    await subscribed(subs[3]);
    await api.publish('a', 'nobody');
    await api.publish('b', 'last');
    await seen(['publication', 'b', 'last']);
    assert.ok(!got.some((x) => x[2] === 'nobody'));
    assert.deepEqual(a.errors, []);
    a.disconnect();
    other.terminate();
}


function rules(s, server, api) {
    const connect = () => Client.connect(server.ws());

    s.it('numbers from 1, one for each channel of a worker', async () => {
        const byWorker = new Map();
        const list = await onAllWorkers(server.workers(), 2, connect);

        for (const c of list) {
            const known = byWorker.get(c.worker) ?? new Map();

            byWorker.set(c.worker, known);

            for (const channel of ['n1', 'n2', 'kept:n3']) {
                const { id } = await ask(c, channel);

                assert.ok(Number.isInteger(id) && id >= 1, `${id}`);
                assert.equal(known.get(channel) ?? id, id, channel);
                known.set(channel, id);
            }

            assert.equal(new Set(known.values()).size, 3);
            c.known = known;
        }

        for (const channel of ['n1', 'n2', 'kept:n3']) {
            await api.publish(channel, channel);
        }

        for (const c of list) {
            for (const channel of ['n1', 'n2', 'kept:n3']) {
                const line = await c.line();
                const { push } = JSON.parse(line);

                assert.equal(push.id, c.known.get(channel));
                assert.equal(push.channel, undefined, line);
                assert.equal(push.pub.data, channel);
            }

            c.terminate();
        }
    });

    s.it('only for who asks', async () => {
        const c = await connect();
        const plain = await connect();

        assert.ok((await ask(c, 'asks')).id);

        for (const params of [{}, { flag: 0 }, { flag: 4 }, { flag: 2 }]) {
            assert.equal((await ask(plain, 'asks', params)).id, undefined);
            await plain.call({ unsubscribe: { channel: 'asks' } });
        }

        assert.ok((await ask(plain, 'others', { flag: 3 })).id);
        await ask(plain, 'asks', {});
        await api.publish('asks', 1);
        assert.deepEqual(await plain.json(),
                         { push: { channel: 'asks', pub: { data: 1 } } });
        assert.equal((await c.json()).push.channel, undefined);
    });

    s.it('joins, leaves and the end', async () => {
        const c = await connect();
        const d = await connect();
        const { id } = await ask(c, 'room:p');

        /* its own join, then what another does */

        const own = (await c.json()).push;

        assert.equal(own.join.info.client, c.id);
        await d.subscribe('room:p');
        await d.call({ unsubscribe: { channel: 'room:p' } });

        const join = (await c.json()).push;
        const leave = (await c.json()).push;

        assert.equal(join.join.info.client, d.id);
        assert.equal(leave.leave.info.client, d.id);

        for (const push of [own, join, leave]) {
            assert.ok(push.id === id && push.channel === undefined
                      || push.id === undefined && push.channel === 'room:p',
                      JSON.stringify(push));
        }

        await api.call('unsubscribe', { channel: 'room:p', user: '',
                                        client: c.id });
        assert.deepEqual(await c.json(), { push: { channel: 'room:p',
            unsubscribe: { code: 2000, reason: 'server unsubscribe' } } });
    });

    s.it('a number is never another channel\'s', async () => {
        const c = await connect();
        const used = new Set();

        for (let i = 0; i < 50; i++) {
            const { id } = await ask(c, `again${i % 5}`);

            assert.ok(!used.has(id), `${id} again`);
            used.add(id);
            await api.publish(`again${i % 5}`, i);

            const line = await c.line();

            assert.equal(JSON.parse(line).push?.id, id, line);
            await c.call({ unsubscribe: { channel: `again${i % 5}` } });
        }
    });

    s.it('with recovery and a filter', async () => {
        const c = await connect();
        const r = await ask(c, 'kept:r', { flag: 1,
            tf: { key: 't', cmp: 'eq', val: 'x' } });

        await api.call('publish', { channel: 'kept:r', data: 1 });
        await api.call('publish', { channel: 'kept:r', data: 2,
                                    tags: { t: 'x' } });
        assert.deepEqual(await c.json(), { push: { id: r.id,
            pub: { data: 2, offset: 2, tags: { t: 'x' } } } });
        await c.call({ unsubscribe: { channel: 'kept:r' } });

        const back = await ask(c, 'kept:r',
            { flag: 1, recover: true, offset: 0, epoch: r.epoch });

        assert.ok(back.id > r.id);
        assert.deepEqual(back.publications.map((p) => p.data), [1, 2]);
    });

    s.it('server-side subscriptions have names', async () => {
        const c = await Client.connect(server.ws(), { connect: {
            token: userToken('7', { channels: ['server'] }) } });

        assert.deepEqual(c.connectResult.subs.server, {});
        await ask(await connect(), 'server');
        await api.publish('server', 1);
        assert.deepEqual(await c.json(),
                         { push: { channel: 'server', pub: { data: 1 } } });
    });

    s.it('the SDK', () => sdk(server, api));
}


suite('channel compaction', { concurrency: 4, timeout: 40000 }, async (s) => {
    const server = await s.start({ hub: HUB });
    const api = apiOf(server);

    rules(s, server, api);
    await s.all();
    api.close();
});


suite('channel compaction with late engines',
    { concurrency: 4, timeout: 40000 }, async (s) => {
        const server = await s.start({ module: TEST_MODULE,
            hub: `test_engine_delay 10ms; ${HUB}` });
        const api = apiOf(server);

        rules(s, server, api);
        await s.all();
        api.close();
    });


suite('without channel compaction', { timeout: 20000 }, async (s) => {
    const server = await s.start({ hub: HUB.replace('channel_compaction on;',
                                                    '') });
    const api = apiOf(server);

    s.it('nobody gets a number', async () => {
        const c = await Client.connect(server.ws());

        assert.deepEqual(await ask(c, 'a'), {});
        assert.equal((await ask(c, 'kept:a')).id, undefined);
        await api.publish('a', 1);
        assert.deepEqual(await c.json(),
                         { push: { channel: 'a', pub: { data: 1 } } });
    });

    s.it('the SDK', () => sdk(server, api));
    await s.all();
    api.close();
});
