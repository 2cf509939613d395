#include "tests/chaos/check.h"

#include "tests/chaos/model.h"
#include "tests/t/t.h"

/* A sanitizer makes it twenty times as slow, and the same code runs. */
#ifdef DEBUG
enum { SEEDS = 60 };
#else
enum { SEEDS = 1000 };
#endif

static struct check_figures judge(struct slice log, FILE *out)
{
    struct check_options o = { .out = out, .show = 3, .live_ns = 10000000000,
                               .grace_ns = 0 };
    struct checker *c = checker_new(&o);
    struct check_figures f;

    checker_add(c, "log", log);
    checker_judge(c);
    f = *checker_figures(c);
    checker_free(c);
    return f;
}

static uint64_t found(const struct check_figures *f)
{
    uint64_t all = 0;

    for (unsigned i = 0; i < CHECK_PASSES; i++)
        all += f->found[i];
    return all;
}

static void accept(bool dense)
{
    uint64_t delivered = 0, gaps = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct buf log = BUF_INIT;
        struct check_figures f;

        model_write(&log, seed, MUTATIONS, dense);
        f = judge(buf_slice(&log), stdout);
        if (found(&f))
            test_fail(__FILE__, __LINE__, "seed %lu is right", seed);
        delivered += f.delivered;
        gaps += f.gaps;
        buf_fini(&log);
    }
    EXPECT(delivered > 100 * SEEDS && gaps > SEEDS);
}

TEST(what_is_right_is_accepted)
{
    accept(false);
}

TEST(what_is_right_is_accepted_in_runs)
{
    accept(true);
}

/* Each of these mutations, of every seed, by the pass that looks for it. */
static void find(enum mutation from, enum mutation to)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        for (unsigned m = from; m < to; m++) {
            struct buf log = BUF_INIT;
            struct check_figures f;

            model_write(&log, seed, m, false);
            f = judge(buf_slice(&log), NULL);
            if (!f.found[model_mutation_pass(m)])
                test_fail(__FILE__, __LINE__, "%s, seed %lu: not found by %s",
                          model_mutation_name(m), seed,
                          check_pass_name(model_mutation_pass(m)));
            buf_fini(&log);
        }
}

TEST(what_was_seen_too_seldom_too_often_or_too_early_is_found)
{
    find(MUTATE_DROP, MUTATE_HASH);
}

TEST(what_was_seen_as_something_else_is_found)
{
    find(MUTATE_HASH, MUTATE_HIDE_CLOSE);
}

TEST(what_was_told_wrongly_is_found)
{
    find(MUTATE_HIDE_CLOSE, MUTATE_GHOST);
}

TEST(what_was_stored_wrongly_is_found)
{
    find(MUTATE_GHOST, MUTATE_AGAIN);
}

TEST(where_something_begins_wrongly_is_found)
{
    find(MUTATE_AGAIN, MUTATE_ORDER);
}

TEST(who_was_answered_too_early_or_closed_for_nothing_is_found)
{
    find(MUTATE_ORDER, MUTATE_LATE);
}

TEST(who_was_left_alone_is_found)
{
    find(MUTATE_LATE, MUTATE_SCORE);
}

TEST(what_a_newcomer_was_told_wrongly_of_a_state_is_found)
{
    find(MUTATE_SCORE, MUTATE_KEPT);
}

TEST(what_a_slow_reader_may_not_do_without_is_found)
{
    find(MUTATE_KEPT, MUTATE_CONFLATED);
}

TEST(what_a_slow_reader_was_told_wrongly_is_found)
{
    find(MUTATE_CONFLATED, MUTATE_COMES);
}

TEST(gaps_that_tell_of_what_came_or_stop_too_early_are_found)
{
    find(MUTATE_COMES, MUTATIONS);
}

/* A store that could not be read: of the pattern anything may be missing. */
#define UNREADABLE(gap)                                                       \
    "I 1 1 1 feed/1 process a - -\nA 2 1 1 e 1 1 -\n"                         \
    "I 3 1 2 feed/1 process b - -\nA 4 1 2 e 2 2 -\n"                         \
    "I 5 1 3 feed/1 process c - -\nA 6 1 3 e 3 3 -\n"                         \
    "F 1 0 1 start disk-error http read\nF 9 0 1 heal\n"                      \
    "O 1 1 1 http ndjson\nS 2 1 1 e-1 feed/*\n"                               \
    "N 3 1 1 resumed feed/* e 1 - - - -\nB 3 1 1\n" gap                       \
    "M 7 1 1 feed/1 e 3 3 c 1 3 -\nE 8 1 1 self leave\n"                      \
    "V 9 0 feed/1 e 1 1 a 1 1\nV 9 0 feed/1 e 2 2 b 1 2\n"                    \
    "V 9 0 feed/1 e 3 3 c 1 3\nQ 9 0 quiet\nQ 9 0 end\n"

TEST(a_pattern_of_which_nothing_could_be_read_may_miss_what_is_kept)
{
    struct check_figures f = judge(
        SLICE(UNREADABLE("N 6 1 1 gap feed/* e 2 - - - damaged\n")), stdout);

    EXPECT(found(&f) == 0);
    f = judge(SLICE(UNREADABLE("")), NULL);
    EXPECT(found(&f) == 1);
    f = judge(SLICE(UNREADABLE("N 6 1 1 gap feed/* e 2 - - - volatile\n")),
              NULL);
    EXPECT(found(&f) >= 1);
}

/* A reader who is not told offsets, behind a gap: of the second one nobody else
 * knows, either. */
#define OFFSETS_UNTOLD(second)                                                \
    "I 1 1 1 volatile/1 memory a - -\nA 2 1 1 e 1 1 -\n"                      \
    "I 3 1 2 volatile/1 memory b - -\n" second                                \
    "I 5 1 3 volatile/1 memory c - -\nA 6 1 3 e 3 - -\n"                      \
    "F 1 0 1 start link-cut tcp memory\nF 9 0 1 heal\n"                       \
    "O 1 1 1 tcp telnet\nS 1 1 1 - volatile/1\nN 1 1 1 snapshot volatile/1 e " \
    "0 - - - -\nB 1 1 1\nM 2 1 1 volatile/1 e 1 - a 1 1 -\n"                  \
    "N 6 1 1 gap volatile/1 e 2 2 2 1 volatile\n"                             \
    "M 7 1 1 volatile/1 e 3 - c 1 3 -\nE 8 1 1 self leave\n"                  \
    "Q 9 0 quiet\nQ 9 0 end\n"

TEST(a_gap_may_be_of_what_nobody_knows_to_have_happened)
{
    struct check_figures f = judge(
        SLICE(OFFSETS_UNTOLD("U 4 1 2 died\n")), stdout);

    EXPECT(found(&f) == 0);
    f = judge(SLICE(OFFSETS_UNTOLD("R 4 1 2 busy\n")), NULL);
    EXPECT(f.found[CHECK_NOTICES] == 1);
}
