/*
 * What is kept outlives the one who wrote it: workers are killed at each marked
 * point of a stream's sections; a zone is too small for all that is published;
 * a reload comes in the middle of recoveries.
 */

import assert from 'node:assert/strict';

import { apiOf } from './lib/api.mjs';
import { Client } from './lib/client.mjs';
import { Follower, Record } from './lib/follower.mjs';
import { hold, sleep, TEST_MODULE, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';
import { connections } from './lib/workers.mjs';

const OPEN = `allow_subscribe_for_client on; allow_subscribe_for_anonymous on;
    force_recovery on;`;

const HUB = `api_insecure on; allow_anonymous_connect_without_token on;
    drain_time 500ms; ${OPEN} history_size 10; history_ttl 10m;
    namespace short { ${OPEN} history_size 10; history_ttl 1s;
        history_meta_ttl 1s; }
    namespace tiny { history_size 1; history_ttl 1s; history_meta_ttl 1s; }`;

/* point, as whose pass */

const POINTS = [
    ['STREAM_NEW', 12], ['STREAM_DUE', 13], ['STREAM_LINKED', 14],
    ['STREAM_CLEAR', 2], ['APPEND_FILLED', 50], ['APPEND_BEGUN', 51],
    ['APPEND_LOGGED', 52], ['APPEND_LINKED', 53], ['APPEND_STATED', 54],
    ['APPEND_RESULT', 15], ['APPEND_COUNTED', 55], ['APPEND_DONE', 56],
    ['TRIM_BEGUN', 21], ['TRIM_UNLINKED', 22], ['TRIM_STATED', 23],
    ['TRIM_DONE', 24], ['REMOVE_BEGUN', 2], ['REMOVE_UNSET', 3],
    ['REMOVE_UNLINKED', 2], ['REMOVE_DONE', 3], ['HISTORY_READ', 20],
    ['DUE_LINK', 20], ['DUE_LINKED', 21], ['DUE_UNLINK', 4],
    ['DUE_UNLINKED', 5], ['DUE_TICK', 6], ['EXPIRE_ITEM', 4],
    ['CHAIN_PUSHED', 40], ['RING_COMMIT', 60], ['RING_LOGGED', 61],
    ['EVICT_ITEM', 3, 'full'],
];

const CHANNELS = ['a', 'b', 'c', 'short:a'];

const only = process.env.POINT;


/* Publishes until it is stopped; what had no answer is said again by its key. */

async function publisher(server, record, control, channels, pad) {
    let api = apiOf(server);
    let n = 0;

    while (!control.stopped) {
        const channel = channels(n);
        const data = { p: control.publishers, n: control.n++,
                       pad: pad(n++) };
        const said = JSON.stringify(data);

        record.unsure.set(said, {});

        for (let tries = 0; tries < 100; tries++) {
            try {
                const { result, error } = await api.call('publish', { channel,
                    data, idempotency_key: `k${data.n}` });

                if (error) {
                    control.errors.push(`${channel}: ${error.code}`);
                } else {
                    record.acknowledged(channel, result, said, {});
                }

                break;
            } catch {
                api.close();
                api = apiOf(server);
                await sleep(20);
            }
        }

        await sleep(2);
    }

    api.close();
}

async function follower(f, control) {
    while (!control.stopped) {
        try {
            if (!f.client || f.client.end) {
                f.live = false;
                await f.connect();
            } else if (!f.live) {
                await f.subscribe();
            }

            await sleep(100);

            if (Math.random() < 0.2) {
                f.drop();
            }
        } catch {
            f.drop();
            await sleep(20);
        }
    }
}

/* All followers get to the top, and nothing of what they saw was wrong. */

async function settle(server, record, followers) {
    const api = apiOf(server, { keep: false });

    for (const f of followers) {
        await until(`${f.name} to be at the top`, async () => {
            try {
                if (!f.client || f.client.end) {
                    f.live = false;
                    await f.connect();
                } else if (!f.live) {
                    await f.subscribe();
                }

                const { result } = await api.call('history',
                                                  { channel: f.channel });

                return f.live && f.position.epoch === result.epoch
                    && f.position.offset === result.offset;
            } catch {
                f.drop();
                return false;
            }
        });
    }

    for (const channel of new Set(followers.map((f) => f.channel))) {
        await record.kept(api, channel);
    }

    for (const [key, data] of record.known) {
        if (!record.unsure.has(data)) {
            record.wrong.push(`nobody published ${key} ${data}`);
        }
    }

    assert.deepEqual(record.wrong.slice(0, 10), []);
    api.close();
}


async function killed(s, point, nth, how) {
    const server = await s.start({
        module: TEST_MODULE, workers: 3, hub: HUB, anyWorkers: true,
        zone: how === 'full' ? '4m' : '8m',
        http: `centrifugo_test_kill ${point} ${nth};`,
    });
    const record = new Record();
    const control = { n: 0, publishers: 0, errors: [] };

    server.allow(/exited on signal 9/);
    hold(() => { control.stopped = true; });

    const followers = CHANNELS.flatMap((c) => [0, 1].map(() =>
        new Follower(record, server.ws(), c)));
    const running = [
        ...followers.map((f) => follower(f, control)),
        ...[0, 1].map((k) => publisher(server, record, control,
            (n) => (n % 5 === 4 ? `${k ? 'tiny' : 'own'}:${control.n}`
                    .replace('own:', 'own') : CHANNELS[n % CHANNELS.length]),
            (n) => 'x'.repeat(how === 'full' ? 3000 : (n % 7) * 500))),
        (async () => {
            const api = apiOf(server, { keep: false });

            while (!control.stopped) {
                await api.call('history_remove', { channel: 'c' })
                    .catch(() => {});
                await api.call('history', { channel: 'a', limit: -1 })
                    .catch(() => {});
                await sleep(200);
            }

            api.close();
        })(),
    ];

    const died = () => /exited on signal 9/.test(server.log());

    try {
        await until(`a worker to die at ${point}`, died, 20000, 50);
        await sleep(300);
    } finally {
        control.stopped = true;
        await Promise.all(running);
    }

    await settle(server, record, followers);

    assert.ok(record.counts.published > 20 && record.counts.delivered > 10);
    assert.deepEqual(control.errors, []);
    assert.equal(await server.metric('centrifugo_hub_shard_wipes'), 0);

    /* all locks are free: each shard takes a publication */

    const api = apiOf(server, { keep: false });

    for (let i = 0; i < 64; i++) {
        await api.publish(`each${i}`, i);
    }

    followers.forEach((f) => f.drop());
    await server.finish();
    s.done(server);
}


suite('a publisher or a reader is killed at',
      { concurrency: 2, timeout: 300000 }, async (s) => {
    for (const [point, nth, how] of POINTS) {
        if (!only || only.split(',').includes(point)) {
            s.it(point, () => killed(s, point, nth, how), 60000);
        }
    }
});


suite('a full zone', { timeout: 58000 }, async (s) => {
    const server = await s.start({ zone: '4m', workers: 2, hub: HUB });
    const record = new Record();
    const control = { n: 0, publishers: 1, errors: [] };
    const api = apiOf(server);

    hold(() => { control.stopped = true; });

    await s.serial('publishes go on, what goes is the oldest without '
                   + 'subscribers', async () => {
        const f = new Follower(record, server.ws(), 'kept');

        await f.connect();

        /* a client that comes back later, when its channel is gone */

        const away = await Client.connect(server.ws());
        const sub = (await away.call({ subscribe: { channel: 'gone' } }))
            .subscribe;

        await api.publish('gone', 1);
        away.terminate();

        /* so many positions that the oldest have to go, too */

        for (let i = 0; i < 7000; i += 500) {
            await api.commands(...Array.from({ length: 500 }, (_, k) => (
                { method: 'publish',
                  params: { channel: `once${i + k}`, data: 1 } })));
        }

        const running = [0, 1].map(() => publisher(server, record, control,
            (n) => (n % 10 ? `c${control.n % 20000}` : 'kept'),
            (n) => 'y'.repeat(Math.floor(Math.random() * 4000))));

        await until('the oldest to be evicted', async () => {
            const { result } = await api.call('history',
                                              { channel: 'gone', limit: -1 });

            return result.offset === 0 && result.epoch !== sub.epoch;
        }, 40000, 200);

        const back = await Client.connect(server.ws());
        const again = (await back.call({ subscribe: { channel: 'gone',
            recover: true, epoch: sub.epoch, offset: 0 } })).subscribe;

        assert.equal(again.recovered, undefined);
        assert.equal(again.was_recovering, true);
        assert.notEqual(again.epoch, sub.epoch);

        /* new channels have room, and publishes without history */

        for (let i = 0; i < 100; i++) {
            assert.ok((await back.call({ subscribe: { channel: `new${i}` } }))
                .subscribe);
        }

        control.stopped = true;
        await Promise.all(running);
        assert.deepEqual(control.errors.slice(0, 5), []);
        await settle(server, record, [f]);
        assert.equal(f.record.counts.insufficient, undefined);
        f.drop();
    }, 55000);
});


suite('reloads while clients recover', { timeout: 58000 }, async (s) => {
    const server = await s.start({ zone: '8m', workers: 2, hub: HUB,
                                   shutdown: '2s' });
    const record = new Record();
    const control = { n: 0, publishers: 2, errors: [] };

    hold(() => { control.stopped = true; });

    await s.serial('nothing is lost', async () => {
        const followers = Array.from({ length: 20 }, (_, i) =>
            new Follower(record, server.ws(), `r${i % 3}`));
        const running = [
            ...followers.map((f) => follower(f, control)),
            ...[0, 1].map(() => publisher(server, record, control,
                (n) => `r${n % 3}`, () => '')),
        ];

        for (let i = 0; i < 5; i++) {
            await sleep(1200);
            server.signal('SIGHUP');
        }

        await sleep(1000);
        control.stopped = true;
        await Promise.all(running);
        await settle(server, record, followers);

        assert.deepEqual(control.errors, []);
        assert.ok(record.counts.recovered > 20,
                  JSON.stringify(record.counts));
        followers.forEach((f) => f.drop());
    }, 50000);
});


suite('a worker that the log has overrun', { timeout: 58000 }, async (s) => {
    const server = await s.start({ workers: 2, hub: `zone 16m log=1m;
        api_insecure on; allow_anonymous_connect_without_token on; ${OPEN}
        queue_max_size 8m; history_size 3000; history_ttl 10m;
        namespace few { ${OPEN} history_size 10; history_ttl 10m; }` });

    await s.serial('reads what it lost from the history', async () => {
        const record = new Record();
        const all = await connections(server);
        const [slow, other] = [...all.keys()];
        const followers = [];

        /* on both workers */

        for (const channel of ['a', 'few:a']) {
            for (const pid of [slow, other]) {
                for (;;) {
                    const f = new Follower(record, server.ws(), channel);

                    await f.connect();

                    if (f.client.worker === pid) {
                        f.pid = pid;
                        followers.push(f);
                        break;
                    }

                    f.drop();
                }
            }
        }

        const publish = async (channel, n) => {
            const data = { channel, n, pad: 'x'.repeat(1000) };
            const r = await all.get(other).request('POST', '/api/publish',
                { body: JSON.stringify({ channel, data }) });

            record.unsure.set(JSON.stringify(data), {});
            record.acknowledged(channel, JSON.parse(r.body).result,
                                JSON.stringify(data), {});
        };

        process.kill(slow, 'SIGSTOP');

        try {
            for (let i = 0; i < 1500; i++) {
                await publish('a', i);
                await publish('few:a', i);
            }
        } finally {
            process.kill(slow, 'SIGCONT');
        }

        for (const f of followers.filter((x) => x.channel === 'a')) {
            await until('1500', () => f.position.offset === 1500);
            assert.equal(f.seen.size, 1500);
        }

        /* what is not there any more is told */

        await until('2500', () => record.counts.insufficient === 1);
        assert.ok(await server.metric('centrifugo_hub_log_overruns_total') > 0);

        for (const f of followers.filter((x) => !x.live)) {
            assert.equal(f.pid, slow);
            await f.subscribe();
        }

        for (let i = 1500; i < 1510; i++) {
            await publish('a', i);
            await publish('few:a', i);
        }

        for (const f of followers) {
            await until(`${f.name} to be at the top`,
                        () => f.position.offset === 1510);
            f.drop();
        }

        assert.deepEqual(record.wrong, []);
        [...all.values()].forEach((w) => w.close());
    });
});
