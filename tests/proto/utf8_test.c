#include "base/utf8.h"

#include <stdio.h>

#include "base/err.h"
#include "tests/t/t.h"

static bool valid_in_two_pieces(struct slice s, size_t cut)
{
    struct utf8_state st = { 0 };

    return utf8_feed(&st, slice_head(s, cut))
           && utf8_feed(&st, slice_from(s, cut)) && utf8_done(&st);
}

static bool valid_bytewise(struct slice s)
{
    while (s.len) {
        uint32_t c;

        if (utf8_next(&s, &c) < 0)
            return false;
    }
    return true;
}

/* All ways to ask have to agree. */
static void expect_verdict(struct slice s, bool want, const char *name)
{
    if (utf8_valid(s) != want)
        test_fail(name, 0, "taken for %s", want ? "invalid" : "valid");
    for (size_t cut = 0; cut <= s.len; cut++)
        if (valid_in_two_pieces(s, cut) != want)
            test_fail(name, 0, "wrong when cut at %zu", cut);
    if (valid_bytewise(s) != want)
        test_fail(name, 0, "utf8_next disagrees");
}

static size_t from_hex(struct slice hex, uint8_t *out)
{
    size_t n = 0;

    for (size_t i = 0; i + 1 < hex.len; i += hex.ptr[i] == ' ' ? 1 : 2) {
        char pair[3] = { (char)hex.ptr[i], (char)hex.ptr[i + 1], 0 };

        if (pair[0] != ' ')
            out[n++] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return n;
}

/* num:valid:ASCII, num:valid hex:BYTES or num:invalid hex:BYTES:more. */
static bool check_line(struct slice line)
{
    uint8_t bytes[4096];
    struct slice rest = line, name = slice_split(&rest, ':');
    struct slice kind = slice_trim(slice_split(&rest, ':'));
    struct slice data = slice_split(&rest, ':');
    char label[64];

    snprintf(label, sizeof label, "case " SLICE_FMT, SLICE_ARG(name));
    if (slice_eq(kind, SLICE("valid")))
        expect_verdict(data, true, label);
    else if (slice_eq(kind, SLICE("valid hex")))
        expect_verdict(slice_make(bytes, from_hex(data, bytes)), true, label);
    else if (slice_eq(kind, SLICE("invalid hex")))
        expect_verdict(slice_make(bytes, from_hex(data, bytes)), false, label);
    else
        return false;
    return true;
}

TEST(the_conformance_cases_get_their_verdicts)
{
    size_t len, cases = 0;
    char *text = test_data("conformance/utf8-cases.txt", &len);
    struct slice rest = slice_make(text, len);

    while (rest.ptr) {
        struct slice line = slice_trim(slice_split(&rest, '\n'));

        if (line.len && line.ptr[0] != '#')
            cases += check_line(line);
    }
    EXPECT_INT(cases, 222);
    free(text);
}

TEST(every_code_point_survives_and_no_surrogate_does)
{
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        uint8_t bytes[4];
        struct slice s = slice_make(bytes, utf8_put(bytes, c));
        bool surrogate = c >= 0xd800 && c <= 0xdfff;
        uint32_t back = 0;

        EXPECT(utf8_valid(s) == !surrogate);
        EXPECT_ERR(utf8_next(&s, &back), surrogate ? ERR_BAD : 0);
        EXPECT_INT(back, surrogate ? 0 : c);
    }
}

/* Against the definition: shortest form, no surrogate, at most U+10FFFF. */
TEST(every_sequence_of_three_bytes_is_judged_by_the_definition)
{
    for (uint32_t v = 0x800000; v <= 0xffffff; v += 1) {
        uint8_t b[3] = { (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };
        bool tail1 = b[1] >> 6 == 2, tail2 = b[2] >> 6 == 2;
        bool two = b[0] >= 0xc2 && b[0] <= 0xdf && tail1 && b[2] < 0x80;
        uint32_t c = (b[0] & 0x0fu) << 12 | (b[1] & 0x3fu) << 6
                     | (b[2] & 0x3fu);
        bool three = b[0] >> 4 == 0xe && tail1 && tail2 && c >= 0x800
                     && (c < 0xd800 || c > 0xdfff);

        EXPECT(utf8_valid(slice_make(b, 3)) == (two || three));
    }
}

TEST(long_text_is_judged_wherever_the_bad_byte_is)
{
    uint8_t text[40];

    for (size_t at = 0; at < sizeof text; at++) {
        memset(text, 'a', sizeof text);
        EXPECT(utf8_valid(slice_make(text, sizeof text)));
        text[at] = 0x80;
        EXPECT(!utf8_valid(slice_make(text, sizeof text)));
        text[at] = 0xc3;
        EXPECT(!utf8_valid(slice_make(text, sizeof text)));
        if (at + 1 < sizeof text) {
            text[at + 1] = 0xa4;
            EXPECT(utf8_valid(slice_make(text, sizeof text)));
        }
    }
}

TEST(a_hopeless_beginning_is_refused_at_once)
{
    struct utf8_state st = { 0 };

    EXPECT(utf8_feed(&st, SLICE("\xf4")));
    EXPECT(!utf8_done(&st));
    EXPECT(!utf8_feed(&st, SLICE("\x90")));
}
