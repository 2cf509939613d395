#include "gateways/ws/extension.h"

#include "base/err.h"

/* ---- words of a list (RFC 6455 9.1) ------------------------------------- */

static void skip_space(struct slice *in)
{
    while (in->len && (in->ptr[0] == ' ' || in->ptr[0] == '\t'))
        *in = slice_from(*in, 1);
}

static bool take_byte(struct slice *in, uint8_t byte)
{
    skip_space(in);
    if (!in->len || in->ptr[0] != byte)
        return false;
    *in = slice_from(*in, 1);
    return true;
}

static bool is_token_byte(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z') ||
           (byte && strchr("!#$%&'*+-.^_`|~", byte));
}

static bool take_token(struct slice *in, struct slice *ret)
{
    size_t n = 0;

    skip_space(in);
    while (n < in->len && is_token_byte(in->ptr[n]))
        n++;
    *ret = slice_head(*in, n);
    *in = slice_from(*in, n);
    return n > 0;
}

/* What stands in quotes must be a token, too. One with an escape in it would
 * be none of ours: it is given out as it was written. */
static bool take_quoted(struct slice *in, struct slice *ret)
{
    size_t n = 0;

    while (n < in->len && in->ptr[n] != '"') {
        n += in->ptr[n] == '\\';
        if (n >= in->len || !is_token_byte(in->ptr[n]))
            return false;
        n++;
    }
    *ret = slice_head(*in, n);
    *in = slice_from(*in, n);
    return n > 0 && take_byte(in, '"');
}

/* ---- parameters (RFC 7692 7.1) ------------------------------------------ */

/* Each is told its value, whose ptr is NULL when it has none. False: an offer
 * with that cannot be kept. */
static bool take_over_nothing(struct slice value, struct deflate_terms *t)
{
    UNUSED(t);
    return !value.ptr;
}

static bool window_bits(struct slice value, uint8_t *ret)
{
    uint64_t bits;

    if (slice_parse_u64(value, &bits) < 0 || bits < WINDOW_LEAST ||
        bits > WINDOW_MOST || value.ptr[0] == '0')
        return false;
    *ret = (uint8_t)bits;
    return true;
}

static bool our_window(struct slice value, struct deflate_terms *t)
{
    t->window_said = true;
    return window_bits(value, &t->window);
}

/* Any that it likes: our inflater takes the widest. */
static bool their_window(struct slice value, struct deflate_terms *t)
{
    uint8_t bits;

    UNUSED(t);
    return !value.ptr || window_bits(value, &bits);
}

static const struct {
    struct slice name;
    bool (*keep)(struct slice value, struct deflate_terms *t);
} params[] = {
    { SLICE_INIT("server_no_context_takeover"), take_over_nothing },
    { SLICE_INIT("client_no_context_takeover"), take_over_nothing },
    { SLICE_INIT("server_max_window_bits"), our_window },
    { SLICE_INIT("client_max_window_bits"), their_window },
};

/* Can it be kept, with those before it (a bit of *seen for each)? */
static bool keep_param(struct slice name, struct slice value, unsigned *seen,
                       struct deflate_terms *t)
{
    for (size_t i = 0; i < ARRAY_LEN(params); i++) {
        if (!slice_eq(params[i].name, name))
            continue;
        if (*seen & 1u << i)
            return false;
        *seen |= 1u << i;
        return params[i].keep(value, t);
    }
    return false;
}

/* ---- offers -------------------------------------------------------------- */

static bool take_param(struct slice *in, struct slice *name,
                       struct slice *value)
{
    *value = slice_make(NULL, 0);
    if (!take_token(in, name))
        return false;
    if (!take_byte(in, '='))
        return true;
    return take_byte(in, '"') ? take_quoted(in, value) : take_token(in, value);
}

/* False: no offer stands here. t->window is 0 for one that is not taken. */
static bool take_offer(struct slice *in, struct deflate_terms *t)
{
    struct slice name, value;
    unsigned seen = 0;
    bool good;

    *t = (struct deflate_terms){ .window = WINDOW_MOST };
    if (!take_token(in, &name))
        return false;
    good = slice_eq(name, SLICE("permessage-deflate"));
    while (take_byte(in, ';')) {
        if (!take_param(in, &name, &value))
            return false;
        good = good && keep_param(name, value, &seen, t);
    }
    if (!good)
        t->window = 0;
    return true;
}

int extension_choose(struct slice offers, struct deflate_terms *ret)
{
    struct deflate_terms chosen = { .window = 0 }, t;
    struct slice in = slice_trim(offers);

    while (in.len) {
        if (take_byte(&in, ',')) /* elements may be empty (RFC 9110 5.6.1) */
            continue;
        if (!take_offer(&in, &t))
            return ERR_BAD;
        skip_space(&in);
        if (in.len && in.ptr[0] != ',')
            return ERR_BAD;
        if (!chosen.window)
            chosen = t;
    }
    *ret = chosen;
    return 0;
}

void extension_answer(struct buf *out, const struct deflate_terms *terms)
{
    if (!terms->window)
        return;
    buf_add_str(out, "Sec-WebSocket-Extensions: permessage-deflate; "
                "server_no_context_takeover; client_no_context_takeover");
    if (terms->window_said)
        buf_addf(out, "; server_max_window_bits=%u", terms->window);
    buf_add_str(out, "\r\n");
}
