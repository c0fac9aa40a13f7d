/*
 * What docs/history.md promises, in the words of the official SDK: pages that
 * load their state, read what was before, come back; what a reload keeps.
 */

import assert from 'node:assert/strict';

import { apiOf } from './lib/api.mjs';
import { connected, event, sdkOf, subscribed } from './lib/sdk.mjs';
import { sleep, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const hub = (size) => `
    api_insecure on;
    user $arg_user;
    drain_time 1s;
    namespace chat {
        allow_subscribe_for_client on;
        allow_publish_for_subscriber on;
        allow_history_for_subscriber on;
        history_size ${size};
        history_ttl 10m;
        force_recovery on;
    }
    namespace document {
        allow_subscribe_for_client on;
        history_size 1;
        history_ttl 10m;
        force_positioning on;
    }`;


suite('what the guide promises', { timeout: 120000 }, async (s) => {
    const server = await s.start({ hub: hub(10) });

    /* of new connections: to the newest workers */

    const api = apiOf(server, { keep: false });
    const history = async (channel, params = {}) => (await api.call('history',
        { channel, limit: -1, ...params })).result;
    const page = (user = 'ann') => sdkOf(
        `${server.ws()}?user=${user}`);
    const data = (list) => list.map((p) => p.data);

    const watch = (sub) => {
        sub.got = [];
        sub.subs = [];
        sub.on('publication', (ctx) => sub.got.push(ctx.data));
        sub.on('subscribed', (ctx) => sub.subs.push(ctx));
        return sub;
    };

    const renew = async () => {
        const old = server.workers();

        let fresh = 0;

        /* an old worker may take a connection until it knows of its end */

        server.signal('SIGHUP');
        await until('new workers', async () => {
            const pid = Number((await server.get('/pid')).body);

            fresh = old.includes(pid) ? 0 : fresh + 1;
            return fresh === 20;
        }, 8000);
    };

    await s.serial('getState: at the start, and when it is too late',
                   async () => {
        const sdk = page();
        const states = [];

        await api.publish('chat:state', 'a');
        await api.publish('chat:state', 'b');

        /* the backend: first the position, then what it has */

        const sub = watch(sdk.newSubscription('chat:state', {
            getState: async () => {
                const { offset, epoch } = await history('chat:state',
                                                        { limit: 0 });

                await api.publish('chat:state', `meanwhile ${states.length}`);
                states.push(offset);
                return { offset, epoch };
            } }));

        await connected(sdk);
        await subscribed(sub);
        assert.deepEqual(states, [2]);
        assert.equal(sub.subs[0].recovered, true);
        await until('what came meanwhile', () => sub.got.length === 1);

        /* away, but not for too long */

        sdk.disconnect();
        await api.publish('chat:state', 'c');
        await connected(sdk);
        await until('a recovery', () => sub.got.length === 2);
        assert.deepEqual(sub.got, ['meanwhile 0', 'c']);
        assert.deepEqual(states, [2]);

        /* for too long */

        sdk.disconnect();

        for (let i = 0; i < 11; i++) {
            await api.publish('chat:state', i);
        }

        await connected(sdk);
        await until('a new state', () => states.length === 2);
        await until('what came meanwhile', () => sub.got.length === 3);
        assert.deepEqual(sub.got, ['meanwhile 0', 'c', 'meanwhile 1']);
        assert.deepEqual(states, [2, 15]);
        sdk.disconnect();
    });

    await s.serial('what was before and what comes: no gap, nothing twice',
                   async () => {
        let stop = false;
        let sent = 0;

        const publishing = (async () => {
            while (!stop) {
                await api.publish('chat:read', ++sent);
            }
        })();

        try {
            for (let i = 0; i < 10; i++) {
                const sdk = page();
                const sub = watch(sdk.newSubscription('chat:read'));
                let before;

                sub.on('subscribed', async ({ streamPosition }) => {
                    before = data((await sub.history({
                        limit: 5, reverse: true, since: {
                            ...streamPosition,
                            offset: streamPosition.offset + 1 },
                    })).publications);
                });

                await connected(sdk);
                await subscribed(sub);
                await until('both', () => before && sub.got.length > 2);
                sdk.disconnect();

                const all = [...before.reverse(), ...sub.got];

                assert.deepEqual(all, all.map((_, k) => all[0] + k));
            }
        } finally {
            stop = true;
            await publishing;
        }
    });

    await s.serial('a position without recovery', async () => {
        const sdk = page();
        const sub = watch(sdk.newSubscription('document:1'));

        await connected(sdk);
        await subscribed(sub);
        assert.equal(sub.subs[0].positioned, true);
        assert.equal(sub.subs[0].recoverable, false);
        sdk.disconnect();
        await api.publish('document:1', 'missed');
        await connected(sdk);
        await until('it subscribes again', () => sub.subs.length === 2);
        assert.equal(sub.subs[1].wasRecovering, false);
        assert.equal(sub.subs[1].streamPosition.offset, 1);
        await sleep(100);
        assert.deepEqual(sub.got, []);
        sdk.disconnect();
    });

    await s.serial('a reload keeps all, also with another history_size',
                   async () => {
        const sdk = page();
        const sub = watch(sdk.newSubscription('chat:reload'));

        await connected(sdk);
        await subscribed(sub);

        for (let i = 0; i < 5; i++) {
            await api.publish('chat:reload', i);
        }

        await until('five', () => sub.got.length === 5);

        const before = await history('chat:reload');

        server.o.hub = hub(2);
        server.writeConfig();
        await renew();

        assert.deepEqual(await history('chat:reload'), before);
        await api.publish('chat:reload', 5);
        assert.deepEqual(data((await history('chat:reload')).publications),
                         [4, 5]);

        await until('it is led over', () => sub.subs.length === 2, 10000);
        assert.equal(sub.subs[1].recovered, true);
        await until('all six', () => sub.got.length === 6);
        assert.deepEqual(sub.got, [0, 1, 2, 3, 4, 5]);
        sdk.disconnect();
    });

    await s.serial('another size of the zone begins anew', async () => {
        const sdk = page();
        const sub = watch(sdk.newSubscription('chat:reload'));

        await connected(sdk);
        await subscribed(sub);

        const before = await history('chat:reload');

        assert.equal(before.publications.length, 2);
        server.o.zone = '10m';
        server.writeConfig();
        await renew();

        const after = await history('chat:reload');

        assert.deepEqual(after.publications, []);
        assert.equal(after.offset, 0);
        assert.notEqual(after.epoch, before.epoch);

        const again = await (sub.subs[1] || event(sub, 'subscribed', 10000));

        assert.equal(again.wasRecovering, true);
        assert.equal(again.recovered, false);
        sdk.disconnect();
    });
});
