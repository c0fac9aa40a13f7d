/*
 * The test build kills a worker at a marked point of a section in shared
 * memory. Whoever lives goes on: nothing lost, nothing doubled, no lock left,
 * no memory lost, counts exact.
 */

import assert from 'node:assert/strict';

import { Client } from './lib/client.mjs';
import { Numbers } from './lib/numbers.mjs';
import { Room, ROOM_HUB } from './lib/room.mjs';
import { sleep, TEST_MODULE, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

/* point, as whose pass, what has to be done for it to be passed */

const POINTS = [
    ['PAGE_NAMED', 40], ['PAGE_TAKEN', 41], ['PAGE_PUT', 30],
    ['PAGE_FREED', 33], ['PAGE_MOVING', 3], ['PAGE_OWNED', 4],
    ['PAGE_UNCUT', 5], ['PAGE_LINKED', 3], ['PAGE_EMPTY', 2],
    ['PAGE_GIVEN', 3], ['LIST_LINK', 5], ['LIST_UNLINK', 3],
    ['LIST_STORED', 6], ['SHARD_LOCKED', 90], ['RECORD_LINK', 50],
    ['RECORD_LINKED', 51], ['RECORD_UNLINK', 20], ['RECORD_UNLINKED', 21],
    ['MASK_SET', 30], ['MASK_CLEAR', 2], ['RING_LOCKED', 33],
    ['RING_TAIL', 34], ['LOG_INTEREST', 44], ['RING_WRITTEN', 35],
    ['RING_COMMIT', 36], ['RING_LOGGED', 37], ['BELL_PENDING', 20],
    ['CONTROL_LOCKED', 4, 'ask'],
    ['CLAIM_GENERATION', 5, 'kill'], ['CLAIM_ENTERED', 5, 'kill'],
    ['REAP_DEAD', 1, 'kill'], ['REAP_SHARD', 3, 'kill'],
    ['REAP_DONE', 1, 'kill'], ['HOUSEKEEPER', 1],
    ['WIPE_BEGUN', 2, 'wipe'], ['WIPE_MARKED', 3, 'wipe'],
    ['WIPE_EMPTY', 2, 'wipe'], ['RESYNC_WALK', 5, 'wipe'],
    ['RESYNC_END', 3, 'wipe'],
    ['CHAIN_ITEM', 21], ['CHAIN_PUSHED', 22], ['CHAIN_FREE', 23],
    ['CHAIN_FREED', 24], ['PRESENCE_FILLED', 15], ['PRESENCE_ENTER', 16],
    ['PRESENCE_JOINED', 17], ['PRESENCE_LINKED', 18],
    ['PRESENCE_COUNTED', 19], ['PRESENCE_SWAPPED', 20],
    ['PRESENCE_LEAVE', 15], ['PRESENCE_LEFT', 16],
    ['PRESENCE_UNLINKED', 17], ['PRESENCE_GONE', 18],
    ['PRESENCE_READ', 10], ['PRESENCE_DROP', 1, 'alone'],
    ['TALLY_NEW', 12], ['TALLY_SET', 4], ['TALLY_REMOVE', 8],
];

const CHANNELS = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];


const only = process.env.POINT;


suite('a worker is killed at', { concurrency: 2, timeout: 600000 },
      async (s) => {
    for (const [point, nth, how] of POINTS) {
        if (only && !only.split(',').includes(point)) {
            continue;
        }

        s.it(point, () => run(s, point, nth, how), 60000);
    }
});


async function run(s, point, nth, how) {
    const server = await s.start({
        module: TEST_MODULE,
        workers: 4,
        hub: 'client_insecure on; api_insecure on; '
             + 'channel_limit 2000; channel_max_length 1000;' + ROOM_HUB,
        http: `centrifugo_test_kill ${point} ${nth};`,
        locations: 'location = /wipe { centrifugo_test_wipe main; }'
                   + 'location = /ask { centrifugo_test_ask main; }',
        anyWorkers: true,
    });

    server.allow(/exited on signal 9/);

    await until('four workers', () => server.workers().length === 4);

    const numbers = new Numbers(server, CHANNELS);
    let killed = 0;
    const died = () => (server.log().match(/exited on signal 9/g) || [])
        .length > killed;
    const kill = (pid) => {
        killed++;
        process.kill(pid, 'SIGKILL');
    };
    const list = [];
    const closed = new Set();

    const subscriber = async () => {
        for (let i = 0; i < 20; i++) {
            try {
                const c = await Client.connect(server.ws());

                c.ws.on('close', () => closed.add(c));

                for (const channel of CHANNELS) {
                    await c.subscribe(channel);
                }

                return c;
            } catch {
                await sleep(50);
            }
        }

        throw new Error('no connection in a second');
    };

    /* channels of all lengths come and go, by two clients anywhere */

    let stop = false;
    const name = (i) => `churn${i}` + '.'.repeat(i * 7);

    const churn = async () => {
        while (!stop) {
            let c;

            try {
                c = await Client.connect(server.ws());

                for (let i = 0; i < 120 && !stop; i++) {
                    await c.subscribe(name(i));
                }

                for (let i = 0; i < 120 && !stop; i++) {
                    await c.call({ unsubscribe: { channel: name(i) } });
                }
            } catch {
                await sleep(20);
            }

            if (c) {
                c.terminate();
            }
        }
    };

    const churns = [churn(), churn()];
    const room = new Room(server);

    try {
        for (let i = 0; i < 12; i++) {
            list.push(await subscriber());
        }

        numbers.start();
        room.start();

        if (how === 'kill') {
            await sleep(200);
            kill(server.workers()[0]);
        }

        await until(`a worker to die at ${point}`, async () => {
            if (how === 'wipe' || how === 'ask') {
                await server.get(`/${how}`).catch(() => {});
            }

            if (how === 'alone' && room.alone.size && !died()) {
                kill([...room.alone][0].worker);
                await until('it to be dead', () => (server.log()
                    .match(/exited on signal 9/g) || []).length >= killed);
                await sleep(300);
            }

            return died();
        }, 20000, 50);

        await sleep(500);

    } finally {
        stop = true;
        await Promise.all(churns);
        await numbers.stop();
    }

    try {
        await room.check({ heard: how !== 'wipe' });
    } finally {
        await room.end();
    }

    /* the locks of all shards are free; the same and others are heard */

    for (let i = 0; i < 4; i++) {
        for (const c of CHANNELS) {
            await numbers.one(c);
        }
    }

    for (let i = 0; i < 64; i++) {
        await numbers.api.publish(`nobody${i}`, i);
    }

    await numbers.end();

    const living = list.filter((c) => !closed.has(c));

    /* where workers are killed until it happens, all may be dead */

    assert.ok(living.length > 0 || how === 'alone', 'somebody lives');

    for (const c of living) {
        await numbers.check(c);
        c.terminate();
    }

    const metric = (name) => server.metric(`centrifugo_hub_${name}`);

    if (how === 'wipe') {
        await until('all to have put their channels back',
                    async () => await metric('resync_pending') === 0);
        assert.ok(await metric('shard_wipes') > 0);
    } else {
        assert.equal(await metric('shard_wipes'), 0);
    }

    await until('four workers', () => server.workers().length === 4);

    for (const what of ['clients', 'users', 'subscriptions', 'channels']) {
        await until(`no ${what}`, async () =>
            await server.metric(`centrifugo_node_num_${what}`) === 0, 6000);
    }

    await until('all slots to be held by the living', async () => {
        const { body } = await server.get('/metrics');

        return /workers\{hub="main",state="live"\} 4\n/.test(body)
            && /workers\{hub="main",state="dead"\} 0\n/.test(body);
    }, 6000);

    const { body } = await server.get('/metrics');

    assert.match(body, /zone_used_bytes\{hub="main",kind="channels"\} 0\n/);

    const pages = Number(/zone_pages\{hub="main",state="used"\} (\d+)/
                         .exec(body)[1]);

    /* one page for each class of each shard stays, for the next channel */

    assert.ok(pages <= 8 * 8, `${pages} pages are used by nothing`);

    await server.finish();
    s.done(server);
}
