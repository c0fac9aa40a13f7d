/*
 * The server API where channels have a history: options of publish, history,
 * history_remove, batch, and errors by the status.
 */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';

import { Client, onAllWorkers } from './lib/client.mjs';
import { sleep, TEST_MODULE, until, within } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const MESSAGE = { 100: 'internal server error', 102: 'unknown channel',
                  104: 'not found', 107: 'bad request',
                  108: 'not available', 112: 'unrecoverable position' };
const OK = { result: {} };
const EPOCH = /^[A-Za-z]{8}$/;
const DELAY = 60;

const OPEN = 'client_insecure on; api_insecure on;';
const KEPT = 'history_size 5; history_ttl 100s;';
const NAMESPACES = `
    namespace kept { ${KEPT} }
    namespace bin { ${KEPT} publication_data_format binary; }
    namespace long { history_size 3000; history_ttl 100s; }
    namespace brief { history_size 5; history_ttl 1s; }`;

const err = (code) => ({ error: { code, message: MESSAGE[code] } });
const b64 = (x) => Buffer.from(x).toString('base64');
const nulls = (n) => Array(n).fill(null);


suite('API of streams', { concurrency: 8 }, async (s) => {
    const server = await s.start({
        zone: '32m',
        hub: OPEN + NAMESPACES,
        hubs: { status: `${OPEN} api_error_mode transport; ${NAMESPACES}` },
        locations: `
            location /big { centrifugo_api main; client_max_body_size 64m; }
            location /status/api { centrifugo_api status; }`,
    });

    let serial = 0;
    const fresh = (ns = 'kept') => `${ns}:${++serial}`;

    const post = (uri, body, headers = {}, of = server) =>
        of.request('POST', uri, { body, headers, timeout: 20000 });

    const call = async (method, params, at = '/api', of = server) => {
        const res = await post(`${at}/${method}`,
            typeof params === 'string' ? params : JSON.stringify(params), {},
            of);

        assert.equal(res.status, 200, res.body);
        return JSON.parse(res.body);
    };

    const publish = async (params) => (await call('publish', params)).result;
    const history = async (params) => (await call('history', params)).result;

    const fill = async (channel, n, params = {}) => {
        let last;

        for (let i = 1; i <= n; i++) {
            last = await publish({ channel, data: i, ...params });
        }

        return last.epoch;
    };

    const offsets = (list) => list.map((x) => x.offset);


    /* results of publish */

    s.it('offsets and the epoch of a stream', async () => {
        const channel = fresh();

        for (let i = 1; i <= 7; i++) {
            const res = await post('/api/publish',
                JSON.stringify({ channel, data: i }));

            assert.match(res.body, new RegExp('^\\{"result":\\{"offset":'
                + `${i},"epoch":"[A-Za-z]{8}"\\}\\}\\n?$`));
        }

        const { epoch } = await history({ channel });

        assert.match(epoch, EPOCH);
        assert.deepEqual(await publish({ channel, data: 1 }),
                         { offset: 8, epoch });
    });

    s.it('nothing without a history', async () => {
        assert.deepEqual(await call('publish', { channel: 'x', data: 1 }), OK);
    });

    s.it('skip_history', async () => {
        const channel = fresh();
        const c = await Client.connect(server.ws());

        await c.subscribe(channel);
        await publish({ channel, data: 1 });
        assert.deepEqual(await publish({ channel, data: 2,
                                         skip_history: true }), {});
        assert.equal((await publish({ channel, data: 3,
                                      skip_history: false })).offset, 2);

        const list = (await history({ channel, limit: -1 })).publications;

        assert.deepEqual(list, [{ data: 1, offset: 1 },
                                { data: 3, offset: 2 }]);

        for (const data of [1, 2, 3]) {
            assert.equal((await c.json()).push.pub.data, data);
        }

        c.terminate();
    });

    for (const [name, ns] of [['kept', 'kept'], ['not kept', '']]) {
        s.it(`idempotency_key of what is ${name}`, async () => {
            const channel = ns ? fresh(ns) : `plain${++serial}`;
            const c = await Client.connect(server.ws());

            await c.subscribe(channel);

            const first = await publish({ channel, data: 1,
                                          idempotency_key: 'k' });

            assert.deepEqual(await publish({ channel, data: 2,
                                             idempotency_key: 'k' }), first);
            await publish({ channel, data: 3, idempotency_key: 'other' });
            await publish({ channel, data: 4, idempotency_key: '' });
            await publish({ channel, data: 5, idempotency_key: null });
            await publish({ channel, data: 6, idempotency_key: '' });

            for (const data of [1, 3, 4, 5, 6]) {
                assert.equal((await c.json()).push.pub.data, data);
            }

            c.terminate();
        });
    }

    s.it('idempotency_key: each channel of a broadcast', async () => {
        const a = fresh();
        const b = fresh();
        const epoch = await fill(a, 1, { idempotency_key: 'k' });
        const { responses } = (await call('broadcast', {
            channels: [a, b, 'x', a], data: 2, idempotency_key: 'k',
        })).result;

        assert.deepEqual(responses[0].result, { offset: 1, epoch });
        assert.equal(responses[1].result.offset, 1);
        assert.deepEqual(responses[2], OK);
        assert.deepEqual(responses[3], responses[0]);
    });

    for (const key of ['idempotency_key', 'version_epoch']) {
        s.it(`${key} of 1024 bytes, and of more`, async () => {
            const P = { channel: fresh(), data: 1, version: 1 };

            assert.equal((await publish({ ...P, [key]: 'k'.repeat(1024) }))
                .offset, 1);
            assert.deepEqual(await call('publish',
                { ...P, [key]: 'k'.repeat(1025) }), err(107));
            assert.deepEqual(await call('broadcast',
                { ...P, channels: ['x'], [key]: '\u20ac'.repeat(342) }),
                err(107));
        });
    }

    s.it('version', async () => {
        const channel = fresh();
        const put = async (data, version, version_epoch) =>
            (await publish({ channel, data, version, version_epoch })).offset;

        assert.equal(await put(1, 5), 1);
        assert.equal(await put(2, 5), 1);
        assert.equal(await put(3, 4), 1);
        assert.equal(await put(4, 6), 2);
        assert.equal(await put(5, 6, 'e'), 3);
        assert.equal(await put(6, 6, 'e'), 3);
        assert.equal(await put(7, 3), 3);
        assert.equal(await put(8, 0), 4);
        assert.equal(await put(9, 1), 5);
    });

    s.it('the largest version', async () => {
        const P = `{"channel":"${fresh()}","data":1,"version":`;

        for (const version of ['18446744073709551614',
                               '18446744073709551615'])
        {
            for (let i = 0; i < 2; i++) {
                assert.equal((await publish(P + version + '}')).offset,
                             version.endsWith('4') ? 1 : 2);
            }
        }
    });

    s.it('tags: the last of a name, null is empty, in an order', async () => {
        const channel = fresh();

        await publish(`{"channel":"${channel}","data":1,"tags":{"b":"x",`
            + '"a\\"":"\\n\u20ac","b":"2","n":null,"":"no name"}}');
        await publish({ channel, data: 2, tags: {} });
        await publish({ channel, data: 3, tags: null });

        const list = (await history({ channel, limit: -1 })).publications;

        assert.deepEqual(list[0].tags, { 'b': '2', 'a"': '\n\u20ac', 'n': '',
                                         '': 'no name' });
        assert.deepEqual(Object.keys(list[0].tags), ['', 'a"', 'b', 'n']);
        assert.deepEqual(list.slice(1), [{ data: 2, offset: 2 },
                                         { data: 3, offset: 3 }]);
    });

    s.it('tags of a broadcast, of a subscriber', async () => {
        const list = [fresh(), `plain${++serial}`];
        const clients = [];

        for (const channel of list) {
            const c = await Client.connect(server.ws());

            await c.subscribe(channel);
            clients.push(c);
        }

        await call('broadcast', { channels: list, data: 1,
                                  tags: { k: 'v', a: 'b' } });

        for (const c of clients) {
            assert.deepEqual((await c.json()).push.pub.tags,
                             { a: 'b', k: 'v' });
            c.terminate();
        }
    });

    s.it('too large for the log', async () => {
        const tags = { t: 'x'.repeat(1024 * 1024) };

        assert.deepEqual(await call('publish', { channel: fresh(), data: 1,
                                                 tags }), err(107));
        assert.deepEqual((await call('broadcast', {
            channels: ['x'], data: 1, tags })).result.responses,
            [err(107)]);
    });


    /* history */

    s.it('history: limits, positions, both ways', async () => {
        const channel = fresh();
        const epoch = await fill(channel, 7);
        const read = async (params) => {
            const result = await history({ channel, ...params });

            assert.equal(result.epoch, epoch);
            assert.equal(result.offset, 7);
            return offsets(result.publications);
        };

        for (const [params, want] of [
            [{}, []],
            [{ limit: 0 }, []],
            [{ limit: null, since: null, reverse: null }, []],
            [{ limit: -1 }, [3, 4, 5, 6, 7]],
            [{ limit: -2147483648 }, [3, 4, 5, 6, 7]],
            [{ limit: 2 }, [3, 4]],
            [{ limit: 2147483647 }, [3, 4, 5, 6, 7]],
            [{ limit: -1, reverse: true }, [7, 6, 5, 4, 3]],
            [{ limit: 2, reverse: true }, [7, 6]],
            [{ limit: -1, since: {} }, [3, 4, 5, 6, 7]],
            [{ limit: -1, since: { offset: 4 } }, [5, 6, 7]],
            [{ limit: 1, since: { offset: 4 } }, [5]],
            [{ limit: 0, since: { offset: 4 } }, []],
            [{ limit: -1, since: { offset: 4, epoch } }, [5, 6, 7]],
            [{ limit: -1, since: { offset: 4, epoch: '' } }, [5, 6, 7]],
            [{ limit: -1, since: { offset: 7 } }, []],
            [{ limit: -1, since: { offset: 70 } }, []],
            [{ limit: -1, since: { offset: 5 }, reverse: true }, [4, 3]],
            [{ limit: 1, since: { offset: 5 }, reverse: true }, [4]],
            [{ limit: -1, since: { offset: 3 }, reverse: true }, []],
            [{ limit: -1, since: { offset: 70 }, reverse: true },
             [7, 6, 5, 4, 3]],
        ]) {
            assert.deepEqual(await read(params), want,
                             JSON.stringify(params));
        }

        for (const since of [{ epoch: 'x' }, { epoch: 'abcdefgh' },
                             { offset: 4, epoch: epoch.toLowerCase() + 'x' }])
        {
            for (const limit of [0, -1, 1]) {
                assert.deepEqual(
                    await call('history', { channel, limit, since }),
                    err(112));
            }
        }

        assert.deepEqual(await call('history', { channel, limit: 1,
            since: { offset: 0, epoch }, reverse: true }), err(100));
        assert.deepEqual(await call('history', { channel, limit: 1,
            since: {}, reverse: true }), err(100));
    });

    s.it('history: byte for byte', async () => {
        const channel = fresh();

        await publish(`{"channel":"${channel}","data": {"a" : 1} }`);
        await publish({ channel, data: [null, '\u20ac'], tags: { k: 'v' } });

        const { body } = await post('/api/history',
            JSON.stringify({ channel, limit: -1 }));
        const { epoch } = await history({ channel });

        assert.equal(body.trim(), '{"result":{"publications":['
            + '{"data":{"a" : 1},"offset":1},'
            + '{"data":[null,"\u20ac"],"offset":2,"tags":{"k":"v"}}],'
            + `"epoch":"${epoch}","offset":2}}`);
    });

    s.it('history: data that is no JSON, and none', async () => {
        const channel = fresh('bin');

        for (const data of ['\x00\xff', 'hello', 'ab', 'a', '{"x":', '1 ']) {
            await publish({ channel, b64data: b64(data) });
        }

        await publish({ channel });

        const list = (await history({ channel, limit: -1 })).publications;

        assert.deepEqual(list, [
            { b64data: b64('ab'), offset: 3 }, { b64data: b64('a'), offset: 4 },
            { b64data: b64('{"x":'), offset: 5 }, { data: 1, offset: 6 },
            { offset: 7 }]);
    });

    s.it('history: who published', async () => {
        const channel = fresh();
        const c = await Client.connect(server.ws());

        await c.call({ publish: { channel, data: 1 } });
        await publish({ channel, data: 2, tags: { a: 'b' } });

        const { body } = await post('/api/history',
            JSON.stringify({ channel, limit: -1 }));

        assert.match(body, new RegExp('^\\{"result":\\{"publications":\\['
            + `\\{"data":1,"info":\\{"user":"","client":"${c.id}"\\},`
            + '"offset":1\\},\\{"data":2,"offset":2,"tags":'));
        c.terminate();
    });

    s.it('history: a channel that nobody knows', async () => {
        const channel = fresh();
        const result = await history({ channel, limit: -1 });

        assert.deepEqual(result, { publications: [], epoch: result.epoch,
                                   offset: 0 });
        assert.match(result.epoch, EPOCH);
        assert.deepEqual(await publish({ channel, data: 1 }),
                         { offset: 1, epoch: result.epoch });
    });

    s.it('history: more than 300 at once', async () => {
        const channel = fresh('long');
        const { replies } = await call('batch', {
            commands: Array.from({ length: 2500 }, (_, i) => ({
                publish: { channel, data: `payload ${i}` } })) });

        assert.equal(replies.length, 2500);

        const { publications, offset } = await history({ channel, limit: -1 });

        assert.equal(offset, 2500);
        assert.deepEqual(publications, replies.map((r, i) => ({
            data: `payload ${i}`, offset: r.publish.offset })));
    });

    s.it('history that has expired', async () => {
        const channel = fresh('brief');
        const epoch = await fill(channel, 3);

        await until('the publications to go', async () =>
            (await history({ channel, limit: -1 })).publications.length === 0);
        assert.deepEqual(await history({ channel, limit: -1 }),
                         { publications: [], epoch, offset: 3 });
    });

    for (const method of ['history', 'history_remove']) {
        for (const [name, params, code] of [
            ['no channel', {}, 107], ['an empty one', { channel: '' }, 107],
            ['unknown namespace', { channel: 'no:x' }, 102],
            ['without history', { channel: 'x' }, 108],
        ]) {
            s.it(`${method}: ${name}`, async () => {
                assert.deepEqual(await call(method, { limit: 1, ...params }),
                                 err(code));
            });
        }
    }

    for (const wrong of [
        { channel: 1 }, { limit: '1' }, { limit: 1.5 }, { limit: true },
        { limit: 2147483648 }, { limit: -2147483649 }, { since: 1 },
        { since: [] }, { since: { offset: -1 } }, { since: { offset: '1' } },
        { since: { epoch: 1 } }, { reverse: 1 }, { reverse: 'true' },
    ]) {
        s.it(`history: ${JSON.stringify(wrong)} is of a wrong type`,
            async () => {
                const params = { channel: fresh(), ...wrong };

                assert.equal((await post('/api/history',
                    JSON.stringify(params))).status, 400);

                const res = await post('/api', JSON.stringify(
                    { id: 3, method: 'history', params }));

                assert.deepEqual(JSON.parse(res.body), { id: 3, ...err(107) });

                const batch = await post('/api/batch', JSON.stringify(
                    { commands: [{ history: params }] }));

                assert.equal(batch.status, 400);
            });
    }

    s.it('history_remove', async () => {
        const channel = fresh();
        const epoch = await fill(channel, 3);

        assert.deepEqual(await call('history_remove', { channel }), OK);
        assert.deepEqual(await history({ channel, limit: -1 }),
                         { publications: [], epoch, offset: 3 });
        assert.deepEqual(await publish({ channel, data: 1 }),
                         { offset: 4, epoch });
        assert.deepEqual(await call('history_remove', { channel: fresh() }),
                         OK);
    });

    s.it('both as commands', async () => {
        const channel = fresh();
        const epoch = await fill(channel, 2);
        const res = await post('/api', [
            { id: 1, method: 'HISTORY', params: { channel, limit: 1 } },
            { method: 7, params: { channel } },
            { id: 3, method: 6, params: { channel, limit: 1 } },
        ].map((x) => JSON.stringify(x)).join('\n'));

        assert.deepEqual(res.body.trim().split('\n').map((x) => JSON.parse(x)),
            [{ id: 1, result: { publications: [{ data: 1, offset: 1 }],
                                epoch, offset: 2 } },
             OK,
             { id: 3, result: { publications: [], epoch, offset: 2 } }]);
    });

    await s.serial('histories larger than an answer', async () => {
        const channel = fresh('long');
        const data = 'x'.repeat(400000);

        for (let i = 0; i < 10; i++) {
            await publish({ channel, data });
        }

        const one = await history({ channel, limit: -1 });

        assert.equal(one.publications.length, 10);

        const { replies } = await call('batch', {
            commands: Array.from({ length: 20 }, () => ({
                history: { channel, limit: -1 } })) });

        /* 64 MB: what is in the zone has a head and tags, too */

        assert.deepEqual(replies.map((r) => (r.error ? r.error.code : 0)),
                         [...Array(16).fill(0), ...Array(4).fill(100)]);
        server.allow(/the history of channel "[^"]+" of hub "main" does not/);
        assert.match(server.log(), new RegExp(
            `the history of channel "${channel}" of hub "main" does not fit `
            + 'into the 67108864 bytes of an answer'));
    });


    /* batch */

    s.it('batch: byte for byte', async () => {
        const channel = fresh();
        const { body } = await post('/api/batch', JSON.stringify({ commands: [
            { publish: { channel, data: 1 } },
            { publish: { channel: 'no:x', data: 1 } },
            { publish: { channel: 'x', data: 1 } },
            { presence_stats: { channel } },
            { unsubscribe: { user: 'nobody', channel } },
            { broadcast: { channels: ['x', ''], data: 1 } },
        ] }));
        const { epoch } = await history({ channel });

        assert.equal(body.trim(), '{"replies":['
            + `{"publish":{"offset":1,"epoch":"${epoch}"}},`
            + '{"error":{"code":102,"message":"unknown channel"}},'
            + '{"publish":{}},'
            + '{"error":{"code":108,"message":"not available"}},'
            + '{"unsubscribe":{}},'
            + '{"broadcast":{"responses":[{"result":{}},'
            + '{"error":{"code":107,"message":"bad request"}}]}}]}');
    });

    s.it('batch: all methods', async () => {
        const channel = fresh();
        const commands = [
            { publish: { channel, data: 1 } },
            { broadcast: { channels: [channel], data: 2 } },
            { subscribe: { channel, user: 'nobody' } },
            { unsubscribe: { channel, user: 'nobody' } },
            { disconnect: { user: 'nobody' } },
            { history: { channel, limit: 1 } },
            { history_remove: { channel } },
            { presence: { channel } },
            { presence_stats: { channel } },
            { info: {} },
            { rpc: { method: 'x' } },
            { refresh: { user: 'nobody' } },
            { channels: { pattern: 'nobody.has.this' } },
        ];
        const failed = { presence: 108, presence_stats: 108, rpc: 104 };

        for (const parallel of [false, true, null]) {
            const { replies } = await call('batch', { commands, parallel });

            assert.equal(replies.length, commands.length);

            for (const [i, reply] of replies.entries()) {
                const [name] = Object.keys(commands[i]);

                if (failed[name]) {
                    assert.deepEqual(reply, err(failed[name]));
                } else {
                    assert.deepEqual(Object.keys(reply), [name]);
                }
            }

            assert.equal(replies[9].info.nodes.length, 1);
            assert.deepEqual(replies[12], { channels: { channels: {} } });
        }
    });

    s.it('batch: what is no command', async () => {
        for (const [commands, replies] of [
            [[null, {}, { nope: {} }, { publish: null }, { batch: {} },
              { map_publish: { channel: 'x' } }],
             [err(107), ...Array(5).fill(err(104))]],
            [[{ publish: null, info: null, rpc: {} }], [err(107)]],
            [[{ publish: {} }], [err(107)]],
            [nulls(3000), Array(3000).fill(err(107))],
        ]) {
            assert.deepEqual(await call('batch', { commands }), { replies });
        }

        for (const empty of [{}, { commands: [] }, { commands: null },
                             { parallel: true, x: 1 }])
        {
            assert.deepEqual(await call('batch', empty), {});
        }
    });

    s.it('batch: of several methods the first of the order', async () => {
        const order = ['publish', 'broadcast', 'subscribe', 'unsubscribe',
                       'disconnect', 'history', 'history_remove', 'presence',
                       'presence_stats', 'info', 'rpc', 'refresh',
                       'channels'];
        const params = {
            publish: { channel: 'x', data: 1 },
            broadcast: { channels: ['x'], data: 1 },
            subscribe: { channel: 'x', user: 'nobody' },
            unsubscribe: { channel: 'x', user: 'nobody' },
            disconnect: { user: 'nobody' },
            history: { channel: 'kept:order' },
            history_remove: { channel: 'kept:order' },
            presence: { channel: 'no:x' }, presence_stats: { channel: 'x' },
            info: {}, rpc: {}, refresh: { user: 'nobody' },
            channels: { pattern: 'nobody.has.this' },
        };
        const commands = order.map((_, i) => Object.fromEntries(
            order.slice(i).reverse().map((name) => [name, params[name]])));
        const { replies } = await call('batch', { commands });

        assert.deepEqual(replies.map((r) => (r.error ? r.error.code
                                                     : Object.keys(r)[0])),
            ['publish', 'broadcast', 'subscribe', 'unsubscribe',
             'disconnect', 'history', 'history_remove', 102, 108, 'info', 107,
             'refresh', 'channels']);
    });

    for (const body of [
        '', '[]', '1', '{"commands":{}}', '{"commands":1}',
        '{"commands":[1]}', '{"commands":["publish"]}', '{"commands":[[]]}',
        '{"commands":[{"publish":1}]}', '{"commands":[{"publish":[]}]}',
        '{"commands":[{"info":"x"}]}', '{"commands":[],"parallel":1}',
        '{"commands":[{"publish":{"channel":1}}]}',
        '{"commands":[{"publish":{"channel":"x","data":1},"rpc":1}]}',
        '{"commands":[{}],"parallel":"true"}', '{"commands":[{}]}x',
    ]) {
        s.it(`batch: ${body}: 400`, async () => {
            const res = await post('/api/batch', body);

            assert.equal(res.status, 400);
            assert.equal(res.body.trim(), 'Bad Request');
        });
    }

    s.it('batch: nothing is done when one command is malformed', async () => {
        const channel = fresh();
        const res = await post('/api/batch', JSON.stringify({ commands: [
            { publish: { channel, data: 1 } },
            { publish: { channel, data: 1, tags: 1 } }] }));

        assert.equal(res.status, 400);
        assert.equal((await history({ channel })).offset, 0);
    });

    s.it('batch is no method of commands', async () => {
        const res = await post('/api',
            '{"id":1,"method":"batch"}{"id":2,"method":13}');

        assert.deepEqual(res.body.trim().split('\n').map((x) => JSON.parse(x)),
                         [{ id: 1, ...err(104) }, { id: 2, ...err(104) }]);
    });

    s.it('batch: commands are counted, it is not', async () => {
        const other = await s.start({ workers: 1, hub: OPEN });
        const count = (x) => other.metric(`centrifugo_hub_api_${x}_total`);

        await call('batch', { commands: [{ info: {} }, { rpc: {} }, null] },
                   '/api', other);
        assert.equal(await count('commands'), 3);
        assert.equal(await count('errors'), 2);
    });

    s.it('batch: 20,000 commands in a body of 1.4 MB', async () => {
        const channel = fresh('long');
        const { replies } = await call('batch', {
            parallel: true,
            commands: Array.from({ length: 20000 }, (_, i) => ({
                publish: { channel, data: i, skip_history: i % 10 !== 0 } })),
        }, '/big');

        assert.equal(replies.length, 20000);
        assert.deepEqual(replies[1], { publish: {} });
        assert.equal(replies[19990].publish.offset, 2000);
    });


    /* errors by the status */

    const STATUS = [
        [102, 404, 'publish', { channel: 'no:x', data: 1 }],
        [102, 404, 'subscribe', { channel: 'no:x', user: 'u' }],
        [104, 404, 'rpc', { method: 'x' }],
        [107, 400, 'publish', { channel: '', data: 1 }],
        [107, 400, 'publish', { channel: 'x' }],
        [107, 400, 'publish', { channel: 'x', b64data: '!' }],
        [107, 400, 'broadcast', { data: 1 }],
        [107, 400, 'history', {}],
        [107, 400, 'disconnect', { user: 'u', disconnect: { code: 1 } }],
        [108, 400, 'history', { channel: 'x' }],
        [108, 400, 'history_remove', { channel: 'x' }],
        [108, 400, 'presence', { channel: 'x' }],
        [112, 416, 'history', { channel: 'kept:x', since: { epoch: 'x' } }],
        [100, 500, 'history', { channel: 'kept:x', since: {},
                                reverse: true }],
        [100, 500, 'channels', { pattern: '[' }],
    ];

    for (const [code, status, method, params] of STATUS) {
        s.it(`status of ${code} of ${method}`, async () => {
            const body = JSON.stringify(params);
            const error = err(code).error;
            const asked = { 'X-Centrifugo-Error-Mode': 'transport' };

            for (const [at, headers] of [['', asked], ['/status', {}],
                                         ['/status', asked],
                                         ['/status', {
                                             'X-Centrifugo-Error-Mode': 'x',
                                         }]])
            {
                const res = await post(`${at}/api/${method}`, body, headers);

                assert.equal(res.status, status);
                assert.deepEqual(JSON.parse(res.body), error);
                assert.match(res.headers['content-type'],
                             /^application\/json/);
            }

            for (const value of ['', 'x', 'Transport', 'transport,x']) {
                const res = await post(`/api/${method}`, body,
                    { 'X-Centrifugo-Error-Mode': value });

                assert.equal(res.status, 200);
                assert.deepEqual(JSON.parse(res.body), { error });
            }

            /* not where there are several */

            const reply = await post('/status/api', JSON.stringify(
                { id: 1, method, params }), asked);

            assert.equal(reply.status, 200);
            assert.deepEqual(JSON.parse(reply.body), { id: 1, error });

            const batch = await post('/status/api/batch', JSON.stringify(
                { commands: [{ [method]: params }] }), asked);

            assert.equal(batch.status, 200);
            assert.deepEqual(JSON.parse(batch.body),
                             { replies: [{ error }] });
        });
    }

    s.it('status: what is well is 200, channels of a broadcast, too',
        async () => {
            const res = await post('/status/api/broadcast',
                JSON.stringify({ channels: ['no:x', 'x'], data: 1 }));

            assert.equal(res.status, 200);
            assert.deepEqual(JSON.parse(res.body).result.responses,
                             [err(102), OK]);
            assert.equal((await post('/status/api/info', '{}')).status, 200);
        });


    /* what fails is in the log, and why */

    s.it('the log', async () => {
        const user = `u${++serial}`;
        const channel = fresh();

        for (const [method, params, line] of [
            ['publish', { channel: `no:${serial}`, data: 1 },
             `publish to channel "no:${serial}" of hub "main" failed with `
             + '102 "unknown channel": its namespace is not configured'],
            ['publish', { channel, data: 1,
                          idempotency_key: 'k'.repeat(2000) },
             `API command "publish" of hub "main" with channel "${channel}", `
             + 'user "", client "" failed with 107 "bad request": its '
             + 'idempotency_key is longer than 1024 bytes'],
            ['subscribe', { channel, user, client: 'c"', expire_at: 1 },
             `API command "subscribe" of hub "main" with channel "${channel}`
             + `", user "${user}", client "c\\x22" failed with 100 `
             + '"internal server error": its expire_at is in the past'],
            ['subscribe', { channel, user, b64info: '!' },
             `API command "subscribe" of hub "main" with channel "${channel}`
             + `", user "${user}", client "" failed with 107 "bad request": `
             + 'its b64info or b64data is not base64 of JSON'],
            ['history', { channel, since: { epoch: 'x' } },
             `API command "history" of hub "main" with channel "${channel}", `
             + 'user "", client "" failed with 112 "unrecoverable position": '
             + 'the stream has another epoch than since'],
            ['history', { channel: `plain${serial}` },
             `with channel "plain${serial}", user "", client "" failed with `
             + '108 "not available": history_size is 0'],
        ]) {
            assert.ok((await call(method, params)).error);
            assert.ok(server.log().includes(line), line);
        }
    });
});


/* an engine that answers late */

suite('API of a late engine', { concurrency: 4 }, async (s) => {
    const server = await s.start({
        module: TEST_MODULE, zone: '4m', h2: true,
        hub: `${OPEN} ${NAMESPACES} test_engine_delay ${DELAY}ms;`,
    });

    /* more than the log takes, which its engine finds out */

    const LARGE = { tag: 'x'.repeat(140000) };

    let serial = 0;
    const fresh = (ns = 'kept') => `${ns}:${++serial}`;

    const batch = async (commands, parallel) => {
        const begin = Date.now();
        const res = await server.request('POST', '/api/batch', {
            body: JSON.stringify({ commands, parallel }), timeout: 20000 });

        assert.equal(res.status, 200);
        return [JSON.parse(res.body).replies, Date.now() - begin];
    };

    s.it('one after the other', async () => {
        const channel = fresh();
        const [replies, took] = await batch([
            { publish: { channel, data: 1 } },
            { rpc: { method: 'x' } },
            { broadcast: { channels: [channel, channel], data: 2 } },
            { disconnect: { user: 'nobody' } },
            { history: { channel, limit: -1 } },
            { channels: { pattern: 'nobody.has.this' } },
            { history_remove: { channel } },
            { history: { channel, limit: -1 } },
        ]);

        const { epoch } = replies[0].publish;

        assert.deepEqual(replies, [
            { publish: { offset: 1, epoch } },
            err(104),
            { broadcast: { responses: [{ result: { offset: 2, epoch } },
                                       { result: { offset: 3, epoch } }] } },
            { disconnect: {} },
            { history: { publications: [{ data: 1, offset: 1 },
                { data: 2, offset: 2 }, { data: 2, offset: 3 }],
                         epoch, offset: 3 } },
            { channels: { channels: {} } },
            { history_remove: {} },
            { history: { publications: [], epoch, offset: 3 } },
        ]);
        assert.ok(took >= 5 * DELAY - 5, `${took} ms`);
    });

    s.it('parallel: 1024 at a time', async () => {
        const channel = fresh('long');
        const [some, short] = await batch(Array.from({ length: 1024 },
            () => ({ publish: { channel, data: 1 } })), true);

        assert.equal(some.length, 1024);
        assert.ok(short < 20 * DELAY, `${short} ms`);

        const [more, took] = await batch(Array.from({ length: 2500 },
            (_, i) => (i % 2 ? { publish: { channel, data: 1 } } : null)),
            true);

        assert.deepEqual(more.map((x) => (x.error ? x.error.code : 0)),
            Array.from({ length: 2500 }, (_, i) => (i % 2 ? 0 : 107)));
        assert.ok(took >= 2 * DELAY - 5 && took < 60 * DELAY, `${took} ms`);
    });

    s.it('parallel: answers are in the order of commands', async () => {
        const [replies] = await batch([
            { publish: { channel: fresh(), data: 1 } }, { info: {} },
            { broadcast: { channels: [fresh()], data: 1 } }, { rpc: {} },
        ], true);

        assert.deepEqual(replies.map((x) => Object.keys(x)[0]),
                         ['publish', 'info', 'broadcast', 'error']);
    });

    s.it('late errors', async () => {
        const [replies] = await batch([
            { publish: { channel: fresh(), data: 1, tags: LARGE } },
            { publish: { channel: 'x', data: 1 } }]);

        assert.deepEqual(replies, [err(107), { publish: {} }]);
    });

    s.it('workers hear of what begins late', async () => {
        const list = await onAllWorkers(server.workers(), 1,
            () => Client.connect(server.ws()));
        const channel = fresh();
        const commands = [];

        for (const c of list) {
            await c.subscribe(channel);
            commands.push({ history: { channel } },
                          { unsubscribe: { channel, client: c.id } });
        }

        const [replies, took] = await batch(commands);

        assert.deepEqual(replies.map((x) => Object.keys(x)[0]),
                         commands.map((x) => Object.keys(x)[0]));

        /* an unsubscribe does not wait for the engine, or a worker's tick */

        assert.ok(took < list.length * (DELAY + 150), `${took} ms`);

        for (const c of list) {
            assert.equal((await c.json()).push.unsubscribe.code, 2000);
            c.terminate();
        }
    });

    s.it('the caller leaves, all is done', async () => {
        const channel = `left${++serial}`;
        const kept = fresh();
        const c = await Client.connect(server.ws());

        await c.subscribe(channel);

        const session = http2.connect(`https://127.0.0.1:${server.h2Port}`,
                                      { rejectUnauthorized: false });

        session.on('error', () => {});
        await within(5000, 'HTTP/2', once(session, 'connect'));

        const leave = async (path, body) => {
            const req = session.request({ ':method': 'POST', ':path': path });

            req.on('error', () => {});
            req.end(JSON.stringify(body));
            await sleep(DELAY / 2);
            req.close(http2.constants.NGHTTP2_CANCEL);
            await sleep(DELAY / 4);
        };

        await leave('/api/batch', { commands: [1, 2, 3, 4, 5].map(
            (data) => ({ publish: { channel, data } })) });

        for (const data of [1, 2, 3, 4, 5]) {
            assert.equal((await c.json()).push.pub.data, data);
        }

        /* what fails then is in the log with its name */

        await leave('/api/history', { channel: kept, since: { epoch: 'x' } });
        await until('the line', () => server.log().includes(
            `API command "history" of hub "main" with channel "${kept}", `
            + 'user "", client "" failed with 112'));

        session.close();
        c.terminate();
    });
});
