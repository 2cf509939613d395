#!/usr/bin/env bash
# Starts everything in build/demo, made anew, and plays a real match into it:
# what `make run` does. Takes the default ports, or the next free ones. Ctrl-C
# ends it and leaves nothing behind outside build/.
set -u
cd "$(dirname "$0")/.." || exit 1
speed=${SPEED:-60}
file=${MATCH:-tools/samples/worldcup-2022-final.json}
bin=build/bin

say() { printf '%s\n' "$*" >&2; }

# A second demo beside a running one gets a directory of its own.
demo=build/demo
n=2
while [ -e "$demo/var/touchline.lock" ] &&
      ! flock -n "$demo/var/touchline.lock" true; do
    demo=build/demo-$n
    n=$((n + 1))
done
rm -rf "$demo"
mkdir -p "$demo/var"

in_use() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
taken=
free_port() { # wanted
    port=$1
    while in_use "$port" || [[ " $taken " == *" $port "* ]]; do
        port=$((port + 1))
    done
    taken="$taken $port"
    [ "$port" = "$1" ] || say "port $1 is in use: taking $port"
}

sets=()
for edge in http:8000 ws:8001 tcp:9999; do
    free_port "${edge#*:}"
    sets+=(--set "${edge%:*}.listen=127.0.0.1:$port, [::1]:$port")
    declare "${edge%:*}_port=$port"
done

player=
finish() {
    trap '' INT TERM
    [ -n "$player" ] && kill "$player" 2>/dev/null
    kill "$server" 2>/dev/null
    wait 2>/dev/null
    rm -f "$demo/ready"
    exit "${1:-0}"
}

mkfifo "$demo/ready" || exit 1
"$bin/touchline" --dir "$demo/var" "${sets[@]}" \
    > "$demo/ready" 2> "$demo/log" < /dev/null &
server=$!
trap 'say; say "stopping"; finish 0' INT TERM

exec 3< "$demo/ready"
kinds=0
while [ "$kinds" -lt 4 ]; do
    if ! IFS= read -r line <&3; then
        say "touchline did not start; its log, $demo/log:"
        tail -n 20 "$demo/log" >&2
        finish 1
    fi
    printf '%s\n' "$line"
    kinds=$((kinds + 1))
done

here=$(pwd)
match=arg-fra-2022-12-18
say
say "A match is being played, $speed times as fast as it was. Look at it with"
say "  a browser:      http://127.0.0.1:$http_port/#match=$match"
say "  curl:           curl -N 'http://127.0.0.1:$http_port/v1/stream?channel=match/$match'"
say "  telnet:         telnet 127.0.0.1 $tcp_port        then type   V:2:me"
say "  a WebSocket:    npx wscat -c 'ws://127.0.0.1:$ws_port/v1/ws?channel=match/$match'"
say "  router-ctl:     $here/$bin/router-ctl --dir $here/$demo/var tail match/$match"
say "Send something to http://127.0.0.1:$http_port/test/user/me, open in a browser:"
say "                  $here/$bin/router-ctl --dir $here/$demo/var send user/me hello"
say "The log is $here/$demo/log. Ctrl-C ends it all."
say

"$bin/router-ctl" --dir "$demo/var" replay "$file" --speed "$speed" \
    < /dev/null &
player=$!
if wait "$player"; then
    say "the match is over; everything goes on being served until Ctrl-C"
else
    say "the match could not be played; everything else goes on"
fi
player=
wait "$server"
code=$?
say "touchline ended by itself (exit $code); its log is $demo/log"
finish 1
