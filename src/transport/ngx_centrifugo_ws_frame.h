/*
 * WebSocket frames (RFC 6455, section 5): the parser of what a client sends,
 * and the header of what the server sends.  No socket, no memory of its own.
 */

#ifndef _NGX_CENTRIFUGO_WS_FRAME_H_INCLUDED_
#define _NGX_CENTRIFUGO_WS_FRAME_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_CENTRIFUGO_WS_CONT      0x0
#define NGX_CENTRIFUGO_WS_TEXT      0x1
#define NGX_CENTRIFUGO_WS_BINARY    0x2
#define NGX_CENTRIFUGO_WS_CLOSE     0x8
#define NGX_CENTRIFUGO_WS_PING      0x9
#define NGX_CENTRIFUGO_WS_PONG      0xa

/* beside the opcode: the message is compressed; and of what is read so far */
#define NGX_CENTRIFUGO_WS_RSV1      0x40

#define NGX_CENTRIFUGO_WS_OPEN      1   /* a continuation is due */
#define NGX_CENTRIFUGO_WS_EXTENDED  2   /* RSV1 may be set, by an extension */

#define NGX_CENTRIFUGO_WS_MAX_HEADER   10   /* of a server's frame */
#define NGX_CENTRIFUGO_WS_MAX_CONTROL  125

typedef struct {
    u_char      *payload;       /* inside the input, unmasked in place */
    size_t       len;
    u_char       opcode;
    unsigned     fin:1;
    unsigned     compressed:1;  /* RSV1 */
} ngx_centrifugo_ws_frame_t;


/*
 * Looks at one frame at *pos in [*pos, end).  `state` are bits from above,
 * `have` are the bytes of an open message that are there already, `limit` how
 * many a message may have.
 *
 * NGX_OK        a whole frame: unmasked, described in `frame`, *pos behind it
 * NGX_AGAIN     not there whole yet; *pos is unchanged, nothing was unmasked;
 *               *need is how many bytes from *pos on the frame takes, or 0
 *               while even its header is incomplete
 * NGX_ERROR     close with *code: 1002 (reserved bits or opcode, no mask, bad
 *               control frame, unexpected continuation or new message,
 *               64-bit length with its top bit set or a length not in its
 *               shortest form) or 1009 (the
 *               message would exceed `limit`; known from the header alone;
 *               *need is what the frame takes, so that it can be passed over)
 */
ngx_int_t ngx_centrifugo_ws_parse(u_char **pos, u_char *end,
    ngx_uint_t state, size_t have, size_t limit,
    ngx_centrifugo_ws_frame_t *frame, size_t *need, ngx_uint_t *code);

/*
 * Checks the payload of a close frame: NGX_OK with *code (1005 when it is
 * empty) and `reason`, or NGX_ERROR with *code 1002 (one byte, a code that
 * must not be sent) or 1007 (the reason is not UTF-8).
 */
ngx_int_t ngx_centrifugo_ws_parse_close(u_char *payload, size_t len,
    ngx_uint_t *code, ngx_str_t *reason);

/*
 * Writes the header of an unmasked final frame so that it ENDS at `end`
 * (`opcode` perhaps with NGX_CENTRIFUGO_WS_RSV1);
 * returns its first byte (at most NGX_CENTRIFUGO_WS_MAX_HEADER before `end`).
 */
u_char *ngx_centrifugo_ws_header(u_char *end, ngx_uint_t opcode, size_t len);

/*
 * Sec-WebSocket-Accept for the given key: 28 bytes into `accept`.
 * NGX_ERROR: the key is not the base64 form of 16 bytes.
 */
ngx_int_t ngx_centrifugo_ws_accept(ngx_str_t *key, u_char *accept);


#endif /* _NGX_CENTRIFUGO_WS_FRAME_H_INCLUDED_ */
