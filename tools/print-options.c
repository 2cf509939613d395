/* Prints docs/options.md: `make docs`. */
#include <stdio.h>

#include "proto/config.h"

int main(void)
{
    struct buf text = BUF_INIT;
    bool done;

    config_print_manual(&text);
    done = !text.failed && fwrite(text.ptr, 1, text.len, stdout) == text.len;
    buf_fini(&text);
    return done ? 0 : 1;
}
