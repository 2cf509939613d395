/* cage_walls.h - the walls of cage.h, for cage.c and its trial.
 * Threads: before there is a second one. */
#ifndef TOUCHLINE_PROTO_CAGE_WALLS_H
#define TOUCHLINE_PROTO_CAGE_WALLS_H

#include "proto/cage.h"

/* 0, or -1 with errno: this kernel has it not. */
MUST_USE int wall_calls(const struct cage *c);
/* Its version (1 and above), or -1 with errno; read_all: files may be read. */
MUST_USE int wall_files(const struct cage *c, bool read_all);

#endif
