// What an application holds: events in order, to listeners and loops, with the position of what was dealt with.

import { json, type Limits } from "./connection.js";
import type { Environment, Signal } from "./environment.js";
import type { StreamError } from "./errors.js";
import type { Loader } from "./load.js";
import type { Reader } from "./read.js";
import type { Closed, EventMap, Frame, Gap, GapEvent, LoadEvent, NamedEvent, State, StreamEvent } from "./types.js";

/** Where frames come from: a connection, or the tab that has it. */
export interface Source {
  stop(): void;
  signal(signal: Signal): void;
}

/** Where they go. */
export interface Sink {
  frame(frame: Frame): void | Promise<void>;
  state(state: State): void;
}

/** Where the position is kept: `sessionStorage`, `localStorage`, or anything like it. */
export interface CursorStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

export interface StreamOptions<S = never> {
  /** Reads the data of each event, which is text by default. Made by `json` or `schemas`. */
  read?: Reader | undefined;
  /** The id to start from. It goes before one in `storage`. */
  lastEventId?: string | undefined;
  /** Keeps the position, so that a page that is loaded again goes on where it was. */
  storage?: CursorStorage | undefined;
  /** The key in `storage`. Default: `tower-sse:` and the URL without its origin. */
  storageKey?: string | undefined;
  /** Loads a state, and again after each gap; the stream follows from its cursor. Made by `snapshot`. */
  load?: Loader<S> | undefined;
  /** Takes the channel from the names of events, on a route that shows it there (`show_channel`). */
  channels?: boolean | undefined;
}

/** So many events wait for a loop before the client stops reading. */
const HIGH = 256;

type Listener = (value: never) => void;

/** A loop over the events. */
interface Loop<V> {
  queue: { value: V; seq: number }[];
  /** The last event that the loop is done with. */
  done: number;
  wakers: (() => void)[];
}

/** A stream of events. Iterate over it, or listen with `on`. Nothing is lost before the first loop or listener is there. */
export class Stream<E extends EventMap = Record<string, string>, S = never>
  implements AsyncIterable<StreamEvent<E, S>>
{
  /** Resolves when the stream is closed, and never rejects. */
  readonly closed: Promise<Closed>;

  readonly #env: Environment;
  readonly #options: StreamOptions<S>;
  readonly #key: string;
  readonly #open: (cursor: string, sink: Sink) => Source;
  readonly #maxWait: number;
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #loops = new Set<Loop<StreamEvent<E, S>>>();
  readonly #unwatch: () => void;
  #settle!: (closed: Closed) => void;
  #source: Source | undefined;
  #state: State = { name: "connecting" };
  #final: Closed | undefined;
  /** What was dealt with, and what was received. */
  #cursor: string;
  #received: string;
  /** Steps that wait for their turn, and what goes on when few are left. */
  #steps: (() => void | Promise<void>)[] = [];
  #drained: (() => void) | undefined;
  #drain: Promise<void> | undefined;
  #pumping = false;
  /** Somebody reads. */
  #begun = false;
  /** The number of events that were given out, and the positions after those that are not dealt with. */
  #seq = 0;
  #unsettled: { seq: number; id: string }[] = [];

  constructor(
    env: Environment,
    options: StreamOptions<S>,
    limits: Pick<Limits, "maxWait">,
    key: string,
    open: (cursor: string, sink: Sink) => Source,
  ) {
    this.#env = env;
    this.#options = options;
    this.#maxWait = limits.maxWait;
    this.#key = options.storageKey ?? `tower-sse:${key}`;
    this.#open = open;
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#cursor = options.lastEventId ?? this.#stored((storage) => storage.getItem(this.#key)) ?? "";
    this.#received = this.#cursor;
    this.#unwatch = env.watch((signal) => this.#source?.signal(signal));
    this.#start(undefined);
  }

  /** What the stream does right now. */
  get state(): State {
    return this.#state;
  }

  /** The id after the last event that was dealt with: listeners have returned, and loops have asked for the next one. */
  get cursor(): string {
    return this.#cursor;
  }

  /** Ends the stream. Loops end; to start again, connect anew. */
  close(): void {
    this.#steps = [];
    this.#finish({ name: "closed", reason: "local", error: undefined });
  }

  /** Reads on, even if nobody listens. By default the stream waits for the first loop or listener. */
  flow(): void {
    if (this.#begun) return;
    this.#begun = true;
    // Who listens to several names begins with all of them.
    queueMicrotask(() => this.#pump());
  }

  /** Ends a wait for the next attempt, unless the server asked for it. */
  retry(): void {
    this.#source?.signal("visible");
  }

  /**
   * Calls `listener` for each event of this name, for each `gap`, `load` or change of `state`, or with `*` for whatever a loop
   * gets. Returns what ends that.
   */
  on(name: "state", listener: (state: State) => void): () => void;
  on(name: "gap", listener: (event: GapEvent) => void): () => void;
  on(name: "load", listener: (event: LoadEvent<S>) => void): () => void;
  on(name: "*", listener: (event: StreamEvent<E, S>) => void): () => void;
  on<K extends keyof E & string>(name: K, listener: (event: NamedEvent<K, E[K]>) => void): () => void;
  on(name: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    if (name !== "state") this.flow();
    return () => listeners.delete(listener);
  }

  [Symbol.asyncIterator](): AsyncIterator<StreamEvent<E, S>, undefined> {
    const loop: Loop<StreamEvent<E, S>> = { queue: [], done: this.#seq, wakers: [] };
    this.#loops.add(loop);
    this.flow();
    return {
      next: async () => {
        for (;;) {
          this.#done(loop);
          const next = loop.queue.shift();
          if (next) {
            if (loop.queue.length < HIGH) this.#pump();
            return { done: false, value: next.value };
          }
          if (this.#final) {
            this.#loops.delete(loop);
            if (this.#final.error) throw this.#final.error;
            return { done: true, value: undefined };
          }
          await new Promise<void>((resolve) => loop.wakers.push(resolve));
        }
      },
      return: async () => {
        this.#done(loop);
        this.#loops.delete(loop);
        const listens = [...this.#listeners].some(([name, { size }]) => name !== "state" && size > 0);
        if (this.#loops.size === 0 && !listens) this.close();
        return { done: true, value: undefined };
      },
    };
  }

  /** Loads a state, if there is one to load, and connects. */
  #start(gap: Gap | undefined): void {
    const { load } = this.#options;
    if (!load) {
      this.#connect();
      return;
    }
    this.#source = load({
      env: this.#env,
      gap,
      maxWait: this.#maxWait,
      state: (state) => this.#learn(state),
      loaded: ({ state, cursor }) => {
        this.#received = cursor;
        const event = { type: "load", data: state, id: cursor, channel: undefined } as StreamEvent<E, S>;
        this.#then(() => this.#give(event, cursor));
        this.#connect();
      },
    });
  }

  #connect(): void {
    const source: Source = this.#open(this.#received, {
      frame: (frame) => this.#frame(frame),
      state: (state) => {
        if (this.#source === source) this.#learn(state);
      },
    });
    this.#source = source;
  }

  #frame(frame: Frame): void | Promise<void> {
    const id = frame.id ?? this.#received;
    this.#received = id;
    const told = frame.type === "gap" ? json(frame.data) : undefined;
    if (typeof told?.reason === "string") {
      const gap = told as unknown as Gap;
      this.#then(() => this.#give({ type: "gap", data: gap, id, channel: undefined }, id));
      if (this.#options.load) {
        // What follows the gap is part of the state that is loaded.
        this.#source?.stop();
        this.#start(gap);
      }
    } else if (frame.type === "cursor" && frame.data === "") {
      this.#then(() => this.#give(undefined, id));
    } else {
      this.#then(() => this.#event(frame, id));
    }
    if (this.#steps.length < HIGH) return;
    this.#drain ??= new Promise((resolve) => {
      this.#drained = resolve;
    });
    return this.#drain;
  }

  async #event({ type: name, data: text }: Frame, id: string): Promise<void> {
    let type = name;
    let channel: string | undefined;
    const colon = this.#options.channels ? name.indexOf(":") : -1;
    if (colon >= 0) {
      channel = decodeURIComponent(name.slice(0, colon));
      type = name.slice(colon + 1);
    }
    try {
      const { read } = this.#options;
      const event = read ? await read(type, text) : { data: text };
      this.#give(event && ({ type, data: event.data, id, channel } as StreamEvent<E, S>), id);
    } catch (error) {
      this.#finish({ name: "closed", reason: "error", error: error as StreamError });
    }
  }

  /** Gives an event to everybody; with none, only the position moves on. */
  #give(event: StreamEvent<E, S> | undefined, id: string): void {
    if (this.#final) return;
    this.#seq += 1;
    this.#unsettled.push({ seq: this.#seq, id });
    for (const loop of this.#loops) {
      if (event) loop.queue.push({ value: event, seq: this.#seq });
      wake(loop);
    }
    if (event) {
      this.#env.log("gives", event.type, id);
      // An application's event may have any name. The listeners of states are told of states alone.
      if (event.type !== "state" && event.type !== "*") this.#tell(event.type, event);
      this.#tell("*", event);
    }
    this.#acknowledge();
  }

  /** A loop asks for an event: it is done with all before that. */
  #done(loop: Loop<unknown>): void {
    loop.done = (loop.queue[0]?.seq ?? this.#seq + 1) - 1;
    this.#acknowledge();
  }

  #acknowledge(): void {
    let least = this.#seq;
    for (const { done } of this.#loops) least = Math.min(least, done);
    let id = this.#cursor;
    while (this.#unsettled[0] && this.#unsettled[0].seq <= least) id = this.#unsettled.shift()!.id;
    if (id === this.#cursor) return;
    this.#cursor = id;
    this.#stored((storage) => storage.setItem(this.#key, id));
  }

  /** Uses the storage, which may be full, or not be allowed. */
  #stored<T>(use: (storage: CursorStorage) => T): T | undefined {
    const { storage } = this.#options;
    try {
      return storage && use(storage);
    } catch (error) {
      this.#env.log("storage", error);
      return undefined;
    }
  }

  #then(step: () => void | Promise<void>): void {
    if (this.#final) return;
    this.#steps.push(step);
    this.#pump();
  }

  /** Takes one step after the other, as long as somebody reads and no loop is far behind. */
  async #pump(): Promise<void> {
    if (this.#pumping || !this.#begun) return;
    this.#pumping = true;
    for (;;) {
      if ([...this.#loops].some(({ queue }) => queue.length >= HIGH)) break;
      const step = this.#steps.shift();
      if (!step) break;
      await step();
      if (this.#steps.length < HIGH) {
        this.#drained?.();
        this.#drain = this.#drained = undefined;
      }
    }
    this.#pumping = false;
  }

  /** Shows a state. The final one comes after what was received. */
  #learn(state: State): void {
    if (state.name !== "closed") this.#show(state);
    else if (this.#steps.length === 0 && !this.#pumping) this.#finish(state);
    else this.#then(() => this.#finish(state));
  }

  #show(state: State): void {
    if (this.#final) return;
    this.#state = state;
    this.#env.log(state);
    this.#tell("state", state);
  }

  #finish(closed: Closed): void {
    if (this.#final) return;
    this.#show(closed);
    this.#final = closed;
    this.#source?.stop();
    this.#unwatch();
    this.#drained?.();
    for (const loop of this.#loops) wake(loop);
    this.#settle(closed);
  }

  #tell(name: string, value: unknown): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        listener(value as never);
      } catch (error) {
        // Not the stream's to handle.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}

function wake(loop: Loop<unknown>): void {
  for (const resolve of loop.wakers.splice(0)) resolve();
}
