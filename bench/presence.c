#include "presence.h"

#include <stdlib.h>
#include <string.h>


/*
 * Ids of clients are numbered as they are met. Of each subscription of an
 * observer there is a byte for each of them: whether a join was the last that
 * it heard of it, or a leave. Both have to come by turns, from a join on: an
 * observer that was there before anybody else ("whole") begins with an empty
 * channel, but for other observers; one that had to come again believes the
 * first event of each id.
 */

#define PRESENCE_NOBODY  0xffffffffu


typedef enum {
    PRESENCE_UNHEARD = 0,
    PRESENCE_HERE,
    PRESENCE_GONE
} presence_state_e;


typedef struct {
    unsigned char  id[16];
    uint32_t       user;
    uint32_t       mark;         /* serial of the last reply it was in */
    uint32_t       truth;        /* serial of the last channel it is in */
} presence_id_t;


typedef struct {
    uint8_t       *states;
    uint32_t       size;
    uint64_t       since;        /* ns, 0: not subscribed */
    int            whole;
} presence_watch_t;


static void presence_check(cf_client_t *c, uint32_t k);
static void presence_list(cf_client_t *c, uint32_t k, const cf_reply_t *r);
static uint32_t presence_truth(uint32_t channel, uint32_t *users);
static int presence_next(void);
static uint32_t presence_meet(const unsigned char *id, uint32_t user);
static uint32_t presence_hash(const unsigned char *id);
static int presence_uuid(const char *p, size_t len, unsigned char *id);
static uint32_t presence_user(const char *p, size_t len);
static presence_watch_t *presence_watch(cf_client_t *c, uint32_t k);


static presence_id_t     *presence_ids;
static uint32_t           presence_nids;
static uint32_t           presence_size;
static uint32_t          *presence_table;    /* number + 1 of an id */
static uint32_t           presence_room;     /* a power of two */

static cf_client_t      **presence_observers;
static uint32_t           presence_count;
static uint32_t          *presence_number;   /* of an observer, by client */
static presence_watch_t  *presence_watches;

static uint32_t           presence_serial;
static uint8_t           *presence_users;    /* of the channel looked at */

/* the command that is on its way */

static cf_client_t       *presence_asking;
static uint32_t           presence_ask;
static uint64_t           presence_asked;    /* ns */
static uint64_t           presence_due;      /* ns, of the next */
static uint32_t           presence_cursor;   /* of those at the end */
static int                presence_final;


int
cf_presence_observer(uint32_t client)
{
    uint64_t  n;

    /* spread evenly, so over all processes */

    n = cf_opt.observers;

    return client * n / cf_opt.clients != (client + 1) * n / cf_opt.clients;
}


uint32_t
cf_presence_user(uint32_t client)
{
    return cf_presence_observer(client) ? client | CF_OBSERVER
                                        : client % cf_opt.users;
}


void
cf_presence_init(uint32_t clients)
{
    uint32_t  i;

    presence_number = cf_alloc(clients * sizeof(uint32_t));
    presence_observers = cf_alloc(clients * sizeof(cf_client_t *));

    for (i = 0; i < clients; i++) {
        if (cf_presence_observer(cf_client_first + i)) {
            presence_number[i] = presence_count;
            presence_observers[presence_count++] = &cf_client_all[i];
        }
    }

    presence_watches = cf_alloc(cf_max((size_t) presence_count * cf_opt.subs,
                                       1)
                                * sizeof(presence_watch_t));
    presence_users = cf_alloc(cf_opt.clients + (size_t) cf_opt.users);

    presence_room = 1024;
    presence_table = cf_alloc(presence_room * sizeof(uint32_t));
}


void
cf_presence_connected(cf_client_t *c, const cf_reply_t *r)
{
    cf_present_t  *p;

    p = &cf_shared->present[cf_client_first + cf_client_number(c)];

    if (presence_uuid(r->info.client, r->info.client_len, p->id) != 0) {
        cf_client_stats->strangers++;
    }
}


void
cf_presence_begin(cf_client_t *c, uint32_t k)
{
    presence_watch_t  *w;

    w = presence_watch(c, k);
    w->since = cf_now();
    w->whole = !atomic_load(&cf_shared->opened);
    memset(w->states, 0, w->size);
}


void
cf_presence_end(cf_client_t *c)
{
    uint32_t  k;

    for (k = 0; k < cf_opt.subs; k++) {
        presence_watch(c, k)->since = 0;
    }

    if (presence_asking == c) {
        presence_asking = NULL;

        if (presence_final) {
            cf_client_stats->unanswered++;
        }
    }
}


void
cf_presence_push(cf_client_t *c, const cf_reply_t *r)
{
    uint32_t           k, n, user, size;
    uint8_t           *state;
    unsigned char      id[16];
    presence_watch_t  *w;

    k = cf_client_find(c, r->channel, r->channel_len);
    w = (k != CF_NO_CLIENT && c->observer) ? presence_watch(c, k) : NULL;

    if (w == NULL || w->since == 0) {
        if (cf_client_stats->stray++ == 0) {
            cf_warn("client %u: a join or leave that it did not ask for",
                    cf_client_first + cf_client_number(c));
        }

        return;
    }

    user = presence_user(r->info.user, r->info.user_len);

    if (user == PRESENCE_NOBODY
        || presence_uuid(r->info.client, r->info.client_len, id) != 0)
    {
        cf_client_stats->strangers++;
        return;
    }

    n = presence_meet(id, user);

    if (n >= w->size) {
        size = cf_max(n + 1, w->size * 2);
        size = cf_max(size, 1024);
        w->states = realloc(w->states, size);

        if (w->states == NULL) {
            cf_die("no memory for what observers know");
        }

        memset(w->states + w->size, 0, size - w->size);
        w->size = size;
    }

    state = &w->states[n];

    if (r->kind == CF_REPLY_JOIN) {
        cf_client_stats->joins++;

        if (*state == PRESENCE_HERE) {
            cf_client_stats->disordered++;
            cf_warn("%.36s joined again, observer %u", r->info.client,
                    cf_client_first + cf_client_number(c));
        }

        *state = PRESENCE_HERE;
        return;
    }

    cf_client_stats->leaves++;

    if (*state == PRESENCE_GONE
        || (*state == PRESENCE_UNHEARD && w->whole && !(user & CF_OBSERVER)))
    {
        cf_client_stats->disordered++;
        cf_warn("%.36s left and was not there, observer %u", r->info.client,
                cf_client_first + cf_client_number(c));
    }

    *state = PRESENCE_GONE;
}


int
cf_presence_turn(int phase)
{
    uint32_t      k, o;
    uint64_t      now;
    cf_client_t  *c;

    now = cf_now();

    if (phase == CF_PHASE_ASK) {

        if (!presence_final) {
            presence_final = 1;
            presence_asking = NULL;
        }

        if (presence_asking == NULL && !presence_next()) {
            atomic_store(&cf_client_stats->asked, 1);
        }

        return 20;
    }

    if (phase != CF_PHASE_RUN || cf_opt.presence_rate <= 0
        || presence_count == 0 || presence_asking || now < presence_due)
    {
        return 20;
    }

    presence_due = cf_max(presence_due, now - 100000000)
                   + (uint64_t) (1e9 * cf_opt.procs / cf_opt.presence_rate);

    o = (uint32_t) ((cf_random() >> 32) % presence_count);
    k = (uint32_t) ((cf_random() >> 32) % cf_opt.subs);
    c = presence_observers[o];

    if (presence_watch(c, k)->since && c->state == CF_CLIENT_READY) {
        presence_asking = c;
        presence_ask = 2 * k;
        presence_asked = now;
        (void) cf_client_ask(c, k, 0);
    }

    return 20;
}


/* At the end each observer asks both for each channel; 0: all have. */

static int
presence_next(void)
{
    uint32_t           i, n;
    cf_client_t       *c;
    presence_watch_t  *w;

    n = presence_count * cf_opt.subs;

    while (presence_cursor < 2 * n) {
        i = presence_cursor / 2;
        w = &presence_watches[i];
        c = presence_observers[i / cf_opt.subs];
        presence_ask = i % cf_opt.subs * 2 + presence_cursor % 2;
        presence_cursor++;

        if (w->since == 0 || c->state != CF_CLIENT_READY) {
            cf_client_stats->unanswered++;
            continue;
        }

        if (presence_ask % 2 == 0) {
            presence_check(c, presence_ask / 2);
        }

        presence_asking = c;
        presence_asked = cf_now();
        (void) cf_client_ask(c, presence_ask / 2, presence_ask % 2);

        return 1;
    }

    return 0;
}


cf_end_e
cf_presence_reply(cf_client_t *c, const cf_reply_t *r, uint32_t ask)
{
    uint32_t  n, users;

    if (c != presence_asking || ask != presence_ask
        || (r->kind != CF_REPLY_ERROR
            && r->kind != (ask % 2 ? CF_REPLY_PRESENCE_STATS
                                   : CF_REPLY_PRESENCE)))
    {
        cf_client_stats->protocol_errors++;
        cf_warn("client %u: a reply that does not fit, id %u",
                cf_client_first + cf_client_number(c), r->id);
        return CF_OK;
    }

    presence_asking = NULL;

    if (r->kind == CF_REPLY_ERROR) {
        cf_client_stats->errors[cf_min(r->code, CF_CODES - 1)]++;
        cf_client_stats->unanswered++;
        cf_warn("a presence command was refused: error %u", r->code);
        return CF_OK;
    }

    cf_client_stats->presences++;

    if (r->kind == CF_REPLY_PRESENCE) {
        presence_list(c, ask / 2, r);
        return CF_OK;
    }

    n = presence_truth(cf_client_channel(cf_client_number(c), ask / 2),
                       &users);

    if (r->num_clients != n || r->num_users != users) {
        cf_client_stats->miscounted++;
        cf_warn("presence_stats: %u clients and %u users, not %u and %u",
                r->num_clients, r->num_users, n, users);
    }

    return CF_OK;
}


/*
 * While it runs all observers that were there before have to be in it, and
 * nobody twice; at the end it is known exactly.
 */

static void
presence_list(cf_client_t *c, uint32_t k, const cf_reply_t *r)
{
    int                rc;
    uint32_t           i, j, n, channel, mark, truth, want, found, user;
    cf_info_t          info;
    const char        *p, *end;
    cf_client_t       *o;
    unsigned char      id[16];

    channel = cf_client_channel(cf_client_number(c), k);
    want = presence_final ? presence_truth(channel, &user) : 0;
    truth = presence_serial;
    mark = ++presence_serial;
    found = 0;

    p = r->data;
    end = p + r->data_len;

    while ((rc = cf_parse_presence(&p, end, &info)) > 0) {
        user = presence_user(info.user, info.user_len);

        if (user == PRESENCE_NOBODY
            || presence_uuid(info.client, info.client_len, id) != 0)
        {
            cf_client_stats->strangers++;
            continue;
        }

        n = presence_meet(id, user);

        if (presence_ids[n].mark == mark) {
            cf_client_stats->twice++;
            cf_warn("%.36s is twice in a reply", info.client);
            continue;
        }

        presence_ids[n].mark = mark;

        if (!presence_final) {
            continue;
        }

        if (presence_ids[n].truth == truth) {
            found++;

        } else {
            cf_client_stats->surplus++;
            cf_warn("%.36s is present and should not be", info.client);
        }
    }

    if (rc != 0) {
        cf_client_stats->protocol_errors++;
        cf_warn("presence has something else than clients");
    }

    if (presence_final) {

        if (found < want) {
            cf_client_stats->missing += want - found;
            cf_warn("%u of %u clients are not present", want - found, want);
        }

        return;
    }

    for (i = 0; i < presence_count; i++) {
        o = presence_observers[i];
        n = cf_client_number(o);

        for (j = 0; j < cf_opt.subs; j++) {

            if (cf_client_channel(n, j) != channel
                || o->state != CF_CLIENT_READY
                || presence_watch(o, j)->since == 0
                || presence_watch(o, j)->since > presence_asked)
            {
                continue;
            }

            n = cf_client_first + n;
            n = presence_meet(cf_shared->present[n].id, cf_presence_user(n));

            if (presence_ids[n].mark != mark) {
                cf_client_stats->missing++;
                cf_warn("an observer is not present");
            }

            break;
        }
    }
}


/* What an observer heard of each client agrees with what is the case. */

static void
presence_check(cf_client_t *c, uint32_t k)
{
    uint32_t           i, users;
    presence_id_t     *id;
    presence_state_e   state;
    presence_watch_t  *w;

    w = presence_watch(c, k);
    (void) presence_truth(cf_client_channel(cf_client_number(c), k), &users);

    for (i = 0; i < presence_nids; i++) {
        id = &presence_ids[i];
        state = (i < w->size) ? w->states[i] : PRESENCE_UNHEARD;

        if (id->truth == presence_serial
            ? state == PRESENCE_GONE
              || (state == PRESENCE_UNHEARD && w->whole
                  && !(id->user & CF_OBSERVER))
            : state == PRESENCE_HERE)
        {
            cf_client_stats->misstated++;
            cf_warn("observer %u: %02x%02x%02x%02x-... is%s there, it heard"
                    " %s", cf_client_first + cf_client_number(c),
                    id->id[0], id->id[1], id->id[2], id->id[3],
                    id->truth == presence_serial ? "" : " not",
                    state == PRESENCE_HERE ? "a join"
                    : state == PRESENCE_GONE ? "a leave" : "nothing");
        }
    }

    if (w->whole && k == 0) {
        cf_client_stats->whole++;
    }
}


/* Marks all who are in the channel with a new serial; returns how many. */

static uint32_t
presence_truth(uint32_t channel, uint32_t *users)
{
    uint32_t       i, k, n, user, count;
    presence_id_t *id;

    count = 0;
    *users = 0;
    presence_serial++;
    memset(presence_users, 0, cf_opt.clients + (size_t) cf_opt.users);

    for (i = 0; i < cf_opt.clients; i++) {

        for (k = 0; k < cf_opt.subs; k++) {

            if (!cf_shared->member[cf_client_slot(i, k)]
                || ((uint64_t) i * cf_opt.subs + k) % cf_channels != channel)
            {
                continue;
            }

            user = cf_presence_user(i);
            n = presence_meet(cf_shared->present[i].id, user);
            id = &presence_ids[n];
            id->truth = presence_serial;
            count++;

            user = (user & CF_OBSERVER)
                   ? cf_opt.users + (user & ~CF_OBSERVER) : user;
            *users += !presence_users[user];
            presence_users[user] = 1;
        }
    }

    return count;
}


static uint32_t
presence_meet(const unsigned char *id, uint32_t user)
{
    uint32_t        i, h, *table;
    presence_id_t  *x;

    for (h = presence_hash(id); presence_table[h];
         h = (h + 1) & (presence_room - 1))
    {
        x = &presence_ids[presence_table[h] - 1];

        if (memcmp(x->id, id, sizeof(x->id)) == 0) {

            if (x->user != user) {
                cf_client_stats->strangers++;
                cf_warn("a client is of two users");
            }

            return presence_table[h] - 1;
        }
    }

    if (presence_nids == presence_size) {
        presence_size = presence_size ? presence_size * 2 : 1024;
        presence_ids = realloc(presence_ids,
                               presence_size * sizeof(presence_id_t));
        if (presence_ids == NULL) {
            cf_die("no memory for ids");
        }
    }

    x = &presence_ids[presence_nids++];
    memset(x, 0, sizeof(presence_id_t));
    memcpy(x->id, id, sizeof(x->id));
    x->user = user;
    presence_table[h] = presence_nids;

    if (presence_nids * 2 > presence_room) {
        table = presence_table;
        presence_room *= 2;
        presence_table = cf_alloc(presence_room * sizeof(uint32_t));
        free(table);

        for (i = 0; i < presence_nids; i++) {
            h = presence_hash(presence_ids[i].id);

            while (presence_table[h]) {
                h = (h + 1) & (presence_room - 1);
            }

            presence_table[h] = i + 1;
        }
    }

    return presence_nids - 1;
}


/* ids are random */

static uint32_t
presence_hash(const unsigned char *id)
{
    uint32_t  h;

    memcpy(&h, id, sizeof(h));

    return h & (presence_room - 1);
}


static int
presence_uuid(const char *p, size_t len, unsigned char *id)
{
    size_t    i;
    unsigned  n, v;

    if (len != 36) {
        return -1;
    }

    for (i = 0, n = 0; i < 36; i++) {

        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (p[i] != '-') {
                return -1;
            }

            continue;
        }

        if (p[i] >= '0' && p[i] <= '9') {
            v = (unsigned) (p[i] - '0');

        } else if (p[i] >= 'a' && p[i] <= 'f') {
            v = (unsigned) (p[i] - 'a' + 10);

        } else {
            return -1;
        }

        id[n / 2] = (unsigned char) (n % 2 ? id[n / 2] << 4 | v : v);
        n++;
    }

    return 0;
}


/* u or o, and a number */

static uint32_t
presence_user(const char *p, size_t len)
{
    size_t    i;
    uint32_t  n;

    if (len < 2 || len > 9 || (*p != 'u' && *p != 'o')) {
        return PRESENCE_NOBODY;
    }

    for (i = 1, n = 0; i < len; i++) {

        if (p[i] < '0' || p[i] > '9') {
            return PRESENCE_NOBODY;
        }

        n = n * 10 + (uint32_t) (p[i] - '0');
    }

    return (*p == 'o') ? n | CF_OBSERVER : n;
}


static presence_watch_t *
presence_watch(cf_client_t *c, uint32_t k)
{
    return &presence_watches[presence_number[cf_client_number(c)]
                             * cf_opt.subs + k];
}
