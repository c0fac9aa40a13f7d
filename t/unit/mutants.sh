#!/usr/bin/env bash
# Puts mistakes into copies of the sources, one at a time: the stress test must
# find each.  `mutants.sh NAME...` tries only those.  The copies are in
# build/mutants.

set -u

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
WORK=$ROOT/build/mutants
SECONDS_EACH=${STRESS_SECONDS:-8}
ONLY=" $* "
missed=0

# name, what it is, file, a Perl expression that changes the whole file

try() {
    local name=$1 what=$2 file=$3 change=$4 v found=

    [ "$ONLY" = "  " ] || [[ $ONLY == *" $name "* ]] || return

    rm -rf "$WORK"
    mkdir -p "$WORK/t"
    cp -r "$ROOT/src" "$WORK/src"
    cp -r "$ROOT/t/unit" "$WORK/t/unit"
    perl -0pi -e "$change" "$WORK/$file"

    if cmp -s "$ROOT/$file" "$WORK/$file"; then
        echo "$name: does not fit the source any more"
        missed=1
        return
    fi

    for v in tsan points plain; do
        if ! make -s -C "$WORK/t/unit" CONFIG="$ROOT/build/unit" \
                 "$WORK/build/unit/stress_$v" > "$WORK/log" 2>&1
        then
            echo "$name: does not compile"
            cat "$WORK/log"
            missed=1
            return
        fi

        if ! "$WORK/build/unit/stress_$v" "$SECONDS_EACH" \
                 > "$WORK/log" 2>&1
        then
            found+="; $v: $(grep -m 1 -oE \
                'data race|stress_hub: .*' "$WORK/log" \
                | sed 's/stress_hub: //')"
        fi
    done

    if [ -z "$found" ]; then
        missed=1
        found="; NOT FOUND"
    fi

    echo "$name ($what)$found"
}

RING=src/hub/ngx_centrifugo_ring.c
LOG=src/hub/ngx_centrifugo_log.c
CONTROL=src/hub/ngx_centrifugo_control.c
BELL=src/core/ngx_centrifugo_bell.c
HARNESS=t/unit/stress_hub.c

try head_early "head is stored before the bytes are written" $RING '
    s/(    if \(place->pos != place->start\) \{)/    __atomic_store_n(&ring->head, place->end, __ATOMIC_RELEASE);\n\n$1/'

try tail_late "the tail moves after the bytes are overwritten" $RING '
    s/(    if \(place->end > ring->size \+ .*?\n    \}\n)\n//s;
    my $m = $1;
    s/(    NGX_CENTRIFUGO_POINT\(RING_WRITTEN\);\n)/$1$m/'

try tail_first "a reader looks at the tail before it copies" $RING '
    s/(ring_copy\(.*?\n\{\n)(    if \(len\))/$1    uint64_t  tail = ring_tail_load(ring);\n\n    NGX_CENTRIFUGO_POINT(RING_COPIED);\n\n$2/s;
    s/return \(ring_tail_load\(ring\) > pos\)/return (tail > pos)/'

try words_before_head "a reader loads last and first before head" $LOG '
    s/(    hub->read_head = [^;]*;\n)(    NGX_CENTRIFUGO_POINT\(LOG_HEAD\);\n)//;
    my $h = $1;
    s/(    m = hub_member\(hub->shm, hub->slot\);\n)/$1    hub->read_last = __atomic_load_n(&m->last, __ATOMIC_ACQUIRE);\n    first = __atomic_load_n(&m->first, __ATOMIC_ACQUIRE);\n    NGX_CENTRIFUGO_POINT(LOG_HEAD);\n$h/;
    s/(== hub->read_head\) \{\n        return NGX_DONE;\n    \}\n\n)    hub->read_last = [^;]*;\n    first = [^;]*;\n/$1/'

try words_after_head "words of interest are stored after head" $LOG '
    s/(    log_interest\(shm, mask, place.start, place.pos\);\n)\n(    ngx_centrifugo_ring_commit\([^;]*;\n)/$2$1/'

try head_relaxed "head is stored relaxed" $RING '
    s/(__atomic_store_n\(&ring->head, place->end, )__ATOMIC_RELEASE/$1__ATOMIC_RELAXED/'

try head_unordered "head is loaded relaxed" $CONTROL '
    s/(head = __atomic_load_n\(&ring->head, )__ATOMIC_ACQUIRE/$1__ATOMIC_RELAXED/'

try first_always "first is moved though last is not read yet" $LOG '
    s/if \(m->last < __atomic_load_n\(&m->cursor, __ATOMIC_ACQUIRE\)\)/if (1)/'

try cursor_far "a pass ends at the newest head" $LOG '
    s/log_done\(hub, hub->read_head\);\n\n    return NGX_AGAIN/log_done(hub, __atomic_load_n(&hub->shm->log.head, __ATOMIC_ACQUIRE));\n\n    return NGX_AGAIN/'

try interest_off "who has no interest scans all the same" $LOG '
    s/hub->read_last < cursor \|\| first >= hub->read_head/first >= hub->read_head/;
    s/ && hub->read_pos <= hub->read_last\)/)/'

try bell_cleared_early "pending is cleared before the descriptor is emptied" \
    $BELL '
    s/    NGX_CENTRIFUGO_POINT\(BELL_EMPTIED\);\n    \(void\) __atomic_exchange_n\(pending, 0, __ATOMIC_SEQ_CST\);\n//;
    s/(    if \(bell->rd != -1\))/    (void) __atomic_exchange_n(pending, 0, __ATOMIC_SEQ_CST);\n    NGX_CENTRIFUGO_POINT(BELL_EMPTIED);\n\n$1/'

# Not here: pending cleared by a store instead of an exchange, the fences left
# out.  What goes wrong then lasts nanoseconds on x86, if it can be seen there at
# all; t/model/README.md argues them.

try bell_late "the reader answers after it has read" $HARNESS '
    s/        ngx_centrifugo_registry_answer\(reg, w->hub.slot\);\n//;
    s/(            idle--;\n)/$1            ngx_centrifugo_registry_answer(reg, w->hub.slot);\n/;
    s/(        consume\(w, rnd\(\) % 4 == 0\);\n)/$1        ngx_centrifugo_registry_answer(reg, w->hub.slot);\n/'

try bell_early "the bell is rung before the append" $LOG '
    s/(    for \(i = 0; i < shm->mask_words; i\+\+\) \{\n        hub->ring\[i\] \|= mask\[i\];\n    \}\n)//;
    my $r = $1;
    s/(    ngx_centrifugo_ring_commit\(shm, log)/$r    (void) ngx_centrifugo_hub_wake(hub);\n$1/'

try control_forced "the control ring overwrites what is not read" $CONTROL '
    s/        if \(cursor < low\) \{/        if (0) {/;
    s/if \(end > ring->size \+ cursor\)/if (0)/'

exit $missed
