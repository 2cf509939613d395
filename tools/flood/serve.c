#include "tools/flood/serve.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "proto/cli.h"
#include "proto/json.h"
#include "proto/listen.h"
#include "proto/mark.h"

enum { IDS_MAX = 1 << 20, EVENTS = 512, READ_BYTES = 256 * 1024,
       BACKLOG = 65535, PROCESSES_MAX = 256, POSTED_MAX = 128 * 1024,
       ACCEPTS = 256 };

/* No client's file, so that tables begin as zeroes, which take no memory. */
#define NOBODY 0

enum link_kind { LINK_CLOSED, LINK_NEW, LINK_STREAM, LINK_LINES };

/* A connection, at the number of its file. */
struct link {
    uint32_t id;
    uint32_t next, prev; /* files of the same id */
    uint8_t kind;        /* enum link_kind */
};

struct topic {
    uint32_t head;     /* a file that listens; NOBODY: there is none */
    uint32_t offset;   /* of the last message */
    uint32_t due_next; /* on the list of those with something to send: id + 1 */
    bool due;
};

struct server {
    int epoll_fd, listener, mail; /* mail: what others were posted */
    int others[PROCESSES_MAX];    /* where to tell them */
    size_t other_count;
    struct link *links;
    struct buf **parts; /* of a request, at the number of its file */
    uint32_t link_max;
    struct topic *topics;
    uint32_t due;       /* list of topics: id + 1; 0: its end */
    struct buf *frames; /* of this turn, by id: only of those on the list */
    struct buf in;
    struct buf answers; /* to the one that is being read */
    struct buf posted;  /* in this turn, for the others: letters */
};

/* What one process tells the others of a message; its bytes follow. */
struct letter {
    uint32_t id, len;
};

/* ---- what is sent ----------------------------------------------------------- */

static const struct slice stream_head = SLICE_INIT(
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
    "Transfer-Encoding: chunked\r\n\r\n"
    "29\r\n{\"notice\":\"snapshot\",\"cursor\":\"limit-0\"}\n\r\n");
static const struct slice plain_answer = SLICE_INIT(
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n");
static const struct slice posted_answer = SLICE_INIT(
    "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
static const struct slice first_frame = SLICE_INIT("limit: status:\n\r\n");

/* A message as each of both kinds gets it, one behind the other. */
static void add_frame(struct buf *out, enum link_kind kind, uint32_t offset,
                      struct slice body)
{
    struct buf line = BUF_INIT;

    if (kind == LINK_LINES) {
        buf_add_str(out, "limit: message:\n\tcomment: ");
        buf_add(out, body);
        buf_add_str(out, "\n\r\n");
        return;
    }
    buf_addf(&line, "{\"offset\":%" PRIu32 ",\"data\":", offset);
    json_put_string(&line, body);
    buf_add_str(&line, "}\n");
    buf_addf(out, "%zx\r\n", line.len);
    buf_add(out, buf_slice(&line));
    buf_add_str(out, "\r\n");
    buf_fini(&line);
}

/* ---- who listens ------------------------------------------------------------ */

static uint32_t id_of(struct slice text)
{
    uint64_t n = 0, unit = 1;

    while (text.len && text.ptr[text.len - 1] >= '0'
           && text.ptr[text.len - 1] <= '9' && unit < IDS_MAX * 10) {
        n += unit * (uint64_t)(text.ptr[--text.len] - '0');
        unit *= 10;
    }
    return (uint32_t)(n % IDS_MAX);
}

static void join(struct server *s, uint32_t fd, struct slice id,
                 enum link_kind kind)
{
    struct link *l = &s->links[fd];
    struct topic *t = &s->topics[id_of(id)];

    *l = (struct link){ id_of(id), t->head, NOBODY, (uint8_t)kind };
    if (t->head != NOBODY)
        s->links[t->head].prev = fd;
    t->head = fd;
}

static void hang_up(struct server *s, uint32_t fd)
{
    struct link *l = &s->links[fd];

    if (l->kind == LINK_STREAM || l->kind == LINK_LINES) {
        if (l->prev == NOBODY)
            s->topics[l->id].head = l->next;
        else
            s->links[l->prev].next = l->next;
        if (l->next != NOBODY)
            s->links[l->next].prev = l->prev;
    }
    if (s->parts[fd]) {
        buf_fini(s->parts[fd]);
        free(s->parts[fd]);
        s->parts[fd] = NULL;
    }
    l->kind = LINK_CLOSED;
    close((int)fd);
}

/* False: it does not take it, and is closed. */
static bool tell(struct server *s, uint32_t fd, struct slice bytes)
{
    ssize_t n = send((int)fd, bytes.ptr, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n == (ssize_t)bytes.len)
        return true;
    hang_up(s, fd);
    return false;
}

/* ---- messages --------------------------------------------------------------- */

/* Frames of both kinds wait side by side: 2 * place and 2 * place + 1. */
static void take_message(struct server *s, uint32_t id, struct slice body)
{
    struct topic *t = &s->topics[id];

    if (!t->due) {
        t->due = true;
        t->due_next = s->due;
        s->due = id + 1;
    }
    t->offset++;
    add_frame(&s->frames[2 * id], LINK_STREAM, t->offset, body);
    add_frame(&s->frames[2 * id + 1], LINK_LINES, t->offset, body);
}

static void deliver(struct server *s, uint32_t id)
{
    for (uint32_t fd = s->topics[id].head; fd != NOBODY;) {
        uint32_t next = s->links[fd].next;
        bool lines = s->links[fd].kind == LINK_LINES;

        tell(s, fd, buf_slice(&s->frames[2 * id + lines]));
        fd = next;
    }
    buf_fini(&s->frames[2 * id]);
    buf_fini(&s->frames[2 * id + 1]);
}

/* What has come in this turn leaves. */
static void deliver_all(struct server *s)
{
    while (s->due) {
        uint32_t id = s->due - 1;

        s->due = s->topics[id].due_next;
        s->topics[id].due = false;
        deliver(s, id);
    }
}

/* A turn's in one: the kernel keeps few letters, but long ones. */
static void send_mail(struct server *s)
{
    for (size_t i = 0; s->posted.len && i < s->other_count; i++)
        if (send(s->others[i], s->posted.ptr, s->posted.len, MSG_NOSIGNAL) < 0)
            fprintf(stderr, "touchline-flood: a process was not told: %s\n",
                    strerror(errno));
    buf_reset(&s->posted);
}

static void on_post(struct server *s, struct slice id, struct slice body)
{
    uint32_t n = id_of(id);

    struct letter letter = { n, (uint32_t)body.len };

    take_message(s, n, body);
    if (!s->other_count)
        return;
    if (s->posted.len + sizeof letter + body.len > POSTED_MAX)
        send_mail(s);
    buf_add(&s->posted, slice_make(&letter, sizeof letter));
    buf_add(&s->posted, body);
}

static void read_letters(struct server *s, struct slice mail)
{
    struct letter letter;

    while (mail.len >= sizeof letter) {
        memcpy(&letter, mail.ptr, sizeof letter);
        mail = slice_from(mail, sizeof letter);
        take_message(s, letter.id % IDS_MAX, slice_head(mail, letter.len));
        mail = slice_from(mail, MIN(letter.len, mail.len));
    }
}

static void read_mail(struct server *s)
{
    uint8_t *to;
    ssize_t n;

    for (;;) {
        buf_reset(&s->in);
        to = buf_reserve(&s->in, POSTED_MAX);
        n = to ? recv(s->mail, to, POSTED_MAX, MSG_DONTWAIT) : -1;
        if (n <= 0)
            return;
        read_letters(s, slice_make(to, (size_t)n));
    }
}

/* ---- requests ----------------------------------------------------------------- */

static size_t length_of(struct slice head)
{
    const uint8_t *at = memmem(head.ptr, head.len, "\r\nContent-Length: ", 18);
    struct slice rest;
    uint64_t n = 0;

    if (!at)
        return 0;
    rest = slice_from(head, (size_t)(at - head.ptr) + 18);
    if (slice_parse_u64(slice_split(&rest, '\r'), &n) < 0 || n > POSTED_MAX / 2)
        return POSTED_MAX;
    return (size_t)n;
}

/* The request at the front; how many bytes it is, 0: it is not whole. The
 * answer waits for those of the requests behind it. */
static size_t on_request(struct server *s, uint32_t fd, struct slice in)
{
    const uint8_t *end = memmem(in.ptr, in.len, "\r\n\r\n", 4);
    struct slice head, path, answer = plain_answer;
    size_t all, body;

    if (!end)
        return 0;
    all = (size_t)(end - in.ptr) + 4;
    head = slice_head(in, all);
    body = length_of(head);
    if (all + body > in.len)
        return 0;
    path = slice_from(head, slice_find_byte(head, ' ') + 1);
    path = slice_head(path, slice_find_byte(path, ' '));
    if (slice_starts(head, SLICE("POST "))) {
        on_post(s, path, slice_make(in.ptr + all, body));
        answer = posted_answer;
    } else if (memmem(path.ptr, path.len, "channel=", 8)) {
        join(s, fd, path, LINK_STREAM);
        answer = stream_head;
    }
    buf_add(&s->answers, answer);
    return all + body;
}

static size_t on_line(struct server *s, uint32_t fd, struct slice in)
{
    size_t end = slice_find_byte(in, '\n');
    struct slice line = slice_head(in, end);

    if (end == in.len)
        return 0;
    if (slice_ends(line, SLICE("\r")))
        line.len--;
    /* Who watches says a name behind it, but all watch the same. */
    join(s, fd, slice_starts(line, SLICE("V:2:")) ? SLICE("") : line,
         LINK_LINES);
    buf_add(&s->answers, first_frame);
    return end + 1;
}

static size_t on_bytes(struct server *s, uint32_t fd, struct slice in)
{
    if (s->links[fd].kind != LINK_NEW)
        return in.len; /* who listens has nothing to say */
    if (slice_starts(in, SLICE("GET ")) || slice_starts(in, SLICE("POST ")))
        return on_request(s, fd, in);
    return in.len < 5 ? 0 : on_line(s, fd, in);
}

static void keep_part(struct server *s, uint32_t fd, struct slice rest)
{
    if (rest.len && !s->parts[fd])
        s->parts[fd] = calloc(1, sizeof *s->parts[fd]);
    if (rest.len && s->parts[fd])
        buf_add(s->parts[fd], rest);
}

static void take_part(struct server *s, uint32_t fd)
{
    buf_reset(&s->in);
    if (!s->parts[fd])
        return;
    buf_add(&s->in, buf_slice(s->parts[fd]));
    buf_fini(s->parts[fd]);
    free(s->parts[fd]);
    s->parts[fd] = NULL;
}

static void on_readable(struct server *s, uint32_t fd)
{
    struct slice rest;
    uint8_t *to;
    ssize_t n;

    take_part(s, fd);
    to = buf_reserve(&s->in, READ_BYTES);
    n = to ? recv((int)fd, to, READ_BYTES, MSG_DONTWAIT) : 0;
    if (n <= 0 && !(n < 0 && errno == EAGAIN)) {
        hang_up(s, fd);
        return;
    }
    s->in.len += n > 0 ? (size_t)n : 0;
    for (rest = buf_slice(&s->in); rest.len;) {
        size_t used = on_bytes(s, fd, rest);

        if (!used)
            break;
        rest = slice_from(rest, used);
    }
    if (s->answers.len && !tell(s, fd, buf_slice(&s->answers)))
        rest.len = 0;
    buf_reset(&s->answers);
    keep_part(s, fd, rest);
}

/* ---- its life -------------------------------------------------------------------- */

static void accept_some(struct server *s)
{
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };

        if (fd < 0)
            return;
        if ((uint32_t)fd >= s->link_max
            || epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0) {
            close(fd);
            continue;
        }
        s->links[fd].kind = LINK_NEW;
    }
}

static void turn(struct server *s)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(s->epoll_fd, events, EVENTS, -1);

    for (int i = 0; i < n; i++) {
        int fd = events[i].data.fd;

        if (fd == s->listener)
            accept_some(s);
        else if (fd == s->mail)
            read_mail(s);
        else if (s->links[fd].kind != LINK_CLOSED)
            on_readable(s, (uint32_t)fd);
    }
    send_mail(s);
    deliver_all(s);
}

static uint32_t file_limit(void)
{
    struct rlimit files = { 1024, 1024 };

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    return (uint32_t)MIN(files.rlim_cur, 4000000);
}

static int watch(struct server *s, int fd)
{
    struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };

    return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

static _Noreturn void serve(int listener, int (*mail)[2], size_t i,
                            size_t processes)
{
    struct server s = { .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
                        .listener = listener, .mail = mail[i][0],
                        .link_max = file_limit() };

    for (size_t k = 0; k < processes; k++)
        if (k != i)
            s.others[s.other_count++] = mail[k][1];
    s.links = calloc(s.link_max, sizeof *s.links);
    s.parts = calloc(s.link_max, sizeof(struct buf *));
    s.topics = calloc(IDS_MAX, sizeof *s.topics);
    s.frames = calloc((size_t)2 * IDS_MAX, sizeof *s.frames);
    if (s.epoll_fd < 0 || !s.links || !s.parts || !s.topics || !s.frames
        || watch(&s, listener) < 0 || watch(&s, s.mail) < 0) {
        fprintf(stderr, "touchline-flood: out of memory\n");
        _exit(EXIT_FAILED);
    }
    for (;;)
        turn(&s);
}

static int open_sockets(const char *address, size_t processes,
                        struct listen_set *sets, int (*mail)[2])
{
    char *item = strdup(address), why[256];
    struct opt_list list = { &item, 1 };
    int rc = item ? listen_open(&sets[0], &list, false, BACKLOG, why,
                                sizeof why)
                  : ERR_NOMEM;

    free(item);
    if (rc < 0) {
        fprintf(stderr, "touchline-flood: %s\n",
                rc == ERR_NOMEM ? err_text(rc) : why);
        return EXIT_FAILED;
    }
    for (size_t i = 0; i < processes; i++)
        if ((i && listen_again(&sets[i], &sets[0], BACKLOG) < 0)
            || socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, mail[i]) < 0) {
            fprintf(stderr, "touchline-flood: %s\n", strerror(errno));
            return EXIT_FAILED;
        }
    return 0;
}

int serve_run(const char *address, size_t processes)
{
    static struct listen_set sets[PROCESSES_MAX];
    static int mail[PROCESSES_MAX][2];
    sigset_t set;
    int signo, code;
    pid_t parent = getpid();

    processes = MIN(MAX(processes, 1), PROCESSES_MAX);
    code = open_sockets(address, processes, sets, mail);
    if (code)
        return code;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (size_t i = 0; i < processes; i++)
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent)
                _exit(EXIT_FAILED);
            serve(sets[i].at[0].fd, mail, i, processes);
        }
    printf("ready limit http://%s\n", sets[0].at[0].text);
    fflush(stdout);
    sigwait(&set, &signo);
    return signo == SIGCHLD ? EXIT_FAILED : EXIT_DONE;
}
