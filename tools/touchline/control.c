#include "tools/touchline/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "proto/cli.h"

#define NAME "touchline.sock"

/* However long the directory's path is. *dir is to be closed. ERR_IO. */
static int address_in(const char *path, struct sockaddr_un *ret, int *dir)
{
    *dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (*dir < 0)
        return ERR_IO;
    snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/" NAME,
             *dir);
    return 0;
}

/* ---- the supervisor's end ------------------------------------------------ */

/* One that a killed supervisor left behind is in the way. */
static int listen_at(int fd, const struct sockaddr_un *at)
{
    mode_t before;
    int rc;

    (void)unlink(at->sun_path);
    before = umask(0177);
    rc = bind(fd, (const struct sockaddr *)at, sizeof *at);
    (void)umask(before);
    return rc < 0 || listen(fd, CONTROL_ASKERS) < 0 ? ERR_IO : 0;
}

int control_open(struct control *c, const char *dir)
{
    struct sockaddr_un at;
    int in, rc, error;

    *c = (struct control){.fd = -1, .dir = dir};
    for (unsigned i = 0; i < CONTROL_ASKERS; i++)
        c->askers[i] = (struct control_asker){.control = c, .fd = -1};
    rc = address_in(dir, &at, &in);
    if (rc < 0)
        return rc;
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    rc = c->fd < 0 ? ERR_IO : listen_at(c->fd, &at);
    error = errno;
    close(in);
    if (rc < 0)
        control_close(c);
    errno = error;
    return rc;
}

static void dismiss(struct control_asker *a)
{
    loop_fd_stop(&a->watch);
    close(a->fd);
    buf_fini(&a->rest);
    *a = (struct control_asker){.control = a->control, .fd = -1};
}

/* Its verb. Afterwards it has nothing to say, and if it goes its place is kept
 * until there is an answer. */
static void on_words(void *ctx, unsigned ready)
{
    struct control_asker *a = ctx;
    ssize_t n = read(a->fd, a->line + a->len, sizeof a->line - a->len);
    UNUSED(ready);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (a->answered_later) {
        loop_fd_stop(&a->watch);
        return;
    }
    if (n <= 0) {
        dismiss(a);
        return;
    }
    a->len += (size_t)n;
    if (a->line[a->len - 1] == '\n') {
        a->answered_later = true;
        a->control->asked(a->control->ctx, a,
                          slice_make(a->line, a->len - 1));
    } else if (a->len == sizeof a->line) {
        dismiss(a);
    }
}

static struct control_asker *free_asker(struct control *c)
{
    for (unsigned i = 0; i < CONTROL_ASKERS; i++)
        if (c->askers[i].fd < 0)
            return &c->askers[i];
    return NULL;
}

static void on_asker(void *ctx, unsigned ready)
{
    static const char too_many[] =
        "too many ask at once: try again\nexit 1\n";
    struct control *c = ctx;
    struct control_asker *a = free_asker(c);
    int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    UNUSED(ready);
    if (fd < 0)
        return;
    if (!a) {
        (void)!send(fd, too_many, strlen(too_many), MSG_NOSIGNAL);
        close(fd);
        return;
    }
    a->fd = fd;
    if (loop_fd_start(&a->watch, c->loop, fd, LOOP_READ, on_words, a) < 0)
        dismiss(a);
}

int control_watch(struct control *c, struct loop *l,
                  void (*asked)(void *ctx, struct control_asker *a,
                                struct slice verb),
                  void *ctx)
{
    c->loop = l;
    c->asked = asked;
    c->ctx = ctx;
    return loop_fd_start(&c->watch, l, c->fd, LOOP_READ, on_asker, c);
}

void control_close(struct control *c)
{
    struct sockaddr_un at;
    int in;

    if (c->fd < 0 || !c->dir)
        return;
    for (unsigned i = 0; i < CONTROL_ASKERS; i++)
        if (c->askers[i].fd >= 0)
            dismiss(&c->askers[i]);
    loop_fd_stop(&c->watch);
    close(c->fd);
    c->fd = -1;
    if (address_in(c->dir, &at, &in) < 0)
        return;
    (void)unlink(at.sun_path);
    close(in);
}

void control_say(struct control_asker *a, const char *line)
{
    struct buf b = BUF_INIT;

    if (!a || a->fd < 0)
        return;
    buf_addf(&b, "%s\n", line);
    if (!b.failed)
        (void)!send(a->fd, b.ptr, b.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    buf_fini(&b);
}

/* As much as the socket takes; the rest when it takes more. */
static void send_rest(void *ctx, unsigned ready)
{
    struct control_asker *a = ctx;
    ssize_t n = send(a->fd, a->rest.ptr, a->rest.len, MSG_NOSIGNAL);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        n = 0;
    if (n > 0)
        buf_drop_front(&a->rest, (size_t)n);
    if (n < 0 || a->rest.len == 0) {
        dismiss(a);
        return;
    }
    if (ready)
        return;
    loop_fd_stop(&a->watch);
    if (loop_fd_start(&a->watch, a->control->loop, a->fd, LOOP_WRITE,
                      send_rest, a) < 0)
        dismiss(a);
}

void control_answer(struct control_asker *a, struct slice text, int code)
{
    if (!a || a->fd < 0)
        return;
    buf_add(&a->rest, text);
    buf_addf(&a->rest, "exit %d\n", code);
    if (a->rest.failed)
        dismiss(a);
    else
        send_rest(a, 0);
}

/* ---- who asks ------------------------------------------------------------ */

static int connect_to(const char *dir)
{
    const struct timeval wait = {.tv_sec = CONTROL_STOPPED_S};
    struct sockaddr_un at;
    int fd, in, error;

    if (address_in(dir, &at, &in) < 0)
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) /* one that stands still lets few in */
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&at, sizeof at) < 0) {
        error = errno;
        close(fd);
        errno = error;
        fd = -1;
    }
    close(in);
    return fd;
}

/* ---- its answer ----------------------------------------------------------- */

/* Who runs there: the kernel's word. 0: unknown. */
static pid_t pid_of_peer(int fd)
{
    struct ucred who;
    socklen_t len = sizeof who;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 ? who.pid
                                                                    : 0;
}

/* By a signal, or a debugger. False where that cannot be seen. */
static bool is_stopped(pid_t pid)
{
    char name[64], state = '?';
    FILE *f;

    snprintf(name, sizeof name, "/proc/%d/stat", (int)pid);
    f = fopen(name, "re");
    if (!f)
        return false;
    if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
        state = '?';
    fclose(f);
    return state == 'T' || state == 't';
}

static void complain(pid_t pid, bool stopped)
{
    if (stopped)
        fprintf(stderr, "touchline: the one that runs (pid %d) stands still, "
                "by a signal or a debugger: `kill -CONT %d` lets it go on, and "
                "do what it was asked for\n", (int)pid, (int)pid);
    else
        fprintf(stderr, "touchline: the one that runs (pid %d) has not said a "
                "word for %d s; what it was asked for it may still do. Its log "
                "may say what it waits for; its children serve without it\n",
                (int)pid, CONTROL_SILENT_S);
}

/* False: nothing will come, and that has been said. */
static bool wait_for_words(int fd, pid_t pid)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    unsigned silent = 0, stopped = 0;

    while (poll(&p, 1, 1000) <= 0) {
        stopped = is_stopped(pid) ? stopped + 1 : 0;
        if (++silent < CONTROL_SILENT_S && stopped < CONTROL_STOPPED_S)
            continue;
        complain(pid, stopped != 0);
        return false;
    }
    return true;
}

/* What has been heard, and what of it is for people. */
struct answer {
    struct buf in, text;
    bool live, told;
    int code; /* -1: not said yet */
};

static void take_line(struct answer *a, struct slice line)
{
    uint64_t code;

    if (slice_starts(line, SLICE("exit ")) &&
        slice_parse_u64(slice_from(line, 5), &code) == 0 && code < 256) {
        a->code = (int)code;
    } else if (a->live) {
        printf(SLICE_FMT "\n", SLICE_ARG(line));
        fflush(stdout);
        a->told = true;
    } else {
        buf_add(&a->text, line);
        buf_add_byte(&a->text, '\n');
    }
}

static void take_lines(struct answer *a)
{
    struct slice left = buf_slice(&a->in);
    size_t end;

    while ((end = slice_find_byte(left, '\n')) < left.len) {
        take_line(a, slice_head(left, end));
        left = slice_from(left, end + 1);
    }
    buf_drop_front(&a->in, a->in.len - left.len);
}

/* Up to the end. False: there was none, and why has been said. */
static bool hear(struct answer *a, int fd)
{
    pid_t pid = pid_of_peer(fd);
    ssize_t n = 1;

    while (n > 0) {
        uint8_t *at = buf_reserve(&a->in, 4096);

        if (!at || !wait_for_words(fd, pid))
            return at == NULL;
        n = read(fd, at, 4096);
        a->in.len += n > 0 ? (size_t)n : 0;
        take_lines(a);
    }
    return true;
}

/* All up to the line `exit N`, which is not printed. */
static int print_answer(int fd, bool live)
{
    struct answer a = {.live = live, .code = -1};
    bool heard = hear(&a, fd);

    if (a.code < 0) {
        if (heard)
            fprintf(stderr, "touchline: it ended before it had answered\n");
        a.code = EXIT_FAILED;
        a.told = true;
    }
    fputs(buf_text(&a.text), a.code == EXIT_DONE ? stdout : stderr);
    if (a.code != EXIT_DONE && !a.told && !a.text.len)
        fprintf(stderr, "touchline: the one that runs has not said why; its "
                        "log may\n");
    buf_fini(&a.in);
    buf_fini(&a.text);
    return a.code;
}

int control_ask(const char *dir, const char *verb, bool live)
{
    int fd = connect_to(dir), code;
    char line[64];

    if (fd < 0) {
        fprintf(stderr, "touchline: no touchline answers in %s: %s; say where "
                "it runs with --dir DIR\n", dir, strerror(errno));
        return EXIT_NO_ROUTER;
    }
    /* Where that fails, an answer may be there all the same. */
    snprintf(line, sizeof line, "%s\n", verb);
    (void)!send(fd, line, strlen(line), MSG_NOSIGNAL);
    code = print_answer(fd, live);
    close(fd);
    return code;
}
