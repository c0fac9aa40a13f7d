/*
 * Keys that are fetched from a backend by a location of NGINX.
 */

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import http from 'node:http';

import { Client } from './lib/client.mjs';
import { jwt, now, signed } from './lib/jwt.mjs';
import { logged, outcome } from './lib/rights.mjs';
import { hold, sleep } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const C = { sub: '42' };

function key(kid, type, options, more = {}) {
    const { privateKey, publicKey } = crypto.generateKeyPairSync(type, options);

    return { private: privateKey, kid, jwk: {
        ...publicKey.export({ format: 'jwk' }), kid, use: 'sig', ...more } };
}

const RSA = key('rsa', 'rsa', { modulusLength: 2048 }, { alg: 'RS256' });
const FREE = key('free', 'rsa', { modulusLength: 2048 });
const P256 = key('p256', 'ec', { namedCurve: 'P-256' });
const P384 = key('p384', 'ec', { namedCurve: 'P-384' });
const P521 = key('p521', 'ec', { namedCurve: 'P-521' });
const ED = key('ed', 'ed25519', {});
const ENC = key('enc', 'rsa', { modulusLength: 2048 }, { use: 'enc' });
const NOUSE = key('nouse', 'rsa', { modulusLength: 2048 },
                  { use: undefined });
const LATER = key('later', 'ec', { namedCurve: 'P-256' });
const ONE = key('t', 'ec', { namedCurve: 'P-256' });
const TWO = key('t', 'ec', { namedCurve: 'P-256' });
const ALL = [RSA, FREE, P256, P384, P521, ED, ENC, NOUSE];

const OPEN = 'allow_subscribe_for_client on;';


suite('JWKS', { concurrency: 1, timeout: 58000 }, async (s) => {
    const asked = {};
    const sets = {
        main: ALL, one: [ONE], two: [TWO], sub: [P256], rotating: [P256],
        late: [P256], flaky: [P256], slow: [P256], wrong: null, gone: null,
    };
    const backend = http.createServer((req, res) => {
        const name = req.url.slice(1);
        const n = asked[name] = (asked[name] || 0) + 1;

        asked.last = req;

        if (name === 'gone' || name === 'flaky' && n === 1) {
            res.statusCode = 503;
            return res.end();
        }

        const body = name === 'wrong' ? '{"keys":'
            : JSON.stringify({ keys: sets[name].map((k) => k.jwk) });

        return setTimeout(() => res.end(body), name === 'slow' ? 5000
            : name === 'late' ? 300 : 0);
    });

    await new Promise((ok) => backend.listen(0, '127.0.0.1', ok));
    hold(() => { backend.closeAllConnections(); backend.close(); });

    const jwks = (name) => `token_jwks_public_endpoint /_jwks/${name}; ${OPEN}`;
    const names = ['main', 'rotating', 'late', 'flaky', 'slow', 'wrong',
                   'gone'];
    const server = await s.start({
        workers: 1,
        zone: '4m',
        hub: `token_hmac_secret_key secret; api_insecure on; ${OPEN}`,
        hubs: {
            ...Object.fromEntries(names.map((n) => [`h${n}`, jwks(n)])),
            tenants: `token_jwks_public_endpoint "/_jwks/{{tenant}}";
                token_issuer_regex "^https://(?<tenant>one|two)[.]example$";`,
            both: `token_hmac_secret_key secret; ${jwks('main')}`,
            hsub: `token_hmac_secret_key secret;
                subscription_token_jwks_public_endpoint /_jwks/sub;`,
            gonesub: `token_hmac_secret_key secret;
                subscription_token_jwks_public_endpoint /_jwks/gone;`,
        },
        locations: [...names.map((n) => `h${n}`), 'tenants', 'both', 'hsub',
                    'gonesub'].map((h) =>
            `location = /${h} { centrifugo_websocket ${h}; }`).join('\n')
            + `location /_jwks/ {
                internal;
                proxy_pass http://127.0.0.1:${backend.address().port}/;
                proxy_set_header X-Who $http_authorization;
                proxy_read_timeout 10s;
            }`,
    });

    const url = (hub) => server.ws(`/${hub}`);

    const row = (hub, name, token, want, why) =>
        s.it(`${hub}: ${name}`, async () => {
            const c = await Client.open(url(hub));
            const got = await outcome(c, { connect: { token } });

            if (want) {
                assert.equal(got, want);
                assert.match(server.log(), why);
            } else {
                assert.ok(got.connect, `refused with ${got}`);
            }

            c.terminate();
        });
    const by = (alg, k, header = {}) => signed(alg, C, k.private,
        { header: { kid: k.kid, ...header } });

    for (const [alg, k] of [['RS256', RSA], ['RS256', FREE], ['RS384', FREE],
                            ['RS512', FREE], ['ES256', P256],
                            ['ES384', P384], ['ES512', P521], ['EdDSA', ED]])
    {
        row('hmain', `${alg} with ${k.kid}`, by(alg, k));
        row('hmain', `${alg} with ${k.kid}, wrongly signed`,
            by(alg, k).replace(/[^.]{20}$/, 'A'.repeat(20)), 3500,
            /signature is wrong/);
    }

    row('hmain', 'another algorithm than the key names', by('RS384', RSA),
        3500, /algorithm is not one of the key/);
    row('hmain', 'a key of another kid', by('RS256', RSA, { kid: 'free' }),
        3500, /signature is wrong/);
    row('hmain', 'a key of another kind', by('RS256', RSA, { kid: 'p256' }),
        3500, /algorithm is not one of the key/);
    row('hmain', 'no kid', by('RS256', RSA, { kid: undefined }), 3500,
        /no kid/);
    row('hmain', 'a key for encryption', by('RS256', ENC), 3500,
        /kid is not in the JWKS/);
    row('hmain', 'a key for nothing', by('RS256', NOUSE), 3500,
        /kid is not in the JWKS/);
    row('hmain', 'HS256 with a public key', jwt(C, JSON.stringify(RSA.jwk),
        { header: { kid: 'rsa' } }), 3500, /algorithm/);
    row('hmain', 'HS256', jwt(C, 'secret', { header: { kid: 'rsa' } }), 3500,
        /algorithm/);
    row('both', 'other keys are not used', jwt(C, 'secret'), 3500,
        /algorithm/);
    row('both', 'those of the JWKS are', by('ES256', P256));

    await s.serial('hmain: all that took few fetches', () => {
        assert.ok(asked.main >= 1 && asked.main <= 6, `${asked.main}`);
    });

    await s.serial('a client can add no headers to the fetch', async () => {
        asked.main = 0;
        await sleep(1100);

        const c = await Client.open(url('hmain'), {
            headers: { Authorization: 'forged', 'X-Who': 'forged' } });

        await outcome(c, { connect: { token: by('RS256', RSA,
                                                { kid: 'unknown' }) } });
        assert.equal(asked.main, 1);
        assert.equal(asked.last.method, 'GET');
        assert.equal(asked.last.headers['x-who'], undefined);
    });

    await s.serial('hrotating: a new kid is fetched', async () => {
        const first = await Client.connect(url('hrotating'),
            { connect: { token: by('ES256', P256) } });

        sets.rotating = [LATER];
        await sleep(1100);

        const second = await Client.connect(url('hrotating'),
            { connect: { token: by('ES256', LATER) } });
        const third = await Client.open(url('hrotating'));

        assert.equal(asked.rotating, 2);
        assert.equal(await outcome(third, { connect: {
            token: by('ES256', P256) } }), 3500);
        assert.deepEqual(await outcome(first, { refresh: {
            token: by('ES256', LATER) } }), { refresh: {} });
        [first, second, third].forEach((c) => c.terminate());
    });

    await s.serial('hlate: nobody waits for the fetch of others', async () => {
        const main = await Client.connect(server.ws(),
            { connect: { token: jwt(C) } });
        const list = await Promise.all(Array.from({ length: 20 },
            () => Client.open(url('hlate'))));
        const t = Date.now();
        const all = list.map((c) => outcome(c, { connect: {
            token: by('ES256', P256) } }));

        for (let i = 0; i < 5; i++) {
            await main.call({ unsubscribe: { channel: 'x' } });
        }

        assert.ok(Date.now() - t < 250, `${Date.now() - t} ms`);

        for (const got of await Promise.all(all)) {
            assert.ok(got.connect);
        }

        assert.equal(asked.late, 1);
        [main, ...list].forEach((c) => c.terminate());
    });

    row('hflaky', 'the second attempt', by('ES256', P256));
    row('hwrong', 'not JSON', by('ES256', P256), 3500,
        /is not \{"keys":\[...\]\}/);
    row('hgone', 'an error', by('ES256', P256), 3500,
        /could not fetch "\/_jwks\/gone", status 503/);

    await s.serial('hslow: two attempts of a second', async () => {
        const c = await Client.open(url('hslow'));
        const t = Date.now();

        assert.equal(await outcome(c, { connect: {
            token: by('ES256', P256) } }), 3500);
        assert.ok(Date.now() - t > 1800 && Date.now() - t < 3500,
                  `${Date.now() - t} ms`);
        assert.equal(asked.slow, 2);
    });

    const tenant = (iss, k) => signed('ES256', { ...C, iss }, k.private,
                                      { header: { kid: 't' } });

    row('tenants', 'one', tenant('https://one.example', ONE));
    row('tenants', 'two', tenant('https://two.example', TWO));
    row('tenants', 'the key of another', tenant('https://one.example', TWO),
        3500, /signature is wrong/);
    row('tenants', 'none of them', tenant('https://main.example', ONE), 3500,
        /iss of its token does not match/);

    const subscribing = (hub, name, token, want) => s.it(
        `${hub}: subscribe: ${name}`, async () => {
            const c = await Client.connect(url(hub),
                                           { connect: { token: jwt(C) } });
            const got = await outcome(c, { subscribe: { channel: '$a',
                                                        token } });

            assert.deepEqual(got, want);

            if (typeof want === 'number') {
                await logged(server, c.id, want);
            }

            c.terminate();
        });
    const st = (k, claims = {}) => signed('ES256', { ...C, channel: '$a',
        ...claims }, k.private, { header: { kid: k.kid } });

    subscribing('hsub', 'a key of the JWKS', st(P256), { subscribe: {} });
    subscribing('hsub', 'expired', st(P256, { exp: now() - 1 }), 109);
    subscribing('hsub', 'another key', st(LATER), 103);
    subscribing('hsub', 'the secret of connections',
                jwt({ ...C, channel: '$a' }), 103);
    subscribing('gonesub', 'no JWKS', st(P256), 103);
});
