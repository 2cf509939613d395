/* cage_trial.c - does the cage hold? Processes of their own go in and try. */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "proto/cage.h"

enum { HELD = 42, GOT_THROUGH, NO_CAGE }; /* what such a process ends with */
enum { SCOPES_SINCE = 6, PORTS_SINCE = 4 };

/* A socket in the abstract space, of a process outside. */
static struct sockaddr_un outside;
static socklen_t outside_len;

/* ---- attempts: below 0 with errno, as the call says -------------------- */

static int read_file(void)
{
    return open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}

static int list_files(void)
{
    return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Harmless, where it can be done. */
static int write_file(void)
{
    return open("/dev/null", O_WRONLY | O_CLOEXEC);
}

static int run_program(void)
{
    static char name[] = "true";
    char *const args[] = {name, NULL}, *const env[] = {NULL};

    return execve("/bin/true", args, env);
}

static int make_process(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(GOT_THROUGH);
    if (pid > 0)
        (void)waitpid(pid, NULL, 0);
    return (int)pid;
}

static int make_code(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return at == MAP_FAILED ? -1 : 0;
}

static int look_into(void)
{
    return (int)syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0);
}

static int trace(void)
{
    return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int send_signal(void)
{
    return kill(getppid(), SIGCONT);
}

static int find_process(void)
{
    return kill(getppid(), 0);
}

static int become_root(void)
{
    return setresuid(0, 0, 0);
}

static int raw_socket(void)
{
    return socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
}

static int bind_port(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET,
                              .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd < 0 ? fd : bind(fd, (void *)&any, sizeof any);
}

static int connect_port(void)
{
    struct sockaddr_in one = {.sin_family = AF_INET,
                              .sin_port = htons(1),
                              .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd < 0 ? fd : connect(fd, (void *)&one, sizeof one);
}

static int connect_outside(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd < 0 ? fd : connect(fd, (void *)&outside, outside_len);
}

static int mount_nothing(void)
{
    return mount(NULL, "/", NULL, 0, NULL);
}

static int new_user_space(void)
{
    return unshare(CLONE_NEWUSER);
}

static int load_program(void)
{
    return (int)syscall(SYS_bpf, 0, NULL, 0);
}

static int watch_cpu(void)
{
    return (int)syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0);
}

static int use_keys(void)
{
    return (int)syscall(SYS_keyctl, 0, 0, 0, 0, 0);
}

static int make_ring(void)
{
    struct io_uring_params params = {0};

    return (int)syscall(SYS_io_uring_setup, 1, &params);
}

enum wall { CALLS, FILES, PORTS, SCOPES };

enum { R = 1 << CAGE_ROUTER, G = 1 << CAGE_GATEWAY, S = 1 << CAGE_SUPERVISOR,
       K = 1 << CAGE_KEEPER };

static const struct attempt {
    const char *name;
    int (*run)(void);
    enum wall wall; /* what is to hold it */
    unsigned kinds; /* those that are to be held */
} attempts[] = {
    {"read", read_file, FILES, R | G},
    {"list", list_files, FILES, R | G},
    {"write", write_file, FILES, R | G | S | K},
    {"execve", run_program, CALLS, R | G | K},
    {"fork", make_process, CALLS, R | G | K},
    {"code", make_code, CALLS, R | G | K},
    {"vm_readv", look_into, CALLS, R | G | S | K},
    {"ptrace", trace, CALLS, R | G | S | K},
    {"signal", send_signal, CALLS, R | G | K},
    {"find", find_process, SCOPES, R | G | S | K},
    {"setuid", become_root, CALLS, R | G | S | K},
    {"packet", raw_socket, CALLS, R | G | S | K},
    {"bind", bind_port, PORTS, R | G | S | K},
    {"connect", connect_port, PORTS, R | G | S | K},
    {"abstract", connect_outside, SCOPES, R | G | S | K},
    {"mount", mount_nothing, CALLS, R | G | S | K},
    {"userns", new_user_space, CALLS, R | G | S | K},
    {"bpf", load_program, CALLS, R | G | S | K},
    {"perf", watch_cpu, CALLS, R | G | S | K},
    {"keyctl", use_keys, CALLS, R | G | S | K},
    {"io_uring", make_ring, CALLS, R | G | S | K},
};

/* ---- trying ------------------------------------------------------------ */

/* Is there a wall that is to hold it, in what was entered? With the sandbox off
 * there is to be none; whoever asks nevertheless gets the truth. */
static bool applies(const struct attempt *a, const struct cage *c,
                    const struct cage_report *r, bool off)
{
    if (!(a->kinds & 1u << c->kind))
        return false;
    if ((a->wall == PORTS && c->tcp_link) ||
        (a->run == connect_outside && c->no_scope))
        return false;
    if (off)
        return true;
    if (a->wall == CALLS)
        return r->seccomp;
    if (a->wall == PORTS)
        return r->landlock >= PORTS_SINCE || (r->seccomp && c->kind !=
                                                  CAGE_SUPERVISOR);
    if (a->wall == SCOPES)
        return r->landlock >= SCOPES_SINCE;
    return r->landlock && (!r->relaxed || a->run == write_file);
}

static bool is_refusal(int error)
{
    return error == EPERM || error == EACCES || error == ENOSYS;
}

static _Noreturn void go_in(const struct cage *c, enum sandbox sandbox,
                            const struct attempt *a)
{
    struct cage_report report;

    if (cage_enter(c, sandbox, &report) < 0)
        _exit(NO_CAGE);
    _exit(a->run() < 0 && is_refusal(errno) ? HELD : GOT_THROUGH);
}

/* Has it been held? ERR_NOMEM: it could not be tried. */
static int attempt(const struct cage *c, enum sandbox sandbox,
                   const struct attempt *a)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        go_in(c, sandbox, a);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return ERR_NOMEM;
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGSYS;
    return WEXITSTATUS(status) == NO_CAGE ? ERR_DENIED
                                          : WEXITSTATUS(status) == HELD;
}

/* What one that goes in stands in. */
static int look_at_walls(const struct cage *c, enum sandbox sandbox,
                         struct cage_report *ret)
{
    int rc = ERR_NOMEM, ends[2], entered;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return rc;
    pid = fork();
    if (pid == 0) {
        entered = cage_enter(c, sandbox, ret);
        _exit(write(ends[1], ret, sizeof *ret) == (ssize_t)sizeof *ret &&
                      entered == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    close(ends[1]);
    if (pid > 0 && read(ends[0], ret, sizeof *ret) == (ssize_t)sizeof *ret)
        rc = waitpid(pid, &entered, 0) == pid && entered == 0 ? 0 : ERR_DENIED;
    close(ends[0]);
    return rc;
}

static int open_outside(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    outside = (struct sockaddr_un){.sun_family = AF_UNIX};
    outside_len = sizeof outside;
    if (fd >= 0 && bind(fd, (void *)&outside, sizeof(sa_family_t)) == 0 &&
        listen(fd, 1) == 0 &&
        getsockname(fd, (void *)&outside, &outside_len) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static void name(char text[CAGE_TEXT_MAX], const char *what)
{
    size_t len = strlen(text);

    snprintf(text + len, CAGE_TEXT_MAX - len, "%s%s", len ? " " : "", what);
}

int cage_try(const struct cage *c, enum sandbox sandbox,
             struct cage_report *entered, char ret[CAGE_TEXT_MAX])
{
    int through = 0, listener, rc;

    ret[0] = '\0';
    *entered = (struct cage_report){0};
    rc = look_at_walls(c, sandbox, entered);
    listener = rc == 0 ? open_outside() : -1;
    for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(attempts); i++) {
        if (!applies(&attempts[i], c, entered, sandbox == SANDBOX_OFF))
            continue;
        rc = attempt(c, sandbox, &attempts[i]);
        if (rc == 0) {
            name(ret, attempts[i].name);
            through++;
        }
    }
    if (listener >= 0)
        close(listener);
    return rc < 0 ? rc : through;
}

bool cage_check(const struct cage *c, enum sandbox sandbox, const char *user)
{
    struct cage_report r;
    char through[CAGE_TEXT_MAX];
    int rc;

    if (sandbox == SANDBOX_OFF) {
        printf("cage: off (user=%s)\n", user);
        return true;
    }
    rc = cage_try(c, sandbox, &r, through);
    if (rc < 0)
        printf("cage: cannot be had: %s\n", r.missing[0] ? r.missing
                                                         : err_text(rc));
    else if (rc > 0)
        printf("cage: broken: got through: %s (%s)\n", through, r.text);
    else
        printf("cage: %s (user=%s %s)%s%s\n", r.missing[0] ? "weak" : "ok",
               user, r.text, r.missing[0] ? " missing: " : "", r.missing);
    fflush(stdout);
    return rc == 0;
}
