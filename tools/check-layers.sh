#!/bin/sh
# Who may include whom, over every #include line of the tree (or of the tree
# given as $1), and which words the router's core must not know. Ends in
# "N passed, N failed", a rule each.
cd "${1:-$(dirname "$0")/..}" || exit 1
passed=0 failed=0

# rule NAME FOLDERS ALLOWED: an #include of ours (with a slash or in quotes)
# or of a library has to match ALLOWED; the C and POSIX headers are free.
libs='event2/|nng/|sqlite3|cjson/|openssl/|zlib|xxhash|llhttp|seccomp|histedit'
rule() {
    bad=$(for folder in $2; do
        [ -d "$folder" ] || continue
        find "$folder" -path "${4:-}" -prune -o -name '*.[ch]' -exec \
            grep -nHE '^ *# *include' {} +
    done | grep -E "include *(\"|<($libs))" |
        grep -vE "include *[\"<]($3)")
    verdict "$1" "$bad"
}

# words NAME FILES PATTERN: does not occur there.
words() {
    verdict "$1" "$(ls $2 2>/dev/null | xargs -r grep -nHiE "$3")"
}

verdict() {
    if [ -n "$2" ]; then
        failed=$((failed + 1))
        echo "FAIL $1"
        echo "$2" | sed 's/^/    /'
    else
        passed=$((passed + 1))
        echo "ok   $1"
    fi
}

rule 'base includes base and its own libraries' proto/base \
    'base/|event2/event\.h|xxhash|openssl/'
rule 'proto includes base and proto' proto 'base/|proto/|nng/|xxhash|seccomp' proto/base
rule 'store includes base and sqlite3' store 'base/|store/|sqlite3|xxhash'
rule 'router includes base, proto, the seam of the store' router \
    'base/|proto/|router/|store/(history|writer|reader)\.h|cjson/' router/repeater
rule 'router/repeater includes base and proto' router/repeater \
    'base/|proto/|router/repeater/'
rule 'gateways/common includes base and proto' gateways/common \
    'base/|proto/|gateways/common/'
for edge in http tcp ws; do
    rule "gateways/$edge includes no other edge" "gateways/$edge" \
        "base/|proto/|gateways/common/|gateways/$edge/|cjson/|zlib|llhttp"
done
for tool in tools/touchline tools/router-ctl tools/flood; do
    rule "$tool speaks the wire" "$tool" "base/|proto/|$tool/|cjson/|histedit"
done

only() { # NAME LIBRARY FILES...: included nowhere else
    name=$1 lib=$2
    shift 2
    keep=$(printf '|^%s:' "$@")
    verdict "$name" "$(grep -rnHE "include *<$lib" --include='*.[ch]' proto \
        store router gateways tools 2>/dev/null | grep -vE "${keep#|}")"
}
only 'nng is in bus.c only' 'nng/' 'proto/bus\.c'
only 'libevent is in loop.c only' 'event2/' 'proto/base/loop\.c'
only 'seccomp is in cage_calls.c only' 'seccomp' 'proto/cage_calls\.c'
only 'histedit is in the shell only' 'histedit' \
    'tools/router-ctl/shell\.h'
only 'sqlite3 is in store only' 'sqlite3' 'store/[a-z_]*\.[ch]'
words 'no text is put into SQL, it is bound' 'store/*.c' \
    '"[^"]*(select|insert|update|delete|pragma|vacuum|attach) [^"]*(%[^ldu ]|" SLICE_FMT)'
only 'openssl is in secret.c only' 'openssl/' 'proto/base/secret\.c'
only 'cJSON is not in the core' 'cjson/' 'router/types/[a-z_]*\.[ch]' \
    'gateways/(http|tcp|ws)/[a-z_]*\.[ch]' 'tools/[a-z-]*/[a-z_]*\.[ch]'
words 'the core speaks no edge' 'router/*.[ch]' \
    'http|json|[^_]sql|websocket|telnet'
words 'nobody waits by the time of day' \
    'gateways/*/*.c router/*.c router/*/*.c tools/*/*.c' \
    'CLOCK_REALTIME|gettimeofday'
verdict 'base has at most 14 modules' "$(ls proto/base/*.h | grep -v /base.h |
    sed -n '15,$p')"
verdict 'no header is longer than 200 lines' "$(find proto store router \
    gateways tools -name '*.h' -exec wc -l {} + 2>/dev/null |
    awk '$2 != "total" && $1 > 200')"

top='router|gateways|proto|store|tests|tools|docs'
verdict 'nothing else is kept at the top' "$(git ls-files 2>/dev/null |
    cut -d/ -f1 | sort -u | grep -vxE "$top|Makefile|README\.md|LICENSE|\..*")"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
