/*
 * A publisher's identity in the form in which it travels with a publication.
 */

#include "ngx_centrifugo_broker.h"


typedef struct {
    uint32_t             user;
    uint32_t             client;
    uint32_t             conn_info;
    uint32_t             chan_info;
} info_head_t;


static u_char *info_put(u_char *p, const ngx_str_t *s);


ngx_int_t
ngx_centrifugo_broker_pack_info(ngx_centrifugo_arena_t *arena,
    const ngx_centrifugo_client_info_t *info, ngx_str_t *packed)
{
    u_char         *p;
    info_head_t   head;

    head.user = (uint32_t) info->user.len;
    head.client = (uint32_t) info->client.len;
    head.conn_info = (uint32_t) info->conn_info.len;
    head.chan_info = (uint32_t) info->chan_info.len;

    packed->len = sizeof(info_head_t) + info->user.len + info->client.len
                  + info->conn_info.len + info->chan_info.len;

    packed->data = ngx_centrifugo_arena_alloc(arena, packed->len);
    if (packed->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(packed->data, &head, sizeof(info_head_t));
    p = info_put(p, &info->user);
    p = info_put(p, &info->client);
    p = info_put(p, &info->conn_info);
    (void) info_put(p, &info->chan_info);

    return NGX_OK;
}


static u_char *
info_put(u_char *p, const ngx_str_t *s)
{
    /* an absent string has no address that memcpy() may see */

    return s->len ? ngx_cpymem(p, s->data, s->len) : p;
}


ngx_int_t
ngx_centrifugo_broker_unpack_info(const ngx_str_t *packed,
    ngx_centrifugo_client_info_t *info)
{
    u_char         *p;
    uint64_t        len;
    info_head_t   head;

    if (packed->len < sizeof(info_head_t)) {
        return NGX_ERROR;
    }

    ngx_memcpy(&head, packed->data, sizeof(info_head_t));

    len = sizeof(info_head_t) + (uint64_t) head.user + head.client
          + head.conn_info + head.chan_info;

    if (len != packed->len) {
        return NGX_ERROR;
    }

    p = packed->data + sizeof(info_head_t);

    info->user.data = p;
    info->user.len = head.user;
    p += head.user;

    info->client.data = p;
    info->client.len = head.client;
    p += head.client;

    info->conn_info.data = p;
    info->conn_info.len = head.conn_info;
    p += head.conn_info;

    info->chan_info.data = p;
    info->chan_info.len = head.chan_info;

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_broker_presence_next(ngx_str_t *entries,
    ngx_centrifugo_client_info_t *info)
{
    uint32_t   len;
    ngx_str_t  packed;

    while (entries->len > sizeof(uint32_t)) {

        ngx_memcpy(&len, entries->data, sizeof(uint32_t));

        packed.data = entries->data + sizeof(uint32_t);
        packed.len = ngx_min(len, entries->len - sizeof(uint32_t));

        entries->data = packed.data + packed.len;
        entries->len -= sizeof(uint32_t) + packed.len;

        if (ngx_centrifugo_broker_unpack_info(&packed, info) == NGX_OK) {
            return NGX_OK;
        }
    }

    return NGX_DONE;
}
