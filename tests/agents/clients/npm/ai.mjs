// `ai`, the AI SDK: what `useChat` is, without React.
import { pathToFileURL } from "node:url";

// The chats that are open, by their ids.
const chats = new Map();

const textOf = (message) => message.parts.map((part) => part.text ?? "").join("");

async function newChat(load, { package: name, url, thread }) {
  const { AbstractChat, DefaultChatTransport } = await import(pathToFileURL(load.resolve(name)));
  class State {
    messages = [];
    status = "ready";
    error = undefined;
    changed = () => {};
    pushMessage = (message) => this.changed(this.messages.push(message));
    popMessage = () => void this.messages.pop();
    replaceMessage = (index, message) => this.changed((this.messages[index] = message));
    snapshot = (value) => structuredClone(value);
  }
  return new (class extends AbstractChat {
    constructor() {
      super({ id: thread, state: new State(), transport: new DefaultChatTransport({ api: `${url}/api/chat` }) });
    }
    async follow(request, got) {
      this.state.changed = () => {
        const answer = this.messages.at(-1);
        if (answer.role === "assistant") got.text = textOf(answer);
      };
      await request;
      if (this.status !== "ready") throw this.error ?? new Error(this.status);
      const answer = this.messages.at(-1);
      if (answer?.role !== "assistant") return "nothing";
      // As after its own `stop()`: it keeps the text as it is.
      if (answer.parts.some((part) => part.state === "streaming")) return "stopped";
    }
  })();
}

export async function open(load, request) {
  return {
    async ask({ thread, prompt }, got) {
      const chat = await newChat(load, request);
      chats.set(thread, chat);
      return chat.follow(chat.sendMessage({ text: prompt }), got);
    },
    // On a new page, or on the one that asked.
    async attach({ thread, url, again }, got) {
      const chat = again ? chats.get(thread) : await newChat(load, request);
      chats.set(thread, chat);
      // What is a load balancer for a page is another address here.
      chat.transport.api = `${url}/api/chat`;
      return chat.follow(chat.resumeStream(), got);
    },
  };
}
