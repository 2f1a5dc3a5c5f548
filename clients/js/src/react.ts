// Hooks for React 18 and later: safe in strict mode, with server rendering and with concurrent rendering.

import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { type Address, type AskOptions, ask, attach, type Outcome, type Run } from "./ask.js";
import { type ConnectOptions, connect } from "./connect.js";
import type { StreamError } from "./errors.js";
import type { CursorStorage, Stream } from "./stream.js";
import type { EventMap, State, StreamEvent } from "./types.js";

/** A value outside of React, and who wants to hear of it. */
class Store<V> {
  readonly #listeners = new Set<() => void>();

  constructor(public value: V) {}

  readonly get = (): V => this.value;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  set(value: V): void {
    this.value = value;
    for (const listener of this.#listeners) listener();
  }
}

/** The last value that was rendered, for callbacks that run later. */
function useLatest<V>(value: V): { current: V } {
  const latest = useRef(value);
  useEffect(() => {
    latest.current = value;
  });
  return latest;
}

/** Functions among the options may change from render to render: the last ones count. */
function following<O extends object>(latest: { current: O }): O {
  const entries = Object.entries(latest.current).map(([name, value]) => [
    name,
    typeof value !== "function"
      ? value
      : (...args: unknown[]) => (latest.current[name as keyof O] as typeof value)(...args),
  ]);
  return Object.fromEntries(entries);
}

const CONNECTING: State = { name: "connecting" };

/**
 * Connects to a stream for as long as the component is mounted, and calls `receive` for each event. Returns the stream's state.
 * Without a URL, it does nothing. Another URL is another stream; other options count from the next stream on, but functions count
 * at once.
 *
 * A component that is hidden and shown again goes on where it was.
 */
export function useStream<E extends EventMap = Record<string, string>, L = never>(
  url: string | URL | null | undefined,
  receive: (event: StreamEvent<E, L>) => void,
  options: ConnectOptions<L> = {},
): State {
  const address = url?.toString();
  const store = useMemo(() => ({ state: new Store<State>(CONNECTING), cursor: "" }), [address]);
  const latest = useLatest(options);
  const received = useLatest(receive);
  useEffect(() => {
    if (address === undefined) return undefined;
    const options = following(latest);
    const stream: Stream<E, L> = connect<E, L>(
      address,
      store.cursor ? { ...options, lastEventId: store.cursor } : options,
    );
    const dispose = [
      stream.on("state", (state) => store.state.set(state)),
      stream.on("*", (event) => {
        store.cursor = event.id;
        received.current(event);
      }),
    ];
    return () => {
      for (const end of dispose) end();
      stream.close();
    };
  }, [address, store, latest, received]);
  return useSyncExternalStore(store.state.subscribe, store.state.get, store.state.get);
}

export interface ChannelOptions<E extends EventMap, V, L = never> extends ConnectOptions<L> {
  /** The value before the first event. */
  initial: V;
  /** Makes the next value of an event. It has to be pure. */
  reduce: (value: V, event: StreamEvent<E, L>) => V;
}

/** Follows a stream, and returns what a reducer makes of its events, and the state of the stream. */
export function useChannel<V, E extends EventMap = Record<string, string>, L = never>(
  url: string | URL | null | undefined,
  { initial, reduce, ...options }: ChannelOptions<E, V, L>,
): [value: V, state: State] {
  const address = url?.toString();
  const store = useMemo(() => new Store(initial), [address]);
  const receive = useCallback((event: StreamEvent<E, L>) => store.set(latest.current(store.value, event)), [store]);
  const latest = useLatest(reduce);
  const state = useStream<E, L>(url, receive, options as ConnectOptions<L>);
  return [useSyncExternalStore(store.subscribe, store.get, store.get), state];
}

export interface RunOptions<E extends EventMap, V> extends AskOptions {
  /** The value before the first event. */
  initial: V;
  /** Makes the next value of an event. It has to be pure. */
  reduce: (value: V, event: StreamEvent<E>) => V;
  /** Keeps the id of the active run under `storageKey`, so that a page that is loaded again reads it again, from its beginning. */
  storage?: (CursorStorage & { removeItem(key: string): void }) | undefined;
  /** Default: `tower-sse-run:` and the URL. */
  storageKey?: string | undefined;
}

/** A run, as a component sees it. */
export interface RunView<V> {
  /** What the reducer made of the events. */
  value: V;
  /** `idle` before the first run. */
  status: "idle" | "running" | "ended" | "error";
  /** How the run ended. */
  outcome: Outcome | undefined;
  /** Why the run could not be read to its end. */
  error: StreamError | undefined;
}

export interface RunHandle<V> extends RunView<V> {
  /** Starts a run. What was read of another one before is forgotten. */
  send: (body: unknown) => void;
  /** Asks the server to stop the run. */
  stop: () => Promise<void>;
}

/** Starts runs at a URL, and reads them. A run goes on when the component is unmounted. */
export function useRun<V, E extends EventMap = Record<string, string>>(
  url: string | URL,
  options: RunOptions<E, V>,
): RunHandle<V> {
  const address = url.toString();
  const latest = useLatest(options);
  const store = useMemo(() => {
    const idle: RunView<V> = { value: options.initial, status: "idle", outcome: undefined, error: undefined };
    return Object.assign(new Store(idle), { run: undefined as Run<E> | undefined });
  }, [address]);

  const read = useCallback(
    (run: Run<E>) => {
      const { storage, storageKey = `tower-sse-run:${address}`, initial } = latest.current;
      store.run?.close();
      store.run = run;
      const set = (change: Partial<RunView<V>>) => store.run === run && store.set({ ...store.value, ...change });
      set({ value: initial, status: "running", outcome: undefined, error: undefined });
      run.stream.on("*", (event) => set({ value: latest.current.reduce(store.value.value, event) }));
      run.id.then(
        (id) => store.run === run && store.value.status === "running" && storage?.setItem(storageKey, id),
        () => {},
      );
      const end = (change: Partial<RunView<V>>) => {
        if (store.run !== run) return;
        storage?.removeItem(storageKey);
        set(change);
      };
      run.outcome.then(
        (outcome) => end({ status: "ended", outcome }),
        (error) => end({ status: "error", error }),
      );
    },
    [address, latest, store],
  );

  useEffect(() => {
    const { run, storage, storageKey = `tower-sse-run:${address}` } = latest.current;
    const kept = store.run ? undefined : storage?.getItem(storageKey);
    if (kept && run) read(attach<E>(kept, { ...following(latest), run: run as Address }));
    return () => {
      const { run } = store;
      // What the run still does is of no interest, and it is to be found by its id.
      store.run = undefined;
      run?.close();
    };
  }, [address, latest, read, store]);

  const send = useCallback((body: unknown) => read(ask<E>(address, body, following(latest))), [address, latest, read]);
  const stop = useCallback(async () => store.run?.stop(), [store]);
  const view = useSyncExternalStore(store.subscribe, store.get, store.get);
  return useMemo(() => ({ ...view, send, stop }), [view, send, stop]);
}
