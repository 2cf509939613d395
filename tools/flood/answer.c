#include "tools/flood/answer.h"

#include "base/err.h"

static struct slice next_line(struct slice *rest)
{
    struct slice line = slice_split(rest, '\n');

    if (slice_ends(line, SLICE("\r")))
        line.len--;
    return line;
}

/* "HTTP/1.1 200 OK" */
static int read_status(struct answer *a, struct slice line)
{
    uint64_t status;
    struct slice version = slice_split(&line, ' ');

    if (!slice_starts(version, SLICE("HTTP/1."))
        || slice_parse_u64(slice_head(line, 3), &status) < 0 || status < 100)
        return ERR_BAD;
    a->status = (uint16_t)status;
    a->closes = slice_eq(version, SLICE("HTTP/1.0"));
    return 0;
}

static int read_length(struct answer *a, struct slice value)
{
    uint64_t n;
    int rc = slice_parse_u64(value, &n);

    if (rc < 0)
        return rc;
    if (n > UINT32_MAX)
        return ERR_TOO_BIG;
    a->left = (uint32_t)n;
    a->phase = ANSWER_LENGTH;
    return 0;
}

static int read_header(struct answer *a, struct slice line)
{
    struct slice value = line, name = slice_split(&value, ':');

    value = slice_trim(value);
    if (slice_eq_nocase(name, SLICE("Transfer-Encoding"))
        && slice_eq_nocase(value, SLICE("chunked")))
        a->phase = ANSWER_SIZE;
    else if (slice_eq_nocase(name, SLICE("Content-Length"))
             && a->phase != ANSWER_SIZE)
        return read_length(a, value);
    else if (slice_eq_nocase(name, SLICE("Connection"))
             && slice_eq_nocase(value, SLICE("close")))
        a->closes = true;
    return 0;
}

/* A body that is not there is over. */
static void settle(struct answer *a)
{
    if (a->phase == ANSWER_SIZE)
        a->left = 0;
    if (a->status < 200 || a->status == 204 || a->status == 304
        || (a->phase == ANSWER_LENGTH && a->left == 0))
        a->phase = ANSWER_OVER;
}

int answer_head(struct answer *a, struct slice in, size_t *used)
{
    const uint8_t *end = memmem(in.ptr, in.len, "\r\n\r\n", 4);
    struct slice head, line;
    int rc;

    *used = 0;
    if (!end)
        return in.len > ANSWER_HEAD_MAX ? ERR_TOO_BIG : 0;
    head = slice_head(in, (size_t)(end - in.ptr));
    *a = (struct answer){ .phase = ANSWER_UNTIL_END };
    rc = read_status(a, next_line(&head));
    while (rc == 0 && (line = next_line(&head)).len)
        rc = read_header(a, line);
    if (rc < 0)
        return rc;
    settle(a);
    *used = (size_t)(end - in.ptr) + 4;
    return 0;
}

static int digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte that is no body. False: it cannot stand there. */
static bool frame_byte(struct answer *a, uint8_t c)
{
    switch (a->phase) {
    case ANSWER_SIZE:
        if (digit(c) >= 0) {
            if (a->left >> 28)
                return false;
            a->left = a->left << 4 | (uint32_t)digit(c);
            return true;
        }
        a->phase = ANSWER_EXTENSION;
        if (c != '\n')
            return c == '\r' || c == ';' || c == ' ';
        /* fall through */
    case ANSWER_EXTENSION:
        if (c == '\n')
            a->phase = a->left ? ANSWER_DATA : ANSWER_TRAILER;
        return true;
    case ANSWER_DATA_END:
        if (c == '\n')
            a->phase = ANSWER_SIZE;
        return c == '\n' || c == '\r';
    case ANSWER_TRAILER:
        a->phase = c == '\n'   ? ANSWER_OVER
                   : c == '\r' ? ANSWER_TRAILER
                               : ANSWER_TRAILER_LINE;
        return true;
    case ANSWER_TRAILER_LINE:
        if (c == '\n')
            a->phase = ANSWER_TRAILER;
        return true;
    default:
        return false;
    }
}

/* As much of the body as is there; returns how many bytes. */
static size_t body_bytes(struct answer *a, const uint8_t *in, size_t len,
                         uint8_t *out)
{
    size_t n = a->phase == ANSWER_UNTIL_END ? len : MIN(len, a->left);

    if (out != in)
        memmove(out, in, n);
    if (a->phase != ANSWER_UNTIL_END) {
        a->left -= (uint32_t)n;
        if (!a->left)
            a->phase = a->phase == ANSWER_LENGTH ? ANSWER_OVER
                                                 : ANSWER_DATA_END;
    }
    return n;
}

size_t answer_body(struct answer *a, const uint8_t *in, size_t len,
                   uint8_t *out, size_t *used, bool lines)
{
    size_t at = 0, made = 0;

    while (at < len && a->phase < ANSWER_OVER) {
        bool body = a->phase == ANSWER_DATA || a->phase == ANSWER_LENGTH
                    || a->phase == ANSWER_UNTIL_END;
        bool ends = a->phase == ANSWER_DATA_END && in[at] == '\n';
        size_t n = body ? body_bytes(a, in + at, len - at, out + made) : 0;

        if (!body && !frame_byte(a, in[at])) {
            a->phase = ANSWER_BROKEN;
            break;
        }
        made += n;
        at += body ? n : 1;
        if (ends && lines)
            out[made++] = '\n'; /* in the place of the one that ended it */
    }
    *used = at;
    return made;
}
