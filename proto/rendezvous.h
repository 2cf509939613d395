/* rendezvous.h - how a gateway finds its router and gets a link of its own.
 *
 * The router answers on one req/rep socket, whose address stands in
 * DIR/router.url. A peer asks to JOIN, saying who it is; the router opens a
 * pair0 socket for it alone and OFFERs its address. Over tcp, where a secret
 * is set, both prove that they know it, by challenge and response
 * (HMAC-SHA256), without it ever crossing the wire. join.h has the words,
 * place.h the files.
 *
 * The server watches itself: it asks its own rendezvous every few seconds as
 * a stranger would, and opens the listener anew when that stays unanswered
 * for a second in which the loop itself was not late, because NNG 1.5's ipc listener goes deaf for good after one connection
 * that closes too early (upstream issue 1518).
 *
 * Threads: the loop's; NNG's own end in bus.c. */
#ifndef TOUCHLINE_PROTO_RENDEZVOUS_H
#define TOUCHLINE_PROTO_RENDEZVOUS_H

#include "base/loop.h"
#include "proto/bus.h"
#include "proto/pipe.h"

enum { PEER_NAME_MAX = 31 };

struct peer_id {
    char name[PEER_NAME_MAX + 1]; /* "http1"; empty: the router names it */
    char edge[12]; /* "http"; "repeater" */
    uint8_t kind; /* enum peer_kind of frame.h */
    uint32_t pid;
    uint64_t life;
};

/* ---- the router's side ------------------------------------------------ */
struct rendezvous;
struct rendezvous_options {
    const char *url;    /* NULL: ipc in dir; else tcp://host:port, ipc:///path,
                           of at most 80 bytes */
    const char *dir;    /* NULL: none; gets router.url, see place.h */
    const char *secret; /* asked for at tcp; NULL: only local addresses are
                           served */
    uint64_t life;
    struct pipe_limits limits; /* of a peer's; a repeater's: trunk_limits() */
    unsigned probe_ms; /* 0: the default, 5000 */
};
struct rendezvous_ops {
    /* May this peer join? NULL, or the reason to tell it. */
    const char *(*admit)(void *ctx, const struct peer_id *who);
    /* Its pipe: the callee says with *ops and *pipe_ctx who hears of it, and
     * owns it from here on (but may not free it in here). up() follows when
     * the peer has come, or down() when it does not. */
    void (*joined)(void *ctx, const struct peer_id *who, struct pipe *p,
                   const struct pipe_ops **ops, void **pipe_ctx);
};
/* For joined() without memory: nobody hears of the pipe (its ctx), which stays
 * silent until it goes down and is freed; the peer tries again. */
extern const struct pipe_ops rendezvous_deaf;
/* ERR_BUSY: another router answers there. ERR_DENIED: not local and no
 * secret. ERR_IO. *why says it in words. */
MUST_USE int rendezvous_open(struct rendezvous **ret, struct loop *loop,
                             const struct rendezvous_options *options,
                             const struct rendezvous_ops *ops, void *ctx,
                             const char **why);
const char *rendezvous_url(const struct rendezvous *r);
uint64_t rendezvous_reopened(const struct rendezvous *r); /* listener cures */
/* Connections turned away, as of bus_refused(). */
uint64_t rendezvous_refused(const struct rendezvous *r, enum bus_refusal why);
/* Peers of other link versions. It keeps asking when it has done so for a few
 * seconds up to now, as a gateway does and nobody who asks once. */
struct rendezvous_strange {
    uint64_t refused; /* so far */
    int version;      /* of one that keeps asking; 0: there is none */
};
struct rendezvous_strange rendezvous_strange(const struct rendezvous *r,
                                             int64_t now_ns);
/* As of bus_is_stuck(): a router had better start anew; no client notices. */
bool rendezvous_is_stuck(const struct rendezvous *r);
/* Free the pipes first. NULL is fine. */
void rendezvous_close(struct rendezvous *r);

/* ---- the gateway's side ----------------------------------------------- */
struct joiner;
struct joiner_options {
    const char *url; /* NULL: what DIR/router.url says, read at each attempt */
    const char *dir;
    const char *secret;
    struct peer_id who; /* life is set by joiner_open() */
    struct pipe_limits limits;
};
/* Joins and keeps joining: after a pipe has gone down the next attempt comes
 * at once, then after 50 ms doubling to 1 s, with jitter. The pipe is the
 * joiner's; ops hear of it. refused() may be NULL. */
struct joiner_ops {
    struct pipe_ops pipe;
    void (*refused)(void *ctx, const char *why);
};
MUST_USE int joiner_open(struct joiner **ret, struct loop *loop,
                         const struct joiner_options *options,
                         const struct joiner_ops *ops, void *ctx);
struct pipe *joiner_pipe(struct joiner *j); /* always the same one */
const struct peer_id *joiner_who(const struct joiner *j);
/* Where the last attempt looked, and what went wrong: for people. */
const char *joiner_trouble(const struct joiner *j);
/* Who it is, and its pipe's stream, for another process that goes on as the
 * same peer (pipe_freeze()). The pipe is up. */
void joiner_freeze(struct joiner *j, struct buf *out);
/* Right after joiner_open(): goes on as that peer. Errors as of pipe_thaw(), and
 * ERR_FRAME when its name is another one. */
MUST_USE int joiner_thaw(struct joiner *j, struct cursor *in);
/* The other process does: no goodbye. joiner_close() follows. */
void joiner_part(struct joiner *j);
/* As of bus_is_stuck(). */
bool joiner_is_stuck(const struct joiner *j);
/* Says goodbye: waits at most 100 ms. NULL is fine. */
void joiner_close(struct joiner *j);

#endif
