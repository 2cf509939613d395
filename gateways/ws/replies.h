/* replies.h - replies to the commands of /v1/ws: said now, or due.
 *
 * A reply is {"ref":R,"ok":true,...} or {"ref":R,"error":{...}}; R is what the
 * client sent, and is left out when it sent none. Replies come as the router
 * has them, which need not be in the order of the commands.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_WS_REPLIES_H
#define TOUCHLINE_WS_REPLIES_H

#include "gateways/ws/socket.h"

/* ---- said now; ref: raw JSON, or empty --------------------------------- */

/* Begins one that says ok; more fields may follow, each with its comma. */
struct buf *ws_ok_begin(struct conn *c, struct slice ref);
void ws_reply_end(struct conn *c, struct buf *b);
void ws_ok(struct conn *c, struct slice ref);
void ws_error(struct conn *c, struct slice ref, struct slice code,
                 struct slice text);

/* ---- due, when the router has answered --------------------------------- */

enum { REPLY_REF_MAX = 64 }; /* bytes of a client's ref */

struct reply {
    struct list_node node; /* ws_work.replies */
    uint32_t ref;          /* ours: what to ask with */
    bool subscribes;       /* it is about a channel that is not in force yet */
    bool exclusive;        /* history: one page in memory at a time */
    bool at_row;           /* history: the last thing in rows is a message */
    bool everything;       /* history: all that is kept, since 0 */
    uint64_t last_seq;     /* history: of that message */
    uint64_t since;        /* history: from behind this seq on, or 0 */
    struct buf channel;    /* where it must be known later */
    struct buf rows;       /* history: what has come */
    uint8_t their_len;
    uint8_t their_ref[];   /* raw */
};

/* NULL: no memory, and the connection is gone. */
struct reply *ws_reply_new(struct conn *c, struct slice ref);
/* It was refused at once. */
void ws_reply_refused(struct conn *c, struct reply *r, const struct refusal *why);
/* A gap of unknown size in front of a page: the cursor means nothing here. */
void reply_strange(struct reply *r, enum gap_why why);
/* The channel, or each one when it is empty, has been left: subscriptions to
 * it that are still due are answered, for the router will not say more. */
void replies_unsubscribed(struct conn *c, struct slice channel);
/* The same of all channels, for this reason. */
void replies_left(struct conn *c, const struct give_up *why);
void replies_free(struct conn *c);

/* ---- a successor takes over; see edge.h ---- */
/* All that are due are due to subscriptions, and nothing else is: the successor
 * says them. */
bool replies_at_rest(const struct ws_work *w);
void replies_freeze(const struct ws_work *w, struct buf *b);
/* Into w, which has none. ERR_FRAME, ERR_NOMEM. */
MUST_USE int replies_thaw(struct ws_work *w, struct cursor *in);

/* The answers of the router, as in struct edge. */
void replies_subscribed(struct conn *c, uint32_t ref);
void replies_subscribe_failed(struct conn *c, uint32_t ref, const char *code,
                           struct slice text);
void replies_published(struct conn *c, uint32_t ref, const struct published *p);
void replies_row(struct conn *c, uint32_t ref, struct msg *m);
void replies_hole(struct conn *c, uint32_t ref, const struct frame_hole *h);
void replies_page_end(struct conn *c, uint32_t ref, int err, bool more,
                   uint64_t upto);
void replies_answered(struct conn *c, uint32_t ref, enum publish_status status,
                   bool json, struct slice body);

#endif
