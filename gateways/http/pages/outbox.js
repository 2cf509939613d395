/* outbox.js - events on their way from the reporter's page to the server.
 *
 * What is entered waits in localStorage, each event under a key of its own, so
 * that two tabs cannot overwrite what the other one adds. It is sent in the
 * order in which it was entered, one at a time, each under an Idempotency-Key
 * that all its tries carry: it is stored once, however often and by whichever
 * tab it had to be sent. Where the browser has Web Locks, one tab sends at a time
 * (which may hear late what another one has sent).
 *
 *   Outbox.add(match, kind, data, at, {undoes, replaces, makes})
 *   Outbox.list()    // oldest first: {key, match, kind, data, at, n, tried,
 *                    //   undoes, replaces, makes, refused}
 *   Outbox.change(key, {data: ...}); Outbox.drop(key)
 *   Outbox.kick()    // there is reason to try now
 *   Outbox.words(code, text) // of an error, for who reports
 *   Outbox.trouble   // '', 'offline' or 'token'; why nothing is sent
 *   Outbox.on        // {change(), took(item, answer), refused(item),
 *                    //   denied(text), has_team(id)}, set by the page
 *
 * tried: when it was sent first, in milliseconds; undoes: the key of an event
 * whose offset is not known yet; refused: the server's reason. A refused event
 * stays until it is thrown away or edited, and holds up nobody.
 *
 * A correction is one item: `replaces` is the offset of the event in whose place
 * it comes, which is taken back in front of it, under a key made of its own. If
 * that is refused nothing has happened.
 *
 * What the match cannot do without has `makes`: the status that creates it, and
 * a team (kind `team`, data {id, name}). While one of these is refused, all that
 * waits for this match waits on. */
const Outbox = (function () {
'use strict';

const PREFIX = 'touchline event ';
const LOCK = 'touchline report';
const TOKEN = 'touchline token';
const FIRST_PAUSE_MS = 1000;
const LAST_PAUSE_MS = 30000;
const CORRECTED = 'corrected';  /* the comment of its retract */
const STEAL_MS = 20000;         /* no try takes so long: its tab stands still */

const memory = new Map();       /* key -> item, where storage is blocked */
const me = {on: {}, trouble: '', keeps: true};

/* ---- What waits ---- */

function list() {
    const all = new Map(memory);

    try {
        for (let i = 0; i < localStorage.length; i += 1) {
            const name = localStorage.key(i);

            if (name.startsWith(PREFIX))
                all.set(name.slice(PREFIX.length),
                        JSON.parse(localStorage.getItem(name)));
        }
    } catch (e) {
        /* Blocked, or not ours: what this page knows is in memory. */
    }
    return Array.from(all.values()).filter((i) => i && i.key)
        .sort((a, b) => a.n - b.n || (a.key < b.key ? -1 : 1));
}

const find = (key) => list().find((i) => i.key === key);

/* What may go, oldest first. */
function unsent() {
    const all = list();
    const stuck = new Set(all.filter((i) => i.refused && i.makes)
        .map((i) => i.match));

    return all.filter((i) => !i.refused && !stuck.has(i.match));
}

function keep(item) {
    const text = JSON.stringify(item);

    memory.delete(item.key);
    if (Shared.stored(PREFIX + item.key, text) !== text) {
        memory.set(item.key, item);
        me.keeps = false;
    }
    tell('change');
}

function drop(key) {
    memory.delete(key);
    try {
        localStorage.removeItem(PREFIX + key);
    } catch (e) {
        /* It was never there. */
    }
    tell('change');
}

/* Another tab may have thrown it away meanwhile: it is not brought back. */
function change(key, what) {
    const item = find(key);

    if (item)
        keep(Object.assign(item, what));
}

function random_key() {
    return Array.from(crypto.getRandomValues(new Uint32Array(4)),
                      (n) => n.toString(36)).join('');
}

/* n keeps the order, also when the clock is set back in between. */
function add(match, kind, data, at, more) {
    const n = Math.max(Date.now(), ...list().map((i) => i.n + 1));

    keep(Object.assign({key: random_key(), match: match, kind: kind,
                        data: data, at: at, n: n}, more));
    kick();
}

/* It was refused under its old key, which belongs to what it was. */
function replace(key, what) {
    const item = find(key);

    if (!item)
        return;
    drop(key);
    keep(Object.assign(item, what, {key: random_key(), tried: 0, refused: ''}));
    kick();
}

function tell(what, ...more) {
    if (me.on[what])
        me.on[what](...more);
}

/* ---- Sending ---- */

let running = false;
let wake = () => {};            /* ends the pause between two tries */

async function kick() {
    let tries = 0;

    wake();
    if (running)
        return;
    running = true;
    while (unsent().length > 0) {
        const wait = await locked(() => send_first(tries));

        tell('change');
        tries = wait ? tries + 1 : 0;
        if (wait)
            await pause(wait);
    }
    running = false;
}

/* One try, and no other tab's at the same time. A tab that stands still while
 * it has the lock loses it: what both send is stored once. */
async function locked(work) {
    const locks = navigator.locks;
    const late = new AbortController();

    if (!locks)
        return work().catch(() => FIRST_PAUSE_MS);
    const timer = setTimeout(() => late.abort(), STEAL_MS);
    const begin = () => {
        clearTimeout(timer);
        return work();
    };

    try {
        return await locks.request(LOCK, {signal: late.signal}, begin);
    } catch (e) {
        return late.signal.aborted ? locks.request(LOCK, {steal: true}, work)
                                   : FIRST_PAUSE_MS;
    }
}

function pause(ms) {
    return new Promise((done) => {
        const timer = setTimeout(done, ms);

        wake = () => {
            clearTimeout(timer);
            done();
        };
    });
}

/* What is sent of it next. */
function step_of(item) {
    if (item.replaces)
        return {key: item.key + '-', match: item.match, kind: 'retract',
                data: {offset: item.replaces, comment: CORRECTED},
                at: item.at};
    return item;
}

/* A team that is there stays as it is: this name was chosen where the server
 * could not be asked. */
async function deliver(step) {
    const team = step.kind === 'team';

    if (team && await me.on.has_team(step.data.id))
        return {};
    return Touchline.publish(
        '', team ? 'team/' + step.data.id : 'match/' + step.match,
        team ? {name: step.data.name} : {kind: step.kind, data: step.data},
        {idempotency: step.key, token: Shared.stored(TOKEN) || '', give_up: 0});
}

/* 0, or how long to wait before the next try. Only the server's own words take
 * an event out of the queue: a proxy may answer anything for a while. */
async function send_first(tries) {
    const item = unsent()[0];
    const without = navigator.onLine === false;     /* a network, for sure */

    if (!item)
        return 0;
    if (!item.tried)
        change(item.key, {tried: Date.now()});
    const step = step_of(item);

    try {
        const answer = await deliver(step);

        me.trouble = '';
        took(item, step, answer);
        return 0;
    } catch (e) {
        if (without && !e.status && !item.tried)
            change(item.key, {tried: 0});           /* it has not left */
        return failed(item, e, tries);
    }
}

/* The server's words, but for what it says to who runs it. */
function words(code, text) {
    return code === 'token.unknown' ? 'This token is not known here.' : text;
}

function failed(item, e, tries) {
    const ours = e.code && !/^(http\.|net$)/.test(e.code);
    const refused = ours && e.status >= 400 && e.status < 500 &&
        ![403, 408, 421, 425, 429].includes(e.status);
    const ceiling = Math.min(LAST_PAUSE_MS,
                             FIRST_PAUSE_MS * Math.pow(2, tries));

    me.trouble = refused ? '' : e.status === 403 && ours ? 'token' : 'offline';
    if (item.makes && e.code === 'match.exists') {
        drop(item.key);         /* by whomever: it is there */
        tell('took', item, null);
        return 0;
    }
    if (refused) {
        refuse(item, e.message);
        return 0;
    }
    if (me.trouble === 'token')
        tell('denied', words(e.code, e.message));
    return me.trouble === 'token' ? LAST_PAUSE_MS
        : Math.max(e.retry_after || 0, ceiling * (0.5 + Math.random() / 2));
}

/* What was to undo or to replace it knows its place now. It may have been
 * changed since it was sent: when it happened, say. */
function took(sent, step, answer) {
    const item = find(sent.key) || sent;

    if (step !== sent) {        /* the way is free for what comes instead */
        change(item.key, {replaces: 0, tried: 0});
        tell('took', step, answer);
        return;
    }
    list().filter((i) => i.undoes === item.key).forEach((i) =>
        change(i.key, i.kind === 'retract'
            ? {undoes: '', data: {offset: answer.offset}}
            : {undoes: '', replaces: answer.offset}));
    tell('took', item, answer);
    drop(item.key);
}

/* What was to undo it has nothing to do; what was to replace it stands alone. */
function refuse(item, why) {
    const later = list().filter((i) => i.undoes === item.key);
    const instead = later.filter((i) => i.kind !== 'retract');

    later.filter((i) => i.kind === 'retract').forEach((i) => drop(i.key));
    instead.forEach((i) => change(i.key, {undoes: ''}));
    if (instead.length > 0) {
        drop(item.key);
        return;
    }
    change(item.key, {refused: why});
    tell('refused', Object.assign(item, {refused: why}));
}

addEventListener('online', kick);
addEventListener('pageshow', kick);
addEventListener('visibilitychange', kick);
addEventListener('storage', (event) => {
    const ours = !event.key || event.key === TOKEN ||
        event.key.startsWith(PREFIX);

    if (ours) {
        tell('change');
        kick();
    }
});
addEventListener('beforeunload', (event) => {
    if (memory.size > 0)
        event.preventDefault();
});

return Object.assign(me, {list, find, add, change, replace, drop, kick, words,
                          CORRECTED, TOKEN});
}());
