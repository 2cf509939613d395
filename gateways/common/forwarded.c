#include "gateways/common/forwarded.h"

#include "base/err.h"
#include "gateways/common/access.h"
#include "gateways/common/gateway.h"

static const struct fault differs = {
    400, "forwarded.differs",
    "Forwarded and X-Forwarded-For name two clients; the proxy must drop the "
    "one that it does not set itself."};
static const struct fault full = {
    503, "gateway.full", "This address has as many connections as it may."};

/* ---- lists, from the right ----------------------------------------------- */

/* Is the quote at s.ptr[i] one of the text within quotes? */
static bool is_escaped(struct slice s, size_t i)
{
    size_t n = 0;

    while (n < i && s.ptr[i - 1 - n] == '\\')
        n++;
    return n % 2;
}

/* Takes the last element off; commas within quotes separate nothing. What
 * stands in front of it cannot change where it begins. */
static struct slice take_last(struct slice *list, bool quoted)
{
    struct slice all = *list;
    bool inside = false;

    for (size_t i = all.len; i-- > 0;) {
        if (quoted && all.ptr[i] == '"' && !is_escaped(all, i))
            inside = !inside;
        if (all.ptr[i] == ',' && !inside) {
            *list = slice_head(all, i);
            return slice_trim(slice_from(all, i + 1));
        }
    }
    *list = (struct slice){0};
    return slice_trim(all);
}

/* ---- Forwarded ------------------------------------------------------------ */

enum { NODE_MAX = 64 }; /* bytes; what is longer is no address */

/* text with its quotes, which it has, and escapes taken off. */
static int unquote(struct slice text, char out[NODE_MAX], struct slice *ret)
{
    size_t n = 0, i = 1;

    for (; i < text.len && text.ptr[i] != '"' && n < NODE_MAX; i++) {
        if (text.ptr[i] == '\\' && ++i == text.len)
            return ERR_BAD;
        out[n++] = (char)text.ptr[i];
    }
    if (i + 1 != text.len || text.ptr[i] != '"')
        return ERR_BAD;
    *ret = slice_make(out, n);
    return 0;
}

/* Takes the first pair off; semicolons within quotes separate nothing: there
 * may be a Host that a client made up. */
static struct slice take_pair(struct slice *element)
{
    struct slice all = *element;
    bool inside = false;

    for (size_t i = 0; i < all.len; i++) {
        if (all.ptr[i] == '"' && !(inside && is_escaped(all, i)))
            inside = !inside;
        if (all.ptr[i] == ';' && !inside) {
            *element = slice_from(all, i + 1);
            return slice_head(all, i);
        }
    }
    *element = (struct slice){0};
    return all;
}

/* The value of `for` in by=...;for=...: its quotes are still on. ERR_BAD: there
 * is none, or more than one. */
static int find_for(struct slice element, struct slice *ret)
{
    struct slice rest = element, found = {0};

    while (rest.ptr) {
        struct slice value = take_pair(&rest);
        struct slice name = slice_trim(slice_split(&value, '='));

        if (!slice_eq_nocase(name, SLICE("for")))
            continue;
        if (found.ptr || !value.ptr)
            return ERR_BAD;
        found = slice_trim(value);
    }
    *ret = found;
    return found.ptr ? 0 : ERR_BAD;
}

/* ---- the walk ------------------------------------------------------------ */

/* Nobody: a unix socket. ERR_BAD: it names none. */
static int read_node(enum field f, struct slice element, struct address *ret)
{
    struct slice node = element;
    char text[NODE_MAX];

    if (f == FIELD_FORWARDED && find_for(element, &node) < 0)
        return ERR_BAD;
    if (f == FIELD_FORWARDED && slice_starts(node, SLICE("\"")) &&
        unquote(node, text, &node) < 0)
        return ERR_BAD;
    if (slice_eq(node, SLICE("unix:"))) {
        *ret = (struct address){0};
        return 0;
    }
    return address_parse(node, ret);
}

static bool is_trusted(const struct config_edge *cfg, const struct address *a)
{
    struct endpoint e = address_endpoint(a);

    if (!address_known(a))
        e.addr.any.sa_family = AF_UNIX;
    return access_is_proxy(cfg, &e.addr.any);
}

static struct address walk(const struct request *r, enum field f,
                           const struct config_edge *cfg)
{
    struct slice line = r->field[f];
    struct address client = {0}, a;

    do {
        struct slice list = line;

        while (list.ptr) {
            struct slice element = take_last(&list, f == FIELD_FORWARDED);

            if (element.len == 0) /* "a,,b" is "a,b" */
                continue;
            if (read_node(f, element, &a) < 0)
                return client;
            if (address_known(&a))
                client = a;
            if (!is_trusted(cfg, &a))
                return client;
        }
    } while (request_line_before(r, f, &line));
    return client;
}

int forwarded_client(const struct request *r, const struct config_edge *cfg,
                     struct address *ret)
{
    bool xff = r->field[FIELD_X_FORWARDED_FOR].ptr;
    bool rfc = r->field[FIELD_FORWARDED].ptr;
    struct address a = {0}, b = {0};

    if (xff)
        a = walk(r, FIELD_X_FORWARDED_FOR, cfg);
    if (rfc)
        b = walk(r, FIELD_FORWARDED, cfg);
    if (xff && rfc && !address_equal(&a, &b))
        return ERR_BAD;
    *ret = xff ? a : b;
    return 0;
}

int forwarded_admit(struct conn *c, const struct request *r,
                    const struct fault **why)
{
    struct gateway *g = conn_gateway(c);
    struct address client;

    if (request_is_forwarded(r))
        conn_set_remote(c);
    if (!conn_peer_is_proxy(c))
        return 0;
    if (forwarded_client(r, gateway_edge_config(g), &client) < 0) {
        *why = &differs;
        return ERR_BAD;
    }
    if (request_is_forwarded(r) && !address_known(&client))
        gateway_count(g, STAT_PROXY_UNNAMED);
    if (!conn_set_forwarded(c, &client)) {
        *why = &full;
        return ERR_BAD;
    }
    return 0;
}
