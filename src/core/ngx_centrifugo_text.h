/*
 * Text from outside on its way to a log or a frame.
 */

#ifndef _NGX_CENTRIFUGO_TEXT_H_INCLUDED_
#define _NGX_CENTRIFUGO_TEXT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_CENTRIFUGO_LOG_STR  255     /* bytes, with the escapes */


/*
 * A string for a log line, within quotes: what could end the quotes or the
 * line is escaped, what is too long ends with "...".  The result stays while
 * three more are made: up to four in one line.
 */
ngx_str_t *ngx_centrifugo_log_str(const ngx_str_t *s);

/*
 * How many bytes of valid UTF-8 are left when it is cut to at most `max` bytes
 * and no character is split.
 */
size_t ngx_centrifugo_utf8_cut(const ngx_str_t *s, size_t max);

/*
 * Reads an id as it is printed, in any case, into 16 bytes.  NGX_OK or
 * NGX_DECLINED: it is none.
 */
ngx_int_t ngx_centrifugo_id_parse(const ngx_str_t *s, u_char *id);

/* Prints 16 bytes as a UUID of 36. */
u_char *ngx_centrifugo_id_print(u_char *p, const u_char *id);


#endif /* _NGX_CENTRIFUGO_TEXT_H_INCLUDED_ */
