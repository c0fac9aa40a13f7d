/*
 * Positions and recovery: nothing is missed, or the client is told so.
 */

import assert from 'node:assert/strict';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers } from './lib/client.mjs';
import { jwt } from './lib/jwt.mjs';
import { bare, logged, userToken } from './lib/rights.mjs';
import { connected, event, sdkOf, subscribed } from './lib/sdk.mjs';
import { sleep, TEST_MODULE, until, within } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const OPEN = `allow_subscribe_for_client on; allow_subscribe_for_anonymous on;
    allow_publish_for_client on; allow_publish_for_anonymous on;`;
const KEPT = `${OPEN} history_size 20; history_ttl 10m;`;

const HUB = `token_hmac_secret_key secret; api_insecure on;
    allow_anonymous_connect_without_token on; drain_time 1s;
    recovery_max_publication_limit 10; queue_max_size 64k;
    ${KEPT} force_recovery on;
    namespace plain { ${KEPT} }
    namespace off { ${OPEN} }
    namespace pos { ${KEPT} force_positioning on; }
    namespace apos { ${KEPT} allow_positioning on; }
    namespace arec { ${KEPT} allow_recovery on; }
    namespace hist { ${KEPT} allow_history_for_subscriber on;
        allow_history_for_anonymous on; }
    namespace pres { ${KEPT} force_recovery on; presence on; join_leave on; }
    namespace cache { ${KEPT} force_recovery on;
        force_recovery_mode cache; }
    namespace auto { ${KEPT} force_recovery on;
        force_recovery_mode cache; auto_cache_recover on; }
    namespace few { ${OPEN} history_size 2; history_ttl 10m;
        force_recovery on; }`;


/* A client, its subscribe request, and what it should be told. */

const subscribe = async (c, channel, params = {}) => {
    const r = bare(await c.call({ subscribe: { channel, ...params } }));

    return r.subscribe ?? r.error;
};

const at = (sub) => ({ recover: true, epoch: sub.epoch, offset: sub.offset });


function rules(s, server, api) {
    const connect = (options) => Client.connect(server.ws(), options);

    const fill = async (channel, n, pad = '') => {
        const r = [];

        for (let i = 0; i < n; i++) {
            r.push(await api.publish(channel, pad ? { n: i, pad } : i));
        }

        return r;
    };

    s.it('flags of options and wishes', async () => {
        const c = await connect();
        const none = {};
        const pos = (r) => ({ positioned: true, epoch: r.epoch });
        const rec = (r) => ({ recoverable: true, positioned: true,
                              epoch: r.epoch });
        const cases = [
            ['a', {}, rec],
            ['plain:a', {}, () => none],
            ['plain:b', { positioned: true, recoverable: true }, () => none],
            ['off:a', { positioned: true, recoverable: true }, () => none],
            ['pos:a', {}, pos],
            ['pos:b', { recoverable: true }, pos],
            ['apos:a', {}, () => none],
            ['apos:b', { positioned: true }, pos],
            ['apos:c', { recoverable: true }, () => none],
            ['arec:a', {}, () => none],
            ['arec:b', { recoverable: true }, rec],
            ['arec:c', { positioned: true }, () => none],
            ['hist:a', { positioned: true }, pos],
            ['hist:b', { recoverable: true }, rec],
        ];

        for (const [channel, params, want] of cases) {
            const r = await subscribe(c, channel, params);

            assert.deepEqual(r, want(r), channel);
        }
    });

    s.it('what was missed comes in the reply', async () => {
        const c = await connect();
        const sub = await subscribe(c, 'missed');

        assert.deepEqual(sub, { recoverable: true, positioned: true,
                                epoch: sub.epoch });

        /* with nothing missed, and from before the first publication */

        await c.call({ unsubscribe: { channel: 'missed' } });
        assert.deepEqual(await subscribe(c, 'missed', at({ ...sub,
                                                           offset: 0 })),
            { recoverable: true, positioned: true, epoch: sub.epoch,
              recovered: true, was_recovering: true });

        await c.call({ unsubscribe: { channel: 'missed' } });

        const [p] = await fill('missed', 3);

        assert.equal(p.epoch, sub.epoch);

        for (const d of await onAllWorkers(server.workers(), 1,
                                           () => connect()))
        {
            assert.deepEqual(await subscribe(d, 'missed',
                { recover: true, epoch: sub.epoch, offset: 1 }),
                { recoverable: true, positioned: true, epoch: sub.epoch,
                  recovered: true, was_recovering: true, offset: 1,
                  publications: [{ data: 1, offset: 2 },
                                 { data: 2, offset: 3 }] });
        }

        assert.deepEqual(await subscribe(c, 'missed', at({ ...sub,
                                                           offset: 0 })),
            { recoverable: true, positioned: true, epoch: sub.epoch,
              recovered: true, was_recovering: true,
              publications: [{ data: 0, offset: 1, epoch: sub.epoch },
                             { data: 1, offset: 2 },
                             { data: 2, offset: 3 }] });

        await api.publish('missed', 'next');
        assert.deepEqual(await c.json(), { push: { channel: 'missed',
            pub: { data: 'next', offset: 4 } } });
    });

    s.it('an empty epoch is any, another is not recovered', async () => {
        const [p] = await fill('epoch', 2);
        const c = await connect();
        const again = async (params) => {
            await c.call({ unsubscribe: { channel: 'epoch' } });
            return subscribe(c, 'epoch', { recover: true, ...params });
        };
        const not = { recoverable: true, positioned: true, epoch: p.epoch,
                      offset: 2, was_recovering: true };

        assert.deepEqual((await again({ offset: 1 })).publications,
                         [{ data: 1, offset: 2 }]);
        assert.deepEqual(await again({ offset: 1, epoch: 'zzzzzzzz' }), not);
        assert.deepEqual(await again({ offset: 1, epoch: 'z' }), not);
        assert.deepEqual(await again({ offset: 3, epoch: p.epoch }), not);
        assert.deepEqual(await again({ offset: 1e15, epoch: p.epoch }), not);
    });

    s.it('too much was missed', async () => {
        const c = await connect();
        const [p] = await fill('toomuch', 25);
        const not = { recoverable: true, positioned: true, epoch: p.epoch,
                      offset: 25, was_recovering: true };
        const again = async (offset) => {
            await c.call({ unsubscribe: { channel: 'toomuch' } });
            return subscribe(c, 'toomuch',
                             { recover: true, epoch: p.epoch, offset });
        };

        /* gone, more than the limit, just the limit */

        assert.deepEqual(await again(4), not);
        assert.deepEqual(await again(14), not);
        assert.equal((await again(15)).publications.length, 10);

        /* more bytes than half of queue_max_size */

        await fill('toobig', 8, 'x'.repeat(5000));
        const r = await subscribe(c, 'toobig', { recover: true, offset: 0 });

        assert.equal(r.recovered, undefined);
        assert.equal(r.was_recovering, true);
        assert.equal(r.publications, undefined);
        assert.equal(r.offset, 8);

        await c.call({ unsubscribe: { channel: 'toobig' } });
        assert.equal((await subscribe(c, 'toobig',
            { recover: true, offset: 4 })).publications.length, 4);
    });

    s.it('removed history can not be recovered', async () => {
        const [p] = await fill('removed', 3);
        const c = await connect();

        await api.call('history_remove', { channel: 'removed' });
        assert.deepEqual(await subscribe(c, 'removed',
            { recover: true, epoch: p.epoch, offset: 2 }),
            { recoverable: true, positioned: true, epoch: p.epoch, offset: 3,
              was_recovering: true });
        await c.call({ unsubscribe: { channel: 'removed' } });
        assert.equal((await subscribe(c, 'removed',
            { recover: true, epoch: p.epoch, offset: 3 })).recovered, true);
    });

    s.it('flag 2 makes unrecoverable an error', async () => {
        const [p] = await fill('reject', 3);
        const c = await connect();

        assert.deepEqual(await subscribe(c, 'reject',
            { recover: true, epoch: 'zzzzzzzz', offset: 1, flag: 2 }),
            { code: 112, message: 'unrecoverable position' });
        await logged(server, c.id, 112);
        assert.equal((await subscribe(c, 'reject',
            { recover: true, epoch: p.epoch, offset: 1, flag: 2 }))
            .publications.length, 2);

        /* the refused one left nothing behind */

        await api.publish('reject', 'x');
        assert.equal((await c.json()).push.pub.data, 'x');
        assert.deepEqual(await c.settle(), []);
    });

    s.it('without recovery the wish is only named', async () => {
        const c = await connect();

        await fill('plain:r', 2);
        assert.deepEqual(await subscribe(c, 'plain:r',
            { recover: true, offset: 1 }), { was_recovering: true });

        const p = await subscribe(c, 'pos:r', { recover: true, offset: 0 });

        assert.deepEqual(p, { positioned: true, epoch: p.epoch,
                              was_recovering: true });
    });

    s.it('cache mode gives the newest', async () => {
        const ps = await fill('cache:a', 3);
        const { epoch } = ps[0];
        const c = await connect();
        const again = async (params) => {
            await c.call({ unsubscribe: { channel: 'cache:a' } });
            return subscribe(c, 'cache:a', params);
        };
        const base = { recoverable: true, positioned: true, epoch };
        const last = [{ data: 2, offset: 3 }];

        assert.deepEqual(await again({}), { ...base, offset: 3 });
        assert.deepEqual(await again({ recover: true }),
            { ...base, recovered: true, was_recovering: true,
              publications: last });
        assert.deepEqual(await again({ recover: true, epoch, offset: 1 }),
            { ...base, recovered: true, was_recovering: true, offset: 1,
              publications: last });
        assert.deepEqual(await again({ recover: true, epoch, offset: 3 }),
            { ...base, recovered: true, was_recovering: true, offset: 3 });
        assert.deepEqual(await again({ recover: true, epoch: 'zzzzzzzz',
                                       offset: 3 }),
            { ...base, recovered: true, was_recovering: true, offset: 3,
              publications: last });

        await api.call('history_remove', { channel: 'cache:a' });
        assert.deepEqual(await again({ recover: true, epoch, offset: 1 }),
            { ...base, was_recovering: true, offset: 3 });
        assert.deepEqual(await subscribe(c, 'cache:empty', { recover: true }),
            { ...base, epoch: (await api.call('history',
                { channel: 'cache:empty' })).result.epoch,
              was_recovering: true });
    });

    s.it('auto_cache_recover gives it to everybody', async () => {
        const [, p] = await fill('auto:a', 2);
        const c = await connect();

        assert.deepEqual(await subscribe(c, 'auto:a'),
            { recoverable: true, positioned: true, epoch: p.epoch,
              recovered: true, publications: [{ data: 1, offset: 2 }] });
    });

    s.it('server-side subscriptions are recovered by connect', async () => {
        const [p] = await fill('ss', 5);
        const token = userToken('7', { subs: { ss: {}, 'plain:ss': {},
                                               'auto:ss': {} } });
        const open = (subs) => Client.connect(server.ws(),
            { connect: { token, ...(subs ? { subs } : {}) } });

        await fill('auto:ss', 1);

        const base = { recoverable: true, positioned: true, epoch: p.epoch };
        let c = await open();

        assert.deepEqual(c.connectResult.subs.ss, { ...base, offset: 5 });
        assert.deepEqual(c.connectResult.subs['plain:ss'], {});
        assert.deepEqual(c.connectResult.subs['auto:ss'].publications
            .map((x) => x.data), [0]);

        c = await open({ ss: { recover: true, epoch: p.epoch, offset: 3 },
                         'plain:ss': { recover: true, offset: 1 } });
        assert.deepEqual(c.connectResult.subs.ss,
            { ...base, offset: 3, recovered: true, was_recovering: true,
              publications: [{ data: 3, offset: 4 },
                             { data: 4, offset: 5 }] });
        assert.deepEqual(c.connectResult.subs['plain:ss'],
                         { was_recovering: true });

        c = await open({ ss: { recover: true, epoch: 'zzzzzzzz', offset: 3 } });
        assert.deepEqual(c.connectResult.subs.ss,
                         { ...base, offset: 5, was_recovering: true });

        await api.publish('ss', 'more');
        assert.deepEqual((await c.json()).push,
            { channel: 'ss', pub: { data: 'more', offset: 6 } });
    });

    s.it('a wish of connect is recovered, too', async () => {
        const [p] = await fill('wish', 2);
        const c = await Client.connect(server.ws(), { connect: { subs: {
            wish: { recover: true, epoch: p.epoch, offset: 1 } } } });

        assert.deepEqual(c.connectResult.subs.wish.publications,
                         [{ data: 1, offset: 2 }]);
    });

    s.it('the server API subscribes with a position', async () => {
        const [p] = await fill('byapi', 2);
        const c = await Client.connect(server.ws(),
            { connect: { token: userToken('byapi') } });

        assert.deepEqual(await api.call('subscribe',
            { channel: 'byapi', user: 'byapi' }), { result: {} });
        assert.deepEqual(await c.json(), { push: { channel: 'byapi',
            subscribe: { recoverable: true, epoch: p.epoch, offset: 2,
                         positioned: true } } });
        await api.publish('byapi', 3);
        assert.deepEqual((await c.json()).push.pub, { data: 3, offset: 3 });
    });

    s.it('skip_history goes by without a position', async () => {
        const c = await connect();
        const sub = await subscribe(c, 'skip');

        await api.publish('skip', 1);
        assert.deepEqual((await api.call('publish', { channel: 'skip',
            data: 2, skip_history: true })), { result: {} });
        await api.publish('skip', 3);
        assert.deepEqual([(await c.json()).push.pub, (await c.json()).push.pub,
                          (await c.json()).push.pub],
            [{ data: 1, offset: 1, epoch: sub.epoch }, { data: 2 },
             { data: 3, offset: 2 }]);
    });

    s.it('the SDK says what happened', async () => {
        const sdk = sdkOf(server.ws());
        const sub = sdk.newSubscription('sdk', { recoverable: true });
        const got = [];

        sub.on('publication', (ctx) => got.push(ctx.data));
        await connected(sdk);

        const first = await subscribed(sub);

        assert.equal(first.recovered, false);
        assert.equal(first.wasRecovering, false);
        assert.equal(first.recoverable, true);

        await api.publish('sdk', 'a');
        await until('a', () => got.length === 1);

        sdk.disconnect();
        await api.publish('sdk', 'b');
        await api.publish('sdk', 'c');

        const again = event(sub, 'subscribed');

        sdk.connect();

        const ctx = await again;

        assert.equal(ctx.recovered, true);
        assert.equal(ctx.wasRecovering, true);
        await until('b and c', () => got.length === 3);
        assert.deepEqual(got, ['a', 'b', 'c']);
        sdk.disconnect();
    });

    s.it('200 reconnects while another worker publishes', async () => {
        let stop = false;
        let n = 0;
        const publishing = (async () => {
            while (!stop) {
                await api.publish('storm', n++);
                await sleep(0);
            }
        })();

        const one = async () => {
            let position;
            let next;

            for (let i = 0; i < 20; i++) {
                const c = await connect();
                const take = (p) => {
                    if (next !== undefined) {
                        assert.equal(p.data, next);
                    }

                    next = p.data + 1;
                    position.offset = p.offset;
                };

                if (!position) {
                    position = await subscribe(c, 'storm');
                    position.offset ??= 0;
                } else {
                    const r = await subscribe(c, 'storm',
                        { recover: true, epoch: position.epoch,
                          offset: position.offset });

                    if (!r.recovered) {

                        /* more than the limit has come meanwhile */

                        position = { epoch: r.epoch, offset: r.offset };
                        next = undefined;
                    }

                    (r.publications ?? []).forEach(take);
                }

                for (let k = 0; k < 3; k++) {
                    const { push } = await c.json();

                    assert.equal(push.pub.offset, position.offset + 1);
                    take(push.pub);
                }

                for (const line of c.lines.splice(0)) {
                    take(JSON.parse(line).push.pub);
                }

                c.terminate();
            }
        };

        await Promise.all(Array.from({ length: 10 }, one));
        stop = true;
        await publishing;
        assert.ok(n > 50, `${n} publications`);
    }, 40000);
}


suite('recovery', { concurrency: 6, timeout: 58000 }, async (s) => {
    const server = await s.start({ zone: '8m', hub: HUB });
    const api = apiOf(server);

    rules(s, server, api);
    await s.all();

    await s.serial('recoveries are counted', async () => {
        const { body } = await server.get('/metrics');

        for (const what of ['yes', 'no']) {
            assert.match(body, new RegExp(
                `^centrifugo_client_recover\\{[^}]*recovered="${what}"`
                + '[^}]*\\} [1-9]', 'm'));
        }
    });

    api.close();
});


suite('recovery with late engines', { concurrency: 6, timeout: 58000 },
    async (s) => {
        const server = await s.start({ zone: '8m', module: TEST_MODULE,
            hub: `test_engine_delay 20ms; test_auth_delay 10ms; ${HUB}` });
        const api = apiOf(server);

        rules(s, server, api);
        await s.all();
        api.close();
    });


suite('a stream goes on without its subscribers', { timeout: 58000 },
    async (s) => {
        const server = await s.start({
            zone: '8m', module: TEST_MODULE, hub: HUB,
            locations: 'location = /wipe { centrifugo_test_wipe main; }',
        });
        const api = apiOf(server);

        await s.serial('after a wipe: 2500, 3010, and new epochs', async () => {
            const { epoch } = await api.publish('a', 1);
            const c = await Client.connect(server.ws());
            const plain = await Client.connect(server.ws());
            const ss = await Client.connect(server.ws(), { connect: { token:
                userToken('7', { subs: { a: {} } }) } });

            await subscribe(c, 'a');
            await subscribe(plain, 'plain:a');
            assert.equal(ss.connectResult.subs.a.epoch, epoch);

            await server.get('/wipe');

            assert.deepEqual(await c.json(), { push: { channel: 'a',
                unsubscribe: { code: 2500, reason: 'insufficient state' } } });
            assert.deepEqual(await within(5000, '3010', ss.closed),
                             { code: 3010, reason: 'insufficient state' });

            const again = await subscribe(c, 'a', { recover: true, epoch,
                                                    offset: 1 });

            assert.equal(again.recovered, undefined);
            assert.notEqual(again.epoch, epoch);

            await api.publish('a', 2);
            assert.deepEqual((await c.json()).push.pub,
                             { data: 2, offset: 1, epoch: again.epoch });

            /* who has no position goes on */

            await api.publish('plain:a', 3);
            assert.deepEqual((await plain.json()).push.pub.data, 3);
        });

        await s.serial('the SDK comes back by itself', async () => {
            const sdk = sdkOf(server.ws());
            const sub = sdk.newSubscription('sdkwipe');
            const got = [];

            sub.on('publication', (ctx) => got.push(ctx.data));
            await connected(sdk);
            await subscribed(sub);

            const again = event(sub, 'subscribed');

            await server.get('/wipe');

            const ctx = await again;

            assert.equal(ctx.wasRecovering, true);
            assert.equal(ctx.recovered, false);
            await api.publish('sdkwipe', 'x');
            await until('it', () => got.length === 1);
            sdk.disconnect();
        });

        assert.ok(await server.metric('centrifugo_client_num_server_disconnects')
                  > 0);
        api.close();
    });
