# Completion of touchline-flood for bash. The program says itself what there is;
# only the values of some options stand here.

_touchline_flood_words() { # WORD...: those that go on from what is typed
    COMPREPLY=($(compgen -W "$*" -- "$cur"))
}

_touchline_flood() {
    local program=${COMP_WORDS[0]} cur=${COMP_WORDS[COMP_CWORD]}
    local prev=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    if [ "$cur" = = ]; then
        cur=
    elif [ "$prev" = = ]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $prev in
    --edge) _touchline_flood_words stream sse poll test ws telnet lines mqtt tcp http ;;
    --split) _touchline_flood_words auto line chunk paragraph frame ;;
    --spread) _touchline_flood_words each uniform zipf ;;
    --hold) _touchline_flood_words all 10s 1m 10m ;;
    --ready) _touchline_flood_words head connect ;;
    --probe) _touchline_flood_words none ;;
    --json | --csv | --config)
        COMPREPLY=($(compgen -f -- "$cur"))
        compopt -o filenames 2>/dev/null ;;
    --dir)
        COMPREPLY=($(compgen -d -- "$cur"))
        compopt -o filenames 2>/dev/null ;;
    *)
        [[ $cur == -* ]] && _touchline_flood_words $("$program" --help |
            sed -n 's/^  \(--[a-z-]*\).*/\1/p') ;;
    esac
}
complete -F _touchline_flood touchline-flood
