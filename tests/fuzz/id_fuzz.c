/* Any bytes as id, pattern and trie content: the grammar, pattern_matches()
 * and the trie must agree. Input: patterns separated by newlines, then an id
 * behind the last one. */
#include "proto/id.h"

#include "base/check.h"

enum { PATTERNS_MAX = 64 };

struct found {
    size_t count;
};

static void note(void *ctx, void *value)
{
    struct found *f = ctx;

    CHECK(value != NULL);
    f->count++;
}

static void check_grammar(struct slice s)
{
    if (id_valid(s)) {
        CHECK(pattern_problem(s) == NULL);
        CHECK(!id_is_pattern(s));
        CHECK(s.len >= 1 && s.len <= ID_MAX);
        CHECK(pattern_matches(s, s));
        CHECK(slice_starts(s, id_prefix(s)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_make(data, size), last = rest;
    struct slice kept[PATTERNS_MAX];
    struct found f = {0};
    size_t count = 0, expected = 0;
    struct trie *t;

    if (trie_new(&t) < 0)
        return 0;
    while (rest.ptr) {
        last = slice_split(&rest, '\n');
        check_grammar(last);
        if (pattern_problem(last) || count == PATTERNS_MAX)
            continue;
        if (!trie_slot(t, last, false)) {
            *trie_slot(t, last, true) = t;
            kept[count++] = last;
        }
    }
    CHECK(trie_count(t) == count);
    if (id_valid(last)) {
        for (size_t i = 0; i < count; i++)
            expected += pattern_matches(kept[i], last);
        trie_match(t, last, note, &f);
        CHECK(f.count == expected);
    }
    for (size_t i = 0; i < count; i++)
        trie_remove(t, kept[i]);
    CHECK(trie_count(t) == 0);
    trie_free(t);
    return 0;
}
