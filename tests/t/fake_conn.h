/* fake_conn.h - conn.h and gateway.h played by the test: what an edge writes
 * goes to memory, what it asks is recorded, time passes by hand.
 *
 *     struct fake *f = fake_new(&http_edge, NULL);
 *     struct conn *c = fake_connect(f);
 *     fake_send(c, SLICE("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"));
 *     EXPECT_CONTAINS(fake_text(c), "alive");
 *     fake_free(f);
 *
 * A connection stays readable after it has closed, until fake_free().
 * Link with it instead of the common half: it defines the same functions. */
#ifndef TESTS_FAKE_CONN_H
#define TESTS_FAKE_CONN_H

#include "gateways/common/conn.h"
#include "gateways/common/gateway.h"

struct fake;

/* sets: "SECTION.KEY=VALUE", the last one NULL; NULL: all defaults. The link
 * is up, the epoch is "e1", every client comes from loopback to loopback. */
struct fake *fake_new(const struct edge *edge, const char *const *sets);
void fake_free(struct fake *f);
struct gateway *fake_gateway(struct fake *f);
void fake_set_linked(struct fake *f, bool linked);
void fake_set_mute(struct fake *f, bool mute);
void fake_set_epoch(struct fake *f, const char *epoch);
/* Where conn_cursor() stands. */
void fake_set_seq(struct fake *f, uint64_t seq);

/* ---- the client's side ---- */
struct conn *fake_connect(struct fake *f);
enum fake_side { FAKE_LOOPBACK, FAKE_AT_LOOPBACK, FAKE_AT_ADMIN, FAKE_PROXY };
void fake_set_side(struct conn *c, enum fake_side side, bool yes);
/* Bytes arrive, and the turn goes to its end. */
void fake_send(struct conn *c, struct slice bytes);
/* The same, in pieces of n bytes. */
void fake_send_pieces(struct conn *c, struct slice bytes, size_t n);
void fake_send_end(struct conn *c); /* FIN */
/* The client reads no more, or again: output stays pending meanwhile. */
void fake_stop_reading(struct conn *c, bool stopped);
/* Everything written so far and not forgotten. */
struct slice fake_out(const struct conn *c);
const char *fake_text(const struct conn *c);
void fake_forget_out(struct conn *c);
bool fake_is_closed(const struct conn *c); /* by the edge, or by a FIN */
const char *fake_close_why(const struct conn *c);
size_t fake_unused(const struct conn *c); /* input the edge has left */

/* From now on each connection that is at rest at the end of a turn goes on in
 * "another process": what the edge keeps is written down, forgotten and read
 * again. FAKE_MOVES=1 in the environment: in every test, from the start. */
void fake_set_moves(struct fake *f, bool moves);
unsigned fake_moved(const struct fake *f); /* how often so far */
/* There is another gateway, and whoever is passed on gets this answer. */
void fake_set_pass(struct fake *f, int rc);
/* The bytes that went along with it; empty: it was not passed on. */
struct slice fake_passed(const struct conn *c);

/* ---- time ---- */
void fake_pass(struct fake *f, uint32_t ms);
uint32_t fake_deadline(const struct conn *c); /* ms from now; 0: none */
bool fake_has_pings(const struct conn *c);

/* ---- the router's side ---- */
enum fake_kind { FAKE_SUBSCRIBE, FAKE_UNSUBSCRIBE, FAKE_PUBLISH, FAKE_ACT,
                 FAKE_FETCH, FAKE_QUERY };
/* Texts are terminated copies; "" when absent. */
struct fake_call {
    enum fake_kind kind;
    struct conn *conn;
    uint32_t ref;
    char *channel; /* of several: with spaces between */
    char *verb, *args, *name, *from, *key, *idempotency, *data;
    size_t data_len;
    enum msg_format format;
    bool has_since;
    struct position since;
    enum fetch_mode mode;
    uint64_t after, upto;
    uint32_t limit;
};
/* The oldest call not looked at yet; NULL: none. Good until fake_free(). */
const struct fake_call *fake_next_call(struct fake *f);
/* The next subscribe, publish, act, fetch or query is refused at once. */
void fake_refuse_next(struct fake *f, enum publish_status status,
                      const char *code, const char *text);
/* Events counted by the edge, and limits that were hit. */
unsigned fake_counted(const struct fake *f, const char *event);
unsigned fake_limited(const struct fake *f, enum limit which);
uint64_t fake_stat(const struct fake *f, unsigned which); /* of stats.h */

/* One visit: each message is put, what fits is written; `taken` bytes of it
 * at most reach the client (SIZE_MAX: all), and messages of which nothing was
 * sent are not put. Returns how many were. */
unsigned fake_visit(struct conn *c, struct msg **m, unsigned count,
                    size_t taken);
void fake_put(struct conn *c, struct msg *m); /* one, all of it */
void fake_put_flags(struct conn *c, struct msg *m, unsigned flags);
/* A text message of channel with these numbers; the caller drops it. */
struct msg *fake_msg(const char *channel, uint64_t seq, uint64_t offset,
                     const char *text);
/* A notice about one channel. */
void fake_notice(struct conn *c, enum notice_kind kind, const char *channel,
                 const char *cursor);
/* Runs what the edge has left for the end of the turn. */
void fake_turn(struct fake *f);

#endif
