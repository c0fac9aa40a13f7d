/*
 * Descriptors of the master, when reloads take the last hub away and bring
 * one again.
 */

import assert from 'node:assert/strict';
import fs from 'node:fs';

import { Client } from './lib/client.mjs';
import { sleep, TEST_MODULE, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';


suite('bells', { concurrency: 3, timeout: 120000 }, async (s) => {

    /* What the master has open. */

    const open = (server) => {
        const dir = `/proc/${server.child.pid}/fd`;

        return fs.readdirSync(dir).map((fd) => {
            try {
                return fs.readlinkSync(`${dir}/${fd}`);
            } catch {
                return '';
            }
        });
    };

    const bells = (server) => open(server)
        .filter((name) => /eventfd/.test(name)).length;

    /* Without a hub, and without the module too. */

    const without = (server, module) => {
        const text = server.conf()
            .replace(/centrifugo_hub main .*/, '')
            .replace(/.*centrifugo_(websocket|health|metrics).*/g, '')
            .replace(/location \/api \{[^}]*\}/, '');

        return module ? text : text.replace(/load_module .*/, '');
    };

    const reload = async (server, text) => {
        const old = server.workers();

        fs.writeFileSync(server.confFile, text);
        server.signal('SIGHUP');
        await until('new workers', () => server.workers()
            .filter((p) => !old.includes(p)).length === 2);
        await until('the master to have done with the reload',
                    async () => await server.workersSeen(20) === 2);
    };

    for (const module of [true, false]) {
        s.it(`hubs go and come${module ? '' : ', and so does the module'}`,
            async () => {
                const server = await s.start({
                    hub: 'client_insecure on; api_insecure on; '
                        + 'drain_time 1s;',
                });
                const made = bells(server);
                const all = open(server).length;

                assert.ok(made >= 32, `${made}`);

                for (let i = 0; i < 4; i++) {
                    await reload(server, without(server, module));
                    await until('all to be closed',
                                () => bells(server) === 0, 3000);

                    await reload(server, server.conf());
                    await until('all to be there', () => bells(server) === made,
                                3000);

                    await reload(server, server.conf());
                    await sleep(100);
                    assert.equal(bells(server), made);
                }

                await until('old workers to end, with their channels',
                            () => server.workers().length === 2
                                && open(server).length <= all, 8000);
            }, 60000);
    }

    s.it('clients of the hub that goes are still served', async () => {
        const server = await s.start({
            module: TEST_MODULE,
            hub: 'client_insecure on; api_insecure on; drain_time 1h;',
            shutdown: '5s',
        });
        const list = [];

        for (let i = 0; i < 8; i++) {
            const c = await Client.connect(server.ws());

            await c.subscribe('news');
            list.push(c);
        }

        await reload(server, without(server, true));
        await until('all to be closed', () => bells(server) === 0, 3000);

        const begin = Date.now();

        list[0].send({ id: 77, publish: { channel: 'news', data: 5 } });

        for (const c of list.slice(1)) {
            for ( ;; ) {
                const m = await c.json();

                if (m.push && m.push.pub) {
                    assert.equal(m.push.pub.data, 5);
                    break;
                }

                if (m.push && m.push.disconnect) {
                    break;
                }
            }
        }

        assert.ok(Date.now() - begin < 700, 'a tick, not a bell');
        list.forEach((c) => c.terminate());
    });
});
