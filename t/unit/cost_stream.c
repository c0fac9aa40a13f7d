/*
 * What history costs: run under callgrind by "make costs", with two numbers of
 * publications of which the difference counts.
 *   cost_stream publish|keep|old|read NUMBER
 *   cost_stream space       bytes of the zone for a publication
 */

#include "unit_stream.h"

#define KEPT  100               /* publications of the channel */
#define READ  10                /* in one call */


static ngx_int_t
put_version(ngx_centrifugo_hub_t *hub, const char *channel, size_t len,
    ngx_uint_t size, uint64_t version)
{
    static u_char                     data[LARGEST];
    ngx_centrifugo_position_t         position;
    ngx_centrifugo_hub_publication_t  pub;

    memset(&pub, 0, sizeof(pub));
    pub.channel = S(channel);
    pub.data.data = data;
    pub.data.len = len;
    pub.size = size;
    pub.ttl = 60000;
    pub.meta_ttl = 600000;
    pub.version = version;

    return ngx_centrifugo_hub_publish(hub, &pub, &position);
}


static ngx_int_t
put(ngx_centrifugo_hub_t *hub, const char *channel, size_t len,
    ngx_uint_t size)
{
    return put_version(hub, channel, len, size, 0);
}


static void
space(ngx_centrifugo_hub_t *hub)
{
    double                     bytes, most, over;
    size_t                     len, sum;
    ngx_uint_t                 i, n;
    ngx_centrifugo_hub_stat_t  before, st;
    static const size_t        sizes[] = { 16, 64, 128, 200, 256, 512, 1000,
                                           1024, 1500, 2000, 2048, 4096, 10000,
                                           65536 };

    for (i = 0; i <= sizeof(sizes) / sizeof(sizes[0]); i++) {
        ngx_centrifugo_hub_stat(hub, &before);
        sum = 0;

        for (n = 0; sum < 3000000; n++) {
            len = (i < sizeof(sizes) / sizeof(sizes[0]))
                  ? sizes[i] : 1 + (size_t) random() % 2048;
            CHECK(put(hub, "space", len, 1000000) == NGX_OK);
            sum += len;
        }

        ngx_centrifugo_hub_stat(hub, &st);
        bytes = (double) (before.pages_free - st.pages_free)
                * NGX_CENTRIFUGO_PAGE;
        most = (64.0 * n + sum) * 1.125;
        over = (bytes - sum) / n;

        if (i == sizeof(sizes) / sizeof(sizes[0])) {
            printf("1 to 2048 bytes: %.1f bytes more, %.1f %% of data + 64\n",
                   over, bytes / most * 112.5);
            CHECK(bytes <= most);

        } else {
            printf("%lu bytes: %.1f bytes more, %.1f %% of data + 64\n",
                   (unsigned long) sizes[i], over, bytes / most * 112.5);
        }

        {
            ngx_str_t  ch = S("space");

            while (st.publications) {
                CHECK(ngx_centrifugo_hub_history_remove(hub, &ch) == NGX_OK);
                ngx_centrifugo_hub_stat(hub, &st);
            }
        }
    }
}


int
main(int argc, char **argv)
{
    ngx_uint_t                 i, n;
    static uint64_t            buf[8192];
    ngx_centrifugo_hub_t       hub;
    ngx_centrifugo_history_t   h;

    fresh(4 * 1024 * 1024);
    enter(&hub);
    ngx_current_msec = 1000000;

    if (argc < 3) {
        space(&hub);
        return UNIT_END();
    }

    n = strtoul(argv[2], NULL, 10);

    for (i = 0; i < KEPT + 20; i++) {
        CHECK(put(&hub, "news:channel", 128, KEPT) == NGX_OK);
    }

    if (argv[1][0] == 'o') {
        CHECK(put_version(&hub, "news:channel", 128, KEPT, 1) == NGX_OK);
    }

    for (i = 0; i < n; i++) {

        switch (argv[1][0]) {

        case 'p':
            (void) put(&hub, "news:channel", 128, 0);
            break;

        case 'o':

            /* finds the stream, and that nothing is to be appended */

            (void) put_version(&hub, "news:channel", 128, KEPT, 1);
            break;

        case 'k':
            CHECK(put(&hub, "news:channel", 128, KEPT) == NGX_OK);
            break;

        default:
            memset(&h, 0, sizeof(h));
            h.channel = S("news:channel");
            h.bounded = 1;
            h.since = KEPT + 20 - READ;
            h.limit = NGX_CENTRIFUGO_ALL;
            h.buf = (u_char *) buf;
            h.size = sizeof(buf);
            CHECK(ngx_centrifugo_hub_history(&hub, &h) == NGX_OK
                  && h.n == READ);
        }
    }

    return unit_failed != 0;
}
