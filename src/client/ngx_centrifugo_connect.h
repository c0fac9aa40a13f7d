/*
 * A connect under way; within the client layer.
 */

#ifndef _NGX_CENTRIFUGO_CONNECT_H_INCLUDED_
#define _NGX_CENTRIFUGO_CONNECT_H_INCLUDED_


#include "ngx_centrifugo_client.h"


/* a server-side subscription; a connect finds it by its channel */
typedef struct {
    ngx_str_node_t                  node;
    ngx_centrifugo_grant_t          grant;
    ngx_centrifugo_position_t       position;   /* that the reply tells */
    ngx_centrifugo_buf_t            list;       /* publications in it */
} ngx_centrifugo_connect_item_t;

/* a connect under way; channels are wished for by the client */
typedef struct {
    uint64_t                        client;     /* handle */
    ngx_centrifugo_hub_conf_t      *hcf;
    ngx_centrifugo_arena_t          arena;
    ngx_centrifugo_command_sub_t   *wishes;
    ngx_uint_t                      nwishes;
    uint32_t                        ttl;
    ngx_rbtree_t                    tree;       /* of what follows */
    ngx_rbtree_node_t               sentinel;
    ngx_centrifugo_connect_item_t  *subs;
    ngx_centrifugo_connect_sub_t   *results;
    size_t                          room;       /* for publications */
    ngx_uint_t                      n;
    ngx_uint_t                      done;
    unsigned                        running:1;  /* connect_next() is */
    unsigned                        answered:1; /* a subscription */
    unsigned                        failed:1;
    unsigned                        single:1;   /* others were told to end */
} ngx_centrifugo_connecting_t;


/* src/client/ngx_centrifugo_connect_subs.c */

/*
 * What the client wishes for is copied, as its token may be verified later.
 * NGX_ERROR: no memory.
 */
ngx_int_t ngx_centrifugo_connect_wishes(ngx_centrifugo_connecting_t *cn,
    const ngx_centrifugo_command_sub_t *wishes);

/*
 * The list of server-side subscriptions: the personal channel, those of the
 * token (NULL: none was given), and wishes that are granted.  results: where
 * what is said of them is gathered, before the first of them is asked for.
 * NGX_ERROR: the client was told.
 */
ngx_int_t ngx_centrifugo_connect_grants(ngx_centrifugo_client_t *client,
    ngx_centrifugo_connecting_t *cn, const ngx_centrifugo_token_t *token);
ngx_int_t ngx_centrifugo_connect_results(ngx_centrifugo_client_t *client,
    ngx_centrifugo_connecting_t *cn);

/*
 * What the next of them adds to the reply.  NGX_ERROR: it can't be told to a
 * JSON client.
 */
ngx_int_t ngx_centrifugo_connect_add(ngx_centrifugo_connecting_t *cn,
    ngx_centrifugo_subscribing_t *op, ngx_centrifugo_subscription_t *sub);


/* src/client/ngx_centrifugo_connect.c: tells the client why it failed */
void ngx_centrifugo_connect_failed(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_error_t *err, const ngx_str_t *channel,
    const char *why);


#endif /* _NGX_CENTRIFUGO_CONNECT_H_INCLUDED_ */
