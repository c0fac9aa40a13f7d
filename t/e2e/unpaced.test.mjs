/*
 * As fast as it goes: 100,000 publications of four publishers to 200 clients
 * of two workers, 20 million deliveries. Each is right, once and in order, or
 * its client was told that it is slow; nothing else happens.
 */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { suite } from './lib/suite.mjs';

const CFLOAD = path.join(path.dirname(fileURLToPath(import.meta.url)),
                         '../../build/bench/cfload');


suite('unpaced', { timeout: 180000 }, async (s) => {
    assert.ok(fs.existsSync(CFLOAD), `no ${CFLOAD}: run "make -C bench"`);

    const server = await s.start({
        zone: '64m',
        hub: 'client_insecure on; api_insecure on;',
    });

    const load = (...options) => new Promise((ok, fail) => {
        execFile(CFLOAD, ['--url', server.ws(), '--clients', '200',
            '--channel', 'news', '--api', `${server.http}/api`,
            '--publishers', '4', '--pub-rate', '0', '--settle', '10',
            '--pid', String(server.child.pid), ...options],
        (error, out, err) => (out ? ok(JSON.parse(out)) : fail(error || err)));
    });

    const metric = (name) => server.metric(`centrifugo_hub_${name}`);

    for (const [name, count, ...options] of [
        ['one publication in a body', 30000],
        ['ten in a body', 100000, '--batch', '10'],
    ]) {
        await s.serial(name, async () => {
            const slow = await metric('slow_total');
            const r = await load('--count', String(count), ...options);

            assert.deepEqual(
                [r.published, r.acked, r.api_errors, r.lost, r.doubled,
                 r.reordered, r.damaged, r.stray, r.protocol_errors, r.broken,
                 r.no_ping],
                [count, count, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

            for (const code of Object.keys(r.closes)) {
                assert.ok(code === '3008' || code === '3009', code);
            }

            if (Object.keys(r.closes).length === 0) {
                assert.equal(r.deliveries, count * 200);
                assert.equal(await metric('slow_total'), slow);
            }

            assert.equal(await metric('log_overruns_total'), 0);
        }, 120000);
    }
});
