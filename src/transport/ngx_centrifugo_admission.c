#include "ngx_centrifugo_admission.h"
#include "../client/ngx_centrifugo_worker.h"
#include "../protocol/ngx_centrifugo_json.h"
#include "../protocol/ngx_centrifugo_utf8.h"


static ngx_int_t admission_limits(ngx_http_request_t *r,
    ngx_centrifugo_hub_conf_t *hcf);
static ngx_int_t admission_rate(ngx_http_request_t *r,
    ngx_centrifugo_hub_conf_t *hcf);
static ngx_int_t admission_address(ngx_http_request_t *r,
    ngx_centrifugo_hub_conf_t *hcf, ngx_centrifugo_user_t **entered);
static ngx_int_t admission_value(ngx_http_request_t *r,
    ngx_http_complex_value_t *location, ngx_http_complex_value_t *hub,
    ngx_str_t *value);
static ngx_int_t admission_json(const ngx_str_t *value);
static void admission_undo(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_user_t *address);
static void admission_cleanup(void *data);


ngx_int_t
ngx_centrifugo_admit(ngx_http_request_t *r, ngx_centrifugo_loc_conf_t *lcf,
    ngx_centrifugo_admission_t **admission, const char **why)
{
    u_char                      *p;
    ngx_int_t                    rc;
    ngx_str_t                    user, info;
    ngx_pool_cleanup_t          *cln;
    ngx_centrifugo_user_t       *address;
    ngx_centrifugo_hub_conf_t   *hcf;
    ngx_centrifugo_admission_t  *a;

    hcf = lcf->hub;
    *why = "Something went wrong, see the error log.\n";

    if (admission_value(r, lcf->user, hcf->user, &user) != NGX_OK
        || admission_value(r, lcf->connection_info, hcf->connection_info,
                           &info)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (user.len > NGX_CENTRIFUGO_NAME_MAX) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "centrifugo: the user that NGINX found for hub \"%V\" "
                      "is longer than 1024 bytes", &hcf->name);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* others would get it in text frames, and end their connections */

    if (user.len
        && ngx_centrifugo_utf8_validate(user.data, user.len) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "centrifugo: the user that NGINX found for hub \"%V\" "
                      "is not UTF-8", &hcf->name);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (info.len && admission_json(&info) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "centrifugo: the value of connection_info for hub "
                      "\"%V\" is not JSON", &hcf->name);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    address = NULL;
    rc = admission_limits(r, hcf);

    if (rc == NGX_OK) {
        rc = admission_address(r, hcf, &address);

        /* the last: an address that is over its limit uses up nobody's rate */

        if (rc == NGX_OK) {
            rc = admission_rate(r, hcf);
        }

        if (rc != NGX_OK) {
            admission_undo(hcf, address);
        }
    }

    if (rc != NGX_OK) {
        ngx_centrifugo_hub_add(&hcf->hub, NGX_CENTRIFUGO_COUNT_REFUSED, 1);
        *why = "No more connections are taken now.\n";
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    a = malloc(sizeof(ngx_centrifugo_admission_t) + user.len + info.len);
    if (a == NULL) {
        admission_undo(hcf, address);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    a->hcf = hcf;
    a->address = address;
    a->codec = &ngx_centrifugo_codec_json;
    a->frame_pings = 0;
    a->deflate = 0;

    p = (u_char *) (a + 1);
    a->user.data = p;
    a->user.len = user.len;
    p = user.len ? ngx_cpymem(p, user.data, user.len) : p;
    a->info.data = p;
    a->info.len = info.len;

    if (info.len) {
        ngx_memcpy(p, info.data, info.len);
    }

    cln->handler = admission_cleanup;
    cln->data = a;
    *admission = a;

    return NGX_OK;
}


static ngx_int_t
admission_limits(ngx_http_request_t *r, ngx_centrifugo_hub_conf_t *hcf)
{
    const char  *why;

    /* counted before it is answered: the next to come is refused in time */

    if (!ngx_centrifugo_worker_ready(hcf)) {
        why = "this worker has no slot";

    } else if (ngx_centrifugo_hub_take(&hcf->hub,
                                       NGX_CENTRIFUGO_GAUGE_SESSIONS,
                                       hcf->connection_limit)
               != NGX_OK)
    {
        why = "connection_limit is reached";

    } else {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "centrifugo: no more connections to hub \"%V\": %s",
                  &hcf->name, why);

    return NGX_DECLINED;
}


static ngx_int_t
admission_rate(ngx_http_request_t *r, ngx_centrifugo_hub_conf_t *hcf)
{
    if (hcf->connection_rate_limit == 0
        || ngx_centrifugo_hub_rate(&hcf->hub, hcf->connection_rate_limit)
           == NGX_OK)
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "centrifugo: no more connections to hub \"%V\": "
                  "connection_rate_limit is exceeded", &hcf->name);

    return NGX_DECLINED;
}


static ngx_int_t
admission_address(ngx_http_request_t *r, ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_user_t **entered)
{
    ngx_int_t             rc;
    ngx_str_t             address;
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    *entered = NULL;

    if (hcf->connection_limit_per_address == 0) {
        return NGX_OK;
    }

    switch (r->connection->sockaddr->sa_family) {

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) r->connection->sockaddr;
        address.data = sin6->sin6_addr.s6_addr;
        address.len = sizeof(struct in6_addr);
        break;
#endif

    case AF_INET:
        sin = (struct sockaddr_in *) r->connection->sockaddr;
        address.data = (u_char *) &sin->sin_addr;
        address.len = sizeof(in_addr_t);
        break;

    default:

        /* a local peer has no address */

        return NGX_OK;
    }

    rc = ngx_centrifugo_address_enter(hcf, &address,
                                      hcf->connection_limit_per_address,
                                      entered);
    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "centrifugo: no more connections from %V to hub \"%V\": "
                      "%s", &r->connection->addr_text, &hcf->name,
                      rc == NGX_DECLINED
                      ? "connection_limit_per_address is reached"
                      : "the zone is full or no memory is left");
    }

    return rc;
}


static ngx_int_t
admission_value(ngx_http_request_t *r, ngx_http_complex_value_t *location,
    ngx_http_complex_value_t *hub, ngx_str_t *value)
{
    ngx_http_complex_value_t  *cv;

    cv = location ? location : hub;

    if (cv == NULL) {
        ngx_str_null(value);
        return NGX_OK;
    }

    return ngx_http_complex_value(r, cv, value);
}


static ngx_int_t
admission_json(const ngx_str_t *value)
{
    ngx_int_t               rc;
    ngx_centrifugo_arena_t  arena;

    ngx_centrifugo_arena_init(&arena, 1024);

    rc = ngx_centrifugo_json_validate(&arena, value->data, value->len);

    ngx_centrifugo_arena_free(&arena);

    return rc;
}


static void
admission_undo(ngx_centrifugo_hub_conf_t *hcf, ngx_centrifugo_user_t *address)
{
    ngx_centrifugo_hub_add(&hcf->hub, NGX_CENTRIFUGO_GAUGE_SESSIONS, -1);

    if (address) {
        ngx_centrifugo_address_leave(hcf, address);
    }
}


static void
admission_cleanup(void *data)
{
    ngx_centrifugo_admission_release(data);
}


void
ngx_centrifugo_admission_take(ngx_http_request_t *r,
    ngx_centrifugo_admission_t *admission)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == admission_cleanup && cln->data == admission) {
            cln->handler = NULL;
            return;
        }
    }
}


ngx_int_t
ngx_centrifugo_admission_use(ngx_centrifugo_admission_t *admission,
    ngx_centrifugo_client_t *client)
{
    ngx_int_t  rc;

    rc = ngx_centrifugo_client_identity(client, &admission->user,
                                        &admission->info);

    client->identified = (admission->user.len != 0);
    client->informed = (admission->info.len != 0);
    client->address = admission->address;

    free(admission);

    return rc;
}


void
ngx_centrifugo_admission_release(ngx_centrifugo_admission_t *admission)
{
    admission_undo(admission->hcf, admission->address);
    free(admission);
}
