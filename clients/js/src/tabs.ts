// One connection for all tabs. The tab that holds a lock leads: it has the connection, and tells the others what comes.
//
// Each tab knows its own position, and follows the leader only while it is sure to miss and repeat nothing. Otherwise it has a
// connection of its own, which resumes from its own position, until the two streams meet: at an event that came both ways,
// or, if there is no event, once both have got a keep-alive, which the server sends only to a reader that has everything.

import { Connection, DEAD, type Limits, type Wiring } from "./connection.js";
import type { Environment, Line, Signal, Tabs } from "./environment.js";
import { StreamError } from "./errors.js";
import type { Source } from "./stream.js";
import type { Frame, State } from "./types.js";

/** What the leader tells. `term` is when it began to lead, and `seq` the number of frames it has told since. */
type Told = { term: number; seq: number } & News;
type News =
  | { kind: "frame"; frame: Frame }
  | { kind: "beat" }
  /** `cursor`: the leader's position. It is told at the beginning, at each change, and when somebody asks. */
  | { kind: "state"; state: State; cursor: string; keepAlive: number };
type Message =
  | Told
  /** Who leads, and where is it? */
  | { kind: "hello" }
  /** The page of the sender became visible, or the user wants an attempt. */
  | { kind: "signal"; signal: Signal };

/** How long a leader may take to answer a `hello`, and how long to be quiet if its server has no keep-alive. */
const ANSWER = 2000;
const QUIET = 60_000;
/** How many ids are remembered to tell events apart that come a second time. */
const SEEN = 256;

class Shared implements Source {
  readonly #env: Environment;
  readonly #tabs: Tabs;
  readonly #name: string;
  readonly #wiring: Wiring;
  readonly #limits: Limits;
  #cursor: string;
  #line: Line | undefined;
  /** The connection of this tab: as the leader, or until it can follow. */
  #connection: Connection | undefined;
  /** Lets go of the lock, or of the wait for it. */
  #release: () => void = () => {};
  /** This tab leads if `mine`. */
  #mine = false;
  #term = 0;
  #seq = 0;
  /** The state of the own connection, and the leader's. */
  #state: State = { name: "connecting" };
  #leader: State = { name: "connecting" };
  #keepAlive: number;
  /** The leader has got a keep-alive since this tab's connection brought something, and since it told its position. */
  #beaten = false;
  /** This tab follows the leader. */
  #follows = false;
  /** The leader's frames since it told its position, and that position, while this tab does not follow. */
  #ahead: Frame[] = [];
  #base: string | undefined;
  /** Frames without an id since the last one with an id, and the last ids, as they came over the own connection. */
  #loose: Frame[] = [];
  #seen: string[] = [];
  #cancel: () => void = () => {};
  #stopped = false;

  constructor(env: Environment, tabs: Tabs, name: string, wiring: Wiring, limits: Limits, cursor: string) {
    this.#env = env;
    this.#tabs = tabs;
    // Tabs with another version of these messages have a leader of their own.
    this.#name = `tower-sse-1:${name}`;
    this.#wiring = wiring;
    this.#limits = limits;
    this.#cursor = cursor;
    this.#keepAlive = limits.keepAlive;
    queueMicrotask(() => this.#join());
  }

  stop(): void {
    this.#stopped = true;
    this.#leave();
  }

  signal(signal: Signal): void {
    if (signal === "sleep") this.#leave();
    else if (signal === "wake") this.#join();
    else if (this.#connection) this.#connection.signal(signal);
    else this.#line?.post({ kind: "signal", signal } satisfies Message);
  }

  /** Joins the tabs: asks who leads, and waits to lead. */
  #join(): void {
    if (this.#stopped || this.#line) return;
    this.#line = this.#tabs.line(this.#name, (message) => this.#receive(message as Message));
    this.#line.post({ kind: "hello" } satisfies Message);
    this.#queue(false);
    this.#expect(ANSWER);
  }

  #leave(): void {
    this.#release();
    this.#line?.close();
    this.#line = undefined;
    this.#drop();
    this.#cancel();
    this.#mine = this.#follows = false;
    this.#term = 0;
  }

  /** Waits for the lock, or takes it. Whoever loses it goes on with its own connection until it can follow. */
  #queue(steal: boolean): void {
    this.#release();
    const abort = new AbortController();
    let free = () => {};
    this.#release = () => {
      abort.abort();
      free();
    };
    const held = () =>
      new Promise<void>((resolve) => {
        free = resolve;
        if (abort.signal.aborted) resolve();
        else this.#lead();
      });
    this.#tabs.lock(this.#name, { steal, signal: abort.signal }, held).catch(() => {
      if (abort.signal.aborted || !this.#line) return;
      this.#env.log("leads no more");
      this.#mine = this.#follows = false;
      this.#part(undefined, 0);
      this.#term = 0;
      this.#queue(false);
      this.#line.post({ kind: "hello" } satisfies Message);
      this.#expect(ANSWER);
    });
  }

  #lead(): void {
    this.#env.log("leads from", this.#cursor || "nothing");
    this.#cancel();
    this.#mine = true;
    this.#follows = false;
    // Later than the term of any leader before, whatever the clock says.
    this.#term = Math.max(Date.now(), this.#term + 1);
    this.#seq = 0;
    if (!this.#connection) this.#state = { name: "connecting" };
    this.#tellState();
    this.#connect();
  }

  /** Opens a connection of this tab's own, if there is none. */
  #connect(): void {
    if (this.#connection) return;
    this.#loose = [];
    this.#seen = [];
    const wiring: Wiring = {
      request: this.#wiring.request,
      frame: (frame) => (connection === this.#connection ? this.#own(frame) : undefined),
      state: (state) => {
        if (connection !== this.#connection) return;
        this.#state = state;
        this.#tellState();
        this.#show(state);
      },
      beat: () => {
        if (connection !== this.#connection) return;
        if (this.#mine) this.#tell({ kind: "beat" });
        else this.#level();
      },
    };
    const connection = new Connection(this.#env, wiring, this.#limits, this.#cursor);
    this.#connection = connection;
  }

  #drop(): void {
    this.#connection?.stop();
    this.#connection = undefined;
  }

  /** A frame came over this tab's connection. */
  #own(frame: Frame): void | Promise<void> {
    const parked = this.#take(frame);
    if (this.#mine) {
      this.#seq += 1;
      this.#tell({ kind: "frame", frame });
      // The others must not wait for this tab's loops.
      return;
    }
    this.#beaten = false;
    if (frame.id === undefined) {
      this.#loose.push(frame);
      return parked;
    }
    this.#loose = [];
    this.#seen = [...this.#seen.slice(-SEEN), frame.id];
    const met = this.#ahead.findLastIndex(({ id }) => id === frame.id);
    if (met >= 0) this.#meet(this.#ahead.slice(met + 1));
    else if (this.#base === frame.id) this.#meet(this.#ahead);
    return parked;
  }

  #take(frame: Frame): void | Promise<void> {
    this.#cursor = frame.id ?? this.#cursor;
    return this.#wiring.frame(frame);
  }

  /** The server has sent this tab everything. If the leader has everything, too, and told of nothing, there was nothing. */
  #level(): void {
    if (!this.#beaten || this.#base === undefined || this.#ahead.some(({ id }) => id !== undefined)) return;
    this.#cursor ||= this.#base;
    this.#meet(this.#ahead);
  }

  /** From here on this tab follows. `rest` is what the leader has told beyond this tab's position. */
  #meet(rest: Frame[]): void {
    this.#env.log("follows from", this.#cursor || "nothing");
    this.#drop();
    this.#follows = true;
    this.#ahead = [];
    for (const frame of rest) this.#followed(frame);
    this.#show(this.#leader);
  }

  #followed(frame: Frame): void {
    if (frame.id === undefined) {
      const seen = this.#loose.findIndex(({ type, data }) => type === frame.type && data === frame.data);
      if (seen < 0) void this.#take(frame);
      else this.#loose.splice(seen, 1);
    } else if (!this.#seen.includes(frame.id)) {
      this.#loose = [];
      this.#seen = [];
      void this.#take(frame);
    }
  }

  #receive(message: Message): void {
    if (message.kind === "hello") {
      this.#tellState();
      // The timers of a leader in the background may be late. Whoever asks can't wait for them.
      if (this.#mine) this.#connection?.signal("visible");
    } else if (message.kind === "signal") {
      if (this.#mine) this.#connection?.signal(message.signal);
    } else if (!this.#mine && message.term >= this.#term) this.#hear(message);
  }

  /** The leader says something. A tab that was frozen may believe that it still leads, and is not heard. */
  #hear(message: Told): void {
    if (message.kind === "state") this.#learn(message);
    // A tab that has not heard where the leader is can't use what it tells.
    if (message.term !== this.#term) return;
    if (this.#leader.name === "waiting") this.#expect(this.#leader.ms + ANSWER);
    else this.#expect(this.#keepAlive > 0 ? this.#keepAlive * DEAD : QUIET);
    if (message.kind === "beat") this.#beaten = true;
    if (message.kind !== "frame") return;
    this.#seq += 1;
    if (message.seq !== this.#seq) {
      this.#line?.post({ kind: "hello" } satisfies Message);
      this.#part(undefined, message.seq);
    } else if (this.#follows) {
      this.#followed(message.frame);
    } else {
      this.#ahead.push(message.frame);
      if (message.frame.id !== undefined && message.frame.id === this.#cursor) this.#meet([]);
    }
  }

  /** The leader told its state and its position. */
  #learn({ term, seq, state, cursor, keepAlive }: Told & { kind: "state" }): void {
    this.#leader = "error" in state && state.error ? { ...state, error: revive(state.error) } : state;
    this.#keepAlive = keepAlive;
    if (term > this.#term || this.#base === undefined) {
      this.#term = term;
      this.#part(cursor, seq);
      if (cursor === this.#cursor) this.#meet([]);
      else this.#connect();
    } else if (this.#follows) {
      this.#show(this.#leader);
    }
  }

  /** Follows no more, and notes where the leader is, to meet it again. */
  #part(base: string | undefined, seq: number): void {
    this.#follows = false;
    this.#base = base;
    this.#seq = seq;
    this.#ahead = [];
    this.#beaten = false;
  }

  #show(state: State): void {
    if (state.name === "closed") {
      // What it says holds for all that follow. The others learn it from the server.
      this.#leave();
      this.#stopped = true;
    }
    this.#wiring.state(state);
  }

  #tellState(): void {
    if (!this.#mine) return;
    let state = this.#state;
    if ("error" in state && state.error) {
      // Its class and its cause don't pass.
      const { code, message, status, retryAfter } = state.error;
      state = { ...state, error: { code, message, status, retryAfter } as StreamError };
    }
    const keepAlive = this.#connection?.keepAlive ?? this.#keepAlive;
    this.#tell({ kind: "state", state, cursor: this.#cursor, keepAlive });
  }

  #tell(what: News): void {
    this.#line?.post({ ...what, term: this.#term, seq: this.#seq } satisfies Message);
  }

  /** Asks if nothing is heard of the leader in time, and takes its place if it does not answer. */
  #expect(ms: number): void {
    this.#cancel();
    if (this.#mine || !this.#line) return;
    this.#cancel = this.#env.after(ms, () => {
      this.#line?.post({ kind: "hello" } satisfies Message);
      // Each tab waits for a time of its own, so that one of them is first.
      this.#cancel = this.#env.after(ANSWER * (1 + this.#env.random()), () => this.#queue(true));
    });
  }
}

function revive({ code, message, ...details }: StreamError): StreamError {
  return new StreamError(code, message, details);
}

/** A connection that tabs share, or one of this tab's own where they can't. */
export function share(env: Environment, name: string, wiring: Wiring, limits: Limits, cursor: string): Source {
  const tabs = env.tabs ?? tabsOfOrigin();
  return tabs ? new Shared(env, tabs, name, wiring, limits, cursor) : new Connection(env, wiring, limits, cursor);
}

/** The tabs of the page's origin, where there are locks and channels. */
export function tabsOfOrigin(): Tabs | undefined {
  const { location, navigator } = globalThis as Partial<typeof globalThis>;
  const locks = navigator?.locks;
  if (!locks || !globalThis.BroadcastChannel || !location) return undefined;
  return {
    lock: (name, { steal, signal }, held) => locks.request(name, steal ? { steal } : { signal }, held),
    line: (name, receive) => {
      const channel = new BroadcastChannel(name);
      channel.onmessage = (event) => receive(event.data);
      return { post: (message) => channel.postMessage(message), close: () => channel.close() };
    },
  };
}
