/* replacing.h - what the supervisor and its gateways say to each other over the
 * pair of sockets that each gateway is started with (proto/handover.h), and how
 * those are named among the descriptors that it is handed (listen_handed()).
 *
 * An upgrade of a gateway: the supervisor starts the successor with one end of a
 * second pair (CONTROL_SUCCESSOR) and sends the other to the predecessor, in a
 * CONTROL_HAND_OVER. The two come to terms (gateways/common/succession.h). The
 * predecessor says how it went; the successor is ready, or ends.
 * Threads: any; constants only. */
#ifndef TOUCHLINE_PROTO_REPLACING_H
#define TOUCHLINE_PROTO_REPLACING_H

#define CONTROL_LINE      "control"   /* the gateway's end of the pair */
#define CONTROL_SUCCESSOR "successor" /* the successor's, to its predecessor */

enum control_kind {
    CONTROL_HAND_OVER = 1, /* to a gateway: u32 number of this attempt; to whom,
                              as a descriptor */
    CONTROL_HANDED = 2,    /* by it: u32 number, u32 clients, u32 cut; done */
    CONTROL_KEPT = 3,      /* by it: u32 number, text: all is as it was, and why */
};

/* How long a successor has from its start to be ready, or to have failed. */
enum { CONTROL_WAIT_S = 40 };

#endif
