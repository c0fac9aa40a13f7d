/*
 * An application that NGINX calls: answers well, late, half or not at all.
 */

import dgram from 'node:dgram';
import http from 'node:http';
import net from 'node:net';

import { hold, release, sleep } from './server.mjs';


/*
 * /ok, /size/N, /chunked/N, /eof/N   a whole answer
 * /slow/MS                           one after that time
 * /status/N                          one of that status
 * /cut, /cutchunked                  one without its end
 * /reset                             none
 * /echo                              JSON of the request
 */
export class Backend {

    async start() {
        this.connections = 0;
        this.requests = 0;
        this.now = 0;                   /* requests under way, their maximum */
        this.most = 0;

        this.server = http.createServer((req, res) => this.answer(req, res));
        this.server.keepAliveTimeout = 60000;
        this.server.on('connection', (socket) => {
            this.connections++;
            socket.on('error', () => {});
        });

        await new Promise((ok) => this.server.listen(0, '127.0.0.1', ok));
        this.port = this.server.address().port;
        this.end = hold(() => this.stop());

        return this;
    }

    stop() {
        release(this.end);
        this.server.closeAllConnections();
        this.server.close();
    }

    async answer(req, res) {
        const parts = [];

        this.requests++;
        this.now++;
        this.most = Math.max(this.most, this.now);
        res.on('close', () => { this.now--; });

        for await (const b of req) {
            parts.push(b);
        }

        const [, what, arg] = req.url.split(/[/?]/);
        const n = Number(arg || 0);
        const bytes = () => Buffer.alloc(n, 'x');

        res.on('error', () => {});

        switch (what) {

        case 'size':
            res.setHeader('Content-Length', n);
            return res.end(bytes());

        case 'chunked':
            res.write(bytes());
            return setTimeout(() => res.end(), 5);

        case 'eof':
            res.useChunkedEncodingByDefault = false;
            res.chunkedEncoding = false;
            res.shouldKeepAlive = false;
            res.removeHeader('Transfer-Encoding');
            res.removeHeader('Content-Length');
            req.socket.end('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n'
                           + bytes());
            return undefined;

        case 'slow':
            await sleep(n);
            return res.end('{"slow":true}');

        case 'status':
            res.statusCode = n;
            return res.end(n === 204 ? undefined : '{"status":true}');

        case 'cut':
            res.setHeader('Content-Length', 100);
            res.write('half of it');
            return setTimeout(() => req.socket.destroy(), 5);

        case 'cutchunked':
            res.write('half of it');
            return setTimeout(() => req.socket.destroy(), 5);

        case 'reset':
            return req.socket.destroy();

        case 'echo':
            return res.end(JSON.stringify({
                method: req.method, url: req.url, raw: req.rawHeaders,
                headers: req.headers, body: Buffer.concat(parts).toString(),
            }));

        default:
            res.setHeader('Content-Length', 11);
            return res.end('{"ok":true}');
        }
    }
}


/* Says that every name is at 127.0.0.1. */

export async function startNames() {
    const socket = dgram.createSocket('udp4');

    socket.on('message', (q, peer) => {
        let end = 12;

        while (q[end]) {
            end += q[end] + 1;
        }

        const question = q.subarray(12, end + 5);
        const isA = q.readUInt16BE(end + 1) === 1;

        socket.send(Buffer.concat([
            q.subarray(0, 2), Buffer.from([0x81, 0x80, 0, 1, 0, isA ? 1 : 0,
                                           0, 0, 0, 0]),
            question,
            isA ? Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0,
                               0, 1])
                : Buffer.alloc(0),
        ]), peer.port, peer.address);
    });

    await new Promise((ok) => socket.bind(0, '127.0.0.1', ok));

    const end = hold(() => {
        release(end);
        socket.close();
    });

    return { port: socket.address().port, stop: end };
}


/* A FastCGI application with one answer. */

export async function startFastcgi() {
    const record = (type, body) => Buffer.concat([
        Buffer.from([1, type, 0, 1, body.length >> 8, body.length & 255, 0,
                     0]),
        Buffer.from(body),
    ]);
    const sockets = new Set();

    const server = net.createServer((socket) => {
        let seen = '';

        sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => sockets.delete(socket));
        socket.on('data', (b) => {
            seen += b.toString('latin1');

            if (!seen.endsWith('\u0001\u0005\0\u0001\0\0\0\0')) {
                return;                 /* the end of its input */
            }

            socket.write(record(6, 'Content-Type: text/plain\r\n\r\nfcgi'));

            socket.write(record(6, ''));
            socket.end(record(3, Buffer.alloc(8)));
        });
    });

    await new Promise((ok) => server.listen(0, '127.0.0.1', ok));

    const end = hold(() => {
        release(end);
        sockets.forEach((s) => s.destroy());
        server.close();
    });

    return { port: server.address().port, stop: end };
}
