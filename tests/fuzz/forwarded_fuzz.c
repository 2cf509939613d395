/* What proxies and clients write of who asks. Whom a trusted proxy names is
 * named whatever the client wrote in front of it; what is behind is what counts,
 * and nothing but an address is ever taken.
 *
 * Input: a byte for the field, then its value. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "gateways/common/forwarded.h"

static char *nets[] = { (char[]){ "10.0.0.0/8" }, (char[]){ "unix" } };
static const struct config_edge ours = {
    .trusted_proxies = { .items = nets, .count = ARRAY_LEN(nets) },
};

static const char *const fields[] = { "X-Forwarded-For", "Forwarded" };
static const char *const named[] = { "192.0.2.7, 10.0.0.1",
                                     "for=192.0.2.7, for=10.0.0.1" };

/* 0: ret is whom it names, which may be nobody. */
static int ask(const char *field, struct slice value, const char *behind,
               struct address *ret)
{
    struct buf head = BUF_INIT;
    const struct fault *why = NULL;
    struct request r;
    int rc;

    buf_addf(&head, "GET / HTTP/1.1\r\nHost: a\r\n%s: ", field);
    buf_add(&head, value);
    buf_addf(&head, "%s\r\n\r\n", behind);
    rc = request_parse(&r, buf_slice(&head), &why);
    if (rc == 0)
        rc = forwarded_client(&r, &ours, ret);
    buf_fini(&head);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct address a = { .family = 0 };
    char text[ADDRESS_TEXT_MAX], behind[64];
    struct slice value;
    unsigned which;

    if (size < 1)
        return 0;
    which = data[0] % ARRAY_LEN(fields);
    value = slice_make(data + 1, size - 1);
    if (ask(fields[which], value, "", &a) == 0 && address_known(&a))
        CHECK(a.family == AF_INET || a.family == AF_INET6);
    /* Another line of the field may stand in the value: it is one list. */
    if (memchr(value.ptr, '\n', value.len))
        return 0;
    snprintf(behind, sizeof behind, ", %s", named[which]);
    a.family = 0;
    if (ask(fields[which], value, behind, &a) < 0)
        return 0;
    address_text(&a, text);
    CHECK(strcmp(text, "192.0.2.7") == 0);
    return 0;
}
