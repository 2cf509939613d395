/* conn.h - one client socket, as an edge sees and uses it.
 * path: msg > publish > store > table > repeater > link > bus > gateway >
 *       edge > [conn]
 *
 * A connection is registered once with the loop, edge-triggered; while idle
 * it holds no buffer and no timer of its own. Output is gathered and leaves in
 * one sendmsg at the end of the loop's turn. Live messages are not queued
 * here at all: the connection has a place in the gateway's log and pulls
 * (docs/architecture.md). conn_out() holds replies, notices, and the rest of
 * a message that was begun.
 *
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_GATEWAYS_CONN_H
#define TOUCHLINE_GATEWAYS_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/slice.h"
#include "gateways/common/address.h"
#include "gateways/common/edge.h"
#include "proto/config.h"

struct conn;

void *conn_edge(struct conn *c); /* the edge's conn_bytes behind the conn */
struct gateway *conn_gateway(const struct conn *c);
const struct config *conn_config(const struct conn *c);
/* "http1/42.7"; borrows a static buffer until the next call. */
const char *conn_text(const struct conn *c);
/* The peer is a loopback address or unix socket, and no proxy stands behind. */
bool conn_from_loopback(const struct conn *c);
/* The listener that took it is bound to loopback (Host is checked there). */
bool conn_at_loopback(const struct conn *c);
/* The address listened at ("127.0.0.1:8000"); for redirecting hints. */
const char *conn_local_text(const struct conn *c);
/* Peer's address without port, for logs: borrows a static buffer. */
const char *conn_peer_text(const struct conn *c);
/* It came to an address of `http.admin`; where that is empty, to a main listener
 * on loopback without a PROXY header. */
bool conn_at_admin(const struct conn *c);
/* The peer is one of the edge's trusted_proxies; behind one that has sent a
 * PROXY header, the client which that names is asked about. Cost: a system
 * call. */
bool conn_peer_is_proxy(const struct conn *c);
/* Somebody stands between, or may: the peer is on loopback no more, whatever is
 * said. */
void conn_set_remote(struct conn *c);
/* From a trusted proxy only: this request is of that client; nobody: of the
 * peer, whoever asked before on this connection. False: that address has its
 * limits.connections_per_address, and the request must be refused and the
 * connection closed, in the words of edge->busy(). */
MUST_USE bool conn_set_forwarded(struct conn *c, const struct address *client);
/* Who it has proved to be; NULL: nobody. See access.h. */
void conn_set_token(struct conn *c, const struct config_token *t);
const struct config_token *conn_token(const struct conn *c);

/* ---- output ---- */
/* Append here; sent at the end of the turn. Stays empty-handed (NULL inside)
 * when there is nothing. Output over limits.queue that nobody reads closes
 * the connection as slow. */
struct buf *conn_out(struct conn *c);
size_t conn_out_pending(const struct conn *c);
/* edge->drained() once everything appended so far is in the kernel. */
void conn_want_drained(struct conn *c);
/* Sends what is queued, for which the peer has limits.queue_age; shuts the
 * write side, drains input at most 1 s, closes. Who has not taken it by then
 * is reset. closed() follows. `why` is a word of closes.def. */
void conn_close(struct conn *c, const char *why);
/* Now, without sending. closed() follows from the loop. */
void conn_abort(struct conn *c, const char *why);
bool conn_closing(const struct conn *c);

/* ---- to another gateway (pass.h) ---- */
/* Is there one that WebSockets can be passed on to? */
bool conn_can_pass(const struct conn *c);
/* c, of which these bytes have been read and not used, is the other gateway's;
 * nothing may wait to be sent to it. closed() follows from the loop. ERR_AGAIN:
 * the bytes come again as input when it should be tried again, until then none
 * does. ERR_FULL: there is no room, for longer than one waits. ERR_TOO_BIG: more
 * than a message holds. Then c is as it was. */
MUST_USE int conn_pass_on(struct conn *c, struct slice bytes);

/* ---- input ---- */
/* Stop and restart reading (too many unanswered requests). */
void conn_pause_input(struct conn *c, bool paused);

/* ---- time ---- */
/* The connection's one deadline, in ms from now, coarse (100 ms); 0: none.
 * Replaces the last one. */
void conn_deadline(struct conn *c, uint32_t ms);
/* Have edge->ping() called every limits.ping from now on, spread over the
 * period; the first one at least a period after the connection opened. */
void conn_want_pings(struct conn *c, bool wanted);

/* ---- subscribing ---- */
struct subscribe {
    const struct slice *channels; /* ids or patterns */
    unsigned count;
    bool has_since;
    bool whole; /* what it is told is read as a whole, with a cursor behind */
    struct position since; /* with has_since; empty epoch: "0" */
    struct slice name;     /* presence; empty: anonymous */
    uint32_t ref;          /* comes back in subscribed(), started() */
};
struct refusal {
    const char *code; /* "channel.bad" */
    char text[200];   /* for people; says how to open a closed door */
    uint32_t retry_ms; /* of a subscription: when to come again; 0: never */
    enum publish_status status; /* class: BAD, DENIED, TOO_MANY, UNAVAILABLE */
};
/* All or nothing. Copies what it needs. The answer comes as subscribed(),
 * notice()..., started(), put()..., or subscribe_failed(). A channel already
 * held is said again to be in force, and starts anew only with has_since.
 * Refused at once: bad channel, limits channels_per_connection and
 * patterns_per_connection; and, with retry_ms, limit admit_rate. */
MUST_USE int conn_subscribe(struct conn *c, const struct subscribe *s,
                            struct refusal *why);
/* ERR_NOT_FOUND when it does not hold it. Empty: all of them. In force for
 * this connection at once. */
int conn_unsubscribe(struct conn *c, struct slice channel);
unsigned conn_channels(const struct conn *c);
/* All of these, in the order in which it asked for them; borrowed. */
void conn_list_channels(struct conn *c, struct slice *ret);
bool conn_holds(struct conn *c, struct slice channel);
/* A subscription of it begins, or begins anew: notices are still to come. */
bool conn_begins(const struct conn *c);
/* "I have everything up to here": the cursor of this moment, between two
 * messages put. Text borrowed from the connection's gateway until next call. */
struct slice conn_cursor(struct conn *c);
/* The cursor of a message just put. */
struct slice cursor_of(struct conn *c, const struct msg *m);

/* ---- asking the router; refs come back with the answer. Answers to a
 * connection that closed meanwhile are dropped. 0, or refused at once with
 * *why (nothing follows then). ---- */
struct publish {
    struct slice channel, from, kind, key, idempotency, data;
    enum msg_format format;
    bool more; /* one commit with the next; between conn_group() calls */
};
/* Publications in between reach the router together. */
void conn_group(struct conn *c, bool begins);
MUST_USE int conn_publish(struct conn *c, const struct publish *p,
                          uint32_t ref, struct refusal *why);
/* args: JSON; verbs as of the router's types: "match.new" ... ; checked
 * against the publish policy of `channel` first; one is a publication. */
MUST_USE int conn_act(struct conn *c, const char *verb, struct slice channel,
                      struct slice from, struct slice args, uint32_t ref,
                      struct refusal *why);
struct fetch {
    enum fetch_mode mode;
    const struct slice *channels;
    unsigned count;
    uint64_t after, upto;
    uint32_t limit, bytes;
};
MUST_USE int conn_fetch(struct conn *c, const struct fetch *f, uint32_t ref,
                        struct refusal *why);
MUST_USE int conn_query(struct conn *c, const char *verb, struct slice args,
                        uint32_t ref, struct refusal *why);

#endif
