/*
 * Documents that change a little each time: who asks for deltas has what all
 * others have, whatever comes in between.
 */

import assert from 'node:assert/strict';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers } from './lib/client.mjs';
import { apply } from './lib/fossil.mjs';
import { bare, outcome } from './lib/rights.mjs';
import { connected, event, sdkOf, subscribed } from './lib/sdk.mjs';
import { sleep, TEST_MODULE, until } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const OPEN = `allow_subscribe_for_client on; allow_subscribe_for_anonymous on;
    allow_publish_for_client on; allow_publish_for_anonymous on;`;
const KEPT = `${OPEN} history_size 40; history_ttl 10m;`;
const DELTA = `${KEPT} allowed_delta_types fossil;`;

const HUB = `api_insecure on; allow_anonymous_connect_without_token on;
    ${DELTA} delta_publish on; force_recovery on;
    namespace ask { ${DELTA} force_recovery on; }
    namespace pos { ${DELTA} delta_publish on; force_positioning on; }
    namespace pres { ${DELTA} delta_publish on; force_recovery on;
        presence on; }
    namespace any { ${DELTA} delta_publish on; allow_recovery on; }
    namespace none { ${KEPT} delta_publish on; force_recovery on; }
    namespace bin { ${DELTA} delta_publish on; force_recovery on;
        publication_data_format binary; }`;

/* as the server may send it, byte for byte */

const TEXT = 'A document of some length, of which an edit changes little. '
    + 'In it are caf\u00e9s, \u20ac 20, \ud83d\ude00 and \u65e5\u672c\u8a9e. '
        .repeat(6);

const edit = (n) => ({ n, text: TEXT.slice(0, n % 50) + `<${n}\u00fc>`
                                + TEXT.slice(n % 50), end: [n % 3] });

const noise = (n) => {
    const from = 'abcdefghijklmnopqrstuvwxyz';
    let s = '';

    while (s.length < n) {
        s += from[Math.floor(Math.random() * from.length)];
    }

    return s;
};


/* A subscriber that decodes as the protocol says, and counts. */

class Reader {

    constructor(client, channel) {
        this.client = client;
        this.channel = channel;
        this.deltas = 0;
        this.base = undefined;
    }

    async subscribe(params = {}) {
        const { subscribe, error } = bare(await this.client.call({
            subscribe: { channel: this.channel, delta: 'fossil', ...params },
        }));

        assert.equal(error, undefined);

        /* nobody keeps a base over the end of a subscription */

        this.base = undefined;
        this.list = (subscribe.publications || []).map((p) => this.take(p));
        return subscribe;
    }

    unsubscribe() {
        return this.client.call({ unsubscribe: { channel: this.channel } });
    }

    take(pub) {
        assert.equal(typeof pub.data, 'string', JSON.stringify(pub));
        assert.equal(pub.epoch, undefined);

        const bytes = Buffer.from(pub.data);

        this.last = pub;

        if (pub.delta) {
            assert.equal(pub.delta, true);
            this.deltas++;
            this.base = apply(this.base, bytes);
            assert.ok(bytes.length < this.base.length, 'it is shorter');
        } else {
            this.base = bytes;
        }

        return JSON.parse(this.base.toString());
    }

    async next(ms) {
        const { push } = await this.client.json(ms);

        assert.equal(push.channel, this.channel);
        return this.take(push.pub);
    }

    /* the next publication: is it a delta? */

    async kind(data) {
        assert.deepEqual(await this.next(), data);
        return this.last.delta ? 'delta' : 'full';
    }
}


function rules(s, server, api) {
    const reader = async (channel, params, options) => {
        const r = new Reader(await Client.connect(server.ws(), options),
                             channel);

        r.reply = await r.subscribe(params);
        return r;
    };

    const publish = async (channel, data, params = {}) => {
        const { result, error } = await api.call('publish',
                                                 { channel, data, ...params });
        assert.equal(error, undefined);
        return result;
    };

    s.it('in full when a delta is not shorter', async () => {
        const r = await reader('short');

        for (const data of [1, 2, 'x', {}, [], null, true, '', 'y']) {
            await publish('short', data);
            assert.equal(await r.kind(data), 'full');
        }

        for (let i = 0; i < 3; i++) {
            const data = noise(200);

            await publish('short', data);
            assert.equal(await r.kind(data), 'full');
        }

        const data = noise(300);

        await publish('short', { data, n: 1 });
        await publish('short', { data, n: 2 });
        assert.equal(await r.kind({ data, n: 1 }), 'full');
        assert.equal(await r.kind({ data, n: 2 }), 'delta');
    });

    s.it('only where the publisher wants it', async () => {
        const r = await reader('ask:b');
        const put = async (n, delta) => {
            await publish('ask:b', edit(n), delta === undefined ? {}
                                                                : { delta });
            return r.kind(edit(n));
        };

        assert.equal(await put(1), 'full');
        assert.equal(await put(2), 'full');
        assert.equal(await put(3, true), 'delta');
        assert.equal(await put(4, false), 'full');
        assert.equal(await put(5, true), 'delta');

        /* delta_publish is for all, whatever one asks */

        const always = await reader('always');

        await publish('always', edit(1), { delta: false });
        await publish('always', edit(2), { delta: false });
        assert.equal(await always.kind(edit(1)), 'full');
        assert.equal(await always.kind(edit(2)), 'delta');

        await api.call('broadcast', { channels: ['ask:b', 'none:b'],
                                      data: edit(6), delta: true });
        assert.equal(await r.kind(edit(6)), 'delta');
    });

    s.it('a position is enough', async () => {
        const kinds = async (channel, params) => {
            const r = await reader(channel, params);
            const list = [];

            for (let i = 0; i < 3; i++) {
                await publish(channel, edit(i));
                list.push(await r.kind(edit(i)));
            }

            return [r.reply.delta, ...list];
        };

        assert.deepEqual(await kinds('pos:a'),
                         [true, 'full', 'delta', 'delta']);
        assert.deepEqual(await kinds('any:a', { recoverable: true }),
                         [true, 'full', 'delta', 'delta']);
    });

    s.it('history_remove does not', async () => {
        const r = await reader('removed');

        await publish('removed', edit(1));
        await api.call('history_remove', { channel: 'removed' });
        await publish('removed', edit(2));
        await publish('removed', edit(3));
        assert.equal(await r.kind(edit(1)), 'full');
        assert.deepEqual(await r.next(), edit(2));
        assert.equal(await r.kind(edit(3)), 'delta');
    });

    s.it('recovered ones are deltas of their neighbours', async () => {
        const r = await reader('rec');
        const { epoch } = await publish('rec', edit(1));

        assert.equal(await r.kind(edit(1)), 'full');
        await r.unsubscribe();

        for (let i = 2; i <= 6; i++) {
            await publish('rec', edit(i));
        }

        const back = await r.subscribe({ recover: true, epoch, offset: 1 });

        assert.equal(back.recovered, true);
        assert.equal(back.delta, true);
        assert.deepEqual(r.list, [2, 3, 4, 5, 6].map(edit));
        assert.deepEqual(back.publications.map((p) => p.delta),
                         [undefined, true, true, true, true]);
        assert.deepEqual(back.publications.map((p) => p.offset),
                         [2, 3, 4, 5, 6]);

        await publish('rec', edit(7));
        assert.deepEqual(await r.next(), edit(7));
        await publish('rec', edit(8));
        assert.equal(await r.kind(edit(8)), 'delta');

        /* nothing missed: there may be no base */

        await r.unsubscribe();
        assert.equal((await r.subscribe({ recover: true, epoch, offset: 8 }))
            .recovered, true);
        await publish('rec', edit(9));
        assert.equal(await r.kind(edit(9)), 'full');
        await publish('rec', edit(10));
        assert.equal(await r.kind(edit(10)), 'delta');

        /* not recovered */

        await r.unsubscribe();
        assert.equal((await r.subscribe({ recover: true, epoch: 'zzzzzzzz',
                                          offset: 9 })).recovered, undefined);
        await publish('rec', edit(11));
        await publish('rec', edit(12));
        assert.equal(await r.kind(edit(11)), 'full');
        assert.equal(await r.kind(edit(12)), 'delta');
    });

    s.it('after recovery deltas begin at once where others get them',
        async () => {
        const connect = () => onAllWorkers(server.workers(), 1, () =>
            Client.connect(server.ws()));

        for (const c of await connect()) {
            await new Reader(c, 'everywhere').subscribe();
        }

        const { epoch } = await publish('everywhere', edit(1));

        for (let i = 2; i <= 9; i++) {
            await publish('everywhere', edit(i));
        }

        const list = await connect();

        for (const c of list) {
            const r = new Reader(c, 'everywhere');

            await r.subscribe({ recover: true, epoch, offset: 3 });
            assert.deepEqual(r.list, [4, 5, 6, 7, 8, 9].map(edit));
            assert.equal(r.deltas, 5);
            c.reader = r;
        }

        await publish('everywhere', edit(10));

        for (const c of list) {
            assert.equal(await c.reader.kind(edit(10)), 'delta');
        }
    });

    s.it('what is no JSON ends a JSON client', async () => {
        const r = await reader('bin:a', {}, { encoding: 'json' });

        await publish('bin:a', { x: 1 });
        assert.deepEqual(await r.next(), { x: 1 });
        await api.call('publish', { channel: 'bin:a', b64data: 'AAEC' });
        assert.equal((await r.client.untilClosed()).code, 3506);

        /* also when it is to be recovered */

        const c = await Client.connect(server.ws(), { encoding: 'json' });

        assert.equal(await outcome(c, { subscribe: { channel: 'bin:a',
            recover: true, offset: 0, delta: 'fossil' } }), 3506);
    });

    s.it('the SDK follows a document', async () => {
        const sdk = sdkOf(server.ws());
        const sub = sdk.newSubscription('sdk', { delta: 'fossil',
                                                 recoverable: true });
        const got = [];
        const seen = (n) => until(`${n} edits`, () => got.length >= n, 8000);

        sub.on('publication', (ctx) => got.push(ctx.data));
        await connected(sdk);
        await subscribed(sub);

        const all = [];
        let document = { title: 'caf\u00e9', body: TEXT, list: [] };
        const put = async (params) => {
            const at = Math.floor(Math.random() * document.body.length);
            const chars = [...document.body];

            chars.splice(at % chars.length, all.length % 3,
                         '\u00e9', '\ud83d\ude00', String(all.length));
            document = { ...document, body: chars.join(''),
                         list: [...document.list.slice(-5), all.length] };
            all.push(document);
            await publish('sdk', document, params);
        };

        for (let i = 0; i < 100; i++) {
            await put();
        }

        await seen(100);

        const stats = sub.deltaStats();

        assert.ok(stats.numDeltaPayloads >= 90, JSON.stringify(stats));
        assert.ok(stats.bytesReceived * 3 < stats.bytesDecoded,
                  JSON.stringify(stats));

        /* comes back with recovery, and again */

        for (let turn = 0; turn < 3; turn++) {
            sdk.disconnect();

            for (let i = 0; i < 10; i++) {
                await put();
            }

            const again = event(sub, 'subscribed');

            sdk.connect();
            assert.equal((await again).recovered, true);
            await put();
            await seen(all.length);
        }

        /* with something that is not kept in between */

        await put({ skip_history: true });
        await put();
        await put();
        await seen(all.length);

        /* and is resubscribed while the connection stays */

        sub.unsubscribe();
        await put();
        await subscribed(sub);
        await put();
        await put();
        await until('the last edit', () =>
            got[got.length - 1]?.list.at(-1) === all.length - 1);

        const from = got.length - 3;

        assert.deepEqual(got.slice(0, from), all.slice(0, from));
        assert.deepEqual(got.slice(-2), all.slice(-2));
        assert.deepEqual(sdk.errors, []);
        sdk.disconnect();
    });

    s.it('what comes while a recovery is answered', async () => {
        const r = await reader('pres:held');
        let { epoch, offset } = await publish('pres:held', edit(0));
        let n = 0;
        let deltas = 0;

        assert.deepEqual(await r.next(), edit(0));

        /*
         * With presence there is time between the stream and the answer; with
         * others who get deltas, workers have the base of the next.
         */

        for (const c of await onAllWorkers(server.workers(), 1, () =>
            Client.connect(server.ws())))
        {
            c.take = (text) => c.calls.size
                && Client.prototype.take.call(c, text);
            await new Reader(c, 'pres:held').subscribe();
        }

        for (let round = 0; round < 25; round++) {
            await r.unsubscribe();
            await publish('pres:held', edit(++n));
            ({ epoch } = await publish('pres:held', edit(++n)));

            const reply = r.subscribe({ recover: true, epoch, offset });

            /* one of no stream is behind those that are recovered */

            await sleep(round % 5 * 4);
            await publish('pres:held', 'between', { skip_history: true });

            const { publications, recovered } = await reply;

            assert.equal(recovered, true);
            assert.deepEqual(r.list, [edit(n - 1), edit(n)]);
            assert.deepEqual(publications.map((p) => p.offset),
                             [offset + 1, offset + 2]);
            await publish('pres:held', edit(++n));
            await publish('pres:held', edit(++n));

            /* it may have come before the subscription did */

            let doc = await r.next();

            if (doc === 'between') {
                assert.equal(r.last.offset, undefined);
                doc = await r.next();
            }

            assert.deepEqual(doc, edit(n - 1));
            assert.deepEqual(await r.next(), edit(n));
            offset = r.last.offset;
            deltas += r.last.delta ? 1 : 0;
        }

        assert.equal(deltas, 25);
    });

    s.it('subscribers come and go while it changes', async () => {
        let stop = false;
        let n = 0;
        const data = new Map();         /* offset: what it is */
        let skipped = 0;
        let deltas = 0;

        const publisher = async () => {
            const own = apiOf(server);

            while (!stop) {
                const doc = edit(++n);
                const skip_history = n % 11 === 0;
                const { result } = await own.call('publish',
                    { channel: 'storm', data: doc, skip_history });

                skipped += skip_history;

                if (!skip_history) {
                    data.set(result.offset, doc);
                }

                await sleep(1);
            }

            own.close();
        };

        const seen = [];
        const one = async (i) => {
            const r = new Reader(await Client.connect(server.ws()), 'storm');
            let position;

            for (let turn = 0; turn < 12; turn++) {
                const reply = await r.subscribe(position && turn % 3
                    ? { recover: true, ...position } : {});

                (reply.publications || []).forEach((p, k) =>
                    seen.push([p.offset, r.list[k]]));
                position = { epoch: reply.epoch,
                             offset: (reply.publications || []).at(-1)?.offset
                                     ?? reply.offset ?? 0 };

                for (let k = 0; k < 2 + (i + turn) % 5; k++) {
                    const doc = await r.next();

                    if (r.last.offset) {
                        assert.equal(r.last.offset, ++position.offset);
                        seen.push([r.last.offset, doc]);
                    }
                }

                await r.unsubscribe();

                for (const line of r.client.lines.splice(0)) {
                    const { pub } = JSON.parse(line).push;
                    const doc = r.take(pub);

                    if (pub.offset) {
                        assert.equal(pub.offset, ++position.offset);
                        seen.push([pub.offset, doc]);
                    }
                }
            }

            deltas += r.deltas;
            r.client.terminate();
        };

        const publishing = [publisher(), publisher()];

        await Promise.all(Array.from({ length: 8 }, (_, i) => one(i)));
        stop = true;
        await Promise.all(publishing);

        for (const [offset, doc] of seen) {
            assert.deepEqual(doc, data.get(offset), `offset ${offset}`);
        }

        assert.ok(seen.length > 200, `${seen.length} publications`);
        assert.ok(deltas > 100, `${deltas} deltas`);
        assert.ok(skipped > 3);
    });
}


suite('documents', { concurrency: 6, timeout: 58000 }, async (s) => {
    const server = await s.start({ zone: '16m', hub: HUB });
    const api = apiOf(server);

    rules(s, server, api);
    await s.all();
    api.close();
});


suite('documents with late engines', { concurrency: 6, timeout: 58000 },
    async (s) => {
        const server = await s.start({ zone: '16m', module: TEST_MODULE,
            hub: `test_engine_delay 15ms; ${HUB}` });
        const api = apiOf(server);

        rules(s, server, api);
        await s.all();
        api.close();
    });
