/* The values of options: text to field, field to text. */
#include "base/opt.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/secret.h"

/* --- numbers --- */

struct unit {
    const char *name;
    int64_t factor;
};

/* Largest first: the first that divides a value prints it. */
static const struct unit size_units[] = {
    { "G", GIB }, { "M", MIB }, { "K", KIB }, { NULL, 0 }
};
static const struct unit count_units[] = {
    { "M", 1000000 }, { "K", 1000 }, { NULL, 0 }
};
static const struct unit duration_units[] = {
    { "d", DAY },          { "h", HOUR },         { "m", MINUTE },
    { "s", SECOND },       { "ms", MILLISECOND }, { "us", MICROSECOND },
    { "ns", 1 },           { NULL, 0 }
};

static const struct unit *units_of(enum opt_type type)
{
    return type == OPT_SIZE       ? size_units
           : type == OPT_DURATION ? duration_units
                                  : count_units;
}

/* Memory of this machine in bytes. */
static int64_t memory_bytes(void)
{
    return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
}

static int factor_of(enum opt_type type, struct slice unit, int64_t *ret)
{
    if (unit.len == 0) {
        *ret = type == OPT_DURATION ? SECOND : 1;
        return 0;
    }
    if (type == OPT_SIZE && slice_eq(unit, SLICE("%"))) {
        *ret = memory_bytes() / 100;
        return 0;
    }
    for (const struct unit *u = units_of(type); u->name; u++)
        if (slice_eq(unit, slice_str(u->name))) {
            *ret = u->factor;
            return 0;
        }
    return ERR_BAD;
}

static const char *const how_to[] = {
    [OPT_SIZE] = "a size is a number of bytes, or like 64K, 1M, 2G, 25%",
    [OPT_COUNT] = "a count is a number, or like 10K, 1M",
    [OPT_DURATION] = "a time is a number of seconds, or like 500ms, 10s, 1h",
};

static int parse_number(const struct opt_row *row, struct slice text,
                        int64_t *ret, const char **why)
{
    size_t digits = 0;
    uint64_t n;
    int64_t factor, v;

    if (row->max == OPT_ALL && slice_eq(text, SLICE("all"))) {
        *ret = INT64_MAX;
        return 0;
    }
    while (digits < text.len && text.ptr[digits] >= '0'
           && text.ptr[digits] <= '9')
        digits++;
    *why = how_to[row->type];
    if (slice_parse_u64(slice_head(text, digits), &n) < 0
        || factor_of(row->type, slice_from(text, digits), &factor) < 0)
        return ERR_BAD;
    *why = NULL; /* the range will be said */
    if (__builtin_mul_overflow(n, factor, &v) || v < row->min || v > row->max)
        return ERR_BAD;
    *ret = v;
    return 0;
}

static void print_number(struct buf *out, enum opt_type type, int64_t v)
{
    const struct unit *u = units_of(type);

    while (u->name && (v == 0 || v % u->factor))
        u++;
    if (u->name)
        buf_addf(out, "%" PRId64 "%s", v / u->factor, u->name);
    else
        buf_addf(out, "%" PRId64, v);
}

/* --- words --- */

static int parse_bool(struct slice text, int64_t *ret)
{
    static const char *const words[] = { "no", "yes", "off", "on", "false",
                                         "true" };

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (slice_eq(text, slice_str(words[i]))) {
            *ret = (int64_t)(i % 2);
            return 0;
        }
    return ERR_BAD;
}

static int parse_word(const char *words, struct slice text, int64_t *ret)
{
    struct slice rest = slice_str(words);

    for (int64_t i = 0; rest.ptr; i++)
        if (slice_eq(slice_split(&rest, '|'), text)) {
            *ret = i;
            return 0;
        }
    return ERR_BAD;
}

static struct slice nth_word(const char *words, int64_t n)
{
    struct slice rest = slice_str(words), word = rest;

    for (; n >= 0; n--)
        word = slice_split(&rest, '|');
    return word;
}

/* --- texts and lists --- */

static int check_text(const struct opt_row *row, struct slice text,
                      const char **why)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < 0x20 || text.ptr[i] == 0x7f) {
            *why = "control characters are not allowed";
            return ERR_BAD;
        }
    return row->check && text.len ? row->check(text, why) : 0;
}

static void free_list(struct opt_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->items[i]);
    free(l->items);
    *l = (struct opt_list){ 0 };
}

static int parse_list(const struct opt_row *row, struct slice text,
                      struct opt_list *ret, const char **why)
{
    struct opt_list l = { 0 };
    struct slice rest = text;
    size_t most = 1;
    int rc = ERR_NOMEM;

    for (size_t i = 0; i < text.len; i++)
        most += text.ptr[i] == ',';
    l.items = calloc(most, sizeof *l.items);
    if (!l.items)
        goto fail;
    while (text.len && rest.ptr) {
        struct slice item = slice_trim(slice_split(&rest, ','));

        *why = "an item of the list is empty";
        rc = item.len ? check_text(row, item, why) : ERR_BAD;
        if (rc < 0)
            goto fail;
        rc = ERR_NOMEM;
        l.items[l.count] = slice_dup(item);
        if (!l.items[l.count])
            goto fail;
        l.count++;
    }
    *ret = l;
    return 0;
fail:
    free_list(&l);
    return rc;
}

/* --- fields --- */

union value { /* one of them lies at a row's offset */
    size_t size;
    int64_t duration;
    bool yes;
    int word;
    char *text;
    struct opt_list list;
};

static void *field_of(const struct opt_row *row, void *base)
{
    return (char *)base + row->offset;
}

/* Text to value; nothing is changed yet. */
static int parse(const struct opt_row *row, struct slice text,
                 union value *ret, const char **why)
{
    int64_t n = 0;
    int rc = 0;

    *why = NULL;
    switch (row->type) {
    case OPT_SIZE:
    case OPT_COUNT:
        rc = parse_number(row, text, &n, why);
        ret->size = n == INT64_MAX ? SIZE_MAX : (size_t)n;
        return rc;
    case OPT_DURATION:
        return parse_number(row, text, &ret->duration, why);
    case OPT_BOOL:
        rc = parse_bool(text, &n);
        ret->yes = n != 0;
        return rc;
    case OPT_ENUM:
        rc = parse_word(row->words, text, &n);
        ret->word = (int)n;
        return rc;
    case OPT_STRING:
    case OPT_SECRET:
        rc = check_text(row, text, why);
        if (rc < 0)
            return rc;
        ret->text = slice_dup(text);
        return ret->text ? 0 : ERR_NOMEM;
    case OPT_LIST:
        return parse_list(row, text, &ret->list, why);
    }
    return ERR_BAD;
}

static void store(const struct opt_row *row, void *base, const union value *v)
{
    void *field = field_of(row, base);

    opt_clear(row, base);
    switch (row->type) {
    case OPT_SIZE:
    case OPT_COUNT:
        *(size_t *)field = v->size;
        break;
    case OPT_DURATION:
        *(int64_t *)field = v->duration;
        break;
    case OPT_BOOL:
        *(bool *)field = v->yes;
        break;
    case OPT_ENUM:
        *(int *)field = v->word;
        break;
    case OPT_STRING:
    case OPT_SECRET:
        *(char **)field = v->text;
        break;
    case OPT_LIST:
        *(struct opt_list *)field = v->list;
        break;
    }
}

static int bad_value(const struct opt_row *row, const struct opt_assign *a,
                     const char *why, struct opt_error *err)
{
    struct buf range = BUF_INIT;
    struct slice shown = row->type == OPT_SECRET ? SLICE("...") : a->value;

    if (!why) {
        buf_add_str(&range, "it has to be ");
        opt_print_range(&range, row);
        why = buf_text(&range);
    }
    opt_error_set(err, "%s: %s.%s = " SLICE_FMT ": %s", a->where, row->section,
                  row->key, SLICE_ARG(shown), why);
    buf_fini(&range);
    return ERR_BAD;
}

int opt_put(const struct opt_row *row, void *base, const struct opt_assign *a,
            struct opt_error *err)
{
    union value value;
    const char *why;
    int rc = parse(row, a->value, &value, &why);

    if (rc == ERR_BAD)
        return bad_value(row, a, why, err);
    if (rc < 0) {
        opt_error_set(err, "%s: %s", a->where, err_text(rc));
        return rc;
    }
    store(row, base, &value);
    return 0;
}

int opt_put_default(const struct opt_row *row, void *base)
{
    union value value;
    const char *why;
    int rc = parse(row, slice_str(row->def), &value, &why);

    CHECK(rc == 0 || rc == ERR_NOMEM);
    if (rc == 0)
        store(row, base, &value);
    return rc;
}

static void free_text(char *text, bool wipe)
{
    if (text && wipe)
        secret_wipe(text, strlen(text));
    free(text);
}

void opt_clear(const struct opt_row *row, void *base)
{
    void *field = field_of(row, base);

    if (row->type == OPT_LIST) {
        free_list(field);
    } else if (row->type == OPT_STRING || row->type == OPT_SECRET) {
        free_text(*(char **)field, row->type == OPT_SECRET);
        *(char **)field = NULL;
    }
}

/* --- two structs --- */

static bool same_list(const struct opt_list *a, const struct opt_list *b)
{
    bool same = a->count == b->count;

    for (size_t i = 0; same && i < a->count; i++)
        same = strcmp(a->items[i], b->items[i]) == 0;
    return same;
}

static size_t plain_size(enum opt_type type)
{
    switch (type) {
    case OPT_BOOL:
        return sizeof(bool);
    case OPT_ENUM:
        return sizeof(int);
    case OPT_DURATION:
        return sizeof(int64_t);
    default:
        return sizeof(size_t);
    }
}

bool opt_equal(const struct opt_row *row, const void *a, const void *b)
{
    const void *fa = (const char *)a + row->offset;
    const void *fb = (const char *)b + row->offset;

    if (row->type == OPT_LIST)
        return same_list(fa, fb);
    if (row->type == OPT_STRING || row->type == OPT_SECRET)
        return strcmp(*(char *const *)fa, *(char *const *)fb) == 0;
    return memcmp(fa, fb, plain_size(row->type)) == 0;
}

static int copy_list(struct opt_list *to, const struct opt_list *from)
{
    struct opt_list copy = { 0 };

    copy.items = calloc(from->count + 1, sizeof *copy.items);
    if (!copy.items)
        return ERR_NOMEM;
    for (; copy.count < from->count; copy.count++) {
        copy.items[copy.count] = strdup(from->items[copy.count]);
        if (!copy.items[copy.count]) {
            free_list(&copy);
            return ERR_NOMEM;
        }
    }
    free_list(to);
    *to = copy;
    return 0;
}

int opt_copy(const struct opt_row *row, void *to, const void *from)
{
    const void *source = (const char *)from + row->offset;
    void *field = field_of(row, to);
    char *text;

    if (row->type == OPT_LIST)
        return copy_list(field, source);
    if (row->type != OPT_STRING && row->type != OPT_SECRET) {
        memcpy(field, source, plain_size(row->type));
        return 0;
    }
    text = strdup(*(char *const *)source);
    if (!text)
        return ERR_NOMEM;
    opt_clear(row, to);
    *(char **)field = text;
    return 0;
}

/* --- printing --- */

/* As a file's reader takes it: in quotes where a comment or a blank at the
 * edge would be lost. */
static void print_text(struct buf *out, struct slice s)
{
    bool plain = slice_trim(s).len == s.len;

    for (size_t i = 0; i < s.len; i++)
        plain = plain && !strchr("\"\\#;", s.ptr[i]);
    if (plain) {
        buf_add(out, s);
        return;
    }
    buf_add_byte(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '"' || s.ptr[i] == '\\')
            buf_add_byte(out, '\\');
        buf_add_byte(out, s.ptr[i]);
    }
    buf_add_byte(out, '"');
}

static void print_list(struct buf *out, const struct opt_list *l)
{
    struct buf joined = BUF_INIT;

    for (size_t i = 0; i < l->count; i++) {
        if (i)
            buf_add_str(&joined, ", ");
        buf_add_str(&joined, l->items[i]);
    }
    out->failed = out->failed || joined.failed;
    print_text(out, buf_slice(&joined));
    buf_fini(&joined);
}

static void print_bounded(struct buf *out, const struct opt_row *row,
                          int64_t v, bool all)
{
    if (all)
        buf_add_str(out, "all");
    else
        print_number(out, row->type, v);
}

void opt_print(struct buf *out, const struct opt_row *row, const void *base)
{
    const void *field = (const char *)base + row->offset;
    size_t size;
    int64_t duration;

    switch (row->type) {
    case OPT_SIZE:
    case OPT_COUNT:
        size = *(const size_t *)field;
        print_bounded(out, row, (int64_t)size, size == SIZE_MAX);
        break;
    case OPT_DURATION:
        duration = *(const int64_t *)field;
        print_bounded(out, row, duration, duration == INT64_MAX);
        break;
    case OPT_BOOL:
        buf_add_str(out, *(const bool *)field ? "yes" : "no");
        break;
    case OPT_ENUM:
        buf_add(out, nth_word(row->words, *(const int *)field));
        break;
    case OPT_STRING:
        print_text(out, slice_str(*(char *const *)field));
        break;
    case OPT_SECRET:
        break;
    case OPT_LIST:
        print_list(out, field);
        break;
    }
}

static void print_words(struct buf *out, const char *words)
{
    struct slice rest = slice_str(words);

    while (rest.ptr) {
        buf_add(out, slice_split(&rest, '|'));
        if (rest.ptr)
            buf_add_str(out, slice_find_byte(rest, '|') < rest.len ? ", "
                                                                   : " or ");
    }
}

const char *opt_change_text(enum opt_change change)
{
    static const char *const texts[CHANGE_KINDS] = {
        [CHANGE_NOW] = "at once",
        [CHANGE_NEXT] = "for new connections",
        [CHANGE_PROCESS] = "with the next start of the process",
        [CHANGE_TOUCHLINE] = "with the next start of all",
    };

    return texts[change];
}

void opt_print_range(struct buf *out, const struct opt_row *row)
{
    switch (row->type) {
    case OPT_SIZE:
    case OPT_COUNT:
    case OPT_DURATION:
        print_number(out, row->type, row->min);
        if (row->max == OPT_ALL) {
            buf_add_str(out, " or more, or all");
        } else {
            buf_add_str(out, " to ");
            print_number(out, row->type, row->max);
        }
        break;
    case OPT_BOOL:
        buf_add_str(out, "yes or no");
        break;
    case OPT_ENUM:
        print_words(out, row->words);
        break;
    case OPT_STRING:
    case OPT_SECRET:
        buf_add_str(out, "text");
        break;
    case OPT_LIST:
        buf_add_str(out, "a list, separated by commas");
        break;
    }
}
