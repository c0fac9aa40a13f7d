/*
 * The official SDK in headless Chromium, page and WebSocket from the same
 * NGINX, plain and over TLS.
 */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';

import puppeteer from 'puppeteer-core';

import { apiOf } from './lib/api.mjs';
import { sleep, within } from './lib/server.mjs';
import { suite } from './lib/suite.mjs';

const CHROMIUM = process.env.CHROMIUM || '/usr/bin/chromium';

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>centrifuge</title>
<script src="centrifuge.js"></script>
<script>
  const address = location.origin.replace('http', 'ws')
      + '/connection/websocket';
  const client = new Centrifuge(address,
                                { minReconnectDelay: 50 });
  const got = [];
  const log = [];
  const sub = client.newSubscription('browser');

  client.on('connecting', (ctx) => log.push(['connecting', ctx.code]));
  client.on('connected', (ctx) => log.push(['connected', ctx.transport]));
  client.on('disconnected', (ctx) => log.push(['disconnected', ctx.code]));
  client.on('error', (ctx) => log.push(['error', ctx]));
  sub.on('publication', (ctx) => got.push(ctx));
  sub.subscribe();
  client.connect();
</script>
`;


suite('browser', { timeout: 120000 }, async (s) => {
    const server = await s.start({
        hub: `client_insecure on; api_insecure on; ping_interval 2s;
            pong_timeout 1s;
            allowed_origins http://127.0.0.1:* https://127.0.0.1:*;`,
        tls: true,
        locations: `location /page/ {
            types { text/html html; application/javascript js; }
        }`,
        http: 'root page-root;',
    });

    const folder = path.join(server.prefix, 'page-root/page');
    const sdk = path.join(path.dirname(createRequire(import.meta.url)
        .resolve('centrifuge')), '../dist/centrifuge.js');

    fs.mkdirSync(folder, { recursive: true });
    fs.copyFileSync(sdk, path.join(folder, 'centrifuge.js'));
    fs.writeFileSync(path.join(folder, 'index.html'), PAGE);

    const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'chromium-e2e-'));
    const api = apiOf(server);
    let browser;

    try {
        browser = await puppeteer.launch({
            executablePath: CHROMIUM, headless: true, userDataDir: profile,
            acceptInsecureCerts: true,
            args: ['--no-sandbox', '--disable-gpu', '--no-first-run',
                   '--disable-background-networking',
                   '--disable-component-update', '--disable-sync'],
        });

        for (const base of [server.http, server.https]) {
            await s.serial(`chat over ${base.split(':')[0]}`, async () => {
                const pages = [];
                const workers = new Set();

                /* until there is a page in each worker, at least two */

                while (workers.size < 2 || pages.length < 2) {
                    assert.ok(pages.length < 16, 'all pages in one worker');

                    const page = await browser.newPage();
                    const cdp = await page.createCDPSession();
                    const wrong = [];

                    page.on('pageerror', (e) => wrong.push(String(e)));
                    page.wrong = wrong;

                    const shaken = new Promise((ok) => {
                        cdp.on('Network.webSocketHandshakeResponseReceived',
                            ({ response }) => ok(Object.entries(
                                response.headers).find(([k]) =>
                                k.toLowerCase() === 'x-worker')[1]));
                    });

                    await cdp.send('Network.enable');
                    await page.goto(`${base}/page/index.html`);
                    await page.waitForFunction(
                        'sub.state === "subscribed"', { timeout: 8000, polling: 50 });
                    workers.add(await within(5000, 'a handshake', shaken));
                    pages.push(page);
                }

                const count = (page, n) => page.waitForFunction(
                    `got.length >= ${n}`, { timeout: 8000, polling: 50 });

                await api.publish('browser', { text: 'from the API \u20ac' });

                for (const page of pages) {
                    await count(page, 1);
                }

                await pages[0].evaluate(
                    'sub.publish({ text: "from a page \u{1f600}" })');

                for (const page of pages) {
                    await count(page, 2);

                    const got = await page.evaluate(
                        'got.map((x) => [x.data.text, x.channel])');

                    assert.deepEqual(got, [
                        ['from the API \u20ac', 'browser'],
                        ['from a page \u{1f600}', 'browser']]);
                }

                /* pings are answered */

                await sleep(4500);

                for (const page of pages) {
                    assert.deepEqual(await page.evaluate('log'),
                        [['connecting', 0], ['connected', 'websocket']]);
                    assert.deepEqual(page.wrong, []);
                    await page.close();
                }
            }, 50000);
        }

        await s.serial('a page of another origin is refused', async () => {
            const page = await browser.newPage();

            /* its Origin is "null", which is not in the list */
            await page.goto('about:blank');

            const closed = await page.evaluate((address) => new Promise(
                (ok) => {
                    const ws = new WebSocket(address);

                    ws.onopen = () => ok('open');
                    ws.onclose = (e) => ok(e.code);
                }), server.ws());

            assert.equal(closed, 1006);
            await page.close();
        });

    } finally {
        if (browser) {
            await browser.close();
        }

        fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
        api.close();
    }
});
