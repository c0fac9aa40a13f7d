#include "ngx_centrifugo_ws_frame.h"
#include "../protocol/ngx_centrifugo_utf8.h"

#include <ngx_sha1.h>


#define WS_FIN       0x80
#define WS_RESERVED  0x70
#define WS_OPCODE    0x0f
#define WS_CONTROL   0x08
#define WS_MASK      0x80
#define WS_KEY_LEN   24


static void ws_unmask(u_char *p, size_t len, const u_char *mask);


ngx_int_t
ngx_centrifugo_ws_parse(u_char **pos, u_char *end, ngx_uint_t state,
    size_t have, size_t limit, ngx_centrifugo_ws_frame_t *frame, size_t *need,
    ngx_uint_t *code)
{
    u_char      *p;
    size_t       size, head;
    uint64_t     len;
    ngx_uint_t   i, opcode, fin, reserved, fragmented;

    p = *pos;
    size = end - p;
    *need = 0;
    *code = 1002;

    if (size == 0) {
        return NGX_AGAIN;
    }

    opcode = p[0] & WS_OPCODE;
    fin = (p[0] & WS_FIN) != 0;
    reserved = p[0] & WS_RESERVED;
    fragmented = state & NGX_CENTRIFUGO_WS_OPEN;

    /* the first frame of a message says that it is compressed, no other */

    if (reserved
        && (reserved != NGX_CENTRIFUGO_WS_RSV1
            || !(state & NGX_CENTRIFUGO_WS_EXTENDED)
            || opcode == NGX_CENTRIFUGO_WS_CONT || (opcode & WS_CONTROL)))
    {
        return NGX_ERROR;
    }

    switch (opcode) {

    case NGX_CENTRIFUGO_WS_CONT:
        if (!fragmented) {
            return NGX_ERROR;
        }
        break;

    case NGX_CENTRIFUGO_WS_TEXT:
    case NGX_CENTRIFUGO_WS_BINARY:
        if (fragmented) {
            return NGX_ERROR;
        }
        break;

    case NGX_CENTRIFUGO_WS_CLOSE:
    case NGX_CENTRIFUGO_WS_PING:
    case NGX_CENTRIFUGO_WS_PONG:
        if (!fin) {
            return NGX_ERROR;
        }
        break;

    default:
        return NGX_ERROR;
    }

    if (size < 2) {
        return NGX_AGAIN;
    }

    if (!(p[1] & WS_MASK)) {
        return NGX_ERROR;
    }

    len = p[1] & ~WS_MASK;
    head = 2;

    if ((opcode & WS_CONTROL) && len > NGX_CENTRIFUGO_WS_MAX_CONTROL) {
        return NGX_ERROR;
    }

    if (len >= 126) {
        head = (len == 126) ? 4 : 10;

        if (size < head) {
            return NGX_AGAIN;
        }

        for (len = 0, i = 2; i < head; i++) {
            len = len << 8 | p[i];
        }

        if (len >> 63 || len < (head == 4 ? 126 : 65536)) {
            return NGX_ERROR;
        }
    }

    head += 4;

    if (!(opcode & WS_CONTROL) && (have > limit || len > limit - have)) {
        *need = (size_t) ngx_min(len, NGX_MAX_SIZE_T_VALUE / 2) + head;
        *code = 1009;
        return NGX_ERROR;
    }

    if (size < head || size - head < len) {
        *need = head + (size_t) len;
        return NGX_AGAIN;
    }

    p += head;
    ws_unmask(p, (size_t) len, p - 4);

    frame->payload = p;
    frame->len = (size_t) len;
    frame->opcode = (u_char) opcode;
    frame->fin = fin;
    frame->compressed = (reserved != 0);

    *pos = p + len;

    return NGX_OK;
}


static void
ws_unmask(u_char *p, size_t len, const u_char *mask)
{
    size_t    i;
    uint32_t  half;
    uint64_t  key, word;

    ngx_memcpy(&half, mask, sizeof(uint32_t));
    key = (uint64_t) half << 32 | half;

    for (i = 0; i + 8 <= len; i += 8) {
        ngx_memcpy(&word, p + i, sizeof(uint64_t));
        word ^= key;
        ngx_memcpy(p + i, &word, sizeof(uint64_t));
    }

    for ( /* void */ ; i < len; i++) {
        p[i] ^= mask[i % 4];
    }
}


ngx_int_t
ngx_centrifugo_ws_parse_close(u_char *payload, size_t len, ngx_uint_t *code,
    ngx_str_t *reason)
{
    ngx_uint_t  n;

    ngx_str_null(reason);

    if (len == 0) {
        *code = 1005;
        return NGX_OK;
    }

    *code = 1002;

    if (len == 1) {
        return NGX_ERROR;
    }

    n = payload[0] << 8 | payload[1];

    if (!((n >= 1000 && n <= 1003) || (n >= 1007 && n <= 1014)
          || (n >= 3000 && n <= 4999)))
    {
        return NGX_ERROR;
    }

    reason->data = payload + 2;
    reason->len = len - 2;

    if (ngx_centrifugo_utf8_validate(reason->data, reason->len) != NGX_OK) {
        *code = 1007;
        return NGX_ERROR;
    }

    *code = n;

    return NGX_OK;
}


u_char *
ngx_centrifugo_ws_header(u_char *end, ngx_uint_t opcode, size_t len)
{
    u_char      *p;
    ngx_uint_t   i;

    p = end;

    if (len < 126) {
        *--p = (u_char) len;

    } else if (len < 65536) {
        *--p = (u_char) len;
        *--p = (u_char) (len >> 8);
        *--p = 126;

    } else {
        for (i = 0; i < 8; i++) {
            *--p = (u_char) ((uint64_t) len >> (8 * i));
        }

        *--p = 127;
    }

    *--p = (u_char) (WS_FIN | opcode);

    return p;
}


ngx_int_t
ngx_centrifugo_ws_accept(ngx_str_t *key, u_char *accept)
{
    u_char           bytes[18], digest[20];
    ngx_str_t        out, in;
    ngx_sha1_t       sha1;
    static u_char    guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

    if (key->len != WS_KEY_LEN || key->data[22] != '=' || key->data[23] != '=')
    {
        return NGX_ERROR;
    }

    in.data = key->data;
    in.len = key->len;
    out.data = bytes;

    if (memchr(in.data, '=', 22) != NULL
        || ngx_decode_base64(&out, &in) != NGX_OK
        || out.len != 16)
    {
        return NGX_ERROR;
    }

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, key->data, key->len);
    ngx_sha1_update(&sha1, guid, sizeof(guid) - 1);
    ngx_sha1_final(digest, &sha1);

    in.data = digest;
    in.len = sizeof(digest);
    out.data = accept;

    ngx_encode_base64(&out, &in);

    return NGX_OK;
}
