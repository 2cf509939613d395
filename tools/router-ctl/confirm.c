/* confirm.c - the question in front of what cannot be taken back. */
#include <stdio.h>
#include <unistd.h>

#include "tools/router-ctl/ctl.h"

static void put_deed(struct buf *b, const struct ctl *c)
{
    buf_add_str(b, c->verb->name);
    for (int i = 0; i < c->arg_count; i++) {
        buf_add_byte(b, ' ');
        show_text(b, slice_str(c->args[i]));
    }
}

static int ask(const struct ctl *c)
{
    const struct show s = { .colour = show_colours(STDERR_FILENO) };
    struct buf b = BUF_INIT;
    char line[64];
    bool yes;

    buf_add_str(&b, "this router is ");
    show_toned(&b, &s, TONE_BAD, SLICE("live"));
    buf_add_str(&b, "; ");
    put_deed(&b, c);
    fprintf(stderr, "%s? [y/N] ", buf_text(&b));
    buf_fini(&b);
    yes = fgets(line, sizeof line, stdin) && (line[0] == 'y' || line[0] == 'Y');
    return yes ? EXIT_DONE
               : ctl_fail(c, EXIT_REFUSED, "nothing was done; --yes does it "
                          "without a question");
}

int ctl_confirm(struct ctl *c)
{
    struct buf status = BUF_INIT;
    int code = EXIT_DONE;

    if (c->opt.yes || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return code;
    code = ctl_query(c, "status", SLICE(""), &status);
    if (code == EXIT_DONE &&
        slice_eq(show_field(buf_slice(&status), "environment"), SLICE("live")))
        code = ask(c);
    buf_fini(&status);
    return code;
}
