/*
 * This worker's clients by their user ids and addresses, and the hub's count
 * of them.
 */

#include "ngx_centrifugo_client.h"


#define USER_WALK  256      /* users put back in one call */


typedef struct {
    ngx_rbtree_t          tree;
    ngx_rbtree_node_t     sentinel;
    ngx_queue_t           list;
    ngx_queue_t           mark;         /* of a resync; next NULL: none */
} user_table_t;


static user_table_t *user_table(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_tally_e kind);
static ngx_centrifugo_user_t *user_find(user_table_t *table,
    const ngx_str_t *name);
static ngx_centrifugo_user_t *user_create(user_table_t *table,
    const ngx_str_t *name);
static void user_free(user_table_t *table, ngx_centrifugo_user_t *user);
static ngx_int_t user_add(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_tally_e kind, const ngx_str_t *name, ngx_uint_t limit,
    ngx_centrifugo_user_t **added);
static ngx_int_t user_resync(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_tally_e kind);
static void user_take(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_tally_e kind, ngx_centrifugo_user_t *user);


static user_table_t *
user_table(ngx_centrifugo_hub_conf_t *hcf, ngx_centrifugo_tally_e kind)
{
    user_table_t  *table;

    table = hcf->users[kind];

    if (table == NULL) {
        table = calloc(1, sizeof(user_table_t));
        if (table == NULL) {
            return NULL;
        }

        ngx_rbtree_init(&table->tree, &table->sentinel,
                        ngx_str_rbtree_insert_value);
        ngx_queue_init(&table->list);
        hcf->users[kind] = table;
    }

    return table;
}


ngx_centrifugo_user_t *
ngx_centrifugo_user_find(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *name)
{
    user_table_t  *table;

    table = hcf->users[NGX_CENTRIFUGO_TALLY_USER];

    return table ? user_find(table, name) : NULL;
}


static ngx_centrifugo_user_t *
user_find(user_table_t *table, const ngx_str_t *name)
{
    ngx_str_t        key;
    ngx_str_node_t  *node;

    /* an absent string has no address that memcmp() may see */

    key.data = name->len ? name->data : (u_char *) "";
    key.len = name->len;

    node = ngx_str_rbtree_lookup(&table->tree, &key,
                                 ngx_crc32_long(key.data, key.len));

    return node ? ngx_rbtree_data(&node->node, ngx_centrifugo_user_t,
                                  name.node)
                : NULL;
}


static ngx_centrifugo_user_t *
user_create(user_table_t *table, const ngx_str_t *name)
{
    ngx_centrifugo_user_t  *user;

    user = malloc(sizeof(ngx_centrifugo_user_t) + name->len);
    if (user == NULL) {
        return NULL;
    }

    user->count = 0;
    ngx_queue_init(&user->clients);

    user->name.str.len = name->len;
    user->name.str.data = (u_char *) (user + 1);

    if (name->len) {
        ngx_memcpy(user->name.str.data, name->data, name->len);
    }

    user->name.node.key = ngx_crc32_long(user->name.str.data, name->len);
    ngx_rbtree_insert(&table->tree, &user->name.node);
    ngx_queue_insert_tail(&table->list, &user->link);

    return user;
}


static void
user_free(user_table_t *table, ngx_centrifugo_user_t *user)
{
    ngx_rbtree_delete(&table->tree, &user->name.node);
    ngx_queue_remove(&user->link);
    free(user);
}


static ngx_int_t
user_add(ngx_centrifugo_hub_conf_t *hcf, ngx_centrifugo_tally_e kind,
    const ngx_str_t *name, ngx_uint_t limit, ngx_centrifugo_user_t **added)
{
    ngx_int_t               rc;
    user_table_t           *table;
    ngx_centrifugo_user_t  *user;

    table = user_table(hcf, kind);

    if (table == NULL) {
        return NGX_ERROR;
    }

    user = user_find(table, name);

    if (user == NULL) {
        user = user_create(table, name);
        if (user == NULL) {
            return NGX_ERROR;
        }
    }

    rc = ngx_centrifugo_hub_tally_set(&hcf->hub, kind, &user->name.str,
                                      user->count + 1, (uint32_t) limit);
    if (rc != NGX_OK) {

        if (user->count == 0) {
            user_free(table, user);
        }

        return (rc == NGX_DECLINED) ? NGX_DECLINED : NGX_ERROR;
    }

    user->count++;
    *added = user;

    return NGX_OK;
}


static void
user_take(ngx_centrifugo_hub_conf_t *hcf, ngx_centrifugo_tally_e kind,
    ngx_centrifugo_user_t *user)
{
    (void) ngx_centrifugo_hub_tally_set(&hcf->hub, kind, &user->name.str,
                                        --user->count, 0);

    if (user->count == 0) {
        user_free(hcf->users[kind], user);
    }
}


ngx_int_t
ngx_centrifugo_user_enter(ngx_centrifugo_client_t *client, ngx_uint_t limit)
{
    ngx_int_t  rc;

    rc = user_add(client->hcf, NGX_CENTRIFUGO_TALLY_USER, &client->user, limit,
                  &client->user_node);

    if (rc == NGX_OK) {
        ngx_queue_insert_tail(&client->user_node->clients, &client->in_user);
    }

    return rc;
}


void
ngx_centrifugo_user_leave(ngx_centrifugo_client_t *client)
{
    ngx_centrifugo_user_t  *user;

    user = client->user_node;

    if (user) {
        client->user_node = NULL;
        ngx_queue_remove(&client->in_user);
        client->in_user.next = NULL;

        user_take(client->hcf, NGX_CENTRIFUGO_TALLY_USER, user);
    }
}


ngx_int_t
ngx_centrifugo_address_enter(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *address, ngx_uint_t limit,
    ngx_centrifugo_user_t **entered)
{
    return user_add(hcf, NGX_CENTRIFUGO_TALLY_ADDRESS, address, limit,
                    entered);
}


void
ngx_centrifugo_address_leave(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_user_t *entered)
{
    user_take(hcf, NGX_CENTRIFUGO_TALLY_ADDRESS, entered);
}


ngx_int_t
ngx_centrifugo_user_resync(ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_int_t  rc;

    /* the first kind may be walked again while the second goes on */

    rc = user_resync(hcf, NGX_CENTRIFUGO_TALLY_USER);

    return (rc == NGX_OK) ? user_resync(hcf, NGX_CENTRIFUGO_TALLY_ADDRESS)
                          : rc;
}


void
ngx_centrifugo_user_exit(ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_uint_t     kind;
    ngx_queue_t   *q;
    user_table_t  *table;

    for (kind = 0; kind < 2; kind++) {
        table = hcf->users[kind];

        if (table == NULL) {
            continue;
        }

        if (table->mark.next) {
            ngx_queue_remove(&table->mark);
        }

        while (!ngx_queue_empty(&table->list)) {
            q = ngx_queue_head(&table->list);
            user_free(table, ngx_queue_data(q, ngx_centrifugo_user_t, link));
        }

        free(table);
        hcf->users[kind] = NULL;
    }
}


static ngx_int_t
user_resync(ngx_centrifugo_hub_conf_t *hcf, ngx_centrifugo_tally_e kind)
{
    ngx_int_t               rc;
    ngx_uint_t              n;
    ngx_queue_t            *q;
    user_table_t           *table;
    ngx_centrifugo_user_t  *user;

    table = hcf->users[kind];

    if (table == NULL) {
        return NGX_OK;
    }

    /* the mark keeps the place while users come and go */

    if (table->mark.next == NULL) {
        q = ngx_queue_head(&table->list);

    } else {
        q = ngx_queue_next(&table->mark);
        ngx_queue_remove(&table->mark);
        table->mark.next = NULL;
    }

    for (n = 0; q != ngx_queue_sentinel(&table->list); n++) {

        if (n == USER_WALK) {
            ngx_queue_insert_tail(q, &table->mark);
            return NGX_AGAIN;
        }

        user = ngx_queue_data(q, ngx_centrifugo_user_t, link);

        rc = ngx_centrifugo_hub_resync_tally(&hcf->hub, kind,
                                             &user->name.str, user->count);
        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        q = ngx_queue_next(q);
    }

    return NGX_OK;
}
