/*
 * An order as bytes: a head of fixed size, then strings with their lengths.
 */

#include "ngx_centrifugo_order.h"


#define ORDER_FORM     3        /* of the bytes: workers of another build of
                                   the module may read them */
#define ORDER_STRINGS  7


typedef struct {
    uint32_t             form;
    uint32_t             kind;
    int64_t              expire_at;
    uint64_t             ticket;
    uint64_t             offset;        /* since */
    uint64_t             epoch;
    uint32_t             expired;
    uint32_t             set;
    uint32_t             value;
    uint32_t             code;
    uint32_t             nwhitelist;
    uint32_t             recover;
} order_head_t;


static void order_put(ngx_centrifugo_buf_t *b, const ngx_str_t *s);
static ngx_int_t order_get(u_char **pos, u_char *end, ngx_str_t *s);


void
ngx_centrifugo_order_encode(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_order_t *order)
{
    ngx_uint_t    i;
    order_head_t  head;

    ngx_memzero(&head, sizeof(order_head_t));

    head.form = ORDER_FORM;
    head.kind = order->kind;
    head.expire_at = order->expire_at;
    head.ticket = order->ticket;
    head.expired = (order->expired != 0);
    head.set = (uint32_t) order->override.set;
    head.value = (uint32_t) order->override.value;
    head.code = (uint32_t) order->code;
    head.nwhitelist = (uint32_t) order->nwhitelist;
    head.offset = order->since.offset;
    head.epoch = order->since.epoch;
    head.recover = order->recover;

    ngx_centrifugo_buf_append(b, &head, sizeof(order_head_t));

    order_put(b, &order->user);
    order_put(b, &order->client);
    order_put(b, &order->session);
    order_put(b, &order->channel);
    order_put(b, &order->info);
    order_put(b, &order->data);
    order_put(b, &order->reason);

    for (i = 0; i < order->nwhitelist; i++) {
        order_put(b, &order->whitelist[i]);
    }
}


static void
order_put(ngx_centrifugo_buf_t *b, const ngx_str_t *s)
{
    uint32_t  len;

    len = (uint32_t) s->len;

    ngx_centrifugo_buf_append(b, &len, sizeof(uint32_t));
    ngx_centrifugo_buf_append(b, s->data, s->len);
}


ngx_int_t
ngx_centrifugo_order_decode(ngx_centrifugo_arena_t *arena,
    const ngx_str_t *bytes, ngx_centrifugo_order_t *order)
{
    u_char        *p, *end;
    ngx_uint_t     i;
    order_head_t   head;
    ngx_str_t     *strings[ORDER_STRINGS];

    if (bytes->len < sizeof(order_head_t)) {
        return NGX_ERROR;
    }

    ngx_memzero(order, sizeof(ngx_centrifugo_order_t));
    ngx_memcpy(&head, bytes->data, sizeof(order_head_t));

    p = bytes->data + sizeof(order_head_t);
    end = bytes->data + bytes->len;

    if (head.form != ORDER_FORM
        || head.kind < NGX_CENTRIFUGO_ORDER_SUBSCRIBE
        || head.kind > NGX_CENTRIFUGO_ORDER_REFRESH
        || head.nwhitelist > (size_t) (end - p) / sizeof(uint32_t))
    {
        return NGX_ERROR;
    }

    order->kind = head.kind;
    order->expire_at = head.expire_at;
    order->ticket = head.ticket;
    order->expired = head.expired;
    order->override.set = head.set;
    order->override.value = head.value;
    order->code = head.code;
    order->since.offset = head.offset;
    order->since.epoch = head.epoch;
    order->recover = (head.recover != 0);

    strings[0] = &order->user;
    strings[1] = &order->client;
    strings[2] = &order->session;
    strings[3] = &order->channel;
    strings[4] = &order->info;
    strings[5] = &order->data;
    strings[6] = &order->reason;

    for (i = 0; i < ORDER_STRINGS; i++) {
        if (order_get(&p, end, strings[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (head.nwhitelist) {
        order->nwhitelist = head.nwhitelist;
        order->whitelist = ngx_centrifugo_arena_alloc(arena,
                                        head.nwhitelist * sizeof(ngx_str_t));
        if (order->whitelist == NULL) {
            return NGX_ABORT;
        }

        for (i = 0; i < order->nwhitelist; i++) {
            if (order_get(&p, end, &order->whitelist[i]) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    return (p == end) ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
order_get(u_char **pos, u_char *end, ngx_str_t *s)
{
    u_char    *p;
    uint32_t   len;

    p = *pos;

    if ((size_t) (end - p) < sizeof(uint32_t)) {
        return NGX_ERROR;
    }

    ngx_memcpy(&len, p, sizeof(uint32_t));
    p += sizeof(uint32_t);

    if (len > (size_t) (end - p)) {
        return NGX_ERROR;
    }

    s->data = p;
    s->len = len;
    *pos = p + len;

    return NGX_OK;
}
