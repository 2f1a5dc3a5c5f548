// The clients of npm: `node npm.mjs <modules>`. Reads requests, a line of JSON each, and prints a report for each: the text that
// the client got, and what it says of the end. Each client is a file in `npm/` that uses the package as its documentation says.
//
// A request is `{ n, package, file, act, url, direct, run, thread, prompt, after, again }`. `act` is `ask`, which sends the prompt,
// `attach`, which asks for a run that exists, on the page that asked if `again`, or `stop`, if the protocol has it. `direct` is the
// server without the faults of the network that `url` has.
//
// A report is `{ n, text, outcome, status, position }`. The outcome is `complete`, `stopped` or `nothing`, or `{ error }`. Before it,
// there is a line `{ n, began: true }` once the client has something of the text.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const load = createRequire(`${process.argv[2]}/package.json`);

const print = (value) => process.stdout.write(JSON.stringify(value) + "\n");

class Got {
  #text = "";
  #n;
  constructor(n) {
    this.#n = n;
  }
  get text() {
    return this.#text;
  }
  set text(text) {
    if (text && !this.#text) print({ n: this.#n, began: true });
    this.#text = text;
  }
}

async function report(request) {
  const got = new Got(request.n);
  try {
    const { open } = await import(`./npm/${request.file}.mjs`);
    const client = await open(load, request);
    got.outcome = (await client[request.act](request, got)) ?? "complete";
  } catch (error) {
    const cause = error.cause ? ` (${error.cause.message ?? error.cause})` : "";
    got.outcome = { error: `${error}${cause}` };
    got.status = error.status ?? error.statusCode;
  }
  print({ n: request.n, text: got.text, ...got });
}

for await (const line of createInterface({ input: process.stdin })) report(JSON.parse(line));
process.exit();
