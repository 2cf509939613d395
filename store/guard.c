#include "store/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/cursor.h"
#include "base/err.h"
#include "store/file.h"

enum { SLOT_SIZE = 512, SLOTS = 2, USED = 48 };

/* A slot: magic, number, two lives, mark, and the hash of these. */
static const char magic[] = "TLguard1";

struct slot {
    uint64_t number, lives[2], mark;
};

static bool slot_read(int fd, int which, struct slot *ret)
{
    uint8_t bytes[USED];
    struct cursor c = cursor_init(slice_make(bytes, sizeof bytes));
    struct slot s;

    if (pread(fd, bytes, sizeof bytes, which * SLOT_SIZE) != sizeof bytes)
        return false;
    if (!slice_eq(cursor_take(&c, 8), slice_str(magic)))
        return false;
    s.number = cursor_u64(&c);
    s.lives[0] = cursor_u64(&c);
    s.lives[1] = cursor_u64(&c);
    s.mark = cursor_u64(&c);
    if (cursor_u64(&c) != XXH3_64bits(bytes, USED - 8))
        return false;
    *ret = s;
    return true;
}

static void load(struct guard *g)
{
    struct slot s;

    for (int i = 0; i < SLOTS; i++) {
        if (!slot_read(g->fd, i, &s) || s.number < g->number)
            continue;
        g->found = true;
        g->number = s.number;
        memcpy(g->lives, s.lives, sizeof g->lives);
        g->mark = s.mark;
    }
}

/* Both slots get their blocks now, while there is room for them. */
static int allocate(int fd)
{
    static const uint8_t zeros[SLOTS * SLOT_SIZE];
    off_t size = lseek(fd, 0, SEEK_END);

    if (size >= (off_t)sizeof zeros)
        return 0;
    if (pwrite(fd, zeros, sizeof zeros, 0) != (ssize_t)sizeof zeros)
        return err_from_errno(errno);
    return fsync(fd) == 0 ? 0 : err_from_errno(errno);
}

static int open_locked(const char *path, int *ret)
{
    char name[FILE_NAME_SIZE];
    int rc = file_name(name, path, "-guard");
    int fd;

    if (rc < 0)
        return rc;
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return ERR_IO;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        rc = errno == EWOULDBLOCK ? ERR_BUSY : ERR_IO;
        close(fd);
        return rc;
    }
    *ret = fd;
    return 0;
}

int guard_open(struct guard *g, const char *path)
{
    struct guard fresh = GUARD_INIT;
    int rc = open_locked(path, &fresh.fd);

    if (rc < 0)
        return rc;
    rc = allocate(fresh.fd);
    if (rc < 0) {
        guard_close(&fresh);
        return rc;
    }
    load(&fresh);
    *g = fresh;
    return 0;
}

void guard_close(struct guard *g)
{
    if (g->fd >= 0)
        close(g->fd);
    g->fd = -1;
}

static int slot_write(int fd, int which, const struct buf *b)
{
    ssize_t n = pwrite(fd, b->ptr, b->len, which * SLOT_SIZE);

    if (n != (ssize_t)b->len || fdatasync(fd) < 0)
        return err_from_errno(errno);
    return 0;
}

int guard_write(struct guard *g, uint64_t life, uint64_t next_life,
                uint64_t mark)
{
    struct buf b = BUF_INIT;
    int rc = ERR_NOMEM;

    put_raw(&b, slice_str(magic));
    put_u64(&b, g->number + 1);
    put_u64(&b, life);
    put_u64(&b, next_life);
    put_u64(&b, mark);
    if (b.failed)
        goto done;
    put_u64(&b, XXH3_64bits(b.ptr, b.len));
    if (b.failed)
        goto done;
    rc = slot_write(g->fd, (int)((g->number + 1) % SLOTS), &b);
    if (rc < 0)
        goto done;
    g->number++;
    g->lives[0] = life;
    g->lives[1] = next_life;
    g->mark = mark;
done:
    buf_fini(&b);
    return rc;
}
