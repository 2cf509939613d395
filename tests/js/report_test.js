/* report_test.js - what the reporter's page does without being seen: events on
 * their way (outbox.js) and the clock (play.js), with everything around them
 * faked. Run: node --test tests/js/ */
'use strict';

const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const vm = require('node:vm');

const PAGES = path.join(__dirname, '../../gateways/http/pages');

async function settle() {
    for (let i = 0; i < 20; i += 1)
        await new Promise((done) => setImmediate(done));
}

/* What localStorage does, for any number of tabs. */
class Kept {
    constructor() { this.all = new Map(); }
    get length() { return this.all.size; }
    key(n) { return Array.from(this.all.keys())[n]; }
    getItem(k) { return this.all.has(k) ? this.all.get(k) : null; }
    setItem(k, v) { this.all.set(k, String(v)); }
    removeItem(k) { this.all.delete(k); }
}

/* A page. server(item) answers each try, or throws; timers run by hand. */
function tab(kept, server) {
    const t = {timers: [], sent: [], heard: {}, navigator: {}};
    const world = {
        localStorage: kept, AbortController, TextEncoder,
        navigator: t.navigator,
        crypto: globalThis.crypto,
        addEventListener: (what, fn) => { t.heard[what] = fn; },
        setTimeout: (fn, ms) => { t.timers.push({fn, ms}); return fn; },
        clearTimeout: (fn) => {
            t.timers = t.timers.filter((x) => x.fn !== fn);
        },
        Touchline: {publish: async (url, channel, event, options) => {
            t.sent.push([channel, event.kind, options.idempotency]);
            return server(event, options);
        }},
    };

    vm.createContext(world);
    for (const file of ['score.js', 'shared.js', 'outbox.js', 'play.js'])
        vm.runInContext(fs.readFileSync(path.join(PAGES, file), 'utf8'), world);
    Object.assign(t, vm.runInContext('({Outbox, Play, Shared})', world));
    t.kinds = () => t.sent.map(([, kind]) => kind);
    t.pass = async () => {
        t.timers.splice(0).forEach((x) => x.fn());
        await settle();
    };
    return t;
}

function failure(status, code, more) {
    return Object.assign(new Error(code), {status, code, retry_after: 0}, more);
}

test('events go in order, one at a time, and leave when they are answered',
     async () => {
    const answers = [];
    const kept = new Kept();
    const t = tab(kept, () => new Promise((done) => answers.push(done)));

    for (const kind of ['goal', 'card', 'stop'])
        t.Outbox.add('m', kind, {}, 1);
    await settle();
    assert.deepStrictEqual(t.kinds(), ['goal']);
    answers.shift()({offset: 3});
    await settle();
    assert.deepStrictEqual(t.kinds(), ['goal', 'card']);
    answers.shift()({offset: 4});
    await settle();
    answers.shift()({offset: 5});
    await settle();
    assert.deepStrictEqual(t.kinds(), ['goal', 'card', 'stop']);
    assert.strictEqual(kept.length, 0);
});

test('tries of an event carry one key, further and further apart', async () => {
    let away = true;
    const t = tab(new Kept(), () => {
        if (away)
            throw failure(0, 'net');
        return {offset: 3};
    });
    const pauses = [];

    t.Outbox.add('m', 'goal', {}, 1);
    await settle();
    for (let n = 0; n < 8; n += 1) {
        assert.strictEqual(t.Outbox.trouble, 'offline');
        pauses.push(t.timers[0].ms);
        await t.pass();
    }
    pauses.forEach((ms, n) => {
        const ceiling = Math.min(30000, 1000 * Math.pow(2, n));

        assert.ok(ms >= ceiling / 2 && ms <= ceiling, n + ': ' + ms);
    });
    away = false;
    t.heard.online();               /* no need to sit the pause out */
    await settle();
    assert.strictEqual(t.Outbox.list().length, 0);
    assert.strictEqual(new Set(t.sent.map(([, , key]) => key)).size, 1);
});

test('the server says when to come again', async () => {
    const t = tab(new Kept(), () => {
        throw failure(503, 'busy', {retry_after: 45000});
    });

    t.Outbox.add('m', 'goal', {}, 1);
    await settle();
    assert.strictEqual(t.timers[0].ms, 45000);
});

test('a proxy refuses nothing, the server does, and that holds up nobody',
     async () => {
    let how = () => { throw failure(404, 'http.404'); };
    const t = tab(new Kept(), (event) => how(event));

    t.Outbox.add('m', 'goal', {}, 1);
    t.Outbox.add('m', 'card', {}, 2);
    await settle();
    assert.strictEqual(t.Outbox.list()[0].refused, undefined);
    how = (event) => {
        if (event.kind === 'goal')
            throw failure(409, 'match.rule');
        return {offset: 3};
    };
    await t.pass();
    assert.deepStrictEqual(Array.from(t.Outbox.list(), (i) =>
        [i.kind, i.refused]), [['goal', 'match.rule']]);
    how = () => ({offset: 4});
    const old = t.Outbox.list()[0].key;

    t.Outbox.replace(old, {data: {minute: 3}});
    await settle();
    assert.deepStrictEqual(t.kinds(), ['goal', 'goal', 'card', 'goal']);
    assert.notStrictEqual(t.sent[3][2], old, 'another event, another key');
    assert.strictEqual(t.Outbox.list().length, 0);
});

test('an error of the page itself holds up nothing', async () => {
    const t = tab(new Kept(), (event) => {
        if (event.kind === 'goal')
            throw failure(400, 'event.bad');
        return {offset: 7};
    });

    t.Outbox.on.refused = () => {
        throw new Error('of the page');
    };
    t.Outbox.add('m', 'goal', {}, 1);
    await settle();
    t.Outbox.add('m', 'card', {}, 2);
    await t.pass();
    assert.deepStrictEqual(t.kinds(), ['goal', 'card']);
});

test('who is not let in waits, and is told why', async () => {
    for (const [code, told] of [
        ['publish.denied', 'publish.denied'],
        ['token.unknown', 'This token is not known here.'],
    ]) {
        const t = tab(new Kept(), () => { throw failure(403, code); });
        const words = [];

        t.Outbox.on.denied = (text) => words.push(text);
        t.Outbox.add('m', 'goal', {}, 1);
        await settle();
        assert.deepStrictEqual(
            [t.Outbox.trouble, words, t.Outbox.list().length],
            ['token', [told], 1]);
    }
});

test('an undo of what has no place yet gets its place with the answer',
     async () => {
    const data = [];
    const answers = [];
    const t = tab(new Kept(), (event) => {
        data.push(event.data);
        return new Promise((done) => answers.push(done));
    });

    t.Outbox.add('m', 'goal', {team: 'elp'}, 1);
    t.Outbox.add('m', 'retract', {}, 2, {undoes: t.Outbox.list()[0].key});
    await settle();
    answers.shift()({offset: 7});
    await settle();
    assert.deepStrictEqual(JSON.stringify(data),
                           '[{"team":"elp"},{"offset":7}]');
});

test('what was entered without a network has not left, and can be cancelled',
     async () => {
    const t = tab(new Kept(), () => { throw failure(0, 'net'); });

    t.navigator.onLine = false;
    t.Outbox.add('m', 'goal', {}, 1);
    await settle();
    assert.strictEqual(t.Outbox.list()[0].tried, 0);
    t.navigator.onLine = true;      /* from here on it may have arrived */
    await t.pass();
    assert.ok(t.Outbox.list()[0].tried > 0);
    t.navigator.onLine = false;
    await t.pass();
    assert.ok(t.Outbox.list()[0].tried > 0);
});

/* What the server is told, as the channel's last part and the event. */
function told_to(t, answer) {
    const told = [];

    t.server = (event, options) => {
        told.push([event.kind || event.name, JSON.stringify(event.data),
                   options.idempotency]);
        return answer(event, told.length);
    };
    return told;
}

test('a correction takes back and says anew, in order, each under one key',
     async () => {
    const t = tab(new Kept(), (...all) => t.server(...all));
    const heard = [];
    const told = told_to(t, (event, n) => {
        if (n % 2)
            throw failure(0, 'net');        /* each first answer is lost */
        return {offset: 10 + n};
    });

    t.Outbox.on.took = (item, answer) => heard.push([item.kind, answer.offset]);
    t.Outbox.add('m', 'goal', {player: 9}, 1, {replaces: 4});
    t.Outbox.add('m', 'stop', {}, 2);
    await settle();
    const before = t.Outbox.list().length;

    for (let n = 0; n < 3; n += 1)
        await t.pass();
    assert.strictEqual(before, 2, 'one row for both');
    assert.deepStrictEqual(told.map(([kind, data]) => [kind, data]), [
        ['retract', '{"offset":4,"comment":"corrected"}'],
        ['retract', '{"offset":4,"comment":"corrected"}'],
        ['goal', '{"player":9}'], ['goal', '{"player":9}'],
        ['stop', '{}'], ['stop', '{}']]);
    assert.strictEqual(new Set(told.map(([, , key]) => key)).size, 3);
    assert.deepStrictEqual(heard, [['retract', 12], ['goal', 14],
                                   ['stop', 16]]);
});

test('a correction whose way is barred changes nothing; one that is refused '
     + 'behind it is sent again without taking back twice', async () => {
    const t = tab(new Kept(), (...all) => t.server(...all));
    let barred = ['retract', 'goal'];
    const told = told_to(t, (event) => {
        if (event.kind === barred[0])
            throw failure(409, 'match.rule');
        return {offset: 9};
    });

    t.Outbox.add('m', 'goal', {}, 1, {replaces: 4});
    await settle();
    assert.deepStrictEqual(told.map(([kind]) => kind), ['retract']);
    assert.strictEqual(t.Outbox.list()[0].refused, 'match.rule');
    barred = ['goal'];
    t.Outbox.replace(t.Outbox.list()[0].key, {});
    await settle();
    barred = [];
    t.Outbox.replace(t.Outbox.list()[0].key, {});
    await settle();
    assert.deepStrictEqual(told.map(([kind]) => kind),
                           ['retract', 'retract', 'goal', 'goal']);
    assert.strictEqual(t.Outbox.list().length, 0);
});

test('of what was corrected before its answer came, the place is learned; of '
     + 'what was refused nothing is taken back', async () => {
    for (const refused of [false, true]) {
        const t = tab(new Kept(), (...all) => t.server(...all));
        const answers = [];
        const told = told_to(t, () => new Promise((done, fail) =>
            answers.push(refused && answers.length === 0
                ? () => fail(failure(409, 'match.rule')) : done)));

        t.Outbox.add('m', 'goal', {player: 7}, 1);
        t.Outbox.add('m', 'goal', {player: 9}, 2,
                     {undoes: t.Outbox.list()[0].key});
        for (let n = 0; n < 3; n += 1) {
            await settle();
            if (answers[n])
                answers[n]({offset: 5 + n});
        }
        await settle();
        assert.deepStrictEqual(told.map(([kind, data]) => kind + data), refused
            ? ['goal{"player":7}', 'goal{"player":9}']
            : ['goal{"player":7}', 'retract{"offset":5,"comment":"corrected"}',
               'goal{"player":9}']);
        assert.strictEqual(t.Outbox.list().length, 0);
    }
});

test('a match goes behind its teams and in front of its events, which wait '
     + 'while it is refused', async () => {
    const t = tab(new Kept(), (...all) => t.server(...all));
    let answer = (event) => {
        if (event.kind === 'status')
            throw failure(400, 'match.data');
        return {offset: 1};
    };
    const told = told_to(t, (event) => answer(event));
    const names = () => told.splice(0).map(([name]) => name);

    t.Outbox.on.has_team = async (id) => id === 'tig';
    for (const [id, name] of [['elp', 'El Porvenir'], ['tig', 'Mine']])
        t.Outbox.add('m', 'team', {id, name}, 1, {makes: true});
    t.Outbox.add('m', 'status', {}, 1, {makes: true});
    t.Outbox.add('m', 'start', {}, 1);
    t.Outbox.add('other', 'goal', {}, 1);
    await settle();
    assert.deepStrictEqual(names(), ['El Porvenir', 'status', 'goal'],
                           'a team that is there keeps its name');
    assert.deepStrictEqual(Array.from(t.Outbox.list(), (i) => i.kind),
                           ['status', 'start']);
    answer = () => ({offset: 2});
    t.Outbox.replace(t.Outbox.list()[0].key, {});
    await settle();
    assert.deepStrictEqual(names(), ['status', 'start']);
    answer = (event) => {
        if (event.kind === 'status')
            throw failure(409, 'match.exists');
        return {offset: 2};
    };
    t.Outbox.add('m', 'status', {}, 1, {makes: true});
    t.Outbox.add('m', 'start', {}, 1);
    await settle();
    assert.deepStrictEqual(names(), ['status', 'start'], 'it is there');
    assert.strictEqual(t.Outbox.list().length, 0);
});

test('a whistle whose time is mended while it is on its way keeps that',
     async () => {
    const answers = [];
    const t = tab(new Kept(), () => new Promise((done) => answers.push(done)));
    const at = [];

    t.Outbox.on.took = (item) => at.push(item.at);
    t.Outbox.add('m', 'start', {}, 1000);
    await settle();
    t.Outbox.change(t.Outbox.list()[0].key, {at: 400});
    answers.shift()({offset: 2});
    await settle();
    assert.deepStrictEqual(at, [400]);
});

test('two tabs add to one queue and neither loses the other’s', async () => {
    const kept = new Kept();
    const never = () => new Promise(() => {});
    const [a, b] = [tab(kept, never), tab(kept, never)];

    a.Outbox.add('m', 'goal', {}, 1);
    b.Outbox.add('m', 'card', {}, 1);
    a.Outbox.add('m', 'stop', {}, 1);
    for (const t of [a, b])
        assert.deepStrictEqual(Array.from(t.Outbox.list(), (i) => i.kind),
                               ['goal', 'card', 'stop']);
});

test('where storage is blocked the page itself keeps what waits', async () => {
    const blocked = new Kept();

    blocked.setItem = () => { throw new Error('blocked'); };
    const t = tab(blocked, () => new Promise(() => {}));

    t.Outbox.add('m', 'goal', {}, 1);
    assert.strictEqual(t.Outbox.list().length, 1);
    assert.strictEqual(t.Outbox.keeps, false);
});

/* ---- The clock ---- */

function match_of(t, ...kinds) {
    const m = t.Shared.new_match('m');

    m.state = {home: 'elp', visit: 'tig'};
    kinds.forEach(([kind, ts, data], i) => m.events.set(i + 1, {
        offset: i + 1, seq: i + 1, kind, ts, data: data || {}}));
    m.base = m.state;
    t.Shared.refold(m);
    m.state = Object.assign({home: 'elp', visit: 'tig'}, m.state);
    return m;
}

const MIN = 60000;

test('halves, stoppage, breaks, extra time', () => {
    const t = tab(new Kept(), () => ({}));
    const status = ['status', 0, {home: 'elp', visit: 'tig',
                                  period: 'not_started'}];
    const log = [['start', 0], ['halftime_start', 47 * MIN],
                 ['halftime_stop', 60 * MIN], ['extratime', 110 * MIN],
                 ['halftime_start', 126 * MIN], ['halftime_stop', 127 * MIN]];
    const face = (n, now) => {
        const c = t.Play.clock(match_of(t, status, ...log.slice(0, n)), {}, now);

        return [c.main, c.added, c.minute];
    };

    assert.deepStrictEqual(face(0, 5), ['', '', '']);
    assert.deepStrictEqual(face(1, 0), ['0:00', '', '1']);
    assert.deepStrictEqual(face(1, 44 * MIN + 59000), ['44:59', '', '45']);
    assert.deepStrictEqual(face(1, 46.5 * MIN), ['45:00', '+1:30', '45+2']);
    assert.deepStrictEqual(face(2, 50 * MIN), ['3:00', 'break', '']);
    assert.deepStrictEqual(face(3, 61 * MIN), ['46:00', '', '47']);
    assert.deepStrictEqual(face(3, 106 * MIN), ['90:00', '+1:00', '90+2']);
    assert.deepStrictEqual(face(4, 111 * MIN), ['91:00', '', '92']);
    assert.deepStrictEqual(face(6, 144 * MIN), ['120:00', '+2:00', '120+3']);
});

test('a whistle that was taken back starts no clock, one that is known better '
     + 'does', () => {
    const t = tab(new Kept(), () => ({}));
    const m = match_of(t, ['status', 0, {home: 'elp', visit: 'tig'}],
                       ['start', 0], ['retract', 1, {offset: 2}],
                       ['start', 10 * MIN]);

    assert.strictEqual(t.Play.clock(m, {}, 12 * MIN).main, '2:00');
    assert.strictEqual(t.Play.clock(m, {4: 7 * MIN}, 12 * MIN).main, '5:00');
    assert.strictEqual(t.Play.began_at(m, '23:30', 40 * MIN), 16.5 * MIN);
    assert.strictEqual(t.Play.began_at(m, '45+2', 60 * MIN), 13 * MIN);
    assert.strictEqual(t.Play.began_at(m, 'soon', 0), null);
});

test('who was sent off or went out is not on the pitch', () => {
    const t = tab(new Kept(), () => ({}));
    const card = (n, colour) => ['card', 1, {team: 'elp', player: {[n]: ''},
                                             card: colour}];
    const m = match_of(t, ['status', 0, {home: 'elp', visit: 'tig'}],
        ['start', 0, {home_players: {1: 'A', 2: 'B', 3: 'C', 4: 'D'}}],
        card(1, 'red'), card(2, 'yellow'), card(3, 'yellow'),
        card(3, 'yellow'), card(4, 'red'), ['retract', 2, {offset: 7}]);

    assert.deepStrictEqual(JSON.parse(JSON.stringify(t.Play.men(m, 'home'))), [
        {number: '2', name: 'B', booked: true},
        {number: '4', name: 'D', booked: false}]);
});
