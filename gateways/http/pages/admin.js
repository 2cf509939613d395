/* admin.js - the operators' page: asks /v1/stats again and again, and shows
 * what it says. One question at a time; what was is kept here only. Text from
 * there is never anything but text. */
(function () {
'use strict';

const $ = (id) => document.getElementById(id);
const MINUTE = 60000;
const KEPT = 1800; /* samples of the graph; then every other one goes */
const TIMEOUT = 30000; /* an answer that takes longer is given up */
const FOLD = 6; /* more processes of a kind are folded to their sum */
const SERIES = 8; /* more processes are drawn as their kinds */
const MUTE = 5; /* seconds without a canary: process.canary_wait */
const TICKS = [20, 30, 60, 120, 300, 600, 1200, 3600].map((s) => s * 1000);
const KINDS = ['router', 'http', 'tcp', 'ws', 'repeater'];
const BOUNDS = []; /* of histograms, as the server's */
for (let k = -5; k <= 1; k++)
  for (const m of [1, 2, 5]) BOUNDS.push(Number(m + 'e' + k));
while (BOUNDS[0] < 5e-5) BOUNDS.shift();
while (BOUNDS[BOUNDS.length - 1] > 10) BOUNDS.pop();

/* ---- words ---- */

const number = (n) => n.toLocaleString('en', {maximumFractionDigits: 0});
const digits = (n) =>
  n < 10 ? String(Number(n.toFixed(n < 1 ? 2 : 1))) : number(n);
function bytes(n) {
  let u = 0;
  for (; n >= 1000 && u < 4; u++) n /= 1024;
  return (
    (u ? digits(n) : number(n)) +
    '\u00a0' +
    ['B', 'KiB', 'MiB', 'GiB', 'TiB'][u]
  );
}
function time(s) {
  if (!isFinite(s)) return '>\u00a010\u00a0s';
  if (s < 9.995e-4) return number(s * 1e6) + '\u00a0µs';
  return s < 0.9995 ? digits(s * 1e3) + '\u00a0ms' : digits(s) + '\u00a0s';
}
function span(ms) {
  const s = Math.round(ms / 1000);
  return s < 120
    ? s + '\u00a0s'
    : s < 7200
      ? Math.round(s / 60) + '\u00a0min'
      : s < 172800
        ? Math.round(s / 3600) + '\u00a0h'
        : Math.round(s / 86400) + '\u00a0days';
}
const clock = (ts) => new Date(ts).toISOString().replace('T', ' ').slice(5, 19);

/* ---- the page ---- */

function set(node, text) {
  text = String(text);
  if (node.textContent !== text) node.textContent = text;
}
function make(tag, parent, cls, text) {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  if (text !== undefined) e.textContent = text;
  if (parent) parent.append(e);
  return e;
}
function draw(tag, parent, attributes) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const k in attributes) e.setAttribute(k, attributes[k]);
  parent.append(e);
  return e;
}
/* The children of parent become these, moved only where their order changed. */
function arrange(parent, nodes) {
  nodes.forEach((n, i) => {
    if (parent.children[i] !== n)
      parent.insertBefore(n, parent.children[i] || null);
  });
  while (parent.children.length > nodes.length) parent.lastChild.remove();
}

/* ---- figures ---- */

let recent = []; /* answers of the last minute, the newest last */
let past = []; /* {t, memory: {name: bytes}, tiles: [..], gap: nothing was
                             answered in front of it} */
let now = null;
const warned = new Map();
const risen = {restarts_total: {}, mute_restarts_total: {}}; /* by gateway */

const kind_of = (gateway) => gateway.replace(/\d+$/, '');

/* All labels of a figure together. */
function sum(values, name) {
  if (!values) return 0;
  let n = values[name] || 0;
  for (const k in values)
    if (k.startsWith(name) && k[name.length] === '{') n += values[k];
  return n;
}
const total = (name, at = now) =>
  at.all.reduce((n, p) => n + sum(p.values, name), 0);
/* The oldest answer that is no older than this. */
const before = (ms) => recent.find((a) => a !== now && now.t - a.t <= ms + 500);
/* How much a counter of one process has grown; of one that was not there: 0. */
function grown(p, name, ms) {
  const was = before(ms);
  const values = was && was.by.get(p.key);
  return values ? Math.max(0, sum(p.values, name) - sum(values, name)) : 0;
}
const all_grown = (name, ms) =>
  now.all.reduce((n, p) => n + grown(p, name, ms), 0);
function per_second(growth) {
  const was = before(10000);
  return was ? (growth * 1000) / Math.max(1, now.t - was.t) : 0;
}

/* How many are within each bound: no more than within the one before it where
 * nothing is said. */
function bounds(values, name) {
  let n = 0;
  return BOUNDS.map((le) => (n = values[`${name}_bucket{le=${le}}`] || n));
}
/* The value that a share q of those of the last minute do not exceed, evenly
 * spread within their bucket; null: there were none. */
function quantile(name, q) {
  const upto = BOUNDS.map(() => 0),
    was = before(MINUTE);
  let all = 0;
  for (const p of now.all) {
    const values = was && was.by.get(p.key);
    if (!values) continue;
    const then = bounds(values, name);
    bounds(p.values, name).forEach((n, i) => {
      upto[i] += n - then[i];
    });
    all += grown(p, name + '_count', MINUTE);
  }
  if (!all) return null;
  const i = upto.findIndex((n) => n >= q * all);
  if (i < 0) return Infinity;
  const low = i ? BOUNDS[i - 1] : 0,
    under = i ? upto[i - 1] : 0;
  return low + ((BOUNDS[i] - low) * (q * all - under)) / (upto[i] - under);
}

function take(answer) {
  now = {t: answer.time.ts, answer, all: [], by: new Map()};
  for (const s of answer.stats) {
    const p = {
      gateway: s.gateway,
      pid: s.process,
      key: s.gateway + ' ' + s.process,
      kind: kind_of(s.gateway),
      values: s.values
    };
    now.all.push(p);
    now.by.set(p.key, p.values);
  }
  if (recent.length && now.t <= recent[recent.length - 1].t) recent = [];
  recent.push(now);
  while (recent[1] && now.t - recent[1].t > MINUTE) recent.shift();
  note_rises();
  for (const w of answer.warnings)
    warned.set([w.gateway, w.pid, w.number, w.ts].join(), w);
}
function note_rises() {
  for (const name in risen)
    for (const p of now.all) {
      const at = (risen[name][p.gateway] = risen[name][p.gateway] || {
        n: sum(p.values, name),
        t: 0
      });
      const n = sum(p.values, name);
      if (n > at.n) at.t = now.t;
      at.n = n;
    }
}
const rose = (name) =>
  Object.keys(risen[name])
    .filter((g) => risen[name][g].t && now.t - risen[name][g].t < 5 * MINUTE)
    .join(', ');

/* ---- what to look at: the alarms of the runbook ---- */

const some = (name) => total(name) > 0;
const longest = (name) =>
  Math.max(0, ...now.all.map((p) => p.values[name] || 0));
const COME_AGAIN =
  /^refused_total\{code=(router\.|publish\.unknown|store\.|gateway\.|busy)/;
const ALARMS = [
  /* name, wakes somebody, when, what is seen, what to do */
  [
    'StoreStuck',
    1,
    () => longest('store_stuck_seconds') > MUTE,
    'The store hangs: nothing is published, reading goes on.',
    'Mend the disk. Do not kill the router: the next one waits as well.'
  ],
  [
    'Mute',
    1,
    () => some('gateways_mute') || longest('canary_seconds{what=away}') > MUTE,
    'What a gateway sends through the router does not come back.',
    'touchline starts it anew; without it end the one that is named.'
  ],
  [
    'StoreFailing',
    1,
    () => some('store_failing'),
    'Stored channels take nothing.',
    'Make room, or another disk. A restart helps nothing.'
  ],
  [
    'GatewayMissing',
    1,
    () => some('gateways_missing'),
    'A gateway is gone; its clients, too, or they get nothing.',
    'Is it being started again? It stands still: end it. Do not restart ' +
      'the router.'
  ],
  [
    'Full',
    1,
    () =>
      all_grown('accept_refused_total{why=files}', MINUTE) +
        all_grown('accept_paused_total', MINUTE) >
      0,
    'New clients are turned away: no files left.',
    'More LimitNOFILE, or instances.'
  ],
  [
    'SupervisorLost',
    0,
    () => some('supervisor_lost'),
    'touchline is gone or stands still: who dies is not started again.',
    'Start touchline on the same --dir. Do not kill the others.'
  ],
  [
    'NngStuck',
    0,
    () => some('nng_stuck'),
    'A process cannot close its links any more.',
    'touchline upgrade, or end that process.'
  ],
  [
    'Restarted',
    0,
    () => rose('restarts_total'),
    'Started again.',
    'The log says why: child.killed.'
  ],
  [
    'MuteRestarted',
    0,
    () => rose('mute_restarts_total'),
    'touchline replaced a mute process.',
    'Keep its trace (child.mute).'
  ],
  [
    'Damaged',
    0,
    () =>
      all_grown('damaged_total', MINUTE) > 0 ||
      some('store_untrimmed_ids') ||
      total('log_events_total{event=store.damaged}') > 0 ||
      total('log_events_total{event=store.state_damaged}') > 0,
    'Something stored cannot be read.',
    'Look at disk and memory; a backup has what is lost.'
  ],
  [
    'NewEpoch',
    0,
    () => all_grown('epochs_total', MINUTE) > 0,
    'A new epoch: all clients began anew.',
    'The log says why: epoch.asked.'
  ],
  [
    'LinkLost',
    0,
    () => all_grown('link_lost_total', MINUTE) > 0,
    'A link broke; clients saw a pause.',
    'Load, swap, network? Gateways repair themselves.'
  ],
  [
    'LinkFault',
    0,
    () => all_grown('link_fault_total', MINUTE) > 0,
    'A gateway broke the protocol of links.',
    'Versions mixed? Upgrade both.'
  ],
  [
    'SlowTurns',
    0,
    () => all_grown('slow_turn_ms_total', 30000) > 1500,
    'A process serves in jerks.',
    'Is the machine busy? loop.slow in the log says with what.'
  ],
  [
    'Queue',
    0,
    () => total('publish_queued') > 10000,
    'Publications wait for the disk.',
    'A faster disk, durability = process, or limits.publish_rate.'
  ],
  [
    'SlowReaders',
    0,
    () => all_grown('cut_total', MINUTE) > 10,
    'Slow readers are cut.',
    'A slow network or proxy? More limits.queue.'
  ],
  [
    'Limit',
    0,
    () => all_grown('limit_reached_total', MINUTE) > 60,
    'Clients are turned down by a limit.',
    'One client: kick. Many: is the limit right?'
  ],
  [
    'Refusing',
    0,
    () =>
      now.all.some((p) =>
        Object.keys(p.values).some(
          (k) => COME_AGAIN.test(k) && grown(p, k, MINUTE) > 10
        )
      ),
    'Clients are told to come again.',
    'Look at what else stands here; behind a restart it passes.'
  ],
  [
    'PeersVanish',
    0,
    () =>
      all_grown('closed_total{why=gone}', MINUTE) +
        all_grown('closed_total{why=no_pong}', MINUTE) >
      50,
    'Many clients are gone without a word.',
    'A proxy or a network: they come back by themselves.'
  ]
];
const DOWN = [
  'Down',
  1,
  null,
  '/v1/stats does not answer.',
  'router-ctl status; then the log. Do not stop everything: gateways keep ' +
    'their clients.'
];

function show_verdict(state, why, server, alarms) {
  $('verdict').dataset.state = state === 'NO ANSWER' ? 'DOWN' : state;
  set($('state'), state);
  set($('why'), why);
  set($('server'), server);
  arrange(
    $('alarms'),
    alarms.map(([[name, page, , what, todo], who]) => {
      let li = document.querySelector(`#alarms [data-alarm="${name}"]`);
      if (!li) {
        li = make('li', null, page ? 'page' : '');
        li.dataset.alarm = name;
        make('b', li);
        li.append(' ' + todo);
        make('small', li, '', 'docs/runbook.md#Touchline' + name);
      }
      const named = typeof who === 'string';
      set(li.firstChild, named ? `${what.slice(0, -1)}: ${who}.` : what);
      return li;
    })
  );
  document.title =
    (state === 'OK' ? '' : state + ' · ') + 'Touchline · operations';
}

/* ---- tables ---- */

/* Cells of a row, kept between answers. cells: [text, raw value, class] */
const rows = new Map();
function row(id, head, cells, cls) {
  let r = rows.get(id);
  if (!r) {
    r = {tr: document.createElement('tr'), cells: []};
    r.th = make('th', r.tr);
    r.th.scope = 'row';
    r.tr.dataset.id = id;
    rows.set(id, r);
  }
  r.tr.className = cls || '';
  if (typeof head === 'string') set(r.th, head);
  else head(r.th);
  cells.forEach(([text, value, mark], i) => {
    const td = (r.cells[i] = r.cells[i] || make('td', r.tr));
    set(td, text);
    if (value !== undefined && value !== null) td.dataset.v = value;
    else delete td.dataset.v;
    if (td.className !== (mark || '')) td.className = mark || '';
  });
  return r.tr;
}

const zero = (v) => (v ? '' : 'zero');
const COLUMNS = [
  /* id, heading, of a process, text, class; sums of a kind add up */
  [
    'state',
    'State',
    (p) => p.state,
    String,
    (v) => 'left' + (/^(live|serving|\d+ well)$/.test(v) ? '' : ' bad')
  ],
  [
    'connections',
    'Connections',
    (p) => sum(p.values, 'connections'),
    number,
    zero
  ],
  [
    'in',
    'In /s',
    (p) =>
      per_second(
        grown(
          p,
          p.kind === 'router'
            ? 'published_total'
            : 'publish_total{result=taken}',
          10000
        )
      ),
    digits,
    zero
  ],
  [
    'out',
    'Out /s',
    (p) => per_second(grown(p, 'delivered_total', 10000)),
    digits,
    zero
  ],
  [
    'memory',
    'Memory',
    (p) => sum(p.values, 'memory_bytes{what=private}'),
    bytes,
    zero
  ],
  [
    'lagging',
    'Lagging',
    (p) => sum(p.values, 'lagging_connections'),
    number,
    (v) => (v ? 'warn' : 'zero')
  ],
  ['queued', 'Client queue', (p) => sum(p.values, 'queued_bytes'), bytes, zero],
  [
    'link',
    'Link queue',
    (p) => (p.link ? p.link.queued_bytes : 0),
    bytes,
    zero
  ],
  [
    'repairs',
    'Repairs',
    (p) => sum(p.values, 'link_repairs_total'),
    number,
    zero
  ],
  [
    'canary',
    'Canary',
    (p) => (p.away > MUTE ? p.away : p.took),
    time,
    (v) => (v > MUTE ? 'bad' : v > 1 ? 'warn' : zero(v))
  ],
  ['restarts', 'Restarts', (p) => sum(p.values, 'restarts_total'), number, zero]
];
let sorted = {by: 'name', down: false};
const unfolded = new Set();

function headings() {
  const tr = make('tr', document.querySelector('#processes thead'));
  for (const [id, text] of [['name', 'Process'], ...COLUMNS]) {
    const th = make('th', tr);
    th.scope = 'col';
    th.dataset.by = id;
    if (id === 'state') th.className = 'left';
    const b = make('button', th, '', text);
    b.type = 'button';
    b.onclick = () => {
      sorted = {
        by: id,
        down: sorted.by === id ? !sorted.down : id !== 'name' && id !== 'state'
      };
      if (now) show_processes();
    };
  }
}

/* Processes with what the router says of their links; those that are missing,
 * too. */
function census() {
  const links = new Map(
    now.answer.gateways.map((g) => [g.gateway + ' ' + g.pid, g])
  );
  const list = now.all.map((p) => ({
    ...p,
    link: links.get(p.key),
    away: p.values['canary_seconds{what=away}'] || 0,
    took: p.values['canary_seconds{what=took}'] || 0
  }));
  for (const p of list)
    p.state =
      p.kind === 'router'
        ? 'serving'
        : p.away > MUTE
          ? 'mute'
          : p.link
            ? p.link.state
            : 'gone';
  for (const [key, g] of links)
    if (!now.by.has(key))
      list.push({
        gateway: g.gateway,
        pid: String(g.pid),
        key,
        kind: g.edge || kind_of(g.gateway),
        values: {},
        link: g.queued_bytes === undefined ? null : g,
        state: g.state,
        away: 0,
        took: 0
      });
  const firsts =
    new Map(); /* several workers of a process have its memory once */
  for (const p of list) {
    for (const [id, , get] of COLUMNS) p[id] = get(p);
    if (p.memory) firsts.set(p.pid, p.gateway);
  }
  for (const p of list) p.first = p.memory ? '' : firsts.get(p.pid);
  return list;
}
const well = (p) => p.state === 'live' || p.state === 'serving';

function sum_of(list) {
  const s = {};
  for (const [id] of COLUMNS)
    s[id] =
      id === 'canary'
        ? Math.max(...list.map((p) => p.canary))
        : id === 'state'
          ? ''
          : list.reduce((n, p) => n + p[id], 0);
  const ill = list.filter((p) => !well(p)).length;
  s.state = ill
    ? `${ill} of ${list.length} ${list.find((p) => !well(p)).state}`
    : list[0].state;
  return s;
}
const cells = (p) =>
  COLUMNS.map(([id, , , text, mark]) => [
    p[id]
      ? text(p[id])
      : id === 'memory' && p.first
        ? 'in ' + p.first
        : id === 'canary'
          ? '–'
          : '0',
    p[id],
    mark(p[id])
  ]);

function order(a, b) {
  const x = a[sorted.by],
    y = b[sorted.by];
  const by =
    sorted.by === 'name'
      ? 0
      : typeof x === 'string'
        ? x.localeCompare(y)
        : x - y;
  return (
    (by || a.gateway.localeCompare(b.gateway, 'en', {numeric: true})) *
    (sorted.down ? -1 : 1)
  );
}
function fold(kind, n) {
  return (th) => {
    let b = th.firstChild;
    if (!b) {
      b = make('button', th);
      b.type = 'button';
      b.onclick = () => {
        if (!unfolded.delete(kind)) unfolded.add(kind);
        show_processes();
      };
    }
    const is = unfolded.has(kind) || n <= FOLD;
    b.disabled = n <= FOLD;
    b.setAttribute('aria-expanded', is);
    set(b, (n <= FOLD ? '' : is ? '▾ ' : '▸ ') + kind + ' × ' + n);
  };
}

function show_processes() {
  const list = census(),
    table = document.querySelector('#processes table');
  const kinds = [...new Set([...KINDS, ...list.map((p) => p.kind)])];
  const out = [];
  for (const th of table.tHead.rows[0].children)
    if (th.dataset.by === sorted.by)
      th.setAttribute('aria-sort', sorted.down ? 'descending' : 'ascending');
    else th.removeAttribute('aria-sort');
  for (const kind of kinds) {
    const own = list.filter((p) => p.kind === kind).sort(order);
    if (own.length > 1)
      out.push(
        row('sum ' + kind, fold(kind, own.length), cells(sum_of(own)), 'sum')
      );
    for (const p of own)
      if (own.length <= FOLD || unfolded.has(kind) || !well(p))
        out.push(
          row(
            'process ' + p.key,
            p.gateway,
            cells(p),
            own.length > 1 ? 'child' : ''
          )
        );
    for (const p of own)
      rows.get('process ' + p.key)?.tr.setAttribute('title', 'pid ' + p.pid);
  }
  const all = sum_of(list);
  if (list.every(well)) all.state = list.length + ' well';
  all.in = (list.find((p) => p.kind === 'router') || all).in;
  out.push(row('all', 'all', cells(all), 'all'));
  if (!table.tBodies[0]) table.append(document.createElement('tbody'));
  arrange(table.tBodies[0], out);
  const here = new Set(out);
  for (const [id, r] of rows)
    if (
      id.startsWith('process ') &&
      !here.has(r.tr) &&
      !list.some((p) => 'process ' + p.key === id)
    )
      rows.delete(id);
}

const SPREADS = [
  ['publish_seconds', 'published to acknowledged'],
  ['commit_seconds', 'commit'],
  ['canary_trip_seconds', 'through to the last reader']
];
function show_latency() {
  arrange(
    document.querySelector('#latency tbody'),
    SPREADS.map(([name, text]) =>
      row(
        'latency ' + name,
        text,
        [0.5, 0.9, 0.99]
          .map((q) => {
            const v = quantile(name, q);
            return v === null ? ['–', null, 'zero'] : [time(v), v];
          })
          .concat([[number(all_grown(name + '_count', MINUTE))]])
      )
    )
  );
}

function show_slow() {
  const gauge = (name, text, f = number) => {
    const v = total(name);
    return row('slow ' + name, text, [[f(v), v, v ? 'warn' : 'zero'], ['']]);
  };
  const counter = (name, text) => {
    const v = total(name),
      m = all_grown(name, MINUTE);
    return row('slow ' + name, text, [
      [number(v), v, zero(v)],
      [m ? '+' + number(m) : '', m, 'warn']
    ]);
  };
  arrange(document.querySelector('#slow tbody'), [
    gauge('lagging_connections', 'behind the newest message'),
    gauge('stalled_connections', 'take no more just now'),
    gauge('queued_bytes', 'kept for them', bytes),
    counter('cut_total', 'cut'),
    counter('left_out_total', 'messages left out'),
    counter('gaps_total', 'gaps told')
  ]);
}

function show_store() {
  const s = now.answer.status || {},
    line = (id, text, ...cell) => row('store ' + id, text, [cell]);
  const commits = all_grown('commit_batches_total', 10000),
    messages = all_grown('published_total', 10000);
  const queued = total('publish_queued'),
    free = total('store_free_bytes');
  const size = total('store_bytes{file=database}');
  arrange(document.querySelector('#store tbody'), [
    line('state', 'state', s.store || '–', null, s.store === 'ok' ? '' : 'bad'),
    line(
      'commits',
      'commits /s',
      digits(per_second(commits)),
      per_second(commits)
    ),
    line(
      'batch',
      'messages in a commit',
      commits ? digits(messages / commits) : '–'
    ),
    line(
      'syncs',
      'waited for the disk /s',
      digits(per_second(all_grown('store_syncs_total', 10000)))
    ),
    line(
      'queue',
      'waiting for their commit',
      number(queued),
      queued,
      queued > 10000 ? 'warn' : zero(queued)
    ),
    line(
      'wal',
      'write-ahead log',
      bytes(total('store_bytes{file=wal}')),
      total('store_bytes{file=wal}')
    ),
    line('database', 'database', bytes(size), size),
    line(
      'free',
      'free on its disk',
      free ? bytes(free) : '–',
      free,
      free && free < 2 ** 28 ? 'bad' : ''
    )
  ]);
}

function show_warnings() {
  const list = [...warned].sort(
    (a, b) => b[1].ts - a[1].ts || b[1].number - a[1].number
  );
  for (const [key] of list.splice(50)) warned.delete(key);
  $('no-warnings').hidden = list.length > 0;
  $('warnbox').hidden = !list.length;
  arrange(
    document.querySelector('#warnings tbody'),
    list.map(([key, w]) =>
      row(
        'warning ' + key,
        clock(w.ts),
        [[w.gateway], [w.event], [w.text]],
        w.level === 'error' ? 'error' : ''
      )
    )
  );
}

/* ---- tiles, the graph ---- */

const TILES = [
  /* heading, value, text */
  ['Connections', () => total('connections'), number],
  [
    'Messages in',
    () => per_second(all_grown('published_total', 10000)),
    digits,
    '/s'
  ],
  [
    'Messages out',
    () => per_second(all_grown('delivered_total', 10000)),
    digits,
    '/s'
  ],
  [
    'Latency p99',
    () => quantile('canary_trip_seconds', 0.99),
    (v) => (v === null ? '–' : time(v))
  ],
  ['Memory', () => total('memory_bytes{what=private}'), bytes],
  ['Waiting for commit', () => total('publish_queued'), number]
];
function tiles() {
  for (const [text] of TILES) {
    const div = make('div', $('tiles'));
    make('dt', div, '', text);
    make('dd', div, '', '–');
    draw(
      'path',
      draw('svg', div, {
        viewBox: '0 0 100 26',
        preserveAspectRatio: 'none',
        'aria-hidden': true
      }),
      {}
    );
  }
}
function show_tiles() {
  const shown = past.slice(-300);
  TILES.forEach(([, , text, unit], i) => {
    const div = $('tiles').children[i],
      v = shown[shown.length - 1].tiles[i];
    const dd = div.children[1];
    dd.dataset.v = v;
    if (dd.firstChild.data !== text(v)) dd.firstChild.data = text(v);
    if (unit && !dd.children.length) make('small', dd, '', ' ' + unit);
    const most = Math.max(1e-9, ...shown.map((h) => h.tiles[i] || 0));
    const points = shown.map((h, k) => {
      const x = (100 * k) / Math.max(1, shown.length - 1);
      return `${x.toFixed(2)} ${(24 - (20 * (h.tiles[i] || 0)) / most).toFixed(1)}`;
    });
    div.querySelector('path').setAttribute('d', 'M' + points.join('L'));
  });
}

function keep() {
  const memory = {};
  for (const p of now.all) {
    const n = sum(p.values, 'memory_bytes{what=private}');
    if (n) memory[p.gateway] = n;
  }
  let last = past[past.length - 1];
  if (last && now.t <= last.t) ((past = []), (last = null));
  past.push({
    t: now.t,
    memory,
    tiles: TILES.map(([, value]) => value()),
    gap: last && now.t - last.t > 3 * interval() + 3000
  });
  if (past.length <= KEPT) return;
  past = past.filter((h, i) => {
    if (i % 2 || i > KEPT / 2) return true;
    past[i + 1].gap = past[i + 1].gap || h.gap;
    return false;
  });
}

/* [name, bytes at each time], at most SERIES of them. */
function series() {
  const names = [...new Set(past.flatMap((h) => Object.keys(h.memory)))];
  names.sort(
    (a, b) =>
      KINDS.indexOf(kind_of(a)) - KINDS.indexOf(kind_of(b)) ||
      a.localeCompare(b, 'en', {numeric: true})
  );
  const groups = new Map();
  for (const n of names) {
    const g = names.length > SERIES ? kind_of(n) : n;
    groups.set(g, (groups.get(g) || []).concat(n));
  }
  return [...groups].map(([g, own]) => [
    own.length > 1 ? `${g} × ${own.length}` : own[0],
    past.map((h) => own.reduce((n, name) => n + (h.memory[name] || 0), 0))
  ]);
}

let plot = null,
  looked = -1;
function show_graph() {
  const svg = $('memory'),
    w = svg.clientWidth,
    h = svg.clientHeight;
  if (!past.length || !w) return;
  const lines = series(),
    last = past.length - 1,
    left = 58,
    bottom = h - 20;
  const sums = past.map((_, i) => lines.reduce((n, [, v]) => n + v[i], 0));
  const end = past[last].t,
    from = Math.min(past[0].t, end - 2 * MINUTE);
  const unit = 2 ** 20,
    most = Math.max(unit, ...sums) / unit;
  const step = [1, 2, 5]
    .flatMap((m) => [0.1, 1, 10, 100, 1e3, 1e4, 1e5].map((k) => m * k))
    .sort((a, b) => a - b)
    .find((s) => most / s <= 4);
  const top = Math.ceil(most / step) * step * unit;
  const x = (t) => left + ((w - left - 2) * (t - from)) / (end - from);
  const y = (v) => bottom - ((bottom - 8) * v) / top;
  svg.replaceChildren();
  svg.setAttribute('viewBox', `0 0 ${w} ${h}`);
  for (let v = 0; v <= top; v += step * unit) {
    draw('path', svg, {class: 'grid', d: `M${left} ${y(v)}H${w}`});
    draw('text', svg, {
      x: left - 8,
      y: y(v) + 4,
      'text-anchor': 'end'
    }).textContent = bytes(v);
  }
  const apart =
    TICKS.find((s) => (end - from) / s <= (w < 500 ? 2.5 : 6)) || TICKS.at(-1);
  for (let t = end; t >= from; t -= apart)
    draw('text', svg, {
      x: x(t),
      y: h - 4,
      'text-anchor': t === end ? 'end' : x(t) < left + 20 ? 'start' : 'middle'
    }).textContent = t === end ? 'now' : '−' + span(end - t);
  /* Where nothing was answered there is nothing to draw. */
  const parts = [[0]];
  for (let i = 1; i <= last; i++)
    if (past[i].gap) parts.push([i]);
    else parts[parts.length - 1].push(i);
  const base = past.map(() => 0);
  const at = (i, v) => `${x(past[i].t).toFixed(1)} ${y(v).toFixed(1)}`;
  lines.forEach(([, values], k) => {
    const d = parts
      .map(
        (p) =>
          'M' +
          p.map((i) => at(i, base[i] + values[i])).join('L') +
          'L' +
          p
            .slice()
            .reverse()
            .map((i) => at(i, base[i]))
            .join('L') +
          'Z'
      )
      .join('');
    values.forEach((v, i) => {
      base[i] += v;
    });
    draw('path', svg, {class: 'k' + (k % SERIES), d});
  });
  plot = {
    lines,
    sums,
    x,
    svg,
    h: bottom,
    w,
    mark: draw('path', svg, {class: 'mark'})
  };
  arrange(
    $('legend'),
    lines.map(([name, values], k) => {
      const li = $('legend').children[k] || make('li');
      if (!li.firstChild) {
        draw('rect', draw('svg', li, {'aria-hidden': true}), {
          width: 10,
          height: 10,
          rx: 2
        });
        make('span', li);
        make('b', li);
      }
      li.querySelector('rect').setAttribute('class', 'k' + (k % SERIES));
      set(li.children[1], name);
      set(li.children[2], bytes(values[last]));
      return li;
    })
  );
  svg.setAttribute(
    'aria-label',
    `Memory by process, together ${bytes(sums[last])}`
  );
  look(looked);
}
/* What it was at one time: i of the past; below 0: none. */
function look(i) {
  looked = i;
  $('tip').hidden = i < 0 || !plot || i >= past.length;
  if (!plot) return;
  if ($('tip').hidden) {
    plot.mark.removeAttribute('d');
    return;
  }
  const x = plot.x(past[i].t);
  plot.mark.setAttribute('d', `M${x} 8V${plot.h}`);
  set(
    $('tip'),
    [
      clock(past[i].t) + ' UTC',
      ...plot.lines.map(([name, v]) => `${name}  ${bytes(v[i])}`),
      `all  ${bytes(plot.sums[i])}`
    ].join('\n')
  );
  $('tip').style.left = x > plot.w / 2 ? 'auto' : x + 10 + 'px';
  $('tip').style.right = x > plot.w / 2 ? plot.w - x + 10 + 'px' : 'auto';
}
function graphs() {
  const g = $('graph');
  g.tabIndex = 0;
  g.setAttribute('role', 'group');
  g.setAttribute('aria-label', 'Memory; arrow keys go through time');
  $('tip').setAttribute('role', 'status');
  g.onpointermove = (e) => {
    const at = e.clientX - $('memory').getBoundingClientRect().left;
    if (plot)
      look(
        past.reduce(
          (best, h, i) =>
            Math.abs(plot.x(h.t) - at) < Math.abs(plot.x(past[best].t) - at)
              ? i
              : best,
          0
        )
      );
  };
  g.onpointerleave = g.onblur = () => look(-1);
  g.onkeydown = (e) => {
    const step = {ArrowLeft: -1, ArrowRight: 1}[e.key];
    if (!step || !past.length) return;
    e.preventDefault();
    look(
      Math.min(
        past.length - 1,
        Math.max(0, (looked < 0 ? past.length : looked) + step)
      )
    );
  };
  addEventListener('resize', show_graph);
}

/* ---- asking ---- */

let answered = 0,
  asked = 0,
  next_at = 0,
  fails = 0,
  timer = 0,
  paused = false,
  refused = false,
  last_words = '';
const interval = () => $('every').value * 1000;

function show() {
  const s = now.answer.status || {state: 'DOWN', why: 'no status was given'};
  show_verdict(
    s.state,
    s.why || 'all is well',
    s.server
      ? [
          s.server,
          `router pid ${s.pid}`,
          `up ${span(s.uptime_seconds * 1000)}`,
          `${number(s.ids)} channels`,
          `epoch ${s.epoch}`
        ].join(' · ')
      : '',
    ALARMS.map((a) => [a, a[2]()]).filter(([, who]) => who)
  );
  keep();
  show_tiles();
  show_graph();
  show_processes();
  show_latency();
  show_slow();
  show_store();
  show_warnings();
}

async function ask() {
  const stop = new AbortController(),
    give_up = setTimeout(() => stop.abort(), TIMEOUT);
  asked = performance.now();
  try {
    const r = await fetch('/v1/stats?zero=no', {
      signal: stop.signal,
      cache: 'no-store'
    });
    const text = await r.text();
    if (!r.ok) throw Object.assign(new Error(text), {status: r.status});
    take(JSON.parse(text));
    answered = performance.now();
    fails = 0;
    refused = false;
    const size = Number(r.headers.get('Content-Length')) || text.length;
    const took = time((answered - asked) / 1000);
    set($('bytes'), `The last answer: ${number(size)} bytes in ${took}.`);
  } catch (e) {
    fails++;
    refused = Boolean(e.status); /* it is there, and has no figures */
    last_words = e.status
      ? words(e)
      : e.name === 'AbortError'
        ? 'it took too long'
        : 'nobody answers';
  }
  clearTimeout(give_up);
  const took = performance.now() - asked;
  asked = 0;
  /* A slow line gets a rest as long as its answer took; who is away, more. */
  plan(
    fails
      ? Math.min(30000, interval() * 2 ** Math.min(fails - 1, 5))
      : Math.max(interval() - took, took)
  );
  if (!fails) show();
  tick();
}
function words(e) {
  try {
    const {code, text} = JSON.parse(e.message).error;
    return `${text} (${code})`;
  } catch (_) {
    return 'HTTP ' + e.status;
  }
}
function plan(ms) {
  clearTimeout(timer);
  next_at = performance.now() + ms;
  if (!paused) timer = setTimeout(ask, ms);
}

/* How old it all is; said each half second. */
function tick() {
  const at = performance.now(),
    since = at - answered;
  const late =
    fails > 0 || (asked && at - asked > Math.max(4000, 2 * interval()));
  const old = answered ? `figures ${span(since)} old` : 'no figures yet';
  $('fresh').dataset.state = late
    ? 'late'
    : answered && !paused
      ? 'live'
      : 'wait';
  set(
    $('age'),
    paused
      ? `paused · ${old}`
      : !late
        ? old
        : `no answer · ${old} · ` +
          (asked ? 'asking' : `next try in ${span(Math.max(0, next_at - at))}`)
  );
  document.body.classList.toggle(
    'stale',
    Boolean(late || (paused && since > 3 * interval()))
  );
  if (late && !paused)
    show_verdict(
      refused ? 'DOWN' : 'NO ANSWER',
      (fails ? last_words : 'an answer is on its way for long') +
        (answered ? '; what stands below is old' : ''),
      '',
      [[DOWN, true]]
    );
}

$('pause').onclick = () => {
  paused = !paused;
  $('pause').setAttribute('aria-pressed', paused);
  set($('pause'), paused ? 'Go on' : 'Pause');
  if (!asked) plan(0);
  tick();
};
$('every').onchange = () => {
  if (!asked) plan(0);
};

headings();
tiles();
graphs();
ask();
setInterval(tick, 500);
})();
