/* reply.h - what a publisher is told: PUBLISHED, in good and in bad.
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_REPLY_H
#define TOUCHLINE_ROUTER_REPLY_H

#include "proto/frame.h"

struct link;
struct type_refusal;

/* Why not: code and text are static, or live as long as what they are of. */
struct refusal {
    enum publish_status status;
    struct slice code, text;
};
#define REFUSAL(status, code, text) \
    (struct refusal){PUBLISHED_##status, SLICE(code), SLICE(text)}

/* The store's ERR_, or ERR_NOMEM of our own, in words. */
struct refusal refusal_of_store(int rc);
/* A type's, with the ERR_ that it came with. */
struct refusal refusal_of_type(int rc, const struct type_refusal *why);
extern const struct refusal refusal_key_conflict;

/* The frames; l may be NULL: nobody waits any more. */
void reply(struct link *l, const struct frame_published *f);
void reply_refused(struct link *l, uint64_t number, struct slice id,
                   struct refusal why);
/* The answer to another publication is the answer to this one, too. */
void reply_repeated(struct link *l, uint64_t number,
                    const struct frame_published *first);

#endif
