#include "proto/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "proto/user.h"

/* "/link-LIFELIFE-4294967295-1" or "/router", and the terminator. */
enum { SOCKET_NAME_MAX = sizeof "/link-LIFELIFE-4294967295-1" };
enum { LINKS_MAX = sizeof((struct sockaddr_un *)0)->sun_path
                   - SOCKET_NAME_MAX };

static const char *const private_names[] = {"router", "link-"};

/* ---- files ---------------------------------------------------------------- */

/* DIR/name in a buffer of PATH_MAX. ERR_BAD: too long. */
static int path_in(char out[PATH_MAX], const char *dir, const char *name)
{
    int n = snprintf(out, PATH_MAX, "%s/%s", dir, name);

    return n < 0 || n >= PATH_MAX ? ERR_BAD : 0;
}

/* The directory and all above it: the last with mode 0700. */
static int make_dirs(const char *dir)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s", dir);

    if (n < 0 || n >= PATH_MAX)
        return ERR_BAD;
    for (char *at = path + 1; (at = strchr(at, '/')); at++) {
        *at = '\0';
        if (mkdir(path, 0777) < 0 && errno != EEXIST)
            return err_from_errno(errno);
        *at = '/';
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_from_errno(errno);
    return 0;
}

static bool is_private(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
           st.st_uid == geteuid() && (st.st_mode & 077) == 0;
}

static void empty_links(const char *links)
{
    DIR *d = opendir(links);
    struct dirent *e;

    if (!d)
        return;
    while ((e = readdir(d)))
        for (size_t i = 0; i < ARRAY_LEN(private_names); i++)
            if (strncmp(e->d_name, private_names[i],
                        strlen(private_names[i])) == 0)
                (void)unlinkat(dirfd(d), e->d_name, 0);
    (void)closedir(d);
}

/* ---- the lock ------------------------------------------------------------- */

/* The number that the lock's holder has written; 0: none. */
static long holder(int fd)
{
    char text[24] = "";

    if (pread(fd, text, sizeof text - 1, 0) <= 0)
        return 0;
    return strtol(text, NULL, 10);
}

static int take_lock(struct place *p, char why[PLACE_WHY_MAX])
{
    char path[PATH_MAX], whose[USER_WHOSE_MAX];
    int rc = path_in(path, p->dir, "router.lock");

    if (rc == 0) {
        p->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        rc = p->lock < 0 ? err_from_errno(errno) : 0;
    }
    if (rc < 0) {
        snprintf(why, PLACE_WHY_MAX, "cannot open router.lock in %.200s: %s%s",
                 p->dir, err_text(rc), user_whose(p->dir, whose));
        return rc;
    }
    if (flock(p->lock, LOCK_EX | LOCK_NB) < 0) {
        rc = errno == EWOULDBLOCK ? ERR_BUSY : ERR_IO;
        snprintf(why, PLACE_WHY_MAX,
                 "another router, process %ld, runs in %.200s",
                 holder(p->lock), p->dir);
        return rc;
    }
    if (ftruncate(p->lock, 0) < 0 ||
        dprintf(p->lock, "%ld\n", (long)getpid()) < 0) {
        snprintf(why, PLACE_WHY_MAX, "cannot write router.lock in %.200s",
                 p->dir);
        return ERR_IO;
    }
    return 0;
}

/* ---- the sockets' directory ----------------------------------------------- */

bool place_is_long(const char *dir)
{
    return strlen(dir) + strlen("/link") > LINKS_MAX;
}

void place_make_links(const char *dir)
{
    char path[PATH_MAX];

    if (path_in(path, dir, "link") == 0 && make_dirs(dir) == 0)
        (void)mkdir(path, 0700);
}

static int links_in_dir(struct place *p)
{
    char path[PATH_MAX];
    int rc = path_in(path, p->dir, "link");

    if (rc < 0)
        return ERR_TOO_BIG;
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_from_errno(errno);
    (void)chmod(path, 0700); /* is_private() looks whether it helped */
    if (!is_private(path))
        return ERR_DENIED;
    if (place_is_long(p->dir))
        return ERR_TOO_BIG;
    snprintf(p->links, sizeof p->links, "%.*s", (int)LINKS_MAX, path);
    return 0;
}

/* The private directory that a router here had before. */
static int links_of_before(struct place *p)
{
    char url[BUS_URL_MAX];
    char *end;

    if (place_read_url(p->dir, url) < 0 || strncmp(url, "ipc://", 6) != 0)
        return ERR_NOT_FOUND;
    end = strrchr(url, '/');
    *end = '\0';
    end = strrchr(url, '/');
    if (!end || strncmp(end, "/touchline-", 11) != 0 || !is_private(url + 6))
        return ERR_NOT_FOUND;
    snprintf(p->links, sizeof p->links, "%s", url + 6);
    return 0;
}

const char *const *place_bases(void)
{
    static const char *bases[4];
    const char *own = getenv("XDG_RUNTIME_DIR");
    size_t n = 0;

    if (own && own[0] == '/')
        bases[n++] = own;
    bases[n++] = "/run";
    bases[n++] = "/tmp";
    bases[n] = NULL;
    return bases;
}

static int links_elsewhere(struct place *p)
{
    if (links_of_before(p) == 0)
        return 0;
    for (const char *const *base = place_bases(); *base; base++) {
        char path[LINKS_MAX + 1];
        int n = snprintf(path, sizeof path, "%s/touchline-XXXXXX", *base);

        if (n < 0 || (size_t)n >= sizeof path || !mkdtemp(path))
            continue;
        snprintf(p->links, sizeof p->links, "%s", path);
        return 0;
    }
    return ERR_IO;
}

static int find_links(struct place *p, char why[PLACE_WHY_MAX])
{
    int rc = links_in_dir(p);

    if (rc == ERR_TOO_BIG)
        rc = links_elsewhere(p);
    if (rc < 0)
        snprintf(why, PLACE_WHY_MAX,
                 "no private directory for sockets in %.200s: %s", p->dir,
                 err_text(rc));
    return rc;
}

/* ---- place ---------------------------------------------------------------- */

int place_open(struct place *ret, const char *dir, char why[PLACE_WHY_MAX])
{
    struct place p = {.lock = -1};
    int rc = make_dirs(dir);

    if (rc == 0 && !(p.dir = realpath(dir, NULL)))
        rc = err_from_errno(errno);
    if (rc < 0) {
        snprintf(why, PLACE_WHY_MAX, "cannot make the directory %.200s: %s",
                 dir, err_text(rc));
        return rc;
    }
    rc = take_lock(&p, why);
    if (rc == 0)
        rc = find_links(&p, why);
    if (rc < 0) {
        if (p.lock >= 0)
            close(p.lock);
        free(p.dir);
        return rc;
    }
    empty_links(p.links);
    *ret = p;
    return 0;
}

/* A new file, whatever somebody has put there before. */
static int write_new(const char *path, const char *text)
{
    bool written;
    int fd;

    (void)unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return ERR_IO;
    written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    return close(fd) == 0 && written ? 0 : ERR_IO;
}

/* A new link, whatever somebody has put there before. */
static int link_new(const char *path, const char *to)
{
    (void)unlink(path);
    return symlink(to, path) < 0 ? ERR_IO : 0;
}

/* All of `name` or nothing: `fresh` is made first, then takes its place. */
static int put(const struct place *p, const char *name, const char *fresh,
               const char *text, int (*make)(const char *, const char *))
{
    char path[PATH_MAX], first[PATH_MAX];

    if (path_in(path, p->dir, name) < 0 || path_in(first, p->dir, fresh) < 0 ||
        make(first, text) < 0)
        return ERR_IO;
    return rename(first, path) < 0 ? ERR_IO : 0;
}

int place_announce(const struct place *p, const char *url)
{
    char line[BUS_URL_MAX + 1];
    int rc;

    snprintf(line, sizeof line, "%s\n", url);
    rc = put(p, "link/router.url", "link/router.url.new", line, write_new);
    return rc < 0 ? rc
                  : put(p, "router.url", "router.url.new", "link/router.url",
                        link_new);
}

void place_close(struct place *p)
{
    static const char *const names[] = {"router.url", "link/router.url"};
    char path[PATH_MAX];

    if (!p->dir)
        return;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (path_in(path, p->dir, names[i]) == 0)
            (void)unlink(path);
    empty_links(p->links);
    if (place_is_long(p->dir)) /* gateways keep to the one in DIR */
        (void)rmdir(p->links);
    close(p->lock);
    free(p->dir);
    *p = (struct place){.lock = -1};
}

int place_read_url(const char *dir, char ret[BUS_URL_MAX])
{
    char path[PATH_MAX], text[BUS_URL_MAX + 1];
    ssize_t n;
    int fd;

    if (path_in(path, dir, "router.url") < 0)
        return ERR_NOT_FOUND;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return err_from_errno(errno);
    n = read(fd, text, sizeof text);
    close(fd);
    if (n < 0)
        return ERR_IO;
    while (n > 0 && text[n - 1] == '\n')
        n--;
    if (n == 0 || n >= BUS_URL_MAX || memchr(text, '\0', (size_t)n))
        return ERR_BAD;
    memcpy(ret, text, (size_t)n);
    ret[n] = '\0';
    return 0;
}
