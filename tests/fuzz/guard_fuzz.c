/* The file beside the store, damaged: what is read of it is one of the two that
 * were written last, whole, or nothing; and it can be written again.
 *
 * Input: numbers for the writes, then changes of 3 bytes each: where (u16), with
 * which value (u8). */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/cursor.h"
#include "base/err.h"
#include "store/guard.h"

enum { WRITES = 3, FILE_BYTES = 1024 };

static char dir[] = "/dev/shm/guard-fuzz-XXXXXX";
static char path[64], file[80];

static void clean(void)
{
    unlink(file);
    rmdir(dir);
}

static void begin(void)
{
    if (path[0])
        return;
    if (!mkdtemp(dir))
        abort();
    snprintf(path, sizeof path, "%s/db", dir);
    snprintf(file, sizeof file, "%s-guard", path);
    atexit(clean);
}

static void damage(struct cursor *in)
{
    int fd = open(file, O_RDWR | O_CLOEXEC);

    CHECK(fd >= 0);
    while (cursor_left(in) >= 3) {
        uint16_t at = cursor_u16(in);
        uint8_t value = cursor_u8(in);

        CHECK(pwrite(fd, &value, 1, at % FILE_BYTES) == 1);
    }
    close(fd);
}

static bool is_one_of(const struct guard *g, const struct guard *was,
                      unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (g->number == was[i].number && g->lives[0] == was[i].lives[0]
            && g->lives[1] == was[i].lives[1] && g->mark == was[i].mark)
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor in = cursor_init(slice_make(data, size));
    struct guard g = GUARD_INIT, was[WRITES];

    if (size < WRITES * 3)
        return 0;
    begin();
    unlink(file);
    CHECK(guard_open(&g, path) == 0 && !g.found);
    for (unsigned i = 0; i < WRITES; i++) {
        uint8_t life = cursor_u8(&in), next = cursor_u8(&in);

        CHECK(guard_write(&g, life, next, cursor_u8(&in)) == 0);
        was[i] = g;
    }
    guard_close(&g);
    damage(&in);
    CHECK(guard_open(&g, path) == 0);
    CHECK(!g.found || is_one_of(&g, was, WRITES));
    CHECK(guard_write(&g, 7, 8, 9) == 0);
    guard_close(&g);
    CHECK(guard_open(&g, path) == 0);
    CHECK(g.found && g.lives[0] == 7 && g.lives[1] == 8 && g.mark == 9);
    guard_close(&g);
    return 0;
}
