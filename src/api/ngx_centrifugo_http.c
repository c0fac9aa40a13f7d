#include "ngx_centrifugo_http.h"


static ngx_uint_t http_authorization(ngx_str_t *value, const ngx_str_t *key);
static ngx_uint_t http_argument(ngx_http_request_t *r, const ngx_str_t *key);


ngx_int_t
ngx_centrifugo_http_respond(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, const u_char *body, size_t len)
{
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_chain_t  out;

    r->headers_out.status = status;
    r->headers_out.content_length_n = len;

    if (type) {
        r->headers_out.content_type.data = (u_char *) type;
        r->headers_out.content_type.len = ngx_strlen(type);
        r->headers_out.content_type_len = r->headers_out.content_type.len;
    }

    b = NULL;

    if (len == 0) {
        r->header_only = 1;

    } else {
        b = ngx_create_temp_buf(r->pool, len);
        if (b == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        b->last = ngx_cpymem(b->last, body, len);
        b->last_buf = (r == r->main);
        b->last_in_chain = 1;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
ngx_centrifugo_http_authorize(ngx_http_request_t *r,
    ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_uint_t        ok;
    ngx_table_elt_t  *h;

    if (hcf->api_insecure) {
        return NGX_OK;
    }

    if (hcf->api_key.len == 0) {
        return NGX_DECLINED;
    }

    h = ngx_centrifugo_http_header(r, "x-api-key", 9);

    if (h) {
        ok = ngx_centrifugo_secret_equal(&hcf->api_key, &h->value);

    } else {
        ok = r->headers_in.authorization
             && http_authorization(&r->headers_in.authorization->value,
                                   &hcf->api_key);
    }

    return (ok || http_argument(r, &hcf->api_key)) ? NGX_OK : NGX_DECLINED;
}


/*
 * "apikey KEY": the scheme in any case, exactly two words.
 */

static ngx_uint_t
http_authorization(ngx_str_t *value, const ngx_str_t *key)
{
    u_char     *p, *end;
    ngx_str_t   word[2];
    ngx_uint_t  n;

    p = value->data;
    end = p + value->len;

    for (n = 0; /* void */ ; n++) {

        while (p < end && (*p == ' ' || *p == '\t')) {
            p++;
        }

        if (p == end) {
            break;
        }

        if (n == 2) {
            return 0;
        }

        word[n].data = p;

        while (p < end && *p != ' ' && *p != '\t') {
            p++;
        }

        word[n].len = p - word[n].data;
    }

    return n == 2
           && word[0].len == 6
           && ngx_strncasecmp(word[0].data, (u_char *) "apikey", 6) == 0
           && ngx_centrifugo_secret_equal(key, &word[1]);
}


static ngx_uint_t
http_argument(ngx_http_request_t *r, const ngx_str_t *key)
{
    u_char     *p, *dst, *src;
    ngx_str_t   value, given;

    if (r->args.len == 0
        || ngx_http_arg(r, (u_char *) "api_key", 7, &value) != NGX_OK)
    {
        return 0;
    }

    p = ngx_pnalloc(r->pool, value.len + 1);
    if (p == NULL) {
        return 0;
    }

    dst = p;
    src = value.data;

    ngx_unescape_uri(&dst, &src, value.len, 0);

    given.data = p;
    given.len = dst - p;

    return ngx_centrifugo_secret_equal(key, &given);
}


ngx_table_elt_t *
ngx_centrifugo_http_header(ngx_http_request_t *r, const char *name,
    size_t len)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == len
            && ngx_strncmp(h[i].lowcase_key, name, len) == 0)
        {
            return &h[i];
        }
    }
}


ngx_int_t
ngx_centrifugo_http_body(ngx_http_request_t *r,
    ngx_centrifugo_arena_t *arena, ngx_uint_t copy, ngx_str_t *body)
{
    u_char       *p;
    size_t        len;
    ssize_t       n;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    ngx_str_null(body);

    if (r->request_body == NULL || r->request_body->bufs == NULL) {
        return NGX_OK;
    }

    cl = r->request_body->bufs;

    if (cl->next == NULL && ngx_buf_in_memory(cl->buf) && !copy) {
        body->data = cl->buf->pos;
        body->len = cl->buf->last - cl->buf->pos;
        return NGX_OK;
    }

    len = 0;

    for ( /* void */ ; cl; cl = cl->next) {
        len += ngx_buf_size(cl->buf);
    }

    if (len == 0) {
        return NGX_OK;
    }

    p = ngx_centrifugo_arena_alloc(arena, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    body->data = p;
    body->len = len;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;
        len = ngx_buf_size(b);

        if (len == 0) {
            continue;
        }

        if (ngx_buf_in_memory(b)) {
            p = ngx_cpymem(p, b->pos, len);
            continue;
        }

        n = ngx_read_file(b->file, p, len, b->file_pos);

        if (n != (ssize_t) len) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "centrifugo: could not read the body of an API "
                          "call from \"%V\"", &b->file->name);
            return NGX_ERROR;
        }

        p += len;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_centrifugo_http_transport_errors(ngx_http_request_t *r,
    ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_table_elt_t  *h;

    if (hcf->api_error_mode == NGX_CENTRIFUGO_ERRORS_TRANSPORT) {
        return 1;
    }

    h = ngx_centrifugo_http_header(r, "x-centrifugo-error-mode", 23);

    return h && h->value.len == 9
           && ngx_strncmp(h->value.data, "transport", 9) == 0;
}


ngx_int_t
ngx_centrifugo_health_handler(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    ngx_centrifugo_loc_conf_t  *lcf;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    lcf = ngx_http_get_module_loc_conf(r, ngx_centrifugo_module);

    /* a worker without a place in its hub takes no clients */

    if (lcf->hub->hub.slot == NGX_CENTRIFUGO_NO_SLOT) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    return ngx_centrifugo_http_respond(r, NGX_HTTP_OK, "application/json",
                                       (u_char *) "{}", 2);
}
