/* score.js - what is said of a match as a whole: which one comes first, and
 * what stands on the board.
 *
 * In the fan's page this stands in front of everything else, and is short: what
 * is in front of a score, everybody waits for. The rest is shared.js. */
const Score = (function () {
'use strict';

const PERIODS = {
    not_started: 'Not started', first: 'First half', halftime: 'Half time',
    last: 'Second half', first_extra: 'Extra time, first half',
    halftime_extra: 'Half time of extra time',
    last_extra: 'Extra time, second half', penalties: 'Penalty shoot-out',
    ended: 'Full time', postponed: 'Postponed', abandoned: 'Abandoned',
    cancelled: 'Cancelled',
};

const teams = new Map();        /* id -> name */
const sides = ['home', 'visit'];
const $ = (id) => document.getElementById(id);
const team_name = (id) => teams.get(id) || String(id || '').toUpperCase();

function put(node, text) {
    if (node.textContent !== String(text))
        node.textContent = text;
}

function stored(key, value) {
    try {
        if (value !== undefined)
            localStorage.setItem(key, value);
        return localStorage.getItem(key);
    } catch (e) {
        return null;    /* storage is blocked: we live without */
    }
}

/* null, 'auto': as the device has it. */
function set_colours(theme) {
    if (theme === 'light' || theme === 'dark')
        document.documentElement.dataset.theme = theme;
    else
        delete document.documentElement.dataset.theme;
}

function hue(text) {
    let h = 7;

    for (const c of text)
        h = (h * 31 + c.codePointAt(0)) % 360;
    return String(h);
}

/* ---- Which match ---- */

function phase(match) {
    const p = match.state.period;

    if (p === 'not_started')
        return 'next';
    return ['ended', 'postponed', 'abandoned', 'cancelled', undefined]
        .includes(p) ? 'over' : 'live';
}

const is_live = (match) => phase(match) === 'live';

/* In play and started last, else next to start, else the latest. */
function order(matches) {
    const rank = {live: 0, next: 1, over: 2};
    const time = (m) => Date.parse(m.state.start_time) || 0;

    return Array.from(matches)
        .filter((m) => m.state.home && m.state.period !== 'cancelled')
        .sort((a, b) => rank[phase(a)] - rank[phase(b)] ||
            (phase(a) === 'next' ? time(a) - time(b) : time(b) - time(a)) ||
            (a.id < b.id ? -1 : 1));
}

/* ---- The board ---- */

function shootout(s) {
    return s.home_shootout === undefined ? ''
        : s.home_shootout + '–' + s.visit_shootout;
}

function day(s, with_time) {
    const d = new Date(s.start_time);
    const form = {day: 'numeric', month: 'short', year: 'numeric'};

    if (isNaN(d))
        return '';
    if (with_time)
        Object.assign(form, {hour: '2-digit', minute: '2-digit',
                             hourCycle: 'h23'});
    return d.toLocaleString([], form);
}

/* minute: of its newest event, or ''. */
function draw_state(match, minute) {
    const s = match.state;
    const is_next = phase(match) === 'next';

    $('board').dataset.match = match.id;
    $('board').dataset.phase = phase(match);
    put($('period'), (PERIODS[s.period] || s.period) +
        (minute && ' · ' + minute + '′'));
    put($('where'), [s.stadium, day(s, is_next)].filter(Boolean).join(' · '));
    sides.forEach((side) => {
        const n = s[side + '_score'];

        put($(side + '-name'), team_name(s[side]));
        put($(side + '-crest'), s[side].slice(0, 3).toUpperCase());
        $(side + '-crest').style.setProperty('--hue', hue(s[side]));
        put($(side + '-score'), is_next || n === undefined ? '–' : n);
    });
    put($('shootout'), shootout(s) && shootout(s) + ' on penalties');
    put($('board-title'), team_name(s.home) + ' ' + $('home-score').textContent +
        ', ' + team_name(s.visit) + ' ' + $('visit-score').textContent);
}

return {$, PERIODS, day, draw_state, hue, is_live, order, phase, put,
        set_colours, shootout, sides, stored, team_name, teams};
}());
