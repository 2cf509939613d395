#include "gateways/http/pages.h"

#include "gateways/common/gateway.h"
#include "gateways/http/front.h"

/* What pages.S has made of them. */
#define PAGES(X) \
    X(score, "/score.js", "text/javascript; charset=utf-8")               \
    X(app, "/app.js", "text/javascript; charset=utf-8")                   \
    X(late, "/late.css", "text/css; charset=utf-8")                       \
    X(chat, "/chat.js", "text/javascript; charset=utf-8")                 \
    X(shared, "/shared.js", "text/javascript; charset=utf-8")             \
    X(report, "/report", "text/html; charset=utf-8")                      \
    X(report_style, "/report.css", "text/css; charset=utf-8")             \
    X(report_app, "/report.js", "text/javascript; charset=utf-8")         \
    X(report_worker, "/report-worker.js",                                 \
      "text/javascript; charset=utf-8")                                   \
    X(lineup, "/lineup.js", "text/javascript; charset=utf-8")             \
    X(outbox, "/outbox.js", "text/javascript; charset=utf-8")             \
    X(play, "/play.js", "text/javascript; charset=utf-8")                 \
    X(sheets, "/sheets.js", "text/javascript; charset=utf-8")             \
    X(touchline, "/touchline.js", "text/javascript; charset=utf-8")       \
    X(admin, "/admin", "text/html; charset=utf-8")                        \
    X(admin_style, "/admin.css", "text/css; charset=utf-8")               \
    X(admin_app, "/admin.js", "text/javascript; charset=utf-8")           \
    X(match, "/touchline-match.js", "text/javascript; charset=utf-8")     \
    X(icon, "/icon.svg", "image/svg+xml")                                 \
    /* What browsers ask for beside a text or JSON. */                        \
    X(icon, "/favicon.ico", "image/svg+xml")

#define AS_SYMBOLS(name, path, type)                                \
    extern const uint8_t page_##name[], page_##name##_end[];        \
    extern const uint8_t page_##name##_gz[], page_##name##_gz_end[];
PAGES(AS_SYMBOLS)
#undef AS_SYMBOLS

static const struct page {
    const char *path;
    const char *type;
    const uint8_t *bytes, *end, *gzip, *gzip_end;
} pages[] = {
#define AS_ROW(name, path, type)                                     \
    {path, type, page_##name, page_##name##_end, page_##name##_gz,   \
     page_##name##_gz_end},
    PAGES(AS_ROW)
#undef AS_ROW
};

static const char try_this[] =
    "Touchline: say something on a channel, and all who listen hear it.\n"
    "\n"
    "listen:   curl -N http://HOST/v1/stream?channel=room/lobby\n"
    "say:      curl -d hello http://HOST/v1/publish/room/lobby\n"
    "read on:  curl http://HOST/v1/history/room/lobby\n"
    "who:      curl http://HOST/v1/presence/room/lobby\n"
    "matches:  curl http://HOST/v1/matches\n"
    "\n"
    "With a browser, this address shows matches and a chat room, and\n"
    "http://HOST/report is for who reports a match.\n";

void pages_policy(struct exchange *x, struct slice sources)
{
    buf_add_str(&x->fields, "Content-Security-Policy: default-src 'self'; ");
    buf_add(&x->fields, sources);
    buf_add_str(&x->fields,
                "connect-src 'self' ws: wss:; frame-ancestors 'none'; "
                "base-uri 'none'; form-action 'self'\r\n"
                "Referrer-Policy: no-referrer\r\n");
}

static void send_page(struct exchange *x, const struct page *p)
{
    pages_policy(x, SLICE(""));
    x->flags |= EXCHANGE_TAGGED;
    if (exchange_may_pack(x))
        reply_either(x, p->type,
                     slice_make(p->bytes, (size_t)(p->end - p->bytes)),
                     slice_make(p->gzip, (size_t)(p->gzip_end - p->gzip)));
}

/* HOST in the text becomes the host that was asked for. */
static void send_text(struct exchange *x, const struct call *call)
{
    struct slice host = call->request->field[FIELD_HOST];
    struct slice rest = slice_make(try_this, sizeof try_this - 1);
    struct buf b = BUF_INIT;

    x->flags |= EXCHANGE_TAGGED;
    if (!host.len)
        host = slice_str(conn_local_text(x->conn));
    while (rest.len) {
        if (slice_starts(rest, SLICE("HOST"))) {
            buf_add(&b, host);
            rest = slice_from(rest, 4);
        } else {
            buf_add_byte(&b, rest.ptr[0]);
            rest = slice_from(rest, 1);
        }
    }
    if (b.failed)
        reply_no_memory(x);
    else
        reply_text(x, 200, buf_slice(&b));
    buf_fini(&b);
}

/* Who comes to an address of its own for operators looks for their page. */
static bool is_for_operators(const struct exchange *x)
{
    return conn_at_admin(x->conn) &&
           gateway_edge_config(conn_gateway(x->conn))->admin.count > 0;
}

void pages_root(struct exchange *x, const struct call *call)
{
    buf_add_str(&x->fields, "Vary: Accept\r\n");
    if ((call->request->flags & REQUEST_HTML) && is_for_operators(x)) {
        buf_add_str(&x->fields, "Location: /admin\r\n");
        reply_text(x, 302, SLICE("/admin is the operators' page."));
    } else if (call->request->flags & REQUEST_HTML) {
        front_page(x, call);
    } else {
        send_text(x, call);
    }
}

void pages_file(struct exchange *x, const struct call *call)
{
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (slice_eq(call->path, slice_str(pages[i].path))) {
            send_page(x, &pages[i]);
            return;
        }
    }
    reply_error(x, 404, "path.unknown",
                SLICE("There is no such page; GET / says what there is."));
}
