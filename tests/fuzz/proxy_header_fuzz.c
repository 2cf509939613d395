/* Whatever a trusted proxy says first, or in the fields of a request: the
 * answer to a PROXY header is the same however it is cut, a header is never
 * longer than it may be, what is named can be written and read back, and what a
 * client puts in front of a proxy's element changes nothing. */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "gateways/common/forwarded.h"
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

static void check_header(struct slice in)
{
    struct proxy_header whole = {.len = 0}, cut = {.len = 0};
    int rc = proxy_header_read(in, &whole), part = ERR_AGAIN;

    for (size_t n = 0; n <= in.len && part == ERR_AGAIN; n++)
        part = proxy_header_read(slice_head(in, n), &cut);
    CHECK(part == rc);
    CHECK(rc != ERR_AGAIN || in.len < PROXY_HEADER_MAX);
    if (rc == 0) {
        CHECK(whole.len == cut.len && whole.len <= in.len);
        CHECK(whole.len <= PROXY_HEADER_MAX);
        CHECK(address_equal(&whole.client, &cut.client));
        expect_readable(&whole.client);
    }
}

static char *nets[] = {(char[]){"10.0.0.0/8"}, (char[]){"unix"}};
static const struct config_edge cfg = {
    .trusted_proxies = {.items = nets, .count = ARRAY_LEN(nets)}};

/* The client of a request with these fields; 0, or ERR_BAD. */
static int client_of(struct slice fields, struct slice more,
                     struct address *ret)
{
    const struct fault *why;
    struct buf head = BUF_INIT;
    struct request r;
    int rc;

    buf_add_str(&head, "GET / HTTP/1.1\r\n");
    buf_add(&head, fields);
    buf_add(&head, more);
    buf_add_str(&head, "\r\n");
    CHECK(!head.failed);
    rc = request_parse(&r, buf_slice(&head), &why);
    if (rc == 0)
        rc = forwarded_client(&r, &cfg, ret);
    buf_fini(&head);
    return rc;
}

static bool is_line(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((s.ptr[i] < 0x20 && s.ptr[i] != '\t') || s.ptr[i] == 0x7f)
            return false;
    return true;
}

/* A Host between the quotes in which a proxy repeats it changes nothing. */
static void check_host(struct slice in)
{
    static const struct slice end = SLICE_INIT("\r\n");
    struct address client, real;
    struct buf line = BUF_INIT;

    CHECK(address_parse(SLICE("192.0.2.7"), &real) == 0);
    buf_add_str(&line, "Forwarded: for=x, for=192.0.2.7;host=\"");
    for (size_t i = 0; i < in.len; i++) {
        if (in.ptr[i] == '"' || in.ptr[i] == '\\')
            buf_add_byte(&line, '\\');
        buf_add_byte(&line, in.ptr[i]);
    }
    buf_add_str(&line, "\";proto=https");
    CHECK(!line.failed);
    if (client_of(buf_slice(&line), end, &client) == 0)
        CHECK(address_equal(&client, &real));
    buf_fini(&line);
}

/* Whatever stands in front, the client is whom the proxy appended. */
static void check_prefix(struct slice in, const char *name, const char *appended)
{
    static const struct slice end = SLICE_INIT("\r\n");
    struct address client, real;
    struct buf line = BUF_INIT;

    CHECK(address_parse(SLICE("192.0.2.7"), &real) == 0);
    buf_addf(&line, "%s: " SLICE_FMT ", %s", name, SLICE_ARG(in), appended);
    CHECK(!line.failed);
    if (client_of(buf_slice(&line), end, &client) == 0)
        CHECK(address_equal(&client, &real));
    buf_fini(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct slice in = slice_make(bytes, len);
    struct address any;

    check_header(in);
    if (address_parse(in, &any) == 0)
        expect_readable(&any);
    if (client_of(in, SLICE(""), &any) == 0)
        expect_readable(&any);
    if (is_line(in)) {
        check_host(in);
        check_prefix(in, "X-Forwarded-For", "192.0.2.7, 10.0.0.1");
        check_prefix(in, "Forwarded", "for=192.0.2.7, for=\"10.0.0.1:80\"");
    }
    return 0;
}
