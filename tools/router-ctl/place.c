#include "tools/router-ctl/place.h"

const char *place_problem(const struct position *at, const struct peer *p)
{
    if (at->epoch.text[0] && !epoch_equal(&at->epoch, peer_epoch(p)))
        return "epoch";
    return at->seq > peer_seq(p) ? "future" : NULL;
}

void place_show_gap(struct buf *out, const struct show *s, struct slice id,
                    const char *why)
{
    struct show_notice n = { .what = "gap", .channel = id, .why = why };

    show_notice(out, s, &n);
}

void place_show_hole(struct buf *out, const struct show *s,
                     const struct frame_hole *f)
{
    struct show_notice n = {
        .what = "gap",
        .channel = f->id,
        .why = f->why == HOLE_TRIMMED ? "trimmed" : "damaged",
        .from = f->from,
        .to = f->to,
    };

    show_notice(out, s, &n);
}
