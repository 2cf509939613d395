#include "base/secret.h"

#include <stdio.h>

#include "tests/t/t.h"

static const char *hex(const uint8_t *bytes, size_t n)
{
    static char text[2 * HMAC_BYTES + 1];

    for (size_t i = 0; i < n; i++)
        sprintf(text + 2 * i, "%02x", bytes[i]);
    return text;
}

TEST(hmac_agrees_with_rfc_4231)
{
    uint8_t out[HMAC_BYTES], key[131];

    EXPECT_OK(hmac_sha256(SLICE("Jefe"), SLICE("what do ya want for nothing?"),
                          out));
    EXPECT_STR(hex(out, sizeof out), "5bdcc146bf60754e6a042426089575c7"
                                     "5a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    EXPECT_OK(hmac_sha256(slice_make(key, sizeof key),
                          SLICE("Test Using Larger Than Block-Size Key - Hash "
                                "Key First"), out));
    EXPECT_STR(hex(out, sizeof out), "60e431591ee0b67f0d8a26aacbf5b77f"
                                     "8e0bc6213728c5140546040f0ee37f54");
}

TEST(an_empty_key_and_no_data_are_possible)
{
    uint8_t out[HMAC_BYTES];

    EXPECT_OK(hmac_sha256(slice_make(NULL, 0), slice_make(NULL, 0), out));
    EXPECT_STR(hex(out, sizeof out), "b613679a0814d9ec772f95d778c35fc5"
                                     "ff1697c493715653c6c712144292c5ad");
}

TEST(sha1_agrees_with_the_handshake_of_rfc_6455)
{
    uint8_t out[SHA1_BYTES];

    EXPECT_OK(sha1(SLICE("dGhlIHNhbXBsZSBub25jZQ=="
                         "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"), out));
    EXPECT_STR(hex(out, sizeof out),
               "b37a4f2cc0624f1690f64606cf385945b2bec4ea");
}

TEST(secrets_are_equal_only_in_every_byte)
{
    EXPECT(secret_equal(SLICE("abcdef"), SLICE("abcdef")));
    EXPECT(!secret_equal(SLICE("abcdef"), SLICE("abcdeg")));
    EXPECT(!secret_equal(SLICE("bbcdef"), SLICE("abcdef")));
    EXPECT(!secret_equal(SLICE("abcde"), SLICE("abcdef")));
    EXPECT(secret_equal(slice_make(NULL, 0), SLICE("")));
}

TEST(random_bytes_fill_all_and_differ)
{
    uint8_t a[1000] = { 0 }, b[1000] = { 0 };
    size_t zeros = 0;

    random_bytes(a, sizeof a);
    random_bytes(b, sizeof b);
    EXPECT(memcmp(a, b, sizeof a) != 0);
    for (size_t i = 0; i < sizeof a; i++)
        zeros += a[i] == 0;
    EXPECT(zeros < 40);
    EXPECT(random_u64() != random_u64());
    random_bytes(a, 0);
}

TEST(wiped_memory_is_zero)
{
    char text[] = "secret";

    secret_wipe(text, sizeof text);
    for (size_t i = 0; i < sizeof text; i++)
        EXPECT_INT(text[i], 0);
}

static bool libcrypto_is_mapped(void)
{
    FILE *f = fopen("/proc/self/maps", "re");
    bool mapped = false;
    char line[512];

    EXPECT(f != NULL);
    while (fgets(line, sizeof line, f))
        mapped |= strstr(line, "libcrypto.so") != NULL;
    fclose(f);
    return mapped;
}

TEST(who_needs_no_digest_does_not_pay_for_the_library)
{
    uint8_t digest[SHA1_BYTES];

    EXPECT(random_u64() != random_u64());
    EXPECT(secret_equal(SLICE("a"), SLICE("a")));
    EXPECT(!libcrypto_is_mapped());
    EXPECT_OK(sha1(SLICE("abc"), digest));
    EXPECT(libcrypto_is_mapped());
}
