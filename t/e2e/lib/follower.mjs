/*
 * A client that follows the stream of a channel by the rules, and a record of
 * what was published, to compare with.
 */

import assert from 'node:assert/strict';

import { Client } from './client.mjs';
import { apply } from './fossil.mjs';

/* what is true: publications by channel, epoch and offset */

export class Record {

    constructor() {
        this.known = new Map();         /* "channel epoch offset": data */
        this.where = new Map();         /* the other way round */
        this.tags = new Map();          /* the same: tags */
        this.unsure = new Map();        /* data that may be out: tags */
        this.skipped = new Set();       /* data without history */
        this.wrong = [];
        this.counts = {};
    }

    count(what, n = 1) {
        this.counts[what] = (this.counts[what] || 0) + n;
    }

    key(channel, epoch, offset) {
        return `${channel} ${epoch} ${offset}`;
    }

    acknowledged(channel, { epoch, offset }, data, tags) {
        const key = this.key(channel, epoch, offset);

        this.saw(key, data, 'acknowledged');
        this.tags.set(key, tags);
        this.count('published');
    }

    saw(key, data, who) {
        const known = this.known.get(key);

        if (known === undefined) {
            const twice = this.where.get(data);

            /* all that is published differs */

            if (twice !== undefined) {
                this.wrong.push(`${who}: ${key} is ${data}, as ${twice}`);
            }

            this.known.set(key, data);
            this.where.set(data, key);
        } else if (known !== data) {
            this.wrong.push(`${who}: ${key} is ${data}, was ${known}`);
        }
    }

    /* What a channel keeps at last is what was published, without a gap. */

    async kept(api, channel) {
        const { result } = await api.call('history', { channel, limit: -1 });
        let next = result.offset - result.publications.length;

        for (const p of result.publications) {
            if (p.offset !== ++next) {
                this.wrong.push(`history of ${channel}: ${p.offset}, not `
                                + `${next}`);
            }

            next = p.offset;
            this.saw(this.key(channel, result.epoch, p.offset),
                     JSON.stringify(p.data), 'history');
        }

        this.count('kept', result.publications.length);
    }
}


export class Follower {

    /* filter: only publications with the tag t of this value */

    constructor(record, url, channel, { delta, filter } = {}) {
        this.record = record;
        this.url = url;
        this.channel = channel;
        this.delta = delta;
        this.filter = filter;
        this.position = null;
        this.seen = new Map();          /* of this epoch: offset: data */
        this.from = 0;
        this.others = new Set();
    }

    get name() {
        return `${this.channel}${this.delta ? ' delta' : ''}`
            + `${this.filter ? ' ' + this.filter : ''}`;
    }

    fail(text) {
        this.record.wrong.push(`${this.name}: ${text}`);
    }

    async connect() {
        const c = await Client.connect(this.url);

        this.client = c;
        c.take = (text) => {
            for (const line of text.split('\n')) {
                if (line === '{}') {
                    c.frame('{}');
                } else {
                    this.take(c, JSON.parse(line), line);
                }
            }
        };

        await this.subscribe();
    }

    request() {
        return {
            channel: this.channel,
            ...(this.position ? { recover: true, ...this.position } : {}),
            ...(this.delta ? { delta: 'fossil' } : {}),
            ...(this.filter ? { tf: { key: 't', cmp: 'eq',
                                      val: this.filter } } : {}),
        };
    }

    async subscribe() {
        const was = this.position;
        const { subscribe: r, error } = await this.call(
            { subscribe: this.request() });

        if (!r) {
            throw new Error(`no subscription: ${JSON.stringify(error)}`);
        }

        this.record.count('subscribed');
    }

    /* The reply is handled before what follows it in the same frame. */

    subscribed(r) {
        const was = this.position;

        this.live = true;

        if (was && r.recovered) {
            this.record.count('recovered');

            if (r.epoch !== was.epoch || (r.offset || 0) !== was.offset) {
                this.fail(`recovered from ${was.offset} ${was.epoch}, told `
                          + `${r.offset} ${r.epoch}`);
            }

            this.base = undefined;
            (r.publications || []).forEach((p) => this.publication(p));
            this.record.count('recovered publications',
                              (r.publications || []).length);
            return;
        }

        if (was) {
            this.record.count('not recovered');

            if (r.publications) {
                this.fail('publications, but not recovered');
            }
        }

        this.verify();
        this.base = undefined;
        this.position = { epoch: r.epoch, offset: r.offset || 0 };
        this.from = this.position.offset;
        this.seen.clear();
    }

    take(c, msg, line) {
        if (c !== this.client) {
            return;
        }

        if (msg.id) {
            if (msg.subscribe) {
                this.subscribed(msg.subscribe);
            } else if (msg.unsubscribe) {
                this.live = false;
            }

            const w = c.calls.get(msg.id);

            c.calls.delete(msg.id);
            w?.ok(msg);
            return;
        }

        const { push } = msg;

        if (push.unsubscribe) {
            if (push.unsubscribe.code !== 2500) {
                this.fail(line);
            }

            this.record.count('insufficient');
            this.live = false;
            this.verify();
            this.position = null;
            return;
        }

        if (push.pub) {
            if (!this.live) {
                this.fail(`a publication after the end: ${line}`);
            }

            this.publication(push.pub);
        }
    }

    data(p) {
        if (!this.delta) {
            return JSON.stringify(p.data);
        }

        if (typeof p.data !== 'string') {
            throw new Error('data is no string');
        }

        if (p.delta) {
            this.record.count('deltas');
            this.base = apply(this.base, Buffer.from(p.data));
        } else {
            this.base = Buffer.from(p.data);
        }

        return JSON.stringify(JSON.parse(this.base.toString()));
    }

    publication(p) {
        let data;

        try {
            data = this.data(p);
        } catch (e) {
            this.fail(`${e.message}: ${JSON.stringify(p)}`);
            return;
        }

        this.record.count('delivered');

        if (!p.offset) {
            if (this.others.has(data)) {
                this.fail(`twice: ${data}`);
            }

            this.others.add(data);
            return;
        }

        const { position } = this;

        if (this.filter ? p.offset <= position.offset
                        : p.offset !== position.offset + 1)
        {
            this.fail(`${p.offset} after ${position.offset} ${position.epoch}`);
        }

        position.offset = p.offset;
        this.seen.set(p.offset, data);
        this.record.saw(this.record.key(this.channel, position.epoch,
                                        p.offset), data, this.name);
    }

    /*
     * All that is known of what this client has followed is in its view; to be
     * called when it leaves a stream, and at the end.
     */
    verify() {
        if (!this.position || !this.filter) {
            return;
        }

        const { epoch, offset } = this.position;

        for (let n = this.from + 1; n <= offset; n++) {
            const key = this.record.key(this.channel, epoch, n);
            const tags = this.record.tags.get(key);

            if (tags && (tags.t === this.filter) !== this.seen.has(n)) {
                this.fail(`${n} with ${tags.t}`);
            }
        }
    }

    call(command) {
        return this.client.call(command);
    }

    async leave() {
        await this.call({ unsubscribe: { channel: this.channel } });
    }

    drop() {
        this.live = false;
        this.client?.terminate();
        this.client = null;
    }
}
