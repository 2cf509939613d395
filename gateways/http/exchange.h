/* exchange.h - one request and its answer.
 *
 * A handler is given an exchange and either answers it with one of the reply_
 * functions, or asks the router first, having set `ops`, and answers when the
 * router has. Answers leave in the order of the requests: one that is ready
 * too early waits in its exchange. Replying ends the exchange: the pointer is
 * void afterwards.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_HTTP_EXCHANGE_H
#define TOUCHLINE_HTTP_EXCHANGE_H

#include "base/buf.h"
#include "gateways/common/conn.h"
#include "gateways/common/request.h"

struct exchange;

/* What the router says about what the exchange has asked. Each may be NULL
 * when it cannot happen. index: as given to exchange_ref(). */
struct exchange_ops {
    void (*published)(struct exchange *x, unsigned index,
                      const struct published *p);
    void (*row)(struct exchange *x, struct msg *m);
    void (*hole)(struct exchange *x, const struct frame_hole *h);
    void (*page_end)(struct exchange *x, int err, bool more, uint64_t upto);
    void (*answered)(struct exchange *x, enum publish_status status,
                     bool json, struct slice body);
    void (*free)(void *state);
};

enum exchange_flag {
    EXCHANGE_KEEP = 1u << 0,     /* the connection stays open afterwards */
    EXCHANGE_OLD = 1u << 1,      /* HTTP/1.0 */
    EXCHANGE_GZIP = 1u << 2,     /* Accept-Encoding wants gzip, and we have it */
    EXCHANGE_NO_PLAIN = 1u << 3, /* it accepts nothing that is not encoded */
    EXCHANGE_PUBLIC = 1u << 4,   /* exchange_may_pack() */
    EXCHANGE_HEAD = 1u << 5,     /* asked with HEAD: the answer has no body */
    EXCHANGE_DONE = 1u << 6,     /* answered; waits for those in front */
    EXCHANGE_TAGGED = 1u << 7,   /* 200 carries an ETag; If-None-Match counts */
    EXCHANGE_TRAILERS = 1u << 8, /* TE: trailers */
    EXCHANGE_EVENTS = 1u << 9,   /* Accept: text/event-stream */
    EXCHANGE_ANY_TAG = 1u << 10, /* If-None-Match: * */
    EXCHANGE_MAY_BE = 1u << 11,  /* what it published was taken, or may have been */
    /* What the answer to a poll depends on; the rest is of other requests. */
    EXCHANGE_OF_POLL = EXCHANGE_KEEP | EXCHANGE_OLD | EXCHANGE_GZIP |
                       EXCHANGE_NO_PLAIN | EXCHANGE_PUBLIC,
};

enum { EXCHANGE_TAGS = 4 }; /* of If-None-Match that are looked at */

struct exchange {
    struct exchange *next; /* the request behind it */
    struct conn *conn;
    const struct exchange_ops *ops;
    void *state;       /* the handler's; freed with ops->free */
    uint16_t serial;   /* upper half of its refs */
    uint16_t flags;    /* enum exchange_flag */
    uint64_t tags[EXCHANGE_TAGS];
    uint32_t retry_ms; /* when to come again, of an error; 0: soon */
    uint64_t seq;      /* what is being answered stands behind this message */
    struct buf fields; /* header lines made on the way, each with CR LF, but for
                          those that most answers have */
    struct buf body;   /* the handler's, while it gathers */
    struct buf out;    /* the whole answer, when it has to wait */
};

/* NULL: no memory. Takes its place behind the connection's others. */
struct exchange *exchange_new(struct conn *c, const struct request *r);
void exchange_free(struct exchange *x); /* NULL is fine */
/* One that there was already: the newest serial again, these flags and header
 * lines. NULL: no memory. */
struct exchange *exchange_again(struct conn *c, unsigned flags,
                                struct slice fields);

/* One that has no answer yet, but for its handler's part, in another process;
 * thawed it stands behind the connection's others, which frees it. Errors as of
 * edge->thaw(). */
void exchange_freeze(const struct exchange *x, struct buf *b);
MUST_USE int exchange_thaw(struct conn *c, struct cursor *in,
                           struct exchange **ret);

static inline uint32_t exchange_ref(const struct exchange *x, unsigned index)
{
    return (uint32_t)x->serial << 16 | index;
}

/* What will be answered is no secret, so it may be compressed for who accepts
 * that. False: the client accepts neither gzip nor what is plain, and has been
 * answered. */
bool exchange_may_pack(struct exchange *x);

/* The whole answer, with Retry-After when it says 429 or 503; body is copied.
 * type NULL: none, and no body. */
void reply(struct exchange *x, unsigned status, const char *type,
           struct slice body);
/* 200 and a text that is also there as gzip. */
void reply_either(struct exchange *x, const char *type, struct slice plain,
                  struct slice gzip);
/* JSON or text, with an LF behind it. */
void reply_json(struct exchange *x, unsigned status, struct slice json);
void reply_text(struct exchange *x, unsigned status, struct slice text);
/* {"error":{"code","text"}} */
void reply_error(struct exchange *x, unsigned status, const char *code,
                 struct slice text);
/* A publication of x has come to this: no error of ours may deny it from now
 * on. */
void exchange_published(struct exchange *x, const struct published *p);
/* It was refused, or nobody knows: the router's words. */
void reply_unpublished(struct exchange *x, const struct published *p);
void reply_refusal(struct exchange *x, const struct refusal *why);
/* The same, and the connection closes. */
void reply_fault(struct exchange *x, const struct fault *why);
/* Memory has run out: 503 without using much; publish.unknown where something
 * was published, or may have been. */
void reply_no_memory(struct exchange *x);
/* x->body as JSON, or 503 when it has failed. */
void reply_gathered(struct exchange *x, unsigned status);

/* 400, 403 ... for what the router or the policy said. */
unsigned status_of(enum publish_status status);
/* The head of an answer without Content-Length: a stream. */
void exchange_stream_head(struct exchange *x, const char *type);

#endif
