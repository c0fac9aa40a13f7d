/* Tokens and origins: nothing that was not signed is accepted. */

#include <ngx_config.h>
#include <ngx_core.h>
#include "auth/ngx_centrifugo_auth.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                     *in;
    ngx_str_t                   token, pattern = ngx_string("a*b*:*c");
    ngx_array_t                 list;
    ngx_centrifugo_arena_t      arena;
    ngx_centrifugo_token_t      result;
    ngx_centrifugo_verifier_t   verifier = { ngx_string("no one knows it") };

    in = malloc(size + 1);
    memcpy(in, data, size);
    token.data = in;
    token.len = size;
    memset(&list, 0, sizeof(list));
    list.elts = &pattern;
    list.nelts = 1;

    ngx_centrifugo_arena_init(&arena, 1024);

    if (ngx_centrifugo_token_verify(&verifier,
                                    NGX_CENTRIFUGO_TOKEN_CONNECTION, &arena, &token, 1700000000,
                                    &result)
        == NGX_CENTRIFUGO_TOKEN_OK)
    {
        abort();
    }

    (void) ngx_centrifugo_origin_check(&list, &token);

    ngx_centrifugo_arena_free(&arena);
    free(in);

    return 0;
}
