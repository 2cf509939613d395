#include "tests/chaos/wire.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"

enum { HEAD, BODY, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER, OPEN, DEAD };

void wire_init(struct wire *w, enum wire_form form)
{
    *w = (struct wire){ .form = form,
                        .state = form == WIRE_TELNET ? OPEN : HEAD };
}

void wire_fini(struct wire *w)
{
    buf_fini(&w->in);
    buf_fini(&w->text);
}

static void settle(struct buf *b, size_t *used)
{
    if (*used == b->len)
        buf_fini(b);
    else
        buf_drop_front(b, *used);
    *used = 0;
}

void wire_feed(struct wire *w, struct slice bytes)
{
    settle(&w->in, &w->used);
    if (w->form != WIRE_FRAMES)
        settle(&w->text, &w->spoken);
    buf_add(&w->in, bytes);
}

static struct slice rest(const struct wire *w)
{
    return slice_make(w->in.ptr + w->used, w->in.len - w->used);
}

static struct wire_item item(enum wire_kind kind, struct slice text)
{
    return (struct wire_item){ .kind = kind, .retry_ms = -1, .text = text };
}

static struct wire_item nothing(void)
{
    return item(WIRE_NONE, slice_make(NULL, 0));
}

static struct wire_item bad(struct wire *w)
{
    w->state = DEAD;
    return item(WIRE_BAD, slice_make(NULL, 0));
}

static struct wire_item over(struct wire *w)
{
    w->state = DEAD;
    return item(WIRE_OVER, slice_make(NULL, 0));
}

/* The next line, without its end. */
static bool take_line(struct buf *b, size_t *used, struct slice *line)
{
    const uint8_t *from = b->ptr + *used, *end;

    if (b->len == *used)
        return false;
    end = memchr(from, '\n', b->len - *used);
    if (!end)
        return false;
    *line = slice_make(from, (size_t)(end - from));
    *used += line->len + 1;
    if (line->len && from[line->len - 1] == '\r')
        line->len--;
    return true;
}

/* The value of a header's line, or NULL. Lines end in CR. */
static const char *value_of(const char *line, const char *name)
{
    size_t n = strlen(name);

    if (strncasecmp(line, name, n) != 0 || line[n] != ':')
        return NULL;
    return line + n + 1 + strspn(line + n + 1, " ");
}

static void read_header(struct wire *w, const char *line, struct wire_item *it)
{
    const char *v;

    if ((v = value_of(line, "content-length")))
        w->left = strtoul(v, NULL, 10);
    else if ((v = value_of(line, "transfer-encoding")))
        w->chunked = strncasecmp(v, "chunked", 7) == 0;
    else if ((v = value_of(line, "retry-after")))
        it->retry_ms = (int64_t)(strtod(v, NULL) * 1000);
}

static struct wire_item take_head(struct wire *w)
{
    struct slice in = rest(w);
    uint8_t *end = in.len ? memmem(in.ptr, in.len, "\r\n\r\n", 4) : NULL;
    struct wire_item it = item(WIRE_HEAD, slice_make(NULL, 0));
    char *line = (char *)w->in.ptr + w->used;

    if (!end)
        return nothing();
    w->used += (size_t)(end - in.ptr) + 4;
    end[3] = '\0'; /* the line feed that ended it */
    if (strncmp(line, "HTTP/1.", 7) != 0)
        return bad(w);
    it.status = atoi(line + 9);
    w->left = 0;
    w->chunked = false;
    while ((line = strchr(line, '\n')))
        read_header(w, ++line, &it);
    if (w->form == WIRE_FRAMES && it.status == 101)
        w->state = OPEN;
    else
        w->state = w->chunked ? CHUNK_SIZE : BODY;
    return it;
}

static struct wire_item take_body(struct wire *w)
{
    struct wire_item it = item(WIRE_BODY, rest(w));

    if (it.text.len < w->left)
        return nothing();
    it.text.len = w->left;
    w->used += w->left;
    w->state = HEAD;
    return it;
}

/* Moves what has come of chunks into text. False: no more for now, or BAD. */
static bool take_chunk(struct wire *w)
{
    struct slice line;
    size_t n;

    switch (w->state) {
    case CHUNK_SIZE:
        if (!take_line(&w->in, &w->used, &line))
            return false;
        w->left = strtoul((const char *)line.ptr, NULL, 16);
        w->state = w->left ? CHUNK : TRAILER;
        return true;
    case CHUNK:
        n = MIN(w->left, w->in.len - w->used);
        buf_add(&w->text, slice_make(w->in.ptr + w->used, n));
        w->used += n;
        w->left -= n;
        if (w->left)
            return false;
        w->state = CHUNK_END;
        return true;
    case CHUNK_END:
        if (!take_line(&w->in, &w->used, &line))
            return false;
        w->state = CHUNK_SIZE;
        return line.len == 0;
    default:
        return false;
    }
}

static bool trailer_ended(struct wire *w)
{
    struct slice line;

    while (take_line(&w->in, &w->used, &line))
        if (line.len == 0)
            return true;
    return false;
}

static bool starts(struct slice s, const char *text)
{
    return s.len >= strlen(text) && memcmp(s.ptr, text, strlen(text)) == 0;
}

/* A line of a stream: one of NDJSON or of /test/, or one of an event, of which
 * only `data` and `retry` matter here: the data has its cursor. */
static bool line_item(const struct wire *w, struct slice line,
                      struct wire_item *it)
{
    if (line.len == 0)
        return false;
    *it = item(WIRE_TEXT, line);
    if (w->form == WIRE_LINES)
        return true;
    if (starts(line, "data: ")) {
        it->text = slice_make(line.ptr + 6, line.len - 6);
        return true;
    }
    if (!starts(line, "retry: "))
        return false;
    it->kind = WIRE_RETRY;
    it->retry_ms = strtol((const char *)line.ptr + 7, NULL, 10);
    it->text.len = 0;
    return true;
}

static struct wire_item take_stream(struct wire *w)
{
    struct slice line;
    struct wire_item it;

    do {
        while (take_line(&w->text, &w->spoken, &line))
            if (line_item(w, line, &it))
                return it;
    } while (take_chunk(w));
    while (take_line(&w->text, &w->spoken, &line))
        if (line_item(w, line, &it))
            return it;
    if (w->state == TRAILER && trailer_ended(w))
        return over(w);
    return nothing();
}

/* ---- WebSocket ----------------------------------------------------------- */

/* How long the head of the frame is, and its data; 0: it has not come. */
static size_t frame_head(struct slice in, uint64_t *size)
{
    size_t n;

    if (in.len < 2)
        return 0;
    *size = in.ptr[1] & 0x7f;
    n = *size == 126 ? 4 : *size == 127 ? 10 : 2;
    if (in.len < n)
        return 0;
    if (n > 2)
        *size = 0;
    for (size_t i = 2; i < n; i++)
        *size = *size << 8 | in.ptr[i];
    return n;
}

static struct wire_item frame_item(struct wire *w, uint8_t first,
                                   struct slice data)
{
    struct wire_item it = item(WIRE_TEXT, data);

    switch (first & 0x0f) {
    case 9:
        it.kind = WIRE_PING;
        return it;
    case 10:
        return nothing();
    case 8:
        it.kind = WIRE_OVER;
        it.status = data.len < 2 ? 1005 : data.ptr[0] << 8 | data.ptr[1];
        it.text = data.len < 2 ? data : slice_make(data.ptr + 2, data.len - 2);
        w->state = DEAD;
        return it;
    default:
        return first & 0x80 ? it : bad(w); /* we get no fragments */
    }
}

static struct wire_item take_frame(struct wire *w)
{
    struct slice in = rest(w);
    struct wire_item it;
    uint64_t size;
    size_t head;

    while ((head = frame_head(in, &size)) && in.len - head >= size) {
        w->used += head + size;
        it = frame_item(w, in.ptr[0], slice_make(in.ptr + head, size));
        if (it.kind != WIRE_NONE)
            return it;
        in = rest(w);
    }
    return nothing();
}

struct wire_item wire_next(struct wire *w)
{
    struct slice line;

    if (w->in.failed || w->text.failed)
        return bad(w);
    switch (w->state) {
    case DEAD:
        return nothing();
    case HEAD:
        return take_head(w);
    case BODY:
        return take_body(w);
    case OPEN:
        if (w->form == WIRE_FRAMES)
            return take_frame(w);
        if (take_line(&w->in, &w->used, &line))
            return item(WIRE_TEXT, line);
        return nothing();
    default:
        return take_stream(w);
    }
}

/* ---- what a client says ---- */

void wire_put_frame(struct buf *out, unsigned opcode, struct slice data)
{
    static const uint8_t mask[4] = { 0x37, 0xfa, 0x21, 0x3d };
    uint8_t *to;

    buf_add_byte(out, (uint8_t)(0x80 | opcode));
    if (data.len < 126) {
        buf_add_byte(out, (uint8_t)(0x80 | data.len));
    } else if (data.len < 65536) {
        buf_add_byte(out, 0x80 | 126);
        buf_add_byte(out, (uint8_t)(data.len >> 8));
        buf_add_byte(out, (uint8_t)data.len);
    } else {
        buf_add_byte(out, 0x80 | 127);
        for (int shift = 56; shift >= 0; shift -= 8)
            buf_add_byte(out, (uint8_t)((uint64_t)data.len >> shift));
    }
    buf_add(out, slice_make(mask, 4));
    to = buf_reserve(out, data.len);
    for (size_t i = 0; to && i < data.len; i++)
        to[i] = data.ptr[i] ^ mask[i % 4];
    out->len += to ? data.len : 0;
}

void wire_put_get(struct buf *out, const char *target, const char *lines,
                  bool upgrade)
{
    buf_addf(out, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s", target,
             lines ? lines : "");
    if (upgrade)
        buf_add_str(out, "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    buf_add_str(out, "\r\n");
}
