#include "gateways/http/encoding.h"

enum { UNNAMED = -1, WEIGHT_MOST = 1000 };

struct weights {
    int gzip, identity, star; /* of 1000, or UNNAMED */
};

/* 0 or 1, and up to three digits behind a point. UNNAMED: no qvalue. */
static int read_qvalue(struct slice text)
{
    int weight, unit = WEIGHT_MOST;

    if (text.len == 0 || text.len > 5 || (text.ptr[0] | 1) != '1' ||
        (text.len > 1 && text.ptr[1] != '.'))
        return UNNAMED;
    weight = (text.ptr[0] - '0') * unit;
    for (size_t i = 2; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return UNNAMED;
        unit /= 10;
        weight += (text.ptr[i] - '0') * unit;
    }
    return weight <= WEIGHT_MOST ? weight : UNNAMED;
}

/* Of what stands behind the name. UNNAMED: that makes no sense. */
static int read_weight(struct slice params)
{
    struct slice p = slice_trim(params);

    if (!params.ptr)
        return WEIGHT_MOST;
    if (!slice_eq_nocase(slice_head(p, 2), SLICE("q=")))
        return UNNAMED;
    return read_qvalue(slice_from(p, 2));
}

static void take_weight(int *kept, int weight)
{
    if (weight != UNNAMED && (*kept == UNNAMED || weight < *kept))
        *kept = weight;
}

static void read_line(struct slice line, struct weights *w)
{
    struct slice rest = line;

    while (rest.ptr) {
        struct slice part = slice_split(&rest, ',');
        struct slice name = slice_trim(slice_split(&part, ';'));
        int weight = read_weight(part);

        if (slice_eq_nocase(name, SLICE("gzip")) ||
            slice_eq_nocase(name, SLICE("x-gzip")))
            take_weight(&w->gzip, weight);
        else if (slice_eq_nocase(name, SLICE("identity")))
            take_weight(&w->identity, weight);
        else if (slice_eq(name, SLICE("*")))
            take_weight(&w->star, weight);
    }
}

struct encoding encoding_read(const struct request *r)
{
    struct weights w = {UNNAMED, UNNAMED, UNNAMED};
    struct slice rest = r->lines, line = r->field[FIELD_ACCEPT_ENCODING];
    struct encoding e;

    if (!request_repeats(r, FIELD_ACCEPT_ENCODING))
        read_line(line, &w);
    else
        while (request_line_next(&rest, FIELD_ACCEPT_ENCODING, &line))
            read_line(line, &w);
    if (w.gzip == UNNAMED)
        w.gzip = w.star;
    e.plain = w.identity > 0 || (w.identity == UNNAMED && w.star != 0);
    e.gzip = w.gzip > 0 && w.gzip >= w.identity;
    return e;
}
