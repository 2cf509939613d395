/* JSON as bytes: accepted exactly when it is JSON, found, read and written. */
#include <string.h>

#include "base/err.h"
#include "proto/json.h"
#include "tests/t/t.h"

static int check(const char *text)
{
    return json_check(slice_str(text), 32, NULL);
}

static size_t wrong_at(const char *text)
{
    size_t at = 999;

    EXPECT_ERR(json_check(slice_str(text), 32, &at), ERR_BAD);
    return at;
}

/* ---- the conformance suite -------------------------------------------- */

static uint8_t digit_of(uint8_t c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *p = strchr(digits, c);

    EXPECT(c && p);
    return (uint8_t)(p - digits);
}

static void add_base64(struct buf *out, struct slice raw)
{
    struct buf b = BUF_INIT;

    EXPECT_OK(json_unescape(&b, raw));
    EXPECT_INT(b.len % 4, 0);
    for (size_t i = 0; i < b.len; i += 4) {
        unsigned v = 0, pads = 0;

        for (size_t j = i; j < i + 4; j++) {
            pads += b.ptr[j] == '=';
            v = v << 6 | (b.ptr[j] == '=' ? 0u : digit_of(b.ptr[j]));
        }
        for (unsigned j = 0; j < 3 - pads; j++)
            buf_add_byte(out, (uint8_t)(v >> (16 - 8 * j)));
    }
    buf_fini(&b);
}

/* {b64} or {b64,times,tail_b64} */
static void build_document(struct slice spec, struct buf *out)
{
    struct slice b64, raw;
    int64_t times = 1;

    EXPECT_OK(json_find(spec, "b64", &b64));
    if (json_find(spec, "times", &raw) == 0)
        EXPECT_OK(json_integer(raw, &times));
    while (times-- > 0)
        add_base64(out, b64);
    if (json_find(spec, "tail_b64", &raw) == 0)
        add_base64(out, raw);
}

TEST(the_conformance_suite_gets_its_verdicts)
{
    size_t len;
    char *text = test_data("conformance/json-parsing-suite.json", &len);
    struct json_iter it = json_iter(slice_make(text, len));
    struct slice name, spec;
    struct buf doc = BUF_INIT;
    int accepted = 0, refused = 0, either = 0;

    while (json_next(&it, &name, &spec)) {
        int rc;

        buf_reset(&doc);
        build_document(spec, &doc);
        rc = json_check(buf_slice(&doc), JSON_DEPTH_MAX, NULL);
        if (name.ptr[1] == 'y' && rc < 0)
            test_fail(__FILE__, __LINE__, "refused: " SLICE_FMT,
                      SLICE_ARG(name));
        if (name.ptr[1] == 'n' && rc == 0)
            test_fail(__FILE__, __LINE__, "accepted: " SLICE_FMT,
                      SLICE_ARG(name));
        *(name.ptr[1] == 'y' ? &accepted : name.ptr[1] == 'n' ? &refused
          : &either) += 1;
    }
    EXPECT_INT(accepted, 95);
    EXPECT_INT(refused, 188);
    EXPECT_INT(either, 35);
    buf_fini(&doc);
    free(text);
}

/* ---- checking --------------------------------------------------------- */

TEST(each_kind_of_value_is_a_document)
{
    EXPECT_OK(check("{}"));
    EXPECT_OK(check(" [ ] "));
    EXPECT_OK(check("\"\""));
    EXPECT_OK(check("-0.5e+10"));
    EXPECT_OK(check("true"));
    EXPECT_OK(check("\r\n\t null\n"));
    EXPECT_OK(check("{\"a\":[1,{\"b\":[[]]},\"c\"],\"d\":{}}"));
}

TEST(what_a_lenient_parser_takes_is_refused)
{
    const char *const bad[] = {
        "", " ", "{}{}", "[1] x", "[1,]", "{\"a\":1,}", "{a:1}", "{'a':1}",
        "01", "1.", ".5", "+1", "1e", "0x10", "NaN", "Infinity", "tru",
        "nulll", "\"\\x41\"", "\"\\u12g4\"", "\"a\nb\"", "\"open", "\"\\",
        "[1}", "{\"a\":1]", "{\"a\" 1}", "{\"a\"}", "{1:2}", "[", "{", "]",
        "\xef\xbb\xbf{}", "[\"\xff\"]", "[\"\xed\xa0\x80\"]",
        "[\"\xc0\xaf\"]", "/**/1", "[1 2]", "{,}", "[,]", "-", "--1", "1e+",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (check(bad[i]) != ERR_BAD)
            test_fail(__FILE__, __LINE__, "accepted: %s", bad[i]);
    EXPECT_ERR(json_check(slice_make("1\0", 2), 32, NULL), ERR_BAD);
    EXPECT_ERR(json_check(slice_make("\"\0\"", 3), 32, NULL), ERR_BAD);
    EXPECT_ERR(json_check(slice_make(NULL, 0), 32, NULL), ERR_BAD);
}

TEST(the_answer_names_the_place)
{
    EXPECT_INT(wrong_at("[1,2,]"), 5);
    EXPECT_INT(wrong_at("{\"a\":tru}"), 8);
    EXPECT_INT(wrong_at("[1] x"), 4);
    EXPECT_INT(wrong_at("[\"ab\xff\"]"), 4);
    EXPECT_INT(wrong_at(""), 0);
}

TEST(every_truncation_of_a_document_is_refused)
{
    const char *doc = "{\"a\":[1.5e3,true,null,\"x\\u00e9\\n\"],\"b\":{}}";

    EXPECT_OK(check(doc));
    for (size_t n = 0; n < strlen(doc); n++)
        EXPECT_ERR(json_check(slice_make(doc, n), 32, NULL), ERR_BAD);
}

TEST(nesting_has_a_limit_and_needs_no_stack)
{
    struct buf b = BUF_INIT;

    for (int i = 0; i < 32; i++)
        buf_add_str(&b, i % 2 ? "[" : "{\"a\":");
    buf_add_str(&b, "1");
    for (int i = 32; i-- > 0;)
        buf_add_str(&b, i % 2 ? "]" : "}");
    EXPECT_OK(json_check(buf_slice(&b), 32, NULL));
    EXPECT_ERR(json_check(buf_slice(&b), 31, NULL), ERR_BAD);
    buf_reset(&b);
    for (int i = 0; i < 100000; i++)
        buf_add_byte(&b, '[');
    EXPECT_ERR(json_check(buf_slice(&b), JSON_DEPTH_MAX, NULL), ERR_BAD);
    buf_fini(&b);
}

/* ---- finding ---------------------------------------------------------- */

TEST(a_value_is_found_as_it_was_written)
{
    struct slice doc = SLICE(" { \"a\" : 1.50 , \"b\":{\"a\": [ 2 ]},"
                             "\"\\u0063\":\"x\"}");
    struct slice raw;

    EXPECT_OK(json_find(doc, "a", &raw));
    EXPECT_SLICE(raw, SLICE("1.50"));
    EXPECT_OK(json_find(doc, "b", &raw));
    EXPECT_SLICE(raw, SLICE("{\"a\": [ 2 ]}"));
    EXPECT_OK(json_find(doc, "c", &raw));
    EXPECT_SLICE(raw, SLICE("\"x\""));
    EXPECT_ERR(json_find(doc, "d", &raw), ERR_NOT_FOUND);
    EXPECT_ERR(json_find(doc, "A", &raw), ERR_NOT_FOUND);
}

TEST(two_values_of_a_key_are_json_but_nobody_picks_one)
{
    struct slice raw, doc = SLICE("{\"a\":1,\"b\":2,\"\\u0061\":3}");

    EXPECT_OK(json_check(doc, 32, NULL));
    EXPECT_ERR(json_find(doc, "a", &raw), ERR_BAD);
    EXPECT_OK(json_find(doc, "b", &raw));
}

TEST(finding_in_what_is_no_object_fails)
{
    struct slice raw;

    EXPECT_ERR(json_find(SLICE("[1]"), "a", &raw), ERR_BAD);
    EXPECT_ERR(json_find(SLICE(""), "a", &raw), ERR_BAD);
    EXPECT_ERR(json_find(SLICE("{\"b\":}"), "a", &raw), ERR_BAD);
    EXPECT_ERR(json_find(SLICE("{\"b\":1"), "a", &raw), ERR_BAD);
    EXPECT_ERR(json_find(SLICE("{\"b\":1 \"a\":2}"), "a", &raw), ERR_BAD);
    EXPECT_ERR(json_find(SLICE("{b"), "a", &raw), ERR_BAD);
}

TEST(arrays_and_objects_are_walked)
{
    struct json_iter it = json_iter(SLICE("[ 1, [2,3] ,\"x\" ]"));
    struct slice k, v;

    EXPECT(json_next(&it, &k, &v));
    EXPECT_SLICE(v, SLICE("1"));
    EXPECT(json_next(&it, &k, &v));
    EXPECT_SLICE(v, SLICE("[2,3]"));
    EXPECT(json_next(&it, &k, &v));
    EXPECT_SLICE(v, SLICE("\"x\""));
    EXPECT(!json_next(&it, &k, &v));
    it = json_iter(SLICE("{\"a\":{},\"b\":null}"));
    EXPECT(json_next(&it, &k, &v));
    EXPECT_SLICE(k, SLICE("\"a\""));
    EXPECT(json_next(&it, &k, &v));
    EXPECT_SLICE(v, SLICE("null"));
    EXPECT(!json_next(&it, &k, &v));
    it = json_iter(SLICE("17"));
    EXPECT(!json_next(&it, &k, &v));
    it = json_iter(SLICE("{}"));
    EXPECT(!json_next(&it, &k, &v));
}

TEST(a_value_tells_its_kind)
{
    EXPECT_INT(json_kind(SLICE(" {}")), JSON_OBJECT);
    EXPECT_INT(json_kind(SLICE("[]")), JSON_ARRAY);
    EXPECT_INT(json_kind(SLICE("\"\"")), JSON_STRING);
    EXPECT_INT(json_kind(SLICE("-1")), JSON_NUMBER);
    EXPECT_INT(json_kind(SLICE("true")), JSON_TRUE);
    EXPECT_INT(json_kind(SLICE("false")), JSON_FALSE);
    EXPECT_INT(json_kind(SLICE("null")), JSON_NULL);
    EXPECT_INT(json_kind(SLICE("  ")), JSON_NONE);
}

/* ---- strings and numbers ---------------------------------------------- */

static void expect_unescaped(const char *raw, struct slice want)
{
    struct buf b = BUF_INIT;

    EXPECT_OK(json_unescape(&b, slice_str(raw)));
    EXPECT_SLICE(buf_slice(&b), want);
    EXPECT(json_is(slice_str(raw), want));
    buf_fini(&b);
}

TEST(strings_are_read)
{
    struct buf b = BUF_INIT;

    expect_unescaped("\"\"", SLICE(""));
    expect_unescaped("\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
                     SLICE("a\"\\/\b\f\n\r\t"));
    expect_unescaped("\"\\u00e9\\u20AC\"", SLICE("\xc3\xa9\xe2\x82\xac"));
    expect_unescaped("\"\\ud83d\\ude00!\"", SLICE("\xf0\x9f\x98\x80!"));
    expect_unescaped("\"\\u0000x\"", SLICE("\0x"));
    expect_unescaped("\"\\ud83d!\"", SLICE("\xef\xbf\xbd!"));
    expect_unescaped("\"\\ude00\"", SLICE("\xef\xbf\xbd"));
    expect_unescaped("\"\\ude00\\ude00\"",
                     SLICE("\xef\xbf\xbd\xef\xbf\xbd"));
    expect_unescaped("\"\\ud83d\\u0041\"", SLICE("\xef\xbf\xbd" "A"));
    EXPECT_ERR(json_unescape(&b, SLICE("7")), ERR_BAD);
    EXPECT_ERR(json_unescape(&b, SLICE("\"a\" ")), ERR_BAD);
    EXPECT_ERR(json_unescape(&b, SLICE("\"")), ERR_BAD);
    EXPECT_INT(b.len, 0);
    EXPECT(!json_is(SLICE("\"ab\""), SLICE("a")));
    EXPECT(!json_is(SLICE("\"a\""), SLICE("ab")));
    EXPECT(!json_is(SLICE("a"), SLICE("a")));
}

TEST(integers_are_read_and_nothing_else)
{
    int64_t v;

    EXPECT_OK(json_integer(SLICE("0"), &v));
    EXPECT_INT(v, 0);
    EXPECT_OK(json_integer(SLICE("-9223372036854775808"), &v));
    EXPECT_INT(v, INT64_MIN);
    EXPECT_OK(json_integer(SLICE("9223372036854775807"), &v));
    EXPECT_INT(v, INT64_MAX);
    EXPECT_ERR(json_integer(SLICE("9223372036854775808"), &v), ERR_TOO_BIG);
    EXPECT_ERR(json_integer(SLICE("1.0"), &v), ERR_BAD);
    EXPECT_ERR(json_integer(SLICE("1e3"), &v), ERR_BAD);
    EXPECT_ERR(json_integer(SLICE("\"1\""), &v), ERR_BAD);
    EXPECT_ERR(json_integer(SLICE("-"), &v), ERR_BAD);
    EXPECT_ERR(json_integer(SLICE(""), &v), ERR_BAD);
}

static const char *written(struct buf *b, struct slice text)
{
    buf_reset(b);
    json_put_string(b, text);
    EXPECT_OK(json_check(buf_slice(b), 1, NULL));
    return buf_text(b);
}

TEST(unescaping_needs_no_more_room_than_the_document)
{
    static const char *const raws[] = { "\"\\uffff\\ud83d\\ude00\\ud800\"",
                                        "\"\\n\\/\"", "\"plain \xc3\xa9\"" };

    for (size_t i = 0; i < ARRAY_LEN(raws); i++) {
        struct slice raw = slice_str(raws[i]);
        struct buf b = BUF_INIT;
        size_t room;

        EXPECT(buf_reserve(&b, 4096));
        room = b.cap;
        b.len = room - raw.len;
        EXPECT_OK(json_unescape(&b, raw));
        EXPECT_INT(b.cap, room);
        buf_fini(&b);
    }
}

TEST(whatever_is_written_as_a_string_is_json)
{
    struct buf b = BUF_INIT;

    EXPECT_STR(written(&b, SLICE("")), "\"\"");
    EXPECT_STR(written(&b, SLICE("a\"\\\n\r\t\b\f\x01\x1f/\x7f")),
               "\"a\\\"\\\\\\n\\r\\t\\b\\f\\u0001\\u001f/\x7f\"");
    EXPECT_STR(written(&b, SLICE("\0")), "\"\\u0000\"");
    EXPECT_STR(written(&b, SLICE("\xc3\xa9")), "\"\xc3\xa9\"");
    EXPECT_STR(written(&b, SLICE("a\xff\xc3" "b\xed\xa0\x80")),
               "\"a\xef\xbf\xbd\xef\xbf\xbd" "b"
               "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    buf_fini(&b);
}

/* Strings are looked through several bytes at a time. */
TEST(a_byte_means_the_same_wherever_in_a_string_it_stands)
{
    enum { DOTS = 18 };

    for (unsigned byte = 0; byte < 0x100; byte++)
        for (size_t at = 0; at < DOTS; at++) {
            char text[] = "\"..................\"";
            bool plain = byte >= 0x20 && byte < 0x80 && byte != '"' &&
                         byte != '\\';
            struct buf b = BUF_INIT;
            size_t wrong;

            text[1 + at] = (char)byte;
            EXPECT_INT(json_check(slice_make(text, DOTS + 2), 1, &wrong),
                       plain ? 0 : ERR_BAD);
            json_put_string(&b, slice_make(text + 1, DOTS));
            EXPECT_OK(json_check(buf_slice(&b), 1, &wrong));
            EXPECT_INT(b.len == DOTS + 2, plain);
            buf_fini(&b);
        }
}

TEST(every_naughty_string_survives_the_way_there_and_back)
{
    size_t len;
    char *text = test_data("conformance/naughty-strings.json", &len);
    struct slice all = slice_make(text, len), k, v;
    struct json_iter it = json_iter(all);
    struct buf plain = BUF_INIT, again = BUF_INIT, back = BUF_INIT;
    int count = 0;

    EXPECT_OK(json_check(all, 32, NULL));
    while (json_next(&it, &k, &v)) {
        buf_reset(&plain);
        buf_reset(&again);
        buf_reset(&back);
        EXPECT_OK(json_unescape(&plain, v));
        json_put_string(&again, buf_slice(&plain));
        EXPECT_OK(json_unescape(&back, buf_slice(&again)));
        EXPECT_SLICE(buf_slice(&back), buf_slice(&plain));
        EXPECT(json_is(v, buf_slice(&plain)));
        count++;
    }
    EXPECT(count > 500);
    buf_fini(&plain);
    buf_fini(&again);
    buf_fini(&back);
    free(text);
}

TEST(objects_are_written_key_by_key)
{
    struct buf b = BUF_INIT;

    buf_add_str(&b, "[{");
    json_put_key(&b, "a");
    buf_add_str(&b, "1");
    json_put_key(&b, "b\n");
    json_put_string(&b, SLICE("{"));
    json_put_key(&b, "c");
    buf_add_str(&b, "{");
    json_put_key(&b, "d");
    buf_add_str(&b, "2}}]");
    EXPECT_STR(buf_text(&b),
               "[{\"a\":1,\"b\\n\":\"{\",\"c\":{\"d\":2}}]");
    buf_fini(&b);
}

TEST(a_value_fits_on_one_line_and_stays_what_it_is)
{
    struct buf b = BUF_INIT;

    json_one_line(&b, SLICE("{\r\n \"a\\n\" :\n[1,\r2]}"));
    EXPECT_STR(buf_text(&b), "{   \"a\\n\" : [1, 2]}");
    json_one_line(&b, SLICE(""));
    EXPECT_STR(buf_text(&b), "{   \"a\\n\" : [1, 2]}");
    buf_fini(&b);
}

/* In memory that ends where the text ends, so that an overrun shows. */
static void try_everything(const void *bytes, size_t len)
{
    uint8_t *text = malloc(MAX(len, (size_t)1));
    struct slice s = slice_make(text, len), k, v;
    struct buf b = BUF_INIT;
    struct json_iter it;
    int64_t n;

    memcpy(text, bytes, len);
    it = json_iter(s);
    while (json_next(&it, &k, &v))
        if (json_unescape(&b, v) == 0)
            EXPECT_INT(json_kind(v), JSON_STRING);
    if (json_find(s, "a", &v) == 0)
        EXPECT_INT(json_kind(s), JSON_OBJECT);
    if (json_unescape(&b, s) == 0)
        EXPECT_INT(json_kind(s), JSON_STRING);
    if (json_integer(s, &n) == 0)
        EXPECT_OK(json_check(s, 1, NULL));
    buf_fini(&b);
    free(text);
}

TEST(random_bytes_never_make_a_function_overrun)
{
    static const char alphabet[] = "{}[]\",:\\u0aE+-.1tfn \n\xc3\xa9";

    for (int round = 0; round < 20000; round++) {
        char text[24];
        size_t len = test_random() % sizeof text;

        for (size_t i = 0; i < len; i++)
            text[i] = alphabet[test_random() % (sizeof alphabet - 1)];
        try_everything(text, len);
    }
}
