/* talk.h - talks made by chance, the same ones each time: numbers drawn, and
 * questions that are answered in any order. */
#ifndef TESTS_TALK_H
#define TESTS_TALK_H

#include <stdint.h>

struct fake_call;

/* The talk of this number begins: nothing is pending. */
void talk_begin(uint32_t number);
/* A number below `of`, which is not 0. */
uint32_t talk_chance(uint32_t of);

/* Questions to the router that have no answer yet. */
void talk_ask(const struct fake_call *k);
unsigned talk_pending(void);
const struct fake_call *talk_question(unsigned i);
/* The question is pending no more. */
void talk_forget(unsigned i);

#endif
