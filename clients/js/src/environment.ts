// Everything outside: network, clock, page. Tests put a world of their own in its place.

/** What happens to the page. */
export type Signal =
  /** The page became visible, or the user wants an attempt now. */
  | "visible"
  | "online"
  | "offline"
  /** The page is about to be frozen, put into the back-forward cache, or left. */
  | "sleep"
  | "wake";

/** A line to the other tabs. */
export interface Line {
  post(message: unknown): void;
  close(): void;
}

/** What tabs have in common. */
export interface Tabs {
  /**
   * Waits for the lock, and holds it until `held` resolves. With `steal`, takes it from whoever holds it. Rejects if it is
   * stolen, or if `signal` aborts while it waits.
   */
  lock(name: string, options: { steal: boolean; signal: AbortSignal }, held: () => Promise<void>): Promise<void>;
  line(name: string, receive: (message: unknown) => void): Line;
}

/** The world of a stream. */
export interface Environment {
  fetch: (url: string, init: RequestInit) => Promise<Response>;
  /** Milliseconds since some moment; goes on while the machine sleeps. */
  now: () => number;
  random: () => number;
  /** Calls `run` once, after a time. Returns what cancels it. */
  after: (ms: number, run: () => void) => () => void;
  /** Returns what ends the watch. */
  watch: (listener: (signal: Signal) => void) => () => void;
  /** What relative URLs are relative to. */
  base: string | undefined;
  /** Set where `fetch` needs a preflight for a header: on pages, for another origin. */
  origin: string | undefined;
  /** What each request has. */
  init: RequestInit;
  /** Default: those of the origin. */
  tabs?: Tabs | undefined;
  log: (...what: unknown[]) => void;
}

/** Finds out where this runs: in a page, a worker, Node, Deno, Bun, or at the edge. */
export function environment(given: typeof globalThis.fetch | undefined): Environment {
  const { document, location } = globalThis as Partial<typeof globalThis>;
  const fetch = given ?? globalThis.fetch;
  return {
    // Called as a function: browsers refuse `fetch` as a method of anything but the window.
    fetch: (url, init) => fetch(url, init),
    now: Date.now,
    random: Math.random,
    after: (ms, run) => {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
    watch: document ? watchPage : () => () => {},
    base: document?.baseURI ?? location?.href,
    origin: location?.origin,
    // Without it, Firefox lets a request wait until the answer to another one for the same URL is in its cache: until that stream
    // ends. Some runtimes know no caches, and refuse the word.
    init: document ? { cache: "no-store" } : {},
    log: logger(),
  };
}

const SIGNALS: Record<string, Signal> = {
  online: "online",
  offline: "offline",
  pagehide: "sleep",
  freeze: "sleep",
  pageshow: "wake",
  resume: "wake",
  visibilitychange: "visible",
};

/** Some of the events are the document's. The window gets all of them on their way down. */
function watchPage(listener: (signal: Signal) => void): () => void {
  const handler = ({ type }: Event) => {
    if (type !== "visibilitychange" || !document.hidden) listener(SIGNALS[type]!);
  };
  const abort = new AbortController();
  for (const name in SIGNALS) addEventListener(name, handler, { capture: true, signal: abort.signal });
  return () => abort.abort();
}

/** Logs if `localStorage.debug`, or `DEBUG` where there is no page, names the package, as is the habit of many packages. */
function logger(): Environment["log"] {
  let names: string | null | undefined;
  try {
    const { document, process } = globalThis as Partial<typeof globalThis> & {
      process?: { env: Record<string, string> };
    };
    names = document ? localStorage.debug : process?.env.DEBUG;
  } catch {
    // The page may not use storage, or the program may not read its environment.
  }
  return /(^|[\s,])(\*|tower-sse)/.test(names ?? "") ? (...what) => console.debug("tower-sse", ...what) : () => {};
}
