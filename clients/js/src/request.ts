// Makes requests: the position, the token, and where each of them goes.

import type { Request } from "./connection.js";
import type { Environment } from "./environment.js";
import { StreamError } from "./errors.js";

/** What requests have in common. */
export interface RequestOptions {
  /**
   * The token for `Authorization: Bearer`, or a function that returns it. The function is called before each attempt, so that
   * it can renew a token that has expired. `refused` says that the server did not accept the last one. If it fails, it is
   * called again later; throw a `StreamError` to end the stream.
   */
  token?: string | ((attempt: { refused: boolean }) => string | Promise<string>) | undefined;
  /** Puts the token into this parameter of the query instead, which needs no preflight from another origin. */
  tokenParameter?: string | undefined;
  /** More headers, or a function that returns them before each attempt. */
  headers?: HeadersInit | (() => HeadersInit | Promise<HeadersInit>) | undefined;
  /** Whether cookies go to other origins. Default: `same-origin`. */
  credentials?: RequestCredentials | undefined;
  /** Replaces the global `fetch`. */
  fetch?: typeof globalThis.fetch | undefined;
}

export async function request(
  env: Environment,
  options: RequestOptions,
  address: string | URL,
  { cursor, refused, ...init }: RequestInit & { cursor: string; refused: boolean },
): Promise<Request> {
  const url = resolve(env, address);
  const { headers: more, token: tokens, tokenParameter } = options;
  const headers = new Headers(typeof more === "function" ? await more() : more);
  headers.set("accept", "text/event-stream");
  let token = tokens;
  if (typeof tokens === "function") {
    try {
      token = await tokens({ refused });
    } catch (cause) {
      if (cause instanceof StreamError) throw cause;
      throw new StreamError("token", "`token` failed, and is called again", { cause });
    }
  }
  if (token !== undefined) {
    if (tokenParameter) url.searchParams.set(tokenParameter, token as string);
    else headers.set("authorization", `Bearer ${token}`);
  }
  if (cursor) {
    // From another origin, the header would need a preflight. The server takes the query if there is no header.
    if (env.origin && env.origin !== url.origin) url.searchParams.set("last_event_id", cursor);
    else headers.set("last-event-id", bytes(cursor));
  }
  if (options.credentials) init.credentials = options.credentials;
  return { url: url.href, init: { ...init, headers } };
}

export function resolve(env: Environment, address: string | URL): URL {
  try {
    return new URL(address, env.base);
  } catch (cause) {
    throw new StreamError("refused", `"${address}" is not a URL, or not absolute outside a page`, {
      cause,
    });
  }
}

/** The id in UTF-8, a character for each byte, as headers take it. */
function bytes(id: string): string {
  return String.fromCharCode(...new TextEncoder().encode(id));
}
