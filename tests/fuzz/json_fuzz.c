/* Whatever the bytes: no function overruns, and what is accepted can be
 * walked, read and written again. */
#include "base/check.h"
#include "proto/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void walk(struct slice value, unsigned depth)
{
    struct json_iter it = json_iter(value);
    struct buf text = BUF_INIT, again = BUF_INIT;
    struct slice k, v;

    while (depth && json_next(&it, &k, &v))
        walk(v, depth - 1);
    if (json_kind(value) == JSON_STRING) {
        CHECK(json_unescape(&text, value) == 0);
        CHECK(json_is(value, buf_slice(&text)));
        json_put_string(&again, buf_slice(&text));
        CHECK(json_is(buf_slice(&again), buf_slice(&text)));
    }
    buf_fini(&text);
    buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct slice text = slice_make(bytes, len), raw;
    struct buf out = BUF_INIT;
    size_t at = 0;

    if (json_check(text, JSON_DEPTH_COMMAND, &at) == 0) {
        struct json_iter it = json_iter(text);
        struct slice k, v;

        while (json_next(&it, &k, &v))
            walk(v, 4);
        json_one_line(&out, text);
        CHECK(json_check(buf_slice(&out), JSON_DEPTH_COMMAND, NULL) == 0);
    } else {
        CHECK(at <= len);
    }
    if (json_find(text, "a", &raw) == 0)
        CHECK(raw.ptr >= bytes && raw.ptr + raw.len <= bytes + len);
    buf_reset(&out);
    json_put_string(&out, text);
    CHECK(json_check(buf_slice(&out), 1, NULL) == 0);
    buf_fini(&out);
    return 0;
}
