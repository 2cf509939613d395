/* Whatever a trusted proxy says first: the answer is the same however it is
 * cut, a header is never longer than it may be, and what it names can be
 * written and read back. */
#include "base/check.h"
#include "base/err.h"
#include "gateways/common/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void expect_readable(const struct address *a)
{
    char text[ADDRESS_TEXT_MAX];
    struct address again;

    if (!address_known(a))
        return;
    address_text(a, text);
    CHECK(address_parse(slice_str(text), &again) == 0);
    CHECK(address_equal(a, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct slice in = slice_make(bytes, len);
    struct proxy_header whole = {.len = 0}, cut = {.len = 0};
    int rc = proxy_header_read(in, &whole), part = ERR_AGAIN;
    struct address any;

    for (size_t n = 0; n <= len && part == ERR_AGAIN; n++)
        part = proxy_header_read(slice_head(in, n), &cut);
    CHECK(part == rc);
    CHECK(rc != ERR_AGAIN || len < PROXY_HEADER_MAX);
    if (rc == 0) {
        CHECK(whole.len == cut.len && whole.len <= len);
        CHECK(whole.len <= PROXY_HEADER_MAX);
        CHECK(address_equal(&whole.client, &cut.client));
        expect_readable(&whole.client);
    }
    if (address_parse(in, &any) == 0)
        expect_readable(&any);
    return 0;
}
