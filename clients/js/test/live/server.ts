// The real server: `cargo build -p js-server`.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

const program = process.env.JS_SERVER ?? new URL("../../../../target/debug/js-server", import.meta.url).pathname;
const files = new URL("../../dist", import.meta.url).pathname;

/** Starts a program, and returns it with the first line that it prints. */
export async function start(
  program: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<[ChildProcess, string]> {
  const process_ = spawn(program, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: process_.stdout! });
  const [line] = await Promise.race([
    once(lines, "line"),
    once(process_, "exit").then(() => Promise.reject(new Error(`${program} ended`))),
    once(process_, "error").then(([error]) => Promise.reject(error)),
  ]);
  return [process_, line];
}

export class Server {
  #process: ChildProcess;
  port: number;

  private constructor(process: ChildProcess, port: number) {
    this.#process = process;
    this.port = port;
  }

  static async start(env: Record<string, string> = {}): Promise<Server> {
    const [process, port] = await start(program, [], { FILES: files, ...env });
    return new Server(process, Number(port));
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Ends the server. With SIGINT it says goodbye to its readers first. */
  async stop(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exit = once(this.#process, "exit");
    this.#process.kill(signal);
    await exit;
  }

  /** Kills the server, and starts another one on its port, which has forgotten everything. */
  async restart(): Promise<void> {
    await this.stop();
    [this.#process] = await start(program, [], { FILES: files, PORT: String(this.port) });
  }

  /** Publishes, and returns the id of the last event. A `#` in the text is the number of each event. */
  async publish(channel: string, text: string, query: Record<string, string | number> = {}): Promise<string> {
    const parameters = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
    const response = await fetch(`${this.url}/publish/${channel}?${parameters}`, { method: "POST", body: text });
    if (!response.ok) throw new Error(`not published: ${response.status}`);
    return await response.text();
  }

  async end(channel: string, how: "finish" | "close"): Promise<void> {
    await fetch(`${this.url}/end/${channel}/${how}`, { method: "POST" });
  }

  async connections(): Promise<number> {
    return Number(await (await fetch(`${this.url}/connections`)).text());
  }
}
