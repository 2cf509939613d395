#include "proto/cage.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/secret.h"
#include "proto/cage_walls.h"
#include "proto/place.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

/* ---- planning ---------------------------------------------------------- */

int cage_allow(struct cage *c, const char *path, enum cage_access access)
{
    struct cage_path *p = c->at;

    for (; p < c->at + c->count; p++)
        if (p->access == access && strcmp(p->path, path) == 0)
            return 0;
    if (c->count == CAGE_PATHS || strlen(path) >= sizeof p->path)
        return ERR_FULL;
    snprintf(p->path, sizeof p->path, "%s", path);
    p->access = access;
    c->count++;
    return 0;
}

/* The directory that a file is in; "" for an empty one. ERR_FULL. */
static int directory_of(char ret[CAGE_PATH_MAX], const struct config *cfg,
                        const char *file)
{
    char *slash;
    int n = file[0] == '\0' ? snprintf(ret, CAGE_PATH_MAX, "%s", "")
            : file[0] == '/' ? snprintf(ret, CAGE_PATH_MAX, "%s", file)
                             : snprintf(ret, CAGE_PATH_MAX, "%s/%s", cfg->dir,
                                        file);

    if (n < 0 || n >= CAGE_PATH_MAX)
        return ERR_FULL;
    slash = strrchr(ret, '/');
    if (slash)
        slash[slash == ret] = '\0';
    return 0;
}

/* Where a link leads is what has to be allowed. */
static int allow_target(struct cage *c, const struct config *cfg,
                        const char *file, enum cage_access access)
{
    char *path = config_path(cfg, file);
    char *real = path ? realpath(path, NULL) : NULL;
    char dir[CAGE_PATH_MAX];
    int rc = path ? 0 : ERR_NOMEM;

    if (real)
        rc = directory_of(dir, cfg, real);
    if (real && rc == 0)
        rc = cage_allow(c, dir, access);
    free(real);
    free(path);
    return rc;
}

static int allow_beside(struct cage *c, const struct config *cfg,
                        const char *file, enum cage_access access)
{
    char dir[CAGE_PATH_MAX];
    int rc = directory_of(dir, cfg, file);

    if (rc < 0 || !dir[0])
        return rc;
    rc = cage_allow(c, dir, access);
    return rc < 0 ? rc : allow_target(c, cfg, file, access);
}

static bool is_tcp(const char *url)
{
    return strncmp(url, "tcp://", 6) == 0;
}

static const char *ipc_path(const char *url)
{
    return strncmp(url, "ipc://", 6) == 0 ? url + 6 : "";
}

/* Names of hosts are looked up whenever a link is made. */
static int plan_names(struct cage *c)
{
    static const char *const dirs[] = {
        "/etc", "/run/systemd/resolve", "/run/resolvconf",
        "/run/NetworkManager"};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(dirs); i++)
        rc = cage_allow(c, dirs[i], CAGE_READ);
    return rc;
}

/* What all kinds read of the system: how many processors there are. */
static int plan_common(struct cage *c, const struct config *cfg)
{
    int rc = cage_allow(c, "/sys/devices/system/cpu/online", CAGE_READ);

    if (rc == 0)
        rc = allow_beside(c, cfg, cfg->log.file, CAGE_APPEND);
    return rc == 0 && c->tcp_link ? plan_names(c) : rc;
}

/* Where the sockets live for which the directory's name is too long. */
static int plan_bases(struct cage *c, const char *dir)
{
    const char *const *base = place_is_long(dir) ? place_bases() : NULL;
    int rc = 0;

    if (base)
        c->hole = "--dir is too long: the sockets live elsewhere";
    for (; rc == 0 && base && *base; base++)
        rc = cage_allow(c, *base, CAGE_KEEP);
    return rc;
}

/* The database, the sockets, what is asked for by backup. */
static int plan_store(struct cage *c, const struct config *cfg)
{
    int rc = cage_allow(c, cfg->dir, CAGE_KEEP);

    if (rc == 0)
        rc = allow_beside(c, cfg, cfg->store.file, CAGE_KEEP);
    if (rc == 0 && cfg->store.backup_dir[0])
        rc = cage_allow(c, cfg->store.backup_dir, CAGE_KEEP);
    if (rc == 0)
        rc = allow_beside(c, cfg, ipc_path(cfg->router.url), CAGE_KEEP);
    if (rc == 0)
        rc = plan_bases(c, cfg->dir);
    return rc;
}

static int plan_router(struct cage *c, const struct config *cfg)
{
    int rc = plan_store(c, cfg);

    if (rc == 0) /* SQLite's own random numbers begin there */
        rc = cage_allow(c, "/dev/urandom", CAGE_READ);
    return rc < 0 ? rc : cage_allow(c, "/proc/sys/kernel/random/boot_id",
                                    CAGE_READ);
}

/* Where a socket's file is: unlike other paths from where we stand. */
static int allow_socket(struct cage *c, const char *file)
{
    char dir[CAGE_PATH_MAX];
    char *slash;
    int n = snprintf(dir, sizeof dir, "%s", file);

    if (n < 0 || n >= CAGE_PATH_MAX)
        return ERR_FULL;
    slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = '\0';
    return cage_allow(c, slash ? dir : ".", CAGE_REMOVE);
}

static int plan_unix(struct cage *c, const struct opt_list *list)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < list->count; i++)
        if (strncmp(list->items[i], "unix:", 5) == 0)
            rc = allow_socket(c, list->items[i] + 5);
    return rc;
}

static int plan_ports(struct cage *c, const struct config *cfg,
                      const char *edge)
{
    const struct config_edge *e = config_edge(cfg, edge);
    int rc = plan_unix(c, &e->listen);

    return rc < 0 ? rc : plan_unix(c, &e->admin);
}

/* Is `file` in `dir` or below it, or would be if it were made? */
static bool is_below(const char *dir, char file[CAGE_PATH_MAX])
{
    char *above = realpath(dir, NULL), *real = NULL, *slash;
    size_t len = above ? strlen(above) : 0;
    bool below;

    while (above && !(real = realpath(file, NULL)) &&
           (slash = strrchr(file, '/')) && slash > file)
        *slash = '\0';
    below = real && (len == 1 || (strncmp(above, real, len) == 0 &&
                                  (real[len] == '/' || real[len] == '\0')));
    free(above);
    free(real);
    return below;
}

/* A rule for a directory is one for all below. Where the database is, or the
 * sockets' directory, a gateway should not even be able to write. */
static int judge_holes(struct cage *c, const struct config *cfg)
{
    char what[CAGE_PATH_MAX];
    const char *const kept[] = {cfg->store.file, "link/router.url"};
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < c->count; i++)
        for (size_t k = 0; rc == 0 && k < ARRAY_LEN(kept); k++) {
            enum cage_access a = c->at[i].access;

            if (a != CAGE_APPEND && a != CAGE_REMOVE)
                continue;
            rc = directory_of(what, cfg, kept[k]);
            if (rc == 0 && is_below(c->at[i].path, what))
                c->hole = a == CAGE_APPEND ? "log.file is beside the database"
                                           : "a unix: listener is beside the "
                                             "database";
        }
    return rc;
}

/* What is made later cannot be named: without DIR/link it is all of DIR. */
static int plan_router_url(struct cage *c, const char *dir)
{
    char links[CAGE_PATH_MAX];
    int n = snprintf(links, sizeof links, "%s/link", dir);

    if (n < 0 || (size_t)n >= sizeof links)
        return ERR_FULL;
    return cage_allow(c, access(links, F_OK) == 0 ? links : dir, CAGE_READ);
}

static int plan_above(struct cage *c, const struct config *cfg)
{
    char *dir = config_above_dir(cfg);
    int rc = dir ? 0 : ERR_NOMEM;

    if (rc == 0 && (cfg->link.through[0] || !cfg->link.url[0]))
        rc = plan_router_url(c, dir);
    free(dir);
    return rc;
}

static int plan_gateway(struct cage *c, const struct config *cfg)
{
    int rc = cage_allow(c, "/proc/sys/net/core/somaxconn", CAGE_READ);

    return rc < 0 ? rc : plan_above(c, cfg);
}

/* Its directory is there already: place_make_links(). */
static int plan_repeater(struct cage *c, const struct config *cfg,
                         const char *name)
{
    char *dir = config_path(cfg, name);
    int rc = dir ? cage_allow(c, "/proc/sys/net/core/somaxconn", CAGE_READ)
                 : ERR_NOMEM;

    if (rc == 0)
        rc = cage_allow(c, dir, CAGE_KEEP);
    if (rc == 0)
        rc = plan_bases(c, dir);
    if (rc == 0)
        rc = allow_beside(c, cfg, ipc_path(cfg->repeater.url), CAGE_KEEP);
    free(dir);
    return rc < 0 ? rc : plan_above(c, cfg);
}

/* It starts programs, which read what they need before they go in. */
static int plan_supervisor(struct cage *c, const struct config *cfg)
{
    static const char *const edges[] = {"http", "tcp", "ws"};
    int rc = cage_allow(c, "/", CAGE_RUN);

    if (rc == 0)
        rc = plan_store(c, cfg);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(edges); i++)
        rc = plan_ports(c, cfg, edges[i]);
    return rc;
}

/* systemd listens for `ready` at a path, as a rule. */
static bool notifies_abstract(void)
{
    const char *to = getenv("NOTIFY_SOCKET");

    return to && to[0] == '@';
}

int cage_plan(struct cage *ret, enum cage_kind kind, const struct config *cfg,
              const char *edge, bool own_ports)
{
    int rc;

    ret->kind = kind;
    ret->count = 0;
    ret->hole = NULL;
    ret->no_scope = notifies_abstract();
    ret->tcp_link = is_tcp(cfg->router.url) ||
                    (kind != CAGE_ROUTER && (is_tcp(cfg->link.url) ||
                                             is_tcp(cfg->repeater.url)));
    ret->digests = cfg->link.secret[0] || (edge && strcmp(edge, "ws") == 0);
    if (kind == CAGE_KEEPER)
        return cage_allow(ret, "/", CAGE_READ);
    rc = plan_common(ret, cfg);
    if (rc < 0)
        return rc;
    if (kind == CAGE_SUPERVISOR)
        return plan_supervisor(ret, cfg);
    if (kind == CAGE_ROUTER)
        return plan_router(ret, cfg);
    if (kind == CAGE_REPEATER)
        return plan_repeater(ret, cfg, edge);
    rc = plan_gateway(ret, cfg);
    if (rc == 0 && edge && own_ports)
        rc = plan_ports(ret, cfg, edge);
    return rc < 0 ? rc : judge_holes(ret, cfg);
}

/* ---- entering ---------------------------------------------------------- */

PRINTF_LIKE(2, 3)
static void miss(struct cage_report *r, const char *fmt, ...)
{
    size_t len = strlen(r->missing);
    va_list args;

    if (len && len + 2 < sizeof r->missing)
        len += (size_t)snprintf(r->missing + len, sizeof r->missing - len,
                                ", ");
    va_start(args, fmt);
    (void)vsnprintf(r->missing + len, sizeof r->missing - len, fmt, args);
    va_end(args);
}

/* What is loaded when it is first used is used now: afterwards nothing can be
 * loaded. */
static void load_libraries(const struct cage *c)
{
    uint8_t ignored[HMAC_BYTES];
    struct addrinfo *found = NULL;

    if (c->digests) {
        (void)!sha1(SLICE(""), ignored);
        (void)!hmac_sha256(SLICE("key"), SLICE(""), ignored);
    }
    if (c->tcp_link && getaddrinfo("localhost", NULL, NULL, &found) == 0)
        freeaddrinfo(found);
}

static void describe(struct cage_report *r, enum sandbox sandbox)
{
    static const char *const words[] = {"auto", "on", "off"};

    snprintf(r->text, sizeof r->text, "sandbox=%s no_new_privs=%s seccomp=%s "
             "landlock=%d dump=%s%s", words[sandbox],
             r->no_new_privs ? "yes" : "no", r->seccomp ? "yes" : "no",
             r->landlock, r->no_dump ? "no" : "as_it_was",
             r->relaxed ? " build=sanitizer" : "");
}

/* An older Landlock has no rules for some of it. */
static void miss_rules(const struct cage *c, struct cage_report *r)
{
    static const struct {
        int since;
        const char *what;
    } rules[] = {{3, "truncation"}, {4, "TCP"},
                 {6, "signals and abstract sockets"}};

    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (r->landlock < rules[i].since && !(rules[i].since == 4 &&
                                              c->tcp_link))
            miss(r, "landlock for %s (version %d)", rules[i].what,
                 r->landlock);
}

static void put_up(const struct cage *c, struct cage_report *r)
{
    int version;

    if (c->kind != CAGE_SUPERVISOR && !r->relaxed)
        r->no_dump = prctl(PR_SET_DUMPABLE, 0) == 0;
    version = wall_files(c, r->relaxed);
    if (version < 0)
        miss(r, "landlock (%s)", strerror(errno));
    else
        r->landlock = version;
    if (version >= 0)
        miss_rules(c, r);
    if (c->hole)
        miss(r, "some of landlock (%s)", c->hole);
    if (r->relaxed)
        return;
    r->seccomp = wall_calls(c) == 0;
    if (!r->seccomp)
        miss(r, "seccomp (%s)", strerror(errno));
}

int cage_enter(const struct cage *c, enum sandbox sandbox,
               struct cage_report *ret)
{
    *ret = (struct cage_report){.relaxed = SANITIZED};
    load_libraries(c);
    ret->no_new_privs = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
    if (!ret->no_new_privs)
        miss(ret, "no_new_privs (%s)", strerror(errno));
    if (sandbox != SANDBOX_OFF)
        put_up(c, ret);
    describe(ret, sandbox);
    return sandbox == SANDBOX_ON && ret->missing[0] ? ERR_DENIED : 0;
}
