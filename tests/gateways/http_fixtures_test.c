/* The parser before cases that nobody here wrote: the fixtures of llhttp, the
 * parser of node, and header lines that disguise a transfer coding. Each is
 * read whole, and again cut in two at every byte. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "gateways/common/request.h"
#include "tests/t/t.h"

static const struct head_limits limits = {8192, 16384, 100};

/* ---- a reader of requests in a row, as a connection is ------------------ */

struct outcome {
    int status;        /* of the first refusal, or 0 */
    unsigned messages; /* requests read to the end */
    size_t body;       /* bytes of all bodies, of those not at an end, too */
    bool closed;       /* nothing is read behind the last request */
};

struct reader {
    struct outcome o;
    size_t at; /* where in the input what comes next begins */
    struct head_scan scan;
    struct request request;
    bool in_body;
    uint64_t left; /* of a body with a length */
    struct chunked chunked;
};

static int read_head(struct reader *r, struct slice in, const struct fault **why)
{
    size_t len = 0;
    int rc = in.len ? head_scan(&r->scan, in, &limits, &len, why) : ERR_AGAIN;

    if (rc == 0)
        rc = request_parse(&r->request, slice_head(in, len), why);
    if (rc < 0)
        return rc;
    r->at += len;
    r->scan = (struct head_scan){.at = 0};
    r->chunked = (struct chunked){.state = 0};
    r->left = r->request.length;
    r->in_body = true;
    return 0;
}

static int read_body(struct reader *r, struct slice in, const struct fault **why)
{
    struct buf body = BUF_INIT;
    size_t used = 0;
    int rc = 0;

    if (r->request.flags & REQUEST_CHUNKED) {
        rc = chunked_feed(&r->chunked, in, &body, 1 << 20, &used, why);
    } else {
        used = (size_t)MIN(r->left, (uint64_t)in.len);
        buf_add(&body, slice_head(in, used));
        r->left -= used;
        rc = r->left ? ERR_AGAIN : 0;
    }
    r->at += used;
    r->o.body += body.len;
    buf_fini(&body);
    if (rc < 0)
        return rc;
    r->o.messages++;
    r->o.closed = !request_keeps_alive(&r->request);
    r->in_body = false;
    return 0;
}

/* in: everything that has come so far. */
static void read_on(struct reader *r, struct slice in)
{
    const struct fault *why = NULL;
    int rc = 0;

    while (rc == 0 && r->o.status == 0 && !r->o.closed) {
        struct slice rest = slice_from(in, r->at);

        rc = r->in_body ? read_body(r, rest, &why) : read_head(r, rest, &why);
    }
    if (rc == ERR_BAD)
        r->o.status = (int)why->status;
}

static struct outcome read_cut(struct slice in, size_t cut)
{
    struct reader r = {.at = 0};

    read_on(&r, slice_head(in, cut));
    read_on(&r, in);
    return r.o;
}

static bool same(struct outcome a, struct outcome b)
{
    return a.status == b.status && a.messages == b.messages &&
           a.body == b.body && a.closed == b.closed;
}

static struct outcome read_byte_by_byte(struct slice in)
{
    struct reader r = {.at = 0};

    for (size_t n = 1; n <= in.len; n++)
        read_on(&r, slice_head(in, n));
    return r.o;
}

/* However it is cut: the same. */
static struct outcome read_all(const char *name, struct slice in)
{
    struct outcome whole = read_cut(in, in.len);

    for (size_t cut = 0; cut < in.len; cut++)
        if (!same(whole, read_cut(in, cut)))
            test_fail(__FILE__, __LINE__, "%s: cut at %zu", name, cut);
    if (!same(whole, read_byte_by_byte(in)))
        test_fail(__FILE__, __LINE__, "%s: byte by byte", name);
    return whole;
}

/* ---- the fixtures of llhttp --------------------------------------------- */

/* Where we do not read what llhttp reads: what happens here, and why that is
 * right. "method" stands for all of that group. */
static const struct deviation {
    const char *name;
    struct outcome here;
    const char *why;
} deviations[] = {
    {"`Content-Length` with zeroes", {.status = 400},
     "RFC 9112 11.2: digits, but octal to some; not read in two ways"},
    {"`Content-Length` with follow-up headers", {.status = 400},
     "RFC 9112 11.2: the same"},
    {"No HTTP version", {.status = 400},
     "RFC 9112 3: a request line has a version; HTTP/0.9 is not spoken"},
    {"Quotes in URI", {.status = 400},
     "RFC 9112 3.2: a quotation mark is in no form of a target"},
    {"Fragment in URI", {.status = 400},
     "RFC 9112 3.2: no form of a target has a fragment"},
    {"Trailing headers", {.body = 11, .status = 400},
     "RFC 9110 6.5.1: Content-Type may not come as a trailer"},
    {"POST with `chunked` as last transfer-encoding", {.status = 400},
     "RFC 9112 6.1: codings that are not understood need not be taken"},
    {"POST with `chunked` as last transfer-encoding (multiple headers)",
     {.status = 400}, "RFC 9112 6.1: the same"},
    {"Should parse multiple events", {.status = 501, .messages = 2, .body = 7},
     "RFC 9110 9.1: PATCH is not known here"},
    {"Underscore in hostname", {.status = 501},
     "RFC 9110 9.3.6: CONNECT is not known here"},
    {"CONNECT request", {.status = 501}, "RFC 9110 9.3.6: the same"},
    {"SOURCE request with ICE", {.status = 400},
     "RFC 9112 2.3: the protocol's name is HTTP"},
    {"OPTIONS request with RTSP", {.status = 400}, "RFC 9112 2.3: the same"},
    {"ANNOUNCE request with RTSP", {.status = 400}, "RFC 9112 2.3: the same"},
    {"method", {.status = 501}, "RFC 9110 9.1: a method not known here"},
    /* No deviations of the parser, but of how the fixtures are run there. */
    {"Content-Length reset when no body is received", {.body = 43},
     "RFC 9112 6.3: 123 bytes follow, whatever they look like; there the body "
     "is skipped"},
    {"CRLF between requests, explicit `close`", {.messages = 1, .body = 4},
     "RFC 9112 6.2: Content-Length says 4; the file counts another text"},
};

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsString(v) ? v->valuestring : "";
}

static unsigned number_of(const cJSON *object, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsNumber(v) ? (unsigned)v->valueint : 0;
}

static const struct deviation *deviation_of(const cJSON *c)
{
    const char *name = text_of(c, "name"), *group = text_of(c, "group");

    for (size_t i = 0; i < ARRAY_LEN(deviations); i++)
        if (strcmp(deviations[i].name, name) == 0 ||
            strcmp(deviations[i].name, group) == 0)
            return &deviations[i];
    return NULL;
}

/* Strings of the files are Latin-1. */
static struct buf latin1(const char *utf8)
{
    struct buf b = BUF_INIT;

    for (const uint8_t *p = (const uint8_t *)utf8; *p; p++) {
        if (*p >= 0xc0 && p[1]) {
            buf_add_byte(&b, (uint8_t)((*p & 3) << 6 | (p[1] & 0x3f)));
            p++;
        } else {
            buf_add_byte(&b, *p);
        }
    }
    return b;
}

static bool is_strict(const cJSON *c)
{
    return strcmp(text_of(c, "mode"), "request") == 0;
}

/* Not violations but that parser's way to hand over: upgrades, and data behind
 * a request that closes, which here nobody reads. */
static bool must_fail(const cJSON *c)
{
    const char *reason = text_of(c, "reason");

    return *reason && !strstr(reason, "Pause on") &&
           strcmp(reason, "Data after `Connection: close`") != 0;
}

/* The file leaves out the end of most heads and trailers: it is put back. */
static struct buf raw_of(const cJSON *c)
{
    struct buf raw = latin1(text_of(c, "raw"));

    bool line_ends = slice_ends(buf_slice(&raw), SLICE("\r\n"));

    if (must_fail(c) || (!line_ends && !is_strict(c)))
        buf_add_str(&raw, "\r\n\r\n");
    else if (line_ends && !slice_ends(buf_slice(&raw), SLICE("\r\n\r\n")))
        buf_add_str(&raw, "\r\n");
    return raw;
}

static bool reads_as_there(struct outcome o, const cJSON *c)
{
    return o.status == 0 && o.messages == number_of(c, "messages_complete") &&
           o.body == number_of(c, "body_bytes");
}

enum result { AS_THERE, REFUSED_AS_THERE, DEVIATES, WRONG };

static enum result check_strict(const cJSON *c, struct outcome o)
{
    const struct deviation *d = deviation_of(c);

    if (must_fail(c))
        return o.status >= 400 ? REFUSED_AS_THERE : WRONG;
    if (!d)
        return reads_as_there(o, c) ? AS_THERE : WRONG;
    return o.status == d->here.status && o.messages == d->here.messages &&
           o.body == d->here.body ? DEVIATES : WRONG;
}

/* What llhttp reads when it is told to be lenient: we are not, and refuse; but
 * what we do read we read as it does. */
static enum result check_lenient(const cJSON *c, struct outcome o)
{
    if (o.status >= 400)
        return REFUSED_AS_THERE;
    return !must_fail(c) && reads_as_there(o, c) ? AS_THERE : WRONG;
}

static void show(const cJSON *c, struct outcome o, enum result result)
{
    const struct deviation *d = deviation_of(c);

    if (result == DEVIATES)
        printf("    %s: %s\n", text_of(c, "name"), d->why);
    if (result == WRONG)
        test_fail(__FILE__, __LINE__, "%s: status %d, %u requests, %zu bytes",
                  text_of(c, "name"), o.status, o.messages, o.body);
}

static void run_fixtures(bool strict, unsigned count[WRONG])
{
    size_t len;
    char *text = test_data("conformance/llhttp-request-fixtures.json", &len);
    cJSON *list = cJSON_ParseWithLength(text, len);
    const cJSON *c;

    cJSON_ArrayForEach(c, list) {
        struct buf raw;
        struct outcome o;
        enum result result;

        if (is_strict(c) != strict)
            continue;
        raw = raw_of(c);
        o = read_all(text_of(c, "name"), buf_slice(&raw));
        result = strict ? check_strict(c, o) : check_lenient(c, o);
        show(c, o, result);
        count[result]++;
        buf_fini(&raw);
    }
    cJSON_Delete(list);
    free(text);
}

TEST(what_llhttp_reads_is_read_as_there_or_refused_for_a_reason)
{
    unsigned count[WRONG + 1] = {0};

    run_fixtures(true, count);
    printf("    as there %u, refused as there %u, deviates %u\n",
           count[AS_THERE], count[REFUSED_AS_THERE], count[DEVIATES]);
    EXPECT_INT(count[AS_THERE] + count[REFUSED_AS_THERE] + count[DEVIATES], 131);
}

TEST(what_llhttp_reads_when_lenient_is_refused_or_read_as_there)
{
    unsigned count[WRONG + 1] = {0};

    run_fixtures(false, count);
    printf("    as there %u, refused %u\n", count[AS_THERE],
           count[REFUSED_AS_THERE]);
    EXPECT_INT(count[AS_THERE] + count[REFUSED_AS_THERE], 31);
}

/* ---- smuggling ---------------------------------------------------------- */

/* Each of these lines stands beside a Content-Length: whoever read it as a
 * transfer coding would find another end of the body. */
TEST(no_disguise_of_a_transfer_coding_passes_beside_a_length)
{
    size_t len;
    char *text = test_data("conformance/smuggling-te-gadgets.json", &len);
    cJSON *list = cJSON_ParseWithLength(text, len);
    const cJSON *c;
    unsigned passed = 0, tried = 0;

    cJSON_ArrayForEach(c, list) {
        struct buf head = latin1("POST / HTTP/1.1\r\nHost: a\r\n"
                                 "Content-Length: 5\r\n");
        struct buf line = latin1(text_of(c, "te_header"));
        struct reader r = {.at = 0};

        buf_add(&head, buf_slice(&line));
        buf_add_str(&head, "\r\n\r\n0\r\n\r\n");
        read_on(&r, buf_slice(&head));
        /* Content-Encoding is another field; 415 is the edge's to say. */
        if (r.o.status == 0 && !r.request.field[FIELD_CONTENT_ENCODING].ptr) {
            printf("    passed: %s\n", text_of(c, "name"));
            passed++;
        }
        tried++;
        buf_fini(&head);
        buf_fini(&line);
    }
    EXPECT_INT(tried, 1703);
    EXPECT_INT(passed, 0);
    cJSON_Delete(list);
    free(text);
}
