// A client of an agent, used as its documentation says: `node agent.mjs <modules> <package> <url> <ask | resume>`. Prints the
// text that it got, with which status it was refused, and the error that it reports.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, name, url, what] = process.argv.slice(2);
const load = createRequire(`${modules}/package.json`);
let text = "";
let ended = null;

const clients = {
  async openai() {
    const { OpenAI } = load("openai");
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
    const messages = [{ role: "user", content: "?" }];
    const stream = await client.chat.completions.create({ model: "any", messages, stream: true });
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      ended = chunk.choices[0]?.finish_reason ?? ended;
    }
  },

  // What `useChat` is, without React.
  async ai() {
    const { AbstractChat, DefaultChatTransport } = await import(pathToFileURL(load.resolve("ai")));
    class State {
      messages = [];
      status = "ready";
      error = undefined;
      pushMessage = (message) => void this.messages.push(message);
      popMessage = () => void this.messages.pop();
      replaceMessage = (index, message) => void (this.messages[index] = message);
      snapshot = (value) => structuredClone(value);
    }
    class Chat extends AbstractChat {
      constructor(options) {
        super({ ...options, state: new State() });
      }
    }
    const chat = new Chat({
      id: "chat",
      transport: new DefaultChatTransport({ api: `${url}/api/chat` }),
      onFinish: ({ isAbort, isDisconnect, isError }) => {
        ended = isAbort ? "abort" : isDisconnect ? "disconnect" : isError ? "error" : "finish";
      },
    });
    await (what === "resume" ? chat.resumeStream() : chat.sendMessage({ text: "?" }));
    const answer = chat.messages.at(-1);
    if (answer?.role === "assistant") text = answer.parts.map((part) => part.text ?? "").join("");
    if (chat.status !== "ready") throw chat.error ?? new Error(chat.status);
  },
};

const report = (error) => {
  const status = error?.status ?? error?.statusCode ?? null;
  process.stdout.write(JSON.stringify({ text, ended, status, error: error && String(error) }) + "\n");
};
clients[name]().then(() => report(null), report);
