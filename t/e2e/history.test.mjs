/*
 * What channels keep, and how clients and the server API read it.
 */

import assert from 'node:assert/strict';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers } from './lib/client.mjs';
import { logged, outcome, userToken } from './lib/rights.mjs';
import { sleep, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const OPEN = `allow_subscribe_for_client on; allow_subscribe_for_anonymous on;
    allow_publish_for_client on; allow_publish_for_anonymous on;`;
const READ = `${OPEN} allow_history_for_client on;
    allow_history_for_anonymous on;`;
const KEPT = 'history_size 10; history_ttl 10m;';

const HUB = `token_hmac_secret_key secret; api_insecure on;
    allow_anonymous_connect_without_token on; ${READ} ${KEPT}
    history_max_publication_limit 4;
    namespace off { ${READ} }
    namespace short { ${READ} history_size 10; history_ttl 1s; }
    namespace meta { ${READ} history_size 10; history_ttl 1s;
        history_meta_ttl 2s; }
    namespace many { ${READ} history_size 1000; history_ttl 10m; }
    namespace users { ${OPEN} ${KEPT} allow_history_for_client on; }
    namespace member { ${OPEN} ${KEPT} allow_history_for_subscriber on; }
    namespace membera { ${OPEN} ${KEPT} allow_history_for_subscriber on;
        allow_history_for_anonymous on; }
    namespace none { ${OPEN} ${KEPT} }`;

const pubs = (from, to, first) => {
    const list = [];

    for (let i = from; i <= to; i++) {
        list.push({ data: { n: i }, offset: i,
                    ...(i === 1 && first ? { epoch: first } : {}) });
    }

    return list;
};


suite('history', { concurrency: 8, timeout: 58000 }, async (s) => {
    const server = await s.start({ zone: '8m', hub: HUB });
    const api = apiOf(server);
    const connect = (user) => Client.connect(server.ws(),
        user === undefined ? {} : { connect: { token: userToken(user) } });

    const fill = async (channel, n, from = 1) => {
        let last;

        for (let i = from; i < from + n; i++) {
            last = await api.publish(channel, { n: i });
        }

        return last.epoch;
    };

    const read = async (c, channel, params = {}) => {
        const r = await c.call({ history: { channel, ...params } });

        return r.history ?? r.error.code;
    };

    const apiRead = async (channel, params = {}) => {
        const { result, error } = await api.call('history',
                                                 { channel, ...params });
        return result ?? error.code;
    };

    s.it('the newest history_size publications stay, in all workers',
        async () => {
            const epoch = await fill('size', 13);

            assert.match(epoch, /^[A-Za-z]{8}$/);

            const all = await onAllWorkers(server.workers(), 1,
                                           () => connect());

            for (const c of all) {
                assert.deepEqual(await read(c, 'size', { limit: 3 }),
                    { publications: pubs(4, 6), epoch, offset: 13 });
            }

            assert.deepEqual(await apiRead('size', { limit: -1 }),
                { publications: pubs(4, 13), epoch, offset: 13 });
        });

    s.it('only the position without a limit', async () => {
        const epoch = await fill('pos', 3);
        const c = await connect();

        assert.deepEqual(await read(c, 'pos'),
                         { publications: [], epoch, offset: 3 });
        assert.deepEqual(await apiRead('pos'),
                         { publications: [], epoch, offset: 3 });
    });

    s.it('a client gets at most history_max_publication_limit', async () => {
        const epoch = await fill('cap', 6);
        const c = await connect();

        for (const limit of [5, 1000000, -1, -5]) {
            assert.deepEqual(await read(c, 'cap', { limit }),
                { publications: pubs(1, 4, epoch), epoch, offset: 6 });
        }

        assert.deepEqual(await read(c, 'cap', { limit: 4, reverse: true }),
            { publications: pubs(3, 6).reverse(), epoch, offset: 6 });
        assert.deepEqual(await apiRead('cap', { limit: 100 }),
            { publications: pubs(1, 6), epoch, offset: 6 });
    });

    s.it('since and reverse', async () => {
        const epoch = await fill('since', 13);
        const c = await connect();
        const both = async (params, want) => {
            for (const r of [await read(c, 'since', params),
                             await apiRead('since', params)])
            {
                assert.deepEqual(r, { publications: want, epoch, offset: 13 },
                                 JSON.stringify(params));
            }
        };
        const since = (offset, e = epoch) => ({ offset, epoch: e });

        await both({ limit: 3, since: since(7) }, pubs(8, 10));
        await both({ limit: 3, since: since(11) }, pubs(12, 13));
        await both({ limit: 3, since: since(13) }, []);
        await both({ limit: 3, since: since(14) }, []);
        await both({ limit: 3, since: since(7, '') }, pubs(8, 10));
        await both({ limit: 3, since: { offset: 7 } }, pubs(8, 10));
        await both({ limit: 0, since: since(7) }, []);

        /* what is gone already is a gap that the caller sees */

        await both({ limit: 2, since: since(1) }, pubs(4, 5));
        await both({ limit: 2, since: since(0) }, pubs(4, 5));

        await both({ limit: 3, reverse: true }, pubs(11, 13).reverse());
        await both({ limit: 3, reverse: true, since: since(8) },
                   pubs(5, 7).reverse());
        await both({ limit: 3, reverse: true, since: since(5) },
                   pubs(4, 4).reverse());
        await both({ limit: 3, reverse: true, since: since(4) }, []);
        await both({ limit: 2, reverse: true, since: since(14) },
                   pubs(12, 13).reverse());
    });

    s.it('wrong positions', async () => {
        await fill('wrong', 2);
        const c = await connect();

        assert.equal(await read(c, 'wrong', { limit: 1,
            since: { offset: 1, epoch: 'nonsense' } }), 112);
        assert.equal(await read(c, 'wrong', { limit: 1,
            since: { offset: 1, epoch: 'x' } }), 112);
        assert.equal(await apiRead('wrong', { limit: 1,
            since: { offset: 1, epoch: 'nonsense' } }), 112);
        assert.equal(await read(c, 'wrong', { limit: 1, reverse: true,
            since: { offset: 0 } }), 107);
        assert.equal(await apiRead('wrong', { limit: 1, reverse: true,
            since: { offset: 0 } }), 100);
        await logged(server, c.id, 112);
        await logged(server, c.id, 107);
    });

    s.it('a channel that was never published to', async () => {
        const before = await server.metric('centrifugo_node_num_channels');
        const c = await connect();
        const a = await read(c, 'never', { limit: 10 });

        assert.match(a.epoch, /^[A-Za-z]{8}$/);
        assert.deepEqual(a, { publications: [], epoch: a.epoch, offset: 0 });
        assert.deepEqual(await apiRead('never', { limit: 10 }), a);

        /* reading made nothing, and the epoch stays that */

        for (let i = 0; i < 100; i++) {
            await apiRead(`never.${i}`, { limit: 1 });
        }

        assert.ok(await server.metric('centrifugo_node_num_channels')
                  < before + 50);
        assert.equal((await api.publish('never', 1)).epoch, a.epoch);
    });

    s.it('who may read', async () => {
        const anon = await connect();
        const user = await connect('7');
        const cases = [
            [anon, 'unknown:a', 102], [anon, 'off:a', 108], [user, 'off:a', 108],
            [anon, 'users:a', 103], [user, 'users:a', 'ok'],
            [anon, 'none:a', 103], [user, 'none:a', 103],
            [user, 'member:a', 103], [anon, 'membera:a', 103],
            [user, 'caf\u00e9', 107],
        ];

        for (const [c, channel, want] of cases) {
            const r = await outcome(c, { history: { channel } });

            assert.equal(typeof r === 'number' ? r : 'ok', want, channel);
        }

        await user.subscribe('member:a');
        await anon.subscribe('membera:a');
        await anon.subscribe('member:a');

        assert.ok((await outcome(user, { history: { channel: 'member:a' } }))
                  .history);
        assert.ok((await outcome(anon, { history: { channel: 'membera:a' } }))
                  .history);
        assert.equal(await outcome(anon,
                                   { history: { channel: 'member:a' } }), 103);

        assert.equal(await outcome(user, { history: { channel: '' } }), 3501);
        await logged(server, user.id, 103);
        await logged(server, user.id, 108);
    });

    s.it('errors of the server API', async () => {
        assert.equal(await apiRead('unknown:a'), 102);
        assert.equal(await apiRead(''), 107);
        assert.equal(await apiRead('off:a'), 108);
        assert.deepEqual((await api.call('history_remove',
            { channel: 'unknown:a' })).error.code, 102);
        assert.deepEqual((await api.call('history_remove',
            { channel: '' })).error.code, 107);
    });

    s.it('what a client published has its info', async () => {
        const c = await connect('info');

        await c.call({ publish: { channel: 'info', data: { x: 1 } } });

        const want = { user: 'info', client: c.id };

        assert.deepEqual((await read(c, 'info', { limit: 1 }))
            .publications[0].info, want);
        assert.deepEqual((await apiRead('info', { limit: 1 }))
            .publications[0].info, want);
    });

    s.it('history_remove leaves the position', async () => {
        const epoch = await fill('remove', 5);

        assert.deepEqual(await api.call('history_remove',
            { channel: 'remove' }), { result: {} });
        assert.deepEqual(await apiRead('remove', { limit: -1 }),
                         { publications: [], epoch, offset: 5 });

        await api.publish('remove', { n: 6 });
        assert.deepEqual(await apiRead('remove', { limit: -1 }),
                         { publications: pubs(6, 6), epoch, offset: 6 });
        assert.deepEqual(await api.call('history_remove',
            { channel: 'remove.never' }), { result: {} });
    });

    s.it('a list expires as a whole, and each publication prolongs it',
        async () => {
            const epoch = await fill('short:a', 1);

            await sleep(700);
            await api.publish('short:a', { n: 2 });
            await sleep(700);

            assert.deepEqual(await apiRead('short:a', { limit: -1 }),
                { publications: pubs(1, 2), epoch, offset: 2 });

            await sleep(400);

            assert.deepEqual(await apiRead('short:a', { limit: -1 }),
                { publications: [], epoch, offset: 2 });
            assert.equal((await api.publish('short:a', { n: 3 })).offset, 3);
            assert.deepEqual(await apiRead('short:a', { limit: -1 }),
                { publications: pubs(3, 3), epoch, offset: 3 });
        });

    s.it('after history_meta_ttl the stream is another one', async () => {
        const epoch = await fill('meta:a', 3);

        await sleep(3000);

        const again = await api.publish('meta:a', { n: 1 });

        assert.equal(again.offset, 1);
        assert.notEqual(again.epoch, epoch);
    });

    s.it('a long list is read in one answer', async () => {
        const channels = [];

        for (let i = 1; i <= 1000; i++) {
            channels.push({ method: 'publish', params:
                { channel: 'many:a', data: { n: i, pad: 'x'.repeat(i) } } });
        }

        for (let i = 0; i < 1000; i += 100) {
            await api.commands(...channels.slice(i, i + 100));
        }

        const r = await apiRead('many:a', { limit: -1 });

        assert.equal(r.publications.length, 1000);
        r.publications.forEach((p, i) => {
            assert.equal(p.offset, i + 1);
            assert.equal(p.data.n, i + 1);
            assert.equal(p.data.pad.length, i + 1);
        });

        const back = await apiRead('many:a', { limit: 700, reverse: true });

        assert.deepEqual(back.publications,
                         r.publications.slice(300).reverse());
        assert.deepEqual((await apiRead('many:a',
            { limit: 10, since: { offset: 500 } })).publications,
            r.publications.slice(500, 510));
    });

    await s.all();
    api.close();

    await s.serial('what expired is freed', async () => {
        await until('bytes of histories to be freed', async () => {
            const { body } = await server.get('/metrics');
            const n = /^centrifugo_hub_expired_total\{[^}]*kind="history"[^}]*\} (\d+)$/m
                .exec(body);

            return n && Number(n[1]) >= 2;
        }, 5000, 100);
    });
});
