/*
 * Deltas, as the decoder of the official SDK reads them.  The SDK does not
 * export it: its codec does, which is found in the build.
 */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import test from 'node:test';

const ROOT = new URL('../..', import.meta.url).pathname;
const PAIRS = 2000;


/* the function applyDelta() of the SDK's build, with what it calls */

const applyDelta = () => {
    const file = createRequire(import.meta.url).resolve('centrifuge');
    const text = fs.readFileSync(file, 'utf8');
    const begin = text.indexOf('const zValue');
    const end = text.indexOf('class JsonCodec');

    assert.ok(begin > 0 && end > begin);

    return new Function(
        `${text.slice(begin, end)}; return applyDelta;`)();
};


test('the SDK decodes what is encoded', { timeout: 50000 }, () => {
    const apply = applyDelta();
    const seed = Number(process.env.FOSSIL_SEED ?? Date.now() % 1000000);
    const binary = `${ROOT}build/unit/test_delta`;

    execFileSync('make', ['-s', '-C', `${ROOT}t/unit`, binary]);

    const bytes = execFileSync(binary, ['pairs', PAIRS, seed],
        { maxBuffer: 1 << 30 });
    let pos = 0;

    const next = () => {
        const len = bytes.readUInt32LE(pos);

        pos += 4 + len;
        return bytes.subarray(pos - len, pos);
    };

    for (let i = 0; i < PAIRS; i++) {
        const base = next();
        const target = next();
        const made = apply(base, next());

        assert.equal(Buffer.compare(Buffer.from(made), target), 0,
            `pair ${i} of seed ${seed}`);
    }

    assert.equal(pos, bytes.length);
});
