/*
 * A TCP client that writes any bytes: handshakes and frames by hand.
 */

import crypto from 'node:crypto';
import net from 'node:net';

import { hold, release, within } from './server.mjs';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

export const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

export const TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;

export const acceptOf = (key) =>
    crypto.createHash('sha1').update(key + GUID).digest('base64');


/*
 * One frame. `announce` is the length its header names (a number or bigint),
 * `size` how many bytes the length takes: 7 bits, 16 or 64.
 */
export function frame(opcode, payload = '', { fin = true, rsv = 0,
                                               mask = true, announce,
                                               size } = {}) {
    const data = Buffer.isBuffer(payload) ? payload
                                          : Buffer.from(payload, 'utf8');
    const n = BigInt(announce === undefined ? data.length : announce);
    const bits = size || (n < 126n ? 7 : n < 65536n ? 16 : 64);
    const head = Buffer.alloc(2 + (bits === 7 ? 0 : bits / 8)
                              + (mask ? 4 : 0));

    head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
    head[1] = mask ? 0x80 : 0;

    if (bits === 7) {
        head[1] |= Number(n);
    } else if (bits === 16) {
        head[1] |= 126;
        head.writeUInt16BE(Number(n), 2);
    } else {
        head[1] |= 127;
        head.writeBigUInt64BE(n, 2);
    }

    if (!mask) {
        return Buffer.concat([head, data]);
    }

    const m = crypto.randomBytes(4);
    const out = Buffer.from(data);

    m.copy(head, head.length - 4);

    for (let i = 0; i < out.length; i++) {
        out[i] ^= m[i & 3];
    }

    return Buffer.concat([head, out]);
}


export function closePayload(code, reason = '') {
    const b = Buffer.alloc(2);

    b.writeUInt16BE(code);
    return Buffer.concat([b, Buffer.isBuffer(reason) ? reason
                                                     : Buffer.from(reason)]);
}


/*
 * A handshake request. A header given as undefined is left out, one given as
 * a list is sent once for each element.
 */
export function upgrade(uri = '/connection/websocket', {
    method = 'GET', version = '1.1', headers = {} } = {})
{
    const all = {
        'Host': 'localhost',
        'Upgrade': 'websocket',
        'Connection': 'Upgrade',
        'Sec-WebSocket-Key': KEY,
        'Sec-WebSocket-Version': '13',
        ...headers,
    };

    let text = `${method} ${uri} HTTP/${version}\r\n`;

    for (const [name, value] of Object.entries(all)) {
        for (const v of Array.isArray(value) ? value : [value]) {
            if (v !== undefined) {
                text += `${name}: ${v}\r\n`;
            }
        }
    }

    return text + '\r\n';
}


export class Raw {

    constructor(port) {
        this.data = Buffer.alloc(0);
        this.finished = false;
        this.wake = () => {};

        this.socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
        this.opened = new Promise((ok, fail) => {
            this.socket.once('connect', ok);
            this.socket.once('error', fail);
        });

        this.socket.on('data', (b) => {
            this.data = Buffer.concat([this.data, b]);
            this.wake();
        });

        this.socket.on('error', (e) => { this.error = e; });

        const held = hold(() => this.destroy());

        this.socket.once('close', () => release(held));

        this.ended = new Promise((ok) => {
            const end = () => {
                this.finished = true;
                this.wake();
                ok();
            };

            this.socket.once('end', end);
            this.socket.once('close', end);
        });
    }

    static async tcp(port) {
        const r = new Raw(port);

        await within(5000, 'a TCP connection', r.opened);
        return r;
    }

    /* With the handshake done. */

    static async open(port, uri, options) {
        const r = await Raw.tcp(port);

        r.write(upgrade(uri, options));
        r.head = await r.response();

        if (!r.head || r.head.status !== 101) {
            r.destroy();
            throw new Error(r.head ? `handshake answered ${r.head.status}: `
                                     + r.head.body
                                   : 'handshake not answered');
        }

        r.worker = Number(r.head.headers['x-worker']);
        return r;
    }

    /* With the connect command done too. */

    static async connect(port, uri, options) {
        const r = await Raw.open(port, uri, options);

        r.text('{"id":1,"connect":{}}');
        r.connectReply = await r.message();
        return r;
    }

    write(bytes) {
        return this.socket.write(bytes);
    }

    /* Each byte in a segment of its own, as far as TCP lets us. */

    async drip(bytes) {
        const b = Buffer.from(bytes);

        for (let i = 0; i < b.length; i++) {
            await new Promise((ok) => this.socket.write(b.subarray(i, i + 1),
                                                        ok));
            await new Promise((ok) => setImmediate(ok));
        }
    }

    text(payload, options) {
        return this.write(frame(TEXT, payload, options));
    }

    /* Waits until probe(data) gives something; null at the end of data. */

    async need(probe, ms, what) {
        const look = async () => {
            for ( ;; ) {
                const v = probe(this.data);

                if (v) {
                    return v;
                }

                if (this.finished) {
                    return null;
                }

                await new Promise((ok) => { this.wake = ok; });
            }
        };

        return within(ms, what, look());
    }

    /* One HTTP response: {status, headers, body}; null at the end. */

    async response({ ms = 5000, method = 'GET' } = {}) {
        const at = await this.need(
            (d) => {
                const i = d.indexOf('\r\n\r\n');
                return i < 0 ? null : { i };
            }, ms, 'a response head');

        if (!at) {
            return null;
        }

        const [first, ...rest] =
            this.data.subarray(0, at.i).toString('latin1').split('\r\n');
        const headers = {};

        for (const line of rest) {
            const k = line.indexOf(':');
            headers[line.slice(0, k).toLowerCase()] = line.slice(k + 1).trim();
        }

        this.data = this.data.subarray(at.i + 4);

        const status = Number(first.split(' ')[1]);
        let body = '';

        if (status === 101 || status === 100 || status === 204
            || method === 'HEAD')
        {
            return { status, headers, body };
        }

        if (headers['content-length'] !== undefined) {
            const n = Number(headers['content-length']);

            const got = await this.need((d) => d.length >= n, ms,
                                        'a response body');
            if (!got) {
                throw new Error('the response body was cut');
            }

            body = this.data.subarray(0, n).toString('utf8');
            this.data = this.data.subarray(n);

        } else if (headers['transfer-encoding'] === 'chunked') {
            for ( ;; ) {
                const c = await this.need((d) => {
                    const i = d.indexOf('\r\n');

                    if (i < 0) {
                        return null;
                    }

                    const n = parseInt(d.subarray(0, i).toString(), 16);
                    return d.length >= i + 2 + n + 2 ? { i, n } : null;
                }, ms, 'a chunk');

                if (!c) {
                    throw new Error('the response body was cut');
                }

                body += this.data.subarray(c.i + 2, c.i + 2 + c.n)
                    .toString('utf8');
                this.data = this.data.subarray(c.i + 2 + c.n + 2);

                if (c.n === 0) {
                    break;
                }
            }

        } else {
            await within(ms, 'the end of the response', this.ended);
            body = this.data.toString('utf8');
            this.data = Buffer.alloc(0);
        }

        return { status, headers, body };
    }

    /*
     * The next frame from the server: {fin, rsv, opcode, masked, payload};
     * null if the connection ended before it.
     */
    async frame(ms = 5000) {
        const f = await this.need((d) => {
            if (d.length < 2) {
                return null;
            }

            let n = d[1] & 127;
            let at = 2;

            if (n === 126) {
                if (d.length < 4) {
                    return null;
                }
                n = d.readUInt16BE(2);
                at = 4;

            } else if (n === 127) {
                if (d.length < 10) {
                    return null;
                }
                n = Number(d.readBigUInt64BE(2));
                at = 10;
            }

            if (d.length < at + n) {
                return null;
            }

            return {
                fin: !!(d[0] & 0x80), rsv: (d[0] >> 4) & 7,
                opcode: d[0] & 15, masked: !!(d[1] & 0x80),
                payload: d.subarray(at, at + n), size: at + n,
            };
        }, ms, 'a frame');

        if (f) {
            this.data = this.data.subarray(f.size);
        }

        return f;
    }

    /* The payload of the next frame, which must be a whole text message. */

    async message(ms) {
        const f = await this.frame(ms);

        if (!f) {
            throw new Error('the connection ended instead of a message');
        }

        if (f.opcode !== TEXT || !f.fin || f.rsv || f.masked) {
            throw new Error('not a text message: ' + show(f));
        }

        return f.payload.toString('utf8');
    }

    /* The next frame must be a close: {code, reason}. */

    async closeFrame(ms) {
        const f = await this.frame(ms);

        if (!f) {
            throw new Error('the connection ended without a close frame');
        }

        if (f.opcode !== CLOSE) {
            throw new Error('not a close frame: ' + show(f));
        }

        return f.payload.length < 2 ? { code: 1005, reason: '' } : {
            code: f.payload.readUInt16BE(0),
            reason: f.payload.subarray(2).toString('utf8'),
        };
    }

    async end(ms = 5000) {
        return within(ms, 'the end of the connection', this.ended);
    }

    destroy() {
        this.socket.destroy();
    }

    /*
     * Ends with a TCP reset.  Not while the other side is ending: libuv
     * refuses to reset a socket that shuts down, and Node then waits for it
     * at exit for ever.
     */
    reset() {
        if (this.socket.readyState === 'open' && !this.finished) {
            this.socket.resetAndDestroy();
        } else {
            this.destroy();
        }
    }
}


function show(f) {
    return JSON.stringify({ ...f, payload: f.payload.toString('latin1') });
}
