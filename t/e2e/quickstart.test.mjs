// The quickstart as a newcomer sees it: two windows chat, curl joins in.

import assert from 'node:assert/strict';
import { spawn, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import puppeteer from 'puppeteer-core';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic',
    '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'];

const sleep = (ms) => new Promise((done) => { setTimeout(done, ms); });

function freePort() {
    return new Promise((done) => {
        const s = createServer().listen(0, '127.0.0.1', () => {
            const { port } = s.address();

            s.close(() => done(port));
        });
    });
}

function run(port) {
    const child = spawn(join(ROOT, 'scripts', 'run.sh'), {
        env: { ...process.env, PORT: String(port) },
        stdio: ['ignore', 'pipe', 'pipe'], detached: true });

    child.text = '';
    child.stdout.on('data', (d) => { child.text += d; });
    child.stderr.on('data', (d) => { child.text += d; });
    child.ended = new Promise((done) => {
        child.on('close', (code) => done(code));
    });

    return child;
}

async function until(what, check) {
    for (let i = 0; i < 150; i++) {
        const value = await check();

        if (value) {
            return value;
        }

        await sleep(100);
    }

    throw new Error(`timed out: ${what}`);
}

test('the quickstart', { timeout: 90000 }, async (t) => {
    const port = await freePort();
    const server = run(port);
    const profile = mkdtempSync(join(tmpdir(), 'chromium-'));
    let browser;

    t.after(async () => {
        await browser?.close();
        rmSync(profile, { recursive: true, force: true });

        try {
            process.kill(-server.pid, 'SIGTERM');
        } catch {
            // it has ended
        }
    });

    await until('the address', () => server.text.includes('Ctrl-C stops it'));

    const curl = /^\s*(curl .*)$/m.exec(server.text)[1];
    const prefix = execFileSync('ps', ['-o', 'args=', '-g',
        String(server.pid)], { encoding: 'utf8' })
        .match(/-p (\S*centrifugo-quickstart\S*)/)[1];

    assert.ok(existsSync(prefix));

    browser = await puppeteer.launch({ executablePath: '/usr/bin/chromium',
        args: FLAGS, userDataDir: profile, headless: true });

    const open = async () => {
        const context = await browser.createBrowserContext();
        const page = await context.newPage();

        await page.setViewport({ width: 900, height: 760 });
        await page.goto(`http://localhost:${port}/`);
        await page.waitForSelector('#state.connected', { timeout: 15000 });

        return page;
    };

    const texts = (page) => page.$$eval('.message p',
        (list) => list.map((p) => p.textContent));
    const has = (page, text) => until(text,
        async () => (await texts(page)).includes(text));
    const say = async (page, text) => {
        await page.type('#text', text);
        await page.keyboard.press('Enter');
    };

    const ann = await open();
    const bob = await open();

    await say(ann, 'Hello Bob');
    await has(bob, 'Hello Bob');
    await say(bob, '<b>Hello</b> Ann & all');
    await has(ann, '<b>Hello</b> Ann & all');

    assert.match(execFileSync('bash', ['-c', `${curl} -s`],
        { encoding: 'utf8' }),
        /^\{"result":\{"offset":3,"epoch":"[A-Za-z]{8}"\}\}/);
    await has(ann, 'Hello from curl');
    await has(bob, 'Hello from curl');

    assert.equal(await ann.$('.message b'), null);
    mkdirSync(join(ROOT, 'build'), { recursive: true });
    await ann.screenshot({ path: join(ROOT, 'build', 'quickstart.png') });

    await t.test('a page that comes later has what was said', async () => {
        const said = ['Hello Bob', '<b>Hello</b> Ann & all', 'Hello from curl'];
        const carol = await open();

        await has(carol, 'Hello from curl');
        assert.deepEqual(await texts(carol), said);

        await bob.reload();
        await bob.waitForSelector('#state.connected', { timeout: 15000 });
        await has(bob, 'Hello from curl');
        assert.deepEqual(await texts(bob), said);
        assert.equal((await bob.$$('.message.mine')).length, 1);

        await say(carol, 'Am I late?');
        await has(bob, 'Am I late?');
        assert.deepEqual(await texts(bob), [...said, 'Am I late?']);
    });

    await t.test('who was offline gets what was said, once', async () => {
        await bob.setOfflineMode(true);
        await bob.evaluate(() => window.dispatchEvent(new Event('offline')));
        await bob.waitForSelector('#state.connecting', { timeout: 15000 });
        await say(ann, 'Where is Bob?');
        await has(ann, 'Where is Bob?');
        await bob.setOfflineMode(false);
        await bob.evaluate(() => window.dispatchEvent(new Event('online')));
        await has(bob, 'Where is Bob?');
        assert.deepEqual(await texts(bob), await texts(ann));
    });

    await t.test('a busy port is one clear line', async () => {
        const second = run(port);

        assert.notEqual(await second.ended, 0);
        assert.equal(second.text, `run: port ${port} is in use, choose`
            + ' another: make run PORT=8001\n');
    });

    await t.test('Ctrl-C stops it and leaves nothing', async () => {
        process.kill(-server.pid, 'SIGINT');
        assert.equal(await server.ended, 0);
        assert.ok(!existsSync(prefix));
    });
});
