/* Prints docs/options.md (`make docs`); with --sample the touchline.conf that is
 * installed. */
#include <stdio.h>
#include <string.h>

#include "proto/config.h"

static int print_sample(struct buf *text)
{
    struct config *shipped;
    struct opt_error err;
    int rc = config_load(&shipped, &(struct config_source){.dir = "."}, &err);

    if (rc == 0) {
        config_print_sample(text, shipped);
        config_free(shipped);
    }
    return rc;
}

int main(int argc, char **argv)
{
    struct buf text = BUF_INIT;
    bool done = true;

    if (argc > 1 && strcmp(argv[1], "--sample") == 0)
        done = print_sample(&text) == 0;
    else
        config_print_manual(&text);
    done = done && !text.failed &&
           fwrite(text.ptr, 1, text.len, stdout) == text.len;
    buf_fini(&text);
    return done ? 0 : 1;
}
