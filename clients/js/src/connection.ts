// One reader of one stream, over as many connections as it takes. Knows nothing of pages, tabs, or what events mean.

import { backoff, LONGEST, RETRY, retryAfter } from "./backoff.js";
import type { Environment, Signal } from "./environment.js";
import { type ErrorCode, type Problem, StreamError } from "./errors.js";
import { parser } from "./parse.js";
import type { CloseReason, Frame, State } from "./types.js";

/** The version of the protocol that this package speaks, as servers state it in the header `tower-sse`. */
const VERSION = "1";

/** A request for the stream. */
export interface Request {
  url: string;
  init: RequestInit & { headers: Headers };
}

/** What a connection is connected to. */
export interface Wiring {
  /** Makes the request for the next attempt. `refused` says that the last one was answered with a 401 or 403. */
  request(cursor: string, refused: boolean): Promise<Request>;
  /** Takes an event. No more is read until the returned promise is resolved. */
  frame(frame: Frame): void | Promise<void>;
  state(state: State): void;
  /** A keep-alive came: the server has sent everything. */
  beat?(): void;
  /** An answer is a stream. */
  answered?(response: Response): void;
  /** Whether a clean end of this answer is the end of the stream. By default, the server says so. */
  ends?(): boolean;
}

/** The limits of a connection, in milliseconds. */
export interface Limits {
  /** For the headers of an answer. */
  connectTimeout: number;
  /** The longest wait between two attempts, unless the server asks for more. */
  maxWait: number;
  /** The server's keep-alive if it does not say. Zero: it has none. */
  keepAlive: number;
}

export const LIMITS: Limits = { connectTimeout: 20_000, maxWait: 30_000, keepAlive: 30_000 };

/** The connection is silent after this many intervals of the keep-alive, and dead after so many. */
const SILENT = 1.5;
export const DEAD = 2.5;
/** Two attempts that the page asks for are this far apart. */
const APART = 1000;

/** What follows an attempt. */
interface Next {
  /** The stream is closed. */
  close?: CloseReason;
  error?: StreamError;
  /** What the server asked for. */
  ms?: number | undefined;
  /** No failure: go on at once. */
  now?: boolean;
}

export class Connection {
  /** The interval of the server's keep-alive. */
  keepAlive: number;

  readonly #env: Environment;
  readonly #wiring: Wiring;
  readonly #limits: Limits;
  /** The id to resume from. */
  #cursor: string;
  /** Ends the running attempt. */
  #abort = new AbortController();
  /** Ends the running pause. */
  #skip: (() => void) | undefined;
  /** Until when the server wants to be left alone. */
  #notBefore = 0;
  #failures = 0;
  #retry = RETRY;
  #refused = false;
  #gone = false;
  /** There was a stream once, so that what comes in its place may go away. */
  #known = false;
  /** When the running attempt began, and when something was heard last. */
  #began = 0;
  #heard = 0;
  /** Why the running attempt was ended from here. */
  #cut: "silent" | "page" | undefined;
  #offline = false;
  #asleep = false;
  #silent = false;
  #stopped = false;

  constructor(env: Environment, wiring: Wiring, limits: Limits, cursor: string) {
    this.#env = env;
    this.#wiring = wiring;
    this.#limits = limits;
    this.#cursor = cursor;
    this.keepAlive = limits.keepAlive;
    queueMicrotask(() => this.#run());
  }

  /** Ends it without another word. */
  stop(): void {
    this.#stopped = true;
    this.#abort.abort();
    this.#skip?.();
  }

  signal(signal: Signal): void {
    const asleep = this.#asleep;
    this.#asleep = signal === "sleep" || (asleep && signal !== "wake");
    if (this.#asleep !== asleep) {
      // A page that sleeps must not hold a connection, and can't trust the one that it had.
      if (this.#asleep) this.#end("page");
      else this.#skip?.();
    }
    if (this.#asleep) return;
    if (signal === "offline") {
      this.#offline = true;
      if (this.#heard > 0) this.#turn(true);
    } else if (this.#env.now() - this.#began >= APART) {
      this.#skip?.();
      // The old path may be gone with the old network, and a page that slept may not have been told of an end.
      const stale = this.#heard > 0 && this.keepAlive > 0 && this.#env.now() - this.#heard > this.keepAlive * SILENT;
      if (stale || (signal === "online" && this.#offline)) this.#end("page");
    }
    if (signal === "online") this.#offline = false;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      let next: Next = { now: true };
      if (!this.#asleep) {
        this.#cut = undefined;
        this.#abort = new AbortController();
        try {
          next = await this.#attempt(this.#abort.signal);
        } catch (cause) {
          next = this.#failed(cause);
        }
        this.#heard = 0;
        this.#silent = false;
      }
      if (this.#stopped) return;
      if (next.close) {
        this.#stopped = true;
        return this.#wiring.state({ name: "closed", reason: next.close, error: next.error });
      }
      if (this.#asleep || !next.now) await this.#wait(next.ms, next.error);
    }
  }

  #failed(cause: unknown): Next {
    if (this.#cut === "page") return { now: true };
    this.#failures += 1;
    if (cause instanceof StreamError) {
      return cause.code === "token" ? { error: cause } : { close: "error", error: cause };
    }
    return {
      error: this.#cut
        ? new StreamError("silent", "nothing was heard, not even a keep-alive", { cause })
        : new StreamError("network", "no answer, or it broke off", { cause }),
    };
  }

  async #wait(asked: number | undefined, error: StreamError | undefined): Promise<void> {
    const { now, random } = this.#env;
    const ms = asked ?? backoff(this.#failures, this.#retry, this.#limits.maxWait, random());
    if (asked !== undefined) this.#notBefore = now() + asked;
    this.#wiring.state({ name: "waiting", ms, error });
    let pause = ms;
    do {
      await this.#pause(this.#asleep ? LONGEST : pause);
      pause = this.#notBefore - now();
    } while (!this.#stopped && (this.#asleep || pause > 0));
  }

  async #pause(ms: number): Promise<void> {
    let cancel = () => {};
    await new Promise<void>((resolve) => {
      cancel = this.#env.after(ms, resolve);
      this.#skip = resolve;
    });
    cancel();
    this.#skip = undefined;
  }

  async #attempt(signal: AbortSignal): Promise<Next> {
    const { after, fetch, init, log, now } = this.#env;
    this.#began = now();
    this.#wiring.state({ name: "connecting" });
    const request = await this.#wiring.request(this.#cursor, this.#refused);
    signal.throwIfAborted();
    log("connects", request.url, "after", this.#cursor);
    const cancel = after(this.#limits.connectTimeout, () => this.#end("silent"));
    try {
      const response = await fetch(request.url, { ...init, ...request.init, signal });
      signal.throwIfAborted();
      const type = response.headers.get("content-type") ?? "";
      if (response.status !== 200 || !/^text\/event-stream *(;|$)/i.test(type))
        return await this.#judge(response, type);
      cancel();
      return await this.#read(response, signal);
    } finally {
      cancel();
    }
  }

  async #read(response: Response, signal: AbortSignal): Promise<Next> {
    const strict = this.#greet(response.headers.get("tower-sse"));
    this.#known = true;
    this.#refused = this.#gone = false;
    this.#wiring.answered?.(response);
    const reader = response.body!.getReader();
    const frames: Frame[] = [];
    let told = false;
    let comments = 0;
    let quiet = 0;
    const feed = parser({
      frame: (frame) => frames.push(frame),
      id: (id) => frames.push({ type: "cursor", data: "", id }),
      retry: (ms) => {
        this.#retry = ms;
        told = true;
      },
      comment: () => {
        comments += 1;
        // The preamble has one or two. A keep-alive comes after an interval in which nothing came.
        if (comments < 2 || quiet < this.keepAlive / 2) return;
        this.#failures = 0;
        this.#wiring.beat?.();
      },
    });
    this.#hear();
    this.#wiring.state({ name: "open" });
    let unwatch = this.#watch();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        quiet = this.#env.now() - this.#heard;
        this.#hear();
        feed(value);
        for (const frame of frames.splice(0)) {
          // The rest of the chunk comes again with the next answer.
          signal.throwIfAborted();
          const goodbye = this.#take(frame);
          if (goodbye) return { close: goodbye };
          const parked = this.#wiring.frame(frame);
          if (parked) {
            unwatch();
            await parked;
            unwatch = this.#watch();
          }
        }
      }
    } finally {
      unwatch();
      // After an error there is nothing left to cancel.
      reader.cancel().catch(() => {});
    }
    signal.throwIfAborted();
    if (this.#wiring.ends?.() ?? strict) return { close: "finished" };
    // A server that ends an answer and says when to come back is well. Without that, it may have crashed.
    this.#failures = told ? 0 : this.#failures + 1;
    return {};
  }

  /** Reads the server's greeting, such as `1;keep-alive=15000;strict`. Another server, or a proxy, sends none. */
  #greet(greeting: string | null): boolean {
    if (greeting === null) return false;
    const [version, ...parameters] = greeting.split(/ *; */);
    if (version !== VERSION) {
      throw new StreamError("version", `the server speaks version ${version}, not ${VERSION}: update the older one`);
    }
    this.keepAlive = Number(/;keep-alive=(\d+)/.exec(greeting)?.[1] ?? 0);
    return parameters.includes("strict");
  }

  /** Notes the position after an event. Returns why the reader is sent away, if it is. */
  #take({ type, data, id }: Frame): CloseReason | undefined {
    const told = type === "goodbye" ? json(data) : undefined;
    if (typeof told?.reason === "string" && typeof told.last_event_id === "string") {
      // Not the goodbye's own id, which the server answers with a 204 for ever.
      this.#cursor = told.last_event_id;
      void this.#wiring.frame({ type: "cursor", data: "", id: this.#cursor });
      return told.reason;
    }
    this.#cursor = id ?? this.#cursor;
    this.#failures = 0;
    return undefined;
  }

  /** What follows from an answer that is no stream. */
  async #judge(response: Response, type: string): Promise<Next> {
    const { status, headers } = response;
    if (status === 204) return { close: "finished" };
    const problem: Problem | undefined = type.includes("json") ? json(await response.text()) : undefined;
    // Frees the connection. It fails if the body was read.
    response.body?.cancel().catch(() => {});
    this.#failures += 1;
    const ms = retryAfter(headers.get("retry-after"), this.#env.now());
    const error = (code: ErrorCode, hint: string) => {
      const said = problem?.detail ?? problem?.title ?? "";
      const message = `the answer is a ${status}${said && ` (${said})`}: ${hint}`;
      return new StreamError(code, message, { status, problem, retryAfter: ms });
    };
    if (status === 401 || status === 403) {
      if (this.#refused) throw error("denied", "sign in, or return another `token`");
      this.#refused = true;
      return { now: true };
    }
    if (status === 410 && typeof problem?.last_event_id === "string")
      return this.#skipGap(problem, problem.last_event_id);
    if (status >= 500 || [408, 409, 425, 429].includes(status)) {
      return { ms, error: error("unavailable", "trying again") };
    }
    if (status === 200) {
      const wrong = error("not-a-stream", `its type is ${type || "unknown"}, and not text/event-stream: check the URL`);
      // Where there was a stream before, this may be a page for maintenance, or for signing in to a network.
      if (this.#known) return { error: wrong };
      throw wrong;
    }
    throw error("refused", "mend the request");
  }

  /** A strict stream says in the status that events are missing. */
  #skipGap(problem: Problem, id: string): Next {
    this.#cursor = id;
    void this.#wiring.frame({ type: "gap", data: JSON.stringify(problem, ["reason", "requested", "first"]), id });
    const now = !this.#gone;
    this.#gone = true;
    return { now };
  }

  #end(cut: "silent" | "page"): void {
    this.#cut ??= cut;
    this.#abort.abort();
  }

  #hear(): void {
    this.#heard = this.#env.now();
    this.#turn(false);
  }

  /** Shows that nothing is heard, or that something is again. */
  #turn(silent: boolean): void {
    if (this.#silent === silent) return;
    this.#silent = silent;
    this.#wiring.state({ name: silent ? "silent" : "open" });
  }

  /** Ends the attempt when nothing was heard for too long. Returns what ends the watch. */
  #watch(): () => void {
    const { after, now } = this.#env;
    this.#heard = now();
    let cancel = () => {};
    const check = () => {
      const quiet = now() - this.#heard;
      if (quiet >= this.keepAlive * DEAD) {
        this.#end("silent");
        return;
      }
      const late = quiet >= this.keepAlive * SILENT;
      if (late) this.#turn(true);
      cancel = after(Math.min(this.keepAlive * (late ? DEAD : SILENT) - quiet, LONGEST), check);
    };
    if (this.keepAlive > 0) check();
    return () => cancel();
  }
}

/** The object that a text has, or `undefined`. */
export function json(text: string): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(text);
    if (typeof value === "object") return value ?? undefined;
  } catch {}
  return undefined;
}
