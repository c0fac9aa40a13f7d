#include "ngx_centrifugo_order.h"


void
ngx_centrifugo_order_init(void)
{
}


void
ngx_centrifugo_order_send(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_order_t *order,
    const ngx_centrifugo_completion_t *done)
{
    done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_OK, NULL);
}
