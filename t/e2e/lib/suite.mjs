/*
 * One test file: servers, a table of cases, and at the end a look at how the
 * servers fared.
 */

import test from 'node:test';

import { held, Server } from './server.mjs';


/*
 * suite(name, {concurrency, timeout}, async (s) => { ... })
 *
 * s.start(options)  a running Server, ended and judged with the suite
 * s.done(server)    it has been finished already
 * s.it(name, fn)    a case; up to `concurrency` of them run at a time
 * s.all()           waits for the cases so far
 * s.serial(name,fn) a case that runs alone, after those before it
 */
export function suite(name, { concurrency = 1, timeout = 120000 }, body) {
    test(name, { concurrency: concurrency + 1, timeout }, async (t) => {
        const servers = [];
        const free = [];
        let running = [];
        let slots = concurrency;

        const take = () => (slots > 0 ? (slots--, null)
            : new Promise((ok) => free.push(ok)));
        const give = () => (free.length ? free.shift()() : slots++);

        const s = {
            async start(options) {
                const server = new Server(options);

                servers.push(server);
                return server.start();
            },

            /* one that was ended and judged by its case */

            done(server) {
                servers.splice(servers.indexOf(server), 1);
            },

            it(title, fn, limit = 30000) {
                const run = async () => {
                    await take();

                    try {
                        await t.test(title, { timeout: limit }, fn);
                    } finally {
                        give();
                    }
                };

                running.push(run());
            },

            async all() {
                const list = running;

                running = [];
                await Promise.all(list);
            },

            async serial(title, fn, limit = 60000) {
                await s.all();
                await t.test(title, { timeout: limit }, fn);
            },
        };

        const finish = async () => {
            const wrong = [];

            for (const end of held) {
                end();
            }

            for (const server of servers) {
                try {
                    await server.finish();
                } catch (e) {
                    wrong.push(e.message);
                }
            }

            if (wrong.length) {
                throw new Error(wrong.join('\n'));
            }
        };

        try {
            await body(s);
            await s.all();
        } finally {
            await t.test('servers end and their logs are clean',
                         { timeout: 60000 }, finish);
        }
    });
}
