#include "proto/memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/stat.h"
#include "tests/t/t.h"

enum { PIECES = 4000, PIECE_BYTES = 500 };

static struct loop *loop;
static struct memory_watch watch;
static void *pieces[PIECES];

/* With another allocator (a sanitizer's) there is nothing to be seen. */
static bool is_ours(void)
{
    void *piece = malloc(PIECE_BYTES);
    bool ours = mallinfo2().uordblks > 0;

    free(piece);
    return ours;
}

/* A number behind a word in a file of /proc, without an allocation. */
static size_t number_of(const char *path, const char *word)
{
    char text[4096];
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);
    const char *at;

    EXPECT(fd >= 0 && n > 0);
    close(fd);
    text[n] = '\0';
    at = strstr(text, word);
    EXPECT(at != NULL);
    return strtoul(at + strlen(word), NULL, 10);
}

/* KiB of the process's own memory. */
static size_t own_kib(void)
{
    return number_of("/proc/self/smaps_rollup", "Private_Dirty:");
}

static void take_pieces(void)
{
    for (size_t i = 0; i < PIECES; i++) {
        pieces[i] = malloc(PIECE_BYTES);
        EXPECT(pieces[i] != NULL);
        memset(pieces[i], 1, PIECE_BYTES);
    }
}

/* All but the last one, which keeps the heap from getting shorter. */
static void give_pieces(void)
{
    for (size_t i = 0; i + 1 < PIECES; i++)
        free(pieces[i]);
}

static void looks(unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        clock_fake_advance(MEMORY_LOOK);
        EXPECT_OK(loop_step(loop, 0));
    }
}

static void begin(void)
{
    memory_settle(2);
    clock_fake(1, 1);
    EXPECT_OK(loop_new(&loop));
    memory_watch_start(&watch, loop);
    looks(4); /* whatever was free before */
}

static void end(void)
{
    memory_watch_stop(&watch);
    loop_free(loop);
    clock_real();
}

TEST(what_a_crowd_leaves_free_is_given_back_by_itself)
{
    size_t before, taken;

    if (!is_ours())
        return;
    begin();
    before = own_kib();
    take_pieces();
    looks(4);
    taken = own_kib();
    EXPECT(taken > before + PIECES * PIECE_BYTES / 1024);
    give_pieces();
    EXPECT(own_kib() + 256 > taken); /* malloc has it */
    watch.trims = 0;
    looks(3);
    EXPECT_INT(watch.trims, 1);
    EXPECT(own_kib() < before + 128);
    looks(5);
    EXPECT_INT(watch.trims, 1);
    free(pieces[PIECES - 1]);
    end();
}

TEST(what_is_free_for_a_moment_is_kept)
{
    if (!is_ours())
        return;
    begin();
    watch.trims = 0;
    for (int round = 0; round < 5; round++) {
        take_pieces();
        looks(1);
        give_pieces();
        looks(1);
        free(pieces[PIECES - 1]);
    }
    EXPECT_INT(watch.trims, 0);
    end();
}

/* Of very many pieces trimming would hold the loop: they stay. */
TEST(what_would_take_long_is_left_to_be_asked_for)
{
    enum { MANY = 40000, SMALL = 300 };
    static void *at[MANY * 2];

    if (!is_ours())
        return;
    begin();
    for (size_t i = 0; i < MANY * 2; i++)
        EXPECT((at[i] = malloc(SMALL)) != NULL);
    for (size_t i = 0; i < MANY * 2; i += 2)
        free(at[i]);
    watch.trims = watch.left = 0;
    looks(8); /* there are fewer, as each takes long, too */
    EXPECT_INT(watch.trims, 0);
    EXPECT_INT(watch.left, 1);
    for (size_t i = 1; i < MANY * 2; i += 2)
        free(at[i]);
    end();
}

/* A piece of its own goes back with its buffer, and that teaches malloc nothing:
 * the next one is no part of the heap either. */
TEST(a_large_buffer_is_never_part_of_the_heap)
{
    struct mallinfo2 before, after;
    void *large;

    if (!is_ours())
        return;
    memory_settle(2);
    for (int round = 0; round < 3; round++) {
        before = mallinfo2();
        large = malloc(1024 * 1024);
        EXPECT(large != NULL);
        memset(large, 1, 1024 * 1024);
        after = mallinfo2();
        EXPECT_INT(after.hblks, before.hblks + 1);
        EXPECT(after.arena <= before.arena + 4096);
        free(large);
        EXPECT_INT(mallinfo2().hblks, before.hblks);
    }
}

TEST(what_the_kernel_says_of_the_process_is_a_figure)
{
    enum { MORE = 8 * 1024 * 1024 };
    struct stat_sample s;
    uint64_t private;
    size_t at = 0;
    volatile char *more;

    EXPECT(!memory_next_figure(&at, &s)); /* not opened: there are none */
    memory_open_figures();
    EXPECT(memory_next_figure(&at, &s));
    EXPECT_STR(s.name, "memory_bytes");
    EXPECT_STR(s.label, "what=\"private\"");
    private = s.value;
    EXPECT(memory_next_figure(&at, &s));
    EXPECT_STR(s.label, "what=\"resident\"");
    EXPECT(s.value > private && private > 0);
    EXPECT(!memory_next_figure(&at, &s));
    more = malloc(MORE);
    EXPECT(more != NULL);
    for (size_t i = 0; i < MORE; i += 1024)
        more[i] = 1;
    at = 0;
    EXPECT(memory_next_figure(&at, &s));
    EXPECT(s.value >= private + MORE - 1024 * 1024);
    free((char *)more);
}
