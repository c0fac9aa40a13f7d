/*
 * Lists of publications as engines give them, and the rule of recovery.
 */

#include "ngx_centrifugo_broker.h"


ngx_int_t
ngx_centrifugo_broker_publication_next(ngx_str_t *publications,
    ngx_centrifugo_publication_t *pub, ngx_centrifugo_client_info_t *info)
{
    u_char                   *p;
    uint64_t                  size;
    ngx_str_t                 packed;
    ngx_centrifugo_stored_t   stored;

    if (publications->len < sizeof(ngx_centrifugo_stored_t)) {
        return NGX_DONE;
    }

    ngx_memcpy(&stored, publications->data, sizeof(ngx_centrifugo_stored_t));

    size = ngx_centrifugo_stored_size((uint64_t) stored.info_len,
                                      stored.tags_len, stored.data_len);

    if (size > publications->len) {
        return NGX_DONE;
    }

    p = publications->data + sizeof(ngx_centrifugo_stored_t);

    publications->data += size;
    publications->len -= size;

    ngx_memzero(pub, sizeof(ngx_centrifugo_publication_t));

    packed.data = p;
    packed.len = stored.info_len;
    p += stored.info_len;

    pub->tags.data = p;
    pub->tags.len = stored.tags_len;
    p += stored.tags_len;

    pub->type = NGX_CENTRIFUGO_PUSH_PUBLICATION;
    pub->data.data = p;
    pub->data.len = stored.data_len;
    pub->offset = stored.offset;
    pub->json = (stored.flags & NGX_CENTRIFUGO_PUB_JSON) != 0;
    pub->delta = (stored.flags & NGX_CENTRIFUGO_PUB_DELTA) != 0;

    if (packed.len
        && ngx_centrifugo_broker_unpack_info(&packed, info) == NGX_OK)
    {
        pub->info = info;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_centrifugo_broker_recovered(const ngx_centrifugo_position_t *since,
    const ngx_centrifugo_position_t *top, ngx_uint_t n, uint64_t first,
    uint64_t last)
{
    if (since->epoch && since->epoch != top->epoch) {
        return 0;
    }

    if (n == 0) {
        return since->offset == top->offset;
    }

    return first == since->offset + 1 && last == top->offset;
}
