/*
 * What the server says: replies to commands, pushes, pings.
 */

#include "client.h"
#include "parse.h"
#include "presence.h"
#include "verify.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>


/* ids say what they answer: connect, then two to each subscription */

#define REPLY_ID_CONNECT  1
#define reply_id(k, off)  (2 + 2 * (k) + (off))

#define REPLY_TEXT        65536


static cf_end_e reply_one(cf_client_t *c, cf_reply_t *r);
static cf_end_e reply_subscribed(cf_client_t *c, cf_reply_t *r, uint32_t k);
static void reply_publication(cf_client_t *c, cf_reply_t *r);
static uint32_t reply_find(cf_client_t *c, cf_reply_t *r);
static char *reply_token(cf_client_t *c, char *p);
static char *reply_base64(char *p, const void *data, size_t len);


static char  reply_text[REPLY_TEXT];


cf_end_e
cf_client_upgraded(cf_client_t *c)
{
    int    n;
    char  *p;

    if (cf_opt.token_secret) {
        p = reply_text + sprintf(reply_text,
                                 "{\"id\":%d,\"connect\":{\"token\":\"",
                                 REPLY_ID_CONNECT);
        p = reply_token(c, p);
        p += sprintf(p, "\"}}");
        n = (int) (p - reply_text);

    } else if (cf_opt.token) {
        n = snprintf(reply_text, REPLY_TEXT,
                     "{\"id\":%d,\"connect\":{\"token\":\"%s\"}}",
                     REPLY_ID_CONNECT, cf_opt.token);

    } else {
        n = snprintf(reply_text, REPLY_TEXT, "{\"id\":%d,\"connect\":{}}",
                     REPLY_ID_CONNECT);
    }

    return cf_ws_send(c, CF_WS_TEXT, reply_text, (size_t) n);
}


/* What this client says it is: observers have users of their own. */

const char *
cf_client_user(cf_client_t *c)
{
    uint32_t     user;
    static char  name[16];

    user = cf_presence_user(cf_client_first + cf_client_number(c));
    snprintf(name, sizeof(name), "%c%u", (user & CF_OBSERVER) ? 'o' : 'u',
             user & ~CF_OBSERVER);

    return name;
}


static char *
reply_token(cf_client_t *c, char *p)
{
    int            n;
    char          *begin;
    unsigned       len;
    unsigned char  sign[EVP_MAX_MD_SIZE];
    static char    claims[CF_INFO_MAX + 128];

    static const char  head[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";

    n = sprintf(claims, "{\"sub\":\"%s\"",
                cf_opt.users ? cf_client_user(c) : "");

    if (cf_opt.info) {
        n += sprintf(claims + n, ",\"info\":\"%0*u\"",
                     (int) cf_opt.info - 2,
                     cf_client_first + cf_client_number(c));
    }

    n += sprintf(claims + n, "}");

    begin = p;
    p = reply_base64(p, head, sizeof(head) - 1);
    *p++ = '.';
    p = reply_base64(p, claims, (size_t) n);

    HMAC(EVP_sha256(), cf_opt.token_secret, (int) strlen(cf_opt.token_secret),
         (unsigned char *) begin, (size_t) (p - begin), sign, &len);

    *p++ = '.';

    return reply_base64(p, sign, len);
}


static char *
reply_base64(char *p, const void *data, size_t len)
{
    char  *end;

    end = p + EVP_EncodeBlock((unsigned char *) p, data, (int) len);

    while (end > p && end[-1] == '=') {
        end--;
    }

    for ( /* void */ ; p < end; p++) {
        *p = (*p == '+') ? '-' : (*p == '/') ? '_' : *p;
    }

    return end;
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

    case CF_REPLY_JOIN:
    case CF_REPLY_LEAVE:

        if (cf_opt.presence) {
            cf_presence_push(c, r);
            return CF_OK;
        }

        /* fall through */

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
                return cf_client_subscribe(c, k, k + 1);
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

        if (cf_opt.presence) {
            cf_presence_connected(c, r);
        }

        if (cf_opt.subs == 0) {
            cf_client_ready(c);
            return CF_OK;
        }

        return cf_client_subscribe(c, 0, cf_opt.subs);

    default:

        /* a reply to subscribe or unsubscribe, or an error */

        if (r->kind == CF_REPLY_ERROR && r->id == REPLY_ID_CONNECT) {
            cf_client_stats->errors[cf_min(r->code, CF_CODES - 1)]++;
            cf_ws_error = "the connect command was refused";
            return CF_REFUSED_COMMAND;
        }

        if (cf_opt.presence && r->id >= reply_id(cf_opt.subs, 0)) {
            return cf_presence_reply(c, r, r->id - reply_id(cf_opt.subs, 0));
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

        if (c->observer) {
            cf_presence_begin(c, k);
        }

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

        return (c->state == CF_CLIENT_READY && !cf_opt.churn_toggle)
               ? cf_client_subscribe(c, k, k + 1) : CF_OK;
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

cf_end_e
cf_client_subscribe(cf_client_t *c, uint32_t from, uint32_t to)
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

        p += sprintf(p, "%s{\"id\":%u,\"subscribe\":{\"channel\":\"%s\"%s}}",
                     k > from ? "\n" : "", reply_id(k, 0), name,
                     c->observer ? ",\"join_leave\":true" : "");

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

    return cf_client_find(c, r->channel, r->channel_len);
}


uint32_t
cf_client_find(cf_client_t *c, const char *channel, size_t len)
{
    size_t       n;
    uint32_t     k;
    const char  *name;

    for (k = 0; k < cf_opt.subs; k++) {
        name = cf_channel_name(cf_client_channel(cf_client_number(c), k), &n);

        if (n == len && memcmp(name, channel, len) == 0) {
            return k;
        }
    }

    return CF_NO_CLIENT;
}


/* A command for presence: 0, or for presence_stats: 1. */

cf_end_e
cf_client_ask(cf_client_t *c, uint32_t k, uint32_t stats)
{
    int          n;
    size_t       len;
    const char  *name;

    name = cf_channel_name(cf_client_channel(cf_client_number(c), k), &len);
    n = snprintf(reply_text, REPLY_TEXT,
                 "{\"id\":%u,\"presence%s\":{\"channel\":\"%s\"}}",
                 reply_id(cf_opt.subs + k, stats), stats ? "_stats" : "",
                 name);

    return cf_ws_send(c, CF_WS_TEXT, reply_text, (size_t) n);
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
