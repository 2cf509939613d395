/* Whatever the bytes: a report that can be told becomes JSON, and one that
 * cannot leaves the output as it was. */
#include "base/check.h"
#include "proto/json.h"
#include "proto/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void read_events(struct slice report)
{
    struct cursor c = cursor_init(report);
    enum report_event event = REPORT_ROW;
    struct report_field field;

    while (event != REPORT_END && report_next(&c, &event, &field) == 0)
        ;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct slice report = slice_make(bytes, len);
    struct buf out = BUF_INIT;

    read_events(report);
    if (report_to_json(&out, report) == 0)
        CHECK(out.len >= 2);
    else
        CHECK(out.len == 0);
    buf_fini(&out);
    return 0;
}
