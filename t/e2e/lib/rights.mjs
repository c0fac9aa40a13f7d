/*
 * What the tests of step 4 share: tokens of users, and a look at how a client
 * was refused, on the wire and in the log.
 */

import assert from 'node:assert/strict';

import { jwt } from './jwt.mjs';
import { until } from './server.mjs';

export const MESSAGE = {
    100: 'internal server error', 102: 'unknown channel',
    103: 'permission denied', 105: 'already subscribed',
    106: 'limit exceeded', 107: 'bad request', 108: 'not available',
    109: 'token expired', 110: 'expired', 112: 'unrecoverable position',
};

export const REASON = {
    3005: 'connection expired', 3006: 'subscription expired',
    3010: 'insufficient state', 3500: 'invalid token', 3501: 'bad request',
    3504: 'connection limit', 3505: 'channel limit',
    3506: 'inappropriate protocol',
    3507: 'permission denied',
};

export const userToken = (sub, claims = {}) => jwt({ sub, ...claims });

export const subToken = (sub, channel, claims = {}) =>
    jwt({ sub, channel, ...claims });


/* The reply as a test writes it: without the id. */

export function bare(reply) {
    const { id, ...rest } = reply;

    return rest;
}


/*
 * What comes of a command: its reply, or the close as a number.
 * Errors have their message looked at and become numbers too.
 */
export async function outcome(c, command) {
    let reply;

    try {
        reply = bare(await c.call(command));
    } catch (e) {
        if (!c.end) {
            throw e;
        }

        assert.equal(c.end.reason, REASON[c.end.code], `close ${c.end.code}`);
        return c.end.code;
    }

    if (reply.error) {
        assert.deepEqual(reply.error, {
            code: reply.error.code, message: MESSAGE[reply.error.code],
            ...(reply.error.code === 100 ? { temporary: true } : {}),
        });
        return reply.error.code;
    }

    return reply;
}


/* The log says which client was refused, with this code, and why. */

export async function logged(server, id, code, why = /: [a-z].{5,}/) {
    const re = new RegExp(`centrifugo client ${id} of user .* `
        + `(failed|disconnected) with ${code} "[^"]*"(: .*)`);

    const m = await until(`a log line of client ${id} with ${code}`,
                          () => re.exec(server.log()));

    assert.match(m[2], why);
}
