/*
 * What the tests of streams have in common: publications whose content follows
 * from channel, epoch and offset, and what is read of them.
 */

#ifndef UNIT_STREAM_H
#define UNIT_STREAM_H

#ifndef ZONE
#define ZONE  (16 * 1024 * 1024)
#endif

#include "unit_hub.h"
#include "unit_whole.h"

#define LARGEST  600000


/* the bytes and lengths that a number stands for */

typedef struct {
    size_t                            info;
    size_t                            tags;
    size_t                            data;
    ngx_uint_t                        flags;
} content_t;

static size_t  content_most = 300;      /* bytes of most of them */


static ngx_inline uint64_t
mix(uint64_t x)
{
    x = (x ^ (x >> 31)) * 0x7fb5d329728ea185ULL;
    x = (x ^ (x >> 27)) * 0x81dadef4bc2dd44dULL;

    return x ^ (x >> 33);
}


static ngx_inline void
content_of(uint64_t number, content_t *c)
{
    uint64_t  r;

    r = mix(number);
    c->flags = r % 4;
    c->info = (r >> 8) % 3 ? 0 : (r >> 10) % 60;
    c->tags = (r >> 20) % 3 ? 0 : (r >> 22) % 60;
    c->data = (r >> 32) % ((r >> 60) ? content_most : content_most * 20);
}


static ngx_inline void
content_fill(uint64_t number, u_char *p, size_t len)
{
    size_t    i;
    uint64_t  r;

    r = mix(number + 1);

    for (i = 0; i < len; i++) {
        p[i] = (u_char) (r + i * 7 + (i >> 8));
    }
}


/* sets info, tags and data of a publication, in `buf` */

static ngx_inline void
content_set(uint64_t number, ngx_centrifugo_hub_publication_t *pub,
    u_char *buf)
{
    content_t  c;

    content_of(number, &c);
    content_fill(number, buf, c.info + c.tags + c.data);

    pub->info.data = buf;
    pub->info.len = c.info;
    pub->tags.data = buf + c.info;
    pub->tags.len = c.tags;
    pub->data.data = buf + c.info + c.tags;
    pub->data.len = c.data;
    pub->flags = c.flags;
}


static ngx_inline ngx_uint_t
content_is(uint64_t number, const ngx_centrifugo_stored_t *s, const u_char *p)
{
    content_t      c;
    static u_char  buf[LARGEST];

    content_of(number, &c);

    if (s->info_len != c.info || s->tags_len != c.tags || s->data_len != c.data
        || s->flags != c.flags)
    {
        return 0;
    }

    content_fill(number, buf, c.info + c.tags + c.data);

    return memcmp(buf, p, c.info + c.tags + c.data) == 0;
}


/* the next of those that a call has read; 0: no more */

static ngx_inline ngx_uint_t
stored_next(const ngx_centrifugo_history_t *h, size_t *at,
    ngx_centrifugo_stored_t *s, u_char **p)
{
    if (*at == h->len) {
        return 0;
    }

    CHECK(*at + sizeof(*s) <= h->len);
    memcpy(s, h->buf + *at, sizeof(*s));
    *p = h->buf + *at + sizeof(*s);
    *at += ngx_centrifugo_stored_size(s->info_len, s->tags_len, s->data_len);
    CHECK(*at <= h->len);

    return 1;
}


static ngx_inline uint64_t
shard_hash(const char *name)
{
    return ngx_centrifugo_hash(shm->seed, (u_char *) name, strlen(name));
}


static ngx_inline ngx_uint_t
shard_number(const char *name)
{
    return hub_shard_of(shm, shard_hash(name));
}

#endif
