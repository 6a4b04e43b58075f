"""Supabase's Python client makes of the fake Storage what it made of the real one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

import supabase_replay as replay
from imagen_supabase.testing.objects import BUCKET

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[[Any, Any], Any]
    """Given Storage and its bucket."""

CASES = replay.recorded("storage_via_supabase_py")
NOT_CALLED = {
    *("signed_url_get", "signed_url_get_after_overwrite_serves_new", "signed_url_head"),
    *("signed_url_tampered", "signed_url_wrong_path", "signed_url_expired", "signed_url_range"),
    *("public_url_of_private_bucket", "no_auth_header", "no_auth_header_apikey_only"),
}
"""Plain requests without the client, which test_transcripts.py sends."""
CUT_OFF = "list"
"""Of this result only the beginning was recorded."""
FOLDER = replay.OWNERS["a"]
PICTURE = f"{FOLDER}/2026/a.png"
PNG = {"content-type": "image/png"}
WHO = {
    "anon": "<anon_jwt>",
    "owner_a": "<owner_a_jwt>",
    "owner_b": "<owner_b_jwt>",
    "expired": "<expired_jwt>",
    "badsig": "<jwt_with_wrong_signature>",
    "bogusrole": "<jwt_with_unknown_role>",
    "sb_secret_opaque": "sb_secret_abcdef0123456789",
}


def upload(path: str, size: int, **options: Any) -> Call:
    """Uploads so many bytes as a picture, unless its options say otherwise."""
    given = {**PNG, **options.pop("options", {})}
    return lambda _, bucket: bucket.upload(path, replay.content(size), {**given, **options})


def download_name(_: Any, bucket: Any) -> str:
    """Gives the name under which a signed URL is saved."""
    url = bucket.create_signed_url(PICTURE, 60, {"download": "x.png"})["signedURL"]
    return str(httpx.get(url, verify=False, timeout=60).headers["content-disposition"])


CALLS: dict[str, Call] = {
    "upload_new": upload(PICTURE, 178),
    "upload_conflict_no_upsert": upload(PICTURE, 169),
    "upload_upsert_true": upload(PICTURE, 169, upsert="true"),
    "upload_upsert_bool": upload(PICTURE, 169, upsert=True),
    "upload_xupsert": upload(PICTURE, 169, **{"x-upsert": "true"}),
    "update_put_existing": lambda _, bucket: bucket.update(PICTURE, replay.content(178), PNG),
    "update_put_missing": lambda _, bucket: bucket.update(
        f"{FOLDER}/2026/none.png", replay.content(178), PNG
    ),
    "download": lambda _, bucket: len(bucket.download(PICTURE)),
    "create_signed_url": lambda _, bucket: bucket.create_signed_url(PICTURE, 60),
    "signed_url_download_name": download_name,
    "signed_url_missing_object": lambda _, bucket: bucket.create_signed_url(
        f"{FOLDER}/nope.png", 60
    ),
    "signed_urls_batch": lambda _, bucket: bucket.create_signed_urls(
        [PICTURE, f"{FOLDER}/nope.png"], 60
    ),
    "download_missing_object": lambda _, bucket: bucket.download(f"{FOLDER}/nope.png"),
    "download_missing_bucket": lambda storage, _: storage.from_("nobucket").download("x.png"),
    "upload_missing_bucket": lambda storage, _: storage.from_("nobucket").upload(
        "x.png", replay.content(178), PNG
    ),
    "upload_bad_mime": upload(f"{FOLDER}/x.txt", 5, **{"content-type": "text/plain"}),
    "upload_default_mime_forgotten": lambda _, bucket: bucket.upload(
        f"{FOLDER}/x.png", replay.content(178)
    ),
    "upload_too_large_bucket_limit": upload(f"{FOLDER}/big.png", 2100),
    "upload_too_large_global_limit": upload(f"{FOLDER}/big.png", 5500),
    "upload_bad_key_chars": upload(f"{FOLDER}/smør 100%.png", 178, upsert="true"),
    "upload_bad_key_hash": upload(f"{FOLDER}/a#b[1].png", 178, upsert="true"),
    "upload_dotdot": upload(f"{FOLDER}/../x.png", 178),
    "upload_empty_bytes": upload(f"{FOLDER}/empty.png", 0, upsert="true"),
    "upload_metadata": upload(
        f"{FOLDER}/meta.png", 178, upsert="true", metadata={"seed": "9007199254740993"}
    ),
    "info": lambda _, bucket: bucket.info(f"{FOLDER}/meta.png"),
    "exists_true": lambda _, bucket: bucket.exists(PICTURE),
    "exists_false": lambda _, bucket: bucket.exists(f"{FOLDER}/nope.png"),
    "exists_nobucket": lambda storage, _: storage.from_("nobucket").exists("x"),
    "list": lambda _, bucket: bucket.list(FOLDER, {"limit": 3}),
    "list_missing_prefix": lambda _, bucket: bucket.list("zzz"),
    "remove_missing": lambda _, bucket: bucket.remove([f"{FOLDER}/nope.png"]),
    "remove": lambda _, bucket: bucket.remove([f"{FOLDER}/meta.png"]),
    "create_bucket_exists": lambda storage, _: storage.create_bucket(
        BUCKET, options={"public": False}
    ),
    "get_bucket_missing": lambda storage, _: storage.get_bucket("nobucket"),
}
AS_SOMEBODY: dict[str, Call] = {
    "download": lambda _, bucket: len(bucket.download(PICTURE)),
    "sign": lambda _, bucket: bucket.create_signed_url(PICTURE, 60),
    "upload": upload(f"{FOLDER}/evil.png", 178),
    "upsert_existing": upload(PICTURE, 178, upsert="true"),
    "list": lambda _, bucket: bucket.list(FOLDER),
    "remove": lambda _, bucket: bucket.remove([PICTURE]),
}
KEYS = {f"{who}_{what}": WHO[who] for who in WHO for what in AS_SOMEBODY}
CALLS |= {f"{who}_{what}": AS_SOMEBODY[what] for who in WHO for what in AS_SOMEBODY}
CALLS["owner_a_list"] = lambda _, bucket: [row["name"] for row in bucket.list(FOLDER)]


def test_every_case_is_called_or_has_a_reason() -> None:
    assert {*CALLS} | NOT_CALLED == {*CASES}


@pytest.fixture(
    scope="module", params=["memory", pytest.param("database", marks=pytest.mark.system)]
)
def made(request: pytest.FixtureRequest, clusters: Callable[[str], Any]) -> dict[str, Any]:
    """What each call gave or raised, in the order of the recording."""
    found = {}
    with replay.opened(request.param, clusters) as gateway, replay.open_web() as web:
        tokens = replay.tokens(gateway)
        for case in CASES:
            if case == replay.OVERWRITTEN:
                storage = storage_of(gateway, web, gateway.service_key)
                upload(PICTURE, 169, upsert="true")(storage, storage.from_(BUCKET))
            if case in CALLS:
                key = KEYS.get(case, "<service_role_jwt>")
                storage = storage_of(gateway, web, tokens.get(key, key))
                found[case] = outcome(CALLS[case], storage)
    return found


def storage_of(gateway: Any, web: httpx.Client, key: Any) -> Any:
    """The client's part for Storage."""
    from supabase import ClientOptions, create_client

    return create_client(gateway.url, key, ClientOptions(httpx_client=web)).storage


def outcome(call: Call, storage: Any) -> dict[str, Any]:
    """What a call gives or raises, in the form of a recording."""
    from supabase import StorageException

    try:
        value = call(storage, storage.from_(BUCKET))
    except (StorageException, AttributeError, ValueError) as error:
        kind = type(error)
        names = ("message", "code", "status")
        said = {name: str(getattr(error, name)) for name in names if hasattr(error, name)}
        name = f"{kind.__module__}.{kind.__qualname__}"
        return {"exception": {"class": name, "text": str(error), **said}}
    return {"result": value if isinstance(value, str) else repr(value)}


@pytest.mark.parametrize("case", CALLS)
def test_client_makes_of_it_what_was_recorded(made: Any, case: str) -> None:
    recorded = {name: CASES[case][name] for name in ("result", "exception") if name in CASES[case]}
    wanted, found = replay.comparable(recorded), replay.comparable(made[case])
    if case == CUT_OFF:
        found["result"] = found["result"][: len(wanted["result"])]

    assert found == wanted
