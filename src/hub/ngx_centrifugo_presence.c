/*
 * Presence: who is in a channel.  Entries are records of the channel's shard.
 */

#include "ngx_centrifugo_hub_shm.h"


ngx_int_t
ngx_centrifugo_hub_announce(ngx_centrifugo_hub_t *hub,
    const ngx_str_t *channel, ngx_centrifugo_entry_e type,
    const ngx_str_t *info, uint64_t time)
{
    return NGX_ERROR;
}


ngx_int_t
ngx_centrifugo_hub_presence_add(ngx_centrifugo_hub_t *hub,
    const ngx_centrifugo_presence_t *presence, uint64_t time)
{
    return NGX_ERROR;
}


ngx_int_t
ngx_centrifugo_hub_presence_remove(ngx_centrifugo_hub_t *hub,
    const ngx_str_t *channel, const u_char *client, uint64_t time)
{
    return NGX_ERROR;
}


ngx_int_t
ngx_centrifugo_hub_presence_read(ngx_centrifugo_hub_t *hub,
    const ngx_str_t *channel, ngx_centrifugo_presence_cursor_t *cursor,
    u_char *buf, size_t size, size_t *len)
{
    return NGX_ERROR;
}


ngx_int_t
ngx_centrifugo_hub_presence_users(ngx_centrifugo_hub_t *hub,
    const ngx_str_t *channel, ngx_centrifugo_presence_cursor_t *cursor,
    uint64_t *users, ngx_uint_t max, ngx_uint_t *n)
{
    return NGX_ERROR;
}
