/*
 * A reload that changes what channels keep, and a restart: what a client is
 * told of its position stays true.
 */

import assert from 'node:assert/strict';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers } from './lib/client.mjs';
import { bare } from './lib/rights.mjs';
import { connected, event, sdkOf, subscribed } from './lib/sdk.mjs';
import { sleep, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const OPEN = `api_insecure on; allow_anonymous_connect_without_token on;
    allow_subscribe_for_client on; allow_subscribe_for_anonymous on;
    drain_time 200ms;`;

const kept = (n, more = 'force_recovery on;') =>
    `${OPEN} history_size ${n}; history_ttl 10m; ${more}`;

const range = (from, to) => Array.from({ length: to - from + 1 },
                                       (_, i) => from + i);


suite('changes', { timeout: 58000 }, async (s) => {
    const server = await s.start({ hub: kept(10), zone: '8m', shutdown: '5s' });
    const api = apiOf(server, { keep: false });

    /* A reload with another hub; resolves when only new workers are left. */

    const change = async (hub, zone = server.o.zone) => {
        const old = server.workers();

        server.o.hub = hub;
        server.o.zone = zone;
        server.writeConfig();
        server.signal('SIGHUP');

        await until('new workers only', () => {
            const pids = server.workers();

            return pids.length === 2 && !pids.some((x) => old.includes(x));
        }, 8000);
        await until('both to answer', async () =>
            await server.workersSeen(20) === 2);
    };

    const subscribe = async (channel, params = {}) => {
        const c = await Client.connect(server.ws());
        const r = bare(await c.call({ subscribe: { channel, ...params } }));

        c.terminate();
        return r.subscribe ?? r.error.code;
    };

    const fill = async (channel, from, to) => {
        let last;

        for (const i of range(from, to)) {
            last = await api.publish(channel, i);
        }

        return last.epoch;
    };

    const history = async (channel) => (await api.call('history',
        { channel, limit: -1 })).result;

    const data = (list) => (list || []).map((p) => p.data);

    await s.serial('history_size becomes smaller', async () => {
        const epoch = await fill('size', 1, 10);

        await change(kept(3));

        /* what is there, or the truth */

        const now = await subscribe('size', { recover: true, epoch,
                                              offset: 5 });

        if (now.recovered) {
            assert.deepEqual(data(now.publications), range(6, 10));
        } else {
            assert.deepEqual([now.offset, now.publications], [10, undefined]);
        }

        await fill('size', 11, 11);
        assert.deepEqual(data((await history('size')).publications),
                         [9, 10, 11]);
        assert.equal((await subscribe('size', { recover: true, epoch,
            offset: 7 })).recovered, undefined);
        assert.deepEqual(data((await subscribe('size', { recover: true, epoch,
            offset: 8 })).publications), [9, 10, 11]);
    });

    await s.serial('and larger', async () => {
        const { epoch } = await history('size');

        await change(kept(20));
        assert.equal(await fill('size', 12, 25), epoch);
        assert.deepEqual(data((await history('size')).publications),
                         range(9, 25));
        await fill('size', 26, 30);
        assert.deepEqual(data((await history('size')).publications),
                         range(11, 30));
    });

    await s.serial('history is off for a while', async () => {
        const epoch = await fill('off', 1, 4);
        const before = await onAllWorkers(server.workers(), 1,
            () => Client.connect(server.ws()));

        for (const c of before) {
            await c.subscribe('off');
        }

        await change(OPEN);

        for (const c of before) {
            assert.equal((await c.untilClosed()).code, 3001);
        }

        assert.deepEqual(await subscribe('off', { recover: true, epoch,
            offset: 4 }), { was_recovering: true });
        assert.deepEqual(await api.publish('off', 'unkept'), {});
        assert.equal((await api.call('history', { channel: 'off' })).error.code,
                     108);

        await change(kept(10));

        /* nothing of the stream was missed */

        assert.equal((await subscribe('off', { recover: true, epoch,
            offset: 4 })).recovered, true);
        await fill('off', 5, 5);
        assert.deepEqual(data((await subscribe('off', { recover: true, epoch,
            offset: 4 })).publications), [5]);
    });

    await s.serial('recovery comes and goes', async () => {
        const epoch = await fill('rec', 1, 4);
        const at = { recover: true, epoch, offset: 2 };

        await change(kept(10, ''));
        assert.deepEqual(await subscribe('rec', at), { was_recovering: true });
        await change(kept(10, 'force_positioning on;'));
        assert.deepEqual(await subscribe('rec', at), { positioned: true, epoch,
            offset: 4, was_recovering: true });
        await change(kept(10, 'force_recovery on; force_recovery_mode cache;'));
        assert.deepEqual(data((await subscribe('rec', at)).publications), [4]);
        await change(kept(10));
        assert.deepEqual(data((await subscribe('rec', at)).publications),
                         [3, 4]);
    });

    await s.serial('the SDK does not notice a reload', async () => {
        const list = [];

        for (let i = 0; i < 6; i++) {
            const sdk = sdkOf(server.ws());
            const sub = sdk.newSubscription('sdk');

            sdk.got = [];
            sdk.told = [];
            sub.on('publication', (ctx) => sdk.got.push(ctx.data));
            sub.on('subscribed', (ctx) => sdk.told.push(ctx.recovered));
            await connected(sdk);
            await subscribed(sub);
            list.push(sdk);
        }

        let n = 0;

        for (const size of [300, 200, 300]) {
            let stop = false;
            const publishing = (async () => {
                while (!stop) {
                    await api.publish('sdk', ++n);
                    await sleep(5);
                }
            })();

            await change(kept(size));
            stop = true;
            await publishing;
        }

        for (const sdk of list) {
            await until(`${n} publications`, () => sdk.got.at(-1) === n, 8000);
            assert.deepEqual(sdk.got, range(1, n));
            assert.deepEqual(sdk.told, [false, true, true, true]);
            sdk.disconnect();
        }
    });

    await s.serial('a zone of another size begins anew', async () => {
        const epoch = await fill('zone', 1, 3);
        const sdk = sdkOf(server.ws());
        const sub = sdk.newSubscription('zone');

        await connected(sdk);
        await subscribed(sub);

        const again = event(sub, 'subscribed');

        await change(kept(10), '12m');

        const ctx = await again;

        assert.deepEqual([ctx.recovered, ctx.wasRecovering], [false, true]);
        sdk.disconnect();

        const r = await subscribe('zone', { recover: true, epoch, offset: 3 });

        assert.deepEqual([r.recovered, r.offset], [undefined, undefined]);
        assert.notEqual(r.epoch, epoch);
        assert.equal(await fill('zone', 1, 3), r.epoch);
    });

    await s.serial('so does a restart', async () => {
        const epoch = await fill('restart', 1, 3);

        await server.restart();
        await fill('restart', 1, 3);

        const r = await subscribe('restart', { recover: true, epoch,
                                               offset: 3 });

        assert.deepEqual([r.recovered, r.offset], [undefined, 3]);
        assert.notEqual(r.epoch, epoch);
    });
});
