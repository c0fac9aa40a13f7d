/*
 * Clients that read nothing: what waits for all of them together is bounded,
 * and those leave first that have the most waiting.
 */

import assert from 'node:assert/strict';
import fs from 'node:fs';

import { apiOf } from './lib/api.mjs';
import { Client } from './lib/client.mjs';
import { jwt } from './lib/jwt.mjs';
import { sleep, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const DEAF = 12;
const SIZE = 100000;


suite('overload', { timeout: 120000 }, async (s) => {
    const server = await s.start({
        workers: 1,
        zone: '16m log=4m',
        hub: `client_insecure on; api_insecure on; queue_max_size 2m;
              publication_max_size 500k; write_timeout 60s;`,
        http: 'centrifugo_queue_memory 4m;',
        listen: 'sndbuf=16k',
    });
    const api = apiOf(server);
    const slow = () => server.metric('centrifugo_hub_slow_total');
    const waiting = () => server.metric('centrifugo_hub_frame_bytes');

    const deaf = async (channel) => {
        const c = await Client.connect(server.ws());

        await c.subscribe(channel);
        await c.subscribe('all');
        c.ws._socket.pause();
        return c;
    };

    const publish = (channel) => api.publish(channel, 'x'.repeat(SIZE));

    await s.serial('what waits is within centrifugo_queue_memory', async () => {
        const reader = await Client.connect(server.ws());
        const list = [];

        await reader.subscribe('all');

        /* small ones have one message each, the large one has many */

        const small = await deaf('small');

        await publish('small');

        for (let i = 0; i < DEAF; i++) {
            list.push(await deaf(`own${i}`));
        }

        let most = 0;

        for (let round = 0; round < 40 && await slow() < 3; round++) {
            for (let i = 0; i < DEAF; i++) {
                await publish(`own${i}`);
                await publish(`own${i}`);
            }

            /* the gauge is of the last tick */

            await sleep(round % 4 ? 0 : 1050);
            most = Math.max(most, await waiting());
        }

        assert.ok(await slow() >= 3, `${await slow()} have left`);
        assert.ok(most > 1 << 20 && most <= (4 << 20) + 200000,
                  `${most} bytes at most`);
        assert.match(server.log(), /take more than centrifugo_queue_memory/);
        assert.match(server.log(), /disconnected with 3008 "slow": queues of /);

        /* whoever had little waiting is there still, and so is the reader */

        await publish('all');
        assert.equal((await reader.json()).push.channel, 'all');

        small.ws._socket.resume();

        const got = [(await small.json()).push.channel,
                     (await small.json()).push.channel];

        assert.deepEqual(got.sort(), ['all', 'small']);
        assert.ok(!small.end && !reader.end);

        for (const c of [reader, small, ...list]) {
            c.terminate();
        }

        await until('no frames', async () => await waiting() === 0, 4000);
    }, 60000);

    await s.serial('one message for all is in memory once', async () => {
        const list = [];

        for (let i = 0; i < 60; i++) {
            list.push(await deaf(`other${i}`));
        }

        const before = await slow();

        /* 60 queues of 1.5 MB are 90 MB, but in fact 1.5 MB */

        for (let i = 0; i < 15; i++) {
            await publish('all');
        }

        await sleep(1100);
        assert.ok(await waiting() <= 1600000, `${await waiting()} bytes`);
        assert.equal(await slow(), before);

        for (const c of list) {
            c.terminate();
        }

        await until('no frames', async () => await waiting() === 0, 4000);
    }, 60000);

    /*
     * OpenSSL takes up a write that was cut short only with the bytes it was
     * given, and more: whatever has joined the queue meanwhile.
     */

    await s.serial('large and small messages to a slow peer over TLS',
        async () => {
            const tls = await s.start({
                workers: 1, tls: true, tlsListen: 'sndbuf=16k',
                zone: '16m log=4m',
                hub: `client_insecure on; api_insecure on; queue_max_size 64m;
                      publication_max_size 500k; write_timeout 60s;`,
            });
            const door = apiOf(tls);
            const sizes = [];
            const c = await Client.connect(tls.wss());

            await c.subscribe('news');
            c.ws._socket.pause();

            for (let i = 0; i < 100; i++) {
                const n = i % 2 ? 100 + i : 300000 + i * 2000;

                sizes.push(n);
                await door.publish('news', 'x'.repeat(n));
                await sleep(20);

                if (i % 5 === 4 && i < 40) {
                    c.ws._socket.resume();
                    await sleep(5);
                    c.ws._socket.pause();
                }
            }

            /* the gauge is of the last tick */

            await sleep(1100);
            assert.ok(await tls.metric('centrifugo_hub_queued_bytes') > 0);
            c.ws._socket.resume();

            for (const n of sizes) {
                assert.equal((await c.json()).push.pub.data.length, n);
            }

            c.terminate();
        }, 60000);
});


/* A small message that asks for very much. */

suite('many answers', { timeout: 60000 }, async (s) => {
    const MEMBERS = 100;
    const server = await s.start({
        workers: 1,
        hub: `token_hmac_secret_key secret; api_insecure on; presence on;
              allow_presence_for_client on;
              namespace costly { channel_regex "^(a+)+$"; }`,
    });
    const connect = (claims) => Client.connect(server.ws(),
        { connect: { token: jwt({ sub: '42', ...claims }) } });
    const most = () => 1024 * Number(/^VmHWM:\s+(\d+)/m.exec(
        fs.readFileSync(`/proc/${server.workers()[0]}/status`, 'utf8'))[1]);
    const ask = Array.from({ length: 1300 }, (_, i) =>
        `{"id":${i + 1},"presence":{"channel":"room"}}`).join('\n');

    for (let i = 0; i < MEMBERS; i++) {
        await connect({ channels: ['room'], info: 'x'.repeat(2000) });
    }

    await s.serial('of one that reads nothing count at once', async () => {
        const c = await connect();
        const before = most();

        c.ws._socket.pause();
        c.frame(ask);

        await until('it to be sent away', () => new RegExp(`client ${c.id} .*`
            + 'disconnected with 3008 "slow"').test(server.log()));
        assert.ok(most() - before < 64 << 20,
                  `${(most() - before) >> 20} MB`);
    });

    await s.serial('of one that asks much others do not wait for', async () => {
        const c = await connect();
        const name = `costly:${'a'.repeat(30)}b`;
        const n = 800;

        c.frame(Array.from({ length: n }, (_, i) =>
            `{"id":${i + 1},"history":{"channel":"${name}"}}`).join('\n'));
        await server.get('/pid');

        const got = c.lines.length;

        assert.ok(got < n, `${got} of ${n} were answered first`);

        for (let i = 1; i <= n; i++) {
            const reply = await c.json();

            assert.deepEqual([reply.id, reply.error.code], [i, 107]);
        }

        c.terminate();
    });
});
