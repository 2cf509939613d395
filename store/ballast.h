/* ballast.h - room on the disk that is kept for trimming.
 *
 * On a full disk even a DELETE fails, so what the policies no longer keep could
 * not go, and the disk would stay full. <path>-ballast takes up room that is
 * given back when trimming finds none; meanwhile nothing else may be stored,
 * or it would be used up by what made the disk full (core.h, only_trim). When
 * trimming is through, the file is made again.
 *
 * It is allocated a few megabytes at a time, and not at all where it would
 * leave less than its own size: having none is no failure.
 * Threads: the writer's. */
#ifndef TOUCHLINE_STORE_BALLAST_H
#define TOUCHLINE_STORE_BALLAST_H

#include "base/base.h"
#include "store/file.h"

struct ballast {
    const char *store; /* borrowed: the database beside it */
    char path[FILE_NAME_SIZE];
    uint64_t size, have; /* bytes: wanted, there now */
    bool out;            /* given back, and wanted again */
};

/* Takes over what the last life left. size 0: removes it. */
void ballast_init(struct ballast *b, const char *path, uint64_t size);

/* Allocates some more. 1: there is more to do. 0: it is whole. ERR_FULL: not
 * now, there is too little room. Else this file system cannot, and it is not
 * tried again. */
MUST_USE int ballast_step(struct ballast *b);

/* Gives the room back. False: there was none. */
bool ballast_release(struct ballast *b);

#endif
