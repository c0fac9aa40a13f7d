/*
 * Publications that carry numbers, and the account of who got which: each
 * acknowledged one exactly once, in order.
 */

import assert from 'node:assert/strict';

import { apiOf } from './api.mjs';


export class Numbers {

    /* channels are published to in turn */

    constructor(server, channels) {
        this.api = apiOf(server, { keep: false });
        this.channels = channels;
        this.acked = new Map(channels.map((c) => [c, []]));
        this.n = 0;
        this.failed = 0;
    }

    /* One number to one channel; a call that fails may have been done. */

    async one(channel = this.channels[this.n % this.channels.length]) {
        const n = this.n++;

        try {
            await this.api.publish(channel, n);
            this.acked.get(channel).push(n);
        } catch {
            this.failed++;
        }
    }

    /* Goes on until stop(), with `pause` ms in between. */

    start(pause = 0) {
        this.stopped = false;

        this.running = (async () => {
            while (!this.stopped) {
                await this.one();

                if (pause) {
                    await new Promise((ok) => setTimeout(ok, pause));
                }
            }
        })();
    }

    async stop() {
        this.stopped = true;
        await this.running;
    }

    /* The last of each channel: what is behind it need not be waited for. */

    async end() {
        for (const c of this.channels) {
            for (let i = 0; ; i++) {
                try {
                    await this.api.publish(c, 'end');
                    break;
                } catch (e) {
                    if (i === 20) {
                        throw e;
                    }

                    await new Promise((ok) => setTimeout(ok, 100));
                }
            }
        }
    }

    /*
     * Reads what a client got until the end of each channel it is subscribed
     * to, and checks it. `from` are the numbers it must have at least.
     */
    async check(client, channels = this.channels, from = 0) {
        const got = new Map(channels.map((c) => [c, []]));
        const open = new Set(channels);

        while (open.size) {
            const { push } = await client.json(8000, 'the end of '
                                               + [...open].join());
            const { channel, pub } = push;

            if (pub.data === 'end') {
                open.delete(channel);
            } else {
                got.get(channel).push(pub.data);
            }
        }

        for (const c of channels) {
            const list = got.get(c);

            for (let i = 1; i < list.length; i++) {
                assert.ok(list[i] > list[i - 1],
                          `${c}: ${list[i]} after ${list[i - 1]}`);
            }

            const set = new Set(list);
            const missing = this.acked.get(c).filter(
                (n) => n >= from && !set.has(n));

            assert.deepEqual(missing, [], `${c}: acknowledged, not received`);
        }
    }
}
