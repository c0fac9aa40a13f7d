/*
 * Everything at random against a simple record of what is true: publishes with
 * all their options, subscribers that come, go and recover, expiry, removal,
 * workers killed, reloads.  Each view is without gap, double or wrong data, or
 * the client was told that it may have missed something.
 *
 * MODEL_SECONDS: 12 in the suite.
 */

import assert from 'node:assert/strict';

import { Follower, Record } from './lib/follower.mjs';
import { apiOf } from './lib/api.mjs';
import { hold, sleep, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const SECONDS = Number(process.env.MODEL_SECONDS || 12);

const OPEN = `allow_subscribe_for_client on; allow_subscribe_for_anonymous on;
    force_recovery on; allowed_delta_types fossil; delta_publish on;
    allow_tags_filter on;`;

const HUB = `api_insecure on; allow_anonymous_connect_without_token on;
    drain_time 500ms; ${OPEN} history_size 50; history_ttl 10m;
    namespace short { ${OPEN} history_size 50; history_ttl 1s;
        history_meta_ttl 2s; }
    namespace few { ${OPEN} history_size 3; history_ttl 10m; }`;

const CHANNELS = ['a', 'b', 'c', 'few:a', 'few:b', 'short:a', 'short:b'];
const FOLLOWERS = 28;
const PUBLISHERS = 4;

const pick = (list) => list[Math.floor(Math.random() * list.length)];
const chance = (p) => Math.random() < p;


suite('model', { concurrency: 1, timeout: SECONDS * 1000 + 40000 },
async (s) => {
    const server = await s.start({ zone: '32m', hub: HUB, workers: 3,
                                   shutdown: '3s' });
    const record = new Record();
    let n = 0;
    let stopped = false;

    server.allow(/exited on signal 9/);
    hold(() => { stopped = true; });

    const text = 'a document of which little changes from one to the next, '
        .repeat(6);

    const publisher = async () => {
        let api = apiOf(server);
        let version = 0;

        while (!stopped) {
            const channel = pick(CHANNELS);
            const data = { n: n++, text: chance(0.5) ? text
                           : text.slice(0, Math.random() * text.length),
                           e: 'é€😀'.slice(0, 1 + n % 4) };
            const tags = { t: pick(['x', 'y']), n: String(n) };
            const params = { channel, data, tags };
            const said = JSON.stringify(data);

            if (chance(0.05)) {
                params.skip_history = true;
                record.skipped.add(said);
            }

            const key = chance(0.2) ? `key ${n}` : undefined;

            if (key) {
                params.idempotency_key = key;
            }

            if (chance(0.02)) {

                /* it may be late: then it is suppressed */

                params.version = Date.now() * 1000 + n;
                params.version_epoch = `${process.pid}`;
            }

            record.unsure.set(said, tags);

            let last;

            for (let tries = 0; ; tries++) {
                try {
                    const { result, error } = await api.call('publish', params);

                    if (error) {
                        record.wrong.push(`publish: ${JSON.stringify(error)}`);
                        break;
                    }

                    if (key && last && JSON.stringify(last)
                        !== JSON.stringify(result))
                    {
                        record.wrong.push(`key: ${JSON.stringify(last)}, then `
                                          + JSON.stringify(result));
                    }

                    if (result.offset && !params.version) {
                        record.acknowledged(channel, result, said, tags);
                    }

                    /* the same key again, perhaps in another worker */

                    if (key && !last && channel[0] !== 's' && chance(0.5)) {
                        last = result;
                        record.count('keys again');
                        continue;
                    }

                    break;

                } catch {
                    record.count('publish without an answer');
                    api.close();
                    api = apiOf(server);

                    /* only with a key it is safe to say it again */

                    if (!key || stopped || tries > 20) {
                        break;
                    }

                    await sleep(50);
                }
            }

            await sleep(Math.random() * 8);
        }

        api.close();
    };

    const followers = [];

    const follow = async (i) => {
        const f = new Follower(record, server.ws(),
            CHANNELS[i % CHANNELS.length],
            { delta: i % 3 === 0, filter: i % 5 === 1 ? 'x' : undefined });

        followers.push(f);

        while (!stopped) {
            try {
                if (!f.client || f.client.end) {
                    f.live = false;
                    await f.connect();
                } else if (!f.live) {
                    await f.subscribe();
                }

                await sleep(Math.random() * 300);

                if (chance(0.3)) {
                    f.drop();
                } else if (chance(0.3)) {
                    await f.leave();
                }

                await sleep(Math.random() * (chance(0.2) ? 1500 : 100));

            } catch {

                /* its worker died, or leaves */

                f.drop();
                await sleep(30);
            }
        }
    };

    const trouble = async () => {
        const api = async (method, params) => {
            const a = apiOf(server, { keep: false });

            try {
                await a.call(method, params);
            } catch { /* killed */ }

            a.close();
        };

        for (let turn = 0; !stopped; turn++) {
            await sleep(500);

            if (stopped) {
                break;
            }

            if (turn % 3 === 0) {
                const pids = server.workers();

                if (pids.length === 3) {
                    process.kill(pick(pids), 'SIGKILL');
                    record.count('kills');
                }
            }

            if (turn % 7 === 5) {
                server.signal('SIGHUP');
                record.count('reloads');
            }

            if (turn % 4 === 2) {
                await api('history_remove', { channel: pick(CHANNELS) });
                record.count('removals');
            }
        }
    };

    await s.serial('views are as the record is', async () => {
        const running = [
            ...Array.from({ length: PUBLISHERS }, publisher),
            ...Array.from({ length: FOLLOWERS }, (_, i) => follow(i)),
            trouble(),
        ];

        await sleep(SECONDS * 1000);
        stopped = true;
        await Promise.all(running);

        await until('three workers', () => server.workers().length === 3,
                    10000, 100);

        /* who is there gets to the top of its stream */

        for (const f of followers) {
            await until(`${f.name} to subscribe`, async () => {
                try {
                    if (!f.client || f.client.end) {
                        await f.connect();
                    } else if (!f.live) {
                        await f.subscribe();
                    }

                    return f.live && f.client && !f.client.end;
                } catch {
                    f.drop();
                    return false;
                }
            });
        }

        const api = apiOf(server);

        for (const f of followers) {
            const { result } = await api.call('history',
                                              { channel: f.channel });

            await until(`${f.name} to be at the top`, () => f.filter
                || (f.position.epoch === result.epoch
                    && f.position.offset === result.offset), 3000)
                .catch(() => f.fail(`at ${JSON.stringify(f.position)} of `
                                    + JSON.stringify(result)));
            f.verify();

            for (const data of f.others) {
                if (!record.skipped.has(data)) {
                    f.fail(`nobody published ${data}`);
                }
            }
        }

        for (const channel of CHANNELS) {
            await record.kept(api, channel);
        }

        for (const [key, data] of record.known) {
            if (!record.unsure.has(data)) {
                record.wrong.push(`nobody published ${key} ${data}`);
            }
        }

        const { counts } = record;

        console.log(`# ${JSON.stringify(counts)}`);

        assert.deepEqual(record.wrong.slice(0, 10), []);
        assert.equal(await server.metric('centrifugo_hub_shard_wipes'), 0);

        const least = {
            published: 60, delivered: 200, subscribed: 10, recovered: 5,
            'not recovered': 0.5, 'recovered publications': 20, deltas: 20,
            kills: 0.4, reloads: 0.1, removals: 0.3, 'keys again': 2,
        };

        for (const [what, rate] of Object.entries(least)) {
            assert.ok(counts[what] >= rate * SECONDS,
                      `${counts[what]} ${what} in ${SECONDS} s`);
        }

        followers.forEach((f) => f.drop());
        api.close();
    }, SECONDS * 1000 + 35000);
});
