/*
 * permessage-deflate: offers, and messages in both directions.
 */

#include "unit.h"
#include "../../src/transport/ngx_centrifugo_ws_deflate.h"
#include "../../src/transport/ngx_centrifugo_ws_extension.h"

#include <zlib.h>


static long  fail_at;       /* 0: never */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);


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


static const char  *answer;


static ngx_int_t
offered(const char *text)
{
    u_char     *p;
    ngx_int_t   rc;
    ngx_str_t   s;

    /* its memory ends where it does */

    s.len = strlen(text);
    p = malloc(s.len ? s.len : 1);
    memcpy(p, text, s.len);
    s.data = p;

    answer = NULL;
    rc = ngx_centrifugo_ws_deflate_offered(&s, &answer);
    free(p);

    return rc;
}


static void
offers(void)
{
    size_t  i;

#define PMD  "permessage-deflate"

    static const char  *good[] = {
        PMD, "Permessage-DEFLATE", " \t" PMD " ", "," PMD ",,", "x," PMD,
        "x;a=b;c=\"d\" ," PMD, PMD ";client_max_window_bits",
        PMD "; client_max_window_bits", PMD " ; client_max_window_bits = 8",
        PMD ";client_max_window_bits=\"15\"",
        PMD ";client_max_window_bits=\"1\\5\"",
        PMD ";server_no_context_takeover", PMD ";client_no_context_takeover",
        PMD ";server_no_context_takeover;client_no_context_takeover;"
        "server_max_window_bits=15;client_max_window_bits=10",
        PMD ";server_max_window_bits=10, " PMD,
        PMD ";unknown, " PMD ";client_max_window_bits",
        PMD "," PMD ";server_max_window_bits=10",
    };
    static const char  *none[] = {
        "", ",", " , ,", "x", "x-webkit-deflate-frame", PMD "x", "x" PMD,
        PMD ";unknown", PMD ";unknown=1", PMD ";server_no_context_takeover=1",
        PMD ";client_no_context_takeover=\"1\"",
        PMD ";server_max_window_bits", PMD ";server_max_window_bits=8",
        PMD ";server_max_window_bits=14", PMD ";server_max_window_bits=16",
        PMD ";server_max_window_bits=015", PMD ";server_max_window_bits=1x",
        PMD ";server_max_window_bits=15x",
        PMD ";server_max_window_bits=15555555555555555555",
        PMD ";client_max_window_bits=7", PMD ";client_max_window_bits=16",
        PMD ";client_max_window_bits=x", PMD ";client_max_window_bits=08",
        PMD ";client_max_window_bits;client_max_window_bits",
        PMD ";server_no_context_takeover;server_no_context_takeover",
        PMD ";server_max_window_bits=15;server_max_window_bits=15",
    };
    static const char  *bad[] = {
        ";", "=", PMD ";", PMD ";;", PMD " x", PMD ";=1",
        PMD ";client_max_window_bits=", PMD ";client_max_window_bits=\"",
        PMD ";client_max_window_bits=\"\"",
        PMD ";client_max_window_bits=\"8", PMD ";a=\"\\", PMD ";a=\"b c\"",
        PMD ";a=b c", PMD "\x01", "\x80", "a/b", "a,(", PMD ";a=\"b\"c",
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CHECK(offered(good[i]) == NGX_OK || printf("%s\n", good[i]) < 0);
    }

    CHECK(offered(PMD ",x") == NGX_OK
          && strcmp(answer, NGX_CENTRIFUGO_WS_DEFLATE) == 0);
    CHECK(offered(PMD ";server_max_window_bits=15," PMD) == NGX_OK
          && strcmp(answer, NGX_CENTRIFUGO_WS_DEFLATE_WINDOW) == 0);
    CHECK(offered(PMD ";server_max_window_bits=9," PMD) == NGX_OK
          && strcmp(answer, NGX_CENTRIFUGO_WS_DEFLATE) == 0);

    for (i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        CHECK(offered(none[i]) == NGX_DECLINED || printf("%s\n", none[i]) < 0);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK(offered(bad[i]) == NGX_ERROR || printf("%s\n", bad[i]) < 0);
    }
}


static ngx_int_t
inflated(const char *bytes, size_t len, size_t limit, ngx_str_t *message)
{
    u_char     *p;
    ngx_int_t   rc;

    p = malloc(len ? len : 1);
    memcpy(p, bytes, len);

    rc = ngx_centrifugo_ws_inflate(p, len, limit, message);
    free(p);

    return rc;
}

#define INFLATE(bytes, limit)                                                \
    inflated(bytes, sizeof(bytes) - 1, limit, &m)
#define IS(text)                                                             \
    (m.len == sizeof(text) - 1 && memcmp(m.data, text, m.len) == 0)


/* the examples of RFC 7692, section 7.2.3, and what is not one */

static void
messages(void)
{
    ngx_str_t  m;

    CHECK(INFLATE("\xf2\x48\xcd\xc9\xc9\x07\x00", 100) == NGX_OK
          && IS("Hello"));
    CHECK(INFLATE("\x00\x05\x00\xfa\xff" "Hello\x00", 100) == NGX_OK
          && IS("Hello"));
    CHECK(INFLATE("\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 100) == NGX_OK
          && IS("Hello"));
    CHECK(INFLATE("\xf3\x48\xcd\xc9\xc9\x07\x00", 100) == NGX_OK
          && IS("Hello"));
    CHECK(INFLATE("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 100)
          == NGX_OK && IS("Hello"));
    CHECK(INFLATE("\x00", 100) == NGX_OK && m.len == 0);
    CHECK(INFLATE("\x02\x00", 100) == NGX_OK && m.len == 0);
    CHECK(INFLATE("", 100) == NGX_OK && m.len == 0);

    /* the limit */

    CHECK(INFLATE("\xf2\x48\xcd\xc9\xc9\x07\x00", 5) == NGX_OK && IS("Hello"));
    CHECK(INFLATE("\xf2\x48\xcd\xc9\xc9\x07\x00", 4) == NGX_DECLINED);

    /* cut off, and wrong */

    CHECK(INFLATE("\xf2\x48\xcd\xc9", 100) == NGX_ERROR);
    CHECK(INFLATE("\xf2", 100) == NGX_ERROR);
    CHECK(INFLATE("\x00\x05\x00\xfa\xff" "Hel", 100) == NGX_ERROR);
    CHECK(INFLATE("\x00\x05\x00\xfa\xfe" "Hello\x00", 100) == NGX_ERROR);
    CHECK(INFLATE("\x00\x05\x00\xfa\xff" "H", 100) == NGX_ERROR);
    CHECK(INFLATE("\x06", 100) == NGX_ERROR);
    CHECK(INFLATE("\xff\xff\xff\xff", 100) == NGX_ERROR);
    CHECK(INFLATE("Hello", 100) == NGX_ERROR);

    /* no context of the message before: its distance is too far */

    CHECK(INFLATE("\xf2\x00\x11\x00\x00", 100) == NGX_ERROR);
    CHECK(INFLATE("\xf2\x48\xcd\xc9\xc9\x07\x00", 100) == NGX_OK
          && IS("Hello"));
}


static void
round_trips(void)
{
    size_t           i, len;
    u_char          *p;
    ngx_str_t        d, m;
    ngx_uint_t       level;
    static const size_t  sizes[] = { 4, 31, 32, 100, 1000, 4095, 4096, 4097,
                                     65535, 65536, 70000, 300000 };

    for (level = 1; level <= 9; level += 4) {
        for (i = 0; i < sizeof(sizes) / sizeof(size_t); i++) {
            len = sizes[i];
            p = malloc(len);
            memset(p, 'a', len);
            p[len / 2] = 'b';

            if (ngx_centrifugo_ws_deflate(p, len, level, &d) == NGX_OK) {
                CHECK(d.len < len);
                CHECK(ngx_centrifugo_ws_inflate(d.data, d.len, len, &m)
                      == NGX_OK && m.len == len
                      && memcmp(m.data, p, len) == 0);
                CHECK(ngx_centrifugo_ws_inflate(d.data, d.len, len - 1, &m)
                      == NGX_DECLINED);

            } else {
                CHECK(len < 32);
            }

            /* what does not get shorter is left alone */

            srandom(7);

            for (d.len = 0; d.len < len; d.len++) {
                p[d.len] = (u_char) random();
            }

            CHECK(ngx_centrifugo_ws_deflate(p, len, level, &d)
                  == NGX_DECLINED);
            free(p);
        }
    }
}


/* 64 MB in 64 KB: what is not let through is not made. */

static void
bomb(void)
{
    u_char    *p, *out;
    z_stream   zs;
    ngx_str_t  m;

    p = calloc(1, 1 << 26);
    out = malloc(1 << 20);

    memset(&zs, 0, sizeof(zs));
    CHECK(deflateInit2(&zs, 9, Z_DEFLATED, -15, 8, 0) == Z_OK);
    zs.next_in = p;
    zs.avail_in = 1 << 26;
    zs.next_out = out;
    zs.avail_out = 1 << 20;
    CHECK(deflate(&zs, Z_SYNC_FLUSH) == Z_OK && zs.avail_in == 0);

    CHECK(ngx_centrifugo_ws_inflate(out, (1 << 20) - zs.avail_out - 4, 65536,
                                    &m)
          == NGX_DECLINED);

    deflateEnd(&zs);
    free(p);
    free(out);
}


static void
memory(void)
{
    ngx_str_t     m;
    static char   text[2000];

    memset(text, 'x', sizeof(text));
    ngx_centrifugo_ws_deflate_exit();

    fail_at = 1;
    CHECK(ngx_centrifugo_ws_deflate((u_char *) text, sizeof(text), 1, &m)
          == NGX_DECLINED && fail_at == 0);
    fail_at = 2;
    CHECK(inflated("\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 100, &m) == NGX_ABORT
          && fail_at == 0);

    CHECK(ngx_centrifugo_ws_deflate((u_char *) text, sizeof(text), 1, &m)
          == NGX_OK);
}


int
main(void)
{
    offers();
    messages();
    round_trips();
    bomb();
    memory();

    ngx_centrifugo_ws_deflate_exit();

    return UNIT_END();
}
