/* Requests, and chunked bodies, as hostile as they come; what was accepted
 * must be the same however it is cut. The first byte says where. */
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "gateways/common/request.h"
#include "gateways/common/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct head_limits limits = {1024, 4096, 50};
enum { MAX_BODY = 2048 };

/* A head in two pieces: the second scan goes on where the first stopped. */
static int scan_cut(struct slice in, size_t cut, size_t *len)
{
    struct head_scan s = {.at = 0};
    const struct fault *why;
    int rc = head_scan(&s, slice_head(in, cut), &limits, len, &why);

    return rc == ERR_AGAIN ? head_scan(&s, in, &limits, len, &why) : rc;
}

static void check_target(const struct request *r)
{
    struct buf path = BUF_INIT;
    struct slice value;
    struct query q;
    size_t at = 0;

    CHECK(target_decode(&path, r->path) == 0);
    for (size_t i = 0; i < path.len; i++)
        CHECK(path.ptr[i] >= 0x20 && path.ptr[i] != 0x7f);
    CHECK(query_init(&q, r->query) == 0);
    while (query_next(&q, &at, "channel", &value))
        CHECK(value.len <= r->query.len);
    query_fini(&q);
    buf_fini(&path);
}

static void check_head(struct slice head)
{
    const struct fault *why = NULL;
    struct request r;

    if (request_parse(&r, head, &why) < 0) {
        CHECK(why && why->status >= 400);
        return;
    }
    CHECK(!((r.flags & REQUEST_CHUNKED) && (r.flags & REQUEST_LENGTH)));
    CHECK(r.path.len > 0);
    check_target(&r);
    (void)request_check_host(&r, &why);
}

static int unchunk(struct slice in, size_t cut, struct buf *body)
{
    struct chunked d = {.state = 0};
    const struct fault *why;
    size_t first, second = 0;
    int rc = chunked_feed(&d, slice_head(in, cut), body, MAX_BODY, &first,
                          &why);

    CHECK(first <= in.len && body->len <= MAX_BODY);
    if (rc != ERR_AGAIN)
        return rc;
    rc = chunked_feed(&d, slice_from(in, first), body, MAX_BODY, &second,
                      &why);
    CHECK(first + second <= in.len && body->len <= MAX_BODY);
    return rc;
}

static void check_chunks(struct slice in, size_t cut)
{
    struct buf whole = BUF_INIT, pieces = BUF_INIT;
    int one = unchunk(in, in.len, &whole), two = unchunk(in, cut, &pieces);

    CHECK((one == 0) == (two == 0));
    CHECK(one != 0 || slice_eq(buf_slice(&whole), buf_slice(&pieces)));
    buf_fini(&whole);
    buf_fini(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in;
    size_t cut, len = 0, cut_len = 0;
    int one, two;

    if (size < 2)
        return 0;
    in = slice_make(data + 1, size - 1);
    cut = data[0] % in.len;
    one = scan_cut(in, in.len, &len);
    two = scan_cut(in, cut, &cut_len);
    CHECK((one == 0) == (two == 0) && len == cut_len);
    if (one == 0) {
        check_head(slice_head(in, len));
        in = slice_from(in, len);
    }
    if (in.len)
        check_chunks(in, cut % in.len);
    return 0;
}
