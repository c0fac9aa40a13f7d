#!/usr/bin/env bash
# Puts mistakes into copies of the sources, one at a time: the stress test, or
# the tests of presence, must find each.  `mutants.sh NAME...` tries only those.  The copies are in
# build/mutants.

set -u

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
WORK=$ROOT/build/mutants
SECONDS_EACH=${STRESS_SECONDS:-8}
ONLY=" $* "
missed=0

# name, what it is, file, a Perl expression that changes the whole file; the
# copy is made by `mutate`, which fails when there is nothing to be tried

mutate() {
    local name=$1 file=$3 change=$4

    [ "$ONLY" = "  " ] || [[ $ONLY == *" $name "* ]] || return

    rm -rf "$WORK"
    mkdir -p "$WORK/t"
    cp -r "$ROOT/src" "$WORK/src"
    cp -r "$ROOT/t/unit" "$WORK/t/unit"
    perl -0pi -e "$change" "$WORK/$file"

    if cmp -s "$ROOT/$file" "$WORK/$file"; then
        echo "$name: does not fit the source any more"
        missed=1
        return 1
    fi
}

compile() {
    make -s -C "$WORK/t/unit" CONFIG="$ROOT/build/unit" \
        "$WORK/build/unit/$2" > "$WORK/log" 2>&1 && return

    echo "$1: does not compile"
    cat "$WORK/log"
    missed=1
    return 1
}

report() {
    if [ -z "$3" ]; then
        missed=1
        set -- "$1" "$2" "; NOT FOUND"
    fi

    echo "$1 ($2)$3"
}

# of the rings: the stress test has to find it

try() {
    local v found=

    mutate "$@" || return

    for v in tsan points plain; do
        compile "$1" stress_$v || return

        if ! "$WORK/build/unit/stress_$v" "$SECONDS_EACH" \
                 > "$WORK/log" 2>&1
        then
            found+="; $v: $(grep -m 1 -oE \
                'data race|stress_hub: .*' "$WORK/log" \
                | sed 's/stress_hub: //')"
        fi
    done

    report "$1" "$2" "$found"
}

# of presence and tallies

broken() {
    local v found=

    mutate "$@" || return

    for v in presence presence_kill; do
        compile "$1" test_$v || return

        if ! timeout 120 "$WORK/build/unit/test_$v" > "$WORK/log" 2>&1; then
            found="; $v: $(grep -m 1 -oE '(shard|point) .*|[^/]*$' \
                               "$WORK/log")"
            break
        fi
    done

    report "$1" "$2" "$found"
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

SHARD=src/hub/ngx_centrifugo_shard.c
PAGES=src/hub/ngx_centrifugo_pages.c
CHAIN=src/hub/ngx_centrifugo_chain.c
PRESENCE=src/hub/ngx_centrifugo_presence.c
READ=src/hub/ngx_centrifugo_presence_read.c
TALLY=src/hub/ngx_centrifugo_tally.c
REAP=src/hub/ngx_centrifugo_reap.c

broken log_not_first "a repair does not look at the log first" $SHARD '
    s/    if \(ngx_centrifugo_ring_lock\(shm, &shm->log\).*?log\.lock\);\n//s'

broken log_asked "a repair looks at the log only if it appended for presence" \
    $SHARD '
    s/if \(ngx_centrifugo_ring_lock\(shm, &shm->log\) != NGX_OK\)/if (intent->state < 6) goto no;\n\n    $&/;
    s/(ngx_centrifugo_lock_release\(&shm->log.lock\);\n)/$1\nno:\n/'

broken enter_undone "a committed join is undone" $SHARD '
    s/if \(intent->logged\) \{\n(\s+return ngx_centrifugo_presence_entered)/if (0) {\n$1/'

broken enter_done "a join that is not in the log is finished" $SHARD '
    s/if \(intent->logged\) \{\n(\s+return ngx_centrifugo_presence_entered)/if (1) {\n$1/'

broken leave_undone "a committed leave is undone" $SHARD '
    s/if \(intent->logged\) \{\n(\s+return ngx_centrifugo_presence_left)/if (0) {\n$1/'

broken leave_done "a leave that is not in the log is finished" $SHARD '
    s/if \(intent->logged\) \{\n(\s+return ngx_centrifugo_presence_left)/if (1) {\n$1/'

broken chain_left "a repair does not free what hangs on the chain" $SHARD '
    s/return ngx_centrifugo_shard_settle\(shm, n\);/return NGX_OK;/'

broken chain_uncounted "an item on the chain is freed as one in hand" $CHAIN '
    s/    if \(intent->chain == intent->item\) \{\n\n/    if (0) {\n\n/'

broken chain_late "the chain is moved on after its head is freed" $CHAIN '
    s/(    if \(intent->chain == intent->item\) \{\n        intent_store.*?\n    \}\n)\n//s;
    my $m = $1;
    s/(    intent_store\(&shard->used\[intent->class\], intent->used\);\n    intent_store\(&intent->state, NGX_CENTRIFUGO_INTENT_NONE\);\n\n    return NGX_OK;\n\}\n\n\nngx_int_t\nngx_centrifugo_chain_node)/$m$1/'

broken page_kept "a repair does not give an empty page back" $SHARD '
    s/    if \(ngx_centrifugo_page_trim\(shm, n, intent->item\) != NGX_OK\) \{\n        return NGX_ERROR;\n    \}\n//'

broken state_late "the join is in the log before the intent tells of it" $PRESENCE '
    s/(    intent_store\(&intent->state, NGX_CENTRIFUGO_INTENT_ENTER\);\n)//;
    my $m = $1;
    s/(    NGX_CENTRIFUGO_POINT\(PRESENCE_JOINED\);\n)/$m$1/'

broken counts_added "a count is added to, not stored" $PRESENCE '
    s/rec->entries = intent->entries;/rec->entries += intent->old ? 0 : 1;/'

broken drop_never "a channel stays though the last entry was removed" $PRESENCE '
    s/intent->drop = e->channel;/intent->drop = 0;/'

broken drop_always "a channel goes though somebody is subscribed" $SHARD '
    s/shard_empty\(shm, rec\)\) \{/(shard_empty(shm, rec) || 1)) {/'

broken mask_only "a channel goes with its last subscriber" $SHARD '
    s/kept = \(rec->presence != 0\)/kept = 0/'

broken old_kept "what was replaced is not freed" $PRESENCE '
    s/intent_store\(&intent->chain, intent->old\)/intent_store(&intent->chain, 0)/'

broken type_kept "what is free still says what it was" $PAGES '
    s/        item->type = NGX_CENTRIFUGO_ITEM_FREE;\n        intent_store/        intent_store/'

broken read_again "a reader does not pass over what it has read" $READ '
    s/if \(seq < cursor->seq\) \{/if (1) {/'

broken read_foreign "a reader goes on at an entry of another channel" $READ '
    s/e->channel == channel && e->seq/(e->channel == channel || 1) && e->seq/'

broken users_each "a user is counted once for each worker" $TALLY '
    s/kind == NGX_CENTRIFUGO_TALLY_USER && others == 0/kind == NGX_CENTRIFUGO_TALLY_USER/'

broken tally_stays "the reaper leaves tallies" $REAP '
    s/ngx_centrifugo_tally_remove\(hub, n, tally\);/\/* *\//'

exit $missed
