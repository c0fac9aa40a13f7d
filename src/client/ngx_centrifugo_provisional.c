/*
 * PROVISIONAL: stands in for the client layer's part of orders until that is
 * there; the user's list is made anew at each call.
 */

#include "ngx_centrifugo_order.h"


ngx_centrifugo_user_t *
ngx_centrifugo_user_find(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *user)
{
    ngx_queue_t                   *q;
    ngx_centrifugo_client_t       *client;
    static ngx_centrifugo_user_t   found;

    ngx_queue_init(&found.clients);
    found.count = 0;

    for (q = ngx_queue_head(&hcf->clients);
         q != ngx_queue_sentinel(&hcf->clients);
         q = ngx_queue_next(q))
    {
        client = ngx_queue_data(q, ngx_centrifugo_client_t, link);
        client->in_user.next = NULL;

        if (client->state != NGX_CENTRIFUGO_CLIENT_CONNECTED
            || client->user.len != user->len
            || (user->len && ngx_memcmp(client->user.data, user->data,
                                        user->len) != 0))
        {
            continue;
        }

        ngx_queue_insert_tail(&found.clients, &client->in_user);
        client->user_node = &found;
        found.count++;
    }

    return found.count ? &found : NULL;
}


void
ngx_centrifugo_client_ordered(ngx_centrifugo_client_t *client,
    const struct ngx_centrifugo_order_s *order)
{
    ngx_centrifugo_disconnect_t  disconnect;

    if (order->kind == NGX_CENTRIFUGO_ORDER_DISCONNECT) {
        disconnect.code = order->code;
        disconnect.reason = order->reason;
        ngx_centrifugo_client_close(client, &disconnect, "by the API");

    } else if (order->kind == NGX_CENTRIFUGO_ORDER_REFRESH && order->expired) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_expired,
                                    "by the API");
    }
}
