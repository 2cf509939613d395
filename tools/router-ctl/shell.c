#include "tools/router-ctl/shell.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "proto/json.h"

enum { LINE_MOST = 2 * 1024 * 1024, ANSWER_MOST = 1024 * 1024 };
#define GLANCE (3 * SECOND) /* for the prompt; who has no router says so at once */

struct shell *shell_of(EditLine *edit)
{
    void *s;

    el_get(edit, EL_CLIENTDATA, &s);
    return s;
}

/* ---- a command ------------------------------------------------------------ */

static void add(char **argv, int *n, const char *option, const char *value)
{
    if (!value)
        return;
    if (option)
        argv[(*n)++] = strdup(option);
    argv[(*n)++] = strdup(value);
}

/* In the child: never returns. What it leaves lying about goes with it. */
static void become(const struct shell *s, int count, const char *const words[])
{
    const struct ctl *c = s->ctl;
    size_t room = 2 * c->cli.set_count + (size_t)count + 16;
    char **argv = calloc(room, sizeof *argv);
    int n = 0, code = EXIT_FAILED;

    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGQUIT, SIG_DFL);
    if (argv) {
        add(argv, &n, NULL, c->cli.binary);
        add(argv, &n, "--dir", c->cli.dir);
        add(argv, &n, "--router", c->opt.router);
        add(argv, &n, "--color", c->opt.color);
        add(argv, &n, "--config", c->cli.config_file);
        add(argv, &n, NULL, c->opt.json ? "--json" : NULL);
        for (size_t i = 0; i < c->cli.set_count; i++)
            add(argv, &n, "--set", c->cli.sets[i]);
        for (int i = 0; i < count; i++)
            add(argv, &n, NULL, words[i]);
        code = ctl_run(n, argv);
    }
    (void)fflush(NULL);
    _exit(code);
}

static int wait_for(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return EXIT_FAILED;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int shell_run(const struct shell *s, int count, const char *const words[])
{
    pid_t pid;

    (void)fflush(NULL);
    pid = fork();
    if (pid == 0)
        become(s, count, words);
    if (pid < 0)
        return ctl_fail(s->ctl, EXIT_FAILED, "no process can be started: %s",
                        strerror(errno));
    return wait_for(pid);
}

/* Until its end, or the deadline. */
static bool hear(int fd, int64_t until_ns, struct buf *out)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    size_t before = out->len;
    int64_t left;

    while ((left = until_ns - clock_ns()) > 0 &&
           out->len - before < ANSWER_MOST) {
        uint8_t *to = buf_reserve(out, 64 * 1024);
        ssize_t n = 0;

        if (!to || poll(&p, 1, (int)(left / MILLISECOND) + 1) < 0)
            return false;
        if (p.revents)
            n = read(fd, to, 64 * 1024);
        if (p.revents && n <= 0)
            return n == 0;
        out->len += (size_t)n;
    }
    return false;
}

bool shell_ask(const struct shell *s, int count, const char *const words[],
               int64_t wait_ns, struct buf *out)
{
    int pair[2];
    bool whole;
    pid_t pid;

    (void)fflush(NULL);
    if (pipe(pair) < 0)
        return false;
    pid = fork();
    if (pid == 0) {
        (void)dup2(pair[1], STDOUT_FILENO);
        (void)!freopen("/dev/null", "w", stderr);
        (void)!freopen("/dev/null", "r", stdin);
        close(pair[0]);
        close(pair[1]);
        become(s, count, words);
    }
    close(pair[1]);
    whole = pid > 0 && hear(pair[0], clock_ns() + wait_ns, out);
    close(pair[0]);
    if (pid > 0 && !whole)
        (void)kill(pid, SIGKILL);
    return pid > 0 && wait_for(pid) == EXIT_DONE && whole;
}

/* ---- the prompt ----------------------------------------------------------- */

/* What it is for: asked again each time, for a router may have been replaced,
 * or told otherwise. */
static void look(struct shell *s)
{
    static const char *const words[] = { "status", "--json" };
    static const char mark[] = "\"environment\":\"";
    struct buf out = BUF_INIT;
    const char *at;

    s->environment[0] = '\0';
    (void)shell_ask(s, 2, words, GLANCE, &out);
    at = out.len && !out.failed ? strstr(buf_text(&out), mark) : NULL;
    if (at)
        snprintf(s->environment, sizeof s->environment, "%.*s",
                 (int)strcspn(at + sizeof mark - 1, "\""),
                 at + sizeof mark - 1);
    buf_fini(&out);
}

static const char *tone_of(const char *environment)
{
    return strcmp(environment, "live") == 0      ? "1;97;41"
           : strcmp(environment, "staging") == 0 ? "33"
           : *environment                        ? "0"
                                                 : "2";
}

/* \1 stands around what takes no room; libedit wants something behind it, which
 * is none of these. */
static void put_tone(struct buf *b, bool colour, const char *sgr)
{
    if (colour)
        buf_addf(b, "\1\033[%sm\1", sgr);
}

static void make_prompt(struct shell *s)
{
    bool colour = show_colours(STDOUT_FILENO);
    struct buf *b = &s->prompt;

    look(s);
    buf_reset(b);
    put_tone(b, colour, tone_of(s->environment));
    buf_add_str(b, *s->environment ? s->environment : "no router");
    put_tone(b, colour, s->last ? "0;31" : "0");
    if (s->last)
        buf_addf(b, " [%d]", s->last);
    buf_add_byte(b, '>');
    put_tone(b, colour, "0");
    buf_add_byte(b, ' ');
}

static char *prompt(EditLine *edit)
{
    static char none[] = "> ";
    struct shell *s = shell_of(edit);

    return s->prompt.failed ? none
                            : (char *)(uintptr_t)buf_text(&s->prompt);
}

/* ---- lines ----------------------------------------------------------------- */

/* A line of words; false: it says that this is the end. */
static bool do_line(struct shell *s, const char *line)
{
    const char **words;
    int count;

    tok_reset(s->words);
    if (tok_str(s->words, line, &count, &words) != 0) {
        s->last = ctl_fail(s->ctl, EXIT_USAGE, "a quote is not closed; ' and "
                           "\" stand in pairs, or behind a backslash");
        return true;
    }
    if (count == 0 || words[0][0] == '#')
        return true;
    if (count == 1 && (strcmp(words[0], "exit") == 0 ||
                       strcmp(words[0], "quit") == 0))
        return false;
    if (verb_find(words[0]) == s->ctl->verb)
        s->last = ctl_fail(s->ctl, EXIT_USAGE, "this is the shell; Ctrl-D or "
                           "exit leaves it");
    else
        s->last = shell_run(s, count, words);
    return true;
}

/* Byte by byte: what stands behind the line is its command's to read. False:
 * there is none. */
static bool read_line(struct buf *line)
{
    ssize_t n;
    char byte;

    buf_reset(line);
    while ((n = read(STDIN_FILENO, &byte, 1)) > 0 && byte != '\n' &&
           line->len < LINE_MOST)
        buf_add_byte(line, (uint8_t)byte);
    return n > 0 || line->len;
}

/* As `bash -e` does: what follows a failure may have counted on it. */
static int run_script(struct shell *s)
{
    struct buf line = BUF_INIT;
    unsigned number = 0;

    while (s->last == EXIT_DONE && read_line(&line)) {
        number++;
        if (line.failed || !do_line(s, buf_text(&line)))
            break;
    }
    if (s->last != EXIT_DONE)
        (void)ctl_fail(s->ctl, s->last, "line %u ended with exit code %d; what "
                       "follows it was not done", number, s->last);
    buf_fini(&line);
    return s->last;
}

/* ---- on a terminal --------------------------------------------------------- */

static unsigned char cancel(EditLine *edit, wint_t key)
{
    UNUSED(key);
    shell_of(edit)->cancelled = true;
    fputs("^C\n", stdout);
    fflush(stdout);
    return CC_EOF;
}

/* Ctrl-C is a key while a line is typed, and a signal while one runs. */
static void set_keys(EditLine *edit)
{
    el_set(edit, EL_EDITOR, "emacs");
    el_set(edit, EL_PROMPT_ESC, prompt, '\1');
    el_set(edit, EL_SETTY, "-d", "-isig", NULL);
    /* Wide: of narrow names it makes copies that it forgets. */
    el_wset(edit, EL_ADDFN, L"tl-complete", L"complete", shell_complete);
    el_wset(edit, EL_ADDFN, L"tl-cancel", L"give the line up", cancel);
    el_set(edit, EL_BIND, "^I", "tl-complete", NULL);
    el_set(edit, EL_BIND, "^C", "tl-cancel", NULL);
    el_set(edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
}

static bool open_terminal(struct shell *s)
{
    s->history = history_init();
    s->edit = el_init("router-ctl", stdin, stdout, stderr);
    if (!s->history || !s->edit)
        return false;
    el_set(s->edit, EL_CLIENTDATA, s);
    el_set(s->edit, EL_HIST, history, s->history);
    set_keys(s->edit);
    shell_history_open(s);
    return true;
}

static bool turn(struct shell *s)
{
    char *line;
    const char *typed;
    bool goes_on;
    int len;

    make_prompt(s);
    s->cancelled = false;
    /* In front of the prompt: whoever types at once is echoed by the editor,
     * and Ctrl-C is a key. */
    el_set(s->edit, EL_PREP_TERM, 1);
    typed = el_gets(s->edit, &len);
    if (!typed || len <= 0)
        return s->cancelled;
    line = strndup(typed, strcspn(typed, "\n"));
    if (!line)
        return false;
    shell_history_add(s, line);
    goes_on = do_line(s, line);
    free(line);
    return goes_on;
}

static int run_terminal(struct shell *s)
{
    if (!open_terminal(s))
        return ctl_fail(s->ctl, EXIT_FAILED, "this terminal cannot be used; "
                        "lines may be piped in");
    printf("router-ctl %s: help lists the verbs, Tab completes, Ctrl-D "
           "leaves\n", TOUCHLINE_VERSION);
    while (turn(s))
        ;
    if (s->edit)
        el_end(s->edit);
    putchar('\n');
    return EXIT_DONE;
}

int verb_shell(struct ctl *c)
{
    struct shell s = { .ctl = c, .history_fd = -1, .words = tok_init(NULL) };
    bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    int code;

    if (!s.words)
        return ctl_fail(c, EXIT_FAILED, "out of memory");
    if (terminal) {
        (void)signal(SIGINT, SIG_IGN);
        (void)signal(SIGQUIT, SIG_IGN);
    }
    code = terminal ? run_terminal(&s) : run_script(&s);
    if (s.history)
        history_end(s.history);
    shell_history_close(&s);
    tok_end(s.words);
    buf_fini(&s.prompt);
    return code;
}
