#include "proto/json.h"

#include "base/check.h"
#include "base/err.h"
#include "base/utf8.h"

/* A place in a document, and for each open bracket one bit: object or array.
 * After a failure pos stays where it happened. */
struct scan {
    const uint8_t *pos, *end;
    unsigned depth, max_depth;
    uint8_t objects[JSON_DEPTH_MAX / 8];
};

static struct scan scan_init(struct slice text, unsigned max_depth)
{
    struct scan s = { .max_depth = max_depth };

    CHECK(max_depth <= JSON_DEPTH_MAX);
    s.pos = text.ptr ? text.ptr : (const uint8_t *)"";
    s.end = s.pos + text.len;
    return s;
}

static void skip_space(struct scan *s)
{
    while (s->pos < s->end && (*s->pos == ' ' || *s->pos == '\n'
                               || *s->pos == '\r' || *s->pos == '\t'))
        s->pos++;
}

/* The byte at pos, 0 at the end: no token begins with a zero byte. */
static uint8_t peek(const struct scan *s)
{
    return s->pos < s->end ? *s->pos : 0;
}

static bool accept_byte(struct scan *s, uint8_t byte)
{
    if (s->pos == s->end || *s->pos != byte)
        return false;
    s->pos++;
    return true;
}

static bool accept_word(struct scan *s, const char *word)
{
    for (; *word; word++)
        if (!accept_byte(s, (uint8_t)*word))
            return false;
    return true;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool accept_escape(struct scan *s)
{
    uint8_t c = peek(s);

    if (c != 'u') {
        if (!c || !strchr("\"\\/bfnrt", c))
            return false;
        s->pos++;
        return true;
    }
    s->pos++;
    for (int i = 0; i < 4; i++, s->pos++)
        if (s->pos == s->end || hex_value(*s->pos) < 0)
            return false;
    return true;
}

static bool needs_escape(uint8_t c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

/* Of the eight bytes of w: is one below n, or zero? n is at most 0x80. */
#define ONES          UINT64_C(0x0101010101010101)
#define LESS_IN(w, n) (((w) - ONES * (n)) & ~(w) & ONES * 0x80)
#define ZERO_IN(w)    LESS_IN(w, 1)

/* Bytes at the front that stand in a string as they are. */
static size_t plain_run(const uint8_t *p, size_t len)
{
    size_t i = 0;
    uint64_t word;

    for (; len - i >= sizeof word; i += sizeof word) {
        memcpy(&word, p + i, sizeof word);
        if (LESS_IN(word, 0x20) | ZERO_IN(word ^ ONES * '"') |
            ZERO_IN(word ^ ONES * '\\'))
            break;
    }
    while (i < len && !needs_escape(p[i]))
        i++;
    return i;
}

static bool accept_string(struct scan *s)
{
    if (!accept_byte(s, '"'))
        return false;
    for (;;) {
        s->pos += plain_run(s->pos, (size_t)(s->end - s->pos));
        if (accept_byte(s, '"'))
            return true;
        if (!accept_byte(s, '\\') || !accept_escape(s))
            return false;
    }
}

static bool accept_digits(struct scan *s)
{
    const uint8_t *start = s->pos;

    while (s->pos < s->end && *s->pos >= '0' && *s->pos <= '9')
        s->pos++;
    return s->pos > start;
}

static bool accept_number(struct scan *s)
{
    accept_byte(s, '-');
    if (!accept_byte(s, '0') && !accept_digits(s))
        return false;
    if (accept_byte(s, '.') && !accept_digits(s))
        return false;
    if (accept_byte(s, 'e') || accept_byte(s, 'E')) {
        if (!accept_byte(s, '+'))
            accept_byte(s, '-');
        return accept_digits(s);
    }
    return true;
}

static bool accept_scalar(struct scan *s)
{
    switch (peek(s)) {
    case '"': return accept_string(s);
    case 't': return accept_word(s, "true");
    case 'f': return accept_word(s, "false");
    case 'n': return accept_word(s, "null");
    default: return accept_number(s);
    }
}

static bool in_object(const struct scan *s)
{
    unsigned level = s->depth - 1;

    return s->objects[level / 8] >> (level % 8) & 1;
}

static bool push(struct scan *s, bool object)
{
    unsigned level = s->depth;

    if (level == s->max_depth)
        return false;
    s->objects[level / 8] &= (uint8_t)~(1u << (level % 8));
    s->objects[level / 8] |= (uint8_t)((unsigned)object << (level % 8));
    s->depth++;
    s->pos++;
    skip_space(s);
    return true;
}

static bool accept_key(struct scan *s)
{
    skip_space(s);
    if (!accept_string(s))
        return false;
    skip_space(s);
    return accept_byte(s, ':');
}

/* Goes into brackets as deep as the next value stands in them; *closed: into
 * an empty pair of them, which is a value by itself. */
static bool open_brackets(struct scan *s, bool *closed)
{
    *closed = false;
    for (skip_space(s); peek(s) == '{' || peek(s) == '['; skip_space(s)) {
        bool object = peek(s) == '{';

        if (!push(s, object))
            return false;
        if (accept_byte(s, object ? '}' : ']')) {
            s->depth--;
            *closed = true;
            return true;
        }
        if (object && !accept_key(s))
            return false;
    }
    return true;
}

/* Behind a value: closes what ends here. True with depth 0: all is closed;
 * else a comma was read, and a key where one belongs. */
static bool close_brackets(struct scan *s)
{
    while (s->depth > 0) {
        bool object = in_object(s);

        skip_space(s);
        if (accept_byte(s, ','))
            return !object || accept_key(s);
        if (!accept_byte(s, object ? '}' : ']'))
            return false;
        s->depth--;
    }
    return true;
}

/* One value; white space in front of it is skipped, none behind it. */
static bool accept_value(struct scan *s)
{
    bool closed;

    CHECK(s->depth == 0);
    do {
        if (!open_brackets(s, &closed))
            return false;
        if (!closed && !accept_scalar(s))
            return false;
        if (!close_brackets(s))
            return false;
    } while (s->depth > 0);
    return true;
}

static size_t first_bad_utf8(struct slice text)
{
    struct slice rest = text;
    uint32_t codepoint;

    while (rest.len && utf8_next(&rest, &codepoint) == 0)
        ;
    return text.len - rest.len;
}

int json_check(struct slice text, unsigned max_depth, size_t *at)
{
    struct scan s = scan_init(text, max_depth);
    const uint8_t *start = s.pos;
    size_t wrong;

    if (accept_value(&s)) {
        skip_space(&s);
        if (s.pos == s.end && utf8_valid(text))
            return 0;
    }
    wrong = (size_t)(s.pos - start);
    if (at)
        *at = MIN(wrong, first_bad_utf8(text));
    return ERR_BAD;
}

enum json_kind json_kind(struct slice raw)
{
    struct scan s = scan_init(raw, 1);

    skip_space(&s);
    switch (peek(&s)) {
    case 0: return JSON_NONE;
    case '{': return JSON_OBJECT;
    case '[': return JSON_ARRAY;
    case '"': return JSON_STRING;
    case 't': return JSON_TRUE;
    case 'f': return JSON_FALSE;
    case 'n': return JSON_NULL;
    default: return JSON_NUMBER;
    }
}

/* ---- walking ---------------------------------------------------------- */

/* Takes `"key" : value` or `value`, and what stands behind it, off the front
 * of a container without its opening bracket: 1, 0 at its end, ERR_BAD. */
static int take_member(struct slice *rest, bool object, struct slice *key,
                       struct slice *value)
{
    struct scan s = scan_init(*rest, JSON_DEPTH_MAX);
    const uint8_t *start;

    *key = slice_make(NULL, 0);
    skip_space(&s);
    if (accept_byte(&s, object ? '}' : ']'))
        return 0;
    start = s.pos;
    if (object) {
        if (!accept_string(&s))
            return ERR_BAD;
        *key = slice_make(start, (size_t)(s.pos - start));
        skip_space(&s);
        if (!accept_byte(&s, ':'))
            return ERR_BAD;
    }
    skip_space(&s);
    start = s.pos;
    if (!accept_value(&s))
        return ERR_BAD;
    *value = slice_make(start, (size_t)(s.pos - start));
    skip_space(&s);
    if (!accept_byte(&s, ',') && peek(&s) != (object ? '}' : ']'))
        return ERR_BAD;
    *rest = slice_make(s.pos, (size_t)(s.end - s.pos));
    return 1;
}

struct json_iter json_iter(struct slice container)
{
    struct scan s = scan_init(container, 1);
    struct json_iter it = { { NULL, 0 }, false };

    skip_space(&s);
    if (peek(&s) != '{' && peek(&s) != '[')
        return it;
    it.object = *s.pos++ == '{';
    it.rest = slice_make(s.pos, (size_t)(s.end - s.pos));
    return it;
}

bool json_next(struct json_iter *it, struct slice *key, struct slice *value)
{
    struct slice k, v;

    if (!it->rest.ptr || take_member(&it->rest, it->object, &k, &v) <= 0)
        return false;
    *key = k;
    *value = v;
    return true;
}

int json_find(struct slice object, const char *key, struct slice *raw)
{
    struct json_iter it = json_iter(object);
    struct slice k, v, found = { NULL, 0 };
    int more;

    if (!it.rest.ptr || !it.object)
        return ERR_BAD;
    while ((more = take_member(&it.rest, true, &k, &v)) > 0) {
        if (!json_is(k, slice_str(key)))
            continue;
        if (found.ptr)
            return ERR_BAD;
        found = v;
    }
    if (more < 0)
        return more;
    if (!found.ptr)
        return ERR_NOT_FOUND;
    *raw = found;
    return 0;
}

/* ---- strings ---------------------------------------------------------- */

enum { REPLACEMENT = 0xfffd };

static uint32_t hex4(const uint8_t *p)
{
    uint32_t v = 0;

    for (int i = 0; i < 4; i++)
        v = v << 4 | (uint32_t)hex_value(p[i]);
    return v;
}

/* The character of a \uXXXX whose digits come next in *s, which was scanned;
 * takes the second half of a pair along. */
static uint32_t take_u_escape(struct slice *s)
{
    uint32_t high = hex4(s->ptr), low;

    *s = slice_from(*s, 4);
    if (high < 0xd800 || high > 0xdfff)
        return high;
    if (high > 0xdbff || s->len < 6 || s->ptr[0] != '\\' || s->ptr[1] != 'u')
        return REPLACEMENT;
    low = hex4(s->ptr + 2);
    if (low < 0xdc00 || low > 0xdfff)
        return REPLACEMENT;
    *s = slice_from(*s, 6);
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

/* The next character of a string's inside that was scanned. */
static uint32_t take_char(struct slice *s)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    uint32_t c;
    const char *letter;

    if (s->ptr[0] != '\\') {
        if (utf8_next(s, &c) == 0)
            return c;
        *s = slice_from(*s, 1);
        return REPLACEMENT;
    }
    c = s->ptr[1];
    *s = slice_from(*s, 2);
    if (c == 'u')
        return take_u_escape(s);
    letter = strchr(from, (int)c);
    return letter ? (uint32_t)to[letter - from] : c;
}

/* What is between the quotes of a raw string. */
static int string_inside(struct slice raw, struct slice *ret)
{
    struct scan s = scan_init(raw, 1);

    if (!accept_string(&s) || s.pos != s.end)
        return ERR_BAD;
    *ret = slice_make(raw.ptr + 1, raw.len - 2);
    return 0;
}

int json_unescape(struct buf *out, struct slice raw)
{
    struct slice s;
    uint8_t *room;

    if (string_inside(raw, &s) < 0)
        return ERR_BAD;
    /* No escape is shorter than what it stands for, but a stray byte, which
     * becomes U+FFFD, is: a checked value has none. */
    room = buf_reserve(out, utf8_valid(s) ? s.len : s.len * 3);
    if (!room)
        return ERR_NOMEM;
    while (s.len) {
        size_t n = utf8_put(room, take_char(&s));

        room += n;
        out->len += n;
    }
    return 0;
}

/* Most keys are another one, which is seen without decoding: bytes that differ
 * are the same text only where an escape is. */
static bool is_plainly_another(struct slice raw, struct slice text)
{
    return slice_find_byte(raw, '\\') == raw.len &&
           !(raw.len == text.len + 2 &&
             slice_eq(slice_head(slice_from(raw, 1), text.len), text));
}

bool json_is(struct slice raw, struct slice text)
{
    struct slice s;

    if (is_plainly_another(raw, text))
        return false;
    if (string_inside(raw, &s) < 0)
        return false;
    while (s.len && text.len) {
        uint32_t c;

        if (utf8_next(&text, &c) < 0 || c != take_char(&s))
            return false;
    }
    return !s.len && !text.len;
}

int json_integer(struct slice raw, int64_t *ret)
{
    bool negative = raw.len && raw.ptr[0] == '-';
    uint64_t v, limit = (uint64_t)INT64_MAX + negative;
    int rc = slice_parse_u64(slice_from(raw, negative), &v);

    if (rc < 0)
        return rc;
    if (v > limit)
        return ERR_TOO_BIG;
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

/* ---- writing ---------------------------------------------------------- */

static void put_escape(struct buf *out, uint8_t c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *special = c ? strchr(from, c) : NULL;

    if (special) {
        buf_add_byte(out, '\\');
        buf_add_byte(out, (uint8_t)to[special - from]);
    } else {
        buf_addf(out, "\\u%04x", c);
    }
}

static void put_valid(struct buf *out, struct slice text)
{
    while (text.len) {
        size_t plain = plain_run(text.ptr, text.len);

        buf_add(out, slice_head(text, plain));
        if (plain < text.len)
            put_escape(out, text.ptr[plain++]);
        text = slice_from(text, plain);
    }
}

void json_put_string(struct buf *out, struct slice text)
{
    buf_add_byte(out, '"');
    while (!utf8_valid(text)) {
        size_t good = first_bad_utf8(text);

        put_valid(out, slice_head(text, good));
        buf_add(out, SLICE("\xef\xbf\xbd"));
        text = slice_from(text, good + 1);
    }
    put_valid(out, text);
    buf_add_byte(out, '"');
}

void json_put_key(struct buf *out, const char *key)
{
    if (out->len && out->ptr[out->len - 1] != '{')
        buf_add_byte(out, ',');
    json_put_string(out, slice_str(key));
    buf_add_byte(out, ':');
}

void json_one_line(struct buf *out, struct slice raw)
{
    uint8_t *to = buf_reserve(out, raw.len);

    if (!to || !raw.len)
        return;
    memcpy(to, raw.ptr, raw.len);
    for (size_t i = 0; i < raw.len; i++)
        if (to[i] == '\n' || to[i] == '\r')
            to[i] = ' ';
    out->len += raw.len;
}
