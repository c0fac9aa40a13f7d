/*
 * Tags filters: a subscriber asks for those publications only whose tags meet
 * a condition.
 */

#ifndef _NGX_CENTRIFUGO_FILTER_H_INCLUDED_
#define _NGX_CENTRIFUGO_FILTER_H_INCLUDED_


#include "../core/ngx_centrifugo_buf.h"


/*
 * A condition as a codec decodes it: op is "and", "or", "not", or empty for a
 * leaf, which compares the tag `key`.
 */
typedef struct ngx_centrifugo_filter_node_s  ngx_centrifugo_filter_node_t;

struct ngx_centrifugo_filter_node_s {
    ngx_str_t                      op;
    ngx_str_t                      key;
    ngx_str_t                      cmp;
    ngx_str_t                      val;
    ngx_str_t                     *vals;
    ngx_uint_t                     nvals;
    ngx_centrifugo_filter_node_t  *nodes;       /* the first of them */
    ngx_centrifugo_filter_node_t  *next;        /* beside it */
};

/* a condition that is ready to be evaluated, in one block of memory */
typedef struct ngx_centrifugo_filter_s  ngx_centrifugo_filter_t;

#define NGX_CENTRIFUGO_FILTER_NODES  256        /* of one filter, leaves and
                                                   values included */
#define NGX_CENTRIFUGO_FILTER_DEPTH  32
#define NGX_CENTRIFUGO_FILTER_BYTES  16384      /* of keys and values */

/*
 * Checks and compiles a condition.  NGX_OK: *filter is to be freed by free();
 * NGX_DECLINED: it is invalid, *why says in what (error 107); NGX_ERROR: no
 * memory.
 */
ngx_int_t ngx_centrifugo_filter_compile(
    const ngx_centrifugo_filter_node_t *node,
    ngx_centrifugo_filter_t **filter, const char **why);

/*
 * 1 when a publication with these tags (packed) meets it.  Allocates nothing;
 * takes time by the size of the filter and, within a leaf, of the tags.
 */
ngx_uint_t ngx_centrifugo_filter_match(const ngx_centrifugo_filter_t *filter,
    const ngx_str_t *tags);


#endif /* _NGX_CENTRIFUGO_FILTER_H_INCLUDED_ */
