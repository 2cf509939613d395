/* amount.c - numbers of options, written as in the configuration. */
#include <string.h>

#include "base/err.h"
#include "base/opt.h"
#include "tools/router-ctl/ctl.h"

static int read_value(const struct ctl *c, struct opt_row *row,
                      const char *text, void *ret)
{
    struct opt_error err = { .text = "" };
    const struct opt_assign a = { .where = "option",
                                  .key = slice_str(row->key),
                                  .value = slice_str(text) };
    const char *why;

    if (opt_put(row, ret, &a, &err) == 0)
        return EXIT_DONE;
    why = strstr(err.text, " = ");
    return ctl_usage(c, "--%s%s", row->key, why ? why : "");
}

int ctl_duration(const struct ctl *c, const struct ctl_amount *a,
                 int64_t *ret)
{
    struct opt_row row = { .section = "", .key = a->option,
                           .type = OPT_DURATION,
                           .min = a->min, .max = a->max };

    return read_value(c, &row, a->given ? a->given : a->standard, ret);
}

int ctl_count(const struct ctl *c, const struct ctl_amount *a, uint64_t *ret)
{
    struct opt_row row = { .section = "", .key = a->option,
                           .type = OPT_COUNT, .min = a->min, .max = a->max };
    size_t n = 0;
    int code = read_value(c, &row, a->given ? a->given : a->standard, &n);

    if (code == EXIT_DONE)
        *ret = n;
    return code;
}
