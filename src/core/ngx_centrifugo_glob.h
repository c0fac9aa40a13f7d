/*
 * Patterns of channel names:
 *
 *   *        any characters, also none
 *   ?        one character
 *   [abc]    one of these, [a-z] of a range, [!a] none of these
 *   {a,b}    one of these patterns; they may be nested
 *   \c       the character c itself
 *
 * A pattern is a small automaton of which all states are tried side by side:
 * the time for a name is bounded by its length times that of the pattern,
 * whatever the pattern is.
 */

#ifndef _NGX_CENTRIFUGO_GLOB_H_INCLUDED_
#define _NGX_CENTRIFUGO_GLOB_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_CENTRIFUGO_GLOB_MAX  512    /* bytes of a pattern */


typedef struct {
    uint8_t       op;
    uint8_t       negative;             /* of a class */
    uint16_t      next;                 /* the state behind it */
    uint16_t      other;                /* of a fork */
    uint16_t      at;                   /* of a class: bytes of the pattern */
    uint16_t      end;
    uint32_t      c;
} ngx_centrifugo_glob_state_t;

typedef struct {
    const u_char                *pattern;
    ngx_uint_t                   nstates;
    ngx_uint_t                   start;
    ngx_centrifugo_glob_state_t  states[2 * NGX_CENTRIFUGO_GLOB_MAX + 2];
} ngx_centrifugo_glob_t;


/*
 * Prepares a pattern, which must stay, as UTF-8.  NGX_OK; NGX_ERROR: it is
 * none: too long, something is not closed, empty brackets, a range backwards.
 */
ngx_int_t ngx_centrifugo_glob_compile(ngx_centrifugo_glob_t *glob,
    const ngx_str_t *pattern);

/*
 * 1 when all of the name matches.  Adds to *steps what it cost: a step is a
 * state that was looked at for a character.
 */
ngx_uint_t ngx_centrifugo_glob_match(const ngx_centrifugo_glob_t *glob,
    const ngx_str_t *name, ngx_uint_t *steps);


#endif /* _NGX_CENTRIFUGO_GLOB_H_INCLUDED_ */
