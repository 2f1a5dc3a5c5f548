// A world for streams: a server with a log, a network that breaks, a page, and tabs, in the time of Vitest's fake timers.

import { afterEach, beforeEach, vi } from "vitest";
import type { Environment, Signal, Tabs } from "../../src/environment.js";

/** Lets everything that is due now happen. */
export async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

export async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

/** An answer whose body the test writes. */
export class Body {
  readonly response: Response;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  /** The client is gone. */
  gone = false;

  constructor(init: ResponseInit = {}, signal?: AbortSignal | null) {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
      cancel: () => {
        this.gone = true;
      },
    });
    const headers = { "content-type": "text/event-stream", "tower-sse": "1;keep-alive=15000", ...init.headers };
    this.response = new Response(body, { ...init, headers });
    signal?.addEventListener("abort", () => this.cut(signal.reason));
  }

  send(text: string | Uint8Array): void {
    if (!this.gone) this.#controller.enqueue(typeof text === "string" ? new TextEncoder().encode(text) : text);
  }

  end(): void {
    if (!this.gone) this.#controller.close();
    this.gone = true;
  }

  cut(why: unknown = new TypeError("cut")): void {
    if (!this.gone) this.#controller.error(why);
    this.gone = true;
  }
}

export interface Asked {
  url: URL;
  headers: Headers;
  init: RequestInit;
  at: number;
  /** Opens a stream as the answer. */
  stream(init?: ResponseInit): Body;
  answer(response: Response): void;
  fail(): void;
}

/** A world in which the test answers each request. */
export class World implements Environment {
  readonly asked: Asked[] = [];
  readonly watchers = new Set<(signal: Signal) => void>();
  readonly base = "https://app.example/page/";
  readonly init = {};
  origin: string | undefined = "https://app.example";
  tabs: Tabs | undefined;
  chance = 0;
  now = (): number => Date.now();
  random = (): number => this.chance;
  log = (): void => {};

  fetch = (url: string, init: RequestInit): Promise<Response> =>
    new Promise((resolve, reject) => {
      const { signal } = init;
      signal?.addEventListener("abort", () => reject(signal.reason));
      this.asked.push({
        url: new URL(url),
        headers: new Headers(init.headers),
        init,
        at: Date.now(),
        stream: (init) => {
          const body = new Body(init, signal);
          resolve(body.response);
          return body;
        },
        answer: resolve,
        fail: () => reject(new TypeError("fetch failed")),
      });
    });

  after = (ms: number, run: () => void): (() => void) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  };

  watch = (listener: (signal: Signal) => void): (() => void) => {
    this.watchers.add(listener);
    return () => this.watchers.delete(listener);
  };

  signal(signal: Signal): void {
    for (const watcher of this.watchers) watcher(signal);
  }

  /** The next request, which has to be there. */
  async next(): Promise<Asked> {
    await settle();
    const asked = this.asked.shift();
    if (!asked) throw new Error("nothing was asked");
    return asked;
  }

  async open(text = "retry: 1000\n:\n"): Promise<Body> {
    const body = (await this.next()).stream();
    body.send(text);
    await settle();
    return body;
  }
}

export let world: World;

/** Gives each test of a file fake timers and a new `world`. */
export function useWorld(): void {
  beforeEach(() => {
    vi.useFakeTimers();
    renewWorld();
  });
  afterEach(() => {
    vi.useRealTimers();
  });
}

/** Begins again with a new `world` within a test. */
export function renewWorld(): void {
  world = new World();
}

/** An event of a stream. Its id has the number, too. */
export const event = (n: number | string): string => `data: ${n}\nid: e-${n}\n\n`;

/** A small random number generator, so that a failing case can be repeated. */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
