#include "gateways/common/outvec.h"

#include "base/check.h"

void outvec_reset(struct outvec *v)
{
    v->iovs = v->marks = 0;
    v->bytes = v->scratch_used = 0;
    v->to_out = false;
}

bool outvec_room(const struct outvec *v)
{
    return v->iovs + OUTVEC_PUT_IOV <= OUTVEC_IOV &&
           v->marks < OUTVEC_MARKS && v->bytes < OUTVEC_BYTES &&
           v->scratch_used + 512 <= OUTVEC_SCRATCH;
}

void outvec_bytes(struct outvec *v, struct slice bytes)
{
    CHECK(v->iovs < OUTVEC_IOV);
    if (bytes.len == 0)
        return;
    v->iov[v->iovs++] = (struct iovec){(void *)(uintptr_t)bytes.ptr,
                                       bytes.len};
    v->bytes += bytes.len;
}

void outvec_wire(struct outvec *v, const struct wire *w)
{
    outvec_bytes(v, slice_make(w->bytes, w->len));
}

void outvec_part(struct outvec *v, const struct wire *w, size_t from, size_t n)
{
    CHECK(from <= w->len && n <= w->len - from);
    outvec_bytes(v, slice_make(w->bytes + from, n));
}

unsigned outvec_messages(const struct outvec *v)
{
    return v->marks;
}

uint8_t *outvec_scratch(struct outvec *v, size_t len)
{
    uint8_t *at = v->scratch + v->scratch_used;

    if (len > OUTVEC_SCRATCH - v->scratch_used)
        return NULL;
    v->scratch_used += len;
    outvec_bytes(v, slice_make(at, len));
    return at;
}

void outvec_mark(struct outvec *v, uint64_t tick)
{
    CHECK(v->marks < OUTVEC_MARKS);
    v->mark[v->marks++] = (struct outvec_mark){tick, v->bytes};
}

void outvec_rewind(struct outvec *v, unsigned iovs, size_t bytes)
{
    CHECK(iovs <= v->iovs && bytes <= v->bytes);
    v->iovs = iovs;
    v->bytes = bytes;
}

void outvec_copy(const struct outvec *v, size_t from, size_t to,
                 struct buf *b)
{
    size_t at = 0;

    for (unsigned i = 0; i < v->iovs && at < to; i++) {
        size_t len = v->iov[i].iov_len;
        size_t skip = from > at ? MIN(from - at, len) : 0;
        size_t end = MIN(len, to - at);

        if (skip < end)
            buf_add(b, slice_make((uint8_t *)v->iov[i].iov_base + skip,
                                  end - skip));
        at += len;
    }
}
