/* slab.h - very many small objects, packed: no header in front of each, no
 * rounding but to 8 bytes. For ids, of which there may be millions; they are
 * what a system at rest consists of.
 *
 * Objects of one size share a block (block.h), which is given back when it
 * holds none any more; but for the last few, of which a page of memory stays:
 * who is alone in a block comes and goes without a system call. Under
 * AddressSanitizer what was given back may not be touched, as with free().
 * Threads: those of whoever owns the slabs. Cost: O(1). */
#ifndef TOUCHLINE_PROTO_SLAB_H
#define TOUCHLINE_PROTO_SLAB_H

#include "proto/block.h"

enum { SLAB_BYTES_MAX = 512, SLAB_STEP = 8, SLAB_SPARES = 8 };

struct slabs {
    struct blocks blocks;
    size_t objects; /* that somebody has */
    struct list_node spare; /* blocks without any, of no size */
    size_t spares;          /* so many, SLAB_SPARES at most */
    /* Pages with room, by size. */
    struct list_node room[SLAB_BYTES_MAX / SLAB_STEP];
};

void slabs_init(struct slabs *s); /* allocates nothing */
void slabs_fini(struct slabs *s); /* all objects have been given back */

/* `bytes` (1 to SLAB_BYTES_MAX) of zeros, aligned for anything that is no
 * larger than a pointer. NULL: no memory. They stay where they are. */
void *slab_take(struct slabs *s, size_t bytes);
/* From whichever slabs it came; NULL is fine. */
void slab_give(void *object);

#endif
