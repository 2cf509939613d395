#include "store/arena.h"

#include <stdalign.h>
#include <stdlib.h>

#include "base/err.h"

enum { CHUNK = 16 * 1024 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
    alignas(max_align_t) uint8_t bytes[];
};

void arena_fini(struct arena *a)
{
    while (a->chunks) {
        struct arena_chunk *c = a->chunks;

        a->chunks = c->next;
        free(c);
    }
    a->left = 0;
}

static bool grow(struct arena *a, size_t size)
{
    size_t room = MAX(size, (size_t)CHUNK);
    struct arena_chunk *c = malloc(sizeof *c + room);

    if (!c)
        return false;
    c->next = a->chunks;
    c->size = room;
    a->chunks = c;
    a->left = room;
    return true;
}

void *arena_take(struct arena *a, size_t size)
{
    size_t align = alignof(max_align_t);
    void *ret;

    if (size > SIZE_MAX / 2)
        return NULL;
    size = (MAX(size, 1) + align - 1) / align * align;
    if (size > a->left && !grow(a, size))
        return NULL;
    ret = a->chunks->bytes + (a->chunks->size - a->left);
    a->left -= size;
    return ret;
}

int arena_copy(struct arena *a, struct slice s, struct slice *ret)
{
    uint8_t *bytes;

    if (s.len == 0) {
        *ret = slice_make(NULL, 0);
        return 0;
    }
    bytes = arena_take(a, s.len);
    if (!bytes)
        return ERR_NOMEM;
    memcpy(bytes, s.ptr, s.len);
    *ret = slice_make(bytes, s.len);
    return 0;
}
