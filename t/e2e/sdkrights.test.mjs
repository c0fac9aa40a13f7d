/*
 * The official client SDK, unchanged: tokens and their refreshes, private
 * channels, server-side subscriptions, presence, joins and leaves.
 */

import assert from 'node:assert/strict';

import { apiOf } from './lib/api.mjs';
import { onAllWorkers } from './lib/client.mjs';
import { jwt, now } from './lib/jwt.mjs';
import { connected, event, sdkOf, subscribed } from './lib/sdk.mjs';
import { sleep, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const HUB = `
    token_hmac_secret_key secret; api_key key;
    expired_close_delay 1s; expired_sub_close_delay 1s;
    disallow_anonymous_connection_tokens on;
    subscribe_to_user_personal_channel on;
    personal_channel_namespace user;
    namespace user { }
    namespace open { allow_subscribe_for_client on; }
    namespace room {
        allow_subscribe_for_client on; allow_publish_for_subscriber on;
        presence on; join_leave on; allow_presence_for_subscriber on;
    }
    namespace force {
        allow_subscribe_for_client on; presence on; join_leave on;
        force_push_join_leave on; allow_presence_for_client on;
    }
    namespace private { presence on; join_leave on;
        allow_presence_for_client on; allow_publish_for_subscriber on; }`;


suite('client SDK: rights', { concurrency: 8, timeout: 55000 }, async (s) => {
    const server = await s.start({ zone: '8m', hub: HUB,
        hubs: { few: 'token_hmac_secret_key secret; user_connection_limit 4;' },
        locations: 'location = /few { centrifugo_websocket few; }' });
    const api = apiOf(server, { key: 'key' });
    let n = 0;
    const unique = (name) => `${name}${++n}`;
    const token = (sub, claims = {}) => jwt({ sub, ...claims });
    const subToken = (sub, channel, claims = {}) =>
        jwt({ sub, channel, ...claims });

    const start = async (user, claims, options) => {
        const sdk = sdkOf(server.ws(), { token: token(user, claims),
                                         ...options });
        const ctx = await connected(sdk);

        sdk.id = ctx.client;
        return sdk;
    };

    /* All events of these names, in order. */

    const record = (emitter, ...names) => {
        const list = [];

        for (const name of names) {
            emitter.on(name, (ctx) => list.push([name, ctx]));
        }

        return list;
    };

    const CLIENT = ['connecting', 'disconnected', 'subscribed',
                    'subscribing', 'unsubscribed', 'publication', 'join',
                    'leave'];
    const SUB = ['subscribed', 'subscribing', 'unsubscribed', 'publication',
                 'join', 'leave', 'error'];


    /* tokens of connections */

    s.it('refreshes its token again and again, info changes', async () => {
        const channel = unique('force:');
        let asked = 0;
        const sdk = await start('42', { exp: now() + 2, info: 0 }, {
            getToken: async () => token('42', { exp: now() + 2,
                                                info: ++asked }) });
        const events = record(sdk, 'connecting', 'disconnected');

        await subscribed(sdk.newSubscription(channel));
        await until('three refreshes', () => asked >= 3, 12000);
        await until('the new info', async () => Object.values(
            (await sdk.presence(channel)).clients)[0].connInfo >= 3);
        assert.deepEqual(events, []);
        assert.deepEqual(sdk.errors, []);
        sdk.disconnect();
    });

    s.it('comes back when its token could not be refreshed in time',
        async () => {
            let asked = 0;
            const sdk = await start('42', { exp: now() + 2 }, {
                getToken: async () => {
                    if (++asked === 1) {
                        throw new Error('not now');
                    }

                    if (asked === 2) {
                        await sleep(4000);
                    }

                    return token('42', { exp: now() + 600 });
                } });
            const ctx = await event(sdk, 'connecting');

            assert.equal(ctx.code, 3005);
            assert.equal(ctx.reason, 'connection expired');
            await event(sdk, 'connected', 12000);
            sdk.disconnect();
        });

    s.it('ends when another user\'s token comes', async () => {
        const sdk = await start('42', { exp: now() + 2 }, {
            getToken: async () => token('43', { exp: now() + 600 }) });
        const ctx = await event(sdk, 'disconnected');

        assert.equal(ctx.code, 3500);
        assert.equal(ctx.reason, 'invalid token');
    });

    s.it('ends with a token of nobody', async () => {
        const sdk = sdkOf(server.ws(), { token: token('') });
        const gone = event(sdk, 'disconnected');

        sdk.connect();
        assert.equal((await gone).code, 3507);
    });

    s.it('ends with the fifth connection of a user', async () => {
        const few = () => sdkOf(server.ws('/few'), { token: token('42') });
        const list = [1, 2, 3, 4].map(few);

        await Promise.all(list.map((c) => connected(c)));

        const sdk = few();
        const gone = event(sdk, 'disconnected');

        sdk.connect();
        assert.equal((await gone).code, 3504);
        list.forEach((c) => c.disconnect());
    });

    s.it('ends with a channel of an unknown namespace in its token',
        async () => {
            const sdk = sdkOf(server.ws(), {
                token: token('42', { channels: ['x:a'] }) });
            const gone = event(sdk, 'disconnected');

            sdk.connect();
            assert.equal((await gone).code, 102);
        });


    /* tokens of subscriptions */

    s.it('private channels, on all workers', async () => {
        const channel = unique('$private:');
        const asked = [];
        const list = await onAllWorkers(server.workers(), 1, async (i) => {
            const sdk = await start(`u${i}`);

            sdk.user = `u${i}`;
            sdk.sub = sdk.newSubscription(channel, {
                data: { a: 1 },
                getToken: async (ctx) => {
                    asked.push(ctx.channel);
                    return subToken(sdk.user, ctx.channel, {
                        info: { role: i }, data: { hello: i } });
                } });
            sdk.events = record(sdk.sub, 'publication');

            const ctx = await subscribed(sdk.sub);

            assert.deepEqual(ctx.data, { hello: i });
            assert.equal(ctx.recoverable, false);
            return sdk;
        });

        assert.deepEqual(asked, list.map(() => channel));
        await list[0].sub.publish({ x: 1 });

        for (const sdk of list) {
            await until('the publication', () => sdk.events.length);

            const [, ctx] = sdk.events[0];

            assert.deepEqual(ctx.data, { x: 1 });
            assert.deepEqual(ctx.info, { user: 'u0', client: list[0].id,
                chanInfo: { role: 0 } });
        }

        list.forEach((c) => c.disconnect());
    });

    s.it('a private channel without a token', async () => {
        const sdk = await start('42');
        const sub = sdk.newSubscription(unique('$private:'));
        const gone = event(sub, 'unsubscribed');

        sub.subscribe();
        assert.equal((await gone).code, 103);
        sdk.disconnect();
    });

    s.it('a private channel with a wrong token', async () => {
        const sdk = await start('42');
        const sub = sdk.newSubscription(unique('$private:'),
                                        { token: 'x.y.z' });
        const gone = event(sub, 'unsubscribed');

        sub.subscribe();
        assert.equal((await gone).code, 103);
        assert.equal(sdk.state, 'connected');
        sdk.disconnect();
    });

    s.it('a private channel with another one\'s token', async () => {
        const sdk = await start('42');
        const sub = sdk.newSubscription(unique('$private:'),
            { token: subToken('42', '$private:x') });
        const gone = event(sdk, 'disconnected');

        sub.subscribe();
        assert.equal((await gone).code, 3500);
    });

    s.it('replaces an expired token of a subscription', async () => {
        const channel = unique('$private:');
        let asked = 0;
        const sdk = await start('42');
        const sub = sdk.newSubscription(channel, {
            token: subToken('42', channel, { exp: now() - 5 }),
            getToken: async () => { asked++;
                                    return subToken('42', channel); } });
        const errors = record(sub, 'error');

        await subscribed(sub, 12000);
        assert.equal(asked, 1);
        assert.equal(errors[0][1].error.code, 109);
        sdk.disconnect();
    });

    s.it('refreshes the token of a subscription', async () => {
        const channel = unique('$private:');
        let asked = 0;
        const sdk = await start('42');
        const sub = sdk.newSubscription(channel, { getToken: async () =>
            subToken('42', channel, { exp: now() + 2, info: ++asked }) });

        await subscribed(sub);

        const events = record(sub, ...SUB);

        await until('two refreshes', () => asked >= 3, 12000);
        await until('the new info', async () => Object.values(
            (await sub.presence()).clients)[0].chanInfo >= 3);
        assert.deepEqual(events, []);
        sdk.disconnect();
    });

    s.it('subscribes anew when a subscription expired', async () => {
        const channel = unique('$private:');
        let asked = 0;
        const sdk = await start('42');
        const sub = sdk.newSubscription(channel, { getToken: async () => {
            if (++asked === 2) {
                await sleep(4000);
            }

            return subToken('42', channel,
                            { exp: now() + (asked === 1 ? 2 : 600) });
        } });

        await subscribed(sub);

        const ctx = await event(sub, 'subscribing');

        assert.equal(ctx.code, 2501);
        assert.equal(ctx.reason, 'subscription expired');
        await event(sub, 'subscribed', 12000);
        assert.equal(sdk.state, 'connected');
        sdk.disconnect();
    });

    /* the SDK takes any code but a temporary one for the end */

    s.it('a refresh of a subscription with an expired token', async () => {
        const channel = unique('$private:');
        let asked = 0;
        const sdk = await start('42');
        const sub = sdk.newSubscription(channel, { getToken: async () =>
            subToken('42', channel,
                     { exp: now() + (++asked === 2 ? -1 : 2) }) });

        await subscribed(sub);

        const ctx = await event(sub, 'unsubscribed');

        assert.deepEqual([ctx.code, ctx.reason], [109, 'token expired']);
        assert.equal(sdk.state, 'connected');
        await subscribed(sub);
        sdk.disconnect();
    });


    /* server-side subscriptions */

    s.it('server-side subscriptions', async () => {
        const [a, b] = [unique('force:'), unique('private:')];
        const user = unique('u');
        const sdk = sdkOf(server.ws(), { token: token(user, { subs: {
            [a]: { data: { hello: 1 }, info: 'i' }, [b]: {} } }) });
        const events = record(sdk, ...CLIENT);
        const { client: id } = await connected(sdk);

        await until('own join', () => events.some(([e]) => e === 'join'));

        const subs = events.filter(([e]) => e === 'subscribed');

        assert.deepEqual(subs.map(([, c]) => c.channel).sort(),
                         [a, b, `user:#${user}`].sort());
        assert.deepEqual(subs.find(([, c]) => c.channel === a)[1].data,
                         { hello: 1 });

        const join = events.find(([e]) => e === 'join')[1];

        assert.equal(join.channel, a);
        assert.deepEqual(join.info, { user, client: id, chanInfo: 'i' });

        events.length = 0;
        await api.publish(b, { n: 1 });
        await api.publish(`user:#${user}`, { n: 2 });
        await until('both', () => events.length === 2);
        assert.deepEqual(events.map(([e, c]) => [e, c.channel, c.data]), [
            ['publication', b, { n: 1 }],
            ['publication', `user:#${user}`, { n: 2 }]]);

        events.length = 0;

        const list = await onAllWorkers(server.workers(), 1,
            (i) => start(`o${i}`, { channels: [a] }));

        list.forEach((c) => c.disconnect());
        await until('joins and leaves',
                    () => events.length === 2 * list.length);
        assert.deepEqual(events.filter(([e]) => e === 'join')
            .map(([, c]) => c.info.client).sort(),
            list.map((c) => c.id).sort());
        assert.deepEqual(events.filter(([e]) => e === 'leave')
            .map(([, c]) => c.info.client).sort(),
            list.map((c) => c.id).sort());
        sdk.disconnect();
    });

    s.it('a refresh with other channels: comes back with them', async () => {
        const [a, b] = [unique('open:'), unique('open:')];
        let asked = 0;
        const sdk = await start('42', { exp: now() + 2, channels: [a] }, {
            getToken: async () => { asked++;
                return token('42', { exp: now() + 600, channels: [b] }); } });
        const events = record(sdk, ...CLIENT);
        const ctx = await event(sdk, 'connecting');

        assert.equal(ctx.code, 3010);
        await event(sdk, 'connected', 12000);
        await until('the other channel', () => events.some(
            ([e, c]) => e === 'subscribed' && c.channel === b));
        assert.ok(events.some(([e, c]) => e === 'unsubscribed'
                                          && c.channel === a));
        await api.publish(b, 1);
        await until('its publication', () => events.some(
            ([e, c]) => e === 'publication' && c.channel === b));
        assert.ok(asked >= 1);
        sdk.disconnect();
    });


    /* presence, joins and leaves */

    s.it('presence, presenceStats, joins and leaves', async () => {
        const channel = unique('room:');
        const sdk = await start('w', { info: { n: 'w' } });
        const sub = sdk.newSubscription(channel, { joinLeave: true });
        const events = record(sub, 'join', 'leave');

        await subscribed(sub);
        await until('own join', () => events.length === 1);
        assert.deepEqual([events[0][0], events[0][1].info.client],
                         ['join', sdk.id]);
        events.length = 0;

        const list = await onAllWorkers(server.workers(), 1,
            async (i) => {
                const c = await start(`r${i}`, { info: i });

                c.sub = c.newSubscription(channel);
                c.events = record(c.sub, 'join', 'leave');
                await subscribed(c.sub);
                return c;
            });

        for (const c of [sdk, ...list]) {
            const who = c === sdk ? sub : c.sub;
            const { clients } = await who.presence();

            assert.deepEqual(Object.keys(clients).sort(),
                             [sdk, ...list].map((x) => x.id).sort());

            const { user, client, connInfo } = clients[sdk.id];

            assert.deepEqual([user, client, connInfo],
                             ['w', sdk.id, { n: 'w' }]);
            assert.deepEqual(await who.presenceStats(), {
                numClients: list.length + 1, numUsers: list.length + 1 });
        }

        await until('their joins', () => events.length === list.length);
        list.forEach((c, i) => (i % 2 ? c.disconnect()
                                : c.sub.unsubscribe()));
        await until('their leaves', () => events.length === 2 * list.length);
        assert.deepEqual(events.map(([e]) => e), [
            ...list.map(() => 'join'), ...list.map(() => 'leave')]);
        assert.deepEqual(events.slice(list.length)
            .map(([, c]) => c.info.client).sort(),
            list.map((c) => c.id).sort());

        /* who did not ask for them got none */
        list.forEach((c) => assert.deepEqual(c.events, []));
        assert.deepEqual(await sub.presenceStats(),
                         { numClients: 1, numUsers: 1 });
        sdk.disconnect();
        list.forEach((c) => c.disconnect());
    });

    s.it('presence that is refused', async () => {
        const sdk = await start('42');

        await assert.rejects(sdk.presence(unique('open:')), { code: 108 });
        await assert.rejects(sdk.presenceStats(unique('room:')),
                             { code: 103 });
        await assert.rejects(sdk.presence(unique('x:')), { code: 102 });
        sdk.disconnect();
    });
});
