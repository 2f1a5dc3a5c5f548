// How long to wait before the next attempt.

/** The server's `retry:` until it sends one. */
export const RETRY = 1000;
/** The shortest wait: whatever the server says, no attempt follows another in a loop without a pause. */
const SHORTEST = 100;
/** The longest time that a timer can take. */
export const LONGEST = 2 ** 31 - 1;

/**
 * The wait after so many failures in a row. It is at least what the server asked for. The jitter spreads the clients of a
 * server that has gone away; after the first failure, the range doubles each time up to `max`.
 */
export function backoff(failures: number, retry: number, max: number, random: number): number {
  const least = Math.max(retry, SHORTEST);
  const most = Math.max(least * 1.25, failures > 1 ? Math.min(max, least * 2 ** (failures - 1)) : 0);
  return allowed(Math.round(least + random * (most - least)));
}

/** Reads a `Retry-After`: seconds, or a date (RFC 9110, 10.2.3). Returns milliseconds. */
export function retryAfter(value: string | null, now: number): number | undefined {
  if (value === null) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isNaN(ms) ? undefined : allowed(ms);
}

function allowed(ms: number): number {
  return Math.min(Math.max(ms, SHORTEST), LONGEST);
}
