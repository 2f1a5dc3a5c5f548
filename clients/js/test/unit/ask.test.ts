// Runs: a POST that is sent once, and read to its end.

import { expect, test } from "vitest";
import { type AskOptions, runIn } from "../../src/ask.js";
import { text } from "../../src/text.js";
import type { EventMap } from "../../src/types.js";
import { type Asked, event, pass, renewWorld, settle, useWorld, world } from "./world.js";

const RUN = { headers: { "x-run-id": "r 1", "tower-sse": "1;keep-alive=15000" } };
const outcome = (data: object) => `event: run.outcome\ndata: ${JSON.stringify(data)}\nid: e-9\n\n`;

useWorld();

function ask(options: AskOptions = {}, body: unknown = { prompt: "hi" }) {
  const run = runIn<EventMap>(
    world,
    { run: "/runs/{id}", stopAt: "/runs/{id}/stop", ...options },
    { url: "/ask", body },
  );
  const data: unknown[] = [];
  let ended: unknown;
  void (async () => {
    try {
      for await (const event of run) data.push(event.data);
      ended = true;
    } catch (error) {
      ended = error;
    }
  })();
  const end = run.outcome.catch((error) => error);
  return { run, data, end, ended: () => ended };
}

const line = ({ init, url, headers }: Asked) =>
  `${init.method ?? "GET"} ${url.pathname} ${headers.get("last-event-id")}`;

test("an answer is read to its outcome", async () => {
  const { run, data, end, ended } = ask();
  const asked = await world.next();
  expect([line(asked), asked.init.body, asked.headers.get("content-type")]).toEqual([
    "POST /ask null",
    '{"prompt":"hi"}',
    "application/json",
  ]);
  const body = asked.stream(RUN);
  body.send(event(1) + event(2) + outcome({ outcome: "done" }) + event("after"));
  await settle();
  expect([data, ended(), await end, await run.id, body.gone]).toEqual([
    ["1", "2"],
    true,
    { outcome: "done" },
    "r 1",
    true,
  ]);
});

test("bodies that fetch knows go as they are", async () => {
  for (const body of ["text", new URLSearchParams("a=b"), new Uint8Array([1]), null]) {
    ask({}, body);
    const asked = await world.next();
    expect([asked.init.body, asked.headers.has("content-type")]).toEqual([body, false]);
  }
});

test("a cut after any byte resumes at the run's address, and the request is sent once", async () => {
  const whole = `retry: 1000\n:\n${event(1)}${event(2)}${outcome({ outcome: "failed", message: "no" })}`;
  for (let at = 0; at <= whole.length; at += 1) {
    renewWorld();
    const { data, end } = ask();
    const body = (await world.next()).stream(RUN);
    body.send(whole.slice(0, at));
    await settle();
    body.cut();
    await pass(1000);
    if (at < whole.length) {
      const again = await world.next();
      const got = data.length;
      expect(line(again), `after ${at}`).toBe(`GET /runs/r%201 ${got === 0 ? null : `e-${got}`}`);
      again.stream(RUN).send([event(1), event(2), outcome({ outcome: "failed", message: "no" })].slice(got).join(""));
      await settle();
    }
    expect([data, await end]).toEqual([["1", "2"], { outcome: "failed", message: "no" }]);
    await pass(1e6);
    expect(world.asked).toEqual([]);
  }
});

test("a request that breaks off before its answer is not sent again", async () => {
  const { end, ended } = ask();
  (await world.next()).fail();
  await pass(1e6);
  expect([world.asked, ended()]).toEqual([[], await end]);
  expect(await end).toMatchObject({ code: "unknown-start" });
});

test("with an id that the client has chosen, it is looked up instead", async () => {
  const { data, end } = ask({ id: "mine" });
  (await world.next()).fail();
  await pass(1000);
  const again = await world.next();
  expect(line(again)).toBe("GET /runs/mine null");
  again.stream().send(event(1) + outcome({ outcome: "done" }));
  expect([await end, data]).toEqual([{ outcome: "done" }, ["1"]]);
});

test("without an address, a cut is an error", async () => {
  const { end } = ask({ run: undefined });
  const body = (await world.next()).stream(RUN);
  body.send(event(1));
  await settle();
  body.cut();
  await pass(1000);
  expect(await end).toMatchObject({ code: "incomplete" });
});

test("a request that is refused is an error at once, whatever the status", async () => {
  for (const status of [400, 409, 429, 500, 502, 503]) {
    const { end } = ask();
    const headers = { "content-type": "application/problem+json", "retry-after": "1" };
    (await world.next()).answer(new Response('{"detail":"busy"}', { status, headers }));
    expect(await end).toMatchObject({ code: "refused", status });
    expect(String(await end)).toContain("busy");
    await pass(1e6);
    expect(world.asked).toEqual([]);
  }
});

test("a token that was refused is renewed, as nothing has begun", async () => {
  const { end } = ask({ token: ({ refused }) => (refused ? "new" : "old") });
  (await world.next()).answer(new Response("", { status: 401 }));
  const again = await world.next();
  expect([line(again), again.headers.get("authorization"), again.init.body]).toEqual([
    "POST /ask null",
    "Bearer new",
    '{"prompt":"hi"}',
  ]);
  again.answer(new Response("", { status: 401 }));
  expect(await end).toMatchObject({ code: "denied" });
});

test("a strict answer is complete at its end, and another one is asked for more", async () => {
  const strict = ask();
  const body = (await world.next()).stream({ headers: { ...RUN.headers, "tower-sse": "1;strict" } });
  body.send(event(1));
  body.end();
  expect([await strict.end, strict.data]).toEqual([{ outcome: "ended" }, ["1"]]);
  const plain = ask();
  const open = (await world.next()).stream(RUN);
  open.send(event(1));
  await settle();
  open.end();
  await pass(1000);
  const again = await world.next();
  expect(line(again)).toBe("GET /runs/r%201 e-1");
  again.answer(new Response(null, { status: 204 }));
  expect(await plain.end).toEqual({ outcome: "ended" });
});

test("a run is stopped by a request, and told so by its outcome", async () => {
  const { run, end } = ask({ token: "t" });
  const body = (await world.next()).stream(RUN);
  const stopped = run.stop();
  const asked = await world.next();
  expect([line(asked), asked.headers.get("authorization")]).toEqual(["POST /runs/r%201/stop null", "Bearer t"]);
  asked.answer(new Response(null, { status: 202 }));
  await stopped;
  body.send(outcome({ outcome: "stopped" }));
  expect(await end).toEqual({ outcome: "stopped" });
});

test("the outcome can be had without the events", async () => {
  const run = runIn<EventMap>(world, {}, { url: "/ask", body: "" });
  (await world.next()).stream(RUN).send(event(1) + outcome({ outcome: "done" }));
  expect(await run.outcome).toEqual({ outcome: "done" });
});

test("to close the reading is not to stop the run", async () => {
  const { run, end, ended } = ask();
  const body = (await world.next()).stream(RUN);
  await settle();
  run.close();
  expect(await end).toMatchObject({ code: "incomplete" });
  expect([ended(), body.gone, world.asked]).toEqual([true, true, []]);
});

test("a run that exists is attached to", async () => {
  const run = runIn<EventMap>(world, { run: (id) => `/x/${id}`, id: "7", lastEventId: "e-3" }, undefined);
  const whole = text(run);
  const asked = await world.next();
  expect(line(asked)).toBe("GET /x/7 e-3");
  asked.stream().send(event(4) + event(5) + outcome({ outcome: "done" }));
  expect([await whole, await run.id]).toEqual(["45", "7"]);
});

test("a text is put together, and is not whole if something is missing", async () => {
  const shown: string[] = [];
  const run = ask().run;
  const whole = text(
    run,
    (text, event) => text + event.data,
    (text) => shown.push(text),
  );
  const body = (await world.next()).stream(RUN);
  body.send(event("a") + event("b") + outcome({ outcome: "done" }));
  expect([await whole, shown]).toEqual(["ab", ["a", "ab"]]);
  const gap = text(ask().run);
  (await world.next())
    .stream(RUN)
    .send('event: gap\ndata: {"reason":"evicted","requested":null,"first":3}\nid: e-2\n\n');
  await expect(gap).rejects.toMatchObject({ code: "incomplete" });
});
