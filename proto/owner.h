/* owner.h - who listens on a TCP port of this machine.
 * Threads: any. Cost: reads /proc; for error messages only. */
#ifndef TOUCHLINE_PROTO_OWNER_H
#define TOUCHLINE_PROTO_OWNER_H

#include <stddef.h>
#include <stdint.h>

/* Writes "nginx (pid 812)", or "" when it cannot be found out. */
void port_owner(uint16_t port, char *out, size_t size);

#endif
