/* report.js - the reporter's page: a match, reported with one thumb.
 *
 * What is entered goes into a queue in localStorage first, and from there to
 * the server in order, each under an Idempotency-Key that all its tries carry:
 * it is stored once, however often it had to be sent, and by whichever page
 * found it there. What waits counts on the screen as if it had been sent. */
(function () {
'use strict';

const {$, PERIODS, clock, day, el, events_of, fixture, get, hue, is_live,
       load_match, load_teams, mark, new_match, order, player, put, refold,
       retracted, set_base, shootout, sides, stored, story, team_name,
       teams} = Shared;

const RETRY_MS = 3000;
const DRAW_MS = 30;
const QUEUE = 'touchline report';
const TOKEN = 'touchline token';
const NEXT = {      /* period -> what usually comes then, and what else may */
    not_started: ['start'], postponed: ['start'], first: ['halftime_start'],
    halftime: ['halftime_stop'], last: ['stop', 'extratime', 'penalties'],
    first_extra: ['halftime_start'], halftime_extra: ['halftime_stop'],
    last_extra: ['stop', 'penalties'], penalties: ['stop'],
};
const WORDS = {start: 'Kick-off', halftime_start: 'Half time',
               stop: 'Full time', extratime: 'Extra time',
               penalties: 'Penalty shoot-out', abandoned: 'Abandon the match',
               postponed: 'Postpone the match'};
/* kind and period -> the minutes before it and at its regular end */
const MINUTES = {start: [0, 45], halftime_stop: [45, 90],
                 extratime: [90, 105], halftime_stop_extra: [105, 120]};

let match = null;
let sub = null;
let sub_state = 'connecting';
let trouble = '';               /* why nothing is sent just now */
let wake = () => {};            /* ends the pause between two tries */
let token_wanted = '';          /* the server's words; asked when nothing else is */
let memory = '[]';              /* the queue, where storage is blocked */
const places = new Map();       /* key -> offset, of what this page has sent */

/* ---- The queue ---- */

/* {key, match, kind, data, at, tried, undoes, refused}: undoes is the key of an
 * event whose offset is not known yet; refused, the server's reason. */
function queue() {
    try {
        return JSON.parse(stored(QUEUE) || memory);
    } catch (e) {
        return [];
    }
}

/* Other tabs change it, too: it is read anew each time. */
function edit(change) {
    memory = JSON.stringify(change(queue()));
    stored(QUEUE, memory);
    draw_soon();
}

function random_key() {
    return Array.from(crypto.getRandomValues(new Uint32Array(4)),
                      (n) => n.toString(36)).join('');
}

function enter(kind, data, undoes) {
    edit((q) => q.concat({key: random_key(), match: match.id, kind: kind,
                          data: data, at: Date.now(), undoes: undoes}));
    send_all();
}

const waiting = () => queue().filter((i) => !i.refused);

let sending = false;

async function send_all() {
    if (sending) {
        wake();
        return;
    }
    sending = true;
    for (let item = waiting()[0]; item; item = waiting()[0]) {
        trouble = await send(item);
        draw_soon();
        if (trouble)
            await pause();
    }
    sending = false;
}

/* For a token we wait until there is one, or more is entered. */
function pause() {
    return new Promise((done) => {
        const timer = trouble === 'Token needed' ? 0
            : setTimeout(done, RETRY_MS);

        wake = () => {
            clearTimeout(timer);
            done();
        };
    });
}

/* Empty, or why it stays in the queue. Only the server's own words take an
 * event out of it: a proxy may answer anything for a while. */
async function send(item) {
    edit((q) => q.map((i) => i.key === item.key
        ? Object.assign(i, {tried: true}) : i));
    try {
        took(item, await Touchline.publish(
            '', 'match/' + item.match, {kind: item.kind, data: item.data},
            {idempotency: item.key, token: stored(TOKEN) || '', give_up: 0}));
        return '';
    } catch (e) {
        if (e.status === 403) {
            token_wanted = e.message;
            if (!$('sheet').open)
                ask_for_token();
            return 'Token needed';
        }
        if (e.status < 400 || e.status >= 500 || /^http\./.test(e.code) ||
                e.status === 408 || e.status === 429)
            return 'Offline';
        refuse(item, e.message);
        return '';
    }
}

function took(item, answer) {
    places.set(item.key, answer.offset);
    edit((q) => q.filter((i) => i.key !== item.key).map((i) =>
        i.undoes === item.key
            ? Object.assign(i, {undoes: null, data: {offset: answer.offset}})
            : i));
    if (match && match.id === item.match && !match.events.has(answer.offset))
        on_message({offset: answer.offset, seq: answer.seq, ts: item.at,
                    kind: item.kind, data: item.data});
}

function refuse(item, text) {
    edit((q) => q.filter((i) => i.undoes !== item.key).map((i) =>
        i.key === item.key ? Object.assign(i, {refused: text}) : i));
    announce('Refused: ' + text);
}

function forget(item) {
    edit((q) => q.filter((i) => i.key !== item.key));
}

/* ---- The match as it will be, with what waits ---- */

function shown() {
    const view = Object.assign(new_match(match.id), {
        epoch: match.epoch, base: match.base, at: match.at,
        events: new Map(match.events)});
    const at = new Map();       /* key -> the place it is given here */
    let last = Math.max(0, ...view.events.keys());

    waiting().filter((i) => i.match === match.id).forEach((i) => {
        const data = i.undoes ? {offset: at.get(i.undoes)} : i.data;

        at.set(i.key, last += 1);
        view.events.set(last, {offset: last, seq: Number.MAX_SAFE_INTEGER,
                               ts: i.at, kind: i.kind, data: data, item: i});
    });
    refold(view);
    return view;
}

/* The newest event that can be taken back. */
function last_event(view) {
    const list = events_of(view);
    const undone = retracted(list);

    return list.reverse().find((m) => m.kind !== 'retract' && m.offset > 1 &&
                                      !undone.has(m.offset));
}

/* It may be on its way, or have arrived since it was drawn. */
function take_back(m) {
    const key = m.item && m.item.key;
    const item = queue().find((i) => i.key === key);

    if (!key || places.has(key))
        enter('retract', {offset: key ? places.get(key) : m.offset});
    else if (item && item.tried && !item.refused)
        enter('retract', {}, key);
    else if (item)
        forget(item);
}

/* By the clock since the last whistle that began a period. */
function minute_now(view) {
    const began = events_of(view).reverse().find((m) =>
        ['start', 'halftime_stop', 'extratime'].includes(m.kind));
    const span = began && MINUTES[began.kind === 'halftime_stop' &&
        view.state.period === 'last_extra' ? 'halftime_stop_extra'
                                           : began.kind];

    if (!span || view.state.period === 'penalties')
        return '';
    const n = span[0] + 1 +
        Math.max(0, Math.floor((Date.now() - began.ts) / 60000));

    return n <= span[1] ? String(n) : span[1] + '+' + (n - span[1]);
}

/* ---- Following the match ---- */

function on_message(m) {
    match.events.set(m.offset, m);
    refold(match);
    draw_soon();
}

function on_notice(n) {
    if (n.notice === 'snapshot' && n.state)
        set_base(match, n.state, n.cursor);
    if (n.notice === 'gap')
        load_match(match).then(draw_soon);
    draw_soon();
}

async function open_match(id) {
    const mine = new_match(id);

    close_match();
    match = mine;
    document.body.dataset.view = 'report';
    await load_teams();
    await load_match(mine);
    if (match !== mine)
        return;
    if (!mine.state.home) {
        go_to('');      /* there is no such match */
        return;
    }
    sub = Touchline.subscribe('', 'match/' + id, {
        since: mine.at >= 0 ? mine.epoch + '-' + mine.at : undefined,
        onmessage: on_message, onnotice: on_notice,
        onstate: (s) => {
            sub_state = s.state;
            draw_soon();
        }});
    draw_soon();
}

function close_match() {
    if (sub)
        sub.close();
    sub = match = null;
    sub_state = 'connecting';
}

async function list_matches() {
    close_match();
    document.body.dataset.view = 'choose';
    draw_soon();
    await load_teams();
    const list = await get('/v1/matches');
    const all = (list ? list.matches : []).map((s) =>
        Object.assign(new_match(s.id), {state: s}));

    sub_state = 'live';
    $('match-list').replaceChildren(...order(all).map((m) =>
        el('li', '', fixture(m, () => go_to(m.id)))));
    put($('no-matches'), all.length > 0 ? '' : 'No matches yet.');
    draw_soon();
}

function go_to(id) {
    location.hash = id ? 'match=' + encodeURIComponent(id) : '';
}

function read_hash() {
    const id = new URLSearchParams(location.hash.slice(1)).get('match');

    if (id)
        open_match(id);
    else
        list_matches();
}

/* ---- Drawing ---- */

let drawing = false;

function draw_soon() {
    if (!drawing)
        setTimeout(draw, DRAW_MS);
    drawing = true;
}

function draw() {
    drawing = false;
    draw_state();
    if (!match || !match.state.home)
        return;
    const view = shown();

    draw_board(view);
    draw_log(view);
    draw_pad(view);
}

function draw_state() {
    const n = waiting().length;
    const unsent = n > 0 ? n + ' waiting' : '';
    const live = sub_state === 'live' || sub_state === 'catching-up';

    $('conn').dataset.state = n > 0 && trouble === 'Token needed' ? 'failed'
        : trouble || !live ? 'waiting' : 'live';
    put($('conn-text'), [n > 0 ? trouble : live ? 'Live' : 'Connecting', unsent]
        .filter(Boolean).join(' · '));
}

function draw_board(view) {
    const s = view.state;
    const next = s.period === 'not_started' || s.period === 'postponed';

    put($('period'), PERIODS[s.period] + (next ? ' · ' + day(s, true) : ''));
    put($('shootout'), shootout(s) && shootout(s) + ' on penalties');
    sides.forEach((side) => {
        const n = s[side + '_score'];

        put($(side + '-name'), team_name(s[side]));
        put($(side + '-score'), next || n === undefined ? '–' : n);
        $(side + '-pad').style.setProperty('--hue', hue(s[side]));
        $(side + '-pad').setAttribute('aria-label', team_name(s[side]));
    });
}

function log_row(e) {
    const d = e.m.data || {};
    const li = el('li', '', el('span', 'minute', d.minute ? d.minute + '′'
                      : clock(e.m.ts)), mark(e.mark),
                  el('div', 'what', el('b', '', e.text),
                     el('small', '', e.detail.filter(Boolean).join(' · '))),
                  el('span', 'fate', e.m.item ? 'waiting' : e.tally || ''));

    li.classList.toggle('waiting', Boolean(e.m.item));
    li.classList.toggle('undone', e.undone);
    li.classList.toggle('goal', e.m.kind === 'goal' && !e.undone);
    li.classList.toggle('of-team', Boolean(d.team));
    li.style.setProperty('--hue', hue(d.team || ''));
    return li;
}

function refused_row(item) {
    const view = Object.assign(new_match(match.id), {state: match.state});
    const gone = el('button', '', 'Dismiss');

    view.events.set(1, {offset: 1, ts: item.at, kind: item.kind,
                        data: item.data});
    const e = story(view)[0];

    e.detail = ['Refused: ' + item.refused];
    const li = log_row(e);

    gone.addEventListener('click', () => forget(item));
    li.classList.remove('goal', 'undone');
    li.classList.add('refused');
    li.lastChild.replaceChildren(gone);
    return li;
}

function draw_log(view) {
    const bad = queue().filter((i) => i.refused && i.match === match.id);

    $('log').replaceChildren(...bad.map(refused_row).reverse(),
                             ...story(view).map(log_row).reverse());
}

function draw_pad(view) {
    const live = is_live(view);
    const kicks = view.state.period === 'penalties';
    const next = NEXT[view.state.period];

    sides.forEach((side) => {
        const [goal, card, third] = $(side + '-pad').children;

        put(goal, kicks ? 'Scored' : 'Goal');
        put(third, kicks ? 'Missed' : 'Substitution');
        [goal, card, third].forEach((b) => { b.disabled = !live; });
    });
    put($('next'), next ? word_of(next[0], view.state) +
        (next.length > 1 ? ' …' : '') : PERIODS[view.state.period]);
    $('next').disabled = !next;
    $('undo').disabled = !last_event(view);
}

const word_of = (kind, s) => kind !== 'halftime_stop' ? WORDS[kind]
    : s.period === 'halftime' ? 'Second half' : 'Second half of extra time';

function announce(text) {
    $('announce').textContent = text;
}

/* ---- The sheet, on which details are entered ---- */

let submit = null;

/* submit gets the form's values and gives a problem, or nothing. */
function open_sheet(title, fields, action, then) {
    put($('sheet-title'), title);
    $('sheet-fields').replaceChildren(...fields);
    put($('sheet-go'), action);
    $('sheet-go').hidden = !action;
    put($('sheet-error'), '');
    submit = then;
    if (!$('sheet').open)
        $('sheet').showModal();
}

async function on_submit(event) {
    const form = new FormData($('sheet-form'));

    event.preventDefault();
    $('sheet-go').disabled = true;
    const problem = await submit(Object.fromEntries(form));

    $('sheet-go').disabled = false;
    if (problem)
        put($('sheet-error'), problem);
    else
        $('sheet').close();
}

function input(label, name, more) {
    const i = Object.assign(document.createElement('input'),
                            {name: name, autocomplete: 'off'}, more);

    return el('label', '', label, i);
}

function choice(name, value, kids, checked) {
    const i = Object.assign(document.createElement('input'), {
        type: 'radio', name: name, value: value, required: true,
        checked: checked || false});

    return el('label', 'pick', i, el('span', '', ...kids));
}

function choices(title, list) {
    return el('fieldset', '', el('legend', '', title), ...list);
}

/* Who is on the pitch; of a side without line-up any number. */
function players(title, name, view, side, optional) {
    const men = Object.entries(view.state[side + '_players'] || {})
        .sort((a, b) => a[0] - b[0]);
    const list = men.map(([number, who]) =>
        choice(name, number, [el('b', '', number), who]));

    if (men.length === 0)
        return input(title + ' (number)', name, {
            inputMode: 'numeric', pattern: '[0-9]{1,3}', required: !optional});
    if (optional)
        list.unshift(choice(name, '', [el('b', '', '?'), 'Not known'], true));
    return choices(title, list);
}

function minute_field(view) {
    const field = input('Minute', 'minute', {
        value: minute_now(view), inputMode: 'numeric',
        pattern: '[0-9]{1,3}([+][0-9]{1,2})?'});
    const step = (n, text) => {
        const b = Object.assign(el('button', '', text), {
            type: 'button', ariaLabel: n < 0 ? 'One less' : 'One more'});

        b.addEventListener('click', () => {
            const i = field.lastChild;

            i.value = i.value.replace(/\d+$/, (d) => Math.max(1, +d + n));
        });
        return b;
    };

    return el('div', 'minute-field', step(-1, '−'), field, step(1, '+'));
}

/* The data of an event: what was entered, and nothing that was left out. */
function data_of(view, side, form) {
    const d = {team: view.state[side]};

    if (form.player)
        d.player = Number(form.player);
    if (form.minute)
        d.minute = /^\d+$/.test(form.minute) ? Number(form.minute)
                                             : form.minute;
    return d;
}

function ask_goal(view, side) {
    const team = team_name(view.state[side]);
    const other = side === 'home' ? 'visit' : 'home';
    const own = choice('own', 'yes', ['', 'Own goal'], false);
    const box = own.firstChild;
    let who = players('Scorer', 'player', view, side, true);

    box.type = 'checkbox';
    box.required = false;
    box.addEventListener('change', () => {
        const now = players('Scorer', 'player', view,
                            box.checked ? other : side, true);

        who.replaceWith(now);
        who = now;
    });
    open_sheet('Goal for ' + team, [who, own, minute_field(view)], 'Goal',
               (form) => {
        const d = data_of(view, side, form);

        if (form.own)
            d.player_team = view.state[other];
        enter('goal', d);
    });
}

function ask_card(view, side) {
    const colours = choices('Card', [
        choice('card', 'yellow', [mark('yellow'), 'Yellow'], true),
        choice('card', 'red', [mark('red'), 'Red'])]);

    open_sheet('Card for ' + team_name(view.state[side]),
               [colours, players('Player', 'player', view, side),
                minute_field(view)], 'Card', (form) => {
        enter('card', Object.assign(data_of(view, side, form),
                                    {card: form.card}));
    });
}

function ask_substitution(view, side) {
    const comes = el('div', 'pair',
        input('In: number', 'number', {inputMode: 'numeric', required: true,
                                       pattern: '[0-9]{1,3}'}),
        input('Name', 'name', {maxLength: 64, autocapitalize: 'words'}));

    open_sheet('Substitution of ' + team_name(view.state[side]),
               [players('Out', 'out', view, side), comes, minute_field(view)],
               'Substitution', (form) => {
        const n = Number(form.number);

        enter('substitution', Object.assign(data_of(view, side, form), {
            player_out: Number(form.out),
            player_in: form.name.trim() ? [n, form.name.trim()] : n}));
    });
}

function ask_kick(view, side, kind) {
    open_sheet((kind === 'goal' ? 'Scored by ' : 'Missed by ') +
                   team_name(view.state[side]),
               [players('Player', 'player', view, side, true)],
               kind === 'goal' ? 'Scored' : 'Missed',
               (form) => enter(kind, data_of(view, side, form)));
}

function on_act(side, act) {
    const view = shown();

    if (act === 'card')
        ask_card(view, side);
    else if (view.state.period === 'penalties')
        ask_kick(view, side, act === 'goal' ? 'goal' : 'shot');
    else if (act === 'goal')
        ask_goal(view, side);
    else
        ask_substitution(view, side);
}

/* "7 Luna" a line -> {"7": "Luna"}; null when a line is something else. */
function read_lineup(text) {
    const men = {};

    for (const line of text.split('\n').filter((l) => l.trim())) {
        const m = /^\s*(\d{1,3})[\s.,:]+(\S.*?)\s*$/.exec(line);

        if (!m)
            return null;
        men[m[1]] = m[2];
    }
    return men;
}

function ask_start(view) {
    const fields = sides.map((side) => {
        const area = Object.assign(el('textarea'), {
            name: side, rows: 5, placeholder: '1 Armani\n7 Luna\n…'});

        return el('label', '', 'Line-up of ' + team_name(view.state[side]) +
                  ', a number and a name a line; or nothing', area);
    });

    return [fields, 'Kick-off', (form) => {
        const data = {};

        for (const side of sides) {
            const men = read_lineup(form[side]);

            if (!men)
                return 'A line is not a number and a name.';
            if (Object.keys(men).length > 0)
                data[side + '_players'] = men;
        }
        enter('start', data);
        return '';
    }];
}

function on_next() {
    const view = shown();
    const s = view.state;
    const others = (NEXT[s.period] || []).slice(1).map((kind) => [kind, {}]);

    others.push(is_live(view) ? ['abandoned', {period: 'abandoned'}]
                              : ['postponed', {period: 'postponed'}]);
    const more = others.filter(([word]) => word !== s.period)
        .map(([word, data]) => {
            const b = Object.assign(el('button', '', word_of(word, s)),
                                    {type: 'button'});

            b.addEventListener('click', () => {
                $('sheet').close();
                enter(data.period ? 'status' : word, data);
            });
            return b;
        });
    const first = NEXT[s.period][0];
    const [fields, action, then] = first === 'start' ? ask_start(view)
        : [[], word_of(first, s), () => enter(first, {})];

    open_sheet('What happens now?', fields.concat(more), action, then);
}

function on_undo() {
    const view = shown();
    const m = last_event(view);
    const e = story(view).find((x) => x.m === m);

    open_sheet('Take this back?', [el('p', '', [
        e.text, ...e.detail, e.m.data && e.m.data.minute &&
        e.m.data.minute + '′'].filter(Boolean).join(' · '))],
        'Take it back', () => take_back(m));
}

function ask_for_token() {
    open_sheet('A token, please', [el('p', '', token_wanted),
        input('Token', 'token', {type: 'password', required: true})],
        'Go on', (form) => {
        stored(TOKEN, form.token);
        wake();
    });
    token_wanted = '';
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

/* Throws an Error that can be shown. */
async function ask_server(method, path, body) {
    const headers = {'Content-Type': 'application/json'};

    if (stored(TOKEN))
        headers.Authorization = 'Bearer ' + stored(TOKEN);
    const r = await fetch(path, {method: method, headers: headers,
                                 body: JSON.stringify(body)})
        .catch(() => { throw new Error('There is no connection.'); });
    const answer = await r.json().catch(() => ({}));

    if (!r.ok)
        throw Object.assign(new Error((answer.error || {}).text || 'HTTP ' +
                                      r.status), {answer: answer});
    return answer;
}

/* The id of the team of this name, which is made when there is none. */
async function team_of(name) {
    const same = (text) => text.toLowerCase() === name.toLowerCase();
    const known = Array.from(teams).find(([id, text]) => same(text) || same(id));
    const stem = name.normalize('NFD').toLowerCase()
        .replace(/[^a-z0-9]/g, '').slice(0, 20) || 'team';
    let id = stem;

    if (known)
        return known[0];
    for (let n = 2; teams.has(id); n += 1)
        id = stem + n;
    await ask_server('PUT', '/v1/teams/' + id, {name: name});
    teams.set(id, name);
    return id;
}

async function create(form) {
    const m = {start_time: with_zone(form.start)};

    try {
        m.home = await team_of(form.home.trim());
        m.visit = await team_of(form.visit.trim());
        if (form.stadium.trim())
            m.stadium = form.stadium.trim();
        go_to((await ask_server('POST', '/v1/matches', m)).id);
        return '';
    } catch (e) {
        if ((e.answer && e.answer.error || {}).code !== 'match.exists')
            return e.message;
        go_to([m.home, m.visit, form.start.slice(0, 10)].join('-'));
        return '';      /* also when an answer was lost on the way */
    }
}

function ask_new() {
    const known = el('datalist', '', ...Array.from(teams.values(), (name) =>
        Object.assign(el('option'), {value: name})));
    const team = (label, name) => {
        const field = input(label, name, {required: true, maxLength: 60});

        field.lastChild.setAttribute('list', 'known-teams');
        return field;
    };

    known.id = 'known-teams';
    open_sheet('New match', [known, team('Home', 'home'),
        team('Visitors', 'visit'),
        input('Kick-off', 'start', {type: 'datetime-local', required: true,
                                    value: local_now()}),
        input('Stadium', 'stadium', {maxLength: 100}),
        input('Token, if the server wants one', 'token', {
            type: 'password', value: stored(TOKEN) || ''})],
        'Create', (form) => {
        stored(TOKEN, form.token);
        return create(form);
    });
}

/* ---- The page itself ---- */

sides.forEach((side) => Array.from($(side + '-pad').children).forEach((b) =>
    b.addEventListener('click', () => on_act(side, b.dataset.act))));
$('next').addEventListener('click', on_next);
$('undo').addEventListener('click', on_undo);
$('new').addEventListener('click', ask_new);
$('back').addEventListener('click', () => go_to(''));
$('sheet-form').addEventListener('submit', on_submit);
$('sheet-close').addEventListener('click', () => $('sheet').close());
$('sheet').addEventListener('close', () => {
    if (token_wanted)
        ask_for_token();
});
window.addEventListener('hashchange', read_hash);
window.addEventListener('online', () => wake());
window.addEventListener('storage', draw_soon);
read_hash();
send_all();
}());
