/* table.h - two maps that only grow: of 64-bit keys to indices, and of texts to
 * indices 0, 1, 2 ... Open addressing; memory that runs out ends the program, as
 * in a tool it may. Threads: one. Cost: O(1) on average. */
#ifndef TESTS_CHAOS_TABLE_H
#define TESTS_CHAOS_TABLE_H

#include "base/slice.h"

struct table {
    uint64_t *keys;
    uint32_t *values; /* 0: free; else index + 1 */
    size_t room, count;
};

/* What stands under the key, or UINT32_MAX. */
uint32_t table_get(const struct table *t, uint64_t key);
/* Puts value there unless there is one. Returns what stands there now. */
uint32_t table_put(struct table *t, uint64_t key, uint32_t value);
void table_fini(struct table *t);

struct names {
    struct slice *texts; /* borrowed */
    uint32_t *slots;
    size_t room, count;
};

/* Its index, a new one if need be. */
uint32_t names_add(struct names *n, struct slice text);
/* Its index, or UINT32_MAX. */
uint32_t names_find(const struct names *n, struct slice text);
void names_fini(struct names *n);

/* Room for one more element of an array whose count it is; doubles. */
void *array_grow(void *array, size_t count, size_t size);

/* One hash of two numbers. */
static inline uint64_t key_of(uint64_t a, uint64_t b)
{
    uint64_t x = a * 0x9e3779b97f4a7c15u ^ (b + 0x7f4a7c15u) * 0xd1342543de82ef95u;

    return x ^ x >> 29;
}

#endif
