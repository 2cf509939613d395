#include "base/secret.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

/* OpenSSL has a type of the name of one of our errors. */
#define ERR_STATE OPENSSL_ERR_STATE
#include <openssl/evp.h>
#include <openssl/hmac.h>
#undef ERR_STATE

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"

/* libcrypto is loaded by who first needs a digest. Its relocations alone are
 * 0.4 MB of private memory, and a process whose link is local and has no
 * secret never needs one. */
#define LIBCRYPTO "libcrypto.so." STRINGIFY(OPENSSL_SHLIB_VERSION)

static struct {
    __typeof__(HMAC) *hmac;
    __typeof__(EVP_sha256) *sha256;
    __typeof__(EVP_sha1) *sha1;
    __typeof__(EVP_Digest) *digest;
} crypto;

/* POSIX lets a function's address travel in a void pointer; C does not say
 * how it gets out of it. */
static bool find(void *lib, const char *name, void *function, size_t size)
{
    void *at = dlsym(lib, name);

    CHECK(size == sizeof at);
    memcpy(function, &at, size);
    return at != NULL;
}

static void load(void)
{
    void *lib = dlopen(LIBCRYPTO, RTLD_NOW | RTLD_LOCAL);

    if (lib && find(lib, "HMAC", &crypto.hmac, sizeof crypto.hmac) &&
        find(lib, "EVP_sha256", &crypto.sha256, sizeof crypto.sha256) &&
        find(lib, "EVP_sha1", &crypto.sha1, sizeof crypto.sha1))
        (void)find(lib, "EVP_Digest", &crypto.digest, sizeof crypto.digest);
    if (!crypto.digest)
        log_error("library.missing", "file=%s action=refuse_what_needs_it "
                  "cure=\"apt-get install libssl3\"", LIBCRYPTO);
}

/* All of it, or not. */
static bool loaded(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, load);
    return crypto.digest != NULL;
}

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
    if (!loaded())
        return ERR_IO;
    return crypto.hmac(crypto.sha256(), k, (int)key.len, data.ptr, data.len, ret, NULL)
               ? 0
               : ERR_NOMEM;
}

int sha1(struct slice data, uint8_t ret[SHA1_BYTES])
{
    if (!loaded())
        return ERR_IO;
    return crypto.digest(data.ptr, data.len, ret, NULL, crypto.sha1(), NULL)
               ? 0
               : ERR_NOMEM;
}

bool secret_equal(struct slice a, struct slice b)
{
    volatile uint8_t differ = 0; /* looked at again each time: no early end */

    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        differ = (uint8_t)(differ | (a.ptr[i] ^ b.ptr[i]));
    return differ == 0;
}

void secret_wipe(void *ptr, size_t len)
{
    explicit_bzero(ptr, len);
}
