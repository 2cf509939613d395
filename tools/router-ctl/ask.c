/* ask.c - questions to the router that are waited for. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "proto/id.h"
#include "tools/router-ctl/ctl.h"

int ctl_fail(const struct ctl *c, int code, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", c->cli.binary);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    return code;
}

int ctl_usage(const struct ctl *c, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", c->cli.binary);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\nusage: %s %s %s%s(%s help %s says more)\n",
            c->cli.binary, c->verb->name, c->verb->usage,
            *c->verb->usage ? "  " : " ", c->cli.binary, c->verb->name);
    return EXIT_USAGE;
}

int ctl_exit_code(enum publish_status status)
{
    switch (status) {
    case PUBLISHED_OK:
    case PUBLISHED_DUPLICATE:
        return EXIT_DONE;
    case PUBLISHED_NOT_FOUND:
        return EXIT_NOT_FOUND;
    case PUBLISHED_BAD:
    case PUBLISHED_DENIED:
    case PUBLISHED_CONFLICT:
    case PUBLISHED_TOO_BIG:
    case PUBLISHED_TOO_MANY:
        return EXIT_REFUSED;
    case PUBLISHED_UNAVAILABLE:
    case PUBLISHED_UNKNOWN:
    case PUBLISHED_STATUSES:
        break;
    }
    return EXIT_FAILED;
}

int ctl_wait(struct ctl *c, const bool *done)
{
    while (!*done) {
        int rc = loop_step(c->loop, -1);

        if (rc < 0)
            return ctl_fail(c, EXIT_FAILED, "cannot wait: %s", err_text(rc));
    }
    return EXIT_DONE;
}

bool ctl_is_id(const struct ctl *c, const char *text, bool pattern)
{
    struct slice id = slice_str(text);
    const char *problem = pattern ? pattern_problem(id) : id_problem(id);
    struct buf safe = BUF_INIT;

    if (!problem)
        return true;
    show_text(&safe, slice_head(id, ID_MAX));
    (void)ctl_fail(c, EXIT_USAGE, "no channel: \"%s\": %s", buf_text(&safe),
                   problem);
    buf_fini(&safe);
    return false;
}

/* ---- files ------------------------------------------------------------- */

static int say_unopened(const struct ctl *c, const char *path)
{
    char here[4096];

    if (errno == ENOENT && path[0] != '/' && getcwd(here, sizeof here))
        return ctl_fail(c, EXIT_NOT_FOUND, "%s: No such file or directory; "
                        "names start in %s", path, here);
    return ctl_fail(c, errno == ENOENT ? EXIT_NOT_FOUND : EXIT_FAILED,
                    "%s: %s%s", path, strerror(errno),
                    errno == EACCES ? "; `chmod +r` it, or ask as its owner"
                                    : "");
}

int ctl_read_file(const struct ctl *c, const char *path, size_t most,
                  struct buf *ret)
{
    enum { STEP = 64 * 1024 };
    FILE *f = fopen(path, "rb");
    int code = EXIT_DONE;

    if (!f)
        return say_unopened(c, path);
    while (code == EXIT_DONE && !feof(f)) {
        uint8_t *to = buf_reserve(ret, STEP);

        if (!to)
            code = ctl_fail(c, EXIT_FAILED, "out of memory");
        else
            ret->len += fread(to, 1, STEP, f);
        if (ferror(f))
            code = ctl_fail(c, EXIT_FAILED, "%s: %s", path, strerror(errno));
        else if (ret->len > most)
            code = ctl_fail(c, EXIT_FAILED, "%s is longer than %zu bytes",
                            path, most);
    }
    fclose(f);
    return code;
}

/* ---- queries ----------------------------------------------------------- */

struct query {
    bool done;
    uint8_t status;
    struct buf *body;
};

static void answered(void *ctx, const struct frame_answer *f)
{
    struct query *q = ctx;

    q->done = true;
    q->status = f->status;
    buf_add(q->body, f->body);
}

/* What helps against a refusal, in the words of this program; the router's own
 * are for all edges. */
static const struct cure {
    const char *code, *text;
} cures[] = {
    { "match.unknown", "`router-ctl match list` names those there are" },
    { "team.unknown", "`router-ctl match teams` names those there are, "
      "`router-ctl match teams ID NAME` makes one" },
    { "match.exists", "`router-ctl match show MATCH` shows it" },
    { "connection.none", "`router-ctl conns` names those there are" },
    { "idempotency.conflict", "a message of its own needs a key of its own" },
    { "store.full", "free some of the router's disk" },
    { "router.away", "`router-ctl status` says how it is" },
};

static const char *cure_of(struct slice text)
{
    struct slice code = slice_split(&text, ':');

    for (size_t i = 0; i < ARRAY_LEN(cures); i++)
        if (slice_eq(code, slice_str(cures[i].code)))
            return cures[i].text;
    return NULL;
}

/* body is "code: text for people". */
static int say_refusal(const struct ctl *c, uint8_t status,
                       struct slice text)
{
    const char *cure = cure_of(text);
    struct buf safe = BUF_INIT;
    int code = slice_starts(text, SLICE("router.away"))
        ? EXIT_NO_ROUTER : ctl_exit_code((enum publish_status)status);

    show_text(&safe, text);
    (void)ctl_fail(c, code, "%s%s%s", buf_text(&safe), cure ? "; " : "",
                   cure ? cure : "");
    buf_fini(&safe);
    return code;
}

int ctl_query(struct ctl *c, const char *verb, struct slice args,
              struct buf *body)
{
    size_t before = body->len;
    struct query q = { .body = body };
    int rc = peer_query(c->peer, verb, args, answered, &q);
    int code;

    if (rc < 0)
        return ctl_fail(c, EXIT_FAILED, "%s", err_text(rc));
    code = ctl_wait(c, &q.done);
    if (code == EXIT_DONE && body->failed)
        return ctl_fail(c, EXIT_FAILED, "out of memory");
    if (code == EXIT_DONE && q.status != PUBLISHED_OK)
        code = say_refusal(c, q.status, slice_from(buf_slice(body), before));
    if (code != EXIT_DONE)
        buf_truncate(body, before);
    return code;
}

/* ---- publications ------------------------------------------------------ */

struct publication {
    bool done;
    const struct peer *peer;
    struct ctl_taken *taken;
};

void ctl_taken_fini(struct ctl_taken *t)
{
    buf_fini(&t->id);
    buf_fini(&t->code);
    buf_fini(&t->text);
    buf_fini(&t->body);
}

static void published(void *ctx, const struct frame_published *f)
{
    struct publication *p = ctx;
    struct ctl_taken *t = p->taken;

    p->done = true;
    t->status = (enum publish_status)f->status;
    t->created = f->created;
    t->seq = f->seq;
    t->offset = f->offset;
    t->ts_ms = f->ts_ms;
    t->reached = f->reached;
    t->epoch = *peer_epoch(p->peer);
    if (f->epoch.len && f->epoch.len <= EPOCH_MAX) {
        memset(&t->epoch, 0, sizeof t->epoch);
        memcpy(t->epoch.text, f->epoch.ptr, f->epoch.len);
    }
    buf_add(&t->id, f->id);
    buf_add(&t->code, f->code);
    buf_add(&t->text, f->text);
    buf_add(&t->body, f->body);
}

static int await(struct ctl *c, struct publication *p, int rc)
{
    struct ctl_taken *t = p->taken;
    int code;

    if (rc < 0)
        return ctl_fail(c, EXIT_FAILED, "%s", err_text(rc));
    code = ctl_wait(c, &p->done);
    if (code != EXIT_DONE)
        return code;
    if (t->id.failed || t->code.failed || t->text.failed || t->body.failed)
        return ctl_fail(c, EXIT_FAILED, "out of memory");
    if (ctl_exit_code(t->status) == EXIT_DONE)
        return EXIT_DONE;
    buf_add_str(&t->code, ": ");
    buf_add(&t->code, buf_slice(&t->text));
    return say_refusal(c, (uint8_t)t->status, buf_slice(&t->code));
}

int ctl_publish(struct ctl *c, const struct frame_publish *f,
                struct ctl_taken *ret)
{
    struct publication p = { .peer = c->peer, .taken = ret };

    *ret = (struct ctl_taken){ .seq = 0 };
    return await(c, &p, peer_publish(c->peer, f, published, &p));
}

int ctl_act(struct ctl *c, const char *verb, struct slice args,
            struct ctl_taken *ret)
{
    struct publication p = { .peer = c->peer, .taken = ret };

    *ret = (struct ctl_taken){ .seq = 0 };
    return await(c, &p, peer_act(c->peer, verb, args, published, &p));
}
