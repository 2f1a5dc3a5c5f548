// What other clients do in the same faults, measured: `npx vitest run --config vitest.compare.config.ts`. It prints a table.

import { EventSource as NodeEventSource } from "eventsource";
import { createEventSource } from "eventsource-client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ask, connect } from "../../dist/index.js";
import { Browser, type Engine, installed } from "../browser/driver.js";
import { proxy, server, useNetwork } from "../live/network.js";
import type { Fault } from "../live/proxy.js";
import { until } from "../live/until.js";

interface Reader {
  data: () => string[] | Promise<string[]>;
  close: () => unknown;
}

interface Client {
  name: string;
  /** How many streams at once. */
  width: number;
  /** `fresh` returns a token that is valid now. */
  open: (url: string, fresh?: () => string) => Reader | Promise<Reader>;
  /** Sends a POST, if the client can, and reads the answer. */
  post?: (url: string) => Reader;
}

const native = (browser: Browser): Client => {
  let count = 0;
  return {
    name: `native, ${browser.engine}`,
    width: 5,
    open: async (url, fresh) => {
      count += 1;
      const id = count;
      const { pathname, search } = new URL(url);
      const token = fresh ? `${search ? "&" : "?"}access_token=${fresh()}` : "";
      await browser.run("window.open_(...arguments)", id, pathname + search + token);
      return {
        data: () => browser.run<string[]>("return window.streams[arguments[0]].data", id),
        close: () => browser.run("window.streams[arguments[0]].source.close()", id),
      };
    },
  };
};
const NATIVE = `<!doctype html><title>native</title><script>
  window.streams = {};
  window.open_ = (id, path) => {
    const source = new EventSource(path);
    const data = [];
    source.onmessage = (event) => data.push(event.data);
    source.addEventListener("goodbye", () => source.close());
    window.streams[id] = { source, data };
  };
</script>`;

const authorized = (fresh?: () => string) => (url: string | URL | Request, init?: RequestInit) => {
  const headers = new Headers(init?.headers);
  if (fresh) headers.set("authorization", `Bearer ${fresh()}`);
  return fetch(url, { ...init, headers });
};

const ours: Client = {
  name: "tower-sse",
  width: 16,
  open: (url, fresh) => {
    const stream = connect(url, fresh ? { token: fresh } : {});
    const data: string[] = [];
    stream.on("message", (event) => data.push(event.data));
    return { data: () => data, close: () => stream.close() };
  },
  post: (url) => {
    const data: string[] = [];
    const run = ask(url, "w", { run: `${new URL(url).origin}/runs/{id}` });
    run.stream.on("message", (event) => data.push(event.data));
    return { data: () => data, close: () => run.close() };
  },
};

const eventsource: Client = {
  name: "eventsource 4",
  width: 16,
  open: (url, fresh) => {
    const source = new NodeEventSource(url, { fetch: authorized(fresh) as never });
    const data: string[] = [];
    source.addEventListener("message", (event) => data.push(event.data));
    source.addEventListener("goodbye", () => source.close());
    return { data: () => data, close: () => source.close() };
  },
};

const eventsourceClient: Client = {
  name: "eventsource-client",
  width: 16,
  open: (url, fresh) => {
    const data: string[] = [];
    const onMessage = ({ event, data: text }: { event?: string | undefined; data: string }) => {
      if (event === undefined || event === "message") data.push(text);
      if (event === "goodbye") source.close();
    };
    const source = createEventSource({ url, fetch: authorized(fresh) as never, onMessage });
    return { data: () => data, close: () => source.close() };
  },
  post: (url) => {
    const data: string[] = [];
    const onMessage = ({ event, data: text }: { event?: string | undefined; data: string }) => {
      if (event === undefined) data.push(text);
      if (event === "run.outcome") source.close();
    };
    const source = createEventSource({ url, method: "POST", body: "w", onMessage });
    return { data: () => data, close: () => source.close() };
  },
};

/** It takes a page for granted. */
async function fetchEventSource(): Promise<Client> {
  const { fetchEventSource } = await import("@microsoft/fetch-event-source");
  const read = (url: string, more: object): Reader => {
    const abort = new AbortController();
    const data: string[] = [];
    void fetchEventSource(url, {
      signal: abort.signal,
      openWhenHidden: true,
      onmessage: ({ event, data: text }) => {
        if (event === "" || event === "message") data.push(text);
        if (event === "goodbye" || event === "run.outcome") abort.abort();
      },
      ...more,
    }).catch(() => {});
    return { data: () => data, close: () => abort.abort() };
  };
  return {
    name: "fetch-event-source",
    width: 16,
    open: (url, fresh) => read(url, { fetch: authorized(fresh) }),
    post: (url) => read(url, { method: "POST", body: "w" }),
  };
}

const table = new Map<string, Map<string, string>>();
const engines = (["chromium", "firefox"] as Engine[]).filter(installed);
let count = 0;

useNetwork({ KEEP_ALIVE: "500" });
beforeAll(() => {
  proxy.pages.set("/native", NATIVE);
});
afterAll(() => {
  const clients = [...table.keys()];
  const rows = [...table.get(clients[0]!)!.keys()];
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  console.log(
    [
      line(["", ...clients]),
      line(["---", ...clients.map(() => "---")]),
      ...rows.map((row) => line([row, ...clients.map((client) => table.get(client)!.get(row) ?? "–")])),
    ].join("\n"),
  );
});

function channel(): string {
  count += 1;
  return `compare-${count}`;
}

/** Waits until a reader has so many events, or for `ms`. */
async function has(reader: Reader, wanted: number, ms: number): Promise<boolean> {
  try {
    await until(async () => (await reader.data()).length >= wanted, ms);
    return true;
  } catch {
    return false;
  }
}

/** Cuts after each byte of three events. */
async function cuts(client: Client, kind: "cut" | "end"): Promise<string> {
  const name = channel();
  await server.publish(name, "#", { count: 3 });
  const first = new Set<string>();
  proxy.fault = ({ url = "" }) => {
    const after = /\?at=(\d+)/.exec(url)?.[1];
    if (after === undefined || first.has(url)) return undefined;
    first.add(url);
    return { kind, after: Number(after) };
  };
  const length = 110;
  let [exact, lost, repeated] = [0, 0, 0];
  const run = async (at: number) => {
    const reader = await client.open(`${proxy.url}/all/${name}?at=${at}`);
    // Where the time to reconnect was cut off, some clients wait for several seconds.
    await has(reader, 3, 8000);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const data = await reader.data();
    await reader.close();
    if (data.join() === "0,1,2") exact += 1;
    else if (new Set(data).size < data.length) repeated += 1;
    else lost += 1;
  };
  for (let at = 0; at < length; at += client.width) {
    await Promise.all(Array.from({ length: Math.min(client.width, length - at) }, (_, n) => run(at + n)));
  }
  proxy.fault = () => undefined;
  if (exact === length) return `exact, ${length} of ${length}`;
  return [`exact ${exact} of ${length}`, lost && `lost ${lost}`, repeated && `repeated ${repeated}`]
    .filter(Boolean)
    .join(", ");
}

/** The first answers have a fault. */
async function fault(client: Client, faults: Fault[]): Promise<string> {
  const name = channel();
  await server.publish(name, "0");
  const path = `/all/${name}`;
  let number = 0;
  proxy.fault = ({ url = "" }) => {
    if (!url.startsWith(path)) return undefined;
    number += 1;
    return faults[number - 1];
  };
  const began = performance.now();
  const reader = await client.open(proxy.url + path);
  await until(() => number > 0);
  await server.publish(name, "1");
  const recovered = await has(reader, 2, 12_000);
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  const data = await reader.data();
  await reader.close();
  proxy.fault = () => undefined;
  if (!recovered) return number === 1 ? "gives up, or never notices" : "does not recover";
  return data.join() === "0,1" ? `exact after ${seconds} s` : `got ${data.join()}`;
}

async function tokens(client: Client): Promise<string> {
  const name = channel();
  const reader = await client.open(`${proxy.url}/private/${name}`, () => String(Date.now() + 300));
  for (let n = 0; n < 40; n += 1) {
    await server.publish(name, String(n));
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  await has(reader, 40, 2000);
  const data = await reader.data();
  await reader.close();
  return data.join() === Array.from({ length: 40 }, (_, n) => n).join() ? "exact" : `${data.length} of 40`;
}

/** How many requests follow the end of a channel. */
async function end(client: Client): Promise<string> {
  const name = channel();
  const path = `/all/${name}`;
  await server.publish(name, "0");
  const reader = await client.open(proxy.url + path);
  await has(reader, 1, 5000);
  await server.end(name, "finish");
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const requests = proxy.seen.filter((request) => request.path.startsWith(path)).length;
  await reader.close();
  return requests <= 2 ? "stops" : `asks ${requests - 1} times in 3 s`;
}

async function post(client: Client): Promise<string> {
  if (!client.post) return "no POST";
  const query = `?count=10&pause=5&c=${count}`;
  count += 1;
  let first = true;
  proxy.fault = ({ url = "" }) => {
    if (!url.startsWith(`/ask${query}`) || !first) return undefined;
    first = false;
    return { kind: "cut", after: 150 };
  };
  const reader = client.post(`${proxy.url}/ask${query}`);
  await has(reader, 10, 6000);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const data = await reader.data();
  reader.close();
  proxy.fault = () => undefined;
  const posts = proxy.seen.filter(({ method, path }) => method === "POST" && path === `/ask${query}`).length;
  const exact = data.join("") === Array.from({ length: 10 }, (_, n) => `w${n} `).join("");
  return `${exact ? "exact" : `${data.length} of 10 events`}, ${posts} POST`;
}

async function measure(client: Client): Promise<void> {
  const row = new Map<string, string>();
  table.set(client.name, row);
  row.set("cut after each byte", await cuts(client, "cut"));
  row.set("a clean end after each byte", await cuts(client, "end"));
  row.set("a dead path", await fault(client, [{ kind: "stall", after: 60 }]));
  row.set(
    "a 502, twice",
    await fault(
      client,
      [1, 2].map(() => ({ kind: "status", status: 502, body: "<html>" })),
    ),
  );
  row.set("no answer, twice", await fault(client, [{ kind: "refuse" }, { kind: "refuse" }]));
  const busy: Fault = { kind: "status", status: 503, headers: { "retry-after": "2" } };
  row.set("a 503 with `Retry-After: 2`", await fault(client, [busy]));
  row.set("tokens that expire", await tokens(client));
  row.set("a finished channel", await end(client));
  row.set("a POST that is cut", await post(client));
}

test.each([ours, eventsource, eventsourceClient])("$name", async (client) => {
  await measure(client);
  if (client === ours) for (const cell of table.get(client.name)!.values()) expect(cell).toMatch(/^(exact|stops)/);
});

test("fetch-event-source", async () => {
  const page = { hidden: false, addEventListener() {}, removeEventListener() {} };
  Object.assign(globalThis, { window: globalThis, document: page });
  await measure(await fetchEventSource());
  Object.assign(globalThis, { window: undefined, document: undefined });
});

test.each(engines)("native EventSource of %s", async (engine) => {
  const browser = await Browser.start(engine);
  await browser.open(`${proxy.url}/native`);
  await measure(native(browser));
  await browser.stop();
});
