/* disk.h - a disk that remembers what was done to it, in order, and says what
 * would be left had the power gone at any moment.
 *
 * It stands for one folder. Whoever includes it puts functions in front of the
 * C library's (write, sync, rename, ...) that do the thing and tell it here;
 * processes that are forked meanwhile tell it, too. What it was told of are
 * data (writes, new sizes, room), names (a new file, rename, link, unlink) and
 * barriers: a sync of a file is one for its data, a sync of the folder is one
 * for the names in it, and neither stands for the other.
 *
 * A cut at moment k: what was done from k on never happened. What was done
 * before it and is behind a barrier is there. Of the rest, each thing may be
 * there or not, in whatever order it was done: a disk and its kernel write
 * when they like. That is more than any one file system allows itself.
 *
 * Files whose name ends in -shm are left out: they are memory that processes
 * share, and made anew by the first one. Any failure ends the test.
 * Threads: recording any; all else one, with no other at work. */
#ifndef TESTS_STORE_DISK_H
#define TESTS_STORE_DISK_H

#include <sys/stat.h>
#include <sys/types.h>

#include "base/base.h"

/* Begins anew: what lies in dir now is on the disk, names and all. Files keep
 * their numbers. In a forked process this leaves its parent's record alone. */
void disk_begin(const char *dir);

/* From here on nothing is recorded, until disk_begin(); names are followed. */
void disk_stop(void);

/* --- what was done; each is called under disk_lock() ... disk_unlock(), which
 * span the doing, so that the order is the true one --- */

void disk_lock(void);
void disk_unlock(void);
/* The process ends without a word, between two of these: no thread of it is in
 * the middle of one, and the next process finds the disk unlocked. */
_Noreturn void disk_exit(void);
void disk_opened(const char *path, int fd); /* it may be new */
void disk_wrote(int fd, const void *bytes, size_t len, off_t at);
void disk_sized(int fd, off_t size);
void disk_grown(int fd, off_t size); /* to at least this, of zeros */
void disk_synced(int fd);            /* a file, or the folder */
void disk_linked(const char *path, const char *name);
void disk_unlinked(const char *path);
void disk_renamed(const char *path, const char *name);

/* The number of the file at path on this disk, which a cut does not change; 0:
 * none of ours. Real numbers are those of the copies that tests make. Any thread
 * that has not locked the disk. */
uint64_t disk_inode(const char *path);

/* --- the record --- */

/* How much was done so far: the next thing done is this one. Any time. */
size_t disk_now(void);

/* What was done at this moment, in words; valid until the next call. */
const char *disk_text(size_t at);

/* The last sync of the file of this name before that moment; SIZE_MAX: none. */
size_t disk_sync_before(const char *name, size_t at);

/* As if a sync had never been asked for: that of moment `at`, or for SIZE_MAX
 * all of the files of this name ("": of the folder). For the replay, in this
 * process and those it forks; the record stays as it is. */
void disk_leave_out(const char *name, size_t at);

/* What of that which no barrier stands behind a cut leaves. */
enum disk_cut {
    CUT_NOTHING, /* none of it */
    CUT_ALL,     /* all of it */
    CUT_DATA,    /* all data, no names */
    CUT_NAMES,   /* all names, no data */
    CUT_FIRST,   /* what was done before some moment */
    CUT_SOME,    /* any of it */
    CUT_TORN,    /* likewise, and of a write any of its sectors */
    CUT_KINDS
};
const char *disk_cut_name(enum disk_cut how);

/* Makes the folder what a cut at this moment leaves; chance is drawn from seed.
 * Recording is stopped. Cost: that of the bytes written before, when moments
 * are asked for in rising order; else all is gone through again. */
void disk_cut(size_t at, enum disk_cut how, uint64_t seed);

#endif
