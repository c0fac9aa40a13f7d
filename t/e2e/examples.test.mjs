/*
 * The examples as users copy them: tokens made in each language, the script
 * that makes and checks tokens, and the configurations.
 */

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { apiOf } from './lib/api.mjs';
import { Client } from './lib/client.mjs';
import { jwt, now } from './lib/jwt.mjs';
import { MODULE, NGINX, Server } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)),
                          '../..');
const TOKENS = path.join(ROOT, 'examples/tokens');
const SECRET = 'a secret, "quoted" + more';
const CHANNEL = '$team:zürich/7';

const pemOf = (type, options) => {
    const { publicKey, privateKey } = crypto.generateKeyPairSync(type,
                                                                 options);

    return {
        public: publicKey.export({ type: 'spki', format: 'pem' }),
        private: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    };
};

const works = (command, ...args) => {
    const { error, status } = spawnSync(command, args, { timeout: 20000 });

    return !error && status === 0;
};

const run = (command, ...args) => execFileSync(command, args, {
    encoding: 'utf8', cwd: TOKENS, timeout: 20000,
    env: { ...process.env, CENTRIFUGO_SECRET: SECRET,
           PYTHONDONTWRITEBYTECODE: '1' },
});

/* One of Debian's packages may be known to Debian's python3 only. */

const pyjwt = ['python3', '/usr/bin/python3']
    .find((p) => works(p, '-c', 'import jwt'));

const LANGUAGES = [
    ['Python', 'python3', 'centrifugo_tokens.py', true],
    ['PyJWT', pyjwt, 'centrifugo_tokens_pyjwt.py', pyjwt],
    ['PHP', 'php', 'token.php', works('php', '-v')],
    ['Ruby', 'ruby', 'token.rb', works('ruby', '-ropenssl', '-e', '1')],
    ['Node.js', 'node', 'token.mjs', true],
];

const tool = (...args) => {
    const { status, stdout, stderr } = spawnSync('node',
        [path.join(TOKENS, 'jwt.mjs'), ...args],
        { encoding: 'utf8', timeout: 20000,
          env: { ...process.env, CENTRIFUGO_SECRET: '' } });

    return { status, stdout, stderr };
};

const made = (...args) => {
    const { status, stdout, stderr } = tool('sign', ...args);

    assert.equal(status, 0, stderr);
    return stdout.trim();
};

const wrong = (...args) => {
    const { status, stdout, stderr } = tool('check', ...args);

    assert.equal(stderr, '');
    assert.equal(status, / WRONG:|^WRONG:/m.test(stdout) ? 1 : 0, stdout);
    assert.match(stdout, status ? /\nrefused\n$/ : /\nok\n$/);

    return stdout.split('\n').filter((l) => l.startsWith('WRONG: '))
        .map((l) => l.slice(7));
};


/* A configuration of examples/, with ports and files of a test. */

class Example extends Server {
    constructor(name, files) {
        super({ stock: false });
        this.name = name;
        this.files = files;
    }

    conf() {
        const p = this.prefix;
        const modules = /--modules-path=(\S+)/.exec(
            spawnSync(NGINX, ['-V'], { encoding: 'utf8' }).stderr)[1];
        const dir = path.join(ROOT, 'examples', this.name);

        for (const d of ['modules', 'logs']) {
            fs.mkdirSync(path.join(p, d));
        }

        fs.symlinkSync(MODULE, `${p}/modules/ngx_centrifugo_module.so`);
        fs.symlinkSync(`${modules}/ngx_http_js_module.so`,
                       `${p}/modules/ngx_http_js_module.so`);

        if (fs.existsSync(`${dir}/js`)) {
            fs.cpSync(`${dir}/js`, `${p}/js`, { recursive: true });
        }

        for (const [name, text] of Object.entries(this.files)) {
            fs.writeFileSync(path.join(p, name), text);
        }

        return fs.readFileSync(`${dir}/nginx.conf`, 'utf8')
            .replace(/^worker_processes auto;/m,
                     'daemon off; worker_processes 2;')
            .replace(/^error_log .*/m, `error_log ${this.logFile} info;`)
            .replace(/^pid .*/m, `pid ${this.pidFile};`)
            .replace(/^http \{/m, `http { access_log off;`
                + ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
                    .map((x) => ` ${x}_temp_path ${p}/${x};`).join(''))
            .replace(/^ {8}listen 443 ssl;/m,
                     `listen 127.0.0.1:${this.port} reuseport;
                      add_header X-Worker $pid always;
                      location = /pid { return 200 $pid; }`)
            .replace('http://127.0.0.1:3000/whoami',
                     `http://127.0.0.1:${this.port}/whoami`)
            .replace(/(location = \/_login \{)/,
                     `location = /whoami {
                          if ($cookie_id = "") { return 401; }
                          add_header X-User $cookie_id;
                          add_header X-Info '{"name":"Ann"}';
                          return 200;
                      } $1`);
    }
}


suite('examples', { timeout: 180000 }, async (s) => {
    const rsa = pemOf('rsa', { modulusLength: 2048 });
    const ec = pemOf('ec', { namedCurve: 'P-256' });

    const server = await s.start({
        hub: `api_insecure on; token_hmac_secret_key '${SECRET}';
              token_rsa_public_key "${rsa.public}";
              token_ecdsa_public_key "${ec.public}";
              namespace team { channel_regex .; presence on;
                               allow_presence_for_subscriber on; }`,
    });

    /* What the module makes of both tokens of a user. */

    const accepted = async (user, token, channel, subToken) => {
        const c = await Client.connect(server.ws(), { connect: { token } });
        const { subscribe, error } = await c.call({
            subscribe: { channel, token: subToken } });

        assert.ok(subscribe, JSON.stringify(error));

        const { presence: { presence } } = await c.call({
            presence: { channel } });

        c.terminate();
        assert.equal(presence[c.id].user, user);

        return { connect: c.connectResult, subscribe,
                 info: presence[c.id].conn_info };
    };

    for (const [name, command, file, there] of LANGUAGES) {
        await s.serial(`tokens made in ${name}`, async (t) => {
            if (!there) {
                t.skip(`${name} is not installed`);
                return;
            }

            const lines = run(command, file, '42', CHANNEL)
                .trim().split('\n');

            assert.equal(lines.length, 2);

            const r = await accepted('42', lines[0], CHANNEL, lines[1]);

            assert.deepEqual(r.info, { name: 'Zoë' });

            for (const { expires, ttl } of [r.connect, r.subscribe]) {
                assert.equal(expires, true);
                assert.ok(ttl > 580 && ttl <= 600, `${ttl}`);
            }

            for (const token of lines) {
                assert.deepEqual(wrong('--secret', SECRET, token), []);
            }
        });
    }

    const keys = fs.mkdtempSync('/tmp/ngx-centrifugo-keys-');
    const file = (name, text) => {
        fs.writeFileSync(path.join(keys, name), text);
        return path.join(keys, name);
    };
    const files = {
        rsa: file('rsa', rsa.private), rsaPublic: file('rsa.pub', rsa.public),
        ec: file('ec', ec.private), ecPublic: file('ec.pub', ec.public),
    };

    for (const [alg, sign, check] of [
        ['HS256', ['--secret', SECRET]], ['HS384', ['--secret', SECRET]],
        ['HS512', ['--secret', SECRET]],
        ['RS256', ['--key', files.rsa], ['--key', files.rsaPublic]],
        ['RS512', ['--key', files.rsa], ['--key', files.rsaPublic]],
        ['ES256', ['--key', files.ec], ['--key', files.ecPublic]]])
    {
        await s.serial(`jwt.mjs: ${alg}`, async () => {
            const args = [...sign, '--alg', alg, '--user', '4711'];
            const token = made(...args, '--ttl', '60',
                               '--info', '{"a":[1]}');
            const sub = made(...args, '--channel', CHANNEL, '--data', '7');
            const r = await accepted('4711', token, CHANNEL, sub);

            assert.deepEqual(r.info, { a: [1] });
            assert.equal(r.subscribe.data, 7);
            assert.equal(r.subscribe.expires, undefined);

            const key = check || sign;

            assert.deepEqual(wrong(...key, '--user', '4711', token), []);
            assert.deepEqual(wrong(...key, '--channel', CHANNEL, sub), []);
            assert.deepEqual(wrong(token), []);

            const [h, c, sig] = token.split('.');
            const other = (sig[0] === 'A' ? 'B' : 'A') + sig.slice(1);

            assert.match(wrong(...key, `${h}.${c}.${other}`)[0],
                         /^the signature is wrong/);
        });
    }

    await s.serial('jwt.mjs check: what is wrong', async () => {
        const k = ['--secret', SECRET];
        const cases = [
            [{ sub: 42 }, /^sub is 42, not a string/],
            [{ sub: '1', exp: now() - 60 }, /^it expired at .*, 6\d s ago/],
            [{ sub: '1', exp: (now() + 60) * 1000 }, /^exp is in milliseconds/],
            [{ sub: '1', exp: 'soon' }, /^exp is "soon", not a time/],
            [{ sub: '1', nbf: now() + 60 }, /^it is not valid before/],
            [{ sub: '1', expire_at: now() - 5 }, /^expire_at, .*, is over/],
            [{ sub: '1', chanels: ['a'] }, /"chanels": did you mean "channels"/],
            [{ sub: '1', expireAt: 1 }, /"expireAt": did you mean "expire_at"/],
            [{ sub: '1', channels: 'a' }, /^channels is "a", not a list/],
            [{ sub: '1', subs: ['a'] }, /^subs is \["a"\], not/],
            [{ sub: '1', subs: { a: { overide: {} } } },
             /"overide": did you mean "override"/],
            [{ sub: '1', subs: { a: { override: { presence: true } } } },
             /^presence is true, not \{"value":true\}/],
            [{ sub: '1', b64info: 'x' }, /^b64info is not base64 of JSON/],
            [{ sub: '1', meta: 1 }, /^meta is 1, not an object/],
            [{ sub: 'u'.repeat(1025) }, /^sub is longer than 1024 bytes/],
            [{ sub: '1', aud: 7 }, /^aud is 7, not a string or a list/],
        ];

        for (const [claims, like] of cases) {
            const list = wrong(...k, jwt(claims, SECRET));

            assert.equal(list.length, 1, JSON.stringify([claims, list]));
            assert.match(list[0], like);
        }

        for (const claims of [{}, { sub: null }, { exp: `${now() + 9}` },
                              { sub: '1', subs: { a: null, b: {} } },
                              { sub: '1', iat: 1, jti: 'x', other: 1 }])
        {
            assert.deepEqual(wrong(...k, jwt(claims, SECRET)), []);
        }

        const sub = jwt({ sub: '1', channel: '$a' }, SECRET);

        assert.match(wrong(...k, '--kind', 'connection', sub)[0],
                     /can not be used to connect/);
        assert.match(wrong(...k, '--kind', 'subscription',
                           jwt({ sub: '1' }, SECRET))[0],
                     /needs the claim channel/);
        assert.match(wrong(...k, '--channel', '$b', sub)[0],
                     /^channel is "\$a", not "\$b"/);
        assert.match(wrong(...k, '--user', '2', sub)[0], /^sub is "1", not/);
        assert.match(wrong(...k, '--aud', 'a', sub)[0], /^aud is null, not/);
        assert.match(wrong(...k, jwt({}, SECRET, { header: { crit: [] } }))[0],
                     /^the header has crit/);
        assert.match(wrong(...k, jwt({}, SECRET, { alg: 'none' }))[0],
                     /^alg is "none", the key is for HS256/);
        assert.match(wrong('--key', files.rsaPublic, jwt({}, SECRET))[0],
                     /^alg is "HS256", the key is for RS256/);

        assert.match(tool('check', 'abc').stderr, /^not a token: .* 1 parts/);
        assert.match(tool('sign', '--user', '1').stderr, /^no key/);
        assert.match(tool('sign', '--key', keys).stderr, /^--key /);
        assert.match(tool('sign', '--secret', 's', '--ttl', 'x').stderr,
                     /^--ttl x: a number/);
        assert.match(tool('sing').stderr, /^usage: /);
        assert.match(tool('sign', '--usr', '1').stderr, /--usr/);
    });

    const certificate = {};

    await s.serial('examples/channels', async () => {
        execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt',
            'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj',
            '/CN=localhost', '-keyout', `${keys}/key`, '-out', `${keys}/crt`],
            { stdio: 'ignore' });
        certificate['example.com.key'] = fs.readFileSync(`${keys}/key`);
        certificate['example.com.crt'] = fs.readFileSync(`${keys}/crt`);

        const example = new Example('channels', {
            ...certificate,
            'secrets.conf': 'token_hmac_secret_key s; api_key k;',
        });

        await example.start();

        const open = (sub) => Client.connect(example.ws(), {
            connect: { token: jwt({ sub }, 's') } });
        const a = await open('42');
        const b = await open('43');
        const code = async (c, command) => {
            const { error } = await c.call(command);

            return error ? error.code : 0;
        };
        const sub = (c, channel, token) => code(c, {
            subscribe: { channel, token } });
        const pub = (c, channel, data = {}) => code(c, {
            publish: { channel, data } });
        const who = (c, channel) => code(c, { presence: { channel } });

        assert.deepEqual(Object.keys(a.connectResult.subs), ['personal:#42']);
        assert.equal(await sub(b, 'personal:#42'), 103);
        assert.equal(await pub(b, 'personal:#42'), 103);

        assert.equal(await sub(a, 'news:all'), 0);
        assert.equal(await pub(a, 'news:all'), 103);
        assert.equal(await who(a, 'news:all'), 108);

        assert.equal(await pub(a, 'chat:lobby'), 103);
        assert.equal(await who(a, 'chat:lobby'), 103);
        assert.equal(await sub(a, 'chat:lobby'), 0);
        assert.equal(await sub(a, 'chat:Lobby'), 107);
        assert.equal(await sub(a, 'chat:lobby'), 105);
        assert.equal(await pub(a, 'chat:lobby', 'text'), 107);
        assert.equal(await pub(a, 'chat:lobby'), 0);
        assert.equal(await who(a, 'chat:lobby'), 0);
        assert.equal(await sub(b, 'chat:lobby'), 0);
        assert.equal(await sub(b, 'other:x'), 102);
        assert.equal(await sub(b, 'x'), 103);

        const token = (sub_, channel) => jwt({ sub: sub_, channel }, 's');

        assert.equal(await sub(a, 'team:1'), 103);
        assert.equal(await sub(a, '$team:1'), 103);
        assert.equal(await sub(a, '$team:1', token('42', '$team:1')), 0);
        assert.equal(await sub(a, 'team:1', token('42', 'team:1')), 0);
        assert.equal(await pub(a, 'team:1'), 0);
        assert.equal(await who(a, '$team:1'), 0);

        assert.equal(await sub(a, 'dialog:#42,43'), 0);
        assert.equal(await sub(b, 'dialog:#42,43'), 0);
        assert.equal(await sub(b, 'dialog:#42,44'), 103);
        assert.equal(await pub(b, 'dialog:#42,43'), 0);
        assert.equal(await pub(b, 'dialog:#42,44'), 103);

        const api = apiOf(example, { key: 'k' });

        await a.settle();
        await api.publish('personal:#42', 1);
        assert.deepEqual((await a.json()).push,
                         { channel: 'personal:#42', pub: { data: 1 } });

        const anonymous = await Client.open(example.ws());

        anonymous.send({ id: 1, connect: {} });
        assert.equal((await anonymous.untilClosed()).code, 3501);

        api.close();
        a.terminate();
        b.terminate();
        await example.finish();
    });

    await s.serial('examples/history', async () => {
        const example = new Example('history', {
            ...certificate,
            'secrets.conf': 'token_hmac_secret_key s; api_key k;',
        });

        await example.start();

        const api = apiOf(example, { key: 'k' });
        const publish = (channel, data, more = {}) => api.call('publish', {
            channel, data, ...more });
        const open = (connect) => Client.connect(example.ws(), { connect });
        const ann = await open({ token: jwt({ sub: '42' }, 's') });
        const bob = await open({ token: jwt({ sub: '43' }, 's') });
        const sub = async (c, channel, more = {}) => (await c.call({
            subscribe: { channel, ...more } })).subscribe;
        const data = (list) => list.map((p) => p.data);

        /* chat: all of it, in order, and older ones by a read */

        const first = await sub(ann, 'chat:1');

        assert.equal(first.recoverable, true);
        await ann.call({ unsubscribe: { channel: 'chat:1' } });
        await sub(bob, 'chat:1');

        for (const text of ['a', 'b', 'c']) {
            await bob.call({ publish: { channel: 'chat:1', data: text } });
        }

        const back = await sub(ann, 'chat:1', {
            recover: true, offset: first.offset, epoch: first.epoch });

        assert.equal(back.recovered, true);
        assert.deepEqual(data(back.publications), ['a', 'b', 'c']);

        const read = await ann.call({ history: {
            channel: 'chat:1', limit: 2, reverse: true } });

        assert.deepEqual(data(read.history.publications), ['c', 'b']);
        await bob.settle();

        /* price: the newest at once, then differences, by number */

        const price = { name: 'a long name '.repeat(20), price: 1 };

        await publish('price:gold', price);

        const state = await sub(bob, 'price:gold', {
            delta: 'fossil', flag: 1 });

        assert.equal(state.recovered, true);
        assert.equal(state.delta, true);
        assert.ok(state.id > 0);
        assert.deepEqual(data(state.publications), [JSON.stringify(price)]);

        for (const [n, delta] of [[2, undefined], [3, true], [4, true]]) {
            await publish('price:gold', { ...price, price: n });

            const { push } = await bob.json();

            assert.equal(push.id, state.id);
            assert.equal(push.channel, undefined);
            assert.equal(push.pub.delta, delta);
            assert.equal(push.pub.data.length < 60, delta === true);
        }

        /* goals: what the filter says, recovery for who asks for it */

        const goals = await sub(bob, 'goals:all', {
            recoverable: true, tf: { key: 'team', cmp: 'eq', val: 'red' } });

        assert.equal(goals.recoverable, true);
        await publish('goals:all', 1, { tags: { team: 'blue' } });
        await publish('goals:all', 2, { tags: { team: 'red' } });
        assert.equal((await bob.json()).push.pub.data, 2);
        assert.equal((await sub(ann, 'goals:all')).recoverable, undefined);

        /* document: a position and no recovery */

        const document = await sub(ann, 'document:7', { recover: true });

        assert.equal(document.positioned, true);
        assert.equal(document.recoverable, undefined);
        assert.equal(document.was_recovering, true);

        api.close();
        ann.terminate();
        bob.terminate();
        await example.finish();
    });

    await s.serial('examples/login', async () => {
        const example = new Example('login', {
            ...certificate,
            'clients.crt': certificate['example.com.crt'],
            passwords: 'ann:{PLAIN}pw\n',
        });

        process.env.SESSION_KEY = 'key';

        try {
            await example.start();
        } finally {
            delete process.env.SESSION_KEY;
        }

        const user = async (location, headers = {}) => {
            const c = await Client.open(example.ws(location), { headers });

            c.send({ id: 1, connect: {} });

            const text = await c.line().catch(() => null);
            const id = text && JSON.parse(text).connect.client;

            c.terminate();

            return text ? new RegExp(`client ${id} of user "(.*)" connected`)
                .exec(example.log())[1] : c.end.code;
        };

        assert.equal(await user('/app', { Cookie: 'id=42' }), '42');
        await assert.rejects(user('/app'), /401/);

        const basic = (s_) => ({
            Authorization: 'Basic ' + Buffer.from(s_).toString('base64') });

        assert.equal(await user('/tools', basic('ann:pw')), 'ann');
        await assert.rejects(user('/tools', basic('ann:px')), /401/);
        await assert.rejects(user('/devices'), /403/);

        const mac = crypto.createHmac('sha256', 'key').update('ann')
            .digest('base64url');

        assert.equal(await user('/session',
                                { Cookie: `a=b; session=ann.${mac}` }), 'ann');
        assert.equal(await user('/session',
                                { Cookie: `session=bob.${mac}` }), 3501);
        assert.equal(await user('/session'), 3501);

        await example.finish();
    });

    fs.rmSync(keys, { recursive: true, force: true });
});
