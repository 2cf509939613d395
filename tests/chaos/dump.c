/* What the store holds of each channel, read by paging through its history. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "proto/json.h"
#include "tests/chaos/crowd.h"
#include "tests/chaos/payload.h"

static int dial(uint16_t port)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* The body of the answer; its slice lives until the next call on w. */
static bool get(int fd, struct wire *w, const char *target, struct slice *body)
{
    static uint8_t bytes[1 << 16];
    struct buf out = BUF_INIT;
    struct wire_item it;
    ssize_t n;

    wire_put_get(&out, target, NULL, false);
    n = send(fd, out.ptr, out.len, MSG_NOSIGNAL);
    buf_fini(&out);
    while (n > 0) {
        while ((it = wire_next(w)).kind != WIRE_NONE) {
            if (it.kind == WIRE_HEAD && it.status != 200)
                return false;
            *body = it.text;
            if (it.kind == WIRE_BODY)
                return true;
        }
        n = recv(fd, bytes, sizeof bytes, 0);
        if (n > 0)
            wire_feed(w, slice_make(bytes, (size_t)n));
    }
    return false;
}

static void say_message(struct crowd *c, const struct told *t)
{
    struct payload p = { .publisher = 0 };

    told_payload(t, &p);
    crowd_say(c, 'V', "0 " SLICE_FMT " %s %lu %lu %016lx %u %u",
              SLICE_ARG(t->channel), t->at.epoch.text, t->at.seq, t->offset,
              p.hash, p.publisher, p.number);
}

static void say_hole(struct crowd *c, const char *channel, uint64_t from,
                     uint64_t to, struct slice why)
{
    crowd_say(c, 'T', "0 %s %lu %lu " SLICE_FMT, channel, from, to,
              SLICE_ARG(why));
}

/* One page: its messages and holes. trims: what is missing in front of all was
 * trimmed by right. False: it cannot be read. */
static bool say_page(struct crowd *c, const char *channel, struct slice body,
                     bool trims, bool first, struct position *upto, bool *more)
{
    struct told page, t;
    struct slice key, value, raw;
    struct json_iter it;

    if (!told_json(body, &page) || page.type != TOLD_POLL)
        return false;
    *more = json_find(body, "more", &raw) == 0 && slice_eq(raw, SLICE("true"));
    *upto = page.at;
    it = json_iter(page.data);
    while (json_next(&it, &key, &value)) {
        if (!told_json(value, &t))
            return false;
        if (t.type == TOLD_NOTICE) {
            say_hole(c, channel, t.from == UINT64_MAX ? 0 : t.from, t.to, t.why);
            continue;
        }
        if (first && trims && t.offset > 1)
            say_hole(c, channel, 1, t.offset - 1, SLICE("trimmed"));
        first = false;
        say_message(c, &t);
    }
    return true;
}

static bool dump_channel(struct crowd *c, int fd, struct wire *w,
                         const struct channel *ch)
{
    bool trims = c->options->spaces[ch->space].trims, more = true, first = true;
    char since[CURSOR_TEXT_MAX + 1] = "0", target[256];
    struct position upto;
    struct slice body;

    while (more) {
        snprintf(target, sizeof target,
                 "/v1/history/%s?since=%s&limit=1000", ch->name, since);
        if (!get(fd, w, target, &body) ||
            !say_page(c, ch->name, body, trims, first, &upto, &more))
            return false;
        since[position_format(since, &upto.epoch, upto.seq)] = '\0';
        first = false;
    }
    return true;
}

bool dump_store(struct crowd *c)
{
    int fd = dial(c->options->port[EDGE_HTTP]);
    struct wire w;
    bool whole = fd >= 0;

    wire_init(&w, WIRE_HTTP);
    for (unsigned i = 0; whole && i < c->channel_count; i++)
        whole = dump_channel(c, fd, &w, &c->channels[i]);
    wire_fini(&w);
    if (fd >= 0)
        close(fd);
    return whole;
}
