"""Newline-delimited JSON, which schemathesis does not write by itself: the document describes such a
body as the list of its lines."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    if isinstance(value, bytes):
        return value
    # What is no list is sent as one line that is a list: no line may be one, so it is wrong still.
    lines = value if isinstance(value, list) else [[value]]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()
