// A store for Svelte, which is connected while somebody subscribes:
//
//   const messages = channel("/sse/lobby", [] as string[], (all, event) =>
//     event.type === "message" ? [...all, event.data] : all);
//   {#each $messages as message}<li>{message}</li>{/each}

import { readable } from "svelte/store";
import { type ConnectOptions, connect, type StreamEvent } from "tower-sse";

type Reduce<V> = (value: V, event: StreamEvent<Record<string, string>>) => V;

export function channel<V>(url: string, initial: V, reduce: Reduce<V>, options: ConnectOptions = {}) {
  let value = initial;
  let lastEventId = options.lastEventId;
  return readable(initial, (set) => {
    // A new first subscriber goes on where the last one left.
    const stream = connect(url, lastEventId ? { ...options, lastEventId } : options);
    stream.on("*", (event) => {
      value = reduce(value, event);
      lastEventId = event.id;
      set(value);
    });
    return () => stream.close();
  });
}
