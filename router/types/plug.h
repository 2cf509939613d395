/* plug.h - what a type must provide: types.c finds the type of an id, or of
 * a verb, and calls through this table. The contract of each function is the
 * one of its namesake types_...() in router/type.h; NULL where a type has no
 * need of it. To add a type: a file with one struct type, and a line in the
 * list in types.c.
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_TYPES_PLUG_H
#define TOUCHLINE_ROUTER_TYPES_PLUG_H

#include "router/type.h"

struct teams;

/* What the types share: options, and the memory behind the slices they give,
 * cleared before each call. */
struct plug_ctx {
    struct types_options opt;
    struct epoch epoch;
    struct buf id, data, body, why;
    struct teams *teams; /* set by the team type, used by the match type */
};

struct type {
    const char *name; /* of its verbs: "match" */
    const char *prefix; /* of its ids: "match/" */
    unsigned flags;

    MUST_USE int (*open)(void **self, struct plug_ctx *ctx);
    void (*close)(void *self);

    int (*judge)(void *self, const struct msg_parts *in,
                 struct type_verdict *ret);
    /* What a slow reader may do without of an event that was accepted: its
     * weight (msg.h). NULL: WEIGHT_KEYED, what has a newer one of its key. */
    unsigned (*weight)(const struct msg_parts *event);
    bool (*commit)(void *self, const struct msg *m);
    void (*rollback)(void *self);
    void (*withdraw)(void *self, struct slice id);

    int (*load)(void *self, struct slice id, struct slice record,
                uint64_t last_offset);
    int (*replay)(void *self, const struct msg_parts *m);
    int (*replayed)(void *self, struct slice id);

    int (*snapshot)(void *self, struct slice id, struct buf *out);
    void (*fill)(void *self, const struct msg_parts *m);
    void (*filled)(void *self, struct slice id);

    /* verb without the type's name and the dot: "list" */
    int (*act)(void *self, struct slice verb, struct slice args,
               struct type_act *ret);
    int (*query)(void *self, struct slice verb, struct slice args,
                 int64_t now_ms, struct buf *out, struct type_refusal *why);

    int (*joined)(void *self, struct slice id, struct slice name,
                  int64_t now_ns);
    void (*left)(void *self, struct slice id, struct slice name,
                 int64_t now_ns);
    int (*known)(void *self, struct slice id, struct slice name,
                 int64_t now_ns);
    void (*tick)(void *self, int64_t now_ns, const struct types_ears *ears);
    int64_t (*due_ns)(const void *self);
};

/* Fills in a refusal: the text is what ctx->why holds. Returns rc. */
int plug_refuse(struct plug_ctx *ctx, struct type_refusal *ret, int rc,
                const char *code);
/* The same, with this text. */
PRINTF_LIKE(5, 6)
int plug_refusef(struct plug_ctx *ctx, struct type_refusal *ret, int rc,
                 const char *code, const char *fmt, ...);

/* The id behind a type's prefix. */
static inline struct slice plug_name(const struct type *t, struct slice id)
{
    return slice_from(id, strlen(t->prefix));
}

extern const struct type team_type, match_type, room_type;

#endif
