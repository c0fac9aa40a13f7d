#include "ngx_centrifugo_buf.h"


#define NGX_CENTRIFUGO_ARENA_ALIGN  16
#define NGX_CENTRIFUGO_BUF_MIN      256


struct ngx_centrifugo_arena_block_s {
    ngx_centrifugo_arena_block_t  *next;
    size_t                         size;
};


void
ngx_centrifugo_arena_init(ngx_centrifugo_arena_t *arena, size_t size)
{
    ngx_memzero(arena, sizeof(ngx_centrifugo_arena_t));
    arena->size = size;
}


void *
ngx_centrifugo_arena_alloc(ngx_centrifugo_arena_t *arena, size_t size)
{
    u_char                        *p;
    size_t                         n;
    ngx_centrifugo_arena_block_t  *block;

    if (size > NGX_MAX_SIZE_T_VALUE / 2) {
        return NULL;
    }

    size = ngx_align(size, NGX_CENTRIFUGO_ARENA_ALIGN);

    if ((size_t) (arena->end - arena->pos) >= size && arena->pos != NULL) {
        p = arena->pos;
        arena->pos += size;
        return p;
    }

    n = ngx_max(arena->size, size);

    block = malloc(sizeof(ngx_centrifugo_arena_block_t) + n);
    if (block == NULL) {
        return NULL;
    }

    p = (u_char *) (block + 1);
    block->size = n;

    if (n > arena->size && arena->blocks != NULL) {

        /* a large piece gets a block of its own, the current one goes on */

        block->next = arena->blocks->next;
        arena->blocks->next = block;
        return p;
    }

    block->next = arena->blocks;
    arena->blocks = block;
    arena->pos = p + size;
    arena->end = p + n;

    return p;
}


void
ngx_centrifugo_arena_reset(ngx_centrifugo_arena_t *arena)
{
    ngx_centrifugo_arena_block_t  *block, *next, *keep;

    keep = NULL;

    for (block = arena->blocks; block; block = next) {
        next = block->next;

        if (keep == NULL && block->size == arena->size) {
            keep = block;
            continue;
        }

        free(block);
    }

    arena->blocks = keep;

    if (keep == NULL) {
        arena->pos = NULL;
        arena->end = NULL;
        return;
    }

    keep->next = NULL;
    arena->pos = (u_char *) (keep + 1);
    arena->end = arena->pos + keep->size;
}


void
ngx_centrifugo_arena_free(ngx_centrifugo_arena_t *arena)
{
    ngx_centrifugo_arena_reset(arena);

    free(arena->blocks);

    arena->blocks = NULL;
    arena->pos = NULL;
    arena->end = NULL;
}


ngx_int_t
ngx_centrifugo_buf_reserve(ngx_centrifugo_buf_t *b, size_t size)
{
    u_char  *p;
    size_t   len, n;

    if (b->failed) {
        return NGX_ERROR;
    }

    if ((size_t) (b->end - b->last) >= size) {
        return NGX_OK;
    }

    len = ngx_centrifugo_buf_len(b);

    if (size > NGX_MAX_SIZE_T_VALUE / 4 || len > NGX_MAX_SIZE_T_VALUE / 4) {
        b->failed = 1;
        return NGX_ERROR;
    }

    n = ngx_max((size_t) (b->end - b->start) * 2, len + size);
    n = ngx_max(n, NGX_CENTRIFUGO_BUF_MIN);

    p = realloc(b->start, n);
    if (p == NULL) {
        b->failed = 1;
        return NGX_ERROR;
    }

    b->start = p;
    b->last = p + len;
    b->end = p + n;

    return NGX_OK;
}


void
ngx_centrifugo_buf_append(ngx_centrifugo_buf_t *b, const void *data,
    size_t len)
{
    if (len == 0 || ngx_centrifugo_buf_reserve(b, len) != NGX_OK) {
        return;
    }

    b->last = ngx_cpymem(b->last, data, len);
}


void
ngx_centrifugo_buf_append_uint(ngx_centrifugo_buf_t *b, uint64_t n)
{
    u_char  *p, digits[20];

    p = digits + sizeof(digits);

    do {
        *--p = (u_char) ('0' + n % 10);
        n /= 10;
    } while (n);

    ngx_centrifugo_buf_append(b, p, digits + sizeof(digits) - p);
}


void
ngx_centrifugo_buf_append_int(ngx_centrifugo_buf_t *b, int64_t n)
{
    if (n < 0) {
        ngx_centrifugo_buf_byte(b, '-');
        ngx_centrifugo_buf_append_uint(b, -(uint64_t) n);
        return;
    }

    ngx_centrifugo_buf_append_uint(b, (uint64_t) n);
}


void
ngx_centrifugo_buf_free(ngx_centrifugo_buf_t *b)
{
    free(b->start);
    ngx_memzero(b, sizeof(ngx_centrifugo_buf_t));
}
