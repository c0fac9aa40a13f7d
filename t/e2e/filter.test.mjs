/*
 * Tags filters: a subscriber gets what it wants, and nothing counts as missed.
 */

import assert from 'node:assert/strict';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers } from './lib/client.mjs';
import { apply } from './lib/fossil.mjs';
import { bare, logged, outcome, subToken, userToken } from './lib/rights.mjs';
import { connected, event, sdkOf, subscribed } from './lib/sdk.mjs';
import { TEST_MODULE, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const OPEN = `allow_subscribe_for_client on; allow_subscribe_for_anonymous on;
    allow_publish_for_client on; allow_publish_for_anonymous on;`;
const KEPT = `${OPEN} history_size 40; history_ttl 10m;`;

const HUB = `token_hmac_secret_key secret; api_insecure on;
    allow_anonymous_connect_without_token on;
    ${KEPT} force_recovery on; allow_tags_filter on;
    allowed_delta_types fossil; delta_publish on;
    namespace no { ${KEPT} force_recovery on; }
    namespace jl { ${KEPT} force_recovery on; allow_tags_filter on;
        join_leave on; force_push_join_leave on; }
    namespace bare { ${OPEN} allow_tags_filter on; }
    namespace cache { ${KEPT} force_recovery on; allow_tags_filter on;
        force_recovery_mode cache; auto_cache_recover on; }`;

const T = { t: 'x' };
const IS_X = { key: 't', cmp: 'eq', val: 'x' };

/* tags that are published, by the number of each publication */

const TAGS = [
    undefined, { a: '' }, { a: 'x' }, { a: 'xy' }, { a: 'yx' }, { b: 'x' },
    { a: '1' }, { a: '1.0' }, { a: '-2.5' }, { a: '10' }, { a: '9' },
    { a: 'x', b: '10' }, { a: '1e3' }, { a: '\u00e9x' },
    { a: '12345678901234567890.5' }, { a: '12345678901234567890.25' },
];

/* a filter, and which of TAGS it lets through */

const OPS = [
    [{ key: 'a', cmp: 'eq', val: 'x' }, [2, 11]],
    [{ key: 'a', cmp: 'neq', val: 'x' },
     [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15]],
    [{ key: 'a', cmp: 'in', vals: ['x', 'yx', 'z'] }, [2, 4, 11]],
    [{ key: 'a', cmp: 'nin', vals: ['x', 'xy', '1', '1.0', '9'] },
     [0, 1, 4, 5, 8, 9, 12, 13, 14, 15]],
    [{ key: 'a', cmp: 'ex' }, [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]],
    [{ key: 'a', cmp: 'nex' }, [0, 5]],
    [{ key: 'a', cmp: 'sw', val: 'x' }, [2, 3, 11]],
    [{ key: 'a', cmp: 'ew', val: 'x' }, [2, 4, 11, 13]],
    [{ key: 'a', cmp: 'ct', val: 'x' }, [2, 3, 4, 11, 13]],
    [{ key: 'a', cmp: 'ct', val: '\u00e9' }, [13]],
    [{ key: 'a', cmp: 'gt', val: '1' }, [9, 10, 14, 15]],
    [{ key: 'a', cmp: 'gte', val: '1' }, [6, 7, 9, 10, 14, 15]],
    [{ key: 'a', cmp: 'lt', val: '1' }, [8]],
    [{ key: 'a', cmp: 'lte', val: '1.00' }, [6, 7, 8]],
    [{ key: 'a', cmp: 'gt', val: '12345678901234567890.25' }, [14]],
    [{ key: 'a', cmp: 'gt', val: 'x' }, []],
    [{ op: 'not', nodes: [{ key: 'a', cmp: 'eq', val: 'x' }] },
     [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15]],
    [{ op: 'and', nodes: [{ key: 'a', cmp: 'eq', val: 'x' },
                          { key: 'b', cmp: 'gte', val: '10' }] }, [11]],
    [{ op: 'or', nodes: [{ key: 'b', cmp: 'ex' },
                         { op: 'and', nodes: [
                             { key: 'a', cmp: 'gt', val: '1' },
                             { key: 'a', cmp: 'lt', val: '10' }] }] },
     [5, 10, 11]],
    [{ op: 'or', nodes: [{ key: 'a', cmp: 'eq', val: '9' }] }, [10]],
    [{ op: '', key: 'b', cmp: 'eq', val: 'x' }, [5]],
];

const LEAF = { key: 'a', cmp: 'ex' };

const WRONG = [
    {}, { key: 'a' }, { cmp: 'eq', val: 'x' },
    { key: 'a', cmp: 'is', val: 'x' }, { key: 'a', cmp: 'EQ', val: 'x' },
    { key: '', cmp: 'eq', val: 'x' }, { key: 'a', cmp: 'eq' },
    { key: 'a', cmp: 'eq', val: 'x', vals: ['y'] },
    { key: 'a', cmp: 'in' }, { key: 'a', cmp: 'in', vals: [] },
    { key: 'a', cmp: 'in', val: 'x', vals: ['y'] },
    { key: 'a', cmp: 'nin', val: 'x' },
    { key: 'a', cmp: 'ex', val: 'x' }, { key: 'a', cmp: 'nex', vals: ['x'] },
    { key: 'a', cmp: 'gt' }, { key: 'a', cmp: 'lte', vals: ['1'] },
    { op: 'and' }, { op: 'or', nodes: [] }, { op: 'not', nodes: [LEAF, LEAF] },
    { op: 'not' }, { op: 'xor', nodes: [LEAF, LEAF] },
    { op: 'and', nodes: [LEAF, {}] },
    { op: 'not', nodes: [{ op: 'or', nodes: [LEAF, { key: 'a' }] }] },
];


function rules(s, server, api) {
    const connect = (options) => Client.connect(server.ws(), options);

    const subscribe = async (c, channel, params) => {
        const r = bare(await c.call({ subscribe: { channel, ...params } }));

        return r.subscribe ?? r.error;
    };

    const publish = async (channel, data, tags, params = {}) => {
        const { result, error } = await api.call('publish',
            { channel, data, tags, ...params });

        assert.equal(error, undefined);
        return result;
    };

    /* what came until a publication with this data */

    const upTo = async (c, end) => {
        const list = [];

        for ( ;; ) {
            const { push } = await c.json();

            assert.ok(push.pub, JSON.stringify(push));
            list.push(push.pub);

            if (push.pub.data === end) {
                return list;
            }
        }
    };

    s.it('what each operator lets through', async () => {
        const clients = [];

        for (const [tf] of OPS) {
            const c = await connect();

            assert.equal((await subscribe(c, 'ops', { tf })).code, undefined,
                         JSON.stringify(tf));
            await subscribe(c, 'end', {});
            clients.push(c);
        }

        for (let i = 0; i < TAGS.length; i++) {
            await publish('ops', i, TAGS[i]);
        }

        await publish('end', 'end');

        for (let i = 0; i < OPS.length; i++) {
            const [tf, want] = OPS[i];
            const got = await upTo(clients[i], 'end');

            got.pop();
            assert.deepEqual(got.map((p) => p.data), want, JSON.stringify(tf));

            for (const p of got) {
                assert.equal(p.offset, p.data + 1);
                assert.deepEqual(p.tags, TAGS[p.data]);
            }

            /* the same comes back in recovery */

            const d = await connect();
            const r = await subscribe(d, 'ops',
                                      { tf, recover: true, offset: 0 });

            assert.equal(r.recovered, true);
            assert.deepEqual((r.publications || []).map((p) => p.data), want);
            d.terminate();
        }
    });

    s.it('what is no filter', async () => {
        const c = await connect();

        for (const tf of WRONG) {
            assert.equal(await outcome(c, { subscribe: { channel: 'wrong',
                                                         tf } }),
                         107, JSON.stringify(tf));
        }

        await logged(server, c.id, 107);

        /* the channel is free for a right one */

        assert.equal((await subscribe(c, 'wrong', { tf: IS_X })).code,
                     undefined);
        await publish('wrong', 'a', { t: 'y' });
        await publish('wrong', 'b', T);
        assert.equal((await c.json()).push.pub.data, 'b');
    });

    s.it('where it is not allowed', async () => {
        const c = await connect();

        assert.equal(await outcome(c, { subscribe: { channel: 'no:a',
                                                     tf: IS_X } }), 107);
        assert.ok((await outcome(c, { subscribe: { channel: 'no:a',
                                                   tf: null } })).subscribe);
    });

    s.it('without a history', async () => {
        const c = await connect();

        assert.deepEqual(await subscribe(c, 'bare:a', { tf: IS_X }), {});
        await publish('bare:a', 1, { t: 'y' });
        await publish('bare:a', 2, T);
        await publish('bare:a', 3);
        await publish('bare:a', 4, T);
        assert.deepEqual([(await c.json()).push.pub, (await c.json()).push.pub],
                         [{ data: 2, tags: T }, { data: 4, tags: T }]);
        assert.deepEqual(await c.settle(), []);
    });

    s.it('with a subscription token', async () => {
        const c = await connect({ connect: { token: userToken('7') } });

        await subscribe(c, 'token', { tf: IS_X,
                                      token: subToken('7', 'token') });
        await publish('token', 1);
        await publish('token', 2, T);
        assert.equal((await c.json()).push.pub.data, 2);
        assert.deepEqual(await c.settle(), []);
    });

    s.it('positions go on over what is filtered', async () => {
        const list = await onAllWorkers(server.workers(), 1, connect);

        for (const c of list) {
            await subscribe(c, 'pos', { tf: IS_X });
        }

        for (let i = 0; i < 100; i++) {
            await publish('pos', i, i % 25 === 0 ? T : { t: 'y' });
        }

        await publish('pos', 'end', T);

        for (const c of list) {
            assert.deepEqual((await upTo(c, 'end')).map((p) => p.offset),
                             [1, 26, 51, 76, 101]);
            assert.deepEqual(await c.settle(), []);
        }
    });

    s.it('recovery passes over them', async () => {
        const c = await connect();
        const { epoch } = await publish('rec', 0);

        for (let i = 1; i <= 6; i++) {
            await publish('rec', i, i % 3 === 0 ? T : { t: 'y' });
        }

        assert.deepEqual(await subscribe(c, 'rec',
            { tf: IS_X, recover: true, epoch, offset: 1 }),
            { recoverable: true, positioned: true, epoch, offset: 1,
              recovered: true, was_recovering: true,
              publications: [{ data: 3, offset: 4, tags: T },
                             { data: 6, offset: 7, tags: T }] });

        /* all that was missed is filtered */

        await c.call({ unsubscribe: { channel: 'rec' } });
        await publish('rec', 7);
        assert.deepEqual(await subscribe(c, 'rec',
            { tf: IS_X, recover: true, epoch, offset: 7 }),
            { recoverable: true, positioned: true, epoch, offset: 7,
              recovered: true, was_recovering: true });
        await publish('rec', 8, T);
        assert.deepEqual((await c.json()).push.pub,
                         { data: 8, offset: 9, tags: T });
    });

    s.it('cache mode', async () => {
        await publish('cache:a', 1, T);
        await publish('cache:a', 2, { t: 'y' });

        const c = await connect();
        const r = await subscribe(c, 'cache:a', { tf: IS_X });

        /* the newest is not for it, an older one is not the newest */

        assert.equal(r.publications, undefined);
        await publish('cache:a', 3, T);
        assert.equal((await c.json()).push.pub.data, 3);

        const d = await connect();

        assert.deepEqual((await subscribe(d, 'cache:a', { tf: IS_X }))
            .publications.map((p) => p.data), [3]);
    });

    s.it('deltas are of what a client has', async () => {
        const pad = 'what all of them have in common, '.repeat(10);
        const c = await connect();
        let base;

        assert.equal((await subscribe(c, 'delta',
            { tf: IS_X, delta: 'fossil' })).delta, true);

        for (let i = 1; i <= 40; i++) {
            await publish('delta', { i, pad },
                          i % 7 === 0 ? { t: 'y' } : T);
        }

        let deltas = 0;

        for (let i = 1; i <= 40; i++) {
            if (i % 7 === 0) {
                continue;
            }

            const { pub } = (await c.json()).push;

            assert.equal(pub.offset, i);

            /* in full behind one that it did not get */

            assert.equal(pub.delta, i % 7 === 1 ? undefined : true);
            base = pub.delta ? apply(base, Buffer.from(pub.data))
                             : Buffer.from(pub.data);
            deltas += pub.delta ? 1 : 0;
            assert.deepEqual(JSON.parse(base), { i, pad });
        }

        assert.equal(deltas, 29);

        /* recovered ones are deltas of those before them in the list */

        await c.call({ unsubscribe: { channel: 'delta' } });

        const r = await subscribe(c, 'delta', { tf: IS_X, delta: 'fossil',
                                                recover: true, offset: 5 });

        base = undefined;
        assert.deepEqual(r.publications.map((p) => {
            base = p.delta ? apply(base, Buffer.from(p.data))
                           : Buffer.from(p.data);
            return JSON.parse(base).i;
        }), Array.from({ length: 35 }, (_, i) => i + 6)
            .filter((i) => i % 7));
        assert.equal(r.publications.filter((p) => p.delta).length, 29);

        await publish('delta', { i: 41, pad }, T);

        const { pub } = (await c.json()).push;

        base = pub.delta ? apply(base, Buffer.from(pub.data))
                         : Buffer.from(pub.data);
        assert.deepEqual(JSON.parse(base), { i: 41, pad });
    });

    s.it('others in the channel are not concerned, joins and leaves come',
        async () => {
            const all = await connect();
            const some = await connect();

            await subscribe(some, 'jl:both', { tf: IS_X });
            assert.equal((await some.json()).push.join.info.client, some.id);
            await subscribe(all, 'jl:both', {});
            assert.equal((await all.json()).push.join.info.client, all.id);
            assert.equal((await some.json()).push.join.info.client, all.id);

            for (let i = 0; i < 5; i++) {
                await publish('jl:both', i, i % 2 ? T : undefined);
            }

            for (let i = 0; i < 5; i++) {
                assert.equal((await all.json()).push.pub.data, i);
            }

            all.terminate();
            assert.equal((await some.json()).push.pub.data, 1);
            assert.equal((await some.json()).push.pub.data, 3);
            assert.equal((await some.json()).push.leave.info.client, all.id);
            assert.deepEqual(await some.settle(), []);
        });

    s.it('a large filter', async () => {
        const c = await connect();
        const vals = Array.from({ length: 256 }, (_, i) => `v${i}`);
        const tf = { key: 't', cmp: 'in', vals };

        assert.equal((await subscribe(c, 'large', { tf })).code, 107);
        vals.pop();
        assert.equal((await subscribe(c, 'large', { tf })).code, undefined);
        await publish('large', 1, { t: 'v255' });
        await publish('large', 2, { t: 'v254' });
        assert.equal((await c.json()).push.pub.data, 2);

        let deep = IS_X;

        for (let i = 0; i < 10; i++) {
            deep = { op: 'not', nodes: [deep] };
        }

        await c.call({ unsubscribe: { channel: 'large' } });
        assert.equal((await subscribe(c, 'large', { tf: deep })).code,
                     undefined);
        await publish('large', 3, { t: 'y' });
        await publish('large', 4, T);
        assert.equal((await c.json()).push.pub.data, 4);
    });

    s.it('the SDK', async () => {
        const sdk = sdkOf(server.ws());
        const sub = sdk.newSubscription('sdk', { tagsFilter: IS_X });
        const got = [];

        sub.on('publication', (ctx) => got.push(ctx.data));
        await connected(sdk);
        await subscribed(sub);

        for (let i = 1; i <= 10; i++) {
            await publish('sdk', i, i % 2 ? T : { t: 'y' });
        }

        await until('5 of them', () => got.length === 5);
        sdk.disconnect();

        for (let i = 11; i <= 20; i++) {
            await publish('sdk', i, i % 2 ? T : { t: 'y' });
        }

        const again = event(sub, 'subscribed');

        sdk.connect();
        assert.equal((await again).recovered, true);

        /* another filter holds from the next subscription on, which goes on
           behind the last one that was delivered */

        sub.setTagsFilter({ key: 't', cmp: 'neq', val: 'x' });
        await until('the rest', () => got.length === 10);
        sub.unsubscribe();
        await subscribed(sub);
        await publish('sdk', 21, T);
        await publish('sdk', 22);
        await until('the last', () => got.at(-1) === 22);

        assert.deepEqual(got, [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 20, 22]);
        assert.deepEqual(sdk.errors, []);
        sdk.disconnect();
    });
}


suite('tags filter', { concurrency: 6, timeout: 58000 }, async (s) => {
    const server = await s.start({ zone: '16m', hub: HUB });
    const api = apiOf(server);

    rules(s, server, api);
    await s.all();
    api.close();
});


suite('tags filter with late engines', { concurrency: 6, timeout: 58000 },
    async (s) => {
        const server = await s.start({ zone: '16m', module: TEST_MODULE,
            hub: `test_engine_delay 10ms; ${HUB}` });
        const api = apiOf(server);

        rules(s, server, api);
        await s.all();
        api.close();
    });
