#include "gateways/tcp/line.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

/* RFC 854: commands are IAC and a byte, the four of option negotiation one
 * more, a subnegotiation everything up to IAC SE. */
enum { IAC = 255, WILL = 251, DONT = 254, SB = 250, SE = 240 };
enum { TELNET_TEXT, TELNET_IAC, TELNET_OPTION, TELNET_SUB, TELNET_SUB_IAC };
enum { KEPT_LEAST = 64 };

void line_fini(struct line *l)
{
    free(l->kept);
    *l = (struct line){ .kept = NULL };
}

static void forget(struct line *l)
{
    free(l->kept);
    l->kept = NULL;
    l->len = 0;
    l->returned = false;
}

static void skip_rest(struct line *l)
{
    forget(l);
    l->skipping = true;
}

/* Bytes allocated for a line of which len are kept. */
static size_t room_for(size_t len)
{
    size_t room = len ? KEPT_LEAST : 0;

    while (room < len)
        room *= 2;
    return room;
}

static int keep(struct line *l, struct slice text)
{
    size_t len = l->len + text.len;
    uint8_t *kept = l->kept;

    if (room_for(len) != room_for(l->len)) {
        kept = realloc(l->kept, room_for(len));
        if (!kept)
            return ERR_NOMEM;
    }
    memcpy(kept + l->len, text.ptr, text.len);
    l->kept = kept;
    l->len = (uint32_t)len;
    return 0;
}

/* A carriage return at the end may belong to the line's end. */
static bool too_long(size_t len, uint8_t last, uint32_t limit)
{
    return len > limit && !(len == (size_t)limit + 1 && last == '\r');
}

static struct slice without_cr(struct slice s)
{
    return s.len && s.ptr[s.len - 1] == '\r' ? slice_head(s, s.len - 1) : s;
}

/* The bytes up to the next one that means something here. */
static struct slice take_plain(struct slice *in)
{
    size_t n = 0;
    struct slice plain;

    while (n < in->len && in->ptr[n] != '\n' && in->ptr[n] != IAC)
        n++;
    plain = slice_head(*in, n);
    *in = slice_from(*in, n);
    return plain;
}

/* Adds text to the line under way. */
static int extend(struct line *l, struct slice text, uint32_t limit,
                  enum line_event *event)
{
    size_t len = l->len + text.len;
    int rc;

    *event = LINE_MORE;
    if (l->skipping || !text.len)
        return 0;
    if (too_long(len, text.ptr[text.len - 1], limit)) {
        skip_rest(l);
        *event = LINE_LONG;
        return 0;
    }
    rc = keep(l, text);
    if (rc < 0)
        skip_rest(l);
    return rc;
}

/* The byte behind IAC; an IAC that stands for itself is text. */
static int telnet_command(struct line *l, uint8_t byte, uint32_t limit,
                          enum line_event *event)
{
    static const uint8_t iac = IAC;

    l->telnet = TELNET_TEXT;
    if (byte == IAC)
        return extend(l, slice_make(&iac, 1), limit, event);
    if (byte >= WILL && byte <= DONT)
        l->telnet = TELNET_OPTION;
    if (byte == SB) {
        l->telnet = TELNET_SUB;
        l->sub = 0;
    }
    return 0;
}

static int telnet_byte(struct line *l, uint8_t byte, uint32_t limit,
                       enum line_event *event)
{
    switch (l->telnet) {
    case TELNET_IAC:
        return telnet_command(l, byte, limit, event);
    case TELNET_SUB:
        if (byte == IAC)
            l->telnet = TELNET_SUB_IAC;
        break;
    case TELNET_SUB_IAC:
        l->telnet = byte == SE ? TELNET_TEXT : TELNET_SUB;
        break;
    default:
        l->telnet = TELNET_TEXT;
    }
    if (l->telnet >= TELNET_SUB && ++l->sub > limit) {
        l->telnet = TELNET_TEXT;
        *event = l->skipping ? LINE_MORE : LINE_LONG;
        skip_rest(l);
    }
    return 0;
}

/* in stands at a line feed, plain is what came in front of it in this call. */
static int line_end(struct line *l, struct slice plain, uint32_t limit,
                    enum line_event *event, struct slice *ret)
{
    int rc;

    if (l->skipping) {
        l->skipping = false;
        return 0;
    }
    if (l->len) {
        rc = extend(l, plain, limit, event);
        if (rc < 0 || *event == LINE_LONG) {
            l->skipping = false;
            return rc;
        }
        plain = slice_make(l->kept, l->len);
    }
    plain = without_cr(plain);
    l->returned = true;
    if (plain.len > limit) {
        *event = LINE_LONG;
        return 0;
    }
    *event = LINE_TEXT;
    *ret = plain;
    return 0;
}

/* One step: a run of text with or without its end, or one telnet byte. */
static int step(struct line *l, struct slice *in, uint32_t limit,
                enum line_event *event, struct slice *ret)
{
    struct slice plain;
    uint8_t byte;

    if (l->telnet != TELNET_TEXT) {
        byte = in->ptr[0];
        *in = slice_from(*in, 1);
        return telnet_byte(l, byte, limit, event);
    }
    plain = take_plain(in);
    if (!in->len)
        return extend(l, plain, limit, event);
    byte = in->ptr[0];
    *in = slice_from(*in, 1);
    if (byte == '\n')
        return line_end(l, plain, limit, event, ret);
    l->telnet = TELNET_IAC;
    return extend(l, plain, limit, event);
}

/* A TLS record with a hello (RFC 8446 5.1) begins with 22, a STUN request
 * (RFC 8489 5) with 0; within ICE over TCP (RFC 6544 10.1) the length of one
 * stands in front, two bytes that no key gives. */
static bool is_foreign(uint8_t first)
{
    enum { TLS_HANDSHAKE = 22, STUN_LENGTH_MOST = 7 };

    return first == TLS_HANDSHAKE || first <= STUN_LENGTH_MOST;
}

bool line_is_http(struct slice line)
{
    static const size_t version = sizeof " HTTP/1.1" - 1;
    struct slice l = slice_trim(line);

    return slice_eq_nocase(slice_head(l, 5), SLICE("host:")) ||
           (l.len > version &&
            slice_starts(slice_from(l, l.len - version), SLICE(" HTTP/")));
}

int line_next(struct line *l, struct slice *in, uint32_t limit,
              enum line_event *event, struct slice *ret)
{
    int rc = 0;

    if (l->returned)
        forget(l);
    *event = LINE_MORE;
    *ret = slice_make(NULL, 0);
    if (!l->begun && in->len) {
        l->begun = true;
        if (is_foreign(in->ptr[0])) {
            *event = LINE_FOREIGN;
            return 0;
        }
    }
    while (rc == 0 && *event == LINE_MORE && in->len)
        rc = step(l, in, limit, event, ret);
    return rc;
}

enum { FROZEN_SKIPPING = 1u << 0, FROZEN_BEGUN = 1u << 1,
       FROZEN_FLAGS = (1u << 2) - 1 };

void line_freeze(const struct line *l, struct buf *b)
{
    put_u8(b, (uint8_t)((l->skipping ? FROZEN_SKIPPING : 0u) |
                        (l->begun ? FROZEN_BEGUN : 0u)));
    put_u8(b, l->telnet);
    put_u32(b, l->sub);
    put_str32(b, slice_make(l->kept, l->returned ? 0 : l->len));
}

int line_thaw(struct line *l, struct cursor *in)
{
    uint8_t flags = cursor_u8(in), telnet = cursor_u8(in);
    uint32_t sub = cursor_u32(in);
    struct slice kept = cursor_str32(in);

    *l = (struct line){ .kept = NULL };
    if (in->failed || (flags & ~(unsigned)FROZEN_FLAGS) ||
        telnet > TELNET_SUB_IAC || sub > LINE_LIMIT_MAX + 1 ||
        kept.len > LINE_LIMIT_MAX + 1)
        return ERR_FRAME;
    l->skipping = (flags & FROZEN_SKIPPING) != 0;
    l->begun = (flags & FROZEN_BEGUN) != 0;
    l->telnet = telnet & 7u;
    l->sub = sub & 0xffffffu;
    return kept.len ? keep(l, kept) : 0;
}
