/* A file of a World Cup, whatever the bytes: what is read can be planned as if
 * it were live. The text lies in memory of its own, so that reading behind
 * its end shows. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tools/router-ctl/schedule.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void plan(const struct cup *cup, const struct cup_match *match)
{
    char start[CUP_START_MAX];
    struct schedule s;

    if (schedule_make(&s, cup, match) == 0)
        schedule_fini(&s);
    cup_start_time(match, "2020-01-01", start);
    CHECK(memchr(start, '\0', sizeof start) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    uint8_t *text = malloc(len + 1);
    char why[CUP_WHY_MAX];
    struct cup *cup;

    CHECK(text != NULL);
    if (len)
        memcpy(text + 1, bytes, len);
    if (cup_read(&cup, slice_make(text + 1, len), why) == 0) {
        for (int i = 0; i < cup->match_count; i++)
            plan(cup, &cup->matches[i]);
        cup_free(cup);
    }
    free(text);
    return 0;
}
