/* Whatever a client calls a compressed message: it comes out within its bound
 * or is refused, and leaves nothing behind for the next one; and what we pack
 * comes out as it went in. */
#include "base/check.h"
#include "gateways/ws/wsdeflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static struct wsdeflate *codec;

static void unpack_twice(struct slice in, size_t most)
{
    struct buf one = BUF_INIT, two = BUF_INIT;
    enum unpacked first = wsdeflate_unpack(codec, in, most, &one);
    enum unpacked second = wsdeflate_unpack(codec, in, most, &two);

    CHECK(first == second && first != UNPACKED_NO_MEMORY);
    CHECK(one.len <= most + 1);
    if (first == UNPACKED) {
        CHECK(one.len <= most);
        CHECK(one.len <= MAX(in.len * UNPACK_RATIO, (size_t)UNPACK_FREE));
        CHECK(slice_eq(buf_slice(&one), buf_slice(&two)));
    }
    buf_fini(&one);
    buf_fini(&two);
}

static void there_and_back(struct slice in)
{
    struct buf packed = BUF_INIT, out = BUF_INIT;

    if (wsdeflate_pack(codec, in, &packed)) {
        CHECK(packed.len < in.len);
        CHECK(wsdeflate_unpack(codec, buf_slice(&packed), in.len, &out) ==
              UNPACKED);
        CHECK(slice_eq(buf_slice(&out), in));
    } else {
        CHECK(packed.len == 0);
    }
    buf_fini(&packed);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct slice in = slice_make(bytes, len);

    if (!codec)
        codec = wsdeflate_new();
    CHECK(codec);
    unpack_twice(in, 1000);
    unpack_twice(in, 256 * KIB);
    there_and_back(in);
    return 0;
}
