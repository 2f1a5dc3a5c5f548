// @vitest-environment happy-dom

import { afterEach, expect, test, vi } from "vitest";
import { environment, type Signal } from "../../src/environment.js";
import { tabsOfOrigin } from "../../src/tabs.js";

afterEach(() => {
  vi.restoreAllMocks();
  localStorage.clear();
});

test("what happens to a page is told, wherever it is dispatched", () => {
  const signals: Signal[] = [];
  const end = environment(undefined).watch((signal) => signals.push(signal));
  let hidden = true;
  vi.spyOn(document, "hidden", "get").mockImplementation(() => hidden);
  document.dispatchEvent(new Event("visibilitychange"));
  hidden = false;
  document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
  for (const name of ["online", "offline", "pagehide", "pageshow"]) window.dispatchEvent(new Event(name));
  for (const name of ["freeze", "resume"]) document.dispatchEvent(new Event(name));
  expect(signals).toEqual(["visible", "online", "offline", "sleep", "wake", "sleep", "wake"]);
  end();
  window.dispatchEvent(new Event("online"));
  expect(signals.length).toBe(7);
});

test("a stream says what it does if it is asked to", () => {
  const debug = vi.spyOn(console, "debug").mockImplementation(() => {});
  for (const [names, logs] of [
    ["tower-sse", true],
    ["*", true],
    ["other, tower-sse:*", true],
    ["other", false],
    ["", false],
  ] as const) {
    debug.mockClear();
    localStorage.debug = names;
    environment(undefined).log("is", "open");
    expect(debug.mock.calls, names).toEqual(logs ? [["tower-sse", "is", "open"]] : []);
  }
});

test("a page whose storage is forbidden has a stream all the same", () => {
  vi.spyOn(globalThis, "localStorage", "get").mockImplementation(() => {
    throw new DOMException("no", "SecurityError");
  });
  environment(undefined).log("is", "open");
});

test("without locks, tabs share nothing", () => {
  expect(tabsOfOrigin()).toBeUndefined();
});
