// The browser's client against a real gateway: one line of JSON on standard
// output for each message and notice that it hands to its page.
//
// node touchline_reader.mjs '{"http","channels":[...],"since","transport"}'
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const Touchline = require("../../gateways/http/pages/touchline.js");
const want = JSON.parse(process.argv[2]);

function put(item) {
  process.stdout.write(JSON.stringify(item) + "\n");
}

Touchline.subscribe(want.http, want.channels, {
  since: want.since,
  transport: want.transport,
  onmessage: put,
  onnotice: put,
  onstate: (s) => s.state === "failed" && put({ over: s.error }),
});
