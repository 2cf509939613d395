/* report.js - the reporter's page: a match, reported with one thumb.
 *
 * What is entered goes to the outbox (outbox.js), waits there until the server
 * has answered for it, and counts on the screen as if it had been sent. What
 * the server said of the match is kept, too, so that the page goes on where it
 * was when it is opened again without a network. */
(function () {
'use strict';

const {$, PERIODS, clock: hours, day, el, events_of, get, hue, is_live,
       load_match, load_teams, mark, new_match, order, phase, place, put,
       refold, retracted, set_base, shootout, sides, stored, story, team_name,
       teams} = Shared;

const DRAW_MS = 30;
const KEEP_MS = 800;
const COPIES = 4;               /* matches that are kept in the browser */
const TOKEN = Outbox.TOKEN;
const ACTS = {      /* place on the pad and act -> its words */
    goal: ['Goal', 'Goal'], card: ['Card', 'Card'],
    substitution: ['Sub', 'Substitution'],
    shot: ['Missed', 'Missed'],
};
/* Whistles from which the clock counts, by when they were entered. */
const CLOCKED = ['start', 'halftime_start', 'halftime_stop', 'extratime'];
const HEADINGS = {live: 'In play', next: 'Next', over: 'Before'};

let match = null;
let notes = null;               /* of the match: began, lineup texts */
let sub = null;
let sub_state = 'connecting';
let away = false;       /* the network, says the browser; nothing has come since */
let awaited = '';               /* the id of a match that is to be created */
let skew = 0;                   /* the server's clock less ours, milliseconds */
let token_words = '';           /* the server's; asked when no sheet is open */
let told_words = '';            /* those that were shown: once is enough */
let denied = false;
const places = new Map();       /* key -> offset, of what this page has sent */

const now = () => Date.now() + skew;

/* ---- What the browser keeps ---- */

function read_kept(name) {
    try {
        return JSON.parse(stored('touchline ' + name));
    } catch (e) {
        return null;
    }
}

const write_kept = (name, value) =>
    stored('touchline ' + name, JSON.stringify(value));

function forget(key) {
    try {
        localStorage.removeItem(key);
    } catch (e) {
        /* It was not kept. */
    }
}

let keeping = 0;

function keep_match() {
    clearTimeout(keeping);
    keeping = setTimeout(() => {
        if (!match || !match.state.home)
            return;
        const copies = (read_kept('copies') || []).filter((i) =>
            i !== match.id);

        copies.unshift(match.id);
        copies.splice(COPIES).forEach((id) => ['match ', 'notes '].forEach(
            (what) => forget('touchline ' + what + id)));
        write_kept('copies', copies);
        write_kept('match ' + match.id, {
            epoch: match.epoch, base: match.base, at: match.at,
            events: Array.from(match.events.values()),
            teams: sides.map((s) => [match.state[s],
                                     team_name(match.state[s])])});
    }, KEEP_MS);
}

function kept_match(id) {
    const m = new_match(id);
    const copy = read_kept('match ' + id);

    if (copy) {
        Object.assign(m, {epoch: copy.epoch, base: copy.base, at: copy.at,
                          events: new Map(copy.events.map(
                              (e) => [e.offset, e]))});
        copy.teams.filter(([t]) => !teams.has(t))
            .forEach(([t, name]) => teams.set(t, name));
        refold(m);
    }
    return m;
}

function note(change) {
    change(notes);
    write_kept('notes ' + match.id, notes);
    draw_soon();
}

/* ---- The match as it will be, with what waits ---- */

/* Players by number only: the server adds the names that it knows. */
function gist(data) {
    return JSON.stringify(Object.entries(data || {}).map(([k, v]) =>
        [k, /^player(_in|_out)?$/.test(k) && typeof v === 'object'
            ? Object.keys(v) : v]).sort());
}

/* The event that waits for its answer and has come by the stream already. */
function has_come(item) {
    const mine = new Set(places.values());

    return item.tried && events_of(match).find((m) =>
        !mine.has(m.offset) && m.ts > item.tried + skew - 5000 &&
        m.kind === item.kind && gist(m.data) === gist(item.data));
}

function shown() {
    const view = Object.assign(new_match(match.id), {
        epoch: match.epoch, base: match.base, at: match.at,
        events: new Map(match.events)});
    const at = new Map();       /* key -> the place it is given here */
    const mine = Outbox.list().filter((i) => i.match === match.id &&
                                             !i.refused);
    const gone = retracted(events_of(match));
    let last = Math.max(0, ...view.events.keys());
    const put_next = (m) => view.events.set(last += 1, Object.assign(
        {offset: last, seq: Number.MAX_SAFE_INTEGER}, m));

    mine.filter((i) => i.kind !== 'team').forEach((i, n) => {
        const undo = i.kind === 'retract';
        const target = i.undoes ? at.get(i.undoes) : i.replaces;
        const come = n === 0 && !target && has_come(i);

        if (come) {
            at.set(i.key, come.offset);
            return;
        }
        if (!undo && target && !gone.has(target))
            put_next({ts: i.at, kind: 'retract',
                      data: {offset: target, comment: Outbox.CORRECTED}});
        put_next({ts: i.at, kind: i.kind, item: i,
                  data: undo && i.undoes ? {offset: target} : i.data});
        at.set(i.key, last);
    });
    refold(view);
    return view;
}

/* The match as if that had never happened. */
function without(view, m) {
    const other = Object.assign(new_match(match.id), view);
    const last = Math.max(...view.events.keys()) + 1;

    other.events = new Map(view.events).set(last, {
        offset: last, seq: Number.MAX_SAFE_INTEGER, kind: 'retract',
        data: {offset: m.offset}});
    refold(other);
    return other;
}

function enter(kind, data, more) {
    Outbox.add(match.id, kind, data, now(), more);
    say(described(kind, data) + ' entered.');
}

/* In the place of an event that has been sent, or may have been. */
function correct(m, kind, data) {
    const key = m.item && m.item.key;
    const item = key && Outbox.find(key);

    if (gist(data) === gist(m.data))
        return;
    if (!key || places.has(key))
        enter(kind, data, {replaces: key ? places.get(key) : m.offset});
    else if (item && item.tried && !item.refused)
        enter(kind, data, {undoes: key});
    else if (item)
        Outbox.replace(key, {data: data});
}

/* It may be on its way, or have arrived since it was drawn. */
function take_back(m) {
    const key = m.item && m.item.key;
    const item = key && Outbox.find(key);

    if (!key || places.has(key))
        enter('retract', {offset: key ? places.get(key) : m.offset});
    else if (item && item.tried && !item.refused)
        enter('retract', {}, {undoes: key});
    else if (item)
        Outbox.drop(key);
}

/* An event in words, as it would stand in the list. */
function told(kind, data) {
    const view = Object.assign(new_match(match.id), {state: shown().state});

    view.events.set(1, {offset: 2, ts: now(), kind: kind, data: data});
    const e = story(view)[0];

    if (Play.word(kind, view) && e.whistle && kind !== 'status')
        e.text = Play.word(kind, view);
    return e;
}

const described = (kind, data) => kind === 'retract' ? 'Undo'
    : kind === 'team' ? 'The team ' + data.name : told(kind, data).text;

/* ---- Following the match ---- */

function on_message(m) {
    const mine = Array.from(places.values()).includes(m.offset);

    match.events.set(m.offset, m);
    refold(match);
    if (!mine && !Outbox.list().some((i) => i.match === match.id))
        say(described(m.kind, m.data) + ', from elsewhere.');
    keep_match();
    draw_soon();
}

function on_notice(n) {
    if (n.notice === 'snapshot' && n.state)
        set_base(match, n.state, n.cursor);
    if (n.notice === 'gap')
        load_match(match).then(draw_soon);
    keep_match();
    draw_soon();
}

function open_match(id) {
    close_match();
    match = kept_match(id);
    notes = Object.assign({began: {}, home: '', visit: ''},
                          read_kept('notes ' + id));
    document.body.dataset.view = 'report';
    document.body.dataset.pad = 'none';
    rows.clear();
    $('log').replaceChildren();
    know_teams();
    draw_soon();
    ask_leave('/v1/matches/' + encodeURIComponent(id) + '/events');
    follow(id);
}

const is_made = (id) => !Outbox.list().some((i) => i.makes && i.match === id);

/* From what the server has of it; it may have to be created first. */
async function follow(id) {
    const mine = new_match(id);

    awaited = is_made(id) ? '' : id;
    if (awaited)
        return;
    await load_teams();
    await load_match(mine);
    if (!match || match.id !== id || sub)
        return;
    if (!mine.state.home) {
        go_to('');      /* there is no such match */
        return;
    }
    match = mine;
    keep_match();
    sub = Touchline.subscribe('', 'match/' + id, {
        since: mine.at >= 0 ? mine.epoch + '-' + mine.at : undefined,
        onmessage: on_message, onnotice: on_notice,
        onstate: (s) => {
            sub_state = s.state;
            away = away && !is_up();
            draw_soon();
        }});
    draw_soon();
}

/* Those that are to be made, by their names. */
function know_teams() {
    Outbox.list().filter((i) => i.kind === 'team' && !teams.has(i.data.id))
        .forEach((i) => teams.set(i.data.id, i.data.name));
}

function close_match() {
    if (sub)
        sub.close();
    sub = match = null;
    sub_state = 'connecting';
}

function go_to(id) {
    location.hash = id ? 'match=' + encodeURIComponent(id) : '';
}

function read_hash() {
    const id = new URLSearchParams(location.hash.slice(1)).get('match');

    Sheets.close();
    if (id)
        open_match(id);
    else
        list_matches();
}

/* ---- Which match ---- */

async function list_matches() {
    const old = read_kept('matches');

    close_match();
    document.body.dataset.view = 'choose';
    know_teams();
    if (old)
        old.teams.forEach(([id, name]) => teams.set(id, name));
    draw_list(old ? old.matches : []);
    draw_soon();
    ask_leave('/v1/matches');
    await load_teams();
    const list = await get('/v1/matches');

    if (match || !list)
        return;
    write_kept('matches', {matches: list.matches, teams: Array.from(teams)});
    sub_state = 'live';
    draw_list(list.matches);
    draw_soon();
}

function fixture(m) {
    const s = m.state;
    const begun = phase(m) !== 'next';
    const n = Outbox.list().filter((i) => i.match === m.id).length;
    const when = phase(m) === 'next' ? day(s, true)
        : phase(m) === 'live' ? PERIODS[s.period]
            : PERIODS[s.period] + ' · ' + day(s);
    const b = Sheets.button('fixture', [
        el('span', '', team_name(s.home)),
        el('b', '', begun ? String(s.home_score) : ''),
        el('span', '', team_name(s.visit)),
        el('b', '', begun ? String(s.visit_score) : ''),
        el('small', '', when, n > 0 ? el('em', '', n + ' not sent') : '')],
        () => go_to(m.id));

    b.dataset.phase = phase(m);
    return b;
}

/* How many events of which match wait: the list says so. */
const waits = () => Outbox.list().map((i) => i.match).join(' ');

let listed = null;              /* {matches, waits}: what the list shows */

/* Those that wait to be created are in it, too. */
function draw_list(matches) {
    listed = {matches: matches, waits: waits()};
    const waiting = Outbox.list().filter((i) => i.makes && i.kind === 'status' &&
            !matches.some((s) => s.id === i.match))
        .map((i) => Object.assign({id: i.match}, i.data));
    const all = order(matches.concat(waiting).map((s) => Object.assign(new_match(s.id),
                                                       {state: s})));
    const parts = Object.keys(HEADINGS).map((p) => [p, all.filter((m) =>
        phase(m) === p)]).filter(([, list]) => list.length > 0);

    $('match-list').replaceChildren(...parts.flatMap(([p, list]) =>
        [el('h3', '', HEADINGS[p]), ...list.map(fixture)]));
    if (all.length === 0)
        $('match-list').append(el('p', 'empty', sub_state === 'live'
            ? 'There are no matches yet.' : 'Looking for matches …'));
}

/* ---- Asking the server ---- */

/* Throws an Error that can be shown; it has status and code. */
async function ask_server(method, path, body, token) {
    const headers = {'Content-Type': 'application/json'};
    const secret = token === undefined ? stored(TOKEN) : token;

    if (secret)
        headers.Authorization = 'Bearer ' + secret;
    const began = Date.now();
    const r = await fetch(path, {method: method, headers: headers,
                                 body: JSON.stringify(body)})
        .catch(() => { throw new Error('There is no connection just now.'); });
    const date = Date.parse(r.headers.get('Date'));
    const answer = await r.json().catch(() => ({}));

    /* The header has whole seconds. */
    if (date && Date.now() - began < 2000)
        skew = Math.abs(date + 500 - began) > 2500 ? date + 500 - began : 0;
    if (!r.ok) {
        const why = answer.error || {};

        throw Object.assign(new Error(Outbox.words(why.code, why.text) ||
                                      'HTTP ' + r.status),
                            {status: r.status, code: why.code,
                             answer: answer});
    }
    return answer;
}

/* May we report? An empty object is refused for what it is where we may, and
 * for who we are where we may not. Gives the server's words, or nothing;
 * throws when there is no answer. */
async function refusal(path, token) {
    try {
        await ask_server('POST', path, {}, token);
    } catch (e) {
        if (e.status === 403)
            return e.message;
        if (e.status !== 400 && e.status !== 404 && e.status !== 409)
            throw e;
    }
    return '';
}

/* Asked when the page opens, so that it is not at the first goal that a token
 * turns out to be missing. */
async function ask_leave(path) {
    try {
        const words = await refusal(path);

        denied = Boolean(words);
        if (denied)
            want_token(words);
    } catch (e) {
        /* Later: the outbox asks with each event. */
    }
    draw_soon();
}

function want_token(words) {
    if (words === told_words)
        return;
    token_words = words;
    if (!$('sheet').open)
        show_token();
}

function show_token() {
    const kept = Boolean(stored(TOKEN));
    const words = token_words ? 'The server says: ' + token_words
        : kept ? 'A token is kept on this device.'
            : 'None is kept here, and the server has not asked for one.';
    const path = match ? '/v1/matches/' + encodeURIComponent(match.id) +
        '/events' : '/v1/matches';

    told_words = token_words || told_words;
    token_words = '';
    Sheets.token(words, kept, async (text) => {
        try {
            const wrong = await refusal(path, text);

            if (wrong)
                return wrong;
        } catch (e) {
            return e.message + ' The token is not kept: it could not be tried.';
        }
        denied = false;
        told_words = '';
        stored(TOKEN, text);
        Outbox.kick();
        draw_soon();
        return '';
    }, () => {
        forget(TOKEN);
        ask_leave(path);
    });
}

/* [id, is it new?] of the team of this name. */
function team_id(name) {
    const same = (text) => text.toLowerCase() === name.toLowerCase();
    const known = Array.from(teams).find(([id, text]) => same(text) || same(id));
    const stem = name.normalize('NFD').toLowerCase()
        .replace(/[^a-z0-9]/g, '').slice(0, 20) || 'team';
    let id = stem;

    for (let n = 2; teams.has(id); n += 1)
        id = stem + n;
    return known ? [known[0], false] : [id, true];
}

async function team_of(name) {
    const [id, is_new] = team_id(name);

    if (is_new)
        await ask_server('PUT', '/v1/teams/' + id, {name: name});
    teams.set(id, teams.get(id) || name);
    return id;
}

/* Without a connection it is made later, with what it needs, in front of all
 * that is reported of it. */
function create_later(form) {
    const made = [form.home, form.visit].map((name) => [name, ...team_id(name)]);
    const [home, visit] = made.map(([, id]) => id);
    const id = [home, visit, form.date].join('-');

    if (home === visit)
        return 'A team does not play against itself.';
    made.filter(([, , is_new]) => is_new).forEach(([name, team]) => {
        teams.set(team, name);
        Outbox.add(id, 'team', {id: team, name: name}, now(), {makes: true});
    });
    Outbox.add(id, 'status', Object.assign({
        home: home, visit: visit, start_time: form.start,
        period: 'not_started'}, form.stadium && {stadium: form.stadium}),
        now(), {makes: true});
    go_to(id);
    return '';
}

async function create(form) {
    const m = {start_time: form.start};

    try {
        m.home = await team_of(form.home);
        m.visit = await team_of(form.visit);
        if (m.home === m.visit)
            return 'A team does not play against itself.';
        if (form.stadium)
            m.stadium = form.stadium;
        go_to((await ask_server('POST', '/v1/matches', m)).id);
        return '';
    } catch (e) {
        if (e.status === 403) {
            denied = true;
            token_words = e.message;
            return 'The server wants a token: ' + e.message;
        }
        if (!e.status)
            return create_later(form);
        if (e.code !== 'match.exists')
            return e.message;
        go_to([m.home, m.visit, form.date].join('-'));
        return '';      /* also when an answer was lost on the way */
    }
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
    if (!match && listed && listed.waits !== waits())
        draw_list(listed.matches);
    const view = match && shown();

    if (!view || !view.state.home)
        return;
    draw_board(view);
    draw_clock(view);
    draw_log(view);
    draw_pad(view);
}

function is_up() {
    return sub_state === 'live' || sub_state === 'catching-up';
}

function on_network(gone) {
    away = gone;
    draw_soon();
}

function draw_state() {
    const all = Outbox.list();
    const n = all.filter((i) => !i.refused).length;
    const bad = all.length - n;
    const live = is_up();
    const token = Outbox.trouble === 'token' && n > 0 || denied;
    const offline = n > 0 && Outbox.trouble === 'offline' ||
        sub_state === 'waiting' || away || !live && !navigator.onLine;

    $('conn').dataset.state = token || bad ? 'failed'
        : offline || !live ? 'waiting' : 'live';
    $('token').classList.toggle('wanted', token);
    put($('conn-text'), [token ? 'Token needed' : offline ? 'Offline'
        : live ? 'Live' : 'Connecting', n > 0 && n + ' waiting',
        bad > 0 && bad + ' refused', !Outbox.keeps && 'keep this page open']
        .filter(Boolean).join(' · '));
}

function draw_board(view) {
    const s = view.state;
    const next = phase(view) === 'next' || s.period === 'postponed';

    put($('title'), [team_name(s.home), team_name(s.visit)].join(' – '));
    put($('period'), PERIODS[s.period] + (next ? ' · ' + day(s, true) : ''));
    put($('shootout'), shootout(s) && shootout(s) + ' pens');
    sides.forEach((side) => {
        const n = s[side + '_score'];

        put($(side + '-name'), team_name(s[side]));
        put($(side + '-score'), next || n === undefined ? '–' : n);
        put($(side + '-pad-name'), team_name(s[side]));
        $(side + '-pad').style.setProperty('--hue', hue(s[side]));
    });
}

function draw_clock(view) {
    const c = Play.clock(view, notes.began, now());

    put($('clock-main'), c.main);
    put($('clock-added'), c.added);
    $('clock').hidden = !c.main;
    $('clock').disabled = !c.since;
}

/* ---- The list ---- */

const rows = new Map();         /* name -> {li, as: what it shows} */

/* An event that is sent keeps the row that it had while it waited. */
function row_name(e) {
    const sent = Array.from(places).find(([, o]) => o === e.m.offset);

    return e.m.item ? e.m.item.key : sent ? sent[0] : 'o' + e.m.offset;
}

/* What has become of it: waiting, refused or sent, and the words for that. */
function fate(e) {
    const item = e.m.item;

    return !item ? ['sent', '✓'] : item.refused ? ['refused', 'refused']
        : ['waiting', 'waiting'];
}

const is_correction = (m) => m.kind === 'retract' &&
    m.data.comment === Outbox.CORRECTED;
const undone_word = (e) => e.taken_back && is_correction(e.taken_back.m)
    ? 'corrected' : 'taken back';

function make_row(e, name) {
    const d = e.m.data || {};
    const [state, words] = fate(e);
    const b = Sheets.button('event', [
        el('span', 'minute', d.minute ? d.minute + '′' : hours(e.m.ts)),
        mark(e.mark),
        el('span', 'what', el('b', '', e.text),
           el('small', '', e.detail.filter(Boolean).join(' · '))),
        el('span', 'fate', el('b', '', e.tally || ''),
           el('small', '', e.undone ? undone_word(e) : words))],
        () => show_event(name));

    const li = el('li', state, b);

    if (state === 'sent' && !e.undone)
        b.lastChild.lastChild.replaceChildren(
            Object.assign(el('span', '', words), {ariaHidden: 'true'}),
            el('span', 'sr', 'sent'));
    li.classList.toggle('undone', e.undone);
    li.classList.toggle('goal', e.m.kind === 'goal' && !e.undone);
    li.classList.toggle('of-team', Boolean(d.team));
    li.style.setProperty('--hue', hue(d.team || ''));
    return li;
}

function refused(item) {
    const e = told(item.kind, item.data);

    if (item.kind === 'team')
        e.text = described(item.kind, item.data);
    e.m = {offset: 0, ts: item.at, kind: item.kind, data: item.data,
           item: item};
    e.undone = false;
    e.tally = '';
    e.detail = [item.refused];
    return e;
}

/* Newest first; on top what was refused. What was corrected says so itself. */
function entries(view) {
    const bad = Outbox.list().filter((i) => i.refused && i.match === match.id);

    return story(view).filter((e) => !is_correction(e.m))
        .concat(bad.map(refused)).reverse();
}

function draw_log(view) {
    const seen = new Set();
    const top = $('log').scrollTop < 8;

    place($('log'), entries(view).map((e) => {
        const name = row_name(e);
        const as = [e.text, e.detail, e.tally, e.undone && undone_word(e), fate(e),
                    e.m.data && e.m.data.minute].join('|');
        const old = rows.get(name);

        seen.add(name);
        if (old && old.as === as)
            return old.li;
        const li = make_row(e, name);

        if (old)
            old.li.replaceWith(li);
        else if (rows.size > 0)
            li.classList.add('fresh');
        rows.set(name, {li: li, as: as});
        return li;
    }));
    rows.forEach((_, name) => seen.has(name) || rows.delete(name));
    if (top)
        $('log').scrollTop = 0;
}

/* ---- The pad: only what is allowed now ---- */

function draw_pad(view) {
    const {acts, next} = Play.may(view);
    const before = next.includes('start');
    const kicks = view.state.period === 'penalties';
    const slots = {goal: 'goal', card: 'card',
                   third: kicks ? 'shot' : 'substitution'};

    document.body.dataset.pad = before ? 'before' : is_live(view) ? 'live'
        : 'over';
    sides.forEach((side) => {
        for (const b of $(side + '-pad').querySelectorAll('button')) {
            const act = slots[b.dataset.act];

            if (!act) {
                draw_lineup_button(b, side);
                continue;
            }
            put(b, kicks && act === 'goal' ? 'Scored' : ACTS[act][0]);
            b.setAttribute('aria-label', act === 'substitution'
                ? ACTS[act][1] : b.textContent);
            b.classList.toggle('gone', !acts.includes(act));
        }
        $(side + '-pad').classList.toggle('stopped', is_live(view) &&
                                          !acts.includes('goal'));
    });
    put($('next'), next.length === 0 ? '' : Play.word(next[0], view) +
        (next.length > 2 ? ' …' : ''));
    $('next').hidden = next.length === 0;
    $('undo').hidden = !last_event(view);
}

function draw_lineup_button(b, side) {
    const read = Lineup.read(notes[side]);
    const n = read.on.length;

    put(b, read.faults.length > 0 ? 'Line-up: line ' + read.faults[0].line + ' ?'
        : n === 0 ? 'Line-up'
            : n + (read.bench.length > 0 ? ' + ' + read.bench.length : '') +
              ' players');
    b.classList.toggle('faulty', read.faults.length > 0);
}

/* The newest event that can be taken back. */
const last_event = (view) => Play.counting(view).reverse()
    .find((m) => m.offset > 1);

function say(text) {
    $('announce').textContent = text;
}

/* ---- What is asked ---- */

function given_now(view) {
    return {minute: Play.clock(view, notes.began, now()).minute};
}

function bench_of(view, side) {
    return Play.fresh(view, side, Lineup.read(notes[side]).bench);
}

/* The sheet of an act; done(kind, data). */
function ask(view, side, kind, given, done) {
    if (kind === 'card')
        Sheets.card(view, side, given, done);
    else if (kind === 'substitution')
        Sheets.substitution(view, side, given, bench_of(view, side), done);
    else if (kind === 'shot' || view.state.period === 'penalties')
        Sheets.kick(view, side, kind, given, done);
    else
        Sheets.goal(view, side, given, done);
}

function on_act(side, act) {
    const view = shown();
    const kicks = view.state.period === 'penalties';

    if (act === 'lineup')
        Sheets.lineup(team_name(view.state[side]), notes[side], (text) =>
            note((n) => { n[side] = text; }));
    else
        ask(view, side, act !== 'third' ? act : kicks ? 'shot'
            : 'substitution', given_now(view), enter);
}

function other_moves(view) {
    return Play.may(view).next.slice(1).map((kind) =>
        Sheets.button('', [Play.word(kind, view)], () => {
            Sheets.close();
            if (kind === 'abandoned' || kind === 'postponed')
                enter('status', {period: kind});
            else
                enter(kind, {});
        }));
}

/* The line-ups as they stand, in a line each; faults keep us from going on. */
function lineup_lines(view) {
    return sides.map((side) => {
        const read = Lineup.read(notes[side]);
        const fault = read.faults[0];

        return el('p', fault ? 'note error' : 'note', el('b', '',
            team_name(view.state[side])), ': ', fault
                ? 'line ' + fault.line + ': ' + fault.text
                : read.on.length === 0
                    ? 'no line-up; players are told by number.'
                    : read.on.length + ' on the pitch, ' + read.bench.length +
                      ' on the bench.');
    });
}

function kick_off() {
    const data = {};

    for (const side of sides) {
        const read = Lineup.read(notes[side]);

        if (read.faults.length > 0)
            return 'First mend the line-up of ' +
                team_name(shown().state[side]) + ', or empty it.';
        if (read.on.length > 0)
            data[side + '_players'] = Object.fromEntries(read.on);
    }
    enter('start', data);
    return '';
}

function on_next() {
    const view = shown();
    const first = Play.may(view).next[0];
    const start = first === 'start';

    Sheets.open(start ? 'Kick-off now?' : 'What happens now?',
                (start ? lineup_lines(view) : []).concat(other_moves(view)),
                Play.word(first, view), () => {
        if (start)
            return kick_off();
        enter(first, {});
        return '';
    });
}

const in_words = (e) => [e.text, ...e.detail, e.m.data && e.m.data.minute &&
    e.m.data.minute + '′'].filter(Boolean).join(' · ');

function ask_undo(e, view) {
    Sheets.open('Take this back?', [Sheets.note(in_words(e)),
                                    ...corrections(e, view)],
                'Take it back', () => take_back(e.m));
}

const EDITED = ['goal', 'card', 'substitution', 'shot'];

/* A way to another event in the place of a sent one: both are entered at once.
 * It comes behind all others, so the match must allow it now: a goal that is
 * corrected in the shoot-out would be a kick. */
function corrections(e, view) {
    const {kind, data} = e.m;
    const side = data && data.team === view.state.home ? 'home' : 'visit';

    if (!EDITED.includes(kind))
        return [];
    if (!Play.may(view).acts.includes(kind) ||
            e.shootout !== (view.state.period === 'penalties'))
        return [Sheets.note('It cannot be corrected in this period, only ' +
                            'taken back.')];
    return [Sheets.button('', ['Correct it'],
        () => ask(without(view, e.m), side, kind,
                  {minute: String(data.minute || ''), data: data},
                  (as, what) => correct(e.m, as, what)))];
}

function on_undo() {
    const view = shown();
    const m = last_event(view);

    if (m)
        ask_undo(story(view).find((x) => x.m === m), view);
}

/* What a row is and what can be done with it. */
function show_event(name) {
    const view = shown();
    const e = entries(view).find((x) => row_name(x) === name);

    if (!e)
        return;
    const item = e.m.item;
    const final = e.undone || e.m.kind === 'retract' || e.m.offset === 1;

    if (item && item.refused)
        show_refused(e, view);
    else if (item && !item.tried)
        Sheets.open('Not sent yet', [Sheets.note(in_words(e)), ...edits(e, view),
            discard(item)]);
    else if (final)
        Sheets.open(item ? 'Waiting' : 'Sent', [Sheets.note(in_words(e)),
            Sheets.note(e.undone ? 'It was ' + undone_word(e) +
                ', and stays in the list.'
                : e.m.kind === 'retract' ? 'An event was taken back.'
                    : 'The match begins with it: it stays.')]);
    else
        ask_undo(e, view);
}

/* Without the match nothing of it can be sent. */
function discard(item) {
    const all = item.makes
        ? Outbox.list().filter((i) => i.match === item.match) : [item];

    return Sheets.button('danger', [all.length > 1
        ? 'Throw it away, with all that waits for it' : 'Throw it away'], () => {
        Sheets.close();
        all.forEach((i) => Outbox.drop(i.key));
        if (item.makes)
            go_to('');
    });
}

/* A way to another event in its place; none for a whistle. */
function edits(e, view) {
    const item = e.m.item;
    const side = item.data.team === view.state.home ? 'home' : 'visit';

    return !EDITED.includes(item.kind) ? [] : [Sheets.button('', ['Edit it'],
        () => ask(view, side, item.kind,
                  {minute: String(item.data.minute || ''), data: item.data},
                  (kind, data) => Outbox.replace(item.key, {data: data})))];
}

function show_refused(e, view) {
    const item = e.m.item;

    Sheets.open('The server refused this', [
        Sheets.note(described(item.kind, item.data) + (item.data.minute
            ? ' · ' + item.data.minute + '′' : '')),
        el('p', 'note error', item.refused), ...edits(e, view),
        Sheets.button('', ['Send it again as it is'], () => {
            Sheets.close();
            Outbox.replace(item.key, {});
        }), discard(item)]);
}

/* The whistle was blown earlier or later than it was entered here. */
function on_clock() {
    const view = shown();
    const c = Play.clock(view, notes.began, now());

    if (!c.since)
        return;
    Sheets.open('The clock', [
        Sheets.note('What the referee’s clock shows. It fills in the minutes ' +
                    'on this device.'),
        Sheets.input('Minute, or minute:second', 'clock', {
            value: c.added ? c.minute : c.main,
            inputMode: 'text'})], 'Set it', (form) => {
        const began = Play.began_at(view, form.clock, now());

        if (began === null)
            return 'Write it as 23, 23:40 or 45+2, within this half.';
        if (c.since.item)
            Outbox.change(c.since.item.key, {at: began});
        else
            note((n) => { n.began[c.since.offset] = began; });
        draw_soon();
        return '';
    });
}

/* ---- The page itself ---- */

Outbox.on.change = () => {
    if (awaited && match && match.id === awaited && is_made(awaited))
        follow(awaited);
    draw_soon();
};
Outbox.on.refused = (item) => say('Refused: ' + item.refused);
Outbox.on.denied = (words) => {
    denied = true;
    want_token(words);
};
Outbox.on.has_team = async (id) => {
    const r = await fetch('/v1/teams');

    if (!r.ok)
        throw Object.assign(new Error('HTTP ' + r.status), {status: r.status});
    return (await r.json()).teams.some((team) => team.id === id);
};
/* answer: null, of what was there already. */
Outbox.on.took = (item, answer) => {
    denied = false;
    if (item.makes && item.kind === 'status' && !match)
        list_matches();
    if (!answer || item.kind === 'team')
        return;
    places.set(item.key, answer.offset);
    if (!match || match.id !== item.match)
        return;
    if (CLOCKED.includes(item.kind) && Math.abs(now() - item.at) > 3000)
        note((n) => { n.began[answer.offset] = item.at; });
    if (!match.events.has(answer.offset))
        on_message({offset: answer.offset, seq: answer.seq, ts: item.at,
                    kind: item.kind, data: item.data});
    draw_soon();
};

sides.forEach((side) =>
    $(side + '-pad').querySelectorAll('button').forEach((b) =>
        b.addEventListener('click', () => on_act(side, b.dataset.act))));
$('next').addEventListener('click', on_next);
$('undo').addEventListener('click', on_undo);
$('clock').addEventListener('click', on_clock);
$('token').addEventListener('click', show_token);
$('new').addEventListener('click', () => Sheets.new_match(create));
$('back').addEventListener('click', () => go_to(''));
$('sheet').addEventListener('close', () => {
    if (token_words && !$('sheet').open)
        show_token();
});
addEventListener('hashchange', read_hash);
addEventListener('online', () => on_network(false));
addEventListener('offline', () => on_network(true));
setInterval(() => {
    const view = match && shown();

    if (view && view.state.home)
        draw_clock(view);
}, 1000);
if (navigator.serviceWorker)
    addEventListener('load', () => navigator.serviceWorker
        .register('/report-worker.js', {scope: '/report'})
        .then((r) => r.active && r.active.postMessage('refresh'))
        .catch(() => { /* It opens with a network only. */ }));
read_hash();
Outbox.kick();
}());
