"""httpx-sse, as its documentation has it used, in a loop that reconnects: `client.py <url>`. Prints each event as a line
of JSON, and `"closed"` once it is told to come back no more."""

import json
import sys
import time

import httpx
from httpx_sse import connect_sse


def show(value):
    print(json.dumps(value), flush=True)


def main(url):
    last, retry = "", 0.001
    # The default of five seconds is shorter than the keep-alive interval.
    with httpx.Client(timeout=httpx.Timeout(5, read=60)) as client:
        while True:
            try:
                headers = {"Last-Event-ID": last} if last else {}
                with connect_sse(client, "GET", url, headers=headers) as source:
                    if source.response.status_code == 204:
                        return show("closed")
                    for event in source.iter_sse():
                        last = event.id
                        retry = event.retry / 1000 if event.retry is not None else retry
                        show({"name": event.event, "data": event.data, "id": event.id})
            except httpx.TransportError:
                pass
            time.sleep(retry)


main(sys.argv[1])
