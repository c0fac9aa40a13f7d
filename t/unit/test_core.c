/* Arena, buffer, wheel, queue of frames, hash. */

#include "unit.h"
#include "core/ngx_centrifugo_buf.h"
#include "core/ngx_centrifugo_hash.h"
#include "core/ngx_centrifugo_wheel.h"
#include "client/ngx_centrifugo_queue.h"


static void
arena(void)
{
    int                     i;
    u_char                 *p, *last;
    ngx_centrifugo_arena_t  a;

    ngx_centrifugo_arena_init(&a, 1024);

    for (i = 0; i < 3; i++) {
        last = NULL;

        for (size_t n = 1; n < 5000; n = n * 3 / 2 + 1) {
            p = ngx_centrifugo_arena_alloc(&a, n);
            CHECK(p != NULL && ((uintptr_t) p & 15) == 0 && p != last);
            memset(p, 0xaa, n);
            last = p;
        }

        ngx_centrifugo_arena_reset(&a);
    }

    CHECK(ngx_centrifugo_arena_alloc(&a, NGX_MAX_SIZE_T_VALUE) == NULL);
    ngx_centrifugo_arena_free(&a);
}


static void
buf(void)
{
    ngx_centrifugo_buf_t  b;

    memset(&b, 0, sizeof(b));
    ngx_centrifugo_buf_append_uint(&b, UINT64_MAX);
    ngx_centrifugo_buf_byte(&b, ' ');
    ngx_centrifugo_buf_append_int(&b, INT64_MIN);
    ngx_centrifugo_buf_byte(&b, ' ');
    ngx_centrifugo_buf_append_int(&b, 0);
    ngx_centrifugo_buf_append(&b, NULL, 0);
    CHECK(ngx_centrifugo_buf_len(&b) == 43
          && memcmp(b.start,
                    "18446744073709551615 -9223372036854775808 0", 43) == 0);

    CHECK(ngx_centrifugo_buf_reserve(&b, NGX_MAX_SIZE_T_VALUE / 2)
          == NGX_ERROR);
    ngx_centrifugo_buf_byte(&b, 'x');
    CHECK(b.failed);
    ngx_centrifugo_buf_reset(&b);
    CHECK(!b.failed && ngx_centrifugo_buf_len(&b) == 0);
    ngx_centrifugo_buf_free(&b);
}


static void
wheel(void)
{
    enum { N = 5000 };
    static struct {
        ngx_centrifugo_wheel_node_t  node;
        ngx_msec_t                   due;
        int                          fired;
    } t[N];
    static ngx_centrifugo_wheel_t  w;
    ngx_centrifugo_wheel_node_t   *node;
    ngx_msec_t                     now;
    int                            i, n;

    srandom(7);
    ngx_centrifugo_wheel_init(&w, 1000);

    for (i = 0; i < N; i++) {
        t[i].due = random() % 200000;
        ngx_centrifugo_wheel_set(&w, &t[i].node, 1000, t[i].due);
        t[i].due += 1000;
    }

    for (i = 0; i < N; i += 10) {
        ngx_centrifugo_wheel_del(&w, &t[i].node);
        ngx_centrifugo_wheel_del(&w, &t[i].node);
    }

    n = 0;

    for (now = 1000; now < 203000; now += 70 + random() % 200) {
        if (now > 100000 && now < 101000) {
            now += 60000;                       /* more than a turn at once */
        }

        while ((node = ngx_centrifugo_wheel_expire(&w, now)) != NULL) {
            i = ((u_char *) node - (u_char *) t) / sizeof(t[0]);
            CHECK(i % 10 && !t[i].fired && t[i].due <= now);
            t[i].fired = 1;
            n++;
        }

        for (i = 1; i < N; i += 10) {
            CHECK(t[i].fired || t[i].due + 2 * NGX_CENTRIFUGO_WHEEL_STEP > now);
        }
    }

    CHECK(n == N - N / 10 && w.count == 0);
}


static void
queue(void)
{
    u_char                   text[200], all[40000], out[40000];
    size_t                   len, n, at, got, total, i;
    struct iovec             iovs[64];
    ngx_centrifugo_queue_t   q;
    ngx_centrifugo_frame_t  *f;

    memset(&q, 0, sizeof(q));
    srandom(3);
    len = 0;

    for (i = 0; i < 300; i++) {
        n = 1 + random() % 120;
        memset(text, 'a' + i % 26, n);
        f = ngx_centrifugo_frame_create(text, n);
        f->data[-1] = '|';
        f->head = 1;
        CHECK(ngx_centrifugo_queue_push(&q, f) == NGX_OK);
        ngx_centrifugo_frame_release(f);
        all[len++] = '|';
        memcpy(all + len, text, n);
        len += n;
    }

    CHECK(q.bytes == len && ngx_centrifugo_queue_bytes() == len);

    for (at = 0; at < len; at += n) {
        n = 1 + random() % 4000;
        got = ngx_centrifugo_queue_gather(&q, out, n);
        CHECK(got == ngx_min(n, len - at) && memcmp(out, all + at, got) == 0);

        n = ngx_centrifugo_queue_iovs(&q, iovs, 64, &total);
        got = 0;

        for (i = 0; i < n; i++) {
            CHECK(memcmp(iovs[i].iov_base, all + at + got, iovs[i].iov_len)
                  == 0);
            got += iovs[i].iov_len;
        }

        CHECK(got == total && (n == 64 || got == len - at));

        got = ngx_min(got, 4000);
        n = got ? 1 + random() % got : 1;
        ngx_centrifugo_queue_sent(&q, n);
        CHECK(q.bytes == len - at - n);
    }

    CHECK(ngx_centrifugo_queue_first(&q) == NULL
          && ngx_centrifugo_frame_bytes() == 0);

    /* what is sent in part stays, the rest goes */

    for (i = 0; i < 40; i++) {
        f = ngx_centrifugo_frame_create((u_char *) "0123456789", 10);
        CHECK(ngx_centrifugo_queue_push(&q, f) == NGX_OK);
        ngx_centrifugo_frame_release(f);
    }

    ngx_centrifugo_queue_sent(&q, 13);
    ngx_centrifugo_queue_drop(&q, 1);
    CHECK(q.bytes == 7 && ngx_centrifugo_queue_single(&q));
    CHECK(ngx_centrifugo_queue_gather(&q, out, 100) == 7
          && memcmp(out, "3456789", 7) == 0);
    ngx_centrifugo_queue_drop(&q, 0);
    CHECK(q.bytes == 0 && ngx_centrifugo_queue_bytes() == 0
          && ngx_centrifugo_frame_bytes() == 0);
}


/* SipHash-1-3, byte by byte */

static uint64_t
sip(const uint64_t key[2], const u_char *data, size_t len)
{
    size_t    i, k;
    uint64_t  m, v[4];

    v[0] = key[0] ^ 0x736f6d6570736575ULL;
    v[1] = key[1] ^ 0x646f72616e646f6dULL;
    v[2] = key[0] ^ 0x6c7967656e657261ULL;
    v[3] = key[1] ^ 0x7465646279746573ULL;

#define ROTL(x, n)  (((x) << (n)) | ((x) >> (64 - (n))))

    for (i = 0; i < len / 8 + 1 + 3; i++) {
        m = 0;

        for (k = i * 8; k < i * 8 + 8 && k < len; k++) {
            m |= (uint64_t) data[k] << (k % 8 * 8);
        }

        m |= (i == len / 8) ? (uint64_t) len << 56 : 0;
        v[3] ^= (i <= len / 8) ? m : 0;
        v[2] ^= (i == len / 8 + 1) ? 0xff : 0;

        v[0] += v[1]; v[1] = ROTL(v[1], 13) ^ v[0]; v[0] = ROTL(v[0], 32);
        v[2] += v[3]; v[3] = ROTL(v[3], 16) ^ v[2];
        v[0] += v[3]; v[3] = ROTL(v[3], 21) ^ v[0];
        v[2] += v[1]; v[1] = ROTL(v[1], 17) ^ v[2]; v[2] = ROTL(v[2], 32);

        v[0] ^= (i <= len / 8) ? m : 0;
    }

    return v[0] ^ v[1] ^ v[2] ^ v[3];
}


static void
hash(void)
{
    size_t    i, len, at;
    u_char    data[80];
    uint64_t  key[2] = { 0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL };

    for (len = 0; len < 64; len++) {
        for (at = 0; at < 8; at++) {
            memset(data, 0xa5, sizeof(data));

            for (i = 0; i < len; i++) {
                data[at + i] = (u_char) (i * 37 + len);
            }

            CHECK(ngx_centrifugo_hash(key, data + at, len)
                  == sip(key, data + at, len));
        }
    }

    CHECK(ngx_centrifugo_hash(key, (u_char *) "abcdefgh", 8)
          != ngx_centrifugo_hash(key, (u_char *) "abcdefg", 7));
    CHECK(ngx_centrifugo_hash(key, (u_char *) "", 0) != 0);
}


int
main(void)
{

    arena();
    buf();
    wheel();
    queue();
    hash();

    return UNIT_END();
}
