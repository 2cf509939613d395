/* lineup.js - line-ups as people paste them.
 *
 *   Lineup.read('7 Luna\n9. Paz, 10) Silva')
 *       -> {on: [[7, 'Luna'], [9, 'Paz'], [10, 'Silva']], bench: [],
 *           faults: []}
 *
 * A player is a number and a name in either order, however they are set apart:
 * "7 Luna", "7. Luna", "7) Luna", "#7 - Luna", "7<tab>Luna", "7,Luna",
 * "Luna (7)", "Luna 7", with a position ("GK 1 Armani") or a captain's mark
 * ("7 Luna (c)"). Players stand in lines or in lists with commas or
 * semicolons. Who follows a line such as "Subs:", or is the twelfth or later,
 * sits on the bench. Headings and coaches are passed over. What is none of
 * this is a fault: {line, text}, with the line's number. */
(function (root, make) {
    'use strict';
    if (typeof module === 'object' && module.exports)
        module.exports = make();
    else
        root.Lineup = make();
}(typeof self === 'undefined' ? global : self, function () {
'use strict';

const ELEVEN = 11;
const NUMBER_MAX = 999;         /* what the server takes */
const PLAYERS_MAX = 99;
const NAME_MAX = 100;           /* bytes */

const BENCH = /^(substitutes?|subs|bench|reserves?|replacements|suplentes|banco|ersatz(bank)?|rempla[cç]ants)\b/i;
const STARTERS = /^(starting( (xi|line-?up|eleven))?|start(ers)?|line-?up|team|xi|titulares|startelf|titulaires)\s*:?$/i;
const STAFF = /^(head )?(coach|manager|trainer|dt|entrenador|entra[iî]neur)\b/i;
const POSITION = /^(gk|gkp|goalkeeper|df|def|defender|mf|mid|midfielder|fw|fwd|att|forward|cb|lb|rb|cm|dm|am|lw|rw|cf|st)\b[\s.:-]*/i;
const AFTER = /\s*[([](c|vc|cap|capt\.?|captain|gk|g|k)[)\]]\s*/gi;
const NUMBER_FIRST = /^(?:no\.?|nr\.?|n[º°]|#)?\s*[([]?(\d{1,4})[)\]]?(?:\s*[.:,;|–—-]+\s*|\s+)(\D.*)$/i;
const NUMBER_LAST = /^(\D*?[^\s\d([#,.:|–—-][.]?)(?:\s*[.:,;|–—-]+\s*|\s+|(?=[([#]))[([#]*\s*(\d{1,4})\s*[)\]]?$/;

/* Without bullets, positions and what stands for a captain. */
function clean(text) {
    return text.replace(/^[\s•·*‣▪>–—-]+/, '').replace(AFTER, ' ')
        .replace(POSITION, '').trim();
}

/* "7 Luna" -> [7, "Luna"]; null: it is something else. */
function one(text) {
    const t = clean(text);
    const first = NUMBER_FIRST.exec(t);
    const last = first ? null : NUMBER_LAST.exec(t);

    if (first)
        return [Number(first[1]), tidy(first[2])];
    return last ? [Number(last[2]), tidy(last[1])] : null;
}

function tidy(name) {
    return name.replace(POSITION, '').replace(/[\s,;.:|-]+$/, '')
        .replace(/\s+/g, ' ').trim();
}

/* "1", "Armani", "7", "Luna" -> in pairs; null where they do not alternate. */
function in_pairs(pieces) {
    const fits = pieces.length % 2 === 0 && pieces.every((p, i) =>
        i % 2 === 0 ? /^#?\d{1,4}[.)]?$/.test(p) : /^\D+$/.test(p));

    return fits ? pieces.filter((_, i) => i % 2 === 0).map((n, i) =>
        [parseInt(n.replace('#', ''), 10), tidy(pieces[2 * i + 1])]) : null;
}

/* The players of a line, and the pieces that are none. */
function line_of(text) {
    const pieces = text.split(/[,;]/).map((p) => p.trim()).filter(Boolean);
    const men = pieces.map(one);
    const bad = pieces.filter((_, i) => !men[i]);

    if (bad.length === 0)
        return {men: men, bad: bad};
    const pairs = in_pairs(pieces.map(clean));

    if (pairs)
        return {men: pairs, bad: []};
    const whole = bad.length === pieces.length || pieces.length === 2
        ? one(text) : null;

    return whole ? {men: [whole], bad: []}
                 : {men: men.filter(Boolean), bad: bad};
}

function fault_of(man, seen) {
    const [number, name] = man;
    const other = seen.get(number);

    if (number > NUMBER_MAX)
        return number + ' is no number on a shirt (0 to ' + NUMBER_MAX + ').';
    if (other)
        return 'number ' + number + ' is ' + other.name + ' already, in line ' +
            other.line + '.';
    if (new TextEncoder().encode(name).length > NAME_MAX)
        return 'the name is too long: “' + name.slice(0, 20) + ' …”.';
    return seen.size === PLAYERS_MAX ? 'more than ' + PLAYERS_MAX + ' players.'
                                     : '';
}

function why_none(piece) {
    return /\d/.test(piece) ? '“' + piece + '” is not a number and a name.'
                            : '“' + piece + '” has no number.';
}

function read(text) {
    const out = {on: [], bench: [], faults: []};
    const seen = new Map();     /* number -> {name, line} */
    let benched = false;

    text.split(/\r\n|\n|\r/).forEach((raw, i) => {
        const heading = BENCH.exec(clean(raw));
        const rest = heading ? clean(raw).slice(heading[0].length)
            .replace(/^[\s:.–—-]+/, '') : raw;
        const fault = (words) => out.faults.push({line: i + 1, text: words});

        benched = benched || Boolean(heading);
        if (!rest.trim() || STARTERS.test(clean(rest)) ||
                STAFF.test(clean(rest)))
            return;
        const found = line_of(rest.replace(/^[^\d,;]*:\s*(?=\S)/, (label) =>
            /^\s*(starting|start|line-?up|team|xi|titulares|startelf)/i
                .test(label) ? '' : label));

        found.bad.forEach((piece) => fault(why_none(piece)));
        found.men.forEach((man) => {
            const wrong = fault_of(man, seen);

            if (wrong) {
                fault(wrong);
                return;
            }
            seen.set(man[0], {name: man[1], line: i + 1});
            (benched || out.on.length === ELEVEN ? out.bench : out.on)
                .push(man);
        });
    });
    return out;
}

return {read: read};
}));
