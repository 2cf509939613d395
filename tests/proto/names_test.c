#include "proto/names.h"

#include "tests/t/t.h"

static struct slice of(char c, size_t n)
{
    static char text[256];

    memset(text, c, sizeof text);
    return slice_make(text, n);
}

TEST(a_name_is_a_word_that_people_can_read)
{
    EXPECT(name_valid(SLICE("ana")));
    EXPECT(name_valid(SLICE("José-\xf0\x9f\x98\x80\"'\\")));
    EXPECT(name_valid(of('a', PERSON_NAME_MAX)));
    EXPECT(!name_valid(of('a', PERSON_NAME_MAX + 1)));
    EXPECT(!name_valid(SLICE("")));
    EXPECT(!name_valid(SLICE("a b")));
    EXPECT(!name_valid(SLICE("a:b")));
    EXPECT(!name_valid(SLICE("a\tb")));
    EXPECT(!name_valid(SLICE("a\0b")));
    EXPECT(!name_valid(SLICE("a\x7f")));
    EXPECT(!name_valid(SLICE("a\xc2\x85")));
    EXPECT(!name_valid(SLICE("a\xff")));
}

TEST(a_conflation_key_may_have_spaces)
{
    EXPECT(key_valid(SLICE("score of: a b")));
    EXPECT(key_valid(of('a', CONFLATION_KEY_MAX)));
    EXPECT(!key_valid(of('a', CONFLATION_KEY_MAX + 1)));
    EXPECT(!key_valid(SLICE("")));
    EXPECT(!key_valid(SLICE("a\n")));
    EXPECT(!key_valid(SLICE("a\xc2\x9b")));
    EXPECT(!key_valid(SLICE("\xc3")));
}

TEST(an_idempotency_key_is_printable_ascii)
{
    EXPECT(idempotency_valid(SLICE("!~")));
    EXPECT(idempotency_valid(of('a', IDEMPOTENCY_KEY_MAX)));
    EXPECT(!idempotency_valid(of('a', IDEMPOTENCY_KEY_MAX + 1)));
    EXPECT(!idempotency_valid(SLICE("")));
    EXPECT(!idempotency_valid(SLICE("a b")));
    EXPECT(!idempotency_valid(SLICE("\x7f")));
    EXPECT(!idempotency_valid(SLICE("\xc3\xab")));
}
