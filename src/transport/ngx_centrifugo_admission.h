/*
 * Who may come in at all, before there is a session: limits of the hub, and
 * the identity that NGINX gives.  The same for every transport.
 */

#ifndef _NGX_CENTRIFUGO_ADMISSION_H_INCLUDED_
#define _NGX_CENTRIFUGO_ADMISSION_H_INCLUDED_


#include "../client/ngx_centrifugo_client.h"


/* a session that is counted, and what is known of its peer; one block */
typedef struct {
    ngx_centrifugo_hub_conf_t     *hcf;
    ngx_centrifugo_user_t         *address; /* counted, or NULL */
    ngx_str_t                      user;
    ngx_str_t                      info;    /* raw JSON, len 0: none */

    /* what the peer asks of its transport; JSON, unless that says else */
    const ngx_centrifugo_codec_t  *codec;
    unsigned                       frame_pings:1;  /* of WebSocket */
    unsigned                       deflate:1;      /* messages of that */
} ngx_centrifugo_admission_t;


/*
 * NGX_OK: *admission is made, and released with the request unless taken;
 * else a status: 503 for limits, 500 for no memory or info that is no JSON.
 * *why is then for the peer.
 */
ngx_int_t ngx_centrifugo_admit(ngx_http_request_t *r,
    ngx_centrifugo_loc_conf_t *lcf, ngx_centrifugo_admission_t **admission,
    const char **why);

/* The request does not release it any more. */
void ngx_centrifugo_admission_take(ngx_http_request_t *r,
    ngx_centrifugo_admission_t *admission);

/*
 * Gives what it holds to a client that was just made, and frees it.
 * NGX_ERROR: no memory, it is freed all the same.
 */
ngx_int_t ngx_centrifugo_admission_use(ngx_centrifugo_admission_t *admission,
    ngx_centrifugo_client_t *client);

/* Gives back what it holds, and frees it. */
void ngx_centrifugo_admission_release(
    ngx_centrifugo_admission_t *admission);


#endif /* _NGX_CENTRIFUGO_ADMISSION_H_INCLUDED_ */
