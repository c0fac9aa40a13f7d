/*
 * Tokens of connections and subscriptions: keys, claims, refreshes, and what
 * happens when they expire.
 */

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { apiOf } from './lib/api.mjs';
import { Client } from './lib/client.mjs';
import { b64url, jwt, now, signed } from './lib/jwt.mjs';
import { outcome, subToken, userToken } from './lib/rights.mjs';
import { sleep, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'ngx-cf-keys-'));

fs.chmodSync(dir, 0o755);
process.on('exit', () => fs.rmSync(dir, { recursive: true }));

/* A pair of keys whose public one is in a file. */

function pair(name, type, options) {
    const { privateKey, publicKey } = crypto.generateKeyPairSync(type, options);
    const pem = publicKey.export({ type: 'spki', format: 'pem' });
    const file = path.join(dir, `${name}.pem`);

    fs.writeFileSync(file, pem);
    return { key: privateKey, pem, file };
}

const RSA = pair('rsa', 'rsa', { modulusLength: 2048 });
const RSA2 = pair('rsa2', 'rsa', { modulusLength: 2048 });
const P256 = pair('p256', 'ec', { namedCurve: 'P-256' });
const P256B = pair('p256b', 'ec', { namedCurve: 'P-256' });
const P384 = pair('p384', 'ec', { namedCurve: 'P-384' });
const P521 = pair('p521', 'ec', { namedCurve: 'P-521' });
const ED = pair('ed', 'ed25519', {});

const OPEN = `api_insecure on; allow_subscribe_for_client on;
    allow_publish_for_client on; allow_subscribe_for_anonymous on;
    allow_publish_for_anonymous on;`;
const NAMESPACES = `
    namespace closed { }
    namespace lim { allow_user_limited_channels on; }
    namespace rx { channel_regex "^[a-z]+$"; }
    namespace seen {
        allow_subscribe_for_client on; allow_publish_for_client on;
        presence on; join_leave on; force_push_join_leave on;
        allow_presence_for_client on;
    }
    namespace off { allow_presence_for_client on; allow_publish_for_client on;
    }`;

const HUBS = {
    hs: `token_hmac_secret_key secret; ${OPEN} ${NAMESPACES}
        channel_limit 50;`,
    prev: `token_hmac_secret_key new; ${OPEN}
        token_hmac_previous_secret_key old;
        token_hmac_previous_secret_key_valid_until ${now() + 3600};`,
    prevpast: `token_hmac_secret_key new; ${OPEN}
        token_hmac_previous_secret_key old;
        token_hmac_previous_secret_key_valid_until ${now() - 1};`,
    prevever: `token_hmac_secret_key new; ${OPEN}
        token_hmac_previous_secret_key old;`,
    rs: `token_rsa_public_key ${RSA.file}; ${OPEN}`,
    rspem: `token_rsa_public_key "${RSA.pem}"; ${OPEN}`,
    es256: `token_ecdsa_public_key ${P256.file}; ${OPEN}`,
    es384: `token_ecdsa_public_key ${P384.file}; ${OPEN}`,
    es512: `token_ecdsa_public_key ${P521.file}; ${OPEN}`,
    all: `token_hmac_secret_key secret; token_rsa_public_key ${RSA.file};
        token_ecdsa_public_key ${P256.file}; ${OPEN}`,
    aud: `token_hmac_secret_key secret; token_audience app; ${OPEN}`,
    iss: `token_hmac_secret_key secret; token_issuer me; ${OPEN}`,
    audrx: `token_hmac_secret_key secret; ${OPEN}
        token_audience_regex "^app-[0-9]+$";`,
    issrx: `token_hmac_secret_key secret; ${OPEN}
        token_issuer_regex "^https://(a|b)[.]example$";`,
    uid: `token_hmac_secret_key secret; token_user_id_claim user_id; ${OPEN}`,
    skip: `token_hmac_secret_key secret; ${OPEN}
        insecure_skip_token_signature_verify on;`,
    subv: `token_hmac_secret_key secret; subscription_token_enabled on;
        subscription_token_hmac_secret_key subsecret;
        subscription_token_audience app;
        subscription_token_user_id_claim uid; ${OPEN}`,
    subrs: `token_hmac_secret_key secret; subscription_token_enabled on;
        subscription_token_rsa_public_key ${RSA.file}; ${OPEN}`,
    personal: `token_hmac_secret_key secret; ${OPEN}
        subscribe_to_user_personal_channel on;`,
    strict: 'token_hmac_secret_key secret;',
};

const locations = (hubs) => Object.keys(hubs).map((h) => `
    location = /${h} { centrifugo_websocket ${h}; }
    ${hubs[h].includes('api_insecure')
      ? `location /api/${h} { centrifugo_api ${h}; }` : ''}`).join('');

const INVALID = 3500;


/* One after the other: the lines of the log belong to the row. */

suite('tokens', { concurrency: 1, timeout: 58000 }, async (s) => {
    const server = await s.start({
        zone: '4m', hub: HUBS.strict + ' api_insecure on;', hubs: HUBS,
        locations: locations(HUBS),
    });

    const url = (hub) => server.ws(`/${hub}`);
    let serial = 0;
    const fresh = (name = 'ch') => `${name}${++serial}`;
    const later = (n = 600) => now() + n;

    /* What the log got of refusals since `from`. */

    const refusals = (from) => server.log().slice(from).split('\n').filter(
        (line) => / (failed|disconnected) with \d+ "/.test(line));

    async function told(from, code, why, id = '[-0-9a-f]{36}') {
        const list = await until('a log line', () => {
            const l = refusals(from);

            return l.length && l;
        });

        assert.equal(list.length, 1, list.join('\n'));
        assert.match(list[0], new RegExp(`client ${id} of user .*`
            + ` with ${code} "[^"]*": .*`
            + (why ? why.source : '[a-z]{2,} [a-z]{2,}')));
    }

    /*
     * Connects with a token. want: a code, or what is done with the result
     * and the client.
     */
    const tok = (hub, name, token, want = () => {}, why) =>
        s.it(`${hub}: ${name}`, async () => {
            const c = await Client.open(url(hub));
            const from = server.log().length;
            const got = await outcome(c, { connect: {
                token: typeof token === 'function' ? token() : token } });

            if (typeof want === 'number') {
                assert.equal(got, want);
                await told(from, want, why);
            } else {
                assert.equal(typeof got, 'object', `refused with ${got}: `
                    + refusals(from).join('\n'));
                c.id = got.connect.client;
                await want(got.connect, c);
            }

            c.terminate();
        });

    /* What others see of a client. */

    async function info(c, channel = fresh('me')) {
        if (!channel.includes(':')) {
            await c.subscribe(channel);
        }

        await c.call({ publish: { channel, data: 1 } });

        const { client, ...rest } = (await c.json()).push.pub.info;

        assert.equal(client, c.id);
        return rest;
    }

    const is = (want) => async (r, c) => assert.deepEqual(await info(c), want);


    /* keys and algorithms */

    const C = { sub: '42' };
    const ALL = [
        ['HS256', 'secret', ['hs', 'all']], ['HS384', 'secret', ['hs', 'all']],
        ['HS512', 'secret', ['hs', 'all']],
        ['RS256', RSA.key, ['rs', 'rspem', 'all']],
        ['RS384', RSA.key, ['rs', 'all']], ['RS512', RSA.key, ['rs', 'all']],
        ['ES256', P256.key, ['es256', 'all']], ['ES384', P384.key, ['es384']],
        ['ES512', P521.key, ['es512']],
    ];

    for (const [alg, key, hubs] of ALL) {
        for (const hub of ['hs', 'rs', 'es256', 'es384', 'es512', 'all',
                           'rspem'])
        {
            if (hub === 'rspem' && !hubs.includes(hub)) {
                continue;
            }

            tok(hub, `${alg}${hubs.includes(hub) ? '' : ' has no key'}`,
                signed(alg, C, key), hubs.includes(hub)
                ? is({ user: '42' }) : INVALID);
        }

        /* the last bits of base64url may mean nothing: not the last sign */
        tok(hubs[0], `${alg} with one other bit`, () => {
            const t = signed(alg, C, key).split('.');
            const sig = Buffer.from(t[2], 'base64url');

            sig[5] ^= 1;
            return `${t[0]}.${t[1]}.${sig.toString('base64url')}`;
        }, INVALID, /signature is wrong/);
        tok(hubs[0], `${alg} of other claims`, () => {
            const t = signed(alg, C, key).split('.');

            return `${t[0]}.${b64url('{"sub":"43"}')}.${t[2]}`;
        }, INVALID);
        tok(hubs[0], `${alg} with an empty signature`,
            signed(alg, C, key).replace(/[^.]*$/, ''), INVALID);
        tok(hubs[0], `${alg} with half a signature`, () => {
            const t = signed(alg, C, key);

            return t.slice(0, -(t.split('.')[2].length >> 1));
        }, INVALID);
        tok(hubs[0], `${alg} with a longer signature`, () => {
            const t = signed(alg, C, key).split('.');

            return `${t[0]}.${t[1]}.` + Buffer.concat([
                Buffer.from(t[2], 'base64url'), Buffer.from([0, 0]),
            ]).toString('base64url');
        }, INVALID);
    }

    tok('hs', 'another secret', signed('HS256', C, 'other'), INVALID);
    tok('hs', 'an empty secret', signed('HS256', C, ''), INVALID);
    tok('rs', 'another RSA key', signed('RS256', C, RSA2.key), INVALID);
    tok('es256', 'another key of the curve', signed('ES256', C, P256B.key),
        INVALID);
    tok('es256', 'a signature in DER',
        signed('ES256', C, P256.key, { der: true }), INVALID);
    tok('es256', 'r and s are 0', () => signed('ES256', C, P256.key)
        .replace(/[^.]*$/, Buffer.alloc(64).toString('base64url')), INVALID);
    tok('es384', 'ES256 with the key of ES384', signed('ES256', C, P384.key),
        INVALID);
    tok('es256', 'ES512 with the key of ES256', signed('ES512', C, P256.key),
        INVALID);
    tok('hs', 'HS512 in the header, HS256 made',
        signed('HS256', C, 'secret', { header: { alg: 'HS512' } }), INVALID);
    tok('rs', 'PS256', signed('PS256', C, RSA.key), INVALID, /algorithm/);
    tok('rs', 'PS256 that says RS256',
        signed('PS256', C, RSA.key, { header: { alg: 'RS256' } }), INVALID);
    tok('all', 'EdDSA', signed('EdDSA', C, ED.key), INVALID, /algorithm/);

    for (const hub of ['rs', 'all']) {
        for (const key of [RSA.pem, RSA.pem.trim(),
                           fs.readFileSync(RSA.file)])
        {
            tok(hub, 'HS256 with the public RSA key',
                signed('HS256', C, key), INVALID);
        }
    }

    for (const alg of ['none', 'None', 'NONE', 'nOnE', 'hs256', 'HS256 ',
                       'HS', 'HS1', 'RS1', '', 'HS2560', null, 256, [],
                       ['HS256'], true])
    {
        for (const hub of ['hs', 'all']) {
            tok(hub, `algorithm ${JSON.stringify(alg)}`,
                signed('HS256', C, 'secret', { header: { alg } }), INVALID);
        }

        tok('all', `algorithm ${JSON.stringify(alg)}, no signature`,
            `${b64url(JSON.stringify({ alg }))}.${b64url('{"sub":"42"}')}.`,
            INVALID);
    }

    tok('hs', 'no algorithm', signed('HS256', C, 'secret',
        { header: '{"typ":"JWT"}' }), INVALID, /algorithm/);
    tok('hs', 'the last algorithm counts', signed('HS256', C, 'secret',
        { header: '{"alg":"none","alg":"HS256"}' }));
    tok('hs', 'the last algorithm counts: none', signed('HS256', C, 'secret',
        { header: '{"alg":"HS256","alg":"none"}' }), INVALID);

    for (const crit of [['exp'], [], null, 'x']) {
        tok('hs', `crit ${JSON.stringify(crit)}`,
            signed('HS256', C, 'secret', { header: { crit } }), INVALID,
            /critical/);
    }

    tok('hs', 'other header fields', signed('HS256', C, 'secret',
        { header: { typ: 'x', kid: '1', cty: 'y', jku: 'http://x', x: {} } }));
    tok('hs', 'no typ', signed('HS256', C, 'secret',
        { header: '{"alg":"HS256"}' }));

    for (const [hub, old] of [['prev', true], ['prevpast', false],
                              ['prevever', true]])
    {
        tok(hub, 'the new secret', signed('HS256', C, 'new'));
        tok(hub, 'the previous secret', signed('HS384', C, 'old'),
            old ? undefined : INVALID);
        tok(hub, 'neither secret', signed('HS256', C, 'older'), INVALID);
    }


    /* what is no token */

    const good = userToken('42');
    const [head, body, sig] = good.split('.');

    for (const [name, token] of Object.entries({
        'a word': 'x',
        'one dot': 'a.b',
        'only dots': '..',
        'four parts': `${good}.x`,
        'a dot behind': `${good}.`,
        'a dot in front': `.${good}`,
        'a space in front': ` ${good}`,
        'a space behind': `${good} `,
        'a newline behind': `${good}\n`,
        'a NUL behind': `${good}\0`,
        'no header': `.${body}.${sig}`,
        'no claims': `${head}..${sig}`,
        'padding': `${head}.${body}.${sig}=`,
        'padding in the header': `${head}==.${body}.${sig}`,
        'base64 that is none': `${head}.!!!!.${sig}`,
        'base64 of the other kind': `${head}.${body}.++//`,
        'not ASCII': `${head}.${body}.é`,
        'a long word': 'x'.repeat(60000),
        'many dots': '.'.repeat(60000),
        'a long signature': `${head}.${body}.${'A'.repeat(60000)}`,
    })) {
        tok('hs', `malformed: ${name}`, token, INVALID);
    }

    tok('strict', 'an empty token', '', 3501);
    tok('hs', 'an empty one is none', '', 3501);

    for (const text of ['', ' ', 'x', '[]', '"x"', '1', 'null', 'true',
                        '{"sub":"42"', '{"sub":"42"}x', '{"sub":"42"}{}',
                        '\ufeff{"sub":"42"}', '{"sub":"4\u0001"}',
                        '{sub:"42"}', "{'sub':'42'}", '{"sub":"42",}'])
    {
        tok('hs', `claims ${text}`, signed('HS256', text || ' ', 'secret'),
            INVALID);
        tok('hs', `header ${text}`, signed('HS256', C, 'secret',
            { header: text || ' ' }), INVALID);
    }

    tok('hs', 'claims that are not UTF-8', signed('HS256',
        Buffer.from('{"sub":"\xff"}', 'latin1'), 'secret'), INVALID);
    tok('hs', 'space around claims', signed('HS256', ' {"sub" : "42"}\n ',
                                            'secret'), is({ user: '42' }));
    tok('hs', 'the last sub counts',
        signed('HS256', '{"sub":"1","sub":"42"}', 'secret'),
        is({ user: '42' }));
    tok('hs', 'escapes in claims',
        signed('HS256', '{"s\\u0075b":"4\\u0032"}', 'secret'),
        is({ user: '42' }));

    /* types of claims */

    for (const claims of [
        { sub: 42 }, { sub: ['42'] }, { sub: {} }, { sub: true },
        { exp: [] }, { exp: {} }, { exp: true }, { exp: 'x' }, { exp: '' },
        { exp: '1e' }, { exp: ' 9999999999' }, { exp: 'inf' },
        { exp: 'nan' }, { exp: '0x7fffffff' },
        { nbf: [] }, { nbf: 'x' }, { nbf: {} },
        { expire_at: 'x' }, { expire_at: [] }, { expire_at: {} },
        { iss: 1 }, { iss: ['x'] }, { aud: 1 }, { aud: {} }, { aud: [1] },
        { aud: ['x', 1] },
        { channels: 'x' }, { channels: {} }, { channels: [1] },
        { channels: [['a']] }, { channels: 1 },
        { subs: [] }, { subs: 'x' }, { subs: { a: 1 } },
        { subs: { a: [] } }, { subs: { a: 'x' } },
        { subs: { a: { override: [] } } },
        { subs: { a: { override: { presence: true } } } },
        { subs: { a: { override: { presence: { value: 1 } } } } },
        { subs: { a: { b64info: 1 } } }, { subs: { a: { b64data: {} } } },
        { b64info: 1 }, { b64info: {} }, { meta: [] }, { meta: 'x' },
        { meta: 1 }, { channel: 1 }, { channels: 'x', subs: { a: {} } },
    ]) {
        tok('hs', `wrong claim ${JSON.stringify(claims)}`,
            jwt({ sub: '42', ...claims }), INVALID);
    }

    for (const claims of [
        {}, { iat: 'x', jti: 1 }, { iat: later(), jti: 'x' }, { other: [] },
        { meta: { a: 1 } }, { meta: {} }, { iss: 'x' }, { aud: 'x' },
        { aud: ['x'] }, { aud: [] }, { channels: [] }, { subs: {} },
        { info: null }, { caps: 1, labels: 2 }, { channel: '' },
    ]) {
        tok('hs', `right claim ${JSON.stringify(claims)}`,
            jwt({ sub: '42', ...claims }));
    }

    tok('hs', 'no sub', jwt({}), is({ user: '' }));
    tok('hs', 'an empty sub', jwt({ sub: '' }), is({ user: '' }));
    tok('hs', 'a sub of all sorts', jwt({ sub: 'Ünï "\\\n😀' }),
        is({ user: 'Ünï "\\\n😀' }));
    tok('hs', 'the longest sub', jwt({ sub: 'u'.repeat(1024) }),
        is({ user: 'u'.repeat(1024) }));
    tok('hs', 'a sub that is too long', jwt({ sub: 'u'.repeat(1025) }),
        INVALID, /1024/);

    /* info */

    for (const i of [{ a: [1, { b: null }] }, [], 'text', 7, true, {},
                     'a\u2028\n"'])
    {
        tok('hs', `info ${JSON.stringify(i)}`, jwt({ sub: '42', info: i }),
            is({ user: '42', conn_info: i }));
        tok('hs', `b64info ${JSON.stringify(i)}`, jwt({ sub: '42', info: 0,
            b64info: Buffer.from(JSON.stringify(i)).toString('base64') }),
            is({ user: '42', conn_info: i }));
    }

    tok('hs', 'info keeps its bytes', signed('HS256',
        '{"sub":"42","info":{"n":1.50,"b":1e2 , "a":"\\u0041"}}', 'secret'),
        async (r, c) => {
            const ch = fresh();

            await c.subscribe(ch);
            await c.call({ publish: { channel: ch, data: 1 } });
            assert.match(await c.line(),
                /"conn_info":\{"n":1\.50,"b":1e2 ?, ?"a":"(\\u0041|A)"\}/);
        });

    for (const b64info of ['!', 'e30', 'e30=x', '=', 'e30==', 'eA==',
                           b64url('{"a":"???"}')])
    {
        tok('hs', `bad b64info ${b64info}`, jwt({ sub: '42', b64info }), 100);
    }

    tok('hs', 'an empty b64info is none', jwt({ sub: '42', b64info: '',
                                                info: 1 }),
        is({ user: '42', conn_info: 1 }));
    tok('hs', 'a large info', jwt({ sub: '42', info: 'x'.repeat(40000) }),
        is({ user: '42', conn_info: 'x'.repeat(40000) }));
    tok('hs', 'a deep info', signed('HS256',
        `{"sub":"42","info":${'['.repeat(300)}${']'.repeat(300)}}`, 'secret'));
    tok('hs', 'too deep an info', signed('HS256',
        `{"sub":"42","info":${'['.repeat(9000)}${']'.repeat(9000)}}`,
        'secret'), INVALID);
    tok('hs', 'braces without end', signed('HS256',
        '{"a":'.repeat(8000), 'secret'), INVALID);
    tok('hs', 'many claims', signed('HS256', '{"sub":"42"'
        + Array.from({ length: 4000 }, (_, i) => `,"k${i}":1`).join('') + '}',
        'secret'));
    tok('hs', 'one claim very often', signed('HS256', '{'
        + '"sub":"1",'.repeat(4000) + '"sub":"42"}', 'secret'),
        is({ user: '42' }));
    tok('hs', 'a number without end', signed('HS256',
        `{"sub":"42","exp":${'9'.repeat(1000)}}`, 'secret'), INVALID);
    tok('hs', 'a huge exponent', signed('HS256',
        '{"sub":"42","exp":1e999}', 'secret'), INVALID);


    /* times */

    const never = (r) => {
        assert.equal(r.expires, undefined);
        assert.equal(r.ttl, undefined);
    };
    const ttl = (want) => (r) => {
        assert.equal(r.expires, true);
        assert.ok(r.ttl <= want && r.ttl >= want - 2, `ttl ${r.ttl}`);
    };
    const times = (name, claims, want, why) => tok('hs', name,
        () => jwt({ sub: '42', ...claims() }), want, why);

    times('no exp', () => ({}), never);
    times('exp later', () => ({ exp: later() }), ttl(600));
    times('exp as a string', () => ({ exp: String(later()) }), ttl(600));
    times('exp with a fraction', () => ({ exp: later() + 0.7 }), ttl(600));
    times('exp with an exponent', () => ({ exp: '1e11' }), ttl(31536000));
    times('exp in ten years', () => ({ exp: later(315360000) }),
          ttl(31536000));
    times('exp past', () => ({ exp: now() - 1 }), 109, /expired/);
    times('exp now', () => ({ exp: now() }), 109);
    times('exp 0', () => ({ exp: 0 }), 109);
    times('exp negative', () => ({ exp: -5 }), 109);
    times('exp past as a string', () => ({ exp: '1' }), 109);
    times('nbf past', () => ({ nbf: now() - 10 }), never);
    times('nbf now', () => ({ nbf: now() }), never);
    times('nbf later', () => ({ nbf: later(60) }), 109, /not valid yet/);
    times('nbf later as a string', () => ({ nbf: String(later(60)) }), 109);
    times('nbf 0', () => ({ nbf: 0 }), never);
    times('expire_at later', () => ({ expire_at: later(300) }), ttl(300));
    times('expire_at before exp', () => ({ exp: later(),
                                           expire_at: later(300) }),
          ttl(300));
    times('expire_at after exp', () => ({ exp: later(300),
                                          expire_at: later() }), ttl(600));
    times('expire_at 0', () => ({ exp: later(), expire_at: 0 }), never);
    times('expire_at negative', () => ({ exp: later(), expire_at: -1 }),
          never);
    times('expire_at as a string', () => ({ expire_at: String(later(300)) }),
          ttl(300));
    times('expire_at "0"', () => ({ exp: later(), expire_at: '0' }), never);
    times('expire_at past', () => ({ exp: later(), expire_at: now() - 5 }),
          110, /expire_at/);
    times('expire_at 1', () => ({ expire_at: 1 }), 110);
    times('expire_at later and exp past', () => ({ exp: now() - 1,
                                                   expire_at: later() }),
          109);
    times('expire_at in ten years', () => ({ expire_at: later(315360000) }),
          ttl(31536000));


    /* the order of checks */

    const past = { exp: 1 };

    tok('hs', 'signature before exp', jwt({ ...C, ...past }, 'x'), INVALID);
    tok('hs', 'types before exp', jwt({ ...C, ...past, channels: 1 }),
        INVALID);
    tok('hs', 'a channel before exp', jwt({ ...C, ...past, channel: 'a' }),
        INVALID);
    tok('hs', 'exp before namespaces', jwt({ ...C, ...past,
                                             channels: ['x:a'] }), 109);
    tok('hs', 'namespaces before base64',
        jwt({ ...C, channels: ['x:a'], b64info: '!' }), 102);
    tok('hs', 'base64 before expire_at', jwt({ ...C, expire_at: 1,
                                               b64info: '!' }), 100);
    tok('aud', 'aud before exp', jwt({ ...C, ...past }), INVALID);
    tok('audrx', 'aud before the signature', jwt(C, 'x'), INVALID, /regex/);
    tok('aud', 'the signature before aud', jwt(C, 'x'), INVALID, /signature/);
    tok('hs', 'a subscription token', subToken('42', 'a'), INVALID,
        /subscription token/);

    /* aud and iss */

    for (const [aud, yes] of [
        ['app', true], ['App', false], ['app2', false], ['', false],
        [undefined, false], [['app'], true], [['x', 'app'], true],
        [['x'], false], [[], false], [['app2'], false],
    ]) {
        tok('aud', `aud ${JSON.stringify(aud)}`, jwt({ ...C, aud }),
            yes ? undefined : INVALID, /audience/);
    }

    for (const [iss, yes] of [['me', true], ['Me', false], ['', false],
                              [undefined, false], ['me2', false]])
    {
        tok('iss', `iss ${JSON.stringify(iss)}`, jwt({ ...C, iss }),
            yes ? undefined : INVALID, /issuer/);
    }

    for (const [aud, yes] of [
        ['app-1', true], ['app-', false], [undefined, false], ['', false],
        ['xapp-1', false], [['x', 'app-22'], true], [['x'], false],
        ['app-' + '1'.repeat(600), false],
    ]) {
        tok('audrx', `aud ${JSON.stringify(aud)}`.slice(0, 40),
            jwt({ ...C, aud }), yes ? undefined : INVALID, /regex/);
    }

    for (const [iss, yes] of [
        ['https://a.example', true], ['https://b.example', true],
        ['https://c.example', false], ['https://axexample', false],
        [undefined, false], ['https://a.example/', false],
    ]) {
        tok('issrx', `iss ${JSON.stringify(iss)}`, jwt({ ...C, iss }),
            yes ? undefined : INVALID, /regex/);
    }

    /* user_id_claim */

    tok('uid', 'the claim', jwt({ sub: 'x', user_id: '42' }),
        is({ user: '42' }));
    tok('uid', 'a number', jwt({ sub: 'x', user_id: 42 }),
        is({ user: '42' }));
    tok('uid', 'none: sub does not count', jwt({ sub: 'x' }),
        is({ user: '' }));
    tok('uid', 'an object', jwt({ sub: 'x', user_id: {} }), INVALID);
    tok('uid', 'a list', jwt({ user_id: ['42'] }), INVALID);
    tok('uid', 'a wrong type of sub all the same', jwt({ sub: 1,
                                                         user_id: '42' }),
        INVALID);
    tok('hs', 'the claim where it is not configured',
        jwt({ sub: '42', user_id: '7' }), is({ user: '42' }));

    /* no signatures */

    tok('skip', 'a wrong signature', jwt(C, 'x'), is({ user: '42' }));
    tok('skip', 'none', `${b64url('{"alg":"none"}')}.${body}.`,
        is({ user: '42' }));
    tok('skip', 'expired', jwt({ ...C, ...past }, 'x'), 109);
    tok('skip', 'wrong claims', jwt({ sub: 1 }, 'x'), INVALID);
    tok('skip', 'malformed', 'x', INVALID);


    /* channels and subs */

    const has = (want) => (r) => assert.deepEqual(r.subs ?? {}, want);
    const ch = (claims, want, why, hub = 'hs') => tok(hub,
        'channels: ' + JSON.stringify(claims).slice(0, 60),
        jwt({ ...C, ...claims }), want, why);

    ch({ channels: ['a', 'closed:b', '$c', 'lim:#7', 'rx:1', 'é'] },
       has({ a: {}, 'closed:b': {}, '$c': {}, 'lim:#7': {}, 'rx:1': {},
             'é': {} }));
    ch({ channels: ['', 'a', '', 'a'] }, has({ a: {} }));
    ch({ channels: [null, 'a'] }, has({ a: {} }));
    ch({ channels: ['x'.repeat(300)] }, has({ ['x'.repeat(300)]: {} }));
    ch({ channels: ['a', 'x:b'] }, 102, /unknown namespace/);
    ch({ channels: ['$x:b'] }, 102);
    ch({ subs: { 'x:b': {} } }, 102);
    ch({ subs: { a: {} }, channels: ['b'] }, has({ a: {} }));
    ch({ subs: {}, channels: ['b'] }, has({ b: {} }));
    ch({ subs: { a: {} }, channels: ['x:b'] }, has({ a: {} }));
    ch({ subs: { '': {}, a: null } }, has({ a: {} }));
    ch({ subs: { a: { data: { x: [1] } }, b: { data: 7 } } },
       has({ a: { data: { x: [1] } }, b: { data: 7 } }));
    ch({ subs: { data: { data: 1 }, info: { info: 2, data: 3 } } },
       has({ data: { data: 1 }, info: { data: 3 } }));
    ch({ subs: { a: { data: 1, b64data: 'eyJhIjoyfQ==' } } },
       has({ a: { data: { a: 2 } } }));
    ch({ subs: { a: { b64data: '!' } } }, INVALID, /base64/);
    ch({ subs: { a: { b64info: '!' } } }, INVALID, /base64/);
    ch({ channels: Array.from({ length: 50 }, (_, i) => `c${i}`) },
       (r) => assert.equal(Object.keys(r.subs).length, 50));
    ch({ channels: Array.from({ length: 51 }, (_, i) => `c${i}`) }, 3505);
    ch({ channels: Array.from({ length: 6000 }, (_, i) => `c${i}`) }, 3505);
    ch({ channels: ['a'] }, (r) => has({ a: {}, '#42': {} })(r), undefined,
       'personal');

    s.it('hs: a channel longer than any may be', async () => {
        const c = await Client.open(url('hs'));
        const got = await outcome(c, { connect: { token: jwt({ ...C,
            channels: ['x'.repeat(1025)] }) } });

        assert.ok([107, 3500].includes(got), `${JSON.stringify(got)}`);
        c.terminate();
    });

    tok('hs', 'subs: info and overrides', jwt({ ...C, info: { i: 1 }, subs: {
        'off:a': { info: { role: 'x' }, override: {
            presence: { value: true }, join_leave: { value: true },
            force_push_join_leave: { value: true },
            something: { value: true } } },
        'seen:a': { override: { presence: { value: false },
            join_leave: { value: false } } },
    } }), async (r, c) => {
        const me = { user: '42', client: c.id, conn_info: { i: 1 },
                     chan_info: { role: 'x' } };

        assert.deepEqual(await c.json(), { push: { channel: 'off:a',
                                                   join: { info: me } } });
        await c.call({ publish: { channel: 'off:a', data: 1 } });
        assert.deepEqual(await c.json(), { push: { channel: 'off:a',
            pub: { data: 1, info: me } } });
        assert.deepEqual((await c.call({ presence: { channel: 'seen:a' } }))
            .presence, { presence: {} });
        assert.deepEqual(await c.settle(), []);
    });

    tok('hs', 'subs: an override of false and of nothing', jwt({ ...C, subs: {
        'seen:b': { override: { presence: {}, join_leave: {} } } } }),
        async (r, c) => {
            const got = await c.settle();

            assert.deepEqual(got, []);
        });


    /* subscription tokens */

    const subscribing = (hub, name, channel, token, want = { subscribe: {} },
                         why) => s.it(`${hub}: subscribe: ${name}`,
        async () => {
            const c = await Client.connect(url(hub),
                                           { connect: { token: good } });
            const from = server.log().length;
            const got = await outcome(c, { subscribe: { channel, token:
                typeof token === 'function' ? token(c) : token } });

            if (typeof want === 'number') {
                assert.equal(got, want);
                await told(from, want, why, c.id);
            } else if (typeof want === 'function') {
                await want(got.subscribe ?? assert.fail(`refused with ${got}`),
                           c);
            } else {
                assert.deepEqual(got, want);
            }

            c.terminate();
        });

    const st = (claims, ...rest) => jwt({ sub: '42', channel: '$a', ...claims },
                                        ...rest);

    subscribing('hs', 'a token', '$a', st());
    subscribing('hs', 'of a closed channel', 'closed:a',
                st({ channel: 'closed:a' }));
    subscribing('hs', 'of another channel', '$b', st(), INVALID, /channel/);
    subscribing('hs', 'of the channel without a dollar', '$a',
                st({ channel: 'a' }), INVALID);
    subscribing('hs', 'of the channel with a dollar', 'a', st(), INVALID);
    subscribing('hs', 'of another user', '$a', st({ sub: '43' }), INVALID,
                /user/);
    subscribing('hs', 'of nobody', '$a', jwt({ channel: '$a' }), INVALID);
    subscribing('hs', 'of this client', '$a', (c) => st({ client: c.id }));
    subscribing('hs', 'of another client', '$a',
                st({ client: crypto.randomUUID() }), INVALID, /client/);
    subscribing('hs', 'of this client in capitals', '$a',
                (c) => st({ client: c.id.toUpperCase() }), INVALID);
    subscribing('hs', 'of a part of this client', '$a',
                (c) => st({ client: c.id.slice(0, 35) }), INVALID);
    subscribing('hs', 'with an empty client', '$a', st({ client: '' }));
    subscribing('hs', 'of no channel', '$a', jwt(C), 103, /names no channel/);
    subscribing('hs', 'of an empty channel', '$a', st({ channel: '' }), 103);
    subscribing('hs', 'of an unknown namespace', '$a',
                st({ channel: 'x:a' }), 102, /unknown namespace/);
    subscribing('hs', 'another secret', '$a', st({}, 'x'), 103, /signature/);
    subscribing('hs', 'none', '$a',
                `${b64url('{"alg":"none"}')}.${b64url('{"sub":"42","channel":'
                + '"$a"}')}.`, 103);
    subscribing('hs', 'a word', '$a', 'x', 103);
    subscribing('hs', 'crit', '$a', signed('HS256', { ...C, channel: '$a' },
                'secret', { header: { crit: [] } }), 103);
    subscribing('hs', 'HS512', '$a',
                signed('HS512', { ...C, channel: '$a' }, 'secret'));
    subscribing('hs', 'an empty token is none', '$a', '', 103, /private/);

    for (const claims of [
        { channel: 1 }, { sub: 1 }, { client: 1 }, { exp: 'x' },
        { data: 1, b64data: 1 }, { b64info: {} }, { b64info: '!' },
        { b64data: '!' }, { override: [] }, { override: { presence: 1 } },
        { expire_at: {} }, { aud: 1 },
    ]) {
        subscribing('hs', `wrong claim ${JSON.stringify(claims)}`, '$a',
                    st(claims), 103);
    }

    for (const claims of [{ channels: 1 }, { subs: 1 }, { meta: 1 }]) {
        subscribing('hs', `a claim of the other kind ${
            JSON.stringify(claims)}`, '$a', st(claims));
    }

    const stt = (name, claims, want, why) => subscribing('hs', name, '$a',
        () => st(claims()), want, why);
    const sttl = (want) => (r) => {
        assert.equal(r.expires, true);
        assert.ok(r.ttl <= want && r.ttl >= want - 2, `ttl ${r.ttl}`);
    };

    stt('exp later', () => ({ exp: later() }), sttl(600));
    stt('exp in ten years', () => ({ exp: later(315360000) }),
        sttl(315360000));
    stt('exp past', () => past, 109, /expired/);
    stt('nbf later', () => ({ nbf: later() }), 109);
    stt('expire_at past', () => ({ expire_at: 1 }), 110, /expire_at/);
    stt('expire_at past, exp later', () => ({ expire_at: now() - 1,
                                              exp: later() }), 110);
    stt('expire_at 0', () => ({ exp: later(), expire_at: 0 }));
    stt('expire_at later', () => ({ expire_at: later(300), exp: later() }),
        sttl(300));
    stt('exp before the channel', () => ({ ...past, channel: 'b' }), 109);
    stt('exp before the user', () => ({ ...past, sub: 'x' }), 109);
    stt('the signature before exp', () => ({ ...past, override: 1 }), 103);
    stt('the channel before expire_at', () => ({ expire_at: 1,
                                                 channel: '$b' }), INVALID);
    stt('the user before expire_at', () => ({ expire_at: 1, sub: 'x' }),
        INVALID);
    stt('data', () => ({ data: { x: [1] } }),
        { subscribe: { data: { x: [1] } } });
    stt('b64data', () => ({ data: 0, b64data: 'WzFd' }),
        { subscribe: { data: [1] } });
    stt('data and a time', () => ({ data: 'd', exp: later() }), (r) => {
        assert.equal(r.data, 'd');
        sttl(600)(r);
    });

    subscribing('hs', 'a second time after a refusal', '$a', st({}, 'x'), 103);
    s.it('hs: subscribe: with a right token after a wrong one', async () => {
        const c = await Client.connect(url('hs'),
                                       { connect: { token: good } });

        assert.equal(await outcome(c, { subscribe: {
            channel: '$a', token: 'x' } }), 103);
        assert.deepEqual(await outcome(c, { subscribe: {
            channel: '$a', token: st() } }), { subscribe: {} });
        assert.equal(await outcome(c, { subscribe: {
            channel: '$a', token: st() } }), 105);
        c.terminate();
    });

    subscribing('hs', 'info of the channel', 'seen:t', st({
        channel: 'seen:t', info: { role: 'admin' } }), async (r, c) => {
        const me = { user: '42', client: c.id, chan_info: { role: 'admin' } };

        assert.deepEqual(await c.json(), { push: { channel: 'seen:t',
                                                   join: { info: me } } });
        await c.call({ publish: { channel: 'seen:t', data: 1 } });
        assert.deepEqual(await c.json(), { push: { channel: 'seen:t',
            pub: { data: 1, info: me } } });

        const p = await c.call({ presence: { channel: 'seen:t' } });

        assert.deepEqual(p.presence.presence, { [c.id]: me });
    });

    subscribing('hs', 'b64info wins', 'seen:u', st({
        channel: 'seen:u', info: 1, b64info: 'WzFd' }), async (r, c) => {
        assert.deepEqual((await c.json()).push.join.info.chan_info, [1]);
    });

    subscribing('hs', 'overrides', '$off:a', st({
        channel: '$off:a', override: { join_leave: { value: true },
            force_push_join_leave: { value: true } } }), async (r, c) => {
        assert.deepEqual(await c.json(), { push: { channel: '$off:a',
            join: { info: { user: '42', client: c.id } } } });
    });

    subscribing('hs', 'overrides switch off', 'seen:v', st({
        channel: 'seen:v', override: { presence: { value: false },
            force_push_join_leave: { value: false } } }), async (r, c) => {
        const p = await c.call({ presence: { channel: 'seen:v' } });

        assert.deepEqual(p.presence.presence, {});
        assert.deepEqual(await c.settle(), []);
    });

    /* a verifier of their own */

    const own = (claims, key = 'subsecret') => jwt({ uid: '42', channel: '$a',
        aud: 'app', ...claims }, key);

    subscribing('subv', 'its own secret', '$a', own());
    subscribing('subv', 'the secret of connections', '$a', own({}, 'secret'),
                103, /signature/);
    subscribing('subv', 'its own audience', '$a', own({ aud: 'x' }), 103,
                /audience/);
    subscribing('subv', 'its own claim of the user', '$a', own({ uid: 42 }));
    subscribing('subv', 'sub does not count', '$a',
                own({ uid: undefined, sub: '42' }), INVALID, /user/);
    tok('subv', 'its secret opens no connection', jwt(C, 'subsecret'),
        INVALID);
    subscribing('subrs', 'a key of another kind', '$a',
                signed('RS256', { ...C, channel: '$a' }, RSA.key));
    subscribing('subrs', 'the secret of connections', '$a', st(), 103);


    /* refresh */

    const refreshing = (name, first, second, want, why, hub = 'hs') =>
        s.it(`${hub}: refresh: ${name}`, async () => {
            const c = await Client.connect(url(hub),
                { connect: { token: jwt({ ...C, ...first }) } });

            await c.settle();

            const from = server.log().length;
            const token = typeof second === 'string' ? second
                : jwt({ ...C, ...(second.call?.() ?? second) });
            const got = await outcome(c, { refresh: { token } });

            if (typeof want === 'number') {
                assert.equal(got, want);
                await told(from, want, why, c.id);
            } else if (typeof want === 'function') {
                await want(got.refresh ?? assert.fail(`refused with ${got}`),
                           c);
            } else {
                assert.deepEqual(got, { refresh: want });
            }

            c.terminate();
        });

    const X = { exp: later(3600) };

    refreshing('a later time', X, () => ({ exp: later(300) }), (r) => {
        assert.deepEqual(Object.keys(r), ['expires', 'ttl']);
        ttl(300)(r);
    });
    refreshing('no time', X, {}, {});
    refreshing('of one that does not expire', {}, {}, {});
    refreshing('an empty token', X, '', 3501, /without a token/);
    refreshing('a word', X, 'x', INVALID);
    refreshing('another secret', X, jwt(C, 'x'), INVALID, /signature/);
    refreshing('another user', X, { sub: '43' }, INVALID, /user/);
    refreshing('nobody', X, { sub: '' }, INVALID);
    refreshing('somebody for nobody', { ...X, sub: '' }, { sub: '42' },
               INVALID);
    refreshing('nobody for nobody', { ...X, sub: '' }, { sub: '' }, {});
    refreshing('expired', X, past, 3005, /expired/);
    refreshing('not valid yet', X, { nbf: later() }, 3005);
    refreshing('a subscription token', X, { channel: 'a' }, INVALID);
    refreshing('expire_at past', X, { exp: later(), expire_at: now() - 1 },
               110, /expire_at/);
    refreshing('the user before expire_at', X, { expire_at: 1, sub: 'x' },
               INVALID);
    refreshing('expire_at past before the channels', X,
               { expire_at: 1, channels: ['a'] }, 110);
    refreshing('expire_at 0', X, { exp: later(), expire_at: 0 }, {});
    refreshing('the same channels', { channels: ['a', 'b'] },
               { channels: ['b', 'a', 'a', ''] }, {});
    refreshing('the same channels as subs', { channels: ['a', 'b'] },
               { subs: { a: {}, b: { info: 1 } } }, {});
    refreshing('a channel more', { channels: ['a'] }, { channels: ['a', 'b'] },
               3010, /channels/);
    refreshing('a channel less', { channels: ['a', 'b'] }, { channels: ['a'] },
               3010);
    refreshing('another channel', { channels: ['a'] }, { channels: ['b'] },
               3010);
    refreshing('no channels any more', { channels: ['a'] }, {}, 3010);
    refreshing('channels at last', {}, { channels: ['a'] }, 3010);
    refreshing('the personal channel does not count', {}, {}, {}, undefined,
               'personal');
    refreshing('the personal channel beside others', { channels: ['a'] },
               { channels: ['a'] }, {}, undefined, 'personal');
    refreshing('bad base64', X, { b64info: '!' }, 100);
    refreshing('new info', { info: 1 }, { info: { n: 2 } }, async (r, c) => {
        assert.deepEqual(await info(c), { user: '42', conn_info: { n: 2 } });
    });
    refreshing('a client\'s own subscription does not count', {}, {},
               async (r, c) => {
                   await c.subscribe('own');
                   assert.deepEqual(await outcome(c,
                       { refresh: { token: jwt(C) } }), { refresh: {} });
               });
    refreshing('subscribed in vain, then the token names it', {}, {},
               async (r, c) => {
                   await c.subscribe('own');
                   assert.equal(await outcome(c, { refresh: {
                       token: jwt({ ...C, channels: ['own'] }) } }), 3010);
               });


    /* sub_refresh */

    const subRefreshing = (name, first, second, want, why,
                           channel = '$a') =>
        s.it(`hs: sub_refresh: ${name}`, async () => {
            const c = await Client.connect(url('hs'),
                                           { connect: { token: good } });

            if (first) {
                assert.deepEqual(Object.keys(await outcome(c, { subscribe: {
                    channel: '$a', token: st(first) } })), ['subscribe']);
            }

            const from = server.log().length;
            const token = typeof second === 'function' ? second(c)
                : typeof second === 'object' ? st(second) : second;
            const got = await outcome(c, { sub_refresh: { channel, token } });

            if (typeof want === 'number') {
                assert.equal(got, want);
                await told(from, want, why, c.id);
            } else if (typeof want === 'function') {
                await want(got.sub_refresh
                           ?? assert.fail(`refused with ${got}`), c);
            } else {
                assert.deepEqual(got, { sub_refresh: want });
            }

            c.terminate();
        });

    subRefreshing('a later time', X, () => st({ exp: later(300) }), (r) => {
        assert.deepEqual(Object.keys(r), ['expires', 'ttl']);
        sttl(300)(r);
    });
    subRefreshing('no time', X, {}, {});
    subRefreshing('expire_at 0', X, { exp: later(), expire_at: 0 }, {});
    subRefreshing('of one that does not expire', {}, {}, {});
    subRefreshing('not subscribed', null, {}, 103, /not subscribed/);
    subRefreshing('not subscribed, a wrong token', null, 'x', 103);
    subRefreshing('not subscribed, no token', null, '', 103);
    subRefreshing('an empty channel', X, {}, 3501, /without a channel/, '');
    subRefreshing('an empty token', X, '', 107, /no token/);
    subRefreshing('a word', X, 'x', INVALID);
    subRefreshing('another secret', X, () => st({}, 'x'), INVALID);
    subRefreshing('another channel', X, { channel: '$b' }, INVALID);
    subRefreshing('another user', X, { sub: '43' }, INVALID);
    subRefreshing('another client', X, { client: crypto.randomUUID() },
                  INVALID);
    subRefreshing('this client', X, (c) => st({ client: c.id }), {});
    subRefreshing('no channel', X, () => jwt(C), INVALID);
    subRefreshing('an unknown namespace', X, { channel: 'x:a' }, INVALID);
    subRefreshing('expired', X, past, 109, /expired/);
    subRefreshing('not valid yet', X, { nbf: later() }, 109);
    subRefreshing('expire_at past', X, { expire_at: 1 }, 110, /expire_at/);
    subRefreshing('another user before expire_at', X,
                  { expire_at: 1, sub: 'x' }, INVALID);

    s.it('hs: sub_refresh: new info', async () => {
        const c = await Client.connect(url('hs'),
                                       { connect: { token: good } });
        const channel = 'seen:w';

        await c.call({ subscribe: { channel,
                                    token: st({ channel, info: 1 }) } });
        assert.equal((await c.json()).push.join.info.chan_info, 1);
        await c.call({ sub_refresh: { channel,
                                      token: st({ channel, info: [2] }) } });
        await c.call({ publish: { channel, data: 1 } });
        assert.deepEqual((await c.json()).push.pub.info.chan_info, [2]);

        const p = await c.call({ presence: { channel } });

        assert.deepEqual(p.presence.presence[c.id].chan_info, [2]);
        c.terminate();
    });
});


/* What takes time. */

suite('tokens in time', { concurrency: 40, timeout: 40000 }, async (s) => {
    const OPTIONS = `token_hmac_secret_key secret; ${OPEN}
        expired_close_delay 1s; expired_sub_close_delay 1s; namespace seen {
            allow_subscribe_for_client on; presence on; join_leave on;
            force_push_join_leave on; allow_presence_for_client on; }`;
    const server = await s.start({
        zone: '4m', hub: OPTIONS,
        hubs: { atonce: `token_hmac_secret_key secret; ${OPEN}
            expired_close_delay 0; expired_sub_close_delay 0;`,
                insecure: `token_hmac_secret_key secret; client_insecure on;
            expired_close_delay 0;` },
        locations: `location = /atonce { centrifugo_websocket atonce; }
            location /api/atonce { centrifugo_api atonce; }
            location = /insecure { centrifugo_websocket insecure; }`,
    });

    const C = { sub: '42' };
    const start = async (claims, uri) => Client.connect(server.ws(uri),
        { connect: { token: jwt({ ...C, ...claims() }) } });
    const soon = (n = 2) => now() + n;
    const expiry = 3005;

    const ends = (name, claims, after, seconds, uri) => s.it(name, async () => {
        const at = Date.now();
        const c = await start(claims, uri);

        await after?.(c);

        const end = await c.untilClosed(9000);
        const took = (Date.now() - at) / 1000;

        assert.deepEqual([end.code, end.reason],
                         [expiry, 'connection expired']);
        assert.ok(took > seconds - 1.1 && took < seconds + 1.6,
                  `after ${took} s`);
        await until('a log line', () => new RegExp(`client ${c.id} of user`
            + ' "42" disconnected with 3005 "connection expired": [a-z]')
            .test(server.log()));
    });

    const lives = (name, claims, after, uri) => s.it(name, async () => {
        const c = await start(claims, uri);

        await after(c);
        await sleep(4500);
        assert.deepEqual(await c.settle(), []);
        c.terminate();
    });

    const refresh = (c, claims) => outcome(c, { refresh: {
        token: jwt({ ...C, ...claims }) } });

    ends('expires after the delay', () => ({ exp: soon(2) }), null, 3);
    ends('expires at once', () => ({ exp: soon(2) }), null, 2, '/atonce');
    ends('a refresh that is refused changes nothing',
         () => ({ exp: soon(2) }), async (c) => assert.equal(
             await refresh(c, { expire_at: 1 }), 110), 3);
    ends('a refresh without a time changes nothing',
         () => ({ exp: soon(2) }), async (c) => assert.deepEqual(
             await refresh(c, {}), { refresh: {} }), 3);
    ends('a refresh to an earlier time', () => ({ exp: soon(60) }),
         async (c) => refresh(c, { exp: soon(2) }), 3);
    ends('a refresh gives one a time that had none', () => ({}),
         async (c) => refresh(c, { exp: soon(2) }), 3);
    ends('expire_at', () => ({ exp: soon(60), expire_at: soon(2) }), null, 3);
    ends('busy ones too', () => ({ exp: soon(2) }), async (c) => {
        for (let i = 0; i < 12; i++) {
            await c.call({ unsubscribe: { channel: 'x' } });
            await sleep(100);
        }
    }, 3);
    lives('refreshed in time', () => ({ exp: soon(2) }),
          (c) => refresh(c, { exp: soon(60) }));
    let late1, late2;
    const past = (at) => sleep(at * 1000 + 300 - Date.now());

    lives('refreshed within the delay', () => ({ exp: late1 = soon(2) }),
          async (c) => { await past(late1);
                         await refresh(c, { exp: soon(60) }); });
    lives('expire_at 0', () => ({ exp: soon(2), expire_at: 0 }), () => {});
    lives('insecure', () => ({ exp: soon(2) }), () => {}, '/insecure');

    /* subscriptions */

    let n = 0;
    const st = (channel, claims) => jwt({ ...C, channel, ...claims });

    async function subscribe(claims, uri, ns = '$') {
        const channel = `${ns}t${++n}`;
        const c = await start(() => ({}), uri);

        c.channel = channel;
        c.at = Date.now();

        const r = await c.call({ subscribe: { channel,
                                              token: st(channel, claims()) } });
        assert.ok(r.subscribe, JSON.stringify(r));
        return c;
    }

    const ended = (name, claims, after, seconds, uri) => s.it(
        `subscription: ${name}`, async () => {
            const c = await subscribe(claims, uri);

            await after?.(c);

            const push = await c.json(9000);
            const took = (Date.now() - c.at) / 1000;

            assert.deepEqual(push, { push: { channel: c.channel,
                unsubscribe: { code: 2501, reason: 'subscription expired' },
            } });
            assert.ok(took > seconds - 1.1 && took < seconds + 1.6,
                      `after ${took} s`);

            /* it is gone, and may be had again */
            assert.equal(await outcome(c, { sub_refresh: {
                channel: c.channel, token: st(c.channel, {}) } }), 103);
            assert.deepEqual(await outcome(c, { subscribe: {
                channel: c.channel, token: st(c.channel, {}) } }),
                { subscribe: {} });
            c.terminate();
        });

    const subRefresh = (c, claims) => outcome(c, { sub_refresh: {
        channel: c.channel, token: st(c.channel, claims) } });

    s.it('subscription: a time beyond any date is never', async () => {
        const c = await start(() => ({}), '/atonce');

        await apiOf(server, { location: '/api/atonce' }).call('subscribe',
            { user: '42', client: c.id, channel: 's', expire_at: 9e18 });
        assert.equal((await c.json()).push.channel, 's');
        await sleep(500);
        assert.deepEqual(await c.settle(), []);
        c.terminate();
    });

    /* one of the server's is over, but its timer has not come yet */

    for (const [what, command] of [
        ['subscribe', (k) => ({ subscribe: { channel: `o${k}`,
            token: st(`o${k}`, { exp: soon(60) }) } })],
        ['sub_refresh', () => ({ sub_refresh: { channel: 'o',
            token: st('o', { exp: soon(60) }) } })],
    ]) {
        s.it(`subscription: ${what} when another is over`, async () => {
            const c = await start(() => ({}), '/atonce');
            const at = soon(2);

            await c.call({ subscribe: { channel: 'o', token: st('o', {}) } });
            await apiOf(server, { location: '/api/atonce' }).call('subscribe',
                { user: '42', client: c.id, channel: 's', expire_at: at });
            await sleep(at * 1000 - 20 - Date.now());

            for (let k = 0; k < 100 && !c.end; k++) {
                c.call(command(k)).catch(() => {});
                await sleep(2);
            }

            const end = await c.untilClosed();

            assert.deepEqual([end.code, end.reason],
                             [3006, 'subscription expired']);
        });
    }

    const remains = (name, claims, after) => s.it(
        `subscription: ${name}`, async () => {
            const c = await subscribe(claims);

            await after(c);
            await sleep(4500);
            assert.deepEqual(await c.settle(), []);
            assert.equal(await outcome(c, { subscribe: {
                channel: c.channel, token: st(c.channel, {}) } }), 105);
            c.terminate();
        });

    ended('expires after the delay', () => ({ exp: soon(2) }), null, 3);
    ended('expires at once', () => ({ exp: soon(2) }), null, 2, '/atonce');
    ended('an expired token changes nothing', () => ({ exp: soon(2) }),
          async (c) => assert.equal(await subRefresh(c, { exp: 1 }), 109), 3);
    ended('an expire_at in the past changes nothing',
          () => ({ exp: soon(2) }), async (c) => assert.equal(
              await subRefresh(c, { expire_at: 1 }), 110), 3);
    ended('an earlier time', () => ({ exp: soon(60) }),
          (c) => subRefresh(c, { exp: soon(2) }), 3);
    ended('a time for one that had none', () => ({}),
          (c) => subRefresh(c, { exp: soon(2) }), 3);
    remains('refreshed in time', () => ({ exp: soon(2) }),
            (c) => subRefresh(c, { exp: soon(60) }));
    remains('refreshed within the delay', () => ({ exp: late2 = soon(2) }),
            async (c) => { await past(late2);
                           await subRefresh(c, { exp: soon(60) }); });
    remains('refreshed without a time', () => ({ exp: soon(2) }),
            async (c) => assert.deepEqual(await subRefresh(c, {}),
                                          { sub_refresh: {} }));
    remains('expire_at 0', () => ({ exp: soon(2), expire_at: 0 }), () => {});

    s.it('subscription: two, of which one expires', async () => {
        const c = await subscribe(() => ({ exp: soon(2) }));
        const other = `$t${++n}`;

        await c.call({ subscribe: { channel: other,
                                    token: st(other, { exp: soon(60) }) } });
        assert.equal((await c.json(9000)).push.channel, c.channel);
        await sleep(1500);
        assert.deepEqual(await c.settle(), []);
        assert.equal(await outcome(c, { subscribe: {
            channel: other, token: st(other, {}) } }), 105);
        c.terminate();
    });

    s.it('subscription: unsubscribed in time', async () => {
        const c = await subscribe(() => ({ exp: soon(2) }));

        await c.call({ unsubscribe: { channel: c.channel } });
        await sleep(3500);
        assert.deepEqual(await c.settle(), []);
        c.terminate();
    });

    s.it('subscription: others see it leave', async () => {
        const c = await subscribe(() => ({ exp: soon(2) }), undefined,
                                  '$seen:');
        const w = await start(() => ({ sub: 'watch' }));

        await w.call({ subscribe: { channel: c.channel, token: jwt({
            sub: 'watch', channel: c.channel }) } });
        await w.json();

        const { push } = await w.json(9000);

        assert.deepEqual(push.leave.info, { user: '42', client: c.id });
        c.terminate();
        w.terminate();
    });
});
