/* link_bench - what a link costs: the round trip of a lone frame, and frames
 * one way, through two processes' pipes.
 *
 *     link_bench [--seconds N] [--dir DIR]
 *
 * DIR (default: a new one below /tmp) holds the ipc sockets. Prints a table:
 * transport, size of a frame's body, what was measured. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/cursor.h"
#include "proto/bus.h"
#include "proto/pipe.h"

enum { SESSION = 4711, SAMPLES_MAX = 1 << 20, ECHO = 0x42, FLOOD = 0x43 };

struct end {
    struct loop *loop;
    struct bus *bus;
    struct pipe *pipe;
    bool up, down;
    bool echo; /* sends back what comes, but for floods */
    uint64_t frames;
    int64_t sent_ns;
    uint32_t *samples;
    size_t count;
    size_t len;
};

static const struct pipe_limits limits = {.batch = 4 * MIB, .queue = 8 * MIB};

static void say(struct end *e, uint8_t code, size_t len)
{
    static const uint8_t body[65536];

    buf_add(pipe_frame(e->pipe, code), slice_make(body, len));
    pipe_frame_end(e->pipe);
}

static int on_frame(void *ctx, uint8_t code, struct slice body)
{
    struct end *e = ctx;

    e->frames++;
    if (e->echo && code == ECHO)
        say(e, ECHO, body.len);
    if (e->echo || e->count == SAMPLES_MAX || !e->samples)
        return 0;
    e->samples[e->count++] = (uint32_t)(clock_ns() - e->sent_ns);
    e->sent_ns = clock_ns();
    say(e, ECHO, e->len);
    return 0;
}

static void on_batch_end(void *ctx, uint64_t seq)
{
    UNUSED(ctx);
    UNUSED(seq);
}

static void on_up(void *ctx)
{
    ((struct end *)ctx)->up = true;
}

static void on_down(void *ctx, const char *why)
{
    UNUSED(why);
    ((struct end *)ctx)->down = true;
}

static const struct pipe_ops ops = {
    .frame = on_frame, .batch_end = on_batch_end, .up = on_up,
    .down = on_down,
};

static void open_end(struct end *e)
{
    CHECK(loop_new(&e->loop) == 0);
    CHECK(bus_new(&e->bus, e->loop) == 0);
    CHECK(pipe_new(&e->pipe, e->bus, &limits) == 0);
    pipe_set_ops(e->pipe, &ops, e);
}

static void close_end(struct end *e)
{
    pipe_free(e->pipe);
    bus_drop(e->bus);
    loop_free(e->loop);
}

static void turn(struct end *e)
{
    CHECK(loop_step(e->loop, SECOND) == 0);
}

/* The other process: dials what it is told, echoes until goodbye. */
static _Noreturn void serve(int urls)
{
    struct end e = {.echo = true};
    char url[BUS_URL_MAX];

    CHECK(read(urls, url, sizeof url) == sizeof url);
    open_end(&e);
    CHECK(pipe_dial(e.pipe, SESSION, url) == 0);
    while (!e.down)
        turn(&e);
    close_end(&e);
    _exit(0);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void round_trips(struct end *e, const char *name, size_t len,
                        int64_t ns)
{
    int64_t until = clock_ns() + ns;

    e->samples = calloc(SAMPLES_MAX, sizeof *e->samples);
    CHECK(e->samples);
    e->len = len;
    e->sent_ns = clock_ns();
    say(e, ECHO, len);
    while (clock_ns() < until)
        turn(e);
    CHECK(e->count > 0);
    qsort(e->samples, e->count, sizeof *e->samples, by_value);
    printf("%-4s %6zu B  round trip  p50 %6.1f us  p99 %6.1f us  n=%zu\n",
           name, len, e->samples[e->count / 2] / 1e3,
           e->samples[e->count * 99 / 100] / 1e3, e->count);
    free(e->samples);
    e->samples = NULL;
}

/* Keeps a megabyte under way. */
static void flood(struct end *e, const char *name, size_t len, int64_t ns)
{
    int64_t from = clock_ns();
    int64_t took;
    uint64_t said = 0;

    while (clock_ns() - from < ns) {
        while (pipe_queued(e->pipe) < MIB) {
            say(e, FLOOD, len);
            said++;
        }
        CHECK(loop_step(e->loop, MILLISECOND) == 0);
    }
    while (pipe_queued(e->pipe) > 0)
        turn(e);
    took = clock_ns() - from;
    printf("%-4s %6zu B  one way     %8.0f frames/s  %7.1f MB/s\n", name,
           len, (double)said * 1e9 / (double)took,
           (double)(said * len) * 1e3 / (double)took);
}

static void measure(const char *name, const char *url, size_t len,
                    bool trips, int64_t ns)
{
    struct end e = {.echo = false};
    char at[BUS_URL_MAX];
    unsigned ports[2];
    int urls[2];
    pid_t child;

    CHECK(pipe(urls) == 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0)
        serve(urls[0]);
    open_end(&e);
    CHECK(pipe_listen(e.pipe, SESSION, url) == 0);
    pipe_ports(e.pipe, ports);
    if (ports[0])
        snprintf(at, sizeof at, "tcp://127.0.0.1:%u,%u", ports[0], ports[1]);
    else
        snprintf(at, sizeof at, "%s", url);
    CHECK(write(urls[1], at, sizeof at) == sizeof at);
    while (!e.up)
        turn(&e);
    if (trips)
        round_trips(&e, name, len, ns);
    else
        flood(&e, name, len, ns);
    close_end(&e);
    CHECK(waitpid(child, NULL, 0) == child);
}

/* NNG must not be in use when a measurement forks its other end. */
static void measure_apart(const char *name, const char *url, size_t len,
                          bool trips, int64_t ns)
{
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        measure(name, url, len, trips, ns);
        fflush(stdout);
        _exit(0);
    }
    CHECK(waitpid(child, NULL, 0) == child);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {100, 1000, 30000};
    char made[] = "/tmp/link_bench-XXXXXX";
    const char *dir = NULL;
    int64_t ns = 2 * SECOND;
    char ipc[BUS_URL_MAX];

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seconds") == 0)
            ns = strtol(argv[i + 1], NULL, 10) * SECOND;
        else if (strcmp(argv[i], "--dir") == 0)
            dir = argv[i + 1];
    }
    if (!dir)
        CHECK((dir = mkdtemp(made)) != NULL);
    snprintf(ipc, sizeof ipc, "ipc://%.90s/line", dir);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        for (int trips = 1; trips >= 0; trips--) {
            measure_apart("ipc", ipc, sizes[i], trips, ns);
            measure_apart("tcp", "tcp://127.0.0.1:0", sizes[i], trips, ns);
        }
    if (dir == made)
        (void)rmdir(made);
    return 0;
}
