// Puts an answer together from its tokens.

import { StreamError } from "./errors.js";
import type { EventMap, StreamEvent } from "./types.js";

/**
 * Reads events to their end, and returns what `add` makes of them. By default that is the data of all messages, one after the
 * other. `show` is called with each step, for a page that shows an answer as it grows.
 *
 * Rejects if events are missing, as the text would not be whole.
 */
export async function text<E extends EventMap, S = never>(
  events: AsyncIterable<StreamEvent<E, S>>,
  add: (text: string, event: Exclude<StreamEvent<E, S>, { type: "gap" }>) => string = (text, event) =>
    event.type === "message" ? text + event.data : text,
  show?: (text: string) => void,
): Promise<string> {
  let whole = "";
  for await (const event of events) {
    if (event.type === "gap") {
      const { reason } = event.data as { reason: string };
      throw new StreamError("incomplete", `a part of the text is missing (${reason}): ask for it anew`);
    }
    whole = add(whole, event as never);
    show?.(whole);
  }
  return whole;
}
