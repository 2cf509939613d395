#include "proto/batch.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/check.h"
#include "base/err.h"
#include "proto/frame.h"

enum { MAGIC = 'T' | 'L' << 8, CHECK_AT = 4, CHECKED_FROM = 8 };

/* A sealed batch: its bytes begin with room for the header, which is written
 * anew each time it is sent. */
struct batch {
    struct list_node node;
    uint64_t number, seq;
    uint8_t *bytes;
    size_t len;
};

static struct batch *batch_of(struct list_node *n)
{
    return CONTAINER_OF(n, struct batch, node);
}

/* ---- the header ----------------------------------------------------------- */

/* bytes: a whole batch. */
static uint32_t checksum(struct slice bytes)
{
    struct cursor c = cursor_init(bytes);
    uint32_t front = cursor_u32(&c);
    struct slice rest = slice_from(bytes, CHECKED_FROM);

    return (uint32_t)XXH3_64bits_withSeed(rest.ptr, rest.len, front);
}

static void write_u32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> 8 * i);
}

static void write_u64(uint8_t *at, uint64_t v)
{
    write_u32(at, (uint32_t)v);
    write_u32(at + 4, (uint32_t)(v >> 32));
}

static void write_header(uint8_t *at, const struct batch_header *h)
{
    write_u32(at, (uint32_t)MAGIC | (uint32_t)FRAME_VERSION << 16 |
                      (uint32_t)h->flags << 24);
    write_u32(at + CHECK_AT, 0);
    write_u64(at + 8, h->session);
    write_u64(at + 16, h->number);
    write_u64(at + 24, h->ack);
    write_u64(at + 32, h->seq);
}

void batch_write(uint8_t *out, const struct batch_out *what)
{
    struct slice frames = slice_from(what->bytes, BATCH_HEADER);

    if (frames.len > 0)
        memcpy(out + BATCH_HEADER, frames.ptr, frames.len);
    write_header(out, &what->header);
    write_u32(out + CHECK_AT, checksum(slice_make(out, what->bytes.len)));
}

static int read_header(struct slice bytes, uint64_t session,
                       struct batch_header *ret)
{
    struct cursor c = cursor_init(bytes);
    uint16_t magic = cursor_u16(&c);
    uint8_t version = cursor_u8(&c);
    uint32_t check;

    ret->flags = cursor_u8(&c);
    check = cursor_u32(&c);
    ret->session = cursor_u64(&c);
    ret->number = cursor_u64(&c);
    ret->ack = cursor_u64(&c);
    ret->seq = cursor_u64(&c);
    if (c.failed || magic != MAGIC || version != FRAME_VERSION ||
        ret->session != session || check != checksum(bytes))
        return ERR_FRAME;
    return 0;
}

/* ---- frames --------------------------------------------------------------- */

void batch_begin(struct buf *open)
{
    static const uint8_t room[BATCH_HEADER];

    buf_reset(open);
    buf_add(open, slice_make(room, sizeof room));
}

size_t batch_frame_begin(struct buf *open, uint8_t code)
{
    size_t at = open->len;

    put_u32(open, 0);
    put_u8(open, code);
    return at;
}

void batch_frame_end(struct buf *open, size_t at)
{
    if (!open->failed)
        put_u32_at(open, at,
                   (uint32_t)(open->len - at - BATCH_FRAME_HEADER));
}

bool batch_frame(struct cursor *frames, uint8_t *code, struct slice *body)
{
    uint32_t len;

    if (cursor_left(frames) == 0)
        return false;
    len = cursor_u32(frames);
    *code = cursor_u8(frames);
    *body = cursor_take(frames, len);
    return !frames->failed;
}

/* Do frames fill it to the last byte? */
static bool frames_whole(struct cursor frames)
{
    uint8_t code;
    struct slice body;

    while (batch_frame(&frames, &code, &body))
        ;
    return cursor_all_read(&frames);
}

/* ---- one end -------------------------------------------------------------- */

void batches_init(struct batches *b, uint64_t session, size_t hurry_above)
{
    *b = (struct batches){.session = session, .hurry_above = hurry_above};
    list_init(&b->kept);
    b->next = &b->kept;
}

static void drop_first(struct batches *b)
{
    struct batch *first = batch_of(list_first(&b->kept));

    if (b->next == &first->node)
        b->next = first->node.next;
    list_remove(&first->node);
    b->kept_bytes -= first->len;
    free(first->bytes);
    free(first);
}

void batches_fini(struct batches *b)
{
    while (b->kept.next && !list_empty(&b->kept))
        drop_first(b);
}

int batches_seal(struct batches *b, struct buf *open, uint64_t seq)
{
    struct batch *batch = calloc(1, sizeof *batch);

    if (batch && !open->failed)
        batch->bytes = buf_steal(open, &batch->len);
    if (!batch || !batch->bytes) {
        free(batch);
        return ERR_NOMEM;
    }
    batch->number = ++b->sealed;
    batch->seq = seq;
    list_add_tail(&b->kept, &batch->node);
    if (b->next == &b->kept)
        b->next = &batch->node;
    b->kept_bytes += batch->len;
    return 0;
}

/* ---- in another process --------------------------------------------------- */

void batches_freeze(const struct batches *b, struct buf *out)
{
    put_u64(out, b->session);
    put_u64(out, b->sealed);
    put_u64(out, b->sent);
    put_u64(out, b->acked);
    put_u64(out, b->taken);
    put_u64(out, b->seq);
    LIST_FOREACH(batch, &b->kept, struct batch, node) {
        put_u64(out, batch->number);
        put_u64(out, batch->seq);
        put_str32(out, slice_from(slice_make(batch->bytes, batch->len),
                                  BATCH_HEADER));
    }
    put_u64(out, 0); /* no batch bears this number */
}

/* One that was kept; its number is the one behind *last, which it becomes. */
static int thaw_kept(struct batches *b, struct cursor *in, uint64_t number,
                     uint64_t *last)
{
    uint64_t seq = cursor_u64(in);
    struct slice frames = cursor_str32(in);
    struct buf open = BUF_INIT;
    int rc;

    if (in->failed || frames.len == 0 || (*last && number != *last + 1) ||
        number <= b->acked || number > b->sealed ||
        !frames_whole(cursor_init(frames)))
        return ERR_FRAME;
    *last = number;
    batch_begin(&open);
    buf_add(&open, frames);
    b->sealed = number - 1;
    rc = batches_seal(b, &open, seq);
    buf_fini(&open);
    return rc;
}

int batches_thaw(struct batches *b, struct cursor *in, size_t hurry_above)
{
    uint64_t number, sealed, last = 0;
    int rc = 0;

    batches_init(b, cursor_u64(in), hurry_above);
    b->sealed = sealed = cursor_u64(in);
    b->sent = cursor_u64(in);
    b->acked = cursor_u64(in);
    b->taken = cursor_u64(in);
    b->seq = cursor_u64(in);
    while (rc == 0 && (number = cursor_u64(in))) {
        rc = thaw_kept(b, in, number, &last);
        b->sealed = sealed;
    }
    if (rc == 0 && (in->failed || b->session == 0 || b->sent > sealed ||
                    b->acked > b->sent || (last && last != sealed) ||
                    (!last && b->acked != sealed)))
        rc = ERR_FRAME;
    return rc;
}

static void rewind_to_kept(struct batches *b)
{
    b->next = b->kept.next;
}

void batches_new_line(struct batches *b, bool first)
{
    b->met = false;
    b->first = b->answer = first;
    b->asked = false;
    rewind_to_kept(b);
}

void batches_tick(struct batches *b)
{
    b->asked = false;
    b->answer |= b->first && !b->met;
}

/* ---- sending -------------------------------------------------------------- */

/* What every batch says on the way: flags, ack. It settles what was owed. */
static struct batch_header header_now(struct batches *b)
{
    struct batch_header h = {.session = b->session, .ack = b->taken};

    if (b->hole && !b->asked) {
        h.flags |= BATCH_RESEND;
        b->asked = true;
    }
    b->owed = 0;
    b->answer = false;
    return h;
}

bool batches_next(struct batches *b, struct batch_out *ret)
{
    struct batch *batch;

    if (!b->met || b->next == &b->kept)
        return false;
    batch = batch_of(b->next);
    b->next = batch->node.next;
    if (batch->number <= b->sent)
        b->resent++;
    else
        b->sent = batch->number;
    ret->header = header_now(b);
    if (b->kept_bytes > b->hurry_above)
        ret->header.flags |= BATCH_ANSWER;
    ret->header.number = batch->number;
    ret->header.seq = batch->seq;
    ret->bytes = slice_make(batch->bytes, batch->len);
    return true;
}

bool batches_due(const struct batches *b)
{
    return b->answer || b->owed >= BATCH_OWED_MAX || (b->hole && !b->asked);
}

/* While batches wait to be sent, the number is that of the one in front of
 * them, and seq, which counts them in, is not vouched for. */
void batches_heartbeat(struct batches *b, uint64_t seq, struct batch_out *ret)
{
    static const uint8_t room[BATCH_HEADER];
    bool waiting = b->next != &b->kept;

    ret->header = header_now(b);
    ret->header.number = waiting ? batch_of(b->next)->number - 1 : b->sealed;
    ret->header.seq = waiting ? 0 : seq;
    ret->bytes = slice_make(room, sizeof room);
}

/* ---- receiving ------------------------------------------------------------ */

static void acknowledged(struct batches *b, uint64_t ack)
{
    while (!list_empty(&b->kept) &&
           batch_of(list_first(&b->kept))->number <= ack)
        drop_first(b);
    b->acked = MAX(b->acked, ack);
}

int batches_heed(struct batches *b, struct slice bytes)
{
    struct batch_header h;

    if (read_header(bytes, b->session, &h) < 0)
        return ERR_FRAME;
    if (h.ack > b->sent)
        return ERR_BAD;
    acknowledged(b, h.ack);
    return 0;
}

static void miss(struct batches *b)
{
    if (!b->hole)
        b->holes++;
    b->hole = true;
}

static enum batch_verdict judge_frames(struct batches *b, uint64_t number,
                                       size_t len)
{
    if (number <= b->taken) {
        b->duplicates++;
        b->answer = true; /* it does not know what we have */
        return BATCH_PASSED;
    }
    if (number > b->taken + 1) {
        miss(b);
        return BATCH_PASSED;
    }
    b->taken = number;
    b->owed += len;
    b->hole = b->asked = false;
    return BATCH_TAKEN;
}

static enum batch_verdict judge_heartbeat(struct batches *b, uint64_t number)
{
    if (number > b->taken)
        miss(b);
    return number == b->taken ? BATCH_QUIET : BATCH_PASSED;
}

int batches_take(struct batches *b, struct slice bytes, struct batch_in *ret)
{
    struct batch_header h;
    struct batch_in in;
    size_t len;

    if (read_header(bytes, b->session, &h) < 0)
        return ERR_FRAME;
    in.frames = cursor_init(slice_from(bytes, BATCH_HEADER));
    len = cursor_left(&in.frames);
    if (h.ack > b->sent || (h.number == 0 && len > 0) ||
        !frames_whole(in.frames))
        return ERR_BAD;
    if (!b->met)
        b->answer = true;
    b->met = true;
    acknowledged(b, h.ack);
    if (h.flags & BATCH_RESEND)
        rewind_to_kept(b);
    if (h.flags & BATCH_ANSWER)
        b->answer = true;
    in.verdict = len > 0 ? judge_frames(b, h.number, len)
                         : judge_heartbeat(b, h.number);
    if (in.verdict != BATCH_PASSED)
        b->seq = MAX(b->seq, h.seq);
    in.flags = h.flags;
    in.seq = b->seq;
    *ret = in;
    return 0;
}
