#!/bin/sh
# The front page in one file: front-page.sh PAGES OUT
#
# A line `@NAME@` of PAGES/index.html becomes the file of that name, without
# comments and indentation; what stands at `@known@` the gateway writes. Makes
# OUT.head and OUT.tail, in front of it and behind it, and OUT.csp: the sources
# of its style and its script, for the Content-Security-Policy.
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

# The source that is text between TAG, on a line of its own, and its end.
hash() {
    sum=$({ echo; sed -e "1,/^<$1>\$/d" -e "/^<\/$1>\$/,\$d" "$2"; } | sha256sum)
    printf "'sha256-%s'" "$(printf %s "${sum%% *}" | tr a-f A-F |
        basenc --base16 -d | base64 -w0)"
}

sed '/^@known@$/,$d' "$pages/index.html" | expand >"$out.head"
sed '1,/^@known@$/d' "$pages/index.html" | expand >"$out.tail"
printf "script-src 'self' %s; style-src 'self' %s; " \
    "$(hash script "$out.tail")" "$(hash style "$out.head")" >"$out.csp"
