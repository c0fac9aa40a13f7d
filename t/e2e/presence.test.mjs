/*
 * Who is there: presence, joins and leaves, over workers that come, go and
 * are killed.
 */

import assert from 'node:assert/strict';

import { Client, onAllWorkers } from './lib/client.mjs';
import { jwt, now } from './lib/jwt.mjs';
import { logged, outcome, subToken, userToken } from './lib/rights.mjs';
import { held, sleep, TEST_MODULE, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const SUB = `allow_subscribe_for_client on; allow_subscribe_for_anonymous on;
    allow_publish_for_client on;`;
const SEE = `allow_presence_for_client on; allow_presence_for_anonymous on;`;

const HUB = `token_hmac_secret_key secret; api_insecure on;
    allow_anonymous_connect_without_token on; user_connection_limit 0;
    drain_time 1s; ${SUB}
    namespace jl { ${SUB} ${SEE} presence on; join_leave on; }
    namespace force { ${SUB} ${SEE} presence on; join_leave on;
        force_push_join_leave on; }
    namespace quiet { ${SUB} ${SEE} presence on; }
    namespace pushonly { ${SUB} ${SEE} presence on;
        force_push_join_leave on; }
    namespace nopres { ${SUB} ${SEE} join_leave on;
        force_push_join_leave on; }
    namespace nopresask { ${SUB} ${SEE} join_leave on; }
    namespace nopresmember { ${SUB} join_leave on;
        allow_presence_for_subscriber on; }
    namespace nopresnoacc { ${SUB} join_leave on; }
    namespace noacc { ${SUB} presence on; join_leave on; }
    namespace member { ${SUB} presence on; join_leave on;
        allow_presence_for_subscriber on; }`;

const byId = (a, b) => (a.client < b.client ? -1 : 1);


/* What these suites need of a server. */

function toolsOf(server) {
    const connect = (user, claims = {}, uri) => Client.connect(server.ws(uri),
        { connect: user === undefined ? {}
            : { token: userToken(user, claims) } });

    const each = (pids, n, user, claims) => onAllWorkers(pids, n,
        (i) => connect(typeof user === 'function' ? user(i) : user, claims));

    const presence = async (c, channel) => {
        const r = await c.call({ presence: { channel } });

        return r.presence?.presence ?? assert.fail(JSON.stringify(r));
    };

    const stats = async (c, channel) =>
        (await c.call({ presence_stats: { channel } })).presence_stats;

    const ids = async (c, channel) =>
        Object.keys(await presence(c, channel)).sort();

    /* Joins and leaves among lines: {join: [ids], leave: [ids]}. */

    const moves = (lines, channel) => {
        const got = { join: [], leave: [] };

        for (const l of lines) {
            const { push } = JSON.parse(l);

            assert.equal(push.channel, channel);

            for (const kind of ['join', 'leave']) {
                if (push[kind]) {
                    got[kind].push(push[kind].info.client);
                }
            }
        }

        got.join.sort();
        got.leave.sort();
        return got;
    };

    return { connect, each, presence, stats, ids, moves };
}


suite('presence', { concurrency: 8, timeout: 50000 }, async (s) => {
    const server = await s.start({
        zone: '8m', hub: HUB,
        hubs: {
            small: `token_hmac_secret_key secret; presence_info_max 100;
                ${SUB}
                namespace quiet { ${SUB} ${SEE} presence on; }
                namespace force { ${SUB} ${SEE} presence on; join_leave on;
                    force_push_join_leave on; }
                namespace nopres { ${SUB} join_leave on;
                    force_push_join_leave on; }`,
            narrow: `token_hmac_secret_key secret; queue_max_size 16k; ${SUB}
                namespace quiet { ${SUB} ${SEE} presence on; }`,
        },
        locations: `location = /small { centrifugo_websocket small; }
            location = /narrow { centrifugo_websocket narrow; }`,
    });

    const pids = server.workers();
    const { connect, each, presence, stats, ids, moves } = toolsOf(server);
    let serial = 0;
    const fresh = (ns) => `${ns}:${++serial}`;
    const sub = (channel, more = {}) => ({ subscribe: { channel, ...more } });
    const end = (list) => list.forEach((c) => c.terminate());

    /* who gets joins: of its own, right behind the reply */

    for (const [ns, ask, want] of [
        ['jl', false, false], ['jl', true, true],
        ['force', false, true], ['force', true, true],
        ['quiet', true, false], ['pushonly', false, false],
        ['nopres', false, true],
        ['nopresask', false, false], ['nopresask', true, true],
        ['nopresmember', true, true], ['nopresnoacc', true, false],
        ['noacc', true, false], ['noacc', false, false],
        ['member', true, true], ['member', false, false],
    ]) {
        s.it(`${ns}${ask ? ', asked for' : ''}: own join ${want}`,
            async () => {
                const channel = fresh(ns);
                const c = await connect('42', { info: { n: 1 } });

                c.frame(JSON.stringify({ id: 2, subscribe: {
                    channel, ...(ask ? { join_leave: true } : {}) } }));
                assert.equal(await c.line(), '{"id":2,"subscribe":{}}');

                if (want) {
                    assert.deepEqual(await c.json(), { push: { channel,
                        join: { info: { user: '42', client: c.id,
                                        conn_info: { n: 1 } } } } });
                }

                /* what comes later would be of somebody else */
                assert.deepEqual(await c.settle(), []);

                const d = await connect('43');

                await d.call(sub(channel));
                await d.call({ publish: { channel, data: 1 } });
                assert.equal(JSON.parse(await c.line()).push.join
                             !== undefined, want);

                d.terminate();
                end([c]);
            });
    }

    s.it('anonymous may not see presence: the wish is ignored', async () => {
        const channel = fresh('member');
        const c = await connect();

        assert.deepEqual(await outcome(c, sub(channel,
                                              { join_leave: true })),
                         { subscribe: {} });
        assert.deepEqual(await c.settle(), []);
        end([c]);
    });

    for (const how of ['unsubscribe', 'close', 'terminate', 'bad request']) {
        for (const ns of ['force', 'nopres']) {
            s.it(`${ns}: others see a leave after ${how}, on all workers`,
                async () => {
                    const channel = fresh(ns);
                    const list = await each(pids, 1, 'w');

                    for (const c of list) {
                        await c.call(sub(channel));
                    }

                    const c = await connect('42', { info: 'i' });
                    const info = { user: '42', client: c.id,
                                   conn_info: 'i' };

                    await c.call(sub(channel));

                    const own = await c.settle();

                    await c.call({ publish: { channel, data: 1 } });
                    await c.settle();

                    if (how === 'unsubscribe') {
                        await c.call({ unsubscribe: { channel } });
                        assert.deepEqual(await c.settle(), []);
                        assert.deepEqual(moves(own, channel),
                                         { join: [c.id], leave: [] });
                    } else if (how === 'close') {
                        await c.close();
                    } else if (how === 'terminate') {
                        c.terminate();
                    } else {
                        c.frame('x');
                        await c.untilClosed();
                    }

                    for (const w of list) {
                        const got = [];

                        while (!got.some((p) => p.leave)) {
                            got.push((await w.json()).push);
                        }

                        const his = got.filter((p) => (p.join || p.leave
                            || p.pub).info?.client === c.id);

                        assert.deepEqual(his, [
                            { channel, join: { info } },
                            { channel, pub: { data: 1, info } },
                            { channel, leave: { info } },
                        ]);
                    }

                    end([...list, c]);
                });
        }
    }

    s.it('many come and go: each once, on all workers', async () => {
        const channel = fresh('force');
        const list = await each(pids, 1, 'w');

        for (const c of list) {
            await c.call(sub(channel));
        }

        for (const c of list) {
            await until('all watchers', async () =>
                (await ids(c, channel)).length === list.length);
            await c.settle();
        }

        const many = await Promise.all(Array.from({ length: 60 },
            (_, i) => connect(`u${i % 7}`)));
        const want = many.map((c) => c.id).sort();

        await Promise.all(many.map((c) => c.call(sub(channel))));

        for (const w of list) {
            assert.deepEqual(await stats(w, channel), {
                num_clients: 60 + list.length, num_users: 8 });
            assert.deepEqual(await ids(w, channel),
                             [...want, ...list.map((c) => c.id)].sort());
        }

        many.forEach((c, i) => (i % 2 ? c.terminate()
                                : c.call({ unsubscribe: { channel } })));

        for (const w of list) {
            await until('all to leave', async () =>
                (await stats(w, channel)).num_clients === list.length);
            await until('all leaves', () =>
                w.lines.filter((l) => l.includes('"leave"')).length >= 60);
            await sleep(200);
            assert.deepEqual(moves(await w.settle(), channel),
                             { join: want, leave: want });
        }

        end([...list, ...many]);
    });

    s.it('presence and presence_stats on both workers', async () => {
        const channel = fresh('jl');
        const who = [['a', { info: { n: 1 } }], ['a', {}], ['b', {}],
                     [undefined, {}], ['', {}]];
        const list = [];

        for (const [user, claims] of who) {
            list.push(...await each(pids, 1, user, claims));
        }

        for (const c of list) {
            await c.call(sub(channel));
        }

        const t = await connect('t', { info: 'c' });

        await t.call(sub(channel, { token: subToken('t', channel,
                                                    { info: ['ch'] }) }));
        await t.settle();

        for (const c of [list[0], ...await each(pids, 1, 'z')]) {
            const got = await presence(c, channel);

            assert.equal(Object.keys(got).length, list.length + 1);
            assert.deepEqual(got[t.id], { user: 't', client: t.id,
                                          conn_info: 'c', chan_info: ['ch'] });
            assert.deepEqual(got[list[0].id], { user: 'a',
                client: list[0].id, conn_info: { n: 1 } });
            assert.deepEqual(got[list.at(-1).id],
                             { user: '', client: list.at(-1).id });
            assert.deepEqual(await stats(c, channel), {
                num_clients: list.length + 1, num_users: 4 });
        }

        end([...list, t]);

        const z = await connect('z');

        await until('nobody to be left', async () =>
            (await stats(z, channel)).num_clients === 0);
        assert.deepEqual(await presence(z, channel), {});
        assert.equal((await stats(z, channel)).num_users, 0);
        end([z]);
    });

    s.it('channels that differ in little', async () => {
        const c = await connect('42');
        const channel = fresh('quiet');

        await c.call(sub(channel));
        assert.deepEqual(await ids(c, channel), [c.id]);
        assert.deepEqual(await ids(c, `${channel}0`), []);
        assert.deepEqual(await ids(c, `$${channel}`), []);
        assert.deepEqual(await ids(c, channel.slice(0, -1)), []);
        end([c]);
    });

    s.it('subscribed again and again: one entry, one join each', async () => {
        const channel = fresh('force');
        const [w, c] = [await connect('w'), await connect('42')];

        await w.call(sub(channel));

        for (let i = 0; i < 20; i++) {
            c.send({ id: 2, ...sub(channel) },
                   { id: 3, unsubscribe: { channel } });
        }

        c.send({ id: 2, ...sub(channel) });
        await c.settle();
        await until('all joins', () => w.lines.filter((l) =>
            l.includes('"join"')).length === 22);
        assert.deepEqual(await ids(w, channel), [w.id, c.id].sort());

        const kinds = (await w.settle()).map((l) => JSON.parse(l).push)
            .filter((p) => (p.join || p.leave).info.client === c.id)
            .map((p) => (p.join ? 'join' : 'leave'));

        assert.deepEqual(kinds, [...Array(20)].flatMap(
            () => ['join', 'leave']).concat('join'));
        end([w, c]);
    });

    s.it('server-side subscriptions are present and join', async () => {
        const channel = fresh('force');
        const c = await connect('42', { channels: [channel] });

        assert.equal((await c.json()).push.join.info.client, c.id);
        assert.deepEqual(await ids(c, channel), [c.id]);
        await c.call({ unsubscribe: { channel } });
        assert.deepEqual(await ids(c, channel), []);
        end([c]);
    });

    s.it('a connect that is refused leaves nothing behind', async () => {
        const channel = fresh('force');
        const w = await connect('w');

        await w.call(sub(channel));
        await w.settle();

        const c = await Client.open(server.ws());

        assert.equal(await outcome(c, { connect: { token: userToken('42',
            { channels: [channel], expire_at: 1 }) } }), 110);
        assert.deepEqual(await ids(w, channel), [w.id]);
        assert.deepEqual(await w.settle(), []);
        end([w, c]);
    });


    /* infos */

    s.it('a refresh changes presence, and no join is sent', async () => {
        const [a, b] = [fresh('force'), fresh('quiet')];
        const list = await each(pids, 1, 'w');
        const c = await connect('42', { info: 1, exp: now() + 100 });

        await c.call(sub(a));
        await c.call(sub(b, { token: subToken('42', b, { info: 'ch' }) }));
        await Promise.all(list.map((w) => w.call(sub(a))));
        await Promise.all(list.map((w) => w.settle()));
        await c.call({ refresh: { token: userToken('42', { info: { n: 2 } }) }
        });

        for (const w of list) {
            assert.deepEqual((await presence(w, a))[c.id], { user: '42',
                client: c.id, conn_info: { n: 2 } });
            assert.deepEqual(await presence(w, b), { [c.id]: { user: '42',
                client: c.id, conn_info: { n: 2 }, chan_info: 'ch' } });
            assert.equal((await w.settle()).filter(
                (l) => l.includes(c.id)).length, 0);
        }

        c.terminate();

        for (const w of list) {
            let push;

            do {
                push = (await w.json()).push;
            } while (!push.leave);

            assert.deepEqual(push.leave.info, { user: '42', client: c.id,
                                                conn_info: { n: 2 } });
        }

        end(list);
    });

    const small = async (claims) => connect('42', claims, '/small');

    /* the JSON text of info, without the user's 2 bytes */
    const ofSize = (n) => 'x'.repeat(n - 2);

    for (const ns of ['quiet', 'force', 'nopres']) {
        s.it(`${ns}: presence_info_max`, async () => {
            const [fit, over] = [await small({ info: ofSize(98) }),
                                 await small({ info: ofSize(99) })];

            assert.deepEqual(await outcome(fit, sub(fresh(ns))),
                             { subscribe: {} });
            assert.equal(await outcome(over, sub(fresh(ns))), 107);
            await logged(server, over.id, 107, /presence_info_max/);
            assert.deepEqual(await outcome(over, sub(`plain${++serial}`)),
                             { subscribe: {} });
            end([fit, over]);
        });
    }

    s.it('presence_info_max counts the info of the channel', async () => {
        const c = await small({ info: ofSize(50) });
        const [a, b] = [fresh('quiet'), fresh('quiet')];

        assert.deepEqual(await outcome(c, sub(a, {
            token: subToken('42', a, { info: ofSize(48) }) })),
            { subscribe: {} });
        assert.equal(await outcome(c, sub(b, {
            token: subToken('42', b, { info: ofSize(49) }) })), 107);
        end([c]);
    });

    s.it('presence_info_max of a server-side subscription', async () => {
        const c = await Client.open(server.ws('/small'));

        assert.equal(await outcome(c, { connect: { token: userToken('42',
            { info: ofSize(99), channels: ['quiet:x'] }) } }), 107);
        end([c]);
    });

    for (const [way, length] of [['refresh', 3000], ['sub_refresh', 3000],
                                 ['refresh', 40000], ['sub_refresh', 40000]])
    {
        s.it(`presence_info_max and a ${way} over it: ${length}`, async () => {
            const channel = fresh('force');
            const w = await connect('w', {}, '/small');
            const c = await small({ info: 1 });

            await w.call(sub(channel));
            await c.call(sub(channel));
            await w.json();
            await w.json();

            const got = await outcome(c, way === 'refresh'
                ? { refresh: { token: userToken('42',
                    { info: 'x'.repeat(length) }) } }
                : { sub_refresh: { channel, token: subToken('42', channel,
                    { info: 'x'.repeat(length) }) } });

            const p = await presence(w, channel);
            const size = JSON.stringify(p[c.id] ?? '').length;

            assert.deepEqual(Object.keys(p).sort(), [w.id, c.id].sort());
            assert.ok(size < 300, `its entry has ${size} bytes`);

            /* whatever it was told, it leaves once */
            c.terminate();

            const { push } = await w.json();

            assert.equal(push.leave.info.client, c.id);
            assert.ok(JSON.stringify(push).length < 400,
                      `its leave has ${JSON.stringify(push).length} bytes`);
            assert.deepEqual(await w.settle(), []);
            assert.equal(got, 107);
            end([w]);
        });
    }

    s.it('a presence that is larger than queue_max_size', async () => {
        const channel = fresh('quiet');
        const list = await Promise.all(Array.from({ length: 20 }, () =>
            connect('42', { info: 'x'.repeat(1000) }, '/narrow')));

        await Promise.all(list.map((c) => c.call(sub(channel))));

        assert.equal(await outcome(list[0], { presence: { channel } }), 106);
        assert.deepEqual(await stats(list[0], channel),
                         { num_clients: 20, num_users: 1 });
        end(list);
    });


    /* counts */

    await s.serial('metrics after churn', async () => {
        const gauge = (name) => server.metric(name);
        const channels = Array.from({ length: 6 }, () => fresh('force'));
        const alive = [];
        let seed = 12345;
        const random = (n) => {
            seed = (seed * 1103515245 + 12345) % 2147483648;
            return seed % n;
        };

        for (const close of held) {
            close();
        }

        await until('the others to be gone', async () =>
            await gauge('centrifugo_node_num_clients') === 0
            && await gauge('centrifugo_node_num_subscriptions') === 0);

        for (let round = 0; round < 30; round++) {
            await Promise.all(Array.from({ length: 10 }, async () => {
                const kind = random(4);
                const c = alive[random(alive.length || 1)];
                const channel = channels[random(6)];

                if (kind === 0 || alive.length < 5) {
                    alive.push(Object.assign(await connect(`u${random(5)}`),
                                             { subs: new Set() }));
                } else if (kind === 1) {
                    alive.splice(alive.indexOf(c), 1);
                    c.terminate();
                } else if (kind === 2) {
                    c.subs.add(channel);
                    await c.call(sub(channel)).catch(() => {});
                } else {
                    c.subs.delete(channel);
                    await c.call({ unsubscribe: { channel } })
                        .catch(() => {});
                }
            }));
        }

        /* commands of one round may cross: ask each what it is in */

        for (const c of alive) {
            for (const channel of channels) {
                await c.call({ unsubscribe: { channel } });
            }

            c.subs.clear();

            for (const channel of channels.filter(() => random(2))) {
                await c.subscribe(channel);
                c.subs.add(channel);
            }
        }

        const total = alive.reduce((n, c) => n + c.subs.size, 0);

        await until('the number of clients', async () =>
            await gauge('centrifugo_node_num_clients') === alive.length);
        await until('the number of subscriptions', async () =>
            await gauge('centrifugo_node_num_subscriptions') === total);

        for (const channel of channels) {
            const want = alive.filter((c) => c.subs.has(channel));

            await until(`presence of ${channel}`, async () =>
                (await ids(alive[0], channel)).join()
                === want.map((c) => c.id).sort().join());
        }

        end(alive);
        await until('no clients', async () =>
            await gauge('centrifugo_node_num_clients') === 0
            && await gauge('centrifugo_node_num_subscriptions') === 0
            && await gauge('centrifugo_hub_sessions') === 0);
    });
});


suite('presence and kills', { timeout: 30000 }, async (s) => {
    const server = await s.start({ zone: '8m', hub: HUB,
        hubs: {
            users: 'token_hmac_secret_key secret; user_connection_limit 2;',
            address: `token_hmac_secret_key secret;
                connection_limit_per_address 4;`,
        },
        locations: `location = /users { centrifugo_websocket users; }
            location = /address { centrifugo_websocket address; }`,
    });
    const { connect, each, ids, stats, moves } = toolsOf(server);
    const channels = ['force:a', 'nopres:a', 'force:b'];

    server.allow(/exited on signal 9/);

    s.it('a killed worker\'s connections count no more', async () => {
        const pids = server.workers();
        const [victim] = pids;
        const open = [];

        /* two of one user in the victim, four of the address */
        for (const [uri, n] of [['/users', 2], ['/address', 4]]) {
            const mine = [];

            await until(`${n} connections in the victim`, async () => {
                const c = await Client.open(server.ws(uri));

                if (c.worker !== victim) {
                    await c.close();
                    return false;
                }

                mine.push(c);
                return mine.length === n;
            });
            open.push(...mine);
        }

        const claims = { connect: { token: userToken('42') } };

        for (const c of open.slice(0, 2)) {
            assert.ok((await c.call(claims)).connect);
        }

        const full = async () => {
            const c = await Client.open(server.ws('/users'));
            const got = await outcome(c, claims);

            c.terminate();
            return got === 3504;
        };
        const closed = async () => {
            try {
                (await Client.open(server.ws('/address'))).terminate();
                return false;
            } catch (e) {
                return /503/.test(e.message);
            }
        };

        assert.ok(await full());
        assert.ok(await closed());
        process.kill(victim, 'SIGKILL');
        await until('a new worker', async () =>
            !server.workers().includes(victim)
            && server.workers().length === 2
            && await server.workersSeen(20) === 2);
        await until('room for the user', async () => !await full(), 5000);
        await until('room for the address', async () => !await closed(),
                    5000);

        /* all of it, no more */
        const again = [];

        await until('four of the address', async () => {
            try {
                again.push(await Client.open(server.ws('/address')));
            } catch { /* one just closed may count for a moment */ }

            return again.length === 4;
        });
        assert.ok(await closed());
        again.forEach((c) => c.terminate());
    });

    for (let round = 0; round < 2; round++) {
        s.it(`a worker is killed, ${round}`, async () => {
            const pids = server.workers();
            const victim = pids[round % 2];
            const list = await each(pids, 8, (i) => `u${i % 5}`);
            const dead = list.filter((c) => c.worker === victim);
            const rest = list.filter((c) => c.worker !== victim);

            for (const c of list) {
                for (const channel of channels) {
                    await c.subscribe(channel);
                }
            }

            const [w, ...others] = rest;

            for (const c of rest) {
                await until('all joins', async () => {
                    await c.settle().then((l) => c.lines.unshift(...l));
                    return c.lines.filter((l) => l.includes('"join"')
                        && l.includes('force:a')).length
                        >= list.length - list.indexOf(c);
                });
                await c.settle();
                c.lines = [];
            }

            assert.equal((await ids(w, 'force:a')).length, list.length);

            const at = Date.now();

            process.kill(victim, 'SIGKILL');

            await until('the dead to leave presence', async () =>
                (await ids(w, 'force:a')).length === rest.length
                && (await ids(w, 'force:b')).length === rest.length, 5000);

            const took = Date.now() - at;

            assert.ok(took < 5000, `${took} ms`);
            assert.deepEqual(await ids(w, 'force:a'),
                             rest.map((c) => c.id).sort());

            const users = new Set(rest.map((c) => list.indexOf(c) % 5));

            assert.deepEqual(await stats(w, 'force:b'), {
                num_clients: rest.length, num_users: users.size });

            await until('all leaves', () => w.lines.filter((l) =>
                l.includes('"leave"')).length >= 2 * dead.length);
            await sleep(1500);

            const want = dead.map((c) => c.id).sort();

            for (const c of rest) {
                const lines = await c.settle();

                for (const channel of ['force:a', 'force:b']) {
                    assert.deepEqual(
                        moves(lines.filter((l) => l.includes(channel)),
                              channel),
                        { join: [], leave: want }, channel);
                }
            }

            /* the new worker sees the same */
            await until('a new worker', async () =>
                await server.workersSeen(20) === 2);

            for (const c of await each(server.workers(), 1, 'z')) {
                assert.deepEqual(await ids(c, 'force:a'),
                                 rest.map((x) => x.id).sort());
                c.terminate();
            }

            list.forEach((c) => c.terminate());

            const z = await connect('z');

            await until('nobody to be left', async () =>
                (await ids(z, 'force:a')).length === 0);
            z.terminate();
        });
    }
});


suite('presence and reloads', { timeout: 40000 }, async (s) => {
    const server = await s.start({ zone: '8m', hub: HUB, shutdown: '5s' });
    const { connect, each, ids, moves } = toolsOf(server);

    s.it('a reload leaves no entries behind', async () => {
        const old = server.workers();
        const list = await each(old, 6, (i) => `u${i}`);

        for (const c of list) {
            await c.subscribe('force:a');
        }

        server.signal('SIGHUP');
        await until('new workers', () => server.workers().filter(
            (p) => !old.includes(p)).length === 2);

        let w;

        await until('a client of a new worker', async () => {
            w = await connect('w').catch(() => null);

            return w && !old.includes(w.worker);
        });

        await w.subscribe('force:a');

        await until('the old workers to end', () => server.workers().every(
            (p) => !old.includes(p)), 15000);

        for (const c of list) {
            const end = await c.untilClosed();

            assert.ok([3001, 1006].includes(end.code), `${end.code}`);
        }

        await until('the old entries to be gone', async () =>
            (await ids(w, 'force:a')).join() === w.id);
        await sleep(1000);

        /* each leave once, none of itself */
        const m = moves(await w.settle(), 'force:a');

        assert.equal(new Set(m.leave).size, m.leave.length);
        assert.ok(m.leave.every((id) => list.some((c) => c.id === id)));
        assert.deepEqual(m.join, [w.id]);

        /* and again, with clients that come back at once */
        const back = await each(server.workers(), 3, (i) => `u${i}`);

        for (const c of back) {
            await c.subscribe('force:a');
        }

        w.terminate();
        assert.equal((await ids(back[0], 'force:a')).length >= back.length,
                     true);
        await until('only these', async () =>
            (await ids(back[0], 'force:a')).join()
            === back.map((c) => c.id).sort().join());
        back.forEach((c) => c.terminate());
    }, 30000);
});


suite('presence and wipes', { timeout: 40000 }, async (s) => {
    const server = await s.start({
        zone: '8m', hub: HUB.replace('user_connection_limit 0',
                                     'user_connection_limit 3'),
        module: TEST_MODULE,
        locations: 'location = /wipe { centrifugo_test_wipe main; }',
    });
    const pids = server.workers();
    const { connect, each, ids, presence, moves } = toolsOf(server);
    const lost = /centrifugo.*(wipe|shard|lost|repair|damag|rebuil)/;

    server.allow(lost);

    s.it('a wipe: presence and users are put back', async () => {
        const list = await each(pids, 5, (i) => `u${i >> 1}`,
                                { info: { n: 1 } });

        for (const c of list) {
            await c.subscribe('force:a');
            await c.subscribe('quiet:a');
        }

        const [w] = list;

        await until('all joins', () => w.lines.filter((l) =>
            l.includes('"join"')).length === list.length);
        await Promise.all(list.map((c) => c.settle()));

        const before = [await presence(w, 'force:a'),
                        await presence(w, 'quiet:a')];

        for (let i = 0; i < 3; i++) {
            assert.equal((await server.get('/wipe')).status, 200);

            for (const c of [list[0], list.find(
                (x) => x.worker !== list[0].worker)])
            {
                await until('presence to be back', async () => {
                    try {
                        assert.deepEqual([await presence(c, 'force:a'),
                                          await presence(c, 'quiet:a')],
                                         before);
                        return true;
                    } catch {
                        return false;
                    }
                }, 8000, 100);
            }
        }

        /* nobody came or went */
        for (const c of list) {
            assert.deepEqual(moves(await c.settle(), 'force:a'),
                             { join: [], leave: [] });
        }

        /* u0 has two connections: one more, on either worker */
        const third = await connect('u0');

        for (let i = 0; i < 8; i++) {
            const c = await Client.open(server.ws());

            assert.equal(await outcome(c, { connect: {
                token: userToken('u0') } }), 3504);
        }

        third.terminate();
        await until('room again', async () => {
            const c = await Client.open(server.ws());

            return await outcome(c, { connect: { token: userToken('u0') } })
                !== 3504;
        });

        const gone = list.slice(2).map((c) => c.id).sort();

        list.slice(2).forEach((c) => c.terminate());
        await until('they to leave', async () =>
            (await ids(w, 'force:a')).length === 2);
        await sleep(300);
        assert.deepEqual(moves(await w.settle(), 'force:a'),
                         { join: [], leave: gone });
        assert.deepEqual(await ids(w, 'quiet:a'),
                         list.slice(0, 2).map((c) => c.id).sort());
        list.forEach((c) => c.terminate());
    }, 38000);
});
