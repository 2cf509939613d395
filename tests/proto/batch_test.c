#include "proto/batch.h"

#include <stdlib.h>

#include "base/err.h"
#include "tests/t/t.h"

enum { SESSION = 77, WIRE_MAX = 64, BODY_MAX = 300 };

/* ---- a wire that does what it likes --------------------------------------- */

struct wire_batch {
    uint8_t *bytes;
    size_t len;
};

/* One direction. */
struct wire {
    struct wire_batch on[WIRE_MAX];
    unsigned count;
};

static void wire_remove(struct wire *w, unsigned i)
{
    free(w->on[i].bytes);
    w->count--;
    for (; i < w->count; i++)
        w->on[i] = w->on[i + 1];
}

static void wire_clear(struct wire *w)
{
    while (w->count)
        wire_remove(w, 0);
}

static void wire_put(struct wire *w, const uint8_t *bytes, size_t len)
{
    if (w->count == WIRE_MAX)
        wire_remove(w, (unsigned)(test_random() % WIRE_MAX));
    w->on[w->count].bytes = malloc(len);
    EXPECT(w->on[w->count].bytes != NULL);
    memcpy(w->on[w->count].bytes, bytes, len);
    w->on[w->count++].len = len;
}

/* ---- an end ---------------------------------------------------------------- */

struct end {
    struct batches b;
    struct buf open;
    uint64_t said, heard;
    uint64_t seq_said, seq_heard; /* seq n vouches for frames up to n */
};

static void say(struct end *e, unsigned frames)
{
    static const uint8_t padding[BODY_MAX];

    batch_begin(&e->open);
    for (unsigned i = 0; i < frames; i++) {
        size_t at = batch_frame_begin(&e->open, 1);

        put_u64(&e->open, ++e->said);
        put_raw(&e->open, slice_make(padding, test_random() % BODY_MAX));
        batch_frame_end(&e->open, at);
    }
    e->seq_said = e->said;
    EXPECT_OK(batches_seal(&e->b, &e->open, e->seq_said));
}

static void transmit(struct wire *w, const struct batch_out *out)
{
    uint8_t *bytes = malloc(out->bytes.len);

    EXPECT(bytes != NULL);
    batch_write(bytes, out);
    wire_put(w, bytes, out->bytes.len);
    free(bytes);
}

/* What the pipe does at the end of a turn. */
static void pump(struct end *e, struct wire *w, unsigned most)
{
    struct batch_out out;

    for (unsigned i = 0; i < most; i++) {
        if (!batches_next(&e->b, &out)) {
            if (!batches_due(&e->b))
                return;
            batches_heartbeat(&e->b, e->seq_said, &out);
        }
        transmit(w, &out);
    }
}

static void heartbeat(struct end *e, struct wire *w)
{
    struct batch_out out;

    batches_tick(&e->b);
    batches_heartbeat(&e->b, e->seq_said, &out);
    transmit(w, &out);
}

/* Exactly once, in order; and seq never vouches for what has not come. */
static void hear(struct end *e, struct slice bytes)
{
    struct batch_in in;
    uint8_t code;
    struct slice body;
    int rc = batches_take(&e->b, bytes, &in);

    if (rc < 0) {
        EXPECT_ERR(rc, ERR_FRAME); /* spoilt on the way */
        return;
    }
    while (in.verdict == BATCH_TAKEN &&
           batch_frame(&in.frames, &code, &body)) {
        struct cursor c = cursor_init(body);

        EXPECT_INT(cursor_u64(&c), e->heard + 1);
        e->heard++;
    }
    EXPECT(in.seq >= e->seq_heard);
    e->seq_heard = in.seq;
    EXPECT(e->seq_heard <= e->heard);
}

/* Delivers, loses, repeats, swaps or spoils one batch. */
static void mishap(struct wire *w, struct end *to)
{
    unsigned i, fate = (unsigned)(test_random() % 16);
    struct wire_batch *at;

    if (w->count == 0)
        return;
    i = fate < 3 ? (unsigned)(test_random() % w->count) : 0;
    at = &w->on[i];
    if (fate == 4)
        at->bytes[test_random() % at->len] ^= (uint8_t)(1 + test_random() % 255);
    if (fate != 5)
        hear(to, slice_make(at->bytes, at->len));
    if (fate != 6)
        wire_remove(w, i);
}

struct world {
    struct end a, b;
    struct wire ab, ba;
};

static void world_open(struct world *w)
{
    *w = (struct world){.a = {.said = 0}};
    batches_init(&w->a.b, SESSION, 2000);
    batches_init(&w->b.b, SESSION, 2000);
    batches_new_line(&w->a.b, true);
    batches_new_line(&w->b.b, false);
}

static void world_close(struct world *w)
{
    batches_fini(&w->a.b);
    batches_fini(&w->b.b);
    buf_fini(&w->a.open);
    buf_fini(&w->b.open);
    wire_clear(&w->ab);
    wire_clear(&w->ba);
}

static void reconnect(struct world *w)
{
    wire_clear(&w->ab);
    wire_clear(&w->ba);
    batches_new_line(&w->a.b, true);
    batches_new_line(&w->b.b, false);
}

static void random_step(struct world *w)
{
    switch (test_random() % 10) {
    case 0:
        say(&w->a, 1 + (unsigned)(test_random() % 5));
        break;
    case 1:
        say(&w->b, 1 + (unsigned)(test_random() % 5));
        break;
    case 2:
        if (test_random() % 20 == 0)
            reconnect(w);
        break;
    case 3:
        if (test_random() % 8 == 0)
            heartbeat(&w->a, &w->ab);
        if (test_random() % 8 == 0)
            heartbeat(&w->b, &w->ba);
        break;
    case 4:
        pump(&w->a, &w->ab, 2);
        break;
    case 5:
        pump(&w->b, &w->ba, 2);
        break;
    default:
        mishap(&w->ab, &w->b);
        mishap(&w->ba, &w->a);
    }
}

/* The wire behaves from here on: whatever is missing arrives. */
static void settle(struct world *w)
{
    for (int i = 0; i < 10000; i++) {
        if (w->a.heard == w->b.said && w->b.heard == w->a.said)
            return;
        heartbeat(&w->a, &w->ab);
        heartbeat(&w->b, &w->ba);
        pump(&w->a, &w->ab, 8);
        pump(&w->b, &w->ba, 8);
        for (; w->ab.count; wire_remove(&w->ab, 0))
            hear(&w->b, slice_make(w->ab.on[0].bytes, w->ab.on[0].len));
        for (; w->ba.count; wire_remove(&w->ba, 0))
            hear(&w->a, slice_make(w->ba.on[0].bytes, w->ba.on[0].len));
    }
    EXPECT(!"settled");
}

TEST(every_frame_comes_once_and_in_order_whatever_the_wire_does)
{
    for (int round = 0; round < 200; round++) {
        struct world w;

        world_open(&w);
        for (int i = 0; i < 2000; i++)
            random_step(&w);
        settle(&w);
        world_close(&w);
    }
}

TEST(what_is_acknowledged_is_forgotten)
{
    struct world w;

    world_open(&w);
    for (int i = 0; i < 100; i++)
        say(&w.a, 3);
    EXPECT(w.a.b.kept_bytes > 0);
    settle(&w);
    heartbeat(&w.b, &w.ba);
    hear(&w.a, slice_make(w.ba.on[0].bytes, w.ba.on[0].len));
    EXPECT_INT(w.a.b.kept_bytes, 0);
    EXPECT(list_empty(&w.a.b.kept));
    world_close(&w);
}

TEST(nothing_but_a_greeting_goes_before_the_peer_has_spoken)
{
    struct world w;
    struct batch_out out;

    world_open(&w);
    say(&w.a, 1);
    say(&w.b, 1);
    EXPECT(!batches_next(&w.a.b, &out));
    EXPECT(!batches_next(&w.b.b, &out));
    EXPECT(batches_due(&w.a.b)); /* it speaks first */
    EXPECT(!batches_due(&w.b.b));
    pump(&w.a, &w.ab, 1);
    hear(&w.b, slice_make(w.ab.on[0].bytes, w.ab.on[0].len));
    EXPECT(batches_next(&w.b.b, &out));
    EXPECT(!batches_next(&w.a.b, &out));
    world_close(&w);
}

TEST(a_greeting_that_is_lost_is_said_again)
{
    struct world w;

    world_open(&w);
    pump(&w.a, &w.ab, 1);
    wire_clear(&w.ab);
    EXPECT(!batches_due(&w.a.b));
    batches_tick(&w.a.b);
    EXPECT(batches_due(&w.a.b));
    world_close(&w);
}

static void hear_all(struct end *e, struct wire *w)
{
    for (; w->count; wire_remove(w, 0))
        hear(e, slice_make(w->on[0].bytes, w->on[0].len));
}

TEST(a_new_line_brings_what_was_lost_with_the_old_one_unasked)
{
    struct world w;

    world_open(&w);
    pump(&w.a, &w.ab, 1);
    hear_all(&w.b, &w.ab);
    pump(&w.b, &w.ba, 1);
    hear_all(&w.a, &w.ba);
    for (int i = 0; i < 3; i++)
        say(&w.a, 2);
    pump(&w.a, &w.ab, 3);
    reconnect(&w);
    pump(&w.a, &w.ab, 1);
    hear_all(&w.b, &w.ab);
    pump(&w.b, &w.ba, 1);
    hear_all(&w.a, &w.ba);
    pump(&w.a, &w.ab, 3);
    hear_all(&w.b, &w.ab);
    EXPECT_INT(w.b.heard, 6);
    EXPECT_INT(w.b.b.holes, 0);
    world_close(&w);
}

TEST(a_heartbeat_in_front_of_waiting_batches_promises_nothing)
{
    struct world w;
    struct batch_out out;

    world_open(&w);
    say(&w.a, 2);
    say(&w.a, 2);
    batches_heartbeat(&w.a.b, w.a.seq_said, &out);
    EXPECT_INT(out.header.number, 0);
    EXPECT_INT(out.header.seq, 0);
    settle(&w);
    batches_heartbeat(&w.a.b, w.a.seq_said, &out);
    EXPECT_INT(out.header.number, 2);
    EXPECT_INT(out.header.seq, 4);
    world_close(&w);
}

/* A heartbeat of a, as bytes to be bent. */
static void bent(struct world *w, uint8_t out[BATCH_HEADER])
{
    struct batch_out word;

    batches_heartbeat(&w->a.b, 0, &word);
    batch_write(out, &word);
}

TEST(every_flipped_bit_is_noticed)
{
    struct world w;
    struct batch_in in;
    uint8_t bytes[BATCH_HEADER];

    world_open(&w);
    bent(&w, bytes);
    for (size_t bit = 0; bit < 8 * BATCH_HEADER; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        EXPECT_ERR(batches_take(&w.b.b, slice_make(bytes, sizeof bytes), &in),
                   ERR_FRAME);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    EXPECT_OK(batches_take(&w.b.b, slice_make(bytes, sizeof bytes), &in));
    world_close(&w);
}

TEST(every_shorter_batch_is_refused)
{
    struct world w;
    struct batch_in in;
    uint8_t bytes[BATCH_HEADER];

    world_open(&w);
    bent(&w, bytes);
    for (size_t len = 0; len < BATCH_HEADER; len++)
        EXPECT_ERR(batches_take(&w.b.b, slice_make(bytes, len), &in),
                   ERR_FRAME);
    world_close(&w);
}

TEST(another_session_is_a_stranger)
{
    struct world w;
    struct batch_in in;
    uint8_t bytes[BATCH_HEADER];

    world_open(&w);
    w.a.b.session++;
    bent(&w, bytes);
    EXPECT_ERR(batches_take(&w.b.b, slice_make(bytes, sizeof bytes), &in),
               ERR_FRAME);
    EXPECT(!w.b.b.met);
    world_close(&w);
}

static int take_made(struct world *w, const struct batch_header *h,
                     struct slice frames)
{
    struct buf b = BUF_INIT;
    struct batch_out out = {.header = *h};
    struct batch_in in;
    uint8_t bytes[256];
    int rc;

    batch_begin(&b);
    buf_add(&b, frames);
    out.bytes = buf_slice(&b);
    EXPECT(out.bytes.len <= sizeof bytes);
    batch_write(bytes, &out);
    rc = batches_take(&w->b.b, slice_make(bytes, out.bytes.len), &in);
    buf_fini(&b);
    return rc;
}

TEST(nonsense_with_a_right_check_is_told_from_damage)
{
    struct world w;
    struct batch_header h = {.session = SESSION, .number = 1};

    world_open(&w);
    EXPECT_ERR(take_made(&w, &h, SLICE("\x01")), ERR_BAD); /* half a frame */
    EXPECT_ERR(take_made(&w, &h, SLICE("\xff\xff\xff\xff\x01x")), ERR_BAD);
    EXPECT_ERR(take_made(&w, &h, SLICE("\x02\0\0\0\x01x")), ERR_BAD);
    h.number = 0; /* frames, but no number */
    EXPECT_ERR(take_made(&w, &h, SLICE("\x01\0\0\0\x01x")), ERR_BAD);
    h.number = 1;
    h.ack = 1; /* of what was never sent */
    EXPECT_ERR(take_made(&w, &h, SLICE("\x01\0\0\0\x01x")), ERR_BAD);
    h.ack = 0;
    EXPECT_OK(take_made(&w, &h, SLICE("\x01\0\0\0\x01x")));
    EXPECT_INT(w.b.b.taken, 1);
    world_close(&w);
}

TEST(a_hole_is_asked_for_once_and_again_at_the_tick)
{
    struct world w;
    struct batch_header h = {.session = SESSION, .number = 3};
    struct batch_out out;

    world_open(&w);
    EXPECT_OK(take_made(&w, &h, SLICE("\0\0\0\0\x01")));
    EXPECT_INT(w.b.b.holes, 1);
    EXPECT(batches_due(&w.b.b));
    batches_heartbeat(&w.b.b, 0, &out);
    EXPECT(out.header.flags & BATCH_RESEND);
    EXPECT_INT(out.header.ack, 0);
    h.number = 4;
    EXPECT_OK(take_made(&w, &h, SLICE("\0\0\0\0\x01")));
    EXPECT(!batches_due(&w.b.b));
    batches_tick(&w.b.b);
    EXPECT(batches_due(&w.b.b));
    for (h.number = 1; h.number <= 4; h.number++)
        EXPECT_OK(take_made(&w, &h, SLICE("\0\0\0\0\x01")));
    EXPECT_INT(w.b.b.taken, 4);
    EXPECT(!w.b.b.hole);
    world_close(&w);
}

TEST(sealing_without_memory_changes_nothing)
{
    struct batches b;
    struct buf open = BUF_INIT;

    batches_init(&b, SESSION, 1000);
    batch_begin(&open);
    for (long n = 0;; n++) {
        int rc;

        test_fail_malloc_after(n);
        rc = batches_seal(&b, &open, 0);
        if (!test_malloc_failed()) {
            EXPECT_OK(rc);
            break;
        }
        EXPECT_ERR(rc, ERR_NOMEM);
        EXPECT_INT(b.sealed, 0);
        EXPECT_INT(open.len, BATCH_HEADER);
    }
    EXPECT_INT(b.sealed, 1);
    batches_fini(&b);
    buf_fini(&open);
}
