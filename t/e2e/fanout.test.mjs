/*
 * 10,000 messages from several connections to 200 subscribers in two
 * workers, at most 64 ahead of the slowest: each gets each exactly once and
 * in the order of its publisher.
 */

import assert from 'node:assert/strict';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers } from './lib/client.mjs';
import { until, within } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const MESSAGES = 10000;
const SUBSCRIBERS = 200;
const PUBLISHERS = 4;
const AHEAD = 64;
const BATCH = 8;


suite('fan-out', { timeout: 180000 }, async (s) => {
    const server = await s.start({
        hub: 'client_insecure on; api_insecure on;', zone: '32m',
    });

    const num = (what) => server.metric(`centrifugo_node_num_${what}`);
    const pids = server.workers();
    const list = [];

    await s.serial('subscribers in both workers', async () => {
        list.push(...await onAllWorkers(pids, 50,
            () => Client.connect(server.ws()), SUBSCRIBERS));

        while (list.length < SUBSCRIBERS) {
            list.push(await Client.connect(server.ws()));
        }

        await Promise.all(list.map((c) => c.subscribe('fan')));

        assert.equal(await num('clients'), SUBSCRIBERS);
        assert.equal(await num('subscriptions'), SUBSCRIBERS);
        assert.equal(await num('channels'), 1);
    });

    await s.serial('each message exactly once, in order', async () => {
        let wrong = null;

        for (const c of list) {
            c.count = 0;
            c.next = new Array(PUBLISHERS).fill(0);

            /* no JSON.parse for two million lines */

            c.take = (text) => {
                for (const line of text.split('\n')) {
                    if (line === '{}') {
                        c.frame('{}');
                        continue;
                    }

                    const m = /^\{"push":\{"channel":"fan","pub":\{"data":\{"p":(\d),"n":(\d+)\}\}\}\}$/
                        .exec(line);

                    if (!m || c.next[m[1]] !== Number(m[2])) {
                        wrong = wrong || `${line} instead of `
                                + JSON.stringify(c.next);
                        continue;
                    }

                    c.next[m[1]]++;
                    c.count++;
                }
            };
        }

        const slowest = () => list.reduce((k, c) => Math.min(k, c.count),
                                          MESSAGES);
        let published = 0;
        let lag = 0;

        /* taken before the request, so that 64 is never passed */

        const room = (n) => until('the slowest subscriber', () => {
            if (wrong) {
                throw new Error(wrong);
            }

            const k = slowest();

            lag = Math.max(lag, published - k);

            if (published + n - k > AHEAD) {
                return false;
            }

            published += n;
            return true;
        }, 20000, 1);

        await Promise.all(Array.from({ length: PUBLISHERS }, async (_, p) => {
            const api = apiOf(server);
            const mine = MESSAGES / PUBLISHERS;
            const batch = p % 2 ? BATCH : 1;

            for (let n = 0; n < mine; ) {
                const k = Math.min(batch, mine - n);

                await room(k);

                if (batch === 1) {
                    await api.publish('fan', { p, n });

                } else {
                    const replies = await api.commands(
                        ...Array.from({ length: k }, (_, i) => ({
                            id: n + i + 1, method: 'publish', params: {
                                channel: 'fan', data: { p, n: n + i } } })));

                    replies.forEach((r, i) => assert.deepEqual(r,
                        { id: n + i + 1, result: {} }));
                }

                n += k;
            }

            api.close();
        }));

        await until('all messages at all subscribers',
                    () => wrong || slowest() === MESSAGES, 20000);

        /* and none behind them */

        await server.request('POST', '/api/publish', { body: JSON.stringify(
            { channel: 'other', data: 1 }) });
        await Promise.all(list.map((c) => within(5000, 'a pong frame',
            new Promise((ok) => { c.ws.once('pong', ok); c.ws.ping(); }))));

        assert.equal(wrong, null);
        assert.ok(lag <= AHEAD, `${lag} ahead`);

        for (const c of list) {
            assert.equal(c.count, MESSAGES);
            assert.equal(c.end, null);
        }
    }, 120000);

    await s.serial('the metrics agree', async () => {
        assert.equal(await num('clients'), SUBSCRIBERS);
        assert.equal(await num('subscriptions'), SUBSCRIBERS);
        assert.equal(await num('channels'), 1);

        list.forEach((c, i) => (i % 2 ? c.terminate() : c.ws.close()));

        for (const what of ['clients', 'subscriptions', 'channels']) {
            await until(`no ${what}`, async () => await num(what) === 0,
                        8000);
        }
    });
});
