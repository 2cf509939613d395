#include "gateways/common/asks.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "gateways/common/access.h"
#include "gateways/common/core.h"
#include "gateways/common/peer.h"
#include "proto/frame_io.h"

void asks_init(struct asks *a)
{
    list_init(&a->waiting);
    map_init(&a->by_number);
    a->next_number = 1;
    a->bytes = 0;
}

static void ask_free(struct ask *k)
{
    buf_fini(&k->frame);
    free(k);
}

void asks_fini(struct asks *a)
{
    struct list_node *n;

    while ((n = list_pop(&a->waiting)))
        ask_free(CONTAINER_OF(n, struct ask, node));
    map_fini(&a->by_number);
}

static uint32_t number_hash(uint64_t number)
{
    return (uint32_t)((number * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

static struct ask *new_of(struct asks *a, enum ask_kind kind)
{
    struct ask *k = calloc(1, sizeof *k);

    if (!k)
        return NULL;
    k->number = a->next_number++;
    k->kind = (uint8_t)kind;
    k->since_ns = clock_ns();
    if (map_add(&a->by_number, &k->by_number, number_hash(k->number)) < 0) {
        free(k);
        return NULL;
    }
    list_add_tail(&a->waiting, &k->node);
    return k;
}

struct ask *ask_new(struct conn *c, enum ask_kind kind, uint32_t ref)
{
    struct ask *k = new_of(&c->gw->asks, kind);

    if (!k)
        return NULL;
    k->conn = c->number;
    k->gen = conn_gen(c);
    k->ref = ref;
    return k;
}

struct ask *ask_new_page(struct gateway *g)
{
    return new_of(&g->asks, ASK_PAGE);
}

static bool same_number(const struct map_node *n, const void *key)
{
    return CONTAINER_OF(n, struct ask, by_number)->number ==
           *(const uint64_t *)key;
}

struct ask *ask_find(struct gateway *g, uint64_t number)
{
    struct map_node *n = map_find(&g->asks.by_number, number_hash(number),
                                  same_number, &number);

    return n ? CONTAINER_OF(n, struct ask, by_number) : NULL;
}

struct ask *ask_find_ref(struct gateway *g, uint32_t wire_ref)
{
    uint64_t next = g->asks.next_number;
    uint64_t number = (next & ~UINT64_C(0xffffffff)) | wire_ref;

    return ask_find(g, number < next ? number
                                     : number - (UINT64_C(1) << 32));
}

void ask_done(struct gateway *g, struct ask *k)
{
    list_remove(&k->node);
    map_remove(&g->asks.by_number, &k->by_number);
    g->asks.bytes -= k->frame.len;
    ask_free(k);
}

/* The router, in this life of it, has dispatched up to here. */
static uint64_t known_seq(const struct gateway *g)
{
    return MAX(g->seq, g->life_seq);
}

static void transmit(struct gateway *g, struct ask *k)
{
    buf_add(pipe_frame(g->pipe, k->code), buf_slice(&k->frame));
    pipe_frame_end(g->pipe);
    if (!k->sent)
        k->seq = known_seq(g);
    k->sent = true;
}

int ask_send(struct gateway *g, struct ask *k)
{
    g->asks.bytes += k->frame.len;
    if (k->frame.failed) {
        ask_done(g, k);
        return ERR_NOMEM;
    }
    if (g->linked)
        transmit(g, k);
    return 0;
}

/* The flags of a PUBLISH or ACT stand behind number, conn and gen. */
enum { FLAGS_AT = 8 + 4 + 4 };

static bool may_be_taken(const struct ask *k)
{
    return k->sent && (k->kind == ASK_PUBLISH || k->kind == ASK_ACT);
}

uint64_t asks_seq(const struct gateway *g)
{
    uint64_t seq = known_seq(g);

    LIST_FOREACH(k, &g->asks.waiting, struct ask, node)
        if (may_be_taken(k))
            seq = MIN(seq, k->seq);
    return seq;
}

void asks_resend(struct gateway *g)
{
    LIST_FOREACH(k, &g->asks.waiting, struct ask, node) {
        if (may_be_taken(k)) {
            CHECK(k->frame.len > FLAGS_AT);
            k->frame.ptr[FLAGS_AT] |= PUBLISH_RESENT;
            stat_add(&g->stats, STAT_PUBLISH_RESENT, 1);
        }
        transmit(g, k);
    }
}

/* The router did not come back in time. */
static void give_up(struct gateway *g, struct ask *k)
{
    struct conn *c = conn_by_name(g, k->conn, k->gen);
    bool unknown = may_be_taken(k);
    struct slice text = unknown
        ? SLICE("the router went away before it answered; the message may or "
                "may not have been taken")
        : SLICE("the router cannot be reached; nothing has happened");
    struct published p = {
        .status = unknown ? PUBLISHED_UNKNOWN : PUBLISHED_UNAVAILABLE,
        .code = unknown ? SLICE("publish.unknown") : SLICE("router.away"),
        .text = text,
    };

    if (k->kind == ASK_PUBLISH || k->kind == ASK_ACT) {
        gateway_limit(g, LIMIT_PUBLISH_WAIT);
        stat_add(&g->stats,
                 unknown ? STAT_PUBLISH_UNKNOWN : STAT_PUBLISH_REFUSED, 1);
    }
    if (c && c->state == CONN_OPEN) {
        if (k->kind == ASK_FETCH)
            g->edge->page_end(c, k->ref, ERR_BUSY, false, 0);
        else if (k->kind == ASK_QUERY)
            g->edge->answered(c, k->ref, PUBLISHED_UNAVAILABLE, false, text,
                              0);
        else
            g->edge->published(c, k->ref, &p);
    }
    ask_done(g, k);
}

void asks_expire(struct gateway *g, int64_t now_ns)
{
    int64_t wait = g->config->limits.publish_wait;

    if (g->linked)
        return;
    LIST_FOREACH_SAFE(k, next, &g->asks.waiting, struct ask, node)
        if (k->kind != ASK_PAGE && now_ns - k->since_ns > wait &&
            now_ns - g->unlinked_ns > wait)
            give_up(g, k);
}

/* ---- asked by edges ---------------------------------------------------- */

static int refuse(struct refusal *why, enum publish_status status,
                  const char *code, const char *text)
{
    why->status = status;
    why->code = code;
    snprintf(why->text, sizeof why->text, "%s", text);
    return ERR_DENIED;
}

static struct ask *may_ask(struct conn *c, enum ask_kind kind, uint32_t ref,
                           enum frame_code code, struct refusal *why)
{
    struct gateway *g = c->gw;
    struct ask *k;

    if (g->asks.bytes > g->config->limits.link_queue) {
        gateway_limit(g, LIMIT_LINK_QUEUE);
        (void)refuse(why, PUBLISHED_UNAVAILABLE, "router.busy",
                     "too much is waiting for the router; try again later");
        return NULL;
    }
    k = ask_new(c, kind, ref);
    if (!k) {
        (void)refuse(why, PUBLISHED_UNAVAILABLE, "server.memory",
                     "the server is out of memory; try again later");
        return NULL;
    }
    k->code = (uint8_t)code;
    return k;
}

/* What could not be written was too long for its field, or for the memory. */
static int send_or_refuse(struct gateway *g, struct ask *k,
                          struct refusal *why)
{
    if (ask_send(g, k) == 0)
        return 0;
    return refuse(why, PUBLISHED_UNAVAILABLE, "server.memory",
                  "the server is out of memory; try again later");
}

static int count_refused(struct conn *c, int rc)
{
    if (rc < 0)
        stat_add(&c->gw->stats, STAT_PUBLISH_REFUSED, 1);
    return rc;
}

/* By where it goes, and by how often its address publishes. */
static int check_door(struct conn *c, struct slice channel,
                      struct refusal *why)
{
    struct gateway *g = c->gw;
    struct address who;
    int rc = access_may_publish(c, channel, why);

    if (rc < 0 || !g->config->limits.publish_rate)
        return rc;
    who = conn_peer_address(c);
    if (door_may_publish(g->door, &who, clock_ns()))
        return 0;
    gateway_limit(g, LIMIT_PUBLISH_RATE);
    return refuse(why, PUBLISHED_TOO_MANY, "publish.rate",
                  "your address publishes more often than limits.publish_rate "
                  "allows; try again in a second");
}

static int check_publish(struct conn *c, const struct publish *p,
                         struct refusal *why)
{
    const char *problem = id_problem(p->channel);

    if (problem)
        return refuse(why, PUBLISHED_BAD, "channel.bad", problem);
    if (p->data.len > c->gw->config->limits.message) {
        gateway_limit(c->gw, LIMIT_MESSAGE);
        return refuse(why, PUBLISHED_TOO_BIG, "message.big",
                      "the message is longer than limits.message allows");
    }
    return check_door(c, p->channel, why);
}

void conn_group(struct conn *c, bool begins)
{
    pipe_hold(c->gw->pipe, begins);
}

int conn_publish(struct conn *c, const struct publish *p, uint32_t ref,
                 struct refusal *why)
{
    struct frame_publish f = {
        .conn = c->number,
        .gen = conn_gen(c),
        .flags = p->more ? PUBLISH_MORE : 0,
        .format = (uint8_t)p->format,
        .id = p->channel,
        .from = p->from,
        .kind = p->kind,
        .key = p->key,
        .idempotency = p->idempotency,
        .data = p->data,
    };
    struct ask *k;
    int rc = count_refused(c, check_publish(c, p, why));

    if (rc < 0)
        return rc;
    k = may_ask(c, ASK_PUBLISH, ref, FRAME_PUBLISH, why);
    if (!k)
        return count_refused(c, ERR_DENIED);
    f.number = k->number;
    frame_write_publish(&k->frame, &f);
    return send_or_refuse(c->gw, k, why);
}

int conn_act(struct conn *c, const char *verb, struct slice channel,
             struct slice from, struct slice args, uint32_t ref,
             struct refusal *why)
{
    struct frame_act f = {
        .conn = c->number,
        .gen = conn_gen(c),
        .verb = slice_str(verb),
        .from = from,
        .args = args,
    };
    struct ask *k;
    int rc = count_refused(c, check_door(c, channel, why));

    if (rc < 0)
        return rc;
    k = may_ask(c, ASK_ACT, ref, FRAME_ACT, why);
    if (!k)
        return count_refused(c, ERR_DENIED);
    f.number = k->number;
    frame_write_act(&k->frame, &f);
    return send_or_refuse(c->gw, k, why);
}

int conn_fetch(struct conn *c, const struct fetch *want, uint32_t ref,
               struct refusal *why)
{
    struct frame_fetch f = {
        .mode = (uint8_t)want->mode,
        .after = want->after,
        .upto = want->upto,
        .limit = want->limit,
        .bytes = want->bytes,
        .count = (uint16_t)want->count,
    };
    struct ask *k;

    for (unsigned i = 0; i < want->count; i++)
        if (pattern_problem(want->channels[i]))
            return refuse(why, PUBLISHED_BAD, "channel.bad",
                          pattern_problem(want->channels[i]));
    k = may_ask(c, ASK_FETCH, ref, FRAME_FETCH, why);
    if (!k)
        return ERR_DENIED;
    f.ref = (uint32_t)k->number;
    frame_write_fetch(&k->frame, &f);
    for (unsigned i = 0; i < want->count; i++)
        frame_write_id(&k->frame, want->channels[i]);
    return send_or_refuse(c->gw, k, why);
}

int conn_query(struct conn *c, const char *verb, struct slice args,
               uint32_t ref, struct refusal *why)
{
    struct ask *k = may_ask(c, ASK_QUERY, ref, FRAME_QUERY, why);
    struct frame_query f = {.verb = slice_str(verb), .args = args};

    if (!k)
        return ERR_DENIED;
    f.ref = (uint32_t)k->number;
    frame_write_query(&k->frame, &f);
    return send_or_refuse(c->gw, k, why);
}
