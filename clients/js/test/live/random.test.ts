// Random faults for a while, with a checker. `SECONDS_OF_FAULTS` is for how long (5), `SEED` which faults.

import { expect, onTestFinished, test } from "vitest";
import { connect } from "../../dist/index.js";
import { seeded } from "../unit/world.js";
import { type Fault, FaultProxy } from "./proxy.js";
import { Server } from "./server.js";
import { until } from "./until.js";

const SECONDS = Number(process.env.SECONDS_OF_FAULTS ?? 5);
const SEED = Number(process.env.SEED ?? Date.now() % 1e6);
const READERS = 8;

test(
  "each reader gets every event once and in order, whatever the network does",
  async () => {
    const random = seeded(SEED);
    const server = await Server.start({ KEEP_ALIVE: "200" });
    onTestFinished(() => server.stop());
    const proxy = await FaultProxy.to(() => server.url);
    onTestFinished(() => proxy.close());
    const faults: Record<string, number> = {};
    let calm = false;
    proxy.fault = () => {
      if (calm) return undefined;
      const after = Math.floor(random() ** 3 * 100_000);
      const kinds: Fault[] = [
        { kind: "cut", after },
        { kind: "cut", after },
        { kind: "end", after },
        { kind: "stall", after },
        { kind: "refuse" },
        { kind: "lose" },
        { kind: "status", status: 502, body: "<html>" },
        { kind: "status", status: 503, headers: { "retry-after": "0" } },
      ];
      const fault = kinds[Math.floor(random() * kinds.length)]!;
      faults[fault.kind] = (faults[fault.kind] ?? 0) + 1;
      return fault;
    };
    const readers = Array.from({ length: READERS }, (_, n) => {
      const route = ["all", "private"][n % 2];
      const token = () => String(Date.now() + 800 + Math.floor(random() * 1000));
      const stream = connect(`${proxy.url}/${route}/a`, { token, maxWait: 300, connectTimeout: 500 });
      const got: number[] = [];
      let gaps = 0;
      stream.on("message", (event) => got.push(Number(event.data)));
      stream.on("gap", () => {
        gaps += 1;
      });
      return { stream, got, gaps: () => gaps };
    });
    let published = 0;
    for (const end = performance.now() + SECONDS * 1000; performance.now() < end; ) {
      const count = 1 + Math.floor(random() * 5);
      await server.publish("a", "#", { count, first: published });
      published += count;
      await new Promise((resolve) => setTimeout(resolve, random() * 20));
    }
    calm = true;
    proxy.cut();
    await until(() => readers.every(({ got }) => got.length >= published), 60_000);
    const expected = Array.from({ length: published }, (_, n) => n);
    for (const { got, gaps } of readers) expect([got, gaps()], `seed ${SEED}`).toEqual([expected, 0]);
    const sum = Object.values(faults).reduce((a, b) => a + b, 0);
    console.log(`seed ${SEED}: ${READERS} readers, ${published} events, ${sum} faults ${JSON.stringify(faults)}`);
    for (const { stream } of readers) stream.close();
  },
  (SECONDS + 120) * 1000,
);
