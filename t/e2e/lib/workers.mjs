/*
 * A connection to each worker, for servers of which some worker does not
 * answer: new connections might go to that one.
 */

import http from 'node:http';

import { hold, release } from './server.mjs';


class Worker {

    constructor(server) {
        this.server = server;
        this.agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
        this.held = hold(() => this.close());
    }

    request(method, uri, options = {}) {
        return this.server.request(method, uri,
                                   { agent: this.agent, ...options });
    }

    async get(uri, options) {
        return (await this.request('GET', uri, options)).body;
    }

    async publish(channel, data) {
        const { status, body } = await this.request('POST', '/api/publish',
            { body: JSON.stringify({ channel, data }) });

        if (status !== 200 || JSON.parse(body).error) {
            throw new Error(`publish: ${status} ${body}`);
        }
    }

    /* Sum over the labels of one metric that match. */

    async metric(name, labels = '') {
        const re = new RegExp(`^${name}(?:\\{[^}]*${labels}[^}]*\\})? (\\d+)$`,
                              'gm');
        let sum;

        for (const m of (await this.get('/metrics')).matchAll(re)) {
            sum = (sum || 0) + Number(m[1]);
        }

        return sum;
    }

    close() {
        this.agent.destroy();
        release(this.held);
    }
}


/* A Map of pid -> Worker. */

export async function connections(server, pids = server.workers()) {
    const all = new Map();

    for (let i = 0; all.size < pids.length; i++) {
        if (i === 200) {
            throw new Error('200 connections did not reach every worker');
        }

        const w = new Worker(server);

        w.pid = Number(await w.get('/pid'));

        if (all.has(w.pid) || !pids.includes(w.pid)) {
            w.close();
        } else {
            all.set(w.pid, w);
        }
    }

    return all;
}
