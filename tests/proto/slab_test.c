#include "proto/slab.h"

#include "base/check.h"
#include "tests/t/t.h"

static bool slabs_empty(const struct slabs *s)
{
    for (size_t i = 0; i < ARRAY_LEN(s->room); i++)
        if (!list_empty(&s->room[i]))
            return false;
    return true;
}

TEST(what_is_taken_is_zero_aligned_and_nobody_elses)
{
    enum { COUNT = 5000 };
    static uint8_t *object[COUNT];
    static size_t size[COUNT];
    struct slabs s;

    slabs_init(&s);
    for (size_t i = 0; i < COUNT; i++) {
        size[i] = 1 + test_random() % SLAB_BYTES_MAX;
        object[i] = slab_take(&s, size[i]);
        EXPECT(object[i] != NULL);
        EXPECT((uintptr_t)object[i] % 8 == 0);
        for (size_t k = 0; k < size[i]; k++)
            EXPECT(object[i][k] == 0);
        memset(object[i], (int)(i % 255 + 1), size[i]);
    }
    for (size_t i = 0; i < COUNT; i++)
        for (size_t k = 0; k < size[i]; k++)
            EXPECT(object[i][k] == i % 255 + 1);
    for (size_t i = 0; i < COUNT; i++)
        slab_give(object[i]);
    EXPECT(slabs_empty(&s));
    slab_give(NULL);
    slabs_fini(&s);
}

TEST(objects_lie_as_close_as_their_size)
{
    struct slabs s;
    uint8_t *a, *b;

    slabs_init(&s);
    a = slab_take(&s, 57);
    b = slab_take(&s, 64);
    EXPECT_INT(b - a, 64);
    slab_give(a);
    a = slab_take(&s, 60);
    EXPECT_INT(b - a, 64);
    EXPECT_INT(a[0] | a[59], 0);
    slab_give(a);
    slab_give(b);
    EXPECT(slabs_empty(&s));
    slabs_fini(&s);
}

TEST(pages_go_when_nothing_is_left_in_them)
{
    enum { COUNT = 4000, KEPT = 1234 };
    static void *object[COUNT];
    struct slabs s;
    struct list_node *room;

    slabs_init(&s);
    room = &s.room[64 / SLAB_STEP - 1];
    for (size_t i = 0; i < COUNT; i++)
        object[i] = slab_take(&s, 64);
    for (size_t i = 0; i < COUNT; i++)
        if (i != KEPT)
            slab_give(object[i]);
    EXPECT(room->next->next == room); /* one page, the one it lies in */
    slab_give(object[KEPT]);
    EXPECT(slabs_empty(&s));
    slabs_fini(&s);
}

/* Of any size, and of many that become empty only so many stay. */
TEST(who_is_alone_finds_a_block_that_was_kept)
{
    enum { COUNT = 4000 };
    static uint8_t *object[COUNT];
    struct slabs s;
    uint8_t *a, *b;

    slabs_init(&s);
    a = slab_take(&s, 64);
    memset(a, 0xff, 64);
    slab_give(a);
    EXPECT_INT(s.blocks.taken, 1);
    b = slab_take(&s, 200);
    EXPECT((uintptr_t)a / BLOCK_BYTES == (uintptr_t)b / BLOCK_BYTES);
    EXPECT_INT(s.blocks.taken, 1);
    for (size_t i = 0; i < 200; i++)
        EXPECT_INT(b[i], 0);
    slab_give(b);
    for (size_t i = 0; i < COUNT; i++)
        object[i] = slab_take(&s, 400);
    EXPECT(s.blocks.taken > 2 * SLAB_SPARES);
    for (size_t i = 0; i < COUNT; i++)
        slab_give(object[i]);
    EXPECT_INT(s.blocks.taken, SLAB_SPARES);
    EXPECT_INT(s.objects, 0);
    slabs_fini(&s);
    EXPECT_INT(s.blocks.chunks, 0);
}

TEST(without_memory_there_is_none)
{
    struct slabs s;
    void *object;

    slabs_init(&s);
    test_fail_malloc_after(0);
    EXPECT(slab_take(&s, 40) == NULL);
    EXPECT(test_malloc_failed());
    EXPECT(slabs_empty(&s));
    EXPECT_INT(s.objects, 0);
    object = slab_take(&s, 40);
    EXPECT(object != NULL);
    slab_give(object);
    EXPECT_INT(s.blocks.taken, s.spares);
    slabs_fini(&s);
    EXPECT_INT(s.blocks.chunks, 0);
}
