/*
 * Thousands of clients come to a presence channel and go, and a worker is
 * killed on the way. When all are still, presence is what is the case; whoever
 * was there to see it was told of each join and each leave once, by turns.
 *
 * PRESENCE_CLIENTS and PRESENCE_SECONDS (10000 and 30) make it longer.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { sleep, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const CFLOAD = path.join(path.dirname(fileURLToPath(import.meta.url)),
                         '../../build/bench/cfload');

const CLIENTS = Number(process.env.PRESENCE_CLIENTS || 2000);
const SECONDS = Number(process.env.PRESENCE_SECONDS || 8);
const LIMIT = 120000 + SECONDS * 1000;


suite('presence churn', { timeout: 2 * LIMIT }, async (s) => {
    assert.ok(fs.existsSync(CFLOAD), `no ${CFLOAD}: run "make -C bench"`);

    await s.serial('one channel, users of the URL', () => churn(s, {
        hub: 'client_insecure on; user $arg_user;',
        load: ['--channel', 'room', '--observers',
               String(CLIENTS > 5000 ? 20 : 10)],
    }), LIMIT);

    await s.serial('four channels, tokens and long infos', () => churn(s, {
        hub: 'token_hmac_secret_key secret; channel_limit 10;'
             + 'allow_subscribe_for_client on;'
             + 'allow_presence_for_subscriber on;',
        load: ['--channels', 'room%d', '--channel-count', '4', '--subs', '2',
               '--token-secret', 'secret', '--info', '1200', '--observers',
               '8'],
        clients: CLIENTS / 4,
    }), LIMIT);
});


async function churn(s, { hub, load, clients = CLIENTS }) {
    const server = await s.start({
        zone: '256m',
        connections: 2 * CLIENTS + 1024,
        hub: 'api_insecure on; presence on; join_leave on; queue_max_size 64m;'
             + 'ping_interval 120s;' + hub,
    });

    server.allow(/exited on signal 9/);

    const rate = Math.min(500, clients / 4);
    const child = spawn(CFLOAD, ['--url', server.ws(),
        '--clients', String(clients), '--procs', '2', '--reconnect',
        '--presence', '--presence-rate', '2',
        '--users', String(Math.ceil(clients / 3)),
        '--churn', String(rate),
        '--churn-mode', 'toggle', '--duration', String(SECONDS),
        '--settle', '5', '--timeout', '30', '--pause', ...load]);
    let out = '';
    let err = '';

    child.stdout.on('data', (b) => { out += b; });
    child.stderr.on('data', (b) => { err += b; });

    const ended = new Promise((ok) => child.on('close', ok));
    const seen = (what) => until(`cfload: ${what}\n${err}`, () =>
        err.includes(`cfload: ${what}\n`) || child.exitCode !== null,
        60000 + SECONDS * 1000, 50);
    const metrics = {};

    try {
        await seen('run');
        await sleep(SECONDS * 400);
        process.kill(server.workers()[0], 'SIGKILL');
        await seen('pause');

        for (const what of ['clients', 'users', 'subscriptions', 'channels']) {
            metrics[what] = await server.metric(
                `centrifugo_node_num_${what}`);
        }
    } finally {
        child.stdin.end();
        await ended;
    }

    assert.ok(out, err);

    const r = JSON.parse(out);
    const p = r.presence;

    console.log(`# ${r.churned} churned, ${r.reconnects} came back, `
                + `${p.joins} joins, ${p.leaves} leaves, ${p.whole} of `
                + `${p.observers} observers there all the time, `
                + `${p.replies} replies`);

    /* nothing but what the kill explains */

    assert.equal(r.open_at_end, clients, err);

    for (const what of ['protocol_errors', 'stray', 'no_ping']) {
        assert.equal(r[what], 0, `${what}\n${err}`);
    }

    assert.deepEqual([r.closes, r.unsubscribes, r.errors], [{}, {}, {}]);
    assert.ok(r.broken > clients / 8, `${r.broken} broken by the kill`);
    assert.ok(r.reconnects > r.broken);

    /* joins and leaves */

    assert.ok(r.churned > SECONDS * rate / 2, `${r.churned} churned`);
    assert.ok(p.whole > 0 && p.whole < p.observers, `${p.whole} whole`);

    for (const what of ['disordered', 'misstated', 'strangers', 'missing',
                        'surplus', 'twice', 'miscounted', 'unanswered'])
    {
        assert.equal(p[what], 0, `${what}\n${err}`);
    }

    assert.ok(p.subscriptions < clients * r.config.subs * 0.95,
              `${p.subscriptions} are there: nobody went`);
    assert.deepEqual(metrics, {
        clients: p.clients, users: p.users, subscriptions: p.subscriptions,
        channels: p.channels,
    });

    const metric = (name) => server.metric(`centrifugo_${name}`);

    assert.equal(await metric('hub_shard_wipes'), 0);
    assert.equal(await metric('hub_log_overruns_total'), 0);
    assert.equal(r.ok, true, err);

    /* all are gone, and what they had is */

    for (const what of Object.keys(metrics)) {
        await until(`no ${what}`, async () =>
            await metric(`node_num_${what}`) === 0, 8000);
    }

    assert.match((await server.get('/metrics')).body,
                 /zone_used_bytes\{hub="main",kind="channels"\} 0\n/);
    await server.finish();
    s.done(server);
}
