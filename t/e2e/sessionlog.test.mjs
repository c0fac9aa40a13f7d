/*
 * session_log: one line for each session that has ended, and what is in it.
 */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';

import { apiOf } from './lib/api.mjs';
import { Client, UUID } from './lib/client.mjs';
import { jwt } from './lib/jwt.mjs';
import { Raw } from './lib/raw.mjs';
import { sleep, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const LINE = new RegExp('^time=\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d[+-]\\d\\d'
    + ':\\d\\d hub=main client=(' + UUID + ') user="(.*)" addr=127\\.0\\.0\\.1 '
    + 'transport=websocket duration=(\\d+\\.\\d{3}) messages_in=(\\d+) '
    + 'messages_out=(\\d+) bytes_in=(\\d+) bytes_out=(\\d+) code=(\\d+) '
    + 'reason="([^"]*)"$');


/* longer than a line without its user */

const LONG = 'h'.repeat(1300);


suite('session_log', { timeout: 60000 }, async (s) => {
    const dir = fs.mkdtempSync('/tmp/ngx-centrifugo-sessions-');

    /* workers open it, too, as the user they run as */

    fs.chmodSync(dir, 0o755);

    const file = path.join(dir, 'sessions.log');
    const server = await s.start({
        hub: `client_insecure on; api_insecure on; drain_time 0;
              token_hmac_secret_key key; session_log ${file};`,
        hubs: {
            silent: 'client_insecure on;',
            [LONG]: `client_insecure on; session_log ${file};`,
        },
        locations: `location = /silent { centrifugo_websocket silent; }
            location = /long { centrifugo_websocket ${LONG}; }
            location = /proxied {
                set_real_ip_from 127.0.0.1;
                real_ip_header X-Forwarded-For;
                centrifugo_websocket main;
            }`,
    });
    const api = apiOf(server, { keep: false });
    let seen = 0;

    const lines = () => fs.readFileSync(file, 'utf8').split('\n').slice(0, -1);

    /* The next line, which has to be the only new one. */

    const next = async () => {
        await until('a line', () => lines().length > seen);
        assert.equal(lines().length, seen + 1);

        const m = LINE.exec(lines()[seen++]);

        assert.ok(m, lines()[seen - 1]);

        const [client, user, duration, messagesIn, messagesOut, bytesIn,
               bytesOut, code, reason] = m.slice(1);

        return { client, user, duration: +duration, messagesIn: +messagesIn,
                 messagesOut: +messagesOut, bytesIn: +bytesIn,
                 bytesOut: +bytesOut, code: +code, reason };
    };

    await s.serial('a client that closes', async () => {
        const c = await Client.open(server.ws(), { encoding: 'json' });
        const { connect } = await c.call({ connect: {
            token: jwt({ sub: 'a "quoted"\n\\ user' }, 'key') } });

        await c.subscribe('news');
        await api.publish('news', 'x'.repeat(1000));
        await c.json();
        await sleep(300);
        await c.close(1000, 'bye');

        const l = await next();

        assert.equal(l.client, connect.client);
        assert.equal(l.user, 'a \\"quoted\\"\\n\\\\ user');
        assert.ok(l.duration >= 0.3 && l.duration < 3, `${l.duration}`);
        assert.deepEqual([l.messagesIn, l.code, l.reason],
                         [2, 1000, 'it closed the session']);

        /* two replies, a push and the close frame */

        assert.equal(l.messagesOut, 4);
        assert.ok(l.bytesIn > 100 && l.bytesIn < 500, `${l.bytesIn}`);
        assert.ok(l.bytesOut > 1100 && l.bytesOut < 1500, `${l.bytesOut}`);
    });

    await s.serial('one that is sent away', async () => {
        const c = await Client.connect(server.ws());

        c.frame('{"send":{}}');
        await c.untilClosed();
        assert.deepEqual(await next().then((l) => [l.code, l.reason, l.user]),
                         [3508, 'not available', '']);
    });

    await s.serial('one that is just gone, and one that never connected',
        async () => {
            const c = await Client.connect(server.ws());

            c.terminate();
            assert.equal((await next()).code, 1006);

            const r = await Raw.open(server.port, '/connection/websocket');

            r.socket.destroy();
            assert.equal((await next()).code, 1006);
        });

    await s.serial('against RFC 6455', async () => {
        const r = await Raw.connect(server.port, '/connection/websocket');

        r.socket.write(Buffer.from([0xff, 0x80, 0, 0, 0, 0]));
        await r.end();
        assert.equal((await next()).code, 1002);
    });

    await s.serial('a hub without it writes nothing', async () => {
        const c = await Client.connect(server.ws('/silent'));

        await c.close(1000);
        await sleep(100);
        assert.equal(lines().length, seen);
    });

    await s.serial('behind a proxy, and a hub with a long name', async () => {
        const c = await Client.connect(server.ws('/proxied'),
            { headers: { 'X-Forwarded-For': '203.0.113.9' } });

        await c.close(1000);
        await until('a line', () => lines().length > seen);
        assert.match(lines()[seen++], / addr=203\.0\.113\.9 /);

        const l = await Client.connect(server.ws('/long'));

        await l.close(1000);
        await until('a line', () => lines().length > seen);
        assert.ok(lines()[seen++].includes(` hub=${LONG} client=`));
    });

    await s.serial('USR1 opens the file anew; a reload writes 3001', async () => {
        fs.renameSync(file, file + '.1');
        server.signal('SIGUSR1');
        await until('the file', () => fs.existsSync(file));
        seen = 0;

        /* workers do it one after the other */

        await sleep(200);

        const list = [];

        for (let i = 0; i < 6; i++) {
            list.push(await Client.connect(server.ws()));
        }

        server.signal('SIGHUP');
        await Promise.all(list.map((c) => c.untilClosed(4000)));
        await until('six lines', () => lines().length === 6);

        for (const line of lines()) {
            const m = LINE.exec(line);

            assert.deepEqual(m.slice(8), ['3001', 'shutdown']);
        }
    });

    await s.serial('a fast end writes them, too', async () => {
        for (let i = 0; i < 3; i++) {
            await Client.connect(server.ws());
        }

        seen = lines().length;
        await server.restart('SIGTERM');

        const last = lines().slice(seen).map((l) => LINE.exec(l).slice(8));

        assert.deepEqual(last, Array(3).fill(['1006', 'its worker ended']));
    });

    fs.rmSync(dir, { recursive: true });
});
