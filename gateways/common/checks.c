#include "gateways/common/checks.h"

#include <stdio.h>

#include "base/err.h"
#include "proto/names.h"

static int bad(struct refusal *why, const char *code, const char *text)
{
    why->status = PUBLISHED_BAD;
    why->code = code;
    snprintf(why->text, sizeof why->text, "%s", text);
    return ERR_BAD;
}

int check_publish(const struct publish *p, struct refusal *why)
{
    if (p->from.ptr && !name_valid(p->from))
        return bad(why, "from.bad", "a name has " NAME_RULE);
    if (p->key.ptr && !key_valid(p->key))
        return bad(why, "key.bad", "a conflation key has " KEY_RULE);
    if (p->idempotency.ptr && !idempotency_valid(p->idempotency))
        return bad(why, "idempotency.bad",
                   "an idempotency key has " IDEMPOTENCY_RULE);
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
