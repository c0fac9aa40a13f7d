/*
 * The turn of the event loop between the 101 and the session.
 */

import assert from 'node:assert/strict';
import net from 'node:net';

import { hold, release, sleep, TEST_MODULE, until }
    from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const HEAD = 'GET /connection/websocket HTTP/1.1\r\nHost: a\r\n'
    + 'Connection: Upgrade\r\nUpgrade: websocket\r\n'
    + 'Sec-WebSocket-Version: 13\r\n';
const KEY = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';


suite('handshake', { concurrency: 2, timeout: 60000 }, async (s) => {

    /*
     * The test build sleeps behind the 101, so the timer is due before the
     * event that makes the session.
     */

    s.it('worker_shutdown_timeout in between', async () => {
        const server = await s.start({
            module: TEST_MODULE,
            workers: 1,
            hub: 'client_insecure on; api_insecure on; '
                + 'test_handshake_delay 1500ms;',
            shutdown: '1s',
        });
        const old = server.workers();
        const sockets = [];

        for (let i = 0; i < 2; i++) {
            const socket = net.connect(server.port, '127.0.0.1');
            const end = hold(() => socket.destroy());

            socket.text = '';
            socket.on('data', (b) => { socket.text += b.toString('latin1'); });
            socket.on('error', () => {});
            socket.on('close', () => { socket.over = true; release(end); });
            socket.write(HEAD);
            sockets.push(socket);
        }

        await sleep(200);               /* no longer idle: it stays open */
        server.signal('SIGHUP');
        await until('a new worker', () => server.workers()
            .some((p) => !old.includes(p)));
        await sleep(300);

        sockets.forEach((socket) => socket.write(KEY));
        await until('both to be closed',
                    () => sockets.every((socket) => socket.over), 8000);
        assert.match(sockets[0].text + sockets[1].text, /^HTTP\/1.1 101/);

        await until('the old worker to end',
                    () => !server.workers().some((p) => old.includes(p)));
        assert.deepEqual(server.badLines(), []);
    });

    s.it('a peer that leaves in between', async () => {
        const server = await s.start({
            module: TEST_MODULE,
            workers: 1,
            hub: 'client_insecure on; api_insecure on; '
                + 'test_handshake_delay 100ms;',
        });

        for (const how of ['destroy', 'end', 'resetAndDestroy']) {
            const socket = net.connect(server.port, '127.0.0.1');

            socket.on('error', () => {});
            socket.write(HEAD + KEY);
            await new Promise((ok) => socket.once('data', ok));
            socket[how]();
        }

        await until('no session', async () => await server.metric(
            'centrifugo_node_num_clients') === 0);
    });

    s.it('a preflight with a body leaves the connection in order', async () => {
        const server = await s.start({
            hub: 'client_insecure on; api_insecure on; allowed_origins *;',
        });
        const socket = net.connect(server.port, '127.0.0.1');
        let text = '';

        socket.on('data', (b) => { text += b.toString('latin1'); });
        socket.write('OPTIONS /connection/websocket HTTP/1.1\r\nHost: a\r\n'
                     + 'Origin: https://a.example\r\nContent-Length: 5\r\n'
                     + '\r\nhello'
                     + 'GET /health HTTP/1.1\r\nHost: a\r\n'
                     + 'Connection: close\r\n\r\n');
        await new Promise((ok) => socket.once('close', ok));

        assert.match(text, /^HTTP\/1\.1 204 /);
        assert.match(text, /Access-Control-Allow-Origin: https:\/\/a\.example/);
        assert.match(text, /\r\n\r\nHTTP\/1\.1 200 [^]*\{\}$/);
    });
});
