/* tell.h - the notices that begin a subscription.
 *
 * In this order: a `gap` for each channel that missed something, a `snapshot`
 * for each that has a state, one `snapshot` for all that have none, one
 * `resumed` for all that go on at the cursor.
 *
 * An edge may close the connection, or leave channels, inside any of these
 * notices; a start that is dropped meanwhile is told no more, and stays
 * allocated until start_told().
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_GATEWAYS_TELL_H
#define TOUCHLINE_GATEWAYS_TELL_H

#include "gateways/common/start.h"

/* All of it, with the cursor of seq; `resumed` only when asked for. */
void tell_start(struct start *s, uint64_t seq, bool resumed);
/* One notice for all channels that want the same said of them; none for no
 * channel. */
void tell_group(struct start *s, enum notice_kind kind,
                const struct slice *ids, unsigned count, uint64_t seq);
/* n, with the cursor of seq. */
void tell_notice(struct start *s, struct notice *n, uint64_t seq);

#endif
