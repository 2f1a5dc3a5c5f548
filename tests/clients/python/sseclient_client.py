"""sseclient, as its documentation has it used: `sseclient_client.py <url>`. Prints each event as a line of JSON."""

import json
import sys

from sseclient import SSEClient

for event in SSEClient(sys.argv[1]):
    print(json.dumps({"name": event.event, "data": event.data, "id": event.id}), flush=True)
