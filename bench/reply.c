/*
 * What the server says: replies to commands, pushes, pings.
 */

#include "client.h"
#include "parse.h"
#include "verify.h"

#include <stdlib.h>
#include <string.h>


/* ids say what they answer: connect, then two to each subscription */

#define REPLY_ID_CONNECT  1
#define reply_id(k, off)  (2 + 2 * (k) + (off))

#define REPLY_TEXT        65536


static cf_end_e reply_one(cf_client_t *c, cf_reply_t *r);
static cf_end_e reply_subscribed(cf_client_t *c, cf_reply_t *r, uint32_t k);
static void reply_publication(cf_client_t *c, cf_reply_t *r);
static cf_end_e reply_subscribe(cf_client_t *c, uint32_t from, uint32_t to);
static uint32_t reply_find(cf_client_t *c, cf_reply_t *r);


static char  reply_text[REPLY_TEXT];


cf_end_e
cf_client_upgraded(cf_client_t *c)
{
    int  n;

    if (cf_opt.token) {
        n = snprintf(reply_text, REPLY_TEXT,
                     "{\"id\":%d,\"connect\":{\"token\":\"%s\"}}",
                     REPLY_ID_CONNECT, cf_opt.token);

    } else {
        n = snprintf(reply_text, REPLY_TEXT, "{\"id\":%d,\"connect\":{}}",
                     REPLY_ID_CONNECT);
    }

    return cf_ws_send(c, CF_WS_TEXT, reply_text, (size_t) n);
}


cf_end_e
cf_client_message(cf_client_t *c, const char *p, size_t len)
{
    cf_end_e     rc;
    cf_reply_t   reply;
    const char  *end, *next;

    end = p + len;

    do {
        next = cf_parse_push(p, end, cf_opt.size, &reply);

        if (next) {
            reply_publication(c, &reply);

        } else {
            next = memchr(p, '\n', (size_t) (end - p));
            next = next ? next : end;

            if (cf_parse_reply(p, next, &reply) != 0) {

                if (cf_client_stats->protocol_errors++ == 0) {
                    cf_warn("not a reply of the protocol: %.*s",
                            (int) cf_min(next - p, 200), p);
                }

            } else {
                rc = reply_one(c, &reply);

                if (rc != CF_OK) {
                    return rc;
                }
            }
        }

        p = next + 1;

    } while (p < end);

    return CF_OK;
}


static cf_end_e
reply_one(cf_client_t *c, cf_reply_t *r)
{
    uint32_t  k, slot;

    switch (r->kind) {

    case CF_REPLY_PING:
        cf_client_stats->pings++;
        c->pinged = cf_client_ms();

        return (c->pong && c->state != CF_CLIENT_CLOSING)
               ? cf_ws_send(c, CF_WS_TEXT, "{}", 2) : CF_OK;

    case CF_REPLY_PUBLICATION:
        reply_publication(c, r);
        return CF_OK;

    case CF_REPLY_OTHER:
        cf_client_stats->other++;
        return CF_OK;

    case CF_REPLY_UNSUBSCRIBED:
        k = reply_find(c, r);

        if (k == CF_NO_CLIENT) {
            cf_client_stats->protocol_errors++;
            return CF_OK;
        }

        cf_client_stats->unsubscribes[cf_min(r->code, CF_CODES - 1)]++;

        slot = cf_client_slot(cf_client_number(c), k);

        if (cf_client_subs[slot] >= CF_SUB_ON) {
            cf_verify_end(slot, 1);
            cf_client_subs[slot] = CF_SUB_NONE;

            /* as the SDKs do it: below 2500 it is for good */

            if (r->code >= 2500 && c->state == CF_CLIENT_READY) {
                return reply_subscribe(c, k, k + 1);
            }
        }

        return CF_OK;

    case CF_REPLY_CONNECT:

        if (c->state != CF_CLIENT_CONNECT || r->id != REPLY_ID_CONNECT) {
            break;
        }

        c->ping = (uint16_t) cf_min(r->ping, 65535);
        c->pong = (r->pong != 0);
        c->pinged = cf_client_ms();
        c->state = CF_CLIENT_SUBSCRIBE;

        if (cf_opt.subs == 0) {
            cf_client_ready(c);
            return CF_OK;
        }

        return reply_subscribe(c, 0, cf_opt.subs);

    default:

        /* a reply to subscribe or unsubscribe, or an error */

        if (r->kind == CF_REPLY_ERROR && r->id == REPLY_ID_CONNECT) {
            cf_client_stats->errors[cf_min(r->code, CF_CODES - 1)]++;
            cf_ws_error = "the connect command was refused";
            return CF_REFUSED_COMMAND;
        }

        k = (r->id - 2) / 2;

        if (r->id < 2 || k >= cf_opt.subs) {
            break;
        }

        return reply_subscribed(c, r, k);
    }

    cf_client_stats->protocol_errors++;
    cf_warn("client %u: a reply to nothing, id %u",
            cf_client_first + cf_client_number(c), r->id);

    return CF_OK;
}


static cf_end_e
reply_subscribed(cf_client_t *c, cf_reply_t *r, uint32_t k)
{
    uint32_t     slot;
    static char  text[80];

    slot = cf_client_slot(cf_client_number(c), k);

    if (r->kind == CF_REPLY_ERROR) {
        cf_client_stats->errors[cf_min(r->code, CF_CODES - 1)]++;
        snprintf(text, sizeof(text), "a %s command was refused: error %u",
                 (r->id & 1) ? "unsubscribe" : "subscribe", r->code);
        cf_ws_error = text;
        return CF_REFUSED_COMMAND;
    }

    if (r->kind == CF_REPLY_SUBSCRIBE && r->id == reply_id(k, 0)
        && cf_client_subs[slot] == CF_SUB_WAIT)
    {
        cf_client_subs[slot] = CF_SUB_ON;
        cf_client_stats->subscriptions++;
        cf_verify_begin(slot, cf_client_channel(cf_client_number(c), k));

        if (c->state == CF_CLIENT_SUBSCRIBE && ++c->nsubs == cf_opt.subs) {
            cf_client_ready(c);
        }

        return CF_OK;
    }

    if (r->kind == CF_REPLY_UNSUBSCRIBE && r->id == reply_id(k, 1)
        && (cf_client_subs[slot] == CF_SUB_LEAVE
            || cf_client_subs[slot] == CF_SUB_NONE))
    {
        if (cf_client_subs[slot] == CF_SUB_LEAVE) {
            cf_verify_end(slot, 0);
        }

        cf_client_subs[slot] = CF_SUB_NONE;

        return (c->state == CF_CLIENT_READY)
               ? reply_subscribe(c, k, k + 1) : CF_OK;
    }

    cf_client_stats->protocol_errors++;
    cf_warn("client %u: a reply that does not fit, id %u",
            cf_client_first + cf_client_number(c), r->id);

    return CF_OK;
}


static void
reply_publication(cf_client_t *c, cf_reply_t *r)
{
    uint32_t  k, n, slot;

    cf_client_stats->deliveries++;

    n = cf_client_number(c);
    k = reply_find(c, r);
    slot = cf_client_slot(n, k);

    if (k == CF_NO_CLIENT || cf_client_subs[slot] < CF_SUB_ON) {

        if (cf_client_stats->stray++ == 0) {
            cf_warn("client %u: a publication of a channel that it is not "
                    "subscribed to", cf_client_first + n);
        }

        return;
    }

    cf_verify_delivery(slot, cf_client_channel(n, k), r->data, r->data_len,
                       cf_ws_now);
}


/* One message with a command for each of the subscriptions from..to-1. */

static cf_end_e
reply_subscribe(cf_client_t *c, uint32_t from, uint32_t to)
{
    char        *p;
    size_t       len;
    uint32_t     k, n, channel;
    const char  *name;

    n = cf_client_number(c);
    p = reply_text;

    for (k = from; k < to; k++) {
        channel = cf_client_channel(n, k);
        name = cf_channel_name(channel, &len);

        if ((size_t) (reply_text + REPLY_TEXT - p) < len + 80) {
            cf_die("too many --subs for one message");
        }

        p += sprintf(p, "%s{\"id\":%u,\"subscribe\":{\"channel\":\"%s\"}}",
                     k > from ? "\n" : "", reply_id(k, 0), name);

        cf_client_subs[cf_client_slot(n, k)] = CF_SUB_WAIT;
    }

    return cf_ws_send(c, CF_WS_TEXT, reply_text,
                      (size_t) (p - reply_text));
}


/*
 * Which subscription a push is for. The payload names its channel, which is
 * a good guess; the name in the push decides.
 */

static uint32_t
reply_find(cf_client_t *c, cf_reply_t *r)
{
    size_t       len;
    uint32_t     k, n, base;
    const char  *name;

    n = cf_client_number(c);

    if (r->data && cf_opt.subs > 1) {
        base = cf_client_channel(n, 0);
        k = cf_payload_channel(r->data, r->data_len) % cf_channels;
        k = (k + cf_channels - base) % cf_channels;

        if (k < cf_opt.subs) {
            name = cf_channel_name(cf_client_channel(n, k), &len);

            if (len == r->channel_len && memcmp(name, r->channel, len) == 0)
            {
                return k;
            }
        }
    }

    for (k = 0; k < cf_opt.subs; k++) {
        name = cf_channel_name(cf_client_channel(n, k), &len);

        if (len == r->channel_len && memcmp(name, r->channel, len) == 0) {
            return k;
        }
    }

    return CF_NO_CLIENT;
}


void
cf_client_unsubscribe(cf_client_t *c, uint32_t k)
{
    int          n;
    size_t       len;
    uint32_t     channel;
    const char  *name;

    channel = cf_client_channel(cf_client_number(c), k);
    name = cf_channel_name(channel, &len);
    n = snprintf(reply_text, REPLY_TEXT,
                 "{\"id\":%u,\"unsubscribe\":{\"channel\":\"%s\"}}",
                 reply_id(k, 1), name);

    (void) cf_ws_send(c, CF_WS_TEXT, reply_text, (size_t) n);
}


uint32_t
cf_client_channel(uint32_t n, uint32_t k)
{
    return (uint32_t) (((uint64_t) (cf_client_first + n) * cf_opt.subs + k)
                       % cf_channels);
}
