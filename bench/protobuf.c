/*
 * The Protobuf encoding: commands are translated from the JSON they are written
 * in, and what comes into the JSON that is checked.
 */

#include "client.h"

#include <stdlib.h>
#include <string.h>


#define PROTOBUF_BUFFER  (16 << 20)
#define PROTOBUF_TEXT    65536
#define PROTOBUF_DEPTH   8


typedef enum {
    PROTOBUF_UINT,
    PROTOBUF_BOOL,
    PROTOBUF_STRING,
    PROTOBUF_RAW,                /* JSON, as it is */
    PROTOBUF_MESSAGE,
    PROTOBUF_MAP
} protobuf_kind_e;

typedef struct protobuf_field_s  protobuf_field_t;

struct protobuf_field_s {
    unsigned                 number;
    protobuf_kind_e          kind;
    const char              *name;
    const protobuf_field_t  *type;   /* of a message, or of a map's values;
                                        NULL: these are strings */
};


static const char *protobuf_message(const protobuf_field_t *type,
    const unsigned char *p, const unsigned char *end, unsigned depth);
static const unsigned char *protobuf_value(const protobuf_field_t *f,
    const unsigned char *p, uint64_t n, unsigned depth);
static const unsigned char *protobuf_entry(const protobuf_field_t *f,
    const unsigned char *p, const unsigned char *end, unsigned depth);
static const unsigned char *protobuf_varint(const unsigned char *p,
    const unsigned char *end, uint64_t *n);
static void protobuf_put(const char *text, size_t len);
static void protobuf_string(const unsigned char *p, size_t len);
static char *protobuf_command(char *p, const char *text, const char *end);
static char *protobuf_field(char *p, unsigned number, const char *text,
    const char *end, const char *key);
static char *protobuf_number(char *p, uint64_t n);


static const protobuf_field_t  protobuf_info[] = {
    { 1, PROTOBUF_STRING, "user", NULL },
    { 2, PROTOBUF_STRING, "client", NULL },
    { 3, PROTOBUF_RAW, "conn_info", NULL },
    { 4, PROTOBUF_RAW, "chan_info", NULL },
    { 0, 0, NULL, NULL }
};

static const protobuf_field_t  protobuf_publication[] = {
    { 4, PROTOBUF_RAW, "data", NULL },
    { 5, PROTOBUF_MESSAGE, "info", protobuf_info },
    { 6, PROTOBUF_UINT, "offset", NULL },
    { 7, PROTOBUF_MAP, "tags", NULL },
    { 14, PROTOBUF_STRING, "epoch", NULL },
    { 0, 0, NULL, NULL }
};

static const protobuf_field_t  protobuf_event[] = {
    { 1, PROTOBUF_MESSAGE, "info", protobuf_info },
    { 0, 0, NULL, NULL }
};

static const protobuf_field_t  protobuf_unsubscribe[] = {
    { 2, PROTOBUF_UINT, "code", NULL },
    { 3, PROTOBUF_STRING, "reason", NULL },
    { 0, 0, NULL, NULL }
};

static const protobuf_field_t  protobuf_push[] = {
    { 2, PROTOBUF_STRING, "channel", NULL },
    { 4, PROTOBUF_MESSAGE, "pub", protobuf_publication },
    { 5, PROTOBUF_MESSAGE, "join", protobuf_event },
    { 6, PROTOBUF_MESSAGE, "leave", protobuf_event },
    { 7, PROTOBUF_MESSAGE, "unsubscribe", protobuf_unsubscribe },
    { 0, 0, NULL, NULL }
};

static const protobuf_field_t  protobuf_error[] = {
    { 1, PROTOBUF_UINT, "code", NULL },
    { 2, PROTOBUF_STRING, "message", NULL },
    { 3, PROTOBUF_BOOL, "temporary", NULL },
    { 0, 0, NULL, NULL }
};

static const protobuf_field_t  protobuf_connect[] = {
    { 1, PROTOBUF_STRING, "client", NULL },
    { 2, PROTOBUF_STRING, "version", NULL },
    { 3, PROTOBUF_BOOL, "expires", NULL },
    { 4, PROTOBUF_UINT, "ttl", NULL },
    { 7, PROTOBUF_UINT, "ping", NULL },
    { 8, PROTOBUF_BOOL, "pong", NULL },
    { 0, 0, NULL, NULL }
};

static const protobuf_field_t  protobuf_subscribe[] = {
    { 3, PROTOBUF_BOOL, "recoverable", NULL },
    { 6, PROTOBUF_STRING, "epoch", NULL },
    { 9, PROTOBUF_UINT, "offset", NULL },
    { 10, PROTOBUF_BOOL, "positioned", NULL },
    { 0, 0, NULL, NULL }
};

static const protobuf_field_t  protobuf_presence[] = {
    { 1, PROTOBUF_MAP, "presence", protobuf_info },
    { 0, 0, NULL, NULL }
};

static const protobuf_field_t  protobuf_stats[] = {
    { 1, PROTOBUF_UINT, "num_clients", NULL },
    { 2, PROTOBUF_UINT, "num_users", NULL },
    { 0, 0, NULL, NULL }
};

static const protobuf_field_t  protobuf_none[] = { { 0, 0, NULL, NULL } };

static const protobuf_field_t  protobuf_reply[] = {
    { 1, PROTOBUF_UINT, "id", NULL },
    { 2, PROTOBUF_MESSAGE, "error", protobuf_error },
    { 4, PROTOBUF_MESSAGE, "push", protobuf_push },
    { 5, PROTOBUF_MESSAGE, "connect", protobuf_connect },
    { 6, PROTOBUF_MESSAGE, "subscribe", protobuf_subscribe },
    { 7, PROTOBUF_MESSAGE, "unsubscribe", protobuf_none },
    { 9, PROTOBUF_MESSAGE, "presence", protobuf_presence },
    { 10, PROTOBUF_MESSAGE, "presence_stats", protobuf_stats },
    { 0, 0, NULL, NULL }
};

static char    *protobuf_buffer;
static size_t   protobuf_len;
static char     protobuf_out[PROTOBUF_TEXT];


/* NULL: it is not Protobuf, or not of this protocol. */

const char *
cf_protobuf_decode(const char *data, size_t len, size_t *size)
{
    uint64_t              n;
    const unsigned char  *p, *end;

    if (protobuf_buffer == NULL) {
        protobuf_buffer = cf_alloc(PROTOBUF_BUFFER);
    }

    protobuf_len = 0;
    p = (const unsigned char *) data;
    end = p + len;

    while (p < end) {
        p = protobuf_varint(p, end, &n);

        if (p == NULL || n > (size_t) (end - p)) {
            return NULL;
        }

        if (protobuf_len) {
            protobuf_put("\n", 1);
        }

        if (protobuf_message(protobuf_reply, p, p + n, 0) == NULL) {
            return NULL;
        }

        p += n;
    }

    if (protobuf_len == 0 || protobuf_len > PROTOBUF_BUFFER) {
        return NULL;
    }

    *size = protobuf_len;

    return protobuf_buffer;
}


static const char *
protobuf_message(const protobuf_field_t *type, const unsigned char *p,
    const unsigned char *end, unsigned depth)
{
    uint64_t                 tag, n;
    unsigned                 seen;
    const protobuf_field_t  *f, *before;

    if (depth == PROTOBUF_DEPTH) {
        return NULL;
    }

    protobuf_put("{", 1);
    before = NULL;

    for (seen = 0; p < end; seen++) {
        p = protobuf_varint(p, end, &tag);

        if (p == NULL) {
            return NULL;
        }

        for (f = type; f->number && f->number != tag >> 3; f++) { /* void */ }

        if (f->number == 0 || (tag & 7) != (f->kind <= PROTOBUF_BOOL ? 0 : 2)) {
            return NULL;
        }

        p = protobuf_varint(p, end, &n);

        if (p == NULL || (f->kind > PROTOBUF_BOOL && n > (size_t) (end - p))) {
            return NULL;
        }

        /* entries of a map come one behind the other */

        if (before && before != f) {
            protobuf_put("}", 1);
            before = NULL;
        }

        if (seen) {
            protobuf_put(",", 1);
        }

        if (before == NULL) {
            protobuf_put("\"", 1);
            protobuf_put(f->name, strlen(f->name));
            protobuf_put(f->kind == PROTOBUF_MAP ? "\":{" : "\":",
                         f->kind == PROTOBUF_MAP ? 3 : 2);
        }

        before = (f->kind == PROTOBUF_MAP) ? f : NULL;
        p = protobuf_value(f, p, n, depth);

        if (p == NULL) {
            return NULL;
        }
    }

    protobuf_put(before ? "}}" : "}", before ? 2 : 1);

    return "";
}


static const unsigned char *
protobuf_value(const protobuf_field_t *f, const unsigned char *p, uint64_t n,
    unsigned depth)
{
    int   len;
    char  text[24];

    switch (f->kind) {

    case PROTOBUF_UINT:
        len = snprintf(text, sizeof(text), "%llu", (unsigned long long) n);
        protobuf_put(text, (size_t) len);
        return p;

    case PROTOBUF_BOOL:
        protobuf_put(n ? "true" : "false", n ? 4 : 5);
        return p;

    case PROTOBUF_STRING:
        protobuf_string(p, n);
        break;

    case PROTOBUF_RAW:
        protobuf_put((const char *) p, n);
        break;

    case PROTOBUF_MESSAGE:

        if (protobuf_message(f->type, p, p + n, depth + 1) == NULL) {
            return NULL;
        }

        break;

    default:
        return protobuf_entry(f, p, p + n, depth);
    }

    return p + n;
}


static const unsigned char *
protobuf_entry(const protobuf_field_t *f, const unsigned char *p,
    const unsigned char *end, unsigned depth)
{
    uint64_t              tag, n;
    const unsigned char  *key, *value;
    size_t                key_len, value_len;

    key = value = p;
    key_len = value_len = 0;

    while (p < end) {
        p = protobuf_varint(p, end, &tag);
        p = p ? protobuf_varint(p, end, &n) : NULL;

        if (p == NULL || n > (size_t) (end - p)) {
            return NULL;
        }

        if (tag == (1 << 3 | 2)) {
            key = p;
            key_len = n;

        } else if (tag == (2 << 3 | 2)) {
            value = p;
            value_len = n;

        } else {
            return NULL;
        }

        p += n;
    }

    protobuf_string(key, key_len);
    protobuf_put(":", 1);

    if (f->type == NULL) {
        protobuf_string(value, value_len);

    } else if (protobuf_message(f->type, value, value + value_len, depth + 1)
               == NULL)
    {
        return NULL;
    }

    return end;
}


static const unsigned char *
protobuf_varint(const unsigned char *p, const unsigned char *end, uint64_t *n)
{
    unsigned  shift;

    *n = 0;

    for (shift = 0; p < end && shift < 64; shift += 7) {
        *n |= (uint64_t) (*p & 0x7f) << shift;

        if (*p++ < 0x80) {
            return p;
        }
    }

    return NULL;
}


/* What does not fit is counted, no more. */

static void
protobuf_put(const char *text, size_t len)
{
    if (protobuf_len + len <= PROTOBUF_BUFFER) {
        memcpy(protobuf_buffer + protobuf_len, text, len);
    }

    protobuf_len += len;
}


static void
protobuf_string(const unsigned char *p, size_t len)
{
    char    text[8];
    size_t  i;

    protobuf_put("\"", 1);

    for (i = 0; i < len; i++) {

        if (p[i] < 0x20 || p[i] == '"' || p[i] == '\\') {
            snprintf(text, sizeof(text), "\\u%04x", p[i]);
            protobuf_put(text, 6);

        } else {
            protobuf_put((const char *) &p[i], 1);
        }
    }

    protobuf_put("\"", 1);
}


/* Commands as cfload writes them, one on a line. */

const char *
cf_protobuf_encode(const char *text, size_t len, size_t *size)
{
    char        *p;
    const char  *end, *line;

    end = text + len;
    p = protobuf_out;

    while (text < end) {
        line = memchr(text, '\n', (size_t) (end - text));
        line = line ? line : end;

        /* a command is shorter than its text */

        if ((size_t) (protobuf_out + PROTOBUF_TEXT - p)
            < (size_t) (line - text) + 16)
        {
            cf_die("too many commands in a message");
        }

        p = protobuf_command(p, text, line);
        text = line + 1;
    }

    *size = (size_t) (p - protobuf_out);

    return protobuf_out;
}


static char *
protobuf_command(char *p, const char *text, const char *end)
{
    size_t       i, n;
    char        *q, *r;
    const char  *key;
    static char  body[PROTOBUF_TEXT], request[PROTOBUF_TEXT];

    static const struct {
        const char  *key;
        unsigned     number;
    } requests[] = {
        { "\"connect\":{", 4 }, { "\"subscribe\":{", 5 },
        { "\"unsubscribe\":{", 6 }, { "\"presence\":{", 8 },
        { "\"presence_stats\":{", 9 }
    };

    q = body;

    if (end - text > 2) {
        *q++ = 1 << 3;
        q = protobuf_number(q, strtoul(text + sizeof("{\"id\":") - 1, NULL,
                                       10));
    }

    for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        key = requests[i].key;

        if (memmem(text, (size_t) (end - text), key, strlen(key)) == NULL) {
            continue;
        }

        r = request;
        r = protobuf_field(r, 1, text, end, i ? "\"channel\":\""
                                              : "\"token\":\"");

        if (memmem(text, (size_t) (end - text), "\"join_leave\":true", 17)) {
            *r++ = 11 << 3;
            *r++ = 1;
        }

        n = (size_t) (r - request);

        *q++ = (char) (requests[i].number << 3 | 2);
        q = protobuf_number(q, n);
        memcpy(q, request, n);
        q += n;
    }

    n = (size_t) (q - body);
    p = protobuf_number(p, n);
    memcpy(p, body, n);

    return p + n;
}


/* A string that has no escapes in it. */

static char *
protobuf_field(char *p, unsigned number, const char *text, const char *end,
    const char *key)
{
    size_t       len;
    const char  *value, *last;

    value = memmem(text, (size_t) (end - text), key, strlen(key));

    if (value == NULL) {
        return p;
    }

    value += strlen(key);
    last = memchr(value, '"', (size_t) (end - value));
    len = (size_t) ((last ? last : end) - value);

    *p++ = (char) (number << 3 | 2);
    p = protobuf_number(p, len);
    memcpy(p, value, len);

    return p + len;
}


static char *
protobuf_number(char *p, uint64_t n)
{
    for ( /* void */ ; n > 0x7f; n >>= 7) {
        *p++ = (char) (n | 0x80);
    }

    *p++ = (char) n;

    return p;
}
