/* sheets.js - the sheet that comes up from the bottom of the reporter's page,
 * and what is asked on it. A form is told the match as it is shown (view) and
 * what is filled in already (given: minute, and data of an event that is
 * edited), and calls done(kind, data) with an event. */
const Sheets = (function () {
'use strict';

const {$, el, mark, put, team_name} = Shared;

const NUMBERS = 23;     /* offered of a side without line-up */
const MINUTE = /^\d{1,3}(\+\d{1,2})?$/;

/* ---- The sheet ---- */

let submit = null;
let back_to = null;     /* what had the focus */

/* then(values) gives a problem, or nothing; without action there is no button
 * at the bottom. */
function open(title, fields, action, then) {
    put($('sheet-title'), title);
    $('sheet-fields').replaceChildren(...fields.filter(Boolean));
    put($('sheet-go'), action || '');
    $('sheet-go').hidden = !action;
    $('sheet-go').disabled = false;
    problem('');
    submit = then;
    if (!$('sheet').open) {
        back_to = document.activeElement;
        $('sheet').showModal();
    } else {
        $('sheet-title').focus();
    }
    $('sheet').scrollTop = 0;
}

function close() {
    $('sheet').close();
}

function problem(text) {
    put($('sheet-error'), text);
    if (text)
        $('sheet-error').scrollIntoView({block: 'nearest'});
}

async function on_submit(event) {
    event.preventDefault();
    if (!submit || $('sheet-go').disabled)
        return;
    const mine = submit;

    $('sheet-go').disabled = true;
    const wrong = await mine(Object.fromEntries(
        new FormData($('sheet-form'))));

    $('sheet-go').disabled = false;
    if (wrong)
        problem(wrong);
    else if (submit === mine)
        close();
}

/* ---- What sheets are made of ---- */

function button(cls, kids, go) {
    const b = Object.assign(el('button', cls, ...kids), {type: 'button'});

    b.addEventListener('click', go);
    return b;
}

const note = (text) => el('p', 'note', text);

function input(label, name, more) {
    const i = Object.assign(document.createElement('input'),
                            {name: name, autocomplete: 'off'}, more);

    return el('label', '', label, i);
}

/* One of several, or yes or no. */
function choice(type, name, value, kids, checked) {
    const i = Object.assign(document.createElement('input'), {
        type: type, name: name, value: value, checked: Boolean(checked)});

    return el('label', 'pick', i, el('span', '', ...kids));
}

function minute_field(minute) {
    const field = input('Minute', 'minute', {value: minute,
                                             inputMode: 'numeric',
                                             placeholder: '–'});
    const box = field.lastChild;
    const step = (n, text) => {
        const b = button('', [text], () => {
            box.value = (box.value || '0').replace(/\d+$/, (d) =>
                Math.max(1, Number(d) + n));
        });

        b.setAttribute('aria-label', n < 0 ? 'A minute less' : 'A minute more');
        return b;
    };

    return el('div', 'minute-field', step(-1, '−'), field, step(1, '+'));
}

const value_of = (name) =>
    (new FormData($('sheet-form')).get(name) || '').trim();

/* The data of an event; null when the minute is none, which is then said. */
function data_of(view, side, player) {
    const d = {team: view.state[side]};
    const minute = value_of('minute').replace(/\s|′|'/g, '');

    if (minute && !MINUTE.test(minute)) {
        problem('A minute is a number such as 23, or 45+2.');
        return null;
    }
    if (player)
        d.player = player;
    if (minute)
        d.minute = /^\d+$/.test(minute) ? Number(minute) : minute;
    return d;
}

const number_of = (player) => player === undefined ? undefined
    : typeof player === 'object' ? Object.keys(player)[0] : String(player);

/* ---- Players: one tap chooses and ends the sheet ---- */

function player_button(man, chosen, pick) {
    const b = button('player', [el('b', '', man.number), el('span', '',
                     man.name || ''), ...man.booked ? [mark('yellow')] : []],
                     () => pick({[man.number]: man.name || ''}));

    if (man.booked)
        b.append(el('span', 'sr', ', has a yellow card'));
    if (chosen === String(man.number))
        b.setAttribute('aria-pressed', 'true');
    return b;
}

/* A number, and a name if it is known. */
function typed_player(pick, title) {
    const box = el('div', 'pair',
        input('Number', 'number', {inputMode: 'numeric', maxLength: 3}),
        input('Name, if known', 'name', {maxLength: 60,
                                         autocapitalize: 'words'}),
        button('', [title], () => {
            const n = value_of('number');

            if (/^\d{1,3}$/.test(n))
                pick({[Number(n)]: value_of('name')});
            else
                problem('A shirt has a number from 0 to 999.');
        }));

    return box;
}

function numbers(men) {
    const known = new Map(men.map((m) => [Number(m.number), m]));

    for (let n = 1; n <= NUMBERS; n += 1)
        if (!known.has(n))
            known.set(n, {number: n, name: ''});
    return Array.from(known.values()).sort((a, b) => a.number - b.number);
}

/* pick(player), with nothing for one who is not known. */
function players(title, view, side, how) {
    const lineup = Boolean(view.state[side + '_players']);
    const men = Play.men(view, side);
    const list = lineup ? men : numbers(men).filter((m) => !how.off ||
                                                    !how.off.has(m.number));
    const grid = el('div', lineup ? 'players' : 'players numbers',
                    ...list.map((m) => player_button(m, how.chosen, how.pick)));
    const box = el('fieldset', '', el('legend', '', title), grid);

    if (how.optional)
        grid.append(button('player unknown', ['Not known'], () => how.pick()));
    if (!lineup)
        box.append(el('details', '', el('summary', '', 'Another number'),
                      typed_player(how.pick, 'Choose')));
    return box;
}

/* ---- Goal, card, substitution, kick ---- */

function goal(view, side, given, done) {
    const d = given.data || {};
    const other = side === 'home' ? 'visit' : 'home';
    const own = choice('checkbox', 'own', 'yes', ['Own goal'], d.player_team);
    const pen = choice('checkbox', 'pen', 'yes', ['Penalty'],
                       d.comment === 'penalty');
    const pick = (player) => {
        const data = data_of(view, side, player);

        if (!data)
            return;
        if (own.firstChild.checked)
            data.player_team = view.state[other];
        if (pen.firstChild.checked)
            data.comment = 'penalty';
        close();
        done('goal', data);
    };
    const who = () => players(
        own.firstChild.checked ? 'Own goal by ' + team_name(view.state[other])
                               : 'Scorer', view,
        own.firstChild.checked ? other : side,
        {optional: true, chosen: number_of(d.player), pick: pick});
    let list = who();

    own.addEventListener('change', () => {
        const now = who();

        if (own.firstChild.checked)
            pen.firstChild.checked = false;
        list.replaceWith(now);
        list = now;
    });
    pen.addEventListener('change', () => {
        if (own.firstChild.checked)
            own.firstChild.click();
    });
    open('Goal for ' + team_name(view.state[side]),
         [el('div', 'row', own, pen), minute_field(given.minute), list]);
}

function card(view, side, given, done) {
    const d = given.data || {};
    const pick = (player) => {
        const data = data_of(view, side, player);

        if (!data)
            return;
        data.card = value_of('card');
        close();
        done('card', data);
    };

    open('Card for ' + team_name(view.state[side]), [
        el('div', 'row',
           choice('radio', 'card', 'yellow', [mark('yellow'), 'Yellow'],
                  d.card !== 'red'),
           choice('radio', 'card', 'red', [mark('red'), 'Red'],
                  d.card === 'red')),
        minute_field(given.minute),
        players('Player', view, side,
                {chosen: number_of(d.player), pick: pick})]);
}

function substitution(view, side, given, bench, done) {
    const d = given.data || {};
    const minute = minute_field(given.minute);
    const title = 'Substitution of ' + team_name(view.state[side]);
    const comes = (out) => (player) => {
        const data = data_of(view, side);

        if (!data)
            return;
        if (number_of(player) === number_of(out)) {
            problem('Nobody comes on for himself.');
            return;
        }
        close();
        done('substitution', Object.assign(data, {player_out: out,
                                                  player_in: player}));
    };
    const second = (out) => {
        const [n, name] = Object.entries(out)[0];
        const list = bench.map(([number, who]) => player_button(
            {number: number, name: who}, number_of(d.player_in), comes(out)));

        open(title, [minute, el('fieldset', '',
             el('legend', '', 'On for ' + [n, name].join(' ').trim()),
             list.length > 0 && el('div', 'players', ...list) || '',
             typed_player(comes(out), 'Comes on'))]);
    };

    open(title, [minute, players('Off', view, side,
        {chosen: number_of(d.player_out), pick: second})]);
}

/* Of a shoot-out. */
function kick(view, side, kind, given, done) {
    const d = given.data || {};
    const team = team_name(view.state[side]);

    open(kind === 'goal' ? 'Scored by ' + team : 'Missed by ' + team, [
        players('Player', view, side, {
            optional: true, chosen: number_of(d.player), pick: (player) => {
                close();
                done(kind, data_of(view, side, player));
            }})]);
}

/* ---- Line-ups ---- */

function preview(read) {
    const chips = (title, men) => men.length === 0 ? ''
        : el('div', '', el('h3', '', title + ' · ' + men.length),
             el('ul', 'chips', ...men.map(([n, name]) =>
                 el('li', '', el('b', '', n), ' ' + name))));

    return [chips('On the pitch', read.on), chips('Bench', read.bench)];
}

/* Marks the line in the text. */
function select_line(area, line) {
    const lines = area.value.split('\n');
    const from = lines.slice(0, line - 1).join('\n').length + (line > 1);

    area.focus();
    area.setSelectionRange(from, from + (lines[line - 1] || '').length);
}

/* keep(text) is called at each change, so that nothing typed is lost. */
function lineup(team, text, keep) {
    const area = Object.assign(el('textarea'), {
        name: 'lineup', rows: 7, value: text, spellcheck: false,
        placeholder: '1 Armani\n7 Luna\nDi María (10)\n…\n' +
            'Subs: 12 Silva, 14 Mora'});
    const out = el('div', 'preview');
    const faults = el('ul', 'faults');
    const look = () => {
        const read = Lineup.read(area.value);

        keep(area.value);
        faults.replaceChildren(...read.faults.map((f) =>
            el('li', '', button('', ['Line ' + f.line + ': ' + f.text],
                                () => select_line(area, f.line)))));
        out.replaceChildren(...preview(read));
        problem('');
    };

    area.addEventListener('input', look);
    faults.setAttribute('role', 'alert');
    open('Line-up of ' + team, [
        el('label', '', 'Paste it, or type a number and a name a line. Who ' +
           'follows “Subs:”, or the eleventh, sits on the bench.', area),
        faults, out], 'Done', () => {
        const n = Lineup.read(area.value).faults.length;

        return n === 0 ? '' : n === 1 ? 'One line cannot be read.'
            : n + ' lines cannot be read.';
    });
    look();
}

/* ---- A new match ---- */

/* A local time as written, with its distance from UTC. */
function with_zone(local) {
    const off = -new Date(local).getTimezoneOffset();
    const two = (n) => String(Math.floor(n)).padStart(2, '0');

    return local + ':00' + (off < 0 ? '-' : '+') +
        two(Math.abs(off) / 60) + ':' + two(Math.abs(off) % 60);
}

function local_now() {
    const d = new Date(Date.now() - new Date().getTimezoneOffset() * 60000);

    return d.toISOString().slice(0, 16);
}

/* A name, with those known that it may become, to tap. */
function team_field(label, name) {
    const field = input(label, name, {maxLength: 60, autocapitalize: 'words'});
    const box = field.lastChild;
    const list = el('div', 'suggest');
    const look = () => {
        const typed = box.value.trim().toLowerCase();
        const all = Array.from(Shared.teams.values());
        const same = all.some((t) => t.toLowerCase() === typed);
        const some = same ? [] : all.filter((t) =>
            t.toLowerCase().includes(typed)).sort().slice(0, 12);

        list.replaceChildren(typed && !same ? el('span', '', some.length > 0
            ? 'New, or:' : 'A new team') : '', ...some.map((t) => button('', [t], () => {
            box.value = t;
            look();
            box.focus();
        })));
    };

    box.addEventListener('input', look);
    look();
    return el('div', 'team-field', field, list);
}

function new_match(create) {
    open('New match', [team_field('Home', 'home'),
        team_field('Visitors', 'visit'),
        input('Kick-off', 'start', {type: 'datetime-local',
                                    value: local_now()}),
        input('Stadium, if you like', 'stadium', {maxLength: 100})],
        'Create', (form) => {
        const m = {home: form.home.trim(), visit: form.visit.trim(),
                   stadium: form.stadium.trim(), date: form.start.slice(0, 10)};

        if (!m.home || !m.visit)
            return 'Two teams make a match.';
        if (m.home.toLowerCase() === m.visit.toLowerCase())
            return 'A team does not play against itself.';
        if (!form.start)
            return 'When is the kick-off?';
        return create(Object.assign(m, {start: with_zone(form.start)}));
    });
}

/* ---- The token ---- */

/* check(token) gives a problem, or nothing when the server takes it. */
function token(words, kept, check, forget) {
    const field = input(kept ? 'Another token' : 'Token', 'token',
                        {type: 'password', autocomplete: 'current-password',
                         autocapitalize: 'off', spellcheck: false});

    open('Token', [note(words), field, kept && button('', [
        'Forget the token that is kept here'], () => {
        forget();
        close();
    })], 'Keep it', (form) => {
        const text = form.token.trim();

        return /^[\x21-\x7e]+$/.test(text) ? check(text)
            : text ? 'A token has no spaces and only ASCII characters.'
                : 'Whoever runs the server has given you a token.';
    });
}

$('sheet-form').addEventListener('submit', on_submit);
$('sheet-close').addEventListener('click', close);
$('sheet').addEventListener('click', (event) => {
    if (event.target === $('sheet'))
        close();        /* beside the sheet */
});
/* It may have been opened anew before this is heard. */
$('sheet').addEventListener('close', () => {
    if ($('sheet').open)
        return;
    submit = null;
    if (back_to && back_to.isConnected)
        back_to.focus();
});

return {open, close, button, note, input, goal, card, substitution, kick,
        lineup, new_match, token};
}());
