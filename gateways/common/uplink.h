/* uplink.h - the gateway's end of the link.
 * path: msg > publish > store > table > repeater > [link] > bus > gateway >
 *       edge > conn
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_GATEWAYS_UPLINK_H
#define TOUCHLINE_GATEWAYS_UPLINK_H

#include "base/base.h"

struct conn;
struct gateway;
struct start;

MUST_USE int uplink_open(struct gateway *g, const char **why);
void uplink_close(struct gateway *g);
void uplink_login(struct conn *c, const struct start *s);
void uplink_stats(struct gateway *g);

#endif
