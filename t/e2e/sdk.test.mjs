/*
 * The official client SDK, unchanged, against two workers.
 */

import assert from 'node:assert/strict';

import { apiOf } from './lib/api.mjs';
import { onAllWorkers } from './lib/client.mjs';
import { jwt, now } from './lib/jwt.mjs';
import { connected, endAll, event, sdkOf, subscribed } from './lib/sdk.mjs';
import { sleep, until, within } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const HUB = `
    token_hmac_secret_key secret;
    api_key key;
    allow_anonymous_connect_without_token on;
    expired_close_delay 1s;
    allow_subscribe_for_client on;
    allow_subscribe_for_anonymous on;
    namespace chat {
        allow_subscribe_for_client on;
        allow_publish_for_client on;
    }
    namespace members {
        allow_subscribe_for_client on;
        allow_publish_for_subscriber on;
    }
    namespace closed { }`;

const INSECURE = 'client_insecure on; api_insecure on;';


suite('client SDK', { concurrency: 8 }, async (s) => {
    const server = await s.start({
        hub: HUB, hubs: { open: INSECURE }, tls: true,
        locations: 'location = /open { centrifugo_websocket open; }',
    });

    const api = apiOf(server, { key: 'key' });
    let n = 0;
    const unique = (name) => `${name}-${++n}`;
    const user = (sub, claims = {}) => jwt({ sub, ...claims });

    /* Two clients, at least one in each worker, subscribed to a channel. */

    const pair = (options, channel, url = server.ws()) =>
        onAllWorkers(server.workers(), 1, async () => {
            const sdk = sdkOf(url, options);

            await connected(sdk);
            sdk.sub = sdk.newSubscription(channel);
            sdk.got = [];
            sdk.sub.on('publication', (ctx) => sdk.got.push(ctx));
            await subscribed(sdk.sub);
            return sdk;
        });

    s.it('connects as anonymous', async () => {
        const ctx = await connected(sdkOf(server.ws()));

        assert.match(ctx.client, /^[0-9a-f-]{36}$/);
        assert.equal(ctx.transport, 'websocket');

        /* of Protobuf no data are no bytes */

        assert.ok(ctx.data === undefined || ctx.data.length === 0);
    });

    s.it('connects to an insecure hub', async () => {
        const sdk = sdkOf(server.ws('/open'));

        await connected(sdk);
        await sdk.publish(unique('any'), { x: 1 });
        sdk.disconnect();
    });

    s.it('connects with a token', async () => {
        const sdk = sdkOf(server.ws(), { token: user('42') });

        await connected(sdk);
        assert.equal(sdk.state, 'connected');
        sdk.disconnect();
    });

    s.it('connects with a token from getToken', async () => {
        let asked = 0;
        const sdk = sdkOf(server.ws(), {
            getToken: async () => { asked++; return user('42'); },
        });

        await connected(sdk);
        assert.equal(asked, 1);
        sdk.disconnect();
    });

    s.it('is told to stop by a wrong token', async () => {
        const sdk = sdkOf(server.ws(), { token: jwt({ sub: '42' }, 'other') });
        const gone = event(sdk, 'disconnected');

        sdk.connect();

        const ctx = await gone;

        assert.equal(ctx.code, 3500);
        assert.equal(ctx.reason, 'invalid token');
    });

    s.it('replaces an expired token', async () => {
        let asked = 0;
        const sdk = sdkOf(server.ws(), {
            token: user('42', { exp: now() - 10 }),
            getToken: async () => {
                asked++;
                return user('42', { exp: now() + 600 });
            },
        });

        await connected(sdk);
        assert.equal(asked, 1);
        assert.equal(sdk.errors[0].error.code, 109);
        assert.equal(sdk.errors[0].error.message, 'token expired');
        sdk.disconnect();
    });

    s.it('refreshes its token and stays', async () => {
        let asked = 0;
        const sdk = sdkOf(server.ws(), {
            token: user('42', { exp: now() + 2 }),
            getToken: async () => {
                asked++;
                return user('42', { exp: now() + 600 });
            },
        });
        const lost = [];

        await connected(sdk);
        sdk.on('connecting', (ctx) => lost.push(ctx));
        await sleep(4500);

        assert.equal(asked, 1);
        assert.deepEqual(lost, []);
        assert.equal(sdk.state, 'connected');
        assert.deepEqual(sdk.errors, []);
        sdk.disconnect();
    });

    s.it('receives what the API publishes, on both workers', async () => {
        const channel = unique('news');
        const list = await pair({}, channel);

        await api.publish(channel, { way: 'method' });

        const [reply] = await api.commands(
            { id: 1, method: 'publish',
              params: { channel, data: { way: 'command' } } });

        assert.deepEqual(reply, { id: 1, result: {} });

        for (const sdk of list) {
            await until('two publications', () => sdk.got.length === 2);
            assert.deepEqual(sdk.got.map((p) => p.data),
                             [{ way: 'method' }, { way: 'command' }]);
            assert.equal(sdk.got[0].channel, channel);
            assert.equal(sdk.got[0].info, undefined);
            sdk.disconnect();
        }
    });

    s.it('receives a broadcast', async () => {
        const a = unique('a'), b = unique('b');
        const sdk = sdkOf(server.ws());
        const got = [];

        await connected(sdk);

        for (const channel of [a, b]) {
            const sub = sdk.newSubscription(channel);

            sub.on('publication', (ctx) => got.push(ctx.channel));
            await subscribed(sub);
        }

        await api.call('broadcast', { channels: [a, b], data: 'x' });
        await until('both publications', () => got.length === 2);
        assert.deepEqual(got.sort(), [a, b].sort());
        sdk.disconnect();
    });

    s.it('publishes to all subscribers, itself too', async () => {
        const channel = unique('chat:room');
        const token = jwt({ sub: '42', info: { name: 'Ann' } });
        const list = await pair({ token }, channel);

        await list[0].sub.publish({ text: 'hello' });

        for (const sdk of list) {
            await until('the publication', () => sdk.got.length);
            assert.deepEqual(sdk.got[0].data, { text: 'hello' });
            assert.equal(sdk.got[0].info.user, '42');
            assert.deepEqual(sdk.got[0].info.connInfo, { name: 'Ann' });
        }

        /* without a subscription of its own too */

        const other = sdkOf(server.ws(), { token: user('7') });

        await connected(other);
        await other.publish(channel, 2);

        for (const sdk of list) {
            await until('the second publication', () => sdk.got.length === 2);
            assert.equal(sdk.got[1].data, 2);
            assert.equal(sdk.got[1].info.user, '7');
            sdk.disconnect();
        }

        other.disconnect();
    });

    s.it('may publish as a subscriber only', async () => {
        const channel = unique('members:x');
        const sdk = sdkOf(server.ws(), { token: user('42') });

        await connected(sdk);
        await assert.rejects(sdk.publish(channel, 1),
                             { code: 103, message: 'permission denied' });

        const sub = sdk.newSubscription(channel);

        await subscribed(sub);
        await sub.publish(1);
        sub.unsubscribe();
        await until('the right to be gone', async () => {
            try {
                await sdk.publish(channel, 1);
                return false;
            } catch (e) {
                assert.equal(e.code, 103);
                return true;
            }
        });
        sdk.disconnect();
    });

    s.it('no longer receives after unsubscribe', async () => {
        const channel = unique('news');
        const sdk = sdkOf(server.ws());
        const got = [];

        await connected(sdk);

        const sub = sdk.newSubscription(channel);

        sub.on('publication', (ctx) => got.push(ctx.data));
        await subscribed(sub);
        await api.publish(channel, 1);
        await until('the first publication', () => got.length === 1);

        const gone = event(sub, 'unsubscribed');

        sub.unsubscribe();
        assert.equal((await gone).code, 0);

        /* the command is on its way: any reply behind it shows it is done */
        await assert.rejects(sdk.rpc('x', {}), { code: 108 });
        await api.publish(channel, 2);
        await subscribed(sub);
        await api.publish(channel, 3);
        await until('the third publication', () => got.length >= 2);
        assert.deepEqual(got, [1, 3]);
        sdk.disconnect();
    });

    s.it('sees the errors of what does not exist yet', async () => {
        const channel = unique('news');
        const sdk = sdkOf(server.ws());
        const no = { code: 108, message: 'not available' };

        await connected(sdk);

        const sub = sdk.newSubscription(channel);

        await subscribed(sub);
        await assert.rejects(sdk.rpc('method', { a: 1 }), no);
        await assert.rejects(sub.presence(), no);
        await assert.rejects(sub.presenceStats(), no);
        await assert.rejects(sub.history({ limit: 1 }), no);
        assert.equal(sdk.state, 'connected');
        sdk.disconnect();
    });

    for (const [channel, token, code, message] of [
        ['nowhere:x', undefined, 102, 'unknown channel'],
        ['$private', undefined, 103, 'permission denied'],
        ['closed:x', user('42'), 103, 'permission denied'],
        ['chat:x', undefined, 103, 'permission denied'],
        ['caf\u00e9', undefined, 107, 'bad request'],
        ['x'.repeat(256), undefined, 107, 'bad request'],
    ]) {
        s.it(`is refused ${channel.slice(0, 20)} with ${code}`, async () => {
            const sdk = sdkOf(server.ws(), { token });

            await connected(sdk);

            const sub = sdk.newSubscription(channel);
            const gone = event(sub, 'unsubscribed');

            sub.subscribe();

            const ctx = await gone;

            assert.equal(ctx.code, code);
            assert.equal(ctx.reason, message);
            assert.equal(sdk.state, 'connected');
            sdk.disconnect();
        });
    }

    s.it('is disconnected by send', async () => {
        const sdk = sdkOf(server.ws());

        await connected(sdk);

        const gone = event(sdk, 'disconnected');

        await sdk.send({ x: 1 });

        const ctx = await gone;

        assert.equal(ctx.code, 3508);
        assert.equal(ctx.reason, 'not available');
    });

    s.it('works over TLS', async () => {
        const channel = unique('chat:tls');
        const list = await pair({ token: user('42') }, channel,
                                server.wss());
        const big = 'x'.repeat(40000);

        await api.publish(channel, 1);
        await list[0].sub.publish({ big });

        for (const sdk of list) {
            await until('both publications', () => sdk.got.length === 2);
            assert.equal(sdk.got[0].data, 1);
            assert.equal(sdk.got[1].data.big, big);
            sdk.disconnect();
        }
    });

    s.it('many subscriptions in one batch', async () => {
        const sdk = sdkOf(server.ws());
        const subs = [];
        const got = new Set();

        await connected(sdk);
        sdk.startBatching();

        const ready = [];

        for (let i = 0; i < 100; i++) {
            const sub = sdk.newSubscription(unique('many'));

            sub.on('publication', (ctx) => got.add(ctx.channel));
            ready.push(subscribed(sub));
            subs.push(sub);
        }

        sdk.stopBatching();
        await Promise.all(ready);
        await api.call('broadcast',
                       { channels: subs.map((x) => x.channel), data: 1 });
        await until('a publication in each', () => got.size === 100);
        sdk.disconnect();
    });

    s.it('30 clients on both workers each receive everything', async () => {
        const channel = unique('news');
        const list = await onAllWorkers(server.workers(), 10, async () => {
            const sdk = sdkOf(server.ws());

            await connected(sdk);
            return sdk;
        });

        const subs = await Promise.all(list.map(async (sdk) => {
            const sub = sdk.newSubscription(channel);

            sdk.got = [];
            sub.on('publication', (ctx) => sdk.got.push(ctx.data));
            await subscribed(sub);
            return sub;
        }));

        for (let i = 0; i < 100; i++) {
            await api.publish(channel, i);
        }

        const all = Array.from({ length: 100 }, (_, i) => i);

        for (const sdk of list) {
            await until('all publications', () => sdk.got.length >= 100);
            assert.deepEqual(sdk.got, all);
            sdk.disconnect();
        }

        assert.equal(subs.length, list.length);
    });

    await s.all();

    await s.serial('reconnects after a restart and receives again',
        async () => {
            const channel = unique('news');
            const sdk = sdkOf(server.ws());
            const got = [];

            await connected(sdk);

            const sub = sdk.newSubscription(channel);

            sub.on('publication', (ctx) => got.push(ctx.data));
            await subscribed(sub);

            const lost = event(sdk, 'connecting');
            const back = event(sub, 'subscribed', 15000);

            await within(20000, 'the restart', server.restart('SIGTERM'));
            await lost;
            await back;
            await apiOf(server, { key: 'key', keep: false })
                .publish(channel, 'again');
            await until('the publication', () => got.length === 1);
            assert.deepEqual(got, ['again']);
            assert.equal(sdk.workers.length, 2);
            sdk.disconnect();
        });

    endAll();
    api.close();
});
