/*
 * Orders on their way: which workers get one, and what such a worker does with
 * it, in turns, so that an order for very many clients holds nobody up.
 */

#include "ngx_centrifugo_order.h"
#include "ngx_centrifugo_worker.h"
#include "../core/ngx_centrifugo_text.h"


#define ORDER_TIMEOUT  5000     /* ms */
#define ORDER_ARENA    1024

/* what a turn may cost: looking at a client is 1, carrying out is 16 */
#define ORDER_CARRY    16
#define ORDER_TURN     (512 * ORDER_CARRY)


/* an order that was sent */
typedef struct {
    ngx_centrifugo_hub_conf_t    *hcf;
    ngx_centrifugo_order_e        kind;
    ngx_centrifugo_completion_t   done;
} order_sent_t;

/* an order that this worker carries out */
typedef struct {
    ngx_queue_t                   link;
    ngx_centrifugo_request_t      request;
    ngx_centrifugo_arena_t        arena;
    ngx_centrifugo_order_t        order;
    u_char                        client[16];
    u_char                       *whitelist;    /* ids, sorted */
    ngx_uint_t                    nwhitelist;

    /*
     * Clients that were looked at.  The last of them that is still in the
     * user's list is where the next turn goes on: the list keeps its order.
     */
    uint64_t                     *handles;
    ngx_uint_t                    n;
    ngx_uint_t                    size;

    ngx_uint_t                    left;         /* clients to look at */
    unsigned                      begun:1;
} order_job_t;


static ngx_uint_t order_owner(ngx_centrifugo_hub_t *hub, const ngx_str_t *id,
    const uint64_t *members, uint64_t *mask);
static ngx_uint_t order_slots(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_order_t *order, uint64_t *mask);
static void order_answer(uint64_t handle, ngx_uint_t slot,
    const ngx_str_t *data);
static void order_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc);
static void order_handler(ngx_centrifugo_request_t *request);
static ngx_int_t order_whitelist(order_job_t *job);
static int order_compare(const void *one, const void *two);
static void order_event_handler(ngx_event_t *ev);
static ngx_int_t order_turn(order_job_t *job, ngx_uint_t *budget);
static ngx_queue_t *order_place(order_job_t *job,
    ngx_centrifugo_user_t *user);
static ngx_int_t order_remember(order_job_t *job, uint64_t handle);
static ngx_uint_t order_concerns(order_job_t *job,
    ngx_centrifugo_client_t *client);
static void order_free(order_job_t *job);


static ngx_queue_t  order_jobs;
static ngx_event_t  order_event;

static const char  *order_names[] = {
    "", "subscribe", "unsubscribe", "disconnect", "refresh"
};


void
ngx_centrifugo_order_init(void)
{
    ngx_uint_t  kind;

    ngx_queue_init(&order_jobs);

    ngx_memzero(&order_event, sizeof(ngx_event_t));
    order_event.handler = order_event_handler;
    order_event.log = ngx_cycle->log;

    for (kind = NGX_CENTRIFUGO_ORDER_SUBSCRIBE;
         kind <= NGX_CENTRIFUGO_ORDER_REFRESH;
         kind++)
    {
        ngx_centrifugo_request_handler(kind, order_handler);
    }
}


void
ngx_centrifugo_order_send(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_order_t *order,
    const ngx_centrifugo_completion_t *done)
{
    uint64_t                 mask[NGX_CENTRIFUGO_MASK_WORDS];
    ngx_str_t                data;
    order_sent_t            *sent;
    ngx_centrifugo_buf_t     b;
    ngx_centrifugo_asker_t   asker;

    if (order_slots(hcf, order, mask) == 0) {
        done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_OK, NULL);
        return;
    }

    ngx_memzero(&b, sizeof(ngx_centrifugo_buf_t));
    ngx_centrifugo_order_encode(&b, order);

    sent = b.failed ? NULL : malloc(sizeof(order_sent_t));

    if (sent == NULL) {
        ngx_centrifugo_buf_free(&b);
        done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_RETRY, NULL);
        return;
    }

    sent->hcf = hcf;
    sent->kind = order->kind;
    sent->done = *done;

    asker.answer = order_answer;
    asker.done = order_done;
    asker.handle = (uint64_t) (uintptr_t) sent;

    data.data = b.start;
    data.len = ngx_centrifugo_buf_len(&b);

    ngx_centrifugo_request_send_slots(hcf, mask, order->kind, &data,
                                      ORDER_TIMEOUT, &asker);

    ngx_centrifugo_buf_free(&b);
}


/*
 * The workers that an order concerns, a bit each.  An id names one; that of a
 * worker which is gone, or none at all, concerns nobody.  A worker that stands
 * still is concerned: it still has its clients.
 */

static ngx_uint_t
order_slots(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_order_t *order, uint64_t *mask)
{
    uint64_t    members[NGX_CENTRIFUGO_MASK_WORDS], any;
    ngx_uint_t  i;

    ngx_centrifugo_hub_members(&hcf->hub, members);

    if (order->client.len || order->session.len) {
        ngx_memcpy(mask, members, sizeof(members));

        if ((order->client.len
             && !order_owner(&hcf->hub, &order->client, members, mask))
            || (order->session.len
                && !order_owner(&hcf->hub, &order->session, members, mask)))
        {
            return 0;
        }

    } else {
        ngx_memzero(mask, sizeof(members));
        ngx_centrifugo_hub_tally_slots(&hcf->hub, NGX_CENTRIFUGO_TALLY_USER,
                                       &order->user, mask);
    }

    any = 0;

    for (i = 0; i < NGX_CENTRIFUGO_MASK_WORDS; i++) {
        mask[i] &= members[i];
        any |= mask[i];
    }

    return any != 0;
}


/* Takes all but the owner of an id from the mask; 0: the owner is gone. */

static ngx_uint_t
order_owner(ngx_centrifugo_hub_t *hub, const ngx_str_t *id,
    const uint64_t *members, uint64_t *mask)
{
    u_char      bytes[16];
    uint64_t    bit;
    uint32_t    generation;
    ngx_uint_t  i, slot;

    if (ngx_centrifugo_id_parse(id, bytes) != NGX_OK) {
        return 0;
    }

    ngx_centrifugo_hub_id_owner(hub, bytes, &slot, &generation);

    bit = 1ULL << (slot % 64);

    if (!(members[slot / 64] & bit)
        || (hub->registry->slots[slot].generation ^ generation)
           & NGX_CENTRIFUGO_ID_GENERATION)
    {
        return 0;
    }

    for (i = 0; i < NGX_CENTRIFUGO_MASK_WORDS; i++) {
        mask[i] &= (i == slot / 64) ? bit : 0;
    }

    return 1;
}


static void
order_answer(uint64_t handle, ngx_uint_t slot, const ngx_str_t *data)
{
    /* that it came is all it says */
}


static void
order_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc)
{
    order_sent_t                 *sent;
    ngx_centrifugo_completion_t   done;
    static time_t                 warned;

    sent = (order_sent_t *) (uintptr_t) handle;
    done = sent->done;

    if (rc == NGX_CENTRIFUGO_ENGINE_RETRY && warned != ngx_time()) {
        warned = ngx_time();

        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "centrifugo: \"%s\" of the API of hub \"%V\" could not "
                      "be carried out by all workers that have such clients, "
                      "one of them does not answer",
                      order_names[sent->kind], &sent->hcf->name);
    }

    free(sent);

    done.handler(done.handle, rc, NULL);
}


/*
 * The receiving side.  Orders are carried out one after the other, in the
 * order in which they came.
 */

static void
order_handler(ngx_centrifugo_request_t *request)
{
    ngx_str_t                data;
    order_job_t             *job;
    ngx_centrifugo_order_t  *order;

    /* an order without memory for it has no answer, so the asker is told */

    job = calloc(1, sizeof(order_job_t));
    if (job == NULL) {
        return;
    }

    ngx_centrifugo_arena_init(&job->arena, ORDER_ARENA);

    job->request = *request;
    ngx_str_null(&job->request.data);

    data.len = request->data.len;
    data.data = ngx_centrifugo_arena_alloc(&job->arena, data.len + 1);

    if (data.data == NULL) {
        order_free(job);
        return;
    }

    ngx_memcpy(data.data, request->data.data, data.len);
    order = &job->order;

    if (ngx_centrifugo_order_decode(&job->arena, &data, order) != NGX_OK
        || order_whitelist(job) != NGX_OK)
    {
        order_free(job);
        return;
    }

    /* no transport has sessions of its own yet: nobody is meant */

    if (order->session.len
        || (order->client.len
            && ngx_centrifugo_id_parse(&order->client, job->client)
               != NGX_OK))
    {
        ngx_str_null(&data);
        (void) ngx_centrifugo_request_answer(request, &data);
        order_free(job);
        return;
    }

    ngx_queue_insert_tail(&order_jobs, &job->link);

    ngx_post_event(&order_event, &ngx_posted_events);
}


static ngx_int_t
order_whitelist(order_job_t *job)
{
    ngx_uint_t  i;

    if (job->order.nwhitelist == 0) {
        return NGX_OK;
    }

    job->whitelist = ngx_centrifugo_arena_alloc(&job->arena,
                                                job->order.nwhitelist * 16);
    if (job->whitelist == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < job->order.nwhitelist; i++) {
        if (ngx_centrifugo_id_parse(&job->order.whitelist[i],
                                    job->whitelist + job->nwhitelist * 16)
            == NGX_OK)
        {
            job->nwhitelist++;
        }
    }

    qsort(job->whitelist, job->nwhitelist, 16, order_compare);

    return NGX_OK;
}


static int
order_compare(const void *one, const void *two)
{
    return ngx_memcmp(one, two, 16);
}


static void
order_event_handler(ngx_event_t *ev)
{
    ngx_int_t     rc;
    ngx_str_t     nothing;
    ngx_uint_t    budget;
    order_job_t  *job;

    ngx_str_null(&nothing);
    budget = ORDER_TURN;

    while (budget && !ngx_queue_empty(&order_jobs)) {

        job = ngx_queue_data(ngx_queue_head(&order_jobs), order_job_t, link);

        rc = order_turn(job, &budget);

        if (rc == NGX_OK) {
            (void) ngx_centrifugo_request_answer(&job->request, &nothing);
        }

        /* what clients left, and the answer */

        ngx_centrifugo_worker_wake(job->request.hcf);

        if (rc == NGX_AGAIN) {
            break;
        }

        ngx_queue_remove(&job->link);
        order_free(job);
    }

    /* clients have got frames */

    ngx_centrifugo_worker_post();

    if (!ngx_queue_empty(&order_jobs)) {
        ngx_post_event(&order_event, &ngx_posted_next_events);
    }
}


/*
 * A part of a job: NGX_OK: that was the last one; NGX_AGAIN; NGX_ERROR: no
 * memory, it can't go on.  Carrying out may close any client and free the user
 * itself, so what is known of them is asked for again each time.
 */

static ngx_int_t
order_turn(order_job_t *job, ngx_uint_t *budget)
{
    ngx_uint_t                  i, first, cost, last;
    ngx_queue_t                *q;
    ngx_centrifugo_user_t      *user;
    ngx_centrifugo_client_t    *client;
    ngx_centrifugo_hub_conf_t  *hcf;

    hcf = job->request.hcf;
    user = ngx_centrifugo_user_find(hcf, &job->order.user);

    if (user == NULL) {
        return NGX_OK;
    }

    if (!job->begun) {

        /* who comes meanwhile is not meant, and can't make it endless */

        job->begun = 1;
        job->left = user->count;
    }

    q = order_place(job, user);
    first = job->n;
    cost = 0;

    while (q != ngx_queue_sentinel(&user->clients) && job->left
           && cost < *budget)
    {
        client = ngx_queue_data(q, ngx_centrifugo_client_t, in_user);
        q = ngx_queue_next(q);

        if (order_remember(job, client->handle) != NGX_OK) {
            return NGX_ERROR;
        }

        job->left--;
        cost += order_concerns(job, client) ? ORDER_CARRY : 1;
    }

    last = (q == ngx_queue_sentinel(&user->clients) || job->left == 0);
    *budget -= ngx_min(cost, *budget);

    for (i = first; i < job->n; i++) {
        client = ngx_centrifugo_client_find(job->handles[i]);

        if (client && client->in_user.next && order_concerns(job, client)) {
            ngx_centrifugo_client_ordered(client, &job->order);
        }
    }

    return last ? NGX_OK : NGX_AGAIN;
}


static ngx_queue_t *
order_place(order_job_t *job, ngx_centrifugo_user_t *user)
{
    ngx_centrifugo_client_t  *client;

    for ( /* void */ ; job->n; job->n--) {
        client = ngx_centrifugo_client_find(job->handles[job->n - 1]);

        if (client && client->in_user.next && client->user_node == user) {
            return ngx_queue_next(&client->in_user);
        }
    }

    return ngx_queue_head(&user->clients);
}


static ngx_int_t
order_remember(order_job_t *job, uint64_t handle)
{
    uint64_t    *handles;
    ngx_uint_t   size;

    if (job->n == job->size) {
        size = job->size ? job->size * 2 : 16;

        handles = realloc(job->handles, size * sizeof(uint64_t));
        if (handles == NULL) {
            return NGX_ERROR;
        }

        job->handles = handles;
        job->size = size;
    }

    job->handles[job->n++] = handle;

    return NGX_OK;
}


static ngx_uint_t
order_concerns(order_job_t *job, ngx_centrifugo_client_t *client)
{
    if (job->order.client.len
        && ngx_memcmp(client->id, job->client, sizeof(client->id)) != 0)
    {
        return 0;
    }

    return job->nwhitelist == 0
           || bsearch(client->id, job->whitelist, job->nwhitelist, 16,
                      order_compare)
              == NULL;
}


static void
order_free(order_job_t *job)
{
    ngx_centrifugo_arena_free(&job->arena);
    free(job->handles);
    free(job);
}
