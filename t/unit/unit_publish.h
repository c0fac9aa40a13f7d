/*
 * A publication without history, tags or options; a subscription without a
 * position.
 */

#ifndef UNIT_PUBLISH_H
#define UNIT_PUBLISH_H

#include "hub/ngx_centrifugo_hub.h"


static ngx_inline ngx_int_t
unit_publish(ngx_centrifugo_hub_t *hub, const ngx_str_t *channel,
    const ngx_str_t *info, const ngx_str_t *data, ngx_uint_t json,
    uint64_t time)
{
    ngx_centrifugo_position_t         position;
    ngx_centrifugo_hub_publication_t  pub;

    memset(&pub, 0, sizeof(pub));
    pub.channel = *channel;
    pub.info = *info;
    pub.data = *data;
    pub.flags = json ? NGX_CENTRIFUGO_PUB_JSON : 0;
    pub.time = time;

    return ngx_centrifugo_hub_publish(hub, &pub, &position);
}


static ngx_inline ngx_int_t
unit_join(ngx_centrifugo_hub_t *hub, const ngx_str_t *channel,
    ngx_centrifugo_join_t *join)
{
    memset(join, 0, sizeof(*join));

    return ngx_centrifugo_hub_join(hub, channel, join, NULL, NULL);
}

#endif
