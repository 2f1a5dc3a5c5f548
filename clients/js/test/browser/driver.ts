// A browser behind its driver, spoken to by WebDriver alone.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";

export type Engine = "chromium" | "firefox";

const CHROMIUM = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-dev-shm-usage",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const target = process.env.CARGO_TARGET_DIR ?? new URL("../../../../target", import.meta.url).pathname;
// Debian has no package of it; `scripts/install-clients` puts it there.
const geckodriver = join(target, "clients/geckodriver/bin/geckodriver");

function find(...names: string[]): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const paths = names.flatMap((name) => (name.startsWith("/") ? [name] : folders.map((folder) => join(folder, name))));
  return paths.find((path) => existsSync(path));
}

function programs(engine: Engine): [driver: string, browser: string] | undefined {
  const [driver, browser] =
    engine === "chromium"
      ? [find("chromedriver"), find("chromium", "chromium-browser", "google-chrome")]
      : [find("geckodriver", geckodriver), find("firefox-esr", "firefox")];
  return driver && browser ? [driver, browser] : undefined;
}

/** Starts a driver. The port is undefined if the driver ends before it listens. */
function listen(program: string, args: string[], profile: string): [ChildProcess, Promise<string | undefined>] {
  const driver = spawn(program, args, {
    // The driver gets its own home, and its own process group, so that whatever it starts ends with it.
    detached: true,
    env: { ...process.env, HOME: profile, TMPDIR: profile },
    stdio: ["ignore", "pipe", "ignore"],
  });
  const port = new Promise<string | undefined>((resolve) => {
    const lines = createInterface({ input: driver.stdout! });
    lines.on("line", (line) => {
      const port = /(?:on port |127\.0\.0\.1:)(\d+)/.exec(line)?.[1];
      if (port && port !== "0") resolve(port);
    });
    driver.on("exit", () => resolve(undefined));
  });
  return [driver, port];
}

export const installed = (engine: Engine): boolean => programs(engine) !== undefined;

export class Browser {
  readonly #driver: ChildProcess;
  readonly #profile: string;
  readonly #session: string;

  private constructor(
    readonly engine: Engine,
    driver: ChildProcess,
    profile: string,
    session: string,
  ) {
    this.#driver = driver;
    this.#profile = profile;
    this.#session = session;
  }

  static async start(engine: Engine): Promise<Browser> {
    const [program, binary] = programs(engine)!;
    const profile = mkdtempSync(join(tmpdir(), "tower-sse-js-"));
    const args = engine === "chromium" ? ["--port=0"] : ["--port", "0", "--profile-root", profile];
    let [driver, port] = listen(program, args, profile);
    // A driver ends at once if another process has taken its port.
    for (let tries = 1; tries < 3 && (await port) === undefined; tries += 1) {
      [driver, port] = listen(program, args, profile);
    }
    if ((await port) === undefined) throw new Error(`${program} ended`);
    const options =
      engine === "chromium"
        ? { "goog:chromeOptions": { binary, args: [...CHROMIUM, `--user-data-dir=${profile}/profile`] } }
        : { "moz:firefoxOptions": { binary, args: ["-headless"] } };
    const base = `http://127.0.0.1:${await port}/session`;
    const { sessionId } = (await call("POST", base, { capabilities: { alwaysMatch: options } })) as {
      sessionId: string;
    };
    return new Browser(engine, driver, profile, `${base}/${sessionId}`);
  }

  async stop(): Promise<void> {
    await Promise.race([this.#call("DELETE", "").catch(() => {}), new Promise((resolve) => setTimeout(resolve, 5000))]);
    spawnSync("kill", ["-KILL", "--", `-${this.#driver.pid}`]);
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  open(url: string): Promise<unknown> {
    return this.#call("POST", "/url", { url });
  }

  reload(): Promise<unknown> {
    return this.#call("POST", "/refresh", {});
  }

  back(): Promise<unknown> {
    return this.#call("POST", "/back", {});
  }

  run<T>(script: string, ...args: unknown[]): Promise<T> {
    return this.#call("POST", "/execute/sync", { script, args }) as Promise<T>;
  }

  /** Opens a tab, and goes there. */
  async tab(): Promise<string> {
    const { handle } = (await this.#call("POST", "/window/new", { type: "tab" })) as { handle: string };
    await this.go(handle);
    return handle;
  }

  go(handle: string): Promise<unknown> {
    return this.#call("POST", "/window", { handle });
  }

  here(): Promise<string> {
    return this.#call("GET", "/window") as Promise<string>;
  }

  close(): Promise<unknown> {
    return this.#call("DELETE", "/window");
  }

  /** A command of Chromium's own protocol. */
  chromium(cmd: string, params: object = {}): Promise<unknown> {
    return this.#call("POST", "/goog/cdp/execute", { cmd, params });
  }

  #call(method: string, path: string, body?: object): Promise<unknown> {
    return call(method, this.#session + path, body);
  }
}

async function call(method: string, url: string, body?: object): Promise<unknown> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(url, { method, headers, ...(body && { body: JSON.stringify(body) }) });
  const { value } = (await response.json()) as { value: { error?: string; message?: string } };
  if (!response.ok) throw new Error(`${value.error}: ${value.message}`);
  return value;
}
