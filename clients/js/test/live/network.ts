// A server behind a proxy, for all tests of a file.

import { afterAll, beforeAll } from "vitest";
import { FaultProxy } from "./proxy.js";
import { Server } from "./server.js";

export let server: Server;
export let proxy: FaultProxy;

/** Starts both before the first test, and stops them after the last one. */
export function useNetwork(env: Record<string, string> = {}): void {
  beforeAll(async () => {
    server = await Server.start(env);
    proxy = await FaultProxy.to(() => server.url);
  });
  afterAll(async () => {
    await proxy?.close();
    await server?.stop();
  });
}
