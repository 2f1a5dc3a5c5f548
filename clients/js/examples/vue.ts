// A composable for Vue 3:
//
//   const { value: messages, state } = useChannel("/sse/lobby", [] as string[], (all, event) =>
//     event.type === "message" ? [...all, event.data] : all);

import { type ConnectOptions, connect, type State, type StreamEvent } from "tower-sse";
import { onScopeDispose, type Ref, shallowRef } from "vue";

type Reduce<V> = (value: V, event: StreamEvent<Record<string, string>>) => V;

export function useChannel<V>(url: string, initial: V, reduce: Reduce<V>, options: ConnectOptions = {}) {
  const value = shallowRef(initial) as Ref<V>;
  const state = shallowRef<State>({ name: "connecting" });
  // On a server, nothing is followed.
  if (typeof window !== "undefined") {
    const stream = connect(url, options);
    stream.on("state", (next) => {
      state.value = next;
    });
    stream.on("*", (event) => {
      value.value = reduce(value.value, event);
    });
    onScopeDispose(() => stream.close());
  }
  return { value, state };
}
