// Several tabs on one server, in virtual time, with tabs that close, freeze, lose their network and come back.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type ConnectOptions, connectIn } from "../../src/connect.js";
import type { Environment, Signal, Tabs } from "../../src/environment.js";
import type { Stream } from "../../src/stream.js";
// It is loaded when somebody shares. Here, no time may pass for that.
import "../../src/tabs.js";
import { Body, pass, seeded, settle } from "./world.js";

const KEEP_ALIVE = 15_000;

/** A server with one channel. Its ids grow, and every reader gets every event after its id. */
class Server {
  log: { id: string; text: string }[] = [];
  readers = new Set<Reader>();
  /** How many events a reader without an id gets. */
  start = 0;
  announces = false;
  /** The requests so far. */
  requests = 0;
  finished = false;
  up = true;

  publish(data: string, ephemeral = false): void {
    const id = `e-${this.log.length + 1}`;
    const text = ephemeral ? `data: ${data}\n\n` : `data: ${data}\nid: ${id}\n\n`;
    if (!ephemeral) this.log.push({ id, text });
    for (const reader of this.readers) reader.send(text);
  }

  answer(init: RequestInit): Response {
    this.requests += 1;
    const asked = new Headers(init.headers).get("last-event-id");
    if (!this.up) return new Response("", { status: 502 });
    const at = asked === null ? this.log.length - this.start : this.log.findIndex(({ id }) => id === asked) + 1;
    if (this.finished && asked !== null && at === this.log.length) return new Response(null, { status: 204 });
    const body = new Body({}, init.signal);
    const cursor = this.log.at(-1)?.id ?? "e-0";
    body.send(`retry: 1000\n${this.announces && asked === null ? `event: cursor\ndata: \nid: ${cursor}\n\n` : ":\n"}`);
    for (const { text } of this.log.slice(Math.max(at, 0))) body.send(text);
    if (this.finished) body.end();
    else this.readers.add(new Reader(this, body));
    return body.response;
  }

  /** The connections that are open. */
  get open(): number {
    for (const reader of this.readers) if (reader.body.gone) reader.leave();
    return this.readers.size;
  }
}

class Reader {
  #cancel!: ReturnType<typeof setTimeout>;

  constructor(
    readonly server: Server,
    readonly body: Body,
  ) {
    this.#arm();
  }

  send(text: string): void {
    this.body.send(text);
    this.#arm();
  }

  leave(): void {
    clearTimeout(this.#cancel);
    this.server.readers.delete(this);
  }

  #arm(): void {
    clearTimeout(this.#cancel);
    if (!this.body.gone) this.#cancel = setTimeout(() => this.send(":\n"), KEEP_ALIVE);
  }
}

/** What the tabs of one browser share. */
class Browser {
  lines = new Set<{ name: string; tab: Tab; receive: (message: unknown) => void }>();
  locks = new Map<string, { held: Lock | undefined; queue: Lock[] }>();
  /** How long a message takes, at most. */
  lag = () => 0;

  constructor(readonly server: Server) {}

  next(name: string): void {
    const lock = this.locks.get(name)!;
    if (lock.held) return;
    lock.held = lock.queue.shift();
    const { held } = lock;
    held?.run(() => {
      if (lock.held !== held) return;
      lock.held = undefined;
      this.next(name);
    });
  }
}

interface Lock {
  tab: Tab;
  run(done: () => void): void;
  lose(): void;
}

/** A tab of a browser. What happens to it when it is frozen is dealt with when it thaws. */
class Tab implements Environment {
  readonly base = "https://app.example/";
  readonly origin = "https://app.example";
  readonly init = {};
  readonly watchers = new Set<(signal: Signal) => void>();
  readonly bodies = new Set<AbortController>();
  now = (): number => Date.now();
  frozen = false;
  /** The least time that a timer takes, as in the background. */
  throttled = 0;
  dead = false;
  #held: (() => void)[] = [];

  constructor(
    readonly browser: Browser,
    readonly random: () => number,
    readonly name: number,
  ) {}

  log = (...what: unknown[]): void => {
    if (process.env.TRACE) console.log(Date.now() % 1e7, this.name, ...what);
  };

  /** Runs now, or when the tab thaws. */
  #run(run: () => void): void {
    if (this.dead) return;
    if (this.frozen) this.#held.push(run);
    else run();
  }

  fetch = async (_url: string, init: RequestInit): Promise<Response> => {
    if (this.dead) return new Promise(() => {});
    const abort = new AbortController();
    this.bodies.add(abort);
    init.signal?.addEventListener("abort", () => abort.abort(new DOMException("aborted", "AbortError")));
    const { body, headers, status } = this.browser.server.answer({ ...init, signal: abort.signal });
    if (!body) return new Response(null, { status });
    // A tab that is frozen reads nothing.
    let gone = false;
    const pump = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
      try {
        for await (const chunk of body) this.#run(() => gone || controller.enqueue(chunk));
        this.#run(() => gone || controller.close());
      } catch (error) {
        this.#run(() => gone || controller.error(error));
      }
    };
    const cancel = () => {
      gone = true;
      abort.abort();
    };
    const read = new ReadableStream<Uint8Array>({ start: (controller) => void pump(controller), cancel });
    return new Response(read, { headers, status });
  };

  after = (ms: number, run: () => void): (() => void) => {
    let live = true;
    const timer = setTimeout(() => this.#run(() => live && run()), Math.max(ms, this.throttled));
    return () => {
      live = false;
      clearTimeout(timer);
    };
  };

  watch(listener: (signal: Signal) => void): () => void {
    this.watchers.add(listener);
    return () => this.watchers.delete(listener);
  }

  signal(signal: Signal): void {
    for (const watcher of this.watchers) watcher(signal);
  }

  readonly tabs: Tabs = {
    lock: (name, { steal, signal }, hold) =>
      new Promise<void>((resolve, reject) => {
        const { locks } = this.browser;
        const lock = locks.get(name) ?? { held: undefined, queue: [] };
        locks.set(name, lock);
        const mine: Lock = {
          tab: this,
          run: (done) => this.#run(() => void hold().then(done).then(resolve)),
          lose: () => this.#run(() => reject(new DOMException("stolen", "AbortError"))),
        };
        signal.addEventListener("abort", () => {
          const at = lock.queue.indexOf(mine);
          if (at >= 0 && !steal) {
            lock.queue.splice(at, 1);
            reject(signal.reason);
          }
        });
        if (steal) {
          lock.held?.lose();
          lock.held = undefined;
          lock.queue.unshift(mine);
        } else {
          lock.queue.push(mine);
        }
        setTimeout(() => this.browser.next(name), 0);
      }),
    line: (name, receive) => {
      const line = { name, tab: this, receive };
      this.browser.lines.add(line);
      let last = 0;
      return {
        post: (message) => {
          if (this.dead) return;
          const copy = structuredClone(message);
          // Later messages of a sender don't overtake earlier ones.
          last = Math.max(last, Date.now() + this.browser.lag());
          for (const other of this.browser.lines) {
            if (other === line || other.name !== name) continue;
            const deliver = () => this.browser.lines.has(other) && other.receive(copy);
            setTimeout(() => other.tab.#run(deliver), last - Date.now());
          }
        },
        close: () => this.browser.lines.delete(line),
      };
    },
  };

  freeze(): void {
    this.frozen = true;
  }

  thaw(): void {
    this.frozen = false;
    for (const run of this.#held.splice(0)) run();
  }

  /** The network path of its connections breaks. */
  cut(): void {
    for (const body of this.bodies) body.abort(new TypeError("cut"));
    this.bodies.clear();
  }

  /** The tab's process is gone: nothing is said, but the browser lets go of its locks. */
  kill(): void {
    this.dead = true;
    this.cut();
    for (const [name, lock] of this.browser.locks) {
      lock.queue = lock.queue.filter(({ tab }) => tab !== this);
      if (lock.held?.tab === this) {
        lock.held = undefined;
        setTimeout(() => this.browser.next(name), 0);
      }
    }
    for (const line of this.browser.lines) if (line.tab === this) this.browser.lines.delete(line);
  }
}

interface Page {
  tab: Tab;
  stream: Stream;
  got: string[];
  states: string[];
}

let server: Server;
let browser: Browser;
let random = seeded(1);
let names = 0;

beforeEach(() => {
  vi.useFakeTimers();
  server = new Server();
  browser = new Browser(server);
  random = seeded(1);
  names = 0;
});
afterEach(() => {
  vi.useRealTimers();
});

function open(options: ConnectOptions = {}): Page {
  names += 1;
  const tab = new Tab(browser, random, names);
  const stream = connectIn<Record<string, string>, never>(tab, "/sse/a", { share: true, ...options });
  const page: Page = { tab, stream, got: [], states: [] };
  stream.on("*", ({ data }) => page.got.push(data as string));
  stream.on("state", ({ name }) => page.states.push(name));
  return page;
}

test("tabs that begin together have one connection, and each event once", async () => {
  const pages = Array.from({ length: 5 }, () => open());
  await settle();
  await pass(100);
  expect(server.open).toBe(1);
  for (let n = 1; n <= 3; n += 1) server.publish(String(n));
  await settle();
  for (const { got, stream } of pages) expect([got, stream.cursor]).toEqual([["1", "2", "3"], "e-3"]);
});

test("a tab that comes later gets what it would have got alone, and shares from the first common event on", async () => {
  server.start = 2;
  for (const data of ["1", "2", "3"]) server.publish(data);
  const first = open();
  await pass(100);
  server.publish("4");
  await pass(100);
  const second = open();
  await pass(100);
  // Its last event is the leader's last one.
  expect([first.got, second.got, server.open]).toEqual([["2", "3", "4"], ["3", "4"], 1]);
  server.publish("5");
  await pass(100);
  expect([first.got.at(-1), second.got]).toEqual(["5", ["3", "4", "5"]]);
});

test("a tab that gets nothing at first shares once both are known to have everything", async () => {
  for (const announces of [false, true]) {
    server = new Server();
    browser = new Browser(server);
    server.announces = announces;
    const first = open();
    await pass(100);
    server.publish("1");
    await pass(100);
    const second = open();
    await pass(100);
    const connections = announces ? 1 : 2;
    expect(server.open).toBe(connections);
    await pass(3 * KEEP_ALIVE);
    expect(server.open).toBe(1);
    server.publish("2");
    await pass(100);
    expect([first.got, second.got]).toEqual([["1", "2"], ["2"]]);
    first.stream.close();
    second.stream.close();
  }
});

test("another tab takes over when the leader closes, and nothing is lost or repeated", async () => {
  const pages = Array.from({ length: 4 }, () => open());
  await pass(100);
  server.publish("1");
  await pass(100);
  for (const [n, page] of pages.slice(0, 3).entries()) {
    page.stream.close();
    server.publish(`${n + 2}`);
    await pass(100);
    expect(server.open).toBe(1);
  }
  expect(pages[3]!.got).toEqual(["1", "2", "3", "4"]);
});

test("another tab takes over when the leader's process is killed", async () => {
  const [leader, ...others] = Array.from({ length: 4 }, () => open());
  await pass(100);
  server.publish("1");
  await pass(100);
  leader!.tab.kill();
  server.publish("2");
  await pass(100);
  server.publish("3");
  await pass(100);
  for (const { got } of others) expect(got).toEqual(["1", "2", "3"]);
  expect(server.open).toBe(1);
});

test("a leader that freezes is replaced, and follows when it thaws", async () => {
  const [leader, ...others] = Array.from({ length: 3 }, () => open());
  await pass(100);
  server.publish("1");
  await pass(100);
  leader!.tab.freeze();
  server.publish("2");
  await pass(KEEP_ALIVE * 2.5 + 10_000);
  for (const { got } of others) expect(got).toEqual(["1", "2"]);
  server.publish("3");
  await pass(100);
  leader!.tab.thaw();
  await pass(5000);
  server.publish("4");
  await pass(5000);
  for (const { got } of [leader!, ...others]) expect(got).toEqual(["1", "2", "3", "4"]);
  expect(server.open).toBe(1);
});

test("a leader that is told that it will freeze hands over at once", async () => {
  const [leader, other] = [open(), open()];
  await pass(100);
  server.publish("1");
  await pass(100);
  leader.tab.signal("sleep");
  await pass(100);
  server.publish("2");
  await pass(100);
  expect([leader.got, other.got, server.open]).toEqual([["1"], ["1", "2"], 1]);
  leader.tab.signal("wake");
  await pass(100);
  server.publish("3");
  await pass(100);
  expect([leader.got, other.got, server.open]).toEqual([["1", "2", "3"], ["1", "2", "3"], 1]);
});

test("all tabs see the state, and end together with an error that is one", async () => {
  const [leader, other] = [open(), open()];
  await pass(100);
  expect([leader.states.at(-1), other.states.at(-1)]).toEqual(["open", "open"]);
  server.up = false;
  leader.tab.cut();
  await pass(100);
  expect([leader.stream.state, other.stream.state]).toMatchObject([
    { name: "waiting" },
    { error: { code: "network" } },
  ]);
  server.answer = () => new Response("", { status: 404 });
  await pass(2000);
  const closed = await other.stream.closed;
  expect(closed).toMatchObject({ reason: "error", error: { code: "refused", status: 404, name: "StreamError" } });
});

test("all tabs end when the channel is finished", async () => {
  const [leader, other] = [open(), open()];
  await pass(100);
  server.publish("1");
  await pass(100);
  server.finished = true;
  leader.tab.cut();
  await pass(2000);
  expect([(await leader.stream.closed).reason, (await other.stream.closed).reason]).toEqual(["finished", "finished"]);
  const late = open({ lastEventId: "e-1" });
  await pass(100);
  expect((await late.stream.closed).reason).toBe("finished");
});

test("a tab that becomes visible hurries the leader", async () => {
  const [leader, other] = [open(), open()];
  await pass(100);
  server.up = false;
  leader.tab.cut();
  await pass(20_000);
  server.up = true;
  const { requests } = server;
  other.tab.signal("visible");
  await pass(50);
  expect(server.requests).toBe(requests + 1);
});

test("a leader in the background, whose timers are late, does not keep the others waiting", async () => {
  const [leader, other] = [open(), open()];
  await pass(100);
  server.publish("0");
  await pass(100);
  leader.tab.throttled = 60_000;
  leader.tab.cut();
  await pass(100);
  server.publish("1");
  expect(other.stream.state).toMatchObject({ name: "waiting" });
  await pass(5000);
  expect([other.got, other.stream.state.name, server.open]).toEqual([["0", "1"], "open", 1]);
});

test("a tab whose position the server does not replay from is told of the gap by itself", async () => {
  const [leader, other] = [open(), open()];
  await pass(100);
  leader.tab.freeze();
  other.tab.freeze();
  await pass(1000);
  server.publish("1");
  leader.tab.thaw();
  other.tab.thaw();
  await pass(1000);
  expect([leader.got, other.got]).toEqual([["1"], ["1"]]);
});

test("events without an id come once, too", async () => {
  const [leader, other] = [open(), open()];
  await pass(100);
  server.publish("1");
  server.publish("typing", true);
  await pass(100);
  const late = open({ lastEventId: "e-0" });
  await pass(100);
  server.publish("more", true);
  server.publish("2");
  server.publish("typing", true);
  await pass(100);
  expect(leader.got).toEqual(["1", "typing", "more", "2", "typing"]);
  expect(other.got).toEqual(leader.got);
  expect(late.got).toEqual(["1", "more", "2", "typing"]);
});

/** A browser's life: tabs come and go, freeze and thaw, networks break. Checks that each tab gets what it should. */
async function life(seed: number): Promise<{ events: number; faults: number; pages: number }> {
  random = seeded(seed);
  server = new Server();
  server.announces = random() < 0.5;
  browser = new Browser(server);
  const lag = random() < 0.5 ? 0 : 50;
  browser.lag = () => Math.floor(random() * lag);
  const pages: (Page & { from: number })[] = [];
  const all: (Page & { from: number })[] = [];
  let faults = 0;
  let published = 0;
  const join = () => {
    // Each begins at a known position, so that it is known what it has to get.
    const from = server.log.length;
    const page = { ...open({ lastEventId: `e-${from}` }), from };
    pages.push(page);
    all.push(page);
  };
  server.publish("0");
  join();
  const steps = 60;
  for (let step = 0; step < steps; step += 1) {
    const page = pages[Math.floor(random() * pages.length)];
    const fault = random();
    faults += 1;
    if (fault < 0.2 && pages.length < 5) join();
    else if (!page) join();
    else if (fault < 0.3) {
      pages.splice(pages.indexOf(page), 1);
      if (random() < 0.5) page.stream.close();
      else page.tab.kill();
    } else if (fault < 0.4) page.tab.cut();
    else if (fault < 0.5) page.tab.frozen ? page.tab.thaw() : page.tab.freeze();
    else if (fault < 0.55) page.tab.signal("sleep");
    else if (fault < 0.65) page.tab.signal("wake");
    else if (fault < 0.7) server.up = !server.up;
    else faults -= 1;
    for (let burst = Math.floor(random() * 4); burst > 0; burst -= 1) {
      published += 1;
      server.publish(`${server.log.length}`);
      if (random() < 0.5) await pass(Math.floor(random() * 40));
    }
    await pass(random() < 0.2 ? Math.floor(random() * 60_000) : Math.floor(random() * 300));
  }
  server.up = true;
  for (const { tab } of pages) {
    tab.thaw();
    tab.signal("wake");
  }
  await pass(120_000);
  server.publish("last");
  await pass(120_000);
  for (const { got, from, tab } of all) {
    const expected = server.log.slice(from).map(({ text }) => text.split("\n")[0]!.slice(6));
    const whole = pages.some((page) => page.tab === tab);
    expect(got, `seed ${seed}, tab ${tab.name}`).toEqual(whole ? expected : expected.slice(0, got.length));
  }
  if (pages.length > 0) expect(server.open, `seed ${seed}`).toBe(1);
  for (const { stream } of pages) stream.close();
  await pass(0);
  vi.clearAllTimers();
  return { events: published, faults, pages: all.length };
}

test("whatever happens to tabs, each gets every event once and in order, over one connection in the end", async () => {
  const first = Number(process.env.SEED ?? 1);
  const count = Number(process.env.SEEDS ?? 60);
  const sum = { events: 0, faults: 0, pages: 0 };
  for (let seed = first; seed < first + count; seed += 1) {
    const life_ = await life(seed);
    for (const key of ["events", "faults", "pages"] as const) sum[key] += life_[key];
  }
  console.log(`seeds ${first} to ${first + count - 1}: ${sum.pages} tabs, ${sum.events} events, ${sum.faults} faults`);
}, 600_000);
