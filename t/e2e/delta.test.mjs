/*
 * Deltas, tags filters and numbers of channels: what subscribers get who asked
 * for less than all.
 */

import assert from 'node:assert/strict';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers } from './lib/client.mjs';
import { apply } from './lib/fossil.mjs';
import { bare } from './lib/rights.mjs';
import { connected, event, sdkOf, subscribed } from './lib/sdk.mjs';
import { TEST_MODULE, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const OPEN = `allow_subscribe_for_client on; allow_subscribe_for_anonymous on;
    allow_publish_for_client on; allow_publish_for_anonymous on;`;
const KEPT = `${OPEN} history_size 100; history_ttl 10m; force_recovery on;
    allowed_delta_types fossil; allow_tags_filter on;`;

const HUB = `api_insecure on; allow_anonymous_connect_without_token on;
    ${KEPT} delta_publish on; channel_compaction on;
    namespace ask { ${KEPT} }
    namespace none { ${OPEN} history_size 100; history_ttl 10m;
        force_recovery on; delta_publish on; }
    namespace jl { ${KEPT} join_leave on; force_push_join_leave on; }
    namespace loose { ${OPEN} allow_tags_filter on;
        allowed_delta_types fossil; }
    namespace weak { ${OPEN} history_size 100; history_ttl 10m;
        allow_positioning on; allowed_delta_types fossil; }`;

/* A document that changes a little each time. */

const page = (i) => ({ n: i, title: 'Grüße, 世界 😀 und sonst',
    lines: Array.from({ length: 30 }, (_, k) =>
        `line ${k}: ${'é€😀x'.repeat(4)} ${k === i % 30 ? i : ''}`) });

const tf = (key, cmp, val) => ({ key, cmp, ...(Array.isArray(val)
    ? { vals: val } : val === undefined ? {} : { val }) });


function cases(s, server, api) {
    const connect = (options) => Client.connect(server.ws(), options);

    const subscribe = async (c, channel, params = {}) => {
        const r = bare(await c.call({ subscribe: { channel, ...params } }));

        return r.subscribe ?? r.error.code;
    };

    const put = async (channel, data, params = {}) =>
        (await api.call('publish', { channel, data, ...params })).result;

    const pub = async (c) => (await c.json()).push.pub;

    s.it('negotiation', async () => {
        const c = await connect();

        assert.equal((await subscribe(c, 'a', { delta: 'fossil' })).delta,
                     true);
        assert.equal((await subscribe(c, 'a2')).delta, undefined);
        assert.equal((await subscribe(c, 'none:a', { delta: 'fossil' })).delta,
                     undefined);
        assert.equal((await subscribe(c, 'loose:a', { delta: 'fossil' })).delta,
                     true);
        await c.call({ subscribe: { channel: 'x', delta: 'other' } })
            .catch(() => {});
        assert.equal((await c.closed).code, 3501);
    });

    s.it('texts, and no deltas, without a position', async () => {
        const [c, other] = [await connect(), await connect()];
        const sdk = sdkOf(server.ws());
        const sub = sdk.newSubscription('weak:a', { delta: 'fossil' });
        const got = [];

        sub.on('publication', (ctx) => got.push(ctx.data));
        await connected(sdk);
        await subscribed(sub);
        await subscribe(other, 'weak:a', { delta: 'fossil', positioned: true });

        for (const channel of ['loose:b', 'weak:a']) {
            await subscribe(c, channel, { delta: 'fossil' });

            for (let i = 0; i < 3; i++) {
                await put(channel, page(i), { delta: true });

                const p = await pub(c);

                assert.deepEqual(JSON.parse(p.data), page(i));
                assert.equal(p.delta, undefined);
            }
        }

        /* somebody else has them there */

        assert.deepEqual([await pub(other), await pub(other), await pub(other)]
            .map((p) => p.delta), [undefined, true, true]);

        await until('all', () => got.length === 3);
        assert.deepEqual(got, [0, 1, 2].map(page));
        sdk.disconnect();
    });

    s.it('text, then deltas, whole when not asked for or not shorter',
        async () => {
            const c = await connect();

            await subscribe(c, 'ask:a', { delta: 'fossil' });
            await put('ask:a', page(1), { delta: true });
            await put('ask:a', page(2), { delta: true });
            await put('ask:a', page(3));
            await put('ask:a', page(4), { delta: true });
            await put('ask:a', 'x', { delta: true });
            await put('ask:a', 'y', { delta: true });

            let p = await pub(c);
            let base = Buffer.from(p.data);

            assert.equal(p.delta, undefined);
            assert.deepEqual(JSON.parse(p.data), page(1));
            assert.equal(p.epoch, undefined);

            p = await pub(c);
            assert.equal(p.delta, true);
            assert.ok(p.data.length < base.length / 5, p.data);
            base = apply(base, Buffer.from(p.data));
            assert.deepEqual(JSON.parse(base), page(2));

            p = await pub(c);
            assert.equal(p.delta, undefined);
            assert.equal(p.data, JSON.stringify(page(3)));

            const next = await pub(c);

            assert.equal(next.delta, true);
            assert.deepEqual(JSON.parse(apply(Buffer.from(p.data),
                Buffer.from(next.data))), page(4));

            assert.deepEqual([(await pub(c)), (await pub(c))],
                [{ data: '"x"', offset: 5 }, { data: '"y"', offset: 6 }]);
        });

    s.it('white space of a publication is that of its text', async () => {
        const c = await connect({ encoding: 'json' });

        await subscribe(c, 'space', { delta: 'fossil' });

        for (const i of [1, 2]) {
            await server.request('POST', '/api/publish', { body:
                `{"channel":"space","data":{"a":\n "${'long '.repeat(50)}",\r\n`
                + ` "i": ${i}}}` });
        }

        const a = await pub(c);
        const b = await pub(c);

        assert.equal(a.data, `{"a": "${'long '.repeat(50)}", "i": 1}`);
        assert.equal(b.delta, true);
        assert.equal(apply(Buffer.from(a.data), Buffer.from(b.data)).toString(),
                     `{"a": "${'long '.repeat(50)}", "i": 2}`);
    });

    s.it('what was recovered is a text and its deltas', async () => {
        const c = await connect();
        const { epoch } = await put('rec', page(1));

        for (let i = 2; i <= 5; i++) {
            await put('rec', page(i));
        }

        const r = await subscribe(c, 'rec', { delta: 'fossil', recover: true,
                                              epoch, offset: 1 });

        assert.equal(r.recovered, true);
        assert.deepEqual(r.publications.map((p) => p.delta),
                         [undefined, true, true, true]);

        let base = Buffer.from(r.publications[0].data);

        for (const p of r.publications.slice(1)) {
            base = apply(base, Buffer.from(p.data));
        }

        assert.deepEqual(JSON.parse(base), page(5));

        /* and the next may be one at once */

        await put('rec', page(6));

        const p = await pub(c);

        base = p.delta ? apply(base, Buffer.from(p.data)) : p.data;
        assert.deepEqual(JSON.parse(base), page(6));
    });

    s.it('after skip_history it begins anew', async () => {
        const c = await connect();

        await subscribe(c, 'skip', { delta: 'fossil' });
        await put('skip', page(1));
        await put('skip', page(7), { skip_history: true });
        await put('skip', page(2));
        await put('skip', page(3));

        const ps = [await pub(c), await pub(c), await pub(c), await pub(c)];

        assert.deepEqual(ps.map((p) => [p.offset, p.delta]),
            [[1, undefined], [undefined, undefined], [2, undefined],
             [3, true]]);
        assert.deepEqual(JSON.parse(ps[1].data), page(7));
        assert.deepEqual(JSON.parse(apply(Buffer.from(ps[2].data),
            Buffer.from(ps[3].data))), page(3));
    });

    s.it('all kinds of subscribers of one channel, in all workers',
        async () => {
            const all = await onAllWorkers(server.workers(), 6, connect);
            const kinds = [{}, { delta: 'fossil' }, { flag: 1 },
                           { delta: 'fossil', flag: 1 },
                           { tf: tf('odd', 'eq', '1') },
                           { tf: tf('odd', 'eq', '1'), delta: 'fossil' }];

            for (const [i, c] of all.entries()) {
                c.kind = kinds[i % kinds.length];
                c.reply = await subscribe(c, 'mix', c.kind);

                if (c.kind.flag) {
                    assert.ok(c.reply.id >= 1);
                } else {
                    assert.equal(c.reply.id, undefined);
                }
            }

            for (let i = 1; i <= 12; i++) {
                await put('mix', page(i), { tags: { odd: String(i % 2) } });
            }

            for (const c of all) {
                const want = c.kind.tf ? [1, 3, 5, 7, 9, 11]
                                       : [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
                let base;
                let deltas = 0;

                for (const n of want) {
                    const { push } = await c.json();
                    const p = push.pub;

                    assert.equal(push.channel, c.kind.flag ? undefined : 'mix');
                    assert.equal(push.id, c.reply.id);
                    assert.equal(p.offset, n);

                    if (c.kind.delta) {
                        deltas += p.delta ? 1 : 0;
                        base = p.delta ? apply(base, Buffer.from(p.data))
                                       : Buffer.from(p.data);
                        assert.deepEqual(JSON.parse(base), page(n));
                    } else {
                        assert.deepEqual(p.data, page(n));
                    }
                }

                /* what a filter left out is no base */

                assert.equal(deltas, !c.kind.delta || c.kind.tf ? 0 : 11);
                assert.deepEqual(await c.settle(), []);
            }
        });

    s.it('the SDK with deltas', async () => {
        const sdk = sdkOf(server.ws());
        const sub = sdk.newSubscription('sdk', { delta: 'fossil' });
        const got = [];

        sub.on('publication', (ctx) => got.push(ctx.data));
        await connected(sdk);
        await subscribed(sub);

        for (let i = 0; i < 40; i++) {
            await put('sdk', page(i));
        }

        await until('40', () => got.length === 40);
        sdk.disconnect();

        for (let i = 40; i < 50; i++) {
            await put('sdk', page(i));
        }

        const again = event(sub, 'subscribed');

        sdk.connect();
        assert.equal((await again).recovered, true);

        for (let i = 50; i < 60; i++) {
            await put('sdk', page(i));
        }

        await until('60', () => got.length === 60);
        assert.deepEqual(got, Array.from({ length: 60 }, (_, i) => page(i)));
        sdk.disconnect();
    });

    s.it('the SDK with a tags filter', async () => {
        const sdk = sdkOf(server.ws());
        const sub = sdk.newSubscription('sdktf', { tagsFilter: { op: 'or',
            nodes: [tf('a', 'eq', '1'), { op: 'and', nodes: [
                tf('n', 'gte', '10'), tf('n', 'lt', '10.5') ] }] } });
        const got = [];

        sub.on('publication', (ctx) => got.push(ctx.data));
        await connected(sdk);
        await subscribed(sub);

        for (const [data, tags] of [[1, { a: '1' }], [2, { a: '2' }],
            [3, { n: '10.25' }], [4, { n: '9' }], [5, { n: 'x' }],
            [6, undefined], [7, { n: '10' }]])
        {
            await put('sdktf', data, tags ? { tags } : {});
        }

        await until('three', () => got.length === 3);
        sdk.disconnect();
        await put('sdktf', 8, { tags: { a: '2' } });
        await put('sdktf', 9, { tags: { a: '1' } });

        const again = event(sub, 'subscribed');

        sdk.connect();
        assert.equal((await again).recovered, true);
        await until('four', () => got.length === 4);
        assert.deepEqual(got, [1, 3, 7, 9]);
        sdk.disconnect();
    });

    s.it('comparisons', async () => {
        const c = await connect();
        const T = { s: 'hello', n: '10', e: '' };
        const table = [
            [tf('s', 'eq', 'hello'), 1], [tf('s', 'eq', 'hell'), 0],
            [tf('no', 'eq', 'x'), 0], [tf('s', 'neq', 'x'), 1],
            [tf('s', 'neq', 'hello'), 0], [tf('no', 'neq', 'x'), 1],
            [tf('s', 'in', ['a', 'hello']), 1], [tf('s', 'in', ['a']), 0],
            [tf('s', 'nin', ['a']), 1], [tf('no', 'nin', ['a']), 1],
            [tf('s', 'nin', ['hello']), 0],
            [tf('s', 'ex'), 1], [tf('no', 'ex'), 0], [tf('e', 'ex'), 1],
            [tf('s', 'nex'), 0], [tf('no', 'nex'), 1],
            [tf('s', 'sw', 'he'), 1], [tf('s', 'sw', 'lo'), 0],
            [tf('s', 'ew', 'lo'), 1], [tf('s', 'ew', 'he'), 0],
            [tf('s', 'ct', 'ell'), 1], [tf('s', 'ct', 'x'), 0],
            [tf('n', 'lt', '10.1'), 1], [tf('n', 'lt', '10'), 0],
            [tf('n', 'lte', '10.0'), 1], [tf('n', 'gt', '9'), 1],
            [tf('n', 'gt', '10'), 0], [tf('n', 'gte', '10'), 1],
            [tf('s', 'gte', '1'), 0], [tf('no', 'gte', '1'), 0],
            [tf('n', 'gte', 'x'), 0],
            [{ op: 'and', nodes: [tf('s', 'ex'), tf('n', 'ex')] }, 1],
            [{ op: 'and', nodes: [tf('s', 'ex'), tf('no', 'ex')] }, 0],
            [{ op: 'or', nodes: [tf('no', 'ex'), tf('n', 'ex')] }, 1],
            [{ op: 'not', nodes: [tf('no', 'ex')] }, 1],
        ];

        for (const [i, [filter]] of table.entries()) {
            assert.equal(typeof await subscribe(c, `loose:${i}`,
                { tf: filter }), 'object', JSON.stringify(filter));
        }

        for (const i of table.keys()) {
            await put(`loose:${i}`, i, { tags: T });
        }

        await put('loose:0', 'end', { tags: T });
        await until('the end', () => c.lines.some((l) => l.includes('"end"')));

        const got = new Set(c.lines.map((l) => JSON.parse(l).push.pub.data));

        for (const [i, [filter, want]] of table.entries()) {
            assert.equal(got.has(i), want === 1, JSON.stringify(filter));
        }
    });

    s.it('filters that are none', async () => {
        const c = await connect();
        const bad = [{}, tf('a', 'what', 'x'), tf('', 'eq', 'x'),
            { key: 'a', cmp: 'in', val: 'x' }, { key: 'a', cmp: 'in' },
            { key: 'a', cmp: 'eq', vals: ['x'] }, { op: 'and' },
            { op: 'xor', nodes: [tf('a', 'ex')] }, tf('a', 'ex', 'x'),
            { op: 'not', nodes: [tf('a', 'ex'), tf('b', 'ex')] },
            tf('a', 'eq', '')];

        for (const f of bad) {
            assert.equal(await subscribe(c, 'bad', { tf: f }), 107,
                         JSON.stringify(f));
        }

        assert.equal(await subscribe(c, 'none:tf', { tf: tf('a', 'ex') }), 107);
        assert.deepEqual(await c.settle(), []);
    });

    s.it('numbers in joins and leaves, and for the SDK', async () => {
        const c = await connect();
        const r = await subscribe(c, 'jl:a', { flag: 1 });
        const d = await connect();

        assert.equal((await c.json()).push.id, r.id);       /* its own join */
        await subscribe(d, 'jl:a');
        assert.deepEqual(await c.json(), { push: { id: r.id, join: { info:
            { user: '', client: d.id } } } });
        d.terminate();
        assert.deepEqual(await c.json(), { push: { id: r.id, leave: { info:
            { user: '', client: d.id } } } });

        const sdk = sdkOf(server.ws());
        const sub = sdk.newSubscription('num');
        const got = [];

        sub.on('publication', (ctx) => got.push([ctx.channel, ctx.data]));
        await connected(sdk);
        await subscribed(sub);
        await put('num', 1);
        await until('it', () => got.length === 1);
        assert.deepEqual(got, [['num', 1]]);
        sdk.disconnect();
    });
}


suite('deltas, filters, numbers', { concurrency: 6, timeout: 58000 },
    async (s) => {
        const server = await s.start({ zone: '16m', hub: HUB });

        cases(s, server, apiOf(server));
    });


suite('the same with late engines', { concurrency: 6, timeout: 58000 },
    async (s) => {
        const server = await s.start({ zone: '16m', module: TEST_MODULE,
            hub: `test_engine_delay 5ms; ${HUB}` });

        cases(s, server, apiOf(server));
    });
