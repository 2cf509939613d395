#include "proto/names.h"

#include "base/utf8.h"

static bool is_clean(struct slice text)
{
    uint32_t c;

    while (text.len)
        if (utf8_next(&text, &c) < 0 || utf8_is_control(c))
            return false;
    return true;
}

static bool has_byte(struct slice s, uint8_t byte)
{
    return slice_find_byte(s, byte) < s.len;
}

bool name_valid(struct slice name)
{
    return name.len >= 1 && name.len <= PERSON_NAME_MAX
           && is_clean(name) && !has_byte(name, ' ') && !has_byte(name, ':');
}

bool key_valid(struct slice key)
{
    return key.len >= 1 && key.len <= CONFLATION_KEY_MAX && is_clean(key);
}

bool idempotency_valid(struct slice key)
{
    for (size_t i = 0; i < key.len; i++)
        if (key.ptr[i] < 0x21 || key.ptr[i] > 0x7e)
            return false;
    return key.len >= 1 && key.len <= IDEMPOTENCY_KEY_MAX;
}
