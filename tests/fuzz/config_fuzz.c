/* A configuration file, whatever the bytes: it is refused with a text, or it
 * can be printed, and what is printed reads back as the same. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "proto/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* As a file that only this process sees. */
static int load(struct config **ret, struct slice text, struct opt_error *err)
{
    char path[64];
    struct config_source from = {.file = path};
    int fd = memfd_create("conf", MFD_CLOEXEC), rc;

    CHECK(fd >= 0);
    CHECK(write(fd, text.ptr, text.len) == (ssize_t)text.len);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    rc = config_load(ret, &from, err);
    close(fd);
    return rc;
}

/* A token cannot be read back without its secret, which is not printed. */
static void print_again(const struct config *cfg)
{
    struct buf once = BUF_INIT, twice = BUF_INIT;
    struct opt_error err;
    struct config *again;

    config_print(&once, cfg);
    CHECK(!once.failed);
    if (cfg->token_count == 0) {
        if (load(&again, buf_slice(&once), &err) < 0) {
            fputs(err.text, stderr);
            NEVER(true);
        }
        config_print(&twice, again);
        CHECK(slice_eq(buf_slice(&once), buf_slice(&twice)));
        config_free(again);
    }
    buf_fini(&once);
    buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct opt_error err = {.text = ""};
    struct config *cfg;

    if (load(&cfg, slice_make(bytes, len), &err) < 0) {
        CHECK(err.text[0] != '\0');
        return 0;
    }
    (void)config_namespace(cfg, slice_make(bytes, MIN(len, (size_t)200)));
    (void)config_token(cfg, slice_make(bytes, len));
    print_again(cfg);
    config_free(cfg);
    return 0;
}
