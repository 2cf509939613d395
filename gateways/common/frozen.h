/* frozen.h - the words in which freeze.c writes a gateway down and thaw.c reads
 * it: a change here is another FREEZE_FORMAT.
 * Threads: any. */
#ifndef TOUCHLINE_GATEWAYS_FROZEN_H
#define TOUCHLINE_GATEWAYS_FROZEN_H

#include "gateways/common/deliver.h"
#include "proto/msg.h"

enum frozen_conn { /* of a connection, besides enum guest_flag */
    FROZEN_WANT_DRAINED = 1u << 0,
    FROZEN_PAUSED = 1u << 1,
    FROZEN_MANY = 1u << 2,
    FROZEN_PINGS = 1u << 3,
    FROZEN_PINGS_NEW = 1u << 4,
    FROZEN_LAGS = 1u << 5,
    FROZEN_CONN_FLAGS = (1u << 6) - 1,
};

enum frozen_start { /* of a start */
    FROZEN_SILENT = 1u << 0,
    FROZEN_HAS_SINCE = 1u << 1,
    FROZEN_LATE = 1u << 2,
    FROZEN_SAID = 1u << 3,
    FROZEN_GONE = 1u << 4,
    FROZEN_ASKED = 1u << 5,
    FROZEN_HAS_REASON = 1u << 6,
    FROZEN_ALL = 1u << 7,
    FROZEN_START_FLAGS = (1u << 8) - 1,
};

enum frozen_start_topic { /* of a channel of it */
    FROZEN_GAP = 1u << 0,
    FROZEN_MISSED = 1u << 1,
    FROZEN_PAGED = 1u << 2,
    FROZEN_HELD = 1u << 3,
    FROZEN_BESIDE = 1u << 4,
    FROZEN_CHANGED = 1u << 5,
    FROZEN_START_TOPIC_FLAGS = (1u << 6) - 1,
};

#endif
