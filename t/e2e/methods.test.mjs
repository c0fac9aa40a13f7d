/*
 * The methods of the server API besides publish and broadcast, in both
 * dialects: parameters, errors, and what channels and info tell.  One row is
 * one rule.
 */

import assert from 'node:assert/strict';
import os from 'node:os';

import { Client, onAllWorkers, UUID } from './lib/client.mjs';
import { suite } from './lib/suite.mjs';

const MESSAGE = { 100: 'internal server error', 102: 'unknown channel',
                  104: 'not found', 107: 'bad request',
                  108: 'not available' };
const NUMBER = { unsubscribe: 2, disconnect: 3, presence: 4,
                 presence_stats: 5, history: 6, history_remove: 7,
                 channels: 8, info: 9, rpc: 10,
                 subscribe: 11, refresh: 12 };

const OK = { result: {} };
const BAD = '400';
const err = (code) => ({ error: { code, message: MESSAGE[code] } });
const b64 = (x) => Buffer.from(x).toString('base64');
const now = () => Math.floor(Date.now() / 1000);
const NOBODY = '00112233-4455-4677-8899-aabbccddeeff';


suite('methods of the server API', { concurrency: 16 }, async (s) => {
    const server = await s.start({
        hub: `api_insecure on; token_hmac_secret_key secret;
            allow_subscribe_for_client on;
            allow_anonymous_connect_without_token on;
            allow_subscribe_for_anonymous on;
            namespace quiet { allow_subscribe_for_client on; }`,
        hubs: { list: 'client_insecure on; api_insecure on;',
                count: 'client_insecure on; api_insecure on;' },
        locations: `
            location /list/api { centrifugo_api list; }
            location = /list/ws { centrifugo_websocket list; }
            location /count/api { centrifugo_api count; }
            location = /count/metrics { centrifugo_metrics count; }
            location = /count/ws { centrifugo_websocket count; }`,
    });

    const post = (uri, body) => server.request('POST', uri, { body });
    const call = async (method, params, at = '') => JSON.parse(
        (await post(`${at}/api/${method}`, JSON.stringify(params))).body);

    /* params: an object, or a string sent as it is; want: BAD is status 400,
       which a command turns into error 107 */

    const row = (method, name, params, want) => s.it(`${method}: ${name}`,
        async () => {
            const text = typeof params === 'string' ? params
                : JSON.stringify(params);
            const res = await post(`/api/${method}`, text);

            if (want === BAD) {
                assert.equal(res.status, 400, res.body);
            } else {
                assert.equal(res.status, 200);
                assert.deepEqual(JSON.parse(res.body), want);
            }

            for (const m of [method, method.toUpperCase(), NUMBER[method]]) {
                const reply = await post('/api',
                    `{"id":7,"method":${JSON.stringify(m)},"params":${text}}`);

                assert.equal(reply.status, 200, reply.body);
                assert.deepEqual(JSON.parse(reply.body),
                                 { id: 7, ...(want === BAD ? err(107)
                                                           : want) });
            }
        });

    const wrong = (method, key, ...values) => {
        for (const value of values) {
            row(method, `${key} ${JSON.stringify(value)} is of a wrong type`,
                { channel: 'x', [key]: value }, BAD);
        }

        row(method, `${key} null is absent`,
            { channel: 'x', user: 'nobody', [key]: null }, OK);
    };


    /* what the methods for sessions have in common */

    for (const method of ['subscribe', 'unsubscribe', 'disconnect',
                          'refresh'])
    {
        const P = { channel: 'x', user: 'nobody' };

        row(method, 'nobody is concerned', P, OK);
        row(method, 'unknown keys', { ...P, x: [1] }, OK);
        row(method, 'a client that is none', { ...P, client: 'x' }, OK);
        row(method, 'a client of nobody', { ...P, client: NOBODY }, OK);
        row(method, 'a session of nobody', { ...P, session: NOBODY }, OK);
        row(method, 'user with quotes and lines', { ...P, user: '"\n\\' }, OK);
        row(method, 'a long user', { ...P, user: 'u'.repeat(5000) }, OK);
        wrong(method, 'user', 1, {}, ['x'], true);
        wrong(method, 'client', 1, []);
        wrong(method, 'session', 1, {});
    }

    for (const method of ['subscribe', 'unsubscribe', 'presence',
                          'presence_stats'])
    {
        row(method, 'unknown namespace', { channel: 'no:x', user: 'u' },
            err(102));
        row(method, 'channel is a number', { channel: 1 }, BAD);
    }

    for (const method of ['subscribe', 'presence', 'presence_stats']) {
        row(method, 'no channel', {}, err(107));
        row(method, 'an empty channel', { channel: '' }, err(107));
        row(method, 'a null channel', { channel: null }, err(107));
    }


    /* subscribe */

    const SUB = { channel: 'x', user: 'nobody' };

    row('subscribe', 'no user is the anonymous one', { channel: 'x' }, OK);
    row('subscribe', 'a private channel', { ...SUB, channel: '$x' }, OK);
    row('subscribe', 'a name that nobody can have',
        { ...SUB, channel: 'x'.repeat(1025) }, err(107));
    row('subscribe', 'all', { ...SUB, expire_at: now() + 100,
        info: { a: 1 }, b64info: b64('{}'), data: [1], b64data: b64('1'),
        recover_since: { offset: 1, epoch: 'e' },
        override: { presence: { value: true }, join_leave: { value: false },
                    force_recovery: {}, force_positioning: { value: null },
                    force_push_join_leave: null } }, OK);
    row('subscribe', 'expire_at in the past', { ...SUB, expire_at: 1 },
        err(100));
    row('subscribe', 'expire_at below 0', { ...SUB, expire_at: -1 },
        err(100));
    row('subscribe', 'expire_at 0 is never', { ...SUB, expire_at: 0 }, OK);
    row('subscribe', 'the namespace before expire_at',
        { ...SUB, channel: 'no:x', expire_at: 1 }, err(102));
    wrong('subscribe', 'expire_at', 'x', 1.5, {}, true, 1e30);
    wrong('subscribe', 'override', 1, [], { presence: true },
          { join_leave: { value: 1 } });
    wrong('subscribe', 'recover_since', 1, { offset: -1 }, { epoch: 1 });
    wrong('subscribe', 'info');
    wrong('subscribe', 'data');

    for (const key of ['b64info', 'b64data']) {
        wrong('subscribe', key, 1, {});
        row('subscribe', `${key} is no base64`, { ...SUB, [key]: '!!!!' },
            err(107));
        row('subscribe', `${key} of half a group`, { ...SUB, [key]: 'abc' },
            err(107));
        row('subscribe', `${key} that goes on behind its end`,
            { ...SUB, [key]: 'QQ==QQ==' }, err(107));
        row('subscribe', `${key} is no JSON`, { ...SUB, [key]: b64('{') },
            err(107));
        row('subscribe', `${key} empty does not count`, { ...SUB, [key]: '' },
            OK);
        row('subscribe', `${key} wrong, though the other is good`,
            { ...SUB, [key.slice(3)]: {}, [key]: '*' }, err(107));
    }


    /* unsubscribe */

    row('unsubscribe', 'no channel is all of them', { user: 'nobody' }, OK);
    row('unsubscribe', 'an empty channel', { user: 'nobody', channel: '' },
        OK);


    /* disconnect */

    const code = (x) => ({ user: 'nobody', disconnect: x });

    for (const x of [{}, { code: 0 }, { code: null }, { code: 3000 },
                     { code: 3503 }, { code: 4999 }, { reason: 'x' },
                     { code: 4000, reason: '' },
                     { code: 4000, reason: '\u20ac'.repeat(1000) }])
    {
        row('disconnect', JSON.stringify(x).slice(0, 50), code(x), OK);
    }

    for (const n of [1, 1000, 2999, 5000, 65535, 65536, 4294967295]) {
        row('disconnect', `code ${n}`, code({ code: n }), err(107));
    }

    wrong('disconnect', 'disconnect', 1, [], 'x', { code: -1 },
          { code: 'x' }, { code: 4294967296 }, { reason: 1 });
    wrong('disconnect', 'whitelist', 'x', {}, [1], [{}]);
    row('disconnect', 'a whitelist', { user: 'nobody',
        whitelist: [NOBODY, 'x', null, ''] }, OK);


    /* refresh */

    row('refresh', 'all', { user: 'nobody', expired: true,
        expire_at: now() + 5, info: { a: 1 } }, OK);
    row('refresh', 'expire_at in the past is no error',
        { user: 'nobody', expire_at: -5 }, OK);
    wrong('refresh', 'expired', 1, 'true', {});
    wrong('refresh', 'expire_at', 'x', 1.5);


    /* presence where there is none */

    for (const method of ['presence', 'presence_stats']) {
        row(method, 'off', { channel: 'x' }, err(108));
        row(method, 'off in a namespace', { channel: 'quiet:x' }, err(108));
    }


    /* rpc */

    row('rpc', 'no method', {}, err(107));
    row('rpc', 'an empty method', { method: '' }, err(107));
    row('rpc', 'no handler', { method: 'x', params: { a: 1 } }, err(104));
    row('rpc', 'method is a number', { method: 1 }, BAD);


    /* bodies */

    for (const method of Object.keys(NUMBER)) {
        for (const body of ['', 'x', '[]', '{"user":', '1', '{}{}']) {
            s.it(`${method}: body ${body}: 400`, async () => {
                const res = await post(`/api/${method}`, body);

                assert.equal(res.status, 400);
                assert.equal(res.body.trim(), 'Bad Request');
            });
        }
    }

    s.it('commands without params', async () => {
        const res = await post('/api', Object.values(NUMBER).map((n) =>
            JSON.stringify({ id: n, method: n })).join('\n'));

        assert.deepEqual(
            res.body.trim().split('\n').map((x) => JSON.parse(x)).map(
                (x) => [x.id, x.error ? x.error.code : 0]),
            [[2, 0], [3, 0], [4, 107], [5, 107], [6, 107], [7, 107], [8, 0],
             [9, 0], [10, 107], [11, 107], [12, 0]]);
    });


    /* channels */

    for (const pattern of ['[', '[]', '{a', '\\', '[z-a]',
                           'x'.repeat(513)])
    {
        row('channels', `wrong pattern ${pattern.slice(0, 10)}`, { pattern },
            err(100));
    }

    row('channels', 'pattern is a number', { pattern: 1 }, BAD);
    row('channels', 'nothing matches', { pattern: 'nobody.is.there' },
        { result: { channels: {} } });

    s.it('channels of all workers, by pattern', async () => {
        const list = await onAllWorkers(server.workers(), 2,
            () => Client.connect(server.ws('/list/ws')));
        const names = {};

        for (const [i, c] of list.entries()) {
            for (const ch of ['all', `one.${i}`, 'q"\\']) {
                await c.subscribe(ch);
                names[ch] = { num_clients: (names[ch] || { num_clients: 0 })
                    .num_clients + 1 };
            }
        }

        const channels = async (pattern) => {
            const { result } = await call('channels',
                pattern === undefined ? {} : { pattern }, '/list');

            return result.channels;
        };
        const only = (f) => Object.fromEntries(
            Object.entries(names).filter(([name]) => f(name)));

        assert.deepEqual(await channels(), names);
        assert.deepEqual(await channels(''), names);
        assert.deepEqual(await channels('*'), names);
        assert.deepEqual(await channels('one.*'),
                         only((x) => x.startsWith('one.')));
        assert.deepEqual(await channels('{all,one.[01]}'),
                         only((x) => /^(all|one\.[01])$/.test(x)));
        assert.deepEqual(await channels('q??'),
                         only((x) => x.startsWith('q')));

        await list[0].call({ unsubscribe: { channel: 'one.0' } });
        delete names['one.0'];
        assert.deepEqual(await channels(), names);

        for (const c of list) {
            c.terminate();
        }
    });


    /* info */

    s.it('info', async () => {
        const { result } = await call('info', {}, '/count');

        assert.equal(result.nodes.length, 1);

        const [node] = result.nodes;

        assert.match(node.uid, new RegExp(`^${UUID}$`));
        assert.equal(node.name, `${os.hostname()}_count`.toLowerCase());
        assert.match(node.version, /^\d+\.\d+\.\d+$/);
        assert.equal(node.num_clients, 0);
        assert.equal(node.num_users, 0);
        assert.equal(node.num_channels, 0);
        assert.equal(node.num_subs, 0);

        const other = await call('info', {}, '/list');

        assert.notEqual(other.result.nodes[0].uid, node.uid);

        const list = await onAllWorkers(server.workers(), 1,
            () => Client.connect(server.ws('/count/ws')));

        for (const c of list) {
            await c.subscribe('a');
            await c.subscribe('b');
        }

        const [after] = (await call('info', {}, '/count')).result.nodes;

        assert.equal(after.uid, node.uid);
        assert.equal(after.num_clients, list.length);
        assert.equal(after.num_channels, 2);
        assert.equal(after.num_subs, 2 * list.length);

        for (const c of list) {
            c.terminate();
        }
    });


    /* errors are counted, and can't forge lines of the log */

    await s.serial('errors are counted and logged', async () => {
        const count = () => server.metric('centrifugo_hub_api_errors_total',
                                          '/count/metrics');
        const before = await count();
        const evil = 'no:x\n2000/01/01 00:00:00 [emerg] 1#1: "forged" \u0085';

        await call('publish', { channel: evil, data: 1 }, '/count');
        await call('subscribe', { channel: evil, user: evil }, '/count');
        await call('presence', {}, '/count');
        await call('rpc', { method: 'x' }, '/count');
        await post('/count/api', '{"method":"batch"}{"method":99}'
            + '{"method":"publish","params":{"channel":1}}'
            + '{"method":"broadcast","params":{}}'
            + '{"method":"disconnect","params":{"disconnect":{"code":1}}}');

        assert.equal(await count() - before, 9);

        const lines = server.log().split('\n').filter(
            (x) => x.includes('forged'));

        assert.equal(lines.length, 2);

        for (const line of lines) {
            assert.match(line, /"no:x\\x0a2000\/01\/01 00:00:00 \[emerg\]/);
            assert.match(line, /\\x22forged\\x22 \\xc2/);
            assert.match(line, /failed with 102 "unknown channel"/);
            server.allow(new RegExp('forged'));
        }
    });

});
