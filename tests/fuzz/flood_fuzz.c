/* Whatever a server says to a client of touchline-flood, and however it is cut:
 * the same is counted. The first byte chooses the edge. */
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "tools/flood/crowd.h"

enum { EDGES = 9 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* What an edge's clients are; made once each. */
static const struct plan *plan_of(unsigned edge)
{
    static const char *const names[EDGES] = {
        "stream", "sse", "poll", "test", "ws", "telnet", "lines", "tcp", "http",
    };
    static struct plan plans[EDGES];
    static struct settings settings[EDGES];
    static bool made[EDGES];
    struct opt_error err;
    struct cli cli;

    if (!made[edge]) {
        char *argv[] = { "touchline-flood", "--target", "127.0.0.1:1",
                         "--edge", (char *)(uintptr_t)names[edge], NULL };

        CHECK(settings_init(&settings[edge], &cli, 5, argv) == -1);
        CHECK(plan_init(&plans[edge], &settings[edge], cli.config, &err) == 0);
        cli_fini(&cli);
        made[edge] = true;
    }
    return &plans[edge];
}

/* What is asked of the server is read, so that it always finds room. */
static void drain(int fd)
{
    uint8_t drop[65536];

    while (recv(fd, drop, sizeof drop, MSG_DONTWAIT) > 0)
        ;
}

static void hear(struct crowd *c, struct slice in, size_t step, int fd)
{
    struct client *p = c->clients;

    while (in.len && (p->state == CLIENT_ASKED || p->state == CLIENT_UP)) {
        struct slice piece = slice_head(in, step);

        CHECK(send(fd, piece.ptr, piece.len, 0) == (ssize_t)piece.len);
        in = slice_from(in, piece.len);
        talk_read(c, p, false);
        drain(fd);
    }
}

/* Everything that is counted, but bytes and times. */
static void count(const struct share *s, const struct client *p,
                  uint64_t ret[SHARE_COUNT + 1])
{
    for (size_t i = 0; i < SHARE_COUNT; i++)
        ret[i] = i == SHARE_bytes ? 0 : share_get(s, (enum share_counter)i);
    ret[SHARE_COUNT] = p->state == CLIENT_ENDING ? p->why : SHARE_FAIL_KINDS;
}

static void one_client(const struct plan *plan, struct slice in, size_t step,
                       uint64_t ret[SHARE_COUNT + 1])
{
    static struct stage *stage;
    static struct share *share;
    struct crowd c;
    int ends[2];

    stage = stage ? stage : stage_new(1000);
    share = share ? share : share_new(1);
    CHECK(stage && share);
    memset(share, 0, sizeof *share);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    CHECK(crowd_init(&c, plan, stage, share, 0, 1, true) == 0);
    c.clients[0].fd = ends[0];
    c.clients[0].state = CLIENT_ASKED;
    c.in_flight = 1;
    hear(&c, in, step, ends[1]);
    share_add(share, SHARE_lost, c.tally.lost);
    share_add(share, SHARE_duplicates, c.tally.duplicates);
    share_add(share, SHARE_reordered, c.tally.reordered);
    count(share, &c.clients[0], ret);
    close(ends[1]);
    crowd_fini(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    uint64_t whole[SHARE_COUNT + 1], cut[SHARE_COUNT + 1];
    const struct plan *plan;
    struct slice in;

    if (len < 2)
        return 0;
    plan = plan_of(bytes[0] % EDGES);
    in = slice_make(bytes + 1, len - 1);
    one_client(plan, in, in.len, whole);
    for (size_t step = 1; step < 20; step += 6) {
        one_client(plan, in, step, cut);
        for (size_t i = 0; i <= SHARE_COUNT; i++)
            CHECK(whole[i] == cut[i]);
    }
    return 0;
}
