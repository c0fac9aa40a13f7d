/*
 * The list of channels: each worker gives its own in pages, in the order of
 * their ids, which are the same in all workers; the asker merges the pages as
 * they come, so no table of all names is made and nobody is held up.
 */

#include "ngx_centrifugo_channels.h"
#include "ngx_centrifugo_request.h"


#define CHANNELS_TIMEOUT  5000              /* ms, of one page */
#define CHANNELS_LONGEST  30000             /* of all */
#define CHANNELS_PAGE     (48 * 1024)       /* bytes of a page at most */
#define CHANNELS_LEAST    2048              /* one entry has to fit */
#define CHANNELS_ASKED    4                 /* workers asked at a time */


/* what a page is asked for with; the pattern follows */
typedef struct {
    uint64_t                          cursor;
    uint32_t                          max;
    uint32_t                          unused;
} channels_ask_t;

/* what comes before the entries */
typedef struct {
    uint64_t                          cursor;
    uint32_t                          more;
    uint32_t                          unused;
} channels_page_t;

typedef struct channels_list_s  channels_list_t;

/* one worker */
typedef struct {
    channels_list_t                  *list;
    uint32_t                          slot;
    uint32_t                          generation;
    uint64_t                          cursor;
    ngx_centrifugo_buf_t              page;
    u_char                           *pos;      /* in it */
    unsigned                          more:1;
    unsigned                          asked:1;
} channels_source_t;

struct channels_list_s {
    ngx_centrifugo_hub_conf_t        *hcf;
    ngx_centrifugo_channels_done_t    done;
    ngx_centrifugo_buf_t              entries;
    ngx_str_t                         ask;      /* of any page */
    size_t                            page;     /* bytes of one */
    ngx_uint_t                        window;   /* workers asked at a time */
    uint64_t                          deadline;
    ngx_uint_t                        pending;
    ngx_centrifugo_engine_rc_e        rc;
    unsigned                          running:1;
    ngx_uint_t                        n;
    channels_source_t                 sources[1];
};

/* an entry of the whole list; the name follows */
typedef struct {
    uint32_t                          count;
    uint32_t                          len;
} channels_entry_t;


static void channels_handler(ngx_centrifugo_request_t *request);
static void channels_run(channels_list_t *list);
static ngx_uint_t channels_ask(channels_list_t *list);
static void channels_answer(uint64_t handle, ngx_uint_t slot,
    const ngx_str_t *data);
static void channels_answered(uint64_t handle, ngx_centrifugo_engine_rc_e rc);
static ngx_uint_t channels_there(channels_source_t *source);
static ngx_int_t channels_merge(channels_list_t *list);
static ngx_int_t channels_entry(channels_source_t *source,
    ngx_centrifugo_channel_entry_t *entry);
static void channels_end(channels_list_t *list);


void
ngx_centrifugo_channels_init(void)
{
    ngx_centrifugo_request_handler(NGX_CENTRIFUGO_REQUEST_CHANNELS,
                                   channels_handler);
}


/* The answering side: one page. */

static void
channels_handler(ngx_centrifugo_request_t *request)
{
    ngx_str_t                     pattern, answer;
    channels_ask_t                ask;
    channels_page_t               page;
    static ngx_centrifugo_buf_t   b;
    static ngx_centrifugo_glob_t  glob;

    if (request->data.len < sizeof(channels_ask_t)) {
        return;
    }

    ngx_memcpy(&ask, request->data.data, sizeof(channels_ask_t));

    pattern.data = request->data.data + sizeof(channels_ask_t);
    pattern.len = request->data.len - sizeof(channels_ask_t);

    if (pattern.len
        && ngx_centrifugo_glob_compile(&glob, &pattern) != NGX_OK)
    {
        return;
    }

    ngx_memzero(&page, sizeof(channels_page_t));
    ngx_centrifugo_buf_reset(&b);
    ngx_centrifugo_buf_append(&b, &page, sizeof(channels_page_t));

    page.more = ngx_centrifugo_broker_channels_page(request->hcf, &ask.cursor,
                                                    pattern.len ? &glob : NULL,
                                                    &b,
                                                    ngx_min(ask.max,
                                                            CHANNELS_PAGE))
                == NGX_AGAIN;
    page.cursor = ask.cursor;

    if (b.failed) {

        /* no answer: the asker's deadline ends it */

        return;
    }

    ngx_memcpy(b.start, &page, sizeof(channels_page_t));

    answer.data = b.start;
    answer.len = ngx_centrifugo_buf_len(&b);

    (void) ngx_centrifugo_request_answer(request, &answer);
}


void
ngx_centrifugo_channels(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *pattern, const ngx_centrifugo_channels_done_t *done)
{
    size_t            max;
    uint64_t          members[NGX_CENTRIFUGO_MASK_WORDS], bits;
    ngx_uint_t        i, n;
    channels_list_t  *list;

    ngx_centrifugo_hub_members(&hcf->hub, members);
    n = 0;

    for (i = 0; i < NGX_CENTRIFUGO_MASK_WORDS; i++) {
        n += __builtin_popcountll(members[i]);
    }

    list = n ? calloc(1, sizeof(channels_list_t)
                         + (n - 1) * sizeof(channels_source_t)
                         + sizeof(channels_ask_t) + pattern->len)
             : NULL;

    if (list == NULL) {
        done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_RETRY, NULL);
        return;
    }

    list->hcf = hcf;
    list->done = *done;
    list->rc = NGX_CENTRIFUGO_ENGINE_OK;
    list->deadline = (uint64_t) ngx_current_msec + CHANNELS_LONGEST;

    for (i = 0; i < NGX_CENTRIFUGO_MASK_WORDS; i++) {
        for (bits = members[i]; bits; bits &= bits - 1) {
            list->sources[list->n].list = list;
            list->sources[list->n].slot = (uint32_t) (i * 64
                                                    + __builtin_ctzll(bits));
            list->sources[list->n].generation
                = hcf->hub.registry->slots[list->sources[list->n].slot]
                      .generation;
            list->sources[list->n].more = 1;
            list->n++;
        }
    }

    list->ask.data = (u_char *) &list->sources[n];
    list->ask.len = sizeof(channels_ask_t) + pattern->len;

    if (pattern->len) {
        ngx_memcpy(list->ask.data + sizeof(channels_ask_t), pattern->data,
                   pattern->len);
    }

    /*
     * The pages of all that are asked at a time fit into a part of the ring,
     * and what is merged at a time does not grow with the workers.
     */

    max = ngx_centrifugo_control_max(&hcf->hub);
    list->page = CHANNELS_PAGE * CHANNELS_ASKED / ngx_max(n, CHANNELS_ASKED);
    list->page = ngx_min(list->page, max / CHANNELS_ASKED);
    list->page = ngx_max(list->page, CHANNELS_LEAST);
    list->page = ngx_min(list->page, max - sizeof(channels_page_t));

    list->window = ngx_min(max / list->page, CHANNELS_ASKED);
    list->window = ngx_max(list->window, 1);

    channels_run(list);
}


static void
channels_run(channels_list_t *list)
{
    if (list->running) {

        /* an answer within channels_ask() */

        return;
    }

    list->running = 1;

    while (list->rc == NGX_CENTRIFUGO_ENGINE_OK) {

        if (channels_ask(list) == 0) {

            /* all of each worker is here, or what comes next of it */

            if (channels_merge(list) == NGX_DONE) {
                break;
            }

        } else if (list->pending) {
            break;
        }
    }

    list->running = 0;

    if (list->pending == 0) {
        channels_end(list);
    }
}


/*
 * Asks workers of which no entry is here, some at a time.  Returns how many
 * there are.
 */

static ngx_uint_t
channels_ask(channels_list_t *list)
{
    ngx_uint_t               i, n;
    channels_ask_t           ask;
    channels_source_t       *source;
    ngx_centrifugo_asker_t   asker;

    asker.answer = channels_answer;
    asker.done = channels_answered;
    n = 0;

    for (i = 0; i < list->n; i++) {

        source = &list->sources[i];

        if (source->pos < source->page.last || !source->more) {
            continue;
        }

        n++;

        if (source->asked || list->pending == list->window
            || list->rc != NGX_CENTRIFUGO_ENGINE_OK)
        {
            continue;
        }

        source->asked = 1;
        list->pending++;

        ngx_memzero(&ask, sizeof(channels_ask_t));
        ask.cursor = source->cursor;
        ask.max = (uint32_t) list->page;
        ngx_memcpy(list->ask.data, &ask, sizeof(channels_ask_t));

        asker.handle = (uint64_t) (uintptr_t) source;

        ngx_centrifugo_request_send(list->hcf, source->slot,
                                    source->generation,
                                    NGX_CENTRIFUGO_REQUEST_CHANNELS,
                                    &list->ask, CHANNELS_TIMEOUT, &asker);
    }

    return n;
}


static void
channels_answer(uint64_t handle, ngx_uint_t slot, const ngx_str_t *data)
{
    channels_page_t     page;
    channels_source_t  *source;

    source = (channels_source_t *) (uintptr_t) handle;

    if (data->len < sizeof(channels_page_t)) {
        source->list->rc = NGX_CENTRIFUGO_ENGINE_RETRY;
        return;
    }

    ngx_memcpy(&page, data->data, sizeof(channels_page_t));

    source->cursor = page.cursor;
    source->more = (page.more != 0);

    ngx_centrifugo_buf_reset(&source->page);
    ngx_centrifugo_buf_append(&source->page,
                              data->data + sizeof(channels_page_t),
                              data->len - sizeof(channels_page_t));
    source->pos = source->page.start;

    if (source->page.failed) {
        source->list->rc = NGX_CENTRIFUGO_ENGINE_RETRY;
    }
}


static void
channels_answered(uint64_t handle, ngx_centrifugo_engine_rc_e rc)
{
    channels_list_t    *list;
    channels_source_t  *source;

    source = (channels_source_t *) (uintptr_t) handle;
    list = source->list;

    source->asked = 0;
    list->pending--;

    if (rc != NGX_CENTRIFUGO_ENGINE_OK && !channels_there(source)) {

        /* it ended or died: so did the subscriptions of its clients */

        source->more = 0;
        rc = NGX_CENTRIFUGO_ENGINE_OK;
    }

    if (rc != NGX_CENTRIFUGO_ENGINE_OK
        || (int64_t) (list->deadline - (uint64_t) ngx_current_msec) <= 0)
    {
        list->rc = NGX_CENTRIFUGO_ENGINE_RETRY;
    }

    channels_run(list);
}


/* Whether the worker that was asked still has its slot. */

static ngx_uint_t
channels_there(channels_source_t *source)
{
    uint64_t                     members[NGX_CENTRIFUGO_MASK_WORDS];
    ngx_centrifugo_hub_conf_t   *hcf;

    hcf = source->list->hcf;

    ngx_centrifugo_hub_members(&hcf->hub, members);

    return (members[source->slot / 64] & 1ULL << (source->slot % 64))
           && ((hcf->hub.registry->slots[source->slot].generation
                ^ source->generation) & NGX_CENTRIFUGO_ID_GENERATION) == 0;
}


/*
 * Takes entries in the order of their ids, as far as is known what comes next
 * from each worker.  NGX_AGAIN: to be asked for more; NGX_DONE: that was all,
 * or it failed.
 */

static ngx_int_t
channels_merge(channels_list_t *list)
{
    u_char                          *name;
    ngx_uint_t                       i;
    channels_entry_t                 entry;
    channels_source_t               *source;
    ngx_centrifugo_channel_entry_t   least, next;

    for ( ;; ) {

        least.id = 0;
        least.len = 0;
        name = NULL;

        for (i = 0; i < list->n; i++) {
            source = &list->sources[i];

            if (channels_entry(source, &next) != NGX_OK) {

                if (source->more) {
                    return NGX_AGAIN;
                }

                continue;
            }

            if (name == NULL || next.id < least.id) {
                least = next;
                name = source->pos + sizeof(next);
            }
        }

        if (name == NULL) {
            return NGX_DONE;
        }

        entry.count = 0;
        entry.len = least.len;

        for (i = 0; i < list->n; i++) {
            source = &list->sources[i];

            if (channels_entry(source, &next) == NGX_OK
                && next.id == least.id)
            {
                entry.count += next.count;
                source->pos += sizeof(next) + next.len;
            }
        }

        ngx_centrifugo_buf_append(&list->entries, &entry, sizeof(entry));
        ngx_centrifugo_buf_append(&list->entries, name, entry.len);

        if (list->entries.failed) {
            list->rc = NGX_CENTRIFUGO_ENGINE_RETRY;
            return NGX_DONE;
        }

        if (ngx_centrifugo_buf_len(&list->entries)
            > NGX_CENTRIFUGO_CHANNELS_MAX)
        {
            list->rc = NGX_CENTRIFUGO_ENGINE_REFUSED;
            return NGX_DONE;
        }
    }
}


static ngx_int_t
channels_entry(channels_source_t *source,
    ngx_centrifugo_channel_entry_t *entry)
{
    size_t  left;

    left = source->page.last - source->pos;

    if (left < sizeof(ngx_centrifugo_channel_entry_t)) {
        source->pos = source->page.last;
        return NGX_DONE;
    }

    ngx_memcpy(entry, source->pos, sizeof(ngx_centrifugo_channel_entry_t));

    if (entry->len > left - sizeof(ngx_centrifugo_channel_entry_t)) {
        source->pos = source->page.last;
        return NGX_DONE;
    }

    return NGX_OK;
}


static void
channels_end(channels_list_t *list)
{
    ngx_uint_t                       i;
    ngx_centrifugo_buf_t             entries;
    ngx_centrifugo_engine_rc_e       rc;
    ngx_centrifugo_channels_done_t   done;

    rc = list->rc;
    done = list->done;
    entries = list->entries;

    for (i = 0; i < list->n; i++) {
        ngx_centrifugo_buf_free(&list->sources[i].page);
    }

    free(list);

    if (rc != NGX_CENTRIFUGO_ENGINE_OK) {
        ngx_centrifugo_buf_free(&entries);
        done.handler(done.handle, rc, NULL);
        return;
    }

    done.handler(done.handle, rc, &entries);
}


ngx_int_t
ngx_centrifugo_channels_next(ngx_str_t *list, ngx_str_t *name,
    uint32_t *count)
{
    channels_entry_t  entry;

    if (list->len < sizeof(channels_entry_t)) {
        return NGX_DONE;
    }

    ngx_memcpy(&entry, list->data, sizeof(channels_entry_t));

    name->data = list->data + sizeof(channels_entry_t);
    name->len = entry.len;
    *count = entry.count;

    list->data += sizeof(channels_entry_t) + entry.len;
    list->len -= sizeof(channels_entry_t) + entry.len;

    return NGX_OK;
}
