/*
 * One line for each session that has ended.
 */

#include "ngx_centrifugo_client.h"


#define SESSION_LOG_ROOM  1024      /* bytes of a line besides user and hub */


static time_t  session_log_failed;


void
ngx_centrifugo_session_log(ngx_centrifugo_client_t *client)
{
    u_char            *p, *line, id[NGX_CENTRIFUGO_ID_LEN];
    ssize_t            n;
    ngx_str_t          reason, addr;
    ngx_msec_t         duration;
    ngx_open_file_t   *file;

    file = client->hcf->session_log;

    if (file == NULL) {
        return;
    }

    line = malloc(SESSION_LOG_ROOM + client->hcf->name.len
                  + 6 * client->user.len);

    if (line == NULL) {
        return;
    }

    ngx_str_null(&addr);

    if (client->addr) {
        addr = *client->addr;
        addr.len = ngx_min(addr.len, 128);
    }

    (void) ngx_centrifugo_client_id(client, id);
    duration = ngx_current_msec - client->start;

    p = ngx_sprintf(line, "time=%V hub=%V client=%*s user=\"",
                    &ngx_cached_http_log_iso8601, &client->hcf->name,
                    (size_t) NGX_CENTRIFUGO_ID_LEN, id);

    p = (u_char *) ngx_escape_json(p, client->user.data, client->user.len);

    p = ngx_sprintf(p, "\" addr=%V transport=%V duration=%T.%03M "
                    "messages_in=%uD messages_out=%uD bytes_in=%uL "
                    "bytes_out=%uL code=%ui reason=\"",
                    &addr, &client->transport->name,
                    (time_t) (duration / 1000), duration % 1000,
                    client->messages_in, client->messages_out,
                    client->bytes_in, client->bytes_out,
                    (ngx_uint_t) client->code);

    reason.data = (u_char *) client->reason;
    reason.len = ngx_min(ngx_strlen(client->reason), 64);

    p = (u_char *) ngx_escape_json(p, reason.data, reason.len);

    *p++ = '"';
    *p++ = '\n';

    n = ngx_write_fd(file->fd, line, p - line);

    if (n != p - line && ngx_time() - session_log_failed > 59) {
        session_log_failed = ngx_time();

        ngx_log_error(NGX_LOG_ALERT, client->log, n == -1 ? ngx_errno : 0,
                      "centrifugo: could not write to session_log \"%V\"",
                      &file->name);
    }

    free(line);
}
