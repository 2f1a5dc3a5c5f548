// A stream against the real server, over a network that breaks.

import { expect, onTestFinished, test } from "vitest";
import { type ConnectOptions, connect, type Stream, snapshot } from "../../dist/index.js";
import { proxy, server, useNetwork } from "./network.js";
import { hasNginx, Nginx } from "./nginx.js";
import { FaultProxy } from "./proxy.js";
import { Server } from "./server.js";
import { until } from "./until.js";

useNetwork({ KEEP_ALIVE: "400" });
let count = 0;

/** A channel of its own for each test. */
function channel(): string {
  count += 1;
  return `stream-${process.pid}-${count}`;
}

/** Reads a stream by a loop. */
function read(url: string, options: ConnectOptions = {}) {
  const stream: Stream = connect(url, options);
  const got: { stream: Stream; data: string[]; gaps: string[]; states: string[]; error?: unknown; done?: boolean } = {
    stream,
    data: [],
    gaps: [],
    states: [],
  };
  stream.on("state", (state) => got.states.push(state.name));
  void (async () => {
    try {
      for await (const event of stream) {
        if (event.type === "gap") got.gaps.push((event.data as unknown as { reason: string }).reason);
        else got.data.push(event.data as string);
      }
      got.done = true;
    } catch (error) {
      got.error = error;
    }
  })();
  return got;
}

const numbers = (to: number, from = 0) => Array.from({ length: to - from }, (_, n) => String(from + n));

test("a cut after each byte of the first events resumes exactly", async () => {
  const name = channel();
  await server.publish(name, "#", { count: 3 });
  const url = `${server.url}/all/${name}`;
  const response = await fetch(url);
  const { value } = await response.body!.pipeThrough(new TextDecoderStream()).getReader().read();
  const length = value!.length + 120;
  const cases = (["cut", "end"] as const).flatMap((kind) =>
    numbers(length).map((after) => ({ kind, after: Number(after) })),
  );
  const run = async ({ kind, after }: { kind: "cut" | "end"; after: number }) => {
    const path = `/all/${name}?${kind}=${after}`;
    const got = read(proxy.url + path);
    await until(() => got.data.length >= 3);
    await until(() => proxy.seen.filter((request) => request.path === path).length >= 2);
    await server.publish(name, `${kind}${after}`);
    await until(() => got.data.includes(`${kind}${after}`));
    expect(got.data.slice(0, 3), path).toEqual(["0", "1", "2"]);
    expect(new Set(got.data).size, path).toBe(got.data.length);
    expect(got.gaps).toEqual([]);
    got.stream.close();
  };
  const first = new Set<string>();
  proxy.fault = ({ url = "" }) => {
    const [, kind, after] = /\?(cut|end)=(\d+)/.exec(url) ?? [];
    if (!kind || first.has(url)) return undefined;
    first.add(url);
    return { kind: kind as "cut" | "end", after: Number(after) };
  };
  for (let at = 0; at < cases.length; at += 16) await Promise.all(cases.slice(at, at + 16).map(run));
  proxy.fault = () => undefined;
  console.log(`${cases.length} cuts of ${length} bytes`);
});

test("a path that is dead is noticed by the keep-alive that the server tells", async () => {
  const name = channel();
  await server.publish(name, "0");
  proxy.fault = (_, number) => (number % 2 === 1 ? { kind: "stall", after: 60 } : undefined);
  proxy.seen.length = 0;
  const got = read(`${proxy.url}/all/${name}`);
  await until(() => got.states.includes("silent"));
  await server.publish(name, "1");
  await until(() => got.data.length === 2);
  expect([got.data, got.gaps, proxy.seen.length]).toEqual([["0", "1"], [], 2]);
  const [first, second] = proxy.seen;
  expect(second!.at - first!.at).toBeGreaterThan(900);
  got.stream.close();
  proxy.fault = () => undefined;
});

test.runIf(hasNginx)("a 502 of nginx is waited out", async () => {
  const name = channel();
  const application = await FaultProxy.to(() => server.url);
  const { port } = application;
  const nginx = await Nginx.to(application.url);
  onTestFinished(() => nginx.stop());
  const got = read(`${nginx.url}/all/${name}`, { maxWait: 300 });
  await server.publish(name, "0");
  await until(() => got.data.length === 1);
  await application.close();
  await until(() => got.stream.state.name === "waiting" && got.stream.state.error?.status === 502);
  await server.publish(name, "#", { count: 50, first: 1 });
  await application.listen(port);
  await until(() => got.data.length === 51);
  expect([got.data, got.gaps]).toEqual([numbers(51), []]);
  got.stream.close();
  await application.close();
});

test("a server that is started anew has forgotten the events, and says so", async () => {
  const other = await Server.start();
  onTestFinished(() => other.stop());
  await other.publish("a", "0");
  const got = read(`${other.url}/all/a`, { maxWait: 300 });
  await until(() => got.data.length === 1);
  await other.restart();
  await until(() => got.gaps.length === 1);
  await other.publish("a", "1");
  await until(() => got.data.length === 2);
  expect([got.data, got.gaps]).toEqual([["0", "1"], ["other-epoch"]]);
  got.stream.close();
});

test("a token that expires is renewed, and nothing is lost", async () => {
  const name = channel();
  let tokens = 0;
  const token = () => {
    tokens += 1;
    // Every third one is too old already.
    return String(Date.now() + (tokens % 3 === 0 ? -1000 : 500));
  };
  const got = read(`${server.url}/private/${name}`, { token });
  for (let n = 0; n < 40; n += 1) {
    await server.publish(name, String(n));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await until(() => got.data.length === 40);
  expect([got.data, got.gaps, got.error]).toEqual([numbers(40), [], undefined]);
  expect(tokens).toBeGreaterThan(2);
  got.stream.close();
});

test("a token that is never accepted is an error", async () => {
  const got = read(`${server.url}/private/a`, { token: "0" });
  await until(() => got.error !== undefined);
  expect(got.error).toMatchObject({ code: "denied", status: 401, problem: { detail: "the token has expired" } });
});

test("events that are gone are told, by an event or by a status", async () => {
  const id = await server.publish("short", "#", { count: 3 });
  await server.publish("short", "#", { count: 20, first: 3 });
  const got = read(`${server.url}/all/short`, { lastEventId: id });
  const strict = read(`${server.url}/strict/short`, { lastEventId: id });
  await until(() => got.data.length === 5 && strict.data.length === 5);
  for (const { data, gaps } of [got, strict]) expect([data, gaps]).toEqual([numbers(23, 18), ["evicted"]]);
  got.stream.close();
  strict.stream.close();
});

test("a channel that is finished ends a stream, on each kind of route", async () => {
  for (const route of ["all", "strict", "poll", "announced"]) {
    const name = channel();
    const id = await server.publish(name, "0");
    const got = read(`${server.url}/${route}/${name}`, { lastEventId: id });
    await until(() => got.states.includes("open"));
    await server.publish(name, "1");
    await server.end(name, "finish");
    await until(() => got.done);
    expect([got.data, (await got.stream.closed).reason]).toEqual([["1"], "finished"]);
  }
});

test("a channel that is closed sends its readers away", async () => {
  const name = channel();
  const got = read(`${server.url}/sse/${name}`);
  await until(() => got.states.includes("open"));
  await server.end(name, "close");
  await until(() => got.done);
  expect((await got.stream.closed).reason).toBe("closed");
});

test("a reader that is refused comes back when the server says so", async () => {
  const name = channel();
  const first = read(`${server.url}/one/${name}`);
  await until(() => first.states.includes("open"));
  proxy.seen.length = 0;
  const second = read(`${proxy.url}/one/${name}`);
  await until(() => proxy.seen.length === 4);
  for (let n = 1; n < 4; n += 1) expect(proxy.seen[n]!.at - proxy.seen[n - 1]!.at).toBeGreaterThan(199);
  first.stream.close();
  await until(async () => {
    await server.publish(name, "0");
    return second.data.length > 0;
  });
  second.stream.close();
});

test("answers that do not last are polled", async () => {
  const name = channel();
  const got = read(`${server.url}/poll/${name}`);
  await until(() => got.stream.cursor !== "");
  for (let n = 0; n < 20; n += 1) {
    await server.publish(name, String(n));
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  await until(() => got.data.length === 20);
  expect(got.data).toEqual(numbers(20));
  got.stream.close();
});

test("the channel of an event is told", async () => {
  const got = connect(`${server.url}/shown?channel=c%3A1&channel=c2`, { channels: true });
  const seen: unknown[] = [];
  got.on("*", ({ channel, type, data }) => seen.push([channel, type, data]));
  await until(() => got.state.name === "open");
  await server.publish("c:1", "a");
  await server.publish("c2", "b", { event: "x" });
  await until(() => seen.length === 2);
  expect(seen).toEqual([
    ["c:1", "message", "a"],
    ["c2", "x", "b"],
  ]);
  got.close();
});

test("a page that is loaded again goes on where it was", async () => {
  const name = channel();
  const kept = new Map<string, string>();
  const storage = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, id: string) => void kept.set(key, id),
  };
  const seen: string[] = [];
  await server.publish(name, "#", { count: 100 });
  while (seen.length < 100) {
    const stream = connect(`${server.url}/all/${name}`, { storage });
    let left = 1 + Math.floor(Math.random() * 9);
    for await (const event of stream) {
      seen.push(event.data as string);
      left -= 1;
      if (left === 0 || seen.length === 100) break;
    }
  }
  expect(seen).toEqual(numbers(100));
});

test("a state is followed from its cursor", async () => {
  const name = channel();
  let state = 0;
  let cursor = await server.publish(name, "0");
  const load = async () => ({ state, cursor });
  const stream = connect<Record<string, string>, number>(`${server.url}/all/${name}`, { load: snapshot(load) });
  const seen: [string, unknown][] = [];
  stream.on("*", ({ type, data }) => seen.push([type, data]));
  await until(() => seen.length === 1);
  state = 1;
  cursor = await server.publish(name, "1");
  await until(() => seen.length === 2);
  expect(seen).toEqual([
    ["load", 0],
    ["message", "1"],
  ]);
  stream.close();
});
