# Completion of touchline, its router, gateways and repeaters for bash. The programs
# say themselves what there is.

_touchline_words() { # WORD...: those that go on from what is typed
    COMPREPLY=($(compgen -W "$*" -- "$cur"))
}

# SECTION.KEY=, for what --set overrides. bash breaks words at =.
_touchline_keys() {
    _touchline_words $("$program" --print-config 2>/dev/null | awk '
        /^\[/ { section = /^\[[a-z]+\]$/ ? substr($0, 2, length($0) - 2) : "" }
        section && /^[a-z_]+ =/ { print section "." $1 "=" }')
    [ ${#COMPREPLY[@]} = 1 ] && compopt -o nospace
}

_touchline() {
    local program=${COMP_WORDS[0]} cur=${COMP_WORDS[COMP_CWORD]}
    local prev=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    if [ "$cur" = = ]; then
        cur=
    elif [ "$prev" = = ]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $prev in
    --config | --restore)
        COMPREPLY=($(compgen -f -- "$cur"))
        compopt -o filenames 2>/dev/null ;;
    --dir)
        COMPREPLY=($(compgen -d -- "$cur"))
        compopt -o filenames 2>/dev/null ;;
    --set) _touchline_keys ;;
    --instance | --for-link) ;;
    *)
        if [[ $cur == -* ]]; then
            _touchline_words $("$program" --help |
                sed -n 's/^  \(--[a-z-]*\).*/\1/p')
        elif [ "${program##*/}" = touchline ]; then
            _touchline_words reload upgrade
        fi ;;
    esac
}
complete -F _touchline touchline touchline-router touchline-http touchline-tcp \
    touchline-ws touchline-repeater
