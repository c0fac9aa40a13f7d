/*
 * What the server API tells sessions to do: of one user in two workers, of one
 * client, of all but some; and a worker that does not answer.
 */

import assert from 'node:assert/strict';

import { Client, onAllWorkers } from './lib/client.mjs';
import { jwt } from './lib/jwt.mjs';
import { sleep, until, within } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';
import { connections } from './lib/workers.mjs';

const HUB = `api_insecure on; token_hmac_secret_key secret;
    allow_anonymous_connect_without_token on;
    allow_subscribe_for_client on; allow_subscribe_for_anonymous on;`;
const OK = { result: {} };
const INTERNAL = { error: { code: 100, message: 'internal server error' } };
const FORCED = [3503, 'force disconnect'];
const now = () => Math.floor(Date.now() / 1000);
const b64 = (x) => Buffer.from(x).toString('base64');


suite('orders', { concurrency: 8, timeout: 240000 }, async (s) => {
    const server = await s.start({
        hub: HUB, hubs: { anonymous: HUB, narrow: `${HUB}
            expired_sub_close_delay 1s; channel_limit 2;
            presence_info_max 100; namespace off {
                allow_presence_for_client on; allow_publish_for_client on; }
            namespace seen { presence on; allow_presence_for_client on;
                allow_subscribe_for_client on; }` },
        locations: `
            location /narrow/api { centrifugo_api narrow; }
            location = /narrow/ws { centrifugo_websocket narrow; }
            location /anonymous/api { centrifugo_api anonymous; }
            location = /anonymous/ws { centrifugo_websocket anonymous; }`,
    });

    let serial = 0;
    const fresh = (name) => `${name}${++serial}`;

    const call = async (method, params, at = '', through = server) => {
        const res = await through.request('POST', `${at}/api/${method}`,
            { body: JSON.stringify(params), timeout: 15000 });

        assert.equal(res.status, 200);
        return JSON.parse(res.body);
    };

    const open = (user, of = server) => Client.connect(of.ws(), {
        connect: { token: jwt({ sub: user }) } });

    /* at least two clients of a user in each worker */

    const crowd = (user, of = server) => onAllWorkers(of.workers(), 2,
        () => open(user, of));

    const closed = async (c, want = FORCED, ms = 5000) => {
        const end = await c.untilClosed(ms);

        assert.deepEqual([end.code, end.reason], want);
    };

    const alive = async (list) => {
        for (const c of list) {
            assert.deepEqual(await c.settle(), []);
        }
    };

    const finish = (list) => list.forEach((c) => c.terminate());

    const push = async (c, want) => {
        const got = await c.json();

        assert.deepEqual(got, { push: want });
    };

    const unsubscribed = (channel) => ({ channel,
        unsubscribe: { code: 2000, reason: 'server unsubscribe' } });


    /* disconnect */

    s.it('disconnect: all of a user, in all workers, no others', async () => {
        const user = fresh('u');
        const list = await crowd(user);
        const others = await crowd(fresh('u'));

        assert.deepEqual(await call('disconnect', { user }), OK);

        for (const c of list) {
            await closed(c);
        }

        await alive(others);
        finish(others);
    });

    s.it('disconnect: one client', async () => {
        const user = fresh('u');
        const list = await crowd(user);
        const [gone] = list.splice(1, 1);

        /* of another user that client is none */

        assert.deepEqual(await call('disconnect',
            { user: fresh('u'), client: gone.id }), OK);
        assert.deepEqual(await gone.settle(), []);

        assert.deepEqual(await call('disconnect', { user, client: gone.id }),
                         OK);
        await closed(gone);
        await alive(list);
        finish(list);
    });

    s.it('disconnect: a whitelist', async () => {
        const user = fresh('u');
        const list = await crowd(user);
        const stay = [list.shift(), list.pop()];

        assert.deepEqual(await call('disconnect', { user,
            whitelist: [...stay.map((c) => c.id), 'x'] }), OK);

        for (const c of list) {
            await closed(c);
        }

        await alive(stay);
        finish(stay);
    });

    for (const [name, disconnect, want] of [
        ['code and reason', { code: 4001, reason: 'custom' },
         [4001, 'custom']],
        ['code alone', { code: 4501 }, [4501, '']],
        ['reason alone', { reason: 'why' }, [3503, 'why']],
        ['nothing in it', {}, FORCED],
        ['a reason that is cut', { code: 4000, reason: '\u20ac'.repeat(100) },
         [4000, '\u20ac'.repeat(41)]],
        ['a reason cut within a character',
         { code: 4000, reason: 'x' + '\u20ac'.repeat(100) },
         [4000, 'x' + '\u20ac'.repeat(40)]],
    ]) {
        s.it(`disconnect: ${name}`, async () => {
            const user = fresh('u');
            const c = await open(user);

            assert.deepEqual(await call('disconnect', { user, disconnect }),
                             OK);
            await closed(c, want);
        });
    }

    s.it('disconnect: the anonymous, more than one turn of them', async () => {
        const list = [];

        for (let i = 0; i < 14; i++) {
            list.push(...await Promise.all(Array.from({ length: 100 },
                () => Client.connect(server.ws('/anonymous/ws')))));
        }

        const named = await Client.connect(server.ws('/anonymous/ws'),
            { connect: { token: jwt({ sub: 'x' }) } });

        assert.deepEqual(await call('disconnect',
            { whitelist: [list[0].id, list[1399].id] }, '/anonymous'), OK);

        for (const c of list.slice(1, -1)) {
            await closed(c);
        }

        await alive([list[0], list[1399], named]);
        finish([list[0], list[1399], named]);
    }, 60000);


    /* unsubscribe */

    s.it('unsubscribe: one channel', async () => {
        const user = fresh('u');
        const [ch, other] = [fresh('ch'), fresh('ch')];
        const list = await crowd(user);

        for (const c of list) {
            await c.subscribe(ch);
            await c.subscribe(other);
        }

        assert.deepEqual(await call('unsubscribe', { user, channel: ch }),
                         OK);

        for (const c of list) {
            await push(c, unsubscribed(ch));
        }

        await call('publish', { channel: ch, data: 1 });
        await call('publish', { channel: other, data: 2 });

        for (const c of list) {
            await push(c, { channel: other, pub: { data: 2 } });
            await c.subscribe(ch);
        }

        finish(list);
    });

    s.it('unsubscribe: all channels, each with its push', async () => {
        const user = fresh('u');
        const names = [fresh('ch'), fresh('ch'), fresh('ch')];
        const list = await crowd(user);

        for (const c of list) {
            for (const ch of names) {
                await c.subscribe(ch);
            }
        }

        assert.deepEqual(await call('unsubscribe', { user }), OK);

        for (const c of list) {
            const got = [];

            for (const ch of names) {
                const { push: p } = await c.json();

                assert.deepEqual(p, unsubscribed(p.channel));
                got.push(p.channel);
                assert.ok(names.includes(ch));
            }

            assert.deepEqual(got.sort(), [...names].sort());
        }

        await alive(list);
        finish(list);
    });

    s.it('unsubscribe: one client, and a channel it does not have',
        async () => {
            const user = fresh('u');
            const ch = fresh('ch');
            const list = await crowd(user);

            assert.deepEqual(await call('unsubscribe',
                { user, channel: ch, client: list[0].id }), OK);
            await push(list[0], unsubscribed(ch));
            await alive(list);
            finish(list);
        });


    /* subscribe */

    s.it('subscribe: a push to each, and publications', async () => {
        const user = fresh('u');
        const ch = fresh('ch');
        const list = await crowd(user);

        assert.deepEqual(await call('subscribe', { user, channel: ch,
            data: { a: 1 }, b64data: b64('{"b":2}') }), OK);

        for (const c of list) {
            await push(c, { channel: ch, subscribe: { data: { b: 2 } } });
        }

        await call('publish', { channel: ch, data: 1 });

        for (const c of list) {
            await push(c, { channel: ch, pub: { data: 1 } });
        }

        /* again: seen at the reference */

        assert.deepEqual(await call('subscribe',
            { user, channel: ch, client: list[0].id }), OK);
        assert.equal((await list[0].json()).push.channel, ch);
        await alive(list.slice(1));
        finish(list);
    });

    s.it('subscribe: expire_at', async () => {
        const user = fresh('u');
        const ch = fresh('ch');
        const c = await open(user);

        assert.deepEqual(await call('subscribe', { user, channel: ch,
            expire_at: now() + 100 }), OK);

        const { push: p } = await c.json();

        assert.equal(p.channel, ch);
        assert.ok(p.subscribe);
        finish([c]);
    });


    const narrow = (user, claims) => Client.connect(server.ws('/narrow/ws'), {
        connect: { token: jwt({ sub: user, ...claims }) } });

    s.it('subscribe: expired, it ends the connection', async () => {
        const user = fresh('u');
        const c = await narrow(user);
        const at = Date.now();

        assert.deepEqual(await call('subscribe', { user, channel: 'seen:a',
            expire_at: now() + 2 }, '/narrow'), OK);
        await push(c, { channel: 'seen:a', subscribe: {} });
        await closed(c, [3006, 'subscription expired'], 8000);

        const took = (Date.now() - at) / 1000;

        assert.ok(took > 1.9 && took < 4.6, `after ${took} s`);
        await until('a log line', () => new RegExp(`client ${c.id} of user `
            + `"${user}" disconnected with 3006 "subscription expired": .`)
            .test(server.log()));
    });

    s.it('subscribe: sub_refresh of one that the API made', async () => {
        const user = fresh('u');
        const c = await narrow(user);
        const channel = fresh('ch');

        await call('subscribe', { user, channel, expire_at: now() + 2 },
                   '/narrow');
        await c.json();

        const { sub_refresh: r } = await c.call({ sub_refresh: { channel,
            token: jwt({ sub: user, channel, exp: now() + 100 }) } });

        assert.ok(r.expires && r.ttl > 90);
        await sleep(4500);
        await alive([c]);
        finish([c]);
    });

    s.it('subscribe: expire_at in the past', async () => {
        assert.deepEqual(await call('subscribe', { user: 'u', channel: 'a',
            expire_at: 1 }), INTERNAL);
    });

    s.it('subscribe: more than channel_limit', async () => {
        const user = fresh('u');
        const c = await narrow(user);

        for (const channel of ['a', 'b']) {
            await call('subscribe', { user, channel }, '/narrow');
            await push(c, { channel, subscribe: {} });
        }

        assert.deepEqual(await call('subscribe', { user, channel: 'a' },
                                    '/narrow'), OK);
        await push(c, { channel: 'a', subscribe: {} });
        assert.deepEqual(await call('subscribe', { user, channel: 'c' },
                                    '/narrow'), OK);
        await closed(c, [3505, 'channel limit']);
    });

    s.it('subscribe: info, overrides; an info that is too large', async () => {
        const user = fresh('u');
        const c = await narrow(user, { info: 1 });
        const channel = fresh('off:');
        const me = { user, client: c.id, conn_info: 1, chan_info: [2] };
        const on = { value: true };

        assert.deepEqual(await call('subscribe', { user, channel, info: [2],
            override: { presence: on, join_leave: on,
                        force_push_join_leave: on } }, '/narrow'), OK);
        await push(c, { channel, subscribe: {} });
        await push(c, { channel, join: { info: me } });
        await c.call({ publish: { channel, data: 3 } });
        await push(c, { channel, pub: { data: 3, info: me } });

        assert.deepEqual(await call('subscribe', { user, channel: 'seen:b',
            info: 'x'.repeat(100) }, '/narrow'), OK);
        await closed(c, [3004, 'internal server error']);
    });


    /* refresh */

    s.it('refresh: a new time, none, and the end', async () => {
        const user = fresh('u');
        const list = await crowd(user);

        assert.deepEqual(await call('refresh',
            { user, expire_at: now() + 100 }), OK);

        for (const c of list) {
            const { push: p } = await c.json();

            assert.equal(p.refresh.expires, true);
            assert.ok(p.refresh.ttl > 90 && p.refresh.ttl <= 100);
        }

        assert.deepEqual(await call('refresh', { user }), OK);

        for (const c of list) {
            await push(c, { refresh: {} });
        }

        const [c] = list.splice(0, 1);

        assert.deepEqual(await call('refresh',
            { user, client: c.id, expire_at: 1 }), OK);
        await closed(c, [3005, 'connection expired']);
        await alive(list);

        assert.deepEqual(await call('refresh', { user, expired: true }), OK);

        for (const x of list) {
            await closed(x, [3005, 'connection expired']);
        }
    });

    s.it('refresh: expired', async () => {
        const user = fresh('u');
        const list = await crowd(user);

        assert.deepEqual(await call('refresh', { user, expired: true }), OK);

        for (const c of list) {
            await closed(c, [3005, 'connection expired']);
        }
    });


    /* orders of one body are carried out in their order */

    s.it('subscribe, then unsubscribe in one body', async () => {
        const user = fresh('u');
        const ch = fresh('ch');
        const c = await open(user);
        const res = await server.request('POST', '/api', { body: [
            { id: 1, method: 'subscribe', params: { user, channel: ch } },
            { id: 2, method: 'unsubscribe', params: { user, channel: ch } },
            { id: 3, method: 'disconnect', params: { user } },
        ].map((x) => JSON.stringify(x)).join('\n') });

        assert.equal(res.body.trim(), [1, 2, 3].map(
            (id) => `{"id":${id},"result":{}}`).join('\n'));

        const { lines, code } = await c.untilClosed();

        assert.equal(code, 3503);
        assert.ok(JSON.parse(lines[0]).push.subscribe);
        assert.deepEqual(JSON.parse(lines[1]), { push: unsubscribed(ch) });
    });


    /* a worker that stands still, and one that dies */

    await s.serial('a stopped worker: error 100, not silence', async () => {
        const own = await s.start({ hub: HUB });
        const list = await crowd('42', own);
        const [victim, other] = own.workers();
        const api = (await connections(own)).get(other);
        const api2 = (await connections(own)).get(other);

        process.kill(victim, 'SIGSTOP');

        try {
            const begin = Date.now();

            assert.deepEqual(await call('disconnect', { user: '42' }, '',
                                        api), INTERNAL);
            assert.ok(Date.now() - begin > 3000);
            assert.ok(Date.now() - begin < 9000);

            /* the others are gone all the same */

            for (const c of list.filter((x) => x.worker === other)) {
                await closed(c);
            }

            /* one of those that can't be told; one of a living worker */

            const far = list.find((x) => x.worker === victim);
            const near = await until('a client of the living worker',
                async () => {
                    const c = new Client(own.ws());
                    const ok = await within(1000, 'a connection',
                        c.opened.then(() => c.worker === other)).catch(
                            () => false);

                    if (!ok) {
                        c.terminate();
                        return null;
                    }

                    c.id = (await c.call({ connect: {
                        token: jwt({ sub: '43' }) } })).connect.client;
                    return c;
                }, 20000);

            const [slow, fast] = await Promise.all([
                call('disconnect', { user: '42', client: far.id }, '', api)
                    .then((x) => [x, Date.now()]),
                call('disconnect', { user: '43', client: near.id }, '', api2)
                    .then((x) => [x, Date.now()]),
            ]);

            assert.deepEqual(slow[0], INTERNAL);
            assert.deepEqual(fast[0], OK);
            assert.ok(slow[1] - fast[1] > 2000);
            await closed(near);

            /* neither can its channels be told */

            assert.deepEqual(await call('channels', {}, '', api), INTERNAL);

        } finally {
            process.kill(victim, 'SIGCONT');
        }

        /* what is too late is not done */

        await sleep(500);
        await alive(list.filter((x) => x.worker === victim));
        assert.deepEqual(await call('channels', {}, '', api),
                         { result: { channels: {} } });
        assert.match(own.log(), /"disconnect" of the API of hub "main" could/);
        finish(list);
    }, 90000);

    await s.serial('a client of a worker that died: nobody', async () => {
        const own = await s.start({ hub: HUB });
        const list = await crowd('42', own);
        const [victim] = own.workers();
        const far = list.find((x) => x.worker === victim);

        own.allow(/exited on signal 9/);
        process.kill(victim, 'SIGKILL');
        await within(5000, 'the connection to end', far.closed);

        await until('another worker in its place',
            () => own.workers().length === 2
                  && !own.workers().includes(victim));
        assert.deepEqual(await call('disconnect',
            { user: '42', client: far.id }, '', own), OK);
        assert.deepEqual(await call('disconnect', { user: '42' }, '', own),
                         OK);

        for (const c of list.filter((x) => x.worker !== victim)) {
            await closed(c);
        }
    });

});
