// `openai`, with Responses.
export function open(load, { url }) {
  const { OpenAI } = load("openai");
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none" });
  async function read(stream, got) {
    for await (const event of stream) {
      if (event.type === "response.output_text.delta") got.text += event.delta;
      got.position = String(event.sequence_number);
    }
  }
  return {
    async ask({ prompt }, got) {
      await read(await client.responses.create({ model: "any", input: prompt, stream: true }), got);
    },
    async attach({ run, after }, got) {
      const query = after === null ? { stream: true } : { stream: true, starting_after: Number(after) };
      await read(await client.responses.retrieve(run, query), got);
    },
    async stop({ run }) {
      await client.responses.cancel(run);
    },
  };
}
