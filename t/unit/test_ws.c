/* WebSocket frames. */

#include "unit.h"
#include "transport/ngx_centrifugo_ws_frame.h"


static size_t
make(u_char *out, int first, uint64_t len, int form, const u_char *data,
    size_t have)
{
    size_t                i, n;
    static const u_char   mask[4] = { 0x37, 0xfa, 0x21, 0x3d };

    n = 0;
    out[n++] = (u_char) first;
    out[n++] = 0x80 | (u_char) (form ? form : (int) len);

    if (form == 126) {
        out[n++] = (u_char) (len >> 8);
        out[n++] = (u_char) len;

    } else if (form == 127) {
        for (i = 0; i < 8; i++) {
            out[n++] = (u_char) (len >> (56 - 8 * i));
        }
    }

    memcpy(out + n, mask, 4);
    n += 4;

    for (i = 0; i < have; i++) {
        out[n++] = data[i] ^ mask[i % 4];
    }

    return n;
}


static void
lengths(void)
{
    static u_char              in[70000], data[70000];
    size_t                     n, i, need, sizes[] = { 0, 1, 7, 8, 9, 125,
                                   126, 127, 65535, 65536, 66000 };
    u_char                    *pos;
    ngx_uint_t                 code, k;
    ngx_int_t                  rc;
    ngx_centrifugo_ws_frame_t  f;

    for (i = 0; i < sizeof(data); i++) {
        data[i] = (u_char) (i * 7);
    }

    for (k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
        n = make(in, 0x82, sizes[k], sizes[k] < 126 ? 0
                 : sizes[k] < 65536 ? 126 : 127, data, sizes[k]);

        /* every beginning of it is not enough and changes nothing */

        for (i = 0; i < n; i += (n > 1000 && i > 20 && i + 20 < n) ? 997 : 1) {
            pos = in;
            rc = ngx_centrifugo_ws_parse(&pos, in + i, 0, 0, 70000, &f, &need,
                                         &code);
            CHECK(rc == NGX_AGAIN && pos == in);
            CHECK(need == 0 || need == n);
        }

        pos = in;
        rc = ngx_centrifugo_ws_parse(&pos, in + n, 0, 0, 70000, &f, &need,
                                     &code);
        CHECK(rc == NGX_OK && pos == in + n && f.fin && f.len == sizes[k]
              && f.opcode == 2 && memcmp(f.payload, data, f.len) == 0);
    }
}


static void
rules(void)
{
    u_char                     in[300], data[300] = { 0 }, *pos;
    size_t                     i, n, need;
    ngx_uint_t                 code;
    ngx_centrifugo_ws_frame_t  f;
    struct {
        int first; uint64_t len; int form; ngx_uint_t fragmented;
        size_t have; ngx_uint_t code;
    } bad[] = {
        { 0xc1, 1, 0, 0, 0, 1002 }, { 0xa1, 1, 0, 0, 0, 1002 },
        { 0x91, 1, 0, 0, 0, 1002 }, { 0x83, 1, 0, 0, 0, 1002 },
        { 0x8b, 1, 0, 0, 0, 1002 }, { 0x8f, 1, 0, 0, 0, 1002 },
        { 0x80, 1, 0, 0, 0, 1002 }, { 0x81, 1, 0, 1, 0, 1002 },
        { 0x02, 1, 0, 1, 0, 1002 }, { 0x09, 1, 0, 0, 0, 1002 },
        { 0x08, 1, 0, 1, 0, 1002 }, { 0x89, 126, 126, 0, 0, 1002 },
        { 0x81, 125, 126, 0, 0, 1002 }, { 0x81, 65535, 127, 0, 0, 1002 },
        { 0x81, 1ULL << 63, 127, 0, 0, 1002 },
        { 0x81, ~0ULL, 127, 0, 0, 1002 },
        { 0x81, 101, 0, 0, 0, 1009 }, { 0x80, 51, 0, 1, 50, 1009 },
        { 0x81, (1ULL << 63) - 1, 127, 0, 0, 1009 },
        { 0x80, (1ULL << 63) - 1, 127, 1, 100, 1009 }
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        n = make(in, bad[i].first, bad[i].len, bad[i].form, data, 0);
        pos = in;
        CHECK(ngx_centrifugo_ws_parse(&pos, in + n, bad[i].fragmented,
                                      bad[i].have, 100, &f, &need, &code)
              == NGX_ERROR && code == bad[i].code);
    }

    /* the first reserved bit: in the first frame of a message, if agreed */

    for (i = 0; i < 256; i += 16) {
        n = make(in, 0x01 | (int) i, 1, 0, data, 1);
        pos = in;
        CHECK(ngx_centrifugo_ws_parse(&pos, in + n,
                                      NGX_CENTRIFUGO_WS_EXTENDED, 0, 100, &f,
                                      &need, &code)
              == ((i & 0x30) ? NGX_ERROR : NGX_OK));
        CHECK((i & 0x30) ? code == 1002 : f.compressed == (i & 0x40) >> 6);
    }

    n = make(in, 0xc0, 1, 0, data, 1);
    pos = in;
    CHECK(ngx_centrifugo_ws_parse(&pos, in + n,
                                  NGX_CENTRIFUGO_WS_EXTENDED
                                  | NGX_CENTRIFUGO_WS_OPEN, 0, 100, &f, &need,
                                  &code)
          == NGX_ERROR && code == 1002);
    n = make(in, 0xc9, 1, 0, data, 1);
    pos = in;
    CHECK(ngx_centrifugo_ws_parse(&pos, in + n, NGX_CENTRIFUGO_WS_EXTENDED, 0,
                                  100, &f, &need, &code)
          == NGX_ERROR && code == 1002);

    /* no mask */

    in[0] = 0x81;
    in[1] = 0x01;
    pos = in;
    CHECK(ngx_centrifugo_ws_parse(&pos, in + 2, 0, 0, 100, &f, &need, &code)
          == NGX_ERROR && code == 1002);

    /* a control frame may come between fragments, whatever the limit */

    n = make(in, 0x89, 5, 0, (u_char *) "Hello", 5);
    pos = in;
    CHECK(ngx_centrifugo_ws_parse(&pos, in + n, 1, 100, 100, &f, &need, &code)
          == NGX_OK && f.opcode == 9 && memcmp(f.payload, "Hello", 5) == 0);
}


static void
close_frames(void)
{
    u_char      p[130];
    ngx_str_t   reason;
    ngx_uint_t  i, code, good;

    CHECK(ngx_centrifugo_ws_parse_close(p, 0, &code, &reason) == NGX_OK
          && code == 1005);
    CHECK(ngx_centrifugo_ws_parse_close(p, 1, &code, &reason) == NGX_ERROR
          && code == 1002);

    for (i = 0; i < 65536; i++) {
        p[0] = (u_char) (i >> 8);
        p[1] = (u_char) i;
        good = (i >= 1000 && i <= 1014 && i != 1004 && i != 1005 && i != 1006)
               || (i >= 3000 && i <= 4999);
        CHECK((ngx_centrifugo_ws_parse_close(p, 2, &code, &reason) == NGX_OK)
              == good && code == (good ? i : 1002));
    }

    p[0] = 0x03;
    p[1] = 0xe8;
    p[2] = 0xff;
    CHECK(ngx_centrifugo_ws_parse_close(p, 3, &code, &reason) == NGX_ERROR
          && code == 1007);
}


static void
out(void)
{
    u_char      b[20], *p, accept[28];
    ngx_str_t   key;

    p = ngx_centrifugo_ws_header(b + 20, 1, 5);
    CHECK(p == b + 18 && p[0] == 0x81 && p[1] == 5);
    p = ngx_centrifugo_ws_header(b + 20, 1, 126);
    CHECK(p == b + 16 && p[1] == 126 && p[2] == 0 && p[3] == 126);
    p = ngx_centrifugo_ws_header(b + 20, 2, 65536);
    CHECK(p == b + 10 && p[0] == 0x82 && p[1] == 127 && p[7] == 1 && !p[9]);

    key = S("dGhlIHNhbXBsZSBub25jZQ==");
    CHECK(ngx_centrifugo_ws_accept(&key, accept) == NGX_OK
          && memcmp(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28) == 0);

    {
        const char *bad[] = { "", "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ===",
            "dGhlIHNhbXBsZSBub25jZQ**", "dGhlIHNhbXBsZSBub25jZQA=",
            "dGhlIHNhbX=sZSBub25jZQ==", "dGhlIHNhbX\x80sZSBub25jZQ==" };
        size_t      i;

        for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
            key = S(bad[i]);
            CHECK(ngx_centrifugo_ws_accept(&key, accept) == NGX_ERROR);
        }
    }
}


int
main(void)
{
    lengths();
    rules();
    close_frames();
    out();

    return UNIT_END();
}
