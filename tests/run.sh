#!/bin/sh
# Runs tests and adds up what they count.
#   run.sh STAGE...          each as `make STAGE`: layers, unit, asan ...
#   run.sh --unit BINARY...  each test program
#   run.sh --fuzz SECONDS BINARY... each fuzz target
#   run.sh --js              the browser's client
# Programs run TOUCHLINE_TEST_JOBS (a processor each, and one more) at a time.
# The last line is "N passed, N failed"; exit 1 when anything failed, after all
# that failed once more. What does not say how much it passed, or fails without
# saying what, counts as failed.
set -u
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0
log=$(mktemp) || exit 1
trap 'rm -rf "$log" "$log".*' EXIT
trap 'exit 130' INT TERM

# add NAME COMMAND...: runs it, shows its output, adds its last count.
add() {
    name=$1
    shift
    { "$@" 2>&1; echo $? > "$log.rc"; } | tee "$log"
    rc=$(cat "$log.rc")
    count=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
    p=${count%% passed*} f=${count##*, } f=${f%% failed*}
    if [ -z "$count" ] || { [ "$rc" != 0 ] && [ "$f" = 0 ]; }; then
        echo "FAIL $name: exit code $rc${count:+ after }$count" | tee -a "$log"
        f=$((${f:-0} + 1))
    fi
    passed=$((passed + ${p:-0})) failed=$((failed + f))
    [ "$f" = 0 ] || failures "$name" >> "$log.failed"
}

# What failed in the last output, under whose name, with the words about it: a
# unit test's stand before its verdict, others' behind it.
failures() {
    awk -v of="$1" '
        /^=== what failed$/ { again = 1 }
        /^[0-9]+ passed, [0-9]+ failed$/ { again = 0 }
        again { next }
        /^==+ / { of = $0; sub(/^=+ /, "", of); sub(/: [0-9]+ s$/, "", of) }
        /^    / { if (lines > 0) { lines--; print } else said = said $0 "\n"; next }
        { lines = 0 }
        /^FAIL/ { printf "%s%s: %s\n", said, of, $0; if (said == "") lines = 40 }
        { said = "" }' "$log"
}

# One fuzz target, from its seeds, for so many seconds.
fuzz() {
    name=$(basename "$2") corpus="build/fuzz/corpus/$(basename "$2")"
    mkdir -p "$corpus"
    seeds="tests/fuzz/seeds/${name%_fuzz}"
    [ -d "$seeds" ] || seeds=
    # Seeds made of data that is not part of the project.
    make_seeds="tests/fuzz/${name%_fuzz}_seeds.py"
    [ ! -e "$make_seeds" ] || python3 "$make_seeds" "$corpus" || return
    if "$2" -max_total_time="$1" -timeout=5 -rss_limit_mb=1024 \
        -artifact_prefix="$corpus-" -print_final_stats=1 \
        "$corpus" $seeds > "$log.fuzz" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: //p' "$log.fuzz")
        echo "ok   $name: $runs runs"
        echo '1 passed, 0 failed'
    else
        tail -n 40 "$log.fuzz"
        echo "FAIL $name"
        echo '0 passed, 1 failed'
    fi
    rm -f "$log.fuzz"
}

# programs "COMMAND" PROGRAM...: runs `COMMAND PROGRAM` for each, several at a
# time, shows the words of one together, and adds what they count.
programs() {
    mkdir "$log.each" || exit 1
    command=$1
    shift
    printf '%s\n' "$@" | cat -n | COMMAND=$command EACH="$log.each" \
        xargs -P "${TOUCHLINE_TEST_JOBS:-$(($(nproc) + 1))}" -L 1 sh -c '
            $COMMAND "$1" > "$EACH/$0" 2>&1
            echo $? > "$EACH/$0.rc"
            exec flock "$EACH" sh -c "echo == ${1#build/}; cat \"$EACH/$0\""'
    n=0
    for t in "$@"; do
        add "$t" shown $((n += 1)) > "$log.all"
        grep "^FAIL $t: exit" "$log.all"
    done
}

# What the program of that number left.
shown() {
    cat "$log.each/$1"
    return "$(cat "$log.each/$1.rc")"
}

# The test runner of node, whose summary becomes ours.
js() {
    set -- tests/js/*_test.js
    [ -e "$1" ] || { echo '0 passed, 0 failed'; return; }
    node --test "$@" > "$log.js" 2>&1
    rc=$?
    grep -E '^ *(not )?ok ' "$log.js" | sed 's/^ *//; s/^not ok/FAIL/'
    [ $rc = 0 ] || cat "$log.js"
    sed -n 's/^. pass //p; s/^. fail //p' "$log.js" | paste -sd ' ' |
        sed 's/^\([0-9]*\) \([0-9]*\)$/\1 passed, \2 failed/'
    rm -f "$log.js"
    return $rc
}

case ${1:-} in
--unit)
    shift
    T_DEADLINE=${T_DEADLINE:-180} # some wait for a line to be missed, or the disk
    export T_DEADLINE
    programs "" "$@"
    ;;
--fuzz)
    seconds=$2
    shift 2
    programs "tests/run.sh --one-fuzz $seconds" "$@"
    ;;
--one-fuzz)
    fuzz "$2" "$3"
    exit
    ;;
--js)
    add js js
    ;;
*)
    for stage in "$@"; do
        echo "=== $stage"
        begin=$(date +%s)
        add "$stage" "${MAKE:-make}" --no-print-directory "$stage"
        echo "=== $stage: $(($(date +%s) - begin)) s"
    done
    [ ! -e "$log.failed" ] || { echo '=== what failed'; cat "$log.failed"; }
    ;;
esac
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
