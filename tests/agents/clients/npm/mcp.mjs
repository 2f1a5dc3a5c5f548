// `@modelcontextprotocol/sdk`, with one call of a tool that logs the text, and then has a result.
export async function open(load, { url, direct }) {
  const { Client } = load("@modelcontextprotocol/sdk/client/index.js");
  const { StreamableHTTPClientTransport } = load("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const { CallToolResultSchema, LoggingMessageNotificationSchema } = load("@modelcontextprotocol/sdk/types.js");

  async function call(got, params, resumptionToken) {
    // Only what matters goes through the network with its faults, and not the messages of the beginning.
    const isCall = ({ method, headers, body }) =>
      method === "GET" ? headers.has("last-event-id") : body.includes('"tools/call"');
    const transport = new StreamableHTTPClientTransport(new URL(`${direct}/mcp`), {
      fetch: (_, init) => fetch(`${isCall(init) ? url : direct}/mcp`, init),
    });
    const client = new Client({ name: "test", version: "1" });
    client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void (got.text += params.data));
    await client.connect(transport);
    const failed = new Promise((_, reject) => {
      let last;
      client.onerror = (error) => {
        // It says the same twice if it gives up at once, and otherwise that it has tried often enough. If it has no id yet, it
        // says that the stream is gone, and waits for the end of its patience, which is a minute.
        const isLost = !got.position && /^SSE stream disconnected/.test(error.message);
        if (error === last || isLost || /^Maximum reconnection/.test(error.message)) reject(status(error));
        last = error;
      };
    });
    const onresumptiontoken = (token) => void (got.position = token);
    const request = { method: "tools/call", params };
    try {
      const result = client.request(request, CallToolResultSchema, { resumptionToken, onresumptiontoken });
      await Promise.race([result, failed]);
      // Who has the result has nothing to go on with.
      delete got.position;
    } catch (error) {
      throw status(error);
    } finally {
      failed.catch(() => {});
      await client.close();
    }
  }

  // The code of an error is an HTTP status, or one of JSON-RPC.
  const status = (error) => Object.assign(error, { status: error.code >= 400 ? error.code : undefined });

  return {
    ask: ({ prompt }, got) => call(got, { name: "answer", arguments: { prompt } }),
    // Without an id that it has kept, a page goes on from before the first event.
    attach: ({ run, after }, got) => call(got, { name: "answer" }, after ?? `run.${run}.000000000000-0`),
  };
}
