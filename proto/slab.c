#include "proto/slab.h"

#include <sanitizer/asan_interface.h>
#include <string.h>

#include "base/check.h"

enum { PAGE_TAG = 0x51ab51ab, SPARE_BYTES = 4096 };

/* A block; it is found by the address of what lies in it. */

struct page {
    uint32_t tag;
    uint16_t size;  /* of an object */
    uint16_t used;  /* objects that somebody has */
    uint16_t fresh; /* places never taken begin with this one */
    uint16_t places;
    struct place *given; /* places given back */
    struct list_node node; /* slabs.room, while there is any; slabs.spare */
    struct slabs *slabs;
    uint64_t objects[];
};

/* What lies in a place that was given back. */
struct place {
    struct place *next;
};

void slabs_init(struct slabs *s)
{
    blocks_init(&s->blocks);
    s->objects = 0;
    s->spares = 0;
    list_init(&s->spare);
    for (size_t i = 0; i < ARRAY_LEN(s->room); i++)
        list_init(&s->room[i]);
}

void slabs_fini(struct slabs *s)
{
    struct list_node *n;

    while ((n = list_pop(&s->spare)))
        block_give(&s->blocks, CONTAINER_OF(n, struct page, node));
    blocks_fini(&s->blocks);
}

static struct list_node *room_of(struct slabs *s, size_t size)
{
    return &s->room[size / SLAB_STEP - 1];
}

/* NULL: no memory. */
static struct page *take_block(struct slabs *s)
{
    struct list_node *n = list_pop(&s->spare);

    if (!n)
        return block_take(&s->blocks);
    s->spares--;
    return CONTAINER_OF(n, struct page, node);
}

static struct page *page_new(struct slabs *s, size_t size)
{
    struct page *p = take_block(s);

    if (!p)
        return NULL;
    *p = (struct page){
        .tag = PAGE_TAG,
        .size = (uint16_t)size,
        .places = (uint16_t)((BLOCK_BYTES - sizeof *p) / size),
        .slabs = s,
    };
    list_add_head(room_of(s, size), &p->node);
    ASAN_POISON_MEMORY_REGION(p->objects, BLOCK_BYTES - sizeof *p);
    return p;
}

static void page_free(struct page *p)
{
    struct slabs *s = p->slabs;

    list_remove(&p->node);
    ASAN_UNPOISON_MEMORY_REGION(p->objects, BLOCK_BYTES - sizeof *p);
    if (s->spares == SLAB_SPARES) {
        block_give(&s->blocks, p);
        return;
    }
    if (sizeof *p + (size_t)p->fresh * p->size > SPARE_BYTES)
        block_cut(p, SPARE_BYTES);
    list_add_head(&s->spare, &p->node);
    s->spares++;
}

void *slab_take(struct slabs *s, size_t bytes)
{
    size_t size = (bytes + SLAB_STEP - 1) / SLAB_STEP * SLAB_STEP;
    struct list_node *first;
    struct page *p;
    void *object;

    CHECK(bytes > 0 && bytes <= SLAB_BYTES_MAX);
    first = list_first(room_of(s, size));
    p = first ? CONTAINER_OF(first, struct page, node) : page_new(s, size);
    if (!p)
        return NULL;
    s->objects++;
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
    p = (void *)((uintptr_t)object & ~(uintptr_t)(BLOCK_BYTES - 1));
    CHECK(p->tag == PAGE_TAG && p->used > 0);
    p->slabs->objects--;
    if (p->used-- == p->places)
        list_add_head(room_of(p->slabs, p->size), &p->node);
    place->next = p->given;
    p->given = place;
    ASAN_POISON_MEMORY_REGION(object, p->size);
    if (p->used == 0)
        page_free(p);
}
