// How the data of events is read: as text, or by the option `read`.

import { StreamError } from "./errors.js";
import type { EventMap } from "./types.js";

/** Reads the data of an event. Returns `undefined` to leave the event out. An error closes the stream. */
export interface Reader<E extends EventMap = EventMap> {
  (type: string, text: string): Promise<{ data: unknown } | undefined>;
  /** For the types alone: what it makes of events by their names. */
  readonly events?: E;
}

/** Makes a value for the option `read` that parses data as JSON. `E` says what the data of each event is; nothing checks it. */
export function json<E extends EventMap = EventMap>(): Reader<E> {
  return async (type, text) => ({ data: parsed(type, text) });
}

/** Parses the data of an event. */
export function parsed(type: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const message = `the data of an event "${type}" is not JSON: leave out \`read\`, or mend the publisher`;
    throw new StreamError("invalid", message, { cause });
  }
}
