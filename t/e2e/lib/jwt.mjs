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


/*
 * A token with any of the algorithms; `key` is a secret or a private key.
 * `header` and `claims` may be objects or text, `der` leaves the signature of
 * an elliptic curve as OpenSSL makes it.
 */
export function signed(alg, claims, key, { header = {}, der = false } = {}) {
    const bits = alg.slice(2);
    const text = (x) => b64url(typeof x === 'string' || Buffer.isBuffer(x)
                               ? x : JSON.stringify(x));
    const body = text(typeof header === 'string' ? header
                      : { alg, typ: 'JWT', ...header }) + '.' + text(claims);
    let sig;

    if (alg.startsWith('HS')) {
        sig = crypto.createHmac(`sha${bits}`, key).update(body).digest();

    } else if (alg.startsWith('ES')) {
        sig = crypto.sign(`sha${bits}`, Buffer.from(body), {
            key, dsaEncoding: der ? 'der' : 'ieee-p1363' });

    } else if (alg.startsWith('PS')) {
        sig = crypto.sign(`sha${bits}`, Buffer.from(body), {
            key, padding: crypto.constants.RSA_PKCS1_PSS_PADDING,
            saltLength: bits / 8 });

    } else if (alg === 'EdDSA') {
        sig = crypto.sign(null, Buffer.from(body), key);

    } else {
        sig = crypto.sign(`sha${bits}`, Buffer.from(body), key);
    }

    return `${body}.${sig.toString('base64url')}`;
}
