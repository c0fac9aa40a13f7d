#!/usr/bin/env node
// Makes and checks tokens on the command line; needs Node.js 18 and no package.
// "node jwt.mjs" says how.

import crypto from 'node:crypto';
import fs from 'node:fs';
import { parseArgs } from 'node:util';

const USAGE = `usage: jwt.mjs sign KEY [--user ID] [--ttl SECONDS] ...
       jwt.mjs check [KEY] [--kind KIND] [--user ID] [--channel NAME] ... TOKEN

KEY is one of:
  --secret TEXT          the HMAC key; or the variable CENTRIFUGO_SECRET
  --key FILE             PEM: a private RSA or EC key for sign; for check a
                         public or a private one
  --alg NAME             HS256 (the default), HS384, HS512, RS256, RS384,
                         RS512, ES256, ES384, ES512; with --key RS256 or the
                         one of the curve

sign prints a token; with --channel it is a subscription token:
  --user ID              sub, "" for an anonymous user
  --ttl SECONDS          exp is then so far from now; without it the token
                         never expires
  --channel NAME         channel
  --client ID            client: only this connection may use it
  --info JSON            info
  --data JSON            data
  --aud NAME, --iss NAME aud, iss
  --kid NAME             kid of the header, for a JWKS
  --claims JSON          any other claims, as an object

check prints header and claims, and what is wrong; then it ends with 1.
Without a key the signature is not checked.
  --kind KIND            connection or subscription, what it is used for;
                         without it the claim channel decides
  --user ID, --channel NAME, --client ID, --aud NAME, --iss NAME
                         what it has to be for
`;

const HASH = { 256: 'sha256', 384: 'sha384', 512: 'sha512' };
const CURVE = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' };

const COMMON = ['sub', 'exp', 'nbf', 'iat', 'jti', 'aud', 'iss', 'info',
    'b64info', 'expire_at'];
const CLAIMS = {
    connection: [...COMMON, 'channels', 'subs', 'meta', 'caps', 'labels'],
    subscription: [...COMMON, 'channel', 'client', 'data', 'b64data',
        'override'],
};
const OVERRIDES = ['presence', 'join_leave', 'force_push_join_leave',
    'force_recovery', 'force_positioning'];
const SUB = ['info', 'b64info', 'data', 'b64data', 'override'];

const now = Math.floor(Date.now() / 1000);
const problems = [];
const notes = [];

function die(text) {
    console.error(text);
    process.exit(2);
}

function json(name, text) {
    try {
        return JSON.parse(text);
    } catch {
        return die(`--${name} is not JSON: ${text}`);
    }
}

function pem(file, kind) {
    try {
        const text = fs.readFileSync(file);

        return kind === 'sign' ? crypto.createPrivateKey(text)
                               : crypto.createPublicKey(text);
    } catch (e) {
        return die(`--key ${file}: ${e.message}`);
    }
}

// The key and the algorithm it is for.

function keyOf(o, command) {
    const secret = o.secret ?? (o.key ? undefined
                                      : process.env.CENTRIFUGO_SECRET);

    if (o.key) {
        const key = pem(o.key, command);

        if (key.asymmetricKeyType === 'rsa') {
            return { key, algs: ['RS256', 'RS384', 'RS512'] };
        }

        const alg = CURVE[key.asymmetricKeyDetails?.namedCurve];

        return alg ? { key, algs: [alg] }
                   : die(`--key ${o.key}: not an RSA key, nor one of the`
                         + ' curves P-256, P-384 and P-521');
    }

    return secret ? { key: secret, algs: ['HS256', 'HS384', 'HS512'] } : null;
}

const options = (key) => ({ key, dsaEncoding: 'ieee-p1363' });

function signature(alg, key, text) {
    const hash = HASH[alg.slice(2)];

    return alg.startsWith('HS')
        ? crypto.createHmac(hash, key).update(text).digest()
        : crypto.sign(hash, Buffer.from(text), options(key));
}

function verified(alg, key, text, sig) {
    if (alg.startsWith('HS')) {
        const mac = signature(alg, key, text);

        return mac.length === sig.length && crypto.timingSafeEqual(mac, sig);
    }

    return crypto.verify(HASH[alg.slice(2)], Buffer.from(text), options(key),
                         sig);
}

function sign(o) {
    const k = keyOf(o, 'sign') ?? die('no key: --secret TEXT or --key FILE');
    const alg = o.alg ?? k.algs[0];
    const claims = {};

    if (!k.algs.includes(alg)) {
        die(`--alg ${alg}: this key is for ${k.algs.join(', ')}`);
    }

    if (o.ttl !== undefined && !/^-?\d+$/.test(o.ttl)) {
        die(`--ttl ${o.ttl}: a number of seconds`);
    }

    const set = (name, value) => {
        if (value !== undefined) {
            claims[name] = value;
        }
    };

    set('sub', o.user);
    set('exp', o.ttl === undefined ? undefined : now + Number(o.ttl));
    set('channel', o.channel);
    set('client', o.client);
    set('info', o.info && json('info', o.info));
    set('data', o.data && json('data', o.data));
    set('aud', o.aud);
    set('iss', o.iss);
    Object.assign(claims, o.claims && json('claims', o.claims));

    const part = (x) => Buffer.from(JSON.stringify(x)).toString('base64url');
    const header = { alg, typ: 'JWT', ...(o.kid && { kid: o.kid }) };
    const text = `${part(header)}.${part(claims)}`;

    console.log(`${text}.${signature(alg, k.key, text).toString('base64url')}`);
}

function decode(name, text) {
    if (!/^[-\w]+$/.test(text)) {
        problems.push(`the ${name} is not base64url without "="`);
        return undefined;
    }

    try {
        const value = JSON.parse(Buffer.from(text, 'base64url'));

        if (isObject(value)) {
            return value;
        }
    } catch { /* said below */ }

    problems.push(`the ${name} is not a JSON object`);
    return undefined;
}

const isObject = (x) => typeof x === 'object' && x !== null
    && !Array.isArray(x);
const isString = (x) => typeof x === 'string';
const isTime = (x) => Number.isFinite(x)
    || (isString(x) && /^-?\d/.test(x) && Number.isFinite(Number(x)));

// How many letters have to change to make b of a.

function distance(a, b) {
    let row = [...b].map((_, i) => i + 1);

    [...a].forEach((x, i) => {
        let left = i + 1;
        let corner = i;

        row = row.map((up, j) => {
            left = Math.min(left + 1, up + 1, corner + (x !== b[j]));
            corner = up;
            return left;
        });
    });

    return row[b.length - 1];
}

function names(map, known, where, others = []) {
    for (const name of Object.keys(map).filter((x) => !known.includes(x))) {
        if (others.includes(name)) {
            notes.push(`${where} "${name}" is not used in such a token`);
            continue;
        }

        const plain = name.toLowerCase().replace(/[-_ ]/g, '');
        const near = known.find((k) => k.replace(/_/g, '') === plain
            || distance(name.toLowerCase(), k) <= (k.length < 4 ? 1 : 2));

        if (near) {
            problems.push(`unknown ${where} "${name}": did you mean`
                          + ` "${near}"?`);
        } else {
            notes.push(`${where} "${name}" is not known here`);
        }
    }
}

function type(map, name, is, what) {
    const value = map[name];

    if (value !== undefined && value !== null && !is(value)) {
        problems.push(`${name} is ${JSON.stringify(value)}, not ${what}`);
    }
}

function base64(map, name) {
    type(map, name, isString, 'a string');

    if (!isString(map[name])) {
        return;
    }

    try {
        const bytes = Buffer.from(map[name], 'base64');

        if (bytes.toString('base64') === map[name]) {
            JSON.parse(bytes);
            return;
        }
    } catch { /* said below */ }

    problems.push(`${name} is not base64 of JSON`);
}

function override(map) {
    const value = map.override ?? {};

    if (!isObject(value)) {
        problems.push('override is not an object');
        return;
    }

    names(value, OVERRIDES, 'member of override');

    for (const name of OVERRIDES) {
        type(value, name, (x) => isObject(x)
             && typeof (x.value ?? false) === 'boolean',
             '{"value":true} or {"value":false}');
    }
}

function types(c, kind) {
    type(c, 'sub', isString, 'a string (a number has to stand in quotes)');
    type(c, 'iss', isString, 'a string');
    type(c, 'aud', (x) => isString(x)
         || (Array.isArray(x) && x.every(isString)),
         'a string or a list of strings');

    for (const name of ['exp', 'nbf', 'expire_at']) {
        type(c, name, isTime, 'a time in seconds since 1970');

        if (Number(c[name]) > 1e11) {
            problems.push(`${name} is in milliseconds: it has to be in`
                          + ' seconds');
        }
    }

    base64(c, 'b64info');
    type(c, 'channel', isString, 'a string');

    if (Buffer.byteLength(String(c.sub ?? '')) > 1024) {
        problems.push('sub is longer than 1024 bytes');
    }

    if (kind === 'subscription') {
        type(c, 'client', isString, 'a string');
        base64(c, 'b64data');
        override(c);

        if (!c.channel) {
            problems.push('a subscription token needs the claim channel');
        }

        return;
    }

    if (c.channel) {
        problems.push('with the claim channel it can not be used to connect');
    }

    type(c, 'meta', isObject, 'an object');
    type(c, 'channels', (x) => Array.isArray(x)
         && x.every((y) => isString(y) || y === null), 'a list of strings');
    type(c, 'subs', (x) => isObject(x)
         && Object.values(x).every((y) => isObject(y) || y === null),
         '{"CHANNEL":{...}}');

    for (const sub of isObject(c.subs) ? Object.values(c.subs) : []) {
        if (isObject(sub)) {
            names(sub, SUB, 'member of subs');
            base64(sub, 'b64info');
            base64(sub, 'b64data');
            override(sub);
        }
    }
}

function times(c) {
    const at = (t) => new Date(t * 1000).toISOString().replace('.000', '');
    const ok = (t) => t !== undefined && t !== null && isTime(t)
        && Math.abs(Number(t)) < 1e11;

    if (ok(c.exp)) {
        if (Number(c.exp) <= now) {
            problems.push(`it expired at ${at(Number(c.exp))}, `
                          + `${now - Number(c.exp)} s ago`);
        } else {
            notes.push(`it expires at ${at(Number(c.exp))}, `
                       + `in ${Number(c.exp) - now} s`);
        }
    } else if (c.exp === undefined || c.exp === null) {
        notes.push('it has no exp: it never expires');
    }

    if (ok(c.nbf) && Number(c.nbf) > now) {
        problems.push(`it is not valid before ${at(Number(c.nbf))}`);
    }

    if (ok(c.expire_at) && Number(c.expire_at) > 0
        && Number(c.expire_at) <= now)
    {
        problems.push(`expire_at, ${at(Number(c.expire_at))}, is over`);
    }
}

function expected(c, o) {
    const want = (name, value, has) => {
        if (value !== undefined && !has) {
            problems.push(`${name} is ${JSON.stringify(c[name] ?? null)},`
                          + ` not ${JSON.stringify(value)}`);
        }
    };

    want('sub', o.user, (c.sub ?? '') === o.user);
    want('channel', o.channel, c.channel === o.channel);
    want('client', o.client, !c.client || c.client === o.client);
    want('iss', o.iss, c.iss === o.iss);
    want('aud', o.aud, [c.aud].flat().includes(o.aud));
}

function checkSignature(header, text, sig, o) {
    const k = keyOf(o, 'check');

    if (header.crit !== undefined) {
        problems.push('the header has crit, which is refused');
    }

    if (!k) {
        notes.push('the signature was not checked, since no key is given');
        return;
    }

    if (!k.algs.includes(header.alg) || (o.alg && o.alg !== header.alg)) {
        problems.push(`alg is ${JSON.stringify(header.alg ?? null)}, the key`
                      + ` is for ${o.alg ?? k.algs.join(', ')}`);
        return;
    }

    if (!verified(header.alg, k.key, text, Buffer.from(sig, 'base64url'))) {
        problems.push('the signature is wrong: another key, or the token was'
                      + ' changed');
    } else {
        notes.push('the signature is right');
    }
}

function check(o, token) {
    const parts = token.trim().split('.');

    if (parts.length !== 3) {
        die(`not a token: it has ${parts.length} parts, not three`);
    }

    const header = decode('header part', parts[0]);
    const claims = decode('claims part', parts[1]);

    if (header) {
        console.log('header:', JSON.stringify(header, null, 2));
        checkSignature(header, `${parts[0]}.${parts[1]}`, parts[2], o);
    }

    if (claims) {
        const kind = o.kind ?? (claims.channel === undefined ? 'connection'
                                                             : 'subscription');

        if (!CLAIMS[kind]) {
            die(`--kind ${kind}: connection or subscription`);
        }

        console.log('claims:', JSON.stringify(claims, null, 2));
        console.log(`kind: ${kind} token`);

        names(claims, CLAIMS[kind], 'claim', Object.values(CLAIMS).flat());
        types(claims, kind);
        times(claims);
        expected(claims, o);
    }

    if (token.length > 65536) {
        problems.push('it is longer than 64 KB');
    }

    notes.forEach((text) => console.log(`note: ${text}`));
    problems.forEach((text) => console.log(`WRONG: ${text}`));
    console.log(problems.length ? 'refused' : 'ok');
    process.exitCode = problems.length ? 1 : 0;
}

const NAMES = ['secret', 'key', 'alg', 'user', 'ttl', 'channel', 'client',
    'info', 'data', 'aud', 'iss', 'kid', 'claims', 'kind'];

let args;

try {
    args = parseArgs({
        // "--ttl -60" as "--ttl=-60": a value may begin with "-"
        args: process.argv.slice(2).reduce((list, x) => {
            if (/^-\d+$/.test(x) && list.at(-1) === '--ttl') {
                list.push(`${list.pop()}=${x}`);
            } else {
                list.push(x);
            }
            return list;
        }, []),
        options: Object.fromEntries(NAMES.map((n) => [n, { type: 'string' }])),
        allowPositionals: true,
    });
} catch (e) {
    die(`${e.message}\n\n${USAGE}`);
}

const [command, ...rest] = args.positionals;

if (command === 'sign' && rest.length === 0) {
    sign(args.values);
} else if (command === 'check' && rest.length === 1) {
    check(args.values, rest[0]);
} else {
    die(USAGE);
}
