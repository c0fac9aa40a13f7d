/*
 * A delta: the length of the target, then pieces that are copied from the base
 * or stand there as they are, then a sum of the target.
 *
 * What both have in common at their begin and end is found first.  For the rest
 * every block of the base is entered in a table by a hash; each place of the
 * target is looked up there and what is found is made as long as it can be.
 * Offsets of one hash are in ascending order and those that the target has
 * passed are skipped for good: in a text of many similar parts the one that
 * belongs there is found first, and one hash for all takes no longer.
 */

#include "ngx_centrifugo_delta.h"


#define DELTA_BLOCK    8            /* bytes that are hashed: a word */
#define DELTA_WALK     8            /* blocks of one hash that are compared */
#define DELTA_MISSES   6            /* 1 << so many in sequence make the steps
                                       longer */
#define DELTA_NEAR     3            /* bytes by which a gap may have grown or
                                       shrunk */
#define DELTA_GAP      32           /* bytes, such a gap */
#define DELTA_LONG     24           /* bytes after which the base goes on as the
                                       target does */
#define DELTA_KEEP     (256 * 1024) /* bytes of scratch */
#define DELTA_MAX      (64 * 1024 * 1024)
#define DELTA_NUMBER   6            /* digits of 32 bits */
#define DELTA_NONE     ((uint32_t) -1)

#define delta_inside(c)  (((c) & 0xc0) == 0x80)     /* of a character */


typedef struct {
    const u_char          *base;
    const u_char          *target;
    size_t                 base_len;
    size_t                 target_len;
    ngx_uint_t             utf8;

    ngx_centrifugo_buf_t  *b;
    size_t                 before;      /* bytes in it */
    size_t                 done;        /* of the target: all up to there is
                                           in the delta, or in `copy` */
    size_t                 copy;        /* offset in the base */
    size_t                 copy_len;
    size_t                 expected;    /* where the base goes on as the target
                                           behind `done` */

    uint32_t              *heads;       /* by hash: a block, or NONE */
    uint32_t              *next;        /* by block: the next of its hash */
    ngx_uint_t             shift;       /* of a hash */
} delta_t;

/* a piece of the base in the target */
typedef struct {
    size_t                 base;
    size_t                 target;
    size_t                 len;
} delta_piece_t;


static size_t delta_same(const u_char *one, const u_char *two, size_t max);
static size_t delta_same_back(const u_char *one, const u_char *two,
    size_t max);
static void delta_whole(delta_t *d, delta_piece_t *piece);
static ngx_uint_t delta_worth(delta_t *d, const delta_piece_t *piece);
static ngx_int_t delta_index(delta_t *d);
static ngx_uint_t delta_hash(delta_t *d, const u_char *p);
static void delta_scan(delta_t *d, size_t end);
static void delta_near(delta_t *d, size_t pos, size_t end,
    delta_piece_t *piece);
static void delta_find(delta_t *d, size_t pos, size_t end,
    delta_piece_t *best);
static void delta_copy(delta_t *d, const delta_piece_t *piece);
static void delta_literal(delta_t *d, size_t end);
static void delta_flush(delta_t *d);
static ngx_uint_t delta_digits(size_t n);
static u_char *delta_number(u_char *p, size_t n);
static uint32_t delta_sum(const u_char *p, size_t len);


static struct {
    uint32_t              *words;
    size_t                 n;
} delta_scratch;


ngx_int_t
ngx_centrifugo_delta(ngx_centrifugo_buf_t *b, const ngx_str_t *base,
    const ngx_str_t *target, ngx_uint_t utf8)
{
    u_char          number[DELTA_NUMBER + 1], *p;
    size_t          len, max, end;
    ngx_int_t       rc;
    delta_t         d;
    delta_piece_t   piece;

    if (base->len == 0 || base->len > DELTA_MAX
        || target->len == 0 || target->len > DELTA_MAX)
    {
        return NGX_DECLINED;
    }

    ngx_memzero(&d, sizeof(delta_t));

    d.base = base->data;
    d.base_len = base->len;
    d.target = target->data;
    d.target_len = target->len;
    d.utf8 = utf8;
    d.b = b;
    d.before = ngx_centrifugo_buf_len(b);

    p = delta_number(number, target->len);
    *p++ = '\n';
    ngx_centrifugo_buf_append(b, number, p - number);

    /* what is the same at the begin */

    max = ngx_min(base->len, target->len);

    piece.base = 0;
    piece.target = 0;
    piece.len = delta_same(d.base, d.target, max);

    delta_whole(&d, &piece);

    if (delta_worth(&d, &piece)) {
        delta_copy(&d, &piece);
        d.expected = piece.len;
        max -= piece.len;
    }

    /* and at the end */

    len = delta_same_back(d.base + base->len, d.target + target->len, max);

    piece.base = base->len - len;
    piece.target = target->len - len;
    piece.len = len;

    delta_whole(&d, &piece);

    end = target->len;

    if (delta_worth(&d, &piece)) {
        end = piece.target;

    } else {
        piece.len = 0;
    }

    /* and in between */

    rc = NGX_OK;

    if (end - d.done >= DELTA_BLOCK && base->len >= DELTA_BLOCK) {
        rc = delta_index(&d);

        if (rc == NGX_OK) {
            delta_scan(&d, end);
        }
    }

    if (delta_scratch.n > DELTA_KEEP / sizeof(uint32_t)) {
        free(delta_scratch.words);
        delta_scratch.words = NULL;
        delta_scratch.n = 0;
    }

    if (piece.len) {
        delta_copy(&d, &piece);
    }

    delta_literal(&d, target->len);
    delta_flush(&d);

    p = delta_number(number, delta_sum(d.target, target->len));
    *p++ = ';';
    ngx_centrifugo_buf_append(b, number, p - number);

    if (rc == NGX_OK && !b->failed
        && ngx_centrifugo_buf_len(b) - d.before < target->len)
    {
        return NGX_OK;
    }

    b->last = b->start + d.before;

    return (rc != NGX_OK || b->failed) ? NGX_ERROR : NGX_DECLINED;
}


/* how many bytes are the same from there on, and back from there */

static size_t
delta_same(const u_char *one, const u_char *two, size_t max)
{
    size_t  n;

    for (n = 0; max - n >= sizeof(uint64_t); n += sizeof(uint64_t)) {
        if (ngx_memcmp(one + n, two + n, sizeof(uint64_t)) != 0) {
            break;
        }
    }

    while (n < max && one[n] == two[n]) {
        n++;
    }

    return n;
}


static size_t
delta_same_back(const u_char *one, const u_char *two, size_t max)
{
    size_t  n;

    for (n = 0; max - n >= sizeof(uint64_t); n += sizeof(uint64_t)) {
        if (ngx_memcmp(one - n - sizeof(uint64_t), two - n - sizeof(uint64_t),
                       sizeof(uint64_t))
            != 0)
        {
            break;
        }
    }

    while (n < max && *(one - n - 1) == *(two - n - 1)) {
        n++;
    }

    return n;
}


/*
 * What is left over of the target must not begin or end within a character.
 */

static void
delta_whole(delta_t *d, delta_piece_t *piece)
{
    if (!d->utf8) {
        return;
    }

    while (piece->len && delta_inside(d->target[piece->target])) {
        piece->base++;
        piece->target++;
        piece->len--;
    }

    while (piece->len && piece->target + piece->len < d->target_len
           && delta_inside(d->target[piece->target + piece->len]))
    {
        piece->len--;
    }
}


/*
 * A copy has its numbers and two marks; what follows it is a literal anew, with
 * a number and a mark.
 */

static ngx_uint_t
delta_worth(delta_t *d, const delta_piece_t *piece)
{
    return piece->len > delta_digits(piece->len) + delta_digits(piece->base)
                        + 4;
}


static ngx_int_t
delta_index(delta_t *d)
{
    size_t         blocks, heads, n;
    uint32_t      *words, i;
    ngx_uint_t     h, before, bits;

    blocks = d->base_len / DELTA_BLOCK;

    for (bits = 6; ((size_t) 1 << bits) < blocks; bits++) { /* void */ }

    heads = (size_t) 1 << bits;
    n = heads + blocks;

    if (n > delta_scratch.n) {
        words = malloc(n * sizeof(uint32_t));
        if (words == NULL) {
            return NGX_ERROR;
        }

        free(delta_scratch.words);

        delta_scratch.words = words;
        delta_scratch.n = n;
    }

    d->heads = delta_scratch.words;
    d->next = d->heads + heads;
    d->shift = 64 - bits;

    ngx_memset(d->heads, 0xff, heads * sizeof(uint32_t));

    /* of equal blocks in sequence the first: a copy begins there */

    h = delta_hash(d, d->base + (blocks - 1) * DELTA_BLOCK);

    for (i = (uint32_t) blocks - 1; i > 0; i--, h = before) {

        before = delta_hash(d, d->base + (size_t) (i - 1) * DELTA_BLOCK);

        if (before != h) {
            d->next[i] = d->heads[h];
            d->heads[h] = i;
        }
    }

    d->next[0] = d->heads[h];
    d->heads[h] = 0;

    return NGX_OK;
}


static ngx_inline ngx_uint_t
delta_hash(delta_t *d, const u_char *p)
{
    uint64_t  word;

    ngx_memcpy(&word, p, sizeof(uint64_t));

    return (ngx_uint_t) ((word * 0x9e3779b97f4a7c15ULL) >> d->shift);
}


static void
delta_scan(delta_t *d, size_t end)
{
    size_t         pos, misses, next;
    delta_piece_t  best, near;

    pos = d->done;
    misses = 0;

    while (pos + DELTA_BLOCK <= end) {

        if (pos - d->done < DELTA_GAP) {
            delta_near(d, pos, end, &best);

            if (delta_worth(d, &best)) {
                delta_copy(d, &best);
                d->expected = best.base + best.len;
                pos = d->done;
                misses = 0;
                continue;
            }
        }

        if (d->heads[delta_hash(d, d->target + pos)] != DELTA_NONE) {
            delta_find(d, pos, end, &best);

            if (delta_worth(d, &best)) {

                /* the end of the gap may be just ahead, and much better */

                for (next = pos + 1;
                     next <= pos + DELTA_BLOCK && next + DELTA_BLOCK <= end
                     && next - d->done < DELTA_GAP;
                     next++)
                {
                    delta_near(d, next, end, &near);

                    if (near.len > best.len) {
                        best = near;
                        break;
                    }
                }

                d->expected += best.target + best.len - d->done;

                if (best.len >= DELTA_LONG) {
                    d->expected = best.base + best.len;
                }

                delta_copy(d, &best);
                pos = d->done;
                misses = 0;
                continue;
            }
        }

        pos += ngx_min(1 + (misses++ >> DELTA_MISSES), DELTA_BLOCK);

        if (ngx_centrifugo_buf_len(d->b) - d->before >= d->target_len) {
            break;
        }
    }
}


/*
 * Something small was put in, taken out or replaced, such as digits.
 */

static void
delta_near(delta_t *d, size_t pos, size_t end, delta_piece_t *piece)
{
    size_t         expected, back;
    uint64_t       word, other;
    const u_char  *p, *q, *first;

    p = d->target + pos;
    expected = d->expected + (pos - d->done);

    first = d->base + (expected > DELTA_NEAR ? expected - DELTA_NEAR : 0);
    q = d->base + ngx_min(expected + DELTA_NEAR, d->base_len - DELTA_BLOCK);

    piece->base = 0;
    piece->target = pos;
    piece->len = 0;

    ngx_memcpy(&word, p, sizeof(uint64_t));

    for ( ;; ) {

        if (q < first) {
            return;
        }

        ngx_memcpy(&other, q, sizeof(uint64_t));

        if (other == word) {
            break;
        }

        if (q-- == d->base) {
            return;
        }
    }

    back = delta_same_back(q, p, ngx_min((size_t) (q - d->base),
                                         pos - d->done));

    piece->base = q - d->base - back;
    piece->target = pos - back;
    piece->len = back + delta_same(q, p, ngx_min(d->base_len - (q - d->base),
                                                 end - pos));
    delta_whole(d, piece);
}


/*
 * The longest of the blocks with the hash of that place.
 */

static void
delta_find(delta_t *d, size_t pos, size_t end, delta_piece_t *best)
{
    size_t          base, back, len, expected;
    uint32_t       *head, i;
    ngx_uint_t      n;
    const u_char   *p;

    best->len = 0;
    best->base = 0;
    best->target = pos;

    p = d->target + pos;
    head = &d->heads[delta_hash(d, p)];

    /* the target goes on about there */

    expected = (d->expected + (pos - d->done)) / DELTA_BLOCK;

    for (i = d->next[*head]; i != DELTA_NONE && i <= expected; i = d->next[i])
    {
        *head = i;
    }

    i = *head;

    for (n = 0; n < DELTA_WALK && i != DELTA_NONE; n++, i = d->next[i]) {

        base = (size_t) i * DELTA_BLOCK;

        len = delta_same(d->base + base, p,
                         ngx_min(d->base_len - base, end - pos));

        if (len < DELTA_BLOCK) {
            continue;
        }

        back = delta_same_back(d->base + base, p,
                               ngx_min(base, pos - d->done));

        if (back + len > best->len) {
            best->base = base - back;
            best->target = pos - back;
            best->len = back + len;
        }
    }

    delta_whole(d, best);
}


/*
 * Two copies that go on in the base are one.
 */

static void
delta_copy(delta_t *d, const delta_piece_t *piece)
{
    delta_literal(d, piece->target);

    if (d->copy_len && d->copy + d->copy_len == piece->base) {
        d->copy_len += piece->len;

    } else {
        delta_flush(d);
        d->copy = piece->base;
        d->copy_len = piece->len;
    }

    d->done = piece->target + piece->len;
}


static void
delta_literal(delta_t *d, size_t end)
{
    u_char  number[DELTA_NUMBER + 1], *p;
    size_t  len;

    len = end - d->done;

    if (len == 0) {
        return;
    }

    delta_flush(d);

    p = delta_number(number, len);
    *p++ = ':';
    ngx_centrifugo_buf_append(d->b, number, p - number);
    ngx_centrifugo_buf_append(d->b, d->target + d->done, len);

    d->done = end;
}


static void
delta_flush(delta_t *d)
{
    u_char  piece[2 * DELTA_NUMBER + 2], *p;

    if (d->copy_len == 0) {
        return;
    }

    p = delta_number(piece, d->copy_len);
    *p++ = '@';
    p = delta_number(p, d->copy);
    *p++ = ',';
    ngx_centrifugo_buf_append(d->b, piece, p - piece);

    d->copy += d->copy_len;
    d->copy_len = 0;
}


static ngx_uint_t
delta_digits(size_t n)
{
    ngx_uint_t  digits;

    for (digits = 1; n >= 64; n >>= 6) {
        digits++;
    }

    return digits;
}


static u_char *
delta_number(u_char *p, size_t n)
{
    u_char        *end, *digit;
    static char    digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "_abcdefghijklmnopqrstuvwxyz~";

    end = p + delta_digits(n);

    for (digit = end; digit > p; n >>= 6) {
        *--digit = (u_char) digits[n & 63];
    }

    return end;
}


/*
 * Of words in the order of the network, the last one with zeroes behind it.
 */

static uint32_t
delta_sum(const u_char *p, size_t len)
{
    u_char    last[4];
    uint32_t  sum, word;

    sum = 0;

    for ( /* void */ ; len >= 4; p += 4, len -= 4) {
        ngx_memcpy(&word, p, sizeof(uint32_t));
        sum += ntohl(word);
    }

    if (len) {
        ngx_memzero(last, sizeof(last));
        ngx_memcpy(last, p, len);
        ngx_memcpy(&word, last, sizeof(uint32_t));
        sum += ntohl(word);
    }

    return sum;
}
