/* block.h - memory in blocks of 16 KiB that goes back to the kernel as soon as
 * nobody has it, whatever else the process keeps: what a crowd took is not held
 * up by the heap around it, and no pause is needed to give it back.
 *
 * Blocks lie in chunks of 1 MiB of the heap. A block that is given back is the
 * kernel's at once, and when all of a chunk are, so is the chunk, but for one
 * such chunk, of which a page stays. A block costs what of it is touched.
 * Threads: those of whoever owns the blocks. Cost: O(1); giving is a system call,
 * taking one for each 63rd. */
#ifndef TOUCHLINE_PROTO_BLOCK_H
#define TOUCHLINE_PROTO_BLOCK_H

#include "base/list.h"

enum { BLOCK_BYTES = 16 * 1024, BLOCK_CHUNK = 1024 * 1024 };

struct block_chunk;

struct blocks {
    struct list_node room;     /* chunks with blocks to be had */
    struct block_chunk *empty; /* the one that stays; NULL: none is empty */
    size_t taken;              /* blocks that somebody has */
    size_t chunks;
};

void blocks_init(struct blocks *b); /* allocates nothing */
void blocks_fini(struct blocks *b); /* all have been given back */

/* Zeros, at a multiple of BLOCK_BYTES. NULL: no memory. */
void *block_take(struct blocks *b);
/* What lies behind its first bytes, a multiple of a page, goes back to the
 * kernel, and is zeros again. */
void block_cut(void *block, size_t bytes);
/* Into the blocks that it came from; NULL is fine. */
void block_give(struct blocks *b, void *block);

#endif
