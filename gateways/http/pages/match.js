/* match.js - <touchline-match>: a live match on anybody's page. The gateway
 * serves it behind touchline.js, as one file: /touchline-match.js.
 *
 *   <script async src="https://live.example.org/touchline-match.js"></script>
 *   <touchline-match match="arg-fra-2022-12-18"></touchline-match>
 *
 * Attributes: match; server (the HTTP gateway's base, where the script does not
 * come from it); events (how many of the latest are listed, 5; with 0 the
 * history is not asked for); theme (light or dark, else as the reader has it).
 * Events: touchline-event (detail: the message), touchline-state.
 *
 * Elements of one server share one connection. All text of others goes into the
 * page as text; styles go in as objects, so that a page's content policy need
 * not allow any of ours. */
(function () {
'use strict';

if (typeof HTMLElement === 'undefined' || customElements.get('touchline-match'))
    return;     /* rendered on a server, or loaded twice */

const script = typeof document.currentScript === 'object' &&
    document.currentScript;
const HOME = script && /^https?:/.test(script.src)
    ? new URL('.', script.src).href : '';

const PERIODS = {
    not_started: 'Not started', first: 'First half', halftime: 'Half time',
    last: 'Second half', first_extra: 'Extra time, first half',
    halftime_extra: 'Half time of extra time',
    last_extra: 'Extra time, second half', penalties: 'Penalty shoot-out',
    ended: 'Full time', postponed: 'Postponed', abandoned: 'Abandoned',
    cancelled: 'Cancelled',
};
const TURNS = {start: 'first', extratime: 'first_extra',
               penalties: 'penalties', stop: 'ended'};
const MOVES = {     /* kind -> the period that follows which */
    halftime_start: {first: 'halftime', first_extra: 'halftime_extra'},
    halftime_stop: {halftime: 'last', halftime_extra: 'last_extra'},
};
const TOLD = ['goal', 'card', 'retract', 'status',
              ...Object.keys(TURNS), ...Object.keys(MOVES)];
const SIDES = ['home', 'visit'];
const HISTORY = 1000;           /* messages, the most of one answer */
const GATHER_MS = 20;           /* elements that come together, ask together */

/* ---- What is known of a match: a state of the server's, and what came
 * after it ---- */

class Match {
    constructor() {
        this.epoch = '';
        this.at = -1;           /* seq of the state */
        this.base = null;
        this.events = new Map();        /* offset -> message */
    }

    /* One that is older than what we have is passed over. */
    snapshot(state, cursor) {
        const m = /^(.+)-(\d+)$/.exec(cursor) || ['', '', -1];

        this.live_in(m[1]);
        if (Number(m[2]) < this.at)
            return;
        this.at = Number(m[2]);
        this.base = state;
    }

    event(m) {
        this.live_in(m.epoch);
        this.events.set(m.offset, m);
    }

    /* The numbers of another history say nothing about these. */
    live_in(epoch) {
        if (epoch === this.epoch)
            return;
        this.epoch = epoch;
        this.at = -1;
        this.base = null;
        this.events.clear();
    }

    later() {
        return this.list().filter((m) => m.seq > this.at);
    }

    /* What was taken back is in the state until the snapshot comes that the
     * server sends behind a retract. */
    waits() {
        return this.later().some((m) => m.kind === 'retract');
    }

    state() {
        const s = Object.assign({}, this.base);

        this.later().forEach((m) => fold(s, m));
        return s;
    }

    list() {
        return Array.from(this.events.values())
            .sort((a, b) => a.offset - b.offset);
    }

    undone() {
        return new Set((this.base && this.base.retracted || []).concat(
            this.list().filter((m) => m.kind === 'retract')
                .map((m) => m.data.offset)));
    }

    /* The offset behind which all is of the shoot-out. Before the history has
     * come, the state tells. */
    shootout_from() {
        const undone = this.undone();
        const began = this.list().find(
            (m) => m.kind === 'penalties' && !undone.has(m.offset));

        return began ? began.offset
            : this.state().period === 'penalties' ? 0 : Infinity;
    }
}

function fold(s, m) {
    const d = m.data || {};
    const side = d.team === s.home ? 'home' : 'visit';

    if (TURNS[m.kind])
        s.period = TURNS[m.kind];
    else if (MOVES[m.kind])
        s.period = MOVES[m.kind][s.period] || s.period;
    if (m.kind === 'start') {
        Object.assign(s, {home_score: 0, visit_score: 0}, d, {period: 'first'});
    } else if (m.kind === 'penalties') {
        Object.assign(s, {home_shootout: 0, visit_shootout: 0});
    } else if (m.kind === 'goal') {
        const what = side + (s.period === 'penalties' ? '_shootout' : '_score');

        s[what] = (s[what] || 0) + 1;
    } else if (m.kind === 'status') {
        Object.assign(s, {period: s.period || 'not_started'}, d);
        if (d.comment === 'cancelled')
            s.period = 'cancelled';
    }
}

function player_name(p) {
    if (p === undefined || p === null)
        return '';
    const pair = Array.isArray(p) ? p
        : typeof p === 'object' ? Object.entries(p)[0] || ['', ''] : [p, ''];

    return pair[1] || 'No. ' + pair[0];
}

/* An event in words; '': none that this page tells. */
function words(m, shootout) {
    const d = m.data || {};
    const of_whom = d.player === undefined ? '' : ' – ' + player_name(d.player);
    const kick = shootout &&
        {goal: 'scored', shot: 'missed', save: 'saved'}[m.kind];

    if (kick)
        return 'Penalty ' + kick + of_whom;
    if (m.kind === 'goal')
        return (d.player_team && d.player_team !== d.team ? 'Own goal'
                                                          : 'Goal') + of_whom;
    if (m.kind === 'card')
        return (d.card === 'red' ? 'Red' : 'Yellow') + ' card' + of_whom;
    if (m.kind === 'substitution')
        return player_name(d.player_in) + ' for ' + player_name(d.player_out);
    if (m.kind === 'start')
        return 'Kick-off';
    if (m.kind === 'halftime_start')
        return 'Half time';
    if (m.kind === 'extratime')
        return 'Extra time';
    if (m.kind === 'penalties')
        return 'Penalty shoot-out';
    if (m.kind === 'stop')
        return 'Full time';
    if (m.kind === 'status' && m.offset > 1)
        return d.comment || PERIODS[d.period] || '';
    return '';
}

/* ---- One connection for all elements of a server ---- */

const hubs = new Map();         /* base -> Hub */

class Hub {
    constructor(server) {
        this.server = server;
        this.elements = new Set();
        this.sub = null;
        this.timer = 0;
    }

    add(element) {
        this.elements.add(element);
        this.gather();
    }

    remove(element) {
        this.elements.delete(element);
        this.gather();
    }

    gather() {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.connect(), GATHER_MS);
    }

    connect() {
        const channels = new Set(Array.from(this.elements, (e) => e.channel));

        if (this.sub)
            this.sub.close();
        this.sub = null;
        if (channels.size === 0)
            return;
        this.sub = Touchline.subscribe(this.server, Array.from(channels), {
            onmessage: (m) => this.each(m.channel, (e) => e.hear(m)),
            onnotice: (n) => this.notice(n),
            onstate: (s) => s.state === 'closed' ||
                this.elements.forEach((e) => e.tell_state(s)),
        });
    }

    notice(n) {
        (n.channels || [n.channel]).forEach(
            (c) => this.each(c, (e) => e.notice(n)));
    }

    each(channel, fn) {
        this.elements.forEach((e) => e.channel === channel && fn(e));
    }
}

function hub_of(server) {
    if (!hubs.has(server))
        hubs.set(server, new Hub(server));
    return hubs.get(server);
}

const names = new Map();        /* base and team -> promise of its name */

/* The id where it has none, or nobody answers. */
function team_name(server, id) {
    const url = server + 'v1/teams/' + encodeURIComponent(id);

    if (!names.has(url))
        names.set(url, fetch(url).then((r) => r.ok ? r.json() : {})
            .then((t) => t.name || '')
            .catch(() => { names.delete(url); return ''; }));
    return names.get(url).then((name) => name || id.toUpperCase());
}

/* ---- How it looks ---- */

const DARK = '--bg:#15191e;--fg:#eef1f4;--dim:#a3adb8;--line:#323a43;' +
    '--hot:#ff8a80';
const CSS = `
:host{--bg:#fff;--fg:#171b20;--dim:#59636e;--line:#d8dde3;--hot:#b3261e;
  display:block;max-width:36em;
  font:var(--touchline-font,16px/1.4 system-ui,sans-serif)}
:host([hidden]){display:none}
@media(prefers-color-scheme:dark){:host(:not([theme=light])){${DARK}}}
:host([theme=dark]){${DARK}}
section{box-sizing:border-box;padding:.8em 1em;overflow-wrap:anywhere;
  background:var(--touchline-background,var(--bg));
  color:var(--touchline-color,var(--fg));
  border:1px solid var(--touchline-line,var(--line));
  border-radius:var(--touchline-radius,.6em)}
header{display:flex;justify-content:space-between;gap:1em;font-size:.8em;
  min-height:1.4em;color:var(--touchline-dim,var(--dim))}
dl{display:grid;grid-template-columns:1fr auto;gap:.1em 1em;margin:.3em 0}
dt{font-weight:600}
dd{margin:0;font-weight:700;font-variant-numeric:tabular-nums;text-align:right}
dd.new{color:var(--touchline-accent,var(--hot))}
p,ol{margin:0;padding:0;list-style:none;font-size:.85em}
p:empty,ol:empty{display:none}
ol{border-top:1px solid var(--touchline-line,var(--line));margin-top:.5em;
  padding-top:.4em}
li{display:grid;grid-template-columns:3.2em 1fr;gap:.4em}
li span,p{color:var(--touchline-dim,var(--dim))}
li.goal{font-weight:600}
li.undone{text-decoration:line-through;color:var(--touchline-dim,var(--dim))}
.told{position:absolute;width:1px;height:1px;overflow:hidden;
  clip-path:inset(50%);white-space:nowrap}
@media(prefers-reduced-motion:no-preference){dd{transition:color 3s}
  dd.new{transition:none}}`;

let sheet = null;

function dress(root) {
    try {
        if (!sheet) {
            sheet = new CSSStyleSheet();
            sheet.replaceSync(CSS);
        }
        root.adoptedStyleSheets = [sheet];
    } catch (e) {       /* browsers before 2023 */
        root.append(Object.assign(document.createElement('style'),
                                  {textContent: CSS}));
    }
}

function el(tag, attributes, ...kids) {
    const e = document.createElement(tag);

    Object.entries(attributes || {}).forEach(([k, v]) => e.setAttribute(k, v));
    e.append(...kids);
    return e;
}

function put(node, text) {
    if (node.textContent !== String(text))
        node.textContent = text;
}

/* ---- The element ---- */

class TouchlineMatch extends HTMLElement {
    static get observedAttributes() {
        return ['match', 'server', 'events'];
    }

    constructor() {
        super();
        const root = this.attachShadow({mode: 'open'});

        dress(root);
        this.parts = {
            period: el('span', {part: 'period'}),
            note: el('span', {part: 'note'}),
            shootout: el('p', {part: 'shootout'}),
            events: el('ol', {part: 'events'}),
            /* Said aloud by screen readers, goals and whistles only. */
            told: el('div', {class: 'told', role: 'status',
                             'aria-live': 'polite'}),
        };
        SIDES.forEach((side) => {
            this.parts[side] = el('dt', {part: 'team ' + side}, '\u00a0');
            this.parts[side + '_score'] = el('dd', {part: 'score ' + side},
                                             '–');
        });
        const p = this.parts;

        this.board = el('section', {part: 'board', 'aria-label': 'Match'},
                        el('header', {}, p.period, p.note),
                        el('dl', {}, p.home, p.home_score,
                           p.visit, p.visit_score),
                        p.shootout, p.events);
        root.append(this.board, p.told);
        this.hub = null;
        this.forget();
    }

    forget() {
        this.match = new Match();
        this.names = {};
        this.warned = this.was_live = false;
        this.kicks_from = Infinity;
        this.untold = null;     /* a retract whose score is not known yet */
        this.loading = null;    /* the history that is on its way */
    }

    get channel() {
        return 'match/' + this.getAttribute('match');
    }

    get server() {
        const own = this.getAttribute('server');

        return own === null ? HOME || '/' : own.replace(/\/*$/, '/');
    }

    get most() {
        const n = parseInt(this.getAttribute('events') || '5', 10);

        return n >= 0 ? n : 5;
    }

    connectedCallback() {
        if (!this.getAttribute('match'))
            return;
        this.hub = hub_of(this.server);
        this.hub.add(this);
    }

    disconnectedCallback() {
        if (this.hub)
            this.hub.remove(this);
        this.hub = null;
        this.loading = null;
    }

    attributeChangedCallback(name, before, now) {
        if (!this.isConnected || before === now)
            return;
        this.disconnectedCallback();
        if (name !== 'events')
            this.forget();
        this.draw();
        this.connectedCallback();
    }

    /* ---- What the server says ---- */

    hear(m) {
        const live = this.was_live && m.seq > this.match.at;

        this.match.event(m);
        this.draw();
        if (live && m.kind === 'retract')
            this.untold = m;    /* the score without it comes behind it */
        else if (live)
            this.tell_event(m);
        this.dispatchEvent(new CustomEvent('touchline-event',
                                           {detail: m, bubbles: true}));
    }

    notice(n) {
        if (n.notice !== 'snapshot')
            return;
        const behind_a_retract = this.match.waits();

        this.match.snapshot(n.state || null, n.cursor);
        this.draw();
        if (this.untold && !this.match.waits()) {
            this.tell_event(this.untold);
            this.untold = null;
        }
        if (!behind_a_retract && this.most > 0 && n.state)
            this.load_history();
    }

    async load_history() {
        const mine = this.loading = {};

        try {
            const page = await Touchline.history(this.server, this.channel,
                                                 {last: HISTORY});

            if (this.loading !== mine)
                return;
            page.messages
                .filter((m) => !m.notice && m.epoch === this.match.epoch)
                .forEach((m) => this.match.event(m));
            this.draw();
        } catch (e) {
            return;     /* the score is there without it */
        }
    }

    tell_state(s) {
        const p = this.parts;
        const notes = {waiting: 'No connection, trying again',
                       'catching-up': 'Catching up',
                       failed: 'Not available'};

        this.was_live = s.state === 'live';
        if (s.state !== 'connecting')
            put(p.note, notes[s.state] || '');
        this.setAttribute('state', s.state);
        if (s.state === 'failed' && s.error)
            p.note.title = s.error.text;
        if (s.state === 'waiting' && !this.match.epoch && !this.warned) {
            this.warned = true;
            console.warn('touchline-match: no answer from ' + this.server +
                         '; do its http.origins list ' + location.host + '?');
        }
        this.dispatchEvent(new CustomEvent('touchline-state',
                                           {detail: s, bubbles: true}));
    }

    /* ---- What is shown ---- */

    draw() {
        const p = this.parts;
        const s = this.match.state();
        const begun = s.home_score !== undefined && s.period !== 'not_started';

        put(p.period, s.home ? this.period_text(s)
            : this.match.epoch ? 'Not announced yet' : '');
        SIDES.forEach((side) => {
            this.draw_name(side, s[side]);
            this.draw_score(side, begun ? s[side + '_score'] : '–');
        });
        put(p.shootout, s.home_shootout === undefined ? ''
            : `${s.home_shootout}–${s.visit_shootout} on penalties`);
        this.draw_events();
    }

    period_text(s) {
        const start = new Date(s.start_time);
        const form = {day: 'numeric', month: 'short', hour: '2-digit',
                      minute: '2-digit', hourCycle: 'h23'};

        return s.period === 'not_started' && !isNaN(start)
            ? start.toLocaleString([], form) : PERIODS[s.period] || s.period;
    }

    draw_name(side, id) {
        if (!id || this.names[side] === id)
            return;
        this.names[side] = id;
        put(this.parts[side], id.toUpperCase());
        team_name(this.server, id).then((name) => {
            if (this.names[side] !== id)
                return;
            put(this.parts[side], name);
            this.board.setAttribute('aria-label', SIDES.map(
                (x) => this.parts[x].textContent).join(' – '));
            this.draw_events();
        });
    }

    draw_score(side, score) {
        const node = this.parts[side + '_score'];
        const up = Number(score) > Number(node.textContent) && this.was_live;

        put(node, score);
        if (!up)
            return;
        node.classList.add('new');
        setTimeout(() => node.classList.remove('new'), 2000);
    }

    draw_events() {
        const undone = this.match.undone();

        this.kicks_from = this.match.shootout_from();
        const rows = this.most === 0 ? [] : this.match.list()
            .filter((m) => this.sentence(m) !== '')
            .reverse().slice(0, this.most)
            .map((m) => this.row(m, undone.has(m.offset)));
        const list = this.parts.events;

        if (rows.map((r) => r.outerHTML).join() !==
                Array.from(list.children, (r) => r.outerHTML).join())
            list.replaceChildren(...rows);
    }

    row(m, undone) {
        const d = m.data || {};
        const minute = d.minute === undefined ? '' : d.minute + '′';
        const row = el('li', {class: m.kind + (undone ? ' undone' : ''),
                              part: 'event ' + m.kind},
                       el('span', {}, minute), el('div', {}, this.sentence(m)));

        if (undone)
            row.setAttribute('aria-label', 'Taken back: ' + this.sentence(m));
        return row;
    }

    sentence(m) {
        const team = m.data && m.data.team;
        const text = words(m, this.is_kick(m));

        return text && team ? text + ' (' + this.team_text(team) + ')' : text;
    }

    is_kick(m) {
        return m.offset > this.kicks_from;
    }

    team_text(id) {
        const side = SIDES.find((x) => this.names[x] === id);

        return side ? this.parts[side].textContent : id.toUpperCase();
    }

    tell_event(m) {
        const p = this.parts;
        const text = m.kind === 'retract' ? 'A decision was reversed'
            : this.sentence(m);

        if (!TOLD.includes(m.kind) && !this.is_kick(m) || !text)
            return;
        put(p.told, `${text}. ${p.home.textContent} ` +
            `${p.home_score.textContent}, ${p.visit.textContent} ` +
            p.visit_score.textContent + (p.shootout.textContent &&
                                         '; ' + p.shootout.textContent));
    }
}

customElements.define('touchline-match', TouchlineMatch);
}());
