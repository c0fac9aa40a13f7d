/*
 * A plain client of the protocol over the `ws` package: it sends what it is
 * told, byte for byte, and keeps what comes. With PROTOCOL=protobuf in the
 * environment what it is told, and what it keeps, is translated.
 */

import WebSocket from 'ws';

import { decode, encode, subscribes } from './protobuf.mjs';
import { hold, release, within } from './server.mjs';

export const PROTOBUF = process.env.PROTOCOL === 'protobuf';

export const UUID =
    '[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}';

/* Its reply shows that everything sent before has been answered. */

const MARK = 4000000001;
const MARK_COMMAND = `{"id":${MARK},"unsubscribe":{"channel":"mark"}}`;
const MARK_REPLY = `{"id":${MARK},"unsubscribe":{}}`;


export class Client {

    /*
     * pings: 'answer' (the default), 'keep' them among the lines, 'ignore'.
     * encoding: 'json' or 'protobuf', whatever the environment says.
     */
    constructor(url, { protocols, headers, origin, pings = 'answer',
                       encoding } = {}) {
        this.protobuf = encoding ? encoding === 'protobuf'
                                 : PROTOBUF && !protocols;
        this.deltas = new Set();
        this.asked = new Map();
        this.lines = [];
        this.waiting = [];
        this.calls = new Map();
        this.lastId = 100;
        this.pings = pings;
        this.worker = undefined;
        this.end = null;

        this.ws = new WebSocket(url, protocols
                                     || (this.protobuf ? ['centrifuge-protobuf']
                                                       : []), {
            headers, origin, rejectUnauthorized: false,
            perMessageDeflate: false,
        });

        this.ws.on('upgrade', (res) => {
            this.worker = Number(res.headers['x-worker']);
        });

        this.ws.on('message', (data) => this.take(
            this.protobuf ? decode(data, this.deltas, this.asked)
                          : data.toString('utf8')));

        this.opened = new Promise((ok, fail) => {
            this.ws.once('open', ok);
            this.ws.once('error', fail);
        });

        this.ws.on('error', (e) => { this.error = e; });

        const held = hold(() => this.terminate());

        this.closed = new Promise((ok) => {
            this.ws.once('close', (code, reason) => {
                release(held);
                this.end = { code, reason: reason.toString('utf8') };

                for (const w of this.waiting.splice(0)) {
                    w.fail(this.gone());
                }

                for (const w of this.calls.values()) {
                    w.fail(this.gone());
                }

                this.calls.clear();
                ok(this.end);
            });
        });
    }

    static async open(url, options) {
        const c = new Client(url, options);

        await within(5000, 'WebSocket to open', c.opened);
        return c;
    }

    /* Opened and connected; options.connect is the body of the command. */

    static async connect(url, options = {}) {
        const c = await Client.open(url, options);
        const reply = await c.call({ connect: options.connect || {} });

        if (!reply.connect) {
            c.terminate();
            throw new Error('not connected: ' + JSON.stringify(reply));
        }

        c.id = reply.connect.client;
        c.connectResult = reply.connect;
        return c;
    }

    gone() {
        return new Error('connection closed: '
                         + `${this.end.code} "${this.end.reason}"`);
    }

    take(text) {
        for (const line of text.split('\n')) {
            if (line === '{}' && this.pings !== 'keep') {
                if (this.pings === 'answer'
                    && this.ws.readyState === WebSocket.OPEN)
                {
                    this.frame('{}');
                }

                continue;
            }

            if (this.calls.size) {
                const m = /^\{"id":(\d+)[,}]/.exec(line);
                const w = m && this.calls.get(Number(m[1]));

                if (w) {
                    this.calls.delete(Number(m[1]));
                    w.ok(JSON.parse(line));
                    continue;
                }
            }

            if (this.waiting.length) {
                this.waiting.shift().ok(line);
            } else {
                this.lines.push(line);
            }
        }
    }

    /*
     * One text frame as it is, or a binary one when given a Buffer; with
     * Protobuf a binary one of what the text says.
     */

    frame(data, binary = Buffer.isBuffer(data)) {
        if (this.protobuf) {
            const text = data.toString('utf8');

            if (binary && !Buffer.from(text).equals(data)) {
                this.ws.send(data, { binary });
                return;
            }

            subscribes(text, this.asked);
            this.ws.send(encode(text), { binary: true });
            return;
        }

        this.ws.send(data, { binary });
    }

    /* One frame with these commands. */

    send(...commands) {
        this.frame(commands.map((c) => JSON.stringify(c)).join('\n'));
    }

    /* The next line that no call() is waiting for. */

    line(ms = 5000, what = 'a line') {
        if (this.lines.length) {
            return Promise.resolve(this.lines.shift());
        }

        if (this.end) {
            return Promise.reject(this.gone());
        }

        const w = {};
        const p = new Promise((ok, fail) => { w.ok = ok; w.fail = fail; });

        this.waiting.push(w);

        return within(ms, what, p).catch((e) => {
            this.waiting = this.waiting.filter((x) => x !== w);
            throw e;
        });
    }

    async json(ms, what) {
        return JSON.parse(await this.line(ms, what));
    }

    /* Sends a command under a new id and resolves with its reply. */

    call(command, ms = 5000) {
        if (this.end) {
            return Promise.reject(this.gone());
        }

        const id = ++this.lastId;
        const p = new Promise((ok, fail) => {
            this.calls.set(id, { ok, fail });
        });

        this.send({ id, ...command });
        return within(ms, 'a reply to ' + JSON.stringify(command), p);
    }

    async subscribe(channel) {
        const reply = await this.call({ subscribe: { channel } });

        if (!reply.subscribe) {
            throw new Error(`not subscribed to ${channel}: `
                            + JSON.stringify(reply));
        }

        return reply.subscribe;
    }

    /* The lines up to the point where everything sent so far is answered. */

    async settle(ms = 5000) {
        const lines = [];

        this.frame(MARK_COMMAND);

        for ( ;; ) {
            const line = await this.line(ms, 'the reply to the mark');

            if (line === MARK_REPLY) {
                return lines;
            }

            lines.push(line);
        }
    }

    /* The lines up to the close, and the close. */

    async untilClosed(ms = 5000) {
        const end = await within(ms, 'the connection to be closed',
                                 this.closed);

        return { lines: this.lines.splice(0), ...end };
    }

    async close(code, reason) {
        this.ws.close(code, reason);
        return within(8000, 'the close handshake', this.closed);
    }

    terminate() {
        this.ws.terminate();
    }
}


/*
 * Opens clients by open() until each of `pids` has at least `n` of them:
 * proof that all workers hold connections. Resolves with all of them.
 */
export async function onAllWorkers(pids, n, open, limit = 200) {
    const count = new Map(pids.map((p) => [p, 0]));
    const list = [];

    while ([...count.values()].some((k) => k < n)) {
        if (list.length >= limit) {
            throw new Error(`${limit} connections did not reach every worker: `
                            + JSON.stringify([...count]));
        }

        const c = await open(list.length);

        if (!count.has(c.worker)) {
            throw new Error(`a connection in worker ${c.worker}, which is`
                            + ` none of ${pids}`);
        }

        count.set(c.worker, count.get(c.worker) + 1);
        list.push(c);
    }

    return list;
}
