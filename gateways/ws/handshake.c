#include "gateways/ws/handshake.h"

#include "base/err.h"
#include "base/secret.h"
#include "gateways/common/access.h"
#include "proto/base64.h"
#include "gateways/common/envelope.h"
#include "gateways/common/target.h"

enum { KEY_CHARS = 24, KEY_BYTES = 16 };

#define FAULTS(X)                                                             \
    X(HOST, 421, "host.unknown",                                              \
      "This name is not served on a loopback listener; ws.hosts would list "  \
      "it.")                                                                  \
    X(UPGRADE, 426, "upgrade.required", "This port speaks WebSocket.")        \
    X(METHOD, 405, "method.bad", "A WebSocket begins with GET.")              \
    X(OLD, 400, "handshake.http", "A WebSocket needs HTTP/1.1.")              \
    X(PATH, 404, "path.unknown", "There are /v1/ws and /v1/raw here.")        \
    X(VERSION, 426, "handshake.version",                                      \
      "Version 13 of the WebSocket protocol is spoken here.")                 \
    X(KEY, 400, "handshake.key",                                              \
      "Sec-WebSocket-Key must be 16 bytes in base64.")                        \
    X(EXTENSIONS, 400, "handshake.extensions",                                \
      "Sec-WebSocket-Extensions is no list of extensions.")                   \
    X(BODY, 400, "handshake.body", "A WebSocket handshake has no body.")      \
    X(ORIGIN, 403, "origin.denied",                                           \
      "Pages of this origin may not connect here; ws.origins would list its " \
      "host.")

enum fault_id {
#define AS_ENUM(id, status, code, text) FAULT_##id,
    FAULTS(AS_ENUM)
#undef AS_ENUM
};

static const struct fault faults[] = {
#define AS_ROW(id, status, code, text) [FAULT_##id] = { status, code, text },
    FAULTS(AS_ROW)
#undef AS_ROW
};

static int fail(const struct fault **why, enum fault_id id)
{
    *why = &faults[id];
    return ERR_BAD;
}

/* ---- checking ---------------------------------------------------------- */

static int check_host(const struct request *r, const struct config_edge *cfg,
                      bool at_loopback, const struct fault **why)
{
    struct slice host = r->field[FIELD_HOST];
    int rc = request_check_host(r, why);

    if (rc == 0 && at_loopback && host.ptr && !access_host_allowed(cfg, host))
        return fail(why, FAULT_HOST);
    return rc;
}

static int check_upgrade(const struct request *r, const struct fault **why)
{
    unsigned both = REQUEST_UPGRADE | REQUEST_WEBSOCKET;

    if ((r->flags & both) != both)
        return fail(why, FAULT_UPGRADE);
    if (r->method != METHOD_GET)
        return fail(why, FAULT_METHOD);
    if (r->minor == 0)
        return fail(why, FAULT_OLD);
    if ((r->flags & REQUEST_CHUNKED) || r->length)
        return fail(why, FAULT_BODY);
    return 0;
}

static int check_path(const struct request *r, enum handshake_path *ret,
                      const struct fault **why)
{
    struct buf path = BUF_INIT;
    int rc = target_decode(&path, r->path);

    if (path.failed)
        rc = ERR_NOMEM;
    else if (rc == 0 && slice_eq(buf_slice(&path), SLICE("/v1/ws")))
        *ret = HANDSHAKE_WS;
    else if (rc == 0 && slice_eq(buf_slice(&path), SLICE("/v1/raw")))
        *ret = HANDSHAKE_RAW;
    else
        rc = fail(why, FAULT_PATH);
    buf_fini(&path);
    return rc;
}

static bool key_is_good(struct slice key)
{
    struct buf bytes = BUF_INIT;
    bool good = key.len == KEY_CHARS && base64_decode(&bytes, key) == 0 &&
                bytes.len == KEY_BYTES;

    buf_fini(&bytes);
    return good;
}

/* RFC 6455 4.2.2: what proves that we have read the key. */
static int make_accept(struct slice key, char accept[HANDSHAKE_ACCEPT + 1])
{
    struct buf text = BUF_INIT;
    uint8_t digest[SHA1_BYTES];
    int rc;

    buf_add(&text, key);
    buf_add_str(&text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    rc = text.failed ? ERR_NOMEM : sha1(buf_slice(&text), digest);
    buf_reset(&text);
    base64_add(&text, slice_make(digest, sizeof digest));
    if (rc == 0 && text.len != HANDSHAKE_ACCEPT)
        rc = ERR_NOMEM;
    if (rc == 0) {
        memcpy(accept, text.ptr, HANDSHAKE_ACCEPT);
        accept[HANDSHAKE_ACCEPT] = '\0';
    }
    buf_fini(&text);
    return rc;
}

/* Several lines are one list (RFC 6455 9.1), read here from its end: the first
 * offer that can be kept is the last one found. */
static int choose_extension(const struct request *r,
                            struct deflate_terms *ret)
{
    struct slice line = r->field[FIELD_SEC_WEBSOCKET_EXTENSIONS];
    struct deflate_terms terms;

    *ret = (struct deflate_terms){ .window = 0 };
    do {
        if (extension_choose(line, &terms) < 0)
            return ERR_BAD;
        if (terms.window)
            *ret = terms;
    } while (line.ptr &&
             request_line_before(r, FIELD_SEC_WEBSOCKET_EXTENSIONS, &line));
    return 0;
}

int handshake_check(const struct request *r, const struct config_edge *cfg,
                    bool at_loopback, struct handshake *ret,
                    const struct fault **why)
{
    struct slice origin = r->field[FIELD_ORIGIN];
    struct slice key = r->field[FIELD_SEC_WEBSOCKET_KEY];
    struct handshake h = { .deflate = { .window = 0 } };
    int rc = check_host(r, cfg, at_loopback, why);

    if (rc == 0)
        rc = check_upgrade(r, why);
    if (rc == 0)
        rc = check_path(r, &h.path, why);
    if (rc < 0)
        return rc;
    if (!slice_eq(r->field[FIELD_SEC_WEBSOCKET_VERSION], SLICE("13")))
        return fail(why, FAULT_VERSION);
    if (!key_is_good(key))
        return fail(why, FAULT_KEY);
    if (origin.ptr &&
        !access_origin_allowed(cfg, origin, r->field[FIELD_HOST]))
        return fail(why, FAULT_ORIGIN);
    if (cfg->deflate && choose_extension(r, &h.deflate) < 0)
        return fail(why, FAULT_EXTENSIONS);
    rc = make_accept(key, h.accept);
    if (rc < 0)
        return rc;
    *ret = h;
    return 0;
}

/* ---- answering --------------------------------------------------------- */

void handshake_accept(struct buf *out, const char *accept,
                      const struct deflate_terms *deflate)
{
    buf_addf(out, "HTTP/1.1 101 Switching Protocols\r\n"
             "Upgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: %s\r\n", accept);
    extension_answer(out, deflate);
    buf_add_str(out, "\r\n");
}

static const char *status_text(unsigned status)
{
    static const struct {
        unsigned status;
        const char *text;
    } texts[] = {
        { 400, "Bad Request" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 408, "Request Timeout" },
        { 414, "URI Too Long" },
        { 417, "Expectation Failed" },
        { 421, "Misdirected Request" },
        { 426, "Upgrade Required" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 501, "Not Implemented" },
        { 503, "Service Unavailable" },
        { 505, "HTTP Version Not Supported" },
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "Error";
}

/* 426 says where to go, by the name that was asked for; whether TLS stands in
 * front of us is not known here. */
static void add_text(struct buf *b, const struct request *r, unsigned status,
                     struct slice code, struct slice text)
{
    struct buf full = BUF_INIT;

    buf_add(&full, text);
    if (status == 426 && r && r->field[FIELD_HOST].ptr)
        buf_addf(&full, " Connect to /v1/ws at " SLICE_FMT " with ws://, or "
                 "wss:// behind TLS.", SLICE_ARG(r->field[FIELD_HOST]));
    buf_add_str(b, "{\"error\":");
    envelope_error(b, code, buf_slice(&full));
    buf_add_str(b, "}\n");
    b->failed |= full.failed;
    buf_fini(&full);
}

void handshake_refuse(struct buf *out, const struct request *r,
                      unsigned status, struct slice code, struct slice text,
                      unsigned retry_s)
{
    struct buf body = BUF_INIT;

    add_text(&body, r, status, code, text);
    buf_addf(out, "HTTP/1.1 %u %s\r\nConnection: %s\r\n", status,
             status_text(status), status == 426 ? "close, Upgrade" : "close");
    if (status == 405)
        buf_add_str(out, "Allow: GET\r\n");
    if (status == 426)
        buf_add_str(out, "Upgrade: websocket\r\n"
                    "Sec-WebSocket-Version: 13\r\n");
    if (status == 429 || status == 503)
        buf_addf(out, "Retry-After: %u\r\n", retry_s);
    buf_addf(out, "Cache-Control: no-store\r\n"
             "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
             body.len);
    if (!r || r->method != METHOD_HEAD)
        buf_add(out, buf_slice(&body));
    out->failed |= body.failed;
    buf_fini(&body);
}
