/* subscribe.c - the checks in front of a subscription, and its end. */
#include <stdio.h>

#include "base/err.h"
#include "gateways/common/catchup.h"
#include "gateways/common/core.h"
#include "gateways/common/deliver.h"
#include "gateways/common/pull.h"
#include "gateways/common/verdict.h"

static int refuse(struct conn *c, struct refusal *why,
                  enum publish_status status, const char *code,
                  const char *text)
{
    stat_add(&c->gw->stats, STAT_SUBSCRIBE_REFUSED, 1);
    why->status = status;
    why->retry_ms = 0;
    why->code = code;
    snprintf(why->text, sizeof why->text, "%s", text);
    return ERR_DENIED;
}

static int check_channel(struct conn *c, struct slice id, unsigned *patterns,
                         struct refusal *why)
{
    const char *problem = pattern_problem(id);

    if (problem)
        return refuse(c, why, PUBLISHED_BAD, "channel.bad", problem);
    *patterns += id_is_pattern(id);
    return 0;
}

/* Channels that it holds already count twice here; nobody subscribes again
 * at the very limit. */
static int check_limits(struct conn *c, unsigned channels, unsigned patterns,
                        struct refusal *why)
{
    const struct config_limits *limits = &c->gw->config->limits;
    unsigned held = conn_busy(c) ? conn_busy(c)->patterns : 0;

    if (c->seats.count + channels > limits->channels_per_connection) {
        gateway_limit(c->gw, LIMIT_CHANNELS_PER_CONNECTION);
        return refuse(c, why, PUBLISHED_TOO_MANY, "channels.many",
                      "too many channels on one connection "
                      "(limits.channels_per_connection)");
    }
    if (held + patterns > limits->patterns_per_connection) {
        gateway_limit(c->gw, LIMIT_PATTERNS_PER_CONNECTION);
        return refuse(c, why, PUBLISHED_TOO_MANY, "patterns.many",
                      "too many patterns on one connection "
                      "(limits.patterns_per_connection)");
    }
    return 0;
}

/* More come than it may let in. */
static int turn_away(struct conn *c, struct refusal *why)
{
    struct gateway *g = c->gw;
    uint32_t ms = admission_slot_ms(&g->admission,
                                    g->config->limits.admit_rate,
                                    loop_now(g->loop));
    char text[sizeof why->text];

    snprintf(text, sizeof text, "too many clients come at once; come again in "
             "%u s", (unsigned)((ms + 999) / 1000));
    (void)refuse(c, why, PUBLISHED_UNAVAILABLE, "busy", text);
    why->retry_ms = ms;
    return ERR_DENIED;
}

int conn_subscribe(struct conn *c, const struct subscribe *s,
                   struct refusal *why)
{
    unsigned patterns = 0;
    int rc;

    if (s->count == 0)
        return refuse(c, why, PUBLISHED_BAD, "channel.missing",
                      "name at least one channel");
    for (unsigned i = 0; i < s->count; i++)
        if ((rc = check_channel(c, s->channels[i], &patterns, why)) < 0)
            return rc;
    rc = check_limits(c, s->count, patterns, why);
    if (rc < 0)
        return rc;
    if (!admission_allows(c, s))
        return turn_away(c, why);
    return start_new(c, s, why);
}

int conn_unsubscribe(struct conn *c, struct slice channel)
{
    struct topic *t;
    struct seat *s;

    if (channel.len == 0) {
        conn_leave_all(c, false);
        return 0;
    }
    t = topics_find(&c->gw->topics, channel);
    s = t ? seat_find(&t->seats, &c->seats) : NULL;
    if (!s)
        return ERR_NOT_FOUND;
    conn_leave(c, s, true);
    if (c->seats.count == 0)
        conn_leave_all(c, false);
    return 0;
}

unsigned conn_channels(const struct conn *c)
{
    return c->seats.count;
}

void conn_list_channels(struct conn *c, struct slice *ret)
{
    struct seat_iter it = seats_of_conn(&c->seats);
    struct seat *s;

    while ((s = seat_next(&it)))
        ret[it.left] = topic_id(topic_of_seat(s));
}

bool conn_begins(const struct conn *c)
{
    return conn_starts(c) != NULL;
}

bool conn_holds(struct conn *c, struct slice channel)
{
    struct topic *t = topics_find(&c->gw->topics, channel);

    return t && seat_find(&t->seats, &c->seats);
}

/* The seq up to which everything came before m. A notice has that of where the
 * link stood: on a fresh store 0, and the first message is yet to come. */
static uint64_t all_before(const struct msg *m)
{
    return m->flags & MSG_NOTICE || m->seq == 0 ? m->seq : m->seq - 1;
}

/* Where its first start begins, once that has a place: what came since is still
 * to be put. */
static uint64_t place_of_start(const struct conn *c)
{
    const struct start *s = conn_starts(c);

    return s && s->state == START_READY ? s->seq : c->gw->seq;
}

/* The seq up to which this connection has everything it holds. */
static uint64_t place(struct conn *c)
{
    struct gateway *g = c->gw;
    const struct ring_entry *e, *next;
    int64_t oldest = 0;
    uint64_t seq;

    if (c->flow == FLOW_PAGING && conn_starts(c))
        return catchup_seq(conn_starts(c));
    if (c->flow != FLOW_LIVE)
        return place_of_start(c);
    if (c->tick >= ring_end(&g->ring))
        return g->seq;
    if (!conn_lags(c) && !(c->flags & CONN_MANY) &&
        pull_pending(c, 0, 0, &oldest) == 0)
        return g->seq;
    e = ring_at(&g->ring, c->tick);
    if (e)
        return e->msg->seq;
    if (thin_place(c, &seq))
        return seq;
    /* The entry at its place has left the ring; what left since was not for
     * it (see deliver_expire). */
    next = ring_at(&g->ring, MAX(c->tick + 1, g->ring.first));
    return next ? MAX(g->ring.gone_seq, all_before(next->msg)) : g->seq;
}

/* While a start is told on a connection that is live, that has come to the place
 * of the start: which is where the link stood, and may be beyond the last message
 * that came for anybody here. The new channel counts from there. */
static uint64_t place_told(struct conn *c)
{
    const struct start *s = conn_starts(c);
    uint64_t seq = place(c);

    return s && s->saying && s->late && c->flow == FLOW_LIVE &&
                   c->tick >= s->tick && !conn_thinned(c)
               ? MAX(seq, s->seq) : seq;
}

/* Has it something to bring that its connection has not got? What has begun
 * anew unasked has a gap to tell. */
static bool is_owed(const struct start *s)
{
    if (s->gone)
        return false;
    if (s->silent && s->has_reason)
        return !s->said;
    return s->has_since && (s->state != START_READY || verdict_resumes(s));
}

/* What a start has still to bring counts as missing, though other channels
 * are further: a cursor is good for all of them. */
struct slice conn_cursor(struct conn *c)
{
    static _Thread_local char text[CURSOR_TEXT_MAX];
    const struct epoch *epoch = &c->gw->epoch;
    uint64_t seq = place_told(c);

    for (const struct start *s = conn_starts(c); s; s = s->next) {
        if (!is_owed(s))
            continue;
        if (s->since.epoch.text[0] && !epoch_equal(&s->since.epoch, epoch)) {
            epoch = &s->since.epoch; /* to be told that it means nothing */
            seq = s->since.seq;
            break;
        }
        seq = MIN(seq, s->state >= START_PAGING ? catchup_seq(s)
                                                : s->since.seq);
    }
    return slice_make(text, position_format(text, epoch, seq));
}

struct slice cursor_of(struct conn *c, const struct msg *m)
{
    static _Thread_local char text[CURSOR_TEXT_MAX];

    return slice_make(text, position_format(text, &c->gw->epoch, m->seq));
}
