/* reach.c - where the router is. Said outright (--router, --dir, link.url,
 * $TOUCHLINE_ROUTER) it is looked for there and nowhere else; otherwise in
 * ./var and /run/touchline. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "proto/place.h"
#include "tools/router-ctl/ctl.h"

/* A router that is being started anew takes a moment. */
#define PATIENCE (2 * SECOND)

struct where {
    const char *from; /* who said so: "--dir" */
    const char *url, *dir; /* one of them; none: it was not said */
};

static struct where url_or_dir(const char *from, const char *text)
{
    struct where w = { .from = from };

    if (text && strstr(text, "://"))
        w.url = text;
    else if (text && *text)
        w.dir = text;
    return w;
}

static bool is_said(const struct where *w)
{
    return w->url || w->dir;
}

static void explain(struct buf *why, const struct where *w, const char *what)
{
    const char *place = w->url ? w->url : w->dir;

    buf_add_str(why, "  ");
    buf_add_str(why, w->from);
    if (place && strcmp(place, w->from) != 0)
        buf_addf(why, " %s", place);
    buf_addf(why, ": %s\n", what);
}

static const char not_for_you[] = "only its owner and root may look there";

/* Why nothing can be had there, without trying; NULL: something may. */
static const char *hopeless(const struct where *w)
{
    char url[BUS_URL_MAX];

    if (!is_said(w))
        return "not set";
    if (w->url)
        return NULL;
    if (access(w->dir, X_OK) < 0)
        return errno == EACCES ? not_for_you : "no such directory";
    switch (place_read_url(w->dir, url)) {
    case 0:
        return NULL;
    case ERR_NOT_FOUND:
        return "no router runs there";
    case ERR_DENIED:
        return not_for_you;
    default:
        return "router.url cannot be read";
    }
}

static int join(struct ctl *c, const struct where *w)
{
    const struct config *cfg = c->cli.config;
    struct peer_options o = {
        .url = w->url,
        .dir = w->dir,
        .secret = cfg->link.secret[0] ? cfg->link.secret : NULL,
        .limits = { .batch = cfg->limits.link_batch,
                    .queue = cfg->limits.link_queue },
        .publish_wait = cfg->limits.publish_wait,
    };
    int64_t until = clock_ns() + PATIENCE;
    int rc = peer_open(&c->peer, c->loop, &o);

    while (rc == 0 && !peer_linked(c->peer)) {
        int64_t left = until - clock_ns();

        if (left <= 0)
            return ERR_TIMEOUT;
        rc = loop_step(c->loop, left);
    }
    return rc;
}

/* EXIT_DONE, or why not there. */
static int try_one(struct ctl *c, const struct where *w, struct buf *why)
{
    const char *trouble = hopeless(w);
    int rc, code = EXIT_NO_ROUTER;

    if (trouble) {
        explain(why, w, trouble);
        return code;
    }
    rc = join(c, w);
    if (rc == 0)
        return EXIT_DONE;
    trouble = err_text(rc);
    if (c->peer && peer_refused(c->peer))
        code = EXIT_REFUSED;
    if (c->peer && *peer_trouble(c->peer))
        trouble = peer_trouble(c->peer);
    explain(why, w, trouble);
    peer_close(c->peer);
    c->peer = NULL;
    return rc == ERR_NOMEM || rc == ERR_IO ? EXIT_FAILED : code;
}

static int try_usual(struct ctl *c, const struct where *env, struct buf *why)
{
    static const struct where usual[] = {
        { .from = "./var", .dir = "./var" },
        { .from = "/run/touchline", .dir = "/run/touchline" },
    };
    int code = EXIT_NO_ROUTER;

    explain(why, env, "not set");
    for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
        int tried = try_one(c, &usual[i], why);

        if (tried == EXIT_DONE)
            return EXIT_DONE;
        if (tried != EXIT_NO_ROUTER)
            code = tried;
    }
    return code;
}

int ctl_try_reach(struct ctl *c, struct buf *why)
{
    struct where env = url_or_dir("$TOUCHLINE_ROUTER",
                                  getenv("TOUCHLINE_ROUTER"));
    struct where said[] = {
        url_or_dir("--router", c->opt.router),
        { .from = "--dir", .dir = c->cli.dir },
        url_or_dir("link.url", c->cli.config->link.url),
        env,
    };
    int rc = c->loop ? 0 : loop_new(&c->loop);

    if (rc < 0) {
        buf_addf(why, "  %s\n", err_text(rc));
        return EXIT_FAILED;
    }
    for (size_t i = 0; i < ARRAY_LEN(said); i++)
        if (is_said(&said[i]))
            return try_one(c, &said[i], why);
    return try_usual(c, &env, why);
}

/* The places of `why`, one behind the other. */
static void in_a_line(struct buf *line, struct slice why)
{
    while (why.len) {
        struct slice place = slice_trim(slice_split(&why, '\n'));

        if (place.len && line->len)
            buf_add_str(line, "; ");
        buf_add(line, place);
    }
}

/* Of those whom the router itself turns away. */
static const char *cure_of(struct buf *why)
{
    return strstr(buf_text(why), "link version")
        ? "use the router-ctl that was installed with it, or bring it up to this "
          "one: `touchline upgrade`"
        : "its link.secret is given with --config FILE or --set "
          "link.secret=SECRET";
}

int ctl_reach(struct ctl *c)
{
    struct buf why = BUF_INIT, line = BUF_INIT;
    int code = ctl_try_reach(c, &why);

    in_a_line(&line, buf_slice(&why));

    if (code == EXIT_REFUSED)
        (void)ctl_fail(c, code, "the router does not let router-ctl in; %s\n%s",
                       buf_text(&line), cure_of(&line));
    else if (code != EXIT_DONE)
        (void)ctl_fail(c, code, "no router found; %s\n%s", buf_text(&line),
                       "start one with `touchline --dir DIR`, or say where it "
                       "is with --dir DIR or --router URL");
    buf_fini(&line);
    buf_fini(&why);
    return code;
}
