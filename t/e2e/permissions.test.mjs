/*
 * Who may do what: each rule once where it allows and once where it refuses.
 */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { apiOf } from './lib/api.mjs';
import { Client, onAllWorkers } from './lib/client.mjs';
import { jwt, now } from './lib/jwt.mjs';
import { logged, outcome, subToken, userToken } from './lib/rights.mjs';
import { sleep, until, within } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const KEY = 'token_hmac_secret_key secret; api_insecure on;';
const ANON = 'allow_anonymous_connect_without_token on;';
const SUB = 'allow_subscribe_for_client on;';
const SUBA = `${SUB} allow_subscribe_for_anonymous on;`;
const PUB = 'allow_publish_for_client on;';
const PUBA = `${PUB} allow_publish_for_anonymous on;`;

const HUBS = {
    names: `${KEY} ${ANON} ${SUB}
        namespace sub { ${SUB} }
        namespace suba { ${SUBA} }
        namespace onlya { allow_subscribe_for_anonymous on; }
        namespace closed { }
        namespace nolim { ${SUB} }
        namespace lim { allow_user_limited_channels on; ${SUBA} }
        namespace limonly { allow_user_limited_channels on; }
        namespace rx { channel_regex "^[a-z]+$"; ${SUB} ${PUB} }
        namespace mid { channel_regex "b"; ${SUB} }
        namespace utf { channel_regex "^caf"; ${SUB} }
        namespace uni { channel_regex "^.{3}$"; ${SUB} }
        namespace letters { channel_regex "^(?i)[а-яё]+$"; ${SUB} }
        namespace prop { channel_regex "^\\\\p{Lu}\\\\w$"; ${SUB} }
        namespace colon { channel_regex "^a:b$"; ${SUB} }
        namespace slow { channel_regex "^(a+)+$"; ${SUB} }
        namespace slow2 { channel_regex "^(a|a)*b\\\\1?$"; ${SUB} }
        namespace a-b_C.9 { ${SUB} }`,

    rx0: `${KEY} ${SUB} ${PUB} channel_regex "^[$]?room[0-9]$";`,

    marks: `${KEY} ${SUB} ${ANON}
        channel_private_prefix "%"; channel_namespace_boundary "/";
        channel_user_boundary "@"; channel_user_separator "+";
        allow_user_limited_channels on;
        namespace ns { allow_user_limited_channels on; }
        namespace open { ${SUB} }`,

    nomarks: `${KEY} ${SUB} channel_private_prefix "";
        channel_namespace_boundary ""; channel_user_boundary "";
        channel_user_separator ""; allow_user_limited_channels on;
        namespace ns { }`,

    nocomma: `${KEY} channel_user_separator "";
        allow_user_limited_channels on;`,

    limit: `${KEY} ${ANON} channel_limit 2; channel_max_length 20; ${SUBA} ${PUBA}
        namespace closed { }`,

    rights: `${KEY} ${ANON}
        namespace none { ${SUBA} }
        namespace pub { ${PUB} }
        namespace puba { ${PUBA} }
        namespace onlypa { allow_publish_for_anonymous on; }
        namespace mem { ${SUBA} allow_publish_for_subscriber on; }
        namespace mema { ${SUBA} allow_publish_for_subscriber on;
            allow_publish_for_anonymous on; }
        namespace pr { ${SUBA} presence on; allow_presence_for_client on; }
        namespace pra { ${SUBA} presence on; allow_presence_for_client on;
            allow_presence_for_anonymous on; }
        namespace onlypra { ${SUBA} presence on;
            allow_presence_for_anonymous on; }
        namespace prm { ${SUBA} presence on;
            allow_presence_for_subscriber on; }
        namespace prma { ${SUBA} presence on;
            allow_presence_for_subscriber on;
            allow_presence_for_anonymous on; }
        namespace prnone { ${SUBA} presence on; }
        namespace proff { ${SUBA} allow_presence_for_client on;
            allow_presence_for_subscriber on;
            allow_presence_for_anonymous on; }`,

    data: `${KEY} channel_publication_data_format json_object; ${PUB} ${SUB}
        namespace some { ${PUB} ${SUB} }
        namespace json { ${PUB} ${SUB} publication_data_format json; }
        namespace object { ${PUB} ${SUB}
            publication_data_format json_object; }
        namespace binary { ${PUB} ${SUB} publication_data_format binary; }`,

    some: `${KEY} ${PUB} ${SUB} publication_max_size 100;`,

    insecure: `${KEY} client_insecure on;
        namespace closed { }
        namespace pr { presence on; }
        namespace lim { allow_user_limited_channels on; }`,

    strict: `${KEY} disallow_anonymous_connection_tokens on;`,
    strictanon: `${KEY} ${ANON} disallow_anonymous_connection_tokens on;`,
    users: `${KEY} ${ANON} user_connection_limit 2; ${SUBA}`,
    address: `${KEY} ${ANON} connection_limit_per_address 3;`,
    rate: `${KEY} ${ANON} connection_rate_limit 5;`,
    both: `${KEY} ${ANON} connection_limit_per_address 1;
        connection_rate_limit 2;`,

    personal: `${KEY} ${ANON} subscribe_to_user_personal_channel on;`,
    personalns: `${KEY} ${ANON} subscribe_to_user_personal_channel on;
        personal_channel_namespace user;
        channel_limit 2; allow_subscribe_for_client on;
        namespace user { presence on; allow_presence_for_client on; }`,
    single: `${KEY} ${ANON} subscribe_to_user_personal_channel on;
        personal_channel_namespace user; single_connection on;
        namespace user { presence on; }`,

    variable: `${KEY} user $arg_user; connection_info $http_x_info;
        ${SUBA} ${PUBA}`,
    fallback: `${KEY} ${ANON} user $arg_user; ${SUBA} ${PUBA}`,
};


suite('permissions', { concurrency: 12, timeout: 58000 }, async (s) => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'ngx-cf-pw-'));
    const passwords = path.join(dir, 'passwords');

    fs.chmodSync(dir, 0o755);
    fs.writeFileSync(passwords, 'ann:{PLAIN}pw\n');
    process.on('exit', () => fs.rmSync(dir, { recursive: true }));

    const server = await s.start({
        zone: '4m', hub: KEY, hubs: HUBS,
        http: `map $http_x_ticket $ticket_user { default ""; t42 "42";
                "~^raw(.*)$" $1; }
            map $http_x_ticket $ticket_info {
                default ""; t42 '{"from":"ticket"}';
            }`,
        locations: Object.keys(HUBS).map((h) => `
            location = /${h} { centrifugo_websocket ${h}; }
            ${HUBS[h].includes('api_insecure')
              ? `location /api/${h} { centrifugo_api ${h}; }` : ''}
        `).join('') + `
            location = /ticket {
                centrifugo_websocket variable;
                user $ticket_user; connection_info $ticket_info;
            }
            location /outer {
                user $arg_user; connection_info $http_x_info;
                location = /outer/inner { centrifugo_websocket limit; }
                location = /outer/own {
                    centrifugo_websocket limit; user $http_x_own;
                }
            }
            location = /if {
                centrifugo_websocket variable;
                if ($arg_if) { set $nothing 1; }
            }
            location /except {
                centrifugo_api names;
                limit_except GET { allow 127.0.0.1; deny all; }
            }
            location = /basic {
                centrifugo_websocket variable;
                auth_basic "users"; auth_basic_user_file ${passwords};
                user $remote_user;
            }`,
    });

    const pids = server.workers();
    const url = (hub) => server.ws(`/${hub}`);
    let serial = 0;
    const fresh = (name = 'ch') => `${name}${++serial}`;

    /* user: undefined connects without a token */

    const connectBody = (user, claims) => (user === undefined ? {}
        : { token: userToken(user, claims) });

    async function refused(c, code) {
        await logged(server, c.id, code);
    }

    /*
     * One row: the commands before the last have to succeed, of the last the
     * outcome is given: true (any success), a reply, or a code.
     */
    const row = (hub, name, user, commands, want, why) =>
        s.it(`${hub}: ${name}`, async () => {
            const list = [].concat(commands);
            const c = await Client.connect(url(hub),
                                           { connect: connectBody(user) });

            for (const cmd of list.slice(0, -1)) {
                assert.equal(typeof await outcome(c, cmd), 'object',
                             JSON.stringify(cmd));
            }

            const got = await outcome(c, list.at(-1));

            if (typeof want === 'number') {
                assert.equal(got, want);
                await logged(server, c.id, want, why);
            } else if (want === true) {
                assert.equal(typeof got, 'object', `got ${got}`);
            } else {
                assert.deepEqual(got, want);
            }

            c.terminate();
        });

    const sub = (channel, more = {}) => ({ subscribe: { channel, ...more } });
    const pub = (channel, data = 1) => ({ publish: { channel, data } });
    const OK = { subscribe: {} };
    const DONE = { publish: {} };


    /* names of channels, on subscribe */

    const names = (name, user, channel, want, why) =>
        row('names', name, user, sub(channel), want, why);

    names('no namespace', '42', 'plain', OK);
    names('no namespace, anonymous', undefined, 'plain', 103);
    names('a namespace', '42', 'sub:a', OK);
    names('a namespace that is closed', '42', 'closed:a', 103, /no option/);
    names('anonymous where allowed', undefined, 'suba:a', OK);
    names('anonymous by token where allowed', '', 'suba:a', OK);
    names('anonymous where not allowed', undefined, 'sub:a', 103);
    names('anonymous by token where not allowed', '', 'sub:a', 103);
    names('only for_anonymous opens nothing', undefined, 'onlya:a', 103);
    names('only for_anonymous opens nothing to users', '42', 'onlya:a', 103);
    names('a name with all that a namespace may have', '42', 'a-b_C.9:x', OK);
    names('an unknown namespace', '42', 'other:a', 102, /namespace/);
    names('a namespace in another case', '42', 'SUB:a', 102);
    names('a longer namespace', '42', 'subx:a', 102);
    names('a shorter namespace', '42', 'su:a', 102);
    names('a space in front of the namespace', '42', ' sub:a', 102);
    names('an empty namespace is none', '42', ':a', OK);
    names('a colon alone', '42', ':', OK);
    names('two colons', '42', 'sub:closed:a', OK);
    names('two colons, unknown first', '42', 'x:sub:a', 102);
    names('a namespace without a rest', '42', 'sub:', OK);
    names('empty', '42', '', 3501, /without a channel/);
    names('private without token', '42', '$a', 103, /private/);
    names('private in a namespace without token', '42', '$sub:a', 103,
          /private/);
    names('private of an unknown namespace', '42', '$other:a', 102);
    names('a dollar alone', '42', '$', 103);
    names('a dollar inside', '42', 'a$b', OK);
    names('a dollar behind the namespace', '42', 'sub:$a', OK);
    names('a dollar behind the namespace is not in front', '42', 'su$b:a',
          102);
    names('ASCII with odd characters', '42', 'sub: ~!@^*()"\\/\u0001', OK);
    names('not ASCII', '42', 'sub:é', 107, /ASCII/);
    names('not ASCII, no namespace', '42', 'é', 107);
    names('DEL is ASCII', '42', 'sub:\u007f', OK);
    names('length 255', '42', 'x'.repeat(255), OK);
    names('length 256', '42', 'x'.repeat(256), 107, /channel_max_length/);
    names('length 256 in bytes', '42', 'utf:caf' + 'é'.repeat(125), 107,
          /channel_max_length/);

    names('regex matches', '42', 'rx:abc', OK);
    names('regex does not match', '42', 'rx:ab1', 107, /channel_regex/);
    names('regex and an empty rest', '42', 'rx:', 107);
    names('regex is not anchored', '42', 'mid:abc', OK);
    names('regex that is not anchored does not match', '42', 'mid:acc', 107);
    names('regex does not see the namespace', '42', 'mid:c', 107);
    names('regex allows other than ASCII', '42', 'utf:café', OK);
    names('regex: a character is one, not its bytes', '42', 'uni:žá😀', OK);
    names('regex: two characters of more bytes', '42', 'uni:ž😀', 107);
    names('regex: a range of letters', '42', 'letters:ПриветЁ', OK);
    names('regex: a letter of the range\'s bytes', '42', 'letters:ǯ', 107);
    names('regex: a property', '42', 'prop:Žx', OK);
    names('regex: a property it has not', '42', 'prop:žx', 107);
    names('regex: \\w is of ASCII', '42', 'prop:Žé', 107);
    names('regex sees all behind the first colon', '42', 'colon:a:b', OK);
    names('regex with another colon', '42', 'colon:b', 107);
    names('regex with many steps matches', '42', 'slow:aaaa', OK);

    for (const [ns, rest] of [['slow', 'a'.repeat(240) + '!'],
                              ['slow2', 'a'.repeat(240) + '!']])
    {
        s.it(`names: backtracking of ${ns} is bounded`, async () => {
            const c = await Client.connect(url('names'),
                { connect: connectBody('42') });
            const start = Date.now();

            assert.equal(await outcome(c, sub(`${ns}:${rest}`)), 107);
            assert.ok(Date.now() - start < 1000,
                      `took ${Date.now() - start} ms`);
            await refused(c, 107);
            c.terminate();
        });
    }

    row('names', 'regex of a private channel sees the rest', '42',
        pub('$rx:abc'), DONE);
    row('names', 'regex of a private channel does not match', '42',
        pub('$rx:a1'), 107);
    row('rx0', 'regex without a namespace', '42', sub('room1'), OK);
    row('rx0', 'regex without a namespace does not match', '42',
        sub('xroom1'), 107);
    row('rx0', 'regex sees the dollar', '42', pub('$room1'), DONE);
    row('rx0', 'regex sees the dollar only where it is', '42',
        pub('$$room1'), 107);

    for (const cmd of ['publish', 'presence', 'presence_stats',
                       'unsubscribe'])
    {
        row('names', `empty on ${cmd}`, '42', { [cmd]: { channel: '' } },
            3501);
        row('names', `no channel on ${cmd}`, '42', { [cmd]: {} }, 3501);
    }

    /* user-limited channels */

    names('user-limited, listed', '42', 'lim:a#42', OK);
    names('user-limited, one of several', '42', 'lim:a#1,42,7', OK);
    names('user-limited, last', '42', 'lim:a#1,42', OK);
    names('user-limited, not listed', '42', 'lim:a#41', 103, /list/);
    names('user-limited, a part of another', '42', 'lim:a#421', 103);
    names('user-limited, longer than another', '42', 'lim:a#4', 103);
    names('user-limited, with a space', '42', 'lim:a#1, 42', 103);
    names('user-limited, the last # counts', '42', 'lim:#42#7', 103);
    names('user-limited, the last # lists', '42', 'lim:#7#42', OK);
    names('user-limited without another permission', '42', 'limonly:#42', OK);
    names('user-limited, refused without another permission', '42',
          'limonly:#7', 103);
    names('user-limited, anonymous not listed', undefined, 'lim:#42', 103);
    names('user-limited: the empty list is the anonymous', undefined,
          'limonly:#', OK);
    names('user-limited: the empty list is nobody else', '42', 'limonly:#',
          103);
    names('user-limited: an empty member is the anonymous', undefined,
          'limonly:#42,', OK);
    names('a # where it means nothing', '42', 'nolim:#7', OK);
    names('private and user-limited', '42', '$lim:#42', 103, /private/);

    /* other boundaries, and none */

    row('marks', 'private', '42', sub('%a'), 103, /private/);
    row('marks', 'dollar means nothing', '42', sub('$a'), OK);
    row('marks', 'namespace', '42', sub('open/a'), OK);
    row('marks', 'a closed namespace', '42', sub('ns/a'), 103);
    row('marks', 'unknown namespace', '42', sub('x/a'), 102);
    row('marks', 'colon means nothing', '42', sub('x:a'), OK);
    row('marks', 'user listed', '42', sub('ns/a@7+42'), OK);
    row('marks', 'user not listed', '42', sub('ns/a@7,42'), 103);
    row('marks', 'hash means nothing', '42', sub('a#7'), OK);
    row('marks', 'private with namespace', '42', sub('%x/a'), 102);
    row('nomarks', 'dollar means nothing', '42', sub('$a'), OK);
    row('nomarks', 'colon means nothing', '42', sub('x:a'), OK);
    row('nomarks', 'a namespace is not reached', '42', sub('ns:a'), OK);
    row('nomarks', 'hash means nothing', '42', sub('a#7'), OK);
    row('nocomma', 'the list is one name', '1,2', sub('#1,2'), OK);
    row('nocomma', 'the list is no two names', '1', sub('#1,2'), 103);

    /* the order of refusals on subscribe */

    const full = [sub('a'), sub('b')];

    row('limit', 'too long comes first', '42', [...full, sub('x'.repeat(21))],
        107);
    row('limit', 'already subscribed before the limit', '42',
        [...full, sub('a')], 105, /already/);
    row('limit', 'the limit', '42', [...full, sub('c')], 106,
        /channel_limit/);
    row('limit', 'the limit before the namespace', '42',
        [...full, sub('x:c')], 106);
    row('limit', 'the limit before a token', '42',
        [...full, sub('$c', { token: 'x' })], 106);
    row('limit', 'the limit before the name', '42', [...full, sub('é')], 106);
    row('limit', 'room again', '42',
        [...full, { unsubscribe: { channel: 'a' } }, sub('c')], OK);
    row('limit', 'already subscribed before a token', '42',
        [...full, sub('a', { token: 'x' })], 105);
    row('names', 'the namespace before the name', '42', sub('other:é'), 102);
    row('names', 'the namespace before a token', '42',
        sub('other:a', { token: 'x' }), 102);
    row('names', 'the name before the type', '42',
        sub('sub:é', { type: 1 }), 107);
    row('names', 'the name before a token', '42',
        sub('sub:é', { token: 'x' }), 107);
    row('names', 'the type', '42', sub('sub:a', { type: 1 }), 103, /stream/);
    row('names', 'the type before private', '42', sub('$sub:a', { type: 2 }),
        103, /stream/);
    row('names', 'the type before a token', '42',
        sub('$sub:a', { type: 3, token: subToken('42', '$sub:a') }), 103,
        /stream/);
    row('names', 'the name before private', '42', sub('$sub:é'), 107);
    row('names', 'a token opens a private channel', '42',
        sub('$sub:a', { token: subToken('42', '$sub:a') }), OK);
    row('names', 'a token opens a closed namespace', '42',
        sub('closed:a', { token: subToken('42', 'closed:a') }), OK);
    row('names', 'a token opens another user\'s channel', '42',
        sub('lim:#7', { token: subToken('42', 'lim:#7') }), OK);
    row('names', 'a token of an anonymous user', undefined,
        sub('closed:a', { token: subToken('', 'closed:a') }), OK);
    row('names', 'a wrong token closes an open channel', '42',
        sub('sub:a', { token: 'x' }), 103, /three parts/);
    row('names', 'a wrong token closes one\'s own channel', '42',
        sub('lim:#42', { token: 'x' }), 103);
    row('names', 'a connection token opens nothing', '42',
        sub('$sub:a', { token: userToken('42') }), 103, /names no channel/);


    /* publish */

    const publish = (name, user, commands, want, why) =>
        row('rights', `publish: ${name}`, user, commands, want, why);

    publish('client', '42', pub('pub:a'), DONE);
    publish('client, anonymous', undefined, pub('pub:a'), 103);
    publish('client, anonymous by token', '', pub('pub:a'), 103);
    publish('client and anonymous', undefined, pub('puba:a'), DONE);
    publish('only anonymous opens nothing', undefined, pub('onlypa:a'), 103);
    publish('only anonymous opens nothing to users', '42', pub('onlypa:a'),
            103);
    publish('nothing allows it', '42', pub('none:a'), 103, /no option/);
    publish('subscribed is not enough', '42', [sub('none:a'), pub('none:a')],
            103);
    publish('subscriber', '42', [sub('mem:a'), pub('mem:a')], DONE);
    publish('subscriber of another channel', '42',
            [sub('mem:b'), pub('mem:a')], 103);
    publish('no subscriber', '42', pub('mem:a'), 103);
    publish('no subscriber any more', '42',
            [sub('mem:a'), { unsubscribe: { channel: 'mem:a' } },
             pub('mem:a')], 103);
    publish('subscriber, anonymous', undefined,
            [sub('mem:a'), pub('mem:a')], 103);
    publish('subscriber and anonymous', undefined,
            [sub('mema:a'), pub('mema:a')], DONE);
    publish('anonymous, not subscribed', undefined, pub('mema:a'), 103);
    publish('unknown namespace', '42', pub('other:a'), 102);
    publish('bad name', '42', pub('pub:é'), 107);
    publish('the name before the data', '42',
            { publish: { channel: 'other:a' } }, 102);
    publish('the data before the permission', '42',
            { publish: { channel: 'none:a' } }, 107, /data/);
    publish('the length is not looked at', '42',
            pub('pub:' + 'x'.repeat(300)), DONE);
    publish('private channels too', '42', pub('$pub:a'), DONE);
    publish('user-limited means nothing', '42', pub('pub:#7'), DONE);

    const raw = (name, hub, channel, data, want) =>
        s.it(`${hub}: ${name}`, async () => {
            const c = await Client.connect(url(hub),
                                           { connect: connectBody('42') });

            c.frame(`{"id":2,"publish":{"channel":"${channel}"`
                    + (data === undefined ? '' : `,"data":${data}`) + '}}');
            assert.equal(await c.line(), want ? '{"id":2,"publish":{}}'
                : '{"id":2,"error":{"code":107,"message":"bad request"}}');

            if (!want) {
                await refused(c, 107);
            }

            c.terminate();
        });

    for (const [format, channel, hub, object, value, empty] of [
        ['default', 'some:a', 'some', true, true, false],
        ['hub default', 'a', 'data', true, false, false],
        ['of a namespace that says nothing', 'some:a', 'data', true, false,
         false],
        ['json', 'json:a', 'data', true, true, false],
        ['json_object', 'object:a', 'data', true, false, false],
        ['binary', 'binary:a', 'data', true, true, true],
    ]) {
        const ch = hub === 'some' ? 'a' : channel;

        raw(`format ${format}: an object`, hub, ch, '{"a":1}', object);
        raw(`format ${format}: an empty object`, hub, ch, '{}', object);
        raw(`format ${format}: space before an object`, hub, ch, ' \t{ }',
            object);
        raw(`format ${format}: a list`, hub, ch, '[{}]', value);
        raw(`format ${format}: a string`, hub, ch, '"{}"', value);
        raw(`format ${format}: a number`, hub, ch, '1', value);
        raw(`format ${format}: no data`, hub, ch, undefined, empty);
    }

    raw('largest publication', 'some', 'a', `"${'x'.repeat(98)}"`, true);
    raw('too large a publication', 'some', 'a', `"${'x'.repeat(99)}"`, false);

    s.it('data: a subscriber of binary without data lives on', async () => {
        const ch = fresh('binary:');
        const c = await Client.connect(url('data'),
                                       { connect: connectBody('42') });

        await c.subscribe(ch);
        c.frame(`{"id":2,"publish":{"channel":"${ch}"}}`);

        for (let i = 0; i < 2; i++) {
            const line = await c.line();

            assert.doesNotThrow(() => JSON.parse(line), line);
        }

        c.terminate();
    });

    s.it('data: a subscriber of binary lives on when the API sends nothing',
        async () => {
            const ch = fresh('binary:');
            const c = await Client.connect(url('data'),
                                           { connect: connectBody('42') });

            await c.subscribe(ch);

            const got = await apiOf(server, { location: '/api/data' })
                .call('publish', { channel: ch });

            if (!got.error) {
                const line = await c.line();

                assert.doesNotThrow(() => JSON.parse(line), line);
            }

            c.terminate();
        });


    /* presence and presence_stats */

    for (const cmd of ['presence', 'presence_stats']) {
        const ask = (channel) => ({ [cmd]: { channel } });
        const pr = (name, user, commands, want, why) =>
            row('rights', `${cmd}: ${name}`, user, commands, want, why);

        pr('client', '42', ask('pr:a'), true);
        pr('client, anonymous', undefined, ask('pr:a'), 103);
        pr('client and anonymous', undefined, ask('pra:a'), true);
        pr('only anonymous opens nothing', undefined, ask('onlypra:a'), 103);
        pr('only anonymous opens nothing to users', '42', ask('onlypra:a'),
           103);
        pr('nothing allows it', '42', [sub('prnone:a'), ask('prnone:a')], 103,
           /no option/);
        pr('subscriber', '42', [sub('prm:a'), ask('prm:a')], true);
        pr('no subscriber', '42', ask('prm:a'), 103);
        pr('subscriber, anonymous', undefined, [sub('prm:a'), ask('prm:a')],
           103);
        pr('subscriber and anonymous', undefined,
           [sub('prma:a'), ask('prma:a')], true);
        pr('anonymous, no subscriber', undefined, ask('prma:a'), 103);
        pr('presence is off', '42', ask('proff:a'), 108, /presence is off/);
        pr('presence is off, subscribed', '42',
           [sub('proff:a'), ask('proff:a')], 108);
        pr('off before the permission', '42', ask('none:a'), 108);
        pr('unknown namespace', '42', ask('other:a'), 102);
        pr('bad name', '42', ask('pr:é'), 107);
    }


    /* client_insecure */

    const insecure = (name, user, commands, want, why) =>
        row('insecure', name, user, commands, want, why);

    for (const user of [undefined, '42', '']) {
        const who = user === undefined ? 'nobody' : `user "${user}"`;

        insecure(`${who} subscribes`, user, sub('closed:a'), OK);
        insecure(`${who} publishes`, user, pub('closed:a'), DONE);
        insecure(`${who} sees presence`, user,
                 { presence: { channel: 'pr:none' } },
                 { presence: { presence: {} } });
        insecure(`${who} sees presence_stats`, user,
                 { presence_stats: { channel: 'pr:none' } },
                 { presence_stats: { num_clients: 0, num_users: 0 } });
        insecure(`${who} and a presence that is off`, user,
                 { presence: { channel: 'closed:a' } }, 108);
        insecure(`${who} and a private channel`, user, sub('$closed:a'), 103,
                 /private/);
        insecure(`${who} and a user-limited channel`, user, sub('lim:#7'),
                 OK);
        insecure(`${who} and an unknown namespace`, user, sub('x:a'), 102);
        insecure(`${who} and a bad name`, user, sub('closed:é'), 107);
        insecure(`${who} and a wrong token`, user,
                 sub('closed:a', { token: 'x' }), 103);
    }

    s.it('insecure: an expiry is dropped', async () => {
        const c = await Client.connect(url('insecure'),
            { connect: connectBody('42', { exp: now() + 100 }) });

        assert.equal(c.connectResult.expires, undefined);
        assert.equal(c.connectResult.ttl, undefined);

        for (const exp of [now() + 100, now() + 1]) {
            assert.deepEqual(await outcome(c, {
                refresh: connectBody('42', { exp }) }), { refresh: {} });
        }

        c.terminate();
    });

    const connecting = (hub, name, body, want, why, options) =>
        s.it(`${hub}: ${name}`, async () => {
            const c = await Client.open(url(hub), options);
            const got = await outcome(c, { connect: body });

            if (typeof want === 'number') {
                assert.equal(got, want);

                /* which client it was, only the log knows */
                await until('a log line', () => new RegExp(
                    `centrifugo client [-0-9a-f]{36} of user .* (failed|`
                    + `disconnected) with ${want} "[^"]*": .*`
                    + (why ? why.source : '')).test(server.log()));
            } else if (want) {
                want(got.connect ?? assert.fail(JSON.stringify(got)), c);
            }

            c.terminate();
        });

    connecting('insecure', 'a wrong token', { token: 'x' }, 3500);


    /* what a client asks for in connect */

    const subs = (...list) => ({
        subs: Object.fromEntries(list.map((ch) => [ch, {}])) });
    const has = (...list) => (r) => assert.deepEqual(
        Object.keys(r.subs ?? {}).sort(), list.sort());

    connecting('names', 'connect: allowed channels are taken',
        { ...connectBody('42'), ...subs('sub:a', 'b', 'lim:#42') },
        has('sub:a', 'b', 'lim:#42'));
    connecting('names', 'connect: others are passed over',
        { ...connectBody('42'),
          ...subs('sub:a', 'closed:a', '$sub:a', 'lim:#7', 'sub:é', '',
                  'rx:1', 'onlya:a') },
        has('sub:a'));
    connecting('names', 'connect: anonymous',
        subs('suba:a', 'sub:a', 'lim:#42'), has('suba:a'));
    connecting('names', 'connect: the quirk of the empty list is for'
        + ' subscribe alone', subs('suba:a', 'limonly:#'), has('suba:a'));
    connecting('names', 'connect: unknown namespace',
        { ...connectBody('42'), ...subs('sub:a', 'other:a') }, 3501,
        /unknown namespace/);
    connecting('names', 'connect: unknown namespace of a private channel',
        { ...connectBody('42'), ...subs('$other:a') }, 3501);
    connecting('insecure', 'connect: all but private ones',
        subs('closed:a', 'lim:#7', '$closed:a', 'x'),
        has('closed:a', 'lim:#7', 'x'));
    connecting('names', 'connect: a token in it opens nothing',
        { ...connectBody('42'), subs: { '$sub:a': {
            token: subToken('42', '$sub:a') } } }, has());

    connecting('variable?user=42', 'connect: who NGINX found may ask',
        subs('a'), has('a'));
    connecting('variable', 'connect: who has a token may ask',
        { ...connectBody('42'), ...subs('a') }, has('a'));

    s.it('names: connect: channels asked for are server-side', async () => {
        const ch = fresh('sub:');
        const c = await Client.connect(url('names'),
            { connect: { ...connectBody('42'), ...subs(ch) } });

        assert.equal(await outcome(c, sub(ch)), 105);
        await apiOf(server, { location: '/api/names' }).publish(ch, 1);
        assert.deepEqual(await c.json(),
                         { push: { channel: ch, pub: { data: 1 } } });
        c.terminate();
    });


    /* limits */

    connecting('limit', 'channels of a token up to channel_limit',
        connectBody('42', { channels: ['a', 'b'] }), has('a', 'b'));
    connecting('limit', 'channels of a token over channel_limit',
        connectBody('42', { channels: ['a', 'b', 'c'] }), 3505);
    connecting('limit', 'one channel three times',
        connectBody('42', { channels: ['a', 'a', 'a'] }), has('a'));
    connecting('limit', 'subs of a token over channel_limit',
        connectBody('42', { subs: { a: {}, b: {}, c: {} } }), 3505);
    connecting('limit', 'asked for over channel_limit',
        { ...connectBody('42'), ...subs('a', 'b', 'c') }, 3505);
    connecting('limit', 'asked for and of a token over channel_limit',
        { ...connectBody('42', { channels: ['a', 'b'] }), ...subs('c') },
        3505);
    connecting('limit', 'asked for and of a token, the same',
        { ...connectBody('42', { channels: ['a', 'b'] }), ...subs('a') },
        has('a', 'b'));
    connecting('limit', 'asked for, but not allowed, does not count',
        { ...connectBody('42'), ...subs('a', 'b', 'closed:c', '$d') },
        has('a', 'b'));
    connecting('personalns', 'the personal channel counts too',
        connectBody('42', { channels: ['a', 'b'] }), 3505);
    connecting('personalns', 'the personal channel within the limit',
        connectBody('42', { channels: ['a'] }), has('a', 'user:#42'));

    s.it('limit: server-side ones count for subscribe', async () => {
        const c = await Client.connect(url('limit'),
            { connect: connectBody('42', { channels: ['a', 'b'] }) });

        assert.equal(await outcome(c, sub('c')), 106);
        await refused(c, 106);
        c.terminate();
    });

    s.it('users: user_connection_limit over two workers', async () => {
        const user = fresh('u');
        const open = await onAllWorkers(pids, 3,
                                        () => Client.open(url('users')));
        const of = (pid) => open.filter((c) => c.worker === pid);
        const [a, b] = pids.map(of);
        const connect = { connect: connectBody(user) };

        assert.ok((await a[0].call(connect)).connect);
        assert.ok((await b[0].call(connect)).connect);
        assert.equal(await outcome(a[1], connect), 3504);
        assert.equal(await outcome(b[1], connect), 3504);

        /* another user and nobody are not touched by it */
        const other = await Client.connect(url('users'),
                                           { connect: connectBody('x' + user) });
        const anon = [];

        for (let i = 0; i < 5; i++) {
            anon.push(await Client.connect(url('users')));
            anon.push(await Client.connect(url('users'),
                                           { connect: connectBody('') }));
        }

        await a[0].close();
        await until('room for one more', async () => {
            const c = await Client.open(url('users'));
            const got = await outcome(c, connect);

            return got !== 3504;
        });

        assert.equal(await outcome(b[2], connect), 3504);
        assert.match(server.log(), new RegExp(`of user "${user}" disconnected`
            + ' with 3504 "connection limit": user_connection_limit'));

        for (const c of [...open, other, ...anon]) {
            c.terminate();
        }
    });

    const status = async (hub, options) => {
        try {
            const c = await Client.open(url(hub), options);

            return c;
        } catch (e) {
            return Number(/response: (\d+)/.exec(e.message)?.[1])
                || assert.fail(e);
        }
    };

    s.it('both: an address over its limit uses up nobody\'s rate', async () => {
        const c = await status('both');

        for (let i = 0; i < 20; i++) {
            assert.equal(await status('both'), 503);
        }

        c.terminate();

        /* at once: no second for new connections has passed */

        await until('the address to be free', async () =>
            typeof await status('both') === 'object', 400, 5);
        assert.doesNotMatch(server.log(), /hub "both": connection_rate_limit/);
    });

    s.it('address: connection_limit_per_address', async () => {
        const list = [];

        for (let i = 0; i < 3; i++) {
            list.push(await status('address'));
            assert.equal(typeof list[i], 'object');
        }

        for (let i = 0; i < 8; i++) {
            assert.equal(await status('address'), 503);
        }

        assert.match(server.log(), /no more connections from 127\.0\.0\.1.*connection_limit_per_address/);

        list[0].terminate();
        await until('room for one more', async () => {
            const c = await status('address');

            return typeof c === 'object' && list.push(c);
        });
        assert.equal(await status('address'), 503);

        /* a header does not make another address of it */
        assert.equal(await status('address', { headers: {
            'X-Forwarded-For': '1.2.3.4', 'X-Real-IP': '1.2.3.4' } }), 503);

        for (const c of list) {
            c.terminate();
        }
    });

    s.it('rate: connection_rate_limit over two workers', async () => {
        const burst = () => Promise.all(
            Array.from({ length: 30 }, () => status('rate')));
        const count = (list) => list.filter(
            (c) => typeof c === 'object').length;

        /* in one second, or over the end of one */
        const first = await burst();
        const n = count(first);

        assert.ok(n >= 5 && n <= 11, `${n} of 30`);
        assert.ok(first.includes(503));

        await sleep(2200);

        const m = count(await burst());

        assert.ok(m >= 5 && m <= 11, `${m} of 30 two seconds later`);
        assert.match(server.log(), /connection_rate_limit is exceeded/);
    });


    /* anonymous users */

    connecting('names', 'nobody is let in', {}, has());
    connecting('rx0', 'nobody is not let in', {}, 3501, /no token/);
    connecting('rx0', 'an empty token is none', { token: '' }, 3501);
    connecting('rx0', 'a token without a user', connectBody(''), has());
    connecting('strict', 'a token with a user', connectBody('42'), has());
    connecting('strict', 'a token with an empty user', connectBody(''), 3507,
               /without a user/);
    connecting('strict', 'a token without a user', { token: jwt({}) }, 3507);
    connecting('strict', 'no token', {}, 3501);
    connecting('strictanon', 'no token', {}, has());
    connecting('strictanon', 'a token without a user', connectBody(''), 3507);
    connecting('names', 'a wrong token is not nobody\'s', { token: 'x' },
               3500);


    /* personal channels */

    connecting('personal', 'of a user', connectBody('42'), has('#42'));
    connecting('personal', 'of a user whose id makes it one of a namespace',
               connectBody('a:b'), 102, /unknown namespace/);
    connecting('personalns', 'of a user whose id has a boundary',
               connectBody('a:b'), has('user:#a:b'));
    connecting('personal', 'of nobody', {}, has());
    connecting('personal', 'of an anonymous token', connectBody(''), has());
    connecting('personal', 'of an id that names a namespace',
               connectBody('google:42'), 102,
               /personal_channel_namespace is needed/);
    connecting('personal', 'of an id that names an empty namespace',
               connectBody(':42'), 102);
    connecting('personalns', 'of an id with a colon',
               connectBody('google:42'), has('user:#google:42'));
    connecting('personalns', 'in a namespace', connectBody('42'),
               has('user:#42'));
    connecting('personalns', 'and its own name in the token',
               connectBody('42', { channels: ['user:#42'] }),
               has('user:#42'));

    s.it('personalns: gets what is published, on all workers', async () => {
        const user = fresh('p');
        const list = await onAllWorkers(pids, 1, () => Client.connect(
            url('personalns'), { connect: connectBody(user) }));

        await apiOf(server, { location: '/api/personalns' })
            .publish(`user:#${user}`, { for: user });

        for (const c of list) {
            assert.deepEqual(await c.json(), { push: {
                channel: `user:#${user}`, pub: { data: { for: user } } } });
        }

        const r = await list[0].call(
            { presence_stats: { channel: `user:#${user}` } });

        assert.deepEqual(r.presence_stats,
                         { num_clients: list.length, num_users: 1 });
        list.forEach((c) => c.terminate());
    });

    s.it('single: of four at the same time one stays', async () => {
        for (let round = 0; round < 20; round++) {
            const user = fresh('t');
            const list = await Promise.all(Array.from({ length: 4 },
                () => Client.open(url('single'))));

            /* who is ended while it connects has no reply */
            await Promise.all(list.map((c) => c.call(
                { connect: connectBody(user) }).catch(() => {})));
            await sleep(50);
            await Promise.all(list.map((c) => c.end || c.settle()
                .catch(() => {})));

            const left = list.filter((c) => !c.end);

            assert.equal(left.length, 1, `round ${round}`);
            assert.ok(list.every((c) => !c.end || c.end.code === 3504));
            left[0].terminate();
        }
    });

    s.it('single: the older connection ends, on either worker', async () => {
        const user = fresh('s');
        const open = await onAllWorkers(pids, 2,
                                        () => Client.open(url('single')));
        const order = pids.map((p) => open.filter((c) => c.worker === p));
        const list = [order[0][0], order[1][0], order[1][1], order[0][1]];
        const bystander = await Client.connect(url('single'),
            { connect: connectBody('x' + user) });
        const nobody = [await Client.connect(url('single')),
                        await Client.connect(url('single'))];
        let last;

        for (const c of list) {
            const r = await c.call({ connect: connectBody(user) });

            assert.deepEqual(Object.keys(r.connect.subs), [`user:#${user}`]);

            if (last) {
                const end = await last.untilClosed();

                assert.deepEqual([end.code, end.reason],
                                 [3504, 'connection limit']);
                await logged(server, last.uuid, 3504);
            }

            last = c;
            last.uuid = r.connect.client;
        }

        await last.settle();

        for (const c of [bystander, ...nobody]) {
            assert.deepEqual(await c.settle(), []);
        }

        [...open, bystander, ...nobody].forEach((c) => c.terminate());
    });


    /* who NGINX says it is */

    async function whoami(c) {
        const channel = fresh('me');

        await c.subscribe(channel);
        await c.call({ publish: { channel, data: 1 } });

        const { push } = await c.json();
        const { client, ...info } = push.pub.info;

        assert.equal(client, c.id);
        return info;
    }

    const who = (name, uri, options, want, why) => s.it(`user: ${name}`,
        async () => {
            const c = await status(uri, options).catch((e) => e);

            if (typeof c === 'number') {
                assert.equal(c, want);
                return;
            }

            const got = await outcome(c, { connect: options.connect ?? {} });

            if (typeof got === 'number') {
                assert.equal(got, want);
                return;
            }

            c.id = got.connect.client;
            assert.deepEqual(await whoami(c), want);
            c.terminate();
        });

    who('of an argument', 'variable?user=42', {}, { user: '42' });
    who('none', 'variable', {}, 3501);
    who('empty', 'variable?user=', {}, 3501);
    who('none, where nobody is let in', 'fallback', {}, { user: '' });
    who('none, but a token', 'variable', { connect: connectBody('7') },
        { user: '7' });
    who('and a token of the same user', 'variable?user=42',
        { connect: connectBody('42') }, { user: '42' });
    who('and a token of another user', 'variable?user=42',
        { connect: connectBody('7') }, 3500);
    who('and a token of nobody', 'variable?user=42',
        { connect: connectBody('') }, 3500);
    who('and a wrong token', 'variable?user=42', { connect: { token: 'x' } },
        3500);
    const info = (json) => ({ headers: { 'X-Info': json } });

    who('with info', 'variable?user=42', info('{"a":[1]}'),
        { user: '42', conn_info: { a: [1] } });
    who('with info that is a number', 'variable?user=42', info('7'),
        { user: '42', conn_info: 7 });
    who('with info that is empty', 'variable?user=42', info(''),
        { user: '42' });
    who('with info that is not JSON', 'variable?user=42', info('hello'), 500);
    who('with info that is more than JSON', 'variable?user=42', info('{}{}'),
        500);
    who('with info that ends too early', 'variable?user=42', info('{"a":'),
        500);
    who('with info, and a token\'s', 'variable?user=42',
        { ...info('{"a":1}'), connect: connectBody('42', { info: { b: 2 } }) },
        { user: '42', conn_info: { b: 2 } });
    who('with info, and a token without', 'variable?user=42',
        { ...info('{"a":1}'), connect: connectBody('42') },
        { user: '42', conn_info: { a: 1 } });
    who('the longest', `variable?user=${'u'.repeat(1024)}`, {},
        { user: 'u'.repeat(1024) });
    who('too long', `variable?user=${'u'.repeat(1025)}`, {}, 500);

    s.it('user: a refresh without info leaves what NGINX said', async () => {
        const c = await Client.connect(url('variable?user=42'),
            { ...info('{"a":1}'), connect: connectBody('42',
                { exp: now() + 100 }) });

        assert.deepEqual(await whoami(c), { user: '42', conn_info: { a: 1 } });
        await c.call({ refresh: connectBody('42', { exp: now() + 200 }) });
        assert.deepEqual(await whoami(c), { user: '42', conn_info: { a: 1 } });
        c.terminate();
    });

    s.it('user: a refresh of one that came without a token', async () => {
        const c = await Client.connect(url('variable?user=42'));

        assert.equal(await outcome(c, { refresh: connectBody('7') }), 3500);
        await refused(c, 3500);
    });

    who('info and nobody', 'variable', info('{"a":1}'), 3501);
    who('of a location, from a ticket', 'ticket',
        { headers: { 'X-Ticket': 't42' } },
        { user: '42', conn_info: { from: 'ticket' } });
    who('of other bytes than ASCII', 'ticket',
        { headers: { 'X-Ticket': 'raw\xc3\xa9' } }, { user: '\xe9' });
    who('of bytes that are not UTF-8', 'ticket',
        { headers: { 'X-Ticket': 'raw\xff' } }, 500);
    who('of a location: the hub\'s is not looked at', 'ticket?user=42', {},
        3501);
    who('of a location: an unknown ticket', 'ticket',
        { headers: { 'X-Ticket': 'other' } }, 3501);
    who('of the location around', 'outer/inner?user=42', info('1'),
        { user: '42', conn_info: 1 });
    who('of a location within another', 'outer/own?user=42',
        { headers: { 'X-Own': '7', 'X-Info': '1' } },
        { user: '7', conn_info: 1 });
    who('of other than ASCII', 'outer/own', { headers: { 'X-Own':
        Buffer.from('Jürgen').toString('latin1') } }, { user: 'Jürgen' });
    who('that is not UTF-8', 'outer/own',
        { headers: { 'X-Own': 'Jürgen' } }, 500);
    who('in a location with an if that is true', 'if?user=42&if=1', {},
        { user: '42' });
    who('in a location with an if that is not', 'if?user=42', {},
        { user: '42' });

    s.it('the API in a location with limit_except', async () => {
        const api = apiOf(server, { location: '/except' });

        assert.deepEqual(await api.publish('sub:a', 1), {});
        api.close();
    });

    who('of a password', 'basic',
        { headers: { Authorization: 'Basic '
                     + Buffer.from('ann:pw').toString('base64') } },
        { user: 'ann' });
    who('of a wrong password', 'basic',
        { headers: { Authorization: 'Basic '
                     + Buffer.from('ann:no').toString('base64') } }, 401);
    who('without a password', 'basic', {}, 401);

    s.it('user: the log says what was wrong with info', async () => {
        await until('a log line', () =>
            /connection_info for hub "variable" is not JSON/
                .test(server.log()));
    });

    const forged = {
        'X-User': '42', 'X-User-Id': '42', 'X-Remote-User': '42',
        'Remote-User': '42', 'X-Forwarded-User': '42', 'User': '42',
        'X-Centrifugo-User-Id': '42', 'Ticket-User': '42',
        'X-Forwarded-For': '42', 'Authorization': 'Basic '
            + Buffer.from('42:').toString('base64'),
    };

    who('forged headers at a hub without', 'limit', { headers: forged },
        { user: '' });
    who('forged headers and a token', 'limit',
        { headers: forged, connect: connectBody('7') }, { user: '7' });
    who('forged headers at a hub with an argument', 'fallback',
        { headers: forged }, { user: '' });
    who('forged headers at a ticket', 'ticket', { headers: forged }, 3501);
    who('forged headers beside the ticket', 'ticket',
        { headers: { ...forged, 'X-Ticket': 't42' } },
        { user: '42', conn_info: { from: 'ticket' } });
    who('forged headers of the command', 'fallback',
        { connect: { headers: { ...forged, 'X-Ticket': 't42' } } },
        { user: '' });
    who('forged headers of the command at a ticket', 'ticket',
        { connect: { headers: { 'X-Ticket': 't42' } } }, 3501);
    who('forged arguments at a hub without', 'rx0?user=42', {}, 3501);
    who('forged names of variables', 'ticket?ticket_user=42', {}, 3501);
});
