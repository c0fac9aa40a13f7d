#include "ngx_centrifugo_cors.h"


static ngx_str_t *cors_request_header(ngx_http_request_t *r, const char *name,
    size_t len);


ngx_int_t
ngx_centrifugo_cors(ngx_http_request_t *r, ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_str_t  *origin;

    origin = cors_request_header(r, "origin", 6);

    if (origin == NULL
        || ngx_centrifugo_origin_check(hcf->allowed_origins, origin)
           != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (ngx_centrifugo_cors_header(r, "Access-Control-Allow-Origin",
                                   origin->data, origin->len)
        != NGX_OK
        || ngx_centrifugo_cors_header(r, "Access-Control-Allow-Credentials",
                                      (u_char *) "true", 4)
           != NGX_OK
        || ngx_centrifugo_cors_header(r, "Vary", (u_char *) "Origin", 6)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_cors_preflight(ngx_http_request_t *r,
    ngx_centrifugo_hub_conf_t *hcf, const char *methods)
{
    ngx_int_t   rc;
    ngx_str_t  *asked;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_centrifugo_cors(r, hcf);

    if (rc == NGX_OK) {
        asked = cors_request_header(r, "access-control-request-headers", 30);

        if (ngx_centrifugo_cors_header(r, "Access-Control-Allow-Methods",
                                       (u_char *) methods,
                                       ngx_strlen(methods))
            != NGX_OK
            || ngx_centrifugo_cors_header(r, "Access-Control-Max-Age",
                                          (u_char *) "300", 3)
               != NGX_OK
            || (asked
                && ngx_centrifugo_cors_header(r,
                                              "Access-Control-Allow-Headers",
                                              asked->data, asked->len)
                   != NGX_OK))
        {
            rc = NGX_ERROR;
        }
    }

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_NO_CONTENT;
    r->header_only = 1;

    return ngx_http_send_header(r);
}


ngx_int_t
ngx_centrifugo_cors_header(ngx_http_request_t *r, const char *name,
    u_char *value, size_t len)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    ngx_centrifugo_header_next(h);
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = value;
    h->value.len = len;

    return NGX_OK;
}


/*
 * The value of the first header of that name (in lower case), or NULL.
 */

static ngx_str_t *
cors_request_header(ngx_http_request_t *r, const char *name, size_t len)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *elt;

    part = &r->headers_in.headers.part;
    elt = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            elt = part->elts;
            i = 0;
        }

        if (elt[i].key.len == len
            && ngx_strncmp(elt[i].lowcase_key, name, len) == 0)
        {
            return &elt[i].value;
        }
    }
}
