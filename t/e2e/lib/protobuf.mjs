/*
 * Between the JSON of tests and the Protobuf of a connection: what a test sends
 * and expects is text, whatever goes over the wire. What comes is written as
 * the server's JSON is, key by key.
 */

import path from 'node:path';
import { fileURLToPath } from 'node:url';

import protobuf from 'protobufjs';

const PROTO = path.join(path.dirname(fileURLToPath(import.meta.url)),
                        '../../../proto/client.proto');

const root = new protobuf.Root().loadSync(PROTO, { keepCase: true });
const Command = root.lookupType('centrifugo.client.Command');
const Reply = root.lookupType('centrifugo.client.Reply');

root.resolveAll();

/* keys that JSON always has */

const ALWAYS = {
    Error: ['code', 'message'],
    ClientInfo: ['user', 'client'],
    ConnectResult: ['client', 'version'],
    PresenceResult: ['presence'],
    PresenceStatsResult: ['num_clients', 'num_users'],
    HistoryResult: ['publications', 'epoch', 'offset'],
    Unsubscribe: ['code', 'reason'],
};

/* no Protobuf can say it */

class Foreign extends Error {}

const RANGES = {
    uint32: [0n, 0xffffffffn],
    uint64: [0n, 0xffffffffffffffffn],
    int32: [-0x80000000n, 0x7fffffffn],
    int64: [-0x8000000000000000n, 0x7fffffffffffffffn],
};


/* A value of JSON with its text: { raw, type, value }. */

function read(text) {
    let at = 0;

    const blank = () => {
        while (at < text.length && ' \t\r\n'.includes(text[at])) {
            at++;
        }
    };

    const string = () => {
        const m = /"(?:[^"\\]|\\.)*"/sy;

        m.lastIndex = at;

        const found = m.exec(text);

        if (!found) {
            throw new Foreign('no string');
        }

        at = m.lastIndex;
        return JSON.parse(found[0]);
    };

    const list = (end, one) => {
        at++;
        blank();

        if (text[at] === end) {
            at++;
            return;
        }

        for ( ;; ) {
            one();
            blank();

            if (text[at] === end) {
                at++;
                return;
            }

            if (text[at++] !== ',') {
                throw new Foreign('no comma');
            }

            blank();
        }
    };

    const node = () => {
        blank();

        const from = at;
        let type, value;

        if (text[at] === '{') {
            type = 'map';
            value = new Map();
            list('}', () => {
                const key = string();

                blank();

                if (text[at++] !== ':') {
                    throw new Foreign('no colon');
                }

                value.set(key, node());
            });

        } else if (text[at] === '[') {
            type = 'list';
            value = [];
            list(']', () => value.push(node()));

        } else if (text[at] === '"') {
            type = 'string';
            value = string();

        } else {
            while (at < text.length && !' \t\r\n,]}'.includes(text[at])) {
                at++;
            }

            value = JSON.parse(text.slice(from, at));
            type = value === null ? 'null' : typeof value;
        }

        return { raw: text.slice(from, at), type, value };
    };

    let depth = 0;

    for (const m of text.matchAll(/"(?:[^"\\]|\\.)*"|[[{\]}]/gs)) {
        depth += '[{'.includes(m[0]) ? 1 : ']}'.includes(m[0]) ? -1 : 0;

        if (depth > 512) {
            throw new Foreign('too deep');
        }
    }

    JSON.parse(text);
    return node();
}


function scalar(type, n) {
    if (type === 'bytes') {
        return Buffer.from(n.raw, 'utf8');
    }

    if (type === 'string' || type === 'bool') {
        if (n.type !== (type === 'bool' ? 'boolean' : 'string')) {
            throw new Foreign(`no ${type}`);
        }

        return n.value;
    }

    const [min, max] = RANGES[type];

    if (n.type !== 'number' || !/^-?\d+$/.test(n.raw)
        || BigInt(n.raw) < min || BigInt(n.raw) > max)
    {
        throw new Foreign('no number of its type');
    }

    return protobuf.util.Long && /64/.test(type)
           ? protobuf.util.Long.fromString(n.raw, type === 'uint64')
           : Number(n.raw);
}


function fields(type, n) {
    if (n.type !== 'map') {
        throw new Foreign('no map');
    }

    const m = {};

    for (const [key, v] of n.value) {
        const f = type.fields[key];

        if (!f || (v.type === 'null' && f.type !== 'bytes')) {
            continue;
        }

        const one = (x) => f.resolvedType ? fields(f.resolvedType, x)
                                          : scalar(f.type, x);

        if (f.map) {
            if (v.type !== 'map') {
                throw new Foreign('no map');
            }

            m[key] = {};

            for (const [k, x] of v.value) {
                m[key][k] = x.type === 'null' ? (f.resolvedType ? {} : '')
                                              : one(x);
            }

        } else if (f.repeated) {
            if (v.type !== 'list') {
                throw new Foreign('no list');
            }

            m[key] = v.value.map(one);

        } else {
            m[key] = one(v);
        }
    }

    return m;
}


/*
 * Lines of commands as one message. What no Protobuf can say becomes bytes that
 * are not Protobuf, either: it would have been refused as JSON, and is so.
 */
export function encode(text) {
    const parts = [];
    const lines = text.split('\n');

    if (lines.length > 1 && lines[lines.length - 1] === '') {
        lines.pop();
    }

    for (const line of lines) {
        if (line === '') {
            parts.push(text === '' ? Buffer.alloc(0) : Buffer.from([0x80]));
            break;
        }

        try {
            parts.push(Buffer.from(Command.encodeDelimited(
                fields(Command, read(line))).finish()));

        } catch (e) {
            if (!(e instanceof Foreign || e instanceof SyntaxError)) {
                throw e;
            }

            parts.push(Buffer.from([0x80]));
            break;
        }
    }

    return Buffer.concat(parts);
}


function payload(bytes, asText) {
    const text = Buffer.from(bytes).toString('utf8');

    if (asText) {
        return JSON.stringify(text);
    }

    try {
        JSON.parse(text);
    } catch {
        return JSON.stringify('bytes ' + Buffer.from(bytes).toString('hex'));
    }

    return text.replace(/[\r\n]/g, '');
}


function write(type, m, deltas) {
    const out = [];
    const always = ALWAYS[type.name] || [];

    const one = (f, v) => {
        if (f.resolvedType) {
            return write(f.resolvedType, v, deltas);
        }

        return f.type === 'bytes'
               ? payload(v, deltas && f.name === 'data'
                            && type.name === 'Publication')
               : f.type === 'string' ? JSON.stringify(v) : String(v);
    };

    for (const f of type.fieldsArray) {
        const has = Object.prototype.hasOwnProperty.call(m, f.name)
                    && !((f.repeated || f.map)
                         && Object.keys(m[f.name]).length === 0);

        if (!has && !always.includes(f.name)) {
            continue;
        }

        const v = m[f.name];
        let s;

        if (f.map) {
            s = '{' + Object.keys(v)
                    .map((k) => `${JSON.stringify(k)}:${one(f, v[k])}`)
                    .join(',') + '}';
        } else if (f.repeated) {
            s = '[' + v.map((x) => one(f, x)).join(',') + ']';
        } else {
            s = one(f, v);
        }

        out.push(`"${f.name}":${s}`);
    }

    return '{' + out.join(',') + '}';
}


/*
 * What came as lines. `deltas` are the channels, or their numbers, whose
 * payloads are strings in JSON; it grows with what is subscribed.
 */
export function decode(bytes, deltas, asked) {
    const reader = protobuf.Reader.create(bytes);
    const lines = [];

    while (reader.pos < reader.len) {
        const m = Reply.decodeDelimited(reader);
        let strings = false;

        if (m.subscribe && asked.has(m.id)) {
            const channel = asked.get(m.id);

            asked.delete(m.id);
            strings = m.subscribe.delta;

            if (strings) {
                deltas.add(channel);

                if (m.subscribe.id) {
                    deltas.add(String(m.subscribe.id));
                }

            } else {
                deltas.delete(channel);
            }

        } else if (m.push && m.push.pub) {
            strings = deltas.has(m.push.channel)
                      || (m.push.id && deltas.has(String(m.push.id)));
        }

        lines.push(write(Reply, m, strings));
    }

    return lines.join('\n');
}


/* One message behind its length. */

export function message(type, fields) {
    const t = root.lookupType('centrifugo.client.' + type);

    return Buffer.from(t.encodeDelimited(t.fromObject(fields)).finish());
}


/* All messages of a frame, as protobufjs has them. */

export function replies(bytes) {
    const reader = protobuf.Reader.create(bytes);
    const list = [];

    while (reader.pos < reader.len) {
        list.push(Reply.decodeDelimited(reader));
    }

    return list;
}


/* The ids of subscribe commands in a text, with their channels. */

export function subscribes(text, asked) {
    for (const line of text.split('\n')) {
        try {
            const c = JSON.parse(line);

            if (c && c.subscribe && typeof c.id === 'number') {
                asked.set(c.id, c.subscribe.channel);
            }
        } catch {
            /* it is refused */
        }
    }
}
