#include "ngx_centrifugo_wheel.h"


#define wheel_slot(wheel, at)                                                \
    (&(wheel)->slots[(at) % NGX_CENTRIFUGO_WHEEL_SLOTS])


void
ngx_centrifugo_wheel_init(ngx_centrifugo_wheel_t *wheel, ngx_msec_t now)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_CENTRIFUGO_WHEEL_SLOTS; i++) {
        ngx_queue_init(&wheel->slots[i]);
    }

    ngx_queue_init(&wheel->due);

    wheel->now = 0;
    wheel->base = now;
    wheel->count = 0;
}


void
ngx_centrifugo_wheel_set(ngx_centrifugo_wheel_t *wheel,
    ngx_centrifugo_wheel_node_t *node, ngx_msec_t now, ngx_msec_t delay)
{
    uint64_t  at;

    ngx_centrifugo_wheel_del(wheel, node);

    at = ((uint64_t) (now - wheel->base) + delay
          + NGX_CENTRIFUGO_WHEEL_STEP - 1) / NGX_CENTRIFUGO_WHEEL_STEP;

    if (at <= wheel->now) {
        at = wheel->now + 1;
    }

    node->at = at;
    ngx_queue_insert_tail(wheel_slot(wheel, at), &node->queue);
    wheel->count++;
}


void
ngx_centrifugo_wheel_del(ngx_centrifugo_wheel_t *wheel,
    ngx_centrifugo_wheel_node_t *node)
{
    if (node->queue.next == NULL) {
        return;
    }

    ngx_queue_remove(&node->queue);
    node->queue.next = NULL;
    wheel->count--;
}


ngx_centrifugo_wheel_node_t *
ngx_centrifugo_wheel_expire(ngx_centrifugo_wheel_t *wheel, ngx_msec_t now)
{
    uint64_t                      step, last;
    ngx_queue_t                  *q, *next, *slot;
    ngx_centrifugo_wheel_node_t  *node;

    step = (uint64_t) (now - wheel->base) / NGX_CENTRIFUGO_WHEEL_STEP;

    if (wheel->now < step) {

        /* after a long sleep one turn of the wheel is enough */

        last = ngx_min(step, wheel->now + NGX_CENTRIFUGO_WHEEL_SLOTS);

        while (wheel->now < last) {
            wheel->now++;
            slot = wheel_slot(wheel, wheel->now);

            for (q = ngx_queue_head(slot);
                 q != ngx_queue_sentinel(slot);
                 q = next)
            {
                next = ngx_queue_next(q);
                node = ngx_queue_data(q, ngx_centrifugo_wheel_node_t, queue);

                if (node->at <= step) {
                    ngx_queue_remove(q);
                    ngx_queue_insert_tail(&wheel->due, q);
                }
            }
        }

        wheel->now = step;
    }

    if (ngx_queue_empty(&wheel->due)) {
        return NULL;
    }

    q = ngx_queue_head(&wheel->due);
    node = ngx_queue_data(q, ngx_centrifugo_wheel_node_t, queue);
    ngx_centrifugo_wheel_del(wheel, node);

    return node;
}
