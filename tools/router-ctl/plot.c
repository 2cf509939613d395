/* plot.c - the verb `plot`: the charts of a file of measurements (chart.h), as
 * pictures that gnuplot draws. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "proto/report.h"
#include "tools/router-ctl/chart.h"
#include "tools/router-ctl/ctl.h"

extern char **environ;

#define FILE_MOST ((size_t)512 * 1024 * 1024)

/* ---- gnuplot ------------------------------------------------------------- */

static bool write_all(int fd, struct slice text)
{
    while (text.len) {
        ssize_t n = write(fd, text.ptr, text.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        text = slice_from(text, (size_t)n);
    }
    return true;
}

/* Its standard input is one end of a pipe; errors are its own to say. */
static int start_gnuplot(pid_t *pid, int *to)
{
    static char name[] = "gnuplot";
    char *const args[] = { name, NULL };
    posix_spawn_file_actions_t files;
    int ends[2], rc;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return errno;
    rc = posix_spawn_file_actions_init(&files);
    if (rc == 0) {
        rc = posix_spawn_file_actions_adddup2(&files, ends[0], STDIN_FILENO);
        if (rc == 0)
            rc = posix_spawnp(pid, name, &files, NULL, args, environ);
        posix_spawn_file_actions_destroy(&files);
    }
    close(ends[0]);
    if (rc == 0)
        *to = ends[1];
    else
        close(ends[1]);
    return rc;
}

static int draw(const struct ctl *c, struct slice program)
{
    struct sigaction ignore = { .sa_handler = SIG_IGN }, before;
    int to = -1, status = 0, rc;
    bool written;
    pid_t pid;

    rc = start_gnuplot(&pid, &to);
    if (rc == ENOENT)
        return ctl_fail(c, EXIT_FAILED, "gnuplot draws the pictures, and is "
                        "not here; it comes with: apt-get install "
                        "gnuplot-nox");
    if (rc != 0)
        return ctl_fail(c, EXIT_FAILED, "gnuplot: %s", strerror(rc));
    (void)sigaction(SIGPIPE, &ignore, &before);
    written = write_all(to, program);
    close(to);
    (void)sigaction(SIGPIPE, &before, NULL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!written || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return ctl_fail(c, EXIT_FAILED, "gnuplot did not draw it");
    return EXIT_DONE;
}

/* ---- the verb ------------------------------------------------------------ */

/* It becomes a line of a program. */
static bool one_line(const char *path)
{
    for (; *path; path++)
        if ((unsigned char)*path < 0x20)
            return false;
    return true;
}

/* FILE without .csv, or what was asked for. */
static void put_prefix(struct buf *b, const struct ctl *c)
{
    struct slice file = slice_str(c->args[0]);

    if (c->arg_count > 1)
        file = slice_str(c->args[1]);
    else if (slice_ends(file, SLICE(".csv")))
        file = slice_head(file, file.len - 4);
    buf_add(b, file);
}

static void plan(struct buf *program, struct buf *report, const struct ctl *c,
                 struct slice text)
{
    struct buf picture = BUF_INIT;

    report_part(report, "pictures");
    for (size_t i = 0; i < chart_count; i++) {
        buf_reset(&picture);
        put_prefix(&picture, c);
        buf_addf(&picture, "-%s.png", charts[i].name);
        if (!chart_program(program, &charts[i], text, buf_text(&picture)))
            continue;
        report_row(report);
        report_text(report, "file", buf_slice(&picture));
        report_text(report, "shows", slice_str(charts[i].title));
        report_row_end(report);
    }
    program->failed |= picture.failed;
    buf_fini(&picture);
}

int verb_plot(struct ctl *c)
{
    struct buf text = BUF_INIT, program = BUF_INIT, report = BUF_INIT;
    struct buf out = BUF_INIT;
    const char *problem;
    int code = EXIT_DONE;

    if (!one_line(c->args[0]) || (c->arg_count > 1 && !one_line(c->args[1])))
        code = ctl_usage(c, "no name with control characters, please");
    if (code == EXIT_DONE)
        code = ctl_read_file(c, c->args[0], FILE_MOST, &text);
    if (code == EXIT_DONE && (problem = chart_problem(buf_slice(&text))))
        code = ctl_fail(c, EXIT_FAILED, "%s: %s", c->args[0], problem);
    if (code == EXIT_DONE) {
        plan(&program, &report, c, buf_slice(&text));
        if (program.failed || report.failed)
            code = ctl_fail(c, EXIT_FAILED, "out of memory");
        else if (!program.len)
            code = ctl_fail(c, EXIT_FAILED, "%s: there is nothing to draw",
                            c->args[0]);
    }
    if (code == EXIT_DONE)
        code = draw(c, buf_slice(&program));
    if (code == EXIT_DONE
        && (show_report(&out, &c->show, buf_slice(&report)) < 0
            || show_out(&out) < 0))
        code = ctl_fail(c, EXIT_FAILED, "the answer cannot be written");
    buf_fini(&text);
    buf_fini(&program);
    buf_fini(&report);
    buf_fini(&out);
    return code;
}
