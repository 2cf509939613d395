#include "proto/sheet.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"

#define MAGIC UINT64_C(0x746365687374656c) /* "letshect" */

/* Of the places: a text has its length in front of it. */
enum {
    PLACES_AT = 4096,
    PLACE = 2 * OPT_FILE_MAX,
    FIRST = 2, /* behind the two that are written in turn */
    SIZE = PLACES_AT + (FIRST + 1) * PLACE,
};

struct head {
    uint64_t magic, edition, refused;
};

static off_t place(uint64_t number)
{
    return PLACES_AT + (off_t)number * PLACE;
}

static int read_all(int fd, void *bytes, size_t len, off_t at)
{
    char *to = bytes;

    while (len) {
        ssize_t n = pread(fd, to, len, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ERR_IO;
        to += n;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

static int put_text(const struct sheet *s, uint64_t number, struct slice text)
{
    uint64_t len = text.len;
    uint8_t *at = s->map + place(number);

    if (len > OPT_FILE_MAX)
        return ERR_IO;
    memcpy(at, &len, sizeof len);
    if (text.len) /* without a file there is none to point at */
        memcpy(at + sizeof len, text.ptr, text.len);
    return 0;
}

/* Whoever sees it sees the text that it names. */
static void put_head(const struct sheet *s, uint64_t edition, uint64_t refused)
{
    struct head h = { MAGIC, edition, refused };

    atomic_thread_fence(memory_order_seq_cst);
    memcpy(s->map, &h, sizeof h);
    atomic_thread_fence(memory_order_seq_cst);
}

/* From now on only our mapping writes. Whoever holds a descriptor for reading
 * could open it anew for writing, through /proc, of which Landlock says nothing
 * as memory has no place among the files. Kernels that have no such seal have
 * no Landlock either. */
static int seal(int fd)
{
    return fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK |
                                  F_SEAL_GROW | F_SEAL_SEAL) < 0 &&
                   errno != EINVAL
               ? ERR_IO : 0;
}

/* No core dump shows it, and no child has it by birth. */
static int map_for_writing(struct sheet *s, int fd)
{
    void *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (at == MAP_FAILED)
        return ERR_IO;
    s->map = at;
    (void)madvise(at, SIZE, MADV_DONTDUMP);
    (void)madvise(at, SIZE, MADV_DONTFORK);
    return 0;
}

int sheet_new(struct sheet *s, struct slice text)
{
    char path[64];
    int fd = memfd_create("touchline-config", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int rc, error;

    *s = (struct sheet){ .handed = -1, .edition = 1 };
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd >= 0)
        s->handed = open(path, O_RDONLY | O_CLOEXEC);
    rc = s->handed < 0 || ftruncate(fd, SIZE) < 0 ? ERR_IO
                                                  : map_for_writing(s, fd);
    if (rc == 0)
        rc = seal(fd);
    if (rc == 0)
        rc = put_text(s, FIRST, text);
    if (rc == 0)
        put_head(s, s->edition, 0);
    error = errno;
    if (fd >= 0)
        close(fd);
    if (rc < 0)
        sheet_fini(s);
    errno = error;
    return rc;
}

int sheet_write(struct sheet *s, struct slice text)
{
    int rc = put_text(s, (s->edition + 1) % 2, text);

    if (rc == 0)
        put_head(s, ++s->edition, s->refused);
    return rc;
}

void sheet_refuse(struct sheet *s)
{
    if (s->map)
        put_head(s, s->edition, ++s->refused);
}

void sheet_fini(struct sheet *s)
{
    if (s->map)
        munmap(s->map, SIZE);
    if (s->handed > 0)
        close(s->handed);
    *s = (struct sheet){ .handed = -1 };
}

/* ---- for a child -------------------------------------------------------- */

static int take_text(int fd, uint64_t number, struct slice *ret)
{
    uint64_t len;
    uint8_t *text;
    int rc = read_all(fd, &len, sizeof len, place(number));

    if (rc == 0 && len > OPT_FILE_MAX)
        rc = ERR_BAD;
    if (rc < 0)
        return rc;
    text = malloc(len + 1);
    if (!text)
        return ERR_NOMEM;
    rc = read_all(fd, text, len, place(number) + (off_t)sizeof len);
    *ret = slice_make(text, len);
    if (rc < 0)
        opt_forget(ret);
    return rc;
}

/* The edition that the head names; *again: it has changed meanwhile, and what
 * was read may be a mixture. */
static int take(int fd, struct sheet_text *ret, bool *again)
{
    struct head h, behind;
    int rc = read_all(fd, &h, sizeof h, 0), behind_rc;

    *again = false;
    if (rc == 0 && h.magic != MAGIC)
        rc = ERR_BAD;
    if (rc < 0)
        return rc;
    if (h.edition > 1)
        rc = take_text(fd, h.edition % 2, &ret->now);
    behind_rc = read_all(fd, &behind, sizeof behind, 0);
    if (behind_rc < 0)
        return behind_rc;
    ret->edition = h.edition;
    ret->refused = h.refused;
    *again = behind.edition != h.edition;
    return *again ? 0 : rc;
}

int sheet_read(int fd, struct sheet_text *ret)
{
    bool again = true;
    int rc = 0;

    *ret = (struct sheet_text){ .edition = 0 };
    while (rc == 0 && again) {
        opt_forget(&ret->now);
        rc = take(fd, ret, &again);
    }
    if (rc == 0)
        rc = take_text(fd, FIRST, &ret->first);
    if (rc < 0) {
        opt_forget(&ret->now);
        opt_forget(&ret->first);
    }
    return rc;
}
