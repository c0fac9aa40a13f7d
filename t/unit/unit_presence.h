/*
 * What the tests of presence have in common: clients whose info can be checked,
 * what the log tells of them.
 */

#ifndef UNIT_PRESENCE_H
#define UNIT_PRESENCE_H

#define ZONE  (16 * 1024 * 1024)

#include "unit_hub.h"
#include "unit_whole.h"

#define LOG       (8 * 1024 * 1024)
#define CHANNELS  5             /* the last is not announced */
#define MARKS     (1 << 22)


/* what the log said of a client */

typedef struct {
    u_char                     in[MARKS];      /* 1 + channel */
    ngx_uint_t                 joins;
    ngx_uint_t                 leaves;
    ngx_uint_t                 wrong;
    uint64_t                   id[CHANNELS];
} marks_t;

static marks_t                 marks;
static uint32_t               *next_client;
static const char             *names[CHANNELS] = { "a", "bb", "ccc", "dddd",
                                                   "quiet" };


/*
 * Info of a client: its number, then bytes that follow from number and length.
 */

static ngx_inline ngx_str_t
make_info(u_char *buf, uint32_t client, size_t len)
{
    size_t     i;
    ngx_str_t  info;

    len = ngx_max(len, 4);
    memcpy(buf, &client, 4);

    for (i = 4; i < len; i++) {
        buf[i] = (u_char) (client * 31 + len + i);
    }

    info.data = buf;
    info.len = len;

    return info;
}


static ngx_inline uint32_t
check_info(const u_char *data, size_t len)
{
    size_t    i;
    uint32_t  client;

    CHECK(len >= 4);
    memcpy(&client, data, 4);

    for (i = 4; i < len; i++) {
        if (data[i] != (u_char) (client * 31 + len + i)) {
            CHECK(0);
            break;
        }
    }

    return client;
}


static ngx_inline void
make_id(u_char *id, uint32_t client)
{
    memset(id, 0x5a, 16);
    memcpy(id + 5, &client, 4);
}


static ngx_inline ngx_int_t
add(ngx_centrifugo_hub_t *hub, const char *channel, uint32_t client,
    size_t len, ngx_uint_t flags)
{
    char                       user[32];
    u_char                     id[16], buf[NGX_CENTRIFUGO_PRESENCE_MAX];
    ngx_centrifugo_presence_t  p;

    snprintf(user, sizeof(user), "user%u", client % 100);
    make_id(id, client);

    p.channel = S(channel);
    p.user = S(user);
    p.client = id;
    p.info = make_info(buf, client, len);
    p.flags = flags;

    return ngx_centrifugo_hub_presence_add(hub, &p, 7);
}


static ngx_inline ngx_int_t
take(ngx_centrifugo_hub_t *hub, const char *channel, uint32_t client)
{
    u_char     id[16];
    ngx_str_t  ch;

    ch = S(channel);
    make_id(id, client);

    return ngx_centrifugo_hub_presence_remove(hub, &ch, id, 8);
}


static ngx_inline ngx_int_t
join(ngx_centrifugo_hub_t *hub, const char *channel)
{
    ngx_str_t              ch;
    ngx_centrifugo_join_t  j;

    ch = S(channel);

    return unit_join(hub, &ch, &j);
}


static ngx_inline void
leave(ngx_centrifugo_hub_t *hub, const char *channel)
{
    ngx_str_t  ch;

    ch = S(channel);
    ngx_centrifugo_hub_leave(hub, &ch);
}


static ngx_inline ngx_int_t
tally(ngx_centrifugo_hub_t *hub, ngx_uint_t kind, const char *key,
    uint32_t count, uint32_t limit)
{
    ngx_str_t  k;

    k = S(key);

    return ngx_centrifugo_hub_tally_set(hub, kind, &k, count, limit);
}


/*
 * Calls `got` for each entry of a channel; returns how many there were.
 */

static ngx_inline ngx_uint_t
read_all(ngx_centrifugo_hub_t *hub, const char *channel,
    void (*got)(uint32_t client, size_t len))
{
    static u_char                      buf[20000];
    size_t                             len, at;
    uint32_t                           size;
    ngx_int_t                          rc;
    ngx_str_t                          ch;
    ngx_uint_t                         n;
    ngx_centrifugo_presence_cursor_t   cursor;

    ch = S(channel);
    memset(&cursor, 0, sizeof(cursor));
    n = 0;

    do {
        rc = ngx_centrifugo_hub_presence_read(hub, &ch, &cursor, buf,
                                              sizeof(buf), &len);
        CHECK(rc == NGX_OK || rc == NGX_AGAIN);

        for (at = 0; at < len; at += 4 + size) {
            memcpy(&size, buf + at, 4);
            CHECK(at + 4 + size <= len);

            if (got) {
                got(check_info(buf + at + 4, size), size);
            }

            n++;
        }

        CHECK(at == len);
    } while (rc == NGX_AGAIN);

    return n;
}


/*
 * Reads the log to its end: a join is of one who was not there, a leave of one
 * who was.
 */

static ngx_inline void
read_log(ngx_centrifugo_hub_t *hub)
{
    uint32_t                client;
    ngx_int_t               rc;
    ngx_uint_t              c;
    ngx_centrifugo_entry_t  e;

    while ((rc = next(hub, &e)) != NGX_DONE) {
        CHECK(rc == NGX_OK);

        if (rc != NGX_OK || e.type == NGX_CENTRIFUGO_ENTRY_PUBLICATION) {
            continue;
        }

        CHECK(e.data.len == 0);
        client = check_info(e.info.data, e.info.len);

        for (c = 0; c < CHANNELS && marks.id[c] != e.channel; c++) {
            /* void */
        }

        if (c == CHANNELS) {
            continue;
        }

        CHECK(c < CHANNELS - 1 && client < MARKS);

        if (e.type == NGX_CENTRIFUGO_ENTRY_JOIN) {
            marks.joins++;
            marks.wrong += (marks.in[client] != 0);
            marks.in[client] = (u_char) (c + 1);

        } else {
            marks.leaves++;
            marks.wrong += (marks.in[client] != c + 1);
            marks.in[client] = 0;
        }
    }
}


static u_char      seen[MARKS];
static ngx_uint_t  seen_channel;

static ngx_inline void
see(uint32_t client, size_t len)
{
    CHECK(client < MARKS && !seen[client]);
    seen[client] = (u_char) (seen_channel + 1);
}


/* the entries are those that the log tells of */

static ngx_inline ngx_uint_t
compare(ngx_centrifugo_hub_t *hub)
{
    uint32_t    i, max;
    ngx_uint_t  n, wrong;

    read_log(hub);
    max = *next_client + 1;
    memset(seen, 0, max);
    n = 0;
    wrong = marks.wrong;

    for (seen_channel = 0; seen_channel < CHANNELS; seen_channel++) {
        n += read_all(hub, names[seen_channel], see);
    }

    for (i = 0; i < max; i++) {
        if (seen[i] != CHANNELS) {
            wrong += (seen[i] != marks.in[i]);
        }
    }

    if (wrong) {
        printf("%lu joins, %lu leaves, %lu entries: %lu wrong\n",
               (unsigned long) marks.joins, (unsigned long) marks.leaves,
               (unsigned long) n, (unsigned long) wrong);
        CHECK(0);
        marks.wrong = 0;
        memcpy(marks.in, seen, max);
    }

    return n;
}


static ngx_inline void
begin(ngx_centrifugo_hub_t *me)
{
    ngx_str_t              ch;
    ngx_uint_t             i;
    ngx_centrifugo_join_t  j;

    fresh(LOG);
    enter(me);
    memset(&marks, 0, sizeof(marks));
    *next_client = 1;

    for (i = 0; i < CHANNELS; i++) {
        ch = S(names[i]);
        CHECK(unit_join(me, &ch, &j) == NGX_OK);
        marks.id[i] = j.channel;
    }
}

#endif
