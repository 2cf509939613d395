/* chat.js - the room beside the match: who is there, what is said, and what was
 * said before.
 *
 * What is new comes with the page's one subscription (app.js); what was said
 * before, as pages of history. Each line is shown once and in its place,
 * whichever way it came. */
const Chat = (function () {
'use strict';

const {$, clock, el, get, hue, put, stored} = Shared;

const KEEP_LINES = 300;         /* in the page, while its end is looked at */
const PAGE_LINES = 50;
const PEOPLE_NOTES = 50;        /* in a larger room nobody's coming is news */
const NEAR_PX = 40;

/* sent: lines whose answer is still to come; faster: message -> words, of those
 * that are one of these, as it seems; expected: offset -> a line that was
 * answered and is still to be heard. */
const room = {name: '', lines: new Map(), people: new Map(), count: 0,
              expected: new Map(), sent: new Set(), faster: new Map(),
              more: false, asking: false, unread: 0};
const chat = {me: '', was: '', name: () => room.name,
              path: () => path_of(room.name), on_enter: () => {}};
const divider = el('li', 'divider', 'New');
const GIVEN = /^fan(-\d+)?$/;   /* by us, until somebody says another one */

const path_of = (name) => name.split('/').map(encodeURIComponent).join('/');

/* ---- A room ---- */

function enter(name) {
    room.name = name;
    [room.lines, room.people, room.expected, room.sent, room.faster]
        .forEach((known) => known.clear());
    Object.assign(room, {count: 0, more: false, asking: false});
    $('talk').replaceChildren();
    set_unread(0);
    put($('room-name'), name);
    $('room-input').value = name;
    $('name-input').value = GIVEN.test(chat.me) ? '' : chat.me;
    $('name-input').placeholder = chat.me;
    put($('people'), '');
    show_older('');
    chat.on_enter();
    load_latest();
}

/* What was said before we came. */
async function load_latest() {
    const name = room.name;
    const page = await get('/v1/history/room/' + path_of(name) + '?last=' +
                           PAGE_LINES);

    if (name !== room.name || !page)
        return;
    said(page).forEach((m) => hear(m, false));
    room.more = page.more;
    show_older(room.lines.size > 0 ? 'end' : 'empty');
    to_end();
}

const said = (page) => page.messages.filter((m) => !m.notice);

/* The page in front of the oldest line; what is looked at stays where it is. */
async function load_older() {
    const name = room.name;
    const first = lines()[0];
    const talk = $('talk');

    if (!room.more || room.asking || !first)
        return;
    room.asking = true;
    show_older('asking');
    const page = await get('/v1/history/room/' + path_of(name) + '?limit=' +
                           PAGE_LINES + '&before=' + first.at.epoch + '-' +
                           first.at.seq);

    room.asking = false;
    if (name !== room.name)
        return;
    const below = talk.scrollHeight - talk.scrollTop;

    room.more = page !== null && page.more;
    (page ? said(page) : []).reverse().forEach((m) => {
        if (!room.lines.has(name_of(m)))
            talk.prepend(new_line(m));
    });
    lines().forEach(follow);
    show_older('end');
    talk.scrollTop = talk.scrollHeight - below;
}

/* what: asking, end, empty; '': nothing is known yet. */
function show_older(what) {
    $('older').hidden = !room.more;
    $('older').disabled = what === 'asking';
    put($('older'), what === 'asking' ? 'Reading …' : 'Earlier messages');
    $('talk').dataset.begin = !room.more && what === 'end' ? 'yes' : '';
    $('silence').hidden = what !== 'empty';
}

function on_notice(n) {
    const s = n.state || n;

    if (n.notice === 'snapshot' && n.state) {
        set_people(s);
        (s.messages || []).forEach((m) => hear(m, false));
    } else if (n.notice === 'gap') {
        add_note((n.count ? n.count + (n.count > 1 ? ' messages are'
                                                   : ' message is')
                          : 'Messages are') + ' missing here');
    } else if (n.notice === 'join' || n.notice === 'leave') {
        come_and_go(n.notice, s);
    }
}

/* ---- Who is there ---- */

/* Who came and went while we were away is unknown. */
async function load_people() {
    const name = room.name;
    const p = await get('/v1/presence/room/' + path_of(name));

    if (p && name === room.name)
        set_people(p);
}

function set_people(s) {
    room.people = new Map((s.names || []).map((p) => [p.name, p.connections]));
    if (!room.people.has(chat.me) && room.people.size < 100)
        room.people.set(chat.me, 1);    /* our coming may be told later */
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
    /* Nor that we have gone under the name that was ours before. */
    const told = names.filter((name) => name !== chat.me &&
        (what === 'join' || name !== chat.was));

    if (others > 0)
        told.push(others + (others > 1 ? ' others' : ' other'));
    if (told.length > 0 && room.people.size <= PEOPLE_NOTES)
        add_note(told.join(', ') + (what === 'join' ? ' joined' : ' left'));
}

function draw_people() {
    const many = room.people.size >= 100;

    put($('people'), (many ? room.count : room.people.size) + ' here');
    $('names').replaceChildren(...Array.from(room.people, ([name, n]) =>
        el('li', name === chat.me ? 'mine' : '',
           name + (n > 1 ? ' ×' + n : ''))));
}

/* ---- What is said ---- */

function text_of(data) {
    if (typeof data === 'string')
        return data;
    return data && typeof data.text === 'string' ? data.text
                                                 : JSON.stringify(data);
}

const name_of = (m) => m.epoch + '/' + m.offset;
const words_of = (li) => li.children[1].textContent;
const lines = () => Array.from($('talk').children).filter((li) => li.at);

function hear(m, live) {
    if (room.lines.has(name_of(m)))
        return;
    take_pending(m, name_of(m));
    const is_seen = at_end() && $('panel-chat').offsetParent !== null &&
        !document.hidden;
    const li = new_line(m);

    $('silence').hidden = true;
    insert(li);
    forget_some(li);
    if (m.from === chat.me || is_seen || !live)
        settle(is_seen || m.from === chat.me);
    else
        not_seen(li);
}

function new_line(m) {
    const li = line(m.from || 'anon', text_of(m.data), m.ts);

    li.at = {epoch: m.epoch, offset: m.offset, seq: m.seq};
    room.lines.set(name_of(m), li);
    return li;
}

function line(from, text, ts) {
    const who = el('b', '', from);
    const li = el('li', from === chat.me ? 'line mine' : 'line',
                  el('header', '', who, el('time', '', clock(ts))),
                  el('div', '', text));

    who.style.setProperty('--hue', hue(from));
    li.dataset.from = from;
    return li;
}

/* Behind what was said before it; what is being sent stays at the end. */
function insert(li) {
    const talk = $('talk');
    let before = talk.querySelector('.pending');
    let n = before ? before.previousElementSibling : talk.lastElementChild;

    for (; n && li.at; n = n.previousElementSibling) {
        if (n.at && (n.at.epoch !== li.at.epoch || n.at.offset < li.at.offset))
            break;
        if (n.at)
            before = n;
    }
    talk.insertBefore(li, li.classList.contains('pending') ? null : before);
    follow(li);
    if (li.nextElementSibling)
        follow(li.nextElementSibling);
}

/* A second line of the same person has no name above it. */
function follow(li) {
    const before = li.previousElementSibling;

    li.classList.toggle('follows', Boolean(
        before && li.dataset.from && before.dataset.from === li.dataset.from));
}

function add_note(text) {
    const stay = at_end();

    insert(el('li', 'note', text));
    settle(stay);
}

/* Not while the reader is at the beginning: he reads it. */
function forget_some() {
    const all = lines();

    if (!at_end() || all.length <= KEEP_LINES)
        return;
    all.slice(0, all.length - KEEP_LINES).forEach((li) => {
        room.lines.delete(li.at.epoch + '/' + li.at.offset);
        li.remove();
    });
    while (!$('talk').firstElementChild.at)
        $('talk').firstElementChild.remove();
    room.more = true;
    show_older('end');
}

/* ---- What has been seen ---- */

let was_at_end = true;          /* before what has just been added */

const at_end = () => was_at_end;

function measure() {
    const t = $('talk');

    was_at_end = t.scrollHeight - t.scrollTop - t.clientHeight < NEAR_PX;
    return was_at_end;
}

function settle(follow_it) {
    if (follow_it)
        to_end();
}

function to_end() {
    $('talk').scrollTop = $('talk').scrollHeight;
    was_at_end = true;
    seen();
}

function not_seen(li) {
    if (room.unread === 0)
        li.before(divider);
    set_unread(room.unread + 1);
    if (was_at_end)
        $('talk').scrollTop = $('talk').scrollHeight;
}

function seen() {
    if (room.unread > 0 && was_at_end && !document.hidden &&
            $('panel-chat').offsetParent !== null)
        set_unread(0);
}

function set_unread(n) {
    room.unread = n;
    put($('unread'), n > 99 ? '99+' : n);
    $('unread').hidden = n === 0;
    $('tab-chat').setAttribute('aria-label',
                               n === 0 ? 'Chat' : 'Chat, ' + n + ' unread');
    put($('newer'), n === 0 ? 'Newest ↓' : n + ' new ↓');
    $('newer').hidden = n === 0 && was_at_end;
    Front.unread = n;
    Front.show_title();
}

function on_scroll() {
    if (measure())
        seen();
    $('newer').hidden = room.unread === 0 && was_at_end;
    $('older').classList.toggle('near', $('talk').scrollTop < 4 * NEAR_PX);
    if ($('talk').scrollTop < NEAR_PX)
        load_older();
}

/* ---- Saying something ---- */

/* Shown once: what is heard takes the place of the line that was sent. The
 * stream may be faster than the answer; then it goes by name and words. */
function take_pending(m, key) {
    const mine = room.expected.get(m.offset);

    room.expected.delete(m.offset);
    if (mine) {
        mine.remove();
    } else if (m.from === chat.me) {
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
            insert(li);
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
            insert(li);
    }
    place_sent();
}

function say(text) {
    const li = line(chat.me, text, Date.now());
    const key = Date.now().toString(36) + Math.random().toString(36).slice(2);

    li.classList.add('pending');
    room.sent.add(li);
    divider.remove();
    $('silence').hidden = true;
    insert(li);
    to_end();
    send(li, room.name, text, {from: chat.me, idempotency: key});
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

/* ---- Names ---- */

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

/* Who is who and where, as the form says; the field that is wrong, or null. */
function take_identity() {
    const name = $('name-input').value.trim() || chat.me;
    const where = $('room-input').value.trim();
    const wrong = !name_is_good(name) ? 'name-input'
        : !room_is_good(where) ? 'room-input' : null;

    put($('identity-error'), wrong === 'room-input'
        ? 'A room is a word without spaces or asterisks.'
        : wrong ? 'A name has up to 64 bytes, no spaces and no colon.' : '');
    if (wrong || (name === chat.me && where === room.name))
        return wrong;
    if (name !== chat.me)
        chat.was = chat.me;
    chat.me = name;
    stored('touchline name', name);
    enter(where);
    return null;
}

/* True: the form has been taken. */
function on_identity() {
    const wrong = take_identity();

    if (!wrong)
        $('who').open = false;
    $(wrong || 'text').focus();
    return !wrong;
}

/* Who goes on to talk means what stands there, without Enter too. It stays
 * open: nothing moves below the finger. True: it is another room now. */
function on_identity_left(event) {
    const before = room.name;

    if (document.hasFocus() &&
        !event.currentTarget.contains(event.relatedTarget))
        take_identity();
    return room.name !== before;
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
    const aside = $('panel-chat');
    const aloud = (yes) => $('talk').setAttribute('aria-live',
                                                  yes ? 'polite' : 'off');

    $('say').addEventListener('submit', on_say);
    $('text').addEventListener('keydown', (event) => {
        if (event.key === 'Enter' && !event.shiftKey && !event.isComposing)
            on_say(event);
    });
    $('who').addEventListener('keydown', (event) => {
        if (event.key !== 'Escape')
            return;
        $('who').open = false;
        $('who').querySelector('summary').focus();
    });
    $('newer').addEventListener('click', () => {
        to_end();
        $('talk').focus();
    });
    $('older').addEventListener('click', load_older);
    $('talk').addEventListener('scroll', on_scroll, {passive: true});
    document.addEventListener('visibilitychange', seen);
    /* Who does not chat is not read all that is said. */
    aside.addEventListener('focusin', () => aloud(true));
    aside.addEventListener('focusout', () => aloud(false));
}

chat.me = stored('touchline name') || '';
if (!name_is_good(chat.me))
    chat.me = stored('touchline name', 'fan-' +
        String(Math.random()).slice(2, 6)) || 'fan';
wire_up();
return Object.assign(chat, {enter, hear, load_people, on_identity,
                            on_identity_left, on_notice, room_is_good, to_end});
}());
