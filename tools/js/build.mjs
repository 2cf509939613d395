// What the package consists of, made of the files that the HTTP gateway serves:
// there is no second copy of the client to keep. npm runs this before it packs,
// and with --clean afterwards.
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const source = (name) =>
  readFileSync(here("../../gateways/http/pages/" + name), "utf8");

// The client is a script that looks for CommonJS's module; an ES module gives it one.
function modules(client, element) {
  const names = "subscribe, publish, history, presence";

  return {
    "touchline.cjs": client,
    "touchline.mjs":
      `const module = {exports: {}};\n${client}\nexport const {${names}} = module.exports;\n`,
    "match.mjs": `import * as Touchline from "./touchline.mjs";\n${element}`,
  };
}

function clean() {
  rmSync(here("dist"), { recursive: true, force: true });
  rmSync(here("LICENSE"), { force: true });
}

function build() {
  const files = modules(source("touchline.js"), source("match.js"));

  mkdirSync(here("dist"), { recursive: true });
  for (const [name, text] of Object.entries(files))
    writeFileSync(here("dist/" + name), text);
  for (const name of ["index.d.mts", "index.d.cts"])
    copyFileSync(here("index.d.ts"), here("dist/" + name));
  copyFileSync(here("../../LICENSE"), here("LICENSE"));
}

clean();
if (!process.argv.includes("--clean"))
  build();
