#include "tools/flood/offsets.h"

#include "tests/t/t.h"
#include "proto/chance.h"

static struct offsets_tally tally(const uint64_t *numbers, size_t n)
{
    struct offsets_tally t = { 0, 0, 0 };
    struct offsets o = { 0, 0, 0 };

    for (size_t i = 0; i < n; i++)
        offsets_take(&o, numbers[i], &t);
    return t;
}

#define EXPECT_TALLY(l, d, r, ...)                                          \
    do {                                                                    \
        const uint64_t numbers[] = { __VA_ARGS__ };                         \
        struct offsets_tally t = tally(numbers, ARRAY_LEN(numbers));        \
        EXPECT_INT(t.lost, l);                                              \
        EXPECT_INT(t.duplicates, d);                                        \
        EXPECT_INT(t.reordered, r);                                         \
    } while (0)

TEST(what_is_missing_doubled_or_late_is_counted_once)
{
    EXPECT_TALLY(0, 0, 0, 1, 2, 3, 4);
    EXPECT_TALLY(0, 0, 0, 77, 78, 79);
    EXPECT_TALLY(1, 0, 0, 1, 2, 4, 5);
    EXPECT_TALLY(3, 0, 0, 1, 5);
    EXPECT_TALLY(0, 1, 0, 1, 2, 2, 3);
    EXPECT_TALLY(0, 2, 0, 1, 1, 1, 2);
    EXPECT_TALLY(0, 0, 1, 1, 3, 2, 4);
    EXPECT_TALLY(0, 1, 1, 1, 3, 2, 2, 4);
    EXPECT_TALLY(0, 0, 1, 5, 4, 6);
    EXPECT_TALLY(1, 0, 1, 5, 4, 7);
}

TEST(what_is_older_than_the_window_is_a_duplicate)
{
    EXPECT_TALLY(62, 0, 1, 1, 65, 2);
    EXPECT_TALLY(62, 1, 0, 1, 64, 1);
    EXPECT_TALLY(63, 1, 0, 1, 65, 1);
    EXPECT_TALLY(99, 1, 0, 1, 101, 2);
}

TEST(the_end_shows_what_never_came)
{
    struct offsets_tally t = { 0, 0, 0 };
    struct offsets o = { 0, 0, 0 };

    offsets_end(&o, 10, &t);
    EXPECT_INT(t.lost, 0);
    offsets_take(&o, 8, &t);
    offsets_end(&o, 10, &t);
    offsets_end(&o, 10, &t);
    EXPECT_INT(t.lost, 2);
    EXPECT(offsets_take(&o, 9, &t));
    EXPECT_INT(t.lost, 1);
    EXPECT(!offsets_take(&o, 9, &t));
    EXPECT_INT(t.duplicates, 1);
}

/* A dense stream is spoilt at random; the tally is what was done to it. */
TEST(a_spoilt_stream_is_judged_as_it_was_spoilt)
{
    enum { LENGTH = 300 };

    for (unsigned seed = 1; seed <= 2000; seed++) {
        uint64_t stream[2 * LENGTH], n = 0, first = seed % 90 + 1;
        struct offsets_tally want = { 0, 0, 0 }, got;
        struct chance c;

        chance_init(&c, seed);
        stream[n++] = first;
        for (uint64_t i = 1; i < LENGTH; i++) {
            uint64_t what = i == LENGTH - 1 ? 99 : chance_below(&c, 20);

            if (what == 0) {
                want.lost++;
                continue;
            }
            stream[n++] = first + i;
            if (what == 1) {
                want.duplicates++;
                stream[n++] = first + i;
            } else if (what == 2 && i + 2 < LENGTH) {
                want.reordered++;
                stream[n - 1] = first + i + 1;
                stream[n++] = first + i;
                i++;
            }
        }
        got = tally(stream, n);
        EXPECT_INT(got.lost, want.lost);
        EXPECT_INT(got.duplicates, want.duplicates);
        EXPECT_INT(got.reordered, want.reordered);
    }
}
