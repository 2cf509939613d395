#include "tools/flood/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/json.h"

static const struct {
    const char *name, *text, *cure;
} fails[] = {
#define AS_ROW(name, text, cure) { #name, text, cure },
    SHARE_FAILS(AS_ROW)
#undef AS_ROW
};

static const struct {
    const char *name, *text;
} hists[] = {
#define AS_ROW(name, text) { #name, text },
    SHARE_HISTOGRAMS(AS_ROW)
#undef AS_ROW
};

static const char *const counters[] = {
#define AS_NAME(name) #name,
    SHARE_COUNTERS(AS_NAME)
#undef AS_NAME
};

/* ---- sums -------------------------------------------------------------------- */

uint64_t report_sum(const struct report *r, enum share_counter c)
{
    uint64_t n = 0;

    for (size_t i = 0; i < r->worker_count; i++)
        n += share_get(&r->workers[i], c);
    return n;
}

uint64_t report_active(const struct report *r)
{
    uint64_t n = 0;

    for (size_t i = 0; i < r->worker_count; i++)
        n += share_active(&r->workers[i]);
    return n;
}

static uint64_t sum_fails(const struct report *r, enum share_fail f)
{
    uint64_t n = 0;

    for (size_t i = 0; i < r->worker_count; i++)
        n += atomic_load_explicit(&r->workers[i].fails[f],
                                  memory_order_relaxed);
    return n;
}

static void sum_hist(const struct report *r, enum share_histogram h,
                     struct histogram *ret)
{
    memset(ret, 0, sizeof *ret);
    for (size_t i = 0; i < r->worker_count; i++)
        histogram_add(ret, &r->workers[i].hists[h]);
}

uint64_t report_lost(const struct report *r)
{
    uint64_t lost = report_sum(r, SHARE_lost);
    uint64_t got = report_sum(r, SHARE_received)
                   - report_sum(r, SHARE_duplicates);
    uint64_t due = atomic_load(&r->stage->due);

    return r->steady && due > got ? MAX(lost, due - got) : lost;
}

bool report_is_clean(const struct report *r)
{
    static const enum share_counter none[] = {
        SHARE_failed, SHARE_duplicates, SHARE_reordered, SHARE_silent,
    };

    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        if (report_sum(r, none[i]))
            return false;
    return !report_lost(r) && !atomic_load(&r->stage->refused)
           && !atomic_load(&r->stage->publishing_failed);
}

/* ---- numbers as people read them ----------------------------------------------- */

/* 1234567 as 1,234,567 */
static void add_count(struct buf *out, uint64_t n)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, n);

    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            buf_add_byte(out, ',');
        buf_add_byte(out, (uint8_t)digits[i]);
    }
}

static void add_time(struct buf *out, uint64_t us)
{
    double v = (double)us;

    if (us < 1000)
        buf_addf(out, "%" PRIu64 " us", us);
    else if (us < 1000000)
        buf_addf(out, "%.*f ms", us < 10000 ? 2 : us < 100000 ? 1 : 0,
                 v / 1e3);
    else
        buf_addf(out, "%.2f s", v / 1e6);
}

static void add_named(struct buf *out, const char *name, uint64_t n)
{
    buf_add_str(out, "  ");
    buf_add_str(out, name);
    buf_add_byte(out, ' ');
    add_count(out, n);
}

static void add_hist(struct buf *out, const char *name,
                     const struct histogram *h)
{
    static const struct {
        const char *name;
        double q;
    } points[] = { { "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 },
                   { "p99.9", 0.999 } };

    if (!histogram_total(h))
        return;
    buf_addf(out, "%-13s", name);
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        buf_addf(out, " %s ", points[i].name);
        add_time(out, histogram_quantile(h, points[i].q));
        buf_add_byte(out, ' ');
    }
    buf_add_str(out, " max ");
    add_time(out, histogram_max(h));
    buf_add_str(out, "  of ");
    add_count(out, histogram_total(h));
    buf_add_byte(out, '\n');
}

/* Text of strangers, on a line. */
static void add_sample(struct buf *out, const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
            buf_addf(out, "\\x%02x", (unsigned char)*text);
        else
            buf_add_byte(out, (uint8_t)*text);
}

static const char *sample_of(const struct report *r)
{
    for (size_t i = 0; i < r->worker_count; i++)
        if (atomic_load_explicit(&r->workers[i].sampled, memory_order_acquire))
            return r->workers[i].sample;
    return NULL;
}

/* ---- text ------------------------------------------------------------------------ */

static void text_head(const struct report *r, struct buf *out)
{
    char at[ENDPOINT_TEXT_MAX];

    endpoint_text(&r->plan->targets.at[0], at);
    buf_addf(out, "touchline-flood  %s  %s  ", r->plan->edge, at);
    buf_addf(out, "%zu process%s  %.1f s%s\n", r->worker_count,
             r->worker_count == 1 ? "" : "es", r->seconds,
             r->interrupted ? "  (interrupted)" : "");
}

static void text_connections(const struct report *r, struct buf *out)
{
    uint64_t up = report_sum(r, SHARE_up);

    buf_addf(out, "%-12s", "connections");
    add_named(out, "wanted", r->plan->settings->connections);
    add_named(out, "opened", report_sum(r, SHARE_opened));
    add_named(out, "up", up);
    add_named(out, "closed", report_sum(r, SHARE_closed));
    add_named(out, "failed", report_sum(r, SHARE_failed));
    if (r->up_after > 0) {
        buf_addf(out, "  %s after %.3f s",
                 report_sum(r, SHARE_failed) ? "all tried" : "all up",
                 r->up_after);
        if (!r->plan->script.count)
            add_named(out, "a second:", (uint64_t)((double)up / r->up_after));
    }
    if (r->plan->script.count && r->seconds > 0)
        add_named(out, "opened a second:",
                  (uint64_t)((double)report_sum(r, SHARE_opened) / r->seconds));
    buf_add_byte(out, '\n');
}

static void text_fails(const struct report *r, struct buf *out)
{
    const char *sample = sample_of(r);

    for (size_t i = 0; i < ARRAY_LEN(fails); i++) {
        uint64_t n = sum_fails(r, (enum share_fail)i);

        if (!n)
            continue;
        buf_addf(out, "%-12s", "");
        add_named(out, fails[i].text, n);
        buf_addf(out, ": %s\n", fails[i].cure);
    }
    if (sample && report_sum(r, SHARE_failed)) {
        buf_addf(out, "%-12s  sample: ", "");
        add_sample(out, sample);
        buf_add_byte(out, '\n');
    }
}

static void text_messages(const struct report *r, struct buf *out)
{
    static const struct {
        const char *name;
        enum share_counter which;
    } rows[] = { { "duplicates", SHARE_duplicates },
                 { "reordered", SHARE_reordered }, { "gaps told", SHARE_gaps },
                 { "silent", SHARE_silent } };

    buf_addf(out, "%-12s", "messages");
    add_named(out, "received", report_sum(r, SHARE_received));
    add_named(out, "lost", report_lost(r));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        add_named(out, rows[i].name, report_sum(r, rows[i].which));
    buf_add_byte(out, '\n');
}

static void text_published(const struct report *r, struct buf *out)
{
    uint64_t published = atomic_load(&r->stage->published);
    uint64_t us = atomic_load(&r->stage->publishing_us);

    if (!r->plan->publishes)
        return;
    buf_addf(out, "%-12s", "published");
    add_named(out, "sent", published);
    if (r->plan->settings->window && us)
        add_named(out, "a second:",
                  (uint64_t)((double)published * 1e6 / (double)us));
    add_named(out, "answered", atomic_load(&r->stage->answered));
    add_named(out, "refused", atomic_load(&r->stage->refused));
    add_named(out, "due at clients", atomic_load(&r->stage->due));
    buf_add_str(out, "  late at most ");
    add_time(out, atomic_load(&r->stage->late_us));
    if (atomic_load(&r->stage->publishing_failed))
        buf_add_str(out, "  the publisher failed");
    buf_add_byte(out, '\n');
}

static bool has_cost(const struct report *r)
{
    return r->costed && r->cost->count && !r->cost->gone;
}

static void text_cost(const struct report *r, struct buf *out)
{
    uint64_t messages = report_sum(r, SHARE_received);
    double cpu = (double)r->cost->cpu_ns, memory = (double)r->cost->memory;

    if (!has_cost(r))
        return;
    buf_addf(out, "%-12s", "server");
    add_named(out, "processes", r->cost->count);
    buf_addf(out, "  cpu %.2f s", cpu / 1e9);
    if (messages)
        buf_addf(out, ", %.2f us a message", cpu / 1e3 / (double)messages);
    buf_addf(out, "  memory %+.1f MB", memory / 1e6);
    if (r->cost_clients)
        buf_addf(out, ", %.0f bytes a client", memory / (double)r->cost_clients);
    buf_addf(out, "%s\n", r->cost->exact ? "" : " (not exact: only root sees it)");
}

static void text_probe(const struct report *r, struct buf *out)
{
    const struct share *p = r->probe;

    if (!p)
        return;
    buf_addf(out, "%-12s", "probe");
    add_named(out, "visits", share_get(p, SHARE_up));
    add_named(out, "failed", share_get(p, SHARE_failed));
    add_named(out, "messages", share_get(p, SHARE_received));
    for (size_t i = 0; i < ARRAY_LEN(hists); i++) {
        const struct histogram *h = &p->hists[i];

        if (!histogram_total(h))
            continue;
        buf_addf(out, "  %s ", hists[i].text);
        add_time(out, histogram_quantile(h, 0.5));
        buf_add_str(out, ", max ");
        add_time(out, histogram_max(h));
    }
    buf_add_byte(out, '\n');
}

void report_words(const struct report *r, struct buf *out)
{
    struct histogram h;

    text_head(r, out);
    text_connections(r, out);
    text_fails(r, out);
    for (size_t i = 0; i < SHARE_HISTS; i++) {
        sum_hist(r, (enum share_histogram)i, &h);
        add_hist(out, hists[i].text, &h);
    }
    text_messages(r, out);
    text_published(r, out);
    text_cost(r, out);
    text_probe(r, out);
}

/* ---- JSON -------------------------------------------------------------------------- */

static void json_hist(struct buf *out, const char *name,
                      const struct histogram *h)
{
    bool first = true;

    buf_addf(out, "\"%s_us\":{\"count\":%" PRIu64 ",\"mean\":%.1f,\"p50\":%"
             PRIu64 ",\"p90\":%" PRIu64 ",\"p99\":%" PRIu64 ",\"p999\":%"
             PRIu64 ",\"max\":%" PRIu64 ",\"buckets\":[", name,
             histogram_total(h), histogram_mean(h), histogram_quantile(h, 0.5),
             histogram_quantile(h, 0.9), histogram_quantile(h, 0.99),
             histogram_quantile(h, 0.999), histogram_max(h));
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t n = atomic_load_explicit(&h->count[i], memory_order_relaxed);

        if (!n)
            continue;
        buf_addf(out, "%s[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]",
                 first ? "" : ",", histogram_low(i), histogram_high(i), n);
        first = false;
    }
    buf_add_str(out, "]}");
}

static void json_fails(const struct report *r, struct buf *out)
{
    const char *sample = sample_of(r);

    buf_add_str(out, "\"failures\":{");
    for (size_t i = 0; i < ARRAY_LEN(fails); i++)
        buf_addf(out, "%s\"%s\":%" PRIu64, i ? "," : "", fails[i].name,
                 sum_fails(r, (enum share_fail)i));
    buf_add_str(out, "},\"sample\":");
    if (sample)
        json_put_string(out, slice_str(sample));
    else
        buf_add_str(out, "null");
}

static void json_probe(const struct report *r, struct buf *out)
{
    const struct share *p = r->probe;

    buf_addf(out, "\"probe\":{\"visits\":%" PRIu64 ",\"failed\":%" PRIu64
             ",\"received\":%" PRIu64, share_get(p, SHARE_up),
             share_get(p, SHARE_failed), share_get(p, SHARE_received));
    for (size_t i = 0; i < ARRAY_LEN(hists); i++) {
        buf_add_byte(out, ',');
        json_hist(out, hists[i].name, &p->hists[i]);
    }
    buf_add_byte(out, '}');
}

static void json_published(const struct report *r, struct buf *out)
{
    const struct stage *s = r->stage;

    buf_addf(out, "\"published\":{\"sent\":%" PRIu64 ",\"answered\":%" PRIu64
             ",\"refused\":%" PRIu64 ",\"due\":%" PRIu64 ",\"late_us\":%" PRIu64
             ",\"seconds\":%.6f,\"failed\":%s}", atomic_load(&s->published),
             atomic_load(&s->answered), atomic_load(&s->refused),
             atomic_load(&s->due), atomic_load(&s->late_us),
             (double)atomic_load(&s->publishing_us) / 1e6,
             atomic_load(&s->publishing_failed) ? "true" : "false");
}

static void json_cost(const struct report *r, struct buf *out)
{
    if (!has_cost(r)) {
        buf_add_str(out, "\"server\":null");
        return;
    }
    buf_addf(out, "\"server\":{\"processes\":%zu,\"cpu_s\":%.3f,"
             "\"memory\":%" PRId64 ",\"clients\":%" PRIu64 ",\"exact\":%s}",
             r->cost->count, (double)r->cost->cpu_ns / 1e9, r->cost->memory,
             r->cost_clients, r->cost->exact ? "true" : "false");
}

void report_json(const struct report *r, struct buf *out)
{
    struct histogram h;

    buf_addf(out, "{\"edge\":\"%s\",\"wanted\":%zu,\"processes\":%zu,"
             "\"time\":%.6f,\"seconds\":%.3f,\"up_after\":%.3f,"
             "\"interrupted\":%s,", r->plan->edge,
             r->plan->settings->connections, r->worker_count,
             (double)r->begun_us / 1e6, r->seconds, r->up_after,
             r->interrupted ? "true" : "false");
    for (size_t i = 0; i < SHARE_COUNT; i++)
        buf_addf(out, "\"%s\":%" PRIu64 ",", counters[i],
                 i == SHARE_lost ? report_lost(r)
                                 : report_sum(r, (enum share_counter)i));
    json_fails(r, out);
    buf_add_byte(out, ',');
    json_published(r, out);
    buf_add_byte(out, ',');
    json_cost(r, out);
    for (size_t i = 0; i < SHARE_HISTS; i++) {
        sum_hist(r, (enum share_histogram)i, &h);
        buf_add_byte(out, ',');
        json_hist(out, hists[i].name, &h);
    }
    if (r->probe) {
        buf_add_byte(out, ',');
        json_probe(r, out);
    }
    buf_add_str(out, "}\n");
}

/* ---- while it runs ------------------------------------------------------------------- */

const char report_csv_head[] =
    "time,active,opened,closed,failed,received,lost,duplicates,"
    "p50_us,p90_us,p99_us,p999_us,max_us\n";

void report_next_second(const struct report *r, struct report_second *s,
                        int64_t now_us)
{
    struct histogram all;

    s->took = s->at_us ? (double)(now_us - s->at_us) / 1e6 : 0;
    s->at_us = now_us;
    for (size_t i = 0; i < SHARE_COUNT; i++) {
        uint64_t now = report_sum(r, (enum share_counter)i);

        s->rates[i] = now - s->counters[i];
        s->counters[i] = now;
    }
    sum_hist(r, SHARE_HIST_latency, &all);
    memcpy(&s->latency, &all, sizeof all);
    histogram_subtract(&s->latency, &s->all);
    memcpy(&s->all, &all, sizeof all);
}

void report_csv(const struct report *r, const struct report_second *s,
                struct buf *out)
{
    const struct histogram *h = &s->latency;
    static const enum share_counter columns[] = {
        SHARE_opened, SHARE_closed, SHARE_failed, SHARE_received, SHARE_lost,
        SHARE_duplicates,
    };

    buf_addf(out, "%.3f,%" PRIu64, (double)s->at_us / 1e6, report_active(r));
    for (size_t i = 0; i < ARRAY_LEN(columns); i++)
        buf_addf(out, ",%" PRId64, (int64_t)s->rates[columns[i]]);
    buf_addf(out, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
             "\n", histogram_quantile(h, 0.5), histogram_quantile(h, 0.9),
             histogram_quantile(h, 0.99), histogram_quantile(h, 0.999),
             histogram_max(h));
}

static void add_rate(struct buf *out, const struct report_second *s,
                     enum share_counter c, const char *unit)
{
    double rate = s->took > 0 ? (double)s->rates[c] / s->took : 0;

    buf_add_str(out, "  ");
    add_count(out, (uint64_t)(rate + 0.5));
    buf_addf(out, " %s", unit);
}

void report_line(const struct report *r, const struct report_second *s,
                 double done, struct buf *out)
{
    enum { BAR = 20 };

    if (done >= 0) {
        buf_add_byte(out, '[');
        for (int i = 0; i < BAR; i++)
            buf_add_byte(out, i < (int)(MIN(done, 1) * BAR) ? '#' : '.');
        buf_add_str(out, "] ");
    }
    add_count(out, report_active(r));
    buf_add_str(out, " active");
    add_named(out, "failed", s->counters[SHARE_failed]);
    add_rate(out, s, SHARE_opened, "opened/s");
    add_rate(out, s, SHARE_received, "received/s");
    add_named(out, "lost", s->counters[SHARE_lost]);
    if (histogram_total(&s->latency)) {
        buf_add_str(out, "  p50 ");
        add_time(out, histogram_quantile(&s->latency, 0.5));
        buf_add_str(out, "  p99 ");
        add_time(out, histogram_quantile(&s->latency, 0.99));
    }
}
