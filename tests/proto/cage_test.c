#include "proto/cage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/t/t.h"

/* They need a kernel that has all walls, and fail on another. Under a sanitizer
 * there is no wall of calls. */

struct place {
    struct config *cfg;
    struct cage cage;
};

static struct place place_with(enum cage_kind kind, const char *set)
{
    struct place p = {.cfg = NULL};
    struct opt_error err;
    const char *sets[] = {set};
    struct config_source from = {.dir = test_path("var"), .sets = sets,
                                 .set_count = set ? 1 : 0};

    (void)mkdir(test_path("var"), 0700);
    (void)mkdir(test_path("var/link"), 0700);
    test_write_file(test_path("var/touchline.db"), SLICE("rows"));
    test_write_file(test_path("var/link/router.url"), SLICE("ipc:///x\n"));
    if (config_load(&p.cfg, &from, &err) < 0)
        test_fail(__FILE__, __LINE__, "%s", err.text);
    EXPECT_OK(cage_plan(&p.cage, kind, p.cfg,
                        kind == CAGE_GATEWAY ? "http" : NULL, false));
    return p;
}

static struct cage_report enter(struct place *p)
{
    struct cage_report r;

    EXPECT_OK(cage_enter(&p->cage, SANDBOX_AUTO, &r));
    config_free(p->cfg);
    return r;
}

static bool opens(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* ---- it holds ---------------------------------------------------------- */

static void expect_it_holds(enum cage_kind kind)
{
    struct place p = place_with(kind, NULL);
    struct cage_report r;
    char through[CAGE_TEXT_MAX];

    EXPECT_INT(cage_try(&p.cage, SANDBOX_AUTO, &r, through), 0);
    EXPECT_STR(through, "");
    EXPECT_STR(r.missing, "");
    EXPECT(r.no_new_privs);
    EXPECT_INT(r.seccomp, !r.relaxed);
    EXPECT(r.landlock >= 1);
    config_free(p.cfg);
}

TEST(nothing_gets_out_of_a_gateway)
{
    expect_it_holds(CAGE_GATEWAY);
}

TEST(nothing_gets_out_of_a_router)
{
    expect_it_holds(CAGE_ROUTER);
}

TEST(nothing_gets_out_of_a_supervisor)
{
    expect_it_holds(CAGE_SUPERVISOR);
}

TEST(nothing_gets_out_of_a_keeper)
{
    expect_it_holds(CAGE_KEEPER);
}

TEST(a_cage_that_does_not_hold_is_noticed)
{
    struct place p = place_with(CAGE_GATEWAY, NULL);
    struct cage_report r;
    char through[CAGE_TEXT_MAX];

    EXPECT(cage_try(&p.cage, SANDBOX_OFF, &r, through) >= 8);
    EXPECT_CONTAINS(through, "read ");
    EXPECT_CONTAINS(through, "write ");
    EXPECT_CONTAINS(through, "execve ");
    EXPECT_CONTAINS(through, "code ");
    EXPECT_CONTAINS(through, "abstract");
    config_free(p.cfg);
}

/* A hole in one wall is found, not only a wall that is not there. */
TEST(a_rule_too_many_is_noticed)
{
    struct place p = place_with(CAGE_GATEWAY, NULL);
    struct cage_report r;
    char through[CAGE_TEXT_MAX];

    EXPECT_OK(cage_allow(&p.cage, "/dev", CAGE_FIFOS));
    EXPECT_INT(cage_try(&p.cage, SANDBOX_AUTO, &r, through), 1);
    EXPECT_STR(through, "write");
    config_free(p.cfg);
}

/* ---- files ------------------------------------------------------------- */

TEST(a_gateway_reads_router_url_and_no_database)
{
    struct place p = place_with(CAGE_GATEWAY, NULL);
    struct cage_report r = enter(&p);

    EXPECT(opens(test_path("var/link/router.url"), O_RDONLY));
    EXPECT(!opens(test_path("var/link/router.url"), O_WRONLY));
    EXPECT(!opens(test_path("var/link/new"), O_WRONLY | O_CREAT));
    EXPECT(!opens(test_path("var/touchline.db"), O_WRONLY));
    EXPECT(!opens(test_path("elsewhere"), O_WRONLY | O_CREAT));
    EXPECT_INT(opens(test_path("var/touchline.db"), O_RDONLY), r.relaxed);
}

TEST(a_log_in_a_directory_of_its_own_is_all_that_a_gateway_writes)
{
    struct place p = place_with(CAGE_GATEWAY, "log.file=log/all.log");
    struct cage_report r;

    EXPECT(!p.cage.hole);
    EXPECT(mkdir(test_path("var/log"), 0700) == 0);
    r = enter(&p);
    EXPECT_STR(r.missing, "");
    EXPECT(opens(test_path("var/log/all.log"), O_WRONLY | O_APPEND | O_CREAT));
    EXPECT(!opens(test_path("var/log/all.log"), O_WRONLY | O_TRUNC));
    EXPECT_INT(opens(test_path("var/log/all.log"), O_RDONLY), r.relaxed);
    EXPECT(unlink(test_path("var/log/all.log")) < 0);
    EXPECT(!opens(test_path("var/touchline.db"), O_WRONLY));
}

TEST(a_log_beside_the_database_is_a_hole_and_said_to_be_one)
{
    struct place p = place_with(CAGE_GATEWAY, "log.file=all.log");
    struct cage_report r;

    EXPECT_ERR(cage_enter(&p.cage, SANDBOX_ON, &r), ERR_DENIED);
    EXPECT_CONTAINS(r.missing, "log.file is beside the database");
    EXPECT(opens(test_path("var/all.log"), O_WRONLY | O_APPEND | O_CREAT));
    config_free(p.cfg);
}

static struct cage plan_gateway(const char *set, bool own_ports)
{
    struct place p = place_with(CAGE_GATEWAY, set);

    EXPECT_OK(cage_plan(&p.cage, CAGE_GATEWAY, p.cfg, "http", own_ports));
    config_free(p.cfg);
    return p.cage;
}

TEST(a_log_above_the_database_is_a_hole)
{
    EXPECT_STR(plan_gateway("log.file=../all.log", false).hole,
               "log.file is beside the database");
}

TEST(a_log_that_is_a_link_to_beside_the_database_is_a_hole)
{
    (void)mkdir(test_path("var"), 0700);
    (void)mkdir(test_path("var/log"), 0700);
    test_write_file(test_path("var/real.log"), SLICE("x"));
    EXPECT(symlink("../real.log", test_path("var/log/all.log")) == 0);
    EXPECT_STR(plan_gateway("log.file=log/all.log", false).hole,
               "log.file is beside the database");
}

TEST(a_unix_socket_of_a_gateway_s_own_beside_the_database_is_a_hole)
{
    struct buf set = BUF_INIT;

    buf_addf(&set, "http.listen=unix:%s", test_path("var/web.sock"));
    EXPECT(!plan_gateway(buf_text(&set), false).hole);
    EXPECT_STR(plan_gateway(buf_text(&set), true).hole,
               "a unix: listener is beside the database");
    buf_fini(&set);
}

/* It is bound from where the process stands, not in DIR. */
TEST(a_unix_socket_by_a_name_alone_can_be_removed_where_it_is)
{
    struct cage c;
    struct cage_report r;

    EXPECT(mkdir(test_path("here"), 0700) == 0);
    test_write_file(test_path("here/web.sock"), SLICE(""));
    EXPECT(chdir(test_path("here")) == 0);
    c = plan_gateway("http.listen=unix:web.sock", true);
    EXPECT(!c.hole);
    EXPECT_OK(cage_enter(&c, SANDBOX_AUTO, &r));
    EXPECT(unlink(test_path("var/touchline.db")) < 0);
    EXPECT(unlink("web.sock") == 0);
}

TEST(a_router_keeps_its_directory_and_nothing_beside_it)
{
    struct place p = place_with(CAGE_ROUTER, NULL);

    (void)enter(&p);
    EXPECT(opens(test_path("var/touchline.db"), O_RDWR));
    EXPECT(opens(test_path("var/touchline.db-wal"), O_RDWR | O_CREAT));
    EXPECT(rename(test_path("var/touchline.db-wal"), test_path("var/x")) == 0);
    EXPECT(link(test_path("var/x"), test_path("var/y")) == 0);
    EXPECT(symlink("x", test_path("var/z")) == 0);
    EXPECT(unlink(test_path("var/x")) == 0);
    EXPECT(opens("/dev/urandom", O_RDONLY));
    EXPECT(!opens(test_path("elsewhere"), O_WRONLY | O_CREAT));
    EXPECT_INT(errno, EACCES);
}

TEST(a_router_follows_the_link_that_its_database_is)
{
    struct place p;

    EXPECT(mkdir(test_path("disk"), 0700) == 0);
    EXPECT(mkdir(test_path("var"), 0700) == 0);
    test_write_file(test_path("disk/real.db"), SLICE("rows"));
    EXPECT(symlink(test_path("disk/real.db"), test_path("var/other.db")) == 0);
    p = place_with(CAGE_ROUTER, "store.file=other.db");
    (void)enter(&p);
    EXPECT(opens(test_path("var/other.db"), O_RDWR));
    EXPECT(opens(test_path("disk/real.db-wal"), O_RDWR | O_CREAT));
}

TEST(a_router_writes_into_the_directory_for_backups)
{
    struct buf set = BUF_INIT;
    struct place p;

    buf_addf(&set, "store.backup_dir=%s", test_path("backups"));
    EXPECT(mkdir(test_path("backups"), 0700) == 0);
    p = place_with(CAGE_ROUTER, buf_text(&set));
    (void)enter(&p);
    EXPECT(opens(test_path("backups/a.db"), O_RDWR | O_CREAT));
    buf_fini(&set);
}

TEST(what_is_allowed_twice_takes_one_place)
{
    struct place p = place_with(CAGE_ROUTER, NULL);
    unsigned before = p.cage.count;

    for (int i = 0; i < 2 * CAGE_PATHS; i++)
        EXPECT_OK(cage_allow(&p.cage, "/srv", CAGE_READ));
    EXPECT_INT(p.cage.count, before + 1);
    config_free(p.cfg);
}

/* ---- what must go on working ------------------------------------------- */

static void *a_thread(void *ctx)
{
    (void)prctl(PR_SET_NAME, "worker");
    return ctx;
}

TEST(threads_start_in_the_cage)
{
    struct place p = place_with(CAGE_GATEWAY, NULL);
    pthread_t t;
    void *got = NULL;

    (void)enter(&p);
    EXPECT(pthread_create(&t, NULL, a_thread, &p) == 0);
    EXPECT(pthread_join(t, &got) == 0);
    EXPECT(got == &p);
}

TEST(a_file_is_locked_copied_and_owned_by_nobody_else)
{
    struct place p = place_with(CAGE_ROUTER, NULL);
    struct flock all = {.l_type = F_WRLCK};
    int fd = open(test_path("var/touchline.db"), O_RDWR | O_CLOEXEC);
    struct cage_report r = enter(&p);

    EXPECT(fcntl(fd, F_SETLK, &all) == 0);
    EXPECT(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    EXPECT(fcntl(fd, F_DUPFD_CLOEXEC, 0) >= 0);
    EXPECT_INT(fcntl(fd, F_SETOWN, getppid()) < 0, !r.relaxed);
    close(fd);
}

/* Writes the report to fd, and ends as one does that has crashed. */
static _Noreturn void crash(int fd)
{
    struct place p = place_with(CAGE_ROUTER, NULL);
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

    (void)setrlimit(RLIMIT_CORE, &all);
    EXPECT(chdir(test_path("var")) == 0);
    EXPECT(dup2(fd, STDERR_FILENO) == STDERR_FILENO);
    check_report_signals("touchline-router");
    (void)enter(&p);
    raise(SIGSEGV);
    _exit(0);
}

TEST(a_crash_is_reported_and_leaves_no_core)
{
    int ends[2], status;
    char text[4096];
    size_t len = 0;
    ssize_t n;
    pid_t pid;

    EXPECT(pipe(ends) == 0);
    pid = fork();
    if (pid == 0)
        crash(ends[1]);
    close(ends[1]);
    while ((n = read(ends[0], text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    EXPECT_INT(waitpid(pid, &status, 0), pid);
    EXPECT_CONTAINS(text, "fatal signal: SEGV");
    EXPECT_CONTAINS(text, "backtrace");
#ifndef DEBUG
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    EXPECT(!WCOREDUMP(status));
#endif
}

TEST(a_supervisor_starts_programs)
{
    struct place p = place_with(CAGE_SUPERVISOR, NULL);
    int status;
    pid_t pid;

    (void)enter(&p);
    pid = fork();
    if (pid == 0) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    EXPECT_INT(waitpid(pid, &status, 0), pid);
    EXPECT_INT(status, 0);
}

/* One cage in the other, as a gateway of a supervisor has it. */
TEST(what_a_supervisor_starts_goes_into_its_own)
{
    struct place s = place_with(CAGE_SUPERVISOR, NULL);
    struct place g = place_with(CAGE_GATEWAY, NULL);
    struct cage_report r;
    char through[CAGE_TEXT_MAX];

    (void)enter(&s);
    EXPECT_INT(cage_try(&g.cage, SANDBOX_AUTO, &r, through), 0);
    EXPECT_STR(through, "");
    EXPECT_STR(r.missing, "");
    config_free(g.cfg);
}

/* ---- older kernels ----------------------------------------------------- */

/* From now on the kernel does not know this call; nor, for 0, seccomp filters
 * by either way. */
static void forget_call(unsigned call)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call ? call : SYS_seccomp, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call ? call : SYS_prctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_SET_SECCOMP, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {ARRAY_LEN(code), code};

    EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    EXPECT(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static struct cage_report try_without(unsigned call, int *rc_of_on)
{
    struct place p = place_with(CAGE_GATEWAY, NULL);
    struct cage_report r;
    char through[CAGE_TEXT_MAX];

    forget_call(call);
    EXPECT_INT(cage_try(&p.cage, SANDBOX_AUTO, &r, through), 0);
    EXPECT_STR(through, "");
    *rc_of_on = cage_try(&p.cage, SANDBOX_ON, &r, through);
    config_free(p.cfg);
    return r;
}

TEST(without_landlock_the_other_walls_stand_and_it_is_named)
{
    int on;
    struct cage_report r = try_without(SYS_landlock_create_ruleset, &on);

    EXPECT_CONTAINS(r.missing, "landlock (Function not implemented)");
    EXPECT_INT(r.landlock, 0);
    EXPECT_INT(r.seccomp, !r.relaxed);
    EXPECT_ERR(on, ERR_DENIED);
}

TEST(without_seccomp_the_other_walls_stand_and_it_is_named)
{
    int on;
    struct cage_report r = try_without(0, &on);

    EXPECT(r.landlock >= 1);
    EXPECT(!r.seccomp);
    if (r.relaxed)
        return; /* it was not asked for */
    EXPECT_CONTAINS(r.missing, "seccomp (");
    EXPECT_ERR(on, ERR_DENIED);
}

TEST(off_is_off)
{
    struct place p = place_with(CAGE_GATEWAY, NULL);
    struct cage_report r;

    EXPECT_OK(cage_enter(&p.cage, SANDBOX_OFF, &r));
    EXPECT(r.no_new_privs && !r.seccomp && !r.landlock && !r.no_dump);
    EXPECT(opens("/etc/passwd", O_RDONLY));
    config_free(p.cfg);
}
