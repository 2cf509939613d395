#include "tools/router-ctl/fold.h"

#include "base/utf8.h"

/* Of U+00C0 to U+00FF and U+0100 to U+017F; '-': none. */
static const char latin1[] = "aaaaaaaceeeeiiiidnooooo-ouuuuyts"
                             "aaaaaaaceeeeiiiidnooooo-ouuuuyty";
static const char extended[] = "aaaaaaccccccccddddeeeeeeeeeegggggggghhhh"
                               "iiiiiiiiiiiijjkkkllllllllllnnnnnnnnnoooooooo"
                               "rrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";

_Static_assert(sizeof latin1 - 1 == 0x40, "one letter each");
_Static_assert(sizeof extended - 1 == 0x80, "one letter each");

static char fold_one(uint32_t c)
{
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
        return (char)c;
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    if (c >= 0xc0 && c <= 0xff)
        return latin1[c - 0xc0];
    if (c >= 0x100 && c <= 0x17f)
        return extended[c - 0x100];
    return '-';
}

size_t fold_name(struct slice name, char out[FOLD_MAX + 1])
{
    size_t len = 0;
    uint32_t c;

    while (len < FOLD_MAX && utf8_next(&name, &c) == 0) {
        char folded = fold_one(c);

        if (folded != '-')
            out[len++] = folded;
    }
    out[len] = '\0';
    return len;
}
