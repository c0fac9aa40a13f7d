#include "ngx_centrifugo_hash.h"


#define rotl(x, n)  (((x) << (n)) | ((x) >> (64 - (n))))

#define sip_round(v)                                                         \
    do {                                                                     \
        v[0] += v[1]; v[1] = rotl(v[1], 13); v[1] ^= v[0];                   \
        v[0] = rotl(v[0], 32);                                               \
        v[2] += v[3]; v[3] = rotl(v[3], 16); v[3] ^= v[2];                   \
        v[0] += v[3]; v[3] = rotl(v[3], 21); v[3] ^= v[0];                   \
        v[2] += v[1]; v[1] = rotl(v[1], 17); v[1] ^= v[2];                   \
        v[2] = rotl(v[2], 32);                                               \
    } while (0)


uint64_t
ngx_centrifugo_hash(const uint64_t key[2], const u_char *data, size_t len)
{
    size_t    i, whole;
    uint64_t  m, v[4];
#if (NGX_HAVE_LITTLE_ENDIAN)
    uint64_t  last;
#endif

    v[0] = key[0] ^ 0x736f6d6570736575ULL;
    v[1] = key[1] ^ 0x646f72616e646f6dULL;
    v[2] = key[0] ^ 0x6c7967656e657261ULL;
    v[3] = key[1] ^ 0x7465646279746573ULL;

    whole = len & ~(size_t) 7;

    for (i = 0; i < whole; i += 8) {
        ngx_memcpy(&m, data + i, sizeof(uint64_t));
        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }

    m = (uint64_t) len << 56;

#if (NGX_HAVE_LITTLE_ENDIAN)

    if (whole && whole != len) {

        /* the last bytes, without those before them that are done with */

        ngx_memcpy(&last, data + len - 8, sizeof(uint64_t));
        m |= last >> (8 * (8 - (len - whole)));
        whole = len;
    }

#endif

    for (i = whole; i < len; i++) {
        m |= (uint64_t) data[i] << (8 * (i - whole));
    }

    v[3] ^= m;
    sip_round(v);
    v[0] ^= m;

    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);

    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
