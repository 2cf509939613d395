#include "tools/router-ctl/screen.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/err.h"

/* The other page, no cursor; and back. */
#define ENTER "\033[?1049h\033[?25l\033[2J"
#define LEAVE "\033[0m\033[?25h\033[?1049l"

static struct {
    struct termios before;
    volatile sig_atomic_t on;
    bool guarded; /* the handlers are there */
} screen;

static const int deadly[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT,
                              SIGQUIT, SIGHUP };

bool screen_possible(void)
{
    const char *term = getenv("TERM");

    return isatty(STDOUT_FILENO) && isatty(STDIN_FILENO) && term && *term
           && strcmp(term, "dumb") != 0;
}

static bool write_all(const char *text, size_t len)
{
    while (len) {
        ssize_t n = write(STDOUT_FILENO, text, len);

        if (n <= 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return true;
}

/* Everything here may be called from a handler. */
static void leave(void)
{
    if (!screen.on)
        return;
    screen.on = 0;
    (void)!write_all(LEAVE, sizeof LEAVE - 1);
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &screen.before);
}

static int enter(void)
{
    struct termios raw;

    if (tcgetattr(STDIN_FILENO, &screen.before) < 0)
        return ERR_IO;
    raw = screen.before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
        return ERR_IO;
    screen.on = 1;
    if (!write_all(ENTER, sizeof ENTER - 1)) {
        leave();
        return ERR_IO;
    }
    return 0;
}

static void on_deadly(int signo)
{
    leave();
    (void)signal(signo, SIG_DFL);
    (void)raise(signo);
}

/* Ctrl-Z: the shell gets its page back, and we ours when we go on. */
static void on_stop(int signo)
{
    bool was_on = screen.on;

    UNUSED(signo);
    leave();
    (void)raise(SIGSTOP);
    if (was_on)
        (void)!enter();
}

static void guard(void)
{
    struct sigaction deadly_action = { .sa_handler = on_deadly };
    struct sigaction stop_action = { .sa_handler = on_stop,
                                     .sa_flags = SA_RESTART };

    if (screen.guarded)
        return;
    screen.guarded = true;
    for (size_t i = 0; i < ARRAY_LEN(deadly); i++)
        (void)sigaction(deadly[i], &deadly_action, NULL);
    (void)sigaction(SIGTSTP, &stop_action, NULL);
    (void)atexit(leave);
}

int screen_begin(void)
{
    guard();
    return enter();
}

void screen_end(void)
{
    leave();
}

void screen_size(unsigned *columns, unsigned *rows)
{
    struct winsize w = { .ws_col = 0 };

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0 || !w.ws_col || !w.ws_row)
        w = (struct winsize){ .ws_col = 80, .ws_row = 24 };
    *columns = w.ws_col;
    *rows = w.ws_row;
}

/* ---- frames --------------------------------------------------------------- */

/* How many bytes of line fit; sequences take no column. */
static size_t fitting(struct slice line, unsigned columns)
{
    size_t i = 0;
    unsigned used = 0;

    while (i < line.len) {
        if (line.ptr[i] == '\033') {
            while (i < line.len && line.ptr[i] != 'm')
                i++;
            i += i < line.len;
            continue;
        }
        if ((line.ptr[i] & 0xc0) != 0x80 && used++ == columns)
            break;
        i++;
    }
    return i;
}

int screen_show(struct slice text)
{
    struct buf out = BUF_INIT;
    unsigned columns, rows;
    int rc;

    screen_size(&columns, &rows);
    buf_add_str(&out, "\033[H");
    for (unsigned row = 0; row < rows && text.ptr; row++) {
        struct slice line = slice_split(&text, '\n');

        if (row)
            buf_add_byte(&out, '\n');
        buf_add(&out, slice_head(line, fitting(line, columns)));
        buf_add_str(&out, "\033[0m\033[K");
    }
    buf_add_str(&out, "\033[J");
    rc = out.failed ? ERR_NOMEM
         : write_all((const char *)out.ptr, out.len) ? 0 : ERR_IO;
    buf_fini(&out);
    return rc;
}
