#include "ngx_centrifugo_request.h"


#define REQUEST_PASS  256       /* messages handled in one call */
#define REQUEST_EACH  8         /* slots that get a message each; of more, all
                                   get one */


/* what this worker has asked */
typedef struct {
    ngx_rbtree_node_t            node;          /* by id */
    ngx_queue_t                  link;
    uint64_t                     deadline;
    ngx_centrifugo_asker_t       asker;
    ngx_uint_t                   waiting;       /* answers that are missing */
    ngx_uint_t                   failed;
    ngx_uint_t                   n;
    struct {
        uint32_t                 slot;
        uint32_t                 generation;
        ngx_uint_t               answered;
    } of[1];
} request_pending_t;

/* a message of which some parts have come */
typedef struct {
    ngx_queue_t                  link;
    ngx_uint_t                   from;
    uint32_t                     from_generation;
    uint64_t                     id;
    ngx_uint_t                   kind;
    uint64_t                     deadline;
    size_t                       total;
    size_t                       got;
    u_char                       data[1];
} request_partial_t;

/* an answer that found the ring full */
typedef struct {
    ngx_queue_t                  link;
    ngx_centrifugo_request_t     request;
    u_char                       data[1];
} request_answer_t;

typedef struct {
    ngx_rbtree_t                 pending;
    ngx_rbtree_node_t            sentinel;
    ngx_queue_t                  list;
    ngx_queue_t                  partials;
    ngx_queue_t                  answers;
    uint64_t                     next;
} request_table_t;


static request_table_t *request_table(ngx_centrifugo_hub_conf_t *hcf);
static request_pending_t *request_find(request_table_t *t, uint64_t id);
static void request_pend(ngx_centrifugo_hub_conf_t *hcf,
    const uint64_t *mask, uint32_t generation, ngx_uint_t to, ngx_uint_t kind,
    const ngx_str_t *data, ngx_msec_t timeout,
    const ngx_centrifugo_asker_t *asker);
static void request_each(ngx_centrifugo_hub_conf_t *hcf,
    request_pending_t *p, ngx_uint_t kind, const ngx_str_t *data);
static void request_end(request_table_t *t, request_pending_t *p);
static ngx_int_t request_keep(const ngx_centrifugo_request_t *request,
    const ngx_str_t *data);
static void request_retry(ngx_centrifugo_hub_conf_t *hcf,
    request_table_t *t);
static void request_full(ngx_centrifugo_hub_conf_t *hcf);
static void request_message(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_control_t *message, const ngx_str_t *data);
static void request_answered(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_control_t *message, const ngx_str_t *data);
static void request_part(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_control_t *message);


static ngx_centrifugo_request_pt  request_handlers[
                                      NGX_CENTRIFUGO_REQUEST_KINDS];


void
ngx_centrifugo_request_handler(ngx_uint_t kind,
    ngx_centrifugo_request_pt handler)
{
    request_handlers[kind] = handler;
}


static request_table_t *
request_table(ngx_centrifugo_hub_conf_t *hcf)
{
    request_table_t  *t;

    t = hcf->requests;

    if (t == NULL) {
        t = calloc(1, sizeof(request_table_t));
        if (t == NULL) {
            return NULL;
        }

        ngx_rbtree_init(&t->pending, &t->sentinel, ngx_rbtree_insert_value);
        ngx_queue_init(&t->list);
        ngx_queue_init(&t->partials);
        ngx_queue_init(&t->answers);
        hcf->requests = t;
    }

    return t;
}


void
ngx_centrifugo_request_send(ngx_centrifugo_hub_conf_t *hcf, ngx_uint_t to,
    uint32_t generation, ngx_uint_t kind,
    const ngx_str_t *data, ngx_msec_t timeout,
    const ngx_centrifugo_asker_t *asker)
{
    uint64_t  members[NGX_CENTRIFUGO_MASK_WORDS];

    ngx_memzero(members, sizeof(members));

    if (to == NGX_CENTRIFUGO_TO_ALL) {
        ngx_centrifugo_hub_members(&hcf->hub, members);

    } else if (to < NGX_CENTRIFUGO_SLOTS) {
        members[to / 64] = 1ULL << (to % 64);
    }

    request_pend(hcf, members, generation, to, kind, data, timeout, asker);
}


void
ngx_centrifugo_request_send_slots(ngx_centrifugo_hub_conf_t *hcf,
    const uint64_t *mask, ngx_uint_t kind, const ngx_str_t *data,
    ngx_msec_t timeout, const ngx_centrifugo_asker_t *asker)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < NGX_CENTRIFUGO_MASK_WORDS; i++) {
        n += __builtin_popcountll(mask[i]);
    }

    if (n == 0) {
        asker->done(asker->handle, NGX_CENTRIFUGO_ENGINE_OK);
        return;
    }

    request_pend(hcf, mask, 0,
                 n > REQUEST_EACH ? NGX_CENTRIFUGO_TO_ALL
                                  : NGX_CENTRIFUGO_SLOTS,
                 kind, data, timeout, asker);
}


/*
 * `to`: a slot of that generation; all; or NGX_CENTRIFUGO_SLOTS: those of the
 * mask one by one.
 */

static void
request_pend(ngx_centrifugo_hub_conf_t *hcf, const uint64_t *mask,
    uint32_t generation, ngx_uint_t to, ngx_uint_t kind,
    const ngx_str_t *data, ngx_msec_t timeout,
    const ngx_centrifugo_asker_t *asker)
{
    uint64_t                    bits;
    ngx_int_t                   rc;
    ngx_uint_t                  i, n;
    request_table_t            *t;
    request_pending_t          *p;
    ngx_centrifugo_registry_t  *reg;

    if (data->len > ngx_centrifugo_control_max(&hcf->hub)) {
        asker->done(asker->handle, NGX_CENTRIFUGO_ENGINE_REFUSED);
        return;
    }

    reg = hcf->hub.registry;
    t = request_table(hcf);
    n = 0;

    for (i = 0; i < NGX_CENTRIFUGO_MASK_WORDS; i++) {
        n += __builtin_popcountll(mask[i]);
    }

    p = (t && n) ? calloc(1, sizeof(request_pending_t)
                             + (n - 1) * sizeof(p->of[0]))
                 : NULL;

    if (p == NULL) {
        asker->done(asker->handle, NGX_CENTRIFUGO_ENGINE_RETRY);
        return;
    }

    for (i = 0; i < NGX_CENTRIFUGO_MASK_WORDS; i++) {
        for (bits = mask[i]; bits; bits &= bits - 1) {
            p->of[p->n].slot = (uint32_t) (i * 64 + __builtin_ctzll(bits));
            p->of[p->n].generation
                = (to >= NGX_CENTRIFUGO_SLOTS)
                  ? reg->slots[p->of[p->n].slot].generation : generation;
            p->n++;
        }
    }

    p->waiting = p->n;
    p->asker = *asker;
    p->deadline = (uint64_t) ngx_current_msec + timeout;
    p->node.key = (ngx_rbtree_key_t) ++t->next;

    /* before it is sent: it may be answered as soon as it is in the ring */

    ngx_rbtree_insert(&t->pending, &p->node);
    ngx_queue_insert_tail(&t->list, &p->link);

    if (to == NGX_CENTRIFUGO_SLOTS) {
        request_each(hcf, p, kind, data);

    } else {
        rc = ngx_centrifugo_control_send(&hcf->hub, to, generation,
                                         NGX_CENTRIFUGO_CONTROL_REQUEST + kind,
                                         p->node.key, p->deadline, data);
        if (rc == NGX_BUSY) {
            request_full(hcf);
        }

        if (rc != NGX_OK) {
            p->failed = 1;
            p->waiting = 0;
        }
    }

    if (p->waiting == 0) {
        request_end(t, p);
    }
}


static void
request_each(ngx_centrifugo_hub_conf_t *hcf, request_pending_t *p,
    ngx_uint_t kind, const ngx_str_t *data)
{
    ngx_int_t   rc;
    ngx_uint_t  i;

    for (i = 0; i < p->n; i++) {

        rc = ngx_centrifugo_control_send(&hcf->hub, p->of[i].slot,
                                         p->of[i].generation,
                                         NGX_CENTRIFUGO_CONTROL_REQUEST + kind,
                                         p->node.key, p->deadline, data);
        if (rc == NGX_BUSY) {
            request_full(hcf);
        }

        if (rc != NGX_OK) {
            p->of[i].answered = 1;
            p->waiting--;
            p->failed = 1;
        }
    }
}


/*
 * A worker that stands still is in the way of all commands: one line a second.
 */

static void
request_full(ngx_centrifugo_hub_conf_t *hcf)
{
    static time_t  warned;

    if (warned == ngx_time()) {
        return;
    }

    warned = ngx_time();

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "centrifugo: the control ring of hub \"%V\" is full, a "
                  "command for other workers failed; one of them stands still",
                  &hcf->name);
}


static request_pending_t *
request_find(request_table_t *t, uint64_t id)
{
    ngx_rbtree_node_t  *node;

    for (node = t->pending.root; node != &t->sentinel;
         node = (id < node->key) ? node->left : node->right)
    {
        if (node->key == id) {
            return ngx_rbtree_data(node, request_pending_t, node);
        }
    }

    return NULL;
}


/*
 * Takes the request out before its asker is told: nothing that comes later
 * finds it any more.
 */

static void
request_end(request_table_t *t, request_pending_t *p)
{
    ngx_rbtree_delete(&t->pending, &p->node);
    ngx_queue_remove(&p->link);

    p->asker.done(p->asker.handle,
                  p->failed ? NGX_CENTRIFUGO_ENGINE_RETRY
                            : NGX_CENTRIFUGO_ENGINE_OK);
    free(p);
}


ngx_int_t
ngx_centrifugo_request_answer(const ngx_centrifugo_request_t *request,
    const ngx_str_t *data)
{
    ngx_int_t  rc;

    rc = ngx_centrifugo_control_send(&request->hcf->hub, request->from,
                                     request->from_generation,
                                     NGX_CENTRIFUGO_CONTROL_ANSWER,
                                     request->id, 0, data);
    if (rc != NGX_BUSY) {
        return rc;
    }

    request_full(request->hcf);

    return request_keep(request, data);
}


static ngx_int_t
request_keep(const ngx_centrifugo_request_t *request, const ngx_str_t *data)
{
    request_table_t   *t;
    request_answer_t  *answer;

    t = request_table(request->hcf);
    answer = t ? malloc(sizeof(request_answer_t) + data->len) : NULL;

    if (answer == NULL) {
        return NGX_ERROR;
    }

    answer->request = *request;
    answer->request.data.data = answer->data;
    answer->request.data.len = data->len;

    if (data->len) {
        ngx_memcpy(answer->data, data->data, data->len);
    }

    if (request->deadline == 0) {
        answer->request.deadline = (uint64_t) ngx_current_msec
                                   + NGX_CENTRIFUGO_SILENCE;
    }

    ngx_queue_insert_tail(&t->answers, &answer->link);

    return NGX_AGAIN;
}


/* In their order, until one finds no room again. */

static void
request_retry(ngx_centrifugo_hub_conf_t *hcf, request_table_t *t)
{
    ngx_int_t                  rc;
    request_answer_t          *answer;
    ngx_centrifugo_request_t  *request;

    while (!ngx_queue_empty(&t->answers)) {

        answer = ngx_queue_data(ngx_queue_head(&t->answers), request_answer_t,
                                link);
        request = &answer->request;

        if ((int64_t) (request->deadline - (uint64_t) ngx_current_msec) > 0) {

            rc = ngx_centrifugo_control_send(&hcf->hub, request->from,
                                             request->from_generation,
                                             NGX_CENTRIFUGO_CONTROL_ANSWER,
                                             request->id, 0, &request->data);
            if (rc == NGX_BUSY) {
                request_full(hcf);
                return;
            }
        }

        ngx_queue_remove(&answer->link);
        free(answer);
    }
}


ngx_int_t
ngx_centrifugo_request_poll(ngx_centrifugo_hub_conf_t *hcf, ngx_log_t *log)
{
    ngx_uint_t                n;
    ngx_centrifugo_control_t  message;

    for (n = 0; n < REQUEST_PASS; n++) {

        switch (ngx_centrifugo_control_read(&hcf->hub, &message)) {

        case NGX_OK:
            break;

        case NGX_DONE:
            return NGX_OK;

        case NGX_DECLINED:
            ngx_log_error(NGX_LOG_WARN, log, 0,
                          "centrifugo: this worker stood still for so long "
                          "that commands for its clients of hub \"%V\" are "
                          "lost, they have to connect again", &hcf->name);
            return NGX_DECLINED;

        default:
            return NGX_AGAIN;
        }

        if (message.data.len < message.total) {
            request_part(hcf, &message);

        } else {
            request_message(hcf, &message, &message.data);
        }
    }

    return NGX_AGAIN;
}


static void
request_message(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_control_t *message, const ngx_str_t *data)
{
    ngx_uint_t                kind;
    ngx_centrifugo_request_t  request;

    switch (message->kind) {

    case NGX_CENTRIFUGO_CONTROL_RESYNC:
        (void) ngx_centrifugo_hub_resync_check(&hcf->hub);
        return;

    case NGX_CENTRIFUGO_CONTROL_ANSWER:
        request_answered(hcf, message, data);
        return;
    }

    if (message->kind < NGX_CENTRIFUGO_CONTROL_REQUEST) {
        return;
    }

    kind = message->kind - NGX_CENTRIFUGO_CONTROL_REQUEST;

    /*
     * Too late to be of use: the asker was told that it failed.  What nobody
     * waits for has no deadline.
     */

    if (kind >= NGX_CENTRIFUGO_REQUEST_KINDS || request_handlers[kind] == NULL
        || (message->deadline
            && (int64_t) (message->deadline - (uint64_t) ngx_current_msec)
               <= 0))
    {
        return;
    }

    request.hcf = hcf;
    request.from = message->from;
    request.from_generation = message->from_generation;
    request.id = message->request;
    request.deadline = message->deadline;
    request.data = *data;

    request_handlers[kind](&request);
}


static void
request_answered(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_control_t *message, const ngx_str_t *data)
{
    ngx_uint_t          i;
    request_table_t    *t;
    request_pending_t  *p;

    t = hcf->requests;
    p = t ? request_find(t, message->request) : NULL;

    if (p == NULL) {
        return;
    }

    for (i = 0; i < p->n; i++) {

        if (p->of[i].slot == message->from && !p->of[i].answered
            && ((p->of[i].generation ^ message->from_generation)
                & NGX_CENTRIFUGO_ID_GENERATION) == 0)
        {
            p->of[i].answered = 1;
            p->waiting--;
            p->asker.answer(p->asker.handle, message->from, data);
            break;
        }
    }

    if (p->waiting == 0) {
        request_end(t, p);
    }
}


static void
request_part(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_control_t *message)
{
    ngx_str_t           data;
    ngx_queue_t        *q;
    request_table_t    *t;
    request_partial_t  *part;

    t = request_table(hcf);

    if (t == NULL) {
        return;
    }

    part = NULL;

    for (q = ngx_queue_head(&t->partials);
         q != ngx_queue_sentinel(&t->partials);
         q = ngx_queue_next(q))
    {
        part = ngx_queue_data(q, request_partial_t, link);

        if (part->from == message->from && part->id == message->request
            && part->from_generation == message->from_generation
            && part->kind == message->kind)
        {
            break;
        }

        part = NULL;
    }

    if (part && message->part == 0) {

        /* the sender found no room for the rest, and sends it all again */

        ngx_queue_remove(&part->link);
        free(part);
        part = NULL;
    }

    if (part == NULL) {

        /* nothing larger than the ring can ever come in whole */

        if (message->part != 0
            || message->total > ngx_centrifugo_control_max(&hcf->hub))
        {
            return;
        }

        part = malloc(sizeof(request_partial_t) + message->total);
        if (part == NULL) {
            return;
        }

        part->from = message->from;
        part->from_generation = message->from_generation;
        part->id = message->request;
        part->kind = message->kind;
        part->total = message->total;
        part->got = 0;
        ngx_queue_insert_tail(&t->partials, &part->link);
    }

    part->deadline = (uint64_t) ngx_current_msec + NGX_CENTRIFUGO_SILENCE;

    if (message->part != part->got || message->total != part->total) {
        ngx_queue_remove(&part->link);
        free(part);
        return;
    }

    ngx_memcpy(part->data + part->got, message->data.data,
               message->data.len);
    part->got += message->data.len;

    if (part->got < part->total) {
        return;
    }

    ngx_queue_remove(&part->link);

    data.data = part->data;
    data.len = part->total;
    request_message(hcf, message, &data);

    free(part);
}


void
ngx_centrifugo_request_tick(ngx_centrifugo_hub_conf_t *hcf)
{
    uint64_t            now;
    ngx_uint_t          i;
    ngx_queue_t        *q, *next;
    request_table_t    *t;
    request_partial_t  *part;
    request_pending_t  *p;

    t = hcf->requests;

    if (t == NULL) {
        return;
    }

    request_retry(hcf, t);

    now = (uint64_t) ngx_current_msec;

    for (q = ngx_queue_head(&t->list); q != ngx_queue_sentinel(&t->list);
         q = next)
    {
        next = ngx_queue_next(q);
        p = ngx_queue_data(q, request_pending_t, link);

        for (i = 0; i < p->n; i++) {
            if (!p->of[i].answered
                && !ngx_centrifugo_hub_alive(&hcf->hub, p->of[i].slot,
                                             p->of[i].generation))
            {
                p->of[i].answered = 1;
                p->waiting--;
                p->failed = 1;
            }
        }

        if ((int64_t) (p->deadline - now) <= 0) {
            p->failed = 1;
            p->waiting = 0;
        }

        if (p->waiting == 0) {
            request_end(t, p);

            /* who was told may have changed the list */

            next = ngx_queue_head(&t->list);
        }
    }

    for (q = ngx_queue_head(&t->partials);
         q != ngx_queue_sentinel(&t->partials);
         q = next)
    {
        next = ngx_queue_next(q);
        part = ngx_queue_data(q, request_partial_t, link);

        if ((int64_t) (part->deadline - now) <= 0) {
            ngx_queue_remove(&part->link);
            free(part);
        }
    }
}


void
ngx_centrifugo_request_exit(ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_queue_t        *q;
    request_table_t    *t;
    request_pending_t  *p;

    t = hcf->requests;

    if (t == NULL) {
        return;
    }

    while (!ngx_queue_empty(&t->list)) {
        p = ngx_queue_data(ngx_queue_head(&t->list), request_pending_t, link);
        p->failed = 1;
        request_end(t, p);
    }

    while (!ngx_queue_empty(&t->partials)) {
        q = ngx_queue_head(&t->partials);
        ngx_queue_remove(q);
        free(ngx_queue_data(q, request_partial_t, link));
    }

    while (!ngx_queue_empty(&t->answers)) {
        q = ngx_queue_head(&t->answers);
        ngx_queue_remove(q);
        free(ngx_queue_data(q, request_answer_t, link));
    }

    free(t);
    hcf->requests = NULL;
}
