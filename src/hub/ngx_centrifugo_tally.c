/*
 * How many clients of a user or an address each worker has.
 */

#include "ngx_centrifugo_hub_shm.h"


ngx_int_t
ngx_centrifugo_hub_tally_set(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_tally_e kind, const ngx_str_t *key, uint32_t count,
    uint32_t limit)
{
    return NGX_OK;
}


void
ngx_centrifugo_hub_tally_slots(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_tally_e kind, const ngx_str_t *key, uint64_t *mask)
{
    ngx_centrifugo_hub_members(hub, mask);
}


ngx_int_t
ngx_centrifugo_hub_resync_tally(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_tally_e kind, const ngx_str_t *key, uint32_t count)
{
    return NGX_OK;
}
