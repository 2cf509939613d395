# Completion of router-ctl for bash: verbs, their options, files, and, when a
# router can be reached, the names of channels, matches and teams.
#
# Names come from strangers: they must reach neither `compgen -W` nor `eval`,
# which would run a command that is written in one, and they are quoted before
# they are put on the line.

# The first column of a verb's answer, without the title.
_router_ctl_ask() { # VERB...
    timeout 2 "$program" "${where[@]}" "$@" 2>/dev/null </dev/null |
        sed -n '2,$s/ .*//p'
}

# Takes the lines of standard input that go on from what is typed. bash puts
# its word in their place, which begins behind the last : or = of ours.
_router_ctl_offer() {
    local line
    while IFS= read -r line; do
        [[ -n $line && $line == "$cur"* ]] || continue
        line=${line:skip}
        [ -n "$files" ] || printf -v line %q "$line"
        COMPREPLY+=("$line")
    done
}

_router_ctl_words() { # WORD...
    printf '%s\n' "$@" | sort -u
}

# Takes the words in front of the cursor apart: the verb, how many arguments it
# has got so far and the first of them, and where the router is said to be.
_router_ctl_parse() {
    local i=1 last=$((${#words[@]} - 1)) word
    while ((i < last)); do
        word=${words[i++]}
        case $word in
        --json | --yes | --help | --version | --check | --print-config | --) ;;
        --dir=* | --router=* | --config=* | --set=*) where+=("$word") ;;
        --*=*) ;;
        --dir | --router | --config | --set)
            ((i < last)) && where+=("$word" "${words[i]}")
            ((i++)) ;;
        --*) ((i++)) ;;
        *)
            if [ -z "$verb" ]; then
                verb=$word
            else
                [ "$place" = 0 ] && first=$word
                ((place++))
            fi ;;
        esac
    done
}

_router_ctl_options() {
    local own=()
    case $verb in
    publish | send) own=(--format --from --key --idempotency) ;;
    subscribe | tail) own=(--since) ;;
    history) own=(--last --since --before) ;;
    kick) own=(--yes) ;;
    match) own=(--date --team --period --yes) ;;
    replay) own=(--match --speed --date --yes) ;;
    gen) own=(--rate --for --count --size --ids --shape --skew --burst --file \
        --match --connections --csv --yes) ;;
    doctor | sample | top) own=(--for --every) ;;
    esac
    _router_ctl_words --json --color --router --dir --config --set --help --version \
        --check --print-config "${own[@]}"
}

# What may follow the option in prev; false: it takes no value.
_router_ctl_values() {
    case $prev in
    --dir) compgen -d -- "$cur" ;;
    --config) compgen -f -- "$cur" ;;
    --format) _router_ctl_words text json bytes ;;
    --match) _router_ctl_words all ;;
    --color) _router_ctl_words auto always never ;;
    --shape) _router_ctl_words uniform zipf burst match ;;
    --file | --csv) compgen -f -- "$cur" ;;
    --speed) _router_ctl_words 1 60 600 max ;;
    --team) _router_ctl_ask match teams ;;
    --period) _router_ctl_words not_started first halftime last first_extra \
        halftime_extra last_extra penalties ended postponed abandoned ;;
    --router | --set | --from | --key | --idempotency | --since | --before | \
        --last | --date | --for | --every | --rate | --count | --size | \
        --ids | --skew | --burst | --connections) ;;
    *) return 1 ;;
    esac
}

_router_ctl_match() {
    case $place:$first in
    0:*) _router_ctl_words list teams new event show cancel ;;
    1:event | 1:show | 1:cancel) _router_ctl_ask match list ;;
    1:new | 2:new | 1:teams) _router_ctl_ask match teams ;;
    2:event) _router_ctl_words status start stop halftime_start \
        halftime_stop extratime penalties shot save goal corner goalkick \
        offside foul penalty freekick card substitution throwin retract ;;
    esac
}

_router_ctl_arguments() {
    case $verb:$place in
    :0 | help:0) _router_ctl_words publish send subscribe tail history \
        presence who channels conns kick gateways status stats match replay \
        backup gen top mem trim sample plot doctor shell help ;;
    publish:0 | send:0 | gen:0 | history:0 | presence:0 | who:0 | conns:0 | kick:0 | \
        subscribe:* | tail:*) _router_ctl_ask channels ;;
    match:*) _router_ctl_match ;;
    replay:0 | backup:0 | sample:0 | plot:[01]) compgen -f -- "$cur" ;;
    esac
}

_router_ctl() {
    local words cur prev skip=0 verb= place=0 first= where=() values files=
    local program=${COMP_WORDS[0]} tail=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    # Split at blanks alone; the x keeps an empty last word.
    read -a words <<< "${COMP_LINE:0:COMP_POINT}x"
    cur=${words[-1]%x}
    prev=${words[-2]}
    case $cur in
    --*=*)
        prev=${cur%%=*}
        cur=${cur#*=} ;;
    esac
    case $tail in
    : | =) skip=${#cur} ;;
    *) [[ $cur == *"$tail" ]] && skip=$((${#cur} - ${#tail})) ;;
    esac
    _router_ctl_parse
    case $prev:$verb:$place in
    --dir:* | --config:* | --file:* | --csv:* | *:replay:0 | *:backup:0 | *:sample:0 | *:plot:[01])
        files=yes
        compopt -o filenames ;; # readline quotes these
    esac
    if values=$(_router_ctl_values); then
        _router_ctl_offer <<< "$values"
    elif [[ $cur == -* ]]; then
        _router_ctl_offer < <(_router_ctl_options)
    else
        _router_ctl_offer < <(_router_ctl_arguments)
    fi
}
complete -F _router_ctl router-ctl
