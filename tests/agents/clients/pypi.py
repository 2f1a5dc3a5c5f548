"""The clients of PyPI: `pypi.py`. It reads and prints what `npm.mjs` does. Each client is a file in `pypi/`."""

import importlib
import json
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "pypi"))
printing = threading.Lock()


def show(value):
    with printing:
        print(json.dumps(value), flush=True)


class Got(dict):
    def __setitem__(self, key, value):
        if key == "text" and value and not self["text"]:
            show({"n": self["n"], "began": True})
        super().__setitem__(key, value)


def report(request):
    got = Got(n=request["n"], text="")
    try:
        client = importlib.import_module(request["file"]).Client(request["url"])
        got["outcome"] = getattr(client, request["act"])(request, got) or "complete"
    except Exception as error:
        got["outcome"] = {"error": repr(error)}
        got["status"] = getattr(error, "status_code", None)
    show(got)


# Threads that import the same package at once wait for each other.
for line in sys.stdin:
    threading.Thread(target=report, args=(json.loads(line),), daemon=True).start()
