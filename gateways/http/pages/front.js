/* front.js - what the fan's page shows of its first answer: the matches, and
 * one of them on the board, where first.js has put its score already.
 *
 * It stands in the page itself, at its end. app.js goes on. */
const Front = (function () {
'use strict';

const {$, el, fixture, is_live, kicks, load_match, new_match, order, phase,
       place, put, set_base, sides, stored, story, team_name} = Shared;
const {draw_state, set_colours} = Score;

const DRAW_MS = 30;
const BESIDE = 8;               /* matches to come, and played, unless asked */
const KICKS = 5;                /* of each side, before sudden death */
const THEMES = {auto: 'light', light: 'dark', dark: 'auto'};    /* the next */

const matches = new Map();      /* id -> match */
const painters = [];            /* of app.js: (match, events); null: nothing
                                   is known of it */
const front = {chosen: null, pinned: false, more: 0, all: false, title: '',
               unread: 0};
let timer = 0;

/* ---- Light and dark ---- */

function set_theme(theme) {
    set_colours(theme);
    $('theme').dataset.now = theme;
    $('theme').setAttribute('aria-label', 'Colours: ' + ({
        auto: 'as the device', light: 'light', dark: 'dark'})[theme]);
    $('theme').title = $('theme').getAttribute('aria-label');
}

function next_theme() {
    set_theme(stored('touchline theme', THEMES[$('theme').dataset.now]) ||
              THEMES[$('theme').dataset.now]);
}

/* ---- Which matches there are ---- */

/* A burst is drawn once. Not by animation frames: there are none in a hidden
 * tab, whose title shows the score. */
function changed() {
    timer = timer || setTimeout(draw, DRAW_MS);
}

function draw() {
    const match = (choose_current(), matches.get(front.chosen));

    clearTimeout(timer);
    timer = 0;
    draw_list();
    document.body.classList.toggle('no-match', !match || !match.state.home);
    if (!match || !match.state.home) {
        draw_nothing(match);
        return;
    }
    const events = story(match);

    draw_board(match, events);
    painters.forEach((paint) => paint(match, events));
}

function match_of(id) {
    if (!matches.has(id))
        matches.set(id, Object.assign(new_match(id),
                                      {rows: new Map(), asked: false,
                                       news: new Set()}));
    return matches.get(id);
}

/* What the reader looks at is left only for a match in play, and never when the
 * reader has chosen it. */
function choose_current() {
    const have = matches.get(front.chosen);
    const best = order(matches.values())[0];

    if (front.pinned || have && is_live(have))
        return;
    if (best && best.id !== front.chosen && (!have || is_live(best)))
        choose(best.id);
}

function choose(id) {
    front.chosen = id;
    load_chosen();
    changed();
}

async function load_chosen() {
    const match = match_of(front.chosen);

    if (match.asked)
        return;
    match.asked = true;
    await load_match(match);
    match.whole = true;
    changed();
}

/* ---- The list ---- */

const headings = {
    now: el('li', 'heading', 'In play'),
    today: el('li', 'heading', 'Today'),
    next: el('li', 'heading', 'To come'),
    past: el('li', 'heading', 'Played'),
};
const none_today = el('li', 'none-today');
const show_all = el('li', '', el('button', 'all-matches'));

/* The date of a match is as it was written where that is all it has. */
function is_today(s) {
    const now = new Date();
    const two = (n) => String(n).padStart(2, '0');

    return /T00:00:00Z$/.test(s.start_time)
        ? s.date === [now.getFullYear(), two(now.getMonth() + 1),
                      two(now.getDate())].join('-')
        : new Date(s.start_time).toDateString() === now.toDateString();
}

/* Whatever happens in a match, it stays where it is in the list: nothing moves
 * away under a finger. But one that begins comes to the top. */
function group_of(match) {
    if (is_today(match.state))
        return 'today';
    if (is_live(match) || match.group === 'now')
        return 'now';
    return phase(match) === 'next' ? 'next' : 'past';
}

function in_groups() {
    const groups = {now: [], today: [], next: [], past: []};

    order(matches.values()).forEach((match) => {
        match.group = group_of(match);
        groups[match.group].push(match);
    });
    groups.today.sort((a, b) =>
        Date.parse(a.state.start_time) - Date.parse(b.state.start_time) ||
        (a.id < b.id ? -1 : 1));
    return groups;
}

function item_of(match) {
    const button = fixture(match, (m) => front.pick(m));
    const score = [match.state.home_score, match.state.visit_score].join();

    match.item = match.item || el('li', '', button);
    button.setAttribute('aria-current', String(match.id === front.chosen));
    if (match.shown && match.shown !== score)
        flash(button, 'scored', 2500);
    match.shown = score;
    return match.item;
}

function draw_list() {
    const groups = in_groups();
    const was = document.querySelector('.fixture[aria-current=true]');
    let hidden = front.more;
    const nodes = [];

    if (groups.now.length + groups.today.length === 0)
        nodes.push(none_today);
    put(none_today, groups.next.length + groups.past.length > 0
        ? 'No match today.' : 'No matches yet.');
    Object.entries(groups).forEach(([name, list]) => {
        const some = front.all || name === 'now' || name === 'today'
            ? list : list.slice(0, BESIDE);

        hidden += list.length - some.length;
        if (some.length > 0)
            nodes.push(headings[name], ...some.map(item_of));
    });
    if (hidden > 0)
        nodes.push(show_all);
    put(show_all.firstChild, 'Show ' + hidden + ' more');
    place($('match-list'), nodes);
    const is = document.querySelector('.fixture[aria-current=true]');

    if (is && is !== was)
        is.scrollIntoView({block: 'nearest', inline: 'nearest'});
}

/* ---- The board ---- */

/* A class for a while, from its beginning each time. */
function flash(node, name, ms) {
    node.classList.remove(name);
    void node.offsetWidth;
    node.classList.add(name);
    setTimeout(() => node.classList.remove(name), ms);
}

function draw_nothing(match) {
    const gone = match && match.missing;

    delete $('board').dataset.match;
    put($('period'), gone ? 'No such match' : matches.size || match
        ? 'Looking for the match …' : 'No match yet');
    put($('where'), '');
    front.title = 'Touchline';
    show_title();
    painters.forEach((paint) => paint(match || null, null));
}

/* Of the newest event of this period. */
function minute_of(events) {
    for (const e of events.slice().reverse()) {
        if (e.whistle && e.m.kind !== 'status')
            break;
        if (e.m.data && e.m.data.minute && !e.undone)
            return e.m.data.minute;
    }
    return '';
}

function draw_board(match, events) {
    const s = match.state;
    const moved = $('board').dataset.match !== match.id;
    const was = sides.map(score_of);

    draw_state(match, is_live(match) ? minute_of(events) : '');
    sides.forEach((side, i) => {
        if (!moved)
            flash_score(side, was[i]);
        draw_scorers($(side + '-scorers'), events, s[side]);
    });
    draw_kicks(match, kicks(match, events));
    front.title = s.home.toUpperCase() + ' ' + $('home-score').textContent +
        ':' + $('visit-score').textContent + ' ' + s.visit.toUpperCase() +
        ' · Touchline';
    show_title();
}

function show_title() {
    document.title = (front.unread ? '(' + front.unread + ') ' : '') +
        front.title;
}

/* NaN where none stands there. */
const score_of = (side) => Number.parseInt($(side + '-score').textContent, 10);

function flash_score(side, was) {
    const n = score_of(side);

    if (n !== was && !isNaN(n) && !isNaN(was))
        flash($(side + '-score'), n > was ? 'scored' : 'corrected', 2500);
}

/* A dot for each kick: full, crossed out, or still to come. */
function draw_kicks(match, list) {
    const at_it = match.state.home_shootout !== undefined;

    sides.forEach((side) => {
        const taken = list.filter((k) => k.side === side);
        const dots = taken.map((k) => k.scored ? 'in' : 'out');

        while (at_it && is_live(match) && dots.length < KICKS)
            dots.push('open');
        if ($(side + '-kicks').dataset.dots === dots.join())
            return;
        $(side + '-kicks').dataset.dots = dots.join();
        $(side + '-kicks').setAttribute('aria-label', !at_it ? '' :
            team_name(match.state[side]) + ': ' + (taken.map((k) =>
                k.scored ? 'scored' : 'missed').join(', ') || 'no kick yet'));
        place($(side + '-kicks'), dots.map((d) => el('i', d)));
    });
}

function draw_scorers(node, events, team) {
    const names = new Map();

    events.filter((e) => e.m.kind === 'goal' && !e.undone && !e.shootout &&
                         e.m.data.team === team && e.who).forEach((e) => {
        const name = e.who[1] + (e.own ? ' (own goal)' : '');
        const minute = e.m.data.minute ? ' ' + e.m.data.minute + '′' : '';

        names.set(name, names.has(name) ? names.get(name) + ',' + minute
                                        : minute);
    });
    const lines = Array.from(names, ([name, minutes]) => name + minutes);

    if (Array.from(node.children, (c) => c.textContent).join() !== lines.join())
        node.replaceChildren(...lines.map((l) => el('li', '', l)));
}

/* ---- What came with the page ---- */

/* What a list leaves out. */
function lineups_of(s) {
    const kept = {};

    sides.forEach((side) => [side + '_players', side + '_order'].forEach((k) => {
        if (s[k])
            kept[k] = s[k];
    }));
    return kept;
}

function take_list(list, cursor) {
    list.forEach((s) => set_base(
        match_of(s.id), Object.assign(lineups_of(match_of(s.id).state), s),
        cursor));
}

Object.assign(front, {changed, choose, choose_current, draw, flash, load_chosen,
                      match_of, matches, next_theme, painters, show_all,
                      show_title,
                      take_list, known: First.known, pick: () => {}});
set_theme(stored('touchline theme') || 'auto');
if (front.known) {
    take_list(front.known.matches, front.known.at);
    front.more = front.known.more;
}
front.pinned = Boolean(First.wanted);
if (First.wanted)
    choose(First.wanted);
if (front.known)
    draw();
return front;
}());
