#include "tools/touchline/control.h"

#include <errno.h>
#include <fcntl.h>
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
    struct sockaddr_un at;
    int fd, in, error;

    if (address_in(dir, &at, &in) < 0)
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&at, sizeof at) < 0) {
        error = errno;
        close(fd);
        errno = error;
        fd = -1;
    }
    close(in);
    return fd;
}

static void print_or_keep(bool live, const char *line, struct buf *text)
{
    if (!live) {
        buf_add_str(text, line);
        return;
    }
    fputs(line, stdout);
    fflush(stdout);
}

/* All up to the line `exit N`, which is not printed. */
static int print_answer(FILE *f, bool live)
{
    struct buf text = BUF_INIT;
    char line[1024];
    bool told = false;
    int code = -1;

    while (fgets(line, sizeof line, f))
        if (sscanf(line, "exit %d", &code) != 1) {
            print_or_keep(live, line, &text);
            told |= live;
        }
    if (code < 0) {
        fprintf(stderr, "touchline: it ended before it had answered\n");
        code = EXIT_FAILED;
        told = true;
    }
    fputs(buf_text(&text), code == EXIT_DONE ? stdout : stderr);
    if (code != EXIT_DONE && !told && !text.len)
        fprintf(stderr, "touchline: the one that runs has not said why; its "
                        "log may\n");
    buf_fini(&text);
    return code;
}

int control_ask(const char *dir, const char *verb, bool live)
{
    int fd = connect_to(dir), code;
    char line[64];
    FILE *f = fd < 0 ? NULL : fdopen(fd, "r");

    if (!f) {
        fprintf(stderr, "touchline: no touchline answers in %s: %s\n", dir,
                strerror(errno));
        return EXIT_NO_ROUTER;
    }
    /* Where that fails, an answer may be there all the same. */
    snprintf(line, sizeof line, "%s\n", verb);
    (void)!send(fd, line, strlen(line), MSG_NOSIGNAL);
    code = print_answer(f, live);
    fclose(f);
    return code;
}
