/* publish_status.h - what became of a publication, or of a question, in terms
 * that every edge can put into its own words. */
#ifndef TOUCHLINE_PROTO_PUBLISH_STATUS_H
#define TOUCHLINE_PROTO_PUBLISH_STATUS_H

enum publish_status {
    PUBLISHED_OK,
    PUBLISHED_DUPLICATE, /* taken before; the first answer again */
    PUBLISHED_BAD,       /* 400 */
    PUBLISHED_DENIED,    /* 403 */
    PUBLISHED_NOT_FOUND, /* 404 */
    PUBLISHED_CONFLICT,  /* 409 */
    PUBLISHED_TOO_BIG,   /* 413 */
    PUBLISHED_TOO_MANY,  /* 429 */
    PUBLISHED_UNAVAILABLE, /* 503: certainly not taken */
    PUBLISHED_UNKNOWN,     /* 503: may have been taken */
    PUBLISHED_STATUSES
};

#endif
