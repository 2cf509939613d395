#include "proto/slab.h"

#include <malloc.h>
#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

enum {
    /* A page is found by the address of what lies in it. What malloc puts in
     * front of the next one has room behind it, so that pages lie close. */
    PAGE_ALIGNED = 16 * 1024,
    PAGE_BYTES = PAGE_ALIGNED - 64,
    PAGE_TAG = 0x51ab51ab,
};

struct page {
    uint32_t tag;
    uint16_t size;  /* of an object */
    uint16_t used;  /* objects that somebody has */
    uint16_t fresh; /* places never taken begin with this one */
    uint16_t places;
    struct place *given; /* places given back */
    struct list_node node; /* slabs.room, while there is any */
    struct list_node *room;
    uint64_t objects[];
};

/* What lies in a place that was given back. */
struct place {
    struct place *next;
};

void slabs_init(struct slabs *s)
{
    for (size_t i = 0; i < ARRAY_LEN(s->room); i++)
        list_init(&s->room[i]);
}

static struct page *page_new(struct list_node *room, size_t size)
{
    struct page *p = memalign(PAGE_ALIGNED, PAGE_BYTES);

    if (!p)
        return NULL;
    *p = (struct page){
        .tag = PAGE_TAG,
        .size = (uint16_t)size,
        .places = (uint16_t)((PAGE_BYTES - sizeof *p) / size),
        .room = room,
    };
    list_add_head(room, &p->node);
    ASAN_POISON_MEMORY_REGION(p->objects, PAGE_BYTES - sizeof *p);
    return p;
}

static void page_free(struct page *p)
{
    list_remove(&p->node);
    ASAN_UNPOISON_MEMORY_REGION(p->objects, PAGE_BYTES - sizeof *p);
    free(p);
}

void *slab_take(struct slabs *s, size_t bytes)
{
    size_t class = (bytes - 1) / SLAB_STEP, size = (class + 1) * SLAB_STEP;
    struct list_node *first;
    struct page *p;
    void *object;

    CHECK(bytes > 0 && bytes <= SLAB_BYTES_MAX);
    first = list_first(&s->room[class]);
    p = first ? CONTAINER_OF(first, struct page, node)
              : page_new(&s->room[class], size);
    if (!p)
        return NULL;
    object = p->given;
    if (!object)
        object = (char *)p->objects + size * p->fresh++;
    ASAN_UNPOISON_MEMORY_REGION(object, size);
    if (p->given)
        p->given = p->given->next;
    if (++p->used == p->places)
        list_remove(&p->node);
    return memset(object, 0, size);
}

void slab_give(void *object)
{
    struct place *place = object;
    struct page *p;

    if (!object)
        return;
    p = (void *)((uintptr_t)object & ~(uintptr_t)(PAGE_ALIGNED - 1));
    CHECK(p->tag == PAGE_TAG && p->used > 0);
    if (p->used-- == p->places)
        list_add_head(p->room, &p->node);
    place->next = p->given;
    p->given = place;
    ASAN_POISON_MEMORY_REGION(object, p->size);
    if (p->used == 0)
        page_free(p);
}
