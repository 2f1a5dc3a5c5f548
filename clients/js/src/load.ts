// A state, and then its changes: the option `load`.

import { backoff, RETRY } from "./backoff.js";
import type { Environment } from "./environment.js";
import { StreamError } from "./errors.js";
import type { Source } from "./stream.js";
import type { Gap, State } from "./types.js";

/** What the function that loads a snapshot is told. */
export interface LoadContext {
  /** Why the state is loaded again; `undefined` at first. */
  gap: Gap | undefined;
  /** Aborts when the stream is closed before the state is there. */
  signal: AbortSignal;
}

/** A snapshot, and the id to follow from. Take the id before the snapshot, so that no change is missing between them. */
export interface Loaded<S> {
  state: S;
  cursor: string;
}

/** What a stream lends to a loader. */
export interface Loading<S> {
  env: Environment;
  gap: Gap | undefined;
  maxWait: number;
  state(state: State): void;
  loaded(loaded: Loaded<S>): void;
}

/** Stands in for the connection until a state is loaded. `snapshot` makes one. */
export type Loader<S> = (loading: Loading<S>) => Source;

/** Makes a value for the option `load` from a function that loads a state. If the function fails, it is called again later. */
export function snapshot<S>(load: (context: LoadContext) => Promise<Loaded<S>>): Loader<S> {
  return ({ env, gap, maxWait, state, loaded }) => {
    const abort = new AbortController();
    const { signal } = abort;
    let skip = () => {};
    const run = async () => {
      if (signal.aborted) return;
      state({ name: "connecting" });
      for (let failures = 1; !signal.aborted; failures += 1) {
        try {
          const result = await load({ gap, signal });
          if (!signal.aborted) loaded(result);
          return;
        } catch (cause) {
          if (signal.aborted) return;
          if (cause instanceof StreamError) return state({ name: "closed", reason: "error", error: cause });
          const ms = backoff(failures, RETRY, maxWait, env.random());
          state({
            name: "waiting",
            ms,
            error: new StreamError("load", "`load` failed, and is called again", { cause }),
          });
          await new Promise<void>((resolve) => {
            const cancel = env.after(ms, resolve);
            skip = () => {
              cancel();
              resolve();
            };
            if (signal.aborted) skip();
          });
        }
      }
    };
    queueMicrotask(run);
    return {
      stop: () => {
        abort.abort();
        skip();
      },
      signal: (signal) => {
        if (signal === "visible" || signal === "online") skip();
      },
    };
  };
}
