/*
 * The client protocol without its encodings: what a command, a reply and a
 * push hold.  A codec turns bytes into commands and replies into bytes; the
 * client knows codecs only through the table below.
 */

#ifndef _NGX_CENTRIFUGO_PROTOCOL_H_INCLUDED_
#define _NGX_CENTRIFUGO_PROTOCOL_H_INCLUDED_


#include "ngx_centrifugo_filter.h"
#include "ngx_centrifugo_tags.h"


typedef enum {
    NGX_CENTRIFUGO_CMD_NONE = 0,        /* no known payload */
    NGX_CENTRIFUGO_CMD_CONNECT,
    NGX_CENTRIFUGO_CMD_SUBSCRIBE,
    NGX_CENTRIFUGO_CMD_UNSUBSCRIBE,
    NGX_CENTRIFUGO_CMD_PUBLISH,
    NGX_CENTRIFUGO_CMD_PRESENCE,
    NGX_CENTRIFUGO_CMD_PRESENCE_STATS,
    NGX_CENTRIFUGO_CMD_HISTORY,
    NGX_CENTRIFUGO_CMD_RPC,
    NGX_CENTRIFUGO_CMD_SEND,
    NGX_CENTRIFUGO_CMD_REFRESH,
    NGX_CENTRIFUGO_CMD_SUB_REFRESH,
    NGX_CENTRIFUGO_CMD_COUNT
} ngx_centrifugo_method_e;

typedef struct ngx_centrifugo_command_sub_s  ngx_centrifugo_command_sub_t;

/* flags of a subscribe request */
#define NGX_CENTRIFUGO_FLAG_COMPACTION  1   /* numbers instead of names */
#define NGX_CENTRIFUGO_FLAG_REJECT      2   /* error 112 if unrecoverable */

/*
 * A channel that connect asks for, or only knows a position of; of two with
 * one name the last counts.
 */
struct ngx_centrifugo_command_sub_s {
    ngx_str_t                      channel;
    ngx_str_t                      epoch;
    uint64_t                       offset;
    unsigned                       recover:1;
    ngx_centrifugo_command_sub_t  *next;
};

/*
 * One decoded command.  Strings point into the input or into the arena and
 * live as long as both; an absent string has data NULL, `""` has len 0 and
 * data set.  `data` is the payload's bytes as they came in (raw JSON).
 */
typedef struct {
    uint32_t                 id;
    ngx_centrifugo_method_e  method;
    unsigned                 send:1;    /* a `send` payload is there, whatever
                                           `method` won */
    unsigned                 recover:1;
    unsigned                 positioned:1;
    unsigned                 recoverable:1;
    unsigned                 join_leave:1;
    unsigned                 reverse:1;
    unsigned                 since:1;
    ngx_str_t                channel;
    ngx_str_t                token;
    ngx_str_t                data;
    ngx_str_t                name;      /* connect: client name; rpc: method */
    ngx_str_t                version;
    ngx_str_t                epoch;     /* also of `since` */
    ngx_str_t                delta;
    uint64_t                 offset;    /* also of `since` */
    int32_t                  type;
    int32_t                  limit;
    int64_t                  flag;
    ngx_centrifugo_filter_node_t  *filter;      /* subscribe; NULL: none */
    ngx_centrifugo_command_sub_t  *subs;        /* connect */
} ngx_centrifugo_command_t;

typedef struct {
    ngx_str_t                user;
    ngx_str_t                client;
    ngx_str_t                conn_info; /* raw JSON, len 0: none */
    ngx_str_t                chan_info;
} ngx_centrifugo_client_info_t;

/* what subscribers of a channel get */
typedef enum {
    NGX_CENTRIFUGO_PUSH_PUBLICATION = 0,
    NGX_CENTRIFUGO_PUSH_JOIN,               /* these have `info` only */
    NGX_CENTRIFUGO_PUSH_LEAVE
} ngx_centrifugo_push_e;

typedef struct {
    ngx_centrifugo_push_e          type;
    ngx_str_t                      data;
    ngx_uint_t                     json;        /* data is valid JSON */
    uint64_t                       offset;      /* 0: none */
    uint64_t                       epoch;       /* of the stream; clients see it
                                                   with offset 1 */
    uint64_t                       time;        /* wall clock ms, 0: unknown */
    ngx_str_t                      tags;        /* packed */
    ngx_centrifugo_client_info_t  *info;        /* NULL: none */
    unsigned                       delta:1;     /* one is allowed */
    unsigned                       caught:1;    /* read from the history, as
                                                   the log has lost it */
} ngx_centrifugo_publication_t;

/* in which form a subscriber gets a publication */
typedef enum {
    NGX_CENTRIFUGO_FORM_PLAIN = 0,
    NGX_CENTRIFUGO_FORM_TEXT,       /* JSON: data as a string, no epoch */
    NGX_CENTRIFUGO_FORM_DELTA       /* data is a delta, in JSON a string */
} ngx_centrifugo_form_e;

typedef struct {
    unsigned                 expires:1;
    unsigned                 recoverable:1;
    unsigned                 recovered:1;
    unsigned                 positioned:1;
    unsigned                 was_recovering:1;
    unsigned                 delta:1;
    uint32_t                 ttl;
    ngx_str_t                epoch;
    uint64_t                 offset;
    uint64_t                 id;            /* instead of the name, 0: none */
    ngx_str_t                data;
    ngx_centrifugo_buf_t    *publications;  /* by codec->publication();
                                               NULL: none */
} ngx_centrifugo_subscribe_result_t;

/* a server-side subscription in the reply to connect */
typedef struct {
    ngx_str_t                           channel;
    ngx_centrifugo_subscribe_result_t   result;
} ngx_centrifugo_connect_sub_t;

typedef struct {
    ngx_str_t                      client;
    ngx_str_t                      version;
    ngx_str_t                      data;        /* raw JSON, len 0: none */
    uint32_t                       ttl;
    uint32_t                       ping;        /* seconds, 0: none */
    unsigned                       expires:1;
    unsigned                       pong:1;
    ngx_centrifugo_connect_sub_t  *subs;
    ngx_uint_t                     nsubs;
} ngx_centrifugo_connect_result_t;

typedef struct {
    ngx_uint_t               code;
    ngx_str_t                message;
    unsigned                 temporary:1;
} ngx_centrifugo_error_t;

/*
 * Encoders append one reply or push to the buffer, with what stands before
 * each, but without what parts several of them; a failed allocation is seen in
 * buf->failed.
 */
typedef struct {
    ngx_str_t   name;
    ngx_str_t   pong;           /* a message that is nothing else */
    ngx_uint_t  json;           /* carries JSON only */

    /*
     * Finds the next command in [*pos, end): NGX_OK with its bytes in `cmd`
     * and *pos behind it, NGX_DONE at the end, NGX_ERROR for bad framing (an
     * empty line between commands, an empty message).
     */
    ngx_int_t  (*next)(u_char **pos, u_char *end, ngx_uint_t first,
                    ngx_str_t *cmd);
    /*
     * NGX_OK; NGX_ERROR: malformed; NGX_ABORT: no memory.
     */
    ngx_int_t  (*decode)(ngx_centrifugo_arena_t *arena, ngx_str_t *bytes,
                    ngx_centrifugo_command_t *cmd);

    /* parts the next reply from the one before it in the same message */
    void       (*part)(ngx_centrifugo_buf_t *b);

    void       (*ping)(ngx_centrifugo_buf_t *b);
    void       (*error)(ngx_centrifugo_buf_t *b, uint32_t id,
                    const ngx_centrifugo_error_t *err);
    void       (*connect)(ngx_centrifugo_buf_t *b, uint32_t id,
                    const ngx_centrifugo_connect_result_t *result);
    void       (*subscribe)(ngx_centrifugo_buf_t *b, uint32_t id,
                    const ngx_centrifugo_subscribe_result_t *result);
    /* refresh and sub_refresh */
    void       (*refresh)(ngx_centrifugo_buf_t *b, uint32_t id,
                    ngx_centrifugo_method_e method, ngx_uint_t expires,
                    uint32_t ttl);
    void       (*presence)(ngx_centrifugo_buf_t *b, uint32_t id,
                    const ngx_centrifugo_client_info_t *infos, ngx_uint_t n);
    void       (*presence_stats)(ngx_centrifugo_buf_t *b, uint32_t id,
                    uint32_t clients, uint32_t users);
    /* a result without content: unsubscribe, publish */
    void       (*done)(ngx_centrifugo_buf_t *b, uint32_t id,
                    ngx_centrifugo_method_e method);

    /*
     * publication: appends the next one of a list, `n` are in it already.
     * history: the reply with such a list.
     */
    void       (*publication)(ngx_centrifugo_buf_t *list, ngx_uint_t n,
                    const ngx_centrifugo_publication_t *pub,
                    ngx_centrifugo_form_e form);
    void       (*history)(ngx_centrifugo_buf_t *b, uint32_t id,
                    const ngx_centrifugo_buf_t *list,
                    const ngx_str_t *epoch, uint64_t offset);

    /* Also of joins and leaves.  `id` is instead of the name, 0: none. */
    void       (*push_publication)(ngx_centrifugo_buf_t *b,
                    const ngx_str_t *channel, uint64_t id,
                    const ngx_centrifugo_publication_t *pub,
                    ngx_centrifugo_form_e form);

    /*
     * The bytes of data that a client gets, and deltas are made of: *bytes
     * points into data, or into b behind what was there.
     */
    void       (*payload)(ngx_centrifugo_buf_t *b,
                    const ngx_centrifugo_publication_t *pub,
                    ngx_str_t *bytes);
    void       (*push_subscribe)(ngx_centrifugo_buf_t *b,
                    const ngx_str_t *channel,
                    const ngx_centrifugo_subscribe_result_t *result);
    void       (*push_unsubscribe)(ngx_centrifugo_buf_t *b,
                    const ngx_str_t *channel, ngx_uint_t code,
                    const ngx_str_t *reason);
    void       (*push_refresh)(ngx_centrifugo_buf_t *b, ngx_uint_t expires,
                    uint32_t ttl);
} ngx_centrifugo_codec_t;


extern const ngx_centrifugo_codec_t  ngx_centrifugo_codec_json;
extern const ngx_centrifugo_codec_t  ngx_centrifugo_codec_protobuf;


/*
 * Appends a client's identity as a JSON object; the server API has the same.
 */
void ngx_centrifugo_json_append_info(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_client_info_t *info);

/* "connect", "subscribe", ...; "unknown" for NGX_CENTRIFUGO_CMD_NONE */
const ngx_str_t *ngx_centrifugo_method_name(ngx_centrifugo_method_e method);


#endif /* _NGX_CENTRIFUGO_PROTOCOL_H_INCLUDED_ */
