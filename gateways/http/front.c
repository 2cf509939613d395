#include "gateways/http/front.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "gateways/common/gateway.h"
#include "gateways/http/gzip.h"
#include "gateways/http/packer.h"
#include "gateways/http/pages.h"
#include "proto/json.h"
#include "proto/position.h"

#define KNOWN_FOR SECOND

enum {
    NEAR = 8,       /* matches before now, and as many after */
    SHOWN_MAX = 32, /* with those in play */
    TIME_TEXT = sizeof "2011-09-13T19:00:00Z",
};

/* The page, in front of what is known and behind it, and the hashes of its
 * style and its script; see tools/front-page.sh. */
extern const uint8_t front_head[], front_head_end[];
extern const uint8_t front_tail[], front_tail_end[];
extern const uint8_t front_csp[], front_csp_end[];

/* The page with what this worker has been told last, and what of it never
 * changes, packed. */
static _Thread_local struct {
    const struct gateway *by; /* NULL: nothing yet */
    int64_t at_ns;
    struct buf plain, gzip;
    struct buf head, tail;
} known;

/* The teams, while the matches are asked for. */
struct asked {
    struct buf teams;
    uint64_t seq;
};

static void asked_free(void *state)
{
    struct asked *a = state;

    buf_fini(&a->teams);
    free(a);
}

/* ---- which matches ------------------------------------------------------ */

struct shown {
    struct slice match[SHOWN_MAX]; /* raw */
    unsigned count, more;
};

static bool in_play(struct slice match)
{
    static const char *const others[] = {"not_started", "ended", "postponed",
                                         "abandoned", "cancelled"};
    struct slice period;

    if (json_find(match, "period", &period) < 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (json_is(period, slice_str(others[i])))
            return false;
    return true;
}

/* Times in UTC are in the order of their text. */
static bool starts_before(struct slice match, struct slice time)
{
    struct slice start;

    return json_find(match, "start_time", &start) == 0 && start.len > 2 &&
           slice_cmp(slice_head(slice_from(start, 1), start.len - 2), time) < 0;
}

/* How many of the list, which is by start time, start before now. */
static size_t count_begun(struct slice matches)
{
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct json_iter it = json_iter(matches);
    struct slice key, match;
    char text[TIME_TEXT] = "";
    size_t n = 0;
    struct tm tm;

    if (gmtime_r(&now, &tm))
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    while (json_next(&it, &key, &match) &&
           starts_before(match, slice_str(text)))
        n++;
    return n;
}

static void choose(struct slice matches, struct shown *ret)
{
    size_t begun = count_begun(matches), at = 0;
    struct json_iter it = json_iter(matches);
    struct slice key, match;

    ret->count = ret->more = 0;
    for (; json_next(&it, &key, &match); at++) {
        bool near = at + NEAR >= begun && at < begun + NEAR;

        if (ret->count < SHOWN_MAX && (near || in_play(match)))
            ret->match[ret->count++] = match;
        else
            ret->more++;
    }
}

static bool plays(const struct shown *s, struct slice team)
{
    struct slice side;

    for (unsigned i = 0; i < s->count; i++)
        if ((json_find(s->match[i], "home", &side) == 0 &&
             slice_eq(side, team)) ||
            (json_find(s->match[i], "visit", &side) == 0 &&
             slice_eq(side, team)))
            return true;
    return false;
}

/* ---- what is known, as JSON within HTML --------------------------------- */

static void put_cursor(struct buf *b, const struct exchange *x,
                       const char *name, uint64_t seq)
{
    const struct epoch *epoch = gateway_epoch(conn_gateway(x->conn));
    char text[CURSOR_TEXT_MAX];

    json_put_key(b, name);
    json_put_string(b, slice_make(text, position_format(text, epoch, seq)));
}

static void put_names(struct buf *b, struct slice teams, const struct shown *s)
{
    struct json_iter it = json_iter(teams);
    struct slice key, team, id, name;
    bool first = true;

    while (json_next(&it, &key, &team)) {
        if (json_find(team, "id", &id) < 0 ||
            json_find(team, "name", &name) < 0 || !plays(s, id))
            continue;
        if (!first)
            buf_add_byte(b, ',');
        first = false;
        buf_add(b, id);
        buf_add_byte(b, ':');
        buf_add(b, name);
    }
}

/* cursor: everything up to there is in it; at: of the matches, more. */
static void put_known(struct buf *b, const struct exchange *x,
                      struct slice body)
{
    const struct asked *a = x->state;
    struct slice teams = SLICE("[]"), matches = SLICE("[]");
    struct shown s;

    (void)!json_find(buf_slice(&a->teams), "teams", &teams);
    (void)!json_find(body, "matches", &matches);
    choose(matches, &s);
    buf_add_byte(b, '{');
    put_cursor(b, x, "cursor", MIN(a->seq, x->seq));
    put_cursor(b, x, "at", x->seq);
    json_put_key(b, "more");
    buf_addf(b, "%u", s.more);
    json_put_key(b, "teams");
    buf_add_byte(b, '{');
    put_names(b, teams, &s);
    buf_add_byte(b, '}');
    json_put_key(b, "matches");
    for (unsigned i = 0; i < s.count; i++) {
        buf_add_byte(b, i ? ',' : '[');
        buf_add(b, s.match[i]);
    }
    buf_add_str(b, s.count ? "]}" : "[]}");
}

/* A < stands in strings only; as it is it could end the script. */
static void put_escaped(struct buf *b, struct slice json)
{
    while (json.len) {
        size_t n = slice_find_byte(json, '<');

        buf_add(b, slice_head(json, n));
        if (n >= json.len)
            return;
        buf_add_str(b, "\\u003c");
        json = slice_from(json, n + 1);
    }
}

/* ---- the page ----------------------------------------------------------- */

static struct slice head_text(void)
{
    return slice_make(front_head, (size_t)(front_head_end - front_head));
}

static struct slice tail_text(void)
{
    return slice_make(front_tail, (size_t)(front_tail_end - front_tail));
}

static void add_packed(struct buf *kept, struct slice text, struct buf *out)
{
    if (kept->len == 0)
        gzip_pack_well(text, kept);
    buf_add(out, buf_slice(kept));
    out->failed |= kept->failed;
}

/* The page with this JSON in its middle; gzip is left empty where there is no
 * memory for it. */
static void put_page(struct gateway *g, struct slice json, struct buf *plain,
                     struct buf *gzip)
{
    struct packer *packer = packer_of(g);
    struct gzip_sum sum = {0, 0};
    size_t end;

    buf_add(plain, head_text());
    put_escaped(plain, json);
    end = plain->len;
    buf_add(plain, tail_text());
    if (!packer || plain->failed)
        return;
    gzip_sum_text(&sum, buf_slice(plain));
    gzip_begin(gzip);
    add_packed(&known.head, head_text(), gzip);
    packer_text(packer, g,
                slice_from(slice_head(buf_slice(plain), end), head_text().len),
                gzip);
    add_packed(&known.tail, tail_text(), gzip);
    gzip_end(&sum, gzip);
}

static void send_page(struct exchange *x, const struct buf *plain,
                      const struct buf *gzip)
{
    pages_policy(x, slice_make(front_csp, (size_t)(front_csp_end - front_csp)));
    x->flags |= EXCHANGE_TAGGED;
    if (!exchange_may_pack(x))
        return;
    if (plain->failed)
        reply_no_memory(x);
    else
        reply_either(x, "text/html; charset=utf-8", buf_slice(plain),
                     buf_slice(gzip->len && !gzip->failed ? gzip : plain));
}

static void send_without(struct exchange *x)
{
    struct buf plain = BUF_INIT, gzip = BUF_INIT;

    put_page(conn_gateway(x->conn), SLICE("null"), &plain, &gzip);
    send_page(x, &plain, &gzip);
    buf_fini(&plain);
    buf_fini(&gzip);
}

/* Better what was known than a reader who waits. */
static void send_last(struct exchange *x)
{
    if (known.by == conn_gateway(x->conn))
        send_page(x, &known.plain, &known.gzip);
    else
        send_without(x);
}

/* ---- asking ------------------------------------------------------------- */

static void matches_answered(struct exchange *x, enum publish_status status,
                             bool json, struct slice body)
{
    struct gateway *g = conn_gateway(x->conn);
    struct buf b = BUF_INIT;

    if (status == PUBLISHED_OK && json)
        put_known(&b, x, body);
    if (b.len && !b.failed) {
        buf_reset(&known.plain);
        buf_reset(&known.gzip);
        put_page(g, buf_slice(&b), &known.plain, &known.gzip);
        known.by = known.plain.failed ? NULL : g;
        known.at_ns = clock_ns();
    }
    buf_fini(&b);
    send_last(x);
}

static void ask(struct exchange *x, const char *verb)
{
    struct refusal why;

    if (conn_query(x->conn, verb, SLICE("{}"), exchange_ref(x, 0), &why) < 0)
        send_last(x);
}

static void teams_answered(struct exchange *x, enum publish_status status,
                           bool json, struct slice body)
{
    static const struct exchange_ops ops = {.answered = matches_answered,
                                            .free = asked_free};
    struct asked *a = x->state;

    if (status != PUBLISHED_OK || !json) {
        send_last(x);
        return;
    }
    buf_add(&a->teams, body);
    a->seq = x->seq;
    x->ops = &ops;
    ask(x, "match.list");
}

void front_page(struct exchange *x, const struct call *call)
{
    static const struct exchange_ops ops = {.answered = teams_answered,
                                            .free = asked_free};
    const struct gateway *g = conn_gateway(x->conn);
    bool fresh = known.by == g && clock_ns() - known.at_ns < KNOWN_FOR;
    struct asked *a = NULL;

    UNUSED(call);
    if (!fresh && gateway_linked(g))
        a = calloc(1, sizeof *a);
    if (!a) {
        send_last(x);
        return;
    }
    x->ops = &ops;
    x->state = a;
    ask(x, "team.list");
}

void front_stop(void)
{
    known.by = NULL;
    buf_fini(&known.plain);
    buf_fini(&known.gzip);
    buf_fini(&known.head);
    buf_fini(&known.tail);
}
