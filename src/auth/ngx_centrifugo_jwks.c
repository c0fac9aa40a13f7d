/*
 * Keys that are fetched (RFC 7517).  A document is asked for once at a time
 * and, since anybody can write a new kid into a token, once in a second; tokens
 * that need it wait, each in a copy, and are checked again when it is there.
 */

#include "ngx_centrifugo_keys.h"

#include <ngx_event.h>


#define JWKS_TTL        (3600 * 1000)       /* ms, of fetched keys */
#define JWKS_PAUSE      1000                /* ms, between two fetches */
#define JWKS_ATTEMPTS   2
#define JWKS_DOCS       64
#define JWKS_KEYS       256                 /* of a document */
#define JWKS_ALL_KEYS   4096                /* of all documents */
#define JWKS_WAITERS    1024
#define JWKS_BYTES      (4 * 1024 * 1024)   /* of tokens that wait */
#define JWKS_DOC_MAX    (1024 * 1024)
#define JWKS_ARENA      4096
#define JWKS_BATCH      16                  /* tokens verified in a turn of the
                                               event loop */


typedef struct jwks_key_s    jwks_key_t;
typedef struct jwks_doc_s    jwks_doc_t;

struct jwks_key_s {
    jwks_key_t                  *next;
    ngx_centrifugo_key_t         key;
    ngx_str_t                    kid;
    u_char                       bytes[];
};

/* a fetch in flight; it outlives the document when the worker exits */
typedef struct {
    jwks_doc_t                  *doc;       /* NULL: nobody waits */
} jwks_fetch_t;

struct jwks_doc_s {
    ngx_queue_t                  link;      /* used last first */
    ngx_centrifugo_jwks_t       *jwks;
    ngx_str_t                    url;
    jwks_key_t                  *keys;
    ngx_uint_t                   nkeys;
    ngx_msec_t                   fetched;   /* when its keys came */
    ngx_msec_t                   asked;     /* when the last fetch ended */
    jwks_fetch_t                *fetch;     /* NULL: none in flight */
    ngx_uint_t                   attempts;
    ngx_queue_t                  waiters;
    ngx_queue_t                  ready;     /* they can be answered */
    ngx_event_t                  event;     /* posted: the next of these */
    ngx_uint_t                   busy;      /* waiters are being answered */
    unsigned                     tried:1;   /* `asked` is set */
    unsigned                     failed:1;  /* the last fetch did */
    u_char                       bytes[];
};

typedef struct {
    ngx_queue_t                  link;
    ngx_centrifugo_token_kind_e  kind;
    ngx_centrifugo_verified_t    done;
    ngx_str_t                    token;
    u_char                       bytes[];
} jwks_waiter_t;

struct ngx_centrifugo_jwks_s {
    ngx_centrifugo_verifier_t   *verifier;
    ngx_queue_t                  docs;
    ngx_uint_t                   ndocs;
    ngx_uint_t                   nkeys;
    ngx_uint_t                   nwaiters;
    size_t                       waiting;   /* bytes of their tokens */
    ngx_msec_t                   warned;
    unsigned                     full:1;    /* `warned` is set */
    unsigned                     exiting:1;
};


static jwks_doc_t *jwks_doc_find(ngx_centrifugo_jwks_t *jwks,
    const ngx_str_t *url);
static jwks_doc_t *jwks_doc_add(ngx_centrifugo_jwks_t *jwks,
    const ngx_str_t *url);
static void jwks_doc_free(jwks_doc_t *doc);
static void jwks_fetch(jwks_doc_t *doc);
static void jwks_fetched(void *data, ngx_int_t rc, const ngx_str_t *body);
static void jwks_done(jwks_doc_t *doc, ngx_int_t rc, const ngx_str_t *body);
static const char *jwks_read(jwks_doc_t *doc, const ngx_str_t *body);
static ngx_int_t jwks_key_add(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *jwk, jwks_key_t **keys, ngx_uint_t *nkeys);
static void jwks_keys_free(jwks_key_t *keys);
static void jwks_keep(jwks_doc_t *doc);
static void jwks_answer(jwks_doc_t *doc);
static void jwks_batch_handler(ngx_event_t *ev);
static void jwks_batch(jwks_doc_t *doc);
static void jwks_take(ngx_centrifugo_jwks_t *jwks, jwks_waiter_t *waiter);
static void jwks_full(ngx_centrifugo_jwks_t *jwks);
static u_char jwks_char(u_char **pos, u_char *end);


#define jwks_since(t)  ((ngx_msec_int_t) (ngx_current_msec - (t)))


ngx_centrifugo_jwks_t *
ngx_centrifugo_jwks_create(ngx_pool_t *pool,
    ngx_centrifugo_verifier_t *verifier)
{
    ngx_centrifugo_jwks_t  *jwks;

    jwks = ngx_pcalloc(pool, sizeof(ngx_centrifugo_jwks_t));

    if (jwks) {
        jwks->verifier = verifier;
        ngx_queue_init(&jwks->docs);
    }

    return jwks;
}


ngx_int_t
ngx_centrifugo_jwks_find(ngx_centrifugo_jwks_t *jwks,
    const ngx_centrifugo_jwks_id_t *id, const ngx_centrifugo_key_t **key,
    const char **reason)
{
    ngx_uint_t   found;
    jwks_doc_t  *doc;
    jwks_key_t  *k;

    if (id->kid.len == 0) {
        *reason = "its token has no kid";
        return NGX_DECLINED;
    }

    doc = jwks_doc_find(jwks, &id->url);

    if (doc == NULL) {
        *reason = "the JWKS of its token is not there";
        return NGX_AGAIN;
    }

    found = 0;

    if (doc->keys && jwks_since(doc->fetched) < JWKS_TTL) {

        for (k = doc->keys; k; k = k->next) {

            if (k->kid.len != id->kid.len
                || ngx_memcmp(k->kid.data, id->kid.data, id->kid.len) != 0)
            {
                continue;
            }

            /* keys of different kinds may share a kid */

            found = 1;

            if (k->key.algorithms & id->alg->bit) {
                *key = &k->key;
                return NGX_OK;
            }
        }
    }

    if (found) {
        *reason = "its token's algorithm is not one of the key in the JWKS";
        return NGX_DECLINED;
    }

    *reason = doc->failed ? "the JWKS of its token could not be fetched"
                          : "its token's kid is not in the JWKS";

    if (doc->fetch || !doc->tried || jwks_since(doc->asked) >= JWKS_PAUSE) {
        return NGX_AGAIN;
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_centrifugo_jwks_wait(ngx_centrifugo_jwks_t *jwks,
    const ngx_centrifugo_jwks_id_t *id, ngx_centrifugo_token_kind_e kind,
    const ngx_str_t *token, const ngx_centrifugo_verified_t *done,
    const char **reason)
{
    jwks_doc_t     *doc;
    jwks_waiter_t  *waiter;

    if (jwks->exiting || jwks->verifier->fetch == NULL) {
        *reason = "the worker does not fetch keys";
        return NGX_ERROR;
    }

    if (jwks->nwaiters == JWKS_WAITERS
        || token->len > JWKS_BYTES - jwks->waiting)
    {
        jwks_full(jwks);
        *reason = "too many tokens wait for a JWKS";
        return NGX_ERROR;
    }

    waiter = malloc(sizeof(jwks_waiter_t) + token->len);
    if (waiter == NULL) {
        *reason = "no memory for its token";
        return NGX_ERROR;
    }

    doc = jwks_doc_find(jwks, &id->url);

    if (doc == NULL) {
        doc = jwks_doc_add(jwks, &id->url);
    }

    if (doc == NULL) {
        free(waiter);
        *reason = "too many JWKS are being fetched";
        return NGX_ERROR;
    }

    waiter->kind = kind;
    waiter->done = *done;
    waiter->token.len = token->len;
    waiter->token.data = waiter->bytes;
    ngx_memcpy(waiter->bytes, token->data, token->len);

    ngx_queue_insert_tail(&doc->waiters, &waiter->link);
    jwks->nwaiters++;
    jwks->waiting += token->len;

    if (doc->fetch == NULL) {
        doc->attempts = 0;
        jwks_fetch(doc);
    }

    return NGX_OK;
}


static jwks_doc_t *
jwks_doc_find(ngx_centrifugo_jwks_t *jwks, const ngx_str_t *url)
{
    jwks_doc_t   *doc;
    ngx_queue_t  *q;

    for (q = ngx_queue_head(&jwks->docs);
         q != ngx_queue_sentinel(&jwks->docs);
         q = ngx_queue_next(q))
    {
        doc = ngx_queue_data(q, jwks_doc_t, link);

        if (doc->url.len == url->len
            && ngx_memcmp(doc->url.data, url->data, url->len) == 0)
        {
            /* but not while all of them are gone through */

            if (!jwks->exiting) {
                ngx_queue_remove(q);
                ngx_queue_insert_head(&jwks->docs, q);
            }

            return doc;
        }
    }

    return NULL;
}


static jwks_doc_t *
jwks_doc_add(ngx_centrifugo_jwks_t *jwks, const ngx_str_t *url)
{
    jwks_doc_t   *doc;
    ngx_queue_t  *q;

    if (jwks->ndocs == JWKS_DOCS) {

        for (q = ngx_queue_last(&jwks->docs);
             q != ngx_queue_sentinel(&jwks->docs);
             q = ngx_queue_prev(q))
        {
            doc = ngx_queue_data(q, jwks_doc_t, link);

            if (doc->fetch == NULL && doc->busy == 0
                && ngx_queue_empty(&doc->ready))
            {
                jwks_doc_free(doc);
                break;
            }
        }

        if (jwks->ndocs == JWKS_DOCS) {
            jwks_full(jwks);
            return NULL;
        }
    }

    doc = calloc(1, sizeof(jwks_doc_t) + url->len);
    if (doc == NULL) {
        return NULL;
    }

    doc->jwks = jwks;
    doc->url.len = url->len;
    doc->url.data = doc->bytes;
    ngx_memcpy(doc->bytes, url->data, url->len);
    ngx_queue_init(&doc->waiters);
    ngx_queue_init(&doc->ready);

    doc->event.handler = jwks_batch_handler;
    doc->event.data = doc;
    doc->event.log = ngx_cycle->log;

    ngx_queue_insert_head(&jwks->docs, &doc->link);
    jwks->ndocs++;

    return doc;
}


static void
jwks_doc_free(jwks_doc_t *doc)
{
    if (doc->fetch) {
        doc->fetch->doc = NULL;
    }

    if (doc->event.posted) {
        ngx_delete_posted_event(&doc->event);
    }

    ngx_queue_remove(&doc->link);
    doc->jwks->ndocs--;
    doc->jwks->nkeys -= doc->nkeys;

    jwks_keys_free(doc->keys);
    free(doc);
}


static void
jwks_fetch(jwks_doc_t *doc)
{
    ngx_str_t                   none = ngx_null_string;
    ngx_centrifugo_fetched_t    done;
    ngx_centrifugo_verifier_t  *verifier;

    verifier = doc->jwks->verifier;

    doc->attempts++;
    doc->fetch = malloc(sizeof(jwks_fetch_t));

    if (doc->fetch == NULL) {
        jwks_done(doc, NGX_ERROR, &none);
        return;
    }

    doc->fetch->doc = doc;

    done.handler = jwks_fetched;
    done.data = doc->fetch;

    verifier->fetch(verifier->data, &doc->url, &done);
}


static void
jwks_fetched(void *data, ngx_int_t rc, const ngx_str_t *body)
{
    jwks_doc_t    *doc;
    jwks_fetch_t  *fetch;

    fetch = data;
    doc = fetch->doc;
    free(fetch);

    if (doc == NULL) {
        return;
    }

    doc->fetch = NULL;

    if (rc != NGX_OK && doc->attempts < JWKS_ATTEMPTS
        && !doc->jwks->exiting)
    {
        jwks_fetch(doc);
        return;
    }

    jwks_done(doc, rc, body);
}


static void
jwks_done(jwks_doc_t *doc, ngx_int_t rc, const ngx_str_t *body)
{
    const char  *reason;

    reason = (rc == NGX_OK) ? jwks_read(doc, body) : "was not answered by 200";

    doc->tried = 1;
    doc->asked = ngx_current_msec;
    doc->failed = (reason != NULL);

    /* no more often than it is fetched: once in a second */

    if (reason) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "centrifugo: the JWKS \"%V\" %s", &doc->url, reason);
    }

    jwks_answer(doc);
}


/*
 * Replaces the keys of a document.  Returns NULL, or what is wrong with it, as
 * the end of a sentence; then the old keys stay until their time is up.
 */

static const char *
jwks_read(jwks_doc_t *doc, const ngx_str_t *body)
{
    u_char                  *text;
    ngx_int_t                rc;
    ngx_uint_t               nkeys;
    jwks_key_t              *keys;
    const char              *reason;
    ngx_centrifugo_json_t   *root, *list, *jwk;
    ngx_centrifugo_arena_t   arena;

    if (body->len > JWKS_DOC_MAX) {
        return "is larger than 1 MB";
    }

    keys = NULL;
    nkeys = 0;
    reason = NULL;
    list = NULL;

    ngx_centrifugo_arena_init(&arena, JWKS_ARENA);

    /* the reader keeps pointers, the body is its owner's */

    text = ngx_centrifugo_arena_alloc(&arena, body->len + 1);

    if (text == NULL) {
        rc = NGX_ABORT;

    } else {
        ngx_memcpy(text, body->data, body->len);
        rc = ngx_centrifugo_json_parse(&arena, text, body->len, 0, &root);
    }

    if (rc == NGX_OK && root->type == NGX_CENTRIFUGO_JSON_MAP) {
        list = ngx_centrifugo_json_get(root, "keys", 4);
    }

    if (rc == NGX_OK
        && (list == NULL || list->type != NGX_CENTRIFUGO_JSON_ARRAY))
    {
        rc = NGX_ERROR;
    }

    for (jwk = (rc == NGX_OK) ? list->child : NULL;
         jwk && rc == NGX_OK && nkeys < JWKS_KEYS;
         jwk = jwk->next)
    {
        rc = jwks_key_add(&arena, jwk, &keys, &nkeys);
    }

    if (rc == NGX_ABORT) {
        reason = "finds no memory";

    } else if (rc != NGX_OK) {
        reason = "is not {\"keys\":[...]}";

    } else if (keys == NULL) {
        reason = "has no key with a kid and \"use\":\"sig\" that can be used";
    }

    ngx_centrifugo_arena_free(&arena);

    if (reason) {
        jwks_keys_free(keys);
        return reason;
    }

    jwks_keys_free(doc->keys);
    doc->jwks->nkeys += nkeys - doc->nkeys;
    doc->keys = keys;
    doc->nkeys = nkeys;
    doc->fetched = ngx_current_msec;

    jwks_keep(doc);

    return NULL;
}


/*
 * A key that can not be used is passed over: others of the set may be for
 * somebody else.
 */

static ngx_int_t
jwks_key_add(ngx_centrifugo_arena_t *arena, ngx_centrifugo_json_t *jwk,
    jwks_key_t **keys, ngx_uint_t *nkeys)
{
    ngx_int_t              rc;
    ngx_str_t              kid;
    jwks_key_t            *k;
    ngx_centrifugo_key_t   key;

    if (jwk->type != NGX_CENTRIFUGO_JSON_MAP
        || ngx_centrifugo_json_string(jwk, "kid", 3, &kid) != NGX_OK
        || kid.len == 0)
    {
        return NGX_OK;
    }

    rc = ngx_centrifugo_key_jwk(arena, jwk, &key);

    if (rc != NGX_OK) {
        return (rc == NGX_ABORT) ? NGX_ABORT : NGX_OK;
    }

    k = malloc(sizeof(jwks_key_t) + kid.len);

    if (k == NULL) {
        ngx_centrifugo_key_free(&key);
        return NGX_ABORT;
    }

    k->key = key;
    k->kid.len = kid.len;
    k->kid.data = k->bytes;
    ngx_memcpy(k->bytes, kid.data, kid.len);

    /* of two with one kid the last is found first */

    k->next = *keys;
    *keys = k;
    (*nkeys)++;

    return NGX_OK;
}


static void
jwks_keys_free(jwks_key_t *keys)
{
    jwks_key_t  *next;

    for ( /* void */ ; keys; keys = next) {
        next = keys->next;
        ngx_centrifugo_key_free(&keys->key);
        free(keys);
    }
}


/*
 * Makes room by the keys of documents that were not used for the longest time.
 */

static void
jwks_keep(jwks_doc_t *doc)
{
    jwks_doc_t             *old;
    ngx_queue_t            *q;
    ngx_centrifugo_jwks_t  *jwks;

    jwks = doc->jwks;

    for (q = ngx_queue_last(&jwks->docs);
         q != ngx_queue_sentinel(&jwks->docs) && jwks->nkeys > JWKS_ALL_KEYS;
         q = ngx_queue_prev(q))
    {
        old = ngx_queue_data(q, jwks_doc_t, link);

        if (old == doc || !ngx_queue_empty(&old->ready)) {
            continue;
        }

        jwks_keys_free(old->keys);
        jwks->nkeys -= old->nkeys;
        old->keys = NULL;
        old->nkeys = 0;
    }
}


/*
 * What waits for a document can be answered.  A handler may bring new tokens,
 * and they may start the next fetch: those wait in the document again.
 */

static void
jwks_answer(jwks_doc_t *doc)
{
    if (ngx_queue_empty(&doc->waiters)) {
        return;
    }

    ngx_queue_add(&doc->ready, &doc->waiters);
    ngx_queue_init(&doc->waiters);

    if (!doc->event.posted) {
        jwks_batch(doc);
    }
}


static void
jwks_batch_handler(ngx_event_t *ev)
{
    jwks_batch(ev->data);
}


/*
 * A signature may take a millisecond, and a thousand tokens may wait: some are
 * checked in each turn.
 */

static void
jwks_batch(jwks_doc_t *doc)
{
    ngx_uint_t                  n;
    ngx_queue_t                *q;
    jwks_waiter_t              *waiter;
    ngx_centrifugo_arena_t      arena;
    ngx_centrifugo_token_t      result;
    ngx_centrifugo_jwks_t      *jwks;
    ngx_centrifugo_token_rc_e   rc;

    jwks = doc->jwks;

    doc->busy++;
    ngx_centrifugo_arena_init(&arena, JWKS_ARENA);

    for (n = 0; n < JWKS_BATCH && !ngx_queue_empty(&doc->ready); n++) {
        q = ngx_queue_head(&doc->ready);
        waiter = ngx_queue_data(q, jwks_waiter_t, link);

        ngx_queue_remove(q);
        jwks_take(jwks, waiter);

        rc = ngx_centrifugo_token_verify(jwks->verifier, waiter->kind, &arena,
                                         &waiter->token, ngx_time(), &result);
        waiter->done.handler(waiter->done.handle, rc, &result);

        free(waiter);
        ngx_centrifugo_arena_reset(&arena);
    }

    ngx_centrifugo_arena_free(&arena);

    if (--doc->busy == 0 && jwks->exiting) {
        jwks_doc_free(doc);
        return;
    }

    if (!ngx_queue_empty(&doc->ready)) {
        ngx_post_event(&doc->event, &ngx_posted_next_events);
    }
}


static void
jwks_take(ngx_centrifugo_jwks_t *jwks, jwks_waiter_t *waiter)
{
    jwks->nwaiters--;
    jwks->waiting -= waiter->token.len;
}


void
ngx_centrifugo_jwks_exit(ngx_centrifugo_jwks_t *jwks, ngx_uint_t silent)
{
    jwks_doc_t              *doc;
    ngx_queue_t             *q, *next;
    jwks_waiter_t           *waiter;
    ngx_centrifugo_token_t   none;

    /* what a handler brings from now on is not taken */

    jwks->exiting = 1;

    for (q = ngx_queue_head(&jwks->docs);
         q != ngx_queue_sentinel(&jwks->docs);
         q = next)
    {
        doc = ngx_queue_data(q, jwks_doc_t, link);

        if (!ngx_queue_empty(&doc->ready)) {
            ngx_queue_add(&doc->waiters, &doc->ready);
            ngx_queue_init(&doc->ready);
        }

        while (!ngx_queue_empty(&doc->waiters)) {
            q = ngx_queue_head(&doc->waiters);
            waiter = ngx_queue_data(q, jwks_waiter_t, link);

            ngx_queue_remove(q);
            jwks_take(jwks, waiter);

            if (!silent) {
                ngx_memzero(&none, sizeof(ngx_centrifugo_token_t));
                none.reason = "the worker exits before its key was fetched";

                waiter->done.handler(waiter->done.handle,
                                     NGX_CENTRIFUGO_TOKEN_ERROR, &none);
            }

            free(waiter);
        }

        /* one that is being answered goes when that is done */

        next = ngx_queue_next(&doc->link);

        if (doc->busy == 0) {
            jwks_doc_free(doc);
        }
    }
}


static void
jwks_full(ngx_centrifugo_jwks_t *jwks)
{
    if (jwks->full && jwks_since(jwks->warned) < JWKS_PAUSE) {
        return;
    }

    jwks->full = 1;
    jwks->warned = ngx_current_msec;

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "centrifugo: tokens are refused, since too many wait for "
                  "the keys of \"%V\"", &jwks->verifier->jwks_endpoint);
}


ngx_uint_t
ngx_centrifugo_jwks_clean(const ngx_str_t *url)
{
    u_char  *p, *end, c, last, before;

    p = url->data;
    end = p + url->len;

    if (p == end || *p != '/') {
        return 0;
    }

    /*
     * Nothing between two slashes, no dot alone, no two dots anywhere; a
     * location sees none of the escapes.
     */

    last = '\0';
    before = '\0';

    while (p < end && *p != '?') {
        c = jwks_char(&p, end);

        if (c == last && (c == '/' || c == '.')) {
            return 0;
        }

        if (c == '/' && last == '.' && before == '/') {
            return 0;
        }

        before = last;
        last = c;
    }

    return last != '/' && !(last == '.' && before == '/');
}


static u_char
jwks_char(u_char **pos, u_char *end)
{
    u_char     *p;
    ngx_int_t   c;

    p = *pos;

    if (*p == '%' && end - p >= 3) {
        c = ngx_hextoi(p + 1, 2);

        if (c != NGX_ERROR) {
            *pos = p + 3;
            return (u_char) c;
        }
    }

    *pos = p + 1;

    return *p;
}
