/*
 * Tags of a publication: pairs of strings, packed into bytes that travel with
 * it.  Packed once, sorted by key, so that a key is found without unpacking.
 */

#ifndef _NGX_CENTRIFUGO_TAGS_H_INCLUDED_
#define _NGX_CENTRIFUGO_TAGS_H_INCLUDED_


#include "../core/ngx_centrifugo_buf.h"


typedef struct {
    ngx_str_t                 key;
    ngx_str_t                 value;
} ngx_centrifugo_tag_t;

/*
 * Packs `n` tags into the arena; of two with one key the last counts.  The
 * array is sorted by that.  NGX_OK; NGX_ERROR: no memory.
 */
ngx_int_t ngx_centrifugo_tags_pack(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_tag_t *tags, ngx_uint_t n, ngx_str_t *packed);

/*
 * The next of packed tags: takes it from the front.  NGX_OK; NGX_DONE: there is
 * none, or what follows was not made by pack.
 */
ngx_int_t ngx_centrifugo_tags_next(ngx_str_t *packed,
    ngx_centrifugo_tag_t *tag);

/*
 * The value of a key.  NGX_OK; NGX_DECLINED: there is no such tag.
 */
ngx_int_t ngx_centrifugo_tags_find(const ngx_str_t *packed,
    const ngx_str_t *key, ngx_str_t *value);


#endif /* _NGX_CENTRIFUGO_TAGS_H_INCLUDED_ */
