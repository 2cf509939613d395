#include "router/types/when.h"

#include <stdio.h>

#include "base/check.h"
#include "base/err.h"

struct civil {
    int64_t year;
    unsigned month, day;
};

/* Days since 1970-01-01 of the proleptic Gregorian calendar. Years are
 * counted from March, so that the leap day is the last of its year. */
static int64_t days_from_civil(struct civil c)
{
    int64_t y = c.year - (c.month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t month = (c.month + 9) % 12;
    int64_t day_of_year = (153 * month + 2) / 5 + c.day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4
           - year_of_era / 100 + day_of_year - 719468;
}

static struct civil civil_from_days(int64_t days)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t day_of_era = z - era * 146097;
    int64_t year = (day_of_era - day_of_era / 1460 + day_of_era / 36524
                    - day_of_era / 146096) / 365;
    int64_t day = day_of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * day + 2) / 153;
    struct civil c;

    c.day = (unsigned)(day - (153 * month + 2) / 5 + 1);
    c.month = (unsigned)(month < 10 ? month + 3 : month - 9);
    c.year = year + era * 400 + (c.month <= 2);
    return c;
}

/* Exactly n digits off the front of *s; -1 when there are not. */
static int take_digits(struct slice *s, size_t n)
{
    int v = 0;

    if (s->len < n)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (s->ptr[i] < '0' || s->ptr[i] > '9')
            return -1;
        v = v * 10 + (s->ptr[i] - '0');
    }
    *s = slice_from(*s, n);
    return v;
}

static bool take_one_of(struct slice *s, const char *set, char *ret)
{
    if (!s->len || !s->ptr[0] || !strchr(set, s->ptr[0]))
        return false;
    *ret = (char)s->ptr[0];
    *s = slice_from(*s, 1);
    return true;
}

/* Digits and the separator behind them, where there is one. */
static bool take_part(struct slice *s, size_t digits, int most, char sep,
                      int *ret)
{
    char set[2] = { sep, 0 }, taken;

    *ret = take_digits(s, digits);
    return *ret >= 0 && *ret <= most
           && (!sep || take_one_of(s, set, &taken));
}

static bool take_date(struct slice *s, int64_t *days)
{
    int year, month, day;
    struct civil c, back;

    if (!take_part(s, 4, 9999, '-', &year) || year < 1
        || !take_part(s, 2, 12, '-', &month) || month < 1
        || !take_part(s, 2, 31, 0, &day) || day < 1)
        return false;
    c = (struct civil){ year, (unsigned)month, (unsigned)day };
    *days = days_from_civil(c);
    back = civil_from_days(*days);
    return back.month == c.month && back.day == c.day;
}

/* ".123456" -> 123; nothing -> 0. */
static bool take_fraction(struct slice *s, int *ms)
{
    int scale = 100;
    size_t digits = 0;
    char dot;

    *ms = 0;
    if (!take_one_of(s, ".", &dot))
        return true;
    for (; s->len && s->ptr[0] >= '0' && s->ptr[0] <= '9'; digits++) {
        *ms += scale * (s->ptr[0] - '0');
        scale /= 10;
        *s = slice_from(*s, 1);
    }
    return digits > 0;
}

/* "Z" or "+02:00", as minutes east of Greenwich. */
static bool take_zone(struct slice *s, int *minutes)
{
    char sign;
    int h, m;

    if (!take_one_of(s, "Zz+-", &sign))
        return false;
    *minutes = 0;
    if (sign == 'Z' || sign == 'z')
        return true;
    if (!take_part(s, 2, 23, ':', &h) || !take_part(s, 2, 59, 0, &m))
        return false;
    *minutes = (sign == '-' ? -1 : 1) * (h * 60 + m);
    return true;
}

int when_parse(struct slice text, int64_t *ms, char date[WHEN_DATE])
{
    struct slice s = text;
    int64_t days, at;
    int h = 0, m = 0, sec = 0, fraction = 0, zone = 0;
    char t;

    if (!take_date(&s, &days))
        return ERR_BAD;
    if (s.len && (!take_one_of(&s, "Tt ", &t) || !take_part(&s, 2, 23, ':', &h)
                  || !take_part(&s, 2, 59, ':', &m)
                  || !take_part(&s, 2, 60, 0, &sec)
                  || !take_fraction(&s, &fraction) || !take_zone(&s, &zone)
                  || s.len))
        return ERR_BAD;
    at = days * WHEN_DAY_MS + (((h * 60 + m) - zone) * 60 + sec) * INT64_C(1000)
         + fraction;
    if (!when_in_range(at))
        return ERR_BAD;
    *ms = at;
    memcpy(date, text.ptr, WHEN_DATE);
    return 0;
}

bool when_is_date(struct slice text)
{
    int64_t days;

    return text.len == WHEN_DATE && take_date(&text, &days);
}

bool when_in_range(int64_t ms)
{
    return ms >= days_from_civil((struct civil){ 1, 1, 1 }) * WHEN_DAY_MS
           && ms < days_from_civil((struct civil){ 10000, 1, 1 }) * WHEN_DAY_MS;
}

size_t when_format(int64_t ms, char out[WHEN_TEXT_MAX])
{
    int64_t days = (ms >= 0 ? ms : ms - (WHEN_DAY_MS - 1)) / WHEN_DAY_MS;
    unsigned rest = (unsigned)(ms - days * WHEN_DAY_MS);
    struct civil c = civil_from_days(days);
    char text[40];
    int n;

    CHECK(when_in_range(ms));
    n = snprintf(text, sizeof text, "%04u-%02u-%02uT%02u:%02u:%02u",
                 (unsigned)c.year, c.month, c.day, rest / 3600000,
                 rest / 60000 % 60, rest / 1000 % 60);
    if (rest % 1000)
        n += snprintf(text + n, sizeof text - (size_t)n, ".%03u", rest % 1000);
    text[n++] = 'Z';
    CHECK(n <= WHEN_TEXT_MAX);
    memcpy(out, text, (size_t)n);
    return (size_t)n;
}
