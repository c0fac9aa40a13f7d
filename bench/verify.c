#include "verify.h"

#include <stdlib.h>
#include <string.h>


/*
 * Of each lane (a channel and one of its publishers) a session knows the
 * last number. The first one of a session needs not follow it:
 *
 * When the reply to a subscribe command is read, "sent" tells what the
 * publisher has begun to send. All that it sends later is published after
 * the subscription was made and has to come; what it sent before may come.
 * So the session begins at "sent" with VERIFY_FRESH, and the first number
 * that is not above it just moves the begin.
 *
 * Numbers that are left out are kept as gaps: a late arrival fills its gap
 * and is reordered, not lost. What remains is judged at the very end, when
 * it is known which publications were refused.
 */

#define VERIFY_FRESH     0x80000000u
#define VERIFY_NONE      0xffffffffu
#define VERIFY_MAX_GAPS  (4u << 20)


typedef enum {
    VERIFY_OPEN = 0,
    VERIFY_LOST,
    VERIFY_EXPLAINED,
    VERIFY_DEAD
} verify_kind_e;


typedef struct {
    uint32_t       lane;
    uint32_t       from;
    uint32_t       to;
    uint32_t       next;         /* of the same session */
    uint32_t       damaged;      /* of the session, in its first gap */
    verify_kind_e  kind;
} verify_gap_t;


typedef struct {
    uint32_t       gaps;
    uint32_t       damaged;      /* that could not be told which they are */
} verify_slot_t;


static void verify_gap(verify_slot_t *s, uint32_t lane, uint32_t from,
    uint32_t to);
static int verify_fill(verify_slot_t *s, uint32_t lane, uint32_t seq);
static uint32_t verify_refused(uint32_t lane, uint32_t from, uint32_t to);
static uint32_t verify_lower(uint32_t lane, uint64_t seq);


static cf_worker_t    *verify_stats;
static verify_slot_t  *verify_slots;
static uint32_t       *verify_last;
static verify_gap_t   *verify_gaps;
static uint32_t        verify_ngaps;
static uint32_t        verify_size;


void
cf_verify_init(uint32_t slots, cf_worker_t *stats)
{
    uint32_t  i;

    verify_stats = stats;
    verify_slots = cf_alloc(slots * sizeof(verify_slot_t));
    verify_last = cf_alloc((size_t) slots * cf_lanes * sizeof(uint32_t));

    for (i = 0; i < slots; i++) {
        verify_slots[i].gaps = VERIFY_NONE;
    }
}


void
cf_verify_begin(uint32_t slot, uint32_t channel)
{
    uint32_t   i, *last;

    last = verify_last + (size_t) slot * cf_lanes;

    for (i = 0; i < cf_lanes; i++) {
        last[i] = atomic_load(&cf_shared->sent[channel * cf_lanes + i])
                  | VERIFY_FRESH;
    }

    verify_slots[slot].gaps = VERIFY_NONE;
    verify_slots[slot].damaged = 0;
}


void
cf_verify_delivery(uint32_t slot, uint32_t channel, const char *data,
    size_t len, uint64_t now)
{
    int             rc;
    uint32_t        lane, last, *p;
    cf_payload_t    payload;
    verify_slot_t  *s;

    rc = (len == cf_opt.size) ? cf_payload_read(data, len, &payload) : -2;
    s = &verify_slots[slot];

    if (rc == -2) {
        verify_stats->damaged++;
        s->damaged++;
        return;
    }

    if (rc == 0 && payload.channel != channel) {

        /* undamaged, but another channel's */

        verify_stats->stray++;
        return;
    }

    /* with one lane each, publisher P has the channels P, P + N, ... */

    lane = payload.publisher;

    if (cf_lanes == 1) {
        lane = (lane == channel % cf_opt.publishers) ? 0 : 1;
    }

    if (payload.channel != channel || lane >= cf_lanes) {
        verify_stats->damaged++;
        s->damaged++;
        return;
    }

    p = verify_last + (size_t) slot * cf_lanes + lane;
    last = *p & ~VERIFY_FRESH;
    lane += channel * cf_lanes;

    if (rc == -1) {
        verify_stats->damaged++;

        /* believe the number only if it is the one to come */

        if (payload.seq == last + 1) {
            *p = payload.seq;
            verify_stats->expected++;

        } else {
            s->damaged++;
        }

        return;
    }

    cf_hist_add(&verify_stats->latency,
                now > payload.time ? now - payload.time : 0);

    if (payload.seq == last + 1 || (*p > last && payload.seq <= last)) {
        *p = payload.seq;
        verify_stats->expected++;
        return;
    }

    if (payload.seq > last) {
        verify_gap(s, lane, last + 1, payload.seq - 1);
        verify_stats->expected += payload.seq - last;
        *p = payload.seq;
        return;
    }

    if (verify_fill(s, lane, payload.seq)) {
        verify_stats->reordered++;

    } else {
        verify_stats->doubled++;
    }
}


void
cf_verify_end(uint32_t slot, int explained)
{
    uint32_t        i;
    verify_gap_t   *gap;
    verify_slot_t  *s;

    s = &verify_slots[slot];

    if (s->gaps == VERIFY_NONE) {
        return;
    }

    verify_gaps[s->gaps].damaged = s->damaged;

    for (i = s->gaps; i != VERIFY_NONE; i = gap->next) {
        gap = &verify_gaps[i];

        if (gap->kind == VERIFY_OPEN) {
            gap->kind = explained ? VERIFY_EXPLAINED : VERIFY_LOST;
        }
    }

    s->gaps = VERIFY_NONE;
    s->damaged = 0;
}


int
cf_verify_complete(uint32_t slot, uint32_t channel)
{
    uint32_t  i, *last;

    last = verify_last + (size_t) slot * cf_lanes;

    for (i = 0; i < cf_lanes; i++) {
        if ((last[i] & ~VERIFY_FRESH)
            < atomic_load(&cf_shared->acked[channel * cf_lanes + i]))
        {
            return 0;
        }
    }

    return 1;
}


void
cf_verify_tail(uint32_t slot, uint32_t channel)
{
    uint32_t  i, acked, last, *p;

    p = verify_last + (size_t) slot * cf_lanes;

    for (i = 0; i < cf_lanes; i++) {
        last = p[i] & ~VERIFY_FRESH;
        acked = atomic_load(&cf_shared->acked[channel * cf_lanes + i]);

        if (acked > last) {
            verify_gap(&verify_slots[slot], channel * cf_lanes + i, last + 1,
                       acked);
            verify_stats->expected += acked - last;
        }
    }

    cf_verify_end(slot, 0);
}


void
cf_verify_finish(void)
{
    uint32_t       i, j, damaged, refused;
    uint64_t       lost;
    verify_gap_t  *gap;

    for (i = 0; i < verify_ngaps; i++) {
        gap = &verify_gaps[i];

        if (gap->kind == VERIFY_DEAD) {
            continue;
        }

        refused = verify_refused(gap->lane, gap->from, gap->to);
        lost = (uint64_t) gap->to - gap->from + 1 - refused;

        verify_stats->expected -= refused;

        if (gap->kind == VERIFY_EXPLAINED) {
            verify_stats->explained += lost;

        } else {
            verify_stats->lost += lost;
        }

        gap->from = (uint32_t) lost;
    }

    /* what came damaged beyond recognition was damaged, but not lost */

    for (i = 0; i < verify_ngaps; i++) {
        damaged = verify_gaps[i].damaged;

        for (j = i; damaged && j != VERIFY_NONE; j = verify_gaps[j].next) {
            gap = &verify_gaps[j];

            if (gap->kind == VERIFY_LOST) {
                refused = cf_min(damaged, gap->from);
                verify_stats->lost -= refused;
                damaged -= refused;
            }
        }
    }
}


static void
verify_gap(verify_slot_t *s, uint32_t lane, uint32_t from, uint32_t to)
{
    verify_gap_t  *gap;

    if (verify_ngaps == VERIFY_MAX_GAPS) {

        /* far from right already: less exact then */

        verify_stats->lost += (uint64_t) to - from + 1;
        return;
    }

    if (verify_ngaps == verify_size) {
        verify_size = verify_size ? verify_size * 2 : 256;
        verify_gaps = realloc(verify_gaps,
                              verify_size * sizeof(verify_gap_t));
        if (verify_gaps == NULL) {
            cf_die("no memory for %u gaps", verify_size);
        }
    }

    gap = &verify_gaps[verify_ngaps];
    gap->lane = lane;
    gap->from = from;
    gap->to = to;
    gap->next = s->gaps;
    gap->damaged = 0;
    gap->kind = VERIFY_OPEN;

    s->gaps = verify_ngaps++;
}


/* Takes a number out of the gap it is in; 0 if it is in none. */

static int
verify_fill(verify_slot_t *s, uint32_t lane, uint32_t seq)
{
    uint32_t       i, to;
    verify_gap_t  *gap;

    for (i = s->gaps; i != VERIFY_NONE; i = gap->next) {
        gap = &verify_gaps[i];

        if (gap->kind != VERIFY_OPEN || gap->lane != lane || seq < gap->from
            || seq > gap->to)
        {
            continue;
        }

        to = gap->to;

        if (gap->from == to) {
            gap->kind = VERIFY_DEAD;

        } else if (seq == gap->from) {
            gap->from++;

        } else {
            gap->to = seq - 1;

            if (seq < to) {
                verify_gap(s, lane, seq + 1, to);
            }
        }

        return 1;
    }

    return 0;
}


/* How many of the numbers from..to were not acknowledged. */

static uint32_t
verify_refused(uint32_t lane, uint32_t from, uint32_t to)
{
    return verify_lower(lane, (uint64_t) to + 1) - verify_lower(lane, from);
}


static uint32_t
verify_lower(uint32_t lane, uint64_t seq)
{
    uint32_t       lo, hi, mid;
    cf_refused_t  *r;

    lo = 0;
    hi = atomic_load(&cf_shared->nrefused);

    while (lo < hi) {
        mid = lo + (hi - lo) / 2;
        r = &cf_shared->refused[mid];

        if (r->lane < lane || (r->lane == lane && r->seq < seq)) {
            lo = mid + 1;

        } else {
            hi = mid;
        }
    }

    return lo;
}
