/*
 * An entry of presence comes and goes with its join and leave in the log.  Two
 * workers of one shard publish (no history: nothing to be undone), add an entry
 * each, of two items, and may remove it; another shard appends meanwhile; two
 * reapers take out what is left.  Everyone may die at every step, also inside
 * a repair.
 *
 * At the end: joins minus leaves of a client are its entry, never less than 0;
 * the count is right; every item is free or in an entry, once.
 *
 * Rules proved: items are taken onto the intent's chain and what is given up
 * is hung on it, so whoever repairs frees it; before anything else a repair
 * takes the log lock once, in EVERY state: the log may still be going to say
 * `logged` for a publication, and that must not reach the next intent.
 */
#include "crash.h"

#define NONE 0
#define NODE 1
#define FREE 2
#define ENTER 3
#define LEAVE 4
#define NODES 4
#define GONE 9                          /* next of what is in a free list */

byte sl, ll; bit sl_od, ll_od;
byte head, lx_by, lx_head;
byte in_state, in_item, in_count, in_e, chain;
bit  in_logged;
byte count;
byte nx[NODES + 1], rest[NODES + 1];
bit  fr[NODES + 1];
byte ent[3];
byte joins[3], leaves[3];               /* in the log */
byte over, reaped;

inline logrepair() {
    if
    :: lx_by == 1 && head == lx_head -> S(in_logged = 1)
    :: else
    fi;
    S(lx_by = 0)
}

/* what: 0 publication, 1 join, 2 leave */
inline append(what, e) {
    LOCK(ll, ll_od, me, died);
    if :: died -> logrepair() :: else fi;
    S(lx_head = head + 1);
    S(lx_by = 1);
    S(head = head + 1;
      if
      :: what == 1 -> joins[e]++
      :: what == 2 -> leaves[e]++
      :: else
      fi);
    S(in_logged = 1);
    S(lx_by = 0);
    UNLOCK(ll)
}

/* an item onto the chain */
inline item(n) {
    S(n = (fr[1] -> 1 : (fr[2] -> 2 : (fr[3] -> 3 : 4)));
      assert(fr[n]); in_item = n);
    S(in_state = NODE);
    S(fr[n] = 0);
    S(nx[n] = chain);
#ifdef FLAW_CHAIN_LATE
    S(in_state = NONE);
    S(chain = n)
#else
    S(chain = n);
    S(in_state = NONE)
#endif
}

inline freed() {
#ifdef FLAW_FREE_FIRST
    S(fr[in_item] = 1; nx[in_item] = GONE);
    if
    :: chain == in_item -> S(chain = nx[in_item]; assert(chain != GONE))
    :: else
    fi;
#else
    if
    :: chain == in_item -> S(chain = nx[in_item]; assert(chain != GONE))
    :: else
    fi;
    S(fr[in_item] = 1; nx[in_item] = GONE);
#endif
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

inline entered() {
    S(ent[in_e] = in_item);
#ifdef FLAW_ADD
    S(count = count + 1);
#else
    S(count = in_count);
#endif
    S(chain = 0);
    S(in_state = NONE)
}

inline left() {
    S(ent[in_e] = 0);
    S(count = in_count);
    S(nx[in_item] = rest[in_item]);
    S(chain = in_item);
    S(in_state = NONE)
}

inline repair() {
#ifdef FLAW_LOG_LAST                    /* only where it is asked */
    if
    :: in_state == ENTER || in_state == LEAVE ->
#endif
       LOCK(ll, ll_od, me, died);
       if :: died -> logrepair() :: else fi;
       UNLOCK(ll);
#ifdef FLAW_LOG_LAST
    :: else
    fi;
#endif
    if
    :: in_state == NODE && chain == in_item -> S(in_state = NONE)
    :: in_state == NODE && chain != in_item ->
       S(fr[in_item] = 1; nx[in_item] = GONE);
       S(in_state = NONE)
    :: in_state == FREE -> freed()
    :: in_state == ENTER && in_logged -> entered()
    :: in_state == LEAVE && in_logged -> left()
#ifdef FLAW_LEAVE
    :: in_state == LEAVE && !in_logged -> left()
#else
    :: in_state == LEAVE && !in_logged -> S(in_state = NONE)
#endif
    :: in_state == ENTER && !in_logged -> S(in_state = NONE)
    :: in_state == NONE
    fi;
#ifndef FLAW_NO_SETTLE
    settle()
#endif
}

inline shard() {
    LOCK(sl, sl_od, me, died);
    if :: died -> repair() :: else fi;
    assert(in_state == NONE && chain == 0)
}

inline remove(e) {
    S(in_item = ent[e]; in_e = e; in_count = count - 1; in_logged = 0);
    S(in_state = LEAVE);
    append(2, e);
    left();
    settle()
}

proctype Worker(byte me) {
    byte n; bit died;

    if
    :: shard();
       append(0, me);
       UNLOCK(sl)
    :: skip
    fi;

    shard();
    item(n);
    item(n);
    S(rest[n] = nx[n]; in_e = me; in_count = count + 1; in_logged = 0);
#ifdef FLAW_STATE_LATE
    append(1, me);
    S(in_state = ENTER);
#else
    S(in_state = ENTER);
    append(1, me);
#endif
    entered();
    settle();
    UNLOCK(sl);

    if
    :: shard();
       remove(me);
       UNLOCK(sl)
    :: skip
    fi;
dead:
    atomic { DROP(sl, sl_od, me); DROP(ll, ll_od, me); over++ }
}

proctype Other(byte me) {               /* another shard's publisher */
    bit died;
    LOCK(ll, ll_od, me, died);
    if :: died -> logrepair() :: else fi;
    S(lx_head = head + 1);
    S(lx_by = 2);
    S(head = head + 1);
    S(lx_by = 0);
    UNLOCK(ll);
dead:
    atomic { DROP(ll, ll_od, me); over++ }
}

proctype Reaper(byte me) {
    byte e; bit died;
    over == 3;
    e = 1;
    do
    :: e <= 2 ->
       shard();
       if
       :: ent[e] != 0 -> remove(e)
       :: else
       fi;
       UNLOCK(sl);
       e++
    :: else -> break
    od;
dead:
    atomic { DROP(sl, sl_od, me); DROP(ll, ll_od, me); reaped++ }
}

inline check() {
    atomic {
        i = 1; n = 0;
        do
        :: i <= 2 ->
           assert(joins[i] <= 1 && joins[i] == leaves[i] + (ent[i] != 0));
           if
           :: ent[i] != 0 ->
              n++;
              assert(!fr[ent[i]] && rest[ent[i]] != 0 && !fr[rest[ent[i]]])
           :: else
           fi;
           i++
        :: else -> break
        od;
        assert(count == n);
        assert(fr[1] + fr[2] + fr[3] + fr[4] == NODES - 2 * n)
    }
}

init {
    byte me = 20, i, n; bit died;
    atomic {
        fr[1] = 1; fr[2] = 1; fr[3] = 1; fr[4] = 1;
        run Worker(1); run Worker(2); run Other(3)
    }
    over == 3;
    atomic { run Reaper(4); run Reaper(5) }
    reaped == 2;
    kills = 0;
    shard();
    check();
    UNLOCK(sl);
dead:
    skip
}
