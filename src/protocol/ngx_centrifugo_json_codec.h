/*
 * The JSON codec has two halves: commands are read in one file, replies and
 * pushes written in the other.
 */

#ifndef _NGX_CENTRIFUGO_JSON_CODEC_H_INCLUDED_
#define _NGX_CENTRIFUGO_JSON_CODEC_H_INCLUDED_


#include "ngx_centrifugo_protocol.h"


/* what codec->decode() is */
ngx_int_t ngx_centrifugo_json_command(ngx_centrifugo_arena_t *arena,
    ngx_str_t *bytes, ngx_centrifugo_command_t *cmd);


#endif /* _NGX_CENTRIFUGO_JSON_CODEC_H_INCLUDED_ */
