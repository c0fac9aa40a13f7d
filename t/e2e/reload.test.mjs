/*
 * SIGHUP under connected clients of the official SDK.
 */

import assert from 'node:assert/strict';
import fs from 'node:fs';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers } from './lib/client.mjs';
import { Raw } from './lib/raw.mjs';
import { connected, endAll, sdkOf, subscribed } from './lib/sdk.mjs';
import { held, sleep, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const DRAIN = 2000;


suite('reload', { timeout: 120000 }, async (s) => {
    const server = await s.start({
        hub: `client_insecure on; api_insecure on; drain_time ${DRAIN}ms;`,
    });

    /* API calls on new connections: they go to the newest workers. */

    const api = apiOf(server, { keep: false });
    const num = (what) => server.metric(`centrifugo_node_num_${what}`);
    const alive = (pid) => server.workers().includes(pid);

    /* A case does not suffer from what the one before it left behind. */

    const it = (name, fn) => s.serial(name, async () => {
        for (const end of held) {
            end();
        }

        await until('two workers', () => server.workers().length === 2,
                    15000);
        await until('no clients', async () => await num('clients') === 0,
                    15000);
        await fn();
    });

    /* The newest workers, when they all answer. */

    const renewed = (old) => until('new workers', async () => {
        const all = server.workers().filter((p) => !old.includes(p));

        return all.length === 2 && !old.includes(Number(
            (await server.get('/pid')).body)) && all;
    }, 8000);

    const clients = (n) => onAllWorkers(server.workers(), n, async () => {
        const sdk = sdkOf(server.ws());

        sdk.got = [];
        sdk.lost = [];
        sdk.sub = sdk.newSubscription('news');
        sdk.sub.on('publication', (ctx) => sdk.got.push(ctx.data));
        sdk.on('connecting', (ctx) => sdk.lost.push({
            ...ctx, at: Date.now() }));
        await connected(sdk);
        await subscribed(sdk.sub);
        sdk.lost.length = 0;
        return sdk;
    });

    await it('clients move to the new workers with 3001', async () => {
        const list = await clients(10);
        const old = server.workers();

        await api.publish('news', 'before');

        for (const sdk of list) {
            await until('a publication', () => sdk.got.length === 1);
        }

        const begin = Date.now();

        server.signal('SIGHUP');

        const fresh = await renewed(old);

        /*
         * The old workers belong to the hub until they are empty: what a new
         * worker publishes arrives there.
         */

        const staying = list.filter((sdk) => sdk.lost.length === 0);

        await api.publish('news', 'while draining');

        const heard = () => staying.filter(
            (sdk) => sdk.got.includes('while draining')
                     && sdk.workers.length === 1).length;

        assert.ok(staying.length > 0, 'all clients had gone at once');
        await until('old workers to deliver', () => heard() > 0, 2000);

        for (const sdk of list) {
            await until('a new connection', () => sdk.state === 'connected'
                && sdk.sub.state === 'subscribed' && sdk.lost.length > 0,
                DRAIN + 5000);
        }

        for (const sdk of list) {
            assert.equal(sdk.lost.length, 1);
            assert.equal(sdk.lost[0].code, 3001);
            assert.equal(sdk.lost[0].reason, 'shutdown');
            assert.ok(sdk.lost[0].at - begin < DRAIN + 2000,
                      `left after ${sdk.lost[0].at - begin} ms`);
            assert.ok(fresh.includes(sdk.worker),
                      `${sdk.worker} is none of ${fresh}`);
        }

        /* at random moments, not all at once */

        const at = list.map((sdk) => sdk.lost[0].at).sort((a, b) => a - b);

        assert.ok(at[at.length - 1] - at[0] > DRAIN / 4,
                  `all left within ${at[at.length - 1] - at[0]} ms`);

        await until('the old workers to end', () => !old.some(alive),
                    Math.max(0, begin + DRAIN + 4000 - Date.now()));

        list.forEach((sdk) => { sdk.got.length = 0; });

        for (let i = 0; i < 20; i++) {
            await api.publish('news', i);
        }

        const want = Array.from({ length: 20 }, (_, i) => i);

        for (const sdk of list) {
            await until('publications after the reload',
                        () => sdk.got.length >= 20);
            assert.deepEqual(sdk.got, want);
        }

        assert.equal(await num('clients'), list.length);
        assert.equal(await num('subscriptions'), list.length);
        assert.equal(await num('channels'), 1);
        endAll();
        await until('no clients', async () => await num('clients') === 0);
    });

    await it('no publication is lost on a living connection',
        async () => {
            const list = await clients(5);
            const old = server.workers();
            let n = 0;
            let stop = false;

            const feed = (async () => {
                while (!stop) {
                    await api.publish('news', ++n);
                    await sleep(2);
                }
            })();

            feed.catch(() => {});

            /* what each connection received, one list for each */

            for (const sdk of list) {
                sdk.runs = [[]];
                sdk.sub.on('publication', (ctx) =>
                    sdk.runs[sdk.runs.length - 1].push(ctx.data));
                sdk.sub.on('subscribed', () => sdk.runs.push([]));
            }

            try {
                await sleep(200);
                server.signal('SIGHUP');
                await renewed(old);
                await until('the old workers to end', () => !old.some(alive),
                            DRAIN + 5000);
                await sleep(300);
            } finally {
                stop = true;
            }

            await feed;

            for (const sdk of list) {
                const all = () => sdk.runs[sdk.runs.length - 1];

                await until('the last publication',
                    () => all()[all().length - 1] === n);
                assert.equal(sdk.runs.length, 2);

                for (const run of sdk.runs) {
                    for (let i = 1; i < run.length; i++) {
                        assert.equal(run[i], run[i - 1] + 1);
                    }
                }

                assert.ok(sdk.runs[0].length > 20);
            }

            endAll();
            await until('no clients', async () => await num('clients') === 0);
        });

    await it('plain clients get the close frame', async () => {
        const list = await onAllWorkers(server.workers(), 3,
            () => Client.connect(server.ws()));
        const idle = await onAllWorkers(server.workers(), 1,
            () => Client.open(server.ws()));
        const old = server.workers();
        const begin = Date.now();

        server.signal('SIGHUP');

        for (const c of [...list, ...idle]) {
            const end = await c.untilClosed(DRAIN + 4000);

            assert.deepEqual([end.code, end.reason, end.lines],
                             [3001, 'shutdown', []]);
        }

        assert.ok(Date.now() - begin < DRAIN + 2500);
        await until('the old workers to end', () => !old.some(alive), 4000);
    });

    await it('a draining worker serves its clients', async () => {
        const list = await onAllWorkers(server.workers(), 6,
            () => Client.connect(server.ws()));
        const old = server.workers();

        server.signal('SIGHUP');
        await renewed(old);

        let served = 0;

        for (const c of list) {
            try {
                await c.subscribe('drain');
                await c.call({ publish: { channel: 'drain', data: 1 } });
                served++;
            } catch (e) {
                assert.match(e.message, /3001/);
            }
        }

        assert.ok(served > 0, 'all clients had gone');
        await Promise.all(list.map((c) => c.untilClosed(DRAIN + 4000)));
        await until('the old workers to end', () => !old.some(alive), 4000);
    });

    await it('a wrong configuration changes nothing', async () => {
        const list = await clients(2);
        const old = server.workers();
        const conf = fs.readFileSync(server.confFile, 'utf8');

        server.allow(/\[emerg\].*(nonsense|hub "missing"|"missing"|zone)/);

        for (const wrong of [
            conf.replace('events {', 'nonsense on;\nevents {'),
            conf.replace('centrifugo_websocket main',
                         'centrifugo_websocket missing'),
            conf.replace('zone 8m', 'zone 1k'),
        ]) {
            const lines = () =>
                (server.log().match(/\[emerg\]/g) || []).length;
            const had = lines();

            assert.notEqual(wrong, conf);
            fs.writeFileSync(server.confFile, wrong);
            server.signal('SIGHUP');
            await until('the error line', () => lines() > had);
            await sleep(200);
            assert.deepEqual(server.workers(), old);
        }

        fs.writeFileSync(server.confFile, conf);
        await api.publish('news', 'still here');

        for (const sdk of list) {
            await until('the publication', () => sdk.got.length === 1);
            assert.deepEqual(sdk.got, ['still here']);
            assert.deepEqual(sdk.lost, []);
        }

        assert.equal(await num('clients'), list.length);
        endAll();
        await until('no clients', async () => await num('clients') === 0);
    });

    await it('an old connection is drained although it is silent',
        async () => {
            /*
             * Peers that never answer the close frame are waited for until
             * 2 s after drain_time, not for 5 s each.
             */

            const list = await onAllWorkers(server.workers(), 8,
                () => Raw.connect(server.port, '/connection/websocket'));
            const old = server.workers();

            server.signal('SIGHUP');

            for (const r of list) {
                assert.deepEqual(await r.closeFrame(DRAIN + 2000),
                                 { code: 3001, reason: 'shutdown' });
            }

            await until('the old workers to end', () => !old.some(alive),
                        3000);
        });

    await it('SIGQUIT drains too', async () => {
        const list = await onAllWorkers(server.workers(), 2,
            () => Client.connect(server.ws()));

        server.signal('SIGQUIT');

        for (const c of list) {
            const end = await c.untilClosed(DRAIN + 4000);

            assert.deepEqual([end.code, end.reason], [3001, 'shutdown']);
        }

        await until('NGINX to end', () => server.child.done, 5000);
        assert.deepEqual(server.child.done, { code: 0, signal: null });
        await server.run();
        assert.equal(await num('clients'), 0);
    });

    endAll();
});
