/*
 * Commands, replies, pushes and closes of the JSON protocol, byte for byte.
 */

import assert from 'node:assert/strict';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers, UUID } from './lib/client.mjs';
import { b64url, jwt, now } from './lib/jwt.mjs';
import { Raw } from './lib/raw.mjs';
import { held, sleep, until, within } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const BAD = [3501, 'bad request'];
const INVALID = [3500, 'invalid token'];
const NONE = [3508, 'not available'];

const MESSAGE = {
    100: 'internal server error', 102: 'unknown channel',
    103: 'permission denied', 105: 'already subscribed',
    106: 'limit exceeded', 107: 'bad request', 108: 'not available',
    109: 'token expired', 110: 'expired',
};

const error = (id, code) =>
    `{"id":${id},"error":{"code":${code},"message":"${MESSAGE[code]}"}}`;
const nest = (n) => '['.repeat(n) + ']'.repeat(n);

const OK2 = '{"id":2,"unsubscribe":{}}';
const UNSUB2 = '{"id":2,"unsubscribe":{"channel":"a"}}';

const HUBS = {
    open: 'client_insecure on; api_insecure on;',

    openkey: 'client_insecure on; token_hmac_secret_key secret;',

    token: `token_hmac_secret_key secret; api_insecure on;
        allow_subscribe_for_client on; allow_publish_for_client on;
        expired_close_delay 1s;`,

    anon: `allow_anonymous_connect_without_token on;
        token_hmac_secret_key secret; api_insecure on;
        allow_subscribe_for_client on;
        allow_subscribe_for_anonymous on;
        allow_publish_for_client on;
        allow_publish_for_subscriber on;
        allow_publish_for_anonymous on;
        namespace none { }
        namespace sub { allow_subscribe_for_client on; }
        namespace suba {
            allow_subscribe_for_client on; allow_subscribe_for_anonymous on;
        }
        namespace onlya { allow_subscribe_for_anonymous on; }
        namespace pub { allow_publish_for_client on; }
        namespace puba {
            allow_publish_for_client on; allow_publish_for_anonymous on;
        }
        namespace onlypa { allow_publish_for_anonymous on; }
        namespace mem {
            allow_subscribe_for_client on; allow_subscribe_for_anonymous on;
            allow_publish_for_subscriber on;
        }
        namespace mema {
            allow_subscribe_for_client on; allow_subscribe_for_anonymous on;
            allow_publish_for_subscriber on; allow_publish_for_anonymous on;
        }`,

    nokey: 'allow_anonymous_connect_without_token on;',

    limits: `client_insecure on; channel_limit 3; channel_max_length 20;
        message_size_limit 1k;`,

    large: 'client_insecure on; message_size_limit 2m;',

    ping: `client_insecure on; ping_interval 1s; pong_timeout 500ms;
        stale_close_delay 1s;`,

    slow: `client_insecure on; api_insecure on; queue_max_size 256k;
        publication_max_size 64k;`,

    stuck: `client_insecure on; api_insecure on; queue_max_size 64m;
        write_timeout 1s;`,
};


suite('protocol', { concurrency: 16 }, async (s) => {
    const server = await s.start({
        zone: '16m', hub: 'client_insecure on; api_insecure on;', hubs: HUBS,
        listen: 'sndbuf=64k',
        locations: Object.keys(HUBS).map((h) => `
            location = /${h} { centrifugo_websocket ${h}; }
            location = /metrics/${h} { centrifugo_metrics ${h}; }
            ${/api_insecure/.test(HUBS[h])
              ? `location /api/${h} {
                     centrifugo_api ${h}; client_max_body_size 4m;
                 }` : ''}`).join('\n'),
    });

    const pids = server.workers();
    const url = (hub) => server.ws(`/${hub}`);
    let serial = 0;
    const fresh = (name = 'ch') => `${name}${++serial}`;
    const apis = Object.fromEntries(Object.keys(HUBS).map(
        (h) => [h, apiOf(server, { location: `/api/${h}` })]));

    function compare(got, want) {
        assert.equal(got.length, want.length,
                     `got ${JSON.stringify(got)}`);

        want.forEach((w, i) => {
            if (w instanceof RegExp) {
                assert.match(got[i], w);
            } else {
                assert.equal(got[i], w);
            }
        });
    }

    /*
     * Sends frames and compares all that comes, either up to the close or,
     * when none is expected, up to a mark that shows the client still lives.
     */
    async function talk(c, frames, want, close) {
        for (const f of [].concat(frames)) {
            c.frame(f);
        }

        if (close) {
            const got = await c.untilClosed();

            compare(got.lines, want);
            assert.deepEqual([got.code, got.reason], close);

        } else {
            compare(await c.settle(), want);
            c.terminate();
        }
    }

    const row = (name, frames, want, close, hub = 'open', connect = {}) =>
        s.it(name, async () => {
            await talk(await Client.connect(url(hub), { connect }),
                       frames, want, close);
        });

    const first = (name, hub, frames, want, close) => s.it(name, async () => {
        await talk(await Client.open(url(hub)), frames, want, close);
    });


    /* framing and envelopes */

    row('empty frame', '', [], BAD);
    row('empty binary frame', Buffer.alloc(0), [], BAD);
    row('empty line alone', '\n', [], BAD);
    row('one trailing newline', UNSUB2 + '\n', [OK2]);
    row('two trailing newlines', UNSUB2 + '\n\n', [OK2], BAD);
    row('empty line in front', '\n' + UNSUB2, [], BAD);
    row('empty line in the middle', UNSUB2 + '\n\n' + UNSUB2, [OK2], BAD);
    row('white space alone', '  ', [], BAD);
    row('white space around', ` \t${UNSUB2} \t\r`, [OK2]);
    row('CR and LF between commands',
        UNSUB2 + '\r\n{"id":3,"unsubscribe":{"channel":"a"}}\r\n',
        [OK2, '{"id":3,"unsubscribe":{}}']);
    row('binary frame with a command', Buffer.from(UNSUB2), [OK2]);
    row('garbage', 'hello', [], BAD);
    row('half an object', '{"id":2,', [], BAD);
    row('array', `[${UNSUB2}]`, [], BAD);
    row('string', '"x"', [], BAD);
    row('number', '1', [], BAD);
    row('null', 'null', [], BAD);
    row('true', 'true', [], BAD);
    row('a good line, then garbage', UNSUB2 + '\nhello', [OK2], BAD);
    row('a good line, then half an object', UNSUB2 + '\n{"id":3,"uns',
        [OK2], BAD);
    row('text after the object', UNSUB2 + ' x', [], BAD);
    row('an object after the object',
        UNSUB2 + '{"id":3,"unsubscribe":{"channel":"a"}}', [], BAD);
    row('a comma after the object', UNSUB2 + ',', [], BAD);
    row('a brace too many', UNSUB2 + '}', [], BAD);
    row('a comma before the brace',
        '{"id":2,"unsubscribe":{"channel":"a"},}', [], BAD);
    row('a comment', '{"id":2,/* x */"unsubscribe":{"channel":"a"}}', [],
        BAD);
    row('single quotes', "{'id':2,'unsubscribe':{'channel':'a'}}", [], BAD);
    row('vertical tab as white space',
        '{"id":2,\v"unsubscribe":{"channel":"a"}}', [], BAD);
    row('form feed as white space',
        '{"id":2,\f"unsubscribe":{"channel":"a"}}', [], BAD);
    row('byte order mark in front', '\ufeff' + UNSUB2, [], BAD);
    row('raw control character in a string',
        '{"id":2,"unsubscribe":{"channel":"a\u0001"}}', [], BAD);
    row('raw tab in a string',
        '{"id":2,"unsubscribe":{"channel":"a\t"}}', [], BAD);
    row('wrong escape',
        '{"id":2,"unsubscribe":{"channel":"\\x41"}}', [], BAD);
    row('half a unicode escape',
        '{"id":2,"unsubscribe":{"channel":"\\u00"}}', [], BAD);
    row('invalid UTF-8 in a binary frame', Buffer.from(
        '{"id":2,"unsubscribe":{"channel":"\xc0\x80"}}', 'latin1'), [], BAD);
    row('a surrogate in a binary frame', Buffer.from(
        '{"id":2,"unsubscribe":{"channel":"\xed\xa0\x80"}}', 'latin1'), [],
        BAD);
    row('invalid UTF-8 in a key nobody reads', Buffer.from(
        '{"id":2,"x":"\xff","unsubscribe":{"channel":"a"}}', 'latin1'), [],
        BAD);
    row('wrong number: leading zero',
        '{"id":02,"unsubscribe":{"channel":"a"}}', [], BAD);
    row('wrong number: plus',
        '{"id":+2,"unsubscribe":{"channel":"a"}}', [], BAD);
    row('wrong number in a payload',
        '{"id":2,"publish":{"channel":"a","data":1.}}', [], BAD);
    row('NaN in a payload',
        '{"id":2,"publish":{"channel":"a","data":NaN}}', [], BAD);

    row('several commands in a frame',
        [2, 3, 4, 5].map((i) => `{"id":${i},"subscribe":{"channel":"s${i}"}}`)
            .join('\n'),
        [2, 3, 4, 5].map((i) => `{"id":${i},"subscribe":{}}`));
    row('several frames at once, replies in order',
        Array.from({ length: 200 }, (_, i) =>
            `{"id":${i + 2},"unsubscribe":{"channel":"a"}}`),
        Array.from({ length: 200 }, (_, i) =>
            `{"id":${i + 2},"unsubscribe":{}}`));
    row('replies of different kinds in order', [
        '{"id":9,"subscribe":{"channel":"x"}}',
        '{"id":8,"rpc":{}}\n{"id":7,"subscribe":{"channel":"x"}}',
        '{"id":6,"unsubscribe":{"channel":"x"}}'],
        ['{"id":9,"subscribe":{}}', error(8, 108), error(7, 105),
         '{"id":6,"unsubscribe":{}}']);

    row('unknown command', '{"id":2,"foo":{}}', [], BAD);
    row('no command', '{"id":2}', [], BAD);
    row('ping command', '{"id":5,"ping":{}}', [], BAD);
    row('null command', '{"id":2,"subscribe":null}', [], BAD);
    row('keys in another case', '{"id":2,"Unsubscribe":{"channel":"a"}}', [],
        BAD);
    row('ID in another case', '{"ID":2,"unsubscribe":{"channel":"a"}}', [],
        BAD);
    row('channel in another case', '{"id":2,"unsubscribe":{"Channel":"a"}}',
        [], BAD);
    row('unknown keys',
        '{"x":[1,{"y":null}],"id":2,"unsubscribe":{"z":{},"channel":"a"}}',
        [OK2]);
    row('escapes in keys',
        '{"\\u0069d":2,"unsubscrib\\u0065":{"channel":"a"}}', [OK2]);
    row('null with a command',
        '{"id":2,"connect":null,"subscribe":null,'
        + '"unsubscribe":{"channel":"a"}}', [OK2]);
    row('the first of two commands counts',
        '{"id":2,"publish":{"channel":"a","data":1},'
        + '"unsubscribe":{"channel":"a"}}', [OK2]);
    row('connect is the first of all',
        '{"id":2,"unsubscribe":{"channel":"a"},"connect":{}}', [], BAD);
    row('rpc before send', '{"id":2,"send":{},"rpc":{}}', [error(2, 108)]);

    /* ids */

    row('id 0', '{"id":0,"unsubscribe":{"channel":"a"}}', [], BAD);
    row('no id', '{"unsubscribe":{"channel":"a"}}', [], BAD);
    row('null id', '{"id":null,"unsubscribe":{"channel":"a"}}', [], BAD);
    row('largest id', '{"id":4294967295,"unsubscribe":{"channel":"a"}}',
        ['{"id":4294967295,"unsubscribe":{}}']);

    for (const id of ['4294967296', '18446744073709551617', '9'.repeat(400),
                      '-1', '1.5', '"1"', 'true', '[1]', '{}'])
    {
        row(`id ${id.slice(0, 24)}`,
            `{"id":${id},"unsubscribe":{"channel":"a"}}`, [], BAD);
    }

    row('the same id twice', [UNSUB2, UNSUB2], [OK2, OK2]);

    /* duplicate keys: the last one wins */

    row('duplicate id', '{"id":7,"id":2,"unsubscribe":{"channel":"a"}}',
        [OK2]);
    row('duplicate channel',
        ['{"id":2,"subscribe":{"channel":"x","channel":"y"}}',
         '{"id":3,"subscribe":{"channel":"x"}}',
         '{"id":4,"subscribe":{"channel":"y"}}'],
        ['{"id":2,"subscribe":{}}', '{"id":3,"subscribe":{}}',
         error(4, 105)]);

    s.it('duplicate data', async () => {
        const ch = fresh();
        const c = await Client.connect(url('open'));

        await c.subscribe(ch);
        c.frame(`{"id":2,"publish":{"channel":"x","channel":"${ch}",`
                + '"data":{"n":1},"data":{"n":2}}}');

        const got = [await c.line(), await c.line()].sort();

        assert.equal(got[0], '{"id":2,"publish":{}}');
        assert.deepEqual(JSON.parse(got[1]).push.pub.data, { n: 2 });
        c.terminate();
    });

    /* wrong types and numbers out of range */

    for (const body of [
        '{"id":2,"subscribe":"a"}',
        '{"id":2,"subscribe":[]}',
        '{"id":2,"subscribe":1}',
        '{"id":2,"subscribe":{"channel":1}}',
        '{"id":2,"subscribe":{"channel":null}}',
        '{"id":2,"subscribe":{"channel":{}}}',
        '{"id":2,"subscribe":{"channel":["a"]}}',
        '{"id":2,"subscribe":{"channel":true}}',
        '{"id":2,"subscribe":{"channel":"a","token":1}}',
        '{"id":2,"subscribe":{"channel":"a","recover":"yes"}}',
        '{"id":2,"subscribe":{"channel":"a","recover":1}}',
        '{"id":2,"subscribe":{"channel":"a","epoch":1}}',
        '{"id":2,"subscribe":{"channel":"a","offset":-1}}',
        '{"id":2,"subscribe":{"channel":"a","offset":"1"}}',
        '{"id":2,"subscribe":{"channel":"a","offset":1.5}}',
        '{"id":2,"subscribe":{"channel":"a","offset":18446744073709551616}}',
        '{"id":2,"subscribe":{"channel":"a","type":2147483648}}',
        '{"id":2,"subscribe":{"channel":"a","type":"1"}}',
        '{"id":2,"publish":{"channel":7,"data":1}}',
        '{"id":2,"publish":[]}',
        '{"id":2,"unsubscribe":{"channel":7}}',
        '{"id":2,"rpc":{"method":1}}',
        '{"id":2,"rpc":"x"}',
        '{"id":2,"history":{"channel":"a","limit":"1"}}',
        '{"id":2,"refresh":{"token":1}}',
        '{"id":2,"send":1}',
        '{"id":2,"connect":1}',
    ]) {
        row(`wrong type: ${body}`, body, [], BAD);
    }

    row('largest offset',
        '{"id":2,"subscribe":{"channel":"a","offset":18446744073709551615}}',
        ['{"id":2,"subscribe":{}}']);

    /* nesting */

    row('nesting of 500',
        `{"id":2,"publish":{"channel":"deep","data":${nest(500)}}}`,
        ['{"id":2,"publish":{}}']);
    row('nesting over 512',
        `{"id":2,"publish":{"channel":"deep","data":${nest(513)}}}`, [], BAD);
    row('nesting over 512 in an unknown key',
        `{"id":2,"x":${nest(513)},"unsubscribe":{"channel":"a"}}`, [], BAD);
    row('60,000 brackets', '['.repeat(60000), [], BAD);
    row('60,000 braces with keys', '{"a":'.repeat(12000), [], BAD);
    row('a million braces', '{'.repeat(1 << 20), [], BAD, 'large');
    row('a million brackets in data',
        `{"id":2,"publish":{"channel":"a","data":${nest(500000)}}}`, [], BAD,
        'large');

    s.it('a million braces over the limit', async () => {
        const c = await Client.connect(url('open'), { encoding: 'json' });

        c.frame('{'.repeat(1 << 20));
        assert.equal((await c.untilClosed()).code, 1009);
    });

    s.it('message_size_limit', async () => {
        const pad = (n) => UNSUB2 + ' '.repeat(n - UNSUB2.length);
        const c = await Client.connect(url('limits'), { encoding: 'json' });

        c.frame(pad(1024));
        assert.equal(await c.line(), OK2);
        c.frame(pad(1025));

        const got = await c.untilClosed();

        assert.deepEqual(got.lines, []);
        assert.equal(got.code, 1009);
    });


    /* connect */

    const CONNECTED = new RegExp(
        `^\\{"id":1,"connect":\\{"client":"${UUID}",`
        + '"version":"[^" ]+ OSS","ping":25,"pong":true\\}\\}$');
    const WITH_TTL = (lo, hi) => ({
        test: (line) => {
            const m = new RegExp(
                `^\\{"id":1,"connect":\\{"client":"${UUID}",`
                + '"version":"[^" ]+ OSS","expires":true,"ttl":(\\d+),'
                + '"ping":25,"pong":true\\}\\}$').exec(line);

            assert.ok(m, line);
            assert.ok(Number(m[1]) >= lo && Number(m[1]) <= hi, line);
        },
    });

    const connectWith = (name, hub, connect, check) => s.it(name, async () => {
        const c = await Client.open(url(hub));

        c.frame(`{"id":1,"connect":${typeof connect === 'string'
            ? connect : JSON.stringify(connect)}}`);

        if (check instanceof RegExp || typeof check === 'string'
            || check.test)
        {
            const line = await c.line();

            if (check instanceof RegExp) {
                assert.match(line, check);
            } else if (typeof check === 'string') {
                assert.equal(line, check);
            } else {
                check.test(line);
            }

            c.terminate();

        } else {
            const got = await c.untilClosed();

            assert.deepEqual(got.lines, []);
            assert.deepEqual([got.code, got.reason], check);
        }
    });

    connectWith('connect to an insecure hub', 'open', {}, CONNECTED);
    connectWith('connect as anonymous', 'anon', {}, CONNECTED);
    connectWith('connect with everything the client may say', 'open',
        '{"name":"js","version":"5.0","data":{"a":[1]},"headers":{"a":"b"},'
        + '"subs":{},"flag":0}', CONNECTED);
    connectWith('no token where one is needed', 'token', {}, BAD);
    connectWith('an empty token where one is needed', 'token',
        { token: '' }, BAD);

    first('subscribe before connect', 'open',
        '{"id":1,"subscribe":{"channel":"a"}}', [], BAD);
    first('empty command before connect', 'open', '{}', [], BAD);
    first('send before connect', 'open', '{"send":{"data":1}}', [], BAD);
    first('connect without id', 'open', '{"connect":{}}', [], BAD);
    first('connect with id 0', 'open', '{"id":0,"connect":{}}', [], BAD);
    first('garbage before connect', 'open', 'x', [], BAD);
    first('empty frame before connect', 'open', '', [], BAD);
    first('connect twice', 'open',
        ['{"id":1,"connect":{}}', '{"id":2,"connect":{}}'], [CONNECTED], BAD);
    first('connect twice in a frame', 'open',
        '{"id":1,"connect":{}}\n{"id":2,"connect":{}}', [CONNECTED], BAD);
    first('connect and more in a frame', 'open',
        '{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"a"}}\n'
        + '{"id":3,"rpc":{}}\n',
        [CONNECTED, '{"id":2,"subscribe":{}}', error(3, 108)]);

    s.it('client ids differ, on both workers', async () => {
        const list = await onAllWorkers(pids, 5,
            () => Client.connect(url('open')));

        assert.equal(new Set(list.map((c) => c.id)).size, list.length);
        list.forEach((c) => c.terminate());
    });


    /* tokens */

    const t = (claims, key, how) => ({ token: jwt(claims, key, how) });
    const hour = now() + 3600;

    connectWith('token', 'token', t({ sub: '42' }), CONNECTED);
    connectWith('token without sub', 'token', t({}), CONNECTED);
    connectWith('token with exp', 'token', t({ sub: '42', exp: hour }),
        WITH_TTL(3500, 3600));
    connectWith('ttl is at most a year', 'token',
        t({ sub: '42', exp: now() + 10 * 365 * 86400 }),
        WITH_TTL(31536000, 31536000));
    connectWith('exp as a string', 'token',
        t({ sub: '42', exp: String(hour) }), WITH_TTL(3500, 3600));
    connectWith('exp with a fraction', 'token',
        t({ sub: '42', exp: hour + 0.5 }), WITH_TTL(3500, 3601));
    connectWith('expired', 'token', t({ sub: '42', exp: now() - 1 }),
        error(1, 109));
    connectWith('expired now', 'token', t({ sub: '42', exp: now() }),
        error(1, 109));
    connectWith('expired long ago', 'token', t({ sub: '42', exp: 1 }),
        error(1, 109));
    connectWith('expired, as a string', 'token', t({ sub: '42', exp: '1' }),
        error(1, 109));
    connectWith('expired, with a fraction', 'token',
        t({ sub: '42', exp: now() - 9.5 }), error(1, 109));
    connectWith('exp is a word', 'token', t({ sub: '42', exp: 'soon' }),
        INVALID);
    connectWith('exp is an object', 'token', t({ sub: '42', exp: {} }),
        INVALID);
    connectWith('nbf in the future', 'token',
        t({ sub: '42', nbf: hour }), error(1, 109));
    connectWith('nbf in the past', 'token',
        t({ sub: '42', nbf: now() - 60, iat: now(), jti: 'x' }), CONNECTED);
    connectWith('expire_at instead of exp', 'token',
        t({ sub: '42', exp: hour, expire_at: now() + 600 }),
        WITH_TTL(500, 600));
    connectWith('expire_at 0: never', 'token',
        t({ sub: '42', exp: hour, expire_at: 0 }), CONNECTED);
    connectWith('expire_at in the past', 'token',
        t({ sub: '42', exp: hour, expire_at: now() - 5 }), error(1, 110));
    connectWith('HS384', 'token', t({ sub: '42' }, 'secret',
        { alg: 'HS384' }), CONNECTED);
    connectWith('HS512', 'token', t({ sub: '42' }, 'secret',
        { alg: 'HS512' }), CONNECTED);
    connectWith('no typ in the header', 'token', t({ sub: '42' }, 'secret',
        { header: { typ: undefined } }), CONNECTED);
    connectWith('wrong key', 'token', t({ sub: '42' }, 'other'), INVALID);
    connectWith('empty key', 'token', t({ sub: '42' }, ''), INVALID);
    connectWith('wrong key and expired', 'token',
        t({ sub: '42', exp: 1 }, 'other'), INVALID);
    connectWith('signature of HS256 called HS512', 'token',
        t({ sub: '42' }, 'secret', { alg: 'HS512', hash: 'sha256' }),
        INVALID);
    connectWith('claims of another token', 'token', (() => {
        const [h, , sig] = jwt({ sub: '42' }).split('.');
        return { token: `${h}.${b64url('{"sub":"1"}')}.${sig}` };
    })(), INVALID);
    connectWith('signature cut', 'token',
        { token: jwt({ sub: '42' }).slice(0, -1) }, INVALID);
    connectWith('no signature', 'token',
        { token: jwt({ sub: '42' }).replace(/[^.]*$/, '') }, INVALID);

    for (const alg of ['none', 'None', 'NONE', '', 'RS256', 'ES256', 'PS256',
                       'EdDSA', 'hs256', 'XX'])
    {
        connectWith(`alg "${alg}" signed with the key`, 'token',
            t({ sub: '42' }, 'secret', { alg }), INVALID);
        connectWith(`alg "${alg}" without a signature`, 'token',
            { token: jwt({ sub: '42' }, 'secret', { alg })
                .replace(/[^.]*$/, '') }, INVALID);
    }

    connectWith('no alg', 'token',
        t({ sub: '42' }, 'secret', { header: { alg: undefined } }), INVALID);
    connectWith('crit in the header', 'token',
        t({ sub: '42' }, 'secret', { header: { crit: ['x'], x: 1 } }),
        INVALID);

    for (const token of ['abc', 'a.b', 'a.b.c', 'a.b.c.d', '..', '.', '...',
                         'a..c', ' ', '\u0000', 'x'.repeat(20000),
                         '.'.repeat(20000), `${jwt({ sub: '42' })}.x`,
                         ` ${jwt({ sub: '42' })}`, `${jwt({ sub: '42' })} `,
                         `${jwt({ sub: '42' })}\u0000`,
                         `${b64url('[]')}.${b64url('{}')}.x`,
                         `${b64url('{')}.${b64url('{}')}.x`, '\u20ac.b.c'])
    {
        connectWith(`token ${JSON.stringify(token).slice(0, 24)}, `
                    + `${token.length} characters`, 'token', { token },
                    INVALID);
    }

    for (const claims of ['[]', '"x"', '1', 'null', '{', '', '{"sub":42}',
                          '{"sub":{}}', '{"sub":"42"} x',
                          Buffer.from('{"sub":"\xff"}', 'latin1'),
                          `{"sub":"42","info":${nest(2000)}}`])
    {
        connectWith(`claims ${claims.toString('latin1').slice(0, 30)}`,
                    'token', t(claims), INVALID);
    }

    connectWith('a channel claim', 'token',
        t({ sub: '42', channel: 'a' }), INVALID);
    connectWith('a channel claim and expired', 'token',
        t({ sub: '42', channel: 'a', exp: 1 }), INVALID);
    connectWith('token for a hub without a key', 'nokey', t({ sub: '42' }),
        INVALID);
    connectWith('token with an empty key for a hub without a key', 'nokey',
        t({ sub: '42' }, ''), INVALID);
    connectWith('a wrong token is not anonymous', 'anon', { token: 'x' },
        INVALID);
    connectWith('insecure hub: a wrong token is wrong', 'openkey',
        { token: 'x' }, INVALID);
    connectWith('insecure hub: no expiry', 'openkey',
        t({ sub: '42', exp: hour }), CONNECTED);
    connectWith('wrong b64info', 'token',
        t({ sub: '42', b64info: '!' }),
        '{"id":1,"error":{"code":100,"message":"internal server error",'
        + '"temporary":true}}');

    s.it('after a failed connect nothing is answered', async () => {
        const c = await Client.open(url('token'));

        c.send({ id: 1, connect: t({ sub: '42', exp: 1 }) });
        assert.equal(await c.line(), error(1, 109));
        c.send({ id: 2, connect: t({ sub: '42' }) });

        const got = await c.untilClosed(8000);

        assert.deepEqual(got.lines, []);
    });


    /* subscribe and unsubscribe */

    row('subscribe', '{"id":2,"subscribe":{"channel":"a"}}',
        ['{"id":2,"subscribe":{}}']);
    row('subscribe twice', [
        '{"id":2,"subscribe":{"channel":"a"}}',
        '{"id":3,"subscribe":{"channel":"a"}}'],
        ['{"id":2,"subscribe":{}}', error(3, 105)]);
    row('unsubscribe and subscribe again', [
        '{"id":2,"subscribe":{"channel":"a"}}',
        '{"id":3,"unsubscribe":{"channel":"a"}}',
        '{"id":4,"subscribe":{"channel":"a"}}'],
        ['{"id":2,"subscribe":{}}', '{"id":3,"unsubscribe":{}}',
         '{"id":4,"subscribe":{}}']);
    row('unsubscribe what is not subscribed', UNSUB2, [OK2]);
    row('unsubscribe of an unknown namespace',
        '{"id":2,"unsubscribe":{"channel":"nope:x"}}', [OK2]);
    row('subscribe to an empty channel', '{"id":2,"subscribe":{"channel":""}}',
        [], BAD);
    row('subscribe to no channel', '{"id":2,"subscribe":{}}', [], BAD);
    row('unsubscribe from an empty channel', '{"id":2,"unsubscribe":{}}', [],
        BAD);
    row('unknown namespace', '{"id":2,"subscribe":{"channel":"nope:x"}}',
        [error(2, 102)]);
    row('empty namespace', '{"id":2,"subscribe":{"channel":":x"}}',
        ['{"id":2,"subscribe":{}}']);
    row('255 bytes', `{"id":2,"subscribe":{"channel":"${'x'.repeat(255)}"}}`,
        ['{"id":2,"subscribe":{}}']);
    row('256 bytes', `{"id":2,"subscribe":{"channel":"${'x'.repeat(256)}"}}`,
        [error(2, 107)]);
    row('256 bytes of escapes',
        `{"id":2,"subscribe":{"channel":"${'\\u0078'.repeat(256)}"}}`,
        [error(2, 107)]);
    row('255 bytes of escapes',
        `{"id":2,"subscribe":{"channel":"${'\\u0078'.repeat(255)}"}}`,
        ['{"id":2,"subscribe":{}}']);
    row('60,000 bytes',
        `{"id":2,"subscribe":{"channel":"${'x'.repeat(60000)}"}}`,
        [error(2, 107)]);
    row('256 bytes of an unknown namespace',
        `{"id":2,"subscribe":{"channel":"n:${'x'.repeat(254)}"}}`,
        [error(2, 107)]);
    row('not ASCII', '{"id":2,"subscribe":{"channel":"caf\u00e9"}}',
        [error(2, 107)]);
    row('not ASCII by an escape',
        '{"id":2,"subscribe":{"channel":"caf\\u00e9"}}', [error(2, 107)]);
    row('not ASCII in an unknown namespace',
        '{"id":2,"subscribe":{"channel":"nope:caf\u00e9"}}', [error(2, 102)]);
    row('a private channel', '{"id":2,"subscribe":{"channel":"$a"}}',
        [error(2, 103)]);
    row('a private channel with a token',
        '{"id":2,"subscribe":{"channel":"$a","token":"x.y.z"}}',
        [error(2, 103)]);
    row('a private channel of an unknown namespace',
        '{"id":2,"subscribe":{"channel":"$nope:a"}}', [error(2, 102)]);
    row('a channel with a token',
        '{"id":2,"subscribe":{"channel":"a","token":"x.y.z"}}',
        [error(2, 103)]);
    row('# is an ordinary character',
        '{"id":2,"subscribe":{"channel":"a#42"}}',
        ['{"id":2,"subscribe":{}}']);
    row('# is ordinary where permissions count',
        '{"id":2,"subscribe":{"channel":"a#42"}}',
        ['{"id":2,"subscribe":{}}'], undefined, 'anon');
    row('# alone grants nothing', '{"id":2,"subscribe":{"channel":"none:#"}}',
        [error(2, 103)], undefined, 'anon');

    for (const type of [1, 2, 3]) {
        row(`type ${type}`,
            `{"id":2,"subscribe":{"channel":"a","type":${type}}}`,
            [error(2, 103)]);
    }

    row('type 4', '{"id":2,"subscribe":{"channel":"a","type":4}}',
        [error(2, 108)]);
    row('type 0', '{"id":2,"subscribe":{"channel":"a","type":0}}',
        ['{"id":2,"subscribe":{}}']);
    row('type 1 of an unknown namespace',
        '{"id":2,"subscribe":{"channel":"nope:a","type":1}}',
        [error(2, 102)]);
    row('unknown delta',
        '{"id":2,"subscribe":{"channel":"a","delta":"x"}}', [], BAD);
    row('unknown delta and an oversized channel',
        `{"id":2,"subscribe":{"channel":"${'x'.repeat(256)}","delta":"x"}}`,
        [], BAD);
    row('a known delta is not granted',
        '{"id":2,"subscribe":{"channel":"a","delta":"fossil"}}',
        ['{"id":2,"subscribe":{}}']);
    row('wishes are not granted',
        '{"id":2,"subscribe":{"channel":"a","positioned":true,'
        + '"recoverable":true,"join_leave":true,"data":{"x":1}}}',
        ['{"id":2,"subscribe":{}}']);
    row('recover without history',
        '{"id":2,"subscribe":{"channel":"a","recover":true,"epoch":"x",'
        + '"offset":3}}', ['{"id":2,"subscribe":{"was_recovering":true}}']);
    row('a tags filter is refused and nothing is subscribed', [
        '{"id":2,"subscribe":{"channel":"a","tf":{"key":"k","cmp":"eq",'
        + '"val":"v"}}}',
        '{"id":3,"subscribe":{"channel":"a"}}'],
        [error(2, 107), '{"id":3,"subscribe":{}}']);

    /* limits, in their order */

    const sub = (id, channel) =>
        `{"id":${id},"subscribe":{"channel":"${channel}"}}`;
    const three = [sub(2, 'a'), sub(3, 'b'), sub(4, 'c')];
    const threeOk = [2, 3, 4].map((i) => `{"id":${i},"subscribe":{}}`);

    row('one channel too many', [...three, sub(5, 'd')],
        [...threeOk, error(5, 106)], undefined, 'limits');
    row('a subscribed channel at the limit', [...three, sub(5, 'a')],
        [...threeOk, error(5, 105)], undefined, 'limits');
    row('a long name at the limit', [...three, sub(5, 'x'.repeat(21))],
        [...threeOk, error(5, 107)], undefined, 'limits');
    row('an unknown namespace at the limit', [...three, sub(5, 'nope:x')],
        [...threeOk, error(5, 106)], undefined, 'limits');
    row('room after unsubscribe',
        [...three, '{"id":5,"unsubscribe":{"channel":"a"}}', sub(6, 'd'),
         sub(7, 'e')],
        [...threeOk, '{"id":5,"unsubscribe":{}}', '{"id":6,"subscribe":{}}',
         error(7, 106)], undefined, 'limits');
    row('refused ones do not count',
        [sub(2, 'a'), sub(3, '$x'), sub(4, 'nope:x'), sub(5, 'b'),
         sub(6, 'c')],
        ['{"id":2,"subscribe":{}}', error(3, 103), error(4, 102),
         '{"id":5,"subscribe":{}}', '{"id":6,"subscribe":{}}'],
        undefined, 'limits');
    row('channel_max_length 20', [sub(2, 'x'.repeat(20)),
                                  sub(3, 'y'.repeat(21))],
        ['{"id":2,"subscribe":{}}', error(3, 107)], undefined, 'limits');


    /* permissions; options of the hub hold for no namespace */

    const USER = t({ sub: '42' });
    const may = (name, channel, connect, code) =>
        row(`${connect.token ? 'user' : 'anonymous'} ${name} ${channel}: `
            + `${code || 'yes'}`,
            name === 'subscribes' ? sub(2, channel)
                : `{"id":2,"publish":{"channel":"${channel}","data":1}}`,
            [code ? error(2, code)
                  : name === 'subscribes' ? '{"id":2,"subscribe":{}}'
                                          : '{"id":2,"publish":{}}'],
            undefined, 'anon', connect);

    for (const [channel, user, anon] of [
        ['x', 0, 0], [':x', 0, 0], ['none:x', 103, 103], ['sub:x', 0, 103],
        ['suba:x', 0, 0], ['onlya:x', 103, 103], ['pub:x', 103, 103],
        ['nope:x', 102, 102], ['$x', 103, 103], ['$suba:x', 103, 103],
        ['sub:a:b', 0, 103], ['Sub:x', 102, 102],
    ]) {
        may('subscribes', channel, USER, user);
        may('subscribes', channel, {}, anon);
    }

    for (const [channel, user, anon] of [
        ['x', 0, 0], ['none:x', 103, 103], ['sub:x', 103, 103],
        ['suba:x', 103, 103], ['pub:x', 0, 103], ['puba:x', 0, 0],
        ['onlypa:x', 103, 103], ['mem:x', 103, 103], ['mema:x', 103, 103],
        ['nope:x', 102, 102], ['$puba:x', 0, 0],
    ]) {
        may('publishes', channel, USER, user);
        may('publishes', channel, {}, anon);
    }

    for (const [channel, connect, code] of [
        ['mem:1', USER, 0], ['mem:2', {}, 103], ['mema:1', USER, 0],
        ['mema:2', {}, 0], ['suba:1', USER, 103],
    ]) {
        s.it(`${connect.token ? 'user' : 'anonymous'} subscribed to `
             + `${channel} publishes: ${code || 'yes'}`, async () => {
            const c = await Client.connect(url('anon'), { connect });

            await c.subscribe(channel);

            const r = await c.call({ publish: { channel, data: 1 } });

            if (code) {
                assert.equal(r.error.code, code);
            } else {
                assert.deepEqual(r.publish, {});
            }

            c.terminate();
        });
    }


    /* publish */

    row('publish to an empty channel', '{"id":2,"publish":{"data":1}}', [],
        BAD);
    row('publish without data', '{"id":2,"publish":{"channel":"a"}}',
        [error(2, 107)]);
    row('publish without data where nothing is allowed',
        '{"id":2,"publish":{"channel":"none:a"}}', [error(2, 107)], undefined,
        'anon');
    row('publish to an unknown namespace without data',
        '{"id":2,"publish":{"channel":"nope:a"}}', [error(2, 102)]);
    row('publish, name not ASCII',
        '{"id":2,"publish":{"channel":"\u00e9","data":1}}', [error(2, 107)]);
    row('publish, name not ASCII in an unknown namespace',
        '{"id":2,"publish":{"channel":"nope:\u00e9","data":1}}',
        [error(2, 102)]);
    row('publish: the length of the name is not checked',
        `{"id":2,"publish":{"channel":"${'x'.repeat(300)}","data":1}}`,
        ['{"id":2,"publish":{}}']);
    row('publish', '{"id":2,"publish":{"channel":"lonely","data":{}}}',
        ['{"id":2,"publish":{}}']);

    /* what is not there yet */

    for (const name of ['presence', 'presence_stats', 'history']) {
        row(name, `{"id":2,"${name}":{"channel":"a"}}`, [error(2, 108)]);
        row(`${name}, no channel`, `{"id":2,"${name}":{}}`, [], BAD);
        row(`${name}, unknown namespace`,
            `{"id":2,"${name}":{"channel":"nope:a"}}`, [error(2, 102)]);
        row(`${name}, name not ASCII`,
            `{"id":2,"${name}":{"channel":"\u00e9"}}`, [error(2, 107)]);
    }

    row('sub_refresh',
        [sub(2, 'a'), '{"id":3,"sub_refresh":{"channel":"a","token":"x"}}'],
        ['{"id":2,"subscribe":{}}'], INVALID);
    row('sub_refresh without a token',
        [sub(2, 'a'), '{"id":3,"sub_refresh":{"channel":"a"}}'],
        ['{"id":2,"subscribe":{}}', error(3, 107)]);
    row('sub_refresh without a subscription',
        '{"id":3,"sub_refresh":{"channel":"a","token":"x"}}',
        [error(3, 103)]);
    row('rpc', '{"id":2,"rpc":{"method":"x","data":{"a":1}}}',
        [error(2, 108)]);
    row('rpc without a method', '{"id":2,"rpc":{}}', [error(2, 108)]);
    row('send', '{"send":{"data":{"x":1}}}', [], NONE);
    row('send with an id', '{"id":2,"send":{"data":1}}', [], NONE);
    row('send without data', '{"send":{}}', [], NONE);
    row('replies before send', UNSUB2 + '\n{"send":{"data":1}}', [OK2], NONE);


    /* refresh */

    const refresh = (name, before, claims, want, close, how = {}) =>
        row(`refresh: ${name}`,
            `{"id":2,"refresh":{"token":"${typeof claims === 'string'
                ? claims : jwt(claims, how.key, how)}"}}`, want, close,
            'token', t(before));

    const TTL = /^\{"id":2,"refresh":\{"expires":true,"ttl":(3[56]\d\d)\}\}$/;

    refresh('new expiry', { sub: '42', exp: now() + 600 },
        { sub: '42', exp: now() + 3600 }, [TTL]);
    refresh('no expiry before', { sub: '42' },
        { sub: '42', exp: now() + 3600 }, [TTL]);
    refresh('no expiry after', { sub: '42', exp: now() + 600 },
        { sub: '42' }, ['{"id":2,"refresh":{}}']);
    refresh('expired token', { sub: '42' }, { sub: '42', exp: 1 }, [],
        [3005, 'connection expired']);
    refresh('token of another user', { sub: '42' }, { sub: '7' }, [],
        INVALID);
    refresh('token of nobody', { sub: '42' }, {}, [], INVALID);
    refresh('wrong signature', { sub: '42' }, { sub: '42' }, [], INVALID,
        { key: 'other' });
    refresh('alg none', { sub: '42' }, { sub: '42' }, [], INVALID,
        { alg: 'none' });
    refresh('a channel claim', { sub: '42' }, { sub: '42', channel: 'a' }, [],
        INVALID);
    refresh('garbage', { sub: '42' }, 'x', [], INVALID);
    refresh('empty token', { sub: '42' }, '', [], BAD);
    refresh('expire_at in the past', { sub: '42', exp: now() + 600 },
        { sub: '42', exp: now() + 600, expire_at: now() - 5 },
        [error(2, 110)]);
    row('refresh: no token', '{"id":2,"refresh":{}}', [], BAD, 'token', USER);
    row('refresh: hub without a key',
        `{"id":2,"refresh":{"token":"${jwt({}, '')}"}}`, [], INVALID,
        'nokey');

    s.it('closed at ttl and expired_close_delay', async () => {
        const exp = now() + 2;
        const c = await Client.connect(url('token'),
            { connect: t({ sub: '42', exp }) });

        assert.ok(c.connectResult.expires);
        assert.ok(c.connectResult.ttl >= 1 && c.connectResult.ttl <= 2);

        const got = await c.untilClosed(8000);
        const at = Date.now() / 1000;

        assert.deepEqual([got.code, got.reason],
                         [3005, 'connection expired']);
        assert.ok(at >= exp + 0.9 && at < exp + 3.5,
                  `closed ${at - exp} s after exp`);
    });

    s.it('a refresh in time keeps the connection', async () => {
        const c = await Client.connect(url('token'),
            { connect: t({ sub: '42', exp: now() + 2 }) });

        await c.call({ refresh: t({ sub: '42', exp: now() + 600 }) });
        await sleep(4500);
        assert.deepEqual(await c.settle(), []);
        c.terminate();
    });

    s.it('a refresh inside expired_close_delay keeps it too', async () => {
        const exp = now() + 2;
        const c = await Client.connect(url('token'),
            { connect: t({ sub: '42', exp }) });

        await sleep(exp * 1000 + 200 - Date.now());

        const r = await c.call({ refresh: t({ sub: '42', exp: exp + 600 }) });

        assert.equal(r.refresh.expires, true);
        await sleep(3000);
        assert.deepEqual(await c.settle(), []);
        c.terminate();
    });

    s.it('a refresh without exp leaves the old expiry', async () => {
        const exp = now() + 2;
        const c = await Client.connect(url('token'),
            { connect: t({ sub: '42', exp }) });
        const r = await c.call({ refresh: t({ sub: '42' }) });

        assert.deepEqual(r.refresh, {});

        const got = await c.untilClosed(8000);

        assert.deepEqual([got.code, got.reason],
                         [3005, 'connection expired']);
    });

    s.it('a refresh brings new info', async () => {
        const ch = fresh();
        const c = await Client.connect(url('token'),
            { connect: t({ sub: '42', info: { v: 1 } }) });

        await c.subscribe(ch);
        await c.call({ publish: { channel: ch, data: 1 } });
        assert.deepEqual((await c.json()).push.pub.info.conn_info, { v: 1 });
        await c.call({ refresh: t({ sub: '42', info: { v: 2 } }) });
        await c.call({ publish: { channel: ch, data: 2 } });
        assert.deepEqual((await c.json()).push.pub.info.conn_info, { v: 2 });
        c.terminate();
    });


    /* publications */

    s.it('API publications have no info', async () => {
        const ch = fresh();
        const list = await onAllWorkers(pids, 1, async () => {
            const c = await Client.connect(url('open'));

            await c.subscribe(ch);
            return c;
        });

        await apis.open.publish(ch, { x: 1 });

        for (const c of list) {
            assert.equal(await c.line(),
                `{"push":{"channel":"${ch}","pub":{"data":{"x":1}}}}`);
            c.terminate();
        }
    });

    s.it('client publications name the publisher', async () => {
        const ch = fresh();
        const list = await onAllWorkers(pids, 1, async () => {
            const c = await Client.connect(url('open'));

            await c.subscribe(ch);
            return c;
        });

        const r = await list[0].call({ publish: { channel: ch, data: 'x' } });

        assert.deepEqual(r.publish, {});

        for (const c of list) {
            assert.equal(await c.line(),
                `{"push":{"channel":"${ch}","pub":{"data":"x",`
                + `"info":{"user":"","client":"${list[0].id}"}}}}`);
            c.terminate();
        }
    });

    s.it('with its user and info', async () => {
        const ch = fresh();
        const token = jwt('{"sub":"4\\"2","info":{"name": "Ann\u00e9" }}');
        const c = await Client.connect(url('token'),
            { connect: { token } });

        await c.subscribe(ch);
        await c.call({ publish: { channel: ch, data: 1 } });

        const line = await c.line();
        const { push } = JSON.parse(line);

        assert.deepEqual(push, { channel: ch, pub: { data: 1, info: {
            user: '4"2', client: c.id,
            conn_info: { name: 'Ann\u00e9' } } } });
        assert.match(line, /"data":1,"info":\{"user":"4\\"2","client":"/);
        c.terminate();
    });

    s.it('with its b64info', async () => {
        const ch = fresh();
        const c = await Client.connect(url('token'), { connect: t({
            sub: '42', info: { no: 1 },
            b64info: Buffer.from('{"yes":1}').toString('base64') }) });

        await c.subscribe(ch);
        await c.call({ publish: { channel: ch, data: 1 } });
        assert.deepEqual((await c.json()).push.pub.info.conn_info,
                         { yes: 1 });
        c.terminate();
    });

    const payloads = [
        '1.0e5', '-0', '1E400', '0.10000000000000000000000000000001',
        '12345678901234567890123', '"a\\/b\\u00e9\\ud83d\\ude00"',
        '"\u0000"'.replace('\u0000', '\\u0000'), 'null', 'true', 'false',
        '""', '{}', '[]', '{ "a" : 1 , "b":[ 1,2 ]\t}', '{"a":1,"a":2}',
        '"\uffff \u{10ffff} \ud7ff \ue000 \ufeff \u2028"', '"\u007f"',
        `"${'x'.repeat(50000)}"`, `{"k":${nest(400)}}`,
    ];

    s.it('payload bytes are unchanged', async () => {
        const ch = fresh();
        const list = await onAllWorkers(pids, 1, async () => {
            const c = await Client.connect(url('open'));

            await c.subscribe(ch);
            return c;
        });

        for (const p of payloads) {
            await server.request('POST', '/api/open/publish', {
                body: `{"channel":"${ch}","data":${p}}` });
            list[0].frame(`{"id":77,"publish":{"channel":"${ch}",`
                          + `"data":${p}}}`);

            for (const c of list) {
                const want = [
                    `{"push":{"channel":"${ch}","pub":{"data":${p}}}}`,
                    `{"push":{"channel":"${ch}","pub":{"data":${p},`
                    + `"info":{"user":"","client":"${list[0].id}"}}}}`,
                ];
                const got = [];

                if (c === list[0]) {
                    want.push('{"id":77,"publish":{}}');
                }

                for (const w of want) {
                    got.push(await c.line(5000, w));
                }

                assert.deepEqual(got.sort(), want.sort());
            }
        }

        list.forEach((c) => c.terminate());
    });

    s.it('raw CR and LF in a payload are dropped', async () => {
        const ch = fresh();
        const c = await Client.connect(url('open'));

        await c.subscribe(ch);
        await server.request('POST', '/api/open/publish', {
            body: `{\r\n "channel": "${ch}",\r\n "data": {\r\n  "a": [\n1,`
                  + '\n2 ],\r"b": "x\\r\\ny"\n}\n}\n' });
        assert.equal(await c.line(), `{"push":{"channel":"${ch}",`
            + '"pub":{"data":{  "a": [1,2 ],"b": "x\\r\\ny"}}}}');
        c.frame(`{"id":2,"publish":{"channel":"${ch}","data":[1,\r2]}}`);

        const got = [await c.line(), await c.line()].sort();

        assert.equal(got[0], '{"id":2,"publish":{}}');
        assert.match(got[1], /"data":\[1,2\]/);
        c.terminate();
    });

    s.it('channel names are exact', async () => {
        const c = await Client.connect(url('open'));
        const base = fresh();
        const names = [base, `${base}\u0000`, `${base}\u0000b`, `${base} `,
                       `${base}"`, `${base}\\`, `${base}/`, `${base}\n`,
                       `${base}\u007f`, `${base.toUpperCase()}`,
                       `:${base}`, `${base}#1,2`, `${base}*`];

        for (const name of names) {
            await c.subscribe(name);
        }

        for (const name of names) {
            await apis.open.publish(name, name);

            const { push } = await c.json();

            assert.equal(push.channel, name);
            assert.equal(push.pub.data, name);
        }

        assert.deepEqual(await c.settle(), []);
        c.terminate();
    });

    s.it('the reply comes before publications of the channel', async () => {
        const ch = fresh();
        let stop = false;
        let n = 0;

        const feed = (async () => {
            while (!stop) {
                await apis.open.publish(ch, ++n);
            }
        })();

        try {
            for (let i = 0; i < 50; i++) {
                const c = await Client.connect(url('open'));

                c.frame(sub(2, ch));
                assert.equal(await c.line(), '{"id":2,"subscribe":{}}');

                const a = (await c.json()).push.pub.data;
                const b = (await c.json()).push.pub.data;

                assert.equal(b, a + 1);
                c.terminate();
            }
        } finally {
            stop = true;
            await feed;
        }
    });

    s.it('nothing is received after unsubscribe', async () => {
        const ch = fresh();
        const list = await onAllWorkers(pids, 1, async () => {
            const c = await Client.connect(url('open'));

            await c.subscribe(ch);
            return c;
        });

        await apis.open.publish(ch, 1);

        for (const c of list) {
            assert.equal((await c.json()).push.pub.data, 1);
            await c.call({ unsubscribe: { channel: ch } });
        }

        await apis.open.publish(ch, 2);
        await sleep(300);

        for (const c of list) {
            assert.deepEqual(await c.settle(), []);
            c.terminate();
        }
    });

    s.it('a hub does not hear another one', async () => {
        const ch = fresh();
        const c = await Client.connect(url('open'));
        const d = await Client.connect(url('anon'));

        await c.subscribe(ch);
        await d.subscribe(ch);
        await apis.anon.publish(ch, 'anon');
        await apis.open.publish(ch, 'open');
        assert.equal((await c.json()).push.pub.data, 'open');
        assert.equal((await d.json()).push.pub.data, 'anon');
        await sleep(200);
        assert.deepEqual(await c.settle(), []);
        assert.deepEqual(await d.settle(), []);
        c.terminate();
        d.terminate();
    });


    /* pings, pongs and other timers */

    s.it('ping and pong', async () => {
        const c = await Client.connect(url('ping'), { pings: 'keep' });
        const begin = Date.now();
        const at = [];

        assert.equal(c.connectResult.ping, 1);
        assert.equal(c.connectResult.pong, true);

        for (let i = 0; i < 4; i++) {
            assert.equal(await c.line(3000, 'a ping'), '{}');
            at.push(Date.now() - begin);
            c.frame('{}');
        }

        assert.ok(at[0] >= 350 && at[0] <= 1600, `first ping at ${at[0]}`);

        for (let i = 1; i < 4; i++) {
            const gap = at[i] - at[i - 1];

            assert.ok(gap >= 700 && gap <= 1700, `pings at ${at}`);
        }

        c.terminate();
    });

    s.it('no pong', async () => {
        const c = await Client.connect(url('ping'), { pings: 'keep' });
        const got = await c.untilClosed();

        assert.deepEqual(got.lines, ['{}']);
        assert.deepEqual([got.code, got.reason], [3012, 'no pong']);
    });

    s.it('other traffic is no pong', async () => {
        const c = await Client.connect(url('ping'), { pings: 'keep' });
        const timer = setInterval(() => c.frame(UNSUB2), 100);
        const got = await c.untilClosed();

        clearInterval(timer);
        assert.deepEqual([got.code, got.reason], [3012, 'no pong']);
        assert.deepEqual(new Set(got.lines), new Set(['{}', OK2]));
    });

    s.it('a second pong', async () => {
        const c = await Client.connect(url('ping'), { pings: 'keep' });

        assert.equal(await c.line(3000, 'a ping'), '{}');
        c.frame('{}\n{}');

        const got = await c.untilClosed();

        assert.deepEqual([got.code, got.reason], BAD);
    });

    s.it('a pong without a ping', async () => {
        const c = await Client.connect(url('ping'), { pings: 'keep' });

        c.frame('{}');

        const got = await c.untilClosed();

        assert.deepEqual(got.lines, []);
        assert.deepEqual([got.code, got.reason], BAD);
    });

    s.it('a pong may contain anything', async () => {
        const c = await Client.connect(url('ping'), { pings: 'keep' });

        for (const pong of ['{"id":0,"subscribe":{"channel":"p"}}',
                            '{"x":1}', '{"connect":{}}'])
        {
            assert.equal(await c.line(3000, 'a ping'), '{}');
            c.frame(pong);
        }

        c.frame(sub(9, 'p'));
        assert.equal(await c.line(), '{"id":9,"subscribe":{}}');
        c.terminate();
    });

    s.it('a connection without connect is stale', async () => {
        const c = await Client.open(url('ping'), { pings: 'keep' });
        const begin = Date.now();
        const got = await c.untilClosed(4000);
        const took = Date.now() - begin;

        assert.deepEqual(got.lines, []);
        assert.deepEqual([got.code, got.reason], [3502, 'stale']);
        assert.ok(took >= 800 && took < 3000, `${took} ms`);
    });

    s.it('a connected one is not stale', async () => {
        const c = await Client.connect(url('ping'));

        await sleep(2500);
        assert.deepEqual(await c.settle(), []);
        c.terminate();
    });


    /* peers that do not read */

    const deaf = (hub, count, size, limit) => s.it(
        `a peer that does not read is closed (${hub})`, async () => {
            const ch = fresh();
            const good = await Client.connect(url(hub));
            const bad = await Raw.connect(server.port, `/${hub}`);
            const clients = () => server.metric(
                'centrifugo_node_num_clients', `/metrics/${hub}`);

            await good.subscribe(ch);
            bad.text(sub(2, ch));
            await bad.message();
            bad.socket.pause();
            assert.equal(await clients(), 2);

            for (let i = 0; i < count; i++) {
                await apis[hub].publish(ch, i + 'x'.repeat(size));
                assert.equal(parseInt((await good.json()).push.pub.data, 10),
                             i);
            }

            await until('one client to be gone',
                        async () => await clients() === 1, limit);
            bad.socket.resume();
            await bad.end(10000);
            await apis[hub].publish(ch, 'after');
            assert.equal((await good.json()).push.pub.data, 'after');
            good.terminate();
        });

    deaf('slow', 400, 60000, 3000);
    deaf('stuck', 50, 500000, 6000);

    s.it('3508 is counted', async () => {
        const name = 'centrifugo_client_num_server_disconnects';
        const before = await server.metric(name, '/metrics/nokey') || 0;
        const c = await Client.connect(url('nokey'));

        c.frame('{"send":{}}');
        await c.untilClosed();
        await until('the counter', async () =>
            (await server.metric(name, '/metrics/nokey') || 0) > before);
    });

    await s.serial('the hubs are empty in the end', () => within(10000,
        'empty hubs', (async () => {
            /* those of cases that failed */

            for (const end of held) {
                end();
            }

            for (const h of Object.keys(HUBS)) {
                for (const what of ['clients', 'subscriptions', 'channels']) {
                    await until(`no ${what} in ${h}`, async () =>
                        await server.metric(`centrifugo_node_num_${what}`,
                                            `/metrics/${h}`) === 0);
                }
            }
        })()));

    Object.values(apis).forEach((a) => a.close());
});
