#include "proto/block.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"

enum {
    BLOCKS = BLOCK_CHUNK / BLOCK_BYTES, /* the first one is the chunk's own */
    CHUNK_TAG = 0x0b10cb10,
};

struct block_chunk {
    uint32_t tag;
    uint32_t taken;
    uint64_t free; /* bit i: block i can be had */
    struct list_node node; /* blocks.room, while there is any */
};

void blocks_init(struct blocks *b)
{
    *b = (struct blocks){ .empty = NULL };
    list_init(&b->room);
}

/* Anonymous memory that the kernel has taken back is zeros when it is touched
 * again. Where it takes nothing back (memory is locked), it is made zero. */
static void clear(void *memory, size_t bytes)
{
    if (madvise(memory, bytes, MADV_DONTNEED) < 0)
        memset(memory, 0, bytes);
}

static struct block_chunk *chunk_new(struct blocks *b)
{
    struct block_chunk *c = memalign(BLOCK_CHUNK, BLOCK_CHUNK);

    if (!c)
        return NULL;
    clear(c, BLOCK_CHUNK);
    *c = (struct block_chunk){ .tag = CHUNK_TAG, .free = ~UINT64_C(1) };
    list_add_head(&b->room, &c->node);
    b->chunks++;
    return c;
}

/* The heap may keep it: there is nothing in it any more. */
static void chunk_free(struct blocks *b, struct block_chunk *c)
{
    list_remove(&c->node);
    b->chunks--;
    clear(c, BLOCK_CHUNK);
    free(c);
}

void blocks_fini(struct blocks *b)
{
    CHECK(b->taken == 0);
    if (b->empty)
        chunk_free(b, b->empty);
    b->empty = NULL;
}

/* One comes and goes at a time: that is to cost no chunk each time. */
static void chunk_emptied(struct blocks *b, struct block_chunk *c)
{
    if (b->empty)
        chunk_free(b, c);
    else
        b->empty = c;
}

void *block_take(struct blocks *b)
{
    struct list_node *first = list_first(&b->room);
    struct block_chunk *c = first ? CONTAINER_OF(first, struct block_chunk, node)
                            : chunk_new(b);
    unsigned i;

    if (!c)
        return NULL;
    i = (unsigned)__builtin_ctzll(c->free);
    c->free &= c->free - 1;
    if (c->taken++ == 0 && b->empty == c)
        b->empty = NULL;
    b->taken++;
    if (!c->free)
        list_remove(&c->node);
    return (uint8_t *)c + (size_t)i * BLOCK_BYTES;
}

void block_cut(void *block, size_t bytes)
{
    CHECK(bytes <= BLOCK_BYTES);
    clear((uint8_t *)block + bytes, BLOCK_BYTES - bytes);
}

void block_give(struct blocks *b, void *block)
{
    uintptr_t at = (uintptr_t)block;
    struct block_chunk *c = (void *)(at & ~(uintptr_t)(BLOCK_CHUNK - 1));
    size_t i = (at & (BLOCK_CHUNK - 1)) / BLOCK_BYTES;

    if (!block)
        return;
    CHECK(c->tag == CHUNK_TAG && i > 0 && !(c->free >> i & 1));
    clear(block, BLOCK_BYTES);
    if (!c->free)
        list_add_head(&b->room, &c->node);
    c->free |= UINT64_C(1) << i;
    b->taken--;
    if (--c->taken == 0)
        chunk_emptied(b, c);
}
