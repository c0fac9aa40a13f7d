/*
 * What is published: written here, and read back with a check of each byte.
 */

#include "payload.h"

#include <string.h>


#define PAYLOAD_SUMMED  36
#define PAYLOAD_MUL     0x9e3779b97f4a7c15ull


static uint32_t payload_sum(const char *key, const char *filler, size_t len);
static uint64_t payload_hash(uint64_t h, const char *p, size_t len);
static inline uint64_t payload_mix(uint64_t h, uint64_t word);
static inline uint64_t payload_load(const char *p, size_t len);
static void payload_filler(char *p, size_t len, const cf_payload_t *payload);
static void payload_hex(char *p, uint64_t value, unsigned digits);
static inline uint64_t payload_unhex(const char *p, unsigned digits,
    unsigned *bad);


static const char  payload_digits[] = "0123456789abcdef";

static const char  payload_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static const unsigned char  payload_values[256] = {
    ['0'] = 0x10, ['1'] = 0x11, ['2'] = 0x12, ['3'] = 0x13, ['4'] = 0x14,
    ['5'] = 0x15, ['6'] = 0x16, ['7'] = 0x17, ['8'] = 0x18, ['9'] = 0x19,
    ['a'] = 0x1a, ['b'] = 0x1b, ['c'] = 0x1c, ['d'] = 0x1d, ['e'] = 0x1e,
    ['f'] = 0x1f
};


void
cf_payload_write(char *p, size_t size, const cf_payload_t *payload)
{
    char    *key, *filler;
    size_t   len;

    key = p + CF_PAYLOAD_HEAD;
    filler = key + CF_PAYLOAD_KEY + CF_PAYLOAD_MID;
    len = size - CF_PAYLOAD_MIN;

    memcpy(p, "{\"k\":\"", CF_PAYLOAD_HEAD);
    payload_hex(key, payload->publisher, 4);
    payload_hex(key + 4, payload->channel, 8);
    payload_hex(key + 12, payload->seq, 8);
    payload_hex(key + 20, payload->time, 16);
    memcpy(key + CF_PAYLOAD_KEY, "\",\"f\":\"", CF_PAYLOAD_MID);
    payload_filler(filler, len, payload);
    memcpy(filler + len, "\"}", 2);

    payload_hex(key + PAYLOAD_SUMMED, payload_sum(key, filler, len), 8);
}


int
cf_payload_read(const char *p, size_t size, cf_payload_t *payload)
{
    size_t       len;
    uint32_t     sum;
    unsigned     bad;
    const char  *key, *filler;

    if (size < CF_PAYLOAD_MIN) {
        return -2;
    }

    key = p + CF_PAYLOAD_HEAD;
    filler = key + CF_PAYLOAD_KEY + CF_PAYLOAD_MID;
    len = size - CF_PAYLOAD_MIN;

    bad = 0;
    payload->publisher = (uint32_t) payload_unhex(key, 4, &bad);
    payload->channel = (uint32_t) payload_unhex(key + 4, 8, &bad);
    payload->seq = (uint32_t) payload_unhex(key + 12, 8, &bad);
    payload->time = payload_unhex(key + 20, 16, &bad);
    sum = (uint32_t) payload_unhex(key + PAYLOAD_SUMMED, 8, &bad);

    if (bad) {
        return -2;
    }

    if (memcmp(p, "{\"k\":\"", CF_PAYLOAD_HEAD) != 0
        || memcmp(key + CF_PAYLOAD_KEY, "\",\"f\":\"", CF_PAYLOAD_MID) != 0
        || memcmp(filler + len, "\"}", 2) != 0
        || sum != payload_sum(key, filler, len))
    {
        return -1;
    }

    return 0;
}


uint32_t
cf_payload_channel(const char *p, size_t size)
{
    unsigned  bad;

    if (size < CF_PAYLOAD_MIN) {
        return 0;
    }

    bad = 0;

    return (uint32_t) payload_unhex(p + CF_PAYLOAD_HEAD + 4, 8, &bad);
}


static uint32_t
payload_sum(const char *key, const char *filler, size_t len)
{
    uint64_t  h;

    h = payload_hash(len, key, PAYLOAD_SUMMED);
    h = payload_hash(h, filler, len);

    return (uint32_t) (h ^ h >> 32);
}


/*
 * Each step is a bijection of the state and of the word, so damage within
 * one word always shows in the 64 bits. Long texts go in four lanes that do
 * not wait for each other's multiplication.
 */

static uint64_t
payload_hash(uint64_t h, const char *p, size_t len)
{
    uint64_t  a, b, c;

    if (len >= 64) {
        a = h + 1;
        b = h + 2;
        c = h + 3;

        do {
            h = payload_mix(h, payload_load(p, 8));
            a = payload_mix(a, payload_load(p + 8, 8));
            b = payload_mix(b, payload_load(p + 16, 8));
            c = payload_mix(c, payload_load(p + 24, 8));
            p += 32;
            len -= 32;
        } while (len >= 32);

        h = payload_mix(payload_mix(payload_mix(h, a), b), c);
    }

    for ( /* void */ ; len >= 8; p += 8, len -= 8) {
        h = payload_mix(h, payload_load(p, 8));
    }

    return len ? payload_mix(h, payload_load(p, len)) : h;
}


static inline uint64_t
payload_mix(uint64_t h, uint64_t word)
{
    h = (h ^ word) * PAYLOAD_MUL;

    return h ^ h >> 29;
}


static inline uint64_t
payload_load(const char *p, size_t len)
{
    uint64_t  word;

    word = 0;
    memcpy(&word, p, len);

    return word;
}


static void
payload_filler(char *p, size_t len, const cf_payload_t *payload)
{
    size_t    i;
    uint64_t  state, bits;

    state = payload_mix((uint64_t) payload->publisher << 32 | payload->seq,
                        payload->channel);
    bits = 0;

    for (i = 0; i < len; i++) {

        if ((i & 7) == 0) {
            state += PAYLOAD_MUL;
            bits = payload_mix(payload_mix(state, i), 1);
        }

        p[i] = payload_alphabet[bits & 63];
        bits >>= 8;
    }
}


static void
payload_hex(char *p, uint64_t value, unsigned digits)
{
    while (digits) {
        p[--digits] = payload_digits[value & 15];
        value >>= 4;
    }
}


static inline uint64_t
payload_unhex(const char *p, unsigned digits, unsigned *bad)
{
    unsigned  i, v;
    uint64_t  value;

    value = 0;

    for (i = 0; i < digits; i++) {
        v = payload_values[(unsigned char) p[i]];
        *bad |= !v;
        value = value << 4 | (v & 15);
    }

    return value;
}
