/* app.js - the fan's page: matches, one match live, a chat room.
 *
 * Two subscriptions feed it: match/* and team/* from the cursor of the list
 * that was read first, and the room. */
(function () {
'use strict';

const {$, PERIODS, clock, day, el, events_of, fixture, fold, get, hue, is_live,
       load_match, load_teams, mark, new_match, order, phase, place, player,
       put, refold, seq_of, set_base, shootout, sides, stored, story,
       team_name, teams} = Shared;

const KEEP_LINES = 300;         /* of talk, in the page */
const PEOPLE_NOTES = 50;        /* in a larger room nobody's coming is news */
const DRAW_MS = 30;
const FRESH_MS = 600;           /* a new row is shown as new */
const SNAPSHOT_WAIT_MS = 3000;  /* behind a retract */
const SEVERITY = ['failed', 'waiting', 'connecting', 'catching-up', 'live'];

const matches = new Map();      /* id -> match */
const dirty = new Set();
let epoch = null;
let chosen = null;              /* match id */
let pinned = false;             /* by the reader, not by us */
let refreshing = false;
let last_ts = 0;

/* A burst is drawn once. Not by animation frames: there are none in a hidden
 * tab, whose title shows the score. */
function changed(...what) {
    if (dirty.size === 0)
        setTimeout(draw, DRAW_MS);
    what.forEach((w) => dirty.add(w));
}

function draw() {
    const now = new Set(dirty);

    dirty.clear();
    choose_current();
    if (now.has('list'))
        draw_list();
    if (now.has('match'))
        draw_match();
}

/* ---- Following the matches ---- */

function match_of(id) {
    if (!matches.has(id))
        matches.set(id, Object.assign(new_match(id),
                                      {rows: new Map(), asked: false,
                                       news: 0}));
    return matches.get(id);
}

/* What a list leaves out. */
function lineups_of(s) {
    return s.home_players || s.visit_players
        ? {home_players: s.home_players, visit_players: s.visit_players} : {};
}

/* Everything anew, after a gap or where something does not add up. */
async function refresh() {
    if (refreshing)
        return null;
    refreshing = true;
    const list = await get('/v1/matches');

    refreshing = false;
    if (!list)
        return null;
    const there = new Set(list.matches.map((s) => s.id));
    const at = seq_of(list.cursor);

    list.matches.forEach((s) => set_base(
        match_of(s.id), Object.assign(lineups_of(match_of(s.id).state), s),
        list.cursor));
    matches.forEach((match, id) => {
        const newer = events_of(match).some((m) => m.seq > at);

        if (!there.has(id) && !newer && match.at <= at && id !== chosen)
            matches.delete(id);
    });
    $('no-matches').replaceChildren(
        'No matches yet. They appear here as soon as somebody ', reporting,
        ' one.');
    changed('list', 'match');
    return list.cursor;
}

/* A crowd that saw the same thing does not ask in the same moment. */
function refresh_soon(ms) {
    setTimeout(() => {
        matches.forEach((match) => { match.asked = false; });
        refresh().then(load_chosen);
    }, (ms || 0) + Math.random() * 1500);
}

async function load_chosen() {
    const match = matches.get(chosen);

    if (!match || match.asked)
        return;
    match.asked = true;
    await load_match(match);
    changed('match');
}

function on_match_message(m) {
    const [type, id] = m.channel.split('/');

    last_ts = m.ts;
    if (epoch !== null && epoch !== m.epoch) {
        matches.forEach((match) => {
            match.events.clear();
            match.rows.clear();
        });
        refresh_soon();
    }
    epoch = m.epoch;
    if (type === 'team') {
        teams.set(id, m.data.name);
        changed('list', 'match');
        return;
    }
    const match = match_of(id);
    /* load_chosen may have been faster: then it is in the state. */
    const fresh = m.seq > match.at && !match.events.has(m.offset);

    match.events.set(m.offset, m);
    if (fresh)
        fold(match.state, m);
    if (!match.state.home)
        refresh_soon();
    if (m.kind === 'retract' && fresh) {
        refold(match);
        setTimeout(() => {
            if (match.at < m.seq)
                refresh_soon();
        }, SNAPSHOT_WAIT_MS);
    }
    if (fresh)
        match.news = m.offset;
    changed('list', 'match');
}

function on_match_notice(n) {
    if (n.notice === 'gap') {
        refresh_soon();
    } else if (n.notice === 'snapshot' && n.state && n.channel) {
        set_base(match_of(n.channel.split('/')[1]), n.state, n.cursor);
        changed('list', 'match');
    }
}

/* What the reader looks at is left only for a match in play, and never when the
 * reader has chosen it. */
function choose_current() {
    const have = matches.get(chosen);
    const best = order(matches.values())[0];

    if (have && (pinned || is_live(have)))
        return;
    if (best && best.id !== chosen && (!have || is_live(best)))
        choose(best.id);
}

function choose(id) {
    chosen = id;
    changed('list', 'match');
    load_chosen();
}

/* ---- Drawing the matches ---- */

const reporting = Object.assign(el('a', '', 'reports'), {href: '/report'});
const headings = {live: el('li', 'heading', 'In play'),
                  next: el('li', 'heading', 'To come'),
                  over: el('li', 'heading', 'Played')};

function pick(match) {
    pinned = true;
    choose(match.id);
    write_hash();
}

function draw_list() {
    const nodes = [];
    const was = document.querySelector('.fixture[aria-current=true]');
    let group = null;

    order(matches.values()).forEach((match) => {
        const button = fixture(match, pick);

        if (phase(match) !== group)
            nodes.push(headings[group = phase(match)]);
        if (!match.item)
            match.item = el('li', '', button);
        button.setAttribute('aria-current', String(match.id === chosen));
        nodes.push(match.item);
    });
    $('no-matches').hidden = nodes.length > 0;
    place($('match-list'), nodes);
    const is = document.querySelector('.fixture[aria-current=true]');

    if (is && is !== was)
        is.scrollIntoView({block: 'nearest', inline: 'nearest'});
}

function announce(text) {
    $('announce').textContent = text;
}

function draw_match() {
    const match = matches.get(chosen);

    if (!match || !match.state.home)
        return;
    const events = story(match);

    draw_board(match, events);
    draw_timeline(match, events);
    draw_lineups(match, events);
    events.filter((e) => e.m.offset === match.news && !e.minor).forEach((e) =>
        announce([e.text].concat(e.detail, e.tally).filter(Boolean)
            .join(', ')));
    match.news = 0;
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
    const minute = is_live(match) ? minute_of(events) : '';
    const moved = $('board').dataset.match !== match.id;

    $('board').dataset.match = match.id;
    put($('period'), (PERIODS[s.period] || s.period) +
        (minute && ' · ' + minute + '′'));
    put($('where'), [s.stadium, day(s, phase(match) === 'next')]
        .filter(Boolean).join(' · '));
    sides.forEach((side) => {
        const n = phase(match) === 'next' ? '–' : s[side + '_score'];

        put($(side + '-name'), team_name(s[side]));
        put($(side + '-crest'), s[side].slice(0, 3).toUpperCase());
        $(side + '-crest').style.setProperty('--hue', hue(s[side]));
        draw_score($(side + '-score'), n === undefined ? '–' : n, !moved);
        draw_scorers($(side + '-scorers'), events, s[side]);
    });
    put($('shootout'), shootout(s) && shootout(s) + ' on penalties');
    document.title = s.home.toUpperCase() + ' ' + $('home-score').textContent +
        ':' + $('visit-score').textContent + ' ' + s.visit.toUpperCase() +
        ' · Touchline';
}

function draw_score(node, n, flash) {
    const more = flash && Number(n) > Number(node.textContent);

    put(node, n);
    if (!more)
        return;
    node.classList.add('scored');
    setTimeout(() => node.classList.remove('scored'), 2500);
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

function row(e, is_news) {
    const li = el('li', '', el('span', 'minute'), mark(e.mark),
                  el('div', 'what', el('b'), el('small')),
                  el('span', 'tally'));

    if (is_news) {
        li.classList.add('fresh');
        setTimeout(() => li.classList.remove('fresh'), FRESH_MS);
    }
    return li;
}

function draw_timeline(match, events) {
    const first = match.rows.size === 0;

    place($('timeline'), events.map((e) => {
        const known = match.rows.has(e.m.offset);
        const li = known ? match.rows.get(e.m.offset) : row(e, !first);
        const d = e.m.data || {};

        match.rows.set(e.m.offset, li);
        li.className = [e.minor ? 'minor' : '', e.undone ? 'undone' : '',
                        e.m.kind === 'goal' && !e.undone ? 'goal' : '',
                        e.whistle ? 'whistle' : '', d.team ? 'of-team' : '',
                        li.classList.contains('fresh') ? 'fresh' : '',
                       ].join(' ');
        li.title = clock(e.m.ts);
        li.style.setProperty('--hue', hue(d.team || ''));
        put(li.children[0], d.minute ? d.minute + '′'
            : e.whistle || e.shootout ? '' : clock(e.m.ts));
        put(li.querySelector('b'), e.text);
        put(li.querySelector('small'), e.detail.filter(Boolean).join(' · '));
        put(li.children[3], e.tally);
        return li;
    }).reverse());
    $('no-events').hidden = events.length > 0;
}

function draw_lineups(match, events) {
    const s = match.state;
    const notes = new Map();    /* team/number -> marks, and whether off */
    const note = (team, p, what, off) => {
        const who = player(p, match, team);
        const key = who && team + '/' + who[0];

        if (!who)
            return;
        if (!notes.has(key))
            notes.set(key, {team: team, who: who, marks: [], off: false});
        const had = notes.get(key);

        had.off = off === undefined ? had.off
            : off || what === 'yellow' && had.marks.includes('yellow');
        had.marks.push(what);
    };

    events.filter((e) => !e.undone).forEach((e) => {
        const d = e.m.data || {};

        if (e.m.kind === 'goal' && !e.shootout)
            note(d.player_team || d.team, d.player, 'ball');
        else if (e.m.kind === 'card')
            note(d.team || d.player_team, d.player, d.card, d.card === 'red');
        if (e.m.kind === 'substitution') {
            note(d.team, d.player_in, 'in', false);
            note(d.team, d.player_out, 'out', true);
        }
    });
    sides.forEach((side) => draw_lineup(side, s, notes));
}

function draw_lineup(side, s, notes) {
    const team = s[side];
    const given = s[side + '_players'];
    const men = new Map(Object.entries(given || {}));

    put($(side + '-line'), team_name(team));
    $(side + '-players').style.setProperty('--hue', hue(team));
    notes.forEach((n) => {
        if (n.team === team && given && Object.keys(given).length > 0)
            men.set(n.who[0], n.who[1]);
    });
    const lines = Array.from(men, ([number, name]) => {
        const n = notes.get(team + '/' + number) || {marks: [], off: false};
        const badges = el('span', 'badges', ...n.marks.map(mark));

        return {off: n.off, number: Number(number),
                li: el('li', n.off ? 'off' : '', el('span', '', number),
                       el('span', '', name), badges)};
    }).sort((a, b) => a.off - b.off || a.number - b.number);

    $(side + '-players').replaceChildren(...(lines.length > 0
        ? lines.map((l) => l.li) : [el('li', 'none', 'Not announced')]));
}

/* ---- The room ---- */

/* sent: lines whose answer is still to come; faster: message -> words, of those
 * that are one of these, as it seems; expected: offset -> a line that was
 * answered and is still to be heard. */
const room = {name: '', sub: null, lines: new Map(), people: new Map(),
              count: 0, expected: new Map(), sent: new Set(),
              faster: new Map()};
let me = '';

function enter(name) {
    if (room.sub)
        room.sub.close();
    room.name = name;
    room.lines.clear();
    room.people.clear();
    room.expected.clear();
    room.sent.clear();
    room.faster.clear();
    room.count = 0;
    $('talk').replaceChildren();
    $('room-name').textContent = name;
    $('room-input').value = name;
    $('name-input').value = me;
    draw_people();
    room.sub = Touchline.subscribe('', 'room/' + name, {
        name: me,
        onmessage: (m) => hear(m, true),
        onnotice: on_room_notice,
        onstate: (s) => on_state('room', s),
    });
}

function on_room_notice(n) {
    const s = n.state || n;

    if (n.notice === 'snapshot' && n.state) {
        set_people(s);
        (s.messages || []).forEach((m) => hear(m, false));
    } else if (n.notice === 'resumed') {
        const asked = room.name;    /* who came and went meanwhile is unknown */

        get('/v1/presence/room/' + asked.split('/').map(encodeURIComponent)
            .join('/')).then((p) => {
            if (p && asked === room.name)
                set_people(p);
        });
    } else if (n.notice === 'gap') {
        add_note('Messages missed: ' + (n.count || 'some'));
    } else if (n.notice === 'join' || n.notice === 'leave') {
        come_and_go(n.notice, s);
    }
}

function set_people(s) {
    room.people = new Map((s.names || []).map((p) => [p.name, p.connections]));
    if (!room.people.has(me) && room.people.size < 100)
        room.people.set(me, 1);     /* our own coming may be told later */
    room.count = s.count || 0;
    draw_people();
}

function come_and_go(what, s) {
    const names = (s.names || []).map((p) => p.name || p);
    const others = (s.count || names.length) - names.length;

    names.forEach((name) => {
        if (what === 'leave')
            room.people.delete(name);
        else if (!room.people.has(name))
            room.people.set(name, 1);
    });
    draw_people();
    const told = names.filter((name) => name !== me);

    if (others > 0)
        told.push(others + (others > 1 ? ' others' : ' other'));
    if (told.length > 0 && room.people.size <= PEOPLE_NOTES)
        add_note(told.join(', ') + (what === 'join' ? ' joined' : ' left'));
}

function draw_people() {
    const many = room.people.size >= 100;

    put($('people'), (many ? room.count : room.people.size) + ' here');
    $('names').replaceChildren(...Array.from(room.people, ([name, n]) =>
        el('li', '', name + (n > 1 ? ' ×' + n : ''))));
}

function text_of(data) {
    if (typeof data === 'string')
        return data;
    return data && typeof data.text === 'string' ? data.text
                                                 : JSON.stringify(data);
}

function hear(m, live) {
    const key = name_of(m);

    last_ts = m.ts;
    if (room.lines.has(key))
        return;
    take_pending(m, key);
    const li = line(m.from || 'anon', text_of(m.data), m.ts);

    room.lines.set(key, li);
    add_line(li, m.from === me);
    if (live && $('panel-chat').offsetParent === null)
        unread(Number($('unread').textContent) + 1);
}

const name_of = (m) => m.epoch + '/' + m.offset;

const words_of = (li) => li.children[1].textContent;

/* Shown once: what is heard takes the place of the line that was sent. The
 * stream may be faster than the answer; then it goes by name and words. */
function take_pending(m, key) {
    const mine = room.expected.get(m.offset);

    room.expected.delete(m.offset);
    if (mine) {
        mine.remove();
    } else if (m.from === me) {
        room.faster.set(key, text_of(m.data));
        place_sent();
    }
}

/* As many lines of the same words as were heard are not shown again. */
function place_sent() {
    const left = new Map(room.faster);

    room.sent.forEach((li) => {
        const it = Array.from(left).find(([, words]) => words === words_of(li));

        if (it)
            left.delete(it[0]);
        if (it)
            li.remove();
        else if (!li.isConnected)
            add_line(li, false);
    });
    left.forEach((words, key) => room.faster.delete(key));
}

function answered(li, answer) {
    const key = name_of(answer);

    room.sent.delete(li);
    room.faster.delete(key);
    if (room.lines.has(key)) {
        li.remove();
    } else {
        room.expected.set(answer.offset, li);
        if (!li.isConnected)
            add_line(li, false);
    }
    place_sent();
}

function line(from, text, ts) {
    const who = el('b', '', from);
    const li = el('li', from === me ? 'line mine' : 'line',
                  el('header', '', who, el('span', '', clock(ts))),
                  el('div', '', text));

    who.style.setProperty('--hue', hue(from));
    li.dataset.from = from;
    return li;
}

function add_note(text) {
    add_line(el('li', 'note', text), false);
}

/* What is still being sent stays below what has been said. */
function add_line(li, follow) {
    const talk = $('talk');
    const at_end = talk.scrollHeight - talk.scrollTop - talk.clientHeight < 40;
    const pending = li.classList.contains('pending') ? null
        : talk.querySelector('.pending');
    const before = pending ? pending.previousElementSibling
                           : talk.lastElementChild;

    li.classList.toggle('follows', Boolean(
        before && li.dataset.from && before.dataset.from === li.dataset.from));
    talk.insertBefore(li, pending);
    while (talk.children.length > KEEP_LINES)
        talk.firstChild.remove();
    if (room.lines.size > 2 * KEEP_LINES)
        room.lines.delete(room.lines.keys().next().value);
    if (at_end || follow)
        to_end();
    else
        $('newer').hidden = false;
}

function to_end() {
    $('talk').scrollTop = $('talk').scrollHeight;
    $('newer').hidden = true;
}

function unread(n) {
    $('unread').textContent = n;
    $('unread').hidden = n === 0;
}

function say(text) {
    const li = line(me, text, Date.now());
    const key = Date.now().toString(36) + Math.random().toString(36).slice(2);
    const options = {from: me, idempotency: key};

    li.classList.add('pending');
    room.sent.add(li);
    add_line(li, true);
    send(li, room.name, text, options);
}

/* The key stays the same however often the reader presses Try again. */
function send(li, name, text, options) {
    Touchline.publish('', 'room/' + name, text, options).then((answer) => {
        if (name === room.name)
            answered(li, answer);
    }, (e) => {
        const again = el('button', '', 'Not sent: ' + e.message +
                                       ' – try again');

        again.addEventListener('click', () => {
            again.remove();
            send(li, name, text, options);
        });
        li.append(again);
        to_end();
    });
}

/* The server's rule: 1 to 64 bytes without control characters, space, colon. */
function name_is_good(name) {
    const bytes = new TextEncoder().encode(name).length;

    return bytes > 0 && bytes <= 64 &&
        !/[\s:\u0000-\u001f\u007f-\u009f]/.test(name);
}

function room_is_good(name) {
    return name.length <= 100 && name.split('/').every((s) =>
        s !== '' && s !== '.' && s !== '..' &&
        !/[\s*\u0000-\u001f\u007f-\u009f]/.test(s));
}

/* ---- Connection ---- */

const states = {};
let retry_at = 0;
let ever_live = false;

function on_state(who, s) {
    states[who] = s;
    if (s.state === 'waiting')
        retry_at = Date.now() + s.retryIn;
    if (s.state === 'failed' && who === 'room') {
        $('identity-error').textContent = s.error.text;
        $('who').open = true;
    }
    draw_state();
}

function draw_state() {
    const s = Object.values(states).sort((a, b) =>
        SEVERITY.indexOf(a.state) - SEVERITY.indexOf(b.state))[0];
    const was = $('conn').dataset.state;
    const seconds = Math.max(1, Math.ceil((retry_at - Date.now()) / 1000));
    const text = {
        live: 'Live',
        connecting: ever_live ? 'Reconnecting' : 'Connecting',
        'catching-up': 'Catching up' + (last_ts
            ? ' from ' + clock(last_ts) : ''),
        waiting: 'Reconnecting in ' + seconds + ' s',
        failed: 'Refused: ' + (s && s.error ? s.error.text : ''),
    };

    if (!s || !text[s.state])
        return;
    put($('conn-text'), text[s.state]);
    $('conn').dataset.state = s.state;
    $('conn').title = s.transport === 'poll' ? 'long poll' : s.transport;
    if (s.state === 'waiting' && was !== 'waiting' && was !== 'connecting')
        announce('Connection lost, reconnecting.');
    if (s.state === 'live' && ever_live && was !== 'live')
        announce('Live again.');
    ever_live = ever_live || s.state === 'live';
}

/* ---- The page itself ---- */

function show(view) {
    document.body.dataset.view = view;
    document.querySelectorAll('[role=tab]').forEach((t) => {
        const on = t.id === 'tab-' + view;

        t.setAttribute('aria-selected', String(on));
        t.tabIndex = on ? 0 : -1;
    });
    if (view === 'chat') {
        unread(0);
        to_end();
    }
}

function on_tab_key(event) {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    const tabs = Array.from(document.querySelectorAll('[role=tab]'))
        .filter((t) => t.offsetParent !== null);
    const at = tabs.indexOf(document.activeElement);

    if (!step || at < 0)
        return;
    const next = tabs[(at + step + tabs.length) % tabs.length];

    show(next.id.slice(4));
    next.focus();
}

function read_hash() {
    const want = new URLSearchParams(location.hash.slice(1));
    const name = want.get('room') || 'lobby';

    pinned = want.has('match');
    if (pinned && want.get('match') !== chosen)
        choose(want.get('match'));
    if (name !== room.name)
        enter(room_is_good(name) ? name : 'lobby');
}

function write_hash() {
    const want = new URLSearchParams();

    if (pinned)
        want.set('match', chosen);
    want.set('room', room.name);
    history.pushState(null, '', '#' + want);
}

function on_identity(event) {
    const name = $('name-input').value.trim();
    const where = $('room-input').value.trim();

    event.preventDefault();
    if (!name_is_good(name) || !room_is_good(where)) {
        $('identity-error').textContent = name_is_good(name)
            ? 'A room is a word without spaces or asterisks.'
            : 'A name has up to 64 bytes, no spaces and no colon.';
        return;
    }
    $('identity-error').textContent = '';
    me = name;
    stored('touchline name', name);
    enter(where);
    write_hash();
    $('who').open = false;
    $('text').focus();
}

function on_say(event) {
    const text = $('text').value.trim();

    event.preventDefault();
    $('text').value = '';
    if (text)
        say(text);
    $('text').focus();
}

function wire_up() {
    document.querySelectorAll('[role=tab]').forEach((t) =>
        t.addEventListener('click', () => show(t.id.slice(4))));
    document.querySelector('[role=tablist]')
        .addEventListener('keydown', on_tab_key);
    document.querySelector('.skip').addEventListener('click', (event) => {
        event.preventDefault();
        $('panel-timeline').focus();
    });
    $('key-only').addEventListener('click', (event) => {
        const on = $('timeline').classList.toggle('key-only');

        event.currentTarget.setAttribute('aria-pressed', String(on));
    });
    $('identity').addEventListener('submit', on_identity);
    $('say').addEventListener('submit', on_say);
    $('text').addEventListener('keydown', (event) => {
        if (event.key === 'Enter' && !event.shiftKey && !event.isComposing)
            on_say(event);
    });
    $('newer').addEventListener('click', to_end);
    $('talk').addEventListener('scroll', () => {
        const t = $('talk');

        if (t.scrollHeight - t.scrollTop - t.clientHeight < 40)
            $('newer').hidden = true;
    });
    window.addEventListener('popstate', read_hash);
    window.addEventListener('hashchange', read_hash);
    setInterval(draw_state, 1000);
}

async function follow_matches() {
    const since = await load_teams();
    const cursor = await refresh();     /* draws with the names, too */

    load_chosen();
    Touchline.subscribe('', ['match/*', 'team/*'], {
        since: since || cursor,
        onmessage: on_match_message,
        onnotice: on_match_notice,
        onstate: (s) => on_state('matches', s),
    });
}

me = stored('touchline name') || '';
if (!name_is_good(me))
    me = stored('touchline name', 'fan-' +
        String(Math.random()).slice(2, 6)) || 'fan';
wire_up();
read_hash();
follow_matches();
}());
