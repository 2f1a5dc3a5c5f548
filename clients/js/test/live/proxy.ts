// The network between client and server: a proxy that passes answers on until a fault is due.

import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What happens to an answer, after so many bytes of its body. */
export type Fault =
  /** The connection breaks. */
  | { kind: "cut"; after: number }
  /** The answer ends as if it were complete. */
  | { kind: "end"; after: number }
  /** Nothing more comes. */
  | { kind: "stall"; after: number }
  /** There is another answer instead. */
  | { kind: "status"; status: number; headers?: Record<string, string>; body?: string }
  /** There is no answer: the connection breaks before it, and the server has not seen the request. */
  | { kind: "refuse" }
  /** The server has seen the request, and its answer is lost. */
  | { kind: "lose" };

export class FaultProxy {
  /** Chooses the fault of a request, by its number. */
  fault: (request: IncomingMessage, number: number) => Fault | undefined = () => undefined;
  /** The requests for streams so far, by method, path and last id. */
  readonly seen: { method: string; path: string; id: string | undefined; at: number }[] = [];
  /** Pages that the proxy answers with itself. */
  readonly pages = new Map<string, string>();
  readonly #server: Server;
  readonly #open = new Set<ServerResponse>();

  private constructor(readonly target: () => string) {
    this.#server = createServer((incoming, response) => this.#serve(incoming, response));
  }

  static async to(target: () => string): Promise<FaultProxy> {
    const proxy = new FaultProxy(target);
    await proxy.listen(0);
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  listen(port: number): Promise<void> {
    return new Promise((resolve) => this.#server.listen(port, "127.0.0.1", resolve));
  }

  /** Breaks all connections. */
  cut(): void {
    for (const response of this.#open) response.destroy();
  }

  /** Breaks all connections, and takes no more. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  #serve(incoming: IncomingMessage, response: ServerResponse): void {
    const { headers, method = "GET", url = "/" } = incoming;
    const page = this.pages.get(url.split("?")[0]!);
    if (page) {
      response.writeHead(200, { "content-type": "text/html", "cache-control": "no-cache" }).end(page);
      return;
    }
    const id = headers["last-event-id"] as string | undefined;
    this.seen.push({ method, path: url, id, at: performance.now() });
    const fault = this.fault(incoming, this.seen.length);
    if (fault?.kind === "refuse") {
      response.destroy();
      return;
    }
    if (fault?.kind === "status") {
      response.writeHead(fault.status, fault.headers).end(fault.body);
      return;
    }
    this.#open.add(response);
    const upstream = request(this.target() + url, { method, headers, agent: false }, (answer) => {
      if (fault?.kind === "lose") {
        response.destroy();
        return;
      }
      response.writeHead(answer.statusCode!, answer.headers);
      response.flushHeaders();
      let left = fault?.after ?? Number.POSITIVE_INFINITY;
      const act = () => {
        // What was written has to arrive first.
        if (fault?.kind === "cut") response.write("", () => setTimeout(() => response.destroy(), 2));
        if (fault?.kind === "end") response.end();
        if (fault?.kind !== "stall") answer.destroy();
      };
      if (left === 0) act();
      answer.on("data", (chunk: Buffer) => {
        if (left <= 0) return;
        response.write(chunk.subarray(0, left));
        left -= chunk.length;
        if (left <= 0) act();
      });
      answer.on("end", () => left > 0 && response.end());
      answer.on("error", () => left > 0 && response.destroy());
    });
    upstream.on("error", () => {
      if (response.headersSent) response.destroy();
      else response.writeHead(502).end();
    });
    response.on("close", () => {
      this.#open.delete(response);
      upstream.destroy();
    });
    incoming.pipe(upstream);
  }
}
