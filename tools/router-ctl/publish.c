/* publish.c - a message from the shell. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/utf8.h"
#include "proto/json.h"
#include "proto/names.h"
#include "tools/router-ctl/ctl.h"

static int read_format(const struct ctl *c, uint8_t *ret)
{
    static const char *const words[MSG_FORMATS] = {
        [MSG_TEXT] = "text", [MSG_JSON] = "json", [MSG_BYTES] = "bytes"
    };
    const char *given = c->opt.format ? c->opt.format : "text";

    for (unsigned i = 0; i < MSG_FORMATS; i++)
        if (strcmp(given, words[i]) == 0) {
            *ret = (uint8_t)i;
            return EXIT_DONE;
        }
    return ctl_usage(c, "--format is text, json or bytes, not %s", given);
}

/* As a gateway does: text that is not UTF-8 is bytes, JSON has to be JSON. */
static int check_data(const struct ctl *c, struct frame_publish *f)
{
    size_t at = 0;

    if (f->data.len > c->cli.config->limits.message)
        return ctl_fail(c, EXIT_REFUSED, "the message is longer than "
                        "limits.message allows: %zu bytes; raise that (1M at "
                        "most) here and at the router, or send parts",
                        c->cli.config->limits.message);
    if (f->format == MSG_JSON && json_check(f->data, JSON_DEPTH_MAX, &at) < 0)
        return ctl_fail(c, EXIT_REFUSED, "this is not JSON: byte %zu", at);
    if (f->format != MSG_TEXT || utf8_valid(f->data))
        return EXIT_DONE;
    if (c->opt.format)
        return ctl_fail(c, EXIT_REFUSED, "this is not UTF-8; send it with "
                        "--format bytes");
    f->format = MSG_BYTES;
    return EXIT_DONE;
}

/* As gateways take them. */
static int check_options(const struct ctl *c)
{
    if (c->opt.from && !name_valid(slice_str(c->opt.from)))
        return ctl_usage(c, "--from has " NAME_RULE);
    if (c->opt.idempotency && !idempotency_valid(slice_str(c->opt.idempotency)))
        return ctl_usage(c, "--idempotency has " IDEMPOTENCY_RULE);
    if (c->opt.key && !key_valid(slice_str(c->opt.key)))
        return ctl_usage(c, "--key has " KEY_RULE);
    return EXIT_DONE;
}

void ctl_taken_json(struct buf *b, const struct ctl_taken *t)
{
    buf_add_str(b, "{\"channel\":");
    json_put_string(b, buf_slice(&t->id));
    buf_addf(b, ",\"epoch\":\"%s\",\"seq\":%llu,\"offset\":%llu,"
             "\"reached\":%u%s}\n", t->epoch.text, (unsigned long long)t->seq,
             (unsigned long long)t->offset, t->reached,
             t->status == PUBLISHED_DUPLICATE ? ",\"duplicate\":true" : "");
}

static void put_taken(struct buf *b, const struct ctl *c,
                      const struct ctl_taken *t)
{
    char cursor[CURSOR_TEXT_MAX];
    size_t len = position_format(cursor, &t->epoch, t->seq);

    if (c->show.json) {
        ctl_taken_json(b, t);
        return;
    }
    show_text(b, buf_slice(&t->id));
    buf_addf(b, " #%llu %.*s reached %u%s\n", (unsigned long long)t->offset,
             (int)len, cursor, t->reached,
             t->status == PUBLISHED_DUPLICATE ? ", stored before" : "");
}

static int send_it(struct ctl *c, struct frame_publish *f)
{
    struct ctl_taken taken;
    struct buf out = BUF_INIT;
    int code = check_data(c, f);

    if (code != EXIT_DONE)
        return code;
    code = ctl_publish(c, f, &taken);
    if (code == EXIT_DONE) {
        put_taken(&out, c, &taken);
        if (show_out(&out) < 0)
            code = EXIT_FAILED;
    }
    ctl_taken_fini(&taken);
    buf_fini(&out);
    return code;
}

/* No more than is needed to see that it is too long. */
static int read_input(const struct ctl *c, struct buf *ret)
{
    enum { STEP = 16 * 1024 };

    while (ret->len <= c->cli.config->limits.message && !feof(stdin)) {
        uint8_t *to = buf_reserve(ret, STEP);

        if (!to)
            return ctl_fail(c, EXIT_FAILED, "out of memory");
        ret->len += fread(to, 1, STEP, stdin);
        if (ferror(stdin))
            return ctl_fail(c, EXIT_FAILED, "standard input: %s; pipe the text "
                            "in, or say it in place of -", strerror(errno));
    }
    return EXIT_DONE;
}

int verb_publish(struct ctl *c)
{
    struct frame_publish f = {
        .id = slice_str(c->args[0]),
        .from = slice_str(c->opt.from),
        .key = slice_str(c->opt.key),
        .idempotency = slice_str(c->opt.idempotency),
        .data = slice_str(c->args[1]),
    };
    struct buf input = BUF_INIT;
    int code = read_format(c, &f.format);

    if (code == EXIT_DONE)
        code = check_options(c);
    if (code == EXIT_DONE && !ctl_is_id(c, c->args[0], false))
        code = EXIT_USAGE;
    if (code == EXIT_DONE && strcmp(c->args[1], "-") == 0) {
        code = read_input(c, &input);
        f.data = buf_slice(&input);
    }
    if (code == EXIT_DONE)
        code = send_it(c, &f);
    buf_fini(&input);
    return code;
}
