#include "base/secret.h"

#include <errno.h>
#include <sys/random.h>

/* OpenSSL has a type of the name of one of our errors. */
#define ERR_STATE OPENSSL_ERR_STATE
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#undef ERR_STATE

#include "base/check.h"
#include "base/err.h"

void random_bytes(void *out, size_t len)
{
    uint8_t *at = out;

    while (len) {
        ssize_t n = getrandom(at, len, 0);

        if (n < 0) {
            CHECK(errno == EINTR);
            continue;
        }
        at += n;
        len -= (size_t)n;
    }
}

uint64_t random_u64(void)
{
    uint64_t v;

    random_bytes(&v, sizeof v);
    return v;
}

int hmac_sha256(struct slice key, struct slice data, uint8_t ret[HMAC_BYTES])
{
    static const uint8_t nothing;
    const void *k = key.ptr ? key.ptr : &nothing;

    /* Keys are configured; the cast cannot cut one that fits in memory. */
    CHECK(key.len <= INT32_MAX);
    return HMAC(EVP_sha256(), k, (int)key.len, data.ptr, data.len, ret, NULL)
               ? 0
               : ERR_NOMEM;
}

int sha1(struct slice data, uint8_t ret[SHA1_BYTES])
{
    return EVP_Digest(data.ptr, data.len, ret, NULL, EVP_sha1(), NULL)
               ? 0
               : ERR_NOMEM;
}

bool secret_equal(struct slice a, struct slice b)
{
    return a.len == b.len
           && (a.len == 0 || CRYPTO_memcmp(a.ptr, b.ptr, a.len) == 0);
}

void secret_wipe(void *ptr, size_t len)
{
    OPENSSL_cleanse(ptr, len);
}
