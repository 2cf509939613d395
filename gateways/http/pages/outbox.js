/* outbox.js - events on their way from the reporter's page to the server.
 *
 * What is entered waits in localStorage, each event under a key of its own, so
 * that two tabs cannot overwrite what the other one adds. It is sent in the
 * order in which it was entered, one at a time, each under an Idempotency-Key
 * that all its tries carry: it is stored once, however often and by whichever
 * tab it had to be sent. Where the browser has Web Locks, one tab sends at a time
 * (which may hear late what another one has sent).
 *
 *   Outbox.add(match, kind, data, at, undoes)
 *   Outbox.list()    // oldest first: {key, match, kind, data, at, n, tried,
 *                    //   undoes, refused}
 *   Outbox.change(key, {data: ...}); Outbox.drop(key)
 *   Outbox.kick()    // there is reason to try now
 *   Outbox.words(code, text) // of an error, for who reports
 *   Outbox.trouble   // '', 'offline' or 'token'; why nothing is sent
 *   Outbox.on        // {change(), took(item, answer), refused(item),
 *                    //   denied(text)}, set by the page
 *
 * tried: when it was sent first, in milliseconds; undoes: the key of an event
 * whose offset is not known yet; refused: the server's reason. A refused event
 * stays until it is thrown away or edited, and holds up nobody. */
const Outbox = (function () {
'use strict';

const PREFIX = 'touchline event ';
const LOCK = 'touchline report';
const TOKEN = 'touchline token';
const FIRST_PAUSE_MS = 1000;
const LAST_PAUSE_MS = 30000;
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
const unsent = () => list().filter((i) => !i.refused);

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
function add(match, kind, data, at, undoes) {
    const n = Math.max(Date.now(), ...list().map((i) => i.n + 1));

    keep({key: random_key(), match: match, kind: kind, data: data, at: at,
          n: n, undoes: undoes});
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
        return work();
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

/* 0, or how long to wait before the next try. Only the server's own words take
 * an event out of the queue: a proxy may answer anything for a while. */
async function send_first(tries) {
    const item = unsent()[0];

    if (!item)
        return 0;
    if (!item.tried)
        change(item.key, {tried: Date.now()});
    try {
        const answer = await Touchline.publish(
            '', 'match/' + item.match, {kind: item.kind, data: item.data},
            {idempotency: item.key, token: Shared.stored(TOKEN) || '',
             give_up: 0});

        me.trouble = '';
        took(item, answer);
        return 0;
    } catch (e) {
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
    if (refused) {
        refuse(item, e.message);
        return 0;
    }
    if (me.trouble === 'token')
        tell('denied', words(e.code, e.message));
    return me.trouble === 'token' ? LAST_PAUSE_MS
        : Math.max(e.retry_after || 0, ceiling * (0.5 + Math.random() / 2));
}

/* What was to undo it knows its place now. It may have been changed since it
 * was sent: when it happened, say. */
function took(sent, answer) {
    const item = find(sent.key) || sent;

    list().filter((i) => i.undoes === item.key).forEach((i) =>
        change(i.key, {undoes: '', data: {offset: answer.offset}}));
    tell('took', item, answer);
    drop(item.key);
}

function refuse(item, why) {
    list().filter((i) => i.undoes === item.key).forEach((i) => drop(i.key));
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
                          TOKEN});
}());
