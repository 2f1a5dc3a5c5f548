// The client of tower-sse.

export { type Address, type AskOptions, ask, attach, type Outcome, type Run } from "./ask.js";
export { type ConnectOptions, connect } from "./connect.js";
export type { Limits } from "./connection.js";
export { type ErrorCode, type Problem, StreamError } from "./errors.js";
export { type LoadContext, type Loaded, type Loader, snapshot } from "./load.js";
export { json, type Reader } from "./read.js";
export type { RequestOptions } from "./request.js";
export { type Outputs, type Schema, type Schemas, schemas } from "./schema.js";
export type { CursorStorage, Stream, StreamOptions } from "./stream.js";
export { text } from "./text.js";
export type {
  AppEvent,
  Closed,
  CloseReason,
  EventMap,
  Gap,
  GapEvent,
  LoadEvent,
  NamedEvent,
  State,
  StreamEvent,
} from "./types.js";
