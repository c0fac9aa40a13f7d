/*
 * How long an old worker may keep its clients, and what can't be reloaded.
 */

import assert from 'node:assert/strict';

import { apiOf } from './lib/api.mjs';
import { Client } from './lib/client.mjs';
import { sleep, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const CLIENTS = 12;


suite('drain', { concurrency: 4, timeout: 120000 }, async (s) => {

    const open = async (server) => {
        const list = [];

        for (let i = 0; i < CLIENTS; i++) {
            list.push(await Client.connect(server.ws()));
            await list[i].subscribe('news');
        }

        return list;
    };

    /* When each was told to leave, in ms after the signal. */

    const leave = async (server, list, ms) => {
        const begin = Date.now();
        const old = server.workers();

        server.signal('SIGHUP');

        const at = await Promise.all(list.map(async (c) => {
            const end = await c.untilClosed(ms);

            assert.deepEqual([end.code, end.reason], [3001, 'shutdown']);
            return Date.now() - begin;
        }));

        await until('the old workers to end',
                    () => !server.workers().some((p) => old.includes(p)),
                    3000);

        return at.sort((a, b) => a - b);
    };

    s.it('a zone of another size: within five seconds, to an empty hub',
        async () => {
            const server = await s.start({
                hub: 'client_insecure on; api_insecure on; drain_time 1h;',
                shutdown: '1h',
            });
            const list = await open(server);
            const zone = await server.metric('centrifugo_hub_zone_bytes');

            server.o.zone = '16m';
            server.writeConfig();

            const at = await leave(server, list, 7000);

            assert.ok(at[0] > 10 && at[CLIENTS - 1] > 1000,
                      `all at once: ${at}`);
            assert.match(server.log(),
                         /\[warn\].*hub "main" has another size/);
            assert.ok(await server.metric('centrifugo_hub_zone_bytes')
                      > zone * 1.9);
            assert.equal(await server.metric('centrifugo_node_num_clients'),
                         0);
            assert.equal(await server.metric('centrifugo_node_num_channels'),
                         0);

            const c = await Client.connect(server.ws());

            await c.subscribe('news');
            await apiOf(server, { keep: false }).publish('news', 1);
            assert.equal((await c.json()).push.pub.data, 1);
            c.terminate();
        });

    s.it('worker_shutdown_timeout bounds drain_time', async () => {
        const server = await s.start({
            hub: 'client_insecure on; api_insecure on; drain_time 1h;',
            shutdown: '5s',
        });
        const list = await open(server);
        const at = await leave(server, list, 5000);

        assert.ok(at[CLIENTS - 1] > 1000, `all at once: ${at}`);
    });

    s.it('drain_time 0 sends all away at once', async () => {
        const server = await s.start({
            hub: 'client_insecure on; api_insecure on; drain_time 0;',
        });
        const at = await leave(server, await open(server), 2000);

        assert.ok(at[CLIENTS - 1] < 1500, `${at}`);
    });

    s.it('more and fewer workers', async () => {
        const server = await s.start({
            workers: 2,
            hub: 'client_insecure on; api_insecure on; drain_time 1s;',
        });

        for (const n of [5, 1, 3]) {
            const list = await open(server);

            server.o.workers = n;
            server.writeConfig();
            await leave(server, list, 4000);
            await until(`${n} workers`, () => server.workers().length === n);

            const { body } = await server.get('/metrics');

            assert.match(body, new RegExp(
                `workers\\{hub="main",state="live"\\} ${n}\n`));

            const c = await Client.connect(server.ws());

            await c.subscribe('news');
            await apiOf(server, { keep: false }).publish('news', n);
            assert.equal((await c.json()).push.pub.data, n);
            c.terminate();
        }
    });

    s.it('a worker without a slot answers 503', async () => {
        const server = await s.start({
            workers: 1,
            hub: 'client_insecure on; api_insecure on; drain_time 0;',
        });

        server.allow(/no free slot/);

        /* the zone was made for one worker: 64 slots */

        server.o.workers = 70;
        server.writeConfig();
        server.signal('SIGHUP');
        await until('70 workers', () => server.workers().length === 70,
                    10000);

        const seen = new Set();
        const health = async () => {
            const { status } = await server.get('/health');

            seen.add(status);
        };

        await until('a worker without a slot', async () => {
            await health();
            return seen.has(503) && seen.has(200);
        }, 20000, 0);

        assert.match(server.log(), /\[error\].*no free slot for this worker/);

        /* who polls, since it has no doorbell, hears as well */

        assert.match(server.log(), /no doorbell for slot \d+/);

        const list = [];

        while (list.length < 60) {
            try {
                list.push(await Client.connect(server.ws()));
                await list[list.length - 1].subscribe('news');
            } catch (e) {
                assert.match(e.message, /503/);
            }
        }

        const api = apiOf(server, { keep: false });

        await until('a publish', () => api.publish('news', 1)
            .then(() => true, () => false));

        for (const c of list) {
            assert.equal((await c.json()).push.pub.data, 1);
            c.terminate();
        }

        /* slots are taken up as soon as they are free */

        server.o.workers = 2;
        server.writeConfig();
        server.signal('SIGHUP');
        await until('two workers', () => server.workers().length === 2,
                    10000);
        await until('both to have a slot', async () => {
            const { body } = await server.get('/metrics');

            return /workers\{hub="main",state="live"\} 2\n/.test(body);
        }, 5000);
    });

    s.it('one process: a reload is refused, all goes on', async () => {
        const server = await s.start({
            workers: 1, master: 'off',
            hub: 'client_insecure on; api_insecure on;',
        });
        const api = apiOf(server, { keep: false });
        const list = await open(server);

        server.allow(/\[emerg\].*can't be reloaded with "master_process off"/);

        for (const zone of ['8m', '16m']) {
            server.o.zone = zone;
            server.writeConfig();

            const had = server.log().split('[emerg]').length;

            server.signal('SIGHUP');
            await until('the error line',
                        () => server.log().split('[emerg]').length > had);
            await sleep(100);
            await api.publish('news', zone);

            for (const c of list) {
                assert.equal((await c.json()).push.pub.data, zone);
            }
        }

        for (const c of list) {
            c.terminate();
        }
    });

    await s.all();
});
