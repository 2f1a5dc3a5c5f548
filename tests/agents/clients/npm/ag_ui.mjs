// `@ag-ui/client`, with an agent that can come back: `HttpAgent` leaves its `connect` to others.
export function open(load, { url, thread }) {
  const { HttpAgent, runHttpRequest, transformHttpEventStream } = load("@ag-ui/client");
  class ResumableAgent extends HttpAgent {
    connect({ runId }) {
      return transformHttpEventStream(runHttpRequest(() => fetch(`${url}/runs/${runId}`)));
    }
  }
  const newAgent = (initialMessages) => new ResumableAgent({ url: `${url}/agent`, threadId: thread, initialMessages });
  async function read(got, begin) {
    let failure;
    await begin({
      onTextMessageContentEvent: ({ event }) => void (got.text += event.delta),
      onRunErrorEvent: ({ event }) => void (failure = new Error(`${event.message} (${event.code})`)),
    });
    if (failure) throw failure;
  }
  return {
    ask({ run, prompt }, got) {
      const agent = newAgent([{ id: "prompt", role: "user", content: prompt }]);
      return read(got, (subscriber) => agent.runAgent({ runId: run }, subscriber));
    },
    attach: ({ run }, got) => read(got, (subscriber) => newAgent([]).connectAgent({ runId: run }, subscriber)),
  };
}

// When a connection breaks, it rejects a second time, where nobody can catch it.
process.on("unhandledRejection", (error) => {
  if (error.message !== "terminated") throw error;
});
