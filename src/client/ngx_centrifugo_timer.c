#include "ngx_centrifugo_timer.h"
#include "ngx_centrifugo_delivery.h"


static void timer_handler(ngx_event_t *ev);
static void timer_arm(ngx_centrifugo_client_t *client);
static void timer_due(ngx_centrifugo_client_t *client);
static void timer_ping(ngx_centrifugo_client_t *client);
static void timer_pinged(ngx_centrifugo_client_t *client);


static ngx_centrifugo_wheel_t  timer_wheel;
static ngx_event_t             timer_event;


void
ngx_centrifugo_timer_init(ngx_log_t *log)
{
    ngx_centrifugo_wheel_init(&timer_wheel, ngx_current_msec);

    ngx_memzero(&timer_event, sizeof(ngx_event_t));
    timer_event.handler = timer_handler;
    timer_event.log = log;
    timer_event.data = &timer_wheel;
}


void
ngx_centrifugo_timer_exit(void)
{
    if (timer_event.timer_set) {
        ngx_del_timer(&timer_event);
    }
}


void
ngx_centrifugo_timer_set(ngx_centrifugo_client_t *client,
    ngx_centrifugo_due_e kind, ngx_msec_t delay)
{
    /* 0 means none, so a time that happens to be 0 is 1 */

    client->due[kind] = delay ? ngx_max(ngx_current_msec + delay, 1) : 0;

    timer_arm(client);
}


void
ngx_centrifugo_timer_del(ngx_centrifugo_client_t *client)
{
    ngx_centrifugo_wheel_del(&timer_wheel, &client->timer);
}


ngx_msec_t
ngx_centrifugo_timer_jitter(ngx_msec_t span)
{
    return span ? (ngx_msec_t) ngx_random() % span : 0;
}


static void
timer_arm(ngx_centrifugo_client_t *client)
{
    ngx_uint_t  i;
    ngx_msec_t  next;

    next = 0;

    for (i = 0; i < NGX_CENTRIFUGO_DUE_N; i++) {
        if (client->due[i]
            && (next == 0 || (ngx_msec_int_t) (client->due[i] - next) < 0))
        {
            next = client->due[i];
        }
    }

    if (next == 0) {
        ngx_centrifugo_wheel_del(&timer_wheel, &client->timer);
        return;
    }

    next = ((ngx_msec_int_t) (next - ngx_current_msec) > 0)
           ? next - ngx_current_msec : 0;

    ngx_centrifugo_wheel_set(&timer_wheel, &client->timer, ngx_current_msec,
                             next);

    if (!timer_event.timer_set) {
        ngx_add_timer(&timer_event, NGX_CENTRIFUGO_WHEEL_STEP);
    }
}


static void
timer_handler(ngx_event_t *ev)
{
    ngx_centrifugo_client_t      *client;
    ngx_centrifugo_wheel_node_t  *node;

    for ( ;; ) {
        node = ngx_centrifugo_wheel_expire(&timer_wheel, ngx_current_msec);

        if (node == NULL) {
            break;
        }

        client = (ngx_centrifugo_client_t *)
                  ((u_char *) node - offsetof(ngx_centrifugo_client_t, timer));

        timer_due(client);
    }

    /* no session, no timer: nothing keeps an exiting worker */

    if (timer_wheel.count && !timer_event.timer_set) {
        ngx_add_timer(&timer_event, NGX_CENTRIFUGO_WHEEL_STEP);
    }
}


static void
timer_due(ngx_centrifugo_client_t *client)
{
    ngx_uint_t  i, due;

    due = 0;

    for (i = 0; i < NGX_CENTRIFUGO_DUE_N; i++) {
        if (client->due[i]
            && (ngx_msec_int_t) (client->due[i] - ngx_current_msec) <= 0)
        {
            client->due[i] = 0;
            due |= 1 << i;
        }
    }

    if (due & 1 << NGX_CENTRIFUGO_DUE_END) {
        ngx_centrifugo_client_gone(client, 1006, "no close from the peer");
        client->transport->close(client, 0, NULL);
        return;
    }

    if (due & 1 << NGX_CENTRIFUGO_DUE_WRITE) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_write,
                                    "nothing written for write_timeout");

    } else if (due & 1 << NGX_CENTRIFUGO_DUE_STALE) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_stale,
                                    "no connect for stale_close_delay");

    } else if (due & 1 << NGX_CENTRIFUGO_DUE_DRAIN) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_shutdown,
                                    "this worker ends");

    } else if (due & 1 << NGX_CENTRIFUGO_DUE_EXPIRE) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_expired,
                                    "its token was not refreshed");

    } else if ((due & 1 << NGX_CENTRIFUGO_DUE_PONG) && client->pinged) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_no_pong,
                                    "no pong for pong_timeout");

    } else {
        if (due & 1 << NGX_CENTRIFUGO_DUE_SUBSCRIPTION) {
            ngx_centrifugo_subscription_expire(client);
        }

        if ((due & 1 << NGX_CENTRIFUGO_DUE_PING)
            && client->state == NGX_CENTRIFUGO_CLIENT_CONNECTED)
        {
            timer_ping(client);
        }
    }

    timer_arm(client);
}


static void
timer_ping(ngx_centrifugo_client_t *client)
{
    ngx_centrifugo_buf_t     buf;
    ngx_centrifugo_frame_t  *frame;

    if (client->own_pings) {
        client->pinged = 1;
        client->transport->ping(client);
        timer_pinged(client);
        return;
    }

    ngx_memzero(&buf, sizeof(ngx_centrifugo_buf_t));
    client->codec->ping(&buf);

    frame = buf.failed ? NULL
            : client->transport->frame(client, buf.start,
                                       ngx_centrifugo_buf_len(&buf));
    ngx_centrifugo_buf_free(&buf);

    if (frame) {
        client->pinged = 1;
        ngx_centrifugo_delivery_append(client, frame);
        ngx_centrifugo_frame_release(frame);
        ngx_centrifugo_delivery_send(client);
    }

    timer_pinged(client);
}


static void
timer_pinged(ngx_centrifugo_client_t *client)
{
    if (client->state == NGX_CENTRIFUGO_CLIENT_CONNECTED) {
        client->due[NGX_CENTRIFUGO_DUE_PING] = ngx_current_msec
                                               + client->hcf->ping_interval;
        client->due[NGX_CENTRIFUGO_DUE_PONG] = ngx_current_msec
                                               + client->hcf->pong_timeout;
    }
}
