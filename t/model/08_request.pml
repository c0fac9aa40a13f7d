/*
 * Requests and answers.  Worker 0 asks workers 1 and 2, twice; each may be
 * killed at any time (its slot gets a new tenant, with another generation) or
 * be too slow; the ring may be full for a request or an answer.
 *
 * Every request ends exactly once: with the answers of all that were asked, or
 * with an error; never by the answer of another tenant or to another request;
 * nothing comes after the end.
 *
 * Rule proved: a request has an id of its own and notes slot and generation of
 * each that is asked; an answer counts if request id, slot and
 * generation are those and it has not answered yet; the tick ends what is past
 * its deadline or has lost its worker.  The request is taken out of the table
 * before its asker is told.
 */
#define ASKS 2

byte gen[3] = 1;                        /* of the tenants, by slot */
byte kills = 2;
chan box1 = [2] of { byte, byte };      /* request id, generation asked */
chan box2 = [2] of { byte, byte };
chan back = [4] of { byte, byte, byte };    /* id, slot, generation */

byte pending;                           /* id, 0 none */
byte want[3];                           /* generation waited for, 0 answered */
byte ended[ASKS + 1], failed[ASKS + 1], honest[ASKS + 1];
bit  stop;

inline finish(bad) {
    atomic {
        assert(ended[pending] == 0);
        ended[pending]++;
        failed[pending] = bad;
        assert(bad || honest[pending] == 2);
        pending = 0; want[1] = 0; want[2] = 0
    }
}

proctype Asker() {
    byte id, i, s, g; bit busy;
    do
    :: pending == 0 && id < ASKS ->
       id++;
       busy = 0;
       atomic { pending = id; want[1] = gen[1]; want[2] = gen[2] };
       if                               /* the ring may be full */
       :: nfull(box1) && nfull(box2) ->
          atomic { box1!id, gen[1]; box2!id, gen[2] }
         :: busy = 1
       fi;
       if :: busy -> finish(1) :: else fi
    :: back?i, s, g ->
       if
#ifdef FLAW_ID
       :: pending != 0 && want[s] == g ->
#elif defined(FLAW_GENERATION)
       :: pending == i && pending != 0 && want[s] != 0 ->
#else
       :: pending == i && pending != 0 && want[s] == g ->
#endif
          want[s] = 0;
          if :: want[1] == 0 && want[2] == 0 -> finish(0) :: else fi
       :: else
       fi;
       i = 0; s = 0; g = 0
#ifndef FLAW_NO_TICK
    :: pending != 0 && (want[1] != 0 && want[1] != gen[1]
                        || want[2] != 0 && want[2] != gen[2]) -> finish(1)
    :: pending != 0 -> finish(1)        /* the deadline */
#endif
    :: pending == 0 && id == ASKS && empty(back) -> break
    od;
    stop = 1
}

proctype Slot(byte s; chan box) {
    byte i, g, mine;
    mine = gen[s];
    do
    :: box?i, g ->
       if
#ifndef FLAW_GENERATION                 /* a tenant that answers what the one
                                           before it was asked */
       :: g != mine -> skip
#endif
       #ifdef FLAW_GENERATION
       :: true ->
#else
       :: g == mine ->
#endif
          if
          :: nfull(back) ->
             atomic {
                 if :: g == mine -> honest[i]++ :: else fi;
                 back!i, s, mine
             }
          :: skip                       /* the ring is full: no answer */
          fi
       fi;
       i = 0; g = 0
    :: atomic { kills > 0 -> kills--; gen[s] = gen[s] + 1; mine = gen[s] }
    :: stop -> break
    od
}

init {
    byte i;
    atomic { run Asker(); run Slot(1, box1); run Slot(2, box2) }
    (stop);
    i = 1;
    do
    :: i <= ASKS -> assert(ended[i] == 1); i++
    :: else -> break
    od
}
