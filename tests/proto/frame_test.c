#include "proto/frame_io.h"

#include <string.h>

#include "base/err.h"
#include "tests/t/t.h"

/* ---- the registry ---------------------------------------------------------- */

TEST(every_code_has_one_name_and_only_its_sender_may_send_it)
{
#define FRAME(code, name, who, least, meaning)                              \
    EXPECT_STR(frame_name(code), #name);                                    \
    EXPECT_OK(frame_check(code, SENDER_##who, least));                      \
    EXPECT_ERR(frame_check(code, SENDER_GATEWAY + SENDER_ROUTER -           \
                                     SENDER_##who, least), ERR_FRAME);      \
    if (least > 0)                                                          \
        EXPECT_ERR(frame_check(code, SENDER_##who, (size_t)least - 1),      \
                   ERR_FRAME);
#include "proto/frames.def"
#undef FRAME
    EXPECT_STR(frame_name(0), "?");
    EXPECT_ERR(frame_check(0xff, SENDER_ROUTER, 1000), ERR_FRAME);
}

/* ---- every frame comes back as it was written ------------------------------- */

static const struct slice id = SLICE_INIT("match/elp-tig-2011-09-13");
static const struct slice data = SLICE_INIT("{\"a\": 1}\0with a zero");

static void same_parts(const struct msg_parts *a, const struct msg_parts *b)
{
    EXPECT_INT(a->seq, b->seq);
    EXPECT_INT(a->offset, b->offset);
    EXPECT_INT(a->ts_ms, b->ts_ms);
    EXPECT_INT(a->format, b->format);
    EXPECT_INT(a->flags, b->flags);
    EXPECT_SLICE(a->id, b->id);
    EXPECT_SLICE(a->from, b->from);
    EXPECT_SLICE(a->kind, b->kind);
    EXPECT_SLICE(a->key, b->key);
    EXPECT_SLICE(a->data, b->data);
}

static const struct msg_parts message = {
    .seq = UINT64_C(0x1fffffffffffff), .offset = 3, .ts_ms = -5,
    .format = MSG_BYTES, .flags = MSG_STORED, .id = SLICE_INIT("room/lobby"),
    .from = SLICE_INIT("ana"), .kind = SLICE_INIT("goal"),
    .key = SLICE_INIT("score"), .data = SLICE_INIT("\x00\xff"),
};

TEST(a_hello_comes_back)
{
    struct frame_hello in = {PEER_CTL, 42, 1, 2, 3, 4, SLICE("http1"),
                             SLICE("http"), SLICE("e1")}, out;
    struct buf b = BUF_INIT;

    frame_write_hello(&b, &in);
    EXPECT_OK(frame_read_hello(buf_slice(&b), &out));
    EXPECT_INT(out.kind, PEER_CTL);
    EXPECT_INT(out.pid, 42);
    EXPECT_INT(out.life, 1);
    EXPECT_INT(out.router_life, 2);
    EXPECT_INT(out.served, 3);
    EXPECT_INT(out.asked, 4);
    EXPECT_SLICE(out.name, in.name);
    EXPECT_SLICE(out.edge, in.edge);
    EXPECT_SLICE(out.epoch, in.epoch);
    buf_fini(&b);
}

TEST(a_publication_comes_back)
{
    struct frame_publish in = {
        .number = 9, .conn = 8, .gen = 7, .flags = PUBLISH_RESENT,
        .format = MSG_JSON, .id = id, .from = SLICE("ana"),
        .kind = SLICE("goal"), .key = SLICE("k"), .idempotency = SLICE("i"),
        .data = data,
    }, out;
    struct buf b = BUF_INIT;

    frame_write_publish(&b, &in);
    EXPECT_OK(frame_read_publish(buf_slice(&b), &out));
    EXPECT_INT(out.number, 9);
    EXPECT_INT(out.conn, 8);
    EXPECT_INT(out.gen, 7);
    EXPECT_INT(out.flags, PUBLISH_RESENT);
    EXPECT_INT(out.format, MSG_JSON);
    EXPECT_SLICE(out.id, in.id);
    EXPECT_SLICE(out.from, in.from);
    EXPECT_SLICE(out.kind, in.kind);
    EXPECT_SLICE(out.key, in.key);
    EXPECT_SLICE(out.idempotency, in.idempotency);
    EXPECT_SLICE(out.data, in.data);
    buf_fini(&b);
}

TEST(acts_queries_and_their_answers_come_back)
{
    struct frame_act act = {1, 2, 3, 4, SLICE("match.new"), SLICE("ana"),
                            SLICE("{}")}, act2;
    struct frame_query query = {5, SLICE("status"), SLICE("")}, query2;
    struct frame_answer answer = {6, PUBLISHED_NOT_FOUND, 1, 7, data},
                        answer2;
    struct buf b = BUF_INIT;

    frame_write_act(&b, &act);
    EXPECT_OK(frame_read_act(buf_slice(&b), &act2));
    EXPECT_INT(act2.number, 1);
    EXPECT_INT(act2.conn, 2);
    EXPECT_INT(act2.gen, 3);
    EXPECT_INT(act2.flags, 4);
    EXPECT_SLICE(act2.verb, act.verb);
    EXPECT_SLICE(act2.from, act.from);
    EXPECT_SLICE(act2.args, act.args);
    buf_reset(&b);
    frame_write_query(&b, &query);
    EXPECT_OK(frame_read_query(buf_slice(&b), &query2));
    EXPECT_INT(query2.ref, 5);
    EXPECT_SLICE(query2.verb, query.verb);
    EXPECT_SLICE(query2.args, query.args);
    buf_reset(&b);
    frame_write_answer(&b, &answer);
    EXPECT_OK(frame_read_answer(buf_slice(&b), &answer2));
    EXPECT_INT(answer2.ref, 6);
    EXPECT_INT(answer2.status, PUBLISHED_NOT_FOUND);
    EXPECT_INT(answer2.opaque, 1);
    EXPECT_INT(answer2.seq, 7);
    EXPECT_SLICE(answer2.body, data);
    buf_fini(&b);
}

TEST(messages_and_rows_come_back)
{
    struct msg_parts out;
    struct buf b = BUF_INIT;
    uint32_t ref;

    frame_write_deliver(&b, &message);
    EXPECT_OK(frame_read_deliver(buf_slice(&b), &out));
    same_parts(&out, &message);
    buf_reset(&b);
    frame_write_row(&b, 77, &message);
    EXPECT_OK(frame_read_row(buf_slice(&b), &ref, &out));
    EXPECT_INT(ref, 77);
    same_parts(&out, &message);
    buf_fini(&b);
}

TEST(a_welcome_comes_back)
{
    struct frame_welcome in = {1, 2, 3, 1, SLICE("e1"),
                               SLICE("touchline 0.1.0")}, out;
    struct buf b = BUF_INIT;

    frame_write_welcome(&b, &in);
    EXPECT_OK(frame_read_welcome(buf_slice(&b), &out));
    EXPECT_INT(out.life, 1);
    EXPECT_INT(out.seq, 2);
    EXPECT_INT(out.link, 3);
    EXPECT_INT(out.resync, 1);
    EXPECT_SLICE(out.epoch, in.epoch);
    EXPECT_SLICE(out.server, in.server);
    buf_fini(&b);
}

TEST(what_became_of_a_publication_comes_back)
{
    struct frame_published in = {
        .number = 1, .status = PUBLISHED_CONFLICT, .created = 1, .seq = 2,
        .offset = 3, .ts_ms = 4, .reached = 5, .id = id,
        .epoch = SLICE("e0"), .code = SLICE("match.rule"), .text = SLICE("the match is over"),
        .body = data,
    }, out;
    struct buf b = BUF_INIT;

    frame_write_published(&b, &in);
    EXPECT_OK(frame_read_published(buf_slice(&b), &out));
    EXPECT_INT(out.number, 1);
    EXPECT_INT(out.status, PUBLISHED_CONFLICT);
    EXPECT_INT(out.created, 1);
    EXPECT_INT(out.seq, 2);
    EXPECT_INT(out.offset, 3);
    EXPECT_INT(out.ts_ms, 4);
    EXPECT_INT(out.reached, 5);
    EXPECT_SLICE(out.id, in.id);
    EXPECT_SLICE(out.epoch, in.epoch);
    EXPECT_SLICE(out.code, in.code);
    EXPECT_SLICE(out.text, in.text);
    EXPECT_SLICE(out.body, in.body);
    buf_fini(&b);
}

TEST(snapshots_holes_page_ends_kicks_and_epochs_come_back)
{
    struct frame_snapshot snap = {1, id, data}, snap2;
    struct frame_hole hole = {2, HOLE_DAMAGED, 3, 4, 5, id}, hole2;
    struct frame_page_end end = {6, 1, 9, 7}, end2;
    struct frame_kick kick = {8, 9, SLICE("by hand")}, kick2;
    struct frame_epoch epoch = {10, SLICE("e2")}, epoch2;
    struct buf b = BUF_INIT;

    frame_write_snapshot(&b, &snap);
    EXPECT_OK(frame_read_snapshot(buf_slice(&b), &snap2));
    EXPECT_INT(snap2.seq, 1);
    EXPECT_SLICE(snap2.id, id);
    EXPECT_SLICE(snap2.state, data);
    buf_reset(&b);
    frame_write_hole(&b, &hole);
    EXPECT_OK(frame_read_hole(buf_slice(&b), &hole2));
    EXPECT_INT(hole2.ref, 2);
    EXPECT_INT(hole2.why, HOLE_DAMAGED);
    EXPECT_INT(hole2.from, 3);
    EXPECT_INT(hole2.to, 4);
    EXPECT_INT(hole2.seq, 5);
    EXPECT_SLICE(hole2.id, id);
    buf_reset(&b);
    frame_write_page_end(&b, &end);
    EXPECT_OK(frame_read_page_end(buf_slice(&b), &end2));
    EXPECT_INT(end2.ref, 6);
    EXPECT_INT(end2.more, 1);
    EXPECT_INT(end2.status, 9);
    EXPECT_INT(end2.upto, 7);
    buf_reset(&b);
    frame_write_kick(&b, &kick);
    EXPECT_OK(frame_read_kick(buf_slice(&b), &kick2));
    EXPECT_INT(kick2.conn, 8);
    EXPECT_INT(kick2.gen, 9);
    EXPECT_SLICE(kick2.reason, kick.reason);
    buf_reset(&b);
    frame_write_epoch(&b, &epoch);
    EXPECT_OK(frame_read_epoch(buf_slice(&b), &epoch2));
    EXPECT_INT(epoch2.seq, 10);
    EXPECT_SLICE(epoch2.epoch, epoch.epoch);
    buf_fini(&b);
}

/* ---- frames that end in a list ------------------------------------------------ */

static void write_login(struct buf *b, uint16_t says)
{
    struct frame_login f = {.conn = 1, .gen = 2, .flags = LOGIN_RESYNC,
                            .name = SLICE("ana"), .count = says};

    frame_write_login(b, &f);
    frame_write_login_id(b, &(struct login_id){LOGIN_WANT_SNAPSHOT, id});
    frame_write_login_id(b, &(struct login_id){0, SLICE("room/*")});
}

TEST(a_login_comes_back_with_its_ids)
{
    struct frame_login f;
    struct login_id l;
    struct buf b = BUF_INIT;

    write_login(&b, 2);
    EXPECT_OK(frame_read_login(buf_slice(&b), &f));
    EXPECT_INT(f.conn, 1);
    EXPECT_INT(f.gen, 2);
    EXPECT_INT(f.flags, LOGIN_RESYNC);
    EXPECT_SLICE(f.name, SLICE("ana"));
    EXPECT_INT(f.count, 2);
    EXPECT_OK(frame_next_login_id(&f, &l));
    EXPECT_INT(l.flags, LOGIN_WANT_SNAPSHOT);
    EXPECT_SLICE(l.id, id);
    EXPECT_OK(frame_next_login_id(&f, &l));
    EXPECT_SLICE(l.id, SLICE("room/*"));
    EXPECT_ERR(frame_next_login_id(&f, &l), ERR_FRAME);
    buf_fini(&b);
}

TEST(a_count_that_is_not_the_lists_is_refused)
{
    struct frame_login f;

    for (uint16_t says = 0; says < 5; says++) {
        struct buf b = BUF_INIT;

        write_login(&b, says);
        if (says == 2)
            EXPECT_OK(frame_read_login(buf_slice(&b), &f));
        else
            EXPECT_ERR(frame_read_login(buf_slice(&b), &f), ERR_FRAME);
        buf_fini(&b);
    }
}

TEST(a_logout_comes_back_with_its_ids)
{
    struct frame_logout in = {.conn = 1, .gen = 2, .gone = 1, .count = 1}, f;
    struct logout_id l = {1, id}, l2;
    struct buf b = BUF_INIT;

    frame_write_logout(&b, &in);
    frame_write_logout_id(&b, &l);
    EXPECT_OK(frame_read_logout(buf_slice(&b), &f));
    EXPECT_INT(f.conn, 1);
    EXPECT_INT(f.gen, 2);
    EXPECT_INT(f.gone, 1);
    EXPECT_OK(frame_next_logout_id(&f, &l2));
    EXPECT_INT(l2.release, 1);
    EXPECT_SLICE(l2.id, id);
    buf_fini(&b);
}

TEST(a_fetch_and_a_snap_come_back_with_their_ids)
{
    struct frame_fetch in = {.ref = 1, .mode = FETCH_BEFORE, .after = 2,
                             .upto = 3, .limit = 4, .bytes = 5, .count = 1};
    struct frame_ids ids_in = {.count = 1}, ids;
    struct frame_fetch f;
    struct slice got;
    struct buf b = BUF_INIT;

    frame_write_fetch(&b, &in);
    frame_write_id(&b, id);
    EXPECT_OK(frame_read_fetch(buf_slice(&b), &f));
    EXPECT_INT(f.ref, 1);
    EXPECT_INT(f.mode, FETCH_BEFORE);
    EXPECT_INT(f.after, 2);
    EXPECT_INT(f.upto, 3);
    EXPECT_INT(f.limit, 4);
    EXPECT_INT(f.bytes, 5);
    EXPECT_OK(frame_next_fetch_id(&f, &got));
    EXPECT_SLICE(got, id);
    buf_reset(&b);
    frame_write_ids(&b, &ids_in);
    frame_write_id(&b, id);
    EXPECT_OK(frame_read_ids(buf_slice(&b), &ids));
    EXPECT_OK(frame_next_id(&ids, &got));
    EXPECT_SLICE(got, id);
    buf_fini(&b);
}

TEST(a_logged_in_comes_back_with_what_the_ids_are)
{
    struct frame_logged_in in = {.conn = 1, .gen = 2, .seq = 3,
                                 .forgotten_seq = 9, .flags = 0,
                                 .count = 1}, f;
    struct logged_in_id l = {ID_STATEFUL | ID_SNAPSHOT, id, 4, 5, 6, 7,
                             data}, l2;
    struct buf b = BUF_INIT;

    frame_write_logged_in(&b, &in);
    frame_write_logged_in_id(&b, &l);
    EXPECT_OK(frame_read_logged_in(buf_slice(&b), &f));
    EXPECT_INT(f.seq, 3);
    EXPECT_INT(f.forgotten_seq, 9);
    EXPECT_OK(frame_next_logged_in(&f, &l2));
    EXPECT_INT(l2.flags, ID_STATEFUL | ID_SNAPSHOT);
    EXPECT_SLICE(l2.id, id);
    EXPECT_INT(l2.last_offset, 4);
    EXPECT_INT(l2.last_seq, 5);
    EXPECT_INT(l2.trimmed_offset, 6);
    EXPECT_INT(l2.trimmed_seq, 7);
    EXPECT_SLICE(l2.state, data);
    buf_fini(&b);
}

/* ---- what is not right --------------------------------------------------------- */

TEST(every_shorter_and_every_longer_frame_is_refused)
{
    struct buf b = BUF_INIT;
    struct msg_parts p;
    struct frame_login f;
    uint32_t ref;

    frame_write_row(&b, 1, &message);
    for (size_t n = 0; n < b.len; n++)
        EXPECT_ERR(frame_read_row(slice_make(b.ptr, n), &ref, &p), ERR_FRAME);
    buf_add_byte(&b, 0);
    EXPECT_ERR(frame_read_row(buf_slice(&b), &ref, &p), ERR_FRAME);
    buf_reset(&b);
    write_login(&b, 2);
    for (size_t n = 0; n < b.len; n++)
        EXPECT_ERR(frame_read_login(slice_make(b.ptr, n), &f), ERR_FRAME);
    buf_add_byte(&b, 0);
    EXPECT_ERR(frame_read_login(buf_slice(&b), &f), ERR_FRAME);
    buf_fini(&b);
}

TEST(a_value_that_no_enum_has_is_refused)
{
    struct frame_hello hello = {.kind = PEER_KINDS}, hello2;
    struct msg_parts parts = {.format = MSG_FORMATS}, parts2;
    struct frame_fetch fetch = {.mode = FETCH_MODES}, fetch2;
    struct frame_published done = {.status = PUBLISHED_STATUSES}, done2;
    struct frame_hole hole = {.why = HOLE_WHYS}, hole2;
    struct frame_page_end end = {.more = 2}, end2;
    struct buf b[6] = {BUF_INIT};

    frame_write_hello(&b[0], &hello);
    EXPECT_ERR(frame_read_hello(buf_slice(&b[0]), &hello2), ERR_FRAME);
    frame_write_deliver(&b[1], &parts);
    EXPECT_ERR(frame_read_deliver(buf_slice(&b[1]), &parts2), ERR_FRAME);
    frame_write_fetch(&b[2], &fetch);
    EXPECT_ERR(frame_read_fetch(buf_slice(&b[2]), &fetch2), ERR_FRAME);
    frame_write_published(&b[3], &done);
    EXPECT_ERR(frame_read_published(buf_slice(&b[3]), &done2), ERR_FRAME);
    frame_write_hole(&b[4], &hole);
    EXPECT_ERR(frame_read_hole(buf_slice(&b[4]), &hole2), ERR_FRAME);
    frame_write_page_end(&b[5], &end);
    EXPECT_ERR(frame_read_page_end(buf_slice(&b[5]), &end2), ERR_FRAME);
    for (size_t i = 0; i < ARRAY_LEN(b); i++)
        buf_fini(&b[i]);
}

/* frames.def says how long the shortest frame is: no longer than one with
 * nothing in it, and no shorter. */
#define EXPECT_LEAST(code, name, ...)                               \
    do {                                                            \
        struct buf b = BUF_INIT;                                    \
                                                                    \
        frame_write_##name(&b, __VA_ARGS__);                        \
        EXPECT_OK(frame_check(code, sender_of(code), b.len));       \
        EXPECT_ERR(frame_check(code, sender_of(code), b.len - 1),   \
                   ERR_FRAME);                                      \
        buf_fini(&b);                                               \
    } while (0)

static enum frame_sender sender_of(uint8_t code)
{
    return code < 0x40 ? SENDER_GATEWAY : SENDER_ROUTER;
}

TEST(the_shortest_frames_are_as_long_as_the_registry_says)
{
    EXPECT_LEAST(FRAME_HELLO, hello, &(struct frame_hello){.kind = 0});
    EXPECT_LEAST(FRAME_LOGIN, login, &(struct frame_login){.conn = 0});
    EXPECT_LEAST(FRAME_LOGOUT, logout, &(struct frame_logout){.conn = 0});
    EXPECT_LEAST(FRAME_SNAP, ids, &(struct frame_ids){.count = 0});
    EXPECT_LEAST(FRAME_PUBLISH, publish, &(struct frame_publish){.conn = 0});
    EXPECT_LEAST(FRAME_ACT, act, &(struct frame_act){.conn = 0});
    EXPECT_LEAST(FRAME_FETCH, fetch, &(struct frame_fetch){.ref = 0});
    EXPECT_LEAST(FRAME_QUERY, query, &(struct frame_query){.ref = 0});
    EXPECT_LEAST(FRAME_WELCOME, welcome, &(struct frame_welcome){.life = 0});
    EXPECT_LEAST(FRAME_LOGGED_IN, logged_in,
                 &(struct frame_logged_in){.conn = 0});
    EXPECT_LEAST(FRAME_DELIVER, deliver, &(struct msg_parts){.seq = 0});
    EXPECT_LEAST(FRAME_SNAPSHOT, snapshot,
                 &(struct frame_snapshot){.seq = 0});
    EXPECT_LEAST(FRAME_PUBLISHED, published,
                 &(struct frame_published){.number = 0});
    EXPECT_LEAST(FRAME_ROW, row, 0, &(struct msg_parts){.seq = 0});
    EXPECT_LEAST(FRAME_HOLE, hole, &(struct frame_hole){.ref = 0});
    EXPECT_LEAST(FRAME_PAGE_END, page_end,
                 &(struct frame_page_end){.ref = 0});
    EXPECT_LEAST(FRAME_ANSWER, answer, &(struct frame_answer){.ref = 0});
    EXPECT_LEAST(FRAME_KICK, kick, &(struct frame_kick){.conn = 0});
    EXPECT_LEAST(FRAME_EPOCH, epoch, &(struct frame_epoch){.seq = 0});
}

TEST(a_text_too_long_for_its_length_makes_the_buf_fail)
{
    static const char text[300];
    struct frame_hello f = {.name = slice_make(text, sizeof text)};
    struct buf b = BUF_INIT;

    frame_write_hello(&b, &f);
    EXPECT(b.failed);
    buf_fini(&b);
}
