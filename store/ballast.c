#include "store/ballast.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/err.h"

enum { STEP = 4 << 20 };

void ballast_init(struct ballast *b, const char *path, uint64_t size)
{
    struct stat st;

    *b = (struct ballast){ .store = path, .size = size };
    if (file_name(b->path, path, "-ballast") < 0)
        b->size = 0;
    else if (stat(b->path, &st) < 0)
        b->have = 0;
    else if ((uint64_t)st.st_size <= size && st.st_blocks * 512 >= st.st_size)
        b->have = (uint64_t)st.st_size;
    else
        (void)unlink(b->path); /* of another size, or a copy without blocks */
}

/* Whoever has it not yet leaves as much again to everybody else. */
static bool is_room(const struct ballast *b)
{
    struct statvfs fs;
    uint64_t need = b->size - b->have + (b->out ? 0 : b->size);

    return statvfs(b->store, &fs) == 0
           && (uint64_t)fs.f_bavail * fs.f_frsize >= need;
}

static int grow(struct ballast *b, int fd)
{
    uint64_t len = MIN(b->size - b->have, (uint64_t)STEP);

    if (fallocate(fd, 0, (off_t)b->have, (off_t)len) < 0)
        return err_from_errno(errno);
    b->have += len;
    return b->have < b->size;
}

/* Half of it is of no use: it is whole, or it is not there. */
static int give_up(struct ballast *b, int rc)
{
    if (b->have)
        (void)unlink(b->path);
    b->have = 0;
    if (rc != ERR_FULL)
        b->size = 0;
    return rc;
}

int ballast_step(struct ballast *b)
{
    int fd, rc;

    if (b->have >= b->size)
        return 0;
    if (!is_room(b))
        return give_up(b, ERR_FULL);
    fd = open(b->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (fd < 0)
        return give_up(b, err_from_errno(errno));
    rc = grow(b, fd);
    close(fd);
    if (rc == 0)
        b->out = false;
    return rc < 0 ? give_up(b, rc) : rc;
}

bool ballast_release(struct ballast *b)
{
    if (b->have == 0)
        return false;
    (void)unlink(b->path);
    b->have = 0;
    b->out = true;
    return true;
}
