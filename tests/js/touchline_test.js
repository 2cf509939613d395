/* touchline_test.js - the browser client against a fake clock, fake sockets
 * and a fake fetch: nothing here opens a port or waits for real time.
 * Run: node --test tests/js/ */
'use strict';

const test = require('node:test');
const assert = require('node:assert');
const Touchline = require('../../gateways/http/pages/touchline.js');

const {Ledger, SseParser, parse_cursor, pattern_matches, backoff_ms,
       retry_after_ms} = Touchline.parts;

/* ---- A world of our own ---- */

/* Lets promises and streams run dry. */
async function settle() {
    for (let i = 0; i < 12; i += 1)
        await new Promise((done) => setImmediate(done));
}

class World {
    constructor() {
        this.time = 1700000000000;
        this.timers = [];
        this.sockets = [];
        this.requests = [];
        this.routes = {};       /* path -> (url, init) => Response */
        this.jitter = 0.5;
        this.kept = {};
        const world = this;

        this.env = {
            now: () => this.time,
            random: () => this.jitter,
            setTimeout: (fn, ms) => {
                const t = {at: this.time + ms, fn: fn};

                this.timers.push(t);
                return t;
            },
            clearTimeout: (t) => {
                this.timers = this.timers.filter((x) => x !== t);
            },
            fetch: (url, init) => this.fetch(url, init || {}),
            WebSocket: class {
                constructor(address) {
                    this.address = address;
                    this.sent = [];
                    world.sockets.push(this);
                }
                send(text) { this.sent.push(JSON.parse(text)); }
                close() { this.closed = true; }
                says(item) { this.onmessage({data: JSON.stringify(item)}); }
                dies(code, reason) {
                    this.onclose({code: code || 1006, reason: reason || ''});
                }
            },
            storage: {
                getItem: (k) => this.kept[k] || null,
                setItem: (k, v) => { this.kept[k] = v; },
            },
            events: null,
        };
        this.routes['/v1/ws'] = () => json(
            {error: {code: 'ws.port'}, url: 'ws://h:8001/v1/ws'}, 426);
    }

    async fetch(url, init) {
        const at = new URL(url, 'http://h');
        const route = Object.keys(this.routes)
            .find((p) => at.pathname.startsWith(p));

        this.requests.push({url: at, init: init});
        if (!route)
            throw new TypeError('no network');
        return this.routes[route](at, init);
    }

    asked(path) {
        return this.requests.filter((r) => r.url.pathname.startsWith(path));
    }

    /* Time passes; what falls due runs in its order. */
    async pass(ms) {
        const until = this.time + ms;

        await settle();
        for (;;) {
            this.timers.sort((a, b) => a.at - b.at);
            const next = this.timers[0];

            if (!next || next.at > until)
                break;
            this.time = Math.max(this.time, next.at);
            this.timers.shift();
            next.fn();
            await settle();
        }
        this.time = until;
    }
}

function json(body, status, headers) {
    return new Response(JSON.stringify(body),
                        {status: status || 200, headers: headers || {}});
}

/* An event stream that the test writes into. */
function stream() {
    const s = {};
    const body = new ReadableStream({start(c) { s.control = c; }});

    s.response = new Response(body,
                              {headers: {'Content-Type': 'text/event-stream'}});
    s.write = (text) => s.control.enqueue(new TextEncoder().encode(text));
    s.says = (item) => s.write((item.notice ? 'event: notice\n' : '') +
                               'data: ' + JSON.stringify(item) + '\n\n');
    s.ends = () => s.control.close();
    return s;
}

function message(channel, seq, more) {
    return Object.assign({channel: channel, epoch: 'e', seq: seq, offset: seq,
                          ts: 0, data: 'm' + seq}, more);
}

function resumed(channels, seq) {
    return {notice: 'resumed', channels: channels, cursor: 'e-' + seq};
}

function snapshot(channel, seq) {
    return {notice: 'snapshot', channel: channel, cursor: 'e-' + seq,
            state: null};
}

/* A subscription that writes down what it is told. */
function watch(world, channels, options) {
    const w = {got: [], notices: [], states: []};

    w.sub = Touchline.subscribe('http://h', channels, Object.assign({
        env: world.env,
        onmessage: (m) => w.got.push(m.seq),
        onnotice: (n) => w.notices.push(n.notice),
        onstate: (s) => w.states.push(s.state),
    }, options));
    return w;
}

/* ---- Order and resume ---- */

test('a message sent again is not delivered again', () => {
    const l = new Ledger('e-4');

    l.begin(['a']);
    l.hear(resumed(['a'], 4));
    assert.strictEqual(l.accept(message('a', 5)), true);
    assert.strictEqual(l.accept(message('a', 5)), false);
    assert.strictEqual(l.accept(message('a', 3)), false);
    assert.strictEqual(l.accept(message('a', 6)), true);
    assert.strictEqual(l.resume, 'e-6');
});

test('a message of another channel with a smaller seq is out of order', () => {
    const l = new Ledger('e-4');

    l.begin(['a', 'b']);
    l.hear(resumed(['a', 'b'], 4));
    assert.strictEqual(l.accept(message('a', 9)), true);
    assert.strictEqual(l.accept(message('b', 8)), false);
});

test('the cursor of a notice is a place to resume from', () => {
    const l = new Ledger();

    l.begin(['a']);
    assert.strictEqual(l.resume, '');
    l.hear(snapshot('a', 12));
    assert.strictEqual(l.resume, 'e-12');
    l.hear({notice: 'gap', channel: 'a', cursor: 'e-20', why: 'slow'});
    assert.strictEqual(l.resume, 'e-20');
});

test('no cursor counts until every channel has had its first notice', () => {
    const l = new Ledger();

    l.begin(['a', 'b', 'match/*']);
    l.hear(snapshot('a', 12));
    l.hear(snapshot('b', 12));
    assert.strictEqual(l.resume, '');
    l.hear({notice: 'snapshot', channels: ['match/*'], cursor: 'e-12'});
    assert.strictEqual(l.resume, 'e-12');
});

test('a replayed message moves no cursor', () => {
    const l = new Ledger('e-4');

    l.begin(['a', 'b']);
    l.hear(resumed(['a'], 4));
    assert.strictEqual(l.accept(message('a', 50)), true);
    assert.strictEqual(l.accept(message('b', 7, {replay: true})), true);
    assert.strictEqual(l.accept(message('b', 7, {replay: true})), false);
    assert.strictEqual(l.resume, 'e-4');
    l.hear(resumed(['b'], 50));
    assert.strictEqual(l.resume, 'e-50');
    l.accept(message('a', 90, {replay: true}));
    assert.strictEqual(l.resume, 'e-50');
    assert.strictEqual(l.accept(message('b', 51)), true);
});

test('a replay cut short is made up for, and nothing comes twice', () => {
    const l = new Ledger('e-4');

    l.begin(['a', 'b']);
    l.hear(resumed(['a'], 4));
    l.accept(message('a', 50));
    l.accept(message('b', 7, {replay: true}));
    assert.strictEqual(l.begin(['a', 'b']), 'e-4');
    l.hear(resumed(['a', 'b'], 4));
    assert.strictEqual(l.accept(message('b', 7)), false);
    assert.strictEqual(l.resume, 'e-7');
    assert.strictEqual(l.accept(message('b', 9)), true);
    assert.strictEqual(l.accept(message('a', 50)), false);
    assert.strictEqual(l.accept(message('b', 51)), true);
    assert.strictEqual(l.resume, 'e-51');
    assert.strictEqual(l.ahead.size, 0);
});

test('a new epoch starts its numbers anew', () => {
    const l = new Ledger('e-900');

    l.begin(['a']);
    l.hear(resumed(['a'], 900));
    l.accept(message('a', 901));
    l.hear({notice: 'gap', channel: 'a', cursor: 'f-3', why: 'epoch'});
    l.hear({notice: 'snapshot', channel: 'a', cursor: 'f-3'});
    assert.strictEqual(l.resume, 'f-3');
    assert.strictEqual(l.accept(message('a', 4, {epoch: 'f'})), true);
    assert.strictEqual(l.resume, 'f-4');
    assert.strictEqual(l.accept(message('a', 2, {epoch: 'g'})), true);
    assert.strictEqual(l.resume, 'g-2');
});

test('a cursor from the future is given up for the one the server names',
     () => {
    const l = new Ledger('e-900');

    l.begin(['a']);
    l.hear({notice: 'gap', channel: 'a', cursor: 'e-10', why: 'future'});
    l.hear(snapshot('a', 10));
    assert.strictEqual(l.resume, 'e-10');
    assert.strictEqual(l.accept(message('a', 11)), true);
});

/* The server keeps law 3; connections break anywhere, also in the middle of
 * replays, and are joined in either of the two ways. */
test('whatever breaks, each message comes once and in order', () => {
    let seed = 1;
    const below = (n) => {
        seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
        return (seed >>> 8) % n;
    };

    for (let round = 0; round < 500; round += 1) {
        const channels = ['a', 'b', 'c'].slice(0, 1 + below(3));
        const log = Array.from({length: 60}, (_, i) =>
            message(channels[below(channels.length)], i + 1));
        const got = [];
        const l = new Ledger('e-0');
        let tries = 0;

        while (parse_cursor(l.resume).seq < 60 || got.length < 60) {
            const send = (m) => {
                if (l.accept(m))
                    got.push(m);
            };
            const script = below(2) === 0 ? joined_at_once(l, channels, log)
                                          : joined_one_by_one(l, channels, log,
                                                              below);
            const stop = tries > 200 ? script.length : below(script.length + 1);

            script.slice(0, stop).forEach((x) =>
                x.notice ? l.hear(x) : send(x));
            tries += 1;
            assert.ok(tries < 1000, 'no end in sight');
        }
        channels.forEach((c) => assert.deepStrictEqual(
            got.filter((m) => m.channel === c).map((m) => m.seq),
            log.filter((m) => m.channel === c).map((m) => m.seq)));
    }
});

function joined_at_once(l, channels, log) {
    const from = parse_cursor(l.begin(channels)).seq;

    return [resumed(channels, from)]
        .concat(log.filter((m) => m.seq > from));
}

/* The first channel runs up to some point, then the others are added with the
 * same old cursor: each is replayed up to that point. */
function joined_one_by_one(l, channels, log, below) {
    const from = parse_cursor(l.begin(channels)).seq;
    const script = [resumed([channels[0]], from)];
    let at = from;

    channels.forEach((c, i) => {
        const have = channels.slice(0, i + 1);
        const next = at + below(61 - at);

        if (i > 0) {
            log.filter((m) => m.channel === c && m.seq > from && m.seq <= at)
                .forEach((m) => script.push(
                    Object.assign({}, m, {replay: true})));
            script.push(resumed([c], at));
        }
        const upto = i === channels.length - 1 ? 60 : next;

        script.push(...log.filter((m) => have.includes(m.channel) &&
                                         m.seq > at && m.seq <= upto));
        at = upto;
    });
    return script;
}

test('a pattern matches one segment or all below', () => {
    assert.ok(pattern_matches('match/*', 'match/x'));
    assert.ok(!pattern_matches('match/*', 'match/x/y'));
    assert.ok(!pattern_matches('match/*', 'match'));
    assert.ok(pattern_matches('match/**', 'match/x/y'));
    assert.ok(!pattern_matches('match/**', 'match'));
    assert.ok(pattern_matches('a', 'a'));
    assert.ok(!pattern_matches('a', 'b'));
});

test('a cursor is read from its last dash', () => {
    assert.deepStrictEqual(parse_cursor('a-b-12'), {epoch: 'a-b', seq: 12});
    ['0', '', undefined, 'a-', '-1', 'a-x'].forEach((c) =>
        assert.strictEqual(parse_cursor(c), null));
});

/* ---- Server-Sent Events ---- */

const SSE_TEXT = ': hello\r\nretry: 1500\n\nevent: notice\rdata: {"a":1}\r\r' +
    'id: e-1\r\ndata: one\r\ndata:two\r\n\r\n\ndata\n\nevent: lost\n\n' +
    'data: last\n\n';
const SSE_EVENTS = [1500, ['notice', '{"a":1}'], ['', 'one\ntwo'], ['', ''],
                    ['', 'last']];

test('an event stream reads the same however it is split', () => {
    for (let i = 0; i <= SSE_TEXT.length; i += 1)
        for (let k = i; k <= SSE_TEXT.length; k += 1) {
            const got = [];
            const p = new SseParser({
                event: (type, data) => got.push([type, data]),
                retry: (ms) => got.push(ms),
            });

            [SSE_TEXT.slice(0, i), SSE_TEXT.slice(i, k), SSE_TEXT.slice(k)]
                .forEach((piece) => p.feed(piece));
            assert.deepStrictEqual(got, SSE_EVENTS);
        }
});

/* ---- Backoff ---- */

test('the pause is anywhere below a ceiling that doubles up to a cap', () => {
    assert.strictEqual(backoff_ms(0, 1000, 0, () => 0), 0);
    assert.strictEqual(backoff_ms(0, 1000, 0, () => 1), 1000);
    assert.strictEqual(backoff_ms(3, 1000, 0, () => 0.5), 4000);
    assert.strictEqual(backoff_ms(50, 1000, 0, () => 1), 30000);
    assert.strictEqual(backoff_ms(0, 1000, 5000, () => 0.5), 5500);
});

test('Retry-After is read as seconds and as a date', () => {
    const now = Date.parse('2022-12-18T15:00:00Z');

    assert.strictEqual(retry_after_ms('7', now), 7000);
    assert.strictEqual(
        retry_after_ms('Sun, 18 Dec 2022 15:00:09 GMT', now), 9000);
    assert.strictEqual(
        retry_after_ms('Sun, 18 Dec 2022 14:00:00 GMT', now), 0);
    assert.strictEqual(retry_after_ms('soon', now), 0);
    assert.strictEqual(retry_after_ms(null, now), 0);
});

/* ---- Transports ---- */

test('the WebSocket address comes from the HTTP port', async () => {
    const world = new World();
    const w = watch(world, ['a', 'match/*'], {since: 'e-4', name: 'Zoë'});

    await world.pass(0);
    const at = new URL(world.sockets[0].address);

    assert.strictEqual(at.host + at.pathname, 'h:8001/v1/ws');
    assert.deepStrictEqual(at.searchParams.getAll('channel'), ['a', 'match/*']);
    assert.strictEqual(at.searchParams.get('since'), 'e-4');
    assert.strictEqual(at.searchParams.get('name'), 'Zoë');
    world.sockets[0].says({notice: 'welcome', ping: 25});
    world.sockets[0].says(resumed(['a', 'match/*'], 4));
    world.sockets[0].says(message('a', 5, {ts: world.time}));
    assert.deepStrictEqual(w.got, [5]);
    assert.deepStrictEqual(w.notices, ['resumed']);
    assert.deepStrictEqual(w.states, ['connecting', 'catching-up', 'live']);
    assert.strictEqual(w.sub.cursor, 'e-5');
});

test('a WebSocket gateway that answers itself is where we asked', async () => {
    const world = new World();

    world.routes['/v1/ws'] = () => Object.defineProperty(
        json({error: {code: 'upgrade.required', text: 'x'}}, 426), 'url',
        {value: 'https://live.example/v1/ws'});
    watch(world, 'a');
    await world.pass(0);
    assert.strictEqual(world.sockets[0].address,
                       'wss://live.example/v1/ws?channel=a');
});

test('more channels than a URL holds are subscribed by command', async () => {
    const world = new World();
    const many = Array.from({length: 900}, (_, i) => 'user/' + i);

    watch(world, many, {since: 'e-4'});
    await world.pass(0);
    assert.strictEqual(world.sockets[0].address, 'ws://h:8001/v1/ws');
    world.sockets[0].onopen();
    assert.strictEqual(world.sockets[0].sent.length, 900);
    assert.deepStrictEqual(world.sockets[0].sent[1],
        {cmd: 'subscribe', channel: 'user/1', ref: 2, since: 'e-4'});
});

test('a lost connection is resumed at the last cursor', async () => {
    const world = new World();
    const w = watch(world, 'a');

    await world.pass(0);
    world.sockets[0].says(snapshot('a', 10));
    world.sockets[0].says(message('a', 11));
    world.sockets[0].dies();
    assert.strictEqual(w.states.pop(), 'waiting');
    await world.pass(499);
    assert.strictEqual(world.sockets.length, 1);
    await world.pass(1);
    assert.match(world.sockets[1].address, /since=e-11/);
    world.sockets[1].says(resumed(['a'], 11));
    world.sockets[1].says(message('a', 11));
    world.sockets[1].says(message('a', 12));
    assert.deepStrictEqual(w.got, [11, 12]);
});

test('a page that is left and kept says good bye, and resumes', async () => {
    const world = new World();

    world.env.events = new EventTarget();
    const w = watch(world, 'a');
    const happens = (name, persisted) => world.env.events.dispatchEvent(
        Object.assign(new Event(name), {persisted: persisted}));

    await world.pass(0);
    happens('pageshow', false);
    world.sockets[0].says(snapshot('a', 10));
    world.sockets[0].says(message('a', 11));
    happens('pagehide', true);
    assert.ok(world.sockets[0].closed);
    assert.strictEqual(world.timers.length, 0);
    happens('pageshow', true);
    await world.pass(0);
    assert.strictEqual(world.sockets.length, 2);
    assert.match(world.sockets[1].address, /since=e-11/);
    world.sockets[1].says(resumed(['a'], 11));
    world.sockets[1].says(message('a', 12));
    assert.deepStrictEqual(w.got, [11, 12]);
    w.sub.close();
    happens('pagehide', true);
    happens('pageshow', true);
    await world.pass(100000);
    assert.strictEqual(world.sockets.length, 2);
});

test('an old connection that speaks late is not heard', async () => {
    const world = new World();
    const w = watch(world, 'a');

    await world.pass(0);
    const old = world.sockets[0];
    const speak = old.onmessage;

    old.says(snapshot('a', 10));
    old.dies();
    await world.pass(500);
    speak({data: JSON.stringify(message('a', 99))});
    assert.deepStrictEqual(w.got, []);
    assert.ok(old.closed);
});

test('pauses grow while nothing lasts, and restart after what lasted',
     async () => {
    const world = new World();
    const w = watch(world, 'a', {transport: 'ws'});
    const pause = () => w.sub.state.retryIn;

    await world.pass(0);
    world.sockets[0].says(snapshot('a', 1));
    world.sockets[0].dies();
    assert.strictEqual(pause(), 500);
    await world.pass(500);
    world.sockets[1].says(resumed(['a'], 1));
    world.sockets[1].dies();
    assert.strictEqual(pause(), 1000);
    await world.pass(1000);
    world.sockets[2].says(resumed(['a'], 1));
    await world.pass(5000);
    world.sockets[2].dies();
    assert.strictEqual(pause(), 500);
});

test('a transport without a first notice makes way for the next', async () => {
    const world = new World();
    const s = stream();
    const w = watch(world, 'a');

    world.routes['/v1/stream'] = () => s.response;
    await world.pass(4999);
    assert.strictEqual(world.asked('/v1/stream').length, 0);
    const speak = world.sockets[0].onmessage;

    await world.pass(1);
    assert.ok(world.sockets[0].closed);
    speak({data: JSON.stringify(snapshot('a', 9))});
    assert.deepStrictEqual(w.states, ['connecting', 'connecting']);
    s.says(snapshot('a', 10));
    s.says(message('a', 11));
    await settle();
    assert.deepStrictEqual(w.got, [11]);
    assert.strictEqual(w.sub.state.transport, 'sse');
});

test('where nothing streams, polls carry the cursor on', async () => {
    const world = new World();
    const answers = [
        {cursor: 'e-10', messages: [snapshot('a', 10)]},
        {cursor: 'e-11', messages: [resumed(['a'], 10), message('a', 11)]},
        {cursor: 'e-12', messages: [resumed(['a'], 11), message('a', 11),
                                    message('a', 12)]},
    ];
    const w = watch(world, 'a');

    delete world.routes['/v1/ws'];
    world.routes['/v1/poll'] = () => answers.length > 0
        ? json(answers.shift()) : new Promise(() => {});
    await world.pass(0);
    const polls = world.asked('/v1/poll').map((r) => r.url.searchParams);

    assert.deepStrictEqual(polls.map((q) => q.get('since')),
                           [null, 'e-10', 'e-11', 'e-12']);
    assert.deepStrictEqual(polls.map((q) => q.get('wait')),
                           ['0', '25', '25', '25']);
    assert.deepStrictEqual(w.got, [11, 12]);
    assert.deepStrictEqual(w.notices, ['snapshot']);
});

test('empty answers that come too soon do not become a storm', async () => {
    const world = new World();

    world.routes['/v1/poll'] = () => json(
        {cursor: 'e-1', messages: []});
    watch(world, 'a', {transport: 'poll'});
    await world.pass(10000);
    assert.ok(world.asked('/v1/poll').length <= 12);
});

test('a poll nobody answers is given up', async () => {
    const world = new World();
    let first = true;

    world.routes['/v1/poll'] = () => {
        const was = first;

        first = false;
        return was ? json({cursor: 'e-1', messages: [snapshot('a', 1)]})
                   : new Promise(() => {});
    };
    const w = watch(world, 'a', {transport: 'poll'});

    await world.pass(39999);
    assert.strictEqual(w.sub.state.state, 'live');
    await world.pass(1);
    assert.strictEqual(w.sub.state.state, 'waiting');
});

test('what worked is tried first by the next subscription', async () => {
    const world = new World();
    let s = null;

    delete world.routes['/v1/ws'];
    world.routes['/v1/stream'] = () => (s = stream()).response;
    const w = watch(world, 'a');

    await world.pass(0);
    s.says(snapshot('a', 1));
    await settle();
    w.sub.close();
    world.requests = [];
    const second = watch(world, 'a');

    await world.pass(0);
    assert.deepStrictEqual(world.requests.map((r) => r.url.pathname),
                           ['/v1/stream']);
    second.sub.close();
    world.time += 600000;
    world.requests = [];
    watch(world, 'a');
    await world.pass(0);
    assert.strictEqual(world.requests[0].url.pathname, '/v1/ws');
});

test('the server says how long to pause', async () => {
    const world = new World();
    const s = stream();

    world.routes['/v1/stream'] = () => s.response;
    const w = watch(world, 'a', {transport: 'sse'});

    await world.pass(0);
    s.write('retry: 4000\n\n');
    s.says(snapshot('a', 1));
    await settle();
    s.ends();
    await settle();
    assert.strictEqual(w.sub.state.retryIn, 2000);
});

test('a busy server is asked again on the same way, when it said', async () => {
    const world = new World();

    world.routes['/v1/stream'] = () => json(
        {error: {code: 'router.away', text: 'away'}}, 503,
        {'Retry-After': '3'});
    world.routes['/v1/ws'] = world.routes['/v1/stream'];
    const w = watch(world, 'a');

    await world.pass(0);
    assert.deepStrictEqual(world.requests.map((r) => r.url.pathname),
                           ['/v1/ws']);
    assert.strictEqual(w.sub.state.retryIn, 3500);
    await world.pass(3500);
    assert.strictEqual(world.asked('/v1/ws').length, 2);
});

/* Each of a crowd has a slot of its own, so there is no jitter. */
test('a slot is kept to the millisecond, whoever names it', async () => {
    const said = {notice: 'closing', why: 'too many', retry_ms: 7300};
    const ways = {
        'reason of a refusal': (w) => w.sockets[0].dies(
            1013, 'busy; retry-after-ms=7300'),
        'reason of a drain': (w) => {
            w.sockets[0].says(snapshot('a', 1));
            w.sockets[0].dies(1001, 'for a moment; retry-after-ms=7300');
        },
        'error of a command': (w) => w.sockets[0].says(
            {ref: 1, error: {code: 'busy', text: '', retry_ms: 7300}}),
        'last notice': (w) => {
            w.sockets[0].says(snapshot('a', 1));
            w.sockets[0].says(said);
            w.sockets[0].dies(1001);
        },
    };

    for (const way of Object.keys(ways)) {
        const world = new World();

        world.jitter = 0.99;
        const w = watch(world, ['a'], {transport: 'ws'});

        await world.pass(0);
        ways[way](world);
        await world.pass(7299);
        assert.strictEqual(world.sockets.length, 1, way);
        await world.pass(1);
        assert.strictEqual(world.sockets.length, 2, way);
        w.sub.close();
    }
});

test('a stream that begins with its end is a slot, and no way to give up',
    async () => {
        const world = new World();
        const streams = [stream(), stream()];
        let asked = 0;

        world.routes['/v1/stream'] = () => streams[asked++].response;
        const w = watch(world, ['a'], {transport: 'sse'});

        await world.pass(0);
        streams[0].write('retry: 4200\n\n');
        streams[0].says({notice: 'closing', why: 'too many', retry_ms: 4200});
        streams[0].ends();
        await world.pass(4199);
        assert.strictEqual(asked, 1);
        assert.deepStrictEqual(w.states, ['connecting', 'waiting']);
        await world.pass(1);
        assert.strictEqual(asked, 2);
        streams[1].says(snapshot('a', 1));
        await world.pass(0);
        assert.strictEqual(w.sub.state.state, 'live');
        w.sub.close();
    });

test('a poll keeps the slot of its refusal', async () => {
    const world = new World();

    world.jitter = 0.99;
    world.routes['/v1/poll'] = () => json(
        {error: {code: 'busy', text: '', retry_ms: 2500}}, 503,
        {'Retry-After': '3'});
    const w = watch(world, ['a'], {transport: 'poll'});

    await world.pass(2499);
    assert.strictEqual(world.asked('/v1/poll').length, 1);
    await world.pass(1);
    assert.strictEqual(world.asked('/v1/poll').length, 2);
    w.sub.close();
});

test('a refusal ends it, and says why', async () => {
    const world = new World();
    const refusal = () => json(
        {error: {code: 'channel.bad', text: 'no such channel'}}, 400);

    world.routes['/v1/stream'] = refusal;
    world.routes['/v1/poll'] = refusal;
    const w = watch(world, 'a b');

    await world.pass(0);
    world.sockets[0].dies();
    await world.pass(60000);
    assert.strictEqual(w.sub.state.state, 'failed');
    assert.strictEqual(w.sub.state.error.code, 'channel.bad');
    assert.strictEqual(world.asked('/v1/stream').length, 1);
    assert.strictEqual(world.timers.length, 0);
});

test('an error page of a proxy is no refusal', async () => {
    const world = new World();

    world.routes['/v1/stream'] = () => new Response('<h1>404</h1>',
                                                    {status: 404});
    const w = watch(world, 'a', {transport: 'sse'});

    await world.pass(0);
    assert.strictEqual(w.sub.state.state, 'waiting');
});

test('with no network all ways are tried once between two pauses', async () => {
    const world = new World();

    world.routes = {};
    const w = watch(world, 'a');

    await world.pass(0);
    assert.deepStrictEqual(world.requests.map((r) => r.url.pathname),
                           ['/v1/ws', '/v1/stream', '/v1/poll']);
    assert.strictEqual(w.sub.state.state, 'waiting');
    await world.pass(500);
    assert.strictEqual(world.requests.length, 6);
    assert.strictEqual(w.sub.state.retryIn, 1000);
});

test('a silent WebSocket is asked, and dropped without an answer', async () => {
    const world = new World();
    const w = watch(world, 'a');

    await world.pass(0);
    world.sockets[0].says({notice: 'welcome', ping: 20});
    world.sockets[0].says(snapshot('a', 1));
    await world.pass(40000);
    assert.deepStrictEqual(world.sockets[0].sent,
                           [{cmd: 'ping', ref: 'alive'}]);
    world.sockets[0].says({ref: 'alive', ok: true});
    await world.pass(40000);
    assert.strictEqual(world.sockets[0].sent.length, 2);
    assert.strictEqual(w.sub.state.state, 'live');
    await world.pass(10000);
    assert.strictEqual(w.sub.state.state, 'waiting');
});

test('a stream that stops pinging is resumed', async () => {
    const world = new World();
    const s = stream();

    world.routes['/v1/stream'] = () => s.response;
    const w = watch(world, 'a', {transport: 'sse'});

    await world.pass(0);
    s.says(snapshot('a', 1));
    for (let i = 0; i < 8; i += 1) {
        await world.pass(25000);
        s.write(': ping\n\n');
    }
    await world.pass(60000);
    assert.strictEqual(w.sub.state.state, 'live');
    await world.pass(5000);
    assert.strictEqual(w.sub.state.state, 'waiting');
});

test('a mistake in a callback does not cost the stream', async () => {
    const world = new World();
    const got = [];

    watch(world, 'a', {onmessage: (m) => {
        got.push(m.seq);
        throw new Error('the page is wrong');
    }});
    await world.pass(0);
    world.sockets[0].says(snapshot('a', 1));
    world.sockets[0].says(message('a', 2));
    world.sockets[0].says(message('a', 3));
    assert.deepStrictEqual(got, [2, 3]);
    await assert.rejects(world.pass(0), /the page is wrong/);
});

test('after close nothing is delivered, kept or asked', async () => {
    const world = new World();
    const w = watch(world, 'a');

    await world.pass(0);
    const speak = world.sockets[0].onmessage;

    world.sockets[0].says(snapshot('a', 1));
    w.sub.close();
    assert.strictEqual(world.timers.length, 0);
    speak({data: JSON.stringify(message('a', 2))});
    await world.pass(100000);
    assert.deepStrictEqual(w.got, []);
    assert.strictEqual(world.sockets.length, 1);
    assert.ok(world.sockets[0].closed);
    assert.strictEqual(w.states.pop(), 'closed');
});

test('it can be closed from its own callback', async () => {
    const world = new World();
    const w = watch(world, 'a', {onmessage: (m) => {
        w.got.push(m.seq);
        w.sub.close();
    }});
    const s = stream();

    delete world.routes['/v1/ws'];
    world.routes['/v1/stream'] = () => s.response;
    await world.pass(0);
    s.says(snapshot('a', 1));
    s.write('data: ' + JSON.stringify(message('a', 2)) + '\n\n' +
            'data: ' + JSON.stringify(message('a', 3)) + '\n\n');
    await world.pass(1000);
    assert.deepStrictEqual(w.got, [2]);
});

test('an unknown transport is a mistake of the caller', () => {
    const world = new World();

    assert.throws(() => watch(world, 'a', {transport: 'pigeon'}), TypeError);
});

/* ---- Publishing ---- */

test('each try of a publication carries the same key', async () => {
    const world = new World();
    const answers = [
        () => { throw new TypeError('reset'); },
        () => json({error: {code: 'publish.unknown', text: 'unsure'}}, 503),
        () => json({channel: 'a', epoch: 'e', seq: 7, offset: 1, reached: 2},
                   201),
    ];

    world.routes['/v1/publish/'] = () => answers.shift()();
    const done = Touchline.publish('http://h', 'a', 'hello', {env: world.env});

    await world.pass(10000);
    assert.strictEqual((await done).seq, 7);
    const keys = world.asked('/v1/publish/')
        .map((r) => r.init.headers['Idempotency-Key']);

    assert.strictEqual(keys.length, 3);
    assert.strictEqual(new Set(keys).size, 1);
    assert.match(keys[0], /^[\x21-\x7e]{16,128}$/);
});

test('a refused publication is not tried again', async () => {
    const world = new World();

    world.routes['/v1/publish/'] = () => json(
        {error: {code: 'publish.denied', text: 'not you'}}, 403);
    const done = Touchline.publish('http://h', 'a', 'x', {env: world.env});

    await assert.rejects(done, {code: 'publish.denied', status: 403,
                                message: 'not you'});
    assert.strictEqual(world.requests.length, 1);
});

test('a publication is given up after its time', async () => {
    const world = new World();
    const done = assert.rejects(
        Touchline.publish('http://h', 'a', 'x', {env: world.env}),
        {code: 'net', status: 0});

    await world.pass(60000);
    await done;
    assert.strictEqual(world.timers.length, 0);
});

test('a publication keeps channel, name, key and kind of data', async () => {
    const world = new World();
    const sent = async (channel, data, options) => {
        world.routes['/v1/publish/'] = () => json({}, 201);
        await Touchline.publish('http://h/', channel, data,
                                Object.assign({env: world.env}, options));
        return world.requests.pop();
    };
    const text = await sent('room/a b?é', 'hi', {from: 'Zoë', key: 'k',
                                                 token: 't'});

    assert.strictEqual(text.url.pathname, '/v1/publish/room/a%20b%3F%C3%A9');
    assert.match(text.init.headers['Content-Type'], /^text\/plain/);
    assert.strictEqual(
        Buffer.from(text.init.headers['Touchline-From'], 'latin1').toString(),
        'Zoë');
    assert.strictEqual(text.init.headers['Touchline-Key'], 'k');
    assert.strictEqual(text.init.headers.Authorization, 'Bearer t');
    const object = await sent('a', {x: 1});

    assert.strictEqual(object.init.headers['Content-Type'], 'application/json');
    assert.strictEqual(object.init.body, '{"x":1}');
    const bytes = await sent('a', new Uint8Array([1, 2]));

    assert.strictEqual(bytes.init.headers['Content-Type'],
                       'application/octet-stream');
    const keyed = await sent('a', 'x', {idempotency: 'mine'});

    assert.strictEqual(keyed.init.headers['Idempotency-Key'], 'mine');
});

/* ---- Questions ---- */

test('history and presence ask for what they were told', async () => {
    const world = new World();
    const page = {cursor: 'e-1', messages: [], more: false};

    world.routes['/v1/history/'] = () => json(page);
    world.routes['/v1/presence/'] = () => json({count: 0, names: []});
    assert.deepStrictEqual(await Touchline.history(
        'http://h/', 'room/a b', {since: 'e-0', limit: 7, env: world.env}), page);
    assert.strictEqual(world.requests[0].url.pathname, '/v1/history/room/a%20b');
    assert.strictEqual(world.requests[0].url.search, '?since=e-0&limit=7');
    await Touchline.history('http://h', 'a', {env: world.env});
    assert.strictEqual(world.requests[1].url.search, '');
    assert.deepStrictEqual(await Touchline.presence(
        'http://h', 'a', {env: world.env}), {count: 0, names: []});
});

test('a question is asked again when the server says', async () => {
    const world = new World();
    const at = [];
    const answers = [
        () => { throw new TypeError('reset'); },
        () => json({error: {code: 'busy', text: 'x', retry_ms: 4321}}, 503),
        () => json({error: {code: 'page.bad', text: 'no'}}, 400),
    ];

    world.routes['/v1/history/'] = () => {
        at.push(world.time);
        return answers.shift()();
    };
    const done = assert.rejects(
        Touchline.history('http://h', 'a', {env: world.env}),
        {code: 'page.bad', status: 400});

    await world.pass(10000);
    await done;
    assert.deepStrictEqual(at.map((t) => t - at[0]), [0, 125, 125 + 4321]);
});

test('a fetch and a WebSocket that are brought along are used', async () => {
    const world = new World();
    const {fetch, WebSocket, ...rest} = world.env;

    Touchline.subscribe('http://h', 'a', {fetch, WebSocket, env: rest});
    await world.pass(0);
    assert.strictEqual(world.sockets.length, 1);
    world.routes['/v1/publish/'] = () => json({seq: 1}, 201);
    assert.strictEqual((await Touchline.publish('http://h', 'a', 'x',
                                                {fetch, env: rest})).seq, 1);
});
