// `eventsource`, which is what browsers have, for Node. It reconnects by itself.
export function open(load) {
  const { EventSource } = load("eventsource");
  function read(url, got) {
    return new Promise((resolve, reject) => {
      const source = new EventSource(url);
      let failures = 0;
      const end = (settle, value) => (source.close(), settle(value));
      source.onopen = () => (failures = 0);
      source.onmessage = ({ data, lastEventId }) => {
        // A standard stream has its own line endings. So the application's data is JSON.
        // It goes on with what it has received, even if it was closed.
        if (source.readyState === EventSource.CLOSED) return;
        got.text += JSON.parse(data);
        got.position = lastEventId;
      };
      source.addEventListener("gap", ({ data }) => end(reject, new Error(`gap: ${data}`)));
      source.addEventListener("run.outcome", ({ data, lastEventId }) => {
        got.position = lastEventId;
        const { outcome } = JSON.parse(data);
        if (outcome === "done") end(resolve);
        else if (outcome === "stopped") end(resolve, "stopped");
        else end(reject, new Error(data));
      });
      source.onerror = ({ code, message }) => {
        const error = Object.assign(new Error(message ?? "the connection ended"), { status: code });
        // A 204 closes it, too. It is the one answer that ends without an error of the page's.
        if (source.readyState === EventSource.CLOSED) code === 204 ? end(resolve, "nothing") : end(reject, error);
        // It would go on for ever. A page shows that it has no connection.
        else if (++failures === 2) end(reject, error);
      };
    });
  }
  return {
    async ask({ url, direct, run, prompt }, got) {
      const asked = await fetch(`${direct}/runs/${run}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ prompt }),
      });
      await asked.body?.cancel();
      if (!asked.ok) throw Object.assign(new Error("refused"), { status: asked.status });
      return read(`${url}/runs/${run}`, got);
    },
    attach: ({ url, run, after }, got) => read(`${url}/runs/${run}${after ? `?last_event_id=${after}` : ""}`, got),
  };
}
