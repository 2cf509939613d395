#include "proto/id.h"

#include <string.h>

#include "base/err.h"
#include "tests/t/t.h"

static struct slice repeat(char *room, const char *piece, size_t times)
{
    size_t len = strlen(piece);

    for (size_t i = 0; i < times; i++)
        memcpy(room + i * len, piece, len);
    return slice_make(room, times * len);
}

TEST(what_the_design_names_as_ids_are_ids)
{
    static const char *const good[] = {
        "123", "user/ana", "room/lobby", "match/elp-tig-2011-09-13", "a",
        "a/b/c/d", "~", "...", "a/.b", "a/..b", "caf\xc3\xa9/\xe2\x98\x83",
        "\xf0\x9f\x98\x80", "<script>", "a%2Fb", "\xc2\xa0",
    };

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        EXPECT_STR(id_problem(slice_str(good[i])), NULL);
}

TEST(what_could_mislead_or_break_a_reader_is_no_id)
{
    static const char *const bad[] = {
        "", "/", "a/", "/a", "a//b", ".", "..", "a/.", "a/../b", "./a",
        "a b", "a\tb", "a\nb", "\x01", "a\x7f", "a\x1f",
        "*", "a/*", "a*b", "**", "a/**",
        "\xff", "a\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80",
        "a\xc2\x80" "b", "a\xc2\x9f", "\xc2\x85",           /* C1 */
        "\xe2\x80\x8e", "\xe2\x80\x8f", "a\xe2\x80\xaa",    /* bidi */
        "\xe2\x80\xae" "a", "\xe2\x81\xa6", "\xe2\x81\xa9", "\xd8\x9c",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (id_valid(slice_str(bad[i])))
            test_fail(__FILE__, __LINE__, "taken as an id: number %zu", i);
    EXPECT(!id_valid(slice_make("a\0b", 3)));
}

TEST(an_id_is_at_most_200_bytes)
{
    char room[256];

    EXPECT(id_valid(repeat(room, "a", 200)));
    EXPECT(!id_valid(repeat(room, "a", 201)));
    EXPECT(id_valid(slice_make(repeat(room, "a/", 100).ptr, 199)));
}

TEST(characters_beside_the_forbidden_ranges_are_allowed)
{
    EXPECT(id_valid(SLICE("\xe2\x80\x8d")));     /* U+200D, a joiner */
    EXPECT(id_valid(SLICE("\xe2\x80\x90")));     /* U+2010 */
    EXPECT(id_valid(SLICE("\xe2\x80\xaf")));     /* U+202F */
    EXPECT(id_valid(SLICE("\xe2\x81\xa5")));     /* U+2065 */
    EXPECT(id_valid(SLICE("\xe2\x81\xaa")));     /* U+206A */
    EXPECT(id_valid(SLICE("\xd8\x9b")));         /* U+061B */
}

TEST(a_star_in_a_pattern_is_a_whole_segment)
{
    EXPECT_STR(pattern_problem(SLICE("match/*")), NULL);
    EXPECT_STR(pattern_problem(SLICE("match/**")), NULL);
    EXPECT_STR(pattern_problem(SLICE("*/x/*")), NULL);
    EXPECT_STR(pattern_problem(SLICE("**")), NULL);
    EXPECT_STR(pattern_problem(SLICE("user/ana")), NULL);
    EXPECT(pattern_problem(SLICE("match/a*")) != NULL);
    EXPECT(pattern_problem(SLICE("**/x")) != NULL);
    EXPECT(pattern_problem(SLICE("match/***")) != NULL);
    EXPECT(pattern_problem(SLICE("match//*")) != NULL);
    EXPECT(id_is_pattern(SLICE("a/*")));
    EXPECT(!id_is_pattern(SLICE("a/b")));
}

struct pair {
    const char *pattern, *id;
    bool matches;
};

static const struct pair pairs[] = {
    {"match/*", "match/a", true},      {"match/*", "match/a/b", false},
    {"match/*", "match", false},       {"match/**", "match/a", true},
    {"match/**", "match/a/b/c", true}, {"match/**", "match", false},
    {"match/**", "room/a", false},     {"**", "a", true},
    {"**", "a/b", true},               {"*", "a", true},
    {"*", "a/b", false},               {"*/*", "a/b", true},
    {"*/b", "a/b", true},              {"*/b", "a/c", false},
    {"a/*/c", "a/b/c", true},          {"a/*/c", "a/b/d", false},
    {"a/*/**", "a/b", false},          {"a/*/**", "a/b/c", true},
    {"a/b", "a/b", true},              {"a/b", "a/bc", false},
    {"a", "aa", false},
};

TEST(patterns_match_segment_by_segment)
{
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        if (pattern_matches(slice_str(pairs[i].pattern),
                            slice_str(pairs[i].id)) != pairs[i].matches)
            test_fail(__FILE__, __LINE__, "%s against %s", pairs[i].pattern,
                      pairs[i].id);
}

TEST(the_prefix_is_the_first_segment_with_its_slash)
{
    EXPECT_SLICE(id_prefix(SLICE("room/a/b")), SLICE("room/"));
    EXPECT_SLICE(id_prefix(SLICE("lonely")), SLICE(""));
}

/* ---- trie -------------------------------------------------------------- */

struct found {
    size_t count;
    const void *values[64];
};

static void note(void *ctx, void *value)
{
    struct found *f = ctx;

    if (f->count < ARRAY_LEN(f->values))
        f->values[f->count] = value;
    f->count++;
}

static bool has(const struct found *f, const void *value)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->values[i] == value)
            return true;
    return false;
}

TEST(the_trie_finds_what_pattern_matches_says)
{
    struct trie *t;

    EXPECT_OK(trie_new(&t));
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        *trie_slot(t, slice_str(pairs[i].pattern), true) =
            (void *)(uintptr_t)pairs[i].pattern;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct found f = {0};
        void *value = *trie_slot(t, slice_str(pairs[i].pattern), false);

        trie_match(t, slice_str(pairs[i].id), note, &f);
        EXPECT_INT(has(&f, value), pairs[i].matches);
    }
    trie_free(t);
}

TEST(a_removed_pattern_is_found_no_more_and_leaves_the_others)
{
    struct trie *t;
    struct found f = {0};
    int one, two;

    EXPECT_OK(trie_new(&t));
    *trie_slot(t, SLICE("a/*/c"), true) = &one;
    *trie_slot(t, SLICE("a/**"), true) = &two;
    EXPECT_INT(trie_count(t), 2);
    trie_remove(t, SLICE("a/*/c"));
    trie_remove(t, SLICE("a/*"));
    trie_match(t, SLICE("a/b/c"), note, &f);
    EXPECT_INT(f.count, 1);
    EXPECT(f.values[0] == &two);
    EXPECT(trie_slot(t, SLICE("a/*/c"), false) == NULL);
    EXPECT_INT(trie_count(t), 1);
    trie_free(t);
}

static struct slice random_text(char *room, bool pattern)
{
    size_t segments = 1 + test_random() % 4, len = 0;

    for (size_t i = 0; i < segments; i++) {
        uint64_t dice = test_random() % 6;

        if (i)
            room[len++] = '/';
        if (pattern && dice == 0 && i + 1 == segments) {
            memcpy(room + len, "**", 2);
            len += 2;
        } else {
            room[len++] = pattern && dice == 1 ? '*' : (char)('a' + dice % 3);
        }
    }
    return slice_make(room, len);
}

TEST(a_hundred_thousand_random_steps_keep_trie_and_list_the_same)
{
    enum { PATTERNS = 40 };
    char texts[PATTERNS][16], id_room[16];
    struct slice patterns[PATTERNS];
    bool in[PATTERNS] = {false};
    struct trie *t;

    EXPECT_OK(trie_new(&t));
    for (size_t i = 0; i < PATTERNS; i++)
        patterns[i] = random_text(texts[i], true);
    for (unsigned step = 0; step < 100000; step++) {
        size_t i = test_random() % PATTERNS, expected = 0;
        struct slice id = random_text(id_room, false);
        struct found f = {0};

        for (size_t k = 0; k < PATTERNS; k++) /* equal texts are one pattern */
            if (slice_eq(patterns[k], patterns[i])) {
                i = k;
                break;
            }
        in[i] = !in[i];
        if (in[i])
            *trie_slot(t, patterns[i], true) = texts[i];
        else
            trie_remove(t, patterns[i]);
        trie_match(t, id, note, &f);
        for (size_t k = 0; k < PATTERNS; k++)
            if (in[k] && pattern_matches(patterns[k], id)) {
                expected++;
                EXPECT(has(&f, texts[k]));
            }
        EXPECT_INT(f.count, expected);
    }
    trie_free(t);
}

TEST(without_memory_the_trie_stays_as_it_was)
{
    struct trie *t;

    EXPECT_OK(trie_new(&t));
    *trie_slot(t, SLICE("a/*"), true) = t;
    for (long n = 0;; n++) {
        void **slot;

        test_fail_malloc_after(n);
        slot = trie_slot(t, SLICE("a/b/c/**"), true);
        if (!test_malloc_failed()) {
            EXPECT(slot != NULL);
            break;
        }
        EXPECT(slot == NULL);
        EXPECT_INT(trie_count(t), 1);
        EXPECT(trie_slot(t, SLICE("a/*"), false) != NULL);
    }
    trie_free(t);
}
