#include "router/reply.h"

#include "base/err.h"
#include "router/router.h"
#include "proto/frame_io.h"

void reply(struct link *l, const struct frame_published *f)
{
    if (!l)
        return;
    frame_write_published(lane_frame(&l->lane, FRAME_PUBLISHED), f);
    lane_frame_end(&l->lane);
}

void reply_refused(struct link *l, uint64_t number, struct slice id,
                   struct refusal why)
{
    struct frame_published f = {
        .number = number,
        .status = (uint8_t)why.status,
        .id = id,
        .code = why.code,
        .text = why.text,
    };

    if (l)
        tally_add(&l->router->refused, why.code);
    reply(l, &f);
}

struct refusal refusal_of_store(int rc)
{
    switch (rc) {
    case ERR_FULL:
        return REFUSAL(UNAVAILABLE, "store.full",
                       "the disk is full; reading goes on");
    case ERR_BUSY:
        return REFUSAL(UNAVAILABLE, "store.busy",
                       "another process holds the database");
    case ERR_DAMAGED:
        return REFUSAL(UNAVAILABLE, "store.damaged",
                       "the database is damaged");
    case ERR_NOMEM:
        return REFUSAL(UNAVAILABLE, "router.memory",
                       "the router is short of memory");
    default:
        return REFUSAL(UNAVAILABLE, "store.failed",
                       "the message could not be stored");
    }
}

struct refusal refusal_of_type(int rc, const struct type_refusal *why)
{
    enum publish_status status = PUBLISHED_UNAVAILABLE;

    if (rc == ERR_BAD)
        status = PUBLISHED_BAD;
    else if (rc == ERR_NOT_FOUND)
        status = PUBLISHED_NOT_FOUND;
    else if (rc == ERR_CONFLICT)
        status = PUBLISHED_CONFLICT;
    if (status == PUBLISHED_UNAVAILABLE || !why->code)
        return refusal_of_store(ERR_NOMEM);
    return (struct refusal){status, slice_str(why->code), why->text};
}

const struct refusal refusal_key_conflict = {
    PUBLISHED_CONFLICT, SLICE_INIT("idempotency.conflict"),
    SLICE_INIT("this Idempotency-Key was used with another body")};

void reply_repeated(struct link *l, uint64_t number,
                    const struct frame_published *first)
{
    struct frame_published f = *first;

    if (!l)
        return;
    f.number = number;
    if (f.status == PUBLISHED_OK)
        f.status = PUBLISHED_DUPLICATE;
    stat_add(&l->router->stats, STAT_DUPLICATES, 1);
    reply(l, &f);
}
