// A WebSocket of the npm module ws with permessage-deflate, and one without,
// on the same channel of /v1/raw: what the first says comes back to both.
//   node ws_deflate.js PORT       prints one line of JSON
'use strict';
const WebSocket = require('ws');

const url = `ws://127.0.0.1:${process.argv[2]}/v1/raw?channel=a&publish=a`;
const words = 'gól de Luna, minuto 7 — ⚽ \u{1f3df} ';
const noise = Buffer.alloc(65536, 0).map((_, i) => (i * i * 2654435761) >>> 13);

// Each a message, or the fragments of one.
const messages = {
  empty: '', 'empty bytes': Buffer.alloc(0), tiny: 'x', 'tiny bytes': Buffer.from([255]),
  'at the threshold': 'y'.repeat(128), '64 KiB': 'z'.repeat(65536),
  'unicode 64 KiB': words.repeat(2000).slice(0, 30000), 'zeros 64 KiB': Buffer.alloc(65536),
  'noise 64 KiB': noise, json: JSON.stringify(Array(300).fill({ kind: 'goal', minute: 7 })),
  fragments: ['one ', words.repeat(100), '', 'end'],
  'fragments of bytes': [noise.subarray(0, 1000), Buffer.alloc(40000), noise.subarray(0, 3)],
};

function whole(message) {
  if (!Array.isArray(message)) return message;
  return typeof message[0] === 'string' ? message.join('') : Buffer.concat(message);
}

function open(perMessageDeflate) {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(url, { perMessageDeflate });
    const waiting = [], come = [];
    ws.on('message', (data, binary) => {
      const message = binary ? data : data.toString();
      if (waiting.length) waiting.shift()(message); else come.push(message);
    });
    ws.next = () => come.length ? Promise.resolve(come.shift())
      : new Promise((done) => waiting.push(done));
    ws.on('open', () => resolve(ws));
    ws.on('error', reject);
    ws.on('close', (code) => reject(new Error(`closed with ${code}`)));
  });
}

function send(ws, message) {
  const parts = Array.isArray(message) ? message : [message];
  parts.forEach((part, i) => ws.send(part, { compress: true, fin: i === parts.length - 1 }));
}

const same = (a, b) => typeof a === 'string' ? a === b : Buffer.isBuffer(b) && a.equals(b);
const sizes = (ws) => ({ in: ws._socket.bytesRead, out: ws._socket.bytesWritten });

async function main() {
  const packed = await open({ threshold: 0 }), plain = await open(false);
  const begin = { packed: sizes(packed), plain: sizes(plain) };
  const wrong = [];
  let bytes = 0;
  for (const [name, message] of Object.entries(messages)) {
    const wanted = whole(message);
    send(packed, message);
    for (const ws of [packed, plain])
      if (!same(wanted, await ws.next())) wrong.push(`${name} to ${ws.extensions || 'plain'}`);
    bytes += Buffer.byteLength(wanted);
  }
  const end = { packed: sizes(packed), plain: sizes(plain) };
  console.log(JSON.stringify({
    extensions: [packed.extensions, plain.extensions], messages: Object.keys(messages).length,
    wrong, bytes, to_packed: end.packed.in - begin.packed.in,
    from_packed: end.packed.out - begin.packed.out, to_plain: end.plain.in - begin.plain.in,
  }));
  process.exit(0);
}

main().catch((e) => { console.error(e); process.exit(1); });
