// A real nginx in front of a server.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PATH = `${process.env.PATH}:/usr/sbin`;
export const hasNginx = spawnSync("nginx", ["-v"], { env: { ...process.env, PATH } }).status === 0;

export class Nginx {
  readonly #process: ChildProcess;
  readonly #folder: string;
  readonly url: string;

  private constructor(process: ChildProcess, folder: string, port: number) {
    this.#process = process;
    this.#folder = folder;
    this.url = `http://127.0.0.1:${port}`;
  }

  static async to(application: string): Promise<Nginx> {
    const folder = mkdtempSync(join(tmpdir(), "tower-sse-nginx-"));
    const port = await freePort();
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${kind};`);
    writeFileSync(
      join(folder, "nginx.conf"),
      `daemon off; master_process off; pid nginx.pid; error_log stderr crit;
      events {}
      http {
        access_log off;
        ${temporary.join("\n")}
        server { listen 127.0.0.1:${port}; location / { proxy_pass ${application}; } }
      }`,
    );
    const args = ["-p", folder, "-c", "nginx.conf", "-e", "stderr"];
    const nginx = spawn("nginx", args, { env: { ...process.env, PATH }, stdio: "ignore" });
    for (;;) {
      const open = await new Promise((resolve) => {
        const socket = connect(port, "127.0.0.1", () => resolve(true)).on("error", () => resolve(false));
        socket.on("connect", () => socket.destroy());
      });
      if (open) return new Nginx(nginx, folder, port);
      if (nginx.exitCode !== null) throw new Error("nginx ended");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  stop(): void {
    this.#process.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
