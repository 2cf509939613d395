#include "gateways/common/target.h"

#include "base/err.h"

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int target_decode(struct buf *out, struct slice raw)
{
    size_t i = 0;

    while (i < raw.len) {
        struct slice rest = slice_from(raw, i);
        size_t plain = slice_find_byte(rest, '%');
        int high, low;

        buf_add(out, slice_head(rest, plain));
        i += plain;
        if (i == raw.len)
            break;
        if (raw.len - i < 3)
            return ERR_BAD;
        high = hex_value(raw.ptr[i + 1]);
        low = hex_value(raw.ptr[i + 2]);
        if (high < 0 || low < 0)
            return ERR_BAD;
        buf_add_byte(out, (uint8_t)(high << 4 | low));
        i += 3;
    }
    return 0;
}

int query_init(struct query *q, struct slice raw)
{
    *q = (struct query){.raw = raw, .text = BUF_INIT};
    /* Each pair is decoded at most twice (once as a list, once by name), and
     * nothing may move what was handed out. */
    return !raw.len || buf_reserve(&q->text, 2 * raw.len) ? 0 : ERR_NOMEM;
}

void query_fini(struct query *q)
{
    buf_fini(&q->text);
}

/* Decodes into room that query_init() has made. */
static struct slice decoded(struct query *q, struct slice raw)
{
    size_t from = q->text.len;

    if (q->text.cap - from < raw.len || target_decode(&q->text, raw) < 0)
        return slice_make("", 0);
    return slice_make(q->text.ptr + from, q->text.len - from);
}

bool query_next(struct query *q, size_t *at, const char *key,
                struct slice *value)
{
    struct slice name = slice_str(key);

    while (*at < q->raw.len) {
        struct slice rest = slice_from(q->raw, *at);
        struct slice pair = slice_split(&rest, '&');

        *at += pair.len + 1;
        if (slice_eq(slice_split(&pair, '='), name)) {
            *value = decoded(q, pair);
            return true;
        }
    }
    return false;
}

struct slice query_get(struct query *q, const char *key)
{
    struct slice value;
    size_t at = 0;

    return query_next(q, &at, key, &value) ? value : slice_make(NULL, 0);
}

int query_number(struct query *q, const char *key, uint64_t absent,
                 uint64_t max, uint64_t *ret)
{
    struct slice text = query_get(q, key);
    uint64_t n = absent;
    int rc = text.ptr ? slice_parse_u64(text, &n) : 0;

    if (rc < 0 && rc != ERR_TOO_BIG)
        return rc;
    *ret = rc == ERR_TOO_BIG ? max : MIN(n, max);
    return 0;
}
