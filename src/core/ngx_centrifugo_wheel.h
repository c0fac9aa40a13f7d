/*
 * One timing wheel per worker: any number of sessions cost one NGINX timer,
 * which is cancelable while there is nobody to wait for.
 */

#ifndef _NGX_CENTRIFUGO_WHEEL_H_INCLUDED_
#define _NGX_CENTRIFUGO_WHEEL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_CENTRIFUGO_WHEEL_STEP   100         /* ms */
#define NGX_CENTRIFUGO_WHEEL_SLOTS  512


typedef struct {
    ngx_queue_t       queue;            /* queue.next NULL: not armed */
    uint64_t          at;               /* in steps since the wheel's start */
} ngx_centrifugo_wheel_node_t;

typedef struct {
    ngx_queue_t       slots[NGX_CENTRIFUGO_WHEEL_SLOTS];
    ngx_queue_t       due;
    uint64_t          now;              /* the last step that was handled */
    ngx_msec_t        base;             /* clock at step 0 */
    ngx_uint_t        count;            /* armed nodes */
} ngx_centrifugo_wheel_t;


void ngx_centrifugo_wheel_init(ngx_centrifugo_wheel_t *wheel, ngx_msec_t now);

/*
 * Arms a zeroed or expired node, or moves an armed one: it falls due at or
 * up to one step after `delay` ms from `now`, never before.
 */
void ngx_centrifugo_wheel_set(ngx_centrifugo_wheel_t *wheel,
    ngx_centrifugo_wheel_node_t *node, ngx_msec_t now, ngx_msec_t delay);

void ngx_centrifugo_wheel_del(ngx_centrifugo_wheel_t *wheel,
    ngx_centrifugo_wheel_node_t *node);

/*
 * Moves the wheel on to `now` and returns one node that is due, disarmed, or
 * NULL; to be called until it says NULL.  Nodes may be set and deleted between
 * the calls.
 */
ngx_centrifugo_wheel_node_t *ngx_centrifugo_wheel_expire(
    ngx_centrifugo_wheel_t *wheel, ngx_msec_t now);


#endif /* _NGX_CENTRIFUGO_WHEEL_H_INCLUDED_ */
