/* upgrade.h - from the first byte of a request to its 101, or its refusal.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_WS_UPGRADE_H
#define TOUCHLINE_WS_UPGRADE_H

#include "gateways/ws/socket.h"

struct upgrade;

/* Bytes of the head: how many were used up, which is none until it is whole.
 * Then the socket is in state OPEN, LOGIN or CLOSED. */
size_t upgrade_input(struct conn *c, struct slice in);
/* The subscription of the URL is in force: 101. */
void upgrade_open(struct conn *c);
/* It cannot be had. */
void upgrade_refuse(struct conn *c, unsigned status, struct slice code,
                    struct slice text);
/* handshake_wait is over. */
void upgrade_late(struct conn *c);

#endif
