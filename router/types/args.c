#include "router/types/args.h"

#include "base/err.h"
#include "base/utf8.h"
#include "proto/json.h"

/* In checked JSON: is there a \u0000, where cJSON would end the string? */
static bool has_nul_escape(struct slice text)
{
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.ptr[i] != '\\')
            continue;
        if (slice_starts(slice_from(text, i), SLICE("\\u0000")))
            return true;
        i++;
    }
    return false;
}

static int check_keys(const cJSON *object, struct buf *why)
{
    int keys = 0;

    for (const cJSON *a = object->child; a; a = a->next) {
        if (++keys > ARGS_KEYS_MAX) {
            buf_addf(why, "an object has more than %d keys", ARGS_KEYS_MAX);
            return ERR_BAD;
        }
        for (const cJSON *b = object->child; b != a; b = b->next)
            if (!strcmp(a->string, b->string)) {
                buf_addf(why, "the key \"%s\" is there twice", a->string);
                return ERR_BAD;
            }
    }
    return 0;
}

/* Recursion is bounded by JSON_DEPTH_COMMAND. */
static int check_tree(const cJSON *value, struct buf *why)
{
    int rc = cJSON_IsObject(value) ? check_keys(value, why) : 0;

    for (const cJSON *c = value->child; c && rc == 0; c = c->next)
        rc = check_tree(c, why);
    return rc;
}

static int check_text(struct slice text, size_t max, struct buf *why)
{
    size_t at;

    if (text.len > max) {
        buf_addf(why, "longer than %zu bytes", max);
        return ERR_BAD;
    }
    if (json_check(text, JSON_DEPTH_COMMAND, &at) < 0) {
        buf_addf(why, "not JSON, or nested too deep, at byte %zu", at);
        return ERR_BAD;
    }
    if (json_kind(text) != JSON_OBJECT) {
        buf_add_str(why, "not a JSON object");
        return ERR_BAD;
    }
    if (has_nul_escape(text)) {
        buf_add_str(why, "a string contains \\u0000");
        return ERR_BAD;
    }
    return 0;
}

int args_parse(cJSON **ret, struct slice text, size_t max, struct buf *why)
{
    cJSON *root;
    int rc = check_text(text, max, why);

    if (rc < 0)
        return rc;
    root = cJSON_ParseWithLengthOpts((const char *)text.ptr, text.len, NULL,
                                     false);
    if (!root)
        return ERR_NOMEM;
    rc = check_tree(root, why);
    if (rc < 0) {
        cJSON_Delete(root);
        return rc;
    }
    *ret = root;
    return 0;
}

const cJSON *args_get(const cJSON *object, const char *key)
{
    const cJSON *v = object
        ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;

    return v && !cJSON_IsNull(v) ? v : NULL;
}

const char *args_unknown(const cJSON *object, const char *const known[])
{
    for (const cJSON *c = object ? object->child : NULL; c; c = c->next) {
        size_t i = 0;

        while (known[i] && strcmp(known[i], c->string))
            i++;
        if (!known[i])
            return c->string;
    }
    return NULL;
}

struct slice args_text(const cJSON *value)
{
    return cJSON_IsString(value) ? slice_str(value->valuestring)
                                 : slice_make(NULL, 0);
}

static bool has_control(struct slice s, bool line_breaks)
{
    uint32_t c;

    while (s.len && utf8_next(&s, &c) == 0) {
        if (line_breaks && (c == '\n' || c == '\t'))
            continue;
        if (c < 0x20 || (c >= 0x7f && c <= 0x9f))
            return true;
    }
    return s.len > 0;
}

int args_line(const cJSON *value, const char *name, size_t max,
              bool line_breaks, struct slice *ret, struct buf *why)
{
    struct slice s = args_text(value);

    if (s.ptr && s.len >= 1 && s.len <= max && !has_control(s, line_breaks)) {
        *ret = s;
        return 0;
    }
    buf_addf(why, "%s must be a string of 1 to %zu bytes without control "
             "characters", name, max);
    return ERR_BAD;
}

int args_integer(const cJSON *value, int64_t *ret)
{
    const double limit = 9007199254740992.0;
    double v;

    if (!cJSON_IsNumber(value))
        return ERR_BAD;
    v = value->valuedouble;
    if (!(v >= -limit && v <= limit) || v != (double)(int64_t)v)
        return ERR_BAD;
    *ret = (int64_t)v;
    return 0;
}
