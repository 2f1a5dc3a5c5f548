// What can go wrong, and what to do about it.

/** A problem as the server describes it, after RFC 9457. */
export interface Problem {
  title?: string;
  detail?: string;
  status?: number;
  [member: string]: unknown;
}

/**
 * What went wrong, in one word:
 *
 * - `network`: no answer, or the answer broke off
 * - `silent`: nothing was heard, not even keep-alives
 * - `token`: the option `token` failed
 * - `denied`: a 401 or 403, with a fresh token too
 * - `refused`: another status that does not go away by waiting
 * - `unavailable`: a status that does, such as 429, 502 and 503
 * - `not-a-stream`: the answer is something else than a stream of events
 * - `version`: the server speaks a version that this package does not
 * - `invalid`: the data of an event is not what the schema says, or not JSON
 * - `load`: the option `load` failed
 * - `unknown-start`: a request was cut before its answer, and nothing tells whether a run has begun
 * - `incomplete`: a run can't be read to its end
 */
export type ErrorCode =
  | "network"
  | "silent"
  | "token"
  | "denied"
  | "refused"
  | "unavailable"
  | "not-a-stream"
  | "version"
  | "invalid"
  | "load"
  | "unknown-start"
  | "incomplete";

/** More about an error. */
export interface ErrorDetails {
  cause?: unknown;
  status?: number | undefined;
  problem?: Problem | undefined;
  retryAfter?: number | undefined;
  issues?: unknown;
}

/** An error of a stream or a run. The message says what to do. */
export class StreamError extends Error {
  override readonly name = "StreamError";
  declare readonly code: ErrorCode;
  /** The status of the answer, if there was one. */
  declare readonly status: number | undefined;
  /** The server's description, if it sent one. */
  declare readonly problem: Problem | undefined;
  /** For how many milliseconds the server wants to be left alone. */
  declare readonly retryAfter: number | undefined;
  /** What a schema objects to. */
  declare readonly issues: unknown;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details);
    // What is a `cause` already, stays hidden as the platform has it.
    Object.assign(this, details, { code });
  }
}
