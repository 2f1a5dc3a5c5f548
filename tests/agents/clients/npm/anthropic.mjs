// `@anthropic-ai/sdk`, with messages.
export function open(load, { url }) {
  const { Anthropic } = load("@anthropic-ai/sdk");
  const client = new Anthropic({ baseURL: url, apiKey: "none" });
  async function read(stream, got) {
    for await (const event of stream) got.text += event.delta?.text ?? "";
  }
  return {
    async ask({ prompt }, got) {
      const messages = [{ role: "user", content: prompt }];
      await read(await client.messages.create({ model: "any", max_tokens: 9999, messages, stream: true }), got);
    },
    // The protocol has no resuming. The client can ask for anything that speaks it.
    async attach({ run }, got) {
      await read(await client.get(`/v1/runs/${run}`, { stream: true }), got);
    },
  };
}
