// npm's `openai` against the proxy, used as its documentation says: `node client.mjs <modules> <url> <case>`. Prints a line of JSON
// for each thing that happened, and waits for a line where the test has something to do first.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [modules, url, what] = process.argv.slice(2);
const { OpenAI } = createRequire(`${modules}/package.json`)("openai");
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "mine", maxRetries: 0 });
const question = { model: "any", messages: [{ role: "user", content: "?" }], stream: true };
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const tell = (value) => process.stdout.write(JSON.stringify(value) + "\n");

/**
 * Reads an answer to its end, or until its text is `length` long. Tells once that its text is `tells` long. Tokens that are there
 * already may come as one chunk.
 */
async function read(asked, { length = Infinity, tells = Infinity } = {}) {
  let text = "";
  try {
    const stream = await asked;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      if (text.length >= tells) {
        tell({ so_far: text });
        tells = Infinity;
      }
      if (text.length >= length) {
        stream.controller.abort();
        break;
      }
    }
    return { text };
  } catch (error) {
    return { text, status: error.status ?? null, error: String(error) };
  }
}

const cases = {
  async leave() {
    const { data, response } = await client.chat.completions.create(question).withResponse();
    tell(await read(data, { length: 9 }));
    await lines.next();
    const run = response.headers.get("x-run-id");
    tell(await read(client.get(`/runs/${run}`, { stream: true })));
  },

  // Loses its answer before it could learn the id of the run.
  async repeat() {
    const once = { headers: { "x-run-id": "chosen" } };
    tell(await read(client.chat.completions.create(question, once), { length: 1 }));
    tell(await read(client.chat.completions.create(question, once)));
  },

  async ask() {
    tell(await read(client.chat.completions.create(question), { tells: 23 }));
  },

  async cancel() {
    const { data, response } = await client.chat.completions.create(question).withResponse();
    const iterator = data[Symbol.asyncIterator]();
    await iterator.next();
    await client.post(`/runs/${response.headers.get("x-run-id")}/cancel`);
    tell(await read({ [Symbol.asyncIterator]: () => iterator }));
  },

  async plain() {
    const answer = await client.chat.completions.create({ ...question, stream: false });
    tell({ text: answer.choices[0].message.content });
  },
};
await cases[what]();
process.exit();
