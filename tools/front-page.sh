#!/bin/sh
# The front page in one file: front-page.sh PAGES OUT
#
# A line `@NAME@` of PAGES/index.html becomes the file of that name, without
# comments and indentation; what stands at `@known@` the gateway writes. Makes
# OUT.head and OUT.tail, in front of it and behind it, and OUT.csp: the sources
# of its styles and scripts, for the Content-Security-Policy.
# A comment that begins a line also ends one, and one behind code is short: that
# is how these files are written.
set -eu
pages=$1 out=$2

# And what a style sheet has for the eye: spaces behind : , ; and in front of {.
lean() {
    case $* in *.css) tight='s/\([:,;]\) /\1/g;s/ {/{/' ;; *) tight= ;; esac
    sed -e '/^ *\/\*.*\*\/ *$/d' -e '/^ *\/\*/,/\*\/ *$/d' \
        -e 's,  *\/\*[^*]*\*\/$,,' -e 's/^ *//' -e '/^$/d' \
        -e "$tight" "$@"
}

expand() {
    while IFS= read -r line; do
        case $line in
        @*@) name=${line#@}; lean "$pages/${name%@}" ;;
        *) printf '%s\n' "$line" | lean ;;
        esac
    done
}

# The sources that are the text behind each TAG on a line of its own, up to its
# end.
hashes() {
    for n in $(seq "$(grep -c "^<$1>\$" "$2")"); do
        sum=$({ echo; awk -v n="$n" -v tag="$1" '$0 == "</" tag ">" { on = 0 }
            on; $0 == "<" tag ">" { on = ++k == n }' "$2"; } | sha256sum)
        printf " 'sha256-%s'" "$(printf %s "${sum%% *}" | tr a-f A-F |
            basenc --base16 -d | base64 -w0)"
    done
}

sed '/^@known@$/,$d' "$pages/index.html" | expand >"$out.first"
sed '1,/^@known@$/d' "$pages/index.html" | expand >"$out.tail"
cat "$out.first" "$out.tail" >"$out.whole"
printf "script-src 'self'%s; style-src 'self'%s; " \
    "$(hashes script "$out.whole")" "$(hashes style "$out.whole")" >"$out.csp"
rm "$out.whole"
mv "$out.first" "$out.head" # at last: the Makefile looks whether it is there
