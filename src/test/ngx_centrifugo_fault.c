#include "../core/ngx_centrifugo_fault.h"

#include <signal.h>


#define FAULT_NAME(name)  #name,

static const char  *fault_names[] = {
    NGX_CENTRIFUGO_POINTS(FAULT_NAME)
    NULL
};

static ngx_centrifugo_point_e  fault_point = NGX_CENTRIFUGO_POINT_N;
static uint64_t                fault_nth;
static uint64_t               *fault_count;


void
ngx_centrifugo_fault_point(ngx_centrifugo_point_e point)
{
    if (point == fault_point
        && __atomic_add_fetch(fault_count, 1, __ATOMIC_RELAXED) == fault_nth)
    {
        (void) raise(SIGKILL);
    }
}


void
ngx_centrifugo_fault_arm(ngx_centrifugo_point_e point, uint64_t nth,
    uint64_t *count)
{
    fault_point = point;
    fault_nth = nth;
    fault_count = count;
}


const char *
ngx_centrifugo_fault_name(ngx_uint_t point)
{
    return fault_names[point];
}
