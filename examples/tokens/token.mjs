// Tokens in Node.js (Express, Fastify, ...) without a package.

import crypto from 'node:crypto';
import { pathToFileURL } from 'node:url';

const secret = process.env.CENTRIFUGO_SECRET;   // token_hmac_secret_key

const part = (data) => Buffer.from(data).toString('base64url');

function sign(claims) {
    const text = part('{"alg":"HS256","typ":"JWT"}') + '.'
        + part(JSON.stringify(claims));

    return text + '.' + crypto.createHmac('sha256', secret)
                              .update(text).digest('base64url');
}

export function connectionToken(user, { ttl = 600, ...claims } = {}) {
    const exp = Math.floor(Date.now() / 1000) + ttl;

    return sign({ sub: String(user), exp, ...claims });
}

export function subscriptionToken(user, channel, options = {}) {
    return connectionToken(user, { ...options, channel });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
    const [user, channel] = process.argv.slice(2);

    console.log(connectionToken(user, { info: { name: 'Zoë' } }));
    console.log(subscriptionToken(user, channel));
}
