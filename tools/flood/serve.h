/* serve.h - a bare server, the limit that others are compared with: epoll, a
 * dozen bytes for each connection, no store, no check of what is asked.
 *
 *     GET of a path with `channel=`    an endless answer in lines, as /v1/stream
 *     GET of any other path            "ok"
 *     POST /v1/publish/ID              to all of the id: once, nothing is kept
 *     V:2:NAME, or a line with an id   frames like those of a watched match
 *
 * Ids are told apart by the number at their end, up to a million; those without
 * one are one id, and what V:2 watches is that. What comes for somebody within a turn
 * of the loop leaves in one send(), so do the answers to what was read at once; who
 * does not take it is closed.
 * Threads: processes that share the port, and tell each other what was posted, once
 * in a turn. */
#ifndef TOUCHLINE_FLOOD_SERVE_H
#define TOUCHLINE_FLOOD_SERVE_H

#include <stddef.h>

/* Until SIGINT or SIGTERM, in so many processes (0: one); says "ready ..." on
 * standard output. The process' exit code. */
int serve_run(const char *address, size_t processes);

#endif
