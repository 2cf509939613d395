/* shared.js - what the pages have in common: small tools, and what the events
 * of a match mean.
 *
 * A match is kept as the server's state at a seq (base, at) and the events
 * known of it; what comes after `at` is folded into `state` here. All text of
 * others goes into a page as text. */
const Shared = (function () {
'use strict';

const {$, PERIODS, day, hue, is_live, order, phase, put, shootout, sides,
       stored, team_name, teams} = Score;
const MINOR = {
    shot: 'Shot', save: 'Save', corner: 'Corner', goalkick: 'Goal kick',
    offside: 'Offside', foul: 'Foul', penalty: 'Penalty',
    freekick: 'Free kick', throwin: 'Throw-in',
};
const WHISTLES = ['start', 'halftime_start', 'halftime_stop', 'extratime',
                  'penalties', 'stop', 'status'];
const MOVES = {     /* kind -> the period that follows which */
    halftime_start: {first: 'halftime', first_extra: 'halftime_extra'},
    halftime_stop: {halftime: 'last', halftime_extra: 'last_extra'},
};
const TURNS = {start: 'first', extratime: 'first_extra',
               penalties: 'penalties', stop: 'ended'};

const ICONS = {     /* what is drawn in 24 by 24 */
    ball: '<circle cx="12" cy="12" r="9.2"/>' +
        '<path d="m12 7.6 4.2 3-1.6 4.9H9.4l-1.6-4.9z"/>' +
        '<path d="M12 3v4.6M20.7 9.2l-4.5 1.4M17.4 19.3l-2.8-3.8"/>' +
        '<path d="M6.6 19.3l2.8-3.8M3.3 9.2l4.5 1.4"/>',
    swap: '<path d="M7 20V5m0 0L3 9m4-4 4 4M17 4v15m0 0 4-4m-4 4-4-4"/>',
    time: '<circle cx="12" cy="13.5" r="7.8"/>' +
        '<path d="M12 9.5v4l2.6 2M9.5 2.5h5"/>',
    undo: '<path d="M8 5 3.5 9.5 8 14M4 9.5h10a5.5 5.5 0 0 1 0 11h-3"/>',
    in: '<path d="M12 20V5m0 0-5 5m5-5 5 5"/>',
    out: '<path d="M12 4v15m0 0-5-5m5 5 5-5"/>',
    miss: '<circle cx="12" cy="12" r="9.2"/>' +
        '<path d="m8.5 8.5 7 7m0-7-7 7"/>',
    dot: '<circle cx="12" cy="12" r="2.5"/>',
};

/* ---- Small tools ---- */

const clock = (ts) => new Date(ts).toLocaleTimeString(
    [], {hour: '2-digit', minute: '2-digit', hourCycle: 'h23'});
const seq_of = (cursor) =>
    Number((/-(\d+)$/.exec(cursor || '') || [0, -1])[1]);

/* kids: nodes or strings; strings become text. */
function el(tag, cls, ...kids) {
    const e = document.createElement(tag);

    if (cls)
        e.className = cls;
    e.append(...kids);
    return e;
}

function icon(name) {
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');

    svg.setAttribute('viewBox', '0 0 24 24');
    svg.setAttribute('aria-hidden', 'true');
    svg.innerHTML = ICONS[name];
    return svg;
}

/* Makes nodes the children of parent and touches only what differs, so that
 * focus, scroll position and animations of the others stay. */
function place(parent, nodes) {
    nodes.forEach((n, i) => {
        if (parent.children[i] !== n)
            parent.insertBefore(n, parent.children[i] || null);
    });
    while (parent.children.length > nodes.length)
        parent.lastChild.remove();
}

/* Ends early when the network comes back. */
function pause(ms) {
    return new Promise((done) => {
        const go = () => {
            clearTimeout(timer);
            removeEventListener('online', go);
            done();
        };
        const timer = setTimeout(go, ms);

        addEventListener('online', go);
    });
}

/* JSON.parse puts keys that are numbers into an order of its own. That of a
 * line-up says who plays where, so it is kept beside it. */
const LINE_UP =
    /"(home|visit)_players":(\{(?:"\d+":"(?:[^"\\]|\\.)*",?)*\})/g;

function parse(text) {
    return JSON.parse(text.replace(LINE_UP, (all, side, men) =>
        all + ',"' + side + '_order":[' +
        (men.match(/"\d+":/g) || []).map((n) => n.slice(0, -1)) + ']'));
}

/* Asks until there is an answer; null when the answer is a refusal. */
async function get(path) {
    for (let n = 0; ; n += 1) {
        try {
            const r = await fetch(path);

            if (r.ok)
                return parse(await r.text());
            if (r.status < 500 && r.status !== 429)
                return null;
        } catch (e) {
            /* The network is away: the pause below is the cure. */
        }
        const ms = Math.random() * Math.min(30000, 1000 * Math.pow(2, n));
        await pause(ms);
    }
}

/* ---- What the events mean ---- */

/* 7, [7,"Luna"] or {"7":"Luna"} -> ["7", "Luna"] */
function player(p, match, team) {
    if (p === undefined || p === null)
        return null;
    const pair = Array.isArray(p) ? p
        : typeof p === 'object' ? Object.entries(p)[0] || ['', ''] : [p, ''];
    const s = match.state;
    const known = (team === s.visit ? s.visit_players : s.home_players) || {};

    return [String(pair[0]), pair[1] || known[pair[0]] || 'No. ' + pair[0]];
}

function fold(s, m) {
    const d = m.data || {};
    const side = d.team === s.home ? 'home' : 'visit';
    const list = side + '_players';

    if (TURNS[m.kind])
        s.period = TURNS[m.kind];
    else if (MOVES[m.kind])
        s.period = MOVES[m.kind][s.period] || s.period;
    if (m.kind === 'start') {
        Object.assign(s, {home_score: 0, visit_score: 0}, d,
                      {period: 'first'});
    } else if (m.kind === 'penalties') {
        Object.assign(s, {home_shootout: 0, visit_shootout: 0});
    } else if (m.kind === 'goal') {
        const what = side +
            (s.period === 'penalties' ? '_shootout' : '_score');

        s[what] = (s[what] || 0) + 1;
    } else if (m.kind === 'status') {
        Object.assign(s, d);
        if (d.comment === 'cancelled')
            s.period = 'cancelled';
    } else if (m.kind === 'substitution' && s[list]) {
        const now = Object.assign({}, s[list], d.player_in);

        delete now[Object.keys(d.player_out || {})[0]];
        s[list] = now;
    }
}

/* ---- A match ---- */

function new_match(id) {
    return {id: id, epoch: '', base: {}, at: -1, state: {}, events: new Map()};
}

/* An answer may be older than a snapshot that has come meanwhile. */
function set_base(match, state, cursor) {
    const from = String(cursor).replace(/-\d+$/, '');

    if (match.epoch === from && seq_of(cursor) < match.at)
        return;
    match.epoch = from;
    match.base = state;
    match.at = seq_of(cursor);
    refold(match);
}

/* The server's state and what came after it. A retract travels with a snapshot
 * behind it, except to who catches up: until there is a newer state, every
 * event at hand that counts is replayed. */
function refold(match) {
    const list = events_of(match);
    const later = list.filter((m) => m.seq > match.at);
    const anew = later.some((m) => m.kind === 'retract') && is_whole(list);
    const undone = retracted(list);

    match.state = anew ? {} : Object.assign({}, match.base);
    (anew ? list.filter((m) => !undone.has(m.offset)) : later)
        .forEach((m) => fold(match.state, m));
}

/* Offsets are dense, so a list from 1 to its own length lacks nothing. */
function is_whole(list) {
    return list.length > 0 && list[list.length - 1].offset === list.length;
}

function retracted(list) {
    return new Set(list.filter((m) => m.kind === 'retract')
        .map((m) => m.data.offset));
}

function events_of(match) {
    return Array.from(match.events.values())
        .sort((a, b) => a.offset - b.offset);
}

/* The events in words, oldest first, with the score as it stood; those that
 * were taken back are marked and count for nothing. */
function story(match) {
    const list = events_of(match);
    const undone = retracted(list);
    const whole = is_whole(list);
    const s = {home: match.state.home, visit: match.state.visit};

    return list.map((m) => {
        const e = {m: m, undone: undone.has(m.offset), minor: false, tally: '',
                   counts: whole && !undone.has(m.offset)};

        if (!e.undone)
            fold(s, m);
        e.shootout = s.period === 'penalties';
        tell(e, match, s);
        return e;
    }).map((e, i, all) => {
        if (e.m.kind === 'retract')
            e.takes_back = all.find((o) => o.m.offset === e.m.data.offset);
        if (e.takes_back)
            e.takes_back.taken_back = e;
        return e;
    });
}

/* Who kicked, and did it go in? A save is the goalkeeper's: the other side's. */
function kicks(match, events) {
    const s = match.state;

    return events.filter((e) => e.shootout && !e.undone && e.m.data &&
                                ['goal', 'shot', 'save'].includes(e.m.kind))
        .map((e) => ({
            side: (e.m.data.team === s.home) === (e.m.kind !== 'save')
                ? 'home' : 'visit',
            scored: e.m.kind === 'goal',
        }));
}

function tell(e, match, s) {
    const kind = e.m.kind;
    const d = e.m.data || {};
    const who = player(d.player, match, d.player_team || d.team);
    const name = who ? who[1] : '';
    const of_whom = name ? ' – ' + name : '';

    e.who = who;
    e.detail = [d.team ? team_name(d.team) : '', d.comment || ''];
    e.mark = 'time';
    e.whistle = WHISTLES.includes(kind);
    if (kind === 'goal') {
        const own = d.player_team && d.player_team !== d.team;

        e.mark = 'ball';
        e.own = own;
        e.text = (own ? 'Own goal' : e.shootout ? 'Penalty scored' : 'Goal') +
            of_whom;
        if (e.counts)
            e.tally = e.shootout ? s.home_shootout + '–' + s.visit_shootout
                                 : s.home_score + '–' + s.visit_score;
    } else if (e.shootout && (kind === 'shot' || kind === 'save')) {
        e.mark = 'miss';
        e.text = (kind === 'shot' ? 'Penalty missed' : 'Penalty saved') +
            of_whom;
    } else if (kind === 'card') {
        e.mark = d.card;
        e.text = (d.card === 'red' ? 'Red' : 'Yellow') + ' card' + of_whom;
    } else if (kind === 'substitution') {
        e.mark = 'swap';
        e.text = [d.player_in, d.player_out].map(
            (p) => (player(p, match, d.team) || ['', '?'])[1]).join(' for ');
    } else if (kind === 'retract') {
        e.mark = 'undo';
        e.text = 'Decision reversed';
    } else if (MINOR[kind]) {
        e.minor = kind !== 'penalty';
        e.mark = 'dot';
        e.text = MINOR[kind] + of_whom;
    } else if (kind === 'status') {
        e.text = e.m.offset === 1 ? 'Match announced'
            : PERIODS[d.period] || 'Announcement';
    } else {
        e.text = kind === 'start' ? 'Kick-off' : PERIODS[s.period] || kind;
        if (e.counts && kind !== 'start' && kind !== 'halftime_stop')
            e.tally = s.home_score + '–' + s.visit_score;
        if (kind === 'stop')
            e.detail.push(shootout(s) && shootout(s) + ' on penalties');
    }
}

/* ---- Fixtures ---- */

function fixture_text(match) {
    const s = match.state;
    const begun = phase(match) !== 'next' && s.home_score !== undefined;

    return [team_name(s.home), begun ? s.home_score : '',
            team_name(s.visit), begun ? s.visit_score : '',
            phase(match) === 'next' ? day(s, true)
                : s.period === 'ended'
                ? day(s) + (shootout(s) && ' · ' + shootout(s) + ' pen.')
                : String(PERIODS[s.period] || s.period).split(',')[0]];
}

/* The button of a match, made once and drawn again and again. */
function fixture(match, choose) {
    if (!match.button) {
        match.button = el('button', 'fixture');
        sides.forEach(() => match.button.append(el('span'), el('b')));
        match.button.append(el('small'));
        match.button.addEventListener('click', () => choose(match));
    }
    fixture_text(match).forEach((t, i) => put(match.button.children[i], t));
    match.button.dataset.phase = phase(match);
    return match.button;
}

function mark(name) {
    const card = name === 'yellow' || name === 'red';

    return el('span', 'mark ' + name, ...card ? [] : [icon(name)]);
}

/* Gives their cursor. */
async function load_teams() {
    const t = await get('/v1/teams');

    (t ? t.teams : []).forEach((team) => teams.set(team.id, team.name));
    return t ? t.cursor : null;
}

/* The whole state and all events, newest page first. Both are asked for at
 * once: what one lacks of the other is folded in, or comes as a message. */
async function load_match(match) {
    const path = '/v1/matches/' + encodeURIComponent(match.id);
    const asked = get(path);
    let coming = get(path + '/events?last=1000');
    const state = await asked;
    let query = true;

    match.missing = !state;
    if (state)
        set_base(match, state, state.cursor);
    while (query) {
        const page = await coming;
        const news = (page ? page.messages : [])
            .filter((m) => !m.notice && !match.events.has(m.offset));

        query = page && page.more && news.length > 0 &&
            '?limit=1000&before=' + news[0].epoch + '-' + news[0].seq;
        if (query)
            coming = get(path + '/events' + query);
        news.forEach((m) => match.events.set(m.offset, m));
    }
    refold(match);
}

return {$, ICONS, PERIODS, clock, day, el, events_of, fixture, fold, get, hue,
        is_live, kicks, load_match, load_teams, mark, new_match, order, phase, place, player,
        put, refold, retracted, seq_of, set_base, shootout, sides, stored,
        story, team_name, teams};
}());
