#include "tests/chaos/table.h"

#include <stdio.h>
#include <stdlib.h>

#include <xxhash.h>

static void *must(void *p)
{
    if (!p) {
        fprintf(stderr, "check: out of memory\n");
        exit(1);
    }
    return p;
}

void *array_grow(void *array, size_t count, size_t size)
{
    if (count && (count < 16 || (count & (count - 1)) != 0))
        return array;
    return must(realloc(array, MAX(count * 2, (size_t)16) * size));
}

static uint64_t mixed(uint64_t x)
{
    x = (x ^ x >> 31) * 0x7fb5d329728ea185u;
    x = (x ^ x >> 27) * 0x81dadef4bc2dd44du;
    return x ^ x >> 33;
}

static size_t slot_of(const struct table *t, uint64_t key)
{
    size_t i = mixed(key) & (t->room - 1);

    while (t->values[i] && t->keys[i] != key)
        i = (i + 1) & (t->room - 1);
    return i;
}

static void grow(struct table *t)
{
    struct table old = *t;

    t->room = old.room ? old.room * 2 : 64;
    t->keys = must(calloc(t->room, sizeof *t->keys));
    t->values = must(calloc(t->room, sizeof *t->values));
    for (size_t i = 0; i < old.room; i++)
        if (old.values[i]) {
            size_t to = slot_of(t, old.keys[i]);

            t->keys[to] = old.keys[i];
            t->values[to] = old.values[i];
        }
    table_fini(&old);
}

uint32_t table_get(const struct table *t, uint64_t key)
{
    return t->room ? t->values[slot_of(t, key)] - 1 : UINT32_MAX;
}

uint32_t table_put(struct table *t, uint64_t key, uint32_t value)
{
    size_t i;

    if (t->count * 2 >= t->room)
        grow(t);
    i = slot_of(t, key);
    if (!t->values[i]) {
        t->keys[i] = key;
        t->values[i] = value + 1;
        t->count++;
    }
    return t->values[i] - 1;
}

void table_fini(struct table *t)
{
    free(t->keys);
    free(t->values);
    *t = (struct table){ .room = 0 };
}

static size_t name_slot(const struct names *n, struct slice text)
{
    size_t i = XXH3_64bits(text.ptr, text.len) & (n->room - 1);

    while (n->slots[i] && !slice_eq(n->texts[n->slots[i] - 1], text))
        i = (i + 1) & (n->room - 1);
    return i;
}

static void grow_names(struct names *n)
{
    n->room = n->room ? n->room * 2 : 64;
    free(n->slots);
    n->slots = must(calloc(n->room, sizeof *n->slots));
    for (uint32_t i = 0; i < n->count; i++)
        n->slots[name_slot(n, n->texts[i])] = i + 1;
}

uint32_t names_find(const struct names *n, struct slice text)
{
    return n->room ? n->slots[name_slot(n, text)] - 1 : UINT32_MAX;
}

uint32_t names_add(struct names *n, struct slice text)
{
    size_t i;

    if (n->count * 2 >= n->room)
        grow_names(n);
    i = name_slot(n, text);
    if (!n->slots[i]) {
        n->texts = array_grow(n->texts, n->count, sizeof *n->texts);
        n->texts[n->count++] = text;
        n->slots[i] = (uint32_t)n->count;
    }
    return n->slots[i] - 1;
}

void names_fini(struct names *n)
{
    free(n->texts);
    free(n->slots);
    *n = (struct names){ .room = 0 };
}
