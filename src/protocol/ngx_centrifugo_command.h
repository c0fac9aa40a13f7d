/*
 * Commands from the values that JSON or Protobuf held, the same for both.
 */

#ifndef _NGX_CENTRIFUGO_COMMAND_H_INCLUDED_
#define _NGX_CENTRIFUGO_COMMAND_H_INCLUDED_


#include "ngx_centrifugo_json.h"
#include "ngx_centrifugo_protocol.h"


/*
 * A map to a command.  NGX_OK; NGX_ERROR: it is no map, or something in it has
 * a wrong type; NGX_ABORT: no memory.
 */
ngx_int_t ngx_centrifugo_command_read(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *root, ngx_centrifugo_command_t *cmd);


#endif /* _NGX_CENTRIFUGO_COMMAND_H_INCLUDED_ */
