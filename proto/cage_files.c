/* cage_files.c - the wall of files, TCP ports, signals and abstract sockets.
 * The kernel's words of this are newer than the headers of many systems, so
 * they stand here. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "proto/cage_walls.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif

enum { ASK_VERSION = 1, RULE_BENEATH = 1 };

/* linux/landlock.h, struct landlock_ruleset_attr of version 6. */
struct ruleset {
    uint64_t files, ports, scoped;
};

struct rule_beneath {
    uint64_t files;
    int32_t fd;
} __attribute__((packed));

#define BIT(n) (UINT64_C(1) << (n))

#define RUN       BIT(0)
#define WRITE     BIT(1)
#define READ      BIT(2)
#define READ_DIR  BIT(3)
#define RMDIR     BIT(4)
#define UNLINK    BIT(5)
#define MAKE_DIR  BIT(7)
#define MAKE_FILE BIT(8)
#define MAKE_SOCK BIT(9)
#define MAKE_LINK BIT(12)
#define REFER     BIT(13) /* version 2: rename and link between directories */
#define CUT       BIT(14) /* version 3: truncate */
#define DEVICE    BIT(15) /* version 5: ioctl on devices */

#define OF_FILES (RUN | WRITE | READ | CUT | DEVICE) /* not of directories */

#define BIND    BIT(0) /* version 4 */
#define CONNECT BIT(1)

#define ABSTRACT BIT(0) /* version 6: sockets */
#define SIGNALS  BIT(1)

static uint64_t known_files(int version)
{
    static const unsigned bits[] = {0, 13, 14, 15, 15, 16};

    return BIT(bits[MIN((size_t)version, ARRAY_LEN(bits) - 1)]) - 1;
}

static uint64_t rights(enum cage_access access)
{
    switch (access) {
    case CAGE_READ:
        return READ | READ_DIR;
    case CAGE_RUN:
        return READ | READ_DIR | RUN;
    case CAGE_APPEND:
        return WRITE | MAKE_FILE;
    case CAGE_REMOVE:
        return UNLINK;
    case CAGE_FIFOS:
        return READ | WRITE | DEVICE;
    default:
        return WRITE | READ | READ_DIR | RMDIR | UNLINK | MAKE_DIR |
               MAKE_FILE | MAKE_SOCK | MAKE_LINK | REFER | CUT;
    }
}

/* What is not there needs no rule. */
static int allow(int set, const char *path, uint64_t files)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    struct rule_beneath rule = {.files = files, .fd = fd};
    struct stat st;
    int rc, error;

    if (fd < 0)
        return errno == ENOENT || errno == EACCES || errno == ENOTDIR ? 0 : -1;
    if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
        rule.files &= OF_FILES;
    rc = rule.files ? (int)syscall(SYS_landlock_add_rule, set, RULE_BENEATH,
                                   &rule, 0)
                    : 0;
    error = errno;
    close(fd);
    errno = error;
    return rc;
}

static int allow_all(int set, const struct cage *c, uint64_t known,
                     bool read_all)
{
    int rc = read_all ? allow(set, "/", rights(CAGE_RUN) & known) : 0;

    for (unsigned i = 0; rc == 0 && i < c->count; i++)
        rc = allow(set, c->at[i].path, rights(c->at[i].access) & known);
    return rc;
}

static struct ruleset ruleset_for(const struct cage *c, int version)
{
    struct ruleset set = {.files = known_files(version)};

    if (version >= 4 && !c->tcp_link)
        set.ports = BIND | CONNECT;
    if (version >= 6)
        set.scoped = SIGNALS | (c->no_scope ? 0 : ABSTRACT);
    return set;
}

static size_t ruleset_size(int version)
{
    return version >= 6   ? sizeof(struct ruleset)
           : version >= 4 ? offsetof(struct ruleset, scoped)
                          : offsetof(struct ruleset, ports);
}

int wall_files(const struct cage *c, bool read_all)
{
    int version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
                               ASK_VERSION);
    struct ruleset attr;
    int set, rc, error;

    if (version < 1)
        return -1;
    attr = ruleset_for(c, version);
    set = (int)syscall(SYS_landlock_create_ruleset, &attr,
                       ruleset_size(version), 0);
    if (set < 0)
        return -1;
    rc = allow_all(set, c, attr.files, read_all);
    if (rc == 0)
        rc = (int)syscall(SYS_landlock_restrict_self, set, 0);
    error = errno;
    close(set);
    errno = error;
    return rc < 0 ? -1 : version;
}
