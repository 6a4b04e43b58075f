"""replicate-python, in an environment of its own: it makes a picture for each line of input.

A line is the input of a prediction; the answer is the moment at which the picture's bytes are here.
Nothing of imagen's is imported, nor of the bench's.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from replicate.client import Client
from replicate.helpers import FileOutput


def main(address: str, token: str, model: str) -> None:
    """Answer until standard input ends."""
    for line in sys.stdin:
        make(Client(token, base_url=address), model, json.loads(line))
        print(time.monotonic(), flush=True)


def make(client: Client, model: str, given: dict[str, Any]) -> bytes:
    """Run the model and read its picture."""
    [output] = client.run(model, input=given)
    # `run` makes a FileOutput of an https address alone, which the fake server has none of.
    data: bytes = FileOutput(str(output), client).read()
    return data


if __name__ == "__main__":
    main(*sys.argv[1:])
