// @vitest-environment happy-dom

import { act, StrictMode, useState } from "react";
import { createRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, test } from "vitest";
import { useChannel, useRun, useStream } from "../../src/react.js";
import { event, pass, useWorld, world } from "./world.js";

const URL_ = "https://app.example/sse/a";

useWorld();
let root: Root;
let page: HTMLElement;
beforeEach(() => {
  storage.clear();
  (globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;
  page = document.createElement("div");
  root = createRoot(page);
});
afterEach(async () => {
  await act(() => root.unmount());
});

const render = (element: React.ReactNode) => later(() => root.render(element));
const later = (run: () => void = () => {}) =>
  act(async () => {
    run();
    await pass(0);
    await pass(0);
  });
const reduce = (text: string, event: { data: unknown }) => `${text}${event.data} `;

function Channel({ url = URL_ }: { url?: string | null }) {
  const [text, state] = useChannel(url, { fetch: world.fetch as typeof fetch, initial: "", reduce });
  return `${state.name}: ${text}`;
}

test("a component follows a stream, in strict mode too, with one request", async () => {
  for (const strict of [false, true]) {
    await render(strict ? <StrictMode key="strict">{<Channel />}</StrictMode> : <Channel />);
    expect(page.textContent).toBe("connecting: ");
    await later();
    const body = world.asked.shift()!.stream();
    expect(world.asked).toEqual([]);
    await later(() => body.send(event(1) + event(2)));
    await later(() => body.send(event(3)));
    expect(page.textContent).toBe("open: 1 2 3 ");
    await render(null);
    await later();
    expect(body.gone).toBe(true);
  }
});

test("another URL is another stream, and none is none", async () => {
  await render(<Channel />);
  await later();
  const first = world.asked.shift()!.stream();
  await later(() => first.send(event(1)));
  await render(<Channel url="https://app.example/sse/b" />);
  await later();
  expect([first.gone, page.textContent]).toEqual([true, "connecting: "]);
  const asked = world.asked.shift()!;
  expect([asked.url.pathname, asked.headers.get("last-event-id")]).toEqual(["/sse/b", null]);
  await render(<Channel url={null} />);
  await later();
  expect(world.asked).toEqual([]);
});

test("functions among the options are those of the last render", async () => {
  const got: unknown[] = [];
  const tokens: number[] = [];
  let set!: (n: number) => void;
  function Page() {
    const [n, setN] = useState(0);
    set = setN;
    const token = () => {
      tokens.push(n);
      return String(n);
    };
    useStream(URL_, (event) => got.push([n, event.data]), { fetch: world.fetch as typeof fetch, token });
    return null;
  }
  await render(<Page />);
  await later();
  const body = world.asked.shift()!.stream();
  await later(() => body.send(event(1)));
  await later(() => set(5));
  await later(() => body.send(event(2)));
  await later(() => body.cut());
  await act(() => pass(1500));
  expect([got, tokens]).toEqual([
    [
      [0, "1"],
      [5, "2"],
    ],
    [0, 5],
  ]);
});

test("a server renders the first value", () => {
  expect(renderToString(<Channel />)).toBe("connecting: ");
  expect(world.asked).toEqual([]);
});

const storage = new Map<string, string>();
const kept = {
  getItem: (key: string) => storage.get(key) ?? null,
  setItem: (key: string, value: string) => void storage.set(key, value),
  removeItem: (key: string) => void storage.delete(key),
};
let handle: ReturnType<typeof useRun<string>>;
function Answer() {
  handle = useRun<string>("https://app.example/ask", {
    fetch: world.fetch as typeof fetch,
    run: "/runs/{id}",
    stopAt: "/runs/{id}/stop",
    initial: "",
    reduce,
    storage: kept,
  });
  return `${handle.status}: ${handle.value}${handle.outcome?.outcome ?? handle.error?.code ?? ""}`;
}
const RUN = { headers: { "x-run-id": "7", "tower-sse": "1" } };

test("a run is sent, read, stopped, and sent again", async () => {
  await render(
    <StrictMode>
      <Answer />
    </StrictMode>,
  );
  expect(page.textContent).toBe("idle: ");
  await later(() => handle.send({ prompt: "hi" }));
  const body = world.asked.shift()!.stream(RUN);
  await later(() => body.send(event("a")));
  expect([page.textContent, [...storage.values()]]).toEqual(["running: a ", ["7"]]);
  await later(() => void handle.stop());
  const stop = world.asked.shift()!;
  expect(stop.url.pathname).toBe("/runs/7/stop");
  await later(() => stop.answer(new Response(null, { status: 202 })));
  await later(() => body.send('event: run.outcome\ndata: {"outcome":"stopped"}\nid: e-9\n\n'));
  expect([page.textContent, storage.size]).toEqual(["ended: a stopped", 0]);
  await later(() => handle.send("again"));
  await later(() => world.asked.shift()!.answer(new Response("{}", { status: 409 })));
  expect(page.textContent).toBe("error: refused");
});

test("a component that is mounted again reads its run again", async () => {
  await render(<Answer />);
  await later(() => handle.send("x"));
  const body = world.asked.shift()!.stream(RUN);
  await later(() => body.send(event("a")));
  await render(null);
  await later();
  expect(body.gone).toBe(true);
  await render(
    <StrictMode>
      <Answer />
    </StrictMode>,
  );
  await later();
  const again = world.asked.pop()!;
  expect([again.url.pathname, again.headers.get("last-event-id"), world.asked.length]).toEqual(["/runs/7", null, 0]);
  const rest = again.stream(RUN);
  await later(() => rest.send(`${event("a")}${event("b")}event: run.outcome\ndata: {"outcome":"done"}\nid: e-9\n\n`));
  expect([page.textContent, storage.size]).toEqual(["ended: a b done", 0]);
});
