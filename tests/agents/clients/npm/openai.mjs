// `openai`, with chat completions.
export function open(load, { url }) {
  const { OpenAI } = load("openai");
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none" });
  async function read(stream, got) {
    for await (const chunk of stream) got.text += chunk.choices[0]?.delta?.content ?? "";
  }
  return {
    async ask({ prompt }, got) {
      const messages = [{ role: "user", content: prompt }];
      await read(await client.chat.completions.create({ model: "any", messages, stream: true }), got);
    },
    // The protocol has no resuming. The client can ask for anything that speaks it.
    async attach({ run }, got) {
      await read(await client.get(`/runs/${run}`, { stream: true }), got);
    },
  };
}
