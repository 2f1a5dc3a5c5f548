import { expectTypeOf, test } from "vitest";
import { z } from "zod";
import {
  ask,
  connect,
  type GapEvent,
  json,
  type NamedEvent,
  type Outcome,
  type State,
  schemas,
  snapshot,
} from "../../src/index.js";

test("data is text by default", async () => {
  const stream = connect("/a");
  stream.on("message", (event) => expectTypeOf(event.data).toEqualTypeOf<string>());
  stream.on("gap", (event) => expectTypeOf(event).toEqualTypeOf<GapEvent>());
  stream.on("state", (state) => expectTypeOf(state).toEqualTypeOf<State>());
});

test("a map gives each event its type", async () => {
  interface Events {
    created: { id: number };
    message: string;
  }
  const stream = connect("/a", { read: json<Events>() });
  stream.on("created", (event) => expectTypeOf(event).toEqualTypeOf<NamedEvent<"created", { id: number }>>());
  // @ts-expect-error: there is no such event.
  stream.on("creatde", () => {});
  for await (const event of stream) {
    if (event.type === "created") expectTypeOf(event.data.id).toBeNumber();
    if (event.type === "message") expectTypeOf(event.data).toBeString();
    if (event.type === "gap") expectTypeOf(event.data.requested).toEqualTypeOf<string | null>();
    // @ts-expect-error: nothing is loaded.
    if (event.type === "load") break;
  }
});

test("schemas give each event its type", () => {
  const read = schemas({ created: z.object({ id: z.number() }), n: z.string().transform(Number) });
  const stream = connect("/a", { read });
  stream.on("created", ({ data }) => expectTypeOf(data).toEqualTypeOf<{ id: number }>());
  stream.on("n", ({ data }) => expectTypeOf(data).toBeNumber());
  // @ts-expect-error: it has no schema.
  stream.on("other", () => {});
  const run = ask("/a", {}, { read });
  run.stream.on("n", ({ data }) => expectTypeOf(data).toBeNumber());
  expectTypeOf(run.outcome).resolves.toEqualTypeOf<Outcome>();
});

test("what is loaded has its type", async () => {
  const stream = connect<{ message: string }, number[]>("/a", {
    load: snapshot(async () => ({ state: [1], cursor: "" })),
  });
  stream.on("load", ({ data }) => expectTypeOf(data).toEqualTypeOf<number[]>());
  for await (const event of stream) if (event.type === "load") expectTypeOf(event.data).toEqualTypeOf<number[]>();
});
