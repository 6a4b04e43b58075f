"""Requests with their replies as Replicate documents them, and how a reply compares with one."""

import copy
import json
import re
from pathlib import Path

import httpx

SCHNELL = "black-forest-labs/flux-schnell"
DEV = "black-forest-labs/flux-dev"
PRO = "black-forest-labs/flux-1.1-pro"
BANANA = "google/nano-banana"
TINY = "lab/tiny"
FOLDER = Path(__file__).parent.parent / "transcripts"
REPLIES = {one["name"][:2]: one for one in json.loads((FOLDER / "replies.json").read_text("utf-8"))}
"""The transcripts by their numbers, built from documents and from what others have recorded."""
_TIMES = ("created_at", "started_at", "completed_at", "deadline", "expires_at")
_DIGESTS = ("etag", "sha256")
_SECONDS = ("predict_time", "total_time")
_SHAPES = (
    (r"https?://[^/ ]+/v1(?=/|$)", "API"),
    (r"https?://[^/ ]+/xezq/[^/]+/tmp\w+", "FILES/tmp"),
    (r"https?://[^/ ]+/xezq/[^/]+", "FILES"),
    (r"(?<=base64,).*", "DATA"),
    (r"(predictions|p|files)/\w+", r"\1/ID"),
    (r"\[\d\d:\d\d<\d\d:\d\d, [\d.]+it/s\]", "[PACE]"),
    (r"[\d.]+sec", "SECONDS"),
)


def open_client(server):
    """A client of the API, which shows the token."""
    shown = {"Authorization": f"Bearer {server.token}"}
    # Certificates take long to load, and there are none here.
    return httpx.Client(base_url=server.url, headers=shown, timeout=60, verify=False)


def create(web, model=SCHNELL, headers=None, **inputs):
    """Creates a prediction by the endpoint of its model."""
    given = {"prompt": "a lighthouse in fog", "seed": 41, **inputs}
    return web.post(f"/models/{model}/predictions", json={"input": given}, headers=headers)


def create_tiny(web, server, headers=None, **inputs):
    """Creates a prediction of the community model, by its version."""
    body = {"version": server.version_of(TINY), "input": {"prompt": "a cat", **inputs}}
    return web.post("/predictions", json=body, headers=headers)


def finish(web, model=SCHNELL, **inputs):
    """Creates a prediction, and gives its record at its end."""
    return create(web, model, {"Prefer": "wait"}, **inputs).json()


def fetch(url):
    """Fetches a file, without the token."""
    return httpx.get(url, verify=False, timeout=60)


def expected(number, given=None):
    """The body of a transcript, comparable; with what was really given, where that differs."""
    body = copy.deepcopy(REPLIES[number]["response"]["body"])
    for record in body.get("results", [body]) if isinstance(body, dict) else ():
        if given is not None:
            record["input"] = given
    return comparable(body)


def comparable(value, key=""):
    """A value without the ids, times and addresses that are new each time."""
    if isinstance(value, dict):
        return {name: comparable(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [comparable(one) for one in value]
    if isinstance(value, str):
        return _comparable_text(value, key)
    return "SECONDS" if key in _SECONDS and isinstance(value, int | float) else value


def _comparable_text(text, key):
    if key in _TIMES:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,3}Z", text), text
        return "TIME"
    if key in _DIGESTS:
        assert re.fullmatch("[0-9a-f]+", text), text
        return f"{len(text)} DIGITS"
    if key == "id" and not re.fullmatch("[0-9a-f]{64}", text):
        return f"ID OF {len(text)}"
    for pattern, shape in _SHAPES:
        text = re.sub(pattern, shape, text)
    return text
