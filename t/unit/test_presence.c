/*
 * Presence and tallies in the hub's shared memory: each operation, a full zone,
 * readers while entries come and go, damage.
 */

#include "unit_presence.h"


static u_char  big[NGX_CENTRIFUGO_PRESENCE_MAX + 1];


static void
basics(void)
{
    size_t                            len;
    u_char                            buf[20000], id[16];
    uint32_t                          i;
    uint64_t                          users[300];
    ngx_int_t                         rc;
    ngx_str_t                         ch, info;
    ngx_uint_t                        n, got;
    ngx_centrifugo_hub_t              a, b;
    ngx_centrifugo_entry_t            e;
    ngx_centrifugo_hub_stat_t         st, base;
    ngx_centrifugo_presence_t         p;
    ngx_centrifugo_presence_cursor_t  cursor;
    static const size_t               sizes[] = { 4, 32, 33, 100, 1967, 1968,
                                                  1969, 1968 + 2020,
                                                  1968 + 2021, 8191, 8192 };

    begin(&a);
    enter(&b);

    /* nothing is created by asking, nobody enters what he has not joined */

    CHECK(read_all(&b, "nowhere", NULL) == 0);
    CHECK(take(&b, "nowhere", 1) == NGX_DECLINED);
    CHECK(take(&b, "a", 1) == NGX_DECLINED);
    CHECK(add(&b, "nowhere", 1, 10, 0) == NGX_ERROR);
    CHECK(add(&b, "a", 1, 10, 0) == NGX_ERROR);
    ngx_centrifugo_hub_stat(&a, &base);
    CHECK(base.channels == CHANNELS && base.presence == 0);

    memset(&p, 0, sizeof(p));
    p.channel = S("a");
    p.client = id;
    p.info.data = big;
    p.info.len = NGX_CENTRIFUGO_PRESENCE_MAX + 1;
    CHECK(ngx_centrifugo_hub_presence_add(&a, &p, 1) == NGX_ERROR);

    /* all sizes come, are changed into all others, and go */

    CHECK(join(&b, "a") == NGX_OK);

    for (i = 0; i < 11; i++) {
        CHECK(add(&b, "a", 1 + i, sizes[i], NGX_CENTRIFUGO_PRESENCE_ANNOUNCE)
              == NGX_OK);
        CHECK(next(&a, &e) == NGX_OK && e.type == NGX_CENTRIFUGO_ENTRY_JOIN
              && e.info.len == sizes[i] && e.data.len == 0 && e.time == 7
              && check_info(e.info.data, e.info.len) == 1 + i);
        CHECK(next(&a, &e) == NGX_DONE);
        CHECK(ngx_centrifugo_hub_wake(&b) == 1);
        CHECK(reg->slots[a.slot].pending);

        for (n = 0; n < 11; n++) {
            CHECK(add(&b, "a", 1 + i, sizes[n],
                      NGX_CENTRIFUGO_PRESENCE_ANNOUNCE)
                  == NGX_OK);
            CHECK(whole(&a));
        }

        CHECK(next(&a, &e) == NGX_DONE);
        CHECK(add(&b, "a", 1 + i, sizes[10 - i],
                  NGX_CENTRIFUGO_PRESENCE_ANNOUNCE)
              == NGX_OK);
        CHECK(read_all(&a, "a", NULL) == i + 1);
    }

    *next_client = 20;
    memset(seen, 0, sizeof(seen));
    CHECK(read_all(&a, "a", see) == 11);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.presence == 11 && st.channels == CHANNELS);

    for (i = 0; i < 11; i++) {
        CHECK(take(&a, "a", 1 + (i * 7) % 11) == NGX_OK);
        CHECK(take(&a, "a", 1 + (i * 7) % 11) == NGX_DECLINED);
        CHECK(next(&a, &e) == NGX_OK && e.type == NGX_CENTRIFUGO_ENTRY_LEAVE
              && e.info.len == sizes[10 - (i * 7) % 11] && e.time == 8
              && check_info(e.info.data, e.info.len) == 1 + (i * 7) % 11);
        CHECK(next(&a, &e) == NGX_DONE && whole(&a));
        CHECK(read_all(&a, "a", NULL) == 10 - i);
    }

    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.presence == 0 && st.channel_bytes == base.channel_bytes);

    /* without announcement; quietly; an announcement without an entry */

    CHECK(add(&b, "a", 1, 10, 0) == NGX_OK);
    CHECK(take(&b, "a", 1) == NGX_OK);
    CHECK(next(&a, &e) == NGX_DONE);
    CHECK(add(&b, "a", 1, 10, NGX_CENTRIFUGO_PRESENCE_ANNOUNCE
                              |NGX_CENTRIFUGO_PRESENCE_QUIET) == NGX_OK);
    CHECK(next(&a, &e) == NGX_DONE);
    CHECK(take(&b, "a", 1) == NGX_OK);
    CHECK(next(&a, &e) == NGX_OK && e.type == NGX_CENTRIFUGO_ENTRY_LEAVE);

    ch = S("a");
    info = S("who");
    CHECK(ngx_centrifugo_hub_announce(&b, &ch, NGX_CENTRIFUGO_ENTRY_JOIN,
                                      &info, 5) == NGX_OK);
    CHECK(next(&a, &e) == NGX_OK && e.type == NGX_CENTRIFUGO_ENTRY_JOIN
          && e.info.len == 3 && e.time == 5 && e.channel == marks.id[0]);
    CHECK(publish(&b, "a", "x") == NGX_OK);
    CHECK(next(&a, &e) == NGX_OK
          && e.type == NGX_CENTRIFUGO_ENTRY_PUBLICATION);
    ch = S("nowhere");
    CHECK(ngx_centrifugo_hub_announce(&b, &ch, NGX_CENTRIFUGO_ENTRY_LEAVE,
                                      &info, 5) == NGX_DECLINED);

    /* a channel stays for those who are present, and goes with the last */

    CHECK(join(&b, "stays") == NGX_OK);
    CHECK(add(&b, "stays", 1, 10, NGX_CENTRIFUGO_PRESENCE_ANNOUNCE) == NGX_OK);
    CHECK(add(&b, "stays", 2, 3000, 0) == NGX_OK);
    leave(&b, "stays");
    CHECK(whole(&a) && read_all(&a, "stays", NULL) == 2);
    CHECK(add(&b, "stays", 3, 10, 0) == NGX_ERROR);
    CHECK(take(&b, "stays", 2) == NGX_OK);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.channels == CHANNELS + 1 && st.presence == 1);
    CHECK(take(&b, "stays", 1) == NGX_OK && whole(&a));
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.channels == CHANNELS && st.channel_bytes == base.channel_bytes
          && st.presence == 0);

    /* hashes of users: equal for equal ones only */

    for (i = 0; i < 700; i++) {
        CHECK(add(&a, "bb", 1 + i, 10, 0) == NGX_OK);
    }

    ch = S("bb");
    memset(&cursor, 0, sizeof(cursor));
    got = 0;

    do {
        rc = ngx_centrifugo_hub_presence_users(&a, &ch, &cursor, users, 300,
                                               &n);
        CHECK((rc == NGX_OK || rc == NGX_AGAIN) && n <= 256);

        for (i = 100; i < n; i++) {
            CHECK(users[i] == users[i - 100] && users[i] != users[i - 1]);
        }

        got += n;
    } while (rc == NGX_AGAIN);

    CHECK(got == 700);
    memset(&cursor, 0, sizeof(cursor));
    CHECK(ngx_centrifugo_hub_presence_users(&a, &ch, &cursor, users, 1, &n)
          == NGX_AGAIN && n == 1);

    /* who is gone is taken out by the reaper, with a leave for each */

    if (fork() == 0) {
        ngx_centrifugo_hub_t  dead;

        enter(&dead);
        CHECK(join(&dead, "ccc") == NGX_OK && join(&dead, "mine") == NGX_OK);

        for (i = 0; i < 300; i++) {
            CHECK(add(&dead, i % 3 ? "ccc" : "mine", 1000 + i, i * 20,
                      NGX_CENTRIFUGO_PRESENCE_ANNOUNCE) == NGX_OK);
        }

        CHECK(tally(&dead, 0, "u", 3, 0) == NGX_OK);
        CHECK(tally(&dead, 1, "u", 3, 0) == NGX_OK);
        _exit(unit_failed);
    }

    (void) wait(NULL);
    *next_client = 2000;
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.users == 1 && st.presence == 1000);
    CHECK(read_all(&a, "ccc", NULL) == 200 && read_all(&a, "mine", NULL) == 100);
    CHECK(reap_all(&a) == 1 && whole(&a));
    read_log(&a);
    CHECK(marks.joins == 200 && marks.leaves == 200 && marks.wrong == 0);
    CHECK(ngx_centrifugo_hub_wake(&a) == 1);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.users == 0 && st.presence == 700 && st.channels == CHANNELS);

    (void) ngx_centrifugo_hub_presence_read(&a, &ch, &cursor, buf,
                                            sizeof(buf), &len);
    CHECK(st.wipes == 0);
    ngx_centrifugo_hub_exit(&a);
    ngx_centrifugo_hub_exit(&b);
}


static void
tallies(void)
{
    char                       key[1100];
    uint64_t                   mask[NGX_CENTRIFUGO_MASK_WORDS];
    ngx_str_t                  k;
    ngx_uint_t                 i;
    ngx_centrifugo_hub_t       a, b;
    ngx_centrifugo_hub_stat_t  st;

    begin(&a);
    enter(&b);

    CHECK(tally(&a, 0, "u", 0, 0) == NGX_OK);
    CHECK(tally(&a, 0, "u", 2, 3) == NGX_OK);
    CHECK(tally(&b, 0, "u", 2, 3) == NGX_DECLINED);
    CHECK(tally(&b, 0, "u", 1, 3) == NGX_OK);
    CHECK(tally(&b, 1, "u", 7, 7) == NGX_OK);
    CHECK(tally(&a, 0, "u", 3, 3) == NGX_DECLINED);
    CHECK(tally(&a, 0, "u", 3, 4) == NGX_OK);
    CHECK(tally(&a, 0, "u", 0xffffffff, 0xffffffff) == NGX_DECLINED);
    CHECK(tally(&b, 0, "v", 1, 1) == NGX_OK);
    CHECK(tally(&b, 0, "", 1, 1) == NGX_OK);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.users == 3 && st.channels == CHANNELS && whole(&a));

    k = S("u");
    ngx_centrifugo_hub_tally_slots(&a, 0, &k, mask);
    CHECK(mask[0] == 3 && mask[1] == 0);
    ngx_centrifugo_hub_tally_slots(&a, 1, &k, mask);
    CHECK(mask[0] == 2);
    k = S("w");
    ngx_centrifugo_hub_tally_slots(&a, 0, &k, mask);
    CHECK(mask[0] == 0);

    CHECK(tally(&a, 0, "u", 0, 1) == NGX_OK);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.users == 3);
    CHECK(tally(&b, 0, "u", 0, 0) == NGX_OK);
    CHECK(tally(&b, 0, "", 0, 0) == NGX_OK);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.users == 1 && whole(&a));

    memset(key, 'k', sizeof(key));
    k.data = (u_char *) key;
    k.len = NGX_CENTRIFUGO_NAME_MAX + 1;
    CHECK(ngx_centrifugo_hub_tally_set(&a, 0, &k, 1, 0) == NGX_ERROR);
    k.len--;
    CHECK(ngx_centrifugo_hub_tally_set(&a, 0, &k, 1, 0) == NGX_OK);
    CHECK(ngx_centrifugo_hub_tally_set(&a, 0, &k, 0, 0) == NGX_OK);

    /* what was wiped is put back; until then everybody may have some */

    for (i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "k%lu", (unsigned long) i);
        CHECK(tally(&a, 0, key, 5, 0) == NGX_OK);
    }

    ngx_centrifugo_hub_test_wipe(&b, 1);
    CHECK(whole(&a) && ngx_centrifugo_hub_resync_check(&a) == 2);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.users < 101 && st.users > 0);
    (void) ngx_centrifugo_hub_resync_begin(&a);

    for (i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "k%lu", (unsigned long) i);
        k = S(key);
        ngx_centrifugo_hub_tally_slots(&b, 0, &k, mask);
        CHECK(mask[0] == 1 || mask[0] == 3);

        if (ngx_centrifugo_hub_resync_tally(&a, 0, &k, 5) == NGX_OK) {
            CHECK(mask[0] == 3);
        }
    }

    (void) ngx_centrifugo_hub_resync_end(&a);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.users >= 100 && whole(&a));

    /* a full zone */

    for (i = 0; i < 1000000; i++) {
        snprintf(key, sizeof(key), "%1000lu", (unsigned long) i);
        if (tally(&b, 0, key, 1, 0) != NGX_OK) {
            CHECK(tally(&b, 0, key, 1, 0) == NGX_BUSY);
            break;
        }
    }

    CHECK(i > 1000 && i < 100000 && whole(&a));
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.wipes == 1 && st.pages_free == 0);
    ngx_centrifugo_hub_exit(&a);
    ngx_centrifugo_hub_exit(&b);
}


/*
 * No page is left when some items of an entry were taken: nothing stays.
 */

static void
full(void)
{
    char                       name[1000];
    ngx_int_t                  rc;
    ngx_uint_t                 i, free, ok, declined;
    ngx_centrifugo_hub_t       a;
    ngx_centrifugo_hub_stat_t  st, before;

    begin(&a);
    ok = declined = 0;

    for (i = 0; /* void */ ; i++) {
        snprintf(name, sizeof(name), "%999lu", (unsigned long) i);

        if (join(&a, name) != NGX_OK) {
            break;
        }
    }

    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.pages_free == 0);

    for (free = 0; free < 12; free++) {

        ngx_centrifugo_hub_stat(&a, &st);

        while (st.pages_free < free) {
            snprintf(name, sizeof(name), "%999lu", (unsigned long) --i);
            leave(&a, name);
            ngx_centrifugo_hub_stat(&a, &st);
        }

        CHECK(whole(&a));
        ngx_centrifugo_hub_stat(&a, &before);
        rc = add(&a, names[free % 4], 100 + free, 8192 - free * 40,
                 NGX_CENTRIFUGO_PRESENCE_ANNOUNCE);
        CHECK(rc == NGX_OK || rc == NGX_DECLINED);
        CHECK(whole(&a));
        ngx_centrifugo_hub_stat(&a, &st);

        if (rc == NGX_DECLINED) {
            declined++;
            CHECK(st.channel_bytes == before.channel_bytes
                  && st.presence == before.presence);

        } else {
            ok++;

            /* of a replacement the old one stays */

            while (st.pages_free) {
                snprintf(name, sizeof(name), "%999lu", (unsigned long) i);

                if (join(&a, name) == NGX_OK) {
                    i++;

                } else {
                    break;
                }

                ngx_centrifugo_hub_stat(&a, &st);
            }

            rc = add(&a, names[free % 4], 100 + free, 8192, 0);
            CHECK(rc == NGX_OK || rc == NGX_DECLINED);
            CHECK(read_all(&a, names[free % 4], NULL) == 1);
            CHECK(take(&a, names[free % 4], 100 + free) == NGX_OK);
        }

        CHECK(whole(&a));
    }

    CHECK(ok > 0 && declined > 1);
    *next_client = 1000;
    CHECK(compare(&a) == 0);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.wipes == 0);
    ngx_centrifugo_hub_exit(&a);
}


/*
 * Entries come and go while they are read, those where the reader stands
 * above all: who is there all the time is read once.
 */

static ngx_uint_t  times[4000];

static void
reading(void)
{
    enum { KEPT = 900, ALL = 4000 };
    static u_char                      buf[8196], there[ALL];
    char                               other[32];
    size_t                             len, at;
    uint32_t                           size, c, last;
    uint64_t                           user;
    ngx_int_t                          rc;
    ngx_str_t                          ch;
    ngx_uint_t                         i, k, round, calls;
    ngx_centrifugo_hub_t               a;
    ngx_centrifugo_hub_stat_t          st;
    ngx_centrifugo_presence_cursor_t   cursor;

    begin(&a);
    *next_client = ALL;
    srandom(3);
    ch = S("a");
    memset(there, 0, sizeof(there));

    /* every fourth stays */

    for (i = 0; i < KEPT * 4; i++) {
        if (i % 4 == 0 || random() % 2) {
            CHECK(add(&a, "a", i, random() % 60 ? random() % 200
                                                : random() % 8000, 0)
                  == NGX_OK);
            there[i] = 1;
        }
    }

    for (round = 0; round < 12; round++) {
        memset(&cursor, 0, sizeof(cursor));
        memset(times, 0, sizeof(times));
        calls = 0;
        last = 0;

        do {
            rc = ngx_centrifugo_hub_presence_read(&a, &ch, &cursor, buf,
                                                  sizeof(buf), &len);
            CHECK(rc == NGX_OK || rc == NGX_AGAIN);

            for (at = 0; at < len; at += 4 + size) {
                memcpy(&size, buf + at, 4);
                last = check_info(buf + at + 4, size);
                CHECK(last < ALL);
                times[last]++;
            }

            /* new ones, changed ones, and the one it stands at is gone */

            for (i = 0; i < 40 + round * 40; i++) {
                c = random() % (KEPT * 4);

                if (c % 4 == 0) {
                    CHECK(add(&a, "a", c, random() % 300, 0) == NGX_OK);

                } else if (there[c]) {
                    CHECK(take(&a, "a", c) == NGX_OK);
                    there[c] = 0;

                } else {
                    CHECK(add(&a, "a", c, random() % 300, 0) == NGX_OK);
                    there[c] = 1;
                }
            }

            if (last % 4 && there[last]) {
                CHECK(take(&a, "a", last) == NGX_OK);
                there[last] = 0;

                /* its memory may be another entry's at once */

                if (random() % 2) {
                    CHECK(add(&a, random() % 2 ? "a" : "bb", last,
                              random() % 100, 0) == NGX_OK);
                    (void) take(&a, "bb", last);
                    there[last] = (take(&a, "a", last) == NGX_OK);

                    if (there[last]) {
                        CHECK(add(&a, "a", last, 50, 0) == NGX_OK);
                    }
                }
            }

            calls++;
        } while (rc == NGX_AGAIN && calls < 10000);

        CHECK(calls < 10000);

        for (k = 0; k < KEPT; k++) {
            if (times[k * 4] != 1) {
                printf("entry %lu read %lu times\n", (unsigned long) k * 4,
                       (unsigned long) times[k * 4]);
                CHECK(0);
            }
        }
    }

    CHECK(whole(&a));

    /* where it stood is now an entry of another channel of the shard */

    for (i = 0; /* void */ ; i++) {
        snprintf(other, sizeof(other), "other%lu", (unsigned long) i);
        c = ngx_centrifugo_hash(shm->seed, (u_char *) other, strlen(other));

        if (((c ^ ngx_centrifugo_hash(shm->seed, ch.data, ch.len))
             & (shm->shards - 1))
            == 0)
        {
            break;
        }
    }

    CHECK(join(&a, other) == NGX_OK);
    CHECK(add(&a, "a", ALL - 1, 50, 0) == NGX_OK);
    memset(&cursor, 0, sizeof(cursor));
    CHECK(ngx_centrifugo_hub_presence_users(&a, &ch, &cursor, &user, 1, &k)
          == NGX_AGAIN && k == 1);
    CHECK(take(&a, "a", ALL - 1) == NGX_OK);
    CHECK(add(&a, other, ALL - 1, 50, 0) == NGX_OK);

    {
        ngx_centrifugo_entrant_t  *e;

        e = ngx_centrifugo_shard_item(shm, cursor.ref,
                                      NGX_CENTRIFUGO_ITEM_PRESENCE);
        CHECK(e != NULL && e->seq > cursor.seq);
    }

    for (calls = 0, i = read_all(&a, "a", NULL); calls < i; calls += k) {
        rc = ngx_centrifugo_hub_presence_users(&a, &ch, &cursor, &user, 1,
                                               &k);
        CHECK((rc == NGX_OK || rc == NGX_AGAIN) && k == 1);

        if (k == 0) {
            break;
        }
    }

    CHECK(calls == i && rc == NGX_OK);

    /* a cursor of anything */

    for (i = 0; i < 20000; i++) {
        cursor.begun = 1;
        cursor.seq = random() % 20000;
        cursor.ref = (uint32_t) (i % 2 ? (uint64_t) random()
                                       : shm->pages_at / 16
                                         + random() % (shm->pages * 256));
        rc = ngx_centrifugo_hub_presence_read(&a, &ch, &cursor, buf,
                                              sizeof(buf), &len);
        CHECK(rc == NGX_OK || rc == NGX_AGAIN);
    }

    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.wipes == 0);
    ngx_centrifugo_hub_exit(&a);
}


/*
 * A wipe takes entries without a leave; they are put back without a join.
 */

static void
wipe(void)
{
    size_t                            room;
    uint64_t                          id;
    ngx_str_t                         ch;
    ngx_uint_t                        i, n;
    ngx_centrifugo_hub_t              a;
    ngx_centrifugo_entrant_t         *e;
    ngx_centrifugo_record_t          *rec;
    ngx_centrifugo_hub_stat_t         st;

    begin(&a);
    *next_client = 100;

    for (i = 0; i < 20; i++) {
        CHECK(add(&a, names[i % 4], 1 + i, 100 + i * 200,
                  NGX_CENTRIFUGO_PRESENCE_ANNOUNCE) == NGX_OK);
    }

    CHECK(compare(&a) == 20);
    ngx_centrifugo_hub_test_wipe(&a, NGX_CENTRIFUGO_TO_ALL);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.presence == 0 && st.channels == 0 && st.channel_bytes == 0
          && st.pages_free == st.pages && whole(&a));
    CHECK(take(&a, "a", 1) == NGX_DECLINED);

    (void) ngx_centrifugo_hub_resync_check(&a);
    (void) ngx_centrifugo_hub_resync_begin(&a);

    for (i = 0; i < CHANNELS; i++) {
        ch = S(names[i]);
        CHECK(unit_rejoin(&a, &ch, &id) == NGX_OK);
        marks.id[i] = id;
    }

    for (i = 0; i < 20; i++) {
        CHECK(add(&a, names[i % 4], 1 + i, 100 + i * 200,
                  NGX_CENTRIFUGO_PRESENCE_ANNOUNCE
                  |NGX_CENTRIFUGO_PRESENCE_QUIET) == NGX_OK);
    }

    CHECK(ngx_centrifugo_hub_resync_end(&a) == NGX_OK);
    CHECK(compare(&a) == 20 && marks.joins == 20 && whole(&a));

    for (i = 0; i < 20; i++) {
        CHECK(take(&a, names[i % 4], 1 + i) == NGX_OK);
    }

    CHECK(compare(&a) == 0 && marks.leaves == 20 && whole(&a));

    /* what is damaged is noticed, never followed */

    for (i = 0; i < 6; i++) {
        ch = S("a");
        CHECK(join(&a, "a") == NGX_OK);
        CHECK(add(&a, "a", 1, 5000, 0) == NGX_OK);
        CHECK(add(&a, "a", 2, 100, 0) == NGX_OK);
        n = ngx_centrifugo_hash(shm->seed, ch.data, ch.len)
            & (shm->shards - 1);
        CHECK(ngx_centrifugo_shard_lock(&a, n) == NGX_OK);
        rec = ngx_centrifugo_shard_find(&a, n,
                                        ngx_centrifugo_hash(shm->seed,
                                                            ch.data, ch.len),
                                        &ch);
        CHECK(rec != NULL);
        e = ngx_centrifugo_page_item(shm, rec->presence, &room);

        switch (i) {
        case 0:
            e->older = rec->presence;
            break;
        case 1:
            e->older = 0xfffffff0;
            break;
        case 2:
            e->older = hub_ref(shm, rec);
            break;
        case 3:
            e = ngx_centrifugo_page_item(shm, e->older, &room);
            e->rest = 0;
            break;
        case 4:
            e->item.len = 9000;
            break;
        case 5:
            e = ngx_centrifugo_page_item(shm, e->older, &room);
            e = ngx_centrifugo_page_item(shm, e->rest, &room);
            e->item.next = hub_ref(shm, e);
            break;
        }

        ngx_centrifugo_shard_unlock(&a, n);
        ngx_centrifugo_hub_stat(&a, &st);
        id = st.wipes;

        {
            static u_char                     buf[20000];
            size_t                            len;
            ngx_int_t                         rc;
            ngx_centrifugo_presence_cursor_t  cursor;

            memset(&cursor, 0, sizeof(cursor));

            do {
                rc = ngx_centrifugo_hub_presence_read(&a, &ch, &cursor, buf,
                                                      sizeof(buf), &len);
            } while (rc == NGX_AGAIN);

            CHECK(rc == NGX_ERROR);
        }

        ngx_centrifugo_hub_stat(&a, &st);
        CHECK(st.wipes == id + 1 && whole(&a));
    }

    ngx_centrifugo_hub_exit(&a);
}


int
main(void)
{
    next_client = map(4096);

    basics();
    tallies();
    full();
    reading();
    wipe();

    return UNIT_END();
}
