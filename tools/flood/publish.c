#include "tools/flood/publish.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "proto/mark.h"
#include "tools/flood/answer.h"
#include "tools/flood/mqtt.h"

/* What may wait for a server that takes nothing: then it waits unsent, and is
 * late. */
enum { PENDING_MAX = 64 * 1024 * 1024, READ_BYTES = 64 * 1024, EVENTS = 64,
       NAP_MS = 20 };

struct sender {
    int fd;
    struct buf out;
    size_t sent;         /* of out */
    uint64_t unanswered; /* of what has been put into out */
    uint64_t n;          /* which of the targets */
    bool ready;          /* it may publish */
    struct answer answer;
    struct buf in; /* a head in part */
};

struct publisher {
    const struct plan *plan;
    struct stage *stage;
    struct sender *senders;
    size_t count;
    int epoll_fd;
    uint64_t *numbers; /* by id: the last one given */
    struct chance chance;
    uint64_t made;     /* messages so far */
    int64_t begun_ns, begun_us;
};

static void add(_Atomic uint64_t *to, uint64_t by)
{
    atomic_fetch_add_explicit(to, by, memory_order_relaxed);
}

/* ---- what is said ---------------------------------------------------------- */

static void fill_body(const struct plan *plan, struct template_values *v,
                      struct buf *body)
{
    template_fill(&plan->body, v, body);
    while (body->len < plan->settings->size && !body->failed)
        buf_add_byte(body, '.');
    v->body = buf_slice(body);
}

static void add_post(const struct plan *plan, const struct template_values *v,
                     struct buf *out)
{
    char host[ENDPOINT_TEXT_MAX];

    endpoint_text(&plan->publish_targets.at[0], host);
    buf_add_str(out, "POST ");
    template_fill(&plan->publish_path, v, out);
    buf_addf(out, " HTTP/1.1\r\nHost: %s\r\nContent-Length: %zu\r\n", host,
             v->body.len);
    template_fill(&plan->publish_header, v, out);
    buf_add_str(out, "\r\n");
    buf_add(out, v->body);
}

void publish_message(const struct plan *plan, uint64_t i, uint64_t number,
                     int64_t t_us, struct buf *out)
{
    struct buf name = BUF_INIT, mark = BUF_INIT, body = BUF_INIT;
    struct template_values v = { .id = ids_name(&plan->ids, i, &name),
                                 .cursor = SLICE("0"), .n = i };

    mark_add(&mark, (struct mark){ number, t_us });
    v.mark = buf_slice(&mark);
    fill_body(plan, &v, &body);
    switch (plan->publish_how) {
    case PUBLISH_LINE:
        template_fill(&plan->publish_line, &v, out);
        break;
    case PUBLISH_MQTT:
        mqtt_add_publish(out, v.id, v.body, number);
        break;
    case PUBLISH_POST:
        add_post(plan, &v, out);
        break;
    }
    out->failed = out->failed || body.failed || mark.failed || name.failed;
    buf_fini(&name);
    buf_fini(&mark);
    buf_fini(&body);
}

/* ---- answers ---------------------------------------------------------------- */

static void on_answer(struct publisher *p, struct sender *s, bool is_good)
{
    add(&p->stage->answered, 1);
    s->unanswered -= s->unanswered > 0;
    add(&p->stage->refused, !is_good);
}

static void on_post_answered(struct publisher *p, struct sender *s)
{
    on_answer(p, s, s->answer.status >= 200 && s->answer.status <= 299);
    s->answer = (struct answer){ .phase = ANSWER_HEAD };
}

/* How much of the input is done with; the rest is a head in part. */
static size_t hear_http(struct publisher *p, struct sender *s,
                        struct slice in)
{
    size_t at = 0, used = 1;

    while (at < in.len && used) {
        uint8_t *from = s->in.ptr + at;

        if (s->answer.phase == ANSWER_HEAD) {
            if (answer_head(&s->answer, slice_from(in, at), &used) < 0)
                return in.len;
        } else {
            answer_body(&s->answer, from, in.len - at, from, &used, false);
            if (s->answer.phase == ANSWER_BROKEN)
                return in.len;
        }
        at += used;
        if (s->answer.phase == ANSWER_OVER)
            on_post_answered(p, s);
    }
    return at;
}

/* What a server says against something begins with one of these. */
static bool is_refusal(struct slice line)
{
    return slice_starts(line, SLICE("-")) || slice_starts(line, SLICE("ERR"));
}

static void on_line(struct publisher *p, struct sender *s, struct slice line)
{
    struct slice ready = buf_slice(&p->plan->publish_ready);
    bool bad = is_refusal(line);

    if (!s->ready)
        s->ready = memmem(line.ptr, line.len, ready.ptr, ready.len) != NULL;
    else if (bad || slice_starts(line, buf_slice(&p->plan->publish_answer)))
        on_answer(p, s, !bad);
}

static size_t hear_lines(struct publisher *p, struct sender *s,
                         struct slice in)
{
    struct slice rest = in, line = in;

    while (rest.ptr) {
        line = slice_split(&rest, '\n');
        if (!rest.ptr)
            break;
        on_line(p, s, line);
    }
    return in.len - line.len;
}

static size_t hear_packets(struct publisher *p, struct sender *s,
                           struct slice in)
{
    struct mqtt_packet packet;
    size_t at = 0;
    int n;

    while ((n = mqtt_read(slice_from(in, at), &packet)) > 0) {
        at += (size_t)n;
        s->ready = s->ready || packet.kind == MQTT_CONNECTED;
        if (packet.kind == MQTT_PUBLISHED || packet.kind == MQTT_REFUSED)
            on_answer(p, s, packet.kind == MQTT_PUBLISHED);
    }
    return n < 0 ? in.len : at;
}

static size_t hear_input(struct publisher *p, struct sender *s)
{
    switch (p->plan->publish_how) {
    case PUBLISH_LINE:
        return hear_lines(p, s, buf_slice(&s->in));
    case PUBLISH_MQTT:
        return hear_packets(p, s, buf_slice(&s->in));
    case PUBLISH_POST:
        break;
    }
    return hear_http(p, s, buf_slice(&s->in));
}

/* False: the connection is over. */
static bool hear(struct publisher *p, struct sender *s)
{
    for (;;) {
        uint8_t *to = buf_reserve(&s->in, READ_BYTES);
        ssize_t n = to ? recv(s->fd, to, READ_BYTES, MSG_DONTWAIT) : -1;

        if (n <= 0)
            return n < 0 && errno == EAGAIN;
        s->in.len += (size_t)n;
        buf_drop_front(&s->in, hear_input(p, s));
    }
}

/* ---- sending ---------------------------------------------------------------- */

static bool push(struct sender *s)
{
    while (s->sent < s->out.len) {
        ssize_t n = send(s->fd, s->out.ptr + s->sent, s->out.len - s->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0)
            return errno == EAGAIN;
        s->sent += (size_t)n;
    }
    buf_reset(&s->out);
    s->sent = 0;
    return true;
}

/* An id's messages go over one connection: over two they would have no order. */
static void make_one(struct publisher *p, uint64_t id, int64_t due_us)
{
    struct sender *s = &p->senders[id % p->count];

    publish_message(p->plan, id, ++p->numbers[id], due_us, &s->out);
    p->made++;
    s->unanswered++;
    add(&p->stage->due, atomic_load(&p->stage->audience[id]));
    add(&p->stage->published, 1);
    atomic_store(&p->stage->publishing_us,
                 (uint64_t)((clock_ns() - p->begun_ns) / MICROSECOND));
}

/* When the n-th message is due, behind the beginning. */
static int64_t due_ns(const struct publisher *p, uint64_t n)
{
    const struct settings *s = p->plan->settings;

    return (int64_t)((double)(n - n % s->burst) / (double)s->publish
                     * (double)SECOND);
}

static bool all_made(const struct publisher *p)
{
    uint64_t most = p->plan->settings->messages;

    return (most && p->made >= most) || stage_phase(p->stage) >= PHASE_DRAIN;
}

static size_t pending(const struct publisher *p)
{
    size_t n = 0;

    for (size_t i = 0; i < p->count; i++)
        n += p->senders[i].out.len - p->senders[i].sent;
    return n;
}

static void note_late(struct publisher *p, int64_t late_ns)
{
    uint64_t late = (uint64_t)(MAX(late_ns, 0) / MICROSECOND);

    if (late > atomic_load(&p->stage->late_us))
        atomic_store(&p->stage->late_us, late);
}

static void make_due(struct publisher *p)
{
    int64_t passed = clock_ns() - p->begun_ns, due;

    while (!all_made(p) && (due = due_ns(p, p->made)) <= passed
           && pending(p) < PENDING_MAX) {
        note_late(p, passed - due);
        make_one(p, ids_pick(&p->plan->ids, &p->chance, p->made),
                 p->begun_us + due / MICROSECOND);
    }
}

/* One of those that go over this connection; false: there is none. */
static bool pick_own(struct publisher *p, const struct sender *s, uint64_t *id)
{
    uint64_t any = ids_pick(&p->plan->ids, &p->chance, p->made);

    *id = any - any % p->count + s->n;
    if (*id >= p->plan->ids.count)
        *id = s->n;
    return *id < p->plan->ids.count;
}

/* --window: as many as there is room for. */
static void make_more(struct publisher *p)
{
    uint64_t id;

    for (size_t i = 0; i < p->count; i++)
        while (!all_made(p)
               && p->senders[i].unanswered < p->plan->settings->window
               && pick_own(p, &p->senders[i], &id))
            make_one(p, id, mark_now_us());
}

/* ---- its life ----------------------------------------------------------------- */

/* What is said before anything is published. */
static void greet(const struct publisher *p, struct sender *s)
{
    struct template_values v = { .n = s->n };
    char name[40];

    s->ready = p->plan->publish_how == PUBLISH_POST
               || (p->plan->publish_how == PUBLISH_LINE
                   && !p->plan->publish_ready.len);
    if (p->plan->publish_how == PUBLISH_MQTT) {
        snprintf(name, sizeof name, "publisher-%" PRIu64, s->n);
        mqtt_add_connect(&s->out, slice_str(name));
    } else if (p->plan->publish_how == PUBLISH_LINE) {
        template_fill(&p->plan->publish_hello, &v, &s->out);
    }
}

static bool all_ready(const struct publisher *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (!p->senders[i].ready)
            return false;
    return true;
}

static int open_sender(struct publisher *p, struct sender *s)
{
    const struct targets *t = &p->plan->publish_targets;
    const struct endpoint *to = &t->at[s->n % t->count];
    struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET,
                             .data.ptr = s };

    s->fd = socket(to->addr.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || connect(s->fd, &to->addr.any, to->len) < 0
        || epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, s->fd, &e) < 0)
        return ERR_IO;
    greet(p, s);
    return 0;
}

static int open_all(struct publisher *p, const char **why)
{
    int rc = 0;

    p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    p->senders = calloc(p->count, sizeof *p->senders);
    p->numbers = calloc(p->plan->ids.count, sizeof *p->numbers);
    if (!p->senders || !p->numbers)
        rc = ERR_NOMEM;
    for (size_t i = 0; i < p->count && rc == 0; i++) {
        p->senders[i].n = i;
        rc = open_sender(p, &p->senders[i]);
    }
    *why = rc == ERR_IO ? strerror(errno) : rc < 0 ? err_text(rc) : "";
    return rc;
}

static void close_all(struct publisher *p)
{
    for (size_t i = 0; p->senders && i < p->count; i++) {
        if (p->senders[i].fd > 0)
            close(p->senders[i].fd);
        buf_fini(&p->senders[i].out);
        buf_fini(&p->senders[i].in);
    }
    close(p->epoll_fd);
    free(p->senders);
    free(p->numbers);
}

/* A server may end a connection after so many answers. Where one is missing,
 * nobody knows whether that message has been taken. */
static bool hear_or_open(struct publisher *p, struct sender *s)
{
    if (hear(p, s))
        return true;
    if (s->unanswered || p->plan->publish_how != PUBLISH_POST)
        return false;
    close(s->fd);
    s->answer = (struct answer){ .phase = ANSWER_HEAD };
    buf_reset(&s->in);
    return open_sender(p, s) == 0;
}

/* Until the next one is due, or something has come. */
static bool wait_and_hear(struct publisher *p)
{
    struct epoll_event events[EVENTS];
    int64_t left = NAP_MS * MILLISECOND;
    struct timespec t;
    int n;

    if (p->begun_ns && !all_made(p) && !p->plan->settings->window)
        left = MIN(left, p->begun_ns + due_ns(p, p->made) - clock_ns());
    left = MAX(left, 0);
    t = (struct timespec){ .tv_nsec = left };
    n = epoll_pwait2(p->epoll_fd, events, EVENTS, &t, NULL);
    for (int i = 0; i < n; i++)
        if (!hear_or_open(p, events[i].data.ptr))
            return false;
    return true;
}

static bool push_all(struct publisher *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (!push(&p->senders[i]))
            return false;
    return true;
}

/* Begins when all is up. False: the server does not let it. */
static bool begin(struct publisher *p, int64_t *since_ns)
{
    int64_t now = clock_ns();

    if (stage_phase(p->stage) < PHASE_HOLD)
        return true;
    if (!*since_ns)
        *since_ns = now;
    if (!all_ready(p))
        return now - *since_ns < p->plan->settings->wait;
    p->begun_ns = now;
    p->begun_us = mark_now_us();
    return true;
}

int publish_run(const struct plan *plan, struct stage *stage,
                const char **why)
{
    struct publisher p = { .plan = plan, .stage = stage,
                           .count = plan->settings->publishers };
    int rc = open_all(&p, why);
    int64_t since_ns = 0;

    chance_init(&p.chance, plan->settings->seed * 31 + 7);
    prctl(PR_SET_TIMERSLACK, 1);
    while (rc == 0 && stage_phase(stage) < PHASE_CLOSE) {
        if (!p.begun_ns && !begin(&p, &since_ns)) {
            *why = "the server did not say what --publish-ready waits for";
            rc = ERR_CLOSED;
        }
        if (p.begun_ns && plan->settings->window)
            make_more(&p);
        else if (p.begun_ns)
            make_due(&p);
        if (rc == 0 && (!push_all(&p) || !wait_and_hear(&p))) {
            *why = "the server closed a connection that owes answers (nginx: "
                   "keepalive_requests)";
            rc = ERR_CLOSED;
        }
        if (p.begun_ns && all_made(&p) && pending(&p) == 0)
            atomic_store(&stage->published_all, true);
    }
    close_all(&p);
    return rc;
}
