// Reads streams in any runtime, and prints what it got: `runtime.mjs URL COUNT`, with `{n}` in the URL for the number of each.

import { ask, connect, text } from "../../dist/index.js";

const [url, count] = process.argv.slice(2);
const results = await Promise.all(
  Array.from({ length: Number(count) }, async (_, n) => {
    const stream = connect(url.replace("{n}", String(n)), { maxWait: 300 });
    const data = [];
    for await (const event of stream) {
      data.push(event.data);
      if (data.length === 3) break;
    }
    return data.join();
  }),
);
const { origin } = new URL(url);
const run = ask(`${origin}/ask?cut=150`, "w", { run: `${origin}/runs/{id}` });
console.log(JSON.stringify({ results, answer: await text(run), outcome: await run.outcome }));
process.exit(0);
