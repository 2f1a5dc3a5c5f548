// The words of the package: events, states, reasons. Types only.

import type { StreamError } from "./errors.js";

/** Names of events, each with the type of its data. */
// biome-ignore lint/suspicious/noExplicitAny: an interface has no index signature, and is to be accepted too.
export type EventMap = Record<string, any>;

/** An event of the application. */
export interface NamedEvent<Type extends string, Data> {
  type: Type;
  data: Data;
  /** The position after this event: what to resume from once it is dealt with. Empty if the server sent no id yet. */
  id: string;
  /** The channel, if the route shows it and the option `channels` is set. */
  channel: string | undefined;
}

/** The application's events: a union over the names in `E`, so that `type` tells the type of `data`. */
export type AppEvent<E extends EventMap> = { [K in keyof E & string]: NamedEvent<K, E[K]> }[keyof E & string];

/** Why events are missing, as the server says it. */
export interface Gap {
  /**
   * `evicted`: the history was too short. `other-epoch`: it was lost, as by a restart. `unknown-id`: the server does not
   * know the id. `lagged`: this reader was too slow.
   */
  reason: "evicted" | "other-epoch" | "unknown-id" | "lagged" | (string & {});
  /** The id that the client resumed from; `null` if it was connected. */
  requested: string | null;
  /** The offset of the first event that is still held; `null` if there is none. */
  first: number | null;
}

/** Events may be missing before the next one. The events that are still held follow. */
export interface GapEvent {
  type: "gap";
  data: Gap;
  id: string;
  channel: undefined;
}

/** What `load` returned. The events after it follow. */
export interface LoadEvent<S> {
  type: "load";
  data: S;
  id: string;
  channel: undefined;
}

/** Whatever a stream delivers. */
export type StreamEvent<E extends EventMap, S = never> =
  | AppEvent<E>
  | GapEvent
  | ([S] extends [never] ? never : LoadEvent<S>);

/**
 * Why a stream is closed for good.
 *
 * `local`: by `close()`. `finished`: the channel is finished and was read to its end. `disconnected`, `replaced`, `closed`,
 * `revoked`: the server sent the reader away, with a `goodbye`. `error`: the stream can't go on; the error says why.
 */
export type CloseReason =
  | "local"
  | "finished"
  | "disconnected"
  | "replaced"
  | "closed"
  | "revoked"
  | "error"
  | (string & {});

/** What a stream does right now. */
export type State =
  | { name: "connecting" }
  | { name: "open" }
  /** Open, but nothing was heard for longer than the server's keep-alive. If that lasts, the stream reconnects. */
  | { name: "silent" }
  /** Disconnected; the next attempt is due in `ms`, or earlier if the page becomes visible or the network returns. */
  | { name: "waiting"; ms: number; error: StreamError | undefined }
  | { name: "closed"; reason: CloseReason; error: StreamError | undefined };

/** The final state. */
export type Closed = Extract<State, { name: "closed" }>;

/** An event as it came, with the id that it has itself, if any. */
export interface Frame {
  type: string;
  data: string;
  id: string | undefined;
}
