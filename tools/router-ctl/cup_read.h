/* cup_read.h - what cup.c (the file) and cup_match.c (a match) share. */
#ifndef TOUCHLINE_TOOLS_CUP_READ_H
#define TOUCHLINE_TOOLS_CUP_READ_H

#include <cjson/cJSON.h>

#include "tools/router-ctl/cup.h"

/* The value of a key of an object; NULL when it is absent or null. */
const cJSON *cup_get(const cJSON *object, const char *key);
/* A copy of a string value, fit to be a name: control characters as spaces,
 * none at the ends, at most max bytes. ERR_NOT_FOUND: nothing is left of it,
 * or it is no string. ERR_NOMEM. */
MUST_USE int cup_text(const cJSON *value, size_t max, char **ret);
/* A whole number from 0 to most, written as a number or as digits; else
 * CUP_UNKNOWN. */
int cup_number(const cJSON *value, int most);

/* The player of this name, made when he is new, or CUP_NOBODY when it is no
 * name. number 0: not known. ERR_NOMEM. */
MUST_USE int cup_player(struct cup_team *t, const cJSON *name, int number,
                        int *ret);

/* Fills in all but number and team. ERR_NOMEM. */
MUST_USE int cup_read_match(struct cup *c, struct cup_match *m,
                            const cJSON *o);

#endif
