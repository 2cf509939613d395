/* chart.h - what a file of measurements is worth drawing: its charts, each as
 * lines over time. Pure: gets the text of a CSV file, gives a gnuplot program.
 *
 * The first line of the file names its columns. A chart is there when the file
 * has its columns; so `sample`, touchline-flood and `gen` share one table. Where
 * there is a column "process", lines are of the rows called "all", but memory has
 * one for each process.
 * Threads: any. Cost: a pass over the file for each line. */
#ifndef TOUCHLINE_TOOLS_CHART_H
#define TOUCHLINE_TOOLS_CHART_H

#include "base/buf.h"

struct chart {
    const char *name;  /* behind the prefix of the picture: "memory" */
    const char *title; /* "memory by process" */
    const char *unit;  /* of the vertical axis */
    double scale;      /* what a value is multiplied with */
    bool logarithmic;
    bool by_process;
    const char *columns[6]; /* those that are there become lines */
};
extern const struct chart charts[];
extern const size_t chart_count;

/* Why text is no such file, for people; NULL: it is one. */
const char *chart_problem(struct slice text);

/* Appends a program that draws the chart into the file `picture`. False: text
 * has nothing for it (then nothing is appended). Names in text are strangers':
 * they reach gnuplot as plain characters. */
bool chart_program(struct buf *out, const struct chart *c, struct slice text,
                   const char *picture);

#endif
