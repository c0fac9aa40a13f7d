/*
 * Keys that are fetched from a backend: which tokens they let in, that a
 * backend that is slow, dead or wrong does no harm, and that nothing of a
 * fetch outlives its worker.
 */

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import http from 'node:http';
import zlib from 'node:zlib';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers } from './lib/client.mjs';
import { b64url, signed } from './lib/jwt.mjs';
import { outcome } from './lib/rights.mjs';
import { freePort, hold, release, sleep, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';
import { connections } from './lib/workers.mjs';

const SANITIZED = !!process.env.NGINX_LD_PRELOAD;
const INVALID = 3500, DENIED = 103;

const pair = (type, options) => crypto.generateKeyPairSync(type, options);

const RSA = pair('rsa', { modulusLength: 2048 });
const RSA2 = pair('rsa', { modulusLength: 2048 });
const P256 = pair('ec', { namedCurve: 'P-256' });
const P384 = pair('ec', { namedCurve: 'P-384' });
const P521 = pair('ec', { namedCurve: 'P-521' });
const ED = pair('ed25519');

const jwk = (p, kid, more = {}) => ({
    ...p.publicKey.export({ format: 'jwk' }), kid, use: 'sig', ...more,
});

const SET = [
    jwk(RSA, 'rsa'), jwk(P256, 'p256'), jwk(P384, 'p384'), jwk(P521, 'p521'),
    jwk(ED, 'ed'), jwk(RSA, 'rs256', { alg: 'RS256' }),
    jwk(RSA, 'rs512', { alg: 'RS512' }), jwk(RSA, 'ps', { alg: 'PS256' }),
    jwk(RSA, 'hs', { alg: 'HS256' }), jwk(RSA, 'enc', { use: 'enc' }),
    jwk(RSA, 'nouse', { use: undefined }), jwk(RSA, undefined),
    { kty: 'oct', k: b64url('secret'), kid: 'oct', use: 'sig' },
    jwk(P256, 'curve', { crv: 'P-384' }),
    jwk(P256, 'off', { y: jwk(P384, '').y.slice(0, 43) }),
    jwk(RSA, 'both'), jwk(P256, 'both'), null, 7, 'x', [], {},
];


/*
 * Serves a document for each path: what `docs` has for it, an object, text, or
 * a function that answers by itself.
 */
class Login {

    async start(port = 0) {
        this.docs = this.docs || {};
        this.count = {};
        this.server = http.createServer((req, res) => {
            const doc = this.docs[req.url];

            res.on('error', () => {});
            this.count[req.url] = (this.count[req.url] || 0) + 1;

            if (typeof doc === 'function') {
                doc(req, res);

            } else if (doc === undefined) {
                res.statusCode = 404;
                res.end('none');

            } else {
                const body = Buffer.from(typeof doc === 'string' ? doc
                    : JSON.stringify(doc));

                res.setHeader('Content-Length', body.length);
                res.end(body);
            }
        });
        this.server.on('connection', (c) => c.on('error', () => {}));
        await new Promise((ok) => this.server.listen(port, '127.0.0.1', ok));
        this.port = this.server.address().port;
        this.end = hold(() => this.stop());
        return this;
    }

    stop() {
        release(this.end);
        this.server.closeAllConnections();
        this.server.close();
    }

    of(url) {
        return this.count[url] || 0;
    }
}

const keys = (...list) => ({ keys: list });
const token = (alg, key, kid, claims = {}, options = {}) =>
    signed(alg, { sub: '42', ...claims }, key.privateKey || key,
           { header: kid === undefined ? {} : { kid }, ...options });


suite('jwks', { concurrency: 1, timeout: 240000 }, async (s) => {
    const login = await new Login().start();
    const dead = await freePort();
    const late = (ms, doc) => (req, res) =>
        setTimeout(() => res.end(JSON.stringify(doc)), ms);
    const raw = (status, headers, body) => (req, res) => {
        res.writeHead(status, headers);
        res.end(body);
    };
    const small = JSON.stringify(keys(jwk(RSA, 'rsa')));
    const pad = (n) => JSON.stringify({ pad: 'x'.repeat(n),
                                        ...keys(jwk(RSA, 'rsa')) });

    login.docs = {
        '/set': keys(...SET),
        '/one': keys(jwk(RSA, 'rsa')),
        '/hang': () => {},
        '/slow': late(1500, keys(jwk(RSA, 'rsa'))),
        '/late': late(500, keys(jwk(RSA, 'rsa'))),
        '/tenant/red': keys(jwk(RSA, 'rsa')),
        '/tenant/blue': keys(jwk(RSA2, 'rsa')),
        '/fits': pad(65536 - pad(0).length),
        '/big': pad(65537 - pad(0).length),
        '/vast': pad(3000000),
        '/chunked': (req, res) => {
            res.write(small.slice(0, 100));
            setTimeout(() => res.end(small.slice(100)), 20);
        },
        '/bigchunked': (req, res) => {
            res.write(pad(40000).slice(0, 30000));
            setTimeout(() => res.end(pad(40000).slice(30000) + pad(40000)),
                       20);
        },
        '/gzip': raw(200, { 'Content-Encoding': 'gzip' },
                     zlib.gzipSync(small)),
        '/unzip/gzip': raw(200, { 'Content-Encoding': 'gzip' },
                           zlib.gzipSync(small)),
        '/s404': raw(404, {}, small),
        '/s500': raw(500, {}, small),
        '/s201': raw(201, {}, small),
        '/s302': raw(302, { Location: '/one' }, small),
        '/cut': (req, res) => {
            res.setHeader('Content-Length', small.length + 9);
            res.write(small);
            setTimeout(() => req.socket.destroy(), 10);
        },
        '/reset': (req) => req.socket.destroy(),
        '/notjson': '<html>', '/nokeys': '{}', '/list': '[]', '/empty': '',
        '/none': keys(),
    };

    const PLAIN = ['set', 'one', 'hang', 'slow', 'late', 'fits', 'big', 'vast',
                   'chunked', 'bigchunked', 'gzip', 's404', 's500', 's201',
                   's302', 'cut', 'reset', 'notjson', 'nokeys', 'list',
                   'empty', 'none', 'rotate', 'flood', 'crowd', 'nowhere'];
    const open = 'drain_time 1s; api_insecure on; allow_subscribe_for_client on;'
                 + ' allow_publish_for_client on; zone 4m;';
    const hubs = Object.fromEntries(PLAIN.map((name) =>
        [name, `token_jwks_public_endpoint /_j/${name}; ${open}`]));

    Object.assign(hubs, {
        gunzip: `token_jwks_public_endpoint /_unzip/gzip; ${open}`,
        dead: `token_jwks_public_endpoint /_dead; ${open}`,
        missing: `token_jwks_public_endpoint /_missing; ${open}`,
        tenants: `token_jwks_public_endpoint "/_j/tenant/{{tenant}}"; ${open}
            token_issuer_regex "^https://(?<tenant>red|blue)[.]example$";`,
        free: `token_jwks_public_endpoint "/_j/tenant/{{tenant}}"; ${open}
            token_issuer_regex "^(?<tenant>.*)$";
            token_insecure_skip_jwks_endpoint_safety_check on;`,
        sub: `token_hmac_secret_key secret; subscription_token_enabled on;
            subscription_token_jwks_public_endpoint /_j/one; ${open}`,
    });

    const config = (more = {}) => ({
        hub: 'client_insecure on; api_insecure on; drain_time 1s; zone 4m;',
        hubs,
        locations: Object.keys(more.hubs || hubs).map((h) => `
            location = /${h} { centrifugo_websocket ${h}; }`).join('')
            + `
            location /_j/ {
                internal;
                proxy_pass http://127.0.0.1:${login.port}/;
                subrequest_output_buffer_size 64k;
            }
            location /_unzip/ {
                internal;
                gunzip on;
                proxy_pass http://127.0.0.1:${login.port}/;
                subrequest_output_buffer_size 64k;
            }
            location = /_dead {
                internal;
                proxy_pass http://127.0.0.1:${dead}/;
            }`,
        ...more,
    });

    const server = await s.start(config());
    const connect = (hub, t, srv = server) => Client.open(srv.ws(`/${hub}`))
        .then(async (c) => {
            const got = await outcome(c, { connect: { token: t } });

            c.got = typeof got === 'object' ? 0 : got;
            return c;
        });
    const enter = async (hub, t, want = 0) => {
        const c = await connect(hub, t);

        c.terminate();
        assert.equal(c.got, want, server.log().split('\n').slice(-4)
            .join('\n'));
    };
    const row = (hub, name, t, want) => s.it(`${hub}: ${name}`, async () => {
        await enter(hub, t(), want);

        /* and to a channel */

        const c = await connect('set', token('RS256', RSA, 'rsa'));

        assert.equal(c.got, 0);

        if (hub === 'set') {
            const got = await outcome(c, { subscribe: { channel: 'ch',
                                                        token: t('ch') } });

            assert.deepEqual(got, want ? DENIED : { subscribe: {} });
        }

        c.terminate();
    });
    const set = (name, alg, key, kid, want, options) =>
        row('set', name, (channel) => token(alg, key, kid,
                                            channel ? { channel } : {},
                                            options), want);

    /* which key */

    set('RS256', 'RS256', RSA, 'rsa', 0);
    set('RS384', 'RS384', RSA, 'rsa', 0);
    set('RS512', 'RS512', RSA, 'rsa', 0);
    set('ES256', 'ES256', P256, 'p256', 0);
    set('ES384', 'ES384', P384, 'p384', 0);
    set('ES512', 'ES512', P521, 'p521', 0);
    set('EdDSA', 'EdDSA', ED, 'ed', 0);
    set('a key for RS256', 'RS256', RSA, 'rs256', 0);
    set('one kid, two kinds: RSA', 'RS256', RSA, 'both', 0);
    set('one kid, two kinds: EC', 'ES256', P256, 'both', 0);
    set('a key for RS512', 'RS256', RSA, 'rs512', INVALID);
    set('a key for PS256', 'RS256', RSA, 'ps', INVALID);
    set('a key for HS256', 'RS256', RSA, 'hs', INVALID);
    set('PS256', 'PS256', RSA, 'rsa', INVALID);
    set('use enc', 'RS256', RSA, 'enc', INVALID);
    set('no use', 'RS256', RSA, 'nouse', INVALID);
    set('a key of another', 'RS256', RSA2, 'rsa', INVALID);
    set('kid of another kind', 'ES256', P256, 'rsa', INVALID);
    set('another curve', 'ES384', P384, 'p256', INVALID);
    set('a curve that is not the key\'s', 'ES256', P256, 'curve', INVALID);
    set('a point not on the curve', 'ES256', P256, 'off', INVALID);
    set('an unknown kid', 'RS256', RSA, 'nobody', INVALID);
    set('no kid', 'RS256', RSA, undefined, INVALID);
    set('an empty kid', 'RS256', RSA, '', INVALID);
    set('a kid with a zero', 'RS256', RSA, 'rsa\0', INVALID);
    set('DER', 'ES256', P256, 'p256', INVALID, { der: true });

    for (const kid of [7, null, ['rsa'], { rsa: 1 }, true]) {
        set(`kid ${JSON.stringify(kid)}`, 'RS256', RSA, kid, INVALID);
    }

    /* confusion: what is public is no secret */

    const pem = RSA.publicKey.export({ type: 'spki', format: 'pem' });
    const der = RSA.publicKey.export({ type: 'spki', format: 'der' });

    for (const [name, secret] of [
        ['PEM', pem], ['DER', der], ['n', jwk(RSA, '').n],
        ['n bytes', Buffer.from(jwk(RSA, '').n, 'base64url')], ['oct', 'secret'],
    ]) {
        for (const kid of ['rsa', 'hs', 'oct']) {
            set(`HS256 by ${name} as ${kid}`, 'HS256', secret, kid, INVALID);
        }
    }

    /* answers of the backend */

    const good = () => token('RS256', RSA, 'rsa');

    for (const [hub, want] of [
        ['one', 0], ['late', 0], ['fits', 0], ['chunked', 0], ['gunzip', 0],
        ['big', INVALID], ['vast', INVALID], ['bigchunked', INVALID],
        ['gzip', INVALID], ['s404', INVALID], ['s500', INVALID],
        ['s201', INVALID], ['s302', INVALID], ['cut', INVALID],
        ['reset', INVALID], ['notjson', INVALID], ['nokeys', INVALID],
        ['list', INVALID], ['empty', INVALID], ['none', INVALID],
        ['dead', INVALID], ['missing', INVALID], ['nowhere', INVALID],
    ]) {
        row(hub, want ? 'is refused, and logged' : 'is good', good, want);
    }

    await s.all();

    await s.serial('what the log has of them', async () => {
        const log = server.log();

        for (const hub of ['big', 'vast', 'bigchunked', 's404', 's500', 's201',
                           's302', 'cut', 'reset', 'nowhere'])
        {
            assert.match(log, new RegExp(`could not fetch "/_j/${hub}"`));
            assert.match(log, new RegExp(`the JWKS "/_j/${hub}" was not `));
        }

        for (const hub of ['notjson', 'nokeys', 'list', 'empty', 'gzip']) {
            assert.match(log, new RegExp(`the JWKS "/_j/${hub}" is not `));
        }

        assert.match(log, /the JWKS "\/_j\/none" has no key/);
        assert.match(log, /could not fetch "\/_dead", status 502/);
    });

    await s.serial('the location is not for clients', async () => {
        for (const uri of ['/_j/set', '/_j/one', '/_unzip/gzip', '/_dead']) {
            assert.equal((await server.get(uri)).status, 404);
        }
    });

    await s.serial('a verifier for subscriptions alone', async () => {
        const c = await connect('sub', signed('HS256', { sub: '42' },
                                              'secret'));

        assert.equal(c.got, 0);

        for (const [kid, want] of [['rsa', { subscribe: {} }],
                                   ['other', DENIED]])
        {
            assert.deepEqual(await outcome(c, { subscribe: {
                channel: `c${kid}`,
                token: token('RS256', RSA, kid, { channel: `c${kid}` }),
            } }), want);
        }

        c.terminate();
    });

    await s.serial('a refresh with a key that was rotated', async () => {
        login.docs['/rotate'] = keys(jwk(RSA, 'a'));

        const c = await connect('rotate', token('RS256', RSA, 'a',
            { exp: Math.floor(Date.now() / 1000) + 600 }));

        assert.equal(c.got, 0);
        login.docs['/rotate'] = keys(jwk(RSA2, 'b'));
        await sleep(1100);

        const reply = await outcome(c, { refresh: {
            token: token('RS256', RSA2, 'b', {
                exp: Math.floor(Date.now() / 1000) + 600 }) } });

        assert.equal(typeof reply, 'object', `${reply}`);
        c.terminate();

        /* each worker has the new one only, from when it asked for it */

        for (let i = 0; i < 10; i++) {
            await enter('rotate', token('RS256', RSA2, 'b'));
        }
    });

    await s.serial('tenants', async () => {
        const iss = (t) => ({ iss: `https://${t}.example` });

        await enter('tenants', token('RS256', RSA, 'rsa', iss('red')));
        await enter('tenants', token('RS256', RSA2, 'rsa', iss('blue')));
        await enter('tenants', token('RS256', RSA2, 'rsa', iss('red')),
                    INVALID);
        await enter('tenants', token('RS256', RSA, 'rsa', iss('blue')),
                    INVALID);
        await enter('tenants', token('RS256', RSA, 'rsa', iss('green')),
                    INVALID);
        await enter('tenants', token('RS256', RSA, 'rsa'), INVALID);
    });

    await s.serial('tenants with many keys do not push each other out',
        async () => {
            const point = jwk(P256, '');

            for (const t of ['red', 'blue']) {
                login.docs[`/tenant/many-${t}`] = keys(
                    ...Array.from({ length: 200 },
                                  (_, i) => ({ ...point, kid: `${t}${i}` })));
            }

            for (let i = 0; i < 6; i++) {
                for (const t of ['red', 'blue']) {
                    await enter('free', token('ES256', P256, `${t}${i}`,
                                              { iss: `many-${t}` }));
                }
            }

            assert.ok(login.of('/tenant/many-red') <= 2);
        });

    await s.serial('a path that is not clean is not asked for', async () => {
        const before = { ...login.count };

        for (const iss of ['..', '../one', '.', '', '/', 'a/../../one', 'red/',
                           '/red', 'red/..', 'red/.', './red', '%2e%2e/one',
                           'red/%2e%2e', '..%2fone', 'red?x', 'red#x',
                           'red\0', '//', 'a//b', '/./',
                           'red\r\nX: y', 'r d', '@x', 'one:80',
                           '\\..\\one', 'red%00', '\u2025/one'])
        {
            await enter('free', token('RS256', RSA, 'rsa', { iss }), INVALID);
        }

        await enter('free', token('RS256', RSA, 'rsa', { iss: 'red' }));

        for (const [url, n] of Object.entries(login.count)) {
            if (url !== '/tenant/red' && n !== before[url]) {
                assert.match(url, /^\/tenant\/./);
                assert.doesNotMatch(decodeURIComponent(
                    url.slice('/tenant'.length).replace(/%25/g, '-')),
                    /\.\.|\/\/|\/\.?(\/|$)/);
            }
        }
    });

    await s.serial('100 at once: one fetch in each worker', async () => {
        login.docs['/crowd'] = late(400, keys(jwk(RSA, 'rsa')));

        const list = await Promise.all(Array.from({ length: 100 },
            () => connect('crowd', good())));
        const workers = new Set(list.map((c) => c.worker));

        list.forEach((c) => {
            assert.equal(c.got, 0);
            c.terminate();
        });
        assert.equal(workers.size, 2);
        assert.equal(login.of('/crowd'), 2);
    }, 60000);

    /*
     * As after a start, when all clients of a site come back: who finds no
     * room to wait is told to try again, not that the token is wrong.
     */

    await s.serial('1200 at once: nobody is sent away for ever', async () => {
        const one = await s.start(config({ workers: 1,
                                           hubs: { slow1: hubs.late } }));
        const list = await Promise.all(Array.from({ length: 1200 },
            () => Client.open(one.ws('/slow1'))));
        const t = good();
        const got = await Promise.all(list.map(
            (c) => outcome(c, { connect: { token: t } })));
        const of = (n) => got.filter((g) => g === n).length;

        console.log(`# ${of(100)} are to try again`);
        assert.equal(of(INVALID), 0);
        assert.ok(of(100) <= 176, `${of(100)}`);
        assert.equal(got.filter((g) => g.connect).length, 1200 - of(100));

        for (const [i, c] of list.entries()) {
            c.terminate();

            if (got[i] === 100) {
                const again = await connect('slow1', t, one);

                assert.equal(again.got, 0);
                again.terminate();
            }
        }
    }, 60000);

    await s.serial('a flood of kids is no flood of fetches', async () => {
        login.docs['/flood'] = keys(jwk(RSA, 'rsa'));

        const begin = Date.now();
        let n = 0;

        await Promise.all(Array.from({ length: 20 }, async (_, k) => {
            while (Date.now() - begin < 3000) {
                await enter('flood', token('ES256', P256, `k${k}-${n++}`),
                            INVALID);

                if (n % 50 === 0) {
                    await enter('flood', good());
                }
            }
        }));

        const span = (Date.now() - begin) / 1000;

        console.log(`# ${n} tokens, ${login.of('/flood')} fetches in ${span} s`);
        assert.ok(n > (SANITIZED ? 50 : 300), `${n}`);
        assert.ok(login.of('/flood') <= 2 * (Math.ceil(span) + 1),
                  `${login.of('/flood')}`);

        /* a new key is there after a second for all that */

        login.docs['/flood'] = keys(jwk(RSA, 'rsa'), jwk(RSA2, 'new'));
        await sleep(1100);
        await enter('flood', token('RS256', RSA2, 'new'));
    });

    /* A backend that does not answer holds up nobody else. */

    for (const hub of ['hang', 'slow']) {
        await s.serial(`${hub}: others are served meanwhile`, async () => {
            const all = [...(await connections(server)).values()];
            const others = await onAllWorkers(server.workers(), 1,
                () => connect('one', good()));

            for (const c of others) {
                assert.equal(c.got, 0);
                await c.subscribe('meanwhile');
            }

            const begin = Date.now();
            const list = Array.from({ length: 20 }, () => connect(hub, good())
                .then((c) => {
                    c.terminate();
                    c.took = Date.now() - begin;
                    return c;
                }));
            let open = true;
            let worst = 0;
            let n = 0;
            const done = Promise.all(list).finally(() => { open = false; });

            while (open) {
                for (const w of all) {
                    const at = Date.now();

                    assert.equal(await w.get('/pid'), `${w.pid}`);
                    worst = Math.max(worst, Date.now() - at);
                }

                for (const c of others) {
                    const at = Date.now();

                    await c.call({ publish: { channel: 'meanwhile',
                                              data: n++ } });
                    worst = Math.max(worst, Date.now() - at);
                }

                await sleep(10);
            }

            for (const c of await done) {
                assert.equal(c.got, INVALID);
                assert.ok(c.took > 1900 && c.took < 3500, `${c.took} ms`);
            }

            console.log(`# ${hub}: ${n} publications, ${worst} ms at worst`);
            assert.ok(worst < 300, `${worst} ms`);
            assert.match(server.log(), new RegExp(
                `could not fetch "/_j/${hub}", status 0: no answer in time`));
            all.forEach((w) => w.close());
            others.forEach((c) => c.terminate());
        });
    }

    await s.serial('a backend that comes back', async () => {
        const back = new Login();
        const port = await freePort();
        const one = await s.start(config({
            hubs: { back: `token_jwks_public_endpoint /_back; ${open}` },
            locations: `
                location = /back { centrifugo_websocket back; }
                location = /_back {
                    internal;
                    proxy_pass http://127.0.0.1:${port}/one;
                }`,
        }));

        assert.equal((await connect('back', good(), one)).got, INVALID);
        back.docs = login.docs;
        await back.start(port);
        await sleep(1100);
        assert.equal((await connect('back', good(), one)).got, 0);
        back.stop();

        /* its keys are known */

        const known = await connect('back', good(), one);

        await one.finish();
        s.done(one);
        assert.ok([0, INVALID].includes(known.got));
    });

    /*
     * The ends of workers while a fetch is in flight.  `gone`: the client left
     * before.
     */

    const few = Object.fromEntries(['hang', 'late', 'one'].map(
        (name) => [name, hubs[name]]));
    const waiting = async (srv, hub, n) => {
        const list = [];

        for (let i = 0; i < n; i++) {
            const c = await Client.open(srv.ws(`/${hub}`));

            c.send({ id: 1, connect: { token: good() } });
            list.push(c);
        }

        await sleep(100);
        return list;
    };

    for (const signal of ['SIGQUIT', 'SIGTERM', 'SIGHUP', 'SIGKILL']) {
        for (const gone of [false, true]) {
            await s.serial(`${signal} while ${gone ? 'those who are gone '
                : ''}wait`, async () => {
                const srv = await s.start(config({ hubs: few }));
                const old = srv.workers();
                const list = await waiting(srv, 'hang', 20);

                list.push(...await waiting(srv, 'late', 20));

                const idle = await connect('one', good(), srv);

                assert.equal(idle.got, 0);

                if (gone) {
                    list.forEach((c) => c.terminate());
                }

                if (signal === 'SIGKILL') {
                    srv.allow(/exited on signal 9/);
                    old.forEach((p) => process.kill(p, 'SIGKILL'));

                } else {
                    srv.signal(signal);
                }

                if (signal === 'SIGHUP' || signal === 'SIGKILL') {
                    if (!gone) {
                        await Promise.all(list.map((c) => c.untilClosed(9000)));
                    }

                    await until('the old workers to end', () =>
                        !srv.workers().some((p) => old.includes(p))
                        && srv.workers().length === 2, 9000);
                    await until('a token to be good', async () => {
                        const c = await connect('one', good(), srv);

                        c.terminate();
                        return c.got === 0;
                    });

                } else {
                    await srv.exited;
                    assert.equal(srv.child.done.code, 0);

                    const ends = await Promise.all(list.map(
                        (c) => c.untilClosed()));

                    /* the backend was not asked to its end */

                    if (signal === 'SIGTERM') {
                        assert.ok(ends.every((e) => e.code !== INVALID),
                                  `${ends.map((e) => e.code)}`);
                    }
                }

                assert.deepEqual(srv.badLines(), []);

                if (srv.child.done) {
                    srv.child = null;
                }

                await srv.finish();
                s.done(srv);
            }, 30000);
        }
    }

    await s.serial('nothing is left in the workers', async () => {
        await sleep(200);
        assert.equal(server.workers().length, 2);
        assert.deepEqual(server.badLines(), []);
    });
});
