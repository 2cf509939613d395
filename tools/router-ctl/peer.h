/* peer.h - router-ctl's end of a link: it joins as PEER_CTL, says HELLO, and
 * asks questions.
 *
 * Every question is kept, as the frame it was, until its answer comes. When
 * the link goes they wait for the next one and are sent again, publications
 * marked as resent under their old number, so that the router takes each
 * once. Without a router for publish_wait they are given up, as unknown when
 * they may have been taken. A page that was cut off is given up at once:
 * whoever reads history knows best from where to go on.
 *
 * Threads: the loop's. Callbacks run on the loop, never inside a call; slices
 * in what they get live until they return. */
#ifndef TOUCHLINE_TOOLS_PEER_H
#define TOUCHLINE_TOOLS_PEER_H

#include "base/loop.h"
#include "proto/frame.h"
#include "proto/pipe.h"

struct peer;

struct peer_options {
    const char *url;    /* NULL: what DIR/router.url says */
    const char *dir;
    const char *secret; /* or NULL */
    struct pipe_limits limits;
    int64_t publish_wait; /* ns */
};
/* Begins to join. ERR_BAD (an address that is none), ERR_NOMEM, ERR_IO. */
MUST_USE int peer_open(struct peer **ret, struct loop *loop,
                       const struct peer_options *options);
void peer_close(struct peer *p); /* no callback any more; NULL is fine */

bool peer_linked(const struct peer *p); /* WELCOME has been said */
const struct epoch *peer_epoch(const struct peer *p);
uint64_t peer_seq(const struct peer *p); /* where the router stood then */
/* Why it is not linked, for people; and whether the router itself said no. */
const char *peer_trouble(const struct peer *p);
bool peer_refused(const struct peer *p);

/* Who listens. All are optional. */
struct peer_ops {
    /* The link is there, for the first time or again: say all logins. */
    void (*up)(void *ctx, const struct frame_welcome *w);
    void (*down)(void *ctx);
    void (*logged_in)(void *ctx, struct frame_logged_in *f);
    void (*deliver)(void *ctx, const struct msg_parts *m);
    void (*snapshot)(void *ctx, const struct frame_snapshot *f);
    void (*kicked)(void *ctx, struct slice reason);
    void (*epoch)(void *ctx, const struct frame_epoch *f);
    void (*batch_end)(void *ctx, uint64_t seq); /* all up to here has come */
};
/* When the link is there already, up() follows at once. */
void peer_listen(struct peer *p, const struct peer_ops *ops, void *ctx);

/* As connection 0. Ids beyond 256 go into a frame of their own: an answer
 * each. snapshot: the answer shall hold the state of each. again: said before
 * on another link, nobody has come. On a link that is down nothing happens. */
enum { PEER_IDS_PER_FRAME = 256 };
void peer_login(struct peer *p, const struct slice *ids, size_t count,
                bool snapshot, bool again);
void peer_snap(struct peer *p, const struct slice *ids, size_t count);

/* ---- questions: 0, then the answer; or ERR_NOMEM ------------------------ */

typedef void peer_published_fn(void *ctx, const struct frame_published *f);
/* number, conn and flags are filled in here. */
MUST_USE int peer_publish(struct peer *p, const struct frame_publish *f,
                          peer_published_fn *fn, void *ctx);
MUST_USE int peer_act(struct peer *p, const char *verb, struct slice args,
                      peer_published_fn *fn, void *ctx);

typedef void peer_answered_fn(void *ctx, const struct frame_answer *f);
MUST_USE int peer_query(struct peer *p, const char *verb, struct slice args,
                        peer_answered_fn *fn, void *ctx);

struct peer_page_ops {
    void (*row)(void *ctx, const struct msg_parts *m);
    void (*hole)(void *ctx, const struct frame_hole *h);
    /* rc 0; an error of the router's; ERR_CLOSED: the link went, what has come
     * of the page is all of it; ERR_TIMEOUT: no router for publish_wait. */
    void (*end)(void *ctx, int rc, const struct frame_page_end *f);
};
/* ref, count and items are filled in here. */
MUST_USE int peer_fetch(struct peer *p, const struct frame_fetch *f,
                        const struct slice *ids, size_t count,
                        const struct peer_page_ops *ops, void *ctx);

size_t peer_asked(const struct peer *p); /* questions without an answer */

#endif
