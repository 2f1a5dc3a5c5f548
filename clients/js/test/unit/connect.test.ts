// A stream on a network that breaks, in virtual time.

import { expect, test, vi } from "vitest";
import { z } from "zod";
import { type ConnectOptions, connectIn } from "../../src/connect.js";
import { StreamError } from "../../src/errors.js";
import { snapshot } from "../../src/load.js";
import { json } from "../../src/read.js";
import { schemas } from "../../src/schema.js";
import type { Stream } from "../../src/stream.js";
import type { EventMap, State, StreamEvent } from "../../src/types.js";
import { type Asked, event, pass, renewWorld, settle, useWorld, World, world } from "./world.js";

const HELLO = "retry: 1000\n:\n";
const problem = (status: number, members: object, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify(members), {
    status,
    headers: { "content-type": "application/problem+json", ...headers },
  });

useWorld();

function connect<E extends EventMap = Record<string, string>>(options: ConnectOptions = {}): Stream<E> {
  return connectIn<E, never>(world, "/sse/a", options);
}

/** Reads a stream in a loop, and notes what it gets and how it ends. */
function reads(stream: AsyncIterable<StreamEvent<EventMap, unknown>>) {
  const read = {
    data: [] as unknown[],
    events: [] as StreamEvent<EventMap, unknown>[],
    ended: false,
    error: undefined as unknown,
  };
  void (async () => {
    try {
      for await (const event of stream) {
        read.events.push(event);
        read.data.push(event.data);
      }
      read.ended = true;
    } catch (error) {
      read.error = error;
    }
  })();
  return read;
}

/** Notes the states of a stream. */
function states(stream: Stream<EventMap>): string[] {
  const names: string[] = [];
  stream.on("state", (state: State) => names.push(state.name === "waiting" ? `waiting ${state.ms}` : state.name));
  return names;
}

const asks = ({ headers }: Asked) => headers.get("last-event-id");

test("events arrive in order, each with the id to resume from", async () => {
  const read = reads(connect());
  const body = await world.open();
  body.send(`data: a\nid: 1\n\nevent: x\ndata: b\n\ndata: c\nid: 2\n\n`);
  await settle();
  expect(read.events).toEqual([
    { type: "message", data: "a", id: "1", channel: undefined },
    { type: "x", data: "b", id: "1", channel: undefined },
    { type: "message", data: "c", id: "2", channel: undefined },
  ]);
});

test("a request has an Accept, and no id at first", async () => {
  reads(connect({ headers: { "x-mine": "1" }, credentials: "include" }));
  const asked = await world.next();
  expect(asked.url.href).toBe("https://app.example/sse/a");
  expect([...asked.headers]).toEqual([
    ["accept", "text/event-stream"],
    ["x-mine", "1"],
  ]);
  expect(asked.init.credentials).toBe("include");
});

test("nothing is lost before somebody reads", async () => {
  const stream = connect();
  const body = await world.open();
  body.send(event(1) + event(2));
  await pass(10_000);
  body.send(event(3));
  await settle();
  expect(stream.cursor).toBe("");
  const heard: string[] = [];
  stream.on("message", (event) => heard.push(event.data));
  await settle();
  expect(heard).toEqual(["1", "2", "3"]);
  expect(stream.cursor).toBe("e-3");
});

test("a cut after any byte resumes after the last whole event", async () => {
  const whole = `${HELLO}${event("first")}event: x\r\ndata: sécond\r\nid: e-2\r\n\r\n:\n${event(3)}`;
  const bytes = new TextEncoder().encode(whole);
  const ends = [event("first"), "e-2\r\n\r\n", event(3)].map((part) => {
    const at = whole.indexOf(part) + part.length;
    return new TextEncoder().encode(whole.slice(0, at)).length;
  });
  // A carriage return ends the line at once; the line feed that may follow says nothing more.
  ends[1]! -= 1;
  for (let at = 0; at <= bytes.length; at += 1) {
    for (const end of ["cut", "end"] as const) {
      renewWorld();
      const stream = connect();
      const read = reads(stream);
      const body = await world.open("");
      body.send(bytes.slice(0, at));
      await settle();
      body[end]();
      await pass(1250);
      const got = ends.filter((end) => end <= at).length;
      const again = await world.next();
      expect(asks(again), `${end} after ${at}`).toBe([null, "e-first", "e-2", "e-3"][got]);
      expect(read.data).toEqual(["first", "sécond", "3"].slice(0, got));
      stream.close();
    }
  }
});

test("an id over the header's alphabet goes as UTF-8", async () => {
  reads(connect());
  (await world.open()).send("data: a\nid: …\n\n");
  await settle();
  world.signal("offline");
  world.signal("online");
  await pass(2000);
  world.signal("offline");
  world.signal("online");
  expect(asks(await world.next())).toBe("\xe2\x80\xa6");
});

test("a 204 ends the stream, with all that came before it", async () => {
  const stream = connect();
  const read = reads(stream);
  const body = await world.open();
  body.send(event(1));
  body.end();
  await pass(1000);
  (await world.next()).answer(new Response(null, { status: 204 }));
  await settle();
  expect([read.data, read.ended]).toEqual([["1"], true]);
  expect(await stream.closed).toEqual({ name: "closed", reason: "finished", error: undefined });
  await pass(1e6);
  expect(world.asked).toEqual([]);
});

test("a strict stream that ends is complete, and one that breaks off is not", async () => {
  const greeting = { headers: { "tower-sse": "1;keep-alive=15000;strict" } };
  const stream = connect();
  const read = reads(stream);
  const body = (await world.next()).stream(greeting);
  body.send(event(1));
  await settle();
  body.cut();
  await pass(1000);
  const again = await world.next();
  expect(asks(again)).toBe("e-1");
  again.stream(greeting).end();
  await settle();
  expect([read.ended, stream.state]).toEqual([true, { name: "closed", reason: "finished", error: undefined }]);
});

test("a goodbye ends the stream, and the position is the one from its data", async () => {
  const stream = connect();
  const read = reads(stream);
  const body = await world.open();
  body.send(`${event(1)}event: goodbye\ndata: {"reason":"revoked","last_event_id":"e-7"}\nid: e-7-end\n\n${event(8)}`);
  await settle();
  expect([read.data, read.ended, body.gone]).toEqual([["1"], true, true]);
  expect((await stream.closed).reason).toBe("revoked");
  expect(stream.cursor).toBe("e-7");
});

test("an event of the application may be named goodbye, or gap", async () => {
  const read = reads(connect());
  (await world.open()).send("event: goodbye\ndata: see you\n\nevent: gap\ndata: mind\n\n");
  await settle();
  expect(read.events.map(({ type, data }) => [type, data])).toEqual([
    ["goodbye", "see you"],
    ["gap", "mind"],
  ]);
});

test("a gap is told in its place, and by the status of a strict stream", async () => {
  const stream = connect();
  const read = reads(stream);
  const gaps: unknown[] = [];
  stream.on("gap", (gap) => gaps.push(gap.data));
  const lag = { reason: "lagged", requested: null, first: 5 };
  const body = await world.open();
  body.send(`${event(1)}event: gap\ndata: ${JSON.stringify(lag)}\nid: e-4\n\n${event(5)}`);
  await settle();
  body.cut();
  await pass(1000);
  const gone = { reason: "evicted", requested: "e-5", first: 8 };
  (await world.next()).answer(problem(410, { ...gone, last_event_id: "e-7" }));
  const again = await world.next();
  expect(asks(again)).toBe("e-7");
  again.stream().send(event(8));
  await settle();
  expect(read.data).toEqual(["1", lag, "5", gone, "8"]);
  expect(gaps).toEqual([lag, gone]);
});

test("a token is asked for before each attempt, and once more if it is refused", async () => {
  let count = 0;
  const token = vi.fn(({ refused }: { refused: boolean }) => {
    count += 1;
    return `${refused ? "fresh" : "kept"}-${count}`;
  });
  const stream = connect({ token });
  const read = reads(stream);
  const first = await world.next();
  expect(first.headers.get("authorization")).toBe("Bearer kept-1");
  const body = first.stream();
  body.send(HELLO + event(1));
  await settle();
  body.cut();
  await pass(1000);
  (await world.next()).answer(problem(401, {}));
  const fresh = await world.next();
  expect([fresh.headers.get("authorization"), asks(fresh)]).toEqual(["Bearer fresh-3", "e-1"]);
  fresh.stream().send(event(2));
  await settle();
  expect([read.data, token.mock.calls.length]).toEqual([["1", "2"], 3]);
});

test("a fresh token that is refused is an error that says what to do", async () => {
  for (const status of [401, 403]) {
    const stream = connect({ token: "t" });
    const read = reads(stream);
    (await world.next()).answer(problem(status, { detail: "expired" }));
    (await world.next()).answer(problem(status, { detail: "expired" }));
    await settle();
    const error = read.error as StreamError;
    expect(error).toBeInstanceOf(StreamError);
    expect([error.code, error.status]).toEqual(["denied", status]);
    expect(error.message).toContain(`${status} (expired): sign in`);
    expect((await stream.closed).error).toBe(error);
  }
});

test("a token that can't be had is asked for again later, unless the stream is to end", async () => {
  const token = vi.fn().mockRejectedValueOnce(new TypeError("offline")).mockResolvedValueOnce("t");
  const stream = connect({ token });
  const seen = states(stream);
  reads(stream);
  await pass(1000);
  expect((await world.next()).headers.get("authorization")).toBe("Bearer t");
  expect(seen).toEqual(["connecting", "waiting 1000", "connecting"]);
  stream.close();
  const signedOut = new StreamError("denied", "signed out");
  const read = reads(connect({ token: () => Promise.reject(signedOut) }));
  await settle();
  expect(read.error).toBe(signedOut);
});

test("a token may go into the query", async () => {
  reads(connect({ token: "a b", tokenParameter: "access_token" }));
  const { url, headers } = await world.next();
  expect([url.search, headers.has("authorization")]).toEqual(["?access_token=a+b", false]);
});

test("from another origin the position goes into the query", async () => {
  reads(connectIn(world, "https://other.example/sse?channel=a", { lastEventId: "e 1" }));
  const { url, headers } = await world.next();
  expect([url.search, headers.has("last-event-id")]).toEqual(["?channel=a&last_event_id=e+1", false]);
});

test("statuses that pass are waited out, and Retry-After is kept to", async () => {
  const stream = connect();
  const seen = states(stream);
  reads(stream);
  for (const status of [502, 500, 408]) {
    (await world.next()).answer(new Response("<html>", { status }));
    await pass(1000);
  }
  for (const status of [429, 503, 409]) {
    (await world.next()).answer(problem(status, {}, { "retry-after": "60" }));
    await pass(30_000);
    // Neither the page nor the user can shorten what the server asked for.
    world.signal("visible");
    stream.retry();
    await pass(29_999);
    expect(world.asked).toEqual([]);
    await pass(1);
  }
  expect(seen.filter((state) => state !== "connecting")).toEqual([
    ...["waiting 1000", "waiting 1000", "waiting 1000"],
    ...["waiting 60000", "waiting 60000", "waiting 60000"],
  ]);
});

test("other statuses are errors at once", async () => {
  for (const [status, code] of [
    [400, "refused"],
    [404, "refused"],
    [406, "refused"],
    [410, "refused"],
  ] as const) {
    const read = reads(connect());
    (await world.next()).answer(problem(status, { title: "No", detail: "there is no such channel" }));
    await settle();
    expect(read.error).toMatchObject({ code, status, problem: { title: "No" } });
    expect(String(read.error)).toContain("there is no such channel");
  }
});

test("a page in place of a stream is an error at first, and may pass later", async () => {
  const page = () => new Response("<html>", { headers: { "content-type": "text/html" } });
  const read = reads(connect());
  (await world.next()).answer(page());
  await settle();
  expect(String(read.error)).toContain("its type is text/html, and not text/event-stream");
  const later = reads(connect());
  (await world.open()).cut();
  await pass(1000);
  (await world.next()).answer(page());
  await pass(1000);
  (await world.next()).stream().send(event(1));
  await settle();
  expect(later.data).toEqual(["1"]);
});

test("a type with a parameter is a stream's, and a longer one is not", async () => {
  for (const [type, ok] of [
    ["text/event-stream;charset=utf-8", true],
    ["Text/Event-Stream ; x", true],
    ["text/event-streams", false],
    ["text/event-stream-x", false],
  ] as const) {
    const read = reads(connect());
    (await world.next()).stream({ headers: { "content-type": type } }).send(event(1));
    await settle();
    expect(read.data.length === 1, type).toBe(ok);
  }
});

test("another version of the protocol is an error, and no version is none", async () => {
  const read = reads(connect());
  (await world.next()).stream({ headers: { "tower-sse": "2;keep-alive=1" } });
  await settle();
  expect(read.error).toMatchObject({ code: "version" });
  expect(String(read.error)).toContain("speaks version 2");
});

test("silence is told, then taken for a cut", async () => {
  const stream = connect();
  const seen = states(stream);
  const read = reads(stream);
  const body = await world.open();
  body.send(event(1));
  await pass(15_000);
  body.send(":\n");
  await pass(22_499);
  expect(seen).toEqual(["connecting", "open"]);
  await pass(1);
  expect(seen.at(-1)).toBe("silent");
  body.send(":\n");
  await settle();
  expect(seen.at(-1)).toBe("open");
  await pass(37_499);
  expect([body.gone, seen.at(-1)]).toEqual([false, "silent"]);
  await pass(1);
  expect([body.gone, seen.at(-1)]).toEqual([true, "waiting 1000"]);
  expect(stream.state).toMatchObject({ error: { code: "silent" } });
  await pass(1000);
  const again = await world.next();
  expect(asks(again)).toBe("e-1");
  again.stream().send(event(2));
  await settle();
  expect(read.data).toEqual(["1", "2"]);
});

test("a server without a keep-alive may be silent, and one that does not say is given a minute", async () => {
  for (const [greeting, keepAlive, gone] of [
    ["1", undefined, false],
    [undefined, undefined, true],
    [undefined, 0, false],
  ] as const) {
    const stream = connect(keepAlive === undefined ? {} : { keepAlive });
    reads(stream);
    const asked = await world.next();
    const body = asked.stream();
    if (greeting) body.response.headers.set("tower-sse", greeting);
    else body.response.headers.delete("tower-sse");
    await pass(74_999);
    expect(body.gone).toBe(false);
    await pass(1e6);
    expect(body.gone).toBe(gone);
    stream.close();
    world.asked.length = 0;
  }
});

test("an answer that does not come is given up", async () => {
  const stream = connect();
  reads(stream);
  const asked = await world.next();
  await pass(20_000);
  expect(asked.init.signal?.aborted).toBe(true);
  expect(stream.state).toMatchObject({ name: "waiting", error: { code: "silent" } });
});

test("a server that only breaks off is not asked in a loop", async () => {
  world.chance = 1;
  const stream = connect();
  reads(stream);
  let count = 0;
  const times: number[] = [];
  for (const end = Date.now() + 600_000; Date.now() < end; await pass(100)) {
    for (const asked of world.asked.splice(0)) {
      count += 1;
      times.push(asked.at);
      const body = asked.stream();
      body.send("retry: 0\n:\n");
      await settle();
      body.cut();
      await settle();
    }
  }
  expect(count).toBeLessThan(40);
  for (let n = 1; n < times.length; n += 1) expect(times[n]! - times[n - 1]!).toBeGreaterThanOrEqual(100);
});

test("a refused connection comes back when the server says so, each time", async () => {
  const stream = connect();
  reads(stream);
  for (let n = 0; n < 20; n += 1) {
    const body = await world.open("retry: 4000\n");
    body.end();
    await pass(3999);
    expect(world.asked).toEqual([]);
    await pass(1);
  }
});

test("a stream that makes progress waits no longer each time", async () => {
  world.chance = 1;
  reads(connect());
  for (let n = 0; n < 20; n += 1) {
    const body = await world.open();
    body.send(event(n));
    await settle();
    body.cut();
    await pass(1250);
  }
});

test("the page ends a wait when it becomes visible or the network returns, at most once a second", async () => {
  for (const signal of ["visible", "online"] as const) {
    renewWorld();
    const stream = connect();
    reads(stream);
    (await world.open("retry: 60000\n")).cut();
    await pass(999);
    world.signal(signal);
    await settle();
    expect(world.asked).toEqual([]);
    await pass(1);
    world.signal(signal);
    expect(world.asked).toEqual([]);
    expect((await world.next()).at).toBe(Date.now());
    stream.close();
  }
});

test("a network that returns is not trusted with the old connection", async () => {
  const stream = connect();
  const seen = states(stream);
  reads(stream);
  const body = await world.open();
  body.send(event(1));
  await pass(5000);
  world.signal("offline");
  await settle();
  expect(seen.at(-1)).toBe("silent");
  await pass(5000);
  world.signal("online");
  const again = await world.next();
  expect([body.gone, asks(again)]).toEqual([true, "e-1"]);
});

test("a page that becomes visible reconnects if its connection is overdue, and only then", async () => {
  reads(connect());
  const body = await world.open();
  body.send(event(1));
  await pass(20_000);
  world.signal("visible");
  await settle();
  expect(body.gone).toBe(false);
  await pass(5000);
  world.signal("visible");
  expect(asks(await world.next())).toBe("e-1");
  expect(body.gone).toBe(true);
});

test("a page that sleeps lets go of its connection, and resumes", async () => {
  const read = reads(connect());
  const body = await world.open();
  body.send(event(1));
  await settle();
  world.signal("sleep");
  await settle();
  expect(body.gone).toBe(true);
  await pass(1e9);
  expect(world.asked).toEqual([]);
  world.signal("wake");
  const again = await world.next();
  expect(asks(again)).toBe("e-1");
  again.stream().send(event(2));
  await settle();
  expect(read.data).toEqual(["1", "2"]);
});

test("a page that sleeps does not shorten what the server asked for", async () => {
  reads(connect());
  (await world.next()).answer(problem(503, {}, { "retry-after": "100" }));
  await settle();
  world.signal("sleep");
  await pass(50_000);
  world.signal("wake");
  await pass(49_999);
  expect(world.asked).toEqual([]);
  await pass(1);
  expect(world.asked.length).toBe(1);
});

test("the position counts when an event is dealt with", async () => {
  const storage = new Map<string, string>();
  const kept = {
    getItem: (key: string) => storage.get(key) ?? null,
    setItem: (key: string, id: string) => storage.set(key, id),
  };
  const stream = connect({ storage: kept });
  const loop = stream[Symbol.asyncIterator]();
  (await world.open()).send(event(1) + event(2) + event(3));
  await settle();
  expect((await loop.next()).value?.data).toBe("1");
  expect([stream.cursor, storage.size]).toEqual(["", 0]);
  expect((await loop.next()).value?.data).toBe("2");
  expect([stream.cursor, [...storage]]).toEqual(["e-1", [["tower-sse:/sse/a", "e-1"]]]);
  stream.close();
  // The page is loaded again, and gets what it did not deal with.
  const read = reads(connect({ storage: kept }));
  const again = await world.next();
  expect(asks(again)).toBe("e-1");
  again.stream().send(event(2) + event(3));
  await settle();
  expect([read.data, storage.get("tower-sse:/sse/a")]).toEqual([["2", "3"], "e-3"]);
});

test("of two readers, the slower one counts", async () => {
  const stream = connect();
  const [fast, slow] = [stream[Symbol.asyncIterator](), stream[Symbol.asyncIterator]()];
  (await world.open()).send(event(1) + event(2));
  await settle();
  for (let n = 0; n < 2; n += 1) await fast.next();
  void fast.next();
  await slow.next();
  await settle();
  expect(stream.cursor).toBe("");
  await slow.next();
  expect(stream.cursor).toBe("e-1");
  await slow.return?.();
  expect(stream.cursor).toBe("e-2");
});

test("a storage that does not work is done without", async () => {
  const broken = () => {
    throw new DOMException("no", "SecurityError");
  };
  const read = reads(connect({ storage: { getItem: broken, setItem: broken } }));
  (await world.open()).send(event(1));
  await settle();
  expect(read.data).toEqual(["1"]);
});

test("a loop that is slow stops the reading, and that is no silence", async () => {
  const stream = connect();
  const loop = stream[Symbol.asyncIterator]();
  const body = await world.open();
  for (let n = 0; n < 600; n += 1) body.send(event(n));
  await pass(1e6);
  expect(body.gone).toBe(false);
  for (let n = 0; n < 600; n += 1) expect((await loop.next()).value?.data).toBe(String(n));
  void loop.next();
  await settle();
  expect(stream.cursor).toBe("e-599");
});

test("events that came before a cut are kept for a slow loop, and come once", async () => {
  const stream = connect();
  const loop = stream[Symbol.asyncIterator]();
  const body = await world.open();
  body.send(Array.from({ length: 1000 }, (_, n) => event(n)).join(""));
  await settle();
  body.cut();
  for (let n = 0; n < 300; n += 1) expect((await loop.next()).value?.data).toBe(String(n));
  await pass(1000);
  let next = 300;
  for (;;) {
    const asked = world.asked.shift();
    if (asked) {
      const from = Number(asks(asked)?.slice(2)) + 1;
      asked.stream().send(Array.from({ length: 1000 - from }, (_, n) => event(from + n)).join(""));
    }
    if (next === 1000) break;
    expect((await loop.next()).value?.data).toBe(String(next));
    next += 1;
    await pass(10);
  }
  void loop.next();
  await settle();
  expect(stream.cursor).toBe("e-999");
});

test("leaving the last loop ends the stream", async () => {
  const stream = connect();
  const done = (async () => {
    for await (const event of stream) if (event.data === "2") break;
  })();
  const body = await world.open();
  body.send(event(1) + event(2) + event(3));
  await done;
  await settle();
  expect([stream.state.name, stream.cursor, body.gone]).toEqual(["closed", "e-2", true]);
});

test("an aborted signal ends the stream", async () => {
  const abort = new AbortController();
  const stream = connect({ signal: abort.signal });
  const read = reads(stream);
  const body = await world.open();
  abort.abort();
  await settle();
  expect([read.ended, body.gone, (await stream.closed).reason]).toEqual([true, true, "local"]);
  await pass(1e6);
  expect([world.asked.length, vi.getTimerCount(), world.watchers.size]).toEqual([0, 0, 0]);
});

test("a state is loaded, then followed, and loaded again after a gap", async () => {
  const load = vi
    .fn()
    .mockRejectedValueOnce(new TypeError("offline"))
    .mockResolvedValueOnce({ state: { n: 1 }, cursor: "e-1" })
    .mockResolvedValueOnce({ state: { n: 9 }, cursor: "e-9" });
  const stream = connectIn<Record<string, string>, { n: number }>(world, "/sse/a", { load: snapshot(load) });
  const read = reads(stream);
  await pass(1000);
  const first = await world.next();
  expect(asks(first)).toBe("e-1");
  const gap = { reason: "evicted", requested: "e-2", first: 8 };
  const body = first.stream();
  body.send(`${event(2)}event: gap\ndata: ${JSON.stringify(gap)}\nid: e-7\n\n${event(8)}${event(9)}`);
  const again = await world.next();
  expect([asks(again), body.gone]).toEqual(["e-9", true]);
  again.stream().send(event(10));
  await settle();
  expect(read.events.map(({ type, data }) => [type, data])).toEqual([
    ["load", { n: 1 }],
    ["message", "2"],
    ["gap", gap],
    ["load", { n: 9 }],
    ["message", "10"],
  ]);
  expect(load.mock.calls.map(([{ gap }]) => gap)).toEqual([undefined, undefined, gap]);
  expect(stream.cursor).toBe("e-10");
});

test("a stream that is closed while it loads never connects", async () => {
  const load = vi.fn().mockRejectedValueOnce(new TypeError("offline"));
  let loaded!: (loaded: { state: string; cursor: string }) => void;
  load.mockReturnValueOnce(
    new Promise((resolve) => {
      loaded = resolve;
    }),
  );
  const stream = connectIn(world, "/sse/a", { load: snapshot(load) });
  await settle();
  expect(stream.state).toMatchObject({ name: "waiting", error: { code: "load" } });
  stream.retry();
  await settle();
  const { signal } = load.mock.calls[1]![0];
  expect([load.mock.calls.length, signal.aborted]).toEqual([2, false]);
  stream.close();
  loaded({ state: "", cursor: "e-1" });
  await pass(1e6);
  expect([signal.aborted, load.mock.calls.length, world.asked.length, vi.getTimerCount()]).toEqual([true, 2, 0, 0]);
});

test("an error of `load` that is a `StreamError` ends the stream", async () => {
  const error = new StreamError("denied", "sign in");
  const stream = connectIn(world, "/sse/a", { load: snapshot(() => Promise.reject(error)) });
  await settle();
  expect(await stream.closed).toEqual({ name: "closed", reason: "error", error });
});

test("schemas say which events there are, and data that does not fit ends the stream", async () => {
  const read = reads(connect({ read: schemas({ n: z.object({ n: z.number() }) }) }));
  const body = await world.open('event: n\ndata: {"n": 1}\n\nevent: toString\ndata: 2\n\ndata: 3\n\n');
  expect(read.data).toEqual([{ n: 1 }]);
  body.send('event: n\ndata: {"n": "1"}\n\n');
  await settle();
  expect(read.error).toMatchObject({ code: "invalid", issues: [{ path: ["n"] }] });
});

test("a cursor that the server announces is no event, and is resumed from", async () => {
  const stream = connect();
  const read = reads(stream);
  const body = await world.open("retry: 1000\nevent: cursor\ndata: \nid: e-5\n\n");
  expect(stream.cursor).toBe("e-5");
  body.cut();
  await pass(1000);
  expect([asks(await world.next()), read.data]).toEqual(["e-5", []]);
});

test("what makes WebKit's own client drop a partial event changes nothing", async () => {
  const stream = connect({ lastEventId: "e-5" });
  const read = reads(stream);
  const body = await world.open(":\nevent: -\nid: e-5\n\nretry: 1000\n:\n");
  expect([read.data, stream.cursor, stream.state.name]).toEqual([[], "e-5", "open"]);
  body.send(event(6));
  await settle();
  expect(read.data).toEqual(["6"]);
});

test("the name of an event may have the channel", async () => {
  const read = reads(connect({ channels: true }));
  (await world.open()).send("event: a%3Ab:x:y\ndata: 1\n\nevent: ping\ndata: 2\n\n");
  await settle();
  expect(read.events.map(({ type, channel }) => [type, channel])).toEqual([
    ["x:y", "a:b"],
    ["ping", undefined],
  ]);
});

test("data may be JSON", async () => {
  const read = reads(connect({ read: json() }));
  (await world.open()).send(`data: {"a":[1]}\n\nevent: x\ndata: nonsense\n\n`);
  await settle();
  expect(read.data).toEqual([{ a: [1] }]);
  expect(read.error).toMatchObject({ code: "invalid" });
  expect(String(read.error)).toContain(`"x" is not JSON`);
});

test("what a listener throws is its own affair", async () => {
  const thrown: unknown[] = [];
  process.once("uncaughtException", (error) => thrown.push(error));
  const stream = connect();
  stream.on("message", () => {
    throw new Error("mine");
  });
  const read = reads(stream);
  const others = process.listeners("uncaughtException").filter((listener) => !thrown.includes(listener));
  (await world.open()).send(event(1));
  await settle();
  expect(read.data).toEqual(["1"]);
  expect(others.length).toBeGreaterThan(0);
});

test("a relative URL without a page is an error that says so", () => {
  expect(() => connectIn(Object.assign(new World(), { base: undefined }), "/sse/a", {})).toThrow(
    /not absolute outside a page/,
  );
});
