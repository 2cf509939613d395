#include "gateways/ws/wsframe.h"

#include "base/err.h"

enum { FIN = 0x80, RSV = 0x70, OPCODE = 0x0f, MASKED = 0x80, LENGTH = 0x7f,
       CONTROL_BIT = 8, LENGTH_16 = 126, LENGTH_64 = 127, MASK_BYTES = 4 };

/* ---- writing ----------------------------------------------------------- */

static void put_big_endian(uint8_t *out, unsigned bytes, uint64_t v)
{
    while (bytes--) {
        out[bytes] = (uint8_t)v;
        v >>= 8;
    }
}

size_t wsframe_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode op,
                      size_t len)
{
    out[0] = (uint8_t)(FIN | op);
    if (len < LENGTH_16) {
        out[1] = (uint8_t)len;
        return 2;
    }
    if (len <= UINT16_MAX) {
        out[1] = LENGTH_16;
        put_big_endian(out + 2, 2, len);
        return 4;
    }
    out[1] = LENGTH_64;
    put_big_endian(out + 2, 8, len);
    return 10;
}

void wsframe_add(struct buf *b, enum ws_opcode op, struct slice payload)
{
    uint8_t header[WS_HEADER_MAX];

    buf_add(b, slice_make(header, wsframe_header(header, op, payload.len)));
    buf_add(b, payload);
}

void wsframe_add_close(struct buf *b, unsigned code, const char *reason)
{
    uint8_t payload[WS_CONTROL_MAX];
    struct slice text = slice_head(slice_str(reason), WS_CONTROL_MAX - 2);

    if (code == WS_NO_CODE) {
        wsframe_add(b, WS_CLOSE, slice_make(NULL, 0));
        return;
    }
    put_big_endian(payload, 2, code);
    if (text.len)
        memcpy(payload + 2, text.ptr, text.len);
    wsframe_add(b, WS_CLOSE, slice_make(payload, text.len + 2));
}

/* ---- reading ----------------------------------------------------------- */

static bool failed(struct wsframe *f, unsigned code, const char *why)
{
    f->event = WS_FAILED;
    f->code = code;
    f->why = why;
    return false;
}

static bool is_control(const struct wsreader *r)
{
    return r->head[0] & CONTROL_BIT;
}

static uint64_t get_big_endian(const uint8_t *in, unsigned bytes)
{
    uint64_t v = 0;

    while (bytes--)
        v = v << 8 | *in++;
    return v;
}

/* False, and *f says why, when a frame must not begin with this byte now. */
static bool first_byte(const struct wsreader *r,
                       const struct wsframe_limits *limits, struct wsframe *f)
{
    unsigned op = r->head[0] & OPCODE;
    unsigned rsv = r->head[0] & RSV;

    if (rsv == WS_COMPRESSED && limits->compressed &&
        (op == WS_TEXT || op == WS_BINARY))
        rsv = 0;
    if (rsv)
        return failed(f, WS_PROTOCOL, "a reserved bit is set");
    if ((op > WS_BINARY && op < WS_CLOSE) || op > WS_PONG)
        return failed(f, WS_PROTOCOL, "a reserved opcode");
    if (is_control(r) && !(r->head[0] & FIN))
        return failed(f, WS_PROTOCOL, "a control frame is fragmented");
    if (op == WS_CONTINUATION && !r->message_op)
        return failed(f, WS_PROTOCOL, "a continuation of nothing");
    if ((op == WS_TEXT || op == WS_BINARY) && r->message_op)
        return failed(f, WS_PROTOCOL, "a message within a message");
    return true;
}

static bool second_byte(struct wsreader *r, struct wsframe *f)
{
    unsigned length = r->head[1] & LENGTH;

    if (!(r->head[1] & MASKED))
        return failed(f, WS_PROTOCOL, "a frame is not masked");
    if (is_control(r) && length > WS_CONTROL_MAX)
        return failed(f, WS_PROTOCOL, "a control frame is too long");
    r->head_need = 2 + MASK_BYTES;
    if (length == LENGTH_16)
        r->head_need += 2;
    else if (length == LENGTH_64)
        r->head_need += 8;
    return true;
}

/* The declared length, once its bytes are there. */
static bool check_length(struct wsreader *r,
                         const struct wsframe_limits *limits,
                         struct wsframe *f)
{
    unsigned bytes = (unsigned)r->head_need - 2 - MASK_BYTES;
    size_t most = r->compressed || r->head[0] & WS_COMPRESSED
                      ? limits->compressed : limits->message;

    r->len = bytes ? get_big_endian(r->head + 2, bytes)
                   : r->head[1] & LENGTH;
    if ((bytes == 2 && r->len < LENGTH_16) ||
        (bytes == 8 && r->len <= UINT16_MAX))
        return failed(f, WS_PROTOCOL, "a length is not in its shortest form");
    if (r->len >> 63)
        return failed(f, WS_PROTOCOL, "a length is negative");
    if (is_control(r))
        return true;
    if (r->len > most - r->message.len)
        return failed(f, WS_TOO_BIG, "the message is too big");
    if (r->fragments >= limits->fragments)
        return failed(f, WS_POLICY, "the message has too many fragments");
    return true;
}

/* A whole header is there: the payload begins. */
static void begin_payload(struct wsreader *r)
{
    unsigned op = r->head[0] & OPCODE;

    r->taken = 0;
    if (is_control(r))
        return;
    r->fragments++;
    if (op == WS_CONTINUATION)
        return;
    r->message_op = (uint8_t)op;
    r->compressed = r->head[0] & WS_COMPRESSED;
}

/* One byte of a header; what it shows is looked at as soon as it is there. */
static bool take_head(struct wsreader *r, uint8_t byte,
                      const struct wsframe_limits *limits, struct wsframe *f)
{
    if (r->head_len == 0)
        r->head_need = 2 + MASK_BYTES;
    r->head[r->head_len++] = byte;
    if (r->head_len == 1)
        return first_byte(r, limits, f);
    if (r->head_len == 2 && !second_byte(r, f))
        return false;
    if (r->head_len == r->head_need - MASK_BYTES &&
        !check_length(r, limits, f))
        return false;
    if (r->head_len == r->head_need)
        begin_payload(r);
    return true;
}

static bool in_payload(const struct wsreader *r)
{
    return r->head_len && r->head_len == r->head_need;
}

/* XORs eight bytes at a time; at is the payload offset of the first. */
static void unmask(uint8_t *out, struct slice in, const uint8_t mask[4],
                   uint64_t at)
{
    uint8_t turned[8];
    uint64_t wide, bytes;
    size_t i = 0;

    for (size_t k = 0; k < sizeof turned; k++)
        turned[k] = mask[(at + k) & 3];
    memcpy(&wide, turned, sizeof wide);
    for (; i + sizeof wide <= in.len; i += sizeof wide) {
        memcpy(&bytes, in.ptr + i, sizeof bytes);
        bytes ^= wide;
        memcpy(out + i, &bytes, sizeof bytes);
    }
    for (; i < in.len; i++)
        out[i] = in.ptr[i] ^ turned[i & 7];
}

/* Takes what there is of the payload; to has room for n bytes. */
static void take_masked(struct wsreader *r, struct slice *in, size_t n,
                        uint8_t *to)
{
    unmask(to, slice_head(*in, n), r->head + r->head_len - MASK_BYTES,
           r->taken);
    *in = slice_from(*in, n);
    r->taken += n;
}

static bool is_plain_text(const struct wsreader *r)
{
    return r->message_op == WS_TEXT && !r->compressed;
}

static bool take_payload(struct wsreader *r, struct slice *in,
                         struct wsframe *f)
{
    size_t n = (size_t)MIN(r->len - r->taken, (uint64_t)in->len);
    uint8_t *to;

    if (n == 0)
        return true;
    if (is_control(r)) {
        take_masked(r, in, n, r->control + r->taken);
        return true;
    }
    to = buf_reserve(&r->message, n);
    if (!to)
        return failed(f, WS_TRY_LATER, "the server is out of memory");
    take_masked(r, in, n, to);
    r->message.len += n;
    if (is_plain_text(r) && !utf8_feed(&r->utf8, slice_make(to, n)))
        return failed(f, WS_NOT_UTF8, "the text is not UTF-8");
    return true;
}

static bool code_is_valid(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1011) ||
           (code >= 3000 && code <= 4999);
}

static bool closed(struct slice payload, struct wsframe *f)
{
    f->code = WS_NO_CODE;
    if (!payload.len)
        return true;
    if (payload.len == 1)
        return failed(f, WS_PROTOCOL, "half a close code");
    f->code = (unsigned)get_big_endian(payload.ptr, 2);
    if (!code_is_valid(f->code))
        return failed(f, WS_PROTOCOL, "a close code that must not be sent");
    f->payload = slice_from(payload, 2);
    if (!utf8_valid(f->payload))
        return failed(f, WS_NOT_UTF8, "the reason is not UTF-8");
    return true;
}

/* All of a frame is there; f stays WS_MORE when more of its message follows. */
static bool frame_end(struct wsreader *r, struct wsframe *f)
{
    r->head_len = 0;
    if (is_control(r)) {
        f->event = WS_CONTROL;
        f->op = r->head[0] & OPCODE;
        f->payload = slice_make(r->control, (size_t)r->len);
        return f->op != WS_CLOSE || closed(f->payload, f);
    }
    if (!(r->head[0] & FIN))
        return true;
    if (is_plain_text(r) && !utf8_done(&r->utf8))
        return failed(f, WS_NOT_UTF8, "the text ends within a character");
    f->event = WS_MESSAGE;
    f->op = r->message_op;
    f->compressed = r->compressed;
    f->payload = buf_slice(&r->message);
    r->returned = true;
    return true;
}

static void forget_message(struct wsreader *r)
{
    buf_reset(&r->message);
    r->message_op = 0;
    r->compressed = false;
    r->fragments = 0;
    r->utf8 = (struct utf8_state){ .need = 0 };
    r->returned = false;
}

static bool step(struct wsreader *r, struct slice *in,
                 const struct wsframe_limits *limits, struct wsframe *f)
{
    uint8_t byte;

    if (!in_payload(r)) {
        byte = in->ptr[0];
        *in = slice_from(*in, 1);
        if (!take_head(r, byte, limits, f) || !in_payload(r))
            return f->event != WS_FAILED;
    }
    if (!take_payload(r, in, f))
        return false;
    return r->taken < r->len || frame_end(r, f);
}

void wsframe_next(struct wsreader *r, struct slice *in,
                  const struct wsframe_limits *limits, struct wsframe *ret)
{
    *ret = (struct wsframe){ .event = WS_MORE };
    if (r->returned)
        forget_message(r);
    while (ret->event == WS_MORE && in->len && step(r, in, limits, ret))
        ;
}

bool wsreader_idle(const struct wsreader *r)
{
    return r->head_len == 0 && (r->message_op == 0 || r->returned);
}

void wsreader_reset(struct wsreader *r)
{
    forget_message(r);
    r->head_len = 0;
}

void wsreader_fini(struct wsreader *r)
{
    buf_fini(&r->message);
}

/* ---- in another process ------------------------------------------------ */

/* A frame of what came of the message in front of the one under way: masked
 * with zeroes, so that its payload stands as it is. */
static void freeze_begun(const struct wsreader *r, size_t len, struct buf *b)
{
    uint8_t head[WS_HEADER_MAX];
    size_t n = wsframe_header(head, r->message_op, len);

    head[0] = (uint8_t)(r->message_op | (r->compressed ? WS_COMPRESSED : 0));
    head[1] |= MASKED;
    buf_add(b, slice_make(head, n));
    buf_add(b, slice_make("\0\0\0", MASK_BYTES));
    buf_add(b, slice_head(buf_slice(&r->message), len));
}

void wsreader_freeze(const struct wsreader *r, struct buf *b)
{
    bool payload = in_payload(r), data = payload && !is_control(r);
    size_t of_frame = data ? (size_t)r->taken : 0;
    struct slice came;
    uint8_t *to;

    if (r->message_op && !r->returned && r->fragments > data)
        freeze_begun(r, r->message.len - of_frame, b);
    buf_add(b, slice_make(r->head, r->head_len));
    if (!payload || r->taken == 0)
        return;
    came = data ? slice_from(buf_slice(&r->message),
                             r->message.len - of_frame)
                : slice_make(r->control, (size_t)r->taken);
    to = buf_reserve(b, came.len);
    if (!to)
        return;
    unmask(to, came, r->head + r->head_len - MASK_BYTES, 0); /* masks as well */
    b->len += came.len;
}

int wsreader_thaw(struct wsreader *r, struct slice bytes, uint32_t fragments)
{
    static const struct wsframe_limits no_limits = {
        .message = SIZE_MAX / 2, .compressed = SIZE_MAX / 2,
        .fragments = UINT32_MAX};
    struct wsframe f;

    wsframe_next(r, &bytes, &no_limits, &f);
    if (f.event == WS_FAILED && f.code == WS_TRY_LATER)
        return ERR_NOMEM;
    if (f.event != WS_MORE || fragments < r->fragments)
        return ERR_FRAME;
    if (r->message_op)
        r->fragments = fragments;
    return 0;
}
