/* What a router says, in any order and with any content, against the common
 * half of a gateway with a few clients, whose edge does in its callbacks what
 * edges may: close, leave, subscribe, publish. Whatever comes, nothing is used
 * after it was freed, and nothing is left when all is over.
 *
 * Input: steps, each a byte that says what, and what that needs. With its top
 * bit set a step is a raw frame (code, u8 length, body); else a well-formed
 * one, made of a few ids and small numbers, or something a client does. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "gateways/common/core.h"
#include "gateways/common/uplink.h"
#include "proto/frame_io.h"
#include "tests/t/quiet_link.h"

enum { CLIENTS = 4, STEPS_MAX = 400 };

static const char *const ids[] = {
    "a", "b", "m/1", "m/2", "v/x", "m/*", "**", "*", "a/b", "room/r", "", "a b",
};
static const char *const texts[] = {"", "x", "{}", "join", "leave",
                                    "snapshot", "gap", "hello world"};

static struct {
    struct joiner_ops ops;
    void *ctx;
    struct buf frame;
    uint8_t code;
    uint32_t conn, gen, ref; /* of the last LOGIN, FETCH */
    struct buf login;        /* the last LOGIN */
    bool up, broken;
} link_;
static struct config *config;
static struct door *door;
static struct gateway *gateway;
static int peers[CLIENTS];
static uint32_t numbers[CLIENTS], gens[CLIENTS];
static uint8_t mood; /* what the edge does when it is called */
static unsigned depth;
static char filler[40000];

static struct slice pick_id(uint8_t dice)
{
    return slice_str(ids[dice % ARRAY_LEN(ids)]);
}

static struct slice pick_text(uint8_t dice)
{
    if (dice == 255)
        return slice_make(filler, sizeof filler);
    return slice_str(texts[dice % ARRAY_LEN(texts)]);
}

/* ---- the link, in memory ----------------------------------------------- */

int joiner_open(struct joiner **ret, struct loop *loop,
                const struct joiner_options *options,
                const struct joiner_ops *ops, void *ctx)
{
    UNUSED(loop), UNUSED(options);
    link_.ops = *ops;
    link_.ctx = ctx;
    *ret = (struct joiner *)(void *)&link_;
    return 0;
}

void joiner_close(struct joiner *j)
{
    UNUSED(j);
}

bool pipe_is_up(const struct pipe *p)
{
    UNUSED(p);
    return true;
}

void pipe_beat(struct pipe *p)
{
    UNUSED(p);
}

struct buf *pipe_frame(struct pipe *p, uint8_t code)
{
    UNUSED(p);
    CHECK(link_.up);
    buf_reset(&link_.frame);
    link_.code = code;
    return &link_.frame;
}

/* What it says must be readable. */
void pipe_frame_end(struct pipe *p)
{
    struct slice body = buf_slice(&link_.frame);
    struct frame_login login;
    struct frame_fetch fetch;

    UNUSED(p);
    CHECK(frame_check(link_.code, SENDER_GATEWAY, body.len) == 0);
    if (link_.code == FRAME_LOGIN) {
        CHECK(frame_read_login(body, &login) == 0);
        link_.conn = login.conn;
        link_.gen = login.gen;
        buf_reset(&link_.login);
        buf_add(&link_.login, body);
    } else if (link_.code == FRAME_FETCH) {
        CHECK(frame_read_fetch(body, &fetch) == 0 && fetch.count > 0);
        link_.ref = fetch.ref;
    }
}

void pipe_break(struct pipe *p, const char *why)
{
    UNUSED(p), UNUSED(why);
    link_.broken = true;
}

static void go_down(void)
{
    if (link_.up)
        link_.ops.pipe.down(link_.ctx, "fuzz");
    link_.up = link_.broken = false;
}

static void hear(uint8_t code, struct slice body)
{
    int rc;

    if (!link_.up)
        return;
    rc = link_.ops.pipe.frame(link_.ctx, code, body);
    CHECK(rc == 0 || rc == ERR_FRAME);
    if (rc < 0)
        go_down();
}

/* ---- an edge that does what edges may ---------------------------------- */

static void client_asks(struct conn *c, uint8_t what, uint8_t dice)
{
    struct slice channels[2] = {pick_id(dice), pick_id(dice >> 4)};
    struct subscribe s = {.channels = channels, .count = 1 + dice % 2,
                          .has_since = what & 4, .since = {.seq = dice % 64},
                          .name = pick_text(what & 1), .ref = dice};
    struct publish p = {.channel = channels[0], .data = pick_text(dice)};
    struct fetch f = {.mode = FETCH_SINCE, .channels = channels, .count = 1};
    struct refusal why;

    s.since.epoch = gateway->epoch;
    if (what % 8 < 5)
        (void)!conn_subscribe(c, &s, &why);
    else if (what % 8 == 5)
        (void)!conn_publish(c, &p, dice, &why);
    else if (what % 8 == 6)
        (void)!conn_fetch(c, &f, dice, &why);
    else
        (void)!conn_query(c, "status", SLICE("{}"), dice, &why);
}

static void act(struct conn *c)
{
    uint8_t now = mood;

    if (depth > 0 || conn_closing(c))
        return;
    depth++;
    mood = (uint8_t)(mood >> 3 | mood << 5);
    switch (now % 16) {
    case 1: conn_close(c, "mood"); break;
    case 2: conn_abort(c, "mood"); break;
    case 3: (void)conn_unsubscribe(c, SLICE("")); break;
    case 4: (void)conn_unsubscribe(c, pick_id(now >> 4)); break;
    case 5: client_asks(c, now, (uint8_t)(now * 7)); break;
    case 6: conn_want_drained(c); break;
    case 7: (void)conn_cursor(c); break;
    default: break;
    }
    depth--;
}

static struct slice busy(const struct gateway *g)
{
    UNUSED(g);
    return SLICE("busy\n");
}

static ssize_t input(struct conn *c, struct slice bytes)
{
    act(c);
    return conn_closing(c) ? -1 : (ssize_t)bytes.len;
}

static void input_end(struct conn *c)
{
    conn_close(c, "end");
}

static void nothing(struct conn *c)
{
    UNUSED(c);
}

static void closing(struct conn *c)
{
    conn_close(c, "drain");
}

static void give_up(struct conn *c, const struct give_up *why)
{
    (void)conn_cursor(c);
    if (why->code[0] == 's') /* else it has more to say */
        conn_close(c, why->word);
}

static void told_ref(struct conn *c, uint32_t ref)
{
    buf_addf(conn_out(c), "%u ", ref);
    act(c);
}

static void subscribe_failed(struct conn *c, uint32_t ref, const char *code,
                             struct slice text)
{
    UNUSED(code), UNUSED(text);
    told_ref(c, ref);
}

static void notice(struct conn *c, const struct notice *n)
{
    if (mood % 3) /* else it keeps its answer back, as a poll does */
        buf_add_str(conn_out(c), notice_text(n->kind));
    for (unsigned i = 0; i < n->count; i++)
        CHECK(n->channels[i].len > 0);
    act(c);
}

static enum put_result put(struct conn *c, struct msg *m, unsigned flags,
                           struct outvec *v)
{
    if (mood % 32 == 31)
        return PUT_FULL;
    if (mood % 64 == 30) {
        conn_abort(c, "mood");
        return PUT_OK;
    }
    if (!m->forms[0]) {
        m->forms[0] = wire_new(m->data.len);
        CHECK(m->forms[0] != NULL);
        if (m->data.len)
            memcpy(m->forms[0]->bytes, m->data.ptr, m->data.len);
    }
    if (flags & PUT_REPLAY)
        memcpy(outvec_scratch(v, 1), "~", 1);
    outvec_wire(v, m->forms[0]);
    return PUT_OK;
}

static void published(struct conn *c, uint32_t ref, const struct published *p)
{
    UNUSED(p);
    told_ref(c, ref);
}

static void row(struct conn *c, uint32_t ref, struct msg *m)
{
    UNUSED(m);
    told_ref(c, ref);
}

static void hole(struct conn *c, uint32_t ref, const struct frame_hole *h)
{
    UNUSED(h);
    told_ref(c, ref);
}

static void page_end(struct conn *c, uint32_t ref, int err, bool more,
                     uint64_t upto)
{
    UNUSED(err), UNUSED(more), UNUSED(upto);
    told_ref(c, ref);
}

static void answered(struct conn *c, uint32_t ref, enum publish_status status,
                     bool json, struct slice body, uint64_t seq)
{
    UNUSED(status), UNUSED(json), UNUSED(body), UNUSED(seq);
    told_ref(c, ref);
}

static const struct edge edge = {
    .name = "tcp", .scheme = "tcp", .opened = nothing, .busy = busy,
    .input = input, .input_end = input_end, .deadline = nothing,
    .ping = nothing, .drained = act, .closed = nothing, .drain = closing,
    .kicked = closing, .give_up = give_up,
    .subscribed = told_ref, .started = told_ref,
    .subscribe_failed = subscribe_failed, .notice = notice, .put = put,
    .pulled = act, .cut = act, .published = published, .row = row,
    .hole = hole, .page_end = page_end, .answered = answered,
};

/* ---- clients ----------------------------------------------------------- */

static void client_leave(unsigned i)
{
    if (peers[i] >= 0)
        close(peers[i]);
    peers[i] = -1;
}

static void client_come(unsigned i)
{
    static const struct address nobody;
    int ends[2], small = 4096;
    uint32_t n = 0;
    struct conn *c;

    client_leave(i);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    (void)setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    peers[i] = ends[1];
    CHECK(door_enter(gateway->door));
    if (conn_open(gateway, ends[0], 0, 0, &nobody) < 0)
        return;
    while ((c = conns_next_open(&gateway->conns, &n)))
        if (c->fd == ends[0]) {
            numbers[i] = c->number;
            gens[i] = conn_gen(c);
        }
}

static struct conn *client_of(uint8_t dice)
{
    unsigned i = dice % CLIENTS;
    struct conn *c = conn_by_name(gateway, numbers[i], gens[i]);

    return c && !conn_closing(c) ? c : NULL;
}

static void client_read(unsigned i)
{
    static char drop[1 << 16];

    while (peers[i] >= 0 && read(peers[i], drop, sizeof drop) > 0)
        ;
}

static void client_step(struct cursor *in)
{
    uint8_t who = cursor_u8(in), what = cursor_u8(in), dice = cursor_u8(in);
    struct conn *c = client_of(who);

    switch (what >> 5) {
    case 0: client_come(who % CLIENTS); break;
    case 1: client_leave(who % CLIENTS); break;
    case 2: client_read(who % CLIENTS); break;
    case 3:
        if (peers[who % CLIENTS] >= 0)
            (void)send(peers[who % CLIENTS], "input", 5, MSG_NOSIGNAL);
        break;
    case 4:
        if (c)
            (void)conn_unsubscribe(c, dice & 1 ? pick_id(dice >> 1)
                                               : SLICE(""));
        break;
    default:
        if (c)
            client_asks(c, what, dice);
    }
}

/* ---- frames ------------------------------------------------------------ */

static struct msg_parts read_parts(struct cursor *in)
{
    uint8_t flags = cursor_u8(in);
    struct msg_parts p = {
        .flags = flags & 7,
        .seq = cursor_u8(in),
        .offset = flags >> 4,
        .id = pick_id(cursor_u8(in)),
        .kind = pick_text(flags >> 3),
        .data = pick_text(cursor_u8(in)),
    };

    if (flags & 0x80 && !(flags & MSG_NOTICE)) /* what an honest one says */
        p.seq = gateway->seq + 1;
    return p;
}

static void write_welcome(struct buf *b, struct cursor *in)
{
    struct frame_welcome f = {.life = cursor_u8(in) % 3,
                              .seq = cursor_u8(in), .resync = 1,
                              .epoch = SLICE("e")};

    if (f.seq & 1)
        f.epoch = pick_text(cursor_u8(in) % 2 + 1);
    frame_write_welcome(b, &f);
}

static void write_logged_in(struct buf *b, struct cursor *in)
{
    uint8_t dice = cursor_u8(in);
    struct frame_logged_in f = {.conn = link_.conn, .gen = link_.gen,
                                .seq = gateway->seq + (dice >> 4),
                                .forgotten_seq = dice & 15,
                                .flags = dice & 1, .count = dice >> 1 & 3};

    if (dice & 8)
        f.conn = cursor_u8(in) % CLIENTS;
    frame_write_logged_in(b, &f);
    for (unsigned i = 0; i < f.count; i++) {
        struct logged_in_id id = {
            .flags = cursor_u8(in) & 15,
            .id = pick_id(cursor_u8(in)),
            .last_offset = cursor_u8(in),
            .last_seq = cursor_u8(in),
            .trimmed_offset = dice & 3,
            .trimmed_seq = dice & 15,
            .state = SLICE("{}"),
        };

        frame_write_logged_in_id(b, &id);
    }
}

/* The answer that an honest router has to the last LOGIN. */
static void answer_login(uint8_t dice)
{
    struct frame_logged_in f = {.conn = link_.conn, .gen = link_.gen,
                                .seq = gateway->seq};
    struct frame_login login;
    struct login_id wanted;
    struct buf b = BUF_INIT;

    if (frame_read_login(buf_slice(&link_.login), &login) < 0)
        return;
    f.flags = login.flags;
    f.count = login.count;
    frame_write_logged_in(&b, &f);
    while (login.count-- && frame_next_login_id(&login, &wanted) == 0) {
        struct logged_in_id id = {.id = wanted.id, .last_seq = dice >> 2};

        id.flags = slice_starts(wanted.id, SLICE("m/")) ? ID_STATEFUL
                 : slice_starts(wanted.id, SLICE("v/")) ? ID_VOLATILE : 0;
        if (id.flags & ID_STATEFUL && dice & 1) {
            id.flags |= ID_SNAPSHOT;
            id.state = SLICE("{}");
        }
        frame_write_logged_in_id(&b, &id);
    }
    hear(FRAME_LOGGED_IN, buf_slice(&b));
    buf_fini(&b);
}

static void write_answer(struct buf *b, uint8_t code, struct cursor *in)
{
    uint8_t dice = cursor_u8(in);
    uint32_t ref = dice & 1 ? link_.ref : dice >> 3;
    struct frame_page_end end = {.ref = ref, .more = dice >> 1 & 1,
                                 .status = (dice >> 2 & 31) == 31,
                                 .upto = cursor_u8(in)};
    struct frame_answer answer = {.ref = ref, .body = SLICE("{}")};
    struct frame_published done = {.number = ref};
    struct frame_hole h = {.ref = dice & 2 ? ref : 0, .why = dice & 1,
                           .from = dice >> 4, .to = dice >> 3,
                           .seq = cursor_u8(in),
                           .id = pick_id(cursor_u8(in))};
    struct msg_parts p = read_parts(in);

    if (code == FRAME_PAGE_END)
        frame_write_page_end(b, &end);
    else if (code == FRAME_ANSWER)
        frame_write_answer(b, &answer);
    else if (code == FRAME_PUBLISHED)
        frame_write_published(b, &done);
    else if (code == FRAME_HOLE)
        frame_write_hole(b, &h);
    else
        frame_write_row(b, ref, &p);
}

static void write_state(struct buf *b, uint8_t code, struct cursor *in)
{
    uint8_t dice = cursor_u8(in);
    struct frame_snapshot snapshot = {.seq = gateway->seq,
                                      .id = pick_id(dice),
                                      .state = SLICE("{\"n\":1}")};
    struct frame_epoch epoch = {.seq = dice,
                                .epoch = pick_text(dice & 1 ? 1 : 3)};
    struct frame_kick kick = {.conn = numbers[dice % CLIENTS],
                              .gen = gens[dice % CLIENTS]};

    if (code == FRAME_SNAPSHOT)
        frame_write_snapshot(b, &snapshot);
    else if (code == FRAME_EPOCH)
        frame_write_epoch(b, &epoch);
    else if (code == FRAME_KICK)
        frame_write_kick(b, &kick);
    else if (code == FRAME_CANARY_BACK)
        put_u64(b, gateway->canary.number + (dice & 1));
    else if (code == FRAME_RESYNCED)
        put_u64(b, gateway->seq + (dice & 3));
}

static void frame_step(struct cursor *in, uint8_t dice)
{
    static const uint8_t codes[] = {
        FRAME_DELIVER,  FRAME_DELIVER,  FRAME_LOGGED_IN, FRAME_LOGGED_IN,
        FRAME_SNAPSHOT, FRAME_ROW,      FRAME_ROW,       FRAME_PAGE_END,
        FRAME_RESYNCED, FRAME_EPOCH,    FRAME_KICK,      FRAME_PUBLISHED,
        FRAME_HOLE,     FRAME_ANSWER,   FRAME_WELCOME,   FRAME_DRAIN,
        FRAME_CANARY_BACK,
    };
    uint8_t code = codes[dice % ARRAY_LEN(codes)];
    struct buf b = BUF_INIT;
    struct msg_parts p;

    switch (code) {
    case FRAME_DELIVER:
        p = read_parts(in);
        frame_write_deliver(&b, &p);
        break;
    case FRAME_LOGGED_IN: write_logged_in(&b, in); break;
    case FRAME_WELCOME: write_welcome(&b, in); break;
    case FRAME_SNAPSHOT: case FRAME_EPOCH: case FRAME_KICK:
    case FRAME_RESYNCED: case FRAME_CANARY_BACK: write_state(&b, code, in); break;
    case FRAME_DRAIN: break;
    default: write_answer(&b, code, in);
    }
    CHECK(!b.failed);
    hear(code, buf_slice(&b));
    buf_fini(&b);
}

static void come_up(struct cursor *in)
{
    struct buf b = BUF_INIT;

    go_down();
    link_.up = true;
    link_.ops.pipe.up(link_.ctx);
    write_welcome(&b, in);
    hear(FRAME_WELCOME, buf_slice(&b));
    buf_fini(&b);
}

static void raw_step(struct cursor *in, uint8_t step)
{
    uint8_t len = cursor_u8(in);
    struct slice body = cursor_take(in, MIN(len, cursor_left(in)));

    hear(0x40 + step % 16, body);
}

/* ---- the runs ---------------------------------------------------------- */

static void step(struct cursor *in)
{
    uint8_t what = cursor_u8(in);

    if (what & 0x80)
        raw_step(in, what);
    else if (what >= 0x50)
        frame_step(in, what);
    else if (what >= 0x20)
        client_step(in);
    else if (what >= 0x18)
        come_up(in);
    else if (what >= 0x16)
        go_down();
    else if (what >= 0x14)
        clock_fake_advance((int64_t)cursor_u8(in) * SECOND / 8);
    else if (what >= 0x10)
        mood = cursor_u8(in);
    else if (what >= 0x0c)
        answer_login(cursor_u8(in));
    else if (what >= 0x0b && link_.up)
        link_.ops.pipe.batch_end(link_.ctx, cursor_u8(in));
    else
        CHECK(loop_step(gateway->loop, 0) == 0);
    if (link_.broken)
        go_down();
}

/* A link that is whole, and clients who hear two ids each. */
static void settle(void)
{
    struct buf b = BUF_INIT;
    struct cursor none = cursor_init(SLICE("\0\4"));

    come_up(&none);
    put_u64(&b, gateway->seq);
    hear(FRAME_RESYNCED, buf_slice(&b));
    buf_fini(&b);
    for (uint8_t i = 0; i < CLIENTS; i++) {
        client_asks(client_of(i), 0, (uint8_t)(2 * i + 1));
        answer_login(1);
    }
    CHECK(loop_step(gateway->loop, 0) == 0);
}

static void begin(void)
{
    const char *sets[] = {"limits.queue=64K", "limits.ring_total=1M",
                          "limits.patterns_per_connection=4",
                          "limits.channels_per_connection=20"};
    struct config_source from = {.sets = sets,
                                 .set_count = ARRAY_LEN(sets)};
    struct opt_error err;

    log_set_level(LOG_ERROR);
    CHECK(config_load(&config, &from, &err) == 0);
    CHECK(door_new(&door, 1000, 0) == 0);
    memset(filler, 'x', sizeof filler);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor in = cursor_init(slice_make(data, size));
    const char *why;

    if (!config)
        begin();
    clock_fake(1000 * SECOND, 0);
    mood = 0;
    gateway = calloc(1, sizeof *gateway);
    CHECK(gateway && gateway_init(gateway, config, &edge, 1, door) == 0);
    CHECK(uplink_open(gateway, &why) == 0);
    for (unsigned i = 0; i < CLIENTS; i++) {
        peers[i] = -1;
        client_come(i);
    }
    if (size && data[0] & 1)
        settle();
    for (unsigned n = 0; n < STEPS_MAX && cursor_left(&in); n++)
        step(&in);
    mood = 0;
    for (unsigned i = 0; i < CLIENTS; i++)
        client_leave(i);
    for (unsigned i = 0; i < 8; i++)
        CHECK(loop_step(gateway->loop, 0) == 0);
    gateway_fini(gateway);
    CHECK(gateway->open == 0);
    LIST_FOREACH(p, &gateway->pages.kept, struct page, node)
        CHECK(p->readers == 0);
    free(gateway);
    link_.up = link_.broken = false;
    buf_fini(&link_.frame);
    buf_fini(&link_.login);
    return 0;
}
