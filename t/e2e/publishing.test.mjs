/*
 * Options of publish that need more than one worker or time, and batches.
 */

import assert from 'node:assert/strict';

import { Client } from './lib/client.mjs';
import { sleep, TEST_MODULE, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';
import { connections } from './lib/workers.mjs';

const OPEN = `allow_subscribe_for_client on; allow_subscribe_for_anonymous on;`;

const HUB = `api_insecure on; allow_anonymous_connect_without_token on; ${OPEN}
    namespace kept { ${OPEN} history_size 10; history_ttl 10m; }`;

const post = async (w, method, params, headers = {}) => {
    const r = await w.request('POST', `/api/${method}`,
                              { body: JSON.stringify(params), headers });

    return { status: r.status, body: JSON.parse(r.body) };
};

const result = async (w, params, method = 'publish') => {
    const { status, body } = await post(w, method, params);

    assert.equal(status, 200);
    return body.result ?? body.error.code;
};


suite('publishing', { concurrency: 6, timeout: 58000 }, async (s) => {
    const server = await s.start({ zone: '8m', hub: HUB });
    const [a, b] = [...(await connections(server)).values()];
    const connect = () => Client.connect(server.ws());

    s.it('one key, two workers: published once', async () => {
        for (const channel of ['kept:key', 'key']) {
            const c = await connect();

            await c.subscribe(channel);

            const params = { channel, data: 1, idempotency_key: 'k' };
            const first = await result(a, params);

            for (const w of [a, b, a]) {
                assert.deepEqual(await result(w, { ...params, data: 2 }),
                                 first);
            }

            /* another key, another channel */

            await result(b, { ...params, data: 3, idempotency_key: 'l' });
            await result(b, { ...params, channel: channel + '2', data: 4 });

            await until('the second', () => c.lines.length === 2);
            assert.deepEqual(c.lines.map((l) => JSON.parse(l).push.pub.data),
                             [1, 3]);
        }
    });

    s.it('versions', async () => {
        const c = await connect();
        const channel = 'kept:version';
        const put = (w, data, version, version_epoch) =>
            result(w, { channel, data, version, version_epoch });

        await c.subscribe(channel);

        const { epoch } = await put(a, 1, 5);
        const at = (offset) => ({ offset, epoch });

        assert.deepEqual(await put(b, 2, 5), at(1));        /* suppressed */
        assert.deepEqual(await put(a, 3, 4), at(1));        /* suppressed */
        assert.deepEqual(await put(b, 4, 6), at(2));
        assert.deepEqual(await put(a, 5, 1, 'other'), at(3));
        assert.deepEqual(await put(b, 6, 1, 'other'), at(3)); /* suppressed */
        assert.deepEqual(await put(b, 7, 1), at(3));        /* suppressed */
        assert.deepEqual(await put(a, 8), at(4));           /* resets it */
        assert.deepEqual(await put(a, 9, 1), at(5));

        await until('five', () => c.lines.length === 5);
        assert.deepEqual(c.lines.map((l) => JSON.parse(l).push.pub.data),
                         [1, 4, 5, 8, 9]);
    });

    s.it('tags and binary data', async () => {
        const c = await connect();

        await c.subscribe('kept:tags');
        await result(a, { channel: 'kept:tags', data: 1,
                          tags: { b: '2', a: 'x"y', '': '' } });
        await result(b, { channel: 'kept:tags', b64data:
                          Buffer.from('{"b":64}').toString('base64'),
                          data: 'not this' });
        assert.deepEqual((await c.json()).push.pub.tags,
                         { '': '', a: 'x"y', b: '2' });
        assert.deepEqual((await c.json()).push.pub.data, { b: 64 });
        assert.equal(await result(a, { channel: 'kept:tags',
                                       b64data: '%%%' }), 107);
    });

    s.it('broadcast answers for each channel', async () => {
        const r = await result(a, { channels: ['kept:b1', 'b2', '', 'no:b',
                                               'kept:b1'], data: 1 },
                               'broadcast');
        const epoch = r.responses[0].result.epoch;

        assert.deepEqual(r.responses, [
            { result: { offset: 1, epoch } }, { result: {} },
            { error: { code: 107, message: 'bad request' } },
            { error: { code: 102, message: 'unknown channel' } },
            { result: { offset: 2, epoch } }]);
    });

    s.it('a batch in order, and in parallel', async () => {
        const publish = (data) => ({ publish: { channel: 'kept:batch', data } });
        const commands = [publish(1), { history: { channel: 'kept:batch',
            limit: -1 } }, publish(2), { presence_stats: { channel: 'x' } },
            { history: { channel: 'kept:batch' } }, null, { nothing: {} },
            { history_remove: { channel: 'kept:batch' } },
            { history: { channel: 'kept:batch', limit: -1 } }];
        const { status, body } = await post(a, 'batch', { commands });
        const epoch = body.replies[0].publish.epoch;

        assert.equal(status, 200);
        assert.deepEqual(body, { replies: [
            { publish: { offset: 1, epoch } },
            { history: { publications: [{ data: 1, offset: 1 }], epoch,
                         offset: 1 } },
            { publish: { offset: 2, epoch } },
            { error: { code: 108, message: 'not available' } },
            { history: { publications: [], epoch, offset: 2 } },
            { error: { code: 107, message: 'bad request' } },
            { error: { code: 104, message: 'not found' } },
            { history_remove: {} },
            { history: { publications: [], epoch, offset: 2 } },
        ] });

        const many = Array.from({ length: 2000 }, (_, i) => ({ publish:
            { channel: `kept:p${i % 3}`, data: i } }));
        const r = await post(b, 'batch', { commands: many, parallel: true });

        assert.equal(r.body.replies.length, 2000);
        r.body.replies.forEach(({ publish: p }) =>
            assert.match(p.epoch, /^[A-Za-z]{8}$/));

        for (const k of [0, 1, 2]) {
            assert.equal(Math.max(...r.body.replies.filter(
                (_, i) => i % 3 === k).map((x) => x.publish.offset)),
                k === 2 ? 666 : 667);
        }
    });

    s.it('errors by the status', async () => {
        const header = { 'X-Centrifugo-Error-Mode': 'transport' };
        const cases = [
            ['publish', { channel: '', data: 1 }, 400, 107, 'bad request'],
            ['publish', { channel: 'no:a', data: 1 }, 404, 102,
             'unknown channel'],
            ['presence', { channel: 'a' }, 400, 108, 'not available'],
            ['rpc', { method: 'x' }, 404, 104, 'not found'],
            ['history', { channel: 'kept:a', limit: 1,
                          since: { offset: 1, epoch: 'x' } }, 416, 112,
             'unrecoverable position'],
        ];

        for (const [method, params, status, code, message] of cases) {
            assert.deepEqual(await post(a, method, params, header),
                             { status, body: { code, message } });
            assert.deepEqual(await post(a, method, params),
                             { status: 200,
                               body: { error: { code, message } } });
        }

        assert.equal((await post(a, 'publish', { channel: 'a', data: 1 },
                                 header)).status, 200);

        /* what is inside of a batch or a broadcast stays there */

        assert.deepEqual(await post(a, 'batch', { commands: [{ publish:
            { channel: 'no:a', data: 1 } }] }, header), { status: 200, body:
            { replies: [{ error: { code: 102,
                                   message: 'unknown channel' } }] } });
    });
});


suite('errors by the status, by directive', {}, async (s) => {
    const server = await s.start({ zone: '4m',
                                   hub: `${HUB} api_error_mode transport;` });
    const [a] = (await connections(server)).values();

    s.it('the directive', async () => {
        assert.deepEqual(await post(a, 'publish', { channel: 'no:a', data: 1 }),
            { status: 404, body: { code: 102, message: 'unknown channel' } });
    });
});


suite('batches with a late engine', {}, async (s) => {
    const server = await s.start({ zone: '4m', module: TEST_MODULE,
                                   hub: `test_engine_delay 20ms; ${HUB}` });
    const [a] = (await connections(server)).values();

    s.it('one after the other', async () => {
        const commands = Array.from({ length: 10 }, (_, i) => ({ publish:
            { channel: 'kept:late', data: i } }));
        let at = Date.now();
        let r = await post(a, 'batch', { commands });

        assert.ok(Date.now() - at >= 195, `${Date.now() - at} ms`);
        assert.deepEqual(r.body.replies.map((x) => x.publish.offset),
                         [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);

        at = Date.now();
        r = await post(a, 'batch', { commands, parallel: true });
        assert.ok(Date.now() - at < 150, `${Date.now() - at} ms`);
        assert.equal(r.body.replies.length, 10);
        await sleep(0);
    });
});
