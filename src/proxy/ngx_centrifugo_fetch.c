#include "ngx_centrifugo_fetch.h"
#include "ngx_centrifugo_call.h"


typedef struct {
    ngx_centrifugo_fetched_t     done;
    ngx_centrifugo_hub_conf_t   *hcf;
    ngx_str_t                    uri;
    u_char                       bytes[1];
} fetch_t;


static void fetch_handler(void *data, ngx_centrifugo_call_rc_e rc,
    ngx_uint_t status, const ngx_str_t *body);


static ngx_str_t  fetch_nothing = ngx_null_string;

static const ngx_centrifugo_call_header_t  fetch_headers[] = {
    { ngx_string("Accept"), ngx_string("application/json") }
};


void
ngx_centrifugo_fetch(void *data, const ngx_str_t *uri,
    const ngx_centrifugo_fetched_t *done)
{
    fetch_t                  *f;
    ngx_centrifugo_call_t     call;
    ngx_centrifugo_called_t   called;

    f = malloc(sizeof(fetch_t) + uri->len);
    if (f == NULL) {
        done->handler(done->data, NGX_ERROR, &fetch_nothing);
        return;
    }

    f->done = *done;
    f->hcf = data;
    f->uri.data = f->bytes;
    f->uri.len = uri->len;

    if (uri->len) {
        ngx_memcpy(f->bytes, uri->data, uri->len);
    }

    ngx_memzero(&call, sizeof(ngx_centrifugo_call_t));

    call.method = NGX_HTTP_GET;
    call.uri = *uri;
    call.headers = fetch_headers;
    call.nheaders = sizeof(fetch_headers) / sizeof(fetch_headers[0]);
    call.timeout = NGX_CENTRIFUGO_FETCH_TIMEOUT;

    called.handler = fetch_handler;
    called.data = f;

    ngx_centrifugo_call(f->hcf, &call, &called);
}


static void
fetch_handler(void *data, ngx_centrifugo_call_rc_e rc, ngx_uint_t status,
    const ngx_str_t *body)
{
    fetch_t *f = data;

    const char  *reason;

    reason = NULL;

    if (rc != NGX_CENTRIFUGO_CALL_OK) {
        reason = ngx_centrifugo_call_reason(rc);

    } else if (status != NGX_HTTP_OK) {
        reason = "its status is not 200";

    } else if (body->len > NGX_CENTRIFUGO_FETCH_MAX) {
        reason = "it has more than 1 MB";
    }

    if (reason) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "centrifugo: hub \"%V\" could not fetch \"%V\", status "
                      "%ui: %s", &f->hcf->name, &f->uri, status, reason);
    }

    f->done.handler(f->done.data, reason ? NGX_ERROR : NGX_OK,
                    reason ? &fetch_nothing : body);

    free(f);
}
