/* socket.h - one WebSocket, as its two kinds (/v1/ws, /v1/raw) see it.
 *
 *   HEAD --request--> LOGIN --101--> OPEN --> ENDING --> CLOSED
 *
 * The end comes in order: when a client breaks a rule, or says goodbye, what
 * it has published before is answered and delivered first, for a second at
 * most; what it sends afterwards is not read.
 *
 * Memory: an idle socket has struct ws_socket and nothing else.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_WS_SOCKET_H
#define TOUCHLINE_WS_SOCKET_H

#include "base/list.h"
#include "gateways/common/conn.h"
#include "gateways/common/target.h"
#include "gateways/ws/wsframe.h"

enum ws_state {
    WS_HEAD,   /* the request is coming */
    WS_LOGIN,  /* it is good; 101 waits for the subscription */
    WS_OPEN,
    WS_ENDING, /* a close frame waits for answers to what was published */
    WS_CLOSED, /* the close frame, or a refusal, has been said */
    WS_STATES
};

struct query;

/* Encodings of a message; each has a compressed one, WS_FORMS further on. */
enum ws_form { FORM_MESSAGE, FORM_REPLAY, FORM_RAW, WS_FORMS };
_Static_assert(2 * WS_FORMS <= MSG_FORMS, "a message has room for them");

/* What a path of the URL makes of a WebSocket. Members that can have no cause
 * are NULL. */
struct ws_kind {
    size_t (*message_limit)(const struct config *cfg);
    /* The URL's query, once the handshake is good: starts a subscription with
     * ref 0 and sets *waits, or does without. ERR_ with *why. */
    int (*begin)(struct conn *c, struct query *q, bool *waits,
                 struct refusal *why);
    void (*opened)(struct conn *c); /* behind the 101 */
    void (*message)(struct conn *c, enum ws_opcode op, struct slice payload);
    /* A message on its way out: its opcode; its payload is appended to b. */
    enum ws_opcode (*encode)(struct conn *c, const struct msg *m,
                             unsigned flags, struct buf *b);
    enum ws_form form, replay_form;
    /* The server ends it, text says why; the close frame follows. */
    void (*goodbye)(struct conn *c, const char *text, uint32_t retry_ms);
    void (*free)(struct conn *c); /* the socket is gone */
    /* Its channels are left, and nothing more is told of those asked for. */
    void (*left)(struct conn *c, const struct give_up *why);
    /* As in struct edge; refs are those of ws_ref(). */
    void (*notice)(struct conn *c, const struct notice *n);
    void (*subscribed)(struct conn *c, uint32_t ref);
    void (*subscribe_failed)(struct conn *c, uint32_t ref, const char *code,
                             struct slice text);
    void (*published)(struct conn *c, uint32_t ref, const struct published *p);
    void (*row)(struct conn *c, uint32_t ref, struct msg *m);
    void (*hole)(struct conn *c, uint32_t ref, const struct frame_hole *h);
    void (*page_end)(struct conn *c, uint32_t ref, int err, bool more,
                     uint64_t upto);
    void (*answered)(struct conn *c, uint32_t ref, enum publish_status status,
                     bool json, struct slice body);
};
extern const struct ws_kind ws_commands, ws_raw;

/* What few sockets have, and only while they do something. */
struct ws_work {
    struct list_node replies; /* ws_commands: those that are due */
    uint32_t unanswered;     /* asks and publications */
    bool exclusive;          /* a page is under way: read no more meanwhile */
    uint64_t last_seq;       /* of its newest publication that it will get */
    struct upgrade *upgrade; /* until 101 */
    uint8_t *pong;           /* length and payload: the newest one not said */
    char *target;            /* ws_raw: where to publish; or NULL */
    unsigned close_code;     /* from ENDING on */
    const char *close_why;   /* static */
    const char *close_word;  /* of closes.def */
    uint32_t retry_ms;       /* when to come again; 0: not said */
};

/* Behind each connection. */
struct ws_socket {
    uint8_t state;              /* enum ws_state */
    bool patterns : 1;          /* it has subscribed to one */
    bool pinged : 1;            /* and its pong has not come */
    uint8_t window : 4;         /* struct deflate_terms; 0: no compression */
    uint16_t controls;          /* control frames within control_s */
    uint32_t control_s;
    const struct ws_kind *kind; /* from LOGIN on */
    struct wsreader *reader;    /* of a message that has begun */
    struct ws_work *work;       /* made when needed */
};

struct ws_socket *ws_of(struct conn *c);
/* What compressing takes is there; false: no memory. */
bool ws_may_deflate(struct gateway *g);
/* NULL: no memory, and the connection is gone. */
struct ws_work *ws_work(struct conn *c);
/* The one way to another state. */
void ws_become(struct conn *c, enum ws_state next);

/* For the JSON of a text frame: empty, the worker's own, good until
 * ws_text_end() sends it. */
struct buf *ws_text_begin(struct conn *c);
void ws_text_end(struct conn *c);

/* Something is asked of the router, under this ref, which no other question
 * of the worker has; 0: no memory. Then ws_answered() follows once, also when
 * it was refused at once. */
uint32_t ws_ref(struct conn *c);
void ws_answered(struct conn *c);
/* Ends when that was waited for; stops or restarts input; gives back memory
 * that says nothing any more. Called by the edge behind each of the kind's
 * functions. */
void ws_settle(struct conn *c);

/* The client has broken a rule, which is counted, or ends: see above. why: for
 * the client; word: of closes.def. */
void ws_violated(struct conn *c, unsigned code, const char *why);
void ws_end(struct conn *c, unsigned code, const char *why, const char *word);
/* The server ends it, in order; it is to come again in so many milliseconds,
 * which the close frame's reason says. */
void ws_end_until(struct conn *c, unsigned code, const char *why,
                  const char *word, uint32_t retry_ms);
/* At once, behind what has been put out already. */
void ws_close_until(struct conn *c, unsigned code, const char *why,
                    const char *word, uint32_t retry_ms);
void ws_close(struct conn *c, unsigned code, const char *why,
              const char *word);

#endif
