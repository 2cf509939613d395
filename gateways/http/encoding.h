/* encoding.h - Accept-Encoding: gzip, or as it is? RFC 9110 12.5.3.
 * Threads: any. */
#ifndef TOUCHLINE_HTTP_ENCODING_H
#define TOUCHLINE_HTTP_ENCODING_H

#include <stdbool.h>

#include "gateways/common/request.h"

struct encoding {
    bool gzip;  /* is acceptable, and not less wanted than plain */
    bool plain; /* is acceptable */
};

/* All lines of the field are one list; what makes no sense in it is passed
 * over, and of what stands there twice the lower weight counts. Without the
 * field, as for who names nothing of ours: plain. */
struct encoding encoding_read(const struct request *r);

#endif
