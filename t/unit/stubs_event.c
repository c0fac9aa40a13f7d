/*
 * What the client layer uses of NGINX besides: trees (not balanced, the tests
 * are small), timers and posted events that a test runs by hand, a log that
 * counts, and connections that are none.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "stubs_event.h"
#include "client/ngx_centrifugo_client.h"


/* their type changed over versions */

__typeof__(ngx_exiting)   ngx_exiting;
__typeof__(ngx_terminate) ngx_terminate;

volatile ngx_cycle_t     *ngx_cycle;
ngx_event_actions_t       ngx_event_actions;
uint32_t                  ngx_crc32_table256[256];
ngx_rbtree_t              ngx_event_timer_rbtree;
ngx_queue_t               ngx_posted_events;
ngx_queue_t               ngx_posted_next_events;

ngx_uint_t                stub_warnings;
ngx_connection_t         *stub_bell;

static ngx_rbtree_node_t  timer_sentinel;


static ngx_int_t
stub_event(ngx_event_t *ev, ngx_int_t event, ngx_uint_t flags)
{
    ev->active = !ev->active;

    return NGX_OK;
}


void
stub_init(void)
{
    uint32_t    c;
    ngx_uint_t  i, k;

    for (i = 0; i < 256; i++) {
        c = (uint32_t) i;

        for (k = 0; k < 8; k++) {
            c = c & 1 ? c >> 1 ^ 0xedb88320 : c >> 1;
        }

        ngx_crc32_table256[i] = c;
    }

    ngx_rbtree_init(&ngx_event_timer_rbtree, &timer_sentinel,
                    ngx_rbtree_insert_timer_value);
    ngx_queue_init(&ngx_posted_events);
    ngx_queue_init(&ngx_posted_next_events);

    ngx_event_actions.add = stub_event;
    ngx_event_actions.del = stub_event;
}


ngx_uint_t
stub_posted(void)
{
    ngx_uint_t    n;
    ngx_queue_t  *q;
    ngx_event_t  *ev;

    for (n = 0; !ngx_queue_empty(&ngx_posted_events); n++) {
        q = ngx_queue_head(&ngx_posted_events);
        ev = ngx_queue_data(q, ngx_event_t, queue);

        ngx_delete_posted_event(ev);
        ev->handler(ev);
    }

    while (!ngx_queue_empty(&ngx_posted_next_events)) {
        q = ngx_queue_head(&ngx_posted_next_events);
        ngx_queue_remove(q);
        ngx_queue_insert_tail(&ngx_posted_events, q);
        n++;
    }

    return n;
}


void
stub_timers(void)
{
    ngx_event_t        *ev;
    ngx_rbtree_node_t  *node;

    for ( ;; ) {
        if (ngx_event_timer_rbtree.root == &timer_sentinel) {
            return;
        }

        node = ngx_rbtree_min(ngx_event_timer_rbtree.root, &timer_sentinel);

        if ((ngx_msec_int_t) (node->key - ngx_current_msec) > 0) {
            return;
        }

        ev = ngx_rbtree_data(node, ngx_event_t, timer);
        ngx_rbtree_delete(&ngx_event_timer_rbtree, node);
        ev->timer_set = 0;
        ev->timedout = 1;
        ev->handler(ev);
    }
}


ngx_uint_t
stub_timers_left(void)
{
    return ngx_event_timer_rbtree.root != &timer_sentinel;
}


ngx_connection_t *
ngx_get_connection(ngx_socket_t s, ngx_log_t *log)
{
    ngx_connection_t  *c;

    c = calloc(1, sizeof(ngx_connection_t) + 2 * sizeof(ngx_event_t));
    if (c == NULL) {
        return NULL;
    }

    c->read = (ngx_event_t *) (c + 1);
    c->write = c->read + 1;
    c->read->data = c;
    c->write->data = c;
    c->fd = s;
    stub_bell = c;

    return c;
}


/* its owner still marks it as closed: freed with the next one */

void
ngx_free_connection(ngx_connection_t *c)
{
    static ngx_connection_t  *last;

    free(last);
    last = c;
    stub_bell = NULL;
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    if (level <= NGX_LOG_WARN) {
        stub_warnings++;
    }
}


u_char *
ngx_hex_dump(u_char *dst, u_char *src, size_t len)
{
    static const char  hex[] = "0123456789abcdef";

    while (len--) {
        *dst++ = hex[*src >> 4];
        *dst++ = hex[*src++ & 0xf];
    }

    return dst;
}


void
ngx_rbtree_insert(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    node->left = tree->sentinel;
    node->right = tree->sentinel;
    node->parent = NULL;

    if (tree->root == tree->sentinel) {
        tree->root = node;
        return;
    }

    tree->insert(tree->root, node, tree->sentinel);
}


static void
insert(ngx_rbtree_node_t *at, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel,
    ngx_int_t (*before)(ngx_rbtree_node_t *a, ngx_rbtree_node_t *b))
{
    ngx_rbtree_node_t  **p;

    for ( ;; ) {
        p = before(node, at) ? &at->left : &at->right;

        if (*p == sentinel) {
            break;
        }

        at = *p;
    }

    *p = node;
    node->parent = at;
    node->left = sentinel;
    node->right = sentinel;
}


static ngx_int_t
by_value(ngx_rbtree_node_t *a, ngx_rbtree_node_t *b)
{
    return a->key < b->key;
}


static ngx_int_t
by_time(ngx_rbtree_node_t *a, ngx_rbtree_node_t *b)
{
    return (ngx_rbtree_key_int_t) (a->key - b->key) < 0;
}


static ngx_int_t
by_str(ngx_rbtree_node_t *a, ngx_rbtree_node_t *b)
{
    ngx_str_node_t  *x, *y;

    x = (ngx_str_node_t *) a;
    y = (ngx_str_node_t *) b;

    if (a->key != b->key) {
        return a->key < b->key;
    }

    if (x->str.len != y->str.len) {
        return x->str.len < y->str.len;
    }

    return memcmp(x->str.data, y->str.data, x->str.len) < 0;
}


void
ngx_rbtree_insert_value(ngx_rbtree_node_t *root, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    insert(root, node, sentinel, by_value);
}


void
ngx_rbtree_insert_timer_value(ngx_rbtree_node_t *root,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel)
{
    insert(root, node, sentinel, by_time);
}


void
ngx_str_rbtree_insert_value(ngx_rbtree_node_t *root, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    insert(root, node, sentinel, by_str);
}


ngx_str_node_t *
ngx_str_rbtree_lookup(ngx_rbtree_t *tree, ngx_str_t *name, uint32_t hash)
{
    ngx_str_node_t      key;
    ngx_rbtree_node_t  *node;

    key.node.key = hash;
    key.str = *name;

    for (node = tree->root; node != tree->sentinel; /* void */ ) {

        if (by_str(&key.node, node)) {
            node = node->left;

        } else if (by_str(node, &key.node)) {
            node = node->right;

        } else {
            return (ngx_str_node_t *) node;
        }
    }

    return NULL;
}


static void
replace(ngx_rbtree_t *tree, ngx_rbtree_node_t *node, ngx_rbtree_node_t *by)
{
    if (node->parent == NULL) {
        tree->root = by;

    } else if (node->parent->left == node) {
        node->parent->left = by;

    } else {
        node->parent->right = by;
    }

    if (by != tree->sentinel) {
        by->parent = node->parent;
    }
}


void
ngx_rbtree_delete(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    ngx_rbtree_node_t  *next;

    if (node->left == tree->sentinel) {
        replace(tree, node, node->right);
        return;
    }

    if (node->right == tree->sentinel) {
        replace(tree, node, node->left);
        return;
    }

    next = ngx_rbtree_min(node->right, tree->sentinel);

    if (next != node->right) {
        replace(tree, next, next->right);
        next->right = node->right;
        next->right->parent = next;
    }

    replace(tree, node, next);
    next->left = node->left;
    next->left->parent = next;
}


ngx_rbtree_node_t *
ngx_rbtree_next(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    ngx_rbtree_node_t  *parent;

    if (node->right != tree->sentinel) {
        return ngx_rbtree_min(node->right, tree->sentinel);
    }

    for (parent = node->parent;
         parent && parent->right == node;
         parent = node->parent)
    {
        node = parent;
    }

    return parent;
}


ngx_module_t  ngx_core_module;


void
ngx_centrifugo_session_log(ngx_centrifugo_client_t *client)
{
    /* has a file, and the formats of NGINX */
}


#if (NGX_PCRE)

__attribute__((weak)) ngx_int_t
ngx_regex_exec(ngx_regex_t *re, ngx_str_t *s, int *captures, ngx_uint_t size)
{
    return NGX_DECLINED;
}

#endif
