"""The gateway fails as real servers failed: Supabase's client raises what it raised then."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

import supabase_replay as replay
from imagen_core.testing import FailingServer
from imagen_supabase.testing import Fault, Gateway, faults
from imagen_supabase.testing.objects import BUCKET

CASES = replay.recorded("failures_supabase_py")
DOWN = json.loads((replay.FOLDER / "database_down.json").read_text("utf-8"))
BROKEN = {"code": "PGRST000", "message": "x", "details": None, "hint": None}
NO_KEY = {"message": "No API key found in request", "hint": "h"}
PLAYED: dict[str, tuple[str, Fault | None]] = {
    "refused_select_no_retry": ("select", None),
    "refused_insert": ("insert", None),
    "refused_rpc": ("rpc", None),
    "refused_upload": ("upload", None),
    "refused_download": ("download", None),
    "read_timeout_select_httpxTimeout": ("select", faults.HANGING),
    "read_timeout_insert": ("insert", faults.HANGING),
    "read_timeout_storage_int1": ("upload", faults.HANGING),
    "own_httpx_client_timeout": ("insert", faults.ACTED_AND_HANGING),
    "own_httpx_client_timeout_storage": ("upload", faults.ACTED_AND_HANGING),
    "connection_reset_insert": ("insert", faults.DROPPED),
    "server_closes_without_answer_insert": ("insert", faults.REPLY_LOST),
    "status_502_select_default_retry": ("select", faults.say(502, BROKEN)),
    "status_429_select_default_retry": ("select", faults.say(429, BROKEN)),
    "status_500_select_default_retry": ("select", faults.say(500, BROKEN)),
    "status_503_insert": ("insert", faults.say(503, BROKEN)),
    "html_502_insert": ("insert", faults.page(502)),
    "html_502_upload": ("upload", faults.page(502)),
    "empty_504_upload": ("upload", faults.page(504, "")),
    "html_200_select": ("select", faults.page(200, "<html>captive portal</html>")),
    "html_200_upload": ("upload", faults.page(200)),
    "json_429_upload": (
        "upload",
        faults.say(429, {"statusCode": "429", "error": "too_many", "message": "slow down"}),
    ),
    "gateway_401_insert": ("insert", faults.say(401, NO_KEY)),
    "gateway_401_upload": ("upload", faults.say(401, NO_KEY)),
}
"""By case: what is called, and how it fails; None where nobody listens."""
_WAITS = "the client waits for seconds between its own tries, which is no matter of the gateway"
_OWN = "the client fails by itself, without any server"
UNPLAYED = {
    "refused_select_default_retry": _WAITS,
    "server_closes_select_default_retry": _WAITS,
    "status_503_select_default_retry": _WAITS,
    "status_520_select_default_retry": _WAITS,
    "status_503_then_200_select": _WAITS,
    "dns_failure_insert": _OWN,
    "float_0.5_timeout_postgrest": _OWN,
    "float_1.9_timeout_postgrest": "the client counts whole seconds, which are long",
    "bad_url": _OWN,
    "empty_key": _OWN,
    "none_key": _OWN,
}
KEEPS_SILENT = (faults.HANGING, faults.ACTED_AND_HANGING)


def call(client: Any, what: str) -> Any:
    """Does something with a table or with the bucket."""
    table, bucket = client.table("images"), client.storage.from_(BUCKET)
    match what:
        case "select":
            return table.select("*").execute()
        case "insert":
            return table.insert({"id": 1}).execute()
        case "rpc":
            return client.rpc("claim", {}).execute()
        case "download":
            return bucket.download("x.png")
    return bucket.upload("x.png", b"x", {"content-type": "image/png"})


def outcome(url: str, what: str, *, timeout: float) -> dict[str, Any]:
    """What the client gives or raises, in the form of a recording."""
    from supabase import ClientOptions, PostgrestAPIError, StorageException, create_client

    with httpx.Client(verify=False, timeout=timeout) as web:
        options = ClientOptions(httpx_client=web, postgrest_client_retry=False)
        try:
            value = call(create_client(url, "some.service.key", options), what)
        except (httpx.HTTPError, PostgrestAPIError, StorageException, ValueError) as error:
            kind = type(error)
            names = ("code", "status")
            said = {name: str(getattr(error, name, None)) for name in names}
            return {"class": f"{kind.__module__}.{kind.__qualname__}", **said}
    return {"ok": repr(value)}


def test_every_failure_is_played_or_has_a_reason() -> None:
    assert {*PLAYED} | {*UNPLAYED} == {*CASES}


@pytest.mark.parametrize("case", PLAYED)
def test_client_raises_what_was_recorded(case: str) -> None:
    what, fault = PLAYED[case]
    wanted = {name: CASES[case][name] for name in CASES[case] if name not in ("case", "seconds")}
    if fault is None:
        with FailingServer() as server:
            found = outcome(server.refusing_url, what, timeout=60)
    else:
        with Gateway() as gateway:
            gateway.fail(fault)
            silent = fault in KEEPS_SILENT
            found = outcome(gateway.url, what, timeout=0.2 if silent else 60)

    assert found == wanted


@pytest.mark.parametrize("which", ["postgrest", "storage_list"])
def test_database_that_is_down_is_told_as_recorded(which: str) -> None:
    [recorded] = [one for one in DOWN if one["which"] == which]
    paths = {"postgrest": "/rest/v1/images", "storage_list": f"/storage/v1/object/list/{BUCKET}"}
    with Gateway() as gateway:
        gateway.fail(faults.DATABASE_DOWN)
        reply = httpx.get(f"{gateway.url}{paths[which]}", verify=False, timeout=60)

    wanted = json.dumps(recorded["body"]).replace("DBHOST", "localhost").replace("DBPORT", "5432")
    assert (reply.status_code, reply.json()) == (recorded["status"], json.loads(wanted))
    assert recorded["headers"].items() <= dict(reply.headers).items()
