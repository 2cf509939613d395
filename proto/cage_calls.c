/* cage_calls.c - the wall of system calls, made from calls.def. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <linux/sockios.h>
#include <unistd.h>

#include "base/base.h"
#include "proto/cage_walls.h"

/* The macros of libseccomp leave the second value of a comparison out. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

enum { R = 1, G = 2, T = 4, S = 8, K = 16, P = 32 };

enum { NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS |
                    CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
                    CLONE_NEWNET };

enum condition {
    ALWAYS,
    NOT_EXECUTABLE, /* memory, its third argument */
    A_THREAD,
    NO_NAMESPACE,
    A_NAME,
    OURSELVES,
    NO_SIGNAL,
    NO_NEW_LIMIT,
    A_QUESTION, /* what a terminal or a socket can be asked */
    OF_A_FILE,  /* its flags, copies, locks: no owner who is sent signals */
    OF_UNIX, OF_INET, OF_INET6, OF_ROUTES,
};

struct row {
    const char *name;
    unsigned kinds;
    bool deadly;
    enum condition condition;
};

#define CALL(name, kinds)       {#name, kinds, false, ALWAYS},
#define ONLY(name, kinds, when) {#name, kinds, false, when},
#define DEADLY(name, kinds)     {#name, kinds, true, ALWAYS},
static const struct row rows[] = {
#include "proto/calls.def"
};
#undef CALL
#undef ONLY
#undef DEADLY

/* Of what is done to a descriptor, the second argument, these. */
static int allow_requests(scmp_filter_ctx f, int call, const unsigned long *of,
                          size_t count)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 1,
                              SCMP_A1(SCMP_CMP_EQ, of[i]));
    return rc;
}

static int allow_questions(scmp_filter_ctx f, int call)
{
    static const unsigned long asked[] = {FIONBIO, FIONREAD, SIOCOUTQ, TCGETS,
                                          TIOCGWINSZ};

    return allow_requests(f, call, asked, ARRAY_LEN(asked));
}

static int allow_of_a_file(scmp_filter_ctx f, int call)
{
    static const unsigned long asked[] = {
        F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL,
        F_GETLK, F_SETLK, F_SETLKW, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW,
        F_GET_SEALS};

    return allow_requests(f, call, asked, ARRAY_LEN(asked));
}

static struct scmp_arg_cmp comparison(enum condition when)
{
    switch (when) {
    case NOT_EXECUTABLE:
        return SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    case A_THREAD:
        return SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | NAMESPACES,
                       CLONE_THREAD);
    case NO_NAMESPACE:
        return SCMP_A0(SCMP_CMP_MASKED_EQ, NAMESPACES, 0);
    case A_NAME:
        return SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME);
    case OURSELVES:
        return SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid());
    case NO_SIGNAL:
        return SCMP_A1(SCMP_CMP_EQ, 0);
    case NO_NEW_LIMIT:
        return SCMP_A2(SCMP_CMP_EQ, 0);
    case OF_INET:
        return SCMP_A0(SCMP_CMP_EQ, AF_INET);
    case OF_INET6:
        return SCMP_A0(SCMP_CMP_EQ, AF_INET6);
    case OF_ROUTES:
        return SCMP_A0(SCMP_CMP_EQ, AF_NETLINK);
    default:
        return SCMP_A0(SCMP_CMP_EQ, AF_UNIX);
    }
}

static int add(scmp_filter_ctx f, const struct row *r)
{
    int call = seccomp_syscall_resolve_name(r->name);

    if (call < 0) /* not here, or not yet known to the library */
        return 0;
    if (r->deadly)
        return seccomp_rule_add(f, SCMP_ACT_KILL_PROCESS, call, 0);
    if (r->condition == ALWAYS)
        return seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 0);
    if (r->condition == A_QUESTION)
        return allow_questions(f, call);
    if (r->condition == OF_A_FILE)
        return allow_of_a_file(f, call);
    return seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 1,
                            comparison(r->condition));
}

static unsigned kinds_of(const struct cage *c)
{
    static const unsigned kinds[CAGE_KINDS] = {
        [CAGE_ROUTER] = R, [CAGE_REPEATER] = P, [CAGE_GATEWAY] = G, [CAGE_SUPERVISOR] = S,
        [CAGE_KEEPER] = K};

    return kinds[c->kind] | (c->tcp_link ? T : 0);
}

/* A supervisor's children stand in its filter, too. */
static bool applies(const struct row *r, unsigned kinds)
{
    return (r->kinds & kinds) || (!r->deadly && (kinds & S));
}

/* A condition does not narrow what is allowed outright. */
static bool is_outright(const char *name, unsigned kinds)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].name, name) == 0 && applies(&rows[i], kinds) &&
            rows[i].condition == ALWAYS)
            return true;
    return false;
}

static int add_all(scmp_filter_ctx f, unsigned kinds)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(rows); i++)
        if (applies(&rows[i], kinds) &&
            (rows[i].condition == ALWAYS || !is_outright(rows[i].name, kinds)))
            rc = add(f, &rows[i]);
    return rc;
}

int wall_calls(const struct cage *c)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    int rc = f ? 0 : -ENOMEM;

    if (rc == 0)
        rc = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH,
                              SCMP_ACT_KILL_PROCESS);
    if (rc == 0)
        rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (rc == 0)
        rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
    if (rc == 0)
        rc = add_all(f, kinds_of(c));
    if (rc == 0)
        rc = seccomp_load(f);
    seccomp_release(f);
    if (rc == 0)
        return 0;
    errno = rc == -ECANCELED ? ENOSYS : -rc;
    return -1;
}
