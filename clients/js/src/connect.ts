// `connect`: a stream by its URL.

import { Connection, LIMITS, type Limits, type Wiring } from "./connection.js";
import { type Environment, environment } from "./environment.js";
import type { Reader } from "./read.js";
import { type RequestOptions, request, resolve } from "./request.js";
import { type Source, Stream, type StreamOptions } from "./stream.js";
import type { EventMap } from "./types.js";

export interface ConnectOptions<S = never> extends RequestOptions, StreamOptions<S>, Partial<Limits> {
  /**
   * Shares one connection among the tabs of an origin that connect to the same URL. A text sets another name for what they
   * share; make it differ from user to user if the URL does not. Where tabs can't share, each has its own connection.
   */
  share?: boolean | string | undefined;
  /** Ends the stream when it aborts. */
  signal?: AbortSignal | undefined;
}

/**
 * Connects to a stream of events, and stays connected until it ends or is closed.
 *
 * `E` maps the names of the events to the types of their data, which is text unless the option `read` is set.
 */
export function connect<E extends EventMap, L = never>(
  url: string | URL,
  options: ConnectOptions<L> & { read: Reader<E> },
): Stream<E, L>;
export function connect<E extends EventMap = Record<string, string>, L = never>(
  url: string | URL,
  options?: ConnectOptions<L>,
): Stream<E, L>;
export function connect<E extends EventMap, L>(url: string | URL, options: ConnectOptions<L> = {}): Stream<E, L> {
  return connectIn(environment(options.fetch), url, options);
}

/** `connect` in any world. */
export function connectIn<E extends EventMap, L>(
  env: Environment,
  url: string | URL,
  options: ConnectOptions<L>,
): Stream<E, L> {
  const limits = { ...LIMITS, ...options };
  const { pathname, search } = resolve(env, url);
  const key = pathname + search;
  const { share, signal } = options;
  const stream = new Stream<E, L>(env, options, limits, key, (cursor, sink) => {
    const wiring: Wiring = { ...sink, request: (cursor, refused) => request(env, options, url, { cursor, refused }) };
    const alone = () => new Connection(env, wiring, limits, cursor);
    if (!share) return alone();
    const name = share === true ? key : share;
    // Only who shares loads the code for it. A page that can't load it, as after a deploy, has a connection of its own.
    const source: Promise<Source> = import("./tabs.js").then(
      (tabs) => tabs.share(env, name, wiring, limits, cursor),
      alone,
    );
    return {
      stop: () => void source.then((source) => source.stop()),
      signal: (signal) => void source.then((source) => source.signal(signal)),
    };
  });
  signal?.addEventListener("abort", () => stream.close(), { once: true });
  if (signal?.aborted) stream.close();
  return stream;
}
