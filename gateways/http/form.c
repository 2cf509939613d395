#include "gateways/http/form.h"

#include <inttypes.h>

#include "gateways/common/envelope.h"
#include "gateways/common/gateway.h"

enum { CHUNK_ROOM = 24 }; /* of a chunk, besides its text */

bool form_is_test(unsigned form)
{
    return form >= FORM_TEST;
}

bool form_is_chunked(unsigned form)
{
    return form & 1;
}

struct slice form_ping(unsigned form)
{
    return form >= FORM_EVENTS ? SLICE(": ping\n\n") : SLICE("\n");
}

bool form_packs(unsigned form)
{
    return form_is_chunked(form) && !form_is_test(form);
}

unsigned form_packed(unsigned form)
{
    return form >= FORM_EVENTS ? FORM_EVENTS_PACKED : FORM_LINES_PACKED;
}

const char *form_type(unsigned form)
{
    if (form_is_test(form))
        return "text/html; charset=utf-8";
    return form >= FORM_EVENTS ? "text/event-stream"
                               : "application/x-ndjson";
}

void form_put_html(struct buf *b, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        switch (text.ptr[i]) {
        case '&': buf_add_str(b, "&amp;"); break;
        case '<': buf_add_str(b, "&lt;"); break;
        case '>': buf_add_str(b, "&gt;"); break;
        case '"': buf_add_str(b, "&quot;"); break;
        case '\'': buf_add_str(b, "&#39;"); break;
        case '\r': buf_add_str(b, "&#13;"); break; /* HTML reads it as LF */
        default: buf_add_byte(b, text.ptr[i]);
        }
    }
}

void form_put_text(struct buf *b, unsigned form, struct slice text)
{
    (void)buf_reserve(b, CHUNK_ROOM + text.len);
    if (form_is_chunked(form))
        buf_addf(b, "%zx\r\n", text.len);
    buf_add(b, text);
    if (form_is_chunked(form))
        buf_add_str(b, "\r\n");
}

static void put_event(struct buf *b, struct slice cursor, struct slice json)
{
    if (cursor.len)
        buf_addf(b, "id: " SLICE_FMT "\n", SLICE_ARG(cursor));
    buf_add_str(b, "data: ");
    buf_add(b, json);
    buf_add_str(b, "\n\n");
}

/* What stands behind the number of a message on a /test/ page. */
static void put_test_rest(struct buf *b, const struct msg *m)
{
    struct buf json = BUF_INIT;

    if (m->format == MSG_BYTES) {
        envelope_data(&json, MSG_BYTES, m->data);
        form_put_html(b, buf_slice(&json));
        b->failed |= json.failed;
        buf_fini(&json);
    } else {
        form_put_html(b, m->data);
    }
    buf_add_str(b, "'<br/>\n");
}

static void put_plain(struct buf *b, struct conn *c, unsigned form,
                      const struct msg *m)
{
    const struct epoch *epoch = gateway_epoch(conn_gateway(c));
    struct buf json = BUF_INIT;

    if (form_is_test(form)) {
        put_test_rest(b, m);
        return;
    }
    if (form != FORM_EVENTS && form != FORM_EVENTS_CHUNK) {
        envelope_message(b, m, epoch, 0);
        buf_add_byte(b, '\n');
        return;
    }
    envelope_message(&json, m, epoch, 0);
    put_event(b, cursor_of(c, m), buf_slice(&json));
    b->failed |= json.failed;
    buf_fini(&json);
}

struct wire *form_wire(struct conn *c, unsigned form, struct msg *m)
{
    struct buf plain = BUF_INIT, whole = BUF_INIT;
    struct wire *w = m->forms[form];

    if (w)
        return w;
    put_plain(&plain, c, form, m);
    if (form == FORM_TEST_CHUNK) {
        buf_add(&whole, buf_slice(&plain));
        buf_add_str(&whole, "\r\n");
    } else {
        form_put_text(&whole, form, buf_slice(&plain));
    }
    if (!plain.failed && !whole.failed)
        w = wire_new(whole.len);
    if (w)
        memcpy(w->bytes, whole.ptr, whole.len);
    m->forms[form] = w;
    buf_fini(&plain);
    buf_fini(&whole);
    return w;
}

void form_put_notice(struct buf *b, unsigned form, const struct notice *n)
{
    struct buf json = BUF_INIT;

    if (form_is_test(form)) {
        if (n->kind == NOTICE_GAP && n->missed)
            buf_addf(b, "Missed %" PRIu64 " msgs<br/>\n", n->missed);
        else if (n->kind == NOTICE_GAP)
            buf_add_str(b, "Missed some msgs<br/>\n");
        return;
    }
    envelope_notice(&json, n);
    if (form >= FORM_EVENTS) {
        buf_add_str(b, "event: notice\n");
        put_event(b, n->cursor, buf_slice(&json));
    } else {
        buf_add(b, buf_slice(&json));
        buf_add_byte(b, '\n');
    }
    b->failed |= json.failed;
    buf_fini(&json);
}
