/* The configuration of a test. */

#ifndef STUBS_CONF_H
#define STUBS_CONF_H

extern char         stub_message[1024];     /* the last of the configuration */
extern ngx_uint_t   stub_level;
extern ngx_uint_t   stub_messages;          /* with those of the log */
extern const char  *stub_prefix;            /* of files */

void stub_pool_init(ngx_pool_t *pool);
void stub_pool_free(ngx_pool_t *pool);

#endif
