/*
 * The server API over HTTP.
 */

import http from 'node:http';

import { hold, release } from './server.mjs';


/*
 * const api = apiOf(server, {key, location}); the methods resolve with
 * the parsed body and reject on any status but 200. Each such client has one
 * connection that it keeps.
 */
export function apiOf(server, { key, location = '/api', keep = true } = {}) {
    const agent = keep ? new http.Agent({ keepAlive: true, maxSockets: 1 })
                       : false;
    const headers = key === undefined ? {} : { 'X-API-Key': key };

    const post = async (uri, body) => {
        const res = await server.request('POST', uri, {
            headers: { ...headers, 'Content-Type': 'application/json' },
            body, agent,
        });

        if (res.status !== 200) {
            throw new Error(`POST ${uri}: ${res.status} ${res.body}`);
        }

        return res;
    };

    const held = hold(() => agent && agent.destroy());

    return {
        /* POST /api/<method> */
        async call(method, params) {
            const res = await post(`${location}/${method}`,
                                   JSON.stringify(params));
            return JSON.parse(res.body);
        },

        /* POST /api with one or more commands */
        async commands(...list) {
            const res = await post(location,
                list.map((c) => JSON.stringify(c)).join('\n'));
            return res.body.trimEnd().split('\n').map((s) => JSON.parse(s));
        },

        async publish(channel, data) {
            const { error, result } = await this.call('publish',
                                                      { channel, data });
            if (error) {
                throw new Error(`publish: ${JSON.stringify(error)}`);
            }

            return result;
        },

        close() {
            held();
            release(held);
        },
    };
}
