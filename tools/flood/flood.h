/* flood.h - one run of touchline-flood: its processes, its phases, its end.
 * Threads: one a process. */
#ifndef TOUCHLINE_FLOOD_FLOOD_H
#define TOUCHLINE_FLOOD_FLOOD_H

/* The process' exit code (proto/cli.h): EXIT_DONE; EXIT_FAILED when anything
 * failed, was lost, came twice or late, or was refused, or it could not run;
 * EXIT_NO_ROUTER when nobody listens. */
int flood_run(int argc, char **argv);

#endif
