/* app.js - the fan's page, behind its first look (front.js): everything as it
 * happens.
 *
 * One subscription feeds it: match/*, team/* and the room (chat.js), from the
 * cursor of what came with the page. */
(function () {
'use strict';

const {$, PERIODS, clock, el, events_of, fold, get, hue, is_live, load_teams,
       mark, order, phase, place, player, put, refold, seq_of, set_base, sides,
       stored, team_name, teams} = Shared;
const {changed, match_of, matches} = Front;

const FRESH_MS = 900;           /* a new row is shown as new */
const TOLD_MS = 8000;           /* how long a word about the connection stays */
const SNAPSHOT_WAIT_MS = 3000;  /* behind a retract */
const ANNOUNCE_MS = 400;        /* what comes together is read as one */

let sub = null;
let epoch = null;
let refreshing = false;

/* ---- Following ---- */

async function follow() {
    let since = Front.known && Front.known.cursor;

    if (!since) {       /* the page came while nothing was known */
        const of_teams = await load_teams();
        const of_matches = await refresh();

        since = of_teams || of_matches;
    }
    subscribe(since);
}

function subscribe(since) {
    if (sub)
        sub.close();
    sub = Touchline.subscribe('', ['match/*', 'team/*', 'room/' + Chat.name()], {
        since: since,
        name: Chat.me,
        onmessage: on_message,
        onnotice: on_notice,
        onstate: on_state,
    });
}

/* Another room, or another network: from where we are. */
function resubscribe() {
    if (sub)
        subscribe(sub.cursor);
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

    Front.take_list(list.matches, list.cursor);
    Front.more = 0;
    matches.forEach((match, id) => {
        const newer = events_of(match).some((m) => m.seq > at);

        if (!there.has(id) && !newer && match.at <= at && id !== Front.chosen)
            matches.delete(id);
    });
    changed();
    return list.cursor;
}

/* A crowd that saw the same thing does not ask in the same moment. */
function refresh_soon(ms) {
    setTimeout(() => {
        matches.forEach((match) => { match.asked = false; });
        refresh().then(Front.load_chosen);
    }, (ms || 0) + Math.random() * 1500);
}

function on_message(m) {
    const type = m.channel.split('/')[0];

    if (net.state !== 'live')
        net.came += 1;
    net.last_ts = Math.max(net.last_ts, m.ts);
    if (type === 'room')
        Chat.hear(m, true);
    else
        on_match_message(m, type, m.channel.split('/')[1]);
}

function on_match_message(m, type, id) {
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
        changed();
        return;
    }
    const match = match_of(id);
    /* What was asked for may have been faster: then it is in the state. */
    const fresh = m.seq > match.at && !match.events.has(m.offset);

    match.events.set(m.offset, m);
    match.missing = false;
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
        match.news.add(m.offset);
    changed();
}

function on_notice(n) {
    if ((n.channel || '').startsWith('room/')) {
        Chat.on_notice(n);
    } else if (n.notice === 'gap') {
        net.holes = true;
        refresh_soon();
    } else if (n.notice === 'snapshot' && n.state && n.channel) {
        set_base(match_of(n.channel.split('/')[1]), n.state, n.cursor);
        changed();
    }
}

/* ---- Told aloud, and in passing ---- */

let told = [];
let toast_timer = 0;

function announce(text) {
    if (told.length === 0)
        setTimeout(() => {
            put($('announce'), told.join('. '));
            told = [];
        }, ANNOUNCE_MS);
    told.push(text);
}

function toast(text) {
    $('toast').replaceChildren(el('span', '', text));
    $('toast').classList.add('on');
    clearTimeout(toast_timer);
    toast_timer = setTimeout(() => $('toast').classList.remove('on'), TOLD_MS);
}

function in_words(match, e) {
    const s = match.state;

    if (e.takes_back)
        return ['Correction: ' + e.takes_back.text + ' is taken back',
                e.m.data.comment || '', 'now ' + s.home_score + '–' +
                s.visit_score].filter(Boolean).join(', ');
    return [e.text].concat(e.detail, e.tally).filter(Boolean).join(', ');
}

function tell_news(match, events) {
    const news = events.filter((e) => match.news.has(e.m.offset) && !e.minor);

    match.news.clear();
    if (net.state !== 'live')
        return;         /* there is a word about all of it when it is over */
    news.forEach((e) => announce(in_words(match, e)));
    news.filter((e) => e.takes_back).forEach((e) =>
        toast(in_words(match, e) + '.'));
}

/* ---- The timeline ---- */

const above = new Map();        /* rows that hang above the list -> height */
let slid = 0;                   /* pixels by which the list has moved down */

function row(is_news) {
    const li = el('li', '', el('span', 'minute'), el('span', 'mark'),
                  el('div', 'what', el('b'), el('small')),
                  el('span', 'tally'));

    if (is_news) {
        li.classList.add('fresh');
        setTimeout(() => li.classList.remove('fresh'), FRESH_MS);
    }
    return li;
}

function detail_of(e) {
    const back = e.takes_back;

    if (back)
        return [back.text + (back.m.data && back.m.data.minute
                    ? ' ' + back.m.data.minute + '′' : ''),
                e.m.data.comment];
    return [e.taken_back ? 'Taken back at ' + clock(e.taken_back.m.ts) : '']
        .concat(e.detail);
}

function draw_row(li, e) {
    const d = e.m.data || {};

    li.className = [e.minor ? 'minor' : '', e.undone ? 'undone' : '',
                    e.m.kind === 'goal' && !e.undone && !e.shootout ? 'goal'
                                                                    : '',
                    e.m.kind === 'retract' ? 'retract' : '',
                    e.whistle ? 'whistle' : '', d.team ? 'of-team' : '',
                    ...['fresh', 'above'].filter((c) =>
                        li.classList.contains(c)),
                   ].filter(Boolean).join(' ');
    li.title = clock(e.m.ts);
    li.style.setProperty('--hue', hue(d.team || ''));
    put(li.children[0], d.minute ? d.minute + '′'
        : e.whistle || e.shootout ? '' : clock(e.m.ts));
    if (li.dataset.mark !== e.mark) {
        li.dataset.mark = e.mark;
        li.children[1].replaceWith(mark(e.mark));
    }
    put(li.querySelector('b'), e.text);
    put(li.querySelector('small'), detail_of(e).filter(Boolean).join(' · '));
    put(li.children[3], e.tally);
}

function draw_timeline(match, events) {
    const list = $('timeline');

    if (!events || list.dataset.match !== match.id) {
        list.dataset.match = events ? match.id : '';
        settle();
    }
    draw_empty(match, events);
    if (!events) {
        list.replaceChildren();
        return;
    }
    const known = match.rows.size > 0;
    const news = [];

    place(list, events.map((e) => {
        const li = match.rows.get(e.m.offset) || row(known);

        if (known && !match.rows.has(e.m.offset))
            news.push(li);
        match.rows.set(e.m.offset, li);
        draw_row(li, e);
        return li;
    }).reverse());
    let hanging = 0;

    above.forEach((tall, li) => {
        if (Math.abs(height_of(li) - tall) > .5)
            settle();           /* it says more now than when it came */
        hanging += 1;
    });
    /* Only what came behind all others can hang above them. */
    if (news.length > 0 && list.children[news.length - 1] === news[0] &&
            news.length < events.length && $('panel-timeline').scrollTop < 1 &&
            list.offsetParent)
        hang(list, news);
    else if (news.length > 0 && hanging > 0)
        settle();
}

/* Not rounded as offsetHeight is. */
const height_of = (node) => node.getBoundingClientRect().height;

/* New rows push the others down, and the layout is not to jump: so they hang
 * above the list, each in its place for good, and the list as a whole moves
 * down, softly. Who has scrolled away keeps what he sees in its place: there
 * the browser takes care of it. */
function hang(list, news) {
    news.forEach((li) => {
        li.classList.add('above');
        li.style.bottom = 'calc(100% + ' + slid + 'px)';
        above.set(li, height_of(li));
        slid += height_of(li);
    });
    list.style.transform = 'translateY(' + slid + 'px)';
}

/* All rows are in the list as rows are in lists. */
function settle() {
    const list = $('timeline');

    above.forEach((tall, li) => {
        li.classList.remove('above');
        li.style.bottom = '';
    });
    above.clear();
    slid = 0;
    list.style.transition = 'none';
    list.style.transform = 'translateY(0)';
    void list.offsetTop;
    list.style.transition = '';
}

/* Why there is nothing to see, and what to do about it. */
function draw_empty(match, events) {
    const gone = !events && match && match.missing;

    $('no-events').hidden = Boolean(events && events.length > 0);
    $('no-events').dataset.why = gone ? 'missing'
        : !events ? (match ? '' : 'none')
        : match.whole ? 'soon' : '';
    if (gone)
        put($('missing-id'), match.id);
}

/* ---- The line-ups ---- */

const HALF = {1: .055, 2: .185, 3: .315, 4: .435};  /* line -> along the pitch */

/* Of each who did something: marks, and whether he is off. */
function notes_of(match, events) {
    const notes = new Map();
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
    return notes;
}

/* Who began, in the order of the announcement, or else by number with the first
 * goalkeeper one finds; and since then each in the place of whom he replaced. */
function places_of(match, events, side) {
    const began = (events.find((e) => e.m.kind === 'start' && !e.undone) ||
                   {m: {}}).m.data || {};
    const men = began[side + '_players'] || match.state[side + '_players'] || {};
    const said = began[side + '_order'] || match.state[side + '_order'];
    const first = Object.keys(men).sort((a, b) => a - b);
    const slots = said ? said.map(String).filter((n) => men[n]) : first;

    first.filter((n) => !slots.includes(n)).forEach((n) => slots.push(n));
    events.filter((e) => e.m.kind === 'substitution' && !e.undone &&
                         e.m.data.team === match.state[side]).forEach((e) => {
        const [out] = player(e.m.data.player_out, match, e.m.data.team) || [];
        const [comes] = player(e.m.data.player_in, match, e.m.data.team) || [];

        if (slots.includes(out))
            slots[slots.indexOf(out)] = comes;
    });
    return {slots: slots, in_order: Boolean(said)};
}

/* Where the nth of so many stands: along the pitch from his own goal, and
 * across it from his right. */
function spot(n, count) {
    const out = Math.max(0, count - 1);
    const back = Math.min(4, out);
    const front = Math.min(3, Math.ceil((out - back) / 2));
    const lines = [1, back, out - back - front, front];
    let line = 0;
    let i = n;

    while (line < 3 && i >= lines[line]) {
        i -= lines[line];
        line += 1;
    }
    return {x: HALF[line + 1], y: (i + .5) / Math.max(1, lines[line])};
}

function draw_man(number, name, note) {
    const family = name.indexOf(' ') + 1;

    return el('li', '', el('span', 'shirt', number),
              el('span', 'name', el('span', 'given', name.slice(0, family)),
                 name.slice(family)),
              el('span', 'badges', ...note.marks.map(mark)));
}

function draw_side(match, events, side, notes) {
    const team = match.state[side];
    const on = match.state[side + '_players'] || {};
    const {slots, in_order} = places_of(match, events, side);
    const note_of = (n) => notes.get(team + '/' + n) || {marks: []};
    const plays = (n) => on[n] !== undefined && !note_of(n).off;
    const men = slots.map((n, i) => [n, spot(i, slots.length)])
        .filter(([n]) => plays(n))
        .map(([n, at]) => {
            const li = draw_man(n, on[n] || 'No. ' + n, note_of(n));

            li.style.setProperty('--x', side === 'home' ? at.x : 1 - at.x);
            li.style.setProperty('--y', side === 'home' ? 1 - at.y : at.y);
            return li;
        });
    const others = Array.from(notes.values()).filter((n) =>
        n.team === team && !plays(n.who[0]));

    put($(side + '-line'), team_name(team));
    $(side + '-players').style.setProperty('--hue', hue(team));
    $(side + '-off').style.setProperty('--hue', hue(team));
    $(side + '-players').replaceChildren(...men.length > 0 ? men
        : [el('li', 'none', 'Not announced')]);
    $(side + '-off').replaceChildren(...others.map((n) => {
        const li = draw_man(n.who[0], n.who[1], n);

        li.classList.toggle('off', n.off);
        return li;
    }));
    return {some: men.length > 0, in_order: in_order, others: others.length};
}

function draw_lineups(match, events) {
    if (!events)
        return;
    const notes = notes_of(match, events);
    const drawn = sides.map((side) => draw_side(match, events, side, notes));
    const some = drawn.filter((d) => d.some);

    $('off').hidden = drawn.every((d) => d.others === 0);
    put($('off-title'), some.length > 0 ? 'No longer on the pitch'
                                        : 'Seen in this match');
    put($('placed'), some.length === 0 ? ''
        : some.every((d) => d.in_order)
        ? 'Placed in the order of the announcement: goalkeeper first, then ' +
          'from the back to the front.'
        : 'Placed by shirt number: who plays where has not been said.');
    /* The order does not come with a message: it is asked for when it counts. */
    if (document.body.dataset.view === 'lineups' && !match.order_asked &&
            some.some((d) => !d.in_order)) {
        match.order_asked = true;
        match.asked = false;
        Front.load_chosen();
    }
}

/* ---- The connection ---- */

const net = {state: 'connecting', ever: false, retry_at: 0, lost_at: 0,
             last_ts: 0, came: 0, holes: false, error: '', way: ''};

function on_state(s) {
    if (s.state === 'closed')
        return;
    if (s.state === 'waiting')
        net.retry_at = Date.now() + s.retryIn;
    if (s.state === 'failed')
        net.error = s.error.text;
    net.way = s.transport === 'poll' ? 'long poll' : s.transport;
    /* What delivers is there, whatever the browser thinks of its network. */
    const up = s.state === 'live' || s.state === 'catching-up';

    turn(!up && navigator.onLine === false ? 'waiting' : s.state);
}

function turn(state) {
    const was = net.state;

    net.state = state;
    if (was === 'live' && state !== 'live') {
        net.lost_at = Date.now();
        net.came = 0;
    }
    if (state === 'waiting' && was === 'live')
        announce('Connection lost. The score is as of ' + clock(net.lost_at));
    if (state === 'live' && was !== 'live')
        back();
    draw_state();
}

/* Live: for the first time, or again. */
function back() {
    const many = net.came + (net.came === 1 ? ' thing' : ' things');

    Chat.load_people();
    if (net.ever) {
        const text = 'Live again. ' + (net.holes
            ? 'Not everything since ' + clock(net.lost_at) +
              ' was kept; the match has been read anew.'
            : net.came > 0 ? many + ' happened since ' + clock(net.lost_at) +
              ', and nothing is missing.'
            : 'Nothing happened since ' + clock(net.lost_at) + '.');

        if (net.lost_at && !net.quiet) {
            toast(text);
            announce(text);
        }
    }
    net.quiet = false;
    net.ever = true;
    net.holes = false;
    net.came = 0;
}

function draw_state() {
    const seconds = Math.max(1, Math.ceil((net.retry_at - Date.now()) / 1000));
    const since = net.lost_at ? ' since ' + clock(net.lost_at) : '';
    const text = {
        live: 'Live',
        connecting: net.ever ? 'Reconnecting' : 'Connecting',
        'catching-up': net.ever ? 'Catching up from ' + clock(net.lost_at)
                                : 'Connecting',
        waiting: net.ever ? 'Offline' + since : 'No answer yet',
        failed: 'Refused: ' + net.error,
    };
    const stale = net.ever && net.state !== 'live';

    /* Another pill, not a pill that grows: nothing moves. */
    if ($('conn').dataset.state !== net.state) {
        const words = el('span');

        words.id = 'conn-text';
        $('conn').replaceChildren(el('span', 'pill', el('span', 'lamp'), words));
    }
    put($('conn-text'), text[net.state]);
    $('conn').dataset.state = net.state;
    $('conn').title = net.state !== 'waiting' ? net.way
        : navigator.onLine === false ? 'There is no network'
        : 'The next try is in ' + seconds + ' s';
    document.body.classList.toggle('stale', stale && net.state !== 'connecting');
    put($('as-of'), stale ? 'as of ' + clock(net.lost_at) : '');
}

function on_network() {
    if (navigator.onLine === false)
        turn('waiting');
    else
        resubscribe();
}

/* ---- The page itself ---- */

function show(view) {
    document.body.dataset.view = view;
    document.querySelectorAll('[role=tab]').forEach((t) => {
        const on = t.id === 'tab-' + view;

        t.setAttribute('aria-selected', String(on));
        t.tabIndex = on ? 0 : -1;
    });
    if (view === 'chat')
        Chat.to_end();
    if (view === 'lineups')
        changed();
}

function on_tab_key(event) {
    const tabs = Array.from(document.querySelectorAll('[role=tab]'))
        .filter((t) => t.offsetParent !== null);
    const at = tabs.indexOf(document.activeElement);
    const to = {ArrowRight: at + 1, ArrowLeft: at - 1 + tabs.length, Home: 0,
                End: tabs.length - 1}[event.key];

    if (to === undefined || at < 0)
        return;
    event.preventDefault();
    show(tabs[to % tabs.length].id.slice(4));
    tabs[to % tabs.length].focus();
}

function read_hash() {
    const want = new URLSearchParams(location.hash.slice(1));
    const name = want.get('room') || 'lobby';

    Front.pinned = want.has('match');
    if (Front.pinned && want.get('match') !== Front.chosen)
        choose(want.get('match'));
    else
        changed();
    if (name !== Chat.name())
        Chat.enter(Chat.room_is_good(name) ? name : 'lobby');
}

function choose(id) {
    const s = (matches.get(id) || {state: {}}).state;

    Front.choose(id);
    if (!teams.has(s.home) || !teams.has(s.visit))
        load_teams().then(changed);
}

function write_hash() {
    const want = new URLSearchParams();

    if (Front.pinned)
        want.set('match', Front.chosen);
    want.set('room', Chat.name());
    history.pushState(null, '', '#' + want);
}

Front.pick = (match) => {
    Front.pinned = true;
    choose(match.id);
    write_hash();
    if (document.body.dataset.view === 'chat')
        show('timeline');
};

async function show_all() {
    Front.all = true;
    changed();
    if (Front.more > 0)
        await Promise.all([refresh(), load_teams()]);
    changed();
    const left = document.querySelector('.fixture[aria-current=true]');

    if (left)
        left.focus();
}

function wire_up() {
    document.querySelectorAll('[role=tab]').forEach((t) =>
        t.addEventListener('click', () => show(t.id.slice(4))));
    document.querySelector('[role=tablist]')
        .addEventListener('keydown', on_tab_key);
    document.querySelector('.skip').addEventListener('click', (event) => {
        event.preventDefault();
        show('timeline');
        $('panel-timeline').focus();
    });
    $('key-only').addEventListener('click', (event) => {
        const on = $('timeline').classList.toggle('key-only');

        event.currentTarget.setAttribute('aria-pressed', String(on));
        settle();
    });
    $('theme').addEventListener('click', Front.next_theme);
    Front.show_all.firstChild.addEventListener('click', show_all);
    $('identity').addEventListener('submit', (event) => {
        event.preventDefault();
        if (Chat.on_identity())
            write_hash();
    });
    $('identity').addEventListener('focusout', (event) => {
        if (Chat.on_identity_left(event))
            write_hash();
    });
    $('toast').addEventListener('click', () =>
        $('toast').classList.remove('on'));
    window.addEventListener('popstate', read_hash);
    window.addEventListener('hashchange', read_hash);
    window.addEventListener('offline', on_network);
    window.addEventListener('online', on_network);
    window.addEventListener('resize', settle);
    setInterval(draw_state, 1000);
}

Front.painters.push(draw_timeline, draw_lineups, (match, events) => {
    if (events)
        tell_news(match, events);
});
Chat.on_enter = () => {
    net.quiet = true;       /* we left by ourselves */
    resubscribe();
};
wire_up();
read_hash();
follow();
}());
