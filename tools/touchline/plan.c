#include "tools/touchline/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "proto/handover.h"
#include "proto/replacing.h"

/* Siblings' table and bell, an end, the sheet, the line to us. */
enum { MORE_FILES = 5 };
/* The path, --config FILE, --dir DIR, --instance N, link.through, and the ports
 * that were claimed for each edge; the words of --set come on top. */
enum { FIXED_ARGS = 1 + 2 + 2 + 2 + 2 + 2 * PLAN_KINDS + PLAN_MORE_ARGS };
/* Behind the edges. */
enum { KIND_ROUTER = PLAN_KINDS, KIND_REPEATER, ALL_KINDS };

static const char *const kinds[ALL_KINDS] = {"http", "tcp", "ws", "router",
                                             "repeater"};

static const struct config_edge *edge_of(const struct plan *p, unsigned kind)
{
    return config_edge(p->cli->config, kinds[kind]);
}

static bool is_wanted(const struct config_edge *e)
{
    return e->listen.count && e->instances;
}

/* ---- members ----------------------------------------------------------- */

void plan_add_arg(struct member *m, const char *arg)
{
    m->argv[m->argc++] = arg;
}

/* The binaries lie where this one lies. */
static int find_binaries(struct plan *p)
{
    char self[PLAN_PATH_MAX], *slash;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    self[n < 0 ? 0 : n] = '\0';
    slash = strrchr(self, '/');
    if (!slash)
        return ERR_IO;
    *slash = '\0';
    for (unsigned i = 0; i < ALL_KINDS; i++)
        if ((size_t)snprintf(p->paths[i], PLAN_PATH_MAX, "%s/touchline-%s",
                             self, kinds[i]) >= PLAN_PATH_MAX)
            return ERR_FULL;
    return 0;
}

/* The next member. shares: sockets that it may be handed. */
static int add_member(struct plan *p, unsigned kind, size_t number,
                      size_t shares, struct member **ret)
{
    const struct cli *cli = p->cli;
    struct member *m = &p->members[p->count++];

    buf_init(&m->fd_names);
    m->kind = kinds[kind];
    m->role = kind == KIND_ROUTER     ? MEMBER_ROUTER
              : kind == KIND_REPEATER ? MEMBER_REPEATER
                                      : MEMBER_GATEWAY;
    snprintf(m->number, sizeof m->number, "%zu", number);
    snprintf(m->name, sizeof m->name, "%s-%zu", m->kind, number + 1);
    m->instance = (unsigned)number;
    m->control.fd = -1;
    m->argv = calloc(FIXED_ARGS + 2 * cli->set_count + 1, sizeof *m->argv);
    m->fds = calloc(shares + 1, sizeof *m->fds);
    if (!m->argv || !m->fds)
        return ERR_NOMEM;
    plan_add_arg(m, p->paths[kind]);
    if (cli->config_file) {
        plan_add_arg(m, "--config");
        plan_add_arg(m, cli->config_file);
    }
    plan_add_arg(m, "--dir");
    plan_add_arg(m, cli->config->dir);
    for (size_t i = 0; i < cli->set_count; i++) {
        plan_add_arg(m, "--set");
        plan_add_arg(m, cli->sets[i]);
    }
    *ret = m;
    return 0;
}

/* ---- ports ------------------------------------------------------------- */

/* A set for each worker of each instance of an edge. */
static int claim(struct plan *p, unsigned kind, char *why, size_t size)
{
    const struct config_edge *e = edge_of(p, kind);
    size_t backlog = p->cli->config->limits.accept_backlog;
    struct listen_set *first = &p->sets[p->set_count];
    int rc = listen_edge(first, e, kinds[kind], backlog, why, size);

    p->set_count++;
    for (size_t i = 1; rc == 0 && i < e->instances * e->workers; i++) {
        rc = listen_again(&p->sets[p->set_count++], first, backlog);
        if (rc < 0)
            snprintf(why, size, "%s: no socket for worker %zu of %zu: %s",
                     kinds[kind], i + 1, e->instances * e->workers,
                     strerror(errno));
    }
    return rc;
}

static void hand_file(struct member *m, int fd, const char *name)
{
    m->fds[m->fd_count++] = fd;
    buf_addf(&m->fd_names, "%s%s", m->fd_count > 1 ? ":" : "", name);
}

static void hand_one(struct member *m, const struct listen_address *a)
{
    hand_file(m, a->fd, a->admin ? "admin" : "main");
}

/* Every worker has a socket of its own on it: listen_again() opens no other.
 * These stand in the same order in each set, behind one another. */
static bool is_shared(const struct listen_address *a)
{
    return !a->admin && strncmp(a->text, "unix:", 5) != 0;
}

static const struct listen_address *nth_shared(const struct listen_set *set,
                                               unsigned n)
{
    for (unsigned i = 0; i < set->count; i++)
        if (is_shared(&set->at[i]) && n-- == 0)
            return &set->at[i];
    return NULL;
}

/* The sets of one instance, one for each worker, in the order in which
 * listen_inherited() deals them out, the i-th to worker i modulo workers: an
 * address after the other, each once for every worker. Behind them stands what
 * there is only once: unix sockets, which all instances share, and for the
 * first instance the admin listener. */
static void hand_over(struct member *m, const struct listen_set *first,
                      const struct listen_set *sets, size_t workers)
{
    const struct listen_address *a;

    for (unsigned n = 0; nth_shared(sets, n); n++)
        for (size_t w = 0; w < workers; w++)
            if ((a = nth_shared(&sets[w], n)))
                hand_one(m, a);
    for (unsigned i = 0; i < first->count; i++)
        if (!is_shared(&first->at[i]) && (!first->at[i].admin || sets == first))
            hand_one(m, &first->at[i]);
}

/* What instances need to leave the port to each other; behind all sockets. */
static void hand_siblings(struct member *m, struct siblings *s)
{
    m->siblings = s;
    if (!s)
        return;
    hand_file(m, siblings_table(s), SIBLINGS_TABLE);
    hand_file(m, siblings_bell(s), SIBLINGS_BELL);
}

/* WebSockets on the HTTP gateway's port: gateways/common/pass.h, whose names
 * these are. Without the pair they are told where the other port is. */
static void make_passing(struct plan *p)
{
    p->passing[0] = p->passing[1] = -1;
    if (is_wanted(&p->cli->config->http) && is_wanted(&p->cli->config->ws) &&
        handover_pair(p->passing) < 0)
        log_warn("pass.none", "error=\"%s\" action=no_http.websocket",
                 strerror(errno));
}

static void hand_passing(const struct plan *p, struct member *m)
{
    if (p->passing[0] < 0)
        return;
    if (strcmp(m->kind, "http") == 0)
        hand_file(m, p->passing[0], "touchline-pass-out");
    else if (strcmp(m->kind, "ws") == 0)
        hand_file(m, p->passing[1], "touchline-pass-in");
}

/* Without it each reads the file by itself, as those that run alone. */
static void make_sheet(struct plan *p)
{
    if (sheet_new(&p->sheet, p->cli->text) < 0)
        log_warn("config.sheet", "error=\"%s\" "
                 "action=each_process_reads_the_file", strerror(errno));
}

/* Behind all else. */
static void hand_sheet(const struct plan *p, struct member *m)
{
    if (p->sheet.handed >= 0)
        hand_file(m, p->sheet.handed, SHEET_NAME);
}

/* The line to the supervisor; behind all else, and new for each run. */
static void hand_control(struct member *m)
{
    m->control_at = m->fd_count;
    hand_file(m, -1, CONTROL_LINE);
}

int plan_open_line(struct member *m)
{
    int ends[2];

    plan_close_their_end(m);
    if (m->control.fd >= 0)
        handover_fini(&m->control);
    if (handover_pair(ends) < 0)
        return ERR_IO;
    handover_init(&m->control, ends[0]);
    m->fds[m->control_at] = ends[1];
    return 0;
}

void plan_close_their_end(struct member *m)
{
    int *fd = &m->fds[m->control_at];

    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

int plan_hand(const struct member *m, int control, int heir, int **fds,
              unsigned *count, struct buf *names)
{
    *count = m->fd_count + (heir >= 0);
    *fds = calloc(*count, sizeof **fds);
    if (!*fds)
        return ERR_NOMEM;
    memcpy(*fds, m->fds, m->fd_count * sizeof **fds);
    (*fds)[m->control_at] = control;
    buf_add(names, buf_slice(&m->fd_names));
    if (heir >= 0) {
        (*fds)[m->fd_count] = heir;
        buf_addf(names, ":%s", CONTROL_SUCCESSOR);
    }
    return names->failed ? ERR_NOMEM : 0;
}

/* Without it each instance keeps the port, and turns away when it is full. */
static struct siblings *share_port(const struct config_edge *e,
                                   unsigned kind)
{
    struct siblings *s = NULL;

    if (e->instances > 1 && siblings_new(&s, (unsigned)e->instances) < 0)
        log_warn("instances.alone", "edge=%s error=\"%s\" "
                 "action=a_full_one_keeps_the_port", kinds[kind],
                 strerror(errno));
    return s;
}

/* One after the other, each for every so many gateways. */
static void share_out(struct plan *p, struct member *m)
{
    size_t repeaters = p->cli->config->repeater.instances;
    size_t which;

    p->gateways++;
    if (!repeaters)
        return;
    which = (p->gateways - 1) % repeaters + 1;
    m->repeater = &p->members[which]; /* behind the router */
    snprintf(m->through, sizeof m->through, "link.through=repeater%zu", which);
    plan_add_arg(m, "--set");
    plan_add_arg(m, m->through);
}

static int add_repeaters(struct plan *p)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < p->cli->config->repeater.instances; i++) {
        struct member *m;

        rc = add_member(p, KIND_REPEATER, i, MORE_FILES, &m);
        if (rc < 0)
            break;
        plan_add_arg(m, "--instance");
        plan_add_arg(m, m->number);
        hand_sheet(p, m);
        rc = m->fd_names.failed ? ERR_NOMEM : 0;
    }
    return rc;
}

static int add_edge(struct plan *p, unsigned kind, char *why, size_t size)
{
    const struct config_edge *e = edge_of(p, kind);
    const struct listen_set *sets = &p->sets[p->set_count];
    size_t shares = (e->workers + 1) * LISTEN_ADDRESSES + MORE_FILES;
    int rc;

    if (!is_wanted(e))
        return 0;
    rc = claim(p, kind, why, size);
    if (rc == 0)
        p->siblings[kind] = share_port(e, kind);
    for (size_t i = 0; rc == 0 && i < e->instances; i++) {
        struct member *m;

        rc = add_member(p, kind, i, shares, &m);
        if (rc < 0)
            break;
        plan_add_arg(m, "--instance");
        plan_add_arg(m, m->number);
        share_out(p, m);
        hand_over(m, sets, sets + i * e->workers, e->workers);
        hand_siblings(m, p->siblings[kind]);
        hand_passing(p, m);
        hand_sheet(p, m);
        hand_control(m);
        rc = m->fd_names.failed ? ERR_NOMEM : 0;
    }
    return rc;
}

/* What was claimed for an edge, port 0 resolved: gateways tell clients of each
 * other's ports. */
static int note_listen(struct plan *p, unsigned kind,
                       const struct listen_set *set)
{
    struct buf *b = &p->listens[kind];
    const char *comma = "";

    buf_addf(b, "%s.listen=", kinds[kind]);
    for (unsigned i = 0; i < set->count; i++)
        if (!set->at[i].admin) {
            buf_addf(b, "%s%s", comma, set->at[i].text);
            comma = ", ";
        }
    for (size_t i = 0; i < p->count; i++) {
        plan_add_arg(&p->members[i], "--set");
        plan_add_arg(&p->members[i], buf_text(b));
    }
    return b->failed ? ERR_NOMEM : 0;
}

/* ---- the whole --------------------------------------------------------- */

static int make_room(struct plan *p)
{
    size_t members = 1 + p->cli->config->repeater.instances, sets = 1;

    for (unsigned i = 0; i < PLAN_KINDS; i++) {
        const struct config_edge *e = edge_of(p, i);

        buf_init(&p->listens[i]);
        members += e->instances;
        sets += e->instances * e->workers;
    }
    p->members = calloc(members, sizeof *p->members);
    p->sets = calloc(sets, sizeof *p->sets);
    return p->members && p->sets ? 0 : ERR_NOMEM;
}

int plan_make(struct plan *p, const struct cli *cli, char *why, size_t size)
{
    size_t first[PLAN_KINDS];
    struct member *router;
    int rc;

    *p = (struct plan){.cli = cli};
    why[0] = '\0';
    rc = make_room(p);
    if (rc == 0)
        rc = find_binaries(p);
    make_passing(p);
    make_sheet(p);
    if (rc == 0)
        rc = add_member(p, KIND_ROUTER, 0, MORE_FILES, &router);
    if (rc == 0)
        hand_sheet(p, router);
    if (rc == 0)
        rc = add_repeaters(p);
    for (unsigned i = 0; rc == 0 && i < PLAN_KINDS; i++) {
        first[i] = p->set_count;
        rc = add_edge(p, i, why, size);
    }
    for (unsigned i = 0; rc == 0 && i < PLAN_KINDS; i++)
        if (is_wanted(edge_of(p, i)))
            rc = note_listen(p, i, &p->sets[first[i]]);
    if (rc < 0 && !why[0])
        snprintf(why, size, "%s", err_text(rc));
    return rc;
}

void plan_fini(struct plan *p)
{
    for (size_t i = 0; i < p->set_count; i++) {
        listen_remove(&p->sets[i]);
        listen_close(&p->sets[i]);
    }
    for (size_t i = 0; i < p->count; i++) {
        if (p->members[i].control.fd >= 0)
            handover_fini(&p->members[i].control);
        free(p->members[i].argv);
        free(p->members[i].fds);
        buf_fini(&p->members[i].fd_names);
    }
    for (unsigned i = 0; i < PLAN_KINDS; i++) {
        siblings_free(p->siblings[i]);
        buf_fini(&p->listens[i]);
    }
    sheet_fini(&p->sheet);
    for (unsigned i = 0; i < 2; i++)
        if (p->passing[i] > 0)
            close(p->passing[i]);
    free(p->members);
    free(p->sets);
    *p = (struct plan){.cli = NULL};
}
