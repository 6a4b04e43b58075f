"""The fake Storage answers each recorded request as the real one did."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest

import supabase_replay as replay
from imagen_supabase.testing.tokens import read
from supabase_servers import JWT_SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDINGS = {
    name: replay.recorded(name) for name in ("storage_raw_http", "storage_via_supabase_py")
}
CASES = [(name, case) for name, cases in RECORDINGS.items() for case in cases]
UNPLAYED = {
    "signed_token_claims": "nothing was sent: what a token says, looked at below",
    "upload_upsert_bool": "the client refuses it before it sends anything",
    "upload_dotdot": "the client refuses it before it sends anything",
}
"""Cases without a request; what the client makes of them is in test_transcripts_python.py."""


@pytest.fixture(
    scope="module", params=["memory", pytest.param("database", marks=pytest.mark.system)]
)
def played(request: pytest.FixtureRequest, clusters: Callable[[str], Any]) -> dict[str, Any]:
    """What came back, by recording and case."""
    replies: dict[str, Any] = {}
    for name, cases in RECORDINGS.items():
        with replay.opened(request.param, clusters) as gateway, replay.open_web() as web:
            player = replay.Player(gateway, web)
            replies[name] = {case: player.play(cases[case]) for case in cases}
    return replies


@pytest.mark.parametrize(("name", "case"), CASES, ids=lambda value: value)
def test_request_gets_the_recorded_reply(played: Any, name: str, case: str) -> None:
    recorded = RECORDINGS[name][case].get("http", [])
    if case in UNPLAYED:
        assert recorded == []
        return
    assert recorded

    assert played[name][case] == replay.comparable([one["reply"] for one in recorded])


def test_token_of_a_signed_url_says_what_the_recorded_one_says() -> None:
    recorded = RECORDINGS["storage_raw_http"]["signed_token_claims"]
    path = recorded["claims"]["url"]
    with replay.memory() as gateway, replay.open_web() as web:
        headers = {"authorization": f"Bearer {gateway.service_key}"}
        url = f"{gateway.url}/storage/v1/object"
        web.post(f"{url}/{path}", json={}, headers=headers).raise_for_status()
        made = web.post(f"{url}/sign/{path}", json={"expiresIn": 60}, headers=headers).json()
        shown = web.get(f"{gateway.url}/storage/v1{made['signedURL']}")
    claims = read(made["signedURL"].partition("token=")[2], JWT_SECRET)

    assert [*claims] == [*recorded["claims"]]
    assert (claims["url"], claims["scope"]) == (path, "download")
    assert claims["exp"] - claims["iat"] == 60
    expires = parsedate_to_datetime(shown.headers["expires"])
    assert expires.timestamp() == claims["exp"]
