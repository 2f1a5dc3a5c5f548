// The client in browsers, against the real server, over a network that breaks.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { proxy, server, useNetwork } from "../live/network.js";
import type { Fault } from "../live/proxy.js";
import { until } from "../live/until.js";
import { seeded } from "../unit/world.js";
import { Browser, type Engine, installed } from "./driver.js";
import { PAGE } from "./page.js";

const SECONDS = Number(process.env.SECONDS_OF_FAULTS ?? 5);
const SEED = Number(process.env.SEED ?? Date.now() % 1e6);
const engines: Engine[] = ["chromium", "firefox"];
for (const engine of engines) {
  if (installed(engine)) continue;
  if (process.env.TOWER_SSE_REQUIRE_BROWSER === "1") throw new Error(`${engine} is not installed`);
  process.stderr.write(`LEFT OUT: ${engine} is not installed\n`);
}

const numbers = (to: number, from = 0) => Array.from({ length: to - from }, (_, n) => String(from + n));

describe.each(engines.filter(installed))("%s", (engine) => {
  useNetwork({ KEEP_ALIVE: "500" });
  let browser: Browser;
  let home: string;
  let count = 0;

  beforeAll(async () => {
    proxy.pages.set("/page", PAGE);
    proxy.pages.set("/elsewhere", "<!doctype html><title>elsewhere</title>");
    browser = await Browser.start(engine);
    home = await browser.here();
  });
  afterAll(async () => {
    await browser?.stop();
  });

  function channel(): string {
    count += 1;
    return `${engine}-${count}`;
  }

  async function visit(query: Record<string, string>): Promise<void> {
    await browser.open(`${proxy.url}/page?${new URLSearchParams(query)}`);
    await until(() => browser.run("return window.ready === true"));
  }

  const got = () => browser.run<string[]>("return window.got");
  const gaps = () => browser.run<string[]>("return window.gaps");
  const has = (count: number) => until(async () => (await browser.run<number>("return window.got.length")) >= count);

  /** Streams that are open at the server. */
  async function connections(wanted: number): Promise<void> {
    await until(async () => (await server.connections()) === wanted);
  }

  test("a cut after each byte of the first events resumes exactly", async () => {
    const name = channel();
    await server.publish(name, "#", { count: 3 });
    const first = new Set<string>();
    proxy.fault = ({ url = "" }) => {
      const after = /\?cut=(\d+)/.exec(url)?.[1];
      if (after === undefined || first.has(url)) return undefined;
      first.add(url);
      return { kind: "cut", after: Number(after) };
    };
    await visit({});
    const length = 110;
    const script = `
      const [name, length] = arguments;
      window.results = undefined;
      (async () => {
        const results = [];
        for (let at = 0; at < length; at += 5) {
          const batch = Array.from({ length: Math.min(5, length - at) }, (_, n) => read("/all/" + name + "?cut=" + (at + n), 3));
          results.push(...(await Promise.all(batch)));
        }
        window.results = results;
      })();`;
    await browser.run(script, name, length);
    await until(() => browser.run("return window.results !== undefined"), 60_000);
    const results = await browser.run<string[][]>("return window.results");
    expect(results).toEqual(Array.from({ length }, () => ["0", "1", "2"]));
    expect(first.size).toBe(length);
    proxy.fault = () => undefined;
  });

  test("a page that is loaded again and again goes on where it was", async () => {
    const name = channel();
    await visit({ path: `/all/${name}`, storage: "1" });
    for (let n = 0; n < 60; n += 1) {
      await server.publish(name, String(n));
      if (n % 12 === 5) {
        await browser.reload();
        await until(() => browser.run("return window.ready === true"));
      }
    }
    await has(60);
    expect([await got(), await gaps()]).toEqual([numbers(60), []]);
    await browser.open("about:blank");
    await connections(0);
  });

  test("a page that is left and come back to has missed nothing", async () => {
    const name = channel();
    await visit({ path: `/all/${name}` });
    await server.publish(name, "#", { count: 5 });
    await has(5);
    await browser.open(`${proxy.url}/elsewhere`);
    await server.publish(name, "#", { count: 5, first: 5 });
    await connections(0);
    await browser.back();
    await until(() => browser.run("return window.ready === true"));
    await has(10);
    console.log(
      `${engine}: ${(await browser.run("return window.shown")) ? "from the back-forward cache" : "loaded anew"}`,
    );
    expect([await got(), await gaps()]).toEqual([numbers(10), []]);
    await browser.open("about:blank");
    await connections(0);
  });

  test("offline, then online, resumes at once", async () => {
    const name = channel();
    await visit({ path: `/all/${name}` });
    await server.publish(name, "#", { count: 5 });
    await has(5);
    if (engine === "chromium") {
      const conditions = { latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
      await browser.chromium("Network.enable");
      await browser.chromium("Network.emulateNetworkConditions", { offline: true, ...conditions });
      // It lets connections live that are open.
      proxy.cut();
      await server.publish(name, "#", { count: 5, first: 5 });
      await until(() => browser.run("return window.stream.state.name !== 'open'"));
      await browser.chromium("Network.emulateNetworkConditions", { offline: false, ...conditions });
    } else {
      proxy.fault = () => ({ kind: "refuse" });
      proxy.cut();
      await browser.run("dispatchEvent(new Event('offline'))");
      await server.publish(name, "#", { count: 5, first: 5 });
      proxy.fault = () => undefined;
      await browser.run("dispatchEvent(new Event('online'))");
    }
    await has(10);
    expect([await got(), await gaps()]).toEqual([numbers(10), []]);
    await browser.open("about:blank");
    await connections(0);
  });

  /** Opens tabs that share a stream, from its beginning. */
  async function open(name: string, size: number): Promise<string[]> {
    const from = await server.publish(name, "first");
    const tabs = [];
    for (let n = 0; n < size; n += 1) {
      tabs.push(await browser.tab());
      await visit({ path: `/all/${name}`, share: "1", from });
    }
    return tabs;
  }

  async function leave(tabs: string[]): Promise<void> {
    for (const tab of tabs) {
      await browser.go(tab);
      await browser.close();
    }
    await browser.go(home);
    await connections(0);
  }

  test.each([2, 5])(
    "%i tabs have one connection, and whatever becomes of the leader, each gets every event once",
    async (size) => {
      const name = channel();
      const tabs = await open(name, size);
      await connections(1);
      await server.publish(name, "#", { count: 20 });
      for (const tab of tabs) {
        await browser.go(tab);
        await has(20);
      }
      // The first one leads.
      await browser.go(tabs.shift()!);
      const publishing = server.publish(name, "#", { count: 200, first: 20 });
      await browser.close();
      await publishing;
      await server.publish(name, "last");
      for (const tab of tabs) {
        await browser.go(tab);
        await has(221);
        expect([await got(), await gaps()]).toEqual([[...numbers(220), "last"], []]);
      }
      await connections(1);
      await leave(tabs);
    },
  );

  test("a leader that is loaded again, and a follower too, go on where they were", async () => {
    const name = channel();
    const tabs: string[] = [];
    for (let n = 0; n < 3; n += 1) {
      tabs.push(await browser.tab());
      await browser.open("about:blank");
      await visit({ path: `/all/${name}`, share: "1", storage: "1" });
    }
    await server.publish(name, "#", { count: 10 });
    for (const [n, tab] of tabs.entries()) {
      await browser.go(tab);
      await has(10 + n * 50);
      const publishing = server.publish(name, "#", { count: 50, first: 10 + n * 50 });
      await browser.reload();
      await publishing;
      await until(() => browser.run("return window.ready === true"));
    }
    for (const tab of tabs) {
      await browser.go(tab);
      await has(160);
      expect([await got(), await gaps()]).toEqual([numbers(160), []]);
    }
    await connections(1);
    await leave(tabs);
  });

  test.runIf(engine === "chromium")("a leader that crashes or is frozen is replaced", async () => {
    for (const fault of ["crash", "freeze"]) {
      const name = channel();
      const tabs = await open(name, 3);
      await server.publish(name, "#", { count: 10 });
      for (const tab of tabs) {
        await browser.go(tab);
        await has(10);
      }
      const [leader, ...others] = tabs as [string, ...string[]];
      await browser.go(leader);
      if (fault === "crash")
        await Promise.race([browser.chromium("Page.crash").catch(() => {}), until(() => false, 500).catch(() => {})]);
      else await browser.chromium("Page.setWebLifecycleState", { state: "frozen" });
      await server.publish(name, "#", { count: 10, first: 10 });
      for (const tab of others) {
        await browser.go(tab);
        await has(20);
        expect([await got(), await gaps()]).toEqual([numbers(20), []]);
      }
      if (fault === "freeze") {
        await browser.go(leader);
        await browser.chromium("Page.setWebLifecycleState", { state: "active" });
        await has(20);
        await server.publish(name, "20");
        for (const tab of tabs) {
          await browser.go(tab);
          await has(21);
          expect([await got(), await gaps()]).toEqual([numbers(21), []]);
        }
      }
      await connections(1);
      await leave(fault === "crash" ? others : tabs);
    }
  });

  test(
    "random faults",
    async () => {
      const random = seeded(SEED);
      const name = channel();
      const tabs = await open(name, 5);
      const faults: Record<string, number> = {};
      let calm = false;
      proxy.fault = ({ url = "" }) => {
        if (calm || !url.startsWith("/all/")) return undefined;
        const after = Math.floor(random() ** 3 * 100_000);
        const kinds: Fault[] = [
          { kind: "cut", after },
          { kind: "end", after },
          { kind: "stall", after },
          { kind: "refuse" },
          { kind: "lose" },
          { kind: "status", status: 502, body: "<html>" },
        ];
        const fault = kinds[Math.floor(random() * kinds.length)]!;
        faults[fault.kind] = (faults[fault.kind] ?? 0) + 1;
        return fault;
      };
      let published = 0;
      let closed = 0;
      let next = performance.now() + 1000;
      for (const end = performance.now() + SECONDS * 1000; performance.now() < end; ) {
        const count = 1 + Math.floor(random() * 5);
        await server.publish(name, "#", { count, first: published });
        published += count;
        await new Promise((resolve) => setTimeout(resolve, random() * 20));
        if (performance.now() > next && tabs.length > 2 && random() < 0.2) {
          next = performance.now() + 1000 + (SECONDS * 1000) / 4;
          closed += 1;
          await browser.go(tabs.splice(Math.floor(random() * tabs.length), 1)[0]!);
          await browser.close();
        }
        if (random() < 0.1) proxy.cut();
      }
      calm = true;
      proxy.cut();
      for (const tab of tabs) {
        await browser.go(tab);
        await has(published);
        expect([await got(), await gaps()], `seed ${SEED}`).toEqual([numbers(published), []]);
      }
      const sum = Object.values(faults).reduce((a, b) => a + b, 0);
      console.log(
        `${engine}, seed ${SEED}: 5 tabs, ${closed} closed, ${published} events, ${sum} faults ${JSON.stringify(faults)}`,
      );
      proxy.fault = () => undefined;
      await leave(tabs);
    },
    (SECONDS + 120) * 1000,
  );
});
