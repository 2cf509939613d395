#include "tools/flood/template.h"

#include <stdlib.h>

#include "base/err.h"

static const char *const word_names[] = {
    "",
#define AS_NAME(name) #name,
    TEMPLATE_WORDS(AS_NAME)
#undef AS_NAME
};

static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that the escape at the front of s stands for; how long it is. */
static size_t escape(struct slice s, uint8_t *ret)
{
    static const char names[] = "rnt\\\"0", bytes[] = "\r\n\t\\\"";
    const char *at;

    if (s.len >= 4 && s.ptr[1] == 'x' && hex(s.ptr[2]) >= 0
        && hex(s.ptr[3]) >= 0) {
        *ret = (uint8_t)(hex(s.ptr[2]) << 4 | hex(s.ptr[3]));
        return 4;
    }
    if (s.len < 2 || !s.ptr[1] || !(at = strchr(names, s.ptr[1])))
        return 0;
    *ret = (uint8_t)bytes[at - names];
    return 2;
}

int template_unescape(struct buf *out, struct slice text,
                      struct opt_error *err)
{
    while (text.len) {
        uint8_t byte = text.ptr[0];
        size_t n = byte == '\\' ? escape(text, &byte) : 1;

        if (!n) {
            opt_error_set(err, "an escape is one of \\r \\n \\t \\0 \\\\ \\\" "
                          "\\xHH, not '" SLICE_FMT "'",
                          SLICE_ARG(slice_head(text, 2)));
            return ERR_BAD;
        }
        buf_add_byte(out, byte);
        text = slice_from(text, n);
    }
    return out->failed ? ERR_NOMEM : 0;
}

static size_t lower_letters(struct slice s)
{
    size_t n = 0;

    while (n < s.len && s.ptr[n] >= 'a' && s.ptr[n] <= 'z')
        n++;
    return n;
}

/* Bytes of the word in braces at the front of s; 0: there is none. ERR_BAD:
 * there is no such word. */
static int read_word(struct slice s, enum template_word *ret, size_t *len,
                     struct opt_error *err)
{
    struct slice name = slice_from(s, 1);

    *len = 0;
    name.len = lower_letters(name);
    if (!name.len || name.len + 2 > s.len || s.ptr[name.len + 1] != '}')
        return 0;
    for (size_t i = 1; i < ARRAY_LEN(word_names); i++)
        if (slice_eq(name, slice_str(word_names[i]))) {
            *ret = (enum template_word)i;
            *len = name.len + 2;
            return 0;
        }
    opt_error_set(err, "there is no {" SLICE_FMT "}; there are {id} {idsize} "
                  "{n} {cursor} {mark} {body} {size}", SLICE_ARG(name));
    return ERR_BAD;
}

static int add_piece(struct template *t, struct template_piece p)
{
    struct template_piece *more;

    if (p.word == TEMPLATE_TEXT && !p.len)
        return 0;
    more = reallocarray(t->pieces, t->count + 1, sizeof *more);
    if (!more)
        return ERR_NOMEM;
    t->pieces = more;
    more[t->count++] = p;
    return 0;
}

static int read_pieces(struct template *t, struct opt_error *err)
{
    struct slice all = buf_slice(&t->text), rest = all;
    size_t begin = 0;
    int rc = 0;

    while (rest.len && rc == 0) {
        size_t at = all.len - rest.len, len = 0;
        enum template_word word = TEMPLATE_TEXT;

        if (rest.ptr[0] == '{')
            rc = read_word(rest, &word, &len, err);
        if (rc == 0 && len) {
            rc = add_piece(t, (struct template_piece){ TEMPLATE_TEXT, begin,
                                                       at - begin });
            if (rc == 0)
                rc = add_piece(t, (struct template_piece){ word, 0, 0 });
            begin = at + len;
        }
        rest = slice_from(rest, MAX(len, 1));
    }
    if (rc == 0)
        rc = add_piece(t, (struct template_piece){ TEMPLATE_TEXT, begin,
                                                   all.len - begin });
    return rc;
}

int template_init(struct template *t, struct slice text, bool in_url,
                  struct opt_error *err)
{
    int rc;

    *t = (struct template){ .in_url = in_url };
    rc = template_unescape(&t->text, text, err);
    if (rc == 0)
        rc = read_pieces(t, err);
    if (rc < 0)
        template_fini(t);
    return rc;
}

void template_fini(struct template *t)
{
    buf_fini(&t->text);
    free(t->pieces);
    *t = (struct template){ .count = 0 };
}

bool template_has(const struct template *t, enum template_word word)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->pieces[i].word == word)
            return true;
    return false;
}

/* RFC 3986's unreserved characters, and the slash. */
static bool is_plain(uint8_t c)
{
    uint8_t letter = c | 0x20;

    return (letter >= 'a' && letter <= 'z') || (c >= '0' && c <= '9')
           || (c && strchr("-._~/", c));
}

static void add_value(const struct template *t, struct slice s,
                      struct buf *out)
{
    for (size_t i = 0; t->in_url && i < s.len; i++)
        if (is_plain(s.ptr[i]))
            buf_add_byte(out, s.ptr[i]);
        else
            buf_addf(out, "%%%02X", s.ptr[i]);
    if (!t->in_url)
        buf_add(out, s);
}

void template_fill(const struct template *t, const struct template_values *v,
                   struct buf *out)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct template_piece *p = &t->pieces[i];

        switch (p->word) {
        case TEMPLATE_TEXT:
            buf_add(out, slice_make(t->text.ptr + p->begin, p->len));
            break;
        case TEMPLATE_id:
            add_value(t, v->id, out);
            break;
        case TEMPLATE_idsize:
            buf_add_u64(out, v->id.len);
            break;
        case TEMPLATE_n:
            buf_add_u64(out, v->n);
            break;
        case TEMPLATE_cursor:
            add_value(t, v->cursor, out);
            break;
        case TEMPLATE_mark:
            add_value(t, v->mark, out);
            break;
        case TEMPLATE_body:
            add_value(t, v->body, out);
            break;
        case TEMPLATE_size:
            buf_add_u64(out, v->body.len);
            break;
        }
    }
}
