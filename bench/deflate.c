/*
 * permessage-deflate without context takeover: what the server sends.
 */

#include "client.h"

#include <string.h>
#include <zlib.h>


#define DEFLATE_BUFFER  (8 << 20)


static char      *deflate_buffer;
static z_stream   deflate_stream;


/* NULL: it is not what RFC 7692 allows, or too large. */

const char *
cf_inflate(const char *p, size_t len, size_t *size)
{
    int               i, rc;
    static unsigned   begun;
    static char       tail[] = { 0x00, 0x00, (char) 0xff, (char) 0xff };

    if (!begun) {
        begun = 1;
        deflate_buffer = cf_alloc(DEFLATE_BUFFER);

        if (inflateInit2(&deflate_stream, -15) != Z_OK) {
            cf_die("zlib: no stream");
        }
    }

    (void) inflateReset(&deflate_stream);

    deflate_stream.next_out = (Bytef *) deflate_buffer;
    deflate_stream.avail_out = DEFLATE_BUFFER;

    for (i = 0; i < 2; i++) {
        deflate_stream.next_in = (Bytef *) (i ? tail : p);
        deflate_stream.avail_in = (uInt) (i ? sizeof(tail) : len);

        rc = inflate(&deflate_stream, Z_SYNC_FLUSH);

        if (rc != Z_OK || deflate_stream.avail_in
            || deflate_stream.avail_out == 0)
        {
            return NULL;
        }
    }

    *size = DEFLATE_BUFFER - deflate_stream.avail_out;

    return deflate_buffer;
}
