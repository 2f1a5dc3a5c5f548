// One of npm's clients, used as its documentation says: `node client.cjs <modules> <package> <url>`. Prints each event as a
// line of JSON, and `"closed"` once it knows that nothing more will come.
const { createRequire } = require("node:module");

const [modules, name, url] = process.argv.slice(2);
const load = createRequire(`${modules}/package.json`);
const print = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const NAMES = ["message", "token", "gap", "goodbye", "cursor", "-", "end"];

const clients = {
  eventsource() {
    const { EventSource } = load("eventsource");
    const source = new EventSource(url);
    for (const name of NAMES) {
      source.addEventListener(name, (event) => print({ name: event.type, data: event.data, id: event.lastEventId }));
    }
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) print("closed");
    });
  },

  // It can't set the header everywhere, and sends the last id as `?lastEventId=`.
  "event-source-polyfill"() {
    const { EventSourcePolyfill } = load("event-source-polyfill");
    const source = new EventSourcePolyfill(url);
    for (const name of NAMES) {
      source.addEventListener(name, (event) => print({ name: event.type, data: event.data, id: event.lastEventId }));
    }
    source.addEventListener("error", () => {
      if (source.readyState === EventSourcePolyfill.CLOSED) print("closed");
    });
  },

  async "eventsource-client"() {
    const { createEventSource } = load("eventsource-client");
    for await (const { data, event, id } of createEventSource({ url })) {
      print({ name: event ?? "message", data, id });
    }
    print("closed");
  },

  // It is made for browsers, and needs these of them.
  async "@microsoft/fetch-event-source"() {
    globalThis.window = globalThis;
    globalThis.document = { addEventListener() {}, removeEventListener() {}, hidden: false };
    const { fetchEventSource, EventStreamContentType } = load("@microsoft/fetch-event-source");
    // It has no handling of a 204. Its documentation says to "use a custom error"; an exception in `onerror` ends it.
    class Over extends Error {}
    // Resolves when a response ended properly. Whether to ask again, and with which id, is up to the caller.
    const headers = {};
    const ask = () =>
      fetchEventSource(url, {
        openWhenHidden: true,
        headers,
        async onopen(response) {
          if (response.status === 204) throw new Over();
          const type = response.headers.get("content-type");
          if (process.env.CHECKED && type !== EventStreamContentType) throw new Over();
        },
        onmessage({ id, event, data }) {
          headers["last-event-id"] = id;
          print({ name: event || "message", data, id });
        },
        onerror(error) {
          if (error instanceof Over) throw error;
        },
      });
    try {
      for (;;) await ask();
    } catch (error) {
      if (!(error instanceof Over)) throw error;
    }
    print("closed");
  },
};

clients[name]();
