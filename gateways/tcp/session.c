#include "gateways/tcp/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "gateways/common/gateway.h"
#include "gateways/tcp/print.h"
#include "gateways/tcp/verbs.h"
#include "proto/names.h"

/* Output that waits for a client which goes on asking. */
enum { OUT_ENOUGH = 64 * 1024 };

/* One publication. While others in front of it wait, its answer is text. */
struct answer {
    struct list_node node; /* session.answers */
    uint32_t ref;
    bool done;
    const struct verb *verb;
    struct buf text;
};

/* ---- made and freed ---------------------------------------------------- */

struct tcp *tcp_of(struct conn *c)
{
    return conn_edge(c);
}

/* Nothing becomes of the line at hand. What was published before has its own
 * answer, in front of this one: it may have been taken. */
static void no_memory(struct conn *c)
{
    struct session *s = tcp_of(c)->session;

    if (s && s->unanswered) {
        s->ending = s->starved = true;
        s->word = "memory";
        return;
    }
    tcp_error(c, "server.memory", "the server is out of memory");
    conn_close(c, "memory");
}

struct session *session_get(struct conn *c)
{
    struct tcp *t = tcp_of(c);
    struct session *s = t->session;

    if (s)
        return s;
    s = calloc(1, sizeof *s);
    if (!s) {
        no_memory(c);
        return NULL;
    }
    list_init(&s->answers);
    t->session = s;
    return s;
}

static void answer_free(struct answer *a)
{
    list_remove(&a->node);
    buf_fini(&a->text);
    free(a);
}

void session_free(struct conn *c)
{
    struct tcp *t = tcp_of(c);
    struct session *s = t->session;
    struct list_node *n;

    if (!s)
        return;
    while ((n = list_first(&s->answers)))
        answer_free(CONTAINER_OF(n, struct answer, node));
    buf_fini(&s->subject);
    buf_fini(&s->held);
    free(s);
    t->session = NULL;
}

struct slice session_name(struct conn *c)
{
    const struct session *s = tcp_of(c)->session;

    return s ? slice_make(s->name, s->name_len) : slice_make(NULL, 0);
}

/* ---- answers ----------------------------------------------------------- */

/* Into b, which is for c; counted. */
static void print_error(struct conn *c, struct buf *b, struct slice code,
                        struct slice text)
{
    gateway_refused(conn_gateway(c), code);
    buf_add_str(b, "ERROR ");
    print_safe(b, code, " \n");
    buf_add_str(b, ": ");
    print_safe(b, text, "\n");
    buf_add_str(b, "\r\n");
}

void tcp_refused(struct conn *c, struct slice code, struct slice text)
{
    print_error(c, conn_out(c), code, text);
}

void tcp_error(struct conn *c, const char *code, const char *fmt, ...)
{
    struct buf text = BUF_INIT;
    va_list args;

    va_start(args, fmt);
    buf_addv(&text, fmt, args);
    va_end(args);
    tcp_refused(c, slice_str(code), buf_slice(&text));
    buf_fini(&text);
}

uint32_t session_publication(struct conn *c, const struct verb *v)
{
    struct session *s = session_get(c);
    struct answer *a = s ? calloc(1, sizeof *a) : NULL;

    if (s && !a)
        no_memory(c);
    if (!a)
        return 0;
    a->verb = v;
    a->ref = tcp_ref(c);
    list_add_tail(&s->answers, &a->node);
    s->unanswered++;
    return a->ref;
}

static struct answer *find_answer(struct session *s, uint32_t ref)
{
    LIST_FOREACH(a, &s->answers, struct answer, node)
        if (a->ref == ref)
            return a;
    return NULL;
}

/* Everything up to the first one that is still waited for. */
static void say_answers(struct conn *c, struct session *s)
{
    struct list_node *n;

    while ((n = list_first(&s->answers))) {
        struct answer *a = CONTAINER_OF(n, struct answer, node);

        if (!a->done)
            return;
        buf_add(conn_out(c), buf_slice(&a->text));
        conn_out(c)->failed |= a->text.failed;
        s->unanswered--;
        answer_free(a);
    }
}

static void print_published(struct conn *c, struct answer *a,
                            const struct published *p)
{
    char cursor[CURSOR_TEXT_MAX];
    size_t len = position_format(cursor, gateway_epoch(conn_gateway(c)),
                                 p->seq);

    buf_addf(&a->text, "OK %s ", a->verb->name);
    buf_add(&a->text, p->channel);
    buf_add_byte(&a->text, ' ');
    buf_add(&a->text, slice_make(cursor, len));
    buf_addf(&a->text, " reached=%u\r\n", (unsigned)p->reached);
}

void session_published(struct conn *c, uint32_t ref,
                       const struct published *p)
{
    struct session *s = tcp_of(c)->session;
    struct answer *a = s ? find_answer(s, ref) : NULL;

    if (!a)
        return;
    if (p->status == PUBLISHED_OK || p->status == PUBLISHED_DUPLICATE)
        print_published(c, a, p);
    else
        print_error(c, &a->text, p->code, p->text);
    a->done = true;
    say_answers(c, s);
    session_settle(c);
}

/* Said by whoever takes the line, which settles the session afterwards. */
void session_refused(struct conn *c, uint32_t ref, const struct refusal *why)
{
    struct session *s = tcp_of(c)->session;
    struct answer *a = find_answer(s, ref);

    print_error(c, &a->text, slice_str(why->code),
                slice_str(why->text));
    a->done = true;
    say_answers(c, s);
}

/* ---- verbs that take their time ---------------------------------------- */

uint32_t session_begin(struct conn *c, const struct verb *v,
                       struct slice channel)
{
    struct session *s = session_get(c);

    if (!s)
        return 0;
    buf_reset(&s->subject);
    buf_add(&s->subject, channel);
    if (s->subject.failed) {
        no_memory(c);
        return 0;
    }
    s->busy = v;
    s->rows = 0;
    s->unknown = s->subscribes = false;
    s->added = conn_channels(c) > 0;
    s->busy_ref = tcp_ref(c);
    return s->busy_ref;
}

void session_done(struct conn *c)
{
    struct session *s = tcp_of(c)->session;

    if (!s || !s->busy)
        return;
    s->busy = NULL;
    buf_fini(&s->subject);
    session_settle(c);
}

const struct verb *session_busy(struct conn *c, uint32_t ref)
{
    const struct session *s = tcp_of(c)->session;

    return s && s->busy && s->busy_ref == ref ? s->busy : NULL;
}

/* ---- order ------------------------------------------------------------- */

bool session_ready(struct conn *c)
{
    const struct session *s = tcp_of(c)->session;

    if (conn_closing(c) || conn_out_pending(c) > OUT_ENOUGH)
        return false;
    return !s || (!s->busy && !s->is_held && !s->ending &&
                  s->unanswered < PIPELINE_MAX);
}

bool session_hold(struct conn *c, enum line_event event, struct slice line)
{
    struct session *s = tcp_of(c)->session;

    if (!s || s->unanswered == 0)
        return false;
    buf_add(&s->held, line);
    if (s->held.failed) {
        buf_fini(&s->held);
        no_memory(c);
        return true;
    }
    s->is_held = true;
    s->held_event = event;
    return true;
}

/* The line that was held back, now that nothing is in front of it. */
static void run_held(struct conn *c, struct session *s)
{
    struct buf line = s->held;
    enum line_event event = s->held_event;

    s->is_held = false;
    buf_init(&s->held);
    verbs_take(c, event, buf_slice(&line));
    buf_fini(&line);
}

static bool is_idle(const struct session *s)
{
    return !s->busy && !s->is_held && s->unanswered == 0;
}

/* ---- a successor takes over -------------------------------------------- */

FROZEN_SIZE(struct session, 208);

enum frozen_session {
    FROZEN_BUSY = 1u << 0,
    FROZEN_ADDED = 1u << 1,
    FROZEN_UNKNOWN = 1u << 2,
    FROZEN_ENDING = 1u << 3,
    FROZEN_KICKED = 1u << 4,
    FROZEN_SUBSCRIBES = 1u << 5,
    FROZEN_SESSION_FLAGS = (1u << 6) - 1,
};

const char *const session_kicked = "an operator closed this connection";

/* What asks the router is no verb that subscribes, and would be waited for
 * (freeze.h); one that ends ends when it is idle. */
bool session_at_rest(const struct session *s)
{
    return !s || (!s->is_held && s->unanswered == 0 &&
                  (s->busy || !s->ending));
}

static unsigned frozen_flags(const struct session *s)
{
    return (s->busy ? FROZEN_BUSY : 0u) | (s->added ? FROZEN_ADDED : 0u) |
           (s->unknown ? FROZEN_UNKNOWN : 0u) |
           (s->ending ? FROZEN_ENDING : 0u) |
           (s->farewell ? FROZEN_KICKED : 0u) |
           (s->busy && s->subscribes ? FROZEN_SUBSCRIBES : 0u);
}

void session_freeze(struct conn *c, struct buf *b)
{
    const struct session *s = tcp_of(c)->session;

    put_u8(b, s ? (uint8_t)frozen_flags(s) : 0);
    put_str8(b, session_name(c));
    if (!s || !s->busy)
        return;
    put_str8(b, slice_str(s->busy->name));
    put_u32(b, s->busy_ref);
    put_u32(b, s->rows);
    put_str8(b, buf_slice(&s->subject));
}

static int busy_thaw(struct session *s, struct cursor *in)
{
    struct slice subject;

    s->busy = verb_named(cursor_str8(in));
    s->busy_ref = cursor_u32(in);
    s->rows = cursor_u32(in);
    subject = cursor_str8(in);
    if (in->failed || !s->busy || !s->busy_ref)
        return ERR_FRAME;
    buf_add(&s->subject, subject);
    return s->subject.failed ? ERR_NOMEM : 0;
}

int session_thaw(struct conn *c, struct cursor *in)
{
    uint8_t flags = cursor_u8(in);
    struct slice name = cursor_str8(in);
    struct session *s;

    if (in->failed || (flags & ~(unsigned)FROZEN_SESSION_FLAGS) ||
        (name.len && !name_valid(name)) ||
        ((flags & FROZEN_ENDING) && !(flags & FROZEN_BUSY)))
        return ERR_FRAME;
    if (!name.len && !(flags & FROZEN_BUSY))
        return 0;
    s = tcp_of(c)->session = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    list_init(&s->answers);
    s->name_len = (uint8_t)name.len;
    if (name.len)
        memcpy(s->name, name.ptr, name.len);
    s->added = flags & FROZEN_ADDED;
    s->unknown = flags & FROZEN_UNKNOWN;
    s->ending = flags & FROZEN_ENDING;
    s->farewell = flags & FROZEN_KICKED ? session_kicked : NULL;
    s->word = s->farewell ? "server" : "client";
    s->subscribes = flags & FROZEN_SUBSCRIBES;
    return flags & FROZEN_BUSY ? busy_thaw(s, in) : 0;
}

/* ---- the end ----------------------------------------------------------- */

static void say_closing(struct conn *c, const char *text)
{
    struct notice n = {.kind = NOTICE_CLOSING, .text = text};

    if (conn_channels(c))
        n.cursor = conn_cursor(c);
    print_notice(conn_out(c), &n);
}

static void say_goodbye(struct conn *c, const struct session *s)
{
    if (s->starved)
        tcp_error(c, "server.memory", "the server is out of memory");
    if (s->farewell)
        say_closing(c, s->farewell);
    conn_close(c, s->word);
}

void session_end(struct conn *c, const char *word, const char *farewell)
{
    struct session *s = session_get(c);

    if (!s)
        return;
    if (farewell || !s->ending) {
        s->word = word;
        s->farewell = farewell;
    }
    s->ending = true;
    session_settle(c);
}

/* Of the verb under way, if there is one, nothing more comes. */
static void drop_lines(struct conn *c, struct session *s,
                       const struct give_up *why)
{
    if (s->busy)
        tcp_refused(c, slice_str(why->code), slice_str(why->text));
    s->busy = NULL;
    buf_fini(&s->subject);
    s->is_held = false;
    buf_fini(&s->held);
}

void session_give_up(struct conn *c, const struct give_up *why)
{
    struct session *s = session_get(c);
    struct tcp *t = tcp_of(c);

    if (!s || conn_closing(c))
        return;
    drop_lines(c, s, why);
    free(t->watch);
    t->watch = NULL;
    say_closing(c, why->text);
    s->ending = true;
    s->word = why->word;
    s->farewell = NULL;
    session_settle(c);
}

void session_settle(struct conn *c)
{
    struct session *s = tcp_of(c)->session;

    if (s && s->is_held && !s->busy && s->unanswered == 0)
        run_held(c, s);
    s = tcp_of(c)->session;
    if (conn_closing(c))
        return;
    if (s && s->ending && is_idle(s)) {
        say_goodbye(c, s);
        return;
    }
    if (conn_out_pending(c) > OUT_ENOUGH)
        conn_want_drained(c);
    conn_pause_input(c, !session_ready(c));
    if (s && is_idle(s) && !s->ending && s->name_len == 0)
        session_free(c);
}
