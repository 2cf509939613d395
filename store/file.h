/* file.h - names and syncs of files that are not SQLite's.
 * Threads: any. */
#ifndef TOUCHLINE_STORE_FILE_H
#define TOUCHLINE_STORE_FILE_H

#include <stddef.h>

#include "base/base.h"

enum { FILE_NAME_SIZE = 4096 };

/* path and suffix, in a buffer of FILE_NAME_SIZE. ERR_TOO_BIG. */
MUST_USE int file_name(char *ret, const char *path, const char *suffix);

/* ERR_IO: it cannot be opened or synced. */
MUST_USE int file_sync(const char *path);

/* Syncs the folder that holds path: then its name is on the disk. */
MUST_USE int file_sync_name(const char *path);

/* Likewise the folder's own name, of one that was made for this file; as well
 * as it goes: the folder above may be closed to us. */
void file_sync_folder_name(const char *path);

#endif
