/*
 * Documents that the application serves, such as a set of keys.
 */

#ifndef _NGX_CENTRIFUGO_FETCH_H_INCLUDED_
#define _NGX_CENTRIFUGO_FETCH_H_INCLUDED_


#include "../core/ngx_centrifugo_conf.h"


#define NGX_CENTRIFUGO_FETCH_MAX      (1024 * 1024)
#define NGX_CENTRIFUGO_FETCH_TIMEOUT  1000          /* ms */


/*
 * A ngx_centrifugo_fetch_pt; `data` is a ngx_centrifugo_hub_conf_t.  One try,
 * of a second; what goes wrong is logged.
 */
void ngx_centrifugo_fetch(void *data, const ngx_str_t *uri,
    const ngx_centrifugo_fetched_t *done);


#endif /* _NGX_CENTRIFUGO_FETCH_H_INCLUDED_ */
