"""PyPI's `anthropic`, with messages."""

from anthropic import Anthropic, Stream
from anthropic.types import RawMessageStreamEvent


class Client:
    def __init__(self, url):
        self.client = Anthropic(base_url=url, api_key="none")

    def ask(self, request, got):
        messages = [{"role": "user", "content": request["prompt"]}]
        self.read(self.client.messages.create(model="any", max_tokens=9999, messages=messages, stream=True), got)

    def attach(self, request, got):
        """The protocol has no resuming. The client can ask for anything that speaks it."""
        path = f"/v1/runs/{request['run']}"
        cls = Stream[RawMessageStreamEvent]
        self.read(self.client.get(path, cast_to=object, stream=True, stream_cls=cls), got)

    def read(self, stream, got):
        for event in stream:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                got["text"] += event.delta.text
