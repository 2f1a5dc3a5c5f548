// @vitest-environment happy-dom

import { expect, test } from "vitest";
import { effectScope } from "vue";
import { channel } from "../../examples/svelte.js";
import { useChannel } from "../../examples/vue.js";
import { settle, useWorld, world } from "./world.js";

useWorld();

const URL_ = "https://app.example/sse/lobby";
const reduce = (all: string[], event: { type: string; data: unknown }) =>
  event.type === "message" ? [...all, event.data as string] : all;

test("the store for Svelte follows a channel while somebody subscribes", async () => {
  const messages = channel(URL_, [] as string[], reduce, { fetch: world.fetch as typeof fetch });
  let seen: string[] = [];
  const subscribe = () =>
    messages.subscribe((value) => {
      seen = value;
    });
  const end = subscribe();
  const body = await world.open();
  body.send("data: a\nid: 1\n\n");
  await settle();
  expect(seen).toEqual(["a"]);
  end();
  await settle();
  expect(body.gone).toBe(true);
  subscribe();
  const again = await world.next();
  // The page here has another origin.
  expect(again.url.searchParams.get("last_event_id")).toBe("1");
  again.stream().send("data: b\nid: 2\n\n");
  await settle();
  expect(seen).toEqual(["a", "b"]);
});

test("the composable for Vue follows a channel as long as its scope lasts", async () => {
  const scope = effectScope();
  const options = { fetch: world.fetch as typeof fetch };
  const { value, state } = scope.run(() => useChannel(URL_, [] as string[], reduce, options))!;
  const body = await world.open();
  body.send("data: a\n\n");
  await settle();
  expect([value.value, state.value.name]).toEqual([["a"], "open"]);
  scope.stop();
  await settle();
  expect(body.gone).toBe(true);
});
