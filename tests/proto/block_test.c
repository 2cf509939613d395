#include "proto/block.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/base.h"
#include "tests/t/t.h"

enum { COUNT = 200, PAGE = 4096 };

/* How many pages of a block are in memory. */
static int resident(void *block)
{
    unsigned char in[BLOCK_BYTES / PAGE];
    int n = 0;

    EXPECT_INT(mincore(block, BLOCK_BYTES, in), 0);
    for (size_t i = 0; i < ARRAY_LEN(in); i++)
        n += in[i] & 1;
    return n;
}

TEST(a_block_is_aligned_zero_and_nobody_elses)
{
    static uint8_t *block[COUNT];
    struct blocks b;

    blocks_init(&b);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            block[i] = block_take(&b);
            EXPECT(block[i] != NULL);
            EXPECT((uintptr_t)block[i] % BLOCK_BYTES == 0);
            for (size_t k = 0; k < BLOCK_BYTES; k++)
                EXPECT(block[i][k] == 0);
            memset(block[i], (int)(i % 255 + 1), BLOCK_BYTES);
        }
        EXPECT_INT(b.taken, COUNT);
        EXPECT_INT(b.chunks, 4); /* 63 each */
        for (size_t i = 0; i < COUNT; i++) {
            EXPECT(block[i][0] == i % 255 + 1);
            EXPECT(block[i][BLOCK_BYTES - 1] == i % 255 + 1);
        }
        for (size_t i = 0; i < COUNT; i++)
            block_give(&b, block[(i * 77) % COUNT]);
        EXPECT_INT(b.taken, 0);
        EXPECT_INT(b.chunks, 1);
    }
    block_give(&b, NULL);
    blocks_fini(&b);
    EXPECT_INT(b.chunks, 0);
}

TEST(what_is_given_back_is_the_kernels_at_once)
{
    struct blocks b;
    uint8_t *kept, *given;

    blocks_init(&b);
    kept = block_take(&b);
    given = block_take(&b);
    memset(kept, 1, BLOCK_BYTES);
    memset(given, 2, BLOCK_BYTES);
    EXPECT_INT(resident(given), 4);
    block_give(&b, given);
    EXPECT_INT(resident(given), 0);
    EXPECT_INT(resident(kept), 4);
    EXPECT(block_take(&b) == given);
    EXPECT(given[0] == 0 && kept[0] == 1);
    block_give(&b, given);
    block_give(&b, kept);
    EXPECT_INT(resident(kept), 0);
    EXPECT(block_take(&b) == kept); /* no chunk more */
    EXPECT_INT(b.chunks, 1);
    block_give(&b, kept);
    blocks_fini(&b);
}

TEST(without_memory_there_is_no_block)
{
    struct blocks b;
    void *block;

    blocks_init(&b);
    test_fail_malloc_after(0);
    EXPECT(block_take(&b) == NULL);
    EXPECT(test_malloc_failed());
    EXPECT_INT(b.taken, 0);
    block = block_take(&b);
    EXPECT(block != NULL);
    block_give(&b, block);
    blocks_fini(&b);
}
