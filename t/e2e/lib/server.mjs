/*
 * Runs a stock NGINX with the module in a prefix of its own.
 */

import { spawn, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));

/*
 * TEST_NGINX_BINARY       another nginx
 * NGX_CENTRIFUGO_MODULE   another build of the module
 * NGINX_LD_PRELOAD        LD_PRELOAD for nginx alone: the libraries of a
 *                         module that was built with sanitizers
 * KEEP                    leaves the prefix of each server where it is
 */

export const NGINX = process.env.TEST_NGINX_BINARY || '/usr/sbin/nginx';
export const MODULE = path.resolve(process.env.NGX_CENTRIFUGO_MODULE
    || path.join(here, '../../../build/ngx_centrifugo_module.so'));

/* the build with late answers, kills and wipes: "make build-test" */

export const TEST_MODULE = path.resolve(process.env.NGX_CENTRIFUGO_TEST_MODULE
    || path.join(here, '../../../build/test/ngx_centrifugo_module.so'));

const BAD_LINE = new RegExp(
    '\\[(alert|emerg|crit)\\]|exited on signal|AddressSanitizer'
    + '|LeakSanitizer|UndefinedBehaviorSanitizer|runtime error:');

export const sleep = (ms) => new Promise((ok) => setTimeout(ok, ms));


/* Polls until probe() returns something true; fails after `ms`. */

export async function until(what, probe, ms = 5000, step = 20) {
    const end = Date.now() + ms;

    for ( ;; ) {
        const value = await probe();

        if (value) {
            return value;
        }

        if (Date.now() > end) {
            throw new Error(`timed out after ${ms} ms: ${what}`);
        }

        await sleep(step);
    }
}


/*
 * What still holds a connection: functions that end it, called when a suite
 * is over, also one that failed half way. release() takes one out again.
 */

export const held = new Set();

export const release = (end) => held.delete(end);

export function hold(end) {
    held.add(end);
    return end;
}


/* A rejection instead of a hang. */

export function within(ms, what, promise) {
    let timer;

    const late = new Promise((ok, fail) => {
        timer = setTimeout(
            () => fail(new Error(`timed out after ${ms} ms: ${what}`)), ms);
    });

    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}


/*
 * Ports below the range of outgoing connections: no socket of the tests can
 * take one by chance between this look and NGINX's bind().
 */

const given = new Set();

export async function freePort() {
    for ( ;; ) {
        const port = 12000 + Math.floor(Math.random() * 20000);

        if (given.has(port)) {
            continue;
        }

        const free = await new Promise((ok) => {
            const s = net.createServer();

            s.once('error', () => ok(false));
            s.listen(port, '127.0.0.1', () => s.close(() => ok(true)));
        });

        if (free) {
            given.add(port);
            return port;
        }
    }
}


function makeCertificate(prefix) {
    const key = path.join(prefix, 'tls.key');
    const crt = path.join(prefix, 'tls.crt');

    execFileSync('openssl', [
        'req', '-x509', '-newkey', 'ec', '-pkeyopt',
        'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
        '-subj', '/CN=localhost', '-addext',
        'subjectAltName=DNS:localhost,IP:127.0.0.1',
        '-keyout', key, '-out', crt,
    ], { stdio: 'ignore' });

    return { key, crt };
}


/* Nothing of a test that was cut short stays behind. */

const living = new Set();

process.on('exit', () => {
    for (const child of living) {
        child.kill('SIGTERM');
    }
});


export class Server {

    /*
     * hub        directives inside of `centrifugo_hub main {}`
     * hubs       more hubs: name -> directives
     * zone       argument of `zone` in each hub without one of its own
     * locations  more of the server block; `stock: false` leaves out the
     *            four standard locations of the hub main
     * http, main more of these blocks
     * tls, h2    listeners with a self-signed certificate
     * listen     more parameters of the plain listener; tlsListen: of TLS
     * master     `off`: one process; shutdown: worker_shutdown_timeout
     * connections  of a worker
     * module     another build of it
     * anyWorkers one worker that answers is enough: others may just die
     */
    constructor(options = {}) {
        this.o = {
            hub: '', hubs: {}, zone: '8m', locations: '', http: '', main: '',
            workers: 2, tls: false, h2: false, stock: true, listen: '', tlsListen: '',
            module: MODULE, anyWorkers: false, master: 'on',
            shutdown: '20s', connections: 4096,
            ...options,
        };
        this.allowed = [];
        this.stderr = '';
    }

    async start() {
        this.prefix = fs.mkdtempSync(
            path.join(os.tmpdir(), 'ngx-centrifugo-e2e-'));
        fs.chmodSync(this.prefix, 0o755);

        this.logFile = path.join(this.prefix, 'error.log');
        this.confFile = path.join(this.prefix, 'nginx.conf');
        this.pidFile = path.join(this.prefix, 'nginx.pid');

        this.port = await freePort();

        if (this.o.tls) {
            this.tlsPort = await freePort();
        }

        if (this.o.h2) {
            this.h2Port = await freePort();
        }

        if (this.o.tls || this.o.h2) {
            this.cert = makeCertificate(this.prefix);
        }

        this.writeConfig();
        await this.run();

        return this;
    }

    conf() {
        const o = this.o;
        const p = this.prefix;
        const hubs = { main: o.hub, ...o.hubs };

        const hubBlocks = Object.entries(hubs).map(([name, body]) => {
            const zone = /(^|[\s;])zone\s/.test(body) ? '' : `zone ${o.zone};`;
            return `centrifugo_hub ${name} { ${zone} ${body} }`;
        }).join('\n    ');

        const tls = this.cert
            ? `ssl_certificate ${this.cert.crt};
        ssl_certificate_key ${this.cert.key};` : '';

        const stock = o.stock
            ? `location = /connection/websocket { centrifugo_websocket main; }
        location /api {
            centrifugo_api main;
            client_max_body_size 4m;
        }
        location = /health { centrifugo_health main; }
        location = /metrics { centrifugo_metrics main; }` : '';

        return `
daemon off;
master_process ${o.master};
worker_processes ${o.workers};
pid ${this.pidFile};
error_log ${this.logFile} info;
load_module ${o.module};
worker_shutdown_timeout ${o.shutdown};
${o.main}
events { worker_connections ${o.connections}; }
http {
    access_log off;
    client_body_temp_path ${p}/body;
    proxy_temp_path ${p}/proxy;
    fastcgi_temp_path ${p}/fastcgi;
    uwsgi_temp_path ${p}/uwsgi;
    scgi_temp_path ${p}/scgi;
    default_type text/plain;
    keepalive_requests 1000000;
    ${hubBlocks}
    ${o.http}
    server {
        listen 127.0.0.1:${this.port} reuseport ${o.listen};
        ${o.tls ? `listen 127.0.0.1:${this.tlsPort} ssl reuseport ${o.tlsListen};` : ''}
        ${o.h2 ? `listen 127.0.0.1:${this.h2Port} ssl http2 reuseport;` : ''}
        ${tls}
        server_name localhost;
        add_header X-Worker $pid always;
        ${stock}
        location = /pid { return 200 $pid; }
        ${o.locations}
    }
}
`;
    }

    writeConfig() {
        fs.writeFileSync(this.confFile, this.conf());
    }

    async run() {
        if (!fs.existsSync(this.o.module)) {
            throw new Error(`${this.o.module} does not exist: run "make `
                + `${this.o.module === MODULE ? 'build' : 'build-test'}"`);
        }

        const env = { ...process.env };

        if (process.env.NGINX_LD_PRELOAD) {
            env.LD_PRELOAD = process.env.NGINX_LD_PRELOAD;
        }

        this.child = spawn(NGINX,
            ['-p', this.prefix, '-c', this.confFile, '-e', this.logFile],
            { stdio: ['ignore', 'ignore', 'pipe'], env });

        this.child.stderr.setEncoding('utf8');
        this.child.stderr.on('data', (s) => { this.stderr += s; });

        const child = this.child;

        living.add(child);

        this.exited = new Promise((ok) => {
            child.once('exit', (code, signal) => {
                living.delete(child);
                child.done = { code, signal };
                ok(child.done);
            });
        });

        await until('NGINX to answer from all workers', async () => {
            if (child.done) {
                throw new Error('NGINX did not start: '
                    + JSON.stringify(child.done) + '\n' + this.stderr
                    + '\n' + this.log());
            }

            const n = await this.workersSeen(20);

            return this.o.anyWorkers ? n > 0 : n === this.o.workers;
        }, 15000, 50);
    }

    /* How many workers answered when asked n times on new connections. */

    async workersSeen(n) {
        const seen = new Set();

        for (let i = 0; i < n && seen.size < this.o.workers; i++) {
            try {
                seen.add((await this.get('/pid')).body);
            } catch {
                return 0;
            }
        }

        return seen.size;
    }

    /* Sorted pids of the living workers of the running master. */

    workers() {
        const pid = this.child.pid;

        return fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
            .trim().split(/\s+/).filter(Boolean).map(Number)
            .filter((p) => {
                try {
                    return !/^State:\s+Z/m.test(
                        fs.readFileSync(`/proc/${p}/status`, 'utf8'));
                } catch {
                    return false;
                }
            })
            .sort((a, b) => a - b);
    }

    /* Private memory of all workers in bytes. */

    anonymousMemory() {
        return this.workers().reduce((sum, p) => {
            const s = fs.readFileSync(`/proc/${p}/status`, 'utf8');
            return sum + 1024 * Number(/^RssAnon:\s+(\d+)/m.exec(s)[1]);
        }, 0);
    }

    get http() {
        return `http://127.0.0.1:${this.port}`;
    }

    get https() {
        return `https://127.0.0.1:${this.tlsPort}`;
    }

    ws(location = '/connection/websocket') {
        return `ws://127.0.0.1:${this.port}${location}`;
    }

    wss(location = '/connection/websocket') {
        return `wss://127.0.0.1:${this.tlsPort}${location}`;
    }

    /*
     * One request on a connection of its own unless an agent is given.
     * Resolves with {status, headers, body}.
     */
    request(method, uri, { headers = {}, body, agent = false, tls = false,
                           timeout = 10000 } = {}) {
        return new Promise((ok, fail) => {
            const req = (tls ? https : http).request({
                host: '127.0.0.1',
                port: tls ? this.tlsPort : this.port,
                method, path: uri, headers, agent, timeout,
                rejectUnauthorized: false,
            }, (res) => {
                const parts = [];

                res.on('data', (b) => parts.push(b));
                res.on('error', fail);
                res.on('end', () => ok({
                    status: res.statusCode,
                    headers: res.headers,
                    body: Buffer.concat(parts).toString('utf8'),
                }));
            });

            req.on('timeout', () => req.destroy(
                new Error(`no answer to ${method} ${uri} in ${timeout} ms`)));
            req.on('error', fail);
            req.end(body);
        });
    }

    get(uri, options) {
        return this.request('GET', uri, options);
    }

    /* Sum over the labels of one metric, undefined if it is not there. */

    async metric(name, location = '/metrics') {
        const { status, body } = await this.get(location);

        if (status !== 200) {
            throw new Error(`${location} answered ${status}`);
        }

        const re = new RegExp(`^${name}(?:\\{[^}]*\\})? ([-+.0-9eE]+)$`, 'gm');
        let sum;

        for (const m of body.matchAll(re)) {
            sum = (sum || 0) + Number(m[1]);
        }

        return sum;
    }

    log() {
        try {
            return fs.readFileSync(this.logFile, 'utf8');
        } catch {
            return '';
        }
    }

    /* Lines a test provokes on purpose. */

    allow(regexp) {
        this.allowed.push(regexp);
    }

    badLines() {
        return (this.log() + '\n' + this.stderr).split('\n').filter(
            (line) => BAD_LINE.test(line)
                      && !this.allowed.some((re) => re.test(line)));
    }

    signal(name) {
        process.kill(this.child.pid, name);
    }

    /* Ends NGINX; one that does not end in time is an error. */

    async halt(signal = 'SIGTERM', ms = 10000) {
        if (!this.child || this.child.done) {
            return;
        }

        const old = this.workers();

        this.signal(signal);

        try {
            await within(ms, `NGINX to end after ${signal}`, this.exited);

        } catch (e) {
            for (const p of [this.child.pid, ...old]) {
                try {
                    process.kill(p, 'SIGKILL');
                } catch { /* it ended meanwhile */ }
            }

            await this.exited;
            throw e;
        }
    }

    async restart(signal) {
        await this.halt(signal);
        await this.run();
    }

    /*
     * Ends NGINX, removes its files and throws if it did not end well.
     * With KEEP=1 in the environment the prefix stays for a look at it.
     */
    async finish() {
        const wrong = [];

        if (this.child && this.child.done) {
            wrong.push('NGINX ended by itself: '
                       + JSON.stringify(this.child.done));
        }

        try {
            await this.halt();
        } catch (e) {
            wrong.push(e.message);
        }

        if (this.child && this.child.done.code !== 0 && !wrong.length) {
            wrong.push('NGINX ended with '
                       + JSON.stringify(this.child.done));
        }

        wrong.push(...this.badLines().slice(0, 20));

        if (process.env.KEEP) {
            console.error(`kept: ${this.prefix}`);
        } else if (this.prefix) {
            fs.rmSync(this.prefix, { recursive: true, force: true });
        }

        if (wrong.length) {
            throw new Error(wrong.join('\n'));
        }
    }
}
