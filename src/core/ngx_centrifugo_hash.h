/*
 * SipHash-1-3 (Aumasson and Bernstein), keyed: names come from outside, so a
 * table of them must not have collisions that can be computed in advance.
 */

#ifndef _NGX_CENTRIFUGO_HASH_H_INCLUDED_
#define _NGX_CENTRIFUGO_HASH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* Returns the 64-bit hash of `len` bytes under a key of two words. */
uint64_t ngx_centrifugo_hash(const uint64_t key[2], const u_char *data,
    size_t len);


#endif /* _NGX_CENTRIFUGO_HASH_H_INCLUDED_ */
