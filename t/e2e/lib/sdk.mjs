/*
 * The official client SDK over the `ws` package.
 */

import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

import { hold, within } from './server.mjs';

const made = new Set();

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
