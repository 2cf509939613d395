#include "tools/router-ctl/ctl.h"

#include <string.h>

const struct verb verbs[] = {
    { VERBS_TALK, "publish", "send", 2, 2, false, verb_publish,
      "format from key idempotency", "CHANNEL TEXT|-",
      "send a message; - takes it from standard input",
      "  router-ctl publish user/ana 'the bus is here'\n"
      "  date | router-ctl publish --from cron room/lobby -\n"
      "  router-ctl send --format json sensor/7 '{\"c\":21.5}'\n" },
    { VERBS_TALK, "subscribe", "tail", 1, -1, false, verb_subscribe, "since",
      "CHANNEL...", "print messages as they come, until Ctrl-C",
      "  router-ctl subscribe room/lobby user/ana\n"
      "  router-ctl tail 'match/**' --since 0\n"
      "  router-ctl tail user/ana --since x7k2p9-1041 --json\n" },
    { VERBS_TALK, "history", NULL, 1, 1, false, verb_history, "last since before",
      "CHANNEL", "print what is kept, oldest first",
      "  router-ctl history room/lobby --last 20\n"
      "  router-ctl history match/elp-tig-2011-09-13 --since 0 --json\n" },
    { VERBS_TALK, "presence", "who", 1, 1, false, verb_presence, "", "CHANNEL",
      "who is there", "  router-ctl presence room/lobby\n" },
    { VERBS_TALK, "channels", NULL, 0, 1, false, verb_channels, "", "[PATTERN]",
      "the channels that are known",
      "  router-ctl channels\n  router-ctl channels 'room/*'\n" },
    { VERBS_WATCH, "conns", NULL, 0, 1, false, verb_conns, "", "[CHANNEL]",
      "the connections, or those of a channel",
      "  router-ctl conns room/lobby\n" },
    { VERBS_WATCH, "kick", NULL, 1, 1, false, verb_kick, "yes",
      "CONNECTION|CHANNEL",
      "close a connection, or all of a channel",
      "  router-ctl kick http1/42.7\n" },
    { VERBS_WATCH, "gateways", NULL, 0, 0, false, verb_gateways, "", "",
      "the gateways that are linked", "  router-ctl gateways\n" },
    { VERBS_WATCH, "status", NULL, 0, 0, true, verb_status, "", "",
      "is all well? OK, DEGRADED or DOWN",
      "  router-ctl status || page-somebody\n" },
    { VERBS_WATCH, "stats", NULL, 0, 0, false, verb_stats, "", "",
      "what the router and the gateways have counted",
      "  router-ctl stats | grep published\n" },
    { VERBS_MATCH, "match", NULL, 0, -1, false, verb_match,
      "date team period yes",
      "[list|teams|new|event|show|cancel ...]",
      "matches and teams: look, create, report",
      "  router-ctl match\n"
      "  router-ctl match list --team tig\n"
      "  router-ctl match teams elp 'Estudiantes de La Plata'\n"
      "  router-ctl match new elp tig 2011-09-13 'Ciudad de La Plata'\n"
      "  router-ctl match event elp-tig-2011-09-13 start\n"
      "  router-ctl match event elp-tig-2011-09-13 goal team=tig player=7 "
      "minute=23\n"
      "  router-ctl match event elp-tig-2011-09-13 card "
      "'{\"team\":\"elp\",\"player\":[5,\"Desabato\"],\"card\":\"red\"}'\n"
      "  router-ctl match event elp-tig-2011-09-13 retract offset=3\n"
      "  router-ctl match show elp-tig-2011-09-13\n"
      "  router-ctl match cancel elp-tig-2011-09-13\n" },
    { VERBS_MATCH, "replay", NULL, 1, 1, true, verb_replay,
      "match speed date yes", "FILE",
      "play the matches of an openfootball file as if live",
      "  router-ctl replay worldcup.json --match 64 --speed 60\n"
      "  router-ctl replay worldcup.json --match 1 --date 2030-06-08\n"
      "  router-ctl replay worldcup.json --match all --speed max --date "
      "2031-06-08\n" },
    { VERBS_WATCH, "backup", NULL, 1, 1, false, verb_backup, "", "FILE",
      "copy the database, whole and consistent",
      "  router-ctl backup /backup/touchline.db\n" },
    { VERBS_MEASURE, "gen", NULL, 1, 1, true, verb_gen,
      "rate for count size ids shape skew burst file match connections csv yes",
      "CHANNEL", "publish at an exact rate, and say how long it takes",
      "  router-ctl gen load/a --rate 1000 --for 10s\n"
      "  router-ctl gen volatile/load --rate 5K --ids 10K --shape zipf "
      "--for 1m --csv load.csv\n"
      "  router-ctl gen load/b --shape burst --burst 500 --rate 1K --count "
      "5K --json\n"
      "  router-ctl gen load/c --shape match --file worldcup.json --match 64 "
      "--for 5m\n" },
    { VERBS_WATCH, "top", NULL, 0, 0, true, verb_top, "every for", "",
      "memory, connections and rates of all processes, on the screen",
      "  router-ctl top\n  router-ctl top --every 1s --for 10s > frames.txt\n" },
    { VERBS_WATCH, "mem", NULL, 0, 0, false, verb_mem, "", "",
      "where the memory of all processes is",
      "  router-ctl mem\n  router-ctl mem --json\n" },
    { VERBS_WATCH, "trim", NULL, 0, 0, false, verb_trim, "", "",
      "give memory back that is free",
      "  router-ctl trim\n" },
    { VERBS_MEASURE, "sample", NULL, 1, 1, true, verb_sample, "every for", "FILE|-",
      "memory, connections and rates of all processes, into a CSV file",
      "  router-ctl sample night.csv --every 10s --for 8h\n"
      "  router-ctl sample - --every 1s | grep ,all,\n" },
    { VERBS_MEASURE, "plot", NULL, 1, 2, true, verb_plot, "", "FILE [PREFIX]",
      "draw what sample, gen or touchline-flood have measured",
      "  router-ctl plot night.csv\n"
      "  router-ctl plot night.csv pictures/night\n" },
    { VERBS_MEASURE, "doctor", NULL, 0, 0, true, verb_doctor, "for every", "",
      "is this machine fit for so many connections?",
      "  router-ctl doctor --for 100K\n"
      "  router-ctl doctor --for 1M --json\n"
      "  router-ctl doctor --every 1s\n" },
    { VERBS_SELF, "shell", NULL, 0, 0, true, verb_shell, "", "",
      "type verbs at a prompt; Tab completes, Ctrl-D leaves",
      "  router-ctl shell\n"
      "  printf 'publish a x\\nhistory a\\n' | router-ctl shell\n" },
    { VERBS_SELF, "help", NULL, 0, 1, true, verb_help, "", "[VERB]",
      "how a verb is used", "  router-ctl help replay\n" },
};
const size_t verb_count = ARRAY_LEN(verbs);

const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < verb_count; i++)
        if (strcmp(name, verbs[i].name) == 0
            || (verbs[i].alias && strcmp(name, verbs[i].alias) == 0))
            return &verbs[i];
    return NULL;
}
