#ifndef CFLOAD_PARSE_H_INCLUDED
#define CFLOAD_PARSE_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


typedef enum {
    CF_REPLY_PING = 0,
    CF_REPLY_CONNECT,
    CF_REPLY_SUBSCRIBE,
    CF_REPLY_UNSUBSCRIBE,
    CF_REPLY_ERROR,
    CF_REPLY_PUBLICATION,
    CF_REPLY_PRESENCE,
    CF_REPLY_PRESENCE_STATS,
    CF_REPLY_UNSUBSCRIBED,       /* a push: the server ended it */
    CF_REPLY_JOIN,               /* pushes: somebody came or went */
    CF_REPLY_LEAVE,
    CF_REPLY_OTHER               /* another push */
} cf_reply_e;


typedef struct {
    const char  *client;
    size_t       client_len;
    const char  *user;
    size_t       user_len;
} cf_info_t;


typedef struct {
    cf_reply_e   kind;
    uint32_t     id;
    uint32_t     code;           /* of an error or of the server's end */
    uint32_t     ping;           /* seconds, in a connect reply */
    int          pong;
    const char  *channel;        /* as it stands between the quotes */
    size_t       channel_len;
    const char  *data;
    size_t       data_len;       /* a publication's, or all of presence */
    uint32_t     num_clients;
    uint32_t     num_users;
    cf_info_t    info;           /* of a connect reply only the client */
} cf_reply_t;


/*
 * A push of one publication of the known size, byte by byte as servers
 * usually write it; returns what follows, or NULL if it looks different.
 */

const char *cf_parse_push(const char *p, const char *end, size_t size,
    cf_reply_t *reply);

/* Any reply, in [p, end); -1 if it is not one. */

int cf_parse_reply(const char *p, const char *end, cf_reply_t *reply);

/*
 * The next client of a presence reply, from reply->data: 1, 0 if there is no
 * more, -1 if it is wrong. The keys have to be the ids.
 */

int cf_parse_presence(const char **p, const char *end, cf_info_t *info);

/* A line of an answer of the API: 0 for a result, else the error's code. */

int cf_parse_api(const char *p, const char *end);


#endif /* CFLOAD_PARSE_H_INCLUDED */
