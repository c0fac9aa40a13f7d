#include "ngx_centrifugo_glob.h"


#define GLOB_DEPTH  16          /* of alternatives within each other */
#define GLOB_NONE   0xffff


/* in this order: what is below ANY takes no character */
typedef enum {
    GLOB_JUMP = 0,
    GLOB_FORK,
    GLOB_STAR,
    GLOB_MATCH,
    GLOB_ANY,
    GLOB_CHAR,
    GLOB_CLASS
} glob_op_e;

/* states that are to be tried; mark[s] == turn: it is in the list */
typedef struct {
    const ngx_centrifugo_glob_t  *glob;
    ngx_uint_t                    turn;
    ngx_uint_t                    matched;
    ngx_uint_t                    steps;
    ngx_uint_t                    n;
    uint16_t                     *list;
    uint16_t                      mark[2 * NGX_CENTRIFUGO_GLOB_MAX + 2];
} glob_run_t;

/* alternatives that are open */
typedef struct {
    uint16_t                      fork;     /* to the next one */
    uint16_t                      ends;     /* chain of jumps behind all */
} glob_open_t;


static ngx_centrifugo_glob_state_t *glob_state(ngx_centrifugo_glob_t *glob,
    glob_op_e op);
static ngx_int_t glob_class(ngx_centrifugo_glob_t *glob, const u_char **pos,
    const u_char *end);
static uint32_t glob_class_char(const u_char **pos, const u_char *end);
static ngx_uint_t glob_in_class(const ngx_centrifugo_glob_t *glob,
    const ngx_centrifugo_glob_state_t *state, uint32_t c);
static void glob_add(glob_run_t *run, ngx_uint_t n);
static uint32_t glob_char(const u_char **pos, const u_char *end);


ngx_int_t
ngx_centrifugo_glob_compile(ngx_centrifugo_glob_t *glob,
    const ngx_str_t *pattern)
{
    uint16_t                      here, chain;
    ngx_uint_t                    depth;
    const u_char                 *p, *end;
    glob_open_t                   open[GLOB_DEPTH];
    ngx_centrifugo_glob_state_t  *state;

    if (pattern->len > NGX_CENTRIFUGO_GLOB_MAX) {
        return NGX_ERROR;
    }

    glob->pattern = pattern->data;
    glob->nstates = 0;
    glob->start = 0;
    depth = 0;

    p = pattern->data;
    end = p + pattern->len;

    while (p < end) {

        switch (*p) {

        case '*':
            p++;
            (void) glob_state(glob, GLOB_STAR);
            continue;

        case '?':
            p++;
            (void) glob_state(glob, GLOB_ANY);
            continue;

        case '[':
            p++;

            if (glob_class(glob, &p, end) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;

        case '{':
            p++;

            if (depth == GLOB_DEPTH) {
                return NGX_ERROR;
            }

            open[depth].fork = (uint16_t) glob->nstates;
            open[depth].ends = GLOB_NONE;
            depth++;

            (void) glob_state(glob, GLOB_FORK);
            continue;

        case ',':
            if (depth == 0) {
                break;
            }

            p++;

            here = (uint16_t) glob->nstates;
            state = glob_state(glob, GLOB_JUMP);
            state->next = open[depth - 1].ends;
            open[depth - 1].ends = here;

            here = (uint16_t) glob->nstates;
            glob->states[open[depth - 1].fork].other = here;
            open[depth - 1].fork = here;
            (void) glob_state(glob, GLOB_FORK);
            continue;

        case '}':
            if (depth == 0) {
                break;
            }

            p++;
            depth--;

            here = (uint16_t) glob->nstates;

            while (open[depth].ends != GLOB_NONE) {
                chain = glob->states[open[depth].ends].next;
                glob->states[open[depth].ends].next = here;
                open[depth].ends = chain;
            }

            continue;

        case '\\':
            p++;

            if (p == end) {
                return NGX_ERROR;
            }

            break;
        }

        state = glob_state(glob, GLOB_CHAR);
        state->c = glob_char(&p, end);
    }

    (void) glob_state(glob, GLOB_MATCH);

    return depth ? NGX_ERROR : NGX_OK;
}


/* Each byte of a pattern makes two states at most: there is room. */

static ngx_centrifugo_glob_state_t *
glob_state(ngx_centrifugo_glob_t *glob, glob_op_e op)
{
    ngx_centrifugo_glob_state_t  *state;

    state = &glob->states[glob->nstates++];

    ngx_memzero(state, sizeof(ngx_centrifugo_glob_state_t));

    state->op = (uint8_t) op;
    state->next = (uint16_t) glob->nstates;
    state->other = state->next;

    return state;
}


static ngx_int_t
glob_class(ngx_centrifugo_glob_t *glob, const u_char **pos,
    const u_char *end)
{
    uint32_t                      low, high;
    const u_char                 *p, *start;
    ngx_centrifugo_glob_state_t  *state;

    p = *pos;
    state = glob_state(glob, GLOB_CLASS);

    if (p < end && *p == '!') {
        state->negative = 1;
        p++;
    }

    start = p;
    state->at = (uint16_t) (p - glob->pattern);

    while (p < end && *p != ']') {

        low = glob_class_char(&p, end);

        if (end - p > 1 && *p == '-' && p[1] != ']') {
            p++;
            high = glob_class_char(&p, end);

            if (high < low) {
                return NGX_ERROR;
            }
        }
    }

    if (p >= end || p == start) {
        return NGX_ERROR;
    }

    state->end = (uint16_t) (p - glob->pattern);
    *pos = p + 1;

    return NGX_OK;
}


/* One character between brackets; a `\` at the very end stands for itself. */

static uint32_t
glob_class_char(const u_char **pos, const u_char *end)
{
    if (**pos == '\\' && end - *pos > 1) {
        (*pos)++;
    }

    return glob_char(pos, end);
}


static ngx_uint_t
glob_in_class(const ngx_centrifugo_glob_t *glob,
    const ngx_centrifugo_glob_state_t *state, uint32_t c)
{
    uint32_t       low, high;
    const u_char  *p, *end;

    p = glob->pattern + state->at;
    end = glob->pattern + state->end;

    while (p < end) {

        low = glob_class_char(&p, end);
        high = low;

        if (end - p > 1 && *p == '-') {
            p++;
            high = glob_class_char(&p, end);
        }

        if (c >= low && c <= high) {
            return !state->negative;
        }
    }

    return state->negative;
}


ngx_uint_t
ngx_centrifugo_glob_match(const ngx_centrifugo_glob_t *glob,
    const ngx_str_t *name, ngx_uint_t *steps)
{
    uint32_t                            c;
    uint16_t                           *list, lists[2][2
                                               * NGX_CENTRIFUGO_GLOB_MAX + 2];
    ngx_uint_t                          i, n, taken;
    glob_run_t                          run;
    const u_char                       *p, *end;
    const ngx_centrifugo_glob_state_t  *state;

    run.glob = glob;
    run.turn = 1;
    run.matched = 0;
    run.steps = 0;
    run.n = 0;
    run.list = lists[0];
    ngx_memzero(run.mark, glob->nstates * sizeof(uint16_t));

    glob_add(&run, glob->start);

    p = name->data;
    end = p + name->len;

    while (p < end && run.n) {

        c = glob_char(&p, end);

        list = run.list;
        n = run.n;

        /* a name has so few characters that no turn comes twice */

        run.turn++;
        run.matched = 0;
        run.n = 0;
        run.list = (list == lists[0]) ? lists[1] : lists[0];

        for (i = 0; i < n; i++) {
            state = &glob->states[list[i]];
            taken = 0;

            switch (state->op) {

            case GLOB_STAR:
                glob_add(&run, list[i]);
                break;

            case GLOB_ANY:
                taken = 1;
                break;

            case GLOB_CHAR:
                taken = (state->c == c);
                break;

            case GLOB_CLASS:
                taken = glob_in_class(glob, state, c);
                run.steps += state->end - state->at;
                break;

            default:
                break;
            }

            if (taken) {
                glob_add(&run, state->next);
            }
        }

        run.steps += n;
    }

    *steps += run.steps + 1;

    return p == end && run.matched;
}


/*
 * Adds a state, or those that follow it without a character.  A state is
 * marked before it is put down, so each is there once.
 */

static void
glob_add(glob_run_t *run, ngx_uint_t n)
{
    uint16_t                            todo[2 * NGX_CENTRIFUGO_GLOB_MAX + 2];
    ngx_uint_t                          ntodo;
    const ngx_centrifugo_glob_state_t  *state;

#define glob_todo(s)                                                         \
    if (run->mark[s] != run->turn) {                                         \
        run->mark[s] = (uint16_t) run->turn;                                 \
        todo[ntodo++] = (uint16_t) (s);                                      \
    }

    ntodo = 0;
    glob_todo(n);

    while (ntodo) {
        n = todo[--ntodo];
        state = &run->glob->states[n];
        run->steps++;

        switch (state->op) {

        case GLOB_JUMP:
            glob_todo(state->next);
            continue;

        case GLOB_FORK:
            glob_todo(state->next);
            glob_todo(state->other);
            continue;

        case GLOB_MATCH:
            run->matched = 1;
            continue;

        case GLOB_STAR:
            glob_todo(state->next);
            break;

        default:
            break;
        }

        run->list[run->n++] = (uint16_t) n;
    }

#undef glob_todo
}


/*
 * The next character; a byte that begins none counts as one of its own, which
 * equals only itself.
 */

static uint32_t
glob_char(const u_char **pos, const u_char *end)
{
    uint32_t       c;
    ngx_uint_t     i, n;
    const u_char  *p;

    p = *pos;
    c = *p;

    n = (c < 0xc2) ? 0 : (c < 0xe0) ? 1 : (c < 0xf0) ? 2 : (c < 0xf5) ? 3 : 0;

    if (n) {
        c &= 0x3f >> n;
    }

    for (i = 1; i <= n; i++) {
        if (end - p <= (ssize_t) i || (p[i] & 0xc0) != 0x80) {
            *pos = p + 1;
            return 0x80000000 | *p;
        }

        c = c << 6 | (p[i] & 0x3f);
    }

    *pos = p + n + 1;

    return c;
}
