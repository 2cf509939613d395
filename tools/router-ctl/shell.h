/* shell.h - `router-ctl shell`: lines that are verbs, one after the other.
 *
 * Each line runs in a child with a link of its own: whatever becomes of it, and
 * whenever Ctrl-C ends it, the shell has lost nothing, and a router that was
 * replaced meanwhile is found anew. The shell itself has no link and no loop.
 * Threads: one. */
#ifndef TOUCHLINE_TOOLS_SHELL_H
#define TOUCHLINE_TOOLS_SHELL_H

#include <histedit.h>
#include <wchar.h>

#include "tools/router-ctl/ctl.h"

struct shell {
    struct ctl *ctl;
    Tokenizer *words;
    int last;             /* exit code of the last line */
    char environment[16]; /* of the router; "" when none answers */
    /* on a terminal alone */
    EditLine *edit;
    History *history;
    int history_fd; /* -1: it is not kept */
    bool cancelled; /* by Ctrl-C, not ended */
    struct buf prompt;
};

/* Whose editor it is. */
struct shell *shell_of(EditLine *edit);

/* Runs these words as a command line of its own, with the options the shell was
 * given; its exit code, 128 + N when signal N ended it. */
int shell_run(const struct shell *s, int count, const char *const words[]);

/* The same, its standard output appended to *out, nothing else heard of it, and
 * ended after so long or when there is too much. False: it failed. */
bool shell_ask(const struct shell *s, int count, const char *const words[],
               int64_t wait_ns, struct buf *out);

/* The file ~/.router-ctl_history (0600): what is in it is read, and lines are
 * added as they come, but none with a secret or a blank in front. Without a home
 * there is none. */
void shell_history_open(struct shell *s);
void shell_history_add(struct shell *s, const char *line);
void shell_history_close(struct shell *s);

/* What Tab does. */
unsigned char shell_complete(EditLine *edit, wint_t key);

#endif
