/*
 * Workers are killed under load: whoever is on a worker that lives gets every
 * publication once, in order, and what the dead left is cleared up.
 */

import assert from 'node:assert/strict';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers } from './lib/client.mjs';
import { sleep, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const KILLS = 6;


suite('kill -9', { timeout: 120000 }, async (s) => {
    const server = await s.start({
        workers: 4,
        hub: 'client_insecure on; api_insecure on;',
    });
    const api = apiOf(server, { keep: false });
    const num = (what) => server.metric(`centrifugo_node_num_${what}`);

    server.allow(/exited on signal 9/);

    const subscribe = async () => {
        const c = await Client.connect(server.ws());

        await c.subscribe('shared');
        return c;
    };

    for (let round = 0; round < KILLS; round++) {
        await s.serial(`worker ${round + 1} of ${KILLS}`, async () => {
            const pids = server.workers();

            assert.equal(pids.length, 4);

            const list = await onAllWorkers(pids, 3, subscribe);
            const victim = pids[round % pids.length];
            const closed = new Set();

            for (const c of list) {
                c.ws.on('close', () => closed.add(c));
            }

            /* numbers go on while the worker dies */

            const acked = [];
            let stop = false;

            const publisher = (async () => {
                for (let n = 0; !stop; n++) {
                    try {
                        await api.publish('shared', n);
                        acked.push(n);
                    } catch {
                        /* the call was on the worker that died */
                    }
                }
            })();

            await sleep(150);
            process.kill(victim, 'SIGKILL');

            /* what was on the dead worker is gone, the rest is listed */

            const listed = api.call('channels', {});

            await until('its clients to be gone', () => closed.size > 0);
            await sleep(400);
            stop = true;
            await publisher;
            assert.ok((await listed).result?.channels.shared,
                      JSON.stringify(await listed));
            await api.publish('shared', 'end');

            const living = list.filter((c) => !closed.has(c));

            assert.ok(living.length >= 9, `${living.length} living`);
            assert.ok(acked.length > 20);

            for (const c of living) {
                const got = [];

                for ( ;; ) {
                    const { data } = (await c.json()).push.pub;

                    if (data === 'end') {
                        break;
                    }

                    got.push(data);
                }

                for (let i = 1; i < got.length; i++) {
                    assert.ok(got[i] > got[i - 1], 'once and in order');
                }

                const set = new Set(got);

                assert.deepEqual(acked.filter((n) => !set.has(n)), [],
                                 'every acknowledged one');
                c.terminate();
            }

            /* slots, masks and gauges of the dead are cleared */

            await until('four workers', () => server.workers().length === 4);

            for (const what of ['clients', 'subscriptions', 'channels']) {
                await until(`no ${what}`, async () => await num(what) === 0,
                            6000);
            }
        });
    }
});
