/*
 * A publication with history of one and an idempotency key.  Three publishers
 * of one stream, two of them with the same key; another shard appends to the
 * log meanwhile; who expires takes the result out, if it is there.  Everyone
 * may die at every step, also inside a repair.
 *
 * At the end: what is in the log has an offset of its own, without a hole; of
 * the two with one key only one is in the log unless the result expired; an
 * acknowledged one is there; the list, its count and the top are right; the
 * result is in its bucket and in the wheel or in neither; every item is free or
 * in one place, once.
 *
 * Rules proved: publication and result hang on the intent's chain until the log
 * has said `logged`, and one state links both, so a key is known exactly when
 * its publication is out; what goes is hung on the chain and freed from there;
 * leaving the wheel belongs to the state that removes the result.
 */
#include "crash.h"

#define NONE 0
#define NODE 1
#define FREE 2
#define APPEND 3
#define TRIM 4
#define REMOVE 5
#define HMAX 1
#define NODES 5
#define GONE 9

byte sl, ll; bit sl_od, ll_od;
byte head, lx_by, lx_head;
byte l_off[6], l_by[6];

byte in_state, in_item, chain;
bit  in_logged;
byte in_pub, in_res, in_top, in_count, in_prev, in_oldest, in_next;

byte top, count, oldest, newest;        /* the stream */
byte bucket;                            /* of the result */
byte nx[NODES + 1], newer[NODES + 1];
bit  fr[NODES + 1], wheel[NODES + 1];
byte pubs;                              /* publications of other places */
byte acked[4], expired, over;

inline logrepair() {
    if
    :: lx_by == 1 && head == lx_head -> S(in_logged = 1)
    :: else
    fi;
    S(lx_by = 0)
}

inline append(off, who) {
    LOCK(ll, ll_od, me, died);
    if :: died -> logrepair() :: else fi;
    S(lx_head = head + 1);
    S(lx_by = 1);
    S(l_off[head] = off; l_by[head] = who; head = head + 1);
    S(in_logged = 1);
    S(lx_by = 0);
    UNLOCK(ll)
}

inline item(n) {
    S(n = (fr[1] -> 1 : (fr[2] -> 2 : (fr[3] -> 3 : (fr[4] -> 4 : 5))));
      assert(fr[n]); in_item = n);
    S(in_state = NODE);
    S(fr[n] = 0);
    S(nx[n] = chain);
    S(chain = n);
    S(in_state = NONE)
}

inline freed() {
    if
    :: chain == in_item -> S(chain = nx[in_item]; assert(chain != GONE))
    :: else
    fi;
    S(fr[in_item] = 1; nx[in_item] = GONE);
    S(in_state = NONE)
}

inline settle() {
    do
    :: chain != 0 ->
       S(in_item = chain);
       S(in_state = FREE);
       freed()
    :: else -> break
    od
}

inline appended() {
    if
    :: in_prev != 0 -> S(newer[in_prev] = in_pub)
    :: else
    fi;
    S(newer[in_pub] = 0);
    S(newest = in_pub; oldest = in_oldest);
#ifdef FLAW_ADD
    S(top = top + 1);
#else
    S(top = in_top);
#endif
    S(count = in_count);
#ifdef FLAW_RESULT_LATE
    S(nx[in_pub] = 0);
    S(chain = 0);
    S(in_state = NONE);
#endif
    if
    :: in_res != 0 ->
       S(nx[in_res] = in_next);
       S(bucket = in_res);
       S(wheel[in_res] = 1)
    :: else
    fi;
    S(nx[in_pub] = 0);
    S(chain = 0);
    S(in_state = NONE)
}

inline trimmed() {
    S(oldest = in_oldest);
    S(count = in_count);
    S(nx[in_item] = 0);
    S(chain = in_item);
    S(in_state = NONE)
}

inline removed() {
    S(wheel[in_item] = 0);
    if
    :: bucket == in_item -> S(bucket = 0)
    :: else
    fi;
    if
    :: !fr[in_item] -> S(fr[in_item] = 1; nx[in_item] = GONE)
    :: else
    fi;
    S(in_state = NONE)
}

inline repair() {
    LOCK(ll, ll_od, me, died);
    if :: died -> logrepair() :: else fi;
    UNLOCK(ll);

    if
    :: in_state == NODE ->
       if
       :: chain != in_item -> S(fr[in_item] = 1; nx[in_item] = GONE)
       :: else
       fi;
       S(in_state = NONE)
    :: in_state == FREE -> freed()
    :: in_state == APPEND && in_logged -> appended()
    :: in_state == APPEND && !in_logged -> S(in_state = NONE)
    :: in_state == TRIM -> trimmed()
    :: in_state == REMOVE -> removed()
    :: else
    fi;
    settle()
}

/* more than one when a publisher died before its own */
inline trim() {
    do
    :: count > HMAX ->
       S(in_item = oldest; in_oldest = newer[oldest]; in_count = count - 1);
       S(in_state = TRIM);
       trimmed();
       settle()
    :: else -> break
    od
}

proctype Pub(byte me; bit key) {
    byte p, r; bit died;
    LOCK(sl, sl_od, me, died);
    if :: died -> repair() :: else fi;

    if
    :: key && bucket != 0 -> goto known
    :: else
    fi;

    item(p);
    if
    :: key -> item(r)
    :: else -> r = 0
    fi;

    S(in_pub = p; in_res = r; in_top = top + 1; in_count = count + 1;
      in_prev = newest; in_oldest = (oldest == 0 -> p : oldest); in_next = 0;
      in_logged = 0);
    S(in_state = APPEND);
    append(top + 1, me);
    appended();

    trim();
known:
    UNLOCK(sl);
    S(acked[me] = 1);
dead:
    atomic { DROP(sl, sl_od, me); DROP(ll, ll_od, me); over++ }
}

proctype Expire(byte me) {
    bit died;
    LOCK(sl, sl_od, me, died);
    if :: died -> repair() :: else fi;

    if
    :: bucket != 0 ->
#ifdef FLAW_WHEEL_FIRST
       S(wheel[bucket] = 0);
#endif
       S(in_item = bucket);
       S(expired = 1; in_state = REMOVE);
       removed()
    :: else
    fi;
    UNLOCK(sl);
dead:
    atomic { DROP(sl, sl_od, me); DROP(ll, ll_od, me); over++ }
}

proctype Other(byte me) {
    bit died;
    LOCK(ll, ll_od, me, died);
    if :: died -> logrepair() :: else fi;
    S(lx_head = head + 1);
    S(lx_by = 2);
    S(l_off[head] = 100; head = head + 1);
    S(lx_by = 0);
    UNLOCK(ll);
dead:
    atomic { DROP(ll, ll_od, me); over++ }
}

init {
    byte me = 20, i, want, seen[4], n, used; bit died;
    atomic {
        i = 1;
        do
        :: i <= NODES -> fr[i] = 1; nx[i] = GONE; i++
        :: else -> break
        od;
        run Pub(1, 1); run Pub(2, 1); run Pub(3, 0); run Other(9); run Expire(8)
    }
    over == 5;
    kills = 0;
    LOCK(sl, sl_od, me, died);
    if :: died -> repair() :: else fi;
    trim();
    atomic {
        assert(in_state == NONE && chain == 0);
        i = 0; want = 1;
        do
        :: i < head ->
           if
           :: l_off[i] < 100 ->
              assert(l_off[i] == want); want++; seen[l_by[i]]++
           :: else
           fi;
           i++
        :: else -> break
        od;
        assert(top == want - 1);
        assert(count == (top < HMAX -> top : HMAX));
        assert(seen[1] <= 1 && seen[2] <= 1 && seen[3] <= 1);
        assert(seen[1] + seen[2] <= 1 || expired);
        assert(!(acked[1] || acked[2]) || seen[1] + seen[2] >= 1);
        assert(!acked[3] || seen[3] == 1);
        assert(bucket == 0 || wheel[bucket]);
        assert(bucket != 0 || seen[1] + seen[2] == 0 || expired);

        /* the list, and where each item is */
        i = oldest; n = 0;
        do
        :: n < count -> assert(i != 0 && !fr[i]); n++;
           if :: n == count -> assert(i == newest) :: else fi;
           i = newer[i]
        :: else -> break
        od;
        i = 1; used = 0;
        do
        :: i <= NODES ->
           used = used + (fr[i] -> 0 : 1);
           assert(!wheel[i] || i == bucket); i++
        :: else -> break
        od;
        assert(used == count + (bucket != 0 -> 1 : 0))
    }
dead:
    skip
}
