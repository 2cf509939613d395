#include "store/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/check.h"
#include "base/cursor.h"
#include "base/err.h"
#include "store/file.h"

enum {
    SLOT_SIZE = 512,
    SLOTS = 2,
    USED = 56,
    USED_BEFORE = 48,
    NOTE_AT = SLOTS * SLOT_SIZE, /* a slot of its own */
    NOTE_USED = 40,
    SIZE = NOTE_AT + SLOT_SIZE
};
#define TOUCH_NS (100 * MILLISECOND) /* from the clock's time to the file's */
enum { STAMP_TRIES = 3 };

/* A slot: magic, number, two lives, mark, the time it was written at, and the
 * hash of these. An older one has no time. */
static const char magic[] = "TLguard2", magic_before[] = "TLguard1";
/* The note: magic, life, seq, the time, and the hash of these. */
static const char magic_note[] = "TLnoted1";

struct slot {
    uint64_t number, lives[2], mark;
    int64_t stamp_ns; /* CLOCK_REALTIME; 0: it says nothing */
};

static bool slot_read(int fd, int which, struct slot *ret)
{
    uint8_t bytes[USED];
    struct cursor c = cursor_init(slice_make(bytes, sizeof bytes));
    struct slot s = { .stamp_ns = 0 };
    struct slice name;
    bool older;

    if (pread(fd, bytes, sizeof bytes, which * SLOT_SIZE) != sizeof bytes)
        return false;
    name = cursor_take(&c, 8);
    older = slice_eq(name, slice_str(magic_before));
    if (!older && !slice_eq(name, slice_str(magic)))
        return false;
    s.number = cursor_u64(&c);
    s.lives[0] = cursor_u64(&c);
    s.lives[1] = cursor_u64(&c);
    s.mark = cursor_u64(&c);
    if (!older)
        s.stamp_ns = (int64_t)cursor_u64(&c);
    if (cursor_u64(&c) != XXH3_64bits(bytes, (older ? USED_BEFORE : USED) - 8))
        return false;
    *ret = s;
    return true;
}

static bool note_read(struct guard *g, int64_t *stamp_ns)
{
    uint8_t bytes[NOTE_USED];
    struct cursor c = cursor_init(slice_make(bytes, sizeof bytes));
    uint64_t life, seq;

    if (pread(g->fd, bytes, sizeof bytes, NOTE_AT) != sizeof bytes
        || !slice_eq(cursor_take(&c, 8), slice_str(magic_note)))
        return false;
    life = cursor_u64(&c);
    seq = cursor_u64(&c);
    *stamp_ns = (int64_t)cursor_u64(&c);
    if (cursor_u64(&c) != XXH3_64bits(bytes, NOTE_USED - 8))
        return false;
    g->note.life = life;
    g->note.seq = seq;
    return true;
}

static int64_t ns_of(struct timespec t)
{
    return t.tv_sec * SECOND + t.tv_nsec;
}

/* The time at which the file says it changed is behind this one. */
static int64_t changed_after(int fd, int64_t stamp_ns)
{
    struct stat st;

    return fstat(fd, &st) < 0 ? 0 : ns_of(st.st_ctim) - stamp_ns;
}

static void load(struct guard *g)
{
    int64_t stamp_ns = 0, noted_ns;
    struct slot s;

    for (int i = 0; i < SLOTS; i++) {
        if (!slot_read(g->fd, i, &s) || s.number < g->number)
            continue;
        g->found = true;
        g->number = s.number;
        memcpy(g->lives, s.lives, sizeof g->lives);
        g->mark = s.mark;
        stamp_ns = s.stamp_ns;
    }
    if (note_read(g, &noted_ns) && stamp_ns)
        stamp_ns = MAX(stamp_ns, noted_ns);
    g->touched = stamp_ns && changed_after(g->fd, stamp_ns) > TOUCH_NS;
}

/* All get their blocks now, while there is room for them; an older program has
 * made two. */
static int allocate(int fd)
{
    static const uint8_t zeros[SIZE];
    off_t size = lseek(fd, 0, SEEK_END);
    size_t more = size < 0 || size > SIZE ? 0 : (size_t)(SIZE - size);

    if (more == 0)
        return size < 0 ? ERR_IO : 0;
    if (pwrite(fd, zeros, more, size) != (ssize_t)more)
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
    load(&fresh);
    rc = allocate(fresh.fd);
    if (rc < 0) {
        guard_close(&fresh);
        return rc;
    }
    *g = fresh;
    return 0;
}

void guard_close(struct guard *g)
{
    if (g->fd >= 0)
        close(g->fd);
    g->fd = -1;
}

static int slot_encode(struct buf *b, const struct slot *s)
{
    buf_reset(b);
    put_raw(b, slice_str(magic));
    put_u64(b, s->number);
    put_u64(b, s->lives[0]);
    put_u64(b, s->lives[1]);
    put_u64(b, s->mark);
    put_u64(b, (uint64_t)s->stamp_ns);
    if (!b->failed)
        put_u64(b, XXH3_64bits(b->ptr, b->len));
    return b->failed ? ERR_NOMEM : 0;
}

static int slot_put(int fd, const struct slot *s, struct buf *b)
{
    int rc = slot_encode(b, s);
    ssize_t n;

    if (rc < 0)
        return rc;
    n = pwrite(fd, b->ptr, b->len, (off_t)(s->number % SLOTS) * SLOT_SIZE);
    return n == (ssize_t)b->len ? 0 : err_from_errno(errno);
}

/* The clock is read before the write, and the file may get a later time: this
 * process was held up, or the file system has a clock of its own. Then it is
 * tried again, and in the end the slot says nothing of it. */
static int slot_write(int fd, struct slot *s, struct buf *b)
{
    struct timespec now;
    int rc = 0;

    for (int left = STAMP_TRIES; rc == 0; left--) {
        clock_gettime(CLOCK_REALTIME, &now);
        s->stamp_ns = left ? ns_of(now) : 0;
        rc = slot_put(fd, s, b);
        if (!left || changed_after(fd, s->stamp_ns) < TOUCH_NS / 2)
            break;
    }
    if (rc == 0 && fdatasync(fd) < 0)
        rc = err_from_errno(errno);
    return rc;
}

int guard_write(struct guard *g, uint64_t life, uint64_t next_life,
                uint64_t mark)
{
    struct slot s = { g->number + 1, { life, next_life }, mark, 0 };
    struct buf b = BUF_INIT;
    int rc = slot_write(g->fd, &s, &b);

    buf_fini(&b);
    if (rc < 0)
        return rc;
    g->timed = s.stamp_ns != 0;
    g->number = s.number;
    memcpy(g->lives, s.lives, sizeof g->lives);
    g->mark = mark;
    return 0;
}

static int64_t wall_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return ns_of(now);
}

static void note_put(const struct guard *g, int64_t stamp_ns)
{
    uint8_t room[NOTE_USED];
    struct buf b = { room, 0, sizeof room, false }; /* it never grows */

    put_raw(&b, slice_str(magic_note));
    put_u64(&b, g->note.life);
    put_u64(&b, g->note.seq);
    put_u64(&b, (uint64_t)stamp_ns);
    put_u64(&b, XXH3_64bits(b.ptr, b.len));
    CHECK(b.ptr == room && b.len == sizeof room);
    (void)!pwrite(g->fd, b.ptr, b.len, NOTE_AT);
}

/* As in slot_write(): the clock of this process need not be the file's. Where
 * they do not agree the note is of the end of time, and nothing comes after it. */
void guard_note(struct guard *g, uint64_t life, uint64_t seq)
{
    int tries = g->timed ? STAMP_TRIES : 0;
    int64_t stamp_ns;

    g->note.life = life;
    g->note.seq = seq;
    do {
        stamp_ns = tries-- > 0 ? wall_ns() : INT64_MAX;
        note_put(g, stamp_ns);
    } while (stamp_ns != INT64_MAX
             && changed_after(g->fd, stamp_ns) > TOUCH_NS / 2);
}
