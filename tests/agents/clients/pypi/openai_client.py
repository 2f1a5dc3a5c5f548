"""PyPI's `openai`, with chat completions."""

from openai import OpenAI, Stream
from openai.types.chat import ChatCompletionChunk


class Client:
    def __init__(self, url):
        self.client = OpenAI(base_url=f"{url}/v1", api_key="none")

    def ask(self, request, got):
        messages = [{"role": "user", "content": request["prompt"]}]
        self.read(self.client.chat.completions.create(model="any", messages=messages, stream=True), got)

    def attach(self, request, got):
        """The protocol has no resuming. The client can ask for anything that speaks it."""
        path = f"/runs/{request['run']}"
        cls = Stream[ChatCompletionChunk]
        self.read(self.client.get(path, cast_to=ChatCompletionChunk, stream=True, stream_cls=cls), got)

    def read(self, stream, got):
        for chunk in stream:
            if chunk.choices:
                got["text"] += chunk.choices[0].delta.content or ""
