#include "base/err.h"

#include <errno.h>
#include <stddef.h>

#include "base/base.h"

enum whose { PEER, HOST };

struct row {
    const char *name;
    const char *text;
    enum whose whose;
};

static const struct row rows[] = {
    { "OK", "success", HOST },
#define ERR(code, name, whose, text) [code] = { "ERR_" #name, text, whose },
#include "base/err.def"
#undef ERR
};

static const struct row *row_of(int err)
{
    static const struct row unknown = { "ERR_UNKNOWN", "unknown error", HOST };

    if (err > 0 || err <= -(int)ARRAY_LEN(rows))
        return &unknown;
    return &rows[-err];
}

const char *err_name(int err)
{
    return row_of(err)->name;
}

const char *err_text(int err)
{
    return row_of(err)->text;
}

bool err_is_peers(int err)
{
    return row_of(err)->whose == PEER;
}

static const struct {
    int sys;
    enum err err;
} from_errno[] = {
    { ENOMEM, ERR_NOMEM },      { ENOENT, ERR_NOT_FOUND },
    { EEXIST, ERR_EXISTS },     { ENOSPC, ERR_FULL },
    { EDQUOT, ERR_FULL },       { EMFILE, ERR_FULL },
    { ENFILE, ERR_FULL },       { EAGAIN, ERR_AGAIN },
    { EINTR, ERR_AGAIN },       { EACCES, ERR_DENIED },
    { EPERM, ERR_DENIED },      { EPIPE, ERR_CLOSED },
    { ECONNRESET, ERR_CLOSED }, { ETIMEDOUT, ERR_TIMEOUT },
    { EADDRINUSE, ERR_BUSY },   { EBUSY, ERR_BUSY },
    { EINVAL, ERR_BAD },        { ENAMETOOLONG, ERR_TOO_BIG },
};

int err_from_errno(int saved_errno)
{
    for (size_t i = 0; i < ARRAY_LEN(from_errno); i++)
        if (from_errno[i].sys == saved_errno)
            return from_errno[i].err;
    return ERR_IO;
}
