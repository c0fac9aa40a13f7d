/*
 * Replies of the server: the common one by comparison at fixed positions,
 * everything else by a strict parser of JSON that knows each key.
 */

#include "parse.h"

#include <string.h>


#define PARSE_DEPTH  64

#define parse_is(p, end, text)                                               \
    ((size_t) ((end) - (p)) >= sizeof(text) - 1                              \
     && memcmp(p, text, sizeof(text) - 1) == 0)


typedef struct {
    const char  *p;
    const char  *end;
    unsigned     seen;
    unsigned     count;
} parse_object_t;


static int parse_connect(const char **p, const char *end, cf_reply_t *reply);
static int parse_push(const char **p, const char *end, cf_reply_t *reply);
static int parse_publication(const char **p, const char *end,
    cf_reply_t *reply);
static int parse_presence(const char **p, const char *end,
    cf_reply_t *reply);
static int parse_stats(const char **p, const char *end, cf_reply_t *reply);
static int parse_event(const char **p, const char *end, cf_info_t *info);
static int parse_info(const char **p, const char *end, cf_info_t *info);
static int parse_text(const char **p, const char *end, const char **text,
    size_t *len);
static int parse_code(const char **p, const char *end, uint32_t *code);
static int parse_skip(const char **p, const char *end,
    const char *const *keys);
static int parse_open(parse_object_t *o, const char *p, const char *end);
static int parse_key(parse_object_t *o, const char *const *keys);
static int parse_uint(const char **p, const char *end, uint32_t *value);
static int parse_bool(const char **p, const char *end, int *value);
static const char *parse_value(const char *p, const char *end,
    unsigned depth);
static const char *parse_container(const char *p, const char *end,
    unsigned depth);
static const char *parse_string(const char *p, const char *end);
static const char *parse_number(const char *p, const char *end);
static const char *parse_blank(const char *p, const char *end);


static const char *const  parse_reply_keys[] = {
    "id", "error", "connect", "subscribe", "unsubscribe", "push", "presence",
    "presence_stats", NULL
};

static const char *const  parse_connect_keys[] = {
    "ping", "pong", "client", "version", "expires", "ttl", "data", "subs",
    "session", "node", "time", NULL
};

static const char *const  parse_subscribe_keys[] = {
    "expires", "ttl", "recoverable", "epoch", "publications", "recovered",
    "offset", "positioned", "data", "was_recovering", "delta", "id", NULL
};

static const char *const  parse_none[] = { NULL };

static const char *const  parse_push_keys[] = {
    "channel", "pub", "unsubscribe", "join", "leave", "message", "subscribe",
    "connect", "disconnect", "refresh", NULL
};

static const char *const  parse_publication_keys[] = {
    "data", "info", "offset", "tags", "delta", "channel", "key", "removed",
    "score", "epoch", "version", NULL
};

static const char *const  parse_presence_keys[] = { "presence", NULL };

static const char *const  parse_stats_keys[] = {
    "num_clients", "num_users", NULL
};

static const char *const  parse_event_keys[] = { "info", NULL };

static const char *const  parse_info_keys[] = {
    "user", "client", "conn_info", "chan_info", NULL
};

static const char *const  parse_code_keys[] = {
    "code", "message", "reason", "temporary", NULL
};

static const char *const  parse_api_keys[] = {
    "id", "error", "result", NULL
};


const char *
cf_parse_push(const char *p, const char *end, size_t size,
    cf_reply_t *reply)
{
    const char  *q;

    if (!parse_is(p, end, "{\"push\":{\"channel\":\"")) {
        return NULL;
    }

    p += sizeof("{\"push\":{\"channel\":\"") - 1;

    q = memchr(p, '"', end - p);
    if (q == NULL || !parse_is(q, end, "\",\"pub\":{\"data\":")) {
        return NULL;
    }

    reply->channel = p;
    reply->channel_len = q - p;

    p = q + sizeof("\",\"pub\":{\"data\":") - 1;

    if ((size_t) (end - p) < size + 3) {
        return NULL;
    }

    reply->data = p;
    reply->data_len = size;

    p += size;

    if (parse_is(p, end, ",\"offset\":")) {
        p += sizeof(",\"offset\":") - 1;

        if (p == end || *p < '1' || *p > '9') {
            return NULL;
        }

        while (p < end && *p >= '0' && *p <= '9') {
            p++;
        }
    }

    if (!parse_is(p, end, "}}}")) {
        return NULL;
    }

    p += 3;

    if (p < end && *p != '\n') {
        return NULL;
    }

    reply->kind = CF_REPLY_PUBLICATION;

    return p;
}


int
cf_parse_reply(const char *p, const char *end, cf_reply_t *reply)
{
    int             rc;
    parse_object_t  o;

    memset(reply, 0, sizeof(cf_reply_t));

    if (parse_open(&o, p, end) != 0) {
        return -1;
    }

    while ((rc = parse_key(&o, parse_reply_keys)) > 0) {

        if (rc > 1 && reply->kind != CF_REPLY_PING) {
            return -1;
        }

        switch (rc - 1) {

        case 0:
            rc = parse_uint(&o.p, end, &reply->id);
            break;

        case 1:
            reply->kind = CF_REPLY_ERROR;
            rc = parse_code(&o.p, end, &reply->code);
            break;

        case 2:
            reply->kind = CF_REPLY_CONNECT;
            rc = parse_connect(&o.p, end, reply);
            break;

        case 3:
            reply->kind = CF_REPLY_SUBSCRIBE;
            rc = parse_skip(&o.p, end, parse_subscribe_keys);
            break;

        case 4:
            reply->kind = CF_REPLY_UNSUBSCRIBE;
            rc = parse_skip(&o.p, end, parse_none);
            break;

        case 6:
            reply->kind = CF_REPLY_PRESENCE;
            rc = parse_presence(&o.p, end, reply);
            break;

        case 7:
            reply->kind = CF_REPLY_PRESENCE_STATS;
            rc = parse_stats(&o.p, end, reply);
            break;

        default:
            rc = parse_push(&o.p, end, reply);
            break;
        }

        if (rc != 0) {
            return -1;
        }
    }

    if (rc < 0 || parse_blank(o.p, end) != end) {
        return -1;
    }

    /* a push has no id, a reply has one, a ping has nothing at all */

    switch (reply->kind) {

    case CF_REPLY_PING:
        return o.seen ? -1 : 0;

    case CF_REPLY_CONNECT:
    case CF_REPLY_SUBSCRIBE:
    case CF_REPLY_UNSUBSCRIBE:
    case CF_REPLY_PRESENCE:
    case CF_REPLY_PRESENCE_STATS:
    case CF_REPLY_ERROR:
        return reply->id ? 0 : -1;

    default:
        return (o.seen & 1) ? -1 : 0;
    }
}


int
cf_parse_api(const char *p, const char *end)
{
    int             rc, found;
    uint32_t        id, code;
    parse_object_t  o;

    if (parse_open(&o, p, end) != 0) {
        return -1;
    }

    found = -1;

    while ((rc = parse_key(&o, parse_api_keys)) > 0) {

        switch (rc - 1) {

        case 0:
            rc = parse_uint(&o.p, end, &id);
            break;

        case 1:
            code = 0;
            rc = parse_code(&o.p, end, &code);
            found = (code > 0) ? (int) code : -1;
            break;

        default:
            o.p = parse_value(o.p, end, 0);
            rc = (o.p == NULL) ? -1 : 0;
            found = 0;
            break;
        }

        if (rc != 0) {
            return -1;
        }
    }

    if (rc < 0 || parse_blank(o.p, end) != end) {
        return -1;
    }

    return found;
}


static int
parse_connect(const char **p, const char *end, cf_reply_t *reply)
{
    int             rc;
    parse_object_t  o;

    if (parse_open(&o, *p, end) != 0) {
        return -1;
    }

    while ((rc = parse_key(&o, parse_connect_keys)) > 0) {

        switch (rc - 1) {

        case 0:
            rc = parse_uint(&o.p, end, &reply->ping);
            break;

        case 1:
            rc = parse_bool(&o.p, end, &reply->pong);
            break;

        case 2:
            rc = parse_text(&o.p, end, &reply->info.client,
                            &reply->info.client_len);
            break;

        default:
            o.p = parse_value(o.p, end, 0);
            rc = (o.p == NULL) ? -1 : 0;
            break;
        }

        if (rc != 0) {
            return -1;
        }
    }

    *p = o.p;

    return rc;
}


static int
parse_push(const char **p, const char *end, cf_reply_t *reply)
{
    int             rc;
    const char     *start;
    parse_object_t  o;

    if (parse_open(&o, *p, end) != 0) {
        return -1;
    }

    while ((rc = parse_key(&o, parse_push_keys)) > 0) {

        if (rc > 1 && reply->kind != CF_REPLY_PING) {
            return -1;
        }

        switch (rc - 1) {

        case 0:
            start = o.p + 1;
            o.p = parse_string(o.p, end);

            if (o.p == NULL) {
                return -1;
            }

            reply->channel = start;
            reply->channel_len = o.p - 1 - start;
            rc = 0;
            break;

        case 1:
            reply->kind = CF_REPLY_PUBLICATION;
            rc = parse_publication(&o.p, end, reply);
            break;

        case 2:
            reply->kind = CF_REPLY_UNSUBSCRIBED;
            rc = parse_code(&o.p, end, &reply->code);
            break;

        case 3:
            reply->kind = CF_REPLY_JOIN;
            rc = parse_event(&o.p, end, &reply->info);
            break;

        case 4:
            reply->kind = CF_REPLY_LEAVE;
            rc = parse_event(&o.p, end, &reply->info);
            break;

        default:
            reply->kind = CF_REPLY_OTHER;
            o.p = parse_value(o.p, end, 0);
            rc = (o.p == NULL) ? -1 : 0;
            break;
        }

        if (rc != 0) {
            return -1;
        }
    }

    if (rc < 0 || reply->kind == CF_REPLY_PING
        || (reply->kind != CF_REPLY_OTHER && reply->channel == NULL))
    {
        return -1;
    }

    *p = o.p;

    return 0;
}


static int
parse_publication(const char **p, const char *end, cf_reply_t *reply)
{
    int             rc;
    const char     *start;
    parse_object_t  o;

    if (parse_open(&o, *p, end) != 0) {
        return -1;
    }

    while ((rc = parse_key(&o, parse_publication_keys)) > 0) {

        start = o.p;
        o.p = parse_value(o.p, end, 0);

        if (o.p == NULL) {
            return -1;
        }

        if (rc == 1) {
            reply->data = start;
            reply->data_len = o.p - start;
        }
    }

    *p = o.p;

    return (rc == 0 && reply->data) ? 0 : -1;
}


static int
parse_presence(const char **p, const char *end, cf_reply_t *reply)
{
    int             rc;
    const char     *start;
    parse_object_t  o;

    if (parse_open(&o, *p, end) != 0) {
        return -1;
    }

    while ((rc = parse_key(&o, parse_presence_keys)) > 0) {
        start = o.p;
        o.p = parse_value(o.p, end, 0);

        if (o.p == NULL || *start != '{') {
            return -1;
        }

        reply->data = start + 1;
        reply->data_len = o.p - 1 - reply->data;
    }

    *p = o.p;

    return (rc == 0 && reply->data) ? 0 : -1;
}


/* What stands between the braces was valid JSON at least. */

int
cf_parse_presence(const char **p, const char *end, cf_info_t *info)
{
    size_t       len;
    const char  *q, *key;

    q = parse_blank(*p, end);

    if (q < end && *q == ',') {
        q = parse_blank(q + 1, end);
    }

    if (q == end) {
        return 0;
    }

    if (parse_text(&q, end, &key, &len) != 0) {
        return -1;
    }

    q = parse_blank(q, end);

    if (q == end || *q != ':') {
        return -1;
    }

    q = parse_blank(q + 1, end);

    if (parse_info(&q, end, info) != 0 || info->client_len != len
        || memcmp(info->client, key, len) != 0)
    {
        return -1;
    }

    *p = q;

    return 1;
}


static int
parse_stats(const char **p, const char *end, cf_reply_t *reply)
{
    int             rc;
    parse_object_t  o;

    if (parse_open(&o, *p, end) != 0) {
        return -1;
    }

    while ((rc = parse_key(&o, parse_stats_keys)) > 0) {

        if (parse_uint(&o.p, end, rc == 1 ? &reply->num_clients
                                          : &reply->num_users)
            != 0)
        {
            return -1;
        }
    }

    *p = o.p;

    return (rc == 0 && o.seen == 3) ? 0 : -1;
}


static int
parse_event(const char **p, const char *end, cf_info_t *info)
{
    int             rc;
    parse_object_t  o;

    if (parse_open(&o, *p, end) != 0) {
        return -1;
    }

    while ((rc = parse_key(&o, parse_event_keys)) > 0) {

        if (parse_info(&o.p, end, info) != 0) {
            return -1;
        }
    }

    *p = o.p;

    return (rc == 0 && o.seen) ? 0 : -1;
}


static int
parse_info(const char **p, const char *end, cf_info_t *info)
{
    int             rc;
    parse_object_t  o;

    memset(info, 0, sizeof(cf_info_t));

    if (parse_open(&o, *p, end) != 0) {
        return -1;
    }

    while ((rc = parse_key(&o, parse_info_keys)) > 0) {

        switch (rc - 1) {

        case 0:
            rc = parse_text(&o.p, end, &info->user, &info->user_len);
            break;

        case 1:
            rc = parse_text(&o.p, end, &info->client, &info->client_len);
            break;

        default:
            o.p = parse_value(o.p, end, 0);
            rc = (o.p == NULL) ? -1 : 0;
            break;
        }

        if (rc != 0) {
            return -1;
        }
    }

    *p = o.p;

    return (rc == 0 && info->client) ? 0 : -1;
}


/* A string as it stands between the quotes. */

static int
parse_text(const char **p, const char *end, const char **text, size_t *len)
{
    const char  *q;

    q = parse_string(*p, end);

    if (q == NULL) {
        return -1;
    }

    *text = *p + 1;
    *len = q - 1 - *text;
    *p = q;

    return 0;
}


static int
parse_code(const char **p, const char *end, uint32_t *code)
{
    int             rc;
    parse_object_t  o;

    if (parse_open(&o, *p, end) != 0) {
        return -1;
    }

    while ((rc = parse_key(&o, parse_code_keys)) > 0) {

        if (rc == 1) {
            if (parse_uint(&o.p, end, code) != 0) {
                return -1;
            }

            continue;
        }

        o.p = parse_value(o.p, end, 0);

        if (o.p == NULL) {
            return -1;
        }
    }

    *p = o.p;

    return rc;
}


/* An object of which only the keys matter. */

static int
parse_skip(const char **p, const char *end, const char *const *keys)
{
    int             rc;
    parse_object_t  o;

    if (parse_open(&o, *p, end) != 0) {
        return -1;
    }

    while ((rc = parse_key(&o, keys)) > 0) {
        o.p = parse_value(o.p, end, 0);

        if (o.p == NULL) {
            return -1;
        }
    }

    *p = o.p;

    return rc;
}


static int
parse_open(parse_object_t *o, const char *p, const char *end)
{
    p = parse_blank(p, end);

    if (p == end || *p != '{') {
        return -1;
    }

    o->p = p + 1;
    o->end = end;
    o->seen = 0;
    o->count = 0;

    return 0;
}


/*
 * The number of the next key, from 1, with o->p at its value; 0 behind the
 * object; -1 for a key that is unknown, or there twice, and for bad JSON.
 */

static int
parse_key(parse_object_t *o, const char *const *keys)
{
    int          i;
    size_t       len;
    const char  *p, *key;

    p = parse_blank(o->p, o->end);

    if (p < o->end && *p == '}') {
        o->p = p + 1;
        return 0;
    }

    if (o->count++) {

        if (p == o->end || *p != ',') {
            return -1;
        }

        p = parse_blank(p + 1, o->end);
    }

    key = p + 1;
    p = parse_string(p, o->end);

    if (p == NULL) {
        return -1;
    }

    len = p - 1 - key;
    p = parse_blank(p, o->end);

    if (p == o->end || *p != ':') {
        return -1;
    }

    o->p = parse_blank(p + 1, o->end);

    for (i = 0; keys[i]; i++) {

        if (strlen(keys[i]) != len || memcmp(keys[i], key, len) != 0) {
            continue;
        }

        if (o->seen & 1u << i) {
            return -1;
        }

        o->seen |= 1u << i;

        return i + 1;
    }

    return -1;
}


static int
parse_uint(const char **p, const char *end, uint32_t *value)
{
    uint64_t     v;
    const char  *q;

    v = 0;

    for (q = *p; q < end && *q >= '0' && *q <= '9'; q++) {
        v = v * 10 + (uint64_t) (*q - '0');

        if (v > UINT32_MAX) {
            return -1;
        }
    }

    if (q == *p || (**p == '0' && q - *p > 1)) {
        return -1;
    }

    *p = q;
    *value = (uint32_t) v;

    return 0;
}


static int
parse_bool(const char **p, const char *end, int *value)
{
    if (parse_is(*p, end, "true")) {
        *p += 4;
        *value = 1;
        return 0;
    }

    if (parse_is(*p, end, "false")) {
        *p += 5;
        *value = 0;
        return 0;
    }

    return -1;
}


static const char *
parse_value(const char *p, const char *end, unsigned depth)
{
    if (p == end) {
        return NULL;
    }

    switch (*p) {

    case '"':
        return parse_string(p, end);

    case '{':
    case '[':
        return (depth < PARSE_DEPTH) ? parse_container(p, end, depth) : NULL;

    case 't':
        return parse_is(p, end, "true") ? p + 4 : NULL;

    case 'f':
        return parse_is(p, end, "false") ? p + 5 : NULL;

    case 'n':
        return parse_is(p, end, "null") ? p + 4 : NULL;

    default:
        return parse_number(p, end);
    }
}


static const char *
parse_container(const char *p, const char *end, unsigned depth)
{
    char  close;

    close = (*p == '{') ? '}' : ']';
    p = parse_blank(p + 1, end);

    if (p < end && *p == close) {
        return p + 1;
    }

    for ( ;; ) {

        if (close == '}') {
            p = parse_string(p, end);

            if (p == NULL) {
                return NULL;
            }

            p = parse_blank(p, end);

            if (p == end || *p != ':') {
                return NULL;
            }

            p = parse_blank(p + 1, end);
        }

        p = parse_value(p, end, depth + 1);

        if (p == NULL) {
            return NULL;
        }

        p = parse_blank(p, end);

        if (p == end) {
            return NULL;
        }

        if (*p == close) {
            return p + 1;
        }

        if (*p != ',') {
            return NULL;
        }

        p = parse_blank(p + 1, end);
    }
}


static const char *
parse_string(const char *p, const char *end)
{
    unsigned  i;

    if (p == end || *p != '"') {
        return NULL;
    }

    for (p++; p < end; p++) {

        if (*p == '"') {
            return p + 1;
        }

        if ((unsigned char) *p < 0x20) {
            return NULL;
        }

        if (*p != '\\') {
            continue;
        }

        if (++p == end || strchr("\"\\/bfnrtu", *p) == NULL || *p == '\0') {
            return NULL;
        }

        if (*p != 'u') {
            continue;
        }

        for (i = 0; i < 4; i++) {

            if (++p == end || *p == '\0'
                || strchr("0123456789abcdefABCDEF", *p) == NULL)
            {
                return NULL;
            }
        }
    }

    return NULL;
}


static const char *
parse_number(const char *p, const char *end)
{
    const char  *q;

#define parse_digits()                                                       \
    for (q = p; p < end && *p >= '0' && *p <= '9'; p++) { /* void */ }       \
    if (q == p) { return NULL; }

    if (p < end && *p == '-') {
        p++;
    }

    parse_digits();

    if (*q == '0' && p - q > 1) {
        return NULL;
    }

    if (p < end && *p == '.') {
        p++;
        parse_digits();
    }

    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;

        if (p < end && (*p == '+' || *p == '-')) {
            p++;
        }

        parse_digits();
    }

    return p;
}


/* Newlines separate replies, so they are no blanks here. */

static const char *
parse_blank(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r')) {
        p++;
    }

    return p;
}
