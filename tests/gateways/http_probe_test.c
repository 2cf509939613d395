/* The cases of a foreign judge of HTTP/1.1 servers, run against the edge in
 * memory. Its tables give P (pass), W (warning) or F (failure) by status. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "gateways/http/http.h"
#include "tests/t/fake_conn.h"
#include "tests/t/t.h"

enum { WARNINGS_ALLOWED = 8, WHOLE = 1 << 20 };

/* Stands for a zero byte, which would end a string of the JSON library. */
#define ZERO "@@NL@@"

static const cJSON *get(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static bool is_true(const cJSON *object, const char *key)
{
    return cJSON_IsTrue(get(object, key));
}

/* Strings are Latin-1, with the host to be filled in. */
static void add_text(struct buf *b, const char *utf8)
{
    for (const char *p = utf8; *p; p++) {
        uint8_t c = (uint8_t)*p;

        if (strncmp(p, "@@HOST@@", 8) == 0) {
            buf_add_str(b, "localhost:8000");
            p += 7;
        } else if (strncmp(p, ZERO, strlen(ZERO)) == 0) {
            buf_add_byte(b, 0);
            p += strlen(ZERO) - 1;
        } else if (c >= 0xc0 && p[1]) {
            buf_add_byte(b, (uint8_t)((c & 3) << 6 | (p[1] & 0x3f)));
            p++;
        } else {
            buf_add_byte(b, c);
        }
    }
}

/* A text, a run [char, count], or a list of these. */
static void add_part(struct buf *b, const cJSON *part)
{
    const cJSON *item;

    if (cJSON_IsString(part)) {
        add_text(b, part->valuestring);
        return;
    }
    if (cJSON_GetArraySize(part) == 2 &&
        cJSON_IsNumber(cJSON_GetArrayItem(part, 1))) {
        for (int n = cJSON_GetArrayItem(part, 1)->valueint; n > 0; n--)
            add_text(b, cJSON_GetArrayItem(part, 0)->valuestring);
        return;
    }
    cJSON_ArrayForEach(item, part)
        add_part(b, item);
}

/* The first answer behind any 1xx, or NULL. */
static const char *answer_of(const struct conn *c)
{
    const char *text = fake_text(c);

    while (strncmp(text, "HTTP/1.1 1", 10) == 0) {
        text = strstr(text, "\r\n\r\n");
        if (!text)
            return NULL;
        text += 4;
    }
    return *text ? text : NULL;
}

static int status_of_answer(const char *answer)
{
    return answer ? atoi(answer + strlen("HTTP/1.1 ")) : 0;
}

/* Interim ones aside. */
static unsigned answers(const struct conn *c)
{
    const char *text = fake_text(c);
    unsigned n = 0;

    while ((text = strstr(text, "HTTP/1.1 "))) {
        text += strlen("HTTP/1.1 ");
        n += *text != '1';
    }
    return n;
}

/* ---- verdicts ----------------------------------------------------------- */

static char by_status(const cJSON *table, int status, bool closed)
{
    const cJSON *row, *n;
    const cJSON *otherwise = get(table, "else");

    if (get(table, "open") || get(table, "closed"))
        return by_status(get(table, closed ? "closed" : "open"), status,
                         closed);
    cJSON_ArrayForEach(row, table)
        cJSON_ArrayForEach(n, row)
            if (cJSON_IsNumber(n) && n->valueint == status)
                return row->string[0];
    return otherwise ? otherwise->valuestring[0] : 'F';
}

static char by_silence(const cJSON *table, bool closed)
{
    return get(table, closed ? "closed" : "timeout")->valuestring[0];
}

/* Where the judge also looks at fields and body, so do we. */
static const struct {
    const char *id;
    int status;
    const char *has;  /* in the answer */
    const char *ends; /* what it ends with */
} also_reads[] = {
    {"COMP-POST-CL-BODY", 200, "\r\n\r\n", "\r\n\r\nhello"},
    {"COMP-CHUNKED-BODY", 200, "\r\n\r\n", "\r\n\r\nhello"},
    {"COMP-CHUNKED-MULTI", 200, "\r\n\r\n", "\r\n\r\nhello world"},
    {"COMP-CHUNKED-EXTENSION", 200, "\r\n\r\n", "\r\n\r\nhello"},
    {"COMP-CHUNKED-TRAILER-VALID", 200, "\r\n\r\n", "\r\n\r\nhello"},
    {"COMP-CHUNKED-HEX-UPPERCASE", 200, "\r\n\r\n", "\r\n\r\nhelloworld"},
    {"COMP-HEAD-NO-BODY", 200, "Content-Length: ", "\r\n\r\n"},
    {"COMP-405-ALLOW", 405, "\r\nAllow: GET, HEAD, POST, OPTIONS\r\n", ""},
    {"COMP-DATE-HEADER", 200, "\r\nDate: ", ""},
    {"COMP-DATE-FORMAT", 200, " GMT\r\n", ""},
    {"COMP-OPTIONS-ALLOW", 204, "\r\nAllow: ", "\r\n\r\n"},
    {"COMP-NO-CL-IN-204", 204, "\r\nAllow: ", "\r\n\r\n"},
    {"COMP-CONTENT-TYPE", 200, "\r\nContent-Type: text/plain", ""},
};

/* 'P', 'F', or 0: the table decides. */
static char by_reading(const char *id, const char *answer)
{
    for (size_t i = 0; i < ARRAY_LEN(also_reads); i++) {
        if (strcmp(also_reads[i].id, id) != 0)
            continue;
        return answer && status_of_answer(answer) == also_reads[i].status &&
                       strstr(answer, also_reads[i].has) &&
                       slice_ends(slice_str(answer),
                                  slice_str(also_reads[i].ends))
                   ? 'P' : 'F';
    }
    return 0;
}

/* piece: how many bytes arrive at a time. */
static char judge_single(const cJSON *test, size_t piece)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);
    struct buf b = BUF_INIT;
    const char *answer;
    char verdict;

    add_part(&b, get(test, "send"));
    fake_send_pieces(c, buf_slice(&b), piece);
    answer = answer_of(c);
    verdict = by_reading(get(test, "id")->valuestring, answer);
    if (!verdict)
        verdict = answer ? by_status(get(test, "status"),
                                     status_of_answer(answer),
                                     fake_is_closed(c))
                         : by_silence(get(test, "no_reply"),
                                      fake_is_closed(c));
    buf_fini(&b);
    fake_free(f);
    return verdict;
}

/* Outcomes of the steps ("400+closed > ..."), looked up in the verdicts. */
static char by_sequence(const cJSON *table, const char *outcome)
{
    const cJSON *row, *item;

    cJSON_ArrayForEach(row, table)
        cJSON_ArrayForEach(item, row)
            if (strcmp(item->valuestring, outcome) == 0)
                return row->string[0];
    return get(table, "else")->valuestring[0];
}

static char judge_sequence(const cJSON *test, size_t size)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);
    struct buf outcome = BUF_INIT;
    const cJSON *step, *piece;
    char verdict;

    cJSON_ArrayForEach(step, get(test, "steps")) {
        struct buf b = BUF_INIT;
        const char *answer;

        if (fake_is_closed(c) || cJSON_IsString(step))
            break;
        fake_forget_out(c);
        cJSON_ArrayForEach(piece, step)
            add_part(&b, get(piece, "send"));
        fake_send_pieces(c, buf_slice(&b), size);
        buf_fini(&b);
        answer = answer_of(c);
        buf_add_str(&outcome, outcome.len ? " > " : "");
        if (answer)
            buf_addf(&outcome, "%d+%s", status_of_answer(answer),
                     fake_is_closed(c) ? "closed" : "open");
        else
            buf_addf(&outcome, "none+%s",
                     fake_is_closed(c) ? "closed" : "timeout");
        if (answers(c) > 1)
            printf("    %s: two answers\n", get(test, "id")->valuestring);
        EXPECT(answers(c) <= 1);
    }
    verdict = by_sequence(get(test, "verdict"), buf_text(&outcome));
    buf_fini(&outcome);
    fake_free(f);
    return verdict;
}

static char judge(const cJSON *test, size_t piece)
{
    return get(test, "steps") ? judge_sequence(test, piece)
                              : judge_single(test, piece);
}

/* The escape has as many characters as what takes its place. */
static void keep_zeros(char *json)
{
    while ((json = strstr(json, "\\u0000")))
        memcpy(json, ZERO, strlen(ZERO));
}

TEST(the_judge_of_http_1_1_finds_no_fault)
{
    size_t len;
    char *text = test_data("conformance/http1-probe-cases.json", &len);
    unsigned scored = 0, warned = 0, failed = 0;
    const cJSON *test;
    cJSON *list;

    keep_zeros(text);
    list = cJSON_ParseWithLength(text, len);
    EXPECT_INT(cJSON_GetArraySize(list), 215);
    cJSON_ArrayForEach(test, list) {
        char verdict = judge(test, WHOLE);
        EXPECT_INT(judge(test, 1), verdict);
        if (!is_true(test, "scored"))
            continue;
        scored++;
        warned += verdict == 'W';
        failed += verdict != 'P' && verdict != 'W';
        if (verdict != 'P')
            printf("    %c %s\n", verdict, get(test, "id")->valuestring);
    }
    printf("    scored=%u warned=%u failed=%u\n", scored, warned, failed);
    EXPECT_INT(failed, 0);
    EXPECT(warned <= WARNINGS_ALLOWED);
    EXPECT_INT(scored, 161);
    cJSON_Delete(list);
    free(text);
}
