#include "proto/user.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/slice.h"

#define SERVICE_USER "touchline"

static int refuse(char why[USER_WHY_MAX], int rc, const char *what,
                  const char *path)
{
    snprintf(why, USER_WHY_MAX, what, path);
    return rc;
}

/* ---- choosing ---------------------------------------------------------- */

static void fill(struct user *u, const struct passwd *pw)
{
    u->uid = pw->pw_uid;
    u->gid = pw->pw_gid;
    u->known = true;
    snprintf(u->name, sizeof u->name, "%s", pw->pw_name);
}

/* A number need not have a name; its group is then the same number. */
static void fill_number(struct user *u, uid_t uid)
{
    const struct passwd *pw = getpwuid(uid);

    if (pw) {
        fill(u, pw);
        return;
    }
    u->uid = uid;
    u->gid = (gid_t)uid;
    snprintf(u->name, sizeof u->name, "%u", (unsigned)uid);
}

static int find(struct user *u, const char *wanted, char why[USER_WHY_MAX])
{
    const struct passwd *pw = getpwnam(wanted);
    uint64_t number;

    u->asked = true;
    if (pw) {
        fill(u, pw);
        return 0;
    }
    if (slice_parse_u64(slice_str(wanted), &number) < 0 ||
        number >= UINT32_MAX)
        return refuse(why, ERR_NOT_FOUND, "process.user: there is no user %s; "
                      "make it with adduser, or name another", wanted);
    fill_number(u, (uid_t)number);
    return 0;
}

static bool is_empty(const char *dir)
{
    DIR *d = opendir(dir);
    const struct dirent *e;
    bool empty = true;

    if (!d)
        return false;
    while (empty && (e = readdir(d)))
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    (void)closedir(d);
    return empty;
}

/* Can u get as far as the directory that dir is, or will be, in? */
static bool can_reach(const struct user *u, const char *dir)
{
    char above[4096];
    char *slash;
    bool can;

    snprintf(above, sizeof above, "%s", dir);
    slash = strrchr(above, '/');
    if (slash)
        slash[slash == above] = '\0';
    if (user_step_down(u) < 0) {
        (void)!user_step_up(u);
        return false;
    }
    can = faccessat(AT_FDCWD, slash ? above : ".", X_OK, AT_EACCESS) == 0;
    return user_step_up(u) == 0 && can;
}

/* Nobody has said whom to become. */
static void guess(struct user *u, const char *dir)
{
    struct user other = {.uid = 0};
    const struct passwd *pw = getpwnam(SERVICE_USER);
    struct stat st;
    bool there = stat(dir, &st) == 0;

    if (there && st.st_uid != 0)
        fill_number(&other, st.st_uid);
    else if (pw && (!there || is_empty(dir)))
        fill(&other, pw);
    other.changes = other.uid != 0;
    if (other.changes && can_reach(&other, dir))
        *u = other;
}

int user_choose(struct user *ret, const char *wanted, const char *dir,
                char why[USER_WHY_MAX])
{
    struct user u = {.uid = 0};
    int rc = 0;

    if (geteuid() != 0) {
        fill_number(&u, geteuid());
        *ret = u;
        return 0;
    }
    snprintf(u.name, sizeof u.name, "root");
    if (wanted[0])
        rc = find(&u, wanted, why);
    else
        guess(&u, dir);
    if (rc < 0)
        return rc;
    u.changes = u.uid != 0;
    u.is_root = u.uid == 0;
    *ret = u;
    return 0;
}

/* ---- the directory ----------------------------------------------------- */

/* By descriptor: whoever may write above it cannot put something else there
 * meanwhile. */
static int give_away(const struct user *u, const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fchown(fd, u->uid, u->gid);

    if (fd >= 0)
        close(fd);
    return rc;
}

static int may_use(const struct user *u, const char *dir,
                   char why[USER_WHY_MAX])
{
    int rc = user_step_down(u), error = 0;

    if (rc == 0 && faccessat(AT_FDCWD, dir, R_OK | W_OK | X_OK,
                             AT_EACCESS) < 0)
        error = errno;
    if (rc == 0)
        rc = user_step_up(u);
    if (rc == 0 && error) {
        snprintf(why, USER_WHY_MAX, "%s cannot use %.300s: %s", u->name, dir,
                 strerror(error));
        return ERR_DENIED;
    }
    return rc < 0 ? refuse(why, rc, "cannot act as %s", u->name) : 0;
}

int user_own_dir(const struct user *u, const char *dir,
                 char why[USER_WHY_MAX])
{
    struct stat st;
    bool made;

    if (!u->changes)
        return 0;
    made = mkdir(dir, 0700) == 0;
    if ((!made && errno != EEXIST) || stat(dir, &st) < 0) {
        snprintf(why, USER_WHY_MAX, "cannot make %.300s: %s; choose another with --dir DIR", dir,
                 strerror(errno));
        return ERR_IO;
    }
    if (st.st_uid != u->uid && !made && (st.st_uid || !is_empty(dir))) {
        snprintf(why, USER_WHY_MAX, "%.300s does not belong to %s; `chown -R "
                 "%s %.300s`, or set process.user", dir, u->name, u->name,
                 dir);
        return ERR_DENIED;
    }
    if (st.st_uid != u->uid && give_away(u, dir) < 0) {
        snprintf(why, USER_WHY_MAX, "cannot give %.300s to %s: %s", dir,
                 u->name, strerror(errno));
        return ERR_IO;
    }
    return may_use(u, dir, why);
}

const char *user_whose(const char *dir, char ret[USER_WHOSE_MAX])
{
    struct user owner = {.uid = 0}, me = {.uid = 0};
    struct stat st;

    ret[0] = '\0';
    if (stat(dir, &st) < 0 || st.st_uid == geteuid())
        return ret;
    fill_number(&owner, st.st_uid);
    fill_number(&me, geteuid());
    snprintf(ret, USER_WHOSE_MAX, "; it belongs to %s, and this is %s",
             owner.name, me.name);
    return ret;
}

/* ---- stepping down ----------------------------------------------------- */

static int set_groups(const struct user *u)
{
    return u->known ? initgroups(u->name, u->gid) : setgroups(0, NULL);
}

/* The real one as well, or signals would still be root's. */
int user_step_down(const struct user *u)
{
    if (!u->changes)
        return 0;
    return set_groups(u) < 0 || setresgid(u->gid, u->gid, 0) < 0 ||
                   setresuid(u->uid, u->uid, 0) < 0
               ? ERR_DENIED : 0;
}

int user_step_up(const struct user *u)
{
    if (!u->changes)
        return 0;
    return setresuid(0, 0, 0) < 0 || setresgid(0, 0, 0) < 0 ? ERR_DENIED : 0;
}

/* ---- for good ---------------------------------------------------------- */

/* Those that came with us (AmbientCapabilities=) have done their work. True:
 * there are none. */
static bool drop_capabilities(void)
{
    struct __user_cap_header_struct head = {
        .version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[2] = {{0}};
    uint32_t any = 0;

    if (syscall(SYS_capget, &head, caps) < 0)
        return false;
    for (unsigned i = 0; i < 2; i++)
        any |= caps[i].effective | caps[i].permitted | caps[i].inheritable;
    if (!any)
        return true;
    memset(caps, 0, sizeof caps);
    return syscall(SYS_capset, &head, caps) == 0;
}

static bool is_stuck(const struct user *u)
{
    uid_t r, e, s;
    gid_t rg, eg, sg;

    if (getresuid(&r, &e, &s) < 0 || getresgid(&rg, &eg, &sg) < 0)
        return false;
    if (r != u->uid || e != u->uid || s != u->uid || rg != u->gid ||
        eg != u->gid || sg != u->gid)
        return false;
    return setuid(0) < 0 && seteuid(0) < 0 &&
           (u->gid == 0 || setegid(0) < 0);
}

int user_become(const struct user *u, char why[USER_WHY_MAX])
{
    if (u->changes && (set_groups(u) < 0 ||
                       setresgid(u->gid, u->gid, u->gid) < 0 ||
                       setresuid(u->uid, u->uid, u->uid) < 0))
        return refuse(why, ERR_DENIED, "cannot become %s", u->name);
    if (!u->is_root && !drop_capabilities())
        return refuse(why, ERR_DENIED, "%s: capabilities cannot be given up",
                      u->name);
    if (u->changes && !is_stuck(u))
        return refuse(why, ERR_DENIED, "%s could become root again",
                      u->name);
    return 0;
}

int user_settle(struct user *ret, const char *wanted, const char *dir,
                bool only_look, char why[USER_WHY_MAX])
{
    int rc = user_choose(ret, wanted, dir, why);

    if (rc == 0 && !only_look)
        rc = user_own_dir(ret, dir, why);
    return rc < 0 ? rc : user_become(ret, why);
}
