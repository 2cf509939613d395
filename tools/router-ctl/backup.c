/* backup.c - the verb `backup`. The router makes the copy; where it may not
 * write, router-ctl's user may: then the copy is made beside the database, and
 * fetched from there. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "proto/report.h"
#include "tools/router-ctl/ctl.h"
#include "tools/router-ctl/progress.h"

enum { CHUNK = 1 << 20 };

/* The router has another working directory. */
static int absolute(const struct ctl *c, const char *path, struct buf *ret)
{
    char here[PATH_MAX];

    if (path[0] != '/') {
        if (!getcwd(here, sizeof here))
            return ctl_fail(c, EXIT_FAILED, "the working directory has no "
                            "name; give an absolute path");
        buf_addf(ret, "%s/", here);
    }
    buf_add_str(ret, path);
    if (ret->failed)
        return ctl_fail(c, EXIT_FAILED, "out of memory");
    return EXIT_DONE;
}

/* ---- fetching ---------------------------------------------------------- */

static bool copy_bytes(int from, int to)
{
    static char bytes[CHUNK];
    ssize_t n;

    while ((n = read(from, bytes, sizeof bytes)) > 0)
        for (ssize_t at = 0, put; at < n; at += put)
            if ((put = write(to, bytes + at, (size_t)(n - at))) < 0)
                return false;
    return n == 0;
}

/* Its owner is who can put it back; only root can leave it to him. */
static bool copy_file(int from, const char *part)
{
    int to = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
                  0640);
    struct stat st;
    bool done = to >= 0 && copy_bytes(from, to);

    if (done && fstat(from, &st) == 0)
        (void)!fchown(to, st.st_uid, st.st_gid);
    done = done && fsync(to) == 0;
    return to >= 0 && close(to) == 0 && done;
}

static bool sync_folder(const char *file)
{
    const char *slash = strrchr(file, '/');
    char *folder = strndup(file, slash > file ? (size_t)(slash - file) : 1);
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool done = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0)
        close(fd);
    free(folder);
    return done;
}

/* On another file system, or a link to it is not for us to make. */
static bool fetch_copy(const char *made, const char *file)
{
    struct buf part = BUF_INIT;
    int from = open(made, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), error;
    bool done;

    buf_addf(&part, "%s.part", file);
    done = from >= 0 && !part.failed && copy_file(from, buf_text(&part)) &&
           link(buf_text(&part), file) == 0;
    error = errno;
    if (from >= 0)
        close(from);
    if (!part.failed)
        (void)unlink(buf_text(&part));
    buf_fini(&part);
    errno = error;
    return done;
}

/* Never over a file that is there: by link(), not by rename(). */
static int fetch(const struct ctl *c, const char *made, const char *file)
{
    bool done = link(made, file) == 0 ||
                (errno != EEXIST && fetch_copy(made, file));

    if (!done)
        return ctl_fail(c, EXIT_FAILED, "the copy is at %s; it could not be "
                        "brought to %s: %s", made, file, strerror(errno));
    if (!sync_folder(file))
        return ctl_fail(c, EXIT_FAILED, "the copy is at %s; whether it is at "
                        "%s for good is not known: %s", made, file,
                        strerror(errno));
    (void)unlink(made);
    return EXIT_DONE;
}

/* ---- asking ------------------------------------------------------------ */

/* Where the answer says that the copy is. */
static bool made_at(struct slice report, struct buf *ret)
{
    struct cursor in = cursor_init(report);
    struct report_field f;
    enum report_event e;

    while (report_next(&in, &e, &f) == 0 && e != REPORT_END)
        if (e == REPORT_FIELD && f.kind == REPORT_TEXT &&
            slice_eq(f.key, SLICE("file"))) {
            buf_add(ret, f.text);
            return !ret->failed;
        }
    return false;
}

static int tell(struct ctl *c, const char *file)
{
    struct buf report = BUF_INIT, out = BUF_INIT;
    int code = EXIT_DONE;

    report_part(&report, "backup");
    report_row(&report);
    report_text(&report, "file", slice_str(file));
    report_row_end(&report);
    if (report.failed || show_report(&out, &c->show, buf_slice(&report)) < 0 ||
        show_out(&out) < 0)
        code = ctl_fail(c, EXIT_FAILED, "the answer cannot be written");
    buf_fini(&report);
    buf_fini(&out);
    return code;
}

struct waiting {
    struct loop_timer tick;
    struct progress progress;
};

static void tick(void *ctx)
{
    struct waiting *w = ctx;

    progress_show(&w->progress, 0, 0, "");
    loop_timer_set(&w->tick, 100 * MILLISECOND);
}

static int ask(struct ctl *c, struct slice file, struct buf *body)
{
    struct waiting w;
    int code;

    progress_begin(&w.progress, "copying");
    loop_timer_init(&w.tick, c->loop, tick, &w);
    loop_timer_set(&w.tick, SECOND);
    code = ctl_query(c, "backup", file, body);
    loop_timer_stop(&w.tick);
    progress_end(&w.progress);
    return code;
}

/* The router need not be able to see it. */
static int ask_unless_there(struct ctl *c, struct buf *file, struct buf *body)
{
    struct stat st;
    int code = lstat(buf_text(file), &st) == 0
                   ? EXIT_REFUSED : ask(c, buf_slice(file), body);

    if (code == EXIT_REFUSED || code == EXIT_FAILED)
        (void)ctl_fail(c, code, "no copy was made of it at %s; choose another "
                       "file, that does not exist yet, in a directory that "
                       "does", buf_text(file));
    return code;
}

int verb_backup(struct ctl *c)
{
    struct buf file = BUF_INIT, body = BUF_INIT, made = BUF_INIT;
    int code = absolute(c, c->args[0], &file);

    if (code == EXIT_DONE)
        code = ask_unless_there(c, &file, &body);
    if (code == EXIT_DONE && !made_at(buf_slice(&body), &made))
        code = ctl_fail(c, EXIT_FAILED, "the router's answer makes no sense");
    if (code == EXIT_DONE && strcmp(buf_text(&made), buf_text(&file)) != 0)
        code = fetch(c, buf_text(&made), buf_text(&file));
    if (code == EXIT_DONE)
        code = tell(c, buf_text(&file));
    buf_fini(&file);
    buf_fini(&body);
    buf_fini(&made);
    return code;
}
