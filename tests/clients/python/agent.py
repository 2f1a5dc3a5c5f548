"""PyPI's `openai`, used as its documentation says: `agent.py <url>`. Prints what `node/agent.mjs` prints."""

import json
import sys

from openai import OpenAI

text, ended, status, error = "", None, None, None
try:
    client = OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="none", max_retries=0)
    stream = client.chat.completions.create(
        model="any", messages=[{"role": "user", "content": "?"}], stream=True
    )
    for chunk in stream:
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
            ended = chunk.choices[0].finish_reason or ended
except Exception as raised:
    status, error = getattr(raised, "status_code", None), repr(raised)
print(json.dumps({"text": text, "ended": ended, "status": status, "error": error}))
