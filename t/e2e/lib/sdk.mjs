/*
 * The official client SDK over the `ws` package; with PROTOCOL=protobuf in the
 * environment that of Protobuf, where payloads are bytes.
 */

import { Centrifuge as OfJson } from 'centrifuge';
import { Centrifuge as OfProtobuf } from 'centrifuge/build/protobuf';
import WebSocket from 'ws';

import { PROTOBUF } from './client.mjs';
import { hold, within } from './server.mjs';

const made = new Set();


/*
 * Tests give and expect objects; of Protobuf the SDK takes and gives bytes.
 */
class OfObjects extends OfProtobuf {

    _formatOverride() {
        super._formatOverride();

        const codec = this._codec;
        const { encodeCommands, decodeReplies, applyDeltaIfNeeded } = codec;
        const wire = Symbol('bytes');

        const bytes = (v) => new TextEncoder().encode(JSON.stringify(v));

        const object = (v) => {
            try {
                return JSON.parse(new TextDecoder().decode(v));
            } catch {
                return v;
            }
        };

        const objects = (m) => {

            /* fields that are not there are no bytes, which are no object */

            for (const key of ['conn_info', 'chan_info']) {
                if (m[key] instanceof Uint8Array && m[key].length === 0) {
                    m[key] = undefined;
                }
            }

            for (const key of Object.keys(m)) {
                const v = m[key];

                if (v instanceof Uint8Array) {
                    m[key] = object(v);

                    if (key === 'data') {
                        Object.defineProperty(m, wire, { value: v });
                    }

                } else if (key === 'id' && v && typeof v === 'object') {

                    /* a Long, which the SDK compares by === */

                    m[key] = Number(v);

                } else if (v && typeof v === 'object') {
                    objects(v);
                }
            }
        };

        codec.encodeCommands = (commands) => encodeCommands.call(codec,
            commands.map((c) => Object.fromEntries(Object.entries(c).map(
                ([k, v]) => [k, v && typeof v === 'object' && 'data' in v
                                && v.data !== null && v.data !== undefined
                                ? { ...v, data: bytes(v.data) } : v]))));

        codec.decodeReplies = (data) => {
            const replies = decodeReplies.call(codec, data);

            replies.forEach(objects);
            return replies;
        };

        codec.applyDeltaIfNeeded = (pub, before) => {
            const r = applyDeltaIfNeeded.call(codec,
                                              { ...pub, data: pub[wire] },
                                              before);

            return { ...r, newData: object(r.newData) };
        };
    }
}

const Centrifuge = PROTOBUF ? OfObjects : OfJson;

hold(endAll);


/*
 * An SDK client with short delays. `sdk.workers` lists the worker of each of
 * its connections, `sdk.worker` is the last of them.
 */
export function sdkOf(url, options = {}) {
    const workers = [];

    class Socket extends WebSocket {
        constructor(address, protocols) {
            super(address, protocols, { rejectUnauthorized: false });
            this.on('upgrade', (res) => {
                workers.push(Number(res.headers['x-worker']));
            });
        }
    }

    const sdk = new Centrifuge(url, {
        websocket: Socket, minReconnectDelay: 50, maxReconnectDelay: 300,
        timeout: 5000, ...options,
    });

    sdk.workers = workers;
    Object.defineProperty(sdk, 'worker',
                          { get: () => workers[workers.length - 1] });

    /* An 'error' event without a listener would only be printed. */
    sdk.errors = [];
    sdk.on('error', (ctx) => sdk.errors.push(ctx));

    made.add(sdk);
    return sdk;
}


/* The next event of this name, of a client or a subscription. */

export function event(emitter, name, ms = 8000) {
    return within(ms, `event "${name}"`, new Promise((ok) => {
        emitter.once(name, ok);
    }));
}


export async function connected(sdk, ms = 8000) {
    const p = event(sdk, 'connected', ms);

    sdk.connect();
    return p;
}


export async function subscribed(sub, ms = 8000) {
    const p = event(sub, 'subscribed', ms);

    sub.subscribe();
    return p;
}


/* Ends all clients made so far, so that the test process can end. */

export function endAll() {
    for (const sdk of made) {
        sdk.disconnect();
    }

    made.clear();
}
