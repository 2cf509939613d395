#include "proto/sheet.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"

#define MAGIC UINT64_C(0x746365687374656c) /* "letshect" */

/* Of the places: a text has its length in front of it. */
enum {
    PLACES_AT = 4096,
    PLACE = 2 * OPT_FILE_MAX,
    FIRST = 2, /* behind the two that are written in turn */
};

struct head {
    uint64_t magic, edition, refused;
};

static off_t place(uint64_t number)
{
    return PLACES_AT + (off_t)number * PLACE;
}

static int write_all(int fd, const void *bytes, size_t len, off_t at)
{
    const char *from = bytes;

    while (len) {
        ssize_t n = pwrite(fd, from, len, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ERR_IO;
        from += n;
        at += n;
        len -= (size_t)n;
    }
    return 0;
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

static int put_text(int fd, uint64_t number, struct slice text)
{
    uint64_t len = text.len;
    int rc = len <= OPT_FILE_MAX
                 ? write_all(fd, &len, sizeof len, place(number))
                 : ERR_IO;

    return rc < 0 ? rc
                  : write_all(fd, text.ptr, text.len,
                              place(number) + (off_t)sizeof len);
}

static int put_head(const struct sheet *s, uint64_t edition, uint64_t refused)
{
    struct head h = { MAGIC, edition, refused };

    return write_all(s->fd, &h, sizeof h, 0);
}

int sheet_new(struct sheet *s, struct slice text)
{
    char path[64];
    int rc;

    *s = (struct sheet){ .handed = -1, .edition = 1 };
    s->fd = memfd_create("touchline-config", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", s->fd);
    if (s->fd >= 0)
        s->handed = open(path, O_RDONLY | O_CLOEXEC);
    rc = s->handed < 0 || ftruncate(s->fd, place(FIRST + 1)) < 0
             ? ERR_IO
             : put_text(s->fd, FIRST, text);
    if (rc == 0)
        rc = put_head(s, s->edition, 0);
    if (rc < 0) {
        int error = errno;

        sheet_fini(s);
        errno = error;
    }
    return rc;
}

int sheet_write(struct sheet *s, struct slice text)
{
    int rc = put_text(s->fd, (s->edition + 1) % 2, text);

    if (rc == 0)
        rc = put_head(s, s->edition + 1, s->refused);
    if (rc == 0)
        s->edition++;
    return rc;
}

void sheet_refuse(struct sheet *s)
{
    if (put_head(s, s->edition, s->refused + 1) == 0)
        s->refused++;
}

void sheet_fini(struct sheet *s)
{
    if (s->fd > 0)
        close(s->fd);
    if (s->handed > 0)
        close(s->handed);
    *s = (struct sheet){ .fd = -1, .handed = -1 };
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
