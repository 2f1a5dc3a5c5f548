"""PyPI's `openai`, with Responses."""

from openai import OpenAI


class Client:
    def __init__(self, url):
        self.client = OpenAI(base_url=f"{url}/v1", api_key="none")

    def ask(self, request, got):
        self.read(self.client.responses.create(model="any", input=request["prompt"], stream=True), got)

    def attach(self, request, got):
        query = {} if request["after"] is None else {"starting_after": int(request["after"])}
        self.read(self.client.responses.retrieve(request["run"], stream=True, **query), got)

    def stop(self, request, got):
        self.client.responses.cancel(request["run"])

    def read(self, stream, got):
        for event in stream:
            if event.type == "response.output_text.delta":
                got["text"] += event.delta
            got["position"] = str(event.sequence_number)
