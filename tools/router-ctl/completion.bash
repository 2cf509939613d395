# Completion of router-ctl for bash: verbs, their options, files, and, when a
# router can be reached, the names of channels and matches.

_router_ctl_ask() { # VERB... : first column of its answer, without the title
    local said=() i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --dir | --router | --config)
            said+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]}") ;;
        esac
    done
    timeout 2 router-ctl "${said[@]}" "$@" 2>/dev/null |
        sed -n '2,$s/ .*//p'
}

_router_ctl_verb() { # the verb, and how many words follow it so far
    local i
    verb= place=0
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --json | --help | --version | --check | --print-config) ;;
        --*=*) ;;
        --*) ((i++)) ;;
        *)
            if [ -z "$verb" ]; then
                verb=${COMP_WORDS[i]}
            else
                ((place++))
                [ "$place" = 1 ] && first=${COMP_WORDS[i]}
            fi ;;
        esac
    done
}

_router_ctl_options() {
    local all='--json --router --dir --config --set --help --version --check
               --print-config'
    case $verb in
    publish | send) echo "$all --format --from --key --idempotency" ;;
    subscribe | tail) echo "$all --since" ;;
    history) echo "$all --last --since --before" ;;
    match) echo "$all --date --team --period" ;;
    replay) echo "$all --match --speed --date" ;;
    *) echo "$all" ;;
    esac
}

_router_ctl_value() { # of an option: true when prev is one that takes a value
    case $prev in
    --dir) COMPREPLY=($(compgen -d -- "$cur")) ;;
    --config) COMPREPLY=($(compgen -f -- "$cur")) ;;
    --format) COMPREPLY=($(compgen -W 'text json bytes' -- "$cur")) ;;
    --match) COMPREPLY=($(compgen -W 'all' -- "$cur")) ;;
    --speed) COMPREPLY=($(compgen -W '1 60 600 max' -- "$cur")) ;;
    --period) COMPREPLY=($(compgen -W 'not_started first halftime last
        first_extra halftime_extra last_extra penalties ended postponed
        abandoned' -- "$cur")) ;;
    --router | --set | --from | --key | --idempotency | --since | --before | \
        --last | --date | --team) ;;
    *) return 1 ;;
    esac
}

_router_ctl_match() {
    local kinds='status start stop halftime_start halftime_stop extratime
        penalties shot save goal corner goalkick offside foul penalty freekick
        card substitution throwin retract'
    case $place in
    0) COMPREPLY=($(compgen -W 'list teams new event show cancel' -- "$cur")) ;;
    1) case $first in
       event | show | cancel)
           COMPREPLY=($(compgen -W "$(_router_ctl_ask match list)" \
               -- "$cur")) ;;
       new) COMPREPLY=($(compgen -W "$(_router_ctl_ask match teams)" \
               -- "$cur")) ;;
       esac ;;
    2) case $first in
       event) COMPREPLY=($(compgen -W "$kinds" -- "$cur")) ;;
       new) COMPREPLY=($(compgen -W "$(_router_ctl_ask match teams)" \
               -- "$cur")) ;;
       esac ;;
    esac
}

_router_ctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local verb place first
    local verbs='publish send subscribe tail history presence who channels
        conns kick gateways status stats match replay backup help'
    COMPREPLY=()
    _router_ctl_value && return
    _router_ctl_verb
    case $cur in
    -*)
        COMPREPLY=($(compgen -W "$(_router_ctl_options)" -- "$cur"))
        return ;;
    esac
    case $verb in
    '' | help) [ "$place" = 0 ] &&
        COMPREPLY=($(compgen -W "$verbs" -- "$cur")) ;;
    publish | send | history | presence | who | conns | kick)
        [ "$place" = 0 ] &&
            COMPREPLY=($(compgen -W "$(_router_ctl_ask channels)" \
                -- "$cur")) ;;
    subscribe | tail)
        COMPREPLY=($(compgen -W "$(_router_ctl_ask channels)" -- "$cur")) ;;
    match) _router_ctl_match ;;
    replay | backup)
        [ "$place" = 0 ] && COMPREPLY=($(compgen -f -- "$cur")) ;;
    esac
}
complete -o filenames -F _router_ctl router-ctl
