"""How schemathesis writes a body of a kind that it does not know: see ../openapi.rs."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(ctx, events):
    # What is not a list of events has no form as lines: as one line, it may not be an event either.
    events = events if isinstance(events, list) else [[events]]
    return "\n".join(map(json.dumps, events)).encode()
