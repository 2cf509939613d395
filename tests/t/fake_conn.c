#include "tests/t/fake_conn.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "gateways/common/outvec.h"
#include "gateways/common/stats.h"
#include "tests/t/t.h"

enum {
    EVENTS_MAX = 128,
    CALLS_MAX = 8192,
    CONNS_MAX = 256,
    INPUT_ROOM = 64 * 1024, /* grows when a test sends more */
};

struct conn {
    struct fake *fake;
    struct buf out, in, passed;
    const struct config_token *token;
    char forwarded[ADDRESS_TEXT_MAX];
    const char *why;
    uint32_t number;
    uint64_t deadline_ms, ping_ms; /* in fake time; 0: none */
    bool loopback, at_loopback, at_admin, proxy;
    bool paused, unpaused, stopped, want_drained;
    bool closing, closed, ended, end_told, in_edge;
};

struct gateway {
    struct fake *fake;
};

struct fake {
    const struct edge *edge;
    struct config *config;
    struct gateway gateway;
    struct epoch epoch;
    uint32_t epoch_number;
    uint64_t seq, now_ms;
    bool linked, mute, moves, can_pass;
    unsigned moved;
    int pass_rc;
    void *edge_state;
    struct conn *conns[CONNS_MAX];
    unsigned conn_count;
    struct fake_call calls[CALLS_MAX];
    unsigned call_count, call_seen;
    struct { char name[48]; unsigned count; } events[EVENTS_MAX];
    unsigned limits[LIMIT_KINDS];
    uint64_t stats[GATEWAY_STAT_COUNT];
    bool refuse;
    struct refusal refusal;
    struct outvec vec;
};

/* Memory for the fake itself, which test_fail_malloc_after() spares. */
static void *take(size_t bytes)
{
    void *p = NULL;

    CHECK(posix_memalign(&p, sizeof(void *), MAX(bytes, 1u)) == 0);
    return p;
}

/* ---- made and freed ----------------------------------------------------- */

struct fake *fake_new(const struct edge *edge, const char *const *sets)
{
    struct fake *f = calloc(1, sizeof *f);
    struct config_source from = {.sets = sets, .dir = test_dir()};
    struct opt_error err;

    CHECK(f);
    while (sets && sets[from.set_count])
        from.set_count++;
    if (config_load(&f->config, &from, &err) < 0)
        test_fail(__FILE__, __LINE__, "%s", err.text);
    f->edge = edge;
    f->moves = getenv("FAKE_MOVES") != NULL;
    f->gateway.fake = f;
    f->linked = true;
    f->now_ms = 1000;
    fake_set_epoch(f, "e1");
    if (edge->start)
        EXPECT_OK(edge->start(&f->gateway));
    return f;
}

static void call_fini(struct fake_call *k)
{
    free(k->channel);
    free(k->verb);
    free(k->args);
    free(k->name);
    free(k->from);
    free(k->key);
    free(k->idempotency);
    free(k->data);
}

static void close_now(struct conn *c)
{
    if (c->closed)
        return;
    c->closed = c->closing = true;
    c->fake->edge->closed(c);
}

void fake_free(struct fake *f)
{
    if (!f)
        return;
    for (unsigned i = 0; i < f->conn_count; i++) {
        close_now(f->conns[i]);
        buf_fini(&f->conns[i]->out);
        buf_fini(&f->conns[i]->in);
        buf_fini(&f->conns[i]->passed);
        free(f->conns[i]);
    }
    for (unsigned i = 0; i < f->call_count; i++)
        call_fini(&f->calls[i]);
    if (f->edge->stop)
        f->edge->stop(&f->gateway);
    config_free(f->config);
    free(f);
}

struct gateway *fake_gateway(struct fake *f) { return &f->gateway; }
void fake_set_linked(struct fake *f, bool linked) { f->linked = linked; }

void fake_set_mute(struct fake *f, bool mute) { f->mute = mute; }
void fake_set_seq(struct fake *f, uint64_t seq) { f->seq = seq; }

void fake_set_epoch(struct fake *f, const char *epoch)
{
    snprintf(f->epoch.text, sizeof f->epoch.text, "%s", epoch);
    f->epoch_number++;
}

struct conn *fake_connect(struct fake *f)
{
    struct conn *c = calloc(1, sizeof *c + f->edge->conn_bytes);

    CHECK(c && f->conn_count < CONNS_MAX);
    c->fake = f;
    c->number = f->conn_count;
    c->loopback = c->at_loopback = true;
    CHECK(buf_reserve(&c->in, INPUT_ROOM));
    f->conns[f->conn_count++] = c;
    f->edge->opened(c);
    return c;
}

void fake_set_side(struct conn *c, enum fake_side side, bool yes)
{
    switch (side) {
    case FAKE_LOOPBACK: c->loopback = yes; break;
    case FAKE_AT_LOOPBACK: c->at_loopback = yes; break;
    case FAKE_AT_ADMIN: c->at_admin = yes; break;
    case FAKE_PROXY: c->proxy = yes; break;
    }
}

/* ---- input -------------------------------------------------------------- */

static void feed(struct conn *c)
{
    const struct edge *edge = c->fake->edge;
    struct slice bytes;
    uint8_t *copy;
    ssize_t used;

    if (c->paused || c->closing)
        return;
    /* A copy of its own size: reading behind it is seen by the sanitizer. */
    copy = take(c->in.len);
    if (c->in.len)
        memcpy(copy, c->in.ptr, c->in.len);
    bytes = slice_make(copy, c->in.len);
    c->in_edge = true;
    used = edge->input(c, bytes);
    c->in_edge = false;
    free(copy);
    if (used < 0 || c->closing) {
        EXPECT(c->closing);
        buf_reset(&c->in);
        return;
    }
    EXPECT((size_t)used <= bytes.len);
    buf_drop_front(&c->in, (size_t)used);
}

static bool turn_of(struct conn *c)
{
    bool busy = false;

    if (c->out.failed)
        conn_abort(c, "memory");
    if (c->unpaused && !c->paused && !c->closing && c->in.len) {
        c->unpaused = false;
        feed(c);
        busy = true;
    }
    c->unpaused = false;
    if (c->want_drained && !c->stopped && !c->closing) {
        c->want_drained = false;
        c->fake->edge->drained(c);
        busy = true;
    }
    if (c->ended && !c->end_told && !c->paused && !c->closing) {
        c->end_told = true;
        c->fake->edge->input_end(c);
        busy = true;
    }
    if (c->ended && !c->end_told && c->paused && !c->closing &&
        c->fake->edge->end_behind)
        c->fake->edge->end_behind(c);
    if (c->closing && !c->closed && !c->stopped)
        close_now(c);
    return busy;
}

/* What the edge keeps of c is written down, forgotten, and read again, as by
 * another process; if it is at rest. */
static void move(struct conn *c)
{
    const struct edge *edge = c->fake->edge;
    struct buf b = BUF_INIT;
    struct cursor in;
    uint8_t *copy;

    if (c->closing || !edge->at_rest(c))
        return;
    edge->freeze(c, &b);
    CHECK(!b.failed);
    edge->closed(c);
    memset(c + 1, 0, edge->conn_bytes);
    copy = take(b.len);
    memcpy(copy, b.ptr, b.len);
    in = cursor_init(slice_make(copy, b.len));
    EXPECT_OK(edge->thaw(c, &in));
    EXPECT(cursor_all_read(&in));
    free(copy);
    buf_fini(&b);
    c->fake->moved++;
}

void fake_set_moves(struct fake *f, bool moves) { f->moves = moves; }
unsigned fake_moved(const struct fake *f) { return f->moved; }

static void let_settle(struct fake *f)
{
    bool busy = true;

    for (unsigned turns = 0; busy; turns++) {
        EXPECT(turns < 100000);
        busy = false;
        for (unsigned i = 0; i < f->conn_count; i++)
            if (!f->conns[i]->closed)
                busy |= turn_of(f->conns[i]);
    }
}

void fake_turn(struct fake *f)
{
    let_settle(f);
    for (unsigned i = 0; f->moves && i < f->conn_count; i++)
        if (!f->conns[i]->closed)
            move(f->conns[i]);
}

void fake_send(struct conn *c, struct slice bytes)
{
    if (c->closing)
        return;
    buf_add(&c->in, bytes);
    feed(c);
    fake_turn(c->fake);
}

void fake_send_pieces(struct conn *c, struct slice bytes, size_t n)
{
    while (bytes.len) {
        fake_send(c, slice_head(bytes, n));
        bytes = slice_from(bytes, n);
    }
}

void fake_send_end(struct conn *c)
{
    c->ended = true;
    fake_turn(c->fake);
}

void fake_stop_reading(struct conn *c, bool stopped)
{
    c->stopped = stopped;
    fake_turn(c->fake);
}

struct slice fake_out(const struct conn *c) { return buf_slice(&c->out); }

const char *fake_text(const struct conn *c)
{
    return buf_text((struct buf *)(uintptr_t)&c->out);
}

void fake_forget_out(struct conn *c) { buf_reset(&c->out); }
bool fake_is_closed(const struct conn *c) { return c->closed; }
const char *fake_close_why(const struct conn *c) { return c->why; }
size_t fake_unused(const struct conn *c) { return c->in.len; }

/* ---- time --------------------------------------------------------------- */

static uint32_t ping_ms(const struct conn *c)
{
    return (uint32_t)(c->fake->config->limits.ping / MILLISECOND);
}

static void due(struct conn *c)
{
    uint64_t now = c->fake->now_ms;

    if (c->ping_ms && c->ping_ms <= now && !c->closing) {
        c->ping_ms = now + ping_ms(c);
        c->fake->edge->ping(c);
    }
    if (c->deadline_ms && c->deadline_ms <= now && !c->closing) {
        c->deadline_ms = 0;
        c->fake->edge->deadline(c);
    }
}

void fake_pass(struct fake *f, uint32_t ms)
{
    enum { STEP = 100 };

    for (uint32_t at = 0; at < ms; at += STEP) {
        f->now_ms += STEP;
        for (unsigned i = 0; i < f->conn_count; i++)
            due(f->conns[i]);
        fake_turn(f);
    }
}

uint32_t fake_deadline(const struct conn *c)
{
    return c->deadline_ms > c->fake->now_ms
               ? (uint32_t)(c->deadline_ms - c->fake->now_ms) : 0;
}

bool fake_has_pings(const struct conn *c) { return c->ping_ms; }

/* ---- what the edge calls ------------------------------------------------ */

void *conn_edge(struct conn *c) { return c + 1; }

struct gateway *conn_gateway(const struct conn *c)
{
    return &c->fake->gateway;
}

const struct config *conn_config(const struct conn *c)
{
    return c->fake->config;
}

const char *conn_text(const struct conn *c)
{
    static char text[32];

    snprintf(text, sizeof text, "fake1/%u.1", c->number);
    return text;
}

bool conn_from_loopback(const struct conn *c) { return c->loopback; }
bool conn_at_loopback(const struct conn *c) { return c->at_loopback; }
bool conn_at_admin(const struct conn *c)
{
    return c->at_admin || (c->at_loopback && c->fake->config->http.admin.count == 0);
}
bool conn_peer_is_proxy(const struct conn *c) { return c->proxy; }

const char *conn_local_text(const struct conn *c)
{
    UNUSED(c);
    return "127.0.0.1:8000";
}

const char *conn_peer_text(const struct conn *c)
{
    return c->forwarded[0] ? c->forwarded : "127.0.0.1";
}

void conn_set_remote(struct conn *c) { c->loopback = false; }

bool conn_set_forwarded(struct conn *c, const struct address *client)
{
    c->forwarded[0] = '\0';
    if (address_known(client))
        address_text(client, c->forwarded);
    return true;
}

void conn_set_token(struct conn *c, const struct config_token *t)
{
    c->token = t;
}

const struct config_token *conn_token(const struct conn *c)
{
    return c->token;
}

struct buf *conn_out(struct conn *c)
{
    EXPECT(!c->closed);
    return &c->out;
}

/* Of a client that reads, nothing is ever pending. */
size_t conn_out_pending(const struct conn *c)
{
    return c->stopped ? c->out.len : 0;
}

void conn_want_drained(struct conn *c) { c->want_drained = true; }

static bool listed(const char *word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(words[i], word) == 0)
            return true;
    printf("    not listed: %s\n", word);
    fflush(stdout);
    return false;
}

static const char *const closes[] = {
#define CLOSE(word, meaning) word,
#include "gateways/common/closes.def"
#undef CLOSE
};

static void begin_close(struct conn *c, const char *why)
{
    if (c->closing)
        return;
    CHECK(listed(why, closes, ARRAY_LEN(closes)));
    c->closing = true;
    c->why = why;
    c->deadline_ms = c->ping_ms = 0;
}

void conn_close(struct conn *c, const char *why) { begin_close(c, why); }
void conn_abort(struct conn *c, const char *why) { begin_close(c, why); }
bool conn_closing(const struct conn *c) { return c->closing; }

void fake_set_pass(struct fake *f, int rc)
{
    f->can_pass = true;
    f->pass_rc = rc;
}

struct slice fake_passed(const struct conn *c)
{
    return buf_slice(&c->passed);
}

bool conn_can_pass(const struct conn *c) { return c->fake->can_pass; }

int conn_pass_on(struct conn *c, struct slice bytes)
{
    CHECK(conn_out_pending(c) == 0);
    if (c->fake->pass_rc < 0)
        return c->fake->pass_rc;
    buf_add(&c->passed, bytes);
    conn_abort(c, "passed");
    return 0;
}

void conn_pause_input(struct conn *c, bool paused)
{
    if (c->paused && !paused)
        c->unpaused = true;
    c->paused = paused;
}

void conn_deadline(struct conn *c, uint32_t ms)
{
    if (!c->closing)
        c->deadline_ms = ms ? c->fake->now_ms + ms : 0;
}

void conn_want_pings(struct conn *c, bool wanted)
{
    c->ping_ms = wanted && ping_ms(c) ? c->fake->now_ms + ping_ms(c) : 0;
}

/* ---- what is asked ------------------------------------------------------ */

static char *copy(struct slice s)
{
    char *text = take(s.len + 1);

    if (s.len)
        memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    return text;
}

static char *join(const struct slice *list, unsigned count)
{
    size_t len = 0;
    char *text, *at;

    for (unsigned i = 0; i < count; i++)
        len += list[i].len + 1;
    text = at = take(len + 1);
    for (unsigned i = 0; i < count; i++) {
        if (i)
            *at++ = ' ';
        memcpy(at, list[i].ptr, list[i].len);
        at += list[i].len;
    }
    *at = '\0';
    return text;
}

/* NULL: the test has asked for a refusal. */
static struct fake_call *record(struct conn *c, enum fake_kind kind,
                                uint32_t ref, struct refusal *why)
{
    struct fake *f = c->fake;
    struct fake_call *k;

    EXPECT(!c->closed);
    if (f->refuse && why) {
        f->refuse = false;
        *why = f->refusal;
        return NULL;
    }
    CHECK(f->call_count < CALLS_MAX);
    k = &f->calls[f->call_count++];
    k->kind = kind;
    k->conn = c;
    k->ref = ref;
    return k;
}

int conn_subscribe(struct conn *c, const struct subscribe *s,
                   struct refusal *why)
{
    struct fake_call *k = record(c, FAKE_SUBSCRIBE, s->ref, why);

    if (!k)
        return ERR_DENIED;
    k->channel = join(s->channels, s->count);
    k->name = copy(s->name);
    k->has_since = s->has_since;
    k->since = s->since;
    return 0;
}

int conn_unsubscribe(struct conn *c, struct slice channel)
{
    record(c, FAKE_UNSUBSCRIBE, 0, NULL)->channel = copy(channel);
    return 0;
}

void conn_group(struct conn *c, bool begins)
{
    UNUSED(c);
    UNUSED(begins);
}

int conn_publish(struct conn *c, const struct publish *p, uint32_t ref,
                 struct refusal *why)
{
    struct fake_call *k = record(c, FAKE_PUBLISH, ref, why);

    if (!k)
        return ERR_DENIED;
    k->channel = copy(p->channel);
    k->from = copy(p->from);
    k->key = copy(p->key);
    k->idempotency = copy(p->idempotency);
    k->data = copy(p->data);
    k->data_len = p->data.len;
    k->format = p->format;
    return 0;
}

int conn_act(struct conn *c, const char *verb, struct slice channel,
             struct slice from, struct slice args, uint32_t ref,
             struct refusal *why)
{
    struct fake_call *k = record(c, FAKE_ACT, ref, why);

    if (!k)
        return ERR_DENIED;
    k->verb = copy(slice_str(verb));
    k->channel = copy(channel);
    k->from = copy(from);
    k->args = copy(args);
    return 0;
}

int conn_fetch(struct conn *c, const struct fetch *w, uint32_t ref,
               struct refusal *why)
{
    struct fake_call *k = record(c, FAKE_FETCH, ref, why);

    if (!k)
        return ERR_DENIED;
    k->channel = join(w->channels, w->count);
    k->mode = w->mode;
    k->after = w->after;
    k->upto = w->upto;
    k->limit = w->limit;
    return 0;
}

int conn_query(struct conn *c, const char *verb, struct slice args,
               uint32_t ref, struct refusal *why)
{
    struct fake_call *k = record(c, FAKE_QUERY, ref, why);

    if (!k)
        return ERR_DENIED;
    k->verb = copy(slice_str(verb));
    k->args = copy(args);
    return 0;
}

const struct fake_call *fake_next_call(struct fake *f)
{
    return f->call_seen < f->call_count ? &f->calls[f->call_seen++] : NULL;
}

void fake_refuse_next(struct fake *f, enum publish_status status,
                      const char *code, const char *text)
{
    f->refuse = true;
    f->refusal.status = status;
    f->refusal.code = code;
    snprintf(f->refusal.text, sizeof f->refusal.text, "%s", text);
}

/* Its channels in order, up to `most`; how many there are. */
static unsigned list_channels(const struct conn *c, struct slice *ret,
                              unsigned most)
{
    unsigned n = 0;

    for (unsigned i = 0; i < c->fake->call_count; i++) {
        const struct fake_call *k = &c->fake->calls[i];
        struct slice rest = slice_str(k->channel);

        if (k->conn == c && k->kind == FAKE_UNSUBSCRIBE && !k->channel[0])
            n = 0;
        while (k->conn == c && k->kind == FAKE_SUBSCRIBE && rest.ptr) {
            struct slice channel = slice_split(&rest, ' ');

            if (n++ < most)
                ret[n - 1] = channel;
        }
    }
    return n;
}

unsigned conn_channels(const struct conn *c)
{
    return list_channels(c, NULL, 0);
}

void conn_list_channels(struct conn *c, struct slice *ret)
{
    (void)list_channels(c, ret, UINT_MAX);
}

bool conn_begins(const struct conn *c)
{
    UNUSED(c);
    return false; /* a fake's start is over when it has been told */
}

/* Subscribed to by this very text, and not unsubscribed since. */
bool conn_holds(struct conn *c, struct slice channel)
{
    bool holds = false;

    for (unsigned i = 0; i < c->fake->call_count; i++) {
        const struct fake_call *k = &c->fake->calls[i];
        bool same = k->conn == c && k->channel &&
                    slice_eq(slice_str(k->channel), channel);

        if (k->kind == FAKE_SUBSCRIBE && same)
            holds = true;
        else if (k->kind == FAKE_UNSUBSCRIBE && k->conn == c &&
                 (same || !k->channel[0]))
            holds = false;
    }
    return holds;
}

struct slice conn_cursor(struct conn *c)
{
    static char text[CURSOR_TEXT_MAX];

    return slice_make(text, position_format(text, &c->fake->epoch,
                                            c->fake->seq));
}

struct slice cursor_of(struct conn *c, const struct msg *m)
{
    static char text[CURSOR_TEXT_MAX];

    return slice_make(text,
                      position_format(text, &c->fake->epoch, m->seq));
}

/* ---- gateway.h ---------------------------------------------------------- */

const struct config *gateway_config(const struct gateway *g)
{
    return g->fake->config;
}

const struct config_edge *gateway_edge_config(const struct gateway *g)
{
    return config_edge(g->fake->config, g->fake->edge->name);
}

uint32_t gateway_epoch_number(const struct gateway *g)
{
    return g->fake->epoch_number;
}

const struct epoch *gateway_epoch(const struct gateway *g)
{
    return &g->fake->epoch;
}

const char *gateway_name(const struct gateway *g)
{
    UNUSED(g);
    return "fake1";
}

bool gateway_linked(const struct gateway *g) { return g->fake->linked; }
bool gateway_mute(const struct gateway *g) { return g->fake->mute; }

void gateway_set_edge_state(struct gateway *g, void *state)
{
    g->fake->edge_state = state;
}

void *gateway_edge_state(const struct gateway *g)
{
    return g->fake->edge_state;
}

static void count(struct fake *f, const char *event)
{
    unsigned i = 0;

    while (f->events[i].name[0] && strcmp(f->events[i].name, event))
        i++;
    CHECK(i < EVENTS_MAX);
    snprintf(f->events[i].name, sizeof f->events[i].name, "%s", event);
    f->events[i].count++;
}

void gateway_count(struct gateway *g, unsigned stat)
{
    static const struct stat_row rows[] = { GATEWAY_STATS(STAT_AS_ROW) };

    count(g->fake, rows[stat].name);
    g->fake->stats[stat]++;
}

void gateway_refused(struct gateway *g, struct slice code)
{
    static const char *const codes[] = {
#define CODE(word) word,
#include "proto/codes.def"
#undef CODE
    };
    char text[48];

    snprintf(text, sizeof text, SLICE_FMT, SLICE_ARG(code));
    CHECK(listed(text, codes, ARRAY_LEN(codes)));
    count(g->fake, text);
}

void *gateway_take(struct gateway *g, size_t bytes)
{
    UNUSED(g);
    return calloc(1, bytes);
}

void gateway_give(void *object)
{
    free(object);
}

void gateway_add(struct gateway *g, unsigned stat, uint64_t n)
{
    g->fake->stats[stat] += n;
}

void gateway_limit(struct gateway *g, enum limit which)
{
    g->fake->limits[which]++;
}

uint32_t gateway_retry_ms(struct gateway *g)
{
    UNUSED(g);
    return 1000;
}

unsigned fake_counted(const struct fake *f, const char *event)
{
    for (unsigned i = 0; i < EVENTS_MAX && f->events[i].name[0]; i++)
        if (strcmp(f->events[i].name, event) == 0)
            return f->events[i].count;
    return 0;
}

unsigned fake_limited(const struct fake *f, enum limit which)
{
    return f->limits[which];
}

uint64_t fake_stat(const struct fake *f, unsigned which)
{
    return f->stats[which];
}

/* ---- messages ----------------------------------------------------------- */

unsigned fake_visit(struct conn *c, struct msg **m, unsigned count,
                    size_t taken)
{
    struct outvec *v = &c->fake->vec;
    unsigned put = 0, begun = 0;
    size_t begin = 0;

    outvec_reset(v);
    while (put < count && outvec_room(v)) {
        unsigned iovs = v->iovs;
        size_t bytes = v->bytes;

        if (c->fake->edge->put(c, m[put], 0, v) == PUT_FULL) {
            outvec_rewind(v, iovs, bytes);
            break;
        }
        outvec_mark(v, ++put);
    }
    /* A message that was begun is finished by the common half. */
    while (begun < put && (taken > begin || v->mark[begun].end <= taken))
        begin = v->mark[begun++].end;
    outvec_copy(v, 0, begin, &c->out);
    if (begun && c->fake->edge->taken)
        c->fake->edge->taken(c, begun);
    if (begun && !c->closing && c->fake->edge->pulled)
        c->fake->edge->pulled(c);
    fake_turn(c->fake);
    return begun;
}

void fake_put(struct conn *c, struct msg *m)
{
    EXPECT_INT(fake_visit(c, &m, 1, SIZE_MAX), 1);
}

void fake_put_flags(struct conn *c, struct msg *m, unsigned flags)
{
    struct outvec *v = &c->fake->vec;

    outvec_reset(v);
    EXPECT_INT(c->fake->edge->put(c, m, flags, v), PUT_OK);
    outvec_copy(v, 0, v->bytes, &c->out);
    fake_turn(c->fake);
}

struct msg *fake_msg(const char *channel, uint64_t seq, uint64_t offset,
                     const char *text)
{
    struct msg_parts p = {
        .format = MSG_TEXT,
        .seq = seq,
        .offset = offset,
        .ts_ms = 1700000000000,
        .id = slice_str(channel),
        .data = slice_str(text),
    };
    struct msg *m = NULL;

    EXPECT_OK(msg_new(&m, &p));
    return m;
}

void fake_notice(struct conn *c, enum notice_kind kind, const char *channel,
                 const char *cursor)
{
    struct slice id = slice_str(channel);
    struct notice n = {.kind = kind,
                       .channels = &id,
                       .count = 1,
                       .cursor = slice_str(cursor)};

    c->fake->edge->notice(c, &n);
    fake_turn(c->fake);
}
