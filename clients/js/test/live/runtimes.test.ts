// The same in other runtimes than Node, as far as they are installed.

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { proxy, server, useNetwork } from "./network.js";

const modules = new URL("../../node_modules/.bin", import.meta.url).pathname;
const find = (name: string) =>
  [modules, ...(process.env.PATH ?? "").split(delimiter)].map((folder) => join(folder, name)).find(existsSync);
const runtimes = [
  ["node", process.execPath, []],
  ["bun", find("bun"), ["run"]],
  ["deno", find("deno"), ["run", "--allow-all", "--no-config"]],
] as const;
const script = new URL("runtime.mjs", import.meta.url).pathname;

useNetwork();

test.each(runtimes.filter(([, program]) => program))("%s", async (name, program, args) => {
  await server.publish(name, "#", { count: 3 });
  const cut = new Set<string>();
  proxy.fault = ({ url = "" }) => {
    const after = /\?cut=(\d+)/.exec(url)?.[1];
    if (after === undefined || cut.has(url)) return undefined;
    cut.add(url);
    return { kind: "cut", after: Number(after) };
  };
  const count = 110;
  const { stdout } = await promisify(execFile)(program!, [
    ...args,
    script,
    `${proxy.url}/all/${name}?cut={n}`,
    String(count),
  ]);
  expect(JSON.parse(stdout)).toEqual({
    results: Array.from({ length: count }, () => "0,1,2"),
    answer: "w0 w1 w2 w3 ",
    outcome: { outcome: "done" },
  });
});
