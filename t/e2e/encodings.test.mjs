/*
 * The load generator in all encodings, compressed and not: each delivery is
 * checked byte for byte, and presence against who is there.
 */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { apiOf } from './lib/api.mjs';
import { suite } from './lib/suite.mjs';

const CFLOAD = path.join(path.dirname(fileURLToPath(import.meta.url)),
                         '../../build/bench/cfload');

const KINDS = [[], ['--protobuf'], ['--deflate'], ['--protobuf', '--deflate']];


suite('load in all encodings', { timeout: 120000 }, async (s) => {
    assert.ok(fs.existsSync(CFLOAD), `no ${CFLOAD}: run "make -C bench"`);

    const server = await s.start({
        zone: '32m', tls: true,
        hub: `client_insecure on; api_insecure on; websocket_compression on;
              presence on; join_leave on; user $arg_user;`,
    });
    const api = apiOf(server);

    const load = (url, ...options) => new Promise((ok, fail) => {
        execFile(CFLOAD, ['--url', url, '--clients', '100', ...options],
        (error, out, err) => (out ? ok(JSON.parse(out)) : fail(error || err)));
    });

    for (const url of [server.ws(), server.wss()]) {
        for (const kind of url === server.ws() ? KINDS : KINDS.slice(3)) {
            await s.serial(`${url.slice(0, 3)} ${kind.join(' ')}`, async () => {
                const r = await load(url, '--api', `${server.http}/api`,
                    '--channel', 'news', '--size', '600', '--pub-rate', '400',
                    '--count', '400', ...kind);

                assert.ok(r.ok, JSON.stringify(r));
                assert.equal(r.deliveries, 400 * 100);
                assert.equal(r.deflated > 400 * 90,
                             kind.includes('--deflate'), `${r.deflated}`);
            });
        }
    }

    for (const kind of KINDS.slice(0, 2)) {
        await s.serial(`presence ${kind.join(' ')}`, async () => {
            const r = await load(server.ws(), '--presence', '--observers', '5',
                '--channel', 'room', '--users', '30', '--churn', '50',
                '--churn-mode', 'toggle', '--presence-rate', '2',
                '--duration', '2', '--reconnect', '--settle', '1', ...kind);
            const p = r.presence;

            assert.ok(r.ok, JSON.stringify(r));
            assert.ok(p.joins > 0 && p.whole === 5);
            assert.deepEqual([p.missing, p.surplus, p.twice, p.miscounted,
                              p.misstated, p.disordered, p.strangers],
                             [0, 0, 0, 0, 0, 0, 0]);
        });
    }

    api.close();
});
