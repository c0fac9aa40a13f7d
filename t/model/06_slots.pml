/*
 * One slot, three workers who want it, die in it and reap it (and die while
 * reaping), a wiper of a shard.  Two channel masks (shards 0 and 1), one
 * presence entry in each.
 *
 * Nobody clears a live tenant's bit; a new tenant finds a clean slot (no bit,
 * no presence, no resync bit); exactly one leave for one join; counters are
 * right; in the end the slot is free again.
 *
 * Rule proved: whoever holds the liveness mutex, got with 0 or EOWNERDEAD,
 * and finds state != free, reaps: the tenant holds it for life, so it is gone.
 * Tried on every slot that is not free.  The claim is a trylock and looks at
 * state again when it has the mutex.  The resync bit is cleared in the same
 * section as the bits.  Counters are not folded.
 */
#ifndef KILLS
#define KILLS 3
#endif
#include "crash.h"
#define FREE 0
#define LIVE 1
#define DEAD 2

byte reg, m; bit reg_od, m_od;
byte state;
bit  bits[2], pres[2], rs[2];
byte who[2];                            /* ghost: who set the bit */
bit  alive[5];                          /* ghost: tenant and not dead */
byte joins, leaves, cnt, total, counted;
byte over; bit wiped;

#define CLEAR(i) S(assert(!bits[i] || who[i] == me || !alive[who[i]]); \
                   bits[i] = 0; RS(i))
#ifdef FLAW_RESYNC
#define RS(i) skip
#else
#define RS(i) rs[i] = 0
#endif
#define LEAVE(i) S(if :: pres[i] -> pres[i] = 0; leaves++ :: else fi)

inline reap() {
    S(state = DEAD);
#ifdef FLAW_NOKEEP
    UNLOCK(m);
#endif
#ifdef FLAW_EARLY
    S(state = FREE);
#endif
    CLEAR(0); LEAVE(0); CLEAR(1); LEAVE(1);
#ifdef FLAW_FOLD
    S(total = total + cnt);
    S(cnt = 0);
#endif
    S(state = FREE);
#ifndef FLAW_NOKEEP
    UNLOCK(m)
#endif
}

#ifdef FLAW_LIVEONLY /* only live or draining */
#define TRY (state == LIVE)
#else
#define TRY (state != FREE)
#endif

inline tick() {
    if
    :: TRY ->
       atomic {
           if
           :: m == 0 -> m = me; died = m_od; m_od = 0; got = 1
           :: else -> got = 0
           fi
       }
       if
#ifdef FLAW_EVENT /* only on EOWNERDEAD */
       :: got && died -> reap()
       :: got && !died -> UNLOCK(m)
#else
       :: got && state != FREE -> reap()
       :: got && state == FREE -> UNLOCK(m)
#endif
       :: !got
       fi
    :: else
    fi
}

proctype Worker(byte me) {
    bit died, got;
    if :: tick() :: skip fi;
    LOCK(reg, reg_od, me, died);
    if
    :: state == FREE ->
       atomic {
#ifdef FLAW_EVENT
           m == 0 -> m = me; died = m_od; m_od = 0; got = 1
#else
           if
           :: m == 0 -> m = me; died = m_od; m_od = 0; got = 1
           :: else -> got = 0
           fi
#endif
       }
       if
       :: got && state == FREE ->
          S(state = LIVE; alive[me] = 1;
            assert(!bits[0] && !bits[1] && !pres[0] && !pres[1]);
            assert(!rs[0] && !rs[1]));
          S(reg = 0);
          S(bits[0] = 1; who[0] = me);
          S(pres[0] = 1; joins++);
          S(bits[1] = 1; who[1] = me);
          S(pres[1] = 1; joins++);
          S(cnt++; counted++);
          S(rs[0] = 0);                 /* its own resync, if any */
          if
          :: reap()                     /* clean exit */
          :: skip                       /* or killed here at the latest */
          fi
       :: got && state != FREE -> UNLOCK(m); UNLOCK(reg)
       :: !got -> UNLOCK(reg)
       fi
    :: else -> UNLOCK(reg)
    fi;
    if :: m != me -> tick() :: else fi;
dead:
    atomic { alive[me] = 0; DROP(reg, reg_od, me); DROP(m, m_od, me); over++ }
}

proctype Wiper() {                      /* shard 0, one section */
    atomic {
        rs[0] = (state == LIVE); bits[0] = 0;
        if :: pres[0] -> pres[0] = 0; joins-- :: else fi
    }
}

init {
    byte me = 4; bit died, got;
    atomic { run Worker(1); run Worker(2); run Worker(3); run Wiper() }
    over == 3;
    kills = 0;
    tick();
    assert(state == FREE);
    assert(!bits[0] && !bits[1] && !pres[0] && !pres[1]);
    assert(joins == leaves);
    assert(total + cnt == counted);
dead:
    skip
}
