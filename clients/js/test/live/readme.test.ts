// Runs the recipes of the README.

import { readFileSync } from "node:fs";
import { transform } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import * as client from "../../dist/index.js";
import { proxy, server, useNetwork } from "./network.js";
import { until } from "./until.js";

const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");

useNetwork();
beforeAll(() => {
  // What relative URLs are relative to.
  Object.assign(globalThis, { location: new URL(proxy.url) });
});
afterAll(() => {
  Object.assign(globalThis, { location: undefined });
});

/** Runs the first block of code below a heading, with what it takes for granted. */
async function recipe(heading: string, given: Record<string, unknown>): Promise<void> {
  const code = new RegExp(`## ${heading}\n[^]*?\`\`\`ts\n([^]*?)\`\`\``).exec(readme)?.[1];
  if (!code) throw new Error(`no code below ${heading}`);
  const body = code.replace(/^import (\{.*\}) from "(.*)";$/gm, 'const $1 = modules["$2"];');
  const { code: script } = await transform(`async () => {${body}}`, { loader: "ts" });
  const names = { modules: { "tower-sse": client, zod: { z } }, ...given };
  const run = new Function(...Object.keys(names), `return ${script}`)(...Object.values(names));
  await run();
}

test("follow a channel", async () => {
  await server.publish("lobby", "#", { count: 2 });
  const shown: string[] = [];
  const states: string[] = [];
  const done = recipe("Follow a channel", {
    show: (text: string) => shown.push(text),
    clear: () => {},
    showStatus: (name: string) => states.push(name),
  });
  await until(() => shown.length === 2);
  await server.end("lobby", "finish");
  await done;
  expect(shown).toEqual(["0", "1"]);
  expect(new Set(states)).toEqual(new Set(["connecting", "open", "waiting", "closed"]));
});

test("tokens, reloads and tabs", async () => {
  await server.publish("inbox", "hi");
  const shown: string[] = [];
  const kept = new Map<string, string>();
  const sessionStorage = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, id: string) => kept.set(key, id),
  };
  const given = {
    show: (text: string) => shown.push(text),
    fetchToken: () => String(Date.now() + 1000),
    sessionStorage,
  };
  await recipe("Tokens, reloads and tabs", given);
  await until(() => shown.length === 1);
  await until(() => kept.size === 1);
});

test("load a state, then follow its changes", async () => {
  const cursor = await server.publish("board", "0");
  await server.publish("board", "1");
  proxy.pages.set("/state", JSON.stringify({ state: "from zero", cursor }));
  const seen: unknown[] = [];
  const page = (path: string) => fetch(proxy.url + path);
  const note = (what: unknown) => seen.push(what);
  const done = recipe("Load a state, then follow its changes", { render: note, change: note, fetch: page });
  await until(() => seen.length === 2);
  expect(seen).toEqual(["from zero", "1"]);
  await server.end("board", "finish");
  await done;
});

test("ask a model", async () => {
  const shown: string[] = [];
  await recipe("Ask a model", { show: (text: string) => shown.push(text), stopButton: {} });
  expect(shown.at(-1)).toBe(Array.from({ length: 4 }, (_, n) => `Why is the sky blue? ${n} `).join(""));
  const stopButton: { onclick?: () => void } = {};
  const show = (text: string) => {
    shown.push(text);
    stopButton.onclick?.();
  };
  await recipe("Ask a model", { show, stopButton });
  expect(shown.at(-1)).toMatch(/\(stopped\)$/);
});

test("types and validation", async () => {
  const shown: string[] = [];
  await recipe("Types and validation", { show: (text: string) => shown.push(text) });
  await server.publish("orders", '{"id":1,"total":5}', { event: "created" });
  await server.publish("orders", "of no interest");
  await server.publish("orders", '{"id":1}', { event: "paid" });
  await until(() => shown.length === 2);
  expect(shown).toEqual(["order 1 for 5", "order 1 is paid"]);
});
