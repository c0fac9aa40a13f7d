/*
 * The server API over HTTP: both dialects, keys, methods, bodies.
 */

import assert from 'node:assert/strict';
import http2 from 'node:http2';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers } from './lib/client.mjs';
import { Raw } from './lib/raw.mjs';
import { sleep, within } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const KEY = 'key /+%&=1';
const ESCAPED = 'key%20%2F%2B%25%26%3D1';
const MESSAGE = { 102: 'unknown channel', 104: 'not found',
                  107: 'bad request', 108: 'not available' };

const err = (code) => `{"error":{"code":${code},"message":"${MESSAGE[code]}"}}`;
const errId = (id, code) =>
    `{"id":${id},"error":{"code":${code},"message":"${MESSAGE[code]}"}}`;
const b64 = (x) => Buffer.from(x).toString('base64');
const nest = (n) => '['.repeat(n) + ']'.repeat(n);
const DONE = '{"result":{}}';


suite('server API', { concurrency: 16 }, async (s) => {
    const server = await s.start({
        hub: `client_insecure on; api_key "${KEY}";
            namespace chat { allow_subscribe_for_client on; }`,
        hubs: {
            free: 'client_insecure on; api_insecure on;',
            small: `client_insecure on; api_insecure on;
                publication_max_size 1k;`,
        },
        h2: true,
        locations: `
            location /free { centrifugo_api free; client_max_body_size 4m; }
            location = /free/ws { centrifugo_websocket free; }
            location /small/api {
                centrifugo_api small; client_max_body_size 1m;
            }
            location = /small/ws { centrifugo_websocket small; }
            location /tiny {
                centrifugo_api free; client_max_body_size 1k;
            }
            location /file {
                centrifugo_api free; client_max_body_size 4m;
                client_body_buffer_size 1k; client_body_in_file_only clean;
            }
            location /buffer {
                centrifugo_api free; client_max_body_size 4m;
                client_body_buffer_size 1k;
            }
            location /slash/ {
                centrifugo_api free; client_max_body_size 4m;
            }`,
    });

    let serial = 0;
    const fresh = () => `ch${++serial}`;
    const withKey = { 'X-API-Key': KEY };

    const post = (uri, body, headers = withKey) =>
        server.request('POST', uri, { body, headers });

    const subscriber = async (ch, location, options) => {
        const c = await Client.connect(server.ws(location), options);

        await c.subscribe(ch);
        return c;
    };

    const trim = (body) => body.replace(/\n$/, '');

    /* A row: what is posted, the status, the body byte for byte. */

    const row = (name, uri, body, status, want, headers) => s.it(name,
        async () => {
            const res = await post(uri, body, headers);

            assert.equal(res.status, status, res.body);

            if (want !== undefined) {
                assert.equal(trim(res.body), want);
            }

            if (status === 200) {
                assert.match(res.headers['content-type'],
                             /^application\/json/);
            }

            if (status === 400) {
                assert.equal(trim(res.body), 'Bad Request');
                assert.match(res.headers['content-type'], /^text\/plain/);
            }

            if (status === 401) {
                assert.equal(res.body, '');
            }
        });

    const PUB = '{"channel":"x","data":1}';
    const CMD = '{"id":1,"method":"publish","params":{"channel":"x","data":1}}';
    const CMD_OK = '{"id":1,"result":{}}';


    /* methods of HTTP, then keys */

    for (const method of ['GET', 'PUT', 'DELETE', 'HEAD', 'OPTIONS',
                          'PATCH'])
    {
        for (const uri of ['/api', '/api/publish']) {
            for (const headers of [{}, withKey]) {
                s.it(`${method} ${uri} with ${Object.keys(headers).length} `
                     + 'keys: 405', async () => {
                    const res = await server.request(method, uri,
                                                     { headers });
                    assert.equal(res.status, 405);
                });
            }
        }
    }

    const key = (name, status, headers, query = '') => {
        row(`key: ${name}: ${status}`, '/api/publish' + query, PUB, status,
            status === 200 ? DONE : '', headers);
        row(`key: ${name}, command style: ${status}`, '/api' + query, CMD,
            status, status === 200 ? CMD_OK : '', headers);
    };

    key('none', 401, {});
    key('X-API-Key', 200, { 'X-API-Key': KEY });
    key('x-api-key', 200, { 'x-api-key': KEY });
    key('wrong', 401, { 'X-API-Key': 'wrong' });
    key('empty', 401, { 'X-API-Key': '' });
    key('a part of it', 401, { 'X-API-Key': KEY.slice(0, -1) });
    key('more than it', 401, { 'X-API-Key': KEY + '1' });
    key('in another case', 401, { 'X-API-Key': KEY.toUpperCase() });
    key('very long', 401, { 'X-API-Key': 'x'.repeat(7000) });
    key('wrong, Authorization right', 401,
        { 'X-API-Key': 'wrong', 'Authorization': `apikey ${KEY}` });
    key('right, Authorization wrong', 200,
        { 'X-API-Key': KEY, 'Authorization': 'apikey wrong' });
    key('wrong, query right', 200, { 'X-API-Key': 'wrong' },
        `?api_key=${ESCAPED}`);
    key('query', 200, {}, `?api_key=${ESCAPED}`);
    key('query among others', 200, {}, `?a=b&api_key=${ESCAPED}&c=d`);
    key('query with escapes that are not needed', 200, {},
        `?api_key=%6be%79%20%2f%2b%25%26%3d1`);
    key('query wrong', 401, {}, '?api_key=wrong');
    key('query empty', 401, {}, '?api_key=');
    key('query without a value', 401, {}, '?api_key');
    key('query of a longer name', 401, {}, `?xapi_key=${ESCAPED}`);
    key('query with half an escape', 401, {}, '?api_key=key%2');

    /* a key with a blank in it can not be sent as one word */

    key('Authorization of three words', 401,
        { 'Authorization': 'apikey key /+%&=1' });

    s.it('Authorization', async () => {
        const other = await s.start({ hub: 'api_key k3y; client_insecure on;',
                                      workers: 1 });

        for (const [value, status] of [
            ['apikey k3y', 200], ['ApiKey k3y', 200], ['APIKEY k3y', 200],
            ['apikey wrong', 401], ['apikey k3', 401], ['apikey k3yy', 401],
            ['apikey', 401], ['k3y', 401], ['bearer k3y', 401],
            ['apikey k3y x', 401], ['apikeyk3y', 401], ['apikey K3Y', 401],
        ]) {
            const res = await other.request('POST', '/api/publish', {
                body: PUB, headers: { 'Authorization': value } });

            assert.equal(res.status, status, value);
        }

        const both = await other.request('POST', '/api/publish?api_key=k3y', {
            body: PUB, headers: { 'Authorization': 'apikey wrong' } });

        assert.equal(both.status, 200);
    });

    row('api_insecure', '/free/publish', PUB, 200, DONE, {});
    row('api_insecure with a key', '/free/publish', PUB, 200, DONE,
        { 'X-API-Key': 'any' });


    /* where the method is */

    for (const [uri, status] of [
        ['/api/publish', 200], ['/api/p%75blish', 200],
        ['/api/publish?x=y', 200], ['/free/publish', 200],
        ['/slash/publish', 200],
        ['/api/Publish', 404], ['/api/nope', 404], ['/api/publish/x', 404],
        ['/api/publishx', 404], ['/api/publis', 404], ['/api/x/publish', 404],
        ['/api/history', 200], ['/api/history_remove', 200],
        ['/api/batch', 200], ['/api/connections', 404],
        ['/api/map_publish', 404], ['/api/Presence', 404],
    ]) {
        row(`POST ${uri}: ${status}`, uri, PUB, status);
    }

    row('the content type does not matter', '/api/publish', PUB, 200, DONE,
        { ...withKey, 'Content-Type': 'application/octet-stream' });
    row('nor does it in command style', '/api', CMD, 200, CMD_OK,
        { ...withKey, 'Content-Type': 'text/html' });


    /* bodies that are no JSON */

    for (const body of [
        '', ' ', '\n', 'x', '{', '{"channel":"x"', '[]', '"x"', '1', 'true',
        PUB + 'x', PUB + PUB, PUB + ',', `{"channel":"x","data":1,}`,
        '{"channel":"x","data":01}', '{"channel":"x",\v"data":1}',
        '{"channel":"x","data":1}\f', "{'channel':'x','data':1}",
        '{"channel":1,"data":1}', '{"channel":{},"data":1}',
        '{"channel":["x"],"data":1}', '{"channel":"x","data":1,"tags":1}',
        '{"channel":"x","data":1,"tags":{"a":1}}',
        '{"channel":"x","data":1,"skip_history":"yes"}',
        '{"channel":"x","b64data":1}', '{"channel":"x","data":nul}',
        '{"channel":"x","data":1,"version":-1}',
        '{"channel":"x","data":1,"version":18446744073709551616}',
        '{"channel":"\\x41","data":1}', '{"channel":"a\nb","data":1}',
        Buffer.from('{"channel":"x","data":"\xff"}', 'latin1'),
        Buffer.from('{"channel":"x","data":"\xc0\x80"}', 'latin1'),
        Buffer.from('{"channel":"x","data":"\xed\xa0\x80"}', 'latin1'),
        Buffer.from('{"channel":"\xf4\x90\x80\x80","data":1}', 'latin1'),
        `{"channel":"x","data":${nest(513)}}`,
        '{'.repeat(1 << 20), '['.repeat(1 << 20),
        '{"channel":'.repeat(50000),
    ]) {
        row(`unreadable: ${body.toString('latin1').slice(0, 50)}, `
            + `${body.length} bytes: 400`, '/api/publish', body, 400);
    }

    for (const body of [
        '', '\n', 'x', '{', '[]', `[${CMD}]`, '1', '"x"', CMD + 'x',
        CMD.slice(0, -1), `${CMD}\n{"id":2,"met`, `${CMD}\nx`,
        '{"id":1,"method":"nope","params":{}}',
        '{"id":1,"method":"","params":{}}',
        '{"id":1,"method":{},"params":{}}',
        '{"id":1,"method":1.5,"params":{}}',
        '{"id":1,"method":99999999999,"params":{}}',
        '{"id":"x","method":"publish","params":{}}',
        '{"id":-1,"method":"publish","params":{}}',
        '{"id":4294967296,"method":"publish","params":{}}',
        '{"id":1.5,"method":"publish","params":{}}',
        Buffer.from('{"id":1,"x":"\xff"}', 'latin1'),
        `{"id":1,"params":${nest(513)}}`,
        '{'.repeat(1 << 20),
    ]) {
        row(`unreadable command: ${body.toString('latin1').slice(0, 50)}, `
            + `${body.length} bytes: 400`, '/api', body, 400);
    }


    /* publish */

    const pub = (name, body, want) => row(`publish: ${name}`, '/api/publish',
        typeof body === 'string' ? body : JSON.stringify(body), 200, want);

    pub('done', PUB, DONE);
    pub('unknown keys', '{"x":[1],"channel":"x","y":null,"data":1}', DONE);
    pub('all keys', { channel: 'x', data: 1, skip_history: true,
        tags: { a: 'b' }, delta: true, version: 1, version_epoch: 'e' },
        DONE);
    pub('pretty', JSON.stringify({ channel: 'x', data: { a: 1 } }, null, 4)
        + '\r\n', DONE);
    pub('no channel', { data: 1 }, err(107));
    pub('empty channel', { channel: '', data: 1 }, err(107));
    pub('null channel', { channel: null, data: 1 }, err(107));
    pub('empty object', '{}', err(107));
    pub('unknown namespace', { channel: 'nope:x', data: 1 }, err(102));
    pub('a namespace', { channel: 'chat:x', data: 1 }, DONE);
    pub('unknown private namespace', { channel: '$nope:x', data: 1 },
        err(102));
    pub('unknown namespace before data', { channel: 'nope:x' }, err(102));
    pub('no data', { channel: 'x' }, err(107));
    pub('wrong base64', { channel: 'x', b64data: '!!!!' }, err(107));
    pub('base64 with half a group', { channel: 'x', b64data: 'abc' },
        err(107));
    for (const b64data of ['QQ==QQ==', 'QQ==!!!!', 'QUI=xxxx', 'Q===']) {
        pub(`base64 that goes on behind its end: ${b64data}`,
            { channel: 'x', b64data }, err(107));
    }

    pub('base64 of one character', { channel: 'x', b64data: 'a' }, err(107));
    pub('base64 wrong, data good', { channel: 'x', data: 1, b64data: '*' },
        err(107));
    pub('wrong base64 before the namespace',
        { channel: 'nope:x', b64data: '*' }, err(107));
    pub('the name is not checked',
        { channel: '\u20ac'.repeat(200), data: 1 }, DONE);
    pub('a private channel', { channel: '$x', data: 1 }, DONE);
    pub('nesting of 500', `{"channel":"x","data":${nest(500)}}`, DONE);

    s.it('a publication reaches all workers', async () => {
        const ch = fresh();
        const list = await onAllWorkers(server.workers(), 2,
                                        () => subscriber(ch));
        const api = apiOf(server, { key: KEY, keep: false });

        for (let i = 0; i < 20; i++) {
            await api.publish(ch, i);
        }

        for (const c of list) {
            for (let i = 0; i < 20; i++) {
                assert.equal(await c.line(), `{"push":{"channel":"${ch}",`
                    + `"pub":{"data":${i}}}}`);
            }

            c.terminate();
        }
    });

    s.it('b64data wins, and an empty one does not count', async () => {
        const ch = fresh();
        const c = await subscriber(ch);

        for (const [params, want] of [
            [{ data: 1, b64data: b64('{"b": 64}') }, '{"b": 64}'],
            [{ b64data: b64('"x"') }, '"x"'],
            [{ b64data: b64('1234') }, '1234'],
            [{ data: 5, b64data: '' }, '5'],
        ]) {
            const res = await post('/api/publish', JSON.stringify(
                { channel: ch, ...params }));

            assert.equal(trim(res.body), DONE);
            assert.equal(await c.line(),
                `{"push":{"channel":"${ch}","pub":{"data":${want}}}}`);
        }

        c.terminate();
    });

    s.it('data that is no JSON ends JSON subscribers with 3506', async () => {
        for (const bytes of ['hello', '{"a":', '\u0000\u0001', '"\xff"',
                             '1 2', ' '])
        {
            const ch = fresh();
            const list = await onAllWorkers(server.workers(), 1,
                () => subscriber(ch, undefined, { encoding: 'json' }));
            const other = await subscriber(fresh());
            const res = await post('/api/publish', JSON.stringify({
                channel: ch,
                b64data: Buffer.from(bytes, 'latin1').toString('base64') }));

            assert.equal(trim(res.body), DONE);

            for (const c of list) {
                const end = await c.untilClosed();

                assert.deepEqual([end.code, end.reason, end.lines],
                    [3506, 'inappropriate protocol', []]);
            }

            assert.deepEqual(await other.settle(), []);
            other.terminate();
        }
    });

    s.it('publication_max_size', async () => {
        const ch = fresh();
        const c = await subscriber(ch, '/small/ws');
        const big = 'x'.repeat(1023);
        const fit = 'x'.repeat(800);

        let res = await post('/small/api/publish', JSON.stringify(
            { channel: ch, data: big }));
        assert.equal(trim(res.body), err(107));

        res = await post('/small/api/publish', JSON.stringify(
            { channel: ch, b64data: b64(`"${big}"`) }));
        assert.equal(trim(res.body), err(107));

        res = await post('/small/api', JSON.stringify({ id: 3,
            method: 'publish', params: { channel: ch, data: big } }));
        assert.equal(trim(res.body), errId(3, 107));

        res = await post('/small/api/broadcast', JSON.stringify(
            { channels: [ch, 'nope:x'], data: big }));
        assert.equal(trim(res.body), '{"result":{"responses":['
            + `${err(107)},${err(102)}]}}`);

        res = await post('/small/api/publish', JSON.stringify(
            { channel: ch, data: fit }));
        assert.equal(trim(res.body), DONE);
        assert.equal((await c.json()).push.pub.data, fit);

        const r = await c.call({ publish: { channel: ch, data: big } });

        assert.equal(r.error.code, 107);
        c.terminate();
    });


    /* broadcast */

    const cast = (name, params, want) => row(`broadcast: ${name}`,
        '/api/broadcast', JSON.stringify(params), 200, want);
    const responses = (...list) =>
        `{"result":{"responses":[${list.join(',')}]}}`;

    cast('one channel', { channels: ['x'], data: 1 }, responses(DONE));
    cast('three channels', { channels: ['x', 'y', 'z'], data: 1 },
         responses(DONE, DONE, DONE));
    cast('no channels', { data: 1 }, err(107));
    cast('an empty list', { channels: [], data: 1 }, err(107));
    cast('null', { channels: null, data: 1 }, err(107));
    cast('errors of each', { channels: ['x', '', 'nope:x', 'chat:x'],
                             data: 1 },
         responses(DONE, err(107), err(102), DONE));
    cast('no data', { channels: ['x', 'nope:x', ''] },
         responses(err(107), err(102), err(107)));
    row('broadcast: channels is a string', '/api/broadcast',
        '{"channels":"x","data":1}', 400);
    row('broadcast: a channel is a number', '/api/broadcast',
        '{"channels":["x",1],"data":1}', 400);

    s.it('broadcast reaches each channel in order', async () => {
        const list = Array.from({ length: 50 }, fresh);
        const c = await Client.connect(server.ws());

        for (const ch of list) {
            await c.subscribe(ch);
        }

        await post('/api/broadcast', JSON.stringify(
            { channels: [...list, list[0]], b64data: b64('{"n":1}') }));

        const got = [];

        while (got.length < 51) {
            const { push } = await c.json();

            assert.deepEqual(push.pub, { data: { n: 1 } });
            got.push(push.channel);
        }

        assert.deepEqual(got.sort(), [...list, list[0]].sort());
        c.terminate();
    });

    s.it('broadcast to 1,000 channels', async () => {
        const res = await post('/api/broadcast', JSON.stringify({
            channels: Array.from({ length: 1000 }, (_, i) => `many${i}`),
            data: 1 }));
        const { result } = JSON.parse(res.body);

        assert.equal(result.responses.length, 1000);
        result.responses.forEach((x) => assert.deepEqual(x, { result: {} }));
    });


    /* command style */

    const cmd = (name, lines, want) => row(`commands: ${name}`, '/api',
        [].concat(lines).map((x) => typeof x === 'string' ? x
            : JSON.stringify(x)).join('\n'),
        200, [].concat(want).join('\n'));
    const P = { channel: 'x', data: 1 };

    cmd('one', CMD, CMD_OK);
    cmd('a newline behind', CMD + '\n', CMD_OK);
    cmd('no id', { method: 'publish', params: P }, DONE);
    cmd('id 0', { id: 0, method: 'publish', params: P }, DONE);
    cmd('largest id', { id: 4294967295, method: 'publish', params: P },
        '{"id":4294967295,"result":{}}');
    cmd('method as a number', { id: 1, method: 0, params: P }, CMD_OK);
    cmd('no method is publish', { id: 1, params: P }, CMD_OK);
    cmd('broadcast as a number',
        { id: 2, method: 1, params: { channels: ['x'], data: 1 } },
        `{"id":2,"result":{"responses":[${DONE}]}}`);
    cmd('names in any case', [
        { id: 1, method: 'PUBLISH', params: P },
        { id: 2, method: 'Publish', params: P },
        { id: 3, method: 'BROADCAST', params: { channels: ['x'], data: 1 } }],
        [CMD_OK, '{"id":2,"result":{}}',
         `{"id":3,"result":{"responses":[${DONE}]}}`]);
    cmd('several, one wrong', [
        { id: 5, method: 'publish', params: P },
        { id: 3, method: 'publish', params: { channel: 'nope:x', data: 1 } },
        { id: 4, method: 'publish', params: { data: 1 } },
        { method: 'publish', params: P }],
        ['{"id":5,"result":{}}', errId(3, 102), errId(4, 107), DONE]);
    cmd('an unknown number', { id: 1, method: 99, params: P },
        errId(1, 104));
    cmd('an unknown number between others', [
        { id: 1, params: P }, { id: 2, method: 77 }, { id: 3, params: P }],
        [CMD_OK, errId(2, 104), '{"id":3,"result":{}}']);
    cmd('no params', { id: 1, method: 'publish' }, errId(1, 107));
    cmd('params of a wrong type', { id: 1, method: 'publish', params: 'x' },
        errId(1, 107));
    cmd('params with a wrong type inside',
        { id: 1, method: 'publish', params: { channel: 1 } }, errId(1, 107));
    cmd('wrong params between others', [
        { id: 1, params: P }, { id: 2, params: { channel: [] } },
        { id: 3, params: P }],
        [CMD_OK, errId(2, 107), '{"id":3,"result":{}}']);
    cmd('unknown keys', '{"z":{},"id":1,"method":"publish","params":'
        + '{"channel":"x","data":1},"token":"t"}', CMD_OK);

    for (const [name, number] of [['batch', 13], ['connections', 14]]) {
        cmd(`${name} does not exist`, [
            { id: 1, method: name, params: { channel: 'x' } },
            { id: 2, method: number, params: {} }],
            [errId(1, 104), errId(2, 104)]);
    }

    cmd('500 in a body',
        Array.from({ length: 500 }, (_, i) => ({ id: i + 1, params: P })),
        Array.from({ length: 500 }, (_, i) => `{"id":${i + 1},"result":{}}`));

    s.it('commands of a body are published in order', async () => {
        const ch = fresh();
        const list = await onAllWorkers(server.workers(), 1,
                                        () => subscriber(ch));

        await post('/api', Array.from({ length: 200 }, (_, i) =>
            JSON.stringify({ id: i + 1, method: 'publish',
                             params: { channel: ch, data: i } })).join('\n'));

        for (const c of list) {
            for (let i = 0; i < 200; i++) {
                assert.equal((await c.json()).push.pub.data, i);
            }

            c.terminate();
        }
    });


    /* bodies: in memory, in files, chunked, cut */

    const big = 'x'.repeat(100000);

    for (const uri of ['/free', '/file', '/buffer']) {
        s.it(`a large body at ${uri}`, async () => {
            const ch = fresh();
            const c = await subscriber(ch, '/free/ws');

            for (const headers of [{}, { 'Transfer-Encoding': 'chunked' }]) {
                const res = await post(`${uri}/publish`, JSON.stringify(
                    { channel: ch, data: { big } }), headers);

                assert.equal(trim(res.body), DONE);
                assert.deepEqual((await c.json()).push.pub.data, { big });
            }

            const res = await post(uri, Array.from({ length: 20 }, (_, i) =>
                JSON.stringify({ id: i + 1, params: { channel: ch,
                    data: i + big.slice(0, 10000) } })).join('\n'), {});

            assert.equal(trim(res.body), Array.from({ length: 20 }, (_, i) =>
                `{"id":${i + 1},"result":{}}`).join('\n'));

            for (let i = 0; i < 20; i++) {
                assert.equal((await c.json()).push.pub.data,
                             i + big.slice(0, 10000));
            }

            c.terminate();
        });
    }

    row('a small body in a file', '/file/publish', PUB, 200, DONE);
    row('an empty body in a file', '/file/publish', '', 400);
    row('a wrong body in a file', '/file/publish', '{"x', 400);
    row('a body over client_max_body_size', '/tiny/publish', big, 413);

    s.it('a body in chunks of one byte', async () => {
        const ch = fresh();
        const c = await subscriber(ch);
        const r = await Raw.tcp(server.port);

        r.write('POST /api/publish HTTP/1.1\r\nHost: x\r\n'
                + `X-API-Key: ${KEY}\r\nTransfer-Encoding: chunked\r\n\r\n`);

        for (const x of `{"channel":"${ch}","data":"\u20ac"}`) {
            const b = Buffer.from(x);

            for (let i = 0; i < b.length; i++) {
                r.write(Buffer.concat([Buffer.from('1\r\n'),
                                       b.subarray(i, i + 1),
                                       Buffer.from('\r\n')]));
                await new Promise((ok) => setImmediate(ok));
            }
        }

        r.write('0\r\n\r\n');

        const res = await r.response();

        assert.equal(res.status, 200);
        assert.equal(trim(res.body), DONE);
        assert.equal((await c.json()).push.pub.data, '\u20ac');
        r.destroy();
        c.terminate();
    });

    s.it('a body that is cut publishes nothing', async () => {
        const ch = fresh();
        const c = await subscriber(ch);
        const body = `{"channel":"${ch}","data":1}`;

        for (const head of [`Content-Length: ${body.length + 10}\r\n`,
                            'Transfer-Encoding: chunked\r\n'])
        {
            for (const way of ['end', 'reset']) {
                const r = await Raw.tcp(server.port);
                const chunked = head.startsWith('T');

                r.write('POST /api/publish HTTP/1.1\r\nHost: x\r\n'
                        + `X-API-Key: ${KEY}\r\n${head}\r\n`);
                r.write(chunked ? `${body.length.toString(16)}\r\n${body}`
                                : body);
                await sleep(50);

                if (way === 'end') {
                    r.socket.end();
                } else {
                    r.reset();
                }

                await r.end();
                r.destroy();
            }
        }

        const res = await post('/api/publish', JSON.stringify(
            { channel: ch, data: 'after' }));

        assert.equal(trim(res.body), DONE);
        assert.equal((await c.json()).push.pub.data, 'after');
        c.terminate();
    });

    s.it('a request that expects 100-continue', async () => {
        const r = await Raw.tcp(server.port);

        r.write('POST /api/publish HTTP/1.1\r\nHost: x\r\n'
                + `X-API-Key: ${KEY}\r\nExpect: 100-continue\r\n`
                + `Content-Length: ${PUB.length}\r\n\r\n`);
        assert.equal((await r.response()).status, 100);
        r.write(PUB);
        assert.equal(trim((await r.response()).body), DONE);
        r.destroy();
    });

    s.it('HTTP/1.0', async () => {
        const r = await Raw.tcp(server.port);

        r.write(`POST /api/publish HTTP/1.0\r\nX-API-Key: ${KEY}\r\n`
                + `Content-Length: ${PUB.length}\r\n\r\n${PUB}`);

        const res = await r.response();

        assert.equal(res.status, 200);
        assert.equal(trim(res.body), DONE);
        await r.end();
    });

    s.it('HTTP/2', async () => {
        const session = http2.connect(`https://127.0.0.1:${server.h2Port}`,
                                      { rejectUnauthorized: false });
        session.on('error', () => {});

        const ask = (n) => new Promise((ok, fail) => {
            const req = session.request({ ':method': 'POST',
                ':path': '/api/publish', 'x-api-key': KEY });
            let body = '';
            let status;

            req.setEncoding('utf8');
            req.on('response', (h) => { status = h[':status']; });
            req.on('data', (x) => { body += x; });
            req.on('end', () => ok([status, trim(body)]));
            req.on('error', fail);
            req.end(JSON.stringify({ channel: 'h2', data: n + big }));
        });

        const got = await within(8000, 'answers over HTTP/2',
            Promise.all(Array.from({ length: 20 }, (_, i) => ask(i))));

        got.forEach((x) => assert.deepEqual(x, [200, DONE]));
        session.close();
    });

    s.it('a connection is kept through errors', async () => {
        const r = await Raw.tcp(server.port);
        const send = (uri, body, k = KEY, method = 'POST') =>
            r.write(`${method} ${uri} HTTP/1.1\r\nHost: x\r\n`
                    + `X-API-Key: ${k}\r\n`
                    + `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n`
                    + body);

        for (const [uri, body, status, k, method] of [
            ['/api/publish', PUB, 200],
            ['/api/publish', PUB, 401, 'wrong'],
            ['/api/publish', big, 401, 'wrong'],
            ['/api/publish', PUB, 405, KEY, 'PUT'],
            ['/api/nope', big, 404],
            ['/api/publish', '{', 400],
            ['/api/publish', '', 400],
            ['/api', CMD, 200],
            ['/api', 'x' + big, 400],
            ['/api/publish', PUB, 200],
        ]) {
            send(uri, body, k, method);

            const res = await r.response();

            assert.ok(res, `connection closed instead of ${status}`);
            assert.equal(res.status, status);
            assert.notEqual(res.headers.connection, 'close');
        }

        r.destroy();
    });

    s.it('pipelined requests', async () => {
        const ch = fresh();
        const c = await subscriber(ch);
        const r = await Raw.tcp(server.port);
        const n = 200;
        let text = '';

        for (let i = 0; i < n; i++) {
            const body = `{"channel":"${ch}","data":${i}}`;

            text += 'POST /api/publish HTTP/1.1\r\nHost: x\r\n'
                + `X-API-Key: ${KEY}\r\nContent-Length: ${body.length}`
                + `\r\n\r\n${body}`;
        }

        r.write(text);

        for (let i = 0; i < n; i++) {
            const res = await r.response();

            assert.equal(res.status, 200);
            assert.equal(trim(res.body), DONE);
        }

        for (let i = 0; i < n; i++) {
            assert.equal((await c.json()).push.pub.data, i);
        }

        r.destroy();
        c.terminate();
    });


    /* health and metrics */

    s.it('health', async () => {
        for (const method of ['GET', 'POST', 'HEAD']) {
            const res = await server.request(method, '/health');

            assert.equal(res.status, 200);
            assert.match(res.headers['content-type'], /^application\/json/);

            if (method !== 'HEAD') {
                assert.equal(trim(res.body), '{}');
            }
        }
    });

    s.it('metrics are in the text format of Prometheus', async () => {
        const res = await server.get('/metrics');

        assert.equal(res.status, 200);
        assert.match(res.headers['content-type'], /^text\/plain/);

        const types = new Map();

        for (const line of res.body.split('\n')) {
            if (line === '' || /^# HELP \S+ \S/.test(line)) {
                continue;
            }

            const type =
                /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line);

            if (type) {
                assert.ok(!types.has(type[1]), `second TYPE of ${type[1]}`);
                types.set(type[1], type[2]);
                continue;
            }

            const m = new RegExp('^([a-zA-Z_:][a-zA-Z0-9_:]*)'
                + '(\\{[a-zA-Z0-9_]+="[^"]*"(,[a-zA-Z0-9_]+="[^"]*")*\\})?'
                + ' -?[0-9.]+(e[-+]?[0-9]+)?$').exec(line);

            assert.ok(m, `not a metric: ${line}`);
            assert.ok(types.has(m[1])
                || types.has(m[1].replace(/_(bucket|sum|count)$/, '')),
                `no TYPE of ${m[1]}`);
        }

        for (const name of ['clients', 'subscriptions', 'channels']) {
            assert.equal(types.get(`centrifugo_node_num_${name}`), 'gauge');
        }
    });
});
