// Readers that nobody here wrote: npm eventsource and eventsource-parser on
// /v1/stream, npm ws on /v1/ws and /v1/raw. One line of JSON on standard output
// for each thing that comes:
//   {who, ready}          the subscription is in force
//   {who, event, data}    an event of a stream, a text frame (event: "text") or
//                         a binary one (event: "bytes", data: base64)
//   {who, over}           all channels have ended; or why it ended before that
// A reader ends when each channel has said `end`.
//
// node readers.mjs '{"http","ws","pattern","channels":[...],"end"}'
import { createRequire } from "node:module";

const require = createRequire(new URL("../../build/node/", import.meta.url));
const { EventSource } = require("eventsource");
const { createParser } = require("eventsource-parser");
const WebSocket = require("ws");

const want = JSON.parse(process.argv[2]);
const stream = `${want.http}/v1/stream?channel=${encodeURIComponent(want.pattern)}`;

function put(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

// Counts the ends of a reader's channels; true: that was the last one.
function ends(channels) {
  let left = channels;
  return (data) => data === want.end && --left === 0;
}

function dataOf(text) {
  return JSON.parse(text).data;
}

function readEventSource() {
  const who = "eventsource";
  const last = ends(want.channels.length);
  const source = new EventSource(stream);
  const take = (event) => {
    put({ who, event: event.type, data: event.data });
    if (event.type === "message" && last(dataOf(event.data))) {
      source.close();
      put({ who, over: "end" });
    }
  };

  source.addEventListener("notice", (event) => put({ who, ready: event.data }));
  for (const name of ["message", "admin"])
    source.addEventListener(name, take);
  source.addEventListener("error", () => put({ who, over: "cut" }));
}

async function readParser() {
  const who = "parser";
  const last = ends(want.channels.length);
  const abort = new AbortController();
  const answer = await fetch(stream, {
    headers: { Accept: "text/event-stream" }, signal: abort.signal });
  let over = "cut";
  const parser = createParser({
    onEvent(event) {
      if (event.event === "notice") {
        put({ who, ready: event.data });
        return;
      }
      put({ who, event: event.event || "message", data: event.data });
      if (last(dataOf(event.data))) {
        over = "end";
        abort.abort();
      }
    },
    onError(error) {
      put({ who, event: "error", data: String(error) });
    },
  });
  const decoder = new TextDecoder();

  try {
    for await (const piece of answer.body)
      parser.feed(decoder.decode(piece, { stream: true }));
  } catch (error) {
    if (error.name !== "AbortError")
      over = String(error);
  }
  put({ who, over });
}

function readSocket(who, url, channels, isEnd) {
  const last = ends(channels);
  const socket = new WebSocket(url);
  let over = "cut";

  socket.on("open", () => put({ who, ready: url }));
  socket.on("message", (bytes, isBinary) => {
    const data = bytes.toString(isBinary ? "base64" : "utf8");

    put({ who, event: isBinary ? "bytes" : "text", data });
    if (!isBinary && last(isEnd(data))) {
      over = "end";
      socket.close();
    }
  });
  socket.on("error", (error) => put({ who, event: "error", data: String(error) }));
  socket.on("close", () => put({ who, over }));
}

readEventSource();
readParser();
readSocket("ws", `${want.ws}/v1/ws?channel=${encodeURIComponent(want.pattern)}`,
           want.channels.length, dataOf);
for (const channel of want.channels)
  readSocket(`raw ${channel}`, `${want.ws}/v1/raw?channel=${encodeURIComponent(channel)}`,
             1, (data) => data);
