/* play.js - what a reporter may do now: which events the period of a match
 * allows, who is on the pitch, what the clock shows. Pure: of a match as
 * shared.js keeps it, and of the time that is given. */
const Play = (function () {
'use strict';

const {events_of, retracted} = Shared;

const RUNNING = ['goal', 'card', 'substitution'];
const BREAK = ['card', 'substitution'];
const KICKS = ['goal', 'card', 'shot'];
/* period -> what a side may do, and what may come next, the usual first;
 * postponed and abandoned are a status, the others kinds */
const MAY = {
    not_started: {acts: [], next: ['start', 'postponed']},
    postponed: {acts: [], next: ['start']},
    first: {acts: RUNNING, next: ['halftime_start', 'abandoned']},
    halftime: {acts: BREAK, next: ['halftime_stop', 'abandoned']},
    last: {acts: RUNNING,
           next: ['stop', 'extratime', 'penalties', 'abandoned']},
    first_extra: {acts: RUNNING, next: ['halftime_start', 'abandoned']},
    halftime_extra: {acts: BREAK, next: ['halftime_stop', 'abandoned']},
    last_extra: {acts: RUNNING, next: ['stop', 'penalties', 'abandoned']},
    penalties: {acts: KICKS, next: ['stop', 'abandoned']},
};
const WORDS = {start: 'Kick-off', halftime_start: 'Half time',
               stop: 'Full time', extratime: 'Extra time',
               penalties: 'Penalty shoot-out', abandoned: 'Abandon the match',
               postponed: 'Postpone the match'};
/* period -> the minutes in front of it and at its regular end */
const SPAN = {first: [0, 45], last: [45, 90], first_extra: [90, 105],
              last_extra: [105, 120]};

const may = (view) => MAY[view.state.period] || {acts: [], next: []};

function word(kind, view) {
    return kind !== 'halftime_stop' ? WORDS[kind]
        : view.state.period === 'halftime' ? 'Second half'
            : 'Second half of extra time';
}

/* Oldest first, without what was taken back. */
function counting(view) {
    const list = events_of(view);
    const undone = retracted(list);

    return list.filter((m) => m.kind !== 'retract' && !undone.has(m.offset));
}

/* ---- Who is on the pitch ---- */

/* number -> {cards, off, name}, of all whom the events of a side name. */
function deeds(view, side) {
    const all = new Map();
    const team = view.state[side];
    const of = (p) => {
        const [n, name] = typeof p === 'object' && p ? Object.entries(p)[0]
            : [String(p), ''];
        const known = all.get(n) || {cards: 0, off: false, name: ''};

        known.name = name || known.name;
        all.set(n, known);
        return known;
    };

    counting(view).forEach((m) => {
        const d = m.data || {};

        if (d.player !== undefined && (d.player_team || d.team) === team) {
            const man = of(d.player);

            man.cards += m.kind !== 'card' ? 0 : d.card === 'red' ? 2 : 1;
            man.off = man.off || man.cards > 1;
        }
        if (m.kind === 'substitution' && d.team === team) {
            of(d.player_out).off = true;
            of(d.player_in).off = false;
        }
    });
    return all;
}

/* [{number, name, booked}] by number; of a side without line-up those whom
 * the events name. */
function men(view, side) {
    const known = deeds(view, side);
    const lineup = view.state[side + '_players'];
    const list = lineup ? Object.entries(lineup)
        : Array.from(known, ([n, man]) => [n, man.name]);

    return list.filter(([n]) => !(known.get(n) || {}).off)
        .map(([n, name]) => ({number: n, name: name,
                              booked: (known.get(n) || {}).cards === 1}))
        .sort((a, b) => a.number - b.number);
}

/* Of the bench [[number, name]], those who have not come on. */
function fresh(view, side, bench) {
    const known = deeds(view, side);
    const on = view.state[side + '_players'] || {};

    return bench.filter(([n]) => !known.has(String(n)) && !on[n]);
}

/* ---- The clock ---- */

/* The event since which the present period has run. */
function whistle(view) {
    const kinds = {halftime: 'halftime_start', halftime_extra: 'halftime_start',
                   first: 'start', first_extra: 'extratime'};
    const kind = kinds[view.state.period] || 'halftime_stop';

    return counting(view).reverse().find((m) => m.kind === kind);
}

const two = (n) => String(n).padStart(2, '0');
const face = (ms) => Math.floor(ms / 60000) + ':' +
    two(Math.floor(ms / 1000) % 60);

/* began: offset of a whistle -> when it was blown, where that is known better
 * than from its ts, which is when the server heard of it. Gives main and
 * added, what is shown; minute, what an event gets now; since, the event. */
function clock(view, began, now) {
    const m = whistle(view);
    const span = SPAN[view.state.period];
    const none = {main: '', added: '', minute: '', since: null};

    if (!m || !span && !/^halftime/.test(view.state.period))
        return none;
    const ms = Math.max(0, now - (began[m.offset] || m.ts));

    if (!span)
        return Object.assign(none, {main: face(ms), added: 'break'});
    const regular = (span[1] - span[0]) * 60000;
    const n = span[0] + 1 + Math.floor(ms / 60000);

    return {
        main: face(span[0] * 60000 + Math.min(ms, regular)),
        added: ms >= regular ? '+' + face(ms - regular) : '',
        minute: n <= span[1] ? String(n) : span[1] + '+' + (n - span[1]),
        since: m,
    };
}

/* When the period began if its clock shows this now ("23", "23:40", "45+2");
 * null: it cannot. */
function began_at(view, text, now) {
    const m = /^(\d{1,3})(?:\s*\+\s*(\d{1,2}))?(?::([0-5]\d))?$/.exec(text.trim());
    const span = SPAN[view.state.period];

    if (!m || !span)
        return null;
    const s = (Number(m[1]) + Number(m[2] || 0) - span[0]) * 60 +
        Number(m[3] || 0);

    return s < 0 ? null : now - s * 1000;
}

return {may, word, counting, men, fresh, clock, began_at};
}());
