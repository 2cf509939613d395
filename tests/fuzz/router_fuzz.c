/* Frames of a peer in any order and with any content, against a whole router
 * with its store. Whatever comes, it answers with well-formed frames, and what
 * the link held is gone with it.
 *
 * Input: steps, each a byte that says what, and what that needs. With its top
 * bit set a step is a raw frame (code, u8 length, body); else a well-formed
 * one, made of a few ids, connections and texts, so that the fuzzer gets deep
 * without learning the layouts first. A peer that is a repeater has others behind
 * it, whose steps have the bit below set. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "router/router.h"

/* pipe.h in memory instead of pipe.c: the library's is not linked then. */
#include "tests/router/fake_pipe.c"
#include "proto/frame_io.h"
#include "proto/trunk_frame.h"

static struct router router;
static struct loop *loop;
static struct config *config;
static char dir[] = "/tmp/router-fuzz-XXXXXX";

static const char *const ids[] = {
    "a",        "user/ana",   "room/lobby", "match/elp-tig-2011-09-13",
    "team/elp", "volatile/v", "a/*",        "**",
    "room/*",   "room/b",     "match/*",    "a b",
    "",         "x//y",
};
static const char *const texts[] = {
    "",
    "hello",
    "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\"}}",
    "{\"kind\":\"start\",\"data\":{}}",
    "{\"kind\":\"retract\",\"data\":{\"offset\":2}}",
    "{\"id\":\"elp\",\"name\":\"E\",\"division\":\"1\"}",
    "{\"id\":\"tig\",\"name\":\"T\",\"division\":\"1\"}",
    "{\"home\":\"elp\",\"visit\":\"tig\",\"start_time\":\"2011-09-13\"}",
    "room/lobby",
    "** a 3",
};
static const char *const verbs[] = {
    "team.put", "match.new", "match.cancel", "match.list", "match.get",
    "room.who", "status",    "presence",     "channels",   "conns",
    "kick",     "gateways",  "stats",        "overview",
    "no.such",
};

/* ---- the router -------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int kind,
                      struct FTW *ftw)
{
    UNUSED(st), UNUSED(kind), UNUSED(ftw);
    return remove(path);
}

static void clean_up(void)
{
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void begin(void)
{
    const char *sets[] = {"limits.channels=1000", "namespace.history=20"};
    struct config_source from = {.sets = sets, .set_count = 2, .dir = dir};
    struct history_options opt = {.policy = router_keep,
                                  .max_size = 64 * 1024 * 1024};
    struct history_report report;
    struct history *h;
    struct opt_error err;
    char path[64];

    CHECK(mkdtemp(dir) != NULL);
    atexit(clean_up);
    log_set_level(LOG_ERROR);
    CHECK(config_load(&config, &from, &err) == 0);
    snprintf(path, sizeof path, "%s/fuzz.db", dir);
    opt.path = path;
    opt.policy_arg = config;
    CHECK(loop_new(&loop) == 0);
    CHECK(history_open(&h, &opt, &report) == 0);
    CHECK(router_init(&router, loop, config, h) == 0);
}

/* ---- what it says must be readable ------------------------------------- */

static void check_frame(const struct fake_frame *f)
{
    struct slice body = buf_slice(&f->body);
    struct frame_logged_in in;
    struct frame_published published;
    struct frame_snapshot snapshot;
    struct frame_page_end end;
    struct frame_answer answer;
    struct frame_hole hole;
    struct trunk_repeat repeat;
    struct trunk_place place;
    struct trunk_cut cut;
    struct msg_parts m;
    uint32_t ref;

    CHECK(frame_check(f->code, SENDER_ROUTER, body.len) == 0);
    CHECK(f->code != FRAME_LOGGED_IN || !frame_read_logged_in(body, &in));
    CHECK(f->code != FRAME_PUBLISHED ||
          !frame_read_published(body, &published));
    CHECK(f->code != FRAME_SNAPSHOT || !frame_read_snapshot(body, &snapshot));
    CHECK(f->code != FRAME_PAGE_END || !frame_read_page_end(body, &end));
    CHECK(f->code != FRAME_ANSWER || !frame_read_answer(body, &answer));
    CHECK(f->code != FRAME_HOLE || !frame_read_hole(body, &hole));
    CHECK(f->code != FRAME_DELIVER || !frame_read_deliver(body, &m));
    CHECK(f->code != FRAME_ROW || !frame_read_row(body, &ref, &m));
    CHECK(f->code != FRAME_REPEAT || !trunk_read_repeat(body, &repeat));
    CHECK(f->code != FRAME_PLACE || !trunk_read_place(body, &place));
    CHECK(f->code != FRAME_CUT || !trunk_read_cut(body, &cut));
}

static void hear_all(struct pipe *p)
{
    struct fake_frame *f;

    while ((f = fake_pipe_take(p))) {
        check_frame(f);
        fake_frame_free(f);
    }
}

/* ---- steps ------------------------------------------------------------- */

static struct slice pick(const char *const *list, size_t count, uint8_t dice)
{
    return slice_str(list[dice % count]);
}
#define PICK(list, dice) pick(list, ARRAY_LEN(list), dice)

static void write_login(struct buf *b, struct cursor *c)
{
    struct frame_login f = {
        .conn = cursor_u8(c) % 8,
        .gen = cursor_u8(c) % 3,
        .flags = cursor_u8(c) % 2,
        .name = PICK(texts, cursor_u8(c) % 2),
        .count = cursor_u8(c) % 4,
    };

    frame_write_login(b, &f);
    for (unsigned i = 0; i < f.count; i++) {
        struct login_id id = {cursor_u8(c) % 2, PICK(ids, cursor_u8(c))};

        frame_write_login_id(b, &id);
    }
}

static void write_logout(struct buf *b, struct cursor *c)
{
    struct frame_logout f = {
        .conn = cursor_u8(c) % 8,
        .gen = cursor_u8(c) % 3,
        .gone = cursor_u8(c) % 2,
        .count = cursor_u8(c) % 3,
    };

    frame_write_logout(b, &f);
    for (unsigned i = 0; i < f.count; i++) {
        struct logout_id id = {cursor_u8(c) % 2, PICK(ids, cursor_u8(c))};

        frame_write_logout_id(b, &id);
    }
}

static void write_publish(struct buf *b, struct cursor *c)
{
    struct frame_publish f = {
        .number = cursor_u8(c) % 16,
        .flags = cursor_u8(c) % 2,
        .format = cursor_u8(c) % MSG_FORMATS,
        .id = PICK(ids, cursor_u8(c)),
        .data = PICK(texts, cursor_u8(c)),
        .idempotency = PICK(texts, cursor_u8(c) % 2),
    };

    frame_write_publish(b, &f);
}

static void write_act(struct buf *b, struct cursor *c)
{
    struct frame_act f = {
        .number = cursor_u8(c) % 16,
        .flags = cursor_u8(c) % 2,
        .verb = PICK(verbs, cursor_u8(c)),
        .args = PICK(texts, cursor_u8(c)),
    };

    frame_write_act(b, &f);
}

static void write_fetch(struct buf *b, struct cursor *c)
{
    struct frame_fetch f = {
        .ref = cursor_u8(c),
        .mode = cursor_u8(c) % FETCH_MODES,
        .after = cursor_u8(c),
        .upto = cursor_u8(c),
        .limit = cursor_u8(c) % 8,
        .count = cursor_u8(c) % 3,
    };

    frame_write_fetch(b, &f);
    for (unsigned i = 0; i < f.count; i++)
        frame_write_id(b, PICK(ids, cursor_u8(c)));
}

static void write_query(struct buf *b, struct cursor *c)
{
    struct frame_query f = {cursor_u8(c), PICK(verbs, cursor_u8(c)),
                            PICK(texts, cursor_u8(c))};

    frame_write_query(b, &f);
}

static void write_ids(struct buf *b, struct cursor *c)
{
    struct frame_ids f = {.count = cursor_u8(c) % 3};

    frame_write_ids(b, &f);
    for (unsigned i = 0; i < f.count; i++)
        frame_write_id(b, PICK(ids, cursor_u8(c)));
}

static void write_release(struct buf *b, struct cursor *c)
{
    frame_write_id(b, PICK(ids, cursor_u8(c)));
}

static void write_synced(struct buf *b, struct cursor *c)
{
    put_u64(b, cursor_u8(c));
}

static const struct {
    uint8_t code;
    void (*write)(struct buf *b, struct cursor *c);
} made[] = {
    {FRAME_LOGIN, write_login},     {FRAME_LOGOUT, write_logout},
    {FRAME_PUBLISH, write_publish}, {FRAME_ACT, write_act},
    {FRAME_FETCH, write_fetch},     {FRAME_QUERY, write_query},
    {FRAME_SNAP, write_ids},        {FRAME_RELEASE, write_release},
    {FRAME_SYNCED, write_synced},
};

/* ---- peers behind a repeater -------------------------------------------- */

static uint8_t write_come(struct buf *b, struct cursor *c)
{
    uint32_t number = cursor_u8(c);
    struct peer_id who = {.kind = cursor_u8(c) % 4, .edge = "x"};

    who.life = 1 + cursor_u8(c) % 3;
    snprintf(who.name, sizeof who.name, "lane%d", cursor_u8(c) % 4);
    trunk_write_come(b, number, &who);
    return FRAME_COME;
}

static uint8_t write_from(struct buf *b, struct cursor *c)
{
    uint32_t number = cursor_u8(c);
    uint8_t dice = cursor_u8(c);
    struct frame_hello hello = {.kind = PEER_GATEWAY, .life = 1 + dice % 3};
    size_t kind = dice % (ARRAY_LEN(made) + 1);

    if (kind < ARRAY_LEN(made)) {
        trunk_write_from(b, number, made[kind].code);
        made[kind].write(b, c);
    } else {
        trunk_write_from(b, number, FRAME_HELLO);
        frame_write_hello(b, &hello);
    }
    return FRAME_FROM;
}

static uint8_t write_gone(struct buf *b, struct cursor *c)
{
    uint32_t number = cursor_u8(c);

    trunk_write_gone(b, number, cursor_u8(c) % 2, SLICE("why"));
    return FRAME_GONE;
}

static uint8_t write_taken(struct buf *b, struct cursor *c)
{
    uint32_t number = cursor_u8(c);

    trunk_write_taken(b, number, cursor_u16(c));
    return FRAME_TAKEN;
}

static uint8_t (*const behind[])(struct buf *b, struct cursor *c) = {
    write_from, write_come, write_gone, write_taken,
};

/* ---- one step ------------------------------------------------------------ */

/* False: the router wants no more of this peer; its pipe may be freed. */
static bool step(struct pipe *p, struct cursor *c)
{
    uint8_t what = cursor_u8(c);
    size_t kind = what % (ARRAY_LEN(made) + 3);
    struct buf b = BUF_INIT;
    int rc = 0;

    if (what & 0x80) {
        uint8_t code = cursor_u8(c);

        rc = fake_pipe_say(p, code, cursor_str8(c));
    } else if (what & 0x40) {
        uint8_t code = behind[what % ARRAY_LEN(behind)](&b, c);

        rc = fake_pipe_say(p, code, buf_slice(&b));
    } else if (kind < ARRAY_LEN(made)) {
        made[kind].write(&b, c);
        rc = fake_pipe_say(p, made[kind].code, buf_slice(&b));
    } else if (kind == ARRAY_LEN(made)) {
        CHECK(loop_step(loop, 0) == 0);
    } else if (kind == ARRAY_LEN(made) + 1) {
        fake_pipe_stall(p, cursor_u8(c));
    } else {
        fake_pipe_drain(p);
    }
    buf_fini(&b);
    return rc == 0 && fake_pipes;
}

static struct pipe *join(uint8_t dice)
{
    struct peer_id who = {.edge = "x", .life = 1 + dice % 3};
    struct frame_hello f = {
        .kind = dice & 64 ? PEER_REPEATER : dice % 4 ? PEER_GATEWAY : PEER_CTL,
        .life = who.life,
        .router_life = dice & 8 ? router.life : 0,
        .asked = dice & 32 ? router.seq : 0,
        .epoch = slice_str(dice & 16 ? router.epoch.text : ""),
    };
    struct pipe *p = fake_pipe_new();
    struct buf b = BUF_INIT;
    struct link *l;

    CHECK(link_new(&l, &router, &who, p) == 0);
    p->ops = &link_pipe;
    p->ctx = l;
    frame_write_hello(&b, &f);
    CHECK(fake_pipe_say(p, FRAME_HELLO, buf_slice(&b)) == 0);
    buf_fini(&b);
    return p;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor c = cursor_init(slice_make(data, size));
    struct pipe *p;

    if (!loop)
        begin();
    p = join(cursor_u8(&c));
    while (cursor_left(&c) && step(p, &c))
        ;
    for (int i = 0; i < 3; i++)
        CHECK(loop_step(loop, 0) == 0);
    if (fake_pipes) { /* the router has not ended it by itself */
        hear_all(p);
        p->ops->down(p->ctx, "the input has ended");
    }
    CHECK(loop_step(loop, 0) == 0);
    CHECK(router.table.seats == 0 && router.table.leaves == 0);
    CHECK(router.table.conns == 0 && fake_pipes == 0);
    return 0;
}
