/*
 * What a subscription, a channel and a token cost.
 */

import assert from 'node:assert/strict';
import fs from 'node:fs';

import { Client } from './lib/client.mjs';
import { jwt, now } from './lib/jwt.mjs';
import { sleep } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const CLIENTS = 2000;
const CHANNELS = 10;
const TOKENS = 20000;
const RECOVERIES = 5000;
const TICK = 10000;                     /* us, of /proc/PID/stat */


suite('costs', { timeout: 58000 }, async (s) => {
    if (process.env.NGINX_LD_PRELOAD) {
        return;                         /* sanitizers cost more */
    }

    const server = await s.start({
        zone: '32m', workers: 1,
        hub: `token_hmac_secret_key secret; api_insecure on;
            message_size_limit 1m;
            allow_subscribe_for_client on;
            namespace kept { allow_subscribe_for_client on;
                history_size 100; history_ttl 10m; force_recovery on; }`,
    });
    const token = jwt({ sub: '42', exp: now() + 1000 });
    const connect = () => Client.connect(server.ws(), { connect: { token } });
    const list = [];

    const zone = async () => {
        const { body } = await server.get('/metrics');

        return Number(/zone_used_bytes\{[^}]*kind="channels"\} (\d+)/
            .exec(body)[1]);
    };

    const all = async (f) => {
        for (let i = 0; i < list.length; i += 200) {
            await Promise.all(list.slice(i, i + 200).map(
                (c, n) => f(c, i + n)));
        }
    };

    const subscribing = async (name) => {
        const before = server.anonymousMemory();
        const zoned = await zone();

        await all(async (c, n) => {
            c.send(...Array.from({ length: CHANNELS }, (_, i) => ({
                id: 1000 + i, subscribe: { channel: name(n, i) } })));
            await c.settle();
        });
        await sleep(1500);

        return [(server.anonymousMemory() - before) / CLIENTS / CHANNELS,
                (await zone() - zoned) / CLIENTS / CHANNELS];
    };

    await s.serial('connections', async () => {
        for (let i = 0; i < CLIENTS; i += 200) {
            list.push(...await Promise.all(Array.from({ length: 200 },
                                                      connect)));
        }

        await all((c) => c.settle());
        await sleep(1000);
    });

    await s.serial('a subscription', async () => {
        const [first] = await subscribing((n, i) => `warm${i}`);
        const [bytes] = await subscribing((n, i) => `same${i}`);

        assert.ok(bytes <= 96, `${bytes} bytes (${first} before)`);
    });

    await s.serial('a channel with one subscriber', async () => {
        const [bytes, zoned] = await subscribing((n, i) => `own${n}.${i}`);

        assert.ok(bytes <= 256 + 96, `${bytes} bytes in the worker`);
        assert.ok(zoned <= 192 + 16, `${zoned} bytes in the zone`);
    });

    await s.serial('a subscription with a position', async () => {
        await subscribing((n, i) => `kept:warm${i}`);

        const [bytes] = await subscribing((n, i) => `kept:same${i}`);

        assert.ok(bytes <= 96 + 24, `${bytes} bytes`);
    });

    const cpu = () => {
        const f = fs.readFileSync(`/proc/${server.workers()[0]}/stat`,
                                  'utf8').split(') ')[1].split(' ');

        return (Number(f[11]) + Number(f[12])) * TICK;
    };

    await s.serial('recovery of 100 publications', async () => {
        const channel = 'kept:recovery';
        const data = 'x'.repeat(126);
        const c = list[0];

        for (let i = 0; i < 100; i++) {
            await server.request('POST', '/api/publish',
                { body: JSON.stringify({ channel, data }) });
        }

        const before = cpu();

        for (let i = 0; i < RECOVERIES; i += 20) {
            c.send(...Array.from({ length: 20 }, (_, k) => [
                { id: 1000 + k, subscribe: { channel, recover: true } },
                { id: 2000 + k, unsubscribe: { channel } }]).flat());

            const lines = await c.settle();

            assert.ok(lines.every((l, k) => k % 2
                || l.includes('"recovered":true')));
        }

        const took = (cpu() - before) / RECOVERIES;

        console.log(`# ${took} us for a recovery`);
        assert.ok(took <= 200, `${took} us`);
    });

    await s.serial('a token', async () => {
        const c = list[0];
        const before = cpu();

        for (let i = 0; i < TOKENS; i += 500) {
            c.send(...Array.from({ length: 500 }, (_, k) => ({
                id: 100000 + i + k, refresh: { token } })));
            await c.settle(20000);
        }

        const took = (cpu() - before) / TOKENS;

        assert.ok(took <= 25, `${took} us`);
        list.forEach((x) => x.terminate());
    });
});
