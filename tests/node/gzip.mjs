// Readers of gzip that nobody here wrote: node's fetch, http with a strict
// Gunzip, and npm eventsource (which asks for what is plain). Each reads a stream
// until it ends properly, and says a line of JSON: {who, text} or {who, error};
// {who, first} when something of it has come.
//
// node gzip.mjs URL
import http from "node:http";
import zlib from "node:zlib";

const url = process.argv[2];
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

async function byFetch() {
  const answer = await fetch(url); // asks for gzip, deflate
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done)
      return { text, coding: answer.headers.get("content-encoding") };
    if (!text)
      say({ who: "fetch", first: value });
    text += value;
  }
}

function byGunzip() {
  return new Promise((resolve, reject) => {
    const ask = http.get(url, { headers: { "accept-encoding": "gzip" } }, (answer) => {
      const strict = zlib.createGunzip();
      let text = "";
      strict.on("data", (piece) => {
        if (!text)
          say({ who: "gunzip", first: piece.toString() });
        text += piece;
      });
      strict.on("end", () => resolve({ text, coding: answer.headers["content-encoding"] }));
      strict.on("error", reject);
      answer.pipe(strict);
    });
    ask.on("error", reject);
  });
}

for (const [who, read] of [["fetch", byFetch], ["gunzip", byGunzip]])
  read().then((got) => say({ who, ...got }), (e) => say({ who, error: String(e) }));
