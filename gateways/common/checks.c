#include "gateways/common/checks.h"

#include <stdio.h>

#include "base/err.h"
#include "base/utf8.h"
#include "proto/limits.h"

bool check_name(struct slice name)
{
    struct slice rest = name;
    uint32_t c;

    if (name.len == 0 || name.len > PERSON_NAME_MAX)
        return false;
    while (rest.len)
        if (utf8_next(&rest, &c) < 0 || utf8_is_control(c) || c == ' ' || c == ':')
            return false;
    return true;
}

static bool idempotency_ok(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < 0x21 || s.ptr[i] > 0x7e)
            return false;
    return s.len > 0 && s.len <= IDEMPOTENCY_KEY_MAX;
}

static bool key_ok(struct slice s)
{
    struct slice rest = s;
    uint32_t c;

    while (rest.len)
        if (utf8_next(&rest, &c) < 0 || utf8_is_control(c))
            return false;
    return s.len > 0 && s.len <= CONFLATION_KEY_MAX;
}

static int bad(struct refusal *why, const char *code, const char *text)
{
    why->status = PUBLISHED_BAD;
    why->code = code;
    snprintf(why->text, sizeof why->text, "%s", text);
    return ERR_BAD;
}

int check_publish(const struct publish *p, struct refusal *why)
{
    if (p->from.ptr && !check_name(p->from))
        return bad(why, "from.bad",
                   "a name has 1 to 64 bytes of UTF-8, and no control "
                   "character, space or colon");
    if (p->key.ptr && !key_ok(p->key))
        return bad(why, "key.bad",
                   "a conflation key has 1 to 200 bytes of UTF-8 and no "
                   "control character");
    if (p->idempotency.ptr && !idempotency_ok(p->idempotency))
        return bad(why, "idempotency.bad",
                   "an idempotency key has 1 to 128 bytes, each 0x21 to 0x7e");
    return 0;
}

static bool in_code(uint8_t c)
{
    return c == '.' || c == '_' || (c >= 'a' && c <= 'z');
}

struct slice refusal_code(enum publish_status status, struct slice *text)
{
    static const char *const usual[] = {
        [PUBLISHED_BAD] = "query.bad",
        [PUBLISHED_DENIED] = "query.denied",
        [PUBLISHED_NOT_FOUND] = "query.unknown",
        [PUBLISHED_UNAVAILABLE] = "router.away",
        [PUBLISHED_UNKNOWN] = "router.away",
    };
    const char *code = (size_t)status < ARRAY_LEN(usual) ? usual[status]
                                                         : NULL;
    size_t n = 0;

    while (n < text->len && in_code(text->ptr[n]))
        n++;
    if (n == 0 || !slice_starts(slice_from(*text, n), SLICE(": ")))
        return slice_str(code ? code : "query.failed");
    *text = slice_from(*text, n + 2);
    return slice_make(text->ptr - n - 2, n);
}
