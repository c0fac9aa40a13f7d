/*
 * Deltas in the format of Fossil, read by the letter: "SIZE\n", then copies
 * LEN@OFFSET, and literals LEN:BYTES, then CHECKSUM; in digits of base 64.
 */

const DIGITS =
    '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~';


export function checksum(bytes) {
    let sum = 0;

    for (let i = 0; i < bytes.length; i++) {
        sum = (sum + bytes[i] * 2 ** (8 * (3 - i % 4))) % 2 ** 32;
    }

    return sum;
}


/* base and delta are Buffers; throws when the delta is wrong in any way. */

export function apply(base, delta) {
    const parts = [];
    let pos = 0;

    const number = () => {
        const from = pos;
        let n = 0;

        for ( ;; ) {
            const d = DIGITS.indexOf(String.fromCharCode(delta[pos]));

            if (d < 0) {
                break;
            }

            n = n * 64 + d;
            pos++;
        }

        if (pos === from) {
            throw new Error(`no number at ${pos}`);
        }

        return n;
    };

    const mark = () => String.fromCharCode(delta[pos++]);

    const size = number();

    if (mark() !== '\n') {
        throw new Error('no line after the size');
    }

    for ( ;; ) {
        const n = number();
        const what = mark();

        if (what === ';') {
            const target = Buffer.concat(parts);

            if (pos !== delta.length || target.length !== size
                || checksum(target) !== n)
            {
                throw new Error('the end, the size or the checksum is wrong');
            }

            return target;
        }

        if (what === ':') {
            if (pos + n > delta.length) {
                throw new Error('a literal beyond the end');
            }

            parts.push(delta.subarray(pos, pos + n));
            pos += n;

        } else if (what === '@') {
            const at = number();

            if (mark() !== ',' || at + n > base.length) {
                throw new Error('a copy of what is not there');
            }

            parts.push(base.subarray(at, at + n));

        } else {
            throw new Error(`"${what}" at ${pos}`);
        }
    }
}
