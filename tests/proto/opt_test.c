#include "base/opt.h"

#include "base/err.h"
#include "tests/t/t.h"

struct values {
    bool flag;
    size_t size, count;
    int64_t time;
    int word;
    char *text, *secret;
    struct opt_list list;
};

static int no_x(struct slice text, const char **why)
{
    *why = "x is not wanted";
    return slice_find_byte(text, 'x') < text.len ? ERR_BAD : 0;
}

static const struct opt_row rows[] = {
    { "a", "flag", OPT_BOOL, offsetof(struct values, flag), "yes", NULL, 0, 0,
      "all", CHANGE_NOW, "a flag", NULL },
    { "a", "size", OPT_SIZE, offsetof(struct values, size), "64K", NULL, 1,
      1 * GIB, "all", CHANGE_NOW, "a size", NULL },
    { "a", "count", OPT_COUNT, offsetof(struct values, count), "all", NULL, 0,
      OPT_ALL, "all", CHANGE_NOW, "a count", NULL },
    { "a", "time", OPT_DURATION, offsetof(struct values, time), "25", NULL, 0,
      1 * DAY, "all", CHANGE_NOW, "a time", NULL },
    { "b", "word", OPT_ENUM, offsetof(struct values, word), "two",
      "one|two|three", 0, 0, "all", CHANGE_NOW, "a word", NULL },
    { "b", "text", OPT_STRING, offsetof(struct values, text), "", NULL, 0, 0,
      "all", CHANGE_NOW, "a text", no_x },
    { "b", "secret", OPT_SECRET, offsetof(struct values, secret), "", NULL, 0,
      0, "all", CHANGE_NOW, "a secret", no_x },
    { "b", "list", OPT_LIST, offsetof(struct values, list), "a, b", NULL, 0, 0,
      "all", CHANGE_NOW, "a list", no_x },
};

static struct values v;
static struct opt_error err;

static int put(void *ctx, const struct opt_assign *a, struct opt_error *e)
{
    const struct opt_row *row = opt_find(rows, ARRAY_LEN(rows), a, e);

    UNUSED(ctx);
    return row ? opt_put(row, &v, a, e) : ERR_BAD;
}

static int set(const char *text)
{
    return opt_read_set(text, put, NULL, &err);
}

static void begin(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        EXPECT_OK(opt_put_default(&rows[i], &v));
}

static void end(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        opt_clear(&rows[i], &v);
}

static const char *printed(const char *key)
{
    static struct buf out;

    buf_reset(&out);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].key, key) == 0)
            opt_print(&out, &rows[i], &v);
    return buf_text(&out);
}

TEST(defaults_are_as_declared)
{
    begin();
    EXPECT(v.flag);
    EXPECT_INT(v.size, 65536);
    EXPECT(v.count == SIZE_MAX);
    EXPECT_INT(v.time, 25 * SECOND);
    EXPECT_INT(v.word, 1);
    EXPECT_STR(v.text, "");
    EXPECT_INT(v.list.count, 2);
    EXPECT_STR(v.list.items[1], "b");
    end();
}

TEST(numbers_have_units_and_print_in_the_largest_that_fits)
{
    static const struct {
        const char *set, *key, *print;
    } cases[] = {
        { "a.size=4096", "size", "4K" },   { "a.size=1M", "size", "1M" },
        { "a.size=1025", "size", "1025" }, { "a.size=1G", "size", "1G" },
        { "a.time=0", "time", "0" },       { "a.time=90", "time", "90s" },
        { "a.time=500ms", "time", "500ms" }, { "a.time=120s", "time", "2m" },
        { "a.time=1d", "time", "1d" },     { "a.time=5us", "time", "5us" },
        { "a.count=0", "count", "0" },     { "a.count=10K", "count", "10K" },
        { "a.count=1500", "count", "1500" }, { "a.count=2M", "count", "2M" },
        { "a.count=all", "count", "all" }, { "a.flag=off", "flag", "no" },
        { "a.flag=true", "flag", "yes" },  { "b.word=three", "word", "three" },
        { "b.list= p ,q", "list", "p, q" }, { "b.list=", "list", "" },
        { "b.text=a #b", "text", "\"a #b\"" },
        { "b.text=say \"\\\"", "text", "\"say \\\"\\\\\\\"\"" },
        { "b.secret=hidden", "secret", "" },
    };

    begin();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        EXPECT_OK(set(cases[i].set));
        EXPECT_STR(printed(cases[i].key), cases[i].print);
    }
    EXPECT_INT(v.count == SIZE_MAX, 1);
    EXPECT_STR(v.secret, "hidden");
    end();
}

TEST(a_share_of_memory_is_a_size)
{
    size_t one;

    begin();
    EXPECT_ERR(set("a.size=25%"), ERR_BAD); /* more than its largest */
    EXPECT_ERR(set("a.time=25%"), ERR_BAD);
    EXPECT_ERR(set("a.size=0%"), ERR_BAD);
    one = v.size;
    EXPECT_INT(one, 65536);
    end();
}

TEST(a_bad_value_is_refused_with_the_place_and_what_would_do)
{
    static const struct {
        const char *set, *error;
    } cases[] = {
        { "a.size=0", "--set: a.size = 0: it has to be 1 to 1G" },
        { "a.size=2G", "--set: a.size = 2G: it has to be 1 to 1G" },
        { "a.size=99999999999G", "it has to be 1 to 1G" },
        { "a.size=17179869185G", "it has to be 1 to 1G" }, /* 2^64 + 1G */
        { "a.size=-1", "a size is a number of bytes, or like 64K" },
        { "a.size=1k", "a size is a number of bytes" },
        { "a.size=", "a size is a number of bytes" },
        { "a.size=K", "a size is a number of bytes" },
        { "a.size=all", "a size is a number of bytes" },
        { "a.size=1.5M", "a size is a number of bytes" },
        { "a.count=1m", "a count is a number" },
        { "a.time=1 h", "a time is a number of seconds" },
        { "a.time=25h", "it has to be 0 to 1d" },
        { "a.flag=maybe", "it has to be yes or no" },
        { "b.word=four", "it has to be one, two or three" },
        { "b.word=", "it has to be one, two or three" },
        { "b.text=ax", "b.text = ax: x is not wanted" },
        { "b.text=a\tb", "control characters" },
        { "b.list=a,,b", "an item of the list is empty" },
        { "b.list=a,x", "x is not wanted" },
        { "b.secret=xyz", "b.secret = ...: x is not wanted" },
    };

    begin();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        EXPECT_ERR(set(cases[i].set), ERR_BAD);
        EXPECT_CONTAINS(err.text, cases[i].error);
    }
    EXPECT_INT(v.size, 65536);
    EXPECT_STR(v.text, "");
    EXPECT_INT(v.list.count, 2);
    end();
}

TEST(an_unknown_key_names_the_nearest_known)
{
    EXPECT_ERR(set("a.tiem=1"), ERR_BAD);
    EXPECT_STR(err.text, "--set: unknown key a.tiem; did you mean time?");
    EXPECT_ERR(set("b.lst=1"), ERR_BAD);
    EXPECT_CONTAINS(err.text, "did you mean list?");
    EXPECT_ERR(set("a.somethingelse=1"), ERR_BAD);
    EXPECT_CONTAINS(err.text, "unknown key a.somethingelse; --print-config");
    EXPECT_ERR(set("aa.size=1"), ERR_BAD);
    EXPECT_STR(err.text, "--set: unknown section aa; did you mean a?");
}

TEST(a_set_without_its_parts_is_refused)
{
    static const char *const bad[] = { "", "a", "a.size", "size=1", ".size=1",
                                       "=1", "." };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        EXPECT_ERR(set(bad[i]), ERR_BAD);
        EXPECT_CONTAINS(err.text, "expected SECTION.KEY=VALUE");
    }
}

/* --- files --- */

static struct buf seen;

static int note(void *ctx, const struct opt_assign *a, struct opt_error *e)
{
    UNUSED(ctx), UNUSED(e);
    buf_addf(&seen, SLICE_FMT "(" SLICE_FMT ")." SLICE_FMT "=<" SLICE_FMT ">\n",
             SLICE_ARG(a->section), SLICE_ARG(a->name), SLICE_ARG(a->key),
             SLICE_ARG(a->value));
    return 0;
}

static int read_text(struct slice text, opt_assign_fn *fn)
{
    const char *path = test_path("x.conf");

    test_write_file(path, text);
    buf_reset(&seen);
    return opt_read_file(path, fn, NULL, &err);
}

TEST(a_file_has_sections_keys_comments_and_quotes)
{
    EXPECT_OK(read_text(SLICE("\xef\xbb\xbf# comment\r\n; another\n\n"
                              "[a]\r\n"
                              "  flag=yes\r\n"
                              "size = 1M ; why not\n"
                              "[ namespace   room/b c ]\n"
                              "k=v#w=x # gone\n"
                              "q = \" a # b \\\" \\\\ \" # c\n"
                              "e =\n"
                              "l = 127.0.0.1:1, [::1]:2"), note));
    EXPECT_STR(buf_text(&seen), "a().flag=<yes>\n"
                                "a().size=<1M>\n"
                                "namespace(room/b c).k=<v#w=x>\n"
                                "namespace(room/b c).q=< a # b \" \\ >\n"
                                "namespace(room/b c).e=<>\n"
                                "namespace(room/b c).l=<127.0.0.1:1, "
                                "[::1]:2>\n");
}

TEST(what_is_printed_reads_back_blanks_at_the_edges_included)
{
    begin();
    EXPECT_OK(read_text(SLICE("[b]\ntext = \"  a \"\n"), put));
    EXPECT_STR(v.text, "  a ");
    EXPECT_STR(printed("text"), "\"  a \"");
    end();
}

TEST(lines_and_names_of_any_length_are_read_whole)
{
    struct buf text = BUF_INIT;

    buf_add_str(&text, "[namespace ");
    for (int i = 0; i < 300; i++)
        buf_add_byte(&text, 'n');
    buf_add_str(&text, "]\nkey = ");
    for (int i = 0; i < 10000; i++)
        buf_add_byte(&text, 'v');
    EXPECT_OK(read_text(buf_slice(&text), note));
    EXPECT_INT(seen.len, strlen("namespace().key=<>\n") + 300 + 10000);
    buf_fini(&text);
}

TEST(an_error_in_a_file_names_the_line)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        { "[a]\n\nflag\n", "x.conf:3: neither [section] nor key = value" },
        { "flag = yes\n", "x.conf:1: a key before the first [section]" },
        { "[a\n", "x.conf:1: a section has to end in ]" },
        { "[ ]\n", "x.conf:1: a section needs a name" },
        { "[a]\nflag = \"x\n", "x.conf:2: a quote without its end" },
        { "[a]\nflag = \"x\" y\n", "x.conf:2: text behind the closing quote" },
        { "[a]\nflag = 7\n", "x.conf:2: a.flag = 7: it has to be yes or no" },
        { "[a]\nflga = yes\n", "x.conf:2: unknown key a.flga; did you mean" },
        { "[a]\nsize = 1\n[c]\nk = 1\n", "x.conf:4: unknown section c" },
    };

    begin();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        EXPECT_ERR(read_text(slice_str(cases[i].text), put), ERR_BAD);
        EXPECT_CONTAINS(err.text, cases[i].error);
    }
    end();
}

TEST(a_file_with_a_nul_byte_is_refused)
{
    static const char text[] = "[a]\nflag = yes\n[list x\0y]\n";

    begin();
    EXPECT_ERR(read_text(slice_make(text, sizeof text - 1), put), ERR_BAD);
    EXPECT_CONTAINS(err.text, "x.conf:3: a NUL byte");
    end();
}

TEST(a_file_that_cannot_be_read_says_why)
{
    EXPECT_ERR(opt_read_file(test_path("none"), note, NULL, &err), ERR_IO);
    EXPECT_CONTAINS(err.text, "none: No such file or directory");
    EXPECT_ERR(opt_read_file(test_dir(), note, NULL, &err), ERR_IO);
    EXPECT_CONTAINS(err.text, "Is a directory");
}

TEST(without_memory_a_field_keeps_its_value)
{
    begin();
    for (long n = 0;; n++) {
        int rc;

        test_fail_malloc_after(n);
        rc = set("b.list=p,q,r");
        if (!test_malloc_failed())
            break;
        EXPECT_ERR(rc, ERR_NOMEM);
        EXPECT_STR(printed("list"), "a, b");
    }
    EXPECT_STR(printed("list"), "p, q, r");
    end();
}

static const char *word(const void *ctx, size_t i)
{
    const char *const *words = ctx;

    return words[i];
}

TEST(the_nearest_word_is_the_one_with_the_fewest_edits)
{
    static const char *const words[] = { "publish", "presence", "history", "ws",
                                         NULL };

    EXPECT_STR(opt_nearest(SLICE("pubilsh"), word, words), "publish");
    EXPECT_STR(opt_nearest(SLICE("histroy"), word, words), "history");
    EXPECT_STR(opt_nearest(SLICE("presense"), word, words), "presence");
    EXPECT_STR(opt_nearest(SLICE("w"), word, words), "ws");
    EXPECT_STR(opt_nearest(SLICE("sw"), word, words), "ws");
    EXPECT_STR(opt_nearest(SLICE("zebra"), word, words), NULL);
}
