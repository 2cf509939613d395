#include "tests/chaos/check.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tests/chaos/check_state.h"
#include "tests/chaos/history.h"
#include "tests/chaos/texts.h"

static const char *const pass_names[CHECK_PASSES] = {
    "log", "numbers", "acks", "ghosts", "once", "order", "whole", "notices",
    "resume", "cursor", "kept", "state", "reach", "live", "isolation", "counters",
};

const char *check_pass_name(enum check_pass pass)
{
    return pass_names[pass];
}

/* ---- made, shown ------------------------------------------------------------ */

struct checker *checker_new(const struct check_options *options)
{
    struct checker *c = calloc(1, sizeof *c);

    if (!c) {
        fprintf(stderr, "check: out of memory\n");
        exit(1);
    }
    c->options = *options;
    c->quiet_ns = INT64_MAX;
    c->gaps_counted = NONE;
    return c;
}

void checker_free(struct checker *c)
{
    for (size_t i = 0; i < c->history_count; i++) {
        free(c->histories[i].versions);
        free(c->histories[i].sums);
    }
    free(c->files);
    free(c->memory);
    free(c->kept);
    free(c->publications);
    free(c->versions);
    free(c->histories);
    free(c->holes);
    free(c->faults);
    free(c->policies);
    names_fini(&c->channels);
    names_fini(&c->epochs);
    table_fini(&c->by_name);
    table_fini(&c->by_seq);
    table_fini(&c->by_offset);
    table_fini(&c->by_line);
    free(c);
}

const struct check_figures *checker_figures(const struct checker *c)
{
    return &c->figures;
}

static line_at line_make(size_t file, size_t at)
{
    return ((uint64_t)file + 1) << 44 | at;
}

static void show_line(const struct checker *c, line_at line)
{
    const struct log_file *f = &c->files[(line >> 44) - 1];
    size_t at = line & ((UINT64_C(1) << 44) - 1), n = 0;

    while (at + n < f->bytes.len && f->bytes.ptr[at + n] != '\n' && n < 240)
        n++;
    fprintf(c->options.out, "    %s: %.*s\n", f->name, (int)n,
            (const char *)f->bytes.ptr + at);
}

void check_found(struct checker *c, enum check_pass pass, line_at a, line_at b,
                 const char *fmt, ...)
{
    va_list args;

    if (c->figures.found[pass]++ >= c->options.show || !c->options.out)
        return;
    fprintf(c->options.out, "%s: ", pass_names[pass]);
    va_start(args, fmt);
    vfprintf(c->options.out, fmt, args);
    va_end(args);
    fputc('\n', c->options.out);
    if (a)
        show_line(c, a);
    if (b && b != a)
        show_line(c, b);
}

/* ---- lines -------------------------------------------------------------------- */

uint64_t check_number(struct slice s)
{
    uint64_t v = 0;

    if (s.len == 0 || s.len > 19)
        return UINT64_MAX;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return UINT64_MAX;
        v = v * 10 + (uint64_t)(s.ptr[i] - '0');
    }
    return v;
}

uint64_t check_hex(struct slice s)
{
    uint64_t v = 0;

    for (size_t i = 0; i < s.len; i++)
        v = v << 4 | (uint64_t)(s.ptr[i] <= '9' ? s.ptr[i] - '0'
                                                : s.ptr[i] - 'a' + 10);
    return v;
}

/* How many words a line of that kind has, or 0. */
static unsigned words_of(char kind)
{
    static const struct { char kind; unsigned words; } rows[] = {
        { HISTORY_INVOKE, 9 },  { HISTORY_ACK, 8 },     { HISTORY_REFUSED, 5 },
        { HISTORY_UNKNOWN, 5 }, { HISTORY_OPEN, 6 },    { HISTORY_SUBSCRIBE, 6 },
        { HISTORY_BEGUN, 4 },   { HISTORY_MESSAGE, 12 }, { HISTORY_NOTICE, 12 },
        { HISTORY_RUN, 10 },    { HISTORY_END, 6 },     { HISTORY_STORED, 10 },
        { HISTORY_STATE, 8 },   { HISTORY_HALT, 5 },    { HISTORY_POLICY, 5 },
        { HISTORY_HOLE, 7 },    { HISTORY_COUNTER, 5 }, { HISTORY_MARK, 4 },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].kind == kind)
            return rows[i].words;
    return 0;
}

static bool split(struct words *w, const uint8_t *line, size_t len)
{
    size_t at = 0;

    for (w->count = 0; w->count < WORDS_MAX && at <= len; w->count++) {
        const uint8_t *end = memchr(line + at, ' ', len - at);
        size_t n = end ? (size_t)(end - line) - at : len - at;

        w->word[w->count] = slice_make(line + at, n);
        at += n + 1;
    }
    w->kind = w->word[0].len == 1 ? (char)line[0] : '?';
    w->ns = w->count > 2 ? (int64_t)check_number(w->word[1]) : -1;
    if (w->kind == HISTORY_FAULT)
        return w->ns >= 0 && w->count >= 5 && at > len;
    return w->ns >= 0 && w->count == words_of(w->kind) && at > len;
}

void check_lines(struct checker *c, size_t file,
                 void (*take)(struct checker *c, void *ctx,
                              const struct words *w), void *ctx)
{
    struct slice all = c->files[file].bytes;
    struct words w;

    for (size_t at = 0; at < all.len;) {
        const uint8_t *from = all.ptr + at;
        const uint8_t *end = memchr(from, '\n', all.len - at);
        size_t len = end ? (size_t)(end - from) : all.len - at;

        w.line = line_make(file, at);
        w.kind = 0;
        if (!end || !split(&w, from, len))
            w.kind = '?';
        take(c, ctx, &w);
        at += len + 1;
    }
}

/* ---- collecting ----------------------------------------------------------------- */

static uint32_t channel_add(struct checker *c, struct slice name)
{
    size_t before = c->channels.count;
    uint32_t i = names_add(&c->channels, name);

    if (c->channels.count != before) {
        c->memory = array_grow(c->memory, before, sizeof *c->memory);
        c->kept = array_grow(c->kept, before, sizeof *c->kept);
        c->memory[before] = c->kept[before] = false;
    }
    return i;
}

static struct publication *publication_of(struct checker *c,
                                          struct slice publisher,
                                          struct slice number)
{
    uint64_t p = check_number(publisher), n = check_number(number);
    uint32_t i = table_get(&c->by_name, key_of(p, n));

    return i == NOBODY ? NULL : &c->publications[i];
}

static struct slice said(struct slice word)
{
    return slice_eq(word, SLICE("-")) ? slice_make(NULL, 0) : word;
}

static void take_invoke(struct checker *c, const struct words *w)
{
    uint64_t p = check_number(w->word[2]), n = check_number(w->word[3]);
    uint32_t next = (uint32_t)c->publication_count;
    uint32_t i = table_put(&c->by_name, key_of(p, n), next);
    struct publication *m;

    if (i == next) {
        c->publications = array_grow(c->publications, c->publication_count,
                                     sizeof *c->publications);
        c->publications[c->publication_count++] = (struct publication){
            .publisher = (uint32_t)p, .number = (uint32_t)n,
            .channel = channel_add(c, w->word[4]), .version = NOBODY,
            .memory = slice_eq(w->word[5], SLICE("memory")),
            .hash = check_hex(w->word[6]), .invoked_ns = w->ns,
            .key = said(w->word[7]), .event = said(w->word[8]),
            .acked_ns = INT64_MAX, .line = w->line,
        };
    }
    m = &c->publications[i];
    m->invokes++;
    m->invoked_ns = MIN(m->invoked_ns, w->ns);
    c->memory[m->channel] |= m->memory;
    c->kept[m->channel] |= !m->memory;
}

/* What is said of a version once more has to be the same. */
static void compare(struct checker *c, struct version *v,
                    const struct version *told, line_at line)
{
    if (v->channel != told->channel || v->hash != told->hash ||
        (v->offset && told->offset && v->offset != told->offset))
        check_found(c, CHECK_NUMBERS, v->line, line,
                    "seq %lu is two different messages", v->seq);
    if (!v->offset)
        v->offset = told->offset;
    if (v->publication == NOBODY)
        v->publication = told->publication;
    v->stored |= told->stored;
}

/* Of a channel with history: nobody else has this offset. Without, it counts
 * within one life of the router. */
static void claim_offset(struct checker *c, uint32_t i)
{
    struct version *v = &c->versions[i];
    uint64_t key = key_of(key_of(v->channel, v->epoch), v->offset);
    uint32_t other;

    if (!v->offset || c->memory[v->channel])
        return;
    other = table_put(&c->by_offset, key, i);
    if (other != i)
        check_found(c, CHECK_NUMBERS, c->versions[other].line, v->line,
                    "offset %lu of " SLICE_FMT " is given twice", v->offset,
                    SLICE_ARG(c->channels.texts[v->channel]));
}

static struct version *version_add(struct checker *c,
                                   const struct version *told, line_at line)
{
    uint32_t next = (uint32_t)c->version_count;
    uint32_t i = table_put(&c->by_seq, key_of(told->epoch, told->seq), next);

    if (i == next) {
        c->versions = array_grow(c->versions, c->version_count,
                                 sizeof *c->versions);
        c->versions[c->version_count++] = *told;
        c->versions[i].line = line;
    } else {
        compare(c, &c->versions[i], told, line);
    }
    return &c->versions[i];
}

static uint64_t known(uint64_t v)
{
    return v == UINT64_MAX ? 0 : v;
}

/* CHANNEL EPOCH SEQ OFFSET HASH PUBLISHER NUMBER, from word `at` on. */
static void take_told(struct checker *c, const struct words *w, unsigned at,
                      bool stored)
{
    struct publication *m = publication_of(c, w->word[at + 5], w->word[at + 6]);
    uint64_t seq = check_number(w->word[at + 2]);
    struct version told = {
        .channel = channel_add(c, w->word[at]), .stored = stored, .seq = seq,
        .offset = known(check_number(w->word[at + 3])),
        .hash = check_hex(w->word[at + 4]), .publication = NOBODY,
    };

    if (m)
        told.publication = (uint32_t)(m - c->publications);
    if (seq == UINT64_MAX)
        return;
    told.epoch = c->last_epoch = names_add(&c->epochs, w->word[at + 1]);
    version_add(c, &told, w->line);
}

static void take_ack(struct checker *c, const struct words *w)
{
    struct publication *m = publication_of(c, w->word[2], w->word[3]);
    struct version told = { .seq = check_number(w->word[5]) };

    if (!m) {
        check_found(c, CHECK_LOG, w->line, 0, "an answer without a question");
        return;
    }
    m->acks++;
    c->figures.acked++;
    if (w->ns < m->acked_ns) {
        m->acked_ns = w->ns;
        m->ack_line = w->line;
    }
    if (told.seq == UINT64_MAX)
        return;
    told.channel = m->channel;
    told.epoch = names_add(&c->epochs, w->word[4]);
    told.offset = known(check_number(w->word[6]));
    told.hash = m->hash;
    told.publication = (uint32_t)(m - c->publications);
    version_add(c, &told, w->line);
}

static void take_failure(struct checker *c, const struct words *w)
{
    struct publication *m = publication_of(c, w->word[2], w->word[3]);

    if (!m) {
        check_found(c, CHECK_LOG, w->line, 0, "an answer without a question");
    } else if (w->kind == HISTORY_REFUSED) {
        m->refusals++;
        c->figures.refused++;
        if (slice_eq(w->word[4], SLICE("idempotency.conflict")))
            check_found(c, CHECK_ONCE, m->line, w->line,
                        "the same said again is refused as something else");
    } else {
        m->unknowns++;
        c->figures.unknown++;
    }
}

static bool listed(struct slice list, struct slice word)
{
    for (size_t at = 0; at <= list.len;) {
        const uint8_t *end = at < list.len ? memchr(list.ptr + at, ',',
                                                    list.len - at) : NULL;
        size_t n = end ? (size_t)(end - list.ptr) - at : list.len - at;

        if (slice_eq(slice_make(list.ptr + at, n), word))
            return true;
        at += n + 1;
    }
    return false;
}

static void take_fault(struct checker *c, const struct words *w)
{
    uint64_t id = check_number(w->word[3]);

    if (slice_eq(w->word[4], SLICE("start")) && w->count == 8) {
        struct slice hits = w->word[6], loses = w->word[7];

        c->faults = array_grow(c->faults, c->fault_count, sizeof *c->faults);
        c->faults[c->fault_count++] = (struct fault){
            .id = id, .start_ns = w->ns, .heal_ns = INT64_MAX,
            .hits = (listed(hits, SLICE("http")) ? EDGE_BIT_HTTP : 0u) |
                    (listed(hits, SLICE("tcp")) ? EDGE_BIT_TCP : 0u) |
                    (listed(hits, SLICE("ws")) ? EDGE_BIT_WS : 0u),
            .memory = listed(loses, SLICE("memory")),
            .epoch = listed(loses, SLICE("epoch")),
            .read = listed(loses, SLICE("read")),
            .refuse = listed(loses, SLICE("refuse")),
            .slow = listed(loses, SLICE("slow")),
        };
        return;
    }
    for (size_t i = 0; i < c->fault_count; i++)
        if (c->faults[i].id == id)
            c->faults[i].heal_ns = w->ns;
}

/* Channels and patterns that somebody only listens to, epochs that are only
 * told of. */
static void take_names(struct checker *c, const struct words *w)
{
    struct slice rest = w->word[5];

    for (size_t at = 0; at <= rest.len;) {
        const uint8_t *end = at < rest.len ? memchr(rest.ptr + at, ',',
                                                    rest.len - at) : NULL;
        size_t n = end ? (size_t)(end - rest.ptr) - at : rest.len - at;

        channel_add(c, slice_make(rest.ptr + at, n));
        at += n + 1;
    }
    if (w->kind == HISTORY_NOTICE)
        names_add(&c->epochs, w->word[6]);
}

static void take_hole(struct checker *c, const struct words *w)
{
    c->holes = array_grow(c->holes, c->hole_count, sizeof *c->holes);
    c->holes[c->hole_count++] = (struct hole){
        .channel = channel_add(c, w->word[3]),
        .from = known(check_number(w->word[4])),
        .to = check_number(w->word[5]),
        .damaged = !slice_eq(w->word[6], SLICE("trimmed")),
    };
}

static void take_policy(struct checker *c, const struct words *w)
{
    struct slice policy = w->word[4];

    c->policies = array_grow(c->policies, c->policy_count, sizeof *c->policies);
    c->policies[c->policy_count++] = (struct policy_row){
        .prefix = w->word[3],
        .policy = slice_eq(policy, SLICE("conflate"))      ? POLICY_CONFLATE
                  : slice_eq(policy, SLICE("drop-oldest")) ? POLICY_DROP_OLDEST
                                                           : POLICY_CUT,
    };
}

enum policy check_policy(const struct checker *c, uint32_t channel)
{
    struct slice name = c->channels.texts[channel];

    for (size_t i = 0; i < c->policy_count; i++) {
        struct slice prefix = c->policies[i].prefix;

        if (slice_starts(name, prefix) && name.len > prefix.len &&
            name.ptr[prefix.len] == '/')
            return c->policies[i].policy;
    }
    return POLICY_CUT;
}

static void collect(struct checker *c, void *ctx, const struct words *w)
{
    UNUSED(ctx);
    c->figures.lines++;
    switch (w->kind) {
    case HISTORY_INVOKE:
        break; /* known before all else; see invokes() */
    case HISTORY_ACK:
        take_ack(c, w);
        break;
    case HISTORY_REFUSED:
    case HISTORY_UNKNOWN:
        take_failure(c, w);
        break;
    case HISTORY_MESSAGE:
        take_told(c, w, 4, false);
        break;
    case HISTORY_SUBSCRIBE:
    case HISTORY_NOTICE:
        take_names(c, w);
        break;
    case HISTORY_STORED:
        c->figures.stored++;
        take_told(c, w, 3, true);
        break;
    case HISTORY_HOLE:
        take_hole(c, w);
        break;
    case HISTORY_FAULT:
        take_fault(c, w);
        break;
    case HISTORY_POLICY:
        take_policy(c, w);
        break;
    case HISTORY_COUNTER:
        if (slice_eq(w->word[3], SLICE("gaps_total")))
            c->gaps_counted = (int64_t)check_number(w->word[4]);
        break;
    case HISTORY_MARK:
        if (slice_eq(w->word[3], SLICE("quiet")))
            c->quiet_ns = w->ns;
        break;
    case '?':
        check_found(c, CHECK_LOG, w->line, 0, "a line that cannot be read");
        break;
    default:
        break;
    }
}

/* Who said what has to be known before it is seen, in whatever file. */
static void invokes(struct checker *c, void *ctx, const struct words *w)
{
    UNUSED(ctx);
    if (w->kind == HISTORY_INVOKE)
        take_invoke(c, w);
}

void checker_add(struct checker *c, const char *name, struct slice log)
{
    c->files = array_grow(c->files, c->file_count, sizeof *c->files);
    c->files[c->file_count++] = (struct log_file){ .name = name, .bytes = log };
}

/* ---- judging ----------------------------------------------------------------------- */

bool fault_memory(const struct fault *f) { return f->memory; }
bool fault_epoch(const struct fault *f) { return f->epoch; }
bool fault_read(const struct fault *f) { return f->read; }

bool check_loses(const struct checker *c, bool (*which)(const struct fault *))
{
    for (size_t i = 0; i < c->fault_count; i++)
        if (which(&c->faults[i]))
            return true;
    return false;
}

/* Notices that a gateway told before it died are in no counter any more, and
 * not all that it told had a reader still. */
static void judge_counters(struct checker *c)
{
    uint64_t seen = c->figures.gaps;
    bool some_died = false;

    for (size_t i = 0; i < c->fault_count; i++)
        some_died |= c->faults[i].hits != 0;
    if (c->gaps_counted == NONE || some_died)
        return;
    if (seen > (uint64_t)c->gaps_counted ||
        (c->leavers == 0 && seen < (uint64_t)c->gaps_counted))
        check_found(c, CHECK_COUNTERS, 0, 0,
                    "clients were told %lu gaps, gaps_total is %ld", seen,
                    c->gaps_counted);
}

static void gather(struct checker *c)
{
    for (size_t i = 0; i < c->file_count; i++)
        check_lines(c, i, invokes, NULL);
    for (size_t i = 0; i < c->file_count; i++)
        check_lines(c, i, collect, NULL);
}

void checker_texts(struct checker *c, struct texts_figures *ret)
{
    gather(c);
    texts_judge(c, ret);
}

uint64_t checker_judge(struct checker *c)
{
    uint64_t all = 0;

    gather(c);
    for (uint32_t i = 0; i < c->version_count; i++)
        claim_offset(c, i);
    c->figures.publications = c->publication_count;
    c->figures.versions = c->version_count;
    c->figures.faults = c->fault_count;
    versions_sort(c);
    versions_judge(c);
    chains_judge(c);
    judge_counters(c);
    for (unsigned i = 0; i < CHECK_PASSES; i++)
        all += c->figures.found[i];
    return all;
}
