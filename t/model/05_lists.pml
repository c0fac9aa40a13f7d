/*
 * The list of pages of one class, doubly linked, guarded by the shard's lock.
 * Three pages; workers link one that is out or unlink one that is in, and may
 * die before every store, also in a repair.
 *
 * At the end: forward and backward the list holds the same pages, once each,
 * and `linked` says which.
 *
 * Rule proved: page and both neighbours stand in the intent before the first
 * store, every store is of these absolute values, so a repair does all of them
 * again.
 */
#include "crash.h"
#define PAGES 3

byte sl; bit sl_od;
byte head, next[PAGES + 1], prev[PAGES + 1];
bit  linked[PAGES + 1];
byte op, op_page, op_prev, op_next;     /* op: 0 none, 1 link, 2 unlink */
byte over;

inline apply() {
    S(prev[op_page] = (op == 1 -> op_prev : 0));
    S(next[op_page] = (op == 1 -> op_next : 0));
    if
    :: op_next != 0 -> S(prev[op_next] = (op == 1 -> op_page : op_prev))
    :: else
    fi;
    if
    :: op_prev != 0 -> S(next[op_prev] = (op == 1 -> op_page : op_next))
    :: else -> S(head = (op == 1 -> op_page : op_next))
    fi;
    S(linked[op_page] = (op == 1));
    S(op = 0)
}

inline repair() {
    if
#ifdef FLAW_NO_REPAIR
    :: op != 0 -> S(op = 0)
#else
    :: op != 0 -> apply()
#endif
    :: else
    fi
}

proctype Worker(byte me) {
    byte p, n = 2; bit died;
    do
    :: n > 0 ->
       n--;
       LOCK(sl, sl_od, me, died);
       if :: died -> repair() :: else fi;
       if :: p = 1 :: p = 2 :: p = 3 fi;
#ifdef FLAW_LIVE                        /* neighbours read again by a repair */
       S(op_page = p; op = (linked[p] -> 2 : 1));
       S(op_prev = (op == 2 -> prev[p] : 0);
         op_next = (op == 2 -> next[p] : head));
#else
       S(op_page = p; op_prev = (linked[p] -> prev[p] : 0);
         op_next = (linked[p] -> next[p] : head));
       S(op = (linked[p] -> 2 : 1));
#endif
       apply();
       UNLOCK(sl);
       p = 0
    :: else -> break
    od;
dead:
    atomic { DROP(sl, sl_od, me); over++ }
}

init {
    byte me = 20, p, last, seen; bit died;
    atomic { run Worker(1); run Worker(2); run Worker(3) }
    over == 3;
    kills = 0;
    LOCK(sl, sl_od, me, died);
    if :: died -> repair() :: else fi;
    atomic {
        p = head;
        do
        :: p != 0 ->
           seen++;
           assert(seen <= PAGES && linked[p] && prev[p] == last);
           last = p; p = next[p]
        :: else -> break
        od;
        assert(seen == linked[1] + linked[2] + linked[3])
    }
dead:
    skip
}
