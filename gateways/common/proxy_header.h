/* proxy_header.h - the PROXY protocol: what a proxy that passes bytes on unread
 * says first, to name the client behind it.
 *
 * Both versions, told apart by how they begin:
 *   1   PROXY TCP4 192.0.2.1 192.0.2.9 56324 443 CR LF   (at most 107 bytes)
 *   2   twelve bytes no protocol of ours begins with, then binary
 * What begins otherwise is no header: a trusted proxy that speaks HTTP, or
 * names nobody, is served like anybody. Only a trusted proxy is listened to;
 * from others these bytes go to the edge, to which they are an error.
 *
 * Specification: HAProxy's doc/proxy-protocol.txt. What lies behind the
 * addresses of version 2 (TLVs) is skipped; addresses that are no TCP ones
 * name nobody.
 * Threads: any. No I/O, no allocation. */
#ifndef TOUCHLINE_GATEWAYS_PROXY_HEADER_H
#define TOUCHLINE_GATEWAYS_PROXY_HEADER_H

#include "gateways/common/address.h"

enum { PROXY_HEADER_MAX = 4096 }; /* bytes; version 2 could have 64 KiB more */

struct proxy_header {
    size_t len;            /* its bytes; the edge's begin behind them */
    struct address client; /* nobody: the proxy asks for itself, or does not
                              know */
};

/* in: all bytes of the connection so far. 0: *ret is filled. ERR_AGAIN: this
 * may still become a header, which needs more bytes. ERR_NOT_FOUND: it is
 * none. ERR_BAD: it begins as one, and is broken. */
MUST_USE int proxy_header_read(struct slice in, struct proxy_header *ret);

#endif
