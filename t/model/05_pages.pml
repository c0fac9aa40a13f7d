/*
 * 4 KB pages shared by shards.  Two shards, two workers each, pages 1..3;
 * each worker takes a page and gives it back, and may die at every step.
 *
 * Never one page in two shards; after repair no page is lost, the bitmap is
 * right.
 *
 * Rule proved: own[page] = shard (0 free), stored under the pages lock, is
 * the truth; the bitmap only speeds up the search and is rebuilt from own[].
 * The shard names the page in its intent (`moving`) before own[] changes and
 * until the page is linked into (or out of) its list.  Repair of the shard:
 * own says mine and it is in no list of mine -> give it back; -DLINK_AGAIN: or
 * put it into the list.
 */
#include "crash.h"
#define PAGES 3

byte sl[3], pl; bit sl_od[3], pl_od;
byte own[PAGES + 1], inlist[PAGES + 1], moving[3];
bit  bm[PAGES + 1];
byte over;

inline page_repair() {
    i = 1;
    do
    :: i <= PAGES ->
#ifdef FLAW_REBUILD                     /* from the shards' page lists */
       S(bm[i] = (inlist[i] != 0));
#else
       S(bm[i] = (own[i] != 0));
#endif
       i++
    :: else -> break
    od
}

inline shard_repair() {
    if
    :: moving[s] != 0 ->
       LOCK(pl, pl_od, me, died);
       if :: died -> page_repair() :: else fi;
       if
#ifndef LINK_AGAIN
       :: own[moving[s]] == s && inlist[moving[s]] != s ->
          S(own[moving[s]] = 0);
          S(bm[moving[s]] = 0)
#else
       :: own[moving[s]] == s -> mine = 1
#endif
       :: else -> mine = 0
       fi;
       UNLOCK(pl);
#ifdef LINK_AGAIN                       /* right too */
       if
       :: mine -> S(inlist[moving[s]] = s)
       :: else
       fi;
#endif
       S(moving[s] = 0)
    :: else
    fi
}

proctype Worker(byte me; byte s) {
    byte p, i; bit died, mine;
    LOCK(sl[s], sl_od[s], me, died);
    if :: died -> shard_repair() :: else fi;

    LOCK(pl, pl_od, me, died);
    if :: died -> page_repair() :: else fi;
    S(p = (!bm[1] -> 1 : (!bm[2] -> 2 : (!bm[3] -> 3 : 0))));
    if
    :: p != 0 ->
#ifndef FLAW_LATE
       S(moving[s] = p);
#endif
       S(assert(own[p] == 0); own[p] = s);
       S(bm[p] = 1);
       UNLOCK(pl);
#ifdef FLAW_LATE
       S(moving[s] = p);
#endif
       S(inlist[p] = s);
       S(moving[s] = 0)
    :: else ->
       UNLOCK(pl)
    fi;

    if
    :: p != 0 ->                        /* and back */
       S(moving[s] = p);
       S(inlist[p] = 0);
       LOCK(pl, pl_od, me, died);
       if :: died -> page_repair() :: else fi;
       S(own[p] = 0);
       S(bm[p] = 0);
       UNLOCK(pl);
       S(moving[s] = 0)
    :: else
    fi;
    UNLOCK(sl[s]);
dead:
    atomic { DROP(sl[s], sl_od[s], me); DROP(pl, pl_od, me); over++ }
}

init {
    byte me = 20, i, s; bit died, mine;
    atomic { run Worker(1, 1); run Worker(2, 1); run Worker(3, 2);
             run Worker(4, 2) }
    over == 4;
    kills = 0;
    s = 1;
    do
    :: s <= 2 ->
       LOCK(sl[s], sl_od[s], me, died);
       if :: died -> shard_repair() :: else fi;
       s++
    :: else -> break
    od;
    LOCK(pl, pl_od, me, died);
    if :: died -> page_repair() :: else fi;
    atomic {
        i = 1;
        do
        :: i <= PAGES ->
           assert(own[i] == inlist[i] && bm[i] == (own[i] != 0)); i++
        :: else -> break
        od
    }
dead:
    skip
}
