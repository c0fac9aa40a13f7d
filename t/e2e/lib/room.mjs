/*
 * A presence channel that clients come to and go from all the time, and some
 * who watch: presence has to be what is the case, and of each client id joins
 * and leaves have to come by turns.
 *
 * The hub has ROOM_HUB. Infos are a number, some of 3,000 digits: longer than
 * an item.
 */

import assert from 'node:assert/strict';

import { Client } from './client.mjs';
import { hold, sleep, until } from './server.mjs';

const NAME = 'room:all';
const USERS = 4;

export const ROOM_HUB = `user $arg_user; connection_info $arg_info;
    presence_info_max 4k;
    namespace room { presence on; join_leave on; }`;


export class Room {

    constructor(server) {
        this.server = server;
        this.here = new Map();          /* id: {user, at} */
        this.watchers = [];
        this.alone = new Set();         /* who is in a channel of its own */
        this.wrong = [];
        this.n = 0;
    }

    start(watchers = 2, comers = 3) {
        hold(() => { this.stopped = true; });

        const forever = async (turn, pause) => {
            while (!this.stopped) {
                try {
                    await turn();
                } catch { /* its worker died */ }

                await sleep(pause);
            }
        };

        this.running = [
            ...Array.from({ length: watchers },
                          () => forever(() => this.watch(), 20)),
            ...Array.from({ length: comers },
                          () => forever(() => this.come(), 5)),
        ];
    }

    async connect(join_leave) {
        const n = this.n++;
        const user = `u${n % USERS}`;
        const info = '1'.repeat(n % 2 ? 3000 : 10);
        const c = await Client.connect(
            `${this.server.ws()}?user=${user}&info=${info}`);

        c.user = user;
        c.closed.then(() => {
            this.here.delete(c.id);
            this.alone.delete(c);
        });

        c.enter = async (channel = NAME) => {
            const at = Date.now();
            const { subscribe } = await c.call({ subscribe: {
                channel, join_leave } });

            assert.ok(subscribe, `not in ${channel}`);

            if (channel === NAME && !c.end) {
                this.here.set(c.id, { user, at });
            }
        };

        c.leave = (channel) => {
            this.here.delete(channel === NAME ? c.id : null);
            return c.call({ unsubscribe: { channel } });
        };

        return c;
    }

    /* Is told of all from the time that its subscribe is answered. */

    async watch() {
        const c = await this.connect(true);
        const take = c.take.bind(c);
        const w = { client: c, heard: new Map(), at: Infinity };

        c.take = (text) => text.split('\n').forEach((line) => {
            const m = /^\{"push":\{"channel":"room:all","(join|leave)":\{"info":\{"user":"(u\d)","client":"([-0-9a-f]{36})",/
                .exec(line);

            if (!m) {
                take(line);
                return;
            }

            const [, what, , id] = m;

            if (w.heard.get(id) === what) {
                this.wrong.push(`${id}: two of ${what}`);
            }

            w.heard.set(id, what);
        });

        try {
            await c.enter();
        } catch (e) {
            c.terminate();
            throw e;
        }

        w.at = Date.now();
        this.watchers.push(w);
        await c.closed;
        this.watchers.splice(this.watchers.indexOf(w), 1);
    }

    async come() {
        const c = await this.connect(false);
        const own = Array.from({ length: 4 }, (_, i) =>
            `room:${this.n}.${i}`);

        try {
            await c.enter();

            for (const channel of own) {
                await c.enter(channel);
            }

            this.alone.add(c);

            for (let i = 0; i < 3 && !this.stopped; i++) {
                await c.call({ presence: { channel: NAME } });
                await c.leave(NAME);
                await c.leave(own[i]);
                await c.enter(own[i]);
                await c.enter();
            }
        } catch (e) {
            c.terminate();
            throw e;
        }

        /* some stay until the end */

        if (this.stopped) {
            this.stayed.push(c);
        } else if (this.n % 3) {
            c.terminate();
        } else {
            await c.close(1000);
        }
    }

    /*
     * Nobody comes or goes any more. With `heard`, each leave was told: not
     * of those whose worker died before it had put back what a wipe took.
     */
    async check({ heard = true } = {}) {
        this.stopped = true;
        this.stayed = [];

        /* watchers wait for their ends */

        await Promise.race([sleep(1000), Promise.all(this.running)]);

        await until('a watcher', () => this.watchers.length > 0);

        assert.ok(this.here.size > 1, `${this.here.size} are there`);

        const want = () => [...this.here].map(([id, x]) => `${id} ${x.user}`)
            .sort();
        const [{ client }] = this.watchers;
        let got;

        await until('presence to be what is the case', async () => {
            const { presence } = (await client.call({
                presence: { channel: NAME } })).presence;

            got = Object.entries(presence).map(([id, x]) => {
                assert.equal(id, x.client);
                return `${id} ${x.user}`;
            }).sort();

            return got.join() === want().join();
        }, 6000).catch((e) => {
            assert.deepEqual(got, want(), e.message);
        });

        const stats = (await client.call({
            presence_stats: { channel: NAME } })).presence_stats;

        assert.deepEqual(stats, { num_clients: this.here.size, num_users:
            new Set([...this.here.values()].map((x) => x.user)).size });

        const told = () => {
            const wrong = [...this.wrong];

            for (const w of this.watchers) {
                for (const [id, what] of w.heard) {
                    if ((what === 'join') !== this.here.has(id)) {
                        wrong.push(`${id}: the last was a ${what}`);
                    }
                }

                for (const [id, x] of this.here) {
                    if (x.at > w.at && !w.heard.has(id)) {
                        wrong.push(`${id}: no join`);
                    }
                }
            }

            return wrong;
        };

        if (heard) {
            await until('all to be told', () => told().length === 0, 3000)
                .catch(() => assert.deepEqual(told(), []));
        }
    }

    end() {
        this.stopped = true;

        for (const c of [...(this.stayed || []),
                         ...this.watchers.map((w) => w.client)])
        {
            c.terminate();
        }

        return Promise.all(this.running);
    }
}
