#include "gateways/tcp/print.h"

#include <string.h>

#include "base/utf8.h"
#include "proto/base64.h"
#include "proto/json.h"

static bool is_safe(uint32_t c, const char *more)
{
    if (utf8_is_control(c) || utf8_is_bidi(c))
        return false;
    return c >= 0x80 || !strchr(more, (int)c);
}

/* Would it be taken, behind a backslash, for one of our escapes? */
static bool ends_escape(struct slice behind)
{
    return behind.len && memchr("nxu", behind.ptr[0], 3);
}

static void print_escaped(struct buf *b, uint32_t c, const char *more)
{
    if (c == '\n' && !strchr(more, '\n'))
        buf_add_str(b, "\\n");
    else if (c < 0x80)
        buf_addf(b, "\\x%02x", (unsigned)c);
    else
        buf_addf(b, "\\u{%x}", (unsigned)c);
}

static void print(struct buf *b, struct slice text, const char *more,
                  bool json)
{
    struct slice run = slice_head(text, 0);

    while (text.len) {
        const uint8_t *at = text.ptr;
        uint32_t c = 0;
        bool whole = utf8_next(&text, &c) == 0;

        if (whole && is_safe(c, more) &&
            (json || c != '\\' || !ends_escape(text))) {
            run.len = (size_t)(text.ptr - run.ptr);
            continue;
        }
        buf_add(b, run);
        if (whole) {
            print_escaped(b, c, more);
        } else {
            buf_addf(b, "\\x%02x", *at);
            text = slice_from(text, 1);
        }
        run = slice_head(text, 0);
    }
    buf_add(b, run);
}

void print_safe(struct buf *b, struct slice text, const char *more)
{
    print(b, text, more, false);
}

void print_json(struct buf *b, struct slice raw)
{
    struct buf line = BUF_INIT;

    json_one_line(&line, raw);
    print(b, buf_slice(&line), "", true);
    b->failed |= line.failed;
    buf_fini(&line);
}

static void print_data(struct buf *b, const struct msg *m)
{
    if (m->format == MSG_BYTES) {
        buf_add_str(b, "base64:");
        base64_add(b, m->data);
    } else if (m->kind.len) {
        buf_add_str(b, "{\"kind\":");
        json_put_string(b, m->kind);
        buf_add_str(b, ",\"data\":");
        print_json(b, m->data);
        buf_add_str(b, "}");
    } else if (m->format == MSG_JSON) {
        print_json(b, m->data);
    } else {
        print_safe(b, m->data, "");
    }
}

void print_message(struct buf *b, const struct msg *m, struct slice cursor)
{
    buf_add(b, m->id);
    buf_add_byte(b, ' ');
    buf_add(b, cursor.len ? cursor : SLICE("-"));
    buf_add_byte(b, ' ');
    if (slice_eq(m->from, SLICE("-"))) /* who is called so is not nobody */
        buf_add_str(b, "\\x2d");
    else
        print_safe(b, m->from.len ? m->from : SLICE("-"), " :\n");
    buf_add_str(b, ": ");
    print_data(b, m);
    buf_add_str(b, "\r\n");
}

static void print_state(struct buf *b, struct slice state)
{
    struct json_iter it = json_iter(state);
    struct slice key, value;

    if (!it.object)
        return;
    while (json_next(&it, &key, &value)) {
        buf_add_byte(b, ' ');
        if (key.len > 2)
            print_safe(b, slice_make(key.ptr + 1, key.len - 2), " =\n");
        buf_add_byte(b, '=');
        print_json(b, value);
    }
}

static void print_gap(struct buf *b, const struct notice *n)
{
    if (n->from)
        buf_addf(b, " from=%llu", (unsigned long long)n->from);
    if (n->to)
        buf_addf(b, " to=%llu", (unsigned long long)n->to);
    if (n->missed)
        buf_addf(b, " count=%llu", (unsigned long long)n->missed);
    buf_addf(b, " why=%s", gap_why_text(n->why));
}

static void print_notice_line(struct buf *b, const struct notice *n,
                              struct slice channel)
{
    buf_addf(b, "NOTICE %s ", notice_text(n->kind));
    buf_add(b, channel);
    buf_add_byte(b, ' ');
    buf_add(b, n->cursor.len ? n->cursor : SLICE("-"));
    if (n->kind == NOTICE_GAP)
        print_gap(b, n);
    if (n->kind == NOTICE_CLOSING && n->text) {
        buf_add_str(b, " why=");
        print_safe(b, slice_str(n->text), "\n");
    }
    print_state(b, n->state);
    buf_add_str(b, "\r\n");
}

void print_notice(struct buf *b, const struct notice *n)
{
    if (n->count == 0)
        print_notice_line(b, n, SLICE("-"));
    for (unsigned i = 0; i < n->count; i++)
        print_notice_line(b, n, n->channels[i]);
}
