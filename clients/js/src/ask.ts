// Answers to a POST that outlive their connection: runs.

import { Connection, json, LIMITS, type Limits } from "./connection.js";
import { type Environment, environment } from "./environment.js";
import { StreamError } from "./errors.js";
import type { Reader } from "./read.js";
import { type RequestOptions, request, resolve } from "./request.js";
import { Stream, type StreamOptions } from "./stream.js";
import type { EventMap, StreamEvent } from "./types.js";

/**
 * How a run ended.
 *
 * `done`: the answer is complete. `stopped`: somebody stopped it. `failed`: the producer did not get to its end; `message` is what
 * the server says of it. `lost`: the producer is gone. `drained`: its server was shut down. `ended`: the server has nothing more,
 * and the protocol of the run says elsewhere how it went.
 */
export interface Outcome {
  outcome: "done" | "stopped" | "failed" | "lost" | "drained" | "ended" | (string & {});
  message?: string;
}

/** The address of something that belongs to a run: a text with `{id}` in it, or a function of the run's id. */
export type Address = string | ((id: string) => string | URL);

export interface AskOptions extends RequestOptions, Partial<Limits>, Pick<StreamOptions, "read"> {
  /**
   * Where the run can be read again, such as `/runs/{id}`: the route whose handler calls `attach`. Without it, an answer that is
   * cut off is an error.
   */
  run?: Address | undefined;
  /** Where a POST stops the run, such as `/runs/{id}/stop`. `stop` needs it. */
  stopAt?: Address | undefined;
  /** The id of the run, if the client has chosen it and sent it with the body. Then a request that is cut before its answer is
   * no error, either. */
  id?: string | undefined;
  /** Default: `POST`. */
  method?: string | undefined;
  /** Ends the reading when it aborts. The run goes on. */
  signal?: AbortSignal | undefined;
}

/** A run, as a stream of its events. To close it is not to stop it. */
export class Run<E extends EventMap = Record<string, string>> implements AsyncIterable<StreamEvent<E>> {
  /** The events. The outcome is not one of them. */
  readonly stream: Stream<E>;
  /** The run's id, once the server has told it. Keep it to attach to the run again. */
  readonly id: Promise<string>;

  readonly #outcome: Promise<Outcome>;
  readonly #stop: (id: string) => Promise<void>;

  constructor(stream: Stream<E>, outcome: Promise<Outcome>, id: Promise<string>, stop: (id: string) => Promise<void>) {
    this.stream = stream;
    this.#outcome = outcome;
    this.id = id;
    this.#stop = stop;
    // Whoever does not ask for them does not want to hear of their failure.
    outcome.catch(() => {});
    id.catch(() => {});
  }

  [Symbol.asyncIterator](): AsyncIterator<StreamEvent<E>, undefined> {
    return this.stream[Symbol.asyncIterator]();
  }

  /**
   * How the run ended. Rejects if the client can't get to its end, or was closed before. To ask for it is to read the run: if you
   * want the events, too, begin to read them first.
   */
  get outcome(): Promise<Outcome> {
    this.stream.flow();
    return this.#outcome;
  }

  /** Asks the server to stop the run. Its outcome tells when it has ended. */
  async stop(): Promise<void> {
    await this.#stop(await this.id);
  }

  /** Reads no further. The run goes on. */
  close(): void {
    this.stream.close();
  }
}

/**
 * Sends a request whose answer is a run, and reads it to its end, over as many connections as that takes. The request is sent
 * once: an answer that is cut off is resumed at the run's own address.
 *
 * A body that is no `BodyInit` is sent as JSON.
 */
export function ask<E extends EventMap>(
  url: string | URL,
  body: unknown,
  options: AskOptions & { read: Reader<E> },
): Run<E>;
export function ask<E extends EventMap = Record<string, string>>(
  url: string | URL,
  body: unknown,
  options?: AskOptions,
): Run<E>;
export function ask<E extends EventMap>(url: string | URL, body: unknown, options: AskOptions = {}): Run<E> {
  return runIn(environment(options.fetch), options, { url, body });
}

/** Reads a run that exists: from its beginning, or after `lastEventId`. */
export function attach<E extends EventMap>(
  id: string,
  options: AskOptions & { run: Address; lastEventId?: string; read: Reader<E> },
): Run<E>;
export function attach<E extends EventMap = Record<string, string>>(
  id: string,
  options: AskOptions & { run: Address; lastEventId?: string },
): Run<E>;
export function attach<E extends EventMap>(
  id: string,
  options: AskOptions & { run: Address; lastEventId?: string },
): Run<E> {
  return runIn(environment(options.fetch), { ...options, id }, undefined);
}

/** A run in any world. */
export function runIn<E extends EventMap>(
  env: Environment,
  options: AskOptions & { lastEventId?: string },
  start: { url: string | URL; body: unknown } | undefined,
): Run<E> {
  let id = options.id;
  let sent = start === undefined;
  let outcome: Outcome | undefined;
  let tellId!: (id: string) => void;
  const known = new Promise<string>((resolve) => {
    tellId = resolve;
  });
  if (id !== undefined) tellId(id);

  const next = async (cursor: string, refused: boolean) => {
    if (!sent) {
      // The server has not begun anything for a request that it refused.
      const { type, body } = encode(start!.body);
      const method = options.method ?? "POST";
      const made = await request(env, options, start!.url, { cursor: "", refused, method, body });
      if (type) made.init.headers.set("content-type", type);
      return made;
    }
    if (id === undefined) {
      const message =
        "the request broke off before its answer, and is not sent again, as a run may have begun: choose the id of a run yourself, and set the option `id`";
      throw new StreamError("unknown-start", message);
    }
    if (options.run === undefined) {
      throw new StreamError("incomplete", "the answer broke off: set the option `run`, so that it can be resumed");
    }
    return request(env, options, address(options.run, id), { cursor, refused });
  };

  // A server may let a request wait until another run has ended.
  const limits = { ...LIMITS, connectTimeout: 60_000, ...options };
  const { read, lastEventId } = options;
  const stream = new Stream<E>(env, { read, lastEventId }, limits, "", (cursor, sink) => {
    const connection: Connection = new Connection(
      {
        ...env,
        fetch: async (url, init) => {
          const first = !sent;
          sent = true;
          const response = await env.fetch(url, init);
          // A refusal is final, but for a token that has expired: nothing has begun.
          if (first && (response.status === 401 || response.status === 403)) sent = false;
          else if (first && !response.ok) throw await refusal(response);
          return response;
        },
      },
      {
        state: sink.state,
        request: next,
        answered: (response) => {
          id = response.headers.get("x-run-id") ?? id;
          if (id !== undefined) tellId(id);
        },
        frame: (frame) => {
          const told = frame.type === "run.outcome" ? json(frame.data) : undefined;
          if (typeof told?.outcome !== "string") return sink.frame(frame);
          outcome = told as unknown as Outcome;
          void sink.frame({ type: "cursor", data: "", id: frame.id });
          connection.stop();
          sink.state({ name: "closed", reason: "finished", error: undefined });
        },
      },
      limits,
      cursor,
    );
    return connection;
  });
  options.signal?.addEventListener("abort", () => stream.close(), { once: true });

  const ended = stream.closed.then(({ reason, error }): Outcome => {
    if (error) throw error;
    if (reason === "finished") return outcome ?? { outcome: "ended" };
    throw new StreamError("incomplete", `the reading was ended before the run (${reason})`);
  });
  const identified = Promise.race([
    known,
    stream.closed.then(
      ({ error }) => id ?? Promise.reject(error ?? new StreamError("incomplete", "the server told no id of the run")),
    ),
  ]);
  return new Run<E>(stream, ended, identified, async (id) => {
    if (options.stopAt === undefined) throw new TypeError("set the option `stopAt` to stop a run");
    const { url, init } = await request(env, options, address(options.stopAt, id), {
      cursor: "",
      refused: false,
      method: "POST",
    });
    init.headers.set("accept", "*/*");
    const response = await env.fetch(url, init);
    if (!response.ok) throw await refusal(response);
  });

  function address(pattern: Address, id: string): URL {
    return resolve(env, typeof pattern === "function" ? pattern(id) : pattern.replace("{id}", encodeURIComponent(id)));
  }
}

/** Why the server does not begin. */
async function refusal(response: Response): Promise<StreamError> {
  const { status } = response;
  const text = await response.text().catch(() => "");
  const problem = json(text);
  const said = problem?.detail ?? problem?.title ?? text.slice(0, 200);
  return new StreamError("refused", `the request was answered with ${status}: ${said}`, { status, problem });
}

/** The body of a request, and its type if `fetch` does not set it. */
function encode(body: unknown): { type?: string; body: BodyInit | null } {
  const given =
    body === undefined ||
    body === null ||
    typeof body === "string" ||
    ArrayBuffer.isView(body) ||
    [ArrayBuffer, Blob, FormData, URLSearchParams, ReadableStream].some((type) => body instanceof type);
  if (given) return { body: (body ?? null) as BodyInit | null };
  return { type: "application/json", body: JSON.stringify(body) };
}
