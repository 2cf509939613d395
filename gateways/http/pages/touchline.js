/* touchline.js - the client of a Touchline router, for browsers and node. No
 * dependencies.
 *
 *   const sub = Touchline.subscribe('', ['match/*', 'room/lobby'], {
 *       onmessage: (m) => ...,   // {channel, epoch, seq, offset, ts, data...}
 *       onnotice: (n) => ...,    // snapshot, resumed, gap, join, leave ...
 *       onstate: (s) => ...,     // {state, transport, retryIn, since, error}
 *       since: '0',              // a cursor; else a snapshot comes first
 *       name: 'ana',             // who we are to a room
 *       transport: 'sse',        // only this one: 'ws', 'sse' or 'poll'
 *       WebSocket: ws,           // where there is none of the platform's own
 *   });
 *   sub.cursor;                  // where a later subscription may go on
 *   sub.close();
 *
 *   Touchline.publish('', 'room/lobby', 'hello', {from: 'ana'})
 *       .then((answer) => ...);  // {channel, epoch, seq, offset, reached}
 *   Touchline.history('', 'room/lobby', {last: 50})
 *       .then((page) => ...);    // {cursor, messages, more}
 *   Touchline.presence('', 'room/lobby')
 *       .then((here) => ...);    // {count, names}
 *
 * url is the base of the HTTP gateway; '' is the page's own origin.
 *
 * Promises of subscribe: messages come in seq order, each once, over
 * reconnects and changes of transport; what could not be kept is told by a
 * `gap` notice in front of the next message. States: `connecting`,
 * `catching-up`, `live`, `waiting` (retryIn milliseconds), `failed` (refused
 * for good, error says why) and `closed`.
 *
 * Works as a classic script (global Touchline) and as module.exports; the npm
 * package is made of this file (tools/js). */
(function (root, make) {
    'use strict';
    const api = make(root);

    if (typeof module === 'object' && module.exports)
        module.exports = api;
    else
        root.Touchline = api;
}(typeof self === 'undefined' ? global : self, function (root) {
'use strict';

const TRANSPORT_ORDER = ['ws', 'sse', 'poll'];
const FIRST_NOTICE_MS = 5000;   /* a transport silent for longer is blocked */
const STABLE_MS = 5000;         /* lived longer than this: backoff restarts */
const PROVEN_TRIES = 3;         /* for a transport that has worked before */
const BACKOFF_BASE_MS = 1000;   /* until the server's `retry:` says better */
const BACKOFF_CAP_MS = 30000;
const SLOT_CAP_MS = 600000;     /* no slot of the server's is further away */
const QUIET_MS = 250;           /* catching up ends when nothing came for so */
const WATCH_MS = 5000;          /* how often silence is looked at */
const PONG_MS = 10000;
const SILENCE_MS = 120000;      /* before the server's ping period is known */
const POLL_WAIT_S = 25;
const POLL_PAUSE_MS = 1000;     /* after an empty answer that came too soon */
const QUERY_MAX = 6000;         /* the gateways read 8 KiB of request line */
const REMEMBER_MS = 600000;
const TRY_MS = 10000;           /* one request that is no stream */
const GIVE_UP_MS = 30000;       /* all its tries together */

/* ---- Small tools ---- */

function default_env() {
    return {
        fetch: (...args) => root.fetch(...args),
        WebSocket: root.WebSocket,
        setTimeout: (fn, ms) => root.setTimeout(fn, ms),
        clearTimeout: (timer) => root.clearTimeout(timer),
        now: () => Date.now(),
        random: () => Math.random(),
        storage: storage_or_null(),
        events: typeof root.addEventListener === 'function' ? root : null,
    };
}

/* env is for tests; what else somebody may bring along has its own name. */
function env_of(options) {
    const own = {};

    if (options.WebSocket)
        own.WebSocket = options.WebSocket;
    if (options.fetch)
        own.fetch = options.fetch;
    return Object.assign(default_env(), own, options.env);
}

function base_of(url) {
    return (url || '').replace(/\/+$/, '');
}

/* Merely touching sessionStorage throws where cookies are blocked. */
function storage_or_null() {
    try {
        return root.sessionStorage || null;
    } catch (e) {
        return null;
    }
}

/* The epoch is everything before the last dash. null for '0' and for junk. */
function parse_cursor(text) {
    const m = /^(.+)-(\d+)$/.exec(text || '');

    return m ? {epoch: m[1], seq: Number(m[2])} : null;
}

function cursor_text(c) {
    return c.epoch + '-' + c.seq;
}

/* `*` stands for one segment, a last `**` for one or more. */
function pattern_matches(pattern, channel) {
    const want = pattern.split('/');
    const have = channel.split('/');

    if (want[want.length - 1] === '**')
        return have.length >= want.length &&
            want.slice(0, -1).every((s, i) => s === '*' || s === have[i]);
    return have.length === want.length &&
        want.every((s, i) => s === '*' || s === have[i]);
}

/* Full jitter: anywhere below a ceiling that doubles, so that a crowd that
 * lost its server together does not come back together. */
function backoff_ms(attempt, base, at_least, random) {
    const ceiling = Math.min(BACKOFF_CAP_MS, base * Math.pow(2, attempt));

    return Math.round((at_least || 0) + random() * ceiling);
}

/* Seconds or an HTTP date -> milliseconds; 0 when absent or unreadable. */
function retry_after_ms(header, now) {
    if (!header)
        return 0;
    if (/^\d+$/.test(header))
        return Number(header) * 1000;
    const at = Date.parse(header);
    return isNaN(at) ? 0 : Math.max(0, at - now);
}

/* When the server wants us back, in milliseconds: it says so in an error, in
 * its last notice, in the reason of a close frame. 0: it does not. It has given
 * each of a crowd another time, so this one is kept as it is, without jitter. */
function slot_ms(said) {
    const ms = said ? Number(said.retry_ms) : 0;

    return ms > 0 ? Math.min(ms, SLOT_CAP_MS) : 0;
}

function slot_of_reason(text) {
    const m = /\bretry-after-ms=(\d+)/.exec(text || '');

    return slot_ms(m ? {retry_ms: m[1]} : null);
}

/* What an HTTP error means for the one who asked: `busy` come again on the
 * same way, `fatal` the request itself is wrong, neither: try another way.
 * Only the gateway's own JSON refuses for good: a proxy in front of it may
 * answer 404 for a while. */
async function failure_of(response, env) {
    const s = response.status;
    const busy = s === 408 || s === 425 || s === 429 || s === 503;
    let error = null;

    try {
        error = (await response.json()).error || null;
    } catch (e) {
        error = null;
    }
    return {
        status: s,
        error: error || {code: 'http.' + s, text: 'HTTP status ' + s},
        busy: busy,
        slot: slot_ms(error),
        fatal: !busy && error !== null && s >= 400 && s < 500,
        retry_after: retry_after_ms(response.headers.get('Retry-After'),
                                    env.now()),
    };
}

function query_of(channels, since, name) {
    const q = channels.map((c) => 'channel=' + encodeURIComponent(c));

    if (since)
        q.push('since=' + encodeURIComponent(since));
    if (name)
        q.push('name=' + encodeURIComponent(name));
    return q.join('&');
}

/* ---- Order: what was delivered, and where to resume ----
 *
 * Having been sent seq S, a connection has everything up to S (law 3), so one
 * cursor serves all channels. That begins to hold when each channel has had
 * its first notice on the connection; until then the cursor to resume from
 * stays where the connection began, and what was delivered beyond it is
 * remembered per channel so that a second try does not deliver it again. */
class Ledger {
    constructor(since) {
        this.resume = since || '';  /* '': ask for a snapshot */
        this.seen = null;           /* newest cursor of this connection */
        this.epoch = null;          /* whose numbers base and ahead are */
        this.base = -1;             /* delivered on all channels up to here */
        this.ahead = new Map();     /* channel -> delivered beyond base */
        this.waiting = new Set();   /* channels without their first notice */
    }

    /* A connection starts; returns the cursor it shall ask for. */
    begin(channels) {
        this.waiting = new Set(channels);
        this.seen = parse_cursor(this.resume);
        return this.resume;
    }

    /* true: deliver it; false: it was delivered before. */
    accept(m) {
        if (m.epoch !== this.epoch)
            this.forget(m.epoch);
        const mark = this.ahead.get(m.channel);
        const again = mark !== undefined && m.seq <= mark ||
            !m.replay && m.seq <= this.base;

        if (!m.replay) {
            this.seen = {epoch: m.epoch, seq: m.seq};
            this.answered(m.channel);
        }
        if (!again && this.waiting.size > 0)
            this.ahead.set(m.channel, m.seq);
        this.settle(m.replay ? -1 : m.seq);
        return !again;
    }

    hear(n) {
        const at = parse_cursor(n.cursor);

        /* The numbers we hold are of another history: they judge nothing. */
        if (n.notice === 'gap' && (n.why === 'future' || n.why === 'epoch')) {
            this.forget(at ? at.epoch : null);
            this.seen = at;
        }
        if (at)
            this.advance(at);
        if (n.notice === 'snapshot' || n.notice === 'resumed') {
            const named = n.channels || (n.channel ? [n.channel] : null);

            if (named)
                named.forEach((c) => this.answered(c));
            else
                this.waiting.clear();
        }
        this.settle(-1);
    }

    /* A whole poll answer has been read: there is nothing left to wait for. */
    answer_ends(cursor) {
        const at = parse_cursor(cursor);

        if (at)
            this.advance(at);
        this.waiting.clear();
        this.settle(-1);
    }

    answered(channel) {
        if (this.waiting.delete(channel) || this.waiting.size === 0)
            return;
        this.waiting.forEach((p) => {
            if (pattern_matches(p, channel))
                this.waiting.delete(p);
        });
    }

    advance(c) {
        if (!this.seen || this.seen.epoch !== c.epoch || c.seq > this.seen.seq)
            this.seen = c;
    }

    settle(seq) {
        if (this.waiting.size > 0)
            return;
        if (this.seen)
            this.resume = cursor_text(this.seen);
        this.base = Math.max(this.base, seq);
        this.ahead.forEach((mark, channel) => {
            if (mark <= this.base)
                this.ahead.delete(channel);
        });
    }

    forget(epoch) {
        this.epoch = epoch;
        this.base = -1;
        this.ahead.clear();
    }
}

/* ---- Server-Sent Events ----
 * Lines end in LF, CRLF or CR and arrive in any pieces. */
class SseParser {
    constructor(on) {
        this.on = on;               /* {event(type, data), retry(ms)} */
        this.text = '';
        this.after_cr = false;
        this.clear();
    }

    clear() {
        this.type = '';
        this.data = [];
    }

    feed(piece) {
        if (piece === '')
            return;
        const ends_in_cr = piece.charAt(piece.length - 1) === '\r';

        if (this.after_cr && piece.charAt(0) === '\n')
            piece = piece.slice(1);
        this.after_cr = ends_in_cr;
        const lines = (this.text + piece).split(/\r\n|\n|\r/);

        this.text = lines.pop();
        lines.forEach((line) => this.line(line));
    }

    line(line) {
        if (line === '') {
            if (this.data.length > 0)
                this.on.event(this.type, this.data.join('\n'));
            this.clear();
            return;
        }
        const colon = line.indexOf(':');
        const field = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');

        if (field === 'data')
            this.data.push(value);
        else if (field === 'event')
            this.type = value;
        else if (field === 'retry' && /^\d+$/.test(value))
            this.on.retry(Number(value));
    }
}

/* ---- Transports ----
 * open(run) starts one connection and returns its stop function. It reports
 * through run: up() when the server spoke, item() per message or notice,
 * retry() for a better backoff base, lost(failure) once, at the end. run.since
 * is the cursor to ask for; run.memo outlives the connection. */
const transports = {};

/* The WebSocket gateway has an address of its own; the HTTP gateway names it in
 * its 426 answer. Where a proxy has put both on one name the answer is the
 * WebSocket gateway's, which names none: it is spoken where we asked. */
async function ws_address(run) {
    if (run.memo.ws)
        return run.memo.ws;
    const r = await run.env.fetch(run.url + '/v1/ws',
                                  {cache: 'no-store', signal: run.signal});

    if (r.status !== 426) {
        const why = await failure_of(r, run.env);

        throw {error: why.error, busy: why.busy, slot: why.slot,
               retry_after: why.retry_after};
    }
    const body = await r.json();
    const address = body.url || (r.url || '').replace(/^http/, 'ws');

    if (typeof address !== 'string' || !/^wss?:/.test(address))
        throw {error: {code: 'ws.none', text: 'no WebSocket address'}};
    run.memo.ws = address;
    return address;
}

function ws_commands(run) {
    return run.channels.map((channel, i) => {
        const cmd = {cmd: 'subscribe', channel: channel, ref: i + 1};

        if (run.since)
            cmd.since = run.since;
        if (run.name)
            cmd.name = run.name;
        return JSON.stringify(cmd);
    });
}

/* Ping frames are invisible to scripts, so a silent socket is asked. Returns
 * the function to call whenever something was heard. */
function ws_watch(run, socket) {
    let heard = run.env.now();
    let asked = 0;

    run.every(WATCH_MS, () => {
        const now = run.env.now();

        if (asked > 0 && now - asked >= PONG_MS) {
            run.lost({error: {code: 'silent', text: 'no answer to ping'}});
        } else if (asked === 0 && now - heard >= 2 * run.ping) {
            asked = now;
            socket.send('{"cmd":"ping","ref":"alive"}');
        }
    });
    return () => {
        heard = run.env.now();
        asked = 0;
    };
}

function ws_frame(run, text) {
    const item = JSON.parse(text);

    run.up();
    if (item.notice === 'welcome') {
        if (item.ping > 0)
            run.ping = item.ping * 1000;
    } else if (item.error && item.ref !== 'alive') {
        const slot = slot_ms(item.error);

        run.lost({error: item.error, fatal: !slot, busy: slot > 0,
                  slot: slot});
    } else if (item.notice || item.channel && item.seq !== undefined) {
        run.item(item);
    }
}

function ws_socket(run, address) {
    const query = query_of(run.channels, run.since, run.name);
    const short = query.length <= QUERY_MAX;
    const socket = new run.env.WebSocket(short ? address + '?' + query
                                               : address);
    const heard = ws_watch(run, socket);

    socket.onopen = () => {
        if (!short)
            ws_commands(run).forEach((c) => socket.send(c));
    };
    socket.onmessage = (event) => {
        heard();
        run.guard(() => ws_frame(run, event.data));
    };
    socket.onerror = () => {};  /* a close follows; npm ws throws without it */
    socket.onclose = (event) => {
        const slot = slot_of_reason(event.reason);

        run.lost({error: {code: 'ws.' + event.code, text: event.reason || ''},
                  busy: event.code === 1013 || slot > 0, slot: slot});
    };
    return socket;
}

transports.ws = function (run) {
    let socket = null;
    let stopped = false;

    if (!run.env.WebSocket) {
        run.lost({error: {code: 'ws.none', text: 'no WebSocket here'}});
        return () => {};
    }
    ws_address(run).then((address) => {
        if (!stopped)
            socket = ws_socket(run, address);
    }).catch((e) => run.lost(e));
    return () => {
        stopped = true;
        if (!run.was_up)
            run.memo.ws = null;     /* it may have moved */
        if (socket) {
            socket.onopen = socket.onmessage = socket.onclose = null;
            socket.close();
        }
    };
};

/* A stream that begins with its end: there were too many of us. */
function sse_event(run, item) {
    if (item.notice === 'closing' && !run.was_up) {
        run.lost({error: {code: 'busy', text: item.why || ''}, busy: true,
                  slot: slot_ms(item)});
        return;
    }
    run.up();
    run.item(item);
}

/* fetch and not EventSource: it shows comment pings, statuses and Retry-After,
 * and leaves it to us when and where to resume. */
async function sse_read(run) {
    const r = await run.env.fetch(
        run.url + '/v1/stream?' +
            query_of(run.channels, run.since, run.name),
        {headers: {Accept: 'text/event-stream'}, cache: 'no-store',
         signal: run.signal});

    if (!r.ok)
        throw await failure_of(r, run.env);
    if (!/^text\/event-stream/.test(r.headers.get('Content-Type') || '') ||
            !r.body)
        throw {error: {code: 'sse.none', text: 'no event stream'}};
    const parser = new SseParser({
        event: (type, data) => sse_event(run, JSON.parse(data)),
        retry: (ms) => run.retry(ms),
    });
    const reader = r.body.getReader();
    const decoder = new TextDecoder();
    const heard = sse_watch(run);

    for (;;) {
        const chunk = await reader.read();

        if (chunk.done)
            return;
        heard();
        parser.feed(decoder.decode(chunk.value, {stream: true}));
    }
}

/* The longest silence that ended by itself shows the period of the pings. */
function sse_watch(run) {
    let heard = run.env.now();
    let longest = 0;

    run.every(WATCH_MS, () => {
        const limit = longest > 5000 ? 2.5 * longest : SILENCE_MS;

        if (run.env.now() - heard >= limit)
            run.lost({error: {code: 'silent', text: 'stream fell silent'}});
    });
    return () => {
        longest = Math.max(longest, run.env.now() - heard);
        heard = run.env.now();
    };
}

transports.sse = function (run) {
    sse_read(run).then(() => run.lost({}), (e) => run.lost(e));
    return () => {};    /* run.signal has ended the fetch */
};

async function poll_once(run, first) {
    const url = run.url + '/v1/poll?' +
        query_of(run.channels, run.cursor(), run.name) +
        '&wait=' + (first ? 0 : POLL_WAIT_S);
    const began = run.env.now();
    const overdue = run.after((POLL_WAIT_S + 15) * 1000, () =>
        run.lost({error: {code: 'silent', text: 'poll not answered'}}));
    const r = await run.env.fetch(url,
                                  {cache: 'no-store', signal: run.signal});

    if (!r.ok)
        throw await failure_of(r, run.env);
    const body = await r.json();

    overdue();
    run.up();
    body.messages.forEach((item) => {
        /* Each poll begins with a notice; news is only the first one. */
        if (first || item.notice !== 'resumed')
            run.item(item);
    });
    run.answer_ends(body.cursor);
    return body.messages.length > 0 || run.env.now() - began > POLL_PAUSE_MS;
}

/* The first poll does not wait, so that it proves the way at once. */
async function poll_loop(run) {
    for (let first = true; run.alive(); first = false) {
        const pace_is_fine = await poll_once(run, first);

        if (!first && !pace_is_fine)
            await new Promise((done) => run.after(POLL_PAUSE_MS, done));
    }
}

transports.poll = function (run) {
    poll_loop(run).catch((e) => run.lost(e));
    return () => {};
};

/* ---- One connection ----
 * Everything a transport starts ends with its run; a run that ended is deaf,
 * so a late callback of an old connection cannot disturb the new one. */
class Run {
    constructor(sub, transport) {
        const abort = new AbortController();

        this.sub = sub;
        this.env = sub.env;
        this.url = sub.url;
        this.channels = sub.channels;
        this.name = sub.name;
        this.memo = sub.memo;
        this.transport = transport;
        this.since = sub.ledger.begin(sub.channels);
        this.ping = 25000;
        this.slot = 0;          /* when the server wants us back */
        this.was_up = false;
        this.up_at = 0;
        this.ended = false;
        this.timers = new Set();
        this.abort = abort;
        this.signal = abort.signal;
        this.stop = null;
    }

    start() {
        this.silent = this.after(FIRST_NOTICE_MS, () => this.lost(
            {error: {code: 'silent', text: 'no first notice'}}));
        const stop = transports[this.transport](this);

        if (this.ended)
            stop();
        else
            this.stop = stop;
    }

    alive() {
        return !this.ended;
    }

    /* Returns the function that calls it off. */
    after(ms, fn) {
        const timer = this.env.setTimeout(() => {
            this.timers.delete(timer);
            fn();
        }, ms);

        this.timers.add(timer);
        return () => {
            this.timers.delete(timer);
            this.env.clearTimeout(timer);
        };
    }

    every(ms, fn) {
        this.after(ms, () => {
            fn();
            if (!this.ended)
                this.every(ms, fn);
        });
    }

    end() {
        if (this.ended)
            return;
        this.ended = true;
        this.timers.forEach((t) => this.env.clearTimeout(t));
        this.timers.clear();
        if (this.stop)
            this.stop();
        this.abort.abort();
    }

    /* Bytes that are no message must not stop what comes after them: the
     * connection is given up and resumed. */
    guard(fn) {
        try {
            fn();
        } catch (e) {
            this.lost(e);
        }
    }

    cursor() {
        return this.sub.ledger.resume;
    }

    answer_ends(cursor) {
        if (!this.ended)
            this.sub.ledger.answer_ends(cursor);
    }

    up() {
        if (this.ended || this.was_up)
            return;
        this.was_up = true;
        this.up_at = this.env.now();
        this.silent();
        this.sub.up(this);
    }

    item(item) {
        if (this.ended)
            return;
        if (item.notice === 'closing')
            this.slot = slot_ms(item);
        this.sub.item(this, item);
    }

    retry(ms) {
        if (!this.ended && ms > 0)
            this.sub.base = Math.min(ms, BACKOFF_CAP_MS);
    }

    lost(why) {
        if (this.ended)
            return;
        this.end();
        this.sub.lost(this, Object.assign({}, why, {
            slot: why && why.slot || this.slot,
        }));
    }
}

/* ---- A subscription: run after run until it is closed ---- */
class Subscription {
    constructor(url, channels, options) {
        this.env = env_of(options);
        this.url = base_of(url);
        this.channels = channels.slice();
        this.name = options.name || '';
        this.on = options;
        this.ledger = new Ledger(options.since);
        this.memo = {ws: null};
        this.base = BACKOFF_BASE_MS;
        this.attempt = 0;       /* losses in a row: the exponent of backoff */
        this.untried = 0;       /* ways left before the next pause */
        this.refusal = null;    /* the last `fatal` among those tried */
        this.proven = null;     /* the transport that worked last */
        this.run = null;
        this.timer = null;
        this.quiet = null;
        this.state = {state: 'connecting'};
        this.ways = options.transport ? [options.transport] : TRANSPORT_ORDER;
        this.way = Math.max(0, this.ways.indexOf(this.recall()));
        this.heard = {
            online: () => this.hurry(),
            pagehide: (e) => this.leave(e.persisted),
            pageshow: (e) => this.come_back(e.persisted),
        };
    }

    start() {
        if (this.ways.some((w) => !transports[w]))
            throw new TypeError('no such transport: ' + this.ways.join(' '));
        if (this.env.events)
            Object.entries(this.heard).forEach(([name, fn]) =>
                this.env.events.addEventListener(name, fn));
        this.new_round();
        this.timer = this.env.setTimeout(() => this.connect(), 0);
    }

    new_round() {
        this.untried = this.ways.length;
        this.refusal = null;
    }

    connect() {
        this.timer = null;
        this.run = new Run(this, this.ways[this.way]);
        this.tell('connecting', {since: this.run.since});
        if (this.run && !this.run.ended)
            this.run.start();
    }

    close() {
        if (this.run)
            this.run.end();
        this.run = null;
        this.env.clearTimeout(this.timer);
        this.env.clearTimeout(this.quiet);
        if (this.env.events)
            Object.entries(this.heard).forEach(([name, fn]) =>
                this.env.events.removeEventListener(name, fn));
        if (this.state.state !== 'failed')
            this.tell('closed', {});
    }

    /* Somebody has gone to another page, and the browser keeps this one for the
     * way back, with its sockets: he would be counted as there, and is not. */
    leave(is_kept) {
        if (!is_kept)
            return;
        if (this.run)
            this.run.end();
        this.run = null;
        this.env.clearTimeout(this.timer);
        this.env.clearTimeout(this.quiet);
    }

    come_back(was_kept) {
        if (!was_kept || this.run)
            return;
        this.env.clearTimeout(this.timer);
        this.attempt = 0;
        this.new_round();
        this.connect();
    }

    /* The network is back: no reason to sit the pause out. */
    hurry() {
        if (this.state.state !== 'waiting')
            return;
        this.env.clearTimeout(this.timer);
        this.attempt = 0;
        this.connect();
    }

    up(run) {
        this.proven = run.transport;
        this.new_round();
        this.remember(run.transport);
        if (run.since)
            this.catching_up();
        else
            this.tell('live', {});
    }

    catching_up() {
        this.tell('catching-up', {since: this.run.since});
        this.env.clearTimeout(this.quiet);
        this.quiet = this.env.setTimeout(() => this.caught_up(), QUIET_MS);
    }

    caught_up() {
        this.env.clearTimeout(this.quiet);
        if (this.state.state === 'catching-up')
            this.tell('live', {});
    }

    item(run, item) {
        if (item.notice) {
            this.ledger.hear(item);
            this.call('onnotice', item);
            return;
        }
        if (this.ledger.accept(item))
            this.call('onmessage', item);
        if (this.state.state !== 'catching-up')
            return;
        if (item.ts >= run.up_at)
            this.caught_up();
        else
            this.catching_up();
    }

    lost(run, why) {
        this.env.clearTimeout(this.quiet);
        this.run = null;
        if (run.was_up && this.env.now() - run.up_at >= STABLE_MS)
            this.attempt = 0;
        if (run.was_up && !why.fatal || why.busy)
            this.pause(why);
        else
            this.next_way(run, why);
    }

    /* It did not get through. One that has worked gets more tries before the
     * others have theirs; a full round without success is followed by a
     * pause, or is the end when there was a refusal among the answers. */
    next_way(run, why) {
        if (this.proven === run.transport && !why.fatal &&
                this.attempt < PROVEN_TRIES) {
            this.pause(why);
            return;
        }
        if (why.fatal)
            this.refusal = why;
        this.way = (this.way + 1) % this.ways.length;
        this.untried -= 1;
        if (this.untried > 0)
            this.connect();
        else if (this.refusal)
            this.fail(this.refusal);
        else
            this.pause(why);
    }

    pause(why) {
        const ms = why.slot || backoff_ms(this.attempt, this.base,
                                          why.retry_after, this.env.random);

        this.attempt += why.slot ? 0 : 1;
        this.new_round();
        this.timer = this.env.setTimeout(() => this.connect(), ms);
        this.tell('waiting', {retryIn: ms, error: why.error || null});
    }

    fail(why) {
        this.tell('failed', {error: why.error});
        this.close();
    }

    tell(state, more) {
        const same = this.state.state === state && state === 'catching-up';

        this.state = Object.assign(
            {state: state, transport: this.ways[this.way]}, more);
        if (!same)
            this.call('onstate', this.state);
    }

    /* A mistake in the page's own code is reported to the page's console and
     * does not cost it the stream. */
    call(which, value) {
        if (typeof this.on[which] !== 'function')
            return;
        try {
            this.on[which](value);
        } catch (e) {
            this.env.setTimeout(() => { throw e; }, 0);
        }
    }

    remember(transport) {
        try {
            this.env.storage.setItem('touchline ' + this.url, JSON.stringify(
                {transport: transport, at: this.env.now()}));
        } catch (e) {
            return;     /* no storage, or a full one: the next page asks anew */
        }
    }

    recall() {
        try {
            const kept = JSON.parse(
                this.env.storage.getItem('touchline ' + this.url));

            return this.env.now() - kept.at < REMEMBER_MS ? kept.transport
                                                          : null;
        } catch (e) {
            return null;
        }
    }
}

function subscribe(url, channels, options) {
    const list = Array.isArray(channels) ? channels : [channels];
    const sub = new Subscription(url, list, options || {});

    sub.start();
    return {
        close: () => sub.close(),
        get cursor() { return sub.ledger.resume; },
        get state() { return sub.state; },
    };
}

/* ---- Requests that are answered at once ---- */

/* Resolves to {answer} or to {failure, again}. */
async function ask_once(target, request, env) {
    const abort = new AbortController();
    const timer = env.setTimeout(() => abort.abort(), TRY_MS);

    try {
        const r = await env.fetch(target, Object.assign(
            {signal: abort.signal}, request));

        if (r.ok)
            return {answer: await r.json()};
        const why = await failure_of(r, env);

        return {failure: why, again: why.busy || why.status === 502 ||
                                     why.status === 504};
    } catch (e) {
        return {failure: {error: {code: 'net', text: String(e)}}, again: true};
    } finally {
        env.clearTimeout(timer);
    }
}

function error_of(failure) {
    const e = new Error(failure.error.text || failure.error.code);

    e.code = failure.error.code;
    e.status = failure.status || 0;
    e.retry_after = failure.slot || failure.retry_after || 0;
    return e;
}

/* Asks until there is an answer, a refusal, or no time left. */
async function ask(url, path, request, options) {
    const env = env_of(options);
    const until = env.now() + (options.give_up === undefined ? GIVE_UP_MS
                                                             : options.give_up);

    for (let attempt = 0; ; attempt += 1) {
        const r = await ask_once(base_of(url) + path, request, env);

        if (r.answer)
            return r.answer;
        const ms = r.failure.slot || backoff_ms(attempt, BACKOFF_BASE_MS / 4,
                                                r.failure.retry_after,
                                                env.random);

        if (!r.again || env.now() + ms > until)
            throw error_of(r.failure);
        await new Promise((done) => env.setTimeout(done, ms));
    }
}

function channel_path(channel) {
    return channel.split('/').map(encodeURIComponent).join('/');
}

/* One page of what is kept, oldest first: {cursor, messages, more}. options:
 * last, or since or before (cursors), with limit; give_up. A hole is a `gap`
 * among the messages. */
function history(url, channel, options) {
    const opts = options || {};
    const query = ['last', 'since', 'before', 'limit']
        .filter((k) => opts[k] !== undefined)
        .map((k) => k + '=' + encodeURIComponent(opts[k])).join('&');

    return ask(url, '/v1/history/' + channel_path(channel) +
                    (query && '?' + query), {}, opts);
}

/* Who is there now: {count: connections, names: [{name, connections}]}. */
function presence(url, channel, options) {
    return ask(url, '/v1/presence/' + channel_path(channel),
               {cache: 'no-store'}, options || {});
}

/* ---- Publishing ---- */

function random_key(env) {
    let key = '';

    while (key.length < 24)
        key += Math.floor(env.random() * 0x100000000).toString(36);
    return key;
}

/* Header values are bytes; a name beyond Latin-1 travels as its UTF-8. */
function header_bytes(text) {
    return unescape(encodeURIComponent(text));
}

function publish_body(data) {
    if (typeof data === 'string')
        return {type: 'text/plain; charset=utf-8', body: data};
    if (data instanceof ArrayBuffer || ArrayBuffer.isView(data) ||
            typeof Blob !== 'undefined' && data instanceof Blob)
        return {type: 'application/octet-stream', body: data};
    return {type: 'application/json', body: JSON.stringify(data)};
}

function publish_request(data, options) {
    const what = publish_body(data);
    const headers = {
        'Content-Type': what.type,
        'Idempotency-Key': options.idempotency || random_key(env_of(options)),
    };

    if (options.key)
        headers['Touchline-Key'] = header_bytes(options.key);
    if (options.from)
        headers['Touchline-From'] = header_bytes(options.from);
    if (options.token)
        headers.Authorization = 'Bearer ' + options.token;
    return {method: 'POST', headers: headers, body: what.body};
}

/* Strings are sent as text, ArrayBuffers, views and Blobs as bytes, the rest
 * as JSON. options: key (conflation), from, token, idempotency, give_up
 * (milliseconds, default 30,000). Every try carries the same Idempotency-Key,
 * so one whose answer was lost is stored once. Rejects with an Error that has
 * `code`, `status` (0: no answer) and `retry_after` (milliseconds; 0: the
 * server did not say). */
async function publish(url, channel, data, options) {
    const opts = options || {};

    return ask(url, '/v1/publish/' + channel_path(channel),
               publish_request(data, opts), opts);
}

return {
    subscribe: subscribe,
    publish: publish,
    history: history,
    presence: presence,
    parts: {Ledger: Ledger, SseParser: SseParser, parse_cursor: parse_cursor,
            pattern_matches: pattern_matches, backoff_ms: backoff_ms,
            retry_after_ms: retry_after_ms},
};
}));
