/*
 * Everything goes wrong under load: shards are emptied, workers stand still,
 * are killed and replaced, rings are full and clients do not read.  Numbers
 * are published all the time: each acknowledged one comes exactly once, in
 * order, to whoever was there; what a gap explains is counted exactly.
 */

import assert from 'node:assert/strict';
import fs from 'node:fs';

import { Client, onAllWorkers } from './lib/client.mjs';
import { Numbers } from './lib/numbers.mjs';
import { Raw } from './lib/raw.mjs';
import { Room, ROOM_HUB } from './lib/room.mjs';
import { connected, sdkOf, subscribed } from './lib/sdk.mjs';
import { sleep, TEST_MODULE, until, within } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';
import { connections } from './lib/workers.mjs';

const SECONDS = Number(process.env.TORTURE_SECONDS || 20);

const OPEN = 'client_insecure on; api_insecure on;';
const CHANNELS = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];

/* ms between a session's end in a worker and here */

const SLACK = 2000;

/* some of these fill a control ring of 4k */

const ASK = '/ask?size=300';

const TESTS = `location = /wipe { centrifugo_test_wipe main; }
               location = /ask { centrifugo_test_ask main; }`;


suite('torture', { concurrency: 3, timeout: 300000 }, async (s) => {
    const only = process.env.TORTURE;
    const it = (name, fn, ms = 60000) => {
        if (!only || name.includes(only)) {
            s.it(name, () => fn(s), ms + SECONDS * 1000);
        }
    };

    it('a worker is silent for 40 s', silent, 90000);
    it('ten reloads', reloads);
    it('workers are killed', kills);
    it('a zone of another size', resized);
    it('more and fewer workers, a wrong configuration', scaled);
    it('shards are emptied', wipes);
    it('shards are emptied in a full zone', wipesFull);
    it('a worker stands still for 5 s', stopped);
    it('a worker misses what the log holds', overrun);
    it('the control ring is full', ringFull);
    it('clients do not read: 3008', slow);
    it('clients do not read: 3009', stuck);
});


/* Numbers that know when each was acknowledged. */

class Timed extends Numbers {

    constructor(...args) {
        super(...args);
        this.at = new Map();
    }

    async one(...args) {
        const n = this.n;

        await super.one(...args);
        this.at.set(n, Date.now());
    }
}


/*
 * What one subscriber got, in runs: each from a reply to subscribe to the end
 * of its connection.
 */

class Record {

    constructor(numbers, channels) {
        this.numbers = numbers;
        this.channels = channels;
        this.runs = [];
    }

    /* What is published from now on has to come. */

    begin(channel) {
        let run = this.runs[this.runs.length - 1];

        if (!run || run.end || run.from.has(channel)) {
            run = { from: new Map(), got: new Map(), end: null };
            this.runs.push(run);
        }

        run.from.set(channel, this.numbers.n);
        run.got.set(channel, []);
    }

    take(channel, data) {
        const run = this.runs[this.runs.length - 1];

        assert.ok(run && !run.end && run.got.has(channel),
                  `${channel}: ${data} without a subscription`);
        run.got.get(channel).push(data);
    }

    end(why) {
        const run = this.runs[this.runs.length - 1];

        if (run && !run.end) {
            run.end = { at: Date.now(), ...why };
        }
    }

    get last() {
        return this.runs[this.runs.length - 1];
    }

    /* The last run is there to the end. */

    complete() {
        const run = this.last;

        return run && !run.end && this.channels.every((c) =>
            run.got.has(c) && run.got.get(c).includes('end'));
    }

    /* Numbers that nobody got, each explained by a gap: how many. */

    check() {
        let lost = 0;

        for (const c of this.channels) {
            let before = -1;

            const acked = this.numbers.acked.get(c);

            this.runs.forEach((run, k) => {
                const list = (run.got.get(c) || []).filter((n) => n !== 'end');

                /* in order and none twice, over all runs too */

                for (const n of list) {
                    assert.ok(n > before, `${c}: ${n} after ${before}`);
                    before = n;
                }

                if (!run.from.has(c)) {
                    return;
                }

                /*
                 * From the first that had to come, or that came, to the end:
                 * a run has no gaps.
                 */

                const set = new Set(list);
                const from = list.length ? Math.min(list[0], run.from.get(c))
                                         : run.from.get(c);
                const last = list.length ? list[list.length - 1] : -1;

                for (const n of acked) {
                    if (n < from || set.has(n)) {
                        continue;
                    }

                    assert.ok(run.end && n > last
                              && this.numbers.at.get(n)
                                 > run.end.at - SLACK,
                              `${c}: ${n} is missing in run ${k} from ${from}`
                              + ` to ${run.end ? last : 'the end'}`);
                }
            });

            /* what is in no run is in a gap between two */

            const all = new Set(this.runs.flatMap(
                (run) => run.got.get(c) || []));
            const first = this.runs.find((run) => run.from.has(c));

            for (const n of acked) {
                if (n >= first.from.get(c) && !all.has(n)) {
                    const gap = this.runs.some((run, k) => {
                        const next = this.runs[k + 1];

                        return run.end && next && n < next.from.get(c)
                            && this.numbers.at.get(n) > run.end.at - SLACK;
                    });

                    assert.ok(gap, `${c}: nothing explains that ${n} is lost`);
                    lost++;
                }
            }
        }

        return lost;
    }
}


/* A plain client that comes back as often as its worker is gone. */

class Session extends Record {

    constructor(server, numbers, channels) {
        super(numbers, channels);
        this.server = server;
    }

    async run() {
        while (!this.stopped) {
            try {
                await this.once();
            } catch {
                /* its worker died before all was subscribed */
            }

            this.end();
            await sleep(20);
        }
    }

    async once() {
        const c = await Client.connect(this.server.ws());
        const eat = (line) => {
            const { push } = JSON.parse(line);

            this.take(push.channel, push.pub.data);
        };

        this.client = c;

        for (const channel of this.channels) {

            /* its first publications may be here as soon as its reply */

            const take = c.take.bind(c);

            c.take = (text) => text.split('\n').forEach((line) => {
                if (line.startsWith('{"push"')) {
                    eat(line);
                } else {
                    if (line.endsWith('"subscribe":{}}')) {
                        this.begin(channel);
                    }
                    take(line);
                }
            });

            await c.subscribe(channel);
            c.take = take;

            for (const line of c.lines.splice(0)) {
                eat(line);
            }
        }

        const take = c.take.bind(c);

        c.take = (text) => text.split('\n').forEach((line) =>
            (line.startsWith('{"push"') ? eat(line) : take(line)));

        await c.closed;
    }

    stop() {
        this.stopped = true;
        this.client.terminate();
    }
}


/* An official SDK client and what it got. */

async function sdkRecord(server, numbers, channels) {
    const sdk = sdkOf(server.ws());
    const record = new Record(numbers, channels);

    sdk.codes = [];
    sdk.on('connecting', (ctx) => {
        record.end(ctx);
        sdk.codes.push(ctx.code);
    });
    await connected(sdk);
    sdk.codes.length = 0;

    for (const channel of channels) {
        const sub = sdk.newSubscription(channel);

        sub.on('subscribed', () => record.begin(channel));
        sub.on('publication', (ctx) => record.take(channel, ctx.data));
        await subscribed(sub);
    }

    record.sdk = sdk;
    return record;
}


const metricOf = (server) => (name) => server.metric(`centrifugo_${name}`);

async function exact(metric, want, ms = 5000) {
    for (const [what, n] of Object.entries(want)) {
        await until(`num_${what} to be ${n}`,
                    async () => await metric(`node_num_${what}`) === n, ms);
    }
}

/* All slots are held by the living: as many as there are workers. */

async function slots(server) {
    const n = server.workers().length;

    await until(`${n} live slots`, async () => {
        const { body } = await server.get('/metrics');

        return new RegExp(`workers\\{hub="main",state="live"\\} ${n}\\n`)
            .test(body)
            && /workers\{hub="main",state="draining"\} 0\n/.test(body)
            && /workers\{hub="main",state="dead"\} 0\n/.test(body);
    }, 6000);
}

async function finish(s, server) {
    await server.finish();
    s.done(server);
}

const subscribers = (server, pids, n, channels = CHANNELS) =>
    onAllWorkers(pids, n, async () => {
        const c = await Client.connect(server.ws());

        for (const channel of channels) {
            await c.subscribe(channel);
        }

        return c;
    });


/* shards are wiped by force, one and all, as if they had been damaged */

async function wipes(s) {
    const server = await s.start({ module: TEST_MODULE, workers: 4,
                                   hub: OPEN + ROOM_HUB, locations: TESTS });
    const metric = metricOf(server);
    const pids = server.workers();
    const list = await subscribers(server, pids, 3);
    const numbers = new Numbers(server, CHANNELS);
    const room = new Room(server);

    /* others come and go meanwhile */

    let stop = false;

    await server.get('/wipe');

    const shards = await metric('hub_shard_wipes');
    let wiped = shards;

    assert.ok(shards >= 4, `${shards} shards`);

    const churn = (async () => {
        for (let i = 0; !stop; i++) {
            const c = await Client.connect(server.ws());

            for (let k = 0; k < 20 && !stop; k++) {
                await c.subscribe(`churn${i}.${k}`);
            }

            c.terminate();
        }
    })();

    numbers.start();
    room.start();

    try {
        for (let i = 0; i < 60; i++) {
            const all = i % 5 === 4;

            await server.get(all ? '/wipe' : `/wipe?shard=${i % shards}`);
            wiped += all ? shards : 1;

            /* sometimes before the walk over the last one has ended */

            if (i % 3) {
                await sleep(60);
            }
        }
    } finally {
        stop = true;
        await numbers.stop();
    }

    await churn;
    await room.check();
    await room.end();
    await numbers.end();
    assert.equal(numbers.failed, 0);
    assert.ok(numbers.n > 200, `${numbers.n} numbers`);

    for (const c of list) {
        await numbers.check(c);
    }

    assert.equal(await metric('hub_shard_wipes'), wiped);
    await until('all to have put their channels back',
                async () => await metric('hub_resync_pending') === 0);
    assert.equal(await metric('hub_log_lost_total'), 0);
    await exact(metric, { clients: list.length, channels: CHANNELS.length,
                          subscriptions: list.length * CHANNELS.length });

    /* and once more when all is quiet */

    for (const c of CHANNELS) {
        await numbers.one(c);
    }

    await numbers.end();

    for (const c of list) {
        await numbers.check(c, CHANNELS, numbers.n - CHANNELS.length);
        c.terminate();
    }

    await exact(metric, { clients: 0, channels: 0, subscriptions: 0 });
    assert.match((await server.get('/metrics')).body,
                 /zone_used_bytes\{hub="main",kind="channels"\} 0\n/);
    await finish(s, server);
}


/* there may be no room to put channels back: they are heard all the same */

async function wipesFull(s) {
    const server = await s.start({
        module: TEST_MODULE, workers: 4, zone: '4m',
        hub: `${OPEN} channel_limit 100000; channel_max_length 1000;
              message_size_limit 1m; queue_max_size 4m;`,
        locations: TESTS,
    });
    const metric = metricOf(server);
    const pids = server.workers();
    const list = await subscribers(server, pids, 2);
    const fillers = await onAllWorkers(pids, 1,
        () => Client.connect(server.ws()));
    let id = 1;
    let filled = 0;

    /* until a subscribe is refused */

    for (let full = false; !full; ) {
        assert.ok(filled < 20000, 'the zone is never full');

        for (const c of fillers) {
            const names = Array.from({ length: 50 },
                (_, i) => `${id + 1 + i}`.padEnd(300 + (i % 3) * 300, '.'));

            c.frame(names.map((channel) => JSON.stringify(
                { id: ++id, subscribe: { channel } })).join('\n'));

            for (const { } of names) {
                const reply = await c.json();

                if (reply.error) {
                    assert.equal(reply.error.code, 100);
                    full = true;
                } else {
                    filled++;
                }
            }
        }
    }

    const numbers = new Numbers(server, CHANNELS);

    numbers.start();

    try {
        for (let i = 0; i < 25; i++) {
            await server.get(i % 2 ? '/wipe' : `/wipe?shard=${i % 4}`);
            await sleep(80);
        }
    } finally {
        await numbers.stop();
    }

    await numbers.end();
    assert.equal(numbers.failed, 0);

    for (const c of list) {
        await numbers.check(c);
    }

    assert.ok(await metric('hub_shard_wipes') >= 25);

    /* who finds no room tries again now and then, and not all the time */

    const ticks = () => pids.map((p) => {
        const stat = fs.readFileSync(`/proc/${p}/stat`, 'utf8')
            .replace(/^.*\) /, '').split(' ');

        return Number(stat[11]) + Number(stat[12]);
    });
    const before = ticks();

    await sleep(1500);

    ticks().forEach((t, i) => assert.ok(t - before[i] < 75,
        `worker ${i} took ${t - before[i]} of 150 ticks for nothing`));

    /* there is room again */

    fillers.forEach((c) => c.terminate());
    await until('all to have put their channels back',
                async () => await metric('hub_resync_pending') === 0, 8000);
    await exact(metric, { clients: list.length, channels: CHANNELS.length,
                          subscriptions: list.length * CHANNELS.length });

    const from = numbers.n;

    for (const c of CHANNELS) {
        await numbers.one(c);
    }

    await numbers.end();

    for (const c of list) {
        await numbers.check(c, CHANNELS, from);
        c.terminate();
    }

    await exact(metric, { clients: 0, channels: 0, subscriptions: 0 });
    await finish(s, server);
}


/* A server one of whose workers is stopped, and what is known of it. */

async function withVictim(s, options) {
    const server = await s.start({
        workers: 4, hub: `${OPEN} ping_interval 120s;`, ...options });
    const pids = server.workers();
    const list = await subscribers(server, pids, 2, ['a', 'b']);
    const apis = await connections(server, pids);
    const victim = pids[1];
    const living = [...apis.values()].filter((w) => w.pid !== victim);
    const numbers = new Numbers(server, ['a', 'b']);
    let turn = 0;

    /* the longest time that a publish took */

    numbers.longest = 0;
    numbers.api = {
        async publish(channel, data) {
            const begin = Date.now();

            await living[turn++ % living.length].publish(channel, data);
            numbers.longest = Math.max(numbers.longest, Date.now() - begin);
        },
    };

    return {
        server, living, victim, numbers,
        theirs: list.filter((c) => c.worker === victim),
        others: list.filter((c) => c.worker !== victim),
        metric: (name) => living[0].metric(`centrifugo_${name}`),
        stop: () => process.kill(victim, 'SIGSTOP'),
        go: () => process.kill(victim, 'SIGCONT'),
    };
}


async function stopped(s) {
    const v = await withVictim(s);

    v.stop();

    try {
        v.numbers.start(2);
        await sleep(2500);

        /* those who live go on in every way */

        const [c] = v.others;
        const begin = Date.now();

        await c.subscribe('new');
        await v.living[0].publish('new', 1);
        await c.call({ publish: { channel: 'other', data: 1 } });
        await c.call({ unsubscribe: { channel: 'new' } });
        assert.ok(Date.now() - begin < 1000,
                  `they took ${Date.now() - begin} ms`);
        await until('the publication', () => c.lines.some((line) =>
            line.startsWith('{"push":{"channel":"new"')));
        c.lines = c.lines.filter((line) =>
            !line.startsWith('{"push":{"channel":"new"'));

        await sleep(2500);
        await v.numbers.stop();
        await v.numbers.end();
        assert.equal(v.numbers.failed, 0);
        assert.ok(v.numbers.longest < 1000,
                  `a publish took ${v.numbers.longest} ms`);

        for (const x of v.others) {
            await v.numbers.check(x);
        }

        assert.ok(v.theirs.every((x) => x.lines.length === 0));

    } finally {
        v.go();
    }

    /* it reads all that it slept through */

    for (const x of v.theirs) {
        await v.numbers.check(x);
        assert.equal(x.end, null);
    }

    assert.equal(await v.metric('hub_log_lost_total'), 0);
    assert.equal(await v.metric('hub_shard_wipes'), 0);
    await finish(s, v.server);
}


async function overrun(s) {
    const v = await withVictim(s, { module: TEST_MODULE, hub: `${OPEN}
        ping_interval 120s; test_log 64k; publication_max_size 4k;` });
    const filler = 'x'.repeat(2000);
    const data = (line) => JSON.parse(line).push.pub.data;
    const want = [];

    v.stop();

    try {
        for (let n = 0; n < 100; n++) {
            await v.living[n % 3].publish('a', [n, filler]);
            want.push(n);

            /* nobody else falls behind */

            for (const c of v.others) {
                assert.equal(data(await c.line())[0], n);
            }
        }
    } finally {
        v.go();
    }

    await until('the loss to be counted',
                async () => await v.metric('hub_log_lost_total') > 0);
    assert.equal(await v.metric('hub_log_overruns_total'), 1);
    assert.match(v.server.log(), /\[warn\].*fell behind the log/);

    /* two channels may have lost something, once */

    assert.equal(await v.metric('hub_log_lost_total'), 2);

    /* it is not deaf from then on */

    for (let n = 100; n < 110; n++) {
        await v.living[0].publish('a', [n, filler]);
    }

    for (const c of v.theirs) {
        const got = [];

        while (got[got.length - 1] !== 109) {
            got.push(data(await c.line())[0]);
        }

        for (let i = 1; i < got.length; i++) {
            assert.ok(got[i] > got[i - 1], got.join());
        }

        assert.ok(got.length < 110, 'nothing was lost');
        assert.deepEqual(got.slice(-10),
                         [100, 101, 102, 103, 104, 105, 106, 107, 108, 109]);
        assert.equal(c.end, null);
    }

    await finish(s, v.server);
}


/*
 * A worker that stands still holds the small control ring, for 30 s; from then
 * on the others do without it.
 */

async function silent(s) {
    const v = await withVictim(s, { module: TEST_MODULE, locations: TESTS,
        hub: `${OPEN} ping_interval 120s; test_control 4k;` });
    const { numbers } = v;
    const asked = [];
    let on = true;

    /* asks wait: publishing has connections of its own */

    const askers = await connections(v.server);
    const living = v.living.map((w) => askers.get(w.pid));

    const ask = async (w) => {
        const begin = Date.now();
        const text = (await w.get(ASK)).trim();

        asked.push({ at: begin, took: Date.now() - begin, text });
        return text;
    };

    assert.equal(await ask(living[0]), 'OK 4 4');
    asked.length = 0;

    v.stop();

    const begin = Date.now();
    const after = (ms) => asked.filter((x) => x.at - begin > ms);

    const asking = living.map(async (w) => {
        while (on) {
            await ask(w);
            await sleep(100);
        }
    });

    let written;

    try {
        numbers.start(50);
        await sleep(32500);
        written = await v.metric('hub_control_written_bytes_total');
        await sleep(7500);
        written = await v.metric('hub_control_written_bytes_total') - written;
        await numbers.stop();
        await numbers.end();
    } finally {
        on = false;
        await Promise.all(asking);
        v.go();
    }

    /* no ask ever hangs: 2 s are its time, looked at each second */

    for (const x of asked) {
        assert.ok(x.took < 4000, `${x.text} took ${x.took} ms`);
        assert.match(x.text, /^RETRY [0-3] [0-3]$/);
    }

    /* at first the ring is full: that is told at once */

    const full = asked.filter((x) => x.at - begin < 28000 && x.took < 500
                                     && x.text === 'RETRY 0 0');

    assert.ok(full.length > 50, `${full.length} asks found the ring full`);
    assert.ok(after(5000).filter((x) => x.at - begin < 28000)
        .every((x) => x.text === 'RETRY 0 0'), 'the ring was not held');
    assert.match(v.server.log(), /control ring/);

    /* later the silent one is passed over: the others do answer */

    const late = after(32500);

    assert.ok(late.length > 10, `${late.length} asks`);
    assert.ok(late.filter((x) => x.text === 'RETRY 3 3').length
              > late.length / 2,
              late.map((x) => x.text).join(', '));
    assert.ok(written > 4096, `${written} bytes in a ring of 4,096`);

    /* all the time the others served their clients */

    assert.equal(numbers.failed, 0);
    assert.ok(numbers.longest < 2000, `a publish took ${numbers.longest} ms`);

    for (const c of v.others) {
        await numbers.check(c);
        assert.equal(c.end, null);
    }

    /*
     * It missed commands for its clients, so these have to come back.  What
     * was published is in the log, so they get it first, if there is time.
     */

    for (const c of v.theirs) {
        const end = await within(8000, 'a close', c.closed);

        assert.deepEqual([end.code, end.reason], [3001, 'shutdown']);
    }

    assert.match(v.server.log(), /\[warn\].*stood still for so long/);

    const back = await subscribers(v.server, v.server.workers(), 1,
                                   ['a', 'b']);

    await until('all workers to answer again', async () =>
        await ask(living[0]) === 'OK 4 4', 8000, 100);
    assert.equal(await ask(askers.get(v.victim)), 'OK 4 4');

    const from = numbers.n;

    await numbers.one();
    await numbers.one();
    await numbers.end();

    for (const c of [...back, ...v.others]) {
        await numbers.check(c, ['a', 'b'], from);
        c.terminate();
    }

    await exact(v.metric, { clients: 0, subscriptions: 0, channels: 0 });
    await slots(v.server);
    await finish(s, v.server);
}


async function ringFull(s) {
    const v = await withVictim(s, { module: TEST_MODULE, locations: TESTS,
        hub: `${OPEN} ping_interval 120s; test_control 4k;` });
    const asks = [];

    assert.equal((await v.living[0].get(ASK)).trim(), 'OK 4 4');
    v.stop();

    try {
        const begin = Date.now();

        /* those in the ring wait for their time, those not are told */

        const ask = async (w) => asks.push((await w.get(ASK)).trim());

        while (Date.now() - begin < 4000) {
            await Promise.all(v.living.map(ask));
        }

        assert.ok(asks.includes('RETRY 0 0'), asks.join(', '));
        assert.ok(asks.every((x) => x.startsWith('RETRY')), asks.join(', '));

        /* publishing needs no control ring */

        await v.living[0].publish('a', 1);

    } finally {
        v.go();
    }

    /* it comes back in time: nothing is lost, nobody has to leave */

    await until('all to answer', async () =>
        (await v.living[0].get(ASK)).trim() === 'OK 4 4', 5000, 50);

    for (const c of [...v.theirs, ...v.others]) {
        assert.equal(await c.line(), '{"push":{"channel":"a",'
                                     + '"pub":{"data":1}}}');
        assert.equal(c.end, null);
    }

    /* the operator is told why commands failed */

    assert.match(v.server.log(), /\[(warn|error)\].*control ring/);
    await finish(s, v.server);
}


async function kills(s) {
    const server = await s.start({ workers: 4, hub: OPEN + ROOM_HUB });
    const metric = metricOf(server);
    const room = new Room(server);
    const numbers = new Timed(server, CHANNELS.slice(0, 4));
    const list = Array.from({ length: 8 },
        () => new Session(server, numbers, numbers.channels));
    const running = list.map((x) => x.run());
    const end = Date.now() + SECONDS * 1000;
    let killed = 0;

    server.allow(/exited on signal 9/);
    await until('all to be subscribed', () => list.every(
        (x) => x.last && x.last.from.size === 4));
    numbers.start();
    room.start(3, 4);

    while (Date.now() < end) {
        const pids = server.workers();
        const pid = pids[Math.floor(Math.random() * pids.length)];

        if (pid) {
            try {
                process.kill(pid, 'SIGKILL');
                killed++;
            } catch { /* it is gone already */ }
        }

        await sleep(250);
    }

    await until('four workers', () => server.workers().length === 4);
    await sleep(500);
    await numbers.stop();
    await room.check();
    await room.end();

    /* every lock is free */

    for (let i = 0; i < 64; i++) {
        await numbers.api.publish(`nobody${i}`, i);
    }

    await until('all to be subscribed', () => list.every(
        (x) => x.last && !x.last.end && x.last.from.size === 4));

    for (const c of numbers.channels) {
        await numbers.one(c);
    }

    await numbers.end();
    await until('the last numbers', () => list.every((x) => x.complete()),
                8000);

    const lost = list.reduce((sum, x) => sum + x.check(), 0);
    const runs = list.reduce((sum, x) => sum + x.runs.length, 0);

    console.log(`# ${killed} kills, ${runs} sessions, ${numbers.n} numbers, `
                + `${numbers.failed} failed, ${lost} lost in gaps`);
    assert.ok(killed >= SECONDS * 3, `${killed} kills`);
    assert.ok(runs > list.length + killed / 2, `${runs} sessions`);
    assert.ok(numbers.n > SECONDS * 20, `${numbers.n} numbers`);

    /* what the dead held is counted and cleared up */

    assert.equal(await metric('hub_shard_wipes'), 0);
    await exact(metric, { clients: 8, subscriptions: 32, channels: 4 });
    await slots(server);

    list.forEach((x) => x.stop());
    await Promise.all(running);
    await exact(metric, { clients: 0, subscriptions: 0, channels: 0 });
    assert.match((await server.get('/metrics')).body,
                 /zone_used_bytes\{hub="main",kind="channels"\} 0\n/);
    await finish(s, server);
}


/* The newest workers, when all of them answer. */

const renewed = (server, old) => until('new workers', async () => {
    const all = server.workers().filter((p) => !old.includes(p));

    return all.length === server.o.workers && !old.includes(Number(
        (await server.get('/pid')).body)) && all;
}, 8000);


async function reloads(s) {
    const server = await s.start({ hub: `${OPEN} drain_time 2s; ${ROOM_HUB}` });
    const metric = metricOf(server);
    const numbers = new Timed(server, ['a', 'b']);
    const room = new Room(server);
    const list = [];

    for (let i = 0; i < 12; i++) {
        list.push(await sdkRecord(server, numbers, numbers.channels));
    }

    numbers.start(1);
    room.start();

    for (let i = 0; i < 10; i++) {
        const old = server.workers();

        server.signal('SIGHUP');
        await renewed(server, old);
        await sleep(700);
    }

    const last = server.workers().slice(-2);

    await until('the old workers to end',
                () => server.workers().length === 2, 6000);
    await until('all to be back', () => list.every((x) =>
        x.sdk.state === 'connected' && x.last.from.size === 2));
    await sleep(300);
    await numbers.stop();
    await room.check();
    await room.end();
    await numbers.end();
    await until('the last numbers', () => list.every((x) => x.complete()));

    const lost = list.reduce((sum, x) => sum + x.check(), 0);
    const gaps = list.reduce((sum, x) => sum + x.runs.length - 1, 0);

    console.log(`# ten reloads: ${numbers.n} numbers, ${gaps} gaps, `
                + `${lost} lost in them`);

    /* no call fails when workers are replaced */

    assert.equal(numbers.failed, 0);
    assert.ok(numbers.n > 500, `${numbers.n} numbers`);

    for (const x of list) {
        assert.ok(x.sdk.codes.length >= 3, `${x.sdk.codes}`);
        assert.ok(x.sdk.codes.every((code) => code === 3001),
                  `${x.sdk.codes}`);
        assert.equal(x.runs.length, x.sdk.codes.length + 1);
        assert.ok(last.includes(x.sdk.worker));
        assert.deepEqual(x.sdk.errors, []);
    }

    await exact(metric, { clients: 12, subscriptions: 24, channels: 2 });
    await slots(server);
    list.forEach((x) => x.sdk.disconnect());
    await exact(metric, { clients: 0, subscriptions: 0, channels: 0 });
    await finish(s, server);
}


async function scaled(s) {
    const server = await s.start({ hub: `${OPEN} drain_time 1s;` });
    const metric = metricOf(server);
    const numbers = new Timed(server, ['a', 'b']);
    const list = [];

    for (let i = 0; i < 8; i++) {
        list.push(await sdkRecord(server, numbers, numbers.channels));
    }

    numbers.start(2);

    for (const n of [5, 1, 3]) {
        const old = server.workers();

        server.o.workers = n;
        server.writeConfig();
        server.signal('SIGHUP');
        await renewed(server, old);
        await until('the old workers to end',
                    () => server.workers().length === n, 6000);
        await until('all to be back', () => list.every((x) =>
            x.sdk.state === 'connected' && !x.last.end
            && x.last.from.size === 2));
        assert.ok(list.every((x) => server.workers().includes(x.sdk.worker)));
        await slots(server);
        await exact(metric, { clients: 8, subscriptions: 16, channels: 2 });
    }

    /* a configuration that is wrong changes nothing at all */

    const pids = server.workers();
    const runs = list.map((x) => x.runs.length);

    server.allow(/\[emerg\].*nonsense/);
    fs.writeFileSync(server.confFile, server.conf().replace(
        'centrifugo_hub main {', 'centrifugo_hub main { nonsense on;'));
    server.signal('SIGHUP');
    await until('the error line', () => /\[emerg\].*nonsense/
        .test(server.log()));
    await sleep(500);
    assert.deepEqual(server.workers(), pids);
    assert.deepEqual(list.map((x) => x.runs.length), runs);

    await numbers.stop();
    await numbers.end();
    await until('the last numbers', () => list.every((x) => x.complete()));

    const lost = list.reduce((sum, x) => sum + x.check(), 0);

    console.log(`# 2, 5, 1, 3 workers: ${numbers.n} numbers, `
                + `${numbers.failed} failed, ${lost} lost in gaps`);

    for (const x of list) {
        assert.deepEqual(x.sdk.codes, [3001, 3001, 3001]);
    }

    list.forEach((x) => x.sdk.disconnect());
    await exact(metric, { clients: 0, subscriptions: 0, channels: 0 });
    await finish(s, server);
}


async function resized(s) {
    const server = await s.start({ hub: `${OPEN} drain_time 20s;` });
    const metric = metricOf(server);
    const numbers = new Timed(server, ['a', 'b']);
    const list = [];

    for (let i = 0; i < 8; i++) {
        list.push(await sdkRecord(server, numbers, numbers.channels));
    }

    for (let i = 0; i < 20; i++) {
        await numbers.one();
    }

    const old = server.workers();

    server.o.zone = '12m';
    server.writeConfig();

    const begin = Date.now();

    server.signal('SIGHUP');
    await renewed(server, old);

    /* the new zone is empty: others are not heard from it nor counted in it */

    await until('the new zone', async () =>
        await metric('hub_zone_bytes') > 9 * 1024 * 1024
        && await metric('node_num_clients') < 8, 2000);

    /* nobody stays for long in the old one, whatever drain_time says */

    await until('all to have left', () => list.every(
        (x) => x.sdk.codes.length === 1), 9000);
    assert.ok(Date.now() - begin < 7000,
              `all had left after ${Date.now() - begin} ms`);
    await until('the old workers to end',
                () => server.workers().length === 2, 4000);
    await until('all to be back', () => list.every((x) =>
        x.sdk.state === 'connected' && x.last.from.size === 2));
    await exact(metric, { clients: 8, subscriptions: 16, channels: 2 });

    for (let i = 0; i < 20; i++) {
        await numbers.one();
    }

    await numbers.end();
    await until('the last numbers', () => list.every((x) => x.complete()));

    for (const x of list) {
        assert.deepEqual(x.sdk.codes, [3001]);
        assert.equal(x.check(), 0);
        x.sdk.disconnect();
    }

    await exact(metric, { clients: 0, subscriptions: 0, channels: 0 });
    await finish(s, server);
}


/*
 * Clients that do not read get into the way of nobody.  `code`: how they end.
 */

async function deaf(s, hub, code, size, most) {
    const server = await s.start({ hub: `${OPEN} ${hub}`,
                                   listen: 'sndbuf=32k', zone: '16m' });
    const metric = metricOf(server);
    const pids = server.workers();
    const numbers = new Numbers(server, ['flood']);
    const good = await subscribers(server, pids, 2, ['flood']);
    const bad = await onAllWorkers(pids, 2, async () => {
        const r = await Raw.connect(server.port, '/connection/websocket');

        r.text('{"id":2,"subscribe":{"channel":"flood"}}');
        await r.message();
        r.socket.pause();
        return r;
    });
    const ended = async () => (await server.get('/metrics')).body.match(
        new RegExp(`server_disconnects\\{hub="main",code="${code}"\\} (\\d+)`)
    )[1];
    const filler = 'x'.repeat(size);
    let sent = 0;
    let longest = 0;

    assert.equal(await metric('node_num_clients'), good.length + bad.length);

    while (Number(await ended()) < bad.length) {
        assert.ok(sent < most, `${sent} messages of ${size} bytes were `
                               + 'not enough');

        for (let i = 0; i < 10; i++) {
            const begin = Date.now();

            await numbers.api.publish('flood', [sent, filler]);

            /* the others are as quick as ever */

            for (const c of good) {
                const { push } = await c.json();

                assert.equal(push.pub.data[0], sent);
            }

            sent++;
            longest = Math.max(longest, Date.now() - begin);
        }

        /* write_timeout is over before queue_max_size is, if that is asked */

        await sleep(code === 3009 ? 5 : 0);
    }

    assert.ok(longest < 2000, `a message took ${longest} ms`);
    assert.equal(Number(await ended()), bad.length);
    assert.equal(await metric('hub_slow_total'),
                 code === 3008 ? bad.length : 0);
    await exact(metric, { clients: good.length, subscriptions: good.length,
                          channels: 1 });

    /* their connections end too, and what waited for them is freed */

    bad.forEach((r) => r.socket.resume());
    await Promise.all(bad.map((r) => r.end(8000)));
    await until('the queues to be empty', async () =>
        await metric('hub_queued_bytes') === 0
        && await metric('hub_frame_bytes') === 0);

    for (const c of good) {
        assert.equal(c.end, null);
        c.terminate();
    }

    await exact(metric, { clients: 0, subscriptions: 0, channels: 0 });
    await finish(s, server);
}

const slow = (s) => deaf(s, 'queue_max_size 256k; write_timeout 60s;', 3008,
                         16000, 1500);
const stuck = (s) => deaf(s, 'queue_max_size 64m; write_timeout 1s;', 3009,
                          16000, 4000);
