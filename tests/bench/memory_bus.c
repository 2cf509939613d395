#include "tests/bench/memory_bus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tests/bench/count.h"

enum { LINES = 16, INBOX = 64 };

struct bus {
    struct loop *loop;
    unsigned refs;
};

struct bus_line {
    struct bus *bus; /* NULL: free */
    struct bus_line *other;
    char url[BUS_URL_MAX];
    const struct bus_line_ops *ops;
    void *ctx;
    struct buf inbox[INBOX];
    unsigned got;
};

static struct bus_line lines[LINES];

/* ---- the mailbox ---------------------------------------------------------- */

int bus_new(struct bus **ret, struct loop *loop)
{
    struct bus *b = calloc(1, sizeof *b);

    MUST(b);
    *b = (struct bus){.loop = loop, .refs = 1};
    *ret = b;
    return 0;
}

struct bus *bus_hold(struct bus *b)
{
    b->refs++;
    return b;
}

void bus_drop(struct bus *b)
{
    if (b && --b->refs == 0)
        free(b);
}

struct loop *bus_loop(const struct bus *b)
{
    return b->loop;
}

uint64_t bus_refused(struct bus *b, enum bus_refusal why)
{
    UNUSED(b), UNUSED(why);
    return 0;
}

bool bus_is_stuck(struct bus *b)
{
    UNUSED(b);
    return false;
}

/* ---- lines ---------------------------------------------------------------- */

static struct bus_line *line_at(const char *url)
{
    for (unsigned i = 0; i < LINES; i++)
        if (lines[i].bus && !lines[i].other && strcmp(lines[i].url, url) == 0)
            return &lines[i];
    return NULL;
}

static struct bus_line *open_line(struct bus *b, const char *url,
                                  const struct bus_line_ops *ops, void *ctx)
{
    unsigned i = 0;

    while (i < LINES && lines[i].bus)
        i++;
    MUST(i < LINES);
    lines[i].bus = b;
    lines[i].ops = ops;
    lines[i].ctx = ctx;
    snprintf(lines[i].url, sizeof lines[i].url, "%s", url);
    return &lines[i];
}

int bus_line_listen(struct bus_line **ret, struct bus *b, const char *url,
                    size_t largest, const struct bus_line_ops *ops, void *ctx)
{
    UNUSED(largest);
    *ret = open_line(b, url, ops, ctx);
    return 0;
}

int bus_line_dial(struct bus_line **ret, struct bus *b, const char *url,
                  size_t largest, const struct bus_line_ops *ops, void *ctx)
{
    struct bus_line *other = line_at(url);

    UNUSED(largest);
    MUST(other);
    *ret = open_line(b, url, ops, ctx);
    (*ret)->other = other;
    other->other = *ret;
    return 0;
}

void bus_line_ports(const struct bus_line *l, unsigned ports[2])
{
    UNUSED(l);
    ports[0] = ports[1] = 0;
}

bool bus_line_room(struct bus_line *l)
{
    return l->other && l->other->got < INBOX;
}

int bus_line_begin(struct bus_line *l, size_t len, uint8_t **ret)
{
    struct buf *in;

    if (!bus_line_room(l))
        return ERR_AGAIN;
    in = &l->other->inbox[l->other->got];
    buf_reset(in);
    *ret = buf_reserve(in, len);
    MUST(*ret);
    in->len = len;
    return 0;
}

void bus_line_commit(struct bus_line *l)
{
    l->other->got++;
}

void bus_line_pause(struct bus_line *l, bool paused)
{
    UNUSED(l);
    MUST(!paused);
}

int bus_line_wait(struct bus_line *l, int64_t until)
{
    UNUSED(l), UNUSED(until);
    return ERR_TIMEOUT;
}

void bus_line_close(struct bus_line *l, enum bus_end how)
{
    UNUSED(how);
    if (!l)
        return;
    if (l->other)
        l->other->other = NULL;
    for (unsigned i = 0; i < INBOX; i++)
        buf_fini(&l->inbox[i]);
    *l = (struct bus_line){.bus = NULL};
}

void memory_bus_deliver(struct bus *b)
{
    for (struct bus_line *l = lines; l < lines + LINES; l++) {
        if (l->bus != b)
            continue;
        for (unsigned i = 0; i < l->got; i++)
            l->ops->received(l->ctx, buf_slice(&l->inbox[i]));
        l->got = 0;
    }
}

bool memory_bus_quiet(const struct bus *b)
{
    for (unsigned i = 0; i < LINES; i++)
        if (lines[i].bus == b && lines[i].got)
            return false;
    return true;
}

/* ---- nobody serves or asks ------------------------------------------------ */

int bus_server_open(struct bus_server **ret, struct bus *b, const char *url,
                    size_t largest, bus_server_fn *fn, void *ctx)
{
    UNUSED(ret), UNUSED(b), UNUSED(url), UNUSED(largest), UNUSED(fn),
        UNUSED(ctx);
    return ERR_IO;
}

unsigned bus_server_port(const struct bus_server *s)
{
    UNUSED(s);
    return 0;
}

int bus_server_reopen(struct bus_server *s, const char *url)
{
    UNUSED(s), UNUSED(url);
    return ERR_IO;
}

void bus_server_close(struct bus_server *s)
{
    UNUSED(s);
}

int bus_ask_open(struct bus_ask **ret, struct bus *b, const char *url,
                 struct slice request, int timeout_ms, bus_ask_fn *fn,
                 void *ctx)
{
    UNUSED(ret), UNUSED(b), UNUSED(url), UNUSED(request), UNUSED(timeout_ms),
        UNUSED(fn), UNUSED(ctx);
    return ERR_IO;
}

int bus_ask_again(struct bus_ask *a, struct slice request)
{
    UNUSED(a), UNUSED(request);
    return ERR_IO;
}

void bus_ask_close(struct bus_ask *a)
{
    UNUSED(a);
}
