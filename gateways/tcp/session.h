/* session.h - what a telnet client has said and not been answered yet.
 *
 * Answers come in the order of the lines. Publications are handed on at once
 * and their answers kept in line; any other verb waits until nothing is
 * unanswered in front of it, and no line is taken while one of these is under
 * way. Output that the client does not read stops its input, too.
 *
 * Memory: a connection that only listens has no session.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_TCP_SESSION_H
#define TOUCHLINE_TCP_SESSION_H

#include "base/buf.h"
#include "base/list.h"
#include "gateways/common/conn.h"
#include "gateways/tcp/line.h"
#include "proto/limits.h"

struct verb;

/* The match a connection watches. */
struct watch {
    uint64_t last_seq; /* of the event that ended it, or 0 */
    bool held;         /* SUB has subscribed to it before */
    uint8_t len;
    uint8_t id[];      /* match/... */
};

struct session {
    struct list_node answers; /* to publications, in the order sent */
    uint32_t unanswered;
    const struct verb *busy; /* the verb under way; no line is taken */
    uint32_t busy_ref;
    uint32_t rows;           /* lines of its list so far */
    struct buf subject;      /* its channel */
    bool added;              /* it held channels when the verb began */
    bool subscribes;         /* the verb is answered with the first notice */
    bool ending;             /* take no line; close when all is answered */
    bool starved;            /* a line could not be kept: said at the end */
    const char *word;        /* of closes.def, when it ends */
    const char *farewell;    /* why the server ends it, said at the end; or NULL */
    bool unknown;            /* there is no such match: not to be watched */
    bool is_held;            /* a line waits until all is answered */
    enum line_event held_event;
    struct buf held;
    uint8_t name_len;
    uint8_t name[PERSON_NAME_MAX]; /* NICK */
};

/* Behind each connection. */
struct tcp {
    struct line line;
    struct session *session; /* made when needed */
    struct watch *watch;     /* NULL: watches nothing */
};

struct tcp *tcp_of(struct conn *c);
/* What to ask with. An answer may come after its session was forgotten, so no
 * other question of the worker has the same one. */
uint32_t tcp_ref(struct conn *c);
/* NULL: no memory, and the connection has been told and closes, or will when
 * the publications in front of it have been answered. */
struct session *session_get(struct conn *c);
void session_free(struct conn *c);
struct slice session_name(struct conn *c); /* empty: anonymous */

/* ---- answers ----------------------------------------------------------- */

/* ERROR <code>: <text>. The code is a static word, and counted. */
PRINTF_LIKE(3, 4)
void tcp_error(struct conn *c, const char *code, const char *fmt, ...);
/* The same for what the gateway or the router refused and counted. */
void tcp_refused(struct conn *c, struct slice code, struct slice text);

/* A place in line for the answer to a publication: the ref to publish with,
 * 0 when out of memory. Then one of the two answers comes. */
uint32_t session_publication(struct conn *c, const struct verb *v);
void session_published(struct conn *c, uint32_t ref,
                       const struct published *p);
void session_refused(struct conn *c, uint32_t ref, const struct refusal *why);

/* ---- verbs that take their time ---------------------------------------- */

/* v is under way on channel; the ref to ask with, 0 when out of memory. */
uint32_t session_begin(struct conn *c, const struct verb *v,
                       struct slice channel);
/* It has been answered: take lines again. Nothing when none is under way. */
void session_done(struct conn *c);
/* The verb under way with this ref, or NULL. */
const struct verb *session_busy(struct conn *c, uint32_t ref);

/* ---- order ------------------------------------------------------------- */

/* May a line be taken now? */
bool session_ready(struct conn *c);
/* Keep this line until everything is answered; false: it may run now. */
bool session_hold(struct conn *c, enum line_event event, struct slice line);
/* Nothing of it waits, but a verb that subscribes, which the successor goes on
 * with; see edge.h. */
bool session_at_rest(const struct session *s);
void session_freeze(struct conn *c, struct buf *b);
MUST_USE int session_thaw(struct conn *c, struct cursor *in);
/* An operator closes the connection: nothing else is said of a session's end
 * while a successor may come. */
extern const char *const session_kicked;
/* Stop or restart input, close when that was waited for, and forget the
 * session when it says nothing any more. */
void session_settle(struct conn *c);
/* It ends when what was asked before has been answered; farewell: said then, or
 * NULL. Both words are static. */
void session_end(struct conn *c, const char *word, const char *farewell);
/* The same, with all that has to be said of its channels said now: they are
 * left. A line that has not been run is not. */
void session_give_up(struct conn *c, const struct give_up *why);

#endif
