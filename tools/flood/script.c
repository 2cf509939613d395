#include "tools/flood/script.h"

#include <stdlib.h>

#include "base/err.h"

/* What a step's parentheses hold. */
enum arguments { NOTHING, NUMBER, NUMBER_AND_SHARE, TEXT, NUMBER_OR_NOTHING };

static const struct verb {
    const char *name;
    enum arguments takes;
    bool waits;
    const char *usage;
} verbs[] = {
    [SCRIPT_DELAY] = { "delay", NUMBER_AND_SHARE, true,
                       "delay(MILLISECONDS) or delay(MILLISECONDS, SHARE)" },
    [SCRIPT_RECEIVE] = { "receive", NUMBER, true, "receive(MESSAGES)" },
    [SCRIPT_REQUEST] = { "request", NOTHING, true, "request" },
    [SCRIPT_SEND] = { "send", TEXT, false, "send(\"TEXT\")" },
    [SCRIPT_REPEAT] = { "repeat", NUMBER_OR_NOTHING, false,
                        "repeat or repeat(TIMES)" },
};

/* What is left to read, and where to complain. */
struct reading {
    struct slice rest;
    struct opt_error *err;
};

static bool is_between(uint8_t c)
{
    return c && strchr(" \t\r\n;", c);
}

static void skip_between(struct reading *r)
{
    while (r->rest.len && is_between(r->rest.ptr[0]))
        r->rest = slice_from(r->rest, 1);
}

static bool take_byte(struct reading *r, uint8_t byte)
{
    skip_between(r);
    if (!r->rest.len || r->rest.ptr[0] != byte)
        return false;
    r->rest = slice_from(r->rest, 1);
    return true;
}

static struct slice take_while(struct reading *r, const char *bytes)
{
    size_t n = 0;
    struct slice s;

    skip_between(r);
    while (n < r->rest.len && r->rest.ptr[n] && strchr(bytes, r->rest.ptr[n]))
        n++;
    s = slice_head(r->rest, n);
    r->rest = slice_from(r->rest, n);
    return s;
}

static bool take_number(struct reading *r, uint32_t *ret)
{
    uint64_t n;

    if (slice_parse_u64(take_while(r, "0123456789"), &n) < 0 || n > UINT32_MAX)
        return false;
    *ret = (uint32_t)n;
    return true;
}

static bool take_share(struct reading *r, double *ret)
{
    struct slice s = take_while(r, "0123456789.");
    char text[32], *end;

    if (!s.len || s.len >= sizeof text)
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    *ret = strtod(text, &end);
    return !*end && *ret >= 0 && *ret <= 1;
}

static bool take_text(struct reading *r, struct slice *ret)
{
    size_t n = 0;

    if (!take_byte(r, '"'))
        return false;
    while (n < r->rest.len && r->rest.ptr[n] != '"')
        n += r->rest.ptr[n] == '\\' ? 2 : 1;
    if (n >= r->rest.len)
        return false;
    *ret = slice_head(r->rest, n);
    r->rest = slice_from(r->rest, n + 1);
    return true;
}

/* Between the parentheses. */
static bool take_inside(struct reading *r, enum arguments takes,
                        struct script_step *s, struct slice *text)
{
    if (takes == TEXT)
        return take_text(r, text);
    if (!take_number(r, &s->count))
        return false;
    return takes != NUMBER_AND_SHARE || !take_byte(r, ',')
           || take_share(r, &s->deviation);
}

static int take_arguments(struct reading *r, struct script_step *s)
{
    enum arguments takes = verbs[s->verb].takes;
    struct slice text = { NULL, 0 };
    bool good;

    if (takes == NOTHING || (takes == NUMBER_OR_NOTHING
                             && !(r->rest.len && r->rest.ptr[0] == '(')))
        good = true;
    else
        good = take_byte(r, '(') && take_inside(r, takes, s, &text)
               && take_byte(r, ')');
    if (!good) {
        opt_error_set(r->err, "it is written %s", verbs[s->verb].usage);
        return ERR_BAD;
    }
    return takes == TEXT ? template_init(&s->text, text, false, r->err) : 0;
}

static int take_step(struct reading *r, struct script_step *s)
{
    struct slice name = take_while(r, "abcdefghijklmnopqrstuvwxyz");

    *s = (struct script_step){ .verb = SCRIPT_DELAY };
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (slice_eq(name, slice_str(verbs[i].name))) {
            s->verb = (enum script_verb)i;
            return take_arguments(r, s);
        }
    opt_error_set(r->err, "a step is delay, receive, request, send or repeat, "
                  "not '" SLICE_FMT "'",
                  SLICE_ARG(name.len ? name : slice_head(r->rest, 20)));
    return ERR_BAD;
}

/* Without a wait in front of it a repeat would never end its turn. */
static int check_waits(const struct script *s, struct opt_error *err)
{
    bool waits = false;

    for (size_t i = 0; i < s->count; i++) {
        const struct script_step *p = &s->steps[i];

        waits = waits || (verbs[p->verb].waits
                          && (p->verb == SCRIPT_REQUEST || p->count));
        if (p->verb == SCRIPT_REPEAT && !waits) {
            opt_error_set(err, "what is repeated has to wait for something: "
                          "delay, receive or request");
            return ERR_BAD;
        }
    }
    return 0;
}

int script_init(struct script *s, struct slice text, struct opt_error *err)
{
    struct reading r = { text, err };
    int rc = 0;

    *s = (struct script){ .count = 0 };
    s->steps = calloc(SCRIPT_STEPS_MAX, sizeof *s->steps);
    if (!s->steps)
        return ERR_NOMEM;
    for (skip_between(&r); r.rest.len && rc == 0; skip_between(&r)) {
        if (s->count == SCRIPT_STEPS_MAX) {
            opt_error_set(err, "a script has at most %d steps",
                          SCRIPT_STEPS_MAX);
            rc = ERR_BAD;
        } else {
            rc = take_step(&r, &s->steps[s->count]);
            s->count += rc == 0;
        }
    }
    if (rc == 0)
        rc = check_waits(s, err);
    if (rc < 0)
        script_fini(s);
    return rc;
}

void script_fini(struct script *s)
{
    for (size_t i = 0; i < s->count; i++)
        template_fini(&s->steps[i].text);
    free(s->steps);
    *s = (struct script){ .count = 0 };
}

int64_t script_delay_ns(const struct script_step *s, struct chance *c)
{
    double part = 1 + s->deviation * (2 * chance_unit(c) - 1);

    return (int64_t)(s->count * part * (double)MILLISECOND);
}
