// Runs against the real server, over a network that breaks.

import { expect, test } from "vitest";
import { type AskOptions, ask, attach, type StreamError, text } from "../../dist/index.js";
import { proxy, useNetwork } from "./network.js";
import { until } from "./until.js";

useNetwork();

const options = (): AskOptions => ({ run: `${proxy.url}/runs/{id}`, stopAt: `${proxy.url}/runs/{id}/stop` });

test("a cut after each byte of an answer resumes exactly, and the run is started once", async () => {
  const lengths = Array.from({ length: 180 }, (_, after) => after);
  const cut = new Set<string>();
  proxy.fault = ({ url = "" }) => {
    const [, after] = /cut=(\d+)/.exec(url) ?? [];
    if (after === undefined || cut.has(url)) return undefined;
    cut.add(url);
    return { kind: "cut", after: Number(after) };
  };
  const run = async (after: number) => {
    const url = `${proxy.url}/ask?count=4&pause=1&cut=${after}`;
    const run = ask(url, "w", options());
    expect([await text(run), await run.outcome], `after ${after}`).toEqual(["w0 w1 w2 w3 ", { outcome: "done" }]);
  };
  // A run says that a client should wait for three seconds.
  await Promise.all(lengths.map(run));
  expect(proxy.seen.filter(({ method }) => method === "POST").length).toBe(lengths.length);
  console.log(`${lengths.length} cuts, ${proxy.seen.length - lengths.length} resumes`);
  proxy.fault = () => undefined;
});

test("a request whose answer is lost is not sent again, and found by an id of the client's own", async () => {
  proxy.fault = ({ method }) => (method === "POST" ? { kind: "lose" } : undefined);
  proxy.seen.length = 0;
  const unknown = ask(`${proxy.url}/ask?count=1&pause=1`, "w", options());
  expect(await unknown.outcome.catch((error: StreamError) => error.code)).toBe("unknown-start");
  const id = crypto.randomUUID();
  const known = ask(`${proxy.url}/ask?count=2&pause=1&id=${id}`, "w", { ...options(), id });
  expect([await text(known), await known.id]).toEqual(["w0 w1 ", id]);
  proxy.fault = ({ method }) => (method === "POST" ? { kind: "refuse" } : undefined);
  const never = ask(`${proxy.url}/ask?count=2&pause=1&id=never`, "w", { ...options(), id: "never" });
  expect(await never.outcome.catch((error: StreamError) => [error.code, error.status])).toEqual(["refused", 404]);
  expect(proxy.seen.filter(({ method }) => method === "POST").length).toBe(3);
  proxy.fault = () => undefined;
});

test("a run that is stopped ends as stopped, and one that fails as failed", async () => {
  const run = ask(`${proxy.url}/ask?count=100000&pause=5`, "w", options());
  const data: unknown[] = [];
  run.stream.on("message", (event) => data.push(event.data));
  await until(() => data.length > 3);
  await run.stop();
  expect(await run.outcome).toEqual({ outcome: "stopped" });
  const failed = ask(`${proxy.url}/ask?count=1&pause=1&fail=true`, "w", options());
  expect([await text(failed), await failed.outcome]).toEqual(["w0 ", { outcome: "failed" }]);
});

test("a page that is loaded again attaches to its run", async () => {
  const first = ask(`${proxy.url}/ask?count=20&pause=5`, "w", options());
  const events = first[Symbol.asyncIterator]();
  const got: unknown[] = [];
  for (let n = 0; n < 5; n += 1) got.push((await events.next()).value?.data);
  const id = await first.id;
  const { cursor } = first.stream;
  first.close();
  // It had not dealt with the fifth.
  const again = attach(id, { run: `${proxy.url}/runs/{id}`, lastEventId: cursor });
  expect(got.slice(0, 4).join("") + (await text(again))).toBe(Array.from({ length: 20 }, (_, n) => `w${n} `).join(""));
  const whole = attach(id, { run: `${proxy.url}/runs/{id}` });
  expect((await text(whole)).length).toBe(70);
});

test("a start that repeats an id is refused", async () => {
  const id = crypto.randomUUID();
  const url = `${proxy.url}/ask?count=1&pause=1&id=${id}`;
  await ask(url, "w", options()).outcome;
  expect(await ask(url, "w", options()).outcome.catch((error: StreamError) => error.status)).toBe(409);
});
