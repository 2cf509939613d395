/* Whatever the head: it is a good handshake or gets a whole answer; how it was
 * cut makes no difference. */
#include "base/check.h"
#include "base/err.h"
#include "gateways/ws/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const struct head_limits limits = { 1024, 4096, 32 };

/* As head_scan(), of input that comes in pieces of `step` bytes. */
static int scan(struct slice in, size_t step, size_t *len,
                const struct fault **why)
{
    struct head_scan s = { .at = 0 };
    int rc = ERR_AGAIN;

    for (size_t have = 0; have < in.len && rc == ERR_AGAIN;) {
        have = MIN(have + step, in.len);
        rc = head_scan(&s, slice_head(in, have), &limits, len, why);
    }
    return rc;
}

static void answer(struct slice head)
{
    static const struct config_edge edge = { .workers = 1,
                                              .deflate = true };
    const struct fault *why = NULL;
    struct request r;
    struct handshake h;
    struct buf out = BUF_INIT;
    int rc = request_parse(&r, head, &why);

    if (rc == 0)
        rc = handshake_check(&r, &edge, true, &h, &why);
    if (rc == 0)
        handshake_accept(&out, h.accept, &h.deflate);
    else
        handshake_refuse(&out, &r, why->status, slice_str(why->code),
                         slice_str(why->text), 1);
    CHECK(slice_starts(buf_slice(&out), SLICE("HTTP/1.1 ")));
    CHECK(out.ptr[out.len - 1] == '\n');
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct slice in = slice_make(bytes, len);
    const struct fault *why = NULL, *why_cut = NULL;
    size_t end = 0, end_cut = 0;
    int rc = scan(in, len ? len : 1, &end, &why);
    int rc_cut = scan(in, 1, &end_cut, &why_cut);

    if (rc == 0) {
        CHECK(rc_cut == 0 && end == end_cut);
        answer(slice_head(in, end));
    } else if (rc == ERR_BAD) {
        CHECK(rc_cut == ERR_BAD && why->status >= 400);
    }
    return 0;
}
