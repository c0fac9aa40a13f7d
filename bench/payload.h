#ifndef CFLOAD_PAYLOAD_H_INCLUDED
#define CFLOAD_PAYLOAD_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


/*
 * {"k":"PPPPCCCCCCCCSSSSSSSSTTTTTTTTTTTTTTTTXXXXXXXX","f":"..."}
 *
 * in lower case hexadecimal: publisher, channel, number, time in ns, checksum
 * of these four and of the filler, which is of the size that is wanted and
 * made from the first three.
 */

#define CF_PAYLOAD_HEAD   6
#define CF_PAYLOAD_KEY    44
#define CF_PAYLOAD_MID    7
#define CF_PAYLOAD_MIN    (CF_PAYLOAD_HEAD + CF_PAYLOAD_KEY                   \
                           + CF_PAYLOAD_MID + 2)


typedef struct {
    uint32_t  publisher;
    uint32_t  channel;
    uint32_t  seq;
    uint64_t  time;
} cf_payload_t;


void cf_payload_write(char *p, size_t size, const cf_payload_t *payload);

/*
 * 0: as it was written; -1: damaged, but what has to be hexadecimal is; -2:
 * nothing in it can be believed.
 */

int cf_payload_read(const char *p, size_t size, cf_payload_t *payload);


/* a quick guess, to be checked */

uint32_t cf_payload_channel(const char *p, size_t size);


#endif /* CFLOAD_PAYLOAD_H_INCLUDED */
