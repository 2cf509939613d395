#include "gateways/ws/extension.h"

#include "base/err.h"
#include "tests/t/t.h"

#define PMD "permessage-deflate"
#define NO_TAKEOVER \
    "server_no_context_takeover; client_no_context_takeover"

/* The answer to these offers, "" for none, "bad" when they are no list. */
static const char *answer(const char *offers)
{
    static struct buf out;
    struct deflate_terms t;

    buf_reset(&out);
    if (extension_choose(slice_str(offers), &t) < 0)
        return "bad";
    extension_answer(&out, &t);
    return buf_text(&out);
}

static const char *const taken =
    "Sec-WebSocket-Extensions: " PMD "; " NO_TAKEOVER "\r\n";

static void expect_window(const char *offers, const char *bits)
{
    struct buf want = BUF_INIT;

    buf_addf(&want, "Sec-WebSocket-Extensions: " PMD "; " NO_TAKEOVER
             "; server_max_window_bits=%s\r\n", bits);
    EXPECT_STR(answer(offers), buf_text(&want));
    buf_fini(&want);
}

TEST(an_offer_is_taken_and_both_sides_forget)
{
    static const char *const offers[] = {
        PMD,
        "  " PMD "\t",
        PMD "; client_max_window_bits",
        PMD ";client_max_window_bits=8",
        PMD "; client_max_window_bits=\"15\"",
        PMD "; client_no_context_takeover",
        PMD " ; server_no_context_takeover ; client_no_context_takeover",
        ", " PMD " ,,",
    };

    for (size_t i = 0; i < ARRAY_LEN(offers); i++)
        EXPECT_STR(answer(offers[i]), taken);
}

TEST(a_window_that_the_client_names_is_said_again)
{
    expect_window(PMD "; server_max_window_bits=8", "8");
    expect_window(PMD "; server_max_window_bits=\"9\"", "9");
    expect_window(PMD "; client_max_window_bits; server_max_window_bits = 12",
                  "12");
    expect_window(PMD "; server_max_window_bits=15", "15");
}

TEST(an_offer_that_cannot_be_kept_is_passed_over)
{
    static const char *const offers[] = {
        "",
        "x-webkit-deflate-frame",
        "permessage-bzip2; level=9",
        "Permessage-Deflate",
        PMD "; server_no_context_takeover=1",
        PMD "; client_no_context_takeover=\"\\1\"",
        PMD "; server_max_window_bits",
        PMD "; server_max_window_bits=7",
        PMD "; server_max_window_bits=16",
        PMD "; server_max_window_bits=010",
        PMD "; server_max_window_bits=+9",
        PMD "; server_max_window_bits=9.0",
        PMD "; server_max_window_bits=18446744073709551624",
        PMD "; server_max_window_bits=9; server_max_window_bits=9",
        PMD "; client_max_window_bits=7",
        PMD "; client_max_window_bits=x",
        PMD "; client_max_window_bits; client_max_window_bits=9",
        PMD "; client_no_context_takeover; client_no_context_takeover",
        PMD "; server_max_window_size=9",
        PMD "; no_context_takeover",
    };

    for (size_t i = 0; i < ARRAY_LEN(offers); i++)
        EXPECT_STR(answer(offers[i]), "");
}

TEST(of_several_offers_the_first_that_can_be_kept_is_taken)
{
    EXPECT_STR(answer("foo, bar; a=b; c=\"d\", " PMD), taken);
    EXPECT_STR(answer(PMD "; unknown, " PMD), taken);
    EXPECT_STR(answer(PMD ", " PMD "; server_max_window_bits=9"), taken);
    expect_window(PMD "; server_max_window_bits=16, "
                  PMD "; server_max_window_bits=10, " PMD, "10");
}

TEST(what_is_no_list_is_bad)
{
    static const char *const lists[] = {
        ";", "=", PMD ";", PMD "; =9", PMD "; a=", PMD "; a=\"", PMD " x",
        PMD "; a=\"b", PMD "; a=\"\"", PMD "; a=\"b c\"", PMD "; a=\"b\\", PMD "; a b",
        PMD ", ;", "(comment)", "a/b", PMD "; a=b=c", "\"" PMD "\"",
        PMD ", \x80",
    };

    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        EXPECT_STR(answer(lists[i]), "bad");
    EXPECT_ERR(extension_choose(SLICE("a\0b"), &(struct deflate_terms){ 0 }),
               ERR_BAD);
}
