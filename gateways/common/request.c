#include "gateways/common/request.h"

#include "base/err.h"

enum {
    METHOD_MAX = 32,        /* a longer word is no method, whatever follows */
    CHUNK_LINE_MAX = 256,   /* size and extensions of one chunk */
    CHUNK_OVERHEAD = 16384, /* extensions and trailers of one body */
    TRAILERS_MAX = 32,
};

/* ---- faults ------------------------------------------------------------- */

#define FAULTS(X)                                                             \
    X(LINE_END, 400, "request.line_end",                                      \
      "Lines end in CR LF; a CR or LF stands alone.")                         \
    X(LINE, 400, "request.line",                                              \
      "The request line is not: method, space, target, space, HTTP version.") \
    X(METHOD, 501, "request.method", "This method is not known here.")        \
    X(TARGET, 400, "request.target", "The target of the request is not valid.") \
    X(ESCAPE, 400, "request.escape",                                          \
      "A percent sign in the target must stand before two hex digits, and no "\
      "control byte may hide behind one in the path.")                        \
    X(VERSION, 505, "request.version", "HTTP/1.1 and HTTP/1.0 are spoken here.") \
    X(TARGET_LONG, 414, "request.target_long", "The request line is too long.") \
    X(FIELDS_LARGE, 431, "request.fields_large",                              \
      "The header fields are too long.")                                      \
    X(FIELDS_MANY, 431, "request.fields_many",                                \
      "There are too many header fields.")                                    \
    X(FIELD, 400, "request.field",                                            \
      "A header line is not: name, colon, value on one line.")                \
    X(TWICE, 400, "request.twice",                                            \
      "A header field that may come once only came twice.")                   \
    X(HOST, 400, "request.host", "The Host field is missing or not valid.")   \
    X(HOST_DIFFERS, 400, "request.host", "Target and Host name two hosts.")   \
    X(LENGTH, 400, "request.length", "Content-Length is not a number.")       \
    X(FRAMING, 400, "request.framing",                                        \
      "The length of the body is said in two ways, or in an unclear one.")    \
    X(CODING, 501, "request.coding",                                          \
      "Of transfer codings only chunked is known here.")                      \
    X(EXPECT, 417, "request.expect", "Only 100-continue can be expected.")    \
    X(CHUNK, 400, "request.chunk", "The chunked body is not well formed.")    \
    X(TRAILER, 400, "request.trailer",                                        \
      "A trailer is not valid, or is a field that must be in the head.")

enum fault_id {
#define AS_ENUM(id, status, code, text) FAULT_##id,
    FAULTS(AS_ENUM)
#undef AS_ENUM
};

static const struct fault faults[] = {
#define AS_ROW(id, status, code, text) [FAULT_##id] = {status, code, text},
    FAULTS(AS_ROW)
#undef AS_ROW
};

static int fail(const struct fault **why, enum fault_id id)
{
    *why = &faults[id];
    return ERR_BAD;
}

/* ---- classes of bytes --------------------------------------------------- */

enum {
    T = 1u << 0, /* in a token (RFC 9110 5.6.2) */
    U = 1u << 1, /* in a target; browsers leave | [ ] { } ^ as they are */
    H = 1u << 2, /* in a host name: without escapes and what only confuses */
    X = 1u << 3, /* a hex digit */
};

static const uint8_t classes[256] = {
    ['0' ... '9'] = T | U | H | X,
    ['A' ... 'F'] = T | U | H | X, ['G' ... 'Z'] = T | U | H,
    ['a' ... 'f'] = T | U | H | X, ['g' ... 'z'] = T | U | H,
    ['-'] = T | U | H, ['.'] = T | U | H, ['_'] = T | U | H, ['~'] = T | U | H,
    ['!'] = T | U, ['$'] = T | U, ['%'] = T | U, ['&'] = T | U, ['\''] = T | U,
    ['*'] = T | U, ['+'] = T | U, ['^'] = T | U, ['|'] = T | U,
    ['#'] = T, ['`'] = T,
    ['('] = U, [')'] = U, [','] = U, ['/'] = U, [':'] = U, [';'] = U,
    ['='] = U, ['?'] = U, ['@'] = U, ['['] = U, [']'] = U, ['{'] = U,
    ['}'] = U,
};

static bool all(struct slice s, unsigned class)
{
    for (size_t i = 0; i < s.len; i++)
        if (!(classes[s.ptr[i]] & class))
            return false;
    return true;
}

static bool is_token(struct slice s)
{
    return s.len && all(s, T);
}

/* Is there no control byte but the tab? */
static bool no_control(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((p[i] < 0x20 && p[i] != '\t') || p[i] == 0x7f)
            return false;
    return true;
}

/* A byte of these eight is below 0x20, or 0x7f. */
static bool any_control(const uint8_t *p)
{
    const uint64_t each = UINT64_C(0x0101010101010101);
    uint64_t w, del;

    memcpy(&w, p, sizeof w);
    del = w ^ each * 0x7f;
    return (((w - each * 0x20) & ~w) | ((del - each) & ~del)) & each * 0x80;
}

/* In a field's value: no control byte but the tab. */
static bool is_value(struct slice s)
{
    size_t i = 0;

    for (; s.len - i >= 8; i += 8)
        if (any_control(s.ptr + i) && !no_control(s.ptr + i, 8))
            return false;
    return no_control(s.ptr + i, s.len - i);
}

static unsigned hex_value(uint8_t c)
{
    return c <= '9' ? c - 0x30u : (c | 0x20u) - 0x61u + 10u;
}

/* Stands an escape at s.ptr[i]? Then its value is in *ret. */
static bool escape_at(struct slice s, size_t i, uint8_t *ret)
{
    if (s.len - i < 3 || !(classes[s.ptr[i + 1]] & X) ||
        !(classes[s.ptr[i + 2]] & X))
        return false;
    *ret = (uint8_t)(hex_value(s.ptr[i + 1]) << 4 | hex_value(s.ptr[i + 2]));
    return true;
}

static bool escapes_ok(struct slice s, bool controls)
{
    size_t i = 0;
    uint8_t c;

    for (; (i += slice_find_byte(slice_from(s, i), '%')) < s.len; i++)
        if (!escape_at(s, i, &c) || (!controls && (c < 0x20 || c == 0x7f)))
            return false;
    return true;
}

/* ---- the request line --------------------------------------------------- */

static const struct slice methods[METHODS] = {
    [METHOD_GET] = SLICE_INIT("GET"),
    [METHOD_HEAD] = SLICE_INIT("HEAD"),
    [METHOD_POST] = SLICE_INIT("POST"),
    [METHOD_PUT] = SLICE_INIT("PUT"),
    [METHOD_DELETE] = SLICE_INIT("DELETE"),
    [METHOD_OPTIONS] = SLICE_INIT("OPTIONS"),
};

const char *method_text(enum method m)
{
    return (const char *)methods[m].ptr;
}

static int parse_method(struct request *r, struct slice word,
                        const struct fault **why)
{
    for (unsigned m = 0; m < METHODS; m++) {
        if (slice_eq(word, methods[m])) {
            r->method = (enum method)m;
            return 0;
        }
    }
    return fail(why, FAULT_METHOD);
}

static int parse_version(struct request *r, struct slice word,
                         const struct fault **why)
{
    if (word.len != 8 || !slice_starts(word, SLICE("HTTP/")) ||
        word.ptr[5] < '0' || word.ptr[5] > '9' || word.ptr[6] != '.' ||
        word.ptr[7] < '0' || word.ptr[7] > '9')
        return fail(why, FAULT_LINE);
    if (word.ptr[5] != '1' || word.ptr[7] > '1')
        return fail(why, FAULT_VERSION);
    r->minor = (unsigned)(word.ptr[7] - '0');
    return 0;
}

/* What follows the scheme of a target in absolute form, or an empty slice. */
static struct slice after_scheme(struct slice target)
{
    static const struct slice schemes[] = {SLICE_INIT("http://"),
                                           SLICE_INIT("https://")};

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (slice_eq_nocase(slice_head(target, schemes[i].len), schemes[i]))
            return slice_from(target, schemes[i].len);
    return SLICE("");
}

static int parse_target(struct request *r, struct slice target,
                        const struct fault **why)
{
    struct slice rest = target;
    bool star = r->method == METHOD_OPTIONS && slice_eq(target, SLICE("*"));

    if (!all(target, U))
        return fail(why, FAULT_TARGET);
    if (!star && target.ptr[0] != '/') {
        size_t end = 0;

        rest = after_scheme(target);
        while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?')
            end++;
        if (end == 0)
            return fail(why, FAULT_TARGET);
        r->authority = slice_head(rest, end);
        rest = slice_make(rest.ptr + end, rest.len - end);
    }
    r->path = slice_split(&rest, '?');
    r->query = rest;
    if (r->path.len == 0)
        r->path = r->method == METHOD_OPTIONS ? SLICE("*") : SLICE("/");
    if (!escapes_ok(r->path, false) || !escapes_ok(r->query, true))
        return fail(why, FAULT_ESCAPE);
    return 0;
}

static int parse_line(struct request *r, struct slice line,
                      const struct fault **why)
{
    struct slice rest = line;
    struct slice method = slice_split(&rest, ' ');
    struct slice target = slice_split(&rest, ' ');
    int rc;

    if (!is_token(method) || method.len > METHOD_MAX || target.len == 0)
        return fail(why, FAULT_LINE);
    rc = parse_version(r, rest, why);
    if (rc == 0)
        rc = parse_method(r, method, why);
    if (rc == 0)
        rc = parse_target(r, target, why);
    return rc;
}

/* ---- where the head ends ------------------------------------------------ */

/* One empty line in front of a request is left over from a client that ends
 * its bodies with one; it is passed over. */
static size_t line_start(struct slice in)
{
    return slice_starts(in, SLICE("\r\n")) ? 2 : 0;
}

/* The request line is longer than it may be, or what came is none at all. */
static int fail_long_line(struct slice line, const struct fault **why)
{
    size_t word = slice_find_byte(slice_head(line, METHOD_MAX + 1), ' ');

    if (word <= METHOD_MAX && word < line.len && is_token(slice_head(line, word)))
        return fail(why, FAULT_TARGET_LONG);
    return fail(why, FAULT_LINE);
}

static int scan_first_line(struct slice line, const struct head_limits *limits,
                           const struct fault **why)
{
    struct request ignored = {.minor = 1};

    if (line.len > limits->request_line)
        return fail_long_line(line, why);
    return parse_line(&ignored, line, why);
}

/* The line whose CR LF ends in front of end. 0: the last one of the head. */
static int scan_line(struct head_scan *s, struct slice in, size_t end,
                     const struct head_limits *limits,
                     const struct fault **why)
{
    bool empty = end == 2 || in.ptr[end - 3] == '\n';
    int rc;

    if (empty && s->lines > 0)
        return 0;
    if (empty)
        return end == 2 ? ERR_AGAIN : fail(why, FAULT_LINE);
    if (s->lines == 0) {
        size_t start = line_start(in);

        rc = scan_first_line(slice_make(in.ptr + start, end - 2 - start),
                             limits, why);
        if (rc < 0)
            return rc;
    } else if (s->lines > limits->fields) {
        return fail(why, FAULT_FIELDS_MANY);
    }
    s->lines++;
    return ERR_AGAIN;
}

/* All lines that have ended are fine: is what follows them, so far? */
static int scan_rest(const struct head_scan *s, struct slice in,
                     const struct head_limits *limits,
                     const struct fault **why)
{
    struct slice line = slice_from(in, line_start(in));

    if (s->lines == 0) {
        if (line.len && line.ptr[0] != '\r' && !(classes[line.ptr[0]] & T))
            return fail(why, FAULT_LINE);
        if (line.len > limits->request_line + 2)
            return fail_long_line(line, why);
    } else if (in.len >= limits->block) {
        return fail(why, FAULT_FIELDS_LARGE);
    }
    return ERR_AGAIN;
}

int head_scan(struct head_scan *s, struct slice in,
              const struct head_limits *limits, size_t *len,
              const struct fault **why)
{
    while (s->at < in.len) {
        size_t found = slice_find_byte(slice_from(in, s->at), '\n');
        size_t end = MIN(s->at + found + 1, in.len);
        int rc;

        if (s->at + found == in.len) {
            s->at = (uint32_t)in.len;
            break;
        }
        if (end < 2 || in.ptr[end - 2] != '\r')
            return fail(why, FAULT_LINE_END);
        s->at = (uint32_t)end;
        rc = scan_line(s, in, end, limits, why);
        if (rc == 0 && end > limits->block)
            return fail(why, FAULT_FIELDS_LARGE);
        if (rc == 0)
            *len = end;
        if (rc != ERR_AGAIN)
            return rc;
    }
    return scan_rest(s, in, limits, why);
}

/* ---- the fields --------------------------------------------------------- */

enum field_rule { ONCE, LAST, TOKENS };

static const struct {
    struct slice name;
    enum field_rule rule;
} fields[FIELDS] = {
#define AS_ROW(id, name, rule) [FIELD_##id] = {SLICE_INIT(name), rule},
    REQUEST_FIELDS(AS_ROW)
#undef AS_ROW
};

static const struct {
    enum field field;
    struct slice token;
    unsigned flag;
} tokens[] = {
    {FIELD_ACCEPT, SLICE_INIT("text/html"), REQUEST_HTML},
    {FIELD_ACCEPT, SLICE_INIT("text/event-stream"), REQUEST_EVENTS},
    {FIELD_CONNECTION, SLICE_INIT("close"), REQUEST_CLOSE},
    {FIELD_CONNECTION, SLICE_INIT("keep-alive"), REQUEST_KEEP_ALIVE},
    {FIELD_CONNECTION, SLICE_INIT("upgrade"), REQUEST_UPGRADE},
    {FIELD_TE, SLICE_INIT("trailers"), REQUEST_TRAILERS},
    {FIELD_UPGRADE, SLICE_INIT("websocket"), REQUEST_WEBSOCKET},
};

/* Rows are in the order of these. */
static const uint8_t name_lengths[FIELDS] = {
#define AS_LENGTH(id, name, rule) sizeof(name) - 1,
    REQUEST_FIELDS(AS_LENGTH)
#undef AS_LENGTH
};

static enum field field_find(struct slice name)
{
    unsigned f = 0;

    while (f < FIELDS && name_lengths[f] < name.len)
        f++;
    for (; f < FIELDS && name_lengths[f] == name.len; f++)
        if (slice_eq_nocase(fields[f].name, name))
            return (enum field)f;
    return FIELDS;
}

/* Do these parameters say q=0, which is "not this one"? */
static bool is_unwanted(struct slice params)
{
    while (params.ptr) {
        struct slice p = slice_trim(slice_split(&params, ';'));
        size_t digits = 3;

        if (!slice_eq_nocase(slice_head(p, 3), SLICE("q=0")))
            continue;
        while (digits < p.len &&
               (p.ptr[digits] == '.' || p.ptr[digits] == '0'))
            digits++;
        return digits == p.len;
    }
    return false;
}

static void read_tokens(struct request *r, enum field f, struct slice value)
{
    struct slice rest = value;

    while (rest.ptr) {
        struct slice part = slice_split(&rest, ',');
        struct slice token = slice_trim(slice_split(&part, ';'));

        if (is_unwanted(part))
            continue;
        for (size_t i = 0; i < ARRAY_LEN(tokens); i++)
            if (tokens[i].field == f && slice_eq_nocase(tokens[i].token, token))
                r->flags |= tokens[i].flag;
    }
}

/* Name and value of a line without its end. */
static int split_field(struct slice line, struct slice *name,
                       struct slice *value)
{
    struct slice v;
    size_t n = 0;

    while (n < line.len && (classes[line.ptr[n]] & T))
        n++;
    if (n == 0 || n == line.len || line.ptr[n] != ':')
        return ERR_BAD;
    v = slice_trim(slice_make(line.ptr + n + 1, line.len - n - 1));
    if (!is_value(v))
        return ERR_BAD;
    *name = slice_make(line.ptr, n);
    *value = v;
    return 0;
}

/* Some servers take an underscore in a name for a hyphen: a field that they
 * would obey and we would pass over must not come through us. */
static bool poses_as_framing(struct slice name)
{
    char text[sizeof "transfer-encoding"];
    struct slice folded = slice_make(text, name.len);

    if ((name.len != fields[FIELD_CONTENT_LENGTH].name.len &&
         name.len != fields[FIELD_TRANSFER_ENCODING].name.len) ||
        !memchr(name.ptr, '_', name.len))
        return false;
    for (size_t i = 0; i < name.len; i++)
        text[i] = name.ptr[i] == '_' ? '-' : (char)name.ptr[i];
    return slice_eq_nocase(folded, fields[FIELD_CONTENT_LENGTH].name) ||
           slice_eq_nocase(folded, fields[FIELD_TRANSFER_ENCODING].name);
}

/* Does a value hold a framing field of its own ("x Content-Length: 5")? It is
 * what is left where somebody on the way has made one line of two. */
static bool hides_framing(struct slice value)
{
    static const enum field framing[] = {FIELD_CONTENT_LENGTH,
                                         FIELD_TRANSFER_ENCODING};
    size_t at = 0;

    while ((at += slice_find_byte(slice_from(value, at), ':')) < value.len) {
        for (size_t i = 0; i < ARRAY_LEN(framing); i++) {
            struct slice name = fields[framing[i]].name;

            if (at >= name.len &&
                slice_eq_nocase(slice_make(value.ptr + at - name.len,
                                           name.len), name))
                return true;
        }
        at++;
    }
    return false;
}

static int fail_twice(enum field f, const struct fault **why)
{
    if (f == FIELD_HOST)
        return fail(why, FAULT_HOST);
    if (f == FIELD_CONTENT_LENGTH || f == FIELD_TRANSFER_ENCODING)
        return fail(why, FAULT_FRAMING);
    return fail(why, FAULT_TWICE);
}

static int parse_field(struct request *r, struct slice line,
                       const struct fault **why)
{
    struct slice name, value;
    enum field f;

    if (split_field(line, &name, &value) < 0)
        return fail(why, FAULT_FIELD);
    f = field_find(name);
    if (poses_as_framing(name) || hides_framing(value))
        return fail(why, FAULT_FRAMING);
    if (f == FIELDS)
        return 0;
    if (fields[f].rule == ONCE && r->field[f].ptr)
        return fail_twice(f, why);
    if (fields[f].rule == TOKENS)
        read_tokens(r, f, value);
    if (r->field[f].ptr)
        r->repeated |= 1u << f;
    r->field[f] = value;
    return 0;
}

static int parse_framing(struct request *r, const struct fault **why)
{
    struct slice length = r->field[FIELD_CONTENT_LENGTH];
    struct slice coding = r->field[FIELD_TRANSFER_ENCODING];

    if (coding.ptr) {
        if (length.ptr || r->minor == 0 || !is_token(coding))
            return fail(why, FAULT_FRAMING);
        if (!slice_eq_nocase(coding, SLICE("chunked")))
            return fail(why, FAULT_CODING);
        r->flags |= REQUEST_CHUNKED;
    } else if (length.ptr) {
        if (slice_parse_u64(length, &r->length) < 0)
            return fail(why, FAULT_LENGTH);
        r->flags |= REQUEST_LENGTH;
    }
    return 0;
}

/* HTTP/1.0 knows no Expect: there it is passed over. */
static int parse_expect(struct request *r, const struct fault **why)
{
    struct slice expect = r->field[FIELD_EXPECT];

    if (!expect.ptr || r->minor == 0)
        return 0;
    if (!slice_eq_nocase(expect, SLICE("100-continue")))
        return fail(why, FAULT_EXPECT);
    r->flags |= REQUEST_CONTINUE;
    return 0;
}

/* The next line of rest without its end. */
static int next_line(struct slice *rest, struct slice *line)
{
    struct slice l = slice_split(rest, '\n');

    if (l.len == 0 || l.ptr[l.len - 1] != '\r')
        return ERR_BAD;
    *line = slice_head(l, l.len - 1);
    return 0;
}

int request_parse(struct request *ret, struct slice head,
                  const struct fault **why)
{
    struct slice rest = slice_from(head, line_start(head));
    struct slice line;
    int rc;

    *ret = (struct request){.minor = 1};
    if (next_line(&rest, &line) < 0)
        return fail(why, FAULT_LINE_END);
    rc = parse_line(ret, line, why);
    ret->lines = rest;
    while (rc == 0) {
        if (next_line(&rest, &line) < 0)
            return fail(why, FAULT_LINE_END);
        if (line.len == 0)
            break;
        rc = parse_field(ret, line, why);
    }
    if (rc == 0)
        rc = parse_framing(ret, why);
    if (rc == 0)
        rc = parse_expect(ret, why);
    return rc;
}

/* ---- Host --------------------------------------------------------------- */

/* Nothing, or a colon and a port number, possibly left out. */
static bool is_port(struct slice s)
{
    uint64_t port = 0;

    if (s.len == 0)
        return true;
    for (size_t i = 1; i < s.len && port <= 65535; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        port = port * 10 + (uint64_t)(s.ptr[i] - '0');
    }
    return s.ptr[0] == ':' && port <= 65535;
}

static bool is_host(struct slice s)
{
    size_t end;

    if (s.len && s.ptr[0] == '[') {
        end = slice_find_byte(s, ']');
        for (size_t i = 1; i < end; i++)
            if (!(classes[s.ptr[i]] & X) && s.ptr[i] != ':' && s.ptr[i] != '.')
                return false;
        return end > 2 && end < s.len && is_port(slice_from(s, end + 1));
    }
    end = slice_find_byte(s, ':');
    return end > 0 && all(slice_head(s, end), H) && is_port(slice_from(s, end));
}

int request_check_host(const struct request *r, const struct fault **why)
{
    struct slice host = r->field[FIELD_HOST];

    if (host.ptr ? !is_host(host) : r->minor > 0)
        return fail(why, FAULT_HOST);
    if (!r->authority.ptr)
        return 0;
    if (!is_host(r->authority))
        return fail(why, FAULT_TARGET);
    if (host.ptr && !slice_eq_nocase(host, r->authority))
        return fail(why, FAULT_HOST_DIFFERS);
    return 0;
}

bool request_keeps_alive(const struct request *r)
{
    if (r->flags & REQUEST_CLOSE)
        return false;
    return r->minor > 0 || (r->flags & REQUEST_KEEP_ALIVE);
}

/* ---- proxies ------------------------------------------------------------ */

bool request_is_forwarded(const struct request *r)
{
    return r->field[FIELD_X_FORWARDED_FOR].ptr ||
           r->field[FIELD_FORWARDED].ptr || r->field[FIELD_VIA].ptr ||
           r->field[FIELD_X_REAL_IP].ptr;
}

bool request_line_next(struct slice *rest, enum field f, struct slice *value)
{
    struct slice line, name, v;

    while (next_line(rest, &line) == 0 && split_field(line, &name, &v) == 0) {
        if (field_find(name) != f)
            continue;
        *value = v;
        return true;
    }
    return false;
}

bool request_line_before(const struct request *r, enum field f,
                         struct slice *value)
{
    struct slice rest = r->lines, line, name, v, found = {0};

    while (next_line(&rest, &line) == 0 && split_field(line, &name, &v) == 0 &&
           v.ptr < value->ptr)
        if (field_find(name) == f)
            found = v;
    if (!found.ptr)
        return false;
    *value = found;
    return true;
}

/* ---- a chunked body ----------------------------------------------------- */

enum { CHUNK_SIZE, CHUNK_DATA, CHUNK_DATA_END, CHUNK_TRAILER, CHUNK_DONE };

/* The quoted string at the front of *s, taken off. */
static bool take_quoted(struct slice *s)
{
    for (size_t i = 1; i < s->len; i++) {
        if (s->ptr[i] == '"') {
            *s = slice_make(s->ptr + i + 1, s->len - i - 1);
            return true;
        }
        if (s->ptr[i] == '\\')
            i++;
    }
    return false;
}

static bool take_token(struct slice *s)
{
    size_t n = 0;

    while (n < s->len && (classes[s->ptr[n]] & T))
        n++;
    *s = slice_make(s->ptr + n, s->len - n);
    return n > 0;
}

/* *( ";" name [ "=" ( token / quoted-string ) ] ), no spaces between. */
static bool extensions_ok(struct slice s)
{
    if (!is_value(s))
        return false;
    while (s.len) {
        if (s.ptr[0] != ';')
            return false;
        s = slice_make(s.ptr + 1, s.len - 1);
        if (!take_token(&s))
            return false;
        if (s.len == 0 || s.ptr[0] != '=')
            continue;
        s = slice_make(s.ptr + 1, s.len - 1);
        if (!(s.len && s.ptr[0] == '"' ? take_quoted(&s) : take_token(&s)))
            return false;
    }
    return true;
}

static int chunk_size(struct chunked *d, struct slice line,
                      const struct fault **why)
{
    uint64_t size = 0;
    size_t n = 0;

    while (n < line.len && n <= 16 && (classes[line.ptr[n]] & X))
        size = size << 4 | hex_value(line.ptr[n++]);
    d->overhead += (uint32_t)(line.len - n);
    if (n == 0 || n > 16 || d->overhead > CHUNK_OVERHEAD ||
        !extensions_ok(slice_from(line, n)))
        return fail(why, FAULT_CHUNK);
    d->left = size;
    d->state = size ? CHUNK_DATA : CHUNK_TRAILER;
    return 0;
}

/* Trailers are checked and passed over; what we would have obeyed in the head
 * is refused, since somebody on the way may have thought it said there. */
static int chunk_trailer(struct chunked *d, struct slice line,
                         const struct fault **why)
{
    struct slice name, value;

    if (line.len == 0) {
        d->state = CHUNK_DONE;
        return 0;
    }
    d->overhead += (uint32_t)line.len;
    if (d->overhead > CHUNK_OVERHEAD || ++d->fields > TRAILERS_MAX ||
        split_field(line, &name, &value) < 0 || field_find(name) != FIELDS ||
        poses_as_framing(name))
        return fail(why, FAULT_TRAILER);
    return 0;
}

static int chunk_line(struct chunked *d, struct slice in, size_t *used,
                      const struct fault **why)
{
    size_t max = d->state == CHUNK_SIZE ? CHUNK_LINE_MAX : CHUNK_OVERHEAD;
    size_t end = slice_find_byte(slice_head(in, max), '\n');

    if (end == in.len)
        return ERR_AGAIN;
    if (end == max || end == 0 || in.ptr[end - 1] != '\r')
        return fail(why, FAULT_CHUNK);
    *used += end + 1;
    in = slice_head(in, end - 1);
    return d->state == CHUNK_SIZE ? chunk_size(d, in, why)
                                  : chunk_trailer(d, in, why);
}

static int chunk_data(struct chunked *d, struct slice in, struct buf *body,
                      size_t max, size_t *used)
{
    size_t n = (size_t)MIN(d->left, (uint64_t)in.len);

    if (d->left > max - body->len)
        return ERR_TOO_BIG;
    buf_add(body, slice_head(in, n));
    if (body->failed)
        return ERR_NOMEM;
    *used += n;
    d->left -= n;
    if (d->left)
        return ERR_AGAIN;
    d->state = CHUNK_DATA_END;
    return 0;
}

static int chunk_data_end(struct chunked *d, struct slice in, size_t *used,
                          const struct fault **why)
{
    struct slice end = slice_head(in, 2);

    if (!slice_starts(SLICE("\r\n"), end))
        return fail(why, FAULT_CHUNK);
    if (end.len < 2)
        return ERR_AGAIN;
    *used += 2;
    d->state = CHUNK_SIZE;
    return 0;
}

int chunked_feed(struct chunked *d, struct slice in, struct buf *body,
                 size_t max, size_t *used, const struct fault **why)
{
    int rc = 0;

    *used = 0;
    while (rc == 0 && d->state != CHUNK_DONE) {
        struct slice rest = slice_from(in, *used);

        if (d->state == CHUNK_DATA)
            rc = chunk_data(d, rest, body, max, used);
        else if (d->state == CHUNK_DATA_END)
            rc = chunk_data_end(d, rest, used, why);
        else
            rc = chunk_line(d, rest, used, why);
    }
    return rc;
}

bool chunked_is_valid(const struct chunked *d)
{
    return d->state < CHUNK_DONE && d->overhead <= CHUNK_OVERHEAD &&
           d->fields <= TRAILERS_MAX;
}
