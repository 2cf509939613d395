#!/usr/bin/env bash
# Starts everything in build/demo, made anew, and plays a real match into it:
# what `make run` does. Takes the default ports, or the next free ones. Ctrl-C
# ends it and leaves nothing behind outside build/.
set -u
cd "$(dirname "$0")/.." || exit 1
speed=${SPEED:-60}
file=${MATCH:-tools/samples/worldcup-2022-final.json}
match=arg-fra-2022-12-18
bin=build/bin
here=$(pwd)

say() { printf '%s\n' "$*" >&2; }

# ---- a place ---------------------------------------------------------------

# A demo that runs already, or what another user has left, stays as it is. A folder
# that somebody stands in is emptied, not made anew.
in_the_way() { # directory
    [ -e "$1/var/touchline.lock" ] &&
        ! flock -n "$1/var/touchline.lock" true 2>/dev/null && return
    [ -e "$1" ] || return 1
    ! { [ -w "$1" ] && find "$1" -mindepth 1 -delete 2>/dev/null; }
}

make_place() {
    local n=2
    demo=build/demo
    while in_the_way "$demo"; do
        demo=build/demo-$n
        n=$((n + 1))
    done
    mkdir -p "$demo/var" && mkfifo "$demo/ready" && configure || exit 1
}

# A file to try keys in, where a reload finds them.
configure() {
    cat > "$demo/touchline.conf" <<END
# Keys to try: docs/options.md has them all. They are in force after
#   '$here/$bin/touchline' --dir '$here/$demo/var' reload
# The next \`make run\` makes this file anew.
END
}

# ---- ports -----------------------------------------------------------------

answers() { (exec 3<> "/dev/tcp/$1/$2") 2>/dev/null; }

taken=
next_free() { # port wanted; leaves the one to take in $port
    port=$1
    while [[ " $taken " == *" $port "* ]] || answers 127.0.0.1 "$port" ||
          answers ::1 "$port"; do
        port=$((port + 1))
    done
    taken="$taken $port"
    [ "$port" = "$1" ] || say "port $1 is in use: taking $port"
}

choose_ports() {
    local edge
    sets=()
    for edge in http:8000 ws:8001 tcp:9999; do
        next_free "${edge#*:}"
        sets+=(--set "${edge%:*}.listen=127.0.0.1:$port, [::1]:$port")
        declare -g "${edge%:*}_port=$port"
    done
}

# ---- the system ------------------------------------------------------------

finish() { # exit code
    trap '' HUP INT TERM
    # Also one that has begun, and has no name here yet.
    kill $(jobs -p) 2>/dev/null
    wait 2>/dev/null
    rm -f "$demo/ready"
    exit "$1"
}

# In a session of its own: the terminal's Ctrl-C is for this script, which then
# tells touchline to end in order.
start() {
    setsid "$bin/touchline" --dir "$demo/var" --config "$demo/touchline.conf" \
        "${sets[@]}" > "$demo/ready" 2> "$demo/log" < /dev/null 9<&- &
    server=$!
    exec 3< "$demo/ready"
}

# The ready lines, passed on when all are there.
ready_lines() {
    local kind line
    lines=
    for kind in 1 2 3 4; do
        IFS= read -r line <&3 || return 1
        lines+=$line$'\n'
    done
}

# Somebody else may take a port between the look and the start: then others.
start_somewhere() {
    local try
    for try in 1 2 3 4 5; do
        choose_ports
        start
        ready_lines && return
        wait "$server"
        grep -q 'is in use' "$demo/log" || break
        say "somebody was faster: trying other ports"
    done
    say "touchline did not start; its log, $demo/log:"
    tail -n 20 "$demo/log" >&2
    finish 1
}

tell() {
    local web=http://127.0.0.1:$http_port ctl="$here/$bin/router-ctl"
    local dir="$here/$demo/var" channel=match/$match
    say
    say "A match is being played, $speed times as fast as it was. Look at it with"
    say "  a browser:      $web/#match=$match"
    say "  curl:           curl -N '$web/v1/stream?channel=$channel'"
    say "  telnet:         telnet 127.0.0.1 $tcp_port        then type   V:2:me"
    say "  a WebSocket:    python3 -m websockets 'ws://127.0.0.1:$ws_port/v1/ws?channel=$channel'"
    say "  router-ctl:     '$ctl' --dir '$dir' tail $channel"
    say "Send something to $web/test/user/me, open in a browser:"
    say "                  '$ctl' --dir '$dir' send user/me hello"
    say "Keys to try go into $here/$demo/touchline.conf, which says how."
    say "The log is $here/$demo/log. Ctrl-C ends it all."
    say
}

play() {
    "$bin/router-ctl" --dir "$demo/var" replay "$file" --speed "$speed" \
        < /dev/null &
    if wait $!; then
        say "the match is over; everything goes on being served until Ctrl-C"
    else
        say "the match could not be played; everything else goes on"
    fi
}

# One demo at a time looks for its place and its ports.
exec 9< build
flock 9
make_place
trap 'say; say "stopping"; finish 0' HUP INT TERM
start_somewhere
exec 9<&-
printf %s "$lines"
tell
play
wait "$server"
code=$?
say "touchline ended by itself (exit $code); its log is $demo/log"
finish 1
