/* edge_bench - the three figures that the structure was designed for, taken
 * through real sockets from a running Touchline, beside a bare limit.
 *
 *   edge_bench HTTP_PORT [WATCHERS]
 *
 * limit    a bare loop that writes the same bytes to as many sockets: what
 *          the kernel alone costs on this machine, in this run
 * watchers one message to all of them, until the last has it
 * burst    a hundred messages at once to all of them
 * lone     one message to one id, publish to receive: link, commit, edges
 * slow     1,000 readers of whom 50 do not read, beside the others without
 *          them: how fast is published, and when the others have it
 *
 * `make bench` starts Touchline and reads memory; see tests/bench/run.py. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 15, LONE = 2000, BURST = 100, WATCHERS = 9000 };
enum {
    READERS = 950,
    STALLED = 50, /* beside them */
    SLOW_ROUNDS = 20, /* of bursts, and times ten of single messages */
    FILL = 60,    /* messages that fill a socket which nobody reads, */
    FILL_BYTES = 60000,
};

struct watcher {
    int fd;
    uint64_t bytes;
};

static struct watcher *watchers;
static unsigned count;
static int poll_fd;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int dial(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void put(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = write(fd, text, len);

        if (n < 0)
            die("write");
        text += n;
        len -= (size_t)n;
    }
}

/* Reads whatever is there; returns how many bytes. */
static uint64_t gulp(int fd)
{
    static char drop[1 << 16];
    uint64_t all = 0;
    ssize_t n;

    while ((n = recv(fd, drop, sizeof drop, MSG_DONTWAIT)) > 0)
        all += (uint64_t)n;
    if (n == 0) {
        fprintf(stderr, "edge_bench: a watcher was closed\n");
        exit(1);
    }
    return all;
}

static void watch(int fd, uint32_t i)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.u32 = i};

    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &e) < 0)
        die("epoll_ctl");
}

/* Waits until every watcher has `bytes` more than before; seconds taken. */
static double all_have(uint64_t bytes, double begin)
{
    struct epoll_event events[512];
    unsigned left = count;

    while (left) {
        int n = epoll_wait(poll_fd, events, 512, 30000);

        if (n <= 0) {
            fprintf(stderr, "edge_bench: %u of %u got nothing\n", left, count);
            exit(1);
        }
        for (int i = 0; i < n; i++) {
            struct watcher *w = &watchers[events[i].data.u32];
            bool had = w->bytes >= bytes;

            w->bytes += gulp(w->fd);
            left -= !had && w->bytes >= bytes;
        }
    }
    for (unsigned i = 0; i < count; i++)
        watchers[i].bytes -= bytes;
    return now() - begin;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *t, unsigned n)
{
    qsort(t, n, sizeof *t, compare);
    return t[n / 2];
}

/* ---- the limit: a child that writes to sockets and does nothing else ---- */

static void limit_server(int listener, int command, size_t size)
{
    int *fds = calloc(count, sizeof *fds);
    char *bytes = calloc(1, size * BURST);
    uint32_t messages;

    for (unsigned i = 0; i < count; i++)
        fds[i] = accept(listener, NULL, NULL);
    while (read(command, &messages, sizeof messages) == sizeof messages)
        for (unsigned i = 0; i < count; i++)
            if (send(fds[i], bytes, size * messages, MSG_NOSIGNAL) < 0)
                die("send");
    _exit(0);
}

static double limit(uint32_t messages, size_t size)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0), ends[2];
    double t[ROUNDS];

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0 ||
        listen(listener, 4096) < 0 || pipe(ends) < 0 ||
        getsockname(listener, (struct sockaddr *)&at, &len) < 0)
        die("limit");
    poll_fd = epoll_create1(0);
    if (fork() == 0) {
        close(ends[1]);
        limit_server(listener, ends[0], size);
    }
    for (unsigned i = 0; i < count; i++) {
        watchers[i] = (struct watcher){dial(ntohs(at.sin_port)), 0};
        watch(watchers[i].fd, i);
    }
    for (unsigned r = 0; r < ROUNDS; r++) {
        double begin = now();

        put(ends[1], (char *)&messages, sizeof messages);
        t[r] = all_have(size * messages, begin);
    }
    for (unsigned i = 0; i < count; i++)
        close(watchers[i].fd);
    close(ends[1]);
    close(listener);
    close(poll_fd);
    return median(t, ROUNDS);
}

/* ---- Touchline ---------------------------------------------------------- */

static void open_stream(struct watcher *w, uint16_t port, const char *id)
{
    char text[512];
    int n = snprintf(text, sizeof text, "GET /v1/stream?channel=%s HTTP/1.1"
                     "\r\nHost: localhost\r\n\r\n", id);

    w->fd = dial(port);
    w->bytes = 0;
    put(w->fd, text, (size_t)n);
}

/* Until the first notice, which ends in "}\n\r\n". */
static void first_notice(int fd)
{
    char text[2048];
    size_t have = 0;

    while (have < 4 || memcmp(text + have - 4, "\n\r\n", 3) != 0) {
        ssize_t n = recv(fd, text + have, sizeof text - 1 - have, 0);

        if (n <= 0)
            die("recv");
        have += (size_t)n;
        text[have] = '\0';
        if (have > 5 && strcmp(text + have - 4, "}\n\r\n") == 0)
            return;
    }
}

static size_t post(char *out, const char *id, unsigned times)
{
    size_t len = 0;

    for (unsigned i = 0; i < times; i++)
        len += (size_t)sprintf(out + len,
                               "POST /v1/publish/%s HTTP/1.1\r\n"
                               "Host: localhost\r\n"
                               "Content-Type: text/plain\r\n"
                               "Content-Length: 100\r\n\r\n%0100d", id, 7);
    return len;
}

/* Bytes that one message is on a watcher's socket, learned from one. */
static uint64_t message_bytes(int publisher, const char *request, size_t len)
{
    struct epoll_event e;
    uint64_t most = 0;

    put(publisher, request, len);
    for (double until = now() + 2; now() < until;)
        if (epoll_wait(poll_fd, &e, 1, 200) == 1) {
            struct watcher *w = &watchers[e.data.u32];
            uint64_t n = gulp(w->fd);

            most = n > most ? n : most;
        } else {
            break;
        }
    return most;
}

static double touchline(uint16_t port, unsigned messages, uint64_t *size)
{
    static char request[BURST * 400], answer[1 << 16];
    size_t len = post(request, "bench/all", messages);
    int publisher = dial(port);
    double t[ROUNDS];
    uint64_t one;

    poll_fd = epoll_create1(0);
    for (unsigned i = 0; i < count; i++)
        open_stream(&watchers[i], port, "bench/all");
    for (unsigned i = 0; i < count; i++) {
        first_notice(watchers[i].fd);
        watch(watchers[i].fd, i);
    }
    one = message_bytes(publisher, request, len / messages);
    *size = one;
    for (unsigned r = 0; r < ROUNDS; r++) {
        double begin = now();

        put(publisher, request, len);
        t[r] = all_have(one * messages, begin);
        while (recv(publisher, answer, sizeof answer, MSG_DONTWAIT) > 0)
            ;
        /* Numbers may have grown by a digit. */
        for (unsigned i = 0; i < count; i++)
            watchers[i].bytes = 0;
    }
    for (unsigned i = 0; i < count; i++)
        close(watchers[i].fd);
    close(publisher);
    close(poll_fd);
    return median(t, ROUNDS);
}

static void lone(uint16_t port)
{
    static double t[LONE];
    char request[512], answer[4096];
    size_t len = post(request, "bench/one", 1);
    int publisher = dial(port);
    struct watcher w;

    open_stream(&w, port, "bench/one");
    first_notice(w.fd);
    for (unsigned i = 0; i < LONE; i++) {
        double begin = now();

        put(publisher, request, len);
        if (recv(w.fd, answer, sizeof answer, 0) <= 0)
            die("lone");
        t[i] = now() - begin;
        if (recv(publisher, answer, sizeof answer, 0) <= 0)
            die("lone");
    }
    qsort(t, LONE, sizeof *t, compare);
    printf("lone        p50 %.0f us   p99 %.0f us   (publish to receive)\n",
           t[LONE / 2] * 1e6, t[LONE * 99 / 100] * 1e6);
    close(w.fd);
    close(publisher);
}

/* ---- readers who do not read ---------------------------------------------- */

struct slow_figures {
    double rate, p50, p99;
};

/* Answers of the publisher's, until there are so many. */
static void all_answered(int publisher, unsigned answers)
{
    static const char word[] = "HTTP/1.1 201";
    char bytes[1 << 14];
    size_t at = 0;

    while (answers) {
        ssize_t n = recv(publisher, bytes, sizeof bytes, 0);

        if (n <= 0)
            die("recv");
        for (ssize_t i = 0; i < n; i++) {
            at = bytes[i] == word[at] ? at + 1 : bytes[i] == word[0];
            if (word[at])
                continue;
            at = 0;
            answers--;
        }
    }
}

/* When each of the watchers has so many bytes, since begin; all of them have. */
static void each_has(uint64_t bytes, double begin, double *t)
{
    struct epoll_event events[512];
    unsigned got = 0;

    while (got < count) {
        int n = epoll_wait(poll_fd, events, 512, 30000);
        double at = now() - begin;

        if (n <= 0) {
            fprintf(stderr, "edge_bench: %u of %u got it\n", got, count);
            exit(1);
        }
        for (int i = 0; i < n; i++) {
            struct watcher *w = &watchers[events[i].data.u32];
            bool had = w->bytes >= bytes;

            w->bytes += gulp(w->fd);
            if (!had && w->bytes >= bytes)
                t[got++] = at;
        }
    }
    for (unsigned i = 0; i < count; i++)
        watchers[i].bytes = 0;
}

/* How many connections stand still, by the gateway's own account. */
static unsigned long stalled(uint16_t port)
{
    static const char request[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
                                  "Connection: close\r\n\r\n";
    static const char word[] = "\ntouchline_stalled_connections{";
    static char text[4 << 20];
    int fd = dial(port);
    size_t len = 0;
    ssize_t n;
    unsigned long all = 0;

    put(fd, request, strlen(request));
    while ((n = recv(fd, text + len, sizeof text - 1 - len, 0)) > 0)
        len += (size_t)n;
    close(fd);
    text[len] = '\0';
    for (char *at = text; (at = strstr(at, word)); at++)
        if (strchr(at, '}'))
            all += strtoul(strchr(at, '}') + 1, NULL, 10);
    return all;
}

/* 50 who subscribe and never read again; their sockets are full. */
static void open_stalled(uint16_t port, int *fds)
{
    static char request[FILL_BYTES + 400];
    int len = snprintf(request, sizeof request,
                       "POST /v1/publish/slow/fill HTTP/1.1\r\n"
                       "Host: localhost\r\nContent-Type: text/plain\r\n"
                       "Content-Length: %d\r\n\r\n%0*d", FILL_BYTES,
                       FILL_BYTES, 7);
    int publisher = dial(port);

    for (unsigned i = 0; i < STALLED; i++) {
        struct watcher w;

        open_stream(&w, port, "slow/bench&channel=slow/fill");
        fds[i] = w.fd;
    }
    for (unsigned i = 0; i < FILL; i++) {
        put(publisher, request, (size_t)len);
        all_answered(publisher, 1);
    }
    close(publisher);
}

static struct slow_figures measure_slow(int publisher, uint64_t one)
{
    static char burst[BURST * 400], single[400];
    static double t[SLOW_ROUNDS * 10 * READERS], drop[READERS];
    size_t burst_len = post(burst, "slow/bench", BURST);
    size_t single_len = post(single, "slow/bench", 1);
    double begin = now(), took = 0;
    unsigned n = 0;

    for (unsigned r = 0; r < SLOW_ROUNDS; r++) {
        begin = now();
        put(publisher, burst, burst_len);
        all_answered(publisher, BURST);
        took += now() - begin;
        each_has(one * BURST, begin, drop);
    }
    for (unsigned r = 0; r < SLOW_ROUNDS * 10; r++, n += count) {
        begin = now();
        put(publisher, single, single_len);
        each_has(one, begin, t + n);
        all_answered(publisher, 1);
    }
    qsort(t, n, sizeof *t, compare);
    return (struct slow_figures){BURST * SLOW_ROUNDS / took, t[n / 2],
                                 t[(size_t)n * 99 / 100]};
}

static void slow(uint16_t port)
{
    static char request[400];
    int publisher = dial(port), fds[STALLED];
    size_t len = post(request, "slow/bench", 1);
    struct slow_figures without, with;
    unsigned long still;
    uint64_t one;

    count = READERS;
    poll_fd = epoll_create1(0);
    for (unsigned i = 0; i < count; i++)
        open_stream(&watchers[i], port, "slow/bench");
    for (unsigned i = 0; i < count; i++) {
        first_notice(watchers[i].fd);
        watch(watchers[i].fd, i);
    }
    one = message_bytes(publisher, request, len);
    all_answered(publisher, 1);
    for (unsigned i = 0; i < count; i++)
        watchers[i].bytes = 0;
    measure_slow(publisher, one); /* warm */
    without = measure_slow(publisher, one);
    open_stalled(port, fds);
    with = measure_slow(publisher, one);
    still = stalled(port);
    printf("slow        %u readers beside %lu who stand still: %.0f publishes/s"
           " (%.2f of without them)   to a reader p50 %.2f ms (%.2f)   p99 "
           "%.2f ms (%.2f)\n", count, still, with.rate,
           with.rate / without.rate, with.p50 * 1e3, with.p50 / without.p50,
           with.p99 * 1e3, with.p99 / without.p99);
    for (unsigned i = 0; i < STALLED; i++)
        close(fds[i]);
    for (unsigned i = 0; i < count; i++)
        close(watchers[i].fd);
    close(publisher);
    close(poll_fd);
}

int main(int argc, char **argv)
{
    uint16_t port;
    uint64_t size;
    double one, many, limit_one, limit_many;

    if (argc < 2) {
        fprintf(stderr, "usage: edge_bench HTTP_PORT [WATCHERS]\n");
        return 2;
    }
    port = (uint16_t)atoi(argv[1]);
    count = argc > 2 ? (unsigned)atoi(argv[2]) : WATCHERS;
    watchers = calloc(count > READERS ? count : READERS, sizeof *watchers);
    lone(port);
    one = touchline(port, 1, &size);
    limit_one = limit(1, size);
    many = touchline(port, BURST, &size);
    limit_many = limit(BURST, size);
    printf("watchers    %u   one message: last after %.1f ms   limit %.1f ms"
           "   ratio %.2f\n", count, one * 1e3, limit_one * 1e3,
           one / limit_one);
    printf("burst       %u messages: %.2f M deliveries/s   limit %.2f M   "
           "(one send of %zu bytes each)\n", BURST,
           count * BURST / many / 1e6, count * BURST / limit_many / 1e6,
           (size_t)size * BURST);
    fflush(stdout);
    slow(port);
    return 0;
}
