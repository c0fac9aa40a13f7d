/*
 * JSON Web Tokens made by hand, so that wrong ones can be made too.
 */

import crypto from 'node:crypto';

const HASH = { HS256: 'sha256', HS384: 'sha384', HS512: 'sha512' };

export const b64url = (x) => Buffer.from(x).toString('base64url');
export const now = () => Math.floor(Date.now() / 1000);


/*
 * claims: an object, or a string put into the token as it is.
 * `alg` is what the header says, `hash` what the signature is made with.
 */
export function jwt(claims, key = 'secret', { alg = 'HS256', header = {},
                                              hash } = {}) {
    const head = b64url(JSON.stringify({ alg, typ: 'JWT', ...header }));
    const body = b64url(typeof claims === 'string' || Buffer.isBuffer(claims)
                        ? claims : JSON.stringify(claims));
    const sig = crypto.createHmac(hash || HASH[alg] || 'sha256', key)
        .update(`${head}.${body}`).digest('base64url');

    return `${head}.${body}.${sig}`;
}
