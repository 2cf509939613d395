/* shell_history.c - the lines of before, in a file. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/router-ctl/shell.h"

enum { LINES_KEPT = 1000, FILE_MOST = 256 * 1024 };

/* Only a file of ours, which nobody else reads. */
static int open_file(void)
{
    const char *home = getenv("HOME");
    struct buf path = BUF_INIT;
    struct stat st;
    int fd = -1;

    if (home && *home)
        buf_addf(&path, "%s/.router-ctl_history", home);
    if (path.len && !path.failed)
        fd = open(buf_text(&path), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC |
                  O_NOFOLLOW | O_NONBLOCK, 0600);
    buf_fini(&path);
    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
                    st.st_uid != geteuid() || fchmod(fd, 0600) < 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* The end of the file. */
static void read_end(int fd, struct buf *text)
{
    off_t size = lseek(fd, 0, SEEK_END);
    off_t from = size > FILE_MOST ? size - FILE_MOST : 0;
    uint8_t *to = buf_reserve(text, FILE_MOST);
    ssize_t n = to ? pread(fd, to, FILE_MOST, from) : -1;

    text->len += n > 0 ? (size_t)n : 0;
}

/* What is too much goes, or it would grow for ever. */
static void shorten(int fd, struct slice text)
{
    if (text.len < FILE_MOST || ftruncate(fd, 0) < 0)
        return;
    text = slice_from(text, text.len / 2);
    (void)slice_split(&text, '\n');
    (void)!write(fd, text.ptr, text.len);
}

static void remember(struct shell *s, const char *line)
{
    HistEvent e;

    (void)history(s->history, &e, H_ENTER, line);
}

void shell_history_open(struct shell *s)
{
    struct buf text = BUF_INIT, line = BUF_INIT;
    struct slice rest;
    HistEvent e;

    s->history_fd = open_file();
    (void)history(s->history, &e, H_SETSIZE, LINES_KEPT);
    (void)history(s->history, &e, H_SETUNIQUE, 1);
    if (s->history_fd < 0)
        return;
    read_end(s->history_fd, &text);
    shorten(s->history_fd, buf_slice(&text));
    for (rest = buf_slice(&text); rest.len;) {
        buf_reset(&line);
        buf_add(&line, slice_split(&rest, '\n'));
        if (line.len && !line.failed)
            remember(s, buf_text(&line));
    }
    buf_fini(&text);
    buf_fini(&line);
}

void shell_history_add(struct shell *s, const char *line)
{
    size_t len = strlen(line);
    struct buf text = BUF_INIT;

    if (!len || line[0] == ' ')
        return;
    remember(s, line);
    if (s->history_fd < 0 || strcasestr(line, "secret"))
        return;
    buf_addf(&text, "%s\n", line); /* one write: shells beside each other */
    if (!text.failed)
        (void)!write(s->history_fd, text.ptr, text.len);
    buf_fini(&text);
}

void shell_history_close(struct shell *s)
{
    if (s->history_fd >= 0)
        close(s->history_fd);
}
