/* Short texts of strangers, of proxies and of configurations, each read by all
 * that read such: cursors, dates, addresses, endpoints, networks, offers of
 * extensions, encodings that are accepted, paths and queries. What is taken can be written, and what was
 * written is read as the same. */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "gateways/common/address.h"
#include "gateways/common/target.h"
#include "gateways/http/encoding.h"
#include "gateways/ws/extension.h"
#include "proto/endpoint.h"
#include "proto/position.h"
#include "router/types/when.h"

static void check_position(struct slice in)
{
    struct position p, again;
    char text[CURSOR_TEXT_MAX];
    size_t len;

    if (position_parse(in, &p) < 0)
        return;
    CHECK(p.seq < UINT64_C(1) << 53);
    if (!p.epoch.text[0]) {
        CHECK(slice_eq(in, SLICE("0")));
        return;
    }
    len = position_format(text, &p.epoch, p.seq);
    CHECK(len <= CURSOR_TEXT_MAX);
    CHECK(position_parse(slice_make(text, len), &again) == 0);
    CHECK(again.seq == p.seq && epoch_equal(&again.epoch, &p.epoch));
}

static void check_when(struct slice in)
{
    char date[WHEN_DATE], text[WHEN_TEXT_MAX];
    int64_t ms, again;

    if (when_parse(in, &ms, date) < 0)
        return;
    CHECK(when_is_date(slice_make(date, sizeof date)));
    if (!when_in_range(ms)) /* a zone may lead out of the years */
        return;
    CHECK(when_parse(slice_make(text, when_format(ms, text)), &again, date)
          == 0);
    CHECK(again == ms);
}

static void check_address(struct slice in)
{
    struct address a, again, net;
    char text[ADDRESS_TEXT_MAX];

    if (address_parse(in, &a) < 0)
        return;
    CHECK(address_known(&a));
    address_text(&a, text);
    CHECK(address_parse(slice_str(text), &again) == 0);
    CHECK(address_equal(&a, &again));
    net = address_network(&a);
    again = address_network(&net);
    CHECK(address_equal(&net, &again));
}

static void check_endpoint(struct slice in)
{
    struct endpoint e, again;
    char text[ENDPOINT_TEXT_MAX];
    const char *why = NULL;

    if (endpoint_parse(in, &e, &why) < 0) {
        CHECK(why);
        return;
    }
    endpoint_text(&e, text);
    CHECK(endpoint_parse(slice_str(text), &again, &why) == 0);
    CHECK(endpoint_port(&e) == endpoint_port(&again));
    CHECK(endpoint_is_loopback(&e) == endpoint_is_loopback(&again));
}

/* A network has the address it is written with. */
static void check_net(struct slice in)
{
    struct sockaddr_in in4 = { .sin_family = AF_INET };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
    const char *why = NULL;
    struct net n;

    if (net_parse(in, &n, &why) < 0) {
        CHECK(why);
        return;
    }
    CHECK(n.bits <= (n.family == AF_INET ? 32 : 128));
    memcpy(&in4.sin_addr, n.addr, sizeof in4.sin_addr);
    memcpy(&in6.sin6_addr, n.addr, sizeof in6.sin6_addr);
    if (n.family == AF_INET)
        CHECK(net_has(&n, (struct sockaddr *)&in4));
    if (n.family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
        CHECK(net_has(&n, (struct sockaddr *)&in6));
}

static void check_extension(struct slice in)
{
    struct deflate_terms terms = { .window = 0 };
    struct buf out = BUF_INIT;

    if (extension_choose(in, &terms) == 0 && terms.window)
        CHECK(terms.window >= WINDOW_LEAST && terms.window <= WINDOW_MOST);
    extension_answer(&out, &terms);
    CHECK((out.len > 0) == (terms.window > 0));
    buf_fini(&out);
}

/* False: this is no head. */
static bool read_encoding(struct buf *head, struct encoding *ret)
{
    const struct fault *why;
    struct request r;

    buf_add_str(head, "\r\n");
    if (request_parse(&r, buf_slice(head), &why) < 0)
        return false;
    *ret = encoding_read(&r);
    return true;
}

/* A list is the same in two lines, and the other way round. */
static void check_encoding(struct slice in)
{
    static const char request[] = "GET / HTTP/1.1\r\nAccept-Encoding: ";
    struct slice back = in, front = slice_split(&back, ',');
    struct buf one = BUF_INIT, two = BUF_INIT;
    struct encoding a, b;

    buf_add_str(&one, request);
    buf_add(&one, in);
    buf_add_str(&one, "\r\n");
    buf_add_str(&two, request);
    buf_add(&two, back);
    buf_add_str(&two, "\r\nAccept-Encoding:");
    buf_add(&two, front);
    buf_add_str(&two, "\r\n");
    if (slice_find_byte(in, '\n') == in.len && read_encoding(&one, &a)) {
        CHECK(read_encoding(&two, &b));
        CHECK(a.gzip == b.gzip && a.plain == b.plain);
    }
    buf_fini(&one);
    buf_fini(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_make(data, size);

    check_position(in);
    check_when(in);
    check_address(in);
    check_endpoint(in);
    check_net(in);
    check_extension(in);
    check_encoding(in);
    return 0;
}
