#include "proto/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/secret.h"
#include "proto/cage.h"

/* An answer: is it an error, how long is it, and the text. */
struct head {
    uint32_t error, len;
};

enum { OUR_FD = 3 };

/* ---- the keeper --------------------------------------------------------- */

static bool say_all(int fd, const void *bytes, size_t len)
{
    const char *from = bytes;

    while (len) {
        ssize_t n = write(fd, from, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        from += n;
        len -= (size_t)n;
    }
    return true;
}

static bool answer(int fd, const char *path)
{
    struct opt_error err;
    struct slice text;
    bool wrong = opt_slurp_again(path, &text, &err) < 0;
    struct slice said = wrong ? slice_str(err.text) : text;
    struct head h = { .error = wrong, .len = (uint32_t)said.len };
    bool heard = say_all(fd, &h, sizeof h) && say_all(fd, said.ptr, said.len);

    opt_forget(&text);
    return heard;
}

/* Nothing that this process has open is its business. */
static bool leave_all(int fd)
{
    int nothing = open("/dev/null", O_RDONLY); /* more may be forbidden */

    if (nothing < 0 || dup2(fd, OUR_FD) < 0)
        return false;
    for (int i = 0; i < OUR_FD; i++)
        if (dup2(nothing, i) < 0)
            return false;
    return close_range(OUR_FD + 1, ~0u, 0) == 0;
}

/* Whoever ends the one it serves ends it. */
_Noreturn static void keep(int fd, const char *path, enum sandbox sandbox)
{
    static const int ignored[] = { SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGPIPE,
                                   SIGUSR1, SIGUSR2 };
    static struct cage cage;
    struct cage_report r;
    char asked;

    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        (void)signal(ignored[i], SIG_IGN);
    (void)prctl(PR_SET_NAME, "touchline-conf");
    cage.kind = CAGE_KEEPER;
    if (!leave_all(fd) || cage_allow(&cage, "/", CAGE_READ) < 0 ||
        cage_enter(&cage, sandbox, &r) < 0)
        _exit(1);
    while (read(OUR_FD, &asked, 1) == 1 && answer(OUR_FD, path))
        ;
    _exit(0);
}

/* ---- who is served ------------------------------------------------------ */

int keeper_start(struct keeper *k, const char *path, enum sandbox sandbox)
{
    int ends[2];
    pid_t pid;

    *k = (struct keeper){ .fd = -1 };
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return ERR_IO;
    pid = fork();
    if (pid == 0)
        keep(ends[1], path, sandbox);
    close(ends[1]);
    if (pid < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0) {
        close(ends[0]);
        return ERR_NOMEM;
    }
    k->fd = ends[0];
    k->pid = pid;
    buf_init(&k->said);
    return 0;
}

static void forget_said(struct keeper *k)
{
    if (k->said.ptr)
        secret_wipe(k->said.ptr, k->said.len);
    buf_fini(&k->said);
}

/* The answer is whole, or there will be none: error. */
static void finish(struct keeper *k, const struct head *h, const char *error)
{
    struct slice text = h ? slice_from(buf_slice(&k->said), sizeof *h)
                          : SLICE("");

    k->asked = false;
    if (h && h->error) {
        buf_add_byte(&k->said, '\0');
        error = (const char *)k->said.ptr + sizeof *h;
        text = SLICE("");
    }
    k->told(k->ctx, text, error);
    forget_said(k);
    if (k->again) {
        k->again = false;
        keeper_ask(k);
    }
}

static void lose(struct keeper *k)
{
    bool asked = k->asked;

    k->again = false;
    loop_fd_stop(&k->watch);
    close(k->fd);
    k->fd = -1;
    if (asked)
        finish(k, NULL, "the process that reads the file is gone");
}

/* Room for all of it at once: what is copied about cannot be wiped. */
static ssize_t take(struct keeper *k)
{
    uint8_t *at = k->said.cap ? k->said.ptr + k->said.len
                              : buf_reserve(&k->said, OPT_FILE_MAX + 4096);
    ssize_t n;

    if (!at || k->said.len >= k->said.cap)
        return -1;
    n = read(k->fd, at, k->said.cap - k->said.len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    k->said.len += n > 0 ? (size_t)n : 0;
    return n > 0 ? n : -1;
}

static void on_answer(void *ctx, unsigned ready)
{
    struct keeper *k = ctx;
    struct head h;

    UNUSED(ready);
    if (take(k) < 0) {
        lose(k);
        return;
    }
    if (k->said.len < sizeof h)
        return;
    memcpy(&h, k->said.ptr, sizeof h);
    if (k->said.len >= sizeof h + h.len)
        finish(k, &h, NULL);
}

int keeper_watch(struct keeper *k, struct loop *l,
                 void (*told)(void *ctx, struct slice text, const char *error),
                 void *ctx)
{
    k->told = told;
    k->ctx = ctx;
    return k->fd < 0 ? 0
                     : loop_fd_start(&k->watch, l, k->fd, LOOP_READ, on_answer,
                                     k);
}

void keeper_ask(struct keeper *k)
{
    if (k->asked) {
        k->again = true;
        return;
    }
    k->asked = true;
    if (k->fd < 0 || send(k->fd, "?", 1, MSG_NOSIGNAL) != 1)
        finish(k, NULL, "there is no process that reads the file");
}

void keeper_stop(struct keeper *k)
{
    loop_fd_stop(&k->watch);
    if (k->fd > 0)
        close(k->fd);
    forget_said(k);
    k->fd = -1;
}
