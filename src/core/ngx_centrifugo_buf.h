/*
 * Memory helpers for work that lasts one message: an arena and a growing byte
 * buffer.  Neither knows a pool, a request or a connection.
 */

#ifndef _NGX_CENTRIFUGO_BUF_H_INCLUDED_
#define _NGX_CENTRIFUGO_BUF_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct ngx_centrifugo_arena_block_s  ngx_centrifugo_arena_block_t;

typedef struct {
    ngx_centrifugo_arena_block_t  *blocks;      /* newest first */
    u_char                        *pos;
    u_char                        *end;
    size_t                         size;        /* of an ordinary block */
} ngx_centrifugo_arena_t;

/*
 * A byte buffer that grows.  A failed allocation sets `failed` and makes all
 * later appends do nothing, so a chain of appends is checked once, at its end.
 */
typedef struct {
    u_char                        *start;
    u_char                        *last;
    u_char                        *end;
    unsigned                       failed:1;
} ngx_centrifugo_buf_t;


/*
 * Prepares an arena whose blocks have `size` bytes; takes no memory yet.
 */
void ngx_centrifugo_arena_init(ngx_centrifugo_arena_t *arena, size_t size);

/*
 * Returns `size` bytes aligned to 16, valid until the arena is reset, or NULL
 * when there is no memory.
 */
void *ngx_centrifugo_arena_alloc(ngx_centrifugo_arena_t *arena, size_t size);

/*
 * Frees everything taken from the arena; one ordinary block is kept for the
 * next message.
 */
void ngx_centrifugo_arena_reset(ngx_centrifugo_arena_t *arena);

/* Frees the arena whole; it may be used again after an init. */
void ngx_centrifugo_arena_free(ngx_centrifugo_arena_t *arena);


/*
 * Makes room for `size` more bytes at b->last.  NGX_ERROR: no memory, `failed`
 * is set.  A zeroed buffer is a valid empty one.
 */
ngx_int_t ngx_centrifugo_buf_reserve(ngx_centrifugo_buf_t *b, size_t size);

void ngx_centrifugo_buf_append(ngx_centrifugo_buf_t *b, const void *data,
    size_t len);
void ngx_centrifugo_buf_append_uint(ngx_centrifugo_buf_t *b, uint64_t n);
void ngx_centrifugo_buf_append_int(ngx_centrifugo_buf_t *b, int64_t n);

/* Frees the bytes; the buffer is a valid empty one afterwards. */
void ngx_centrifugo_buf_free(ngx_centrifugo_buf_t *b);


#define ngx_centrifugo_buf_len(b)    ((size_t) ((b)->last - (b)->start))
#define ngx_centrifugo_buf_reset(b)                                          \
    do { (b)->last = (b)->start; (b)->failed = 0; } while (0)
#define ngx_centrifugo_buf_literal(b, s)                                     \
    ngx_centrifugo_buf_append(b, s, sizeof(s) - 1)


static ngx_inline void
ngx_centrifugo_buf_byte(ngx_centrifugo_buf_t *b, u_char c)
{
    if (b->last < b->end || ngx_centrifugo_buf_reserve(b, 1) == NGX_OK) {
        *b->last++ = c;
    }
}


#endif /* _NGX_CENTRIFUGO_BUF_H_INCLUDED_ */
