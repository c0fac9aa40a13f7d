/*
 * Deltas: what is made of random texts and their edits is decoded again.
 *   test_delta pairs N SEED     writes such texts and their deltas for another
 *                               decoder, each behind its length
 */

#include "unit.h"
#include "unit_delta.h"
#include "protocol/ngx_centrifugo_delta.h"
#include "protocol/ngx_centrifugo_utf8.h"

#include <time.h>


#define MAX  (64 * 1024)


void *__real_malloc(size_t size);
void *__real_realloc(void *p, size_t size);

static int                   fail_at;       /* the allocation that fails */
static uint64_t              seed = 1;
static ngx_centrifugo_buf_t  out;
static u_char                decoded[1024 * 1024];


void *
__wrap_malloc(size_t size)
{
    return (fail_at && --fail_at == 0) ? NULL : __real_malloc(size);
}


void *
__wrap_realloc(void *p, size_t size)
{
    return (fail_at && --fail_at == 0) ? NULL : __real_realloc(p, size);
}


static uint32_t
rnd(uint32_t n)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;

    return (uint32_t) (seed >> 33) % n;
}


/* what random texts are made of */

static const char  *words[] = { "{\"id\":", ",\"text\":\"", "\"},", "[", "]",
    "null", "true", "12345", "0.5", "na\xc3\xafve", "\xe6\x9d\xb1\xe4\xba\xac",
    "\xf0\x9f\x98\x80", "\xd1\x8f", "\\n", " ", "the", "quick", "fox", "a" };

enum { WORDS, UTF8, REPEATED, LETTERS, BYTES, KINDS };


static size_t
make(u_char *p, size_t max, int kind)
{
    size_t       len, n, i;
    const char  *w;
    char         digits[16];

    n = 1 + rnd(12);
    len = 0;

    while (len < max) {

        switch (kind) {

        case WORDS:
            w = words[rnd(sizeof(words) / sizeof(words[0]))];

            if (rnd(4) == 0) {
                snprintf(digits, sizeof(digits), "%u", rnd(100000));
                w = digits;
            }

            break;

        case UTF8:
            w = words[9 + rnd(4)];
            break;

        case REPEATED:
            w = words[3 + (len ? rnd(100) == 0 : 0) * rnd(8)];
            break;

        case LETTERS:
            digits[0] = (char) ('a' + rnd((uint32_t) n));
            digits[1] = '\0';
            w = digits;
            break;

        default:
            p[len++] = (u_char) rnd(256);
            continue;
        }

        i = strlen(w);

        if (len + i > max) {
            break;
        }

        memcpy(p + len, w, i);
        len += i;
    }

    return len;
}


/* to the next begin of a character, of text */

static size_t
border(const u_char *p, size_t len, size_t i, int kind)
{
    while (kind != BYTES && i < len && (p[i] & 0xc0) == 0x80) {
        i++;
    }

    return i;
}


static size_t
edit(u_char *to, const u_char *from, size_t len, int kind)
{
    size_t  a, b, c, n;

    a = border(from, len, len ? rnd((uint32_t) len + 1) : 0, kind);
    b = border(from, len, a + (len > a ? rnd((uint32_t) ngx_min(len - a, 300))
                                       : 0),
               kind);
    c = border(from, len, len ? rnd((uint32_t) len + 1) : 0, kind);

    memcpy(to, from, a);
    n = a;

    switch (rnd(4)) {

    case 0:                         /* something else instead */
        n += make(to + n, rnd(40), kind);
        break;

    case 1:                         /* something in between */
        n += make(to + n, rnd(200), kind);
        b = a;
        break;

    case 2:                         /* something again */
        memcpy(to + n, from + a, b - a);
        n += b - a;
        b = a;
        break;

    default:                        /* something moved, or left out */

        if (c >= b) {
            memcpy(to + n, from + b, c - b);
            n += c - b;
            memcpy(to + n, from + a, b - a);
            n += b - a;
            b = c;
        }
    }

    memcpy(to + n, from + b, len - b);

    return n + len - b;
}


/* some pair of texts; returns whether they are UTF-8 */

static int
pair(u_char *base, ngx_str_t *b, u_char *target, ngx_str_t *t)
{
    int             kind;
    size_t          max;
    ngx_uint_t      i, n;
    static u_char   other[2 * MAX];

    kind = (int) rnd(KINDS);
    max = rnd(8) ? rnd(rnd(4) ? 300 : 5000) : rnd(MAX - 4096);

    b->data = base;
    b->len = make(base, max, kind);
    t->data = target;

    if (rnd(6) == 0) {
        t->len = make(target, rnd((uint32_t) max + 300), kind);
        return kind != BYTES;
    }

    t->len = b->len;
    memcpy(target, base, b->len);

    for (n = rnd(5), i = 0; i < n && t->len < MAX; i++) {
        memcpy(other, target, t->len);
        t->len = edit(target, other, t->len, kind);
    }

    return kind != BYTES;
}


static ngx_int_t
encode(const ngx_str_t *base, const ngx_str_t *target, ngx_uint_t utf8)
{
    ngx_centrifugo_buf_reset(&out);
    ngx_centrifugo_buf_literal(&out, "before");

    return ngx_centrifugo_delta(&out, base, target, utf8);
}


/* the length of the delta, -1: it was declined, -2: it is wrong */

static long
check(const ngx_str_t *base, const ngx_str_t *target, ngx_uint_t utf8)
{
    long    n;
    size_t  len;

    if (encode(base, target, utf8) != NGX_OK) {
        return ngx_centrifugo_buf_len(&out) == 6 && !out.failed ? -1 : -2;
    }

    len = ngx_centrifugo_buf_len(&out) - 6;

    if (len >= target->len || memcmp(out.start, "before", 6) != 0
        || (utf8
            && ngx_centrifugo_utf8_validate(out.start + 6, len) != NGX_OK))
    {
        return -2;
    }

    n = undelta(base->data, base->len, out.start + 6, len, decoded,
                sizeof(decoded));

    if (n != (long) target->len || memcmp(decoded, target->data, n) != 0) {
        return -2;
    }

    return (long) len;
}


static void
random_pairs(void)
{
    int             utf8;
    long            n;
    size_t          made, i;
    ngx_str_t       b, t;
    static u_char   base[2 * MAX], target[2 * MAX];

    made = 0;

    for (i = 0; i < 6000; i++) {
        utf8 = pair(base, &b, target, &t);

        n = check(&b, &t, utf8);
        CHECK(n != -2);
        made += n >= 0;

        /* text is also fine as bytes */

        if (utf8 && i % 4 == 0) {
            CHECK(check(&b, &t, 0) != -2);
        }
    }

    CHECK(made > 3000);
}


static void
known(void)
{
    size_t      i;
    ngx_str_t   b, t;

    struct {
        const char  *base;
        const char  *target;
        const char  *delta;             /* NULL: declined */
    } t_[] = {
        { "", "abcdefghijklmnopqrst", NULL },
        { "abcdefghijklmnopqrst", "", NULL },
        { "abcdefghij", "abcdefghij", NULL },

        /* the sum of one word, 0x61616161, five times */
        { "aaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaa",
          "K\nK@0,3bujRa;" },
        { "{\"temperature\":20,\"humidity\":50,\"pressure\":1000}",
          "{\"temperature\":21,\"humidity\":50,\"pressure\":1000}",
          "l\nG@0,1:1V@H,_dm4Q;" },

        /* a character is not split, though its first bytes are the same */
        { "[\"0123456789abcdef\xd0\xb0\",1]",
          "[\"0123456789abcdef\xd0\xb1\",1]",
          "O\nI@0,6:\xd0\xb1\",1]2hWW8H;" },
    };

    for (i = 0; i < sizeof(t_) / sizeof(t_[0]); i++) {
        b = S(t_[i].base);
        t = S(t_[i].target);

        if (t_[i].delta == NULL) {
            CHECK(check(&b, &t, 1) == -1);
            continue;
        }

        CHECK(check(&b, &t, 1) == (long) strlen(t_[i].delta));
        CHECK(memcmp(out.start + 6, t_[i].delta, strlen(t_[i].delta)) == 0);
    }
}


/* small changes of a large text make small deltas, wherever they are */

static void
quality(void)
{
    char        *p;
    size_t       i, n;
    ngx_str_t    b, t;
    static char  base[32768], target[32768];

    for (n = 0; n < 3; n++) {
        p = base;

        for (i = 0; i < 300; i++) {
            p += snprintf(p, 100, "{\"symbol\":\"S%03zu\",\"price\":%zu,"
                          "\"status\":\"open\"},", i, i * 7919 % 1000 + 1000);
        }

        b.data = (u_char *) base;
        b.len = p - base;
        p = target;

        for (i = 0; i < 300; i++) {

            if (n == 2 && i == 100) {           /* one more */
                p += snprintf(p, 100, "{\"symbol\":\"NEW\",\"price\":%d,"
                              "\"status\":\"open\"},", 5);
            }

            if (n == 1 && i < 3) {              /* some less */
                continue;
            }

            p += snprintf(p, 100, "{\"symbol\":\"S%03zu\",\"price\":%zu,"
                          "\"status\":\"open\"},", i,
                          n == 0 && i % 30 == 5 ? i     /* some changed */
                                                : i * 7919 % 1000 + 1000);
        }

        t.data = (u_char *) target;
        t.len = p - target;

        i = check(&b, &t, 1);
        CHECK(i > 0 && i < (n ? 60 : 130));
    }
}


/*
 * Texts with which a careless search takes time by the square of their length;
 * the sanitizers alone make this some times as long.
 */

static void
worst(void)
{
    long            len;
    clock_t         begin;
    size_t          i, k, n;
    ngx_str_t       b, t;
    static u_char   base[512 * 1024], target[512 * 1024];

    n = sizeof(base);
    b.data = base;
    b.len = n;
    t.data = target;
    t.len = n;

    for (k = 0; k < 6; k++) {

        for (i = 0; i < n; i++) {

            switch (k) {

            case 0:                     /* one letter, now and then another */
                base[i] = 'a';
                target[i] = (i % 101 == 100) ? 'b' : 'a';
                break;

            case 1:                     /* nothing in common */
                base[i] = (u_char) rnd(128);
                target[i] = (u_char) rnd(128);
                break;

            case 2:                     /* matches that are too short */
                base[i] = (i % 16 < 8) ? 'x' : (u_char) rnd(128);
                target[i] = (i % 16 < 8) ? 'x' : (u_char) rnd(128);
                break;

            case 3:                     /* all in the other order */
                base[i] = (u_char) (i / 64 * 31 + i % 64) & 127;
                target[n - 1 - i] = base[i];
                break;

            case 4:                     /* blocks that go on differently */
                base[i] = (i % 64 < 48) ? 'x' : (u_char) rnd(128);
                target[i] = (i % 48 < 40) ? 'x' : (u_char) rnd(128);
                break;

            default:                    /* the halves are exchanged */
                base[i] = (i < n / 2) ? 'a' : 'b';
                target[i] = (i < n / 2) ? 'b' : 'a';
            }
        }

        begin = clock();
        len = check(&b, &t, 1);
        CHECK(clock() - begin < CLOCKS_PER_SEC / 2);
        CHECK(k == 5 ? len > 0 && len < 40 : len != -2);
    }
}


static void
no_memory(void)
{
    int         i;
    ngx_int_t   rc;
    ngx_str_t   b = ngx_string("[\"0123456789abcdef\",1,\"fedcba9876543210\"]");
    ngx_str_t   t = ngx_string("[3,\"fedcba9876543210\",\"0123456789abcdef\"]");

    rc = NGX_ERROR;

    for (i = 1; i < 10 && rc != NGX_OK; i++) {
        memset(&out, 0, sizeof(out));
        fail_at = i;
        rc = ngx_centrifugo_delta(&out, &b, &t, 1);
        CHECK(rc == NGX_OK || rc == NGX_ERROR);
        CHECK(rc == NGX_OK || ngx_centrifugo_buf_len(&out) == 0);
        CHECK((rc == NGX_OK) == (fail_at != 0));
        fail_at = 0;
        ngx_centrifugo_buf_free(&out);
    }

    CHECK(rc == NGX_OK && i > 2);
}


static void
put(const u_char *p, size_t len)
{
    uint32_t  n = (uint32_t) len;

    fwrite(&n, sizeof(n), 1, stdout);
    fwrite(p, 1, len, stdout);
}


static int
write_pairs(int n)
{
    int             utf8;
    ngx_str_t       b, t;
    static u_char   base[2 * MAX], target[2 * MAX];

    while (n > 0) {
        utf8 = pair(base, &b, target, &t);

        if (encode(&b, &t, utf8) != NGX_OK) {
            continue;
        }

        put(b.data, b.len);
        put(t.data, t.len);
        put(out.start + 6, ngx_centrifugo_buf_len(&out) - 6);
        n--;
    }

    return 0;
}


int
main(int argc, char **argv)
{
    if (argc == 4) {
        seed = strtoull(argv[3], NULL, 10);
        return write_pairs(atoi(argv[2]));
    }

    no_memory();
    known();
    quality();
    random_pairs();
    worst();

    ngx_centrifugo_buf_free(&out);

    return UNIT_END();
}
