"""The block `supabase:` and the credentials: what is said of them before anybody is asked."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

OWNER = "3f1c6f0e-8a6b-4c1e-9a56-1f0a5f4f9a10"
URL = "https://abcdefgh.supabase.co"
KEY = "sb_secret_0123456789"


def jwt(role: str) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"role": role}).encode()).rstrip(b"=").decode()
    return f"e30.{claims}.c2ln"


@pytest.fixture
def validate(imagen: Any, imagen_home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Checks a configuration in an environment."""

    def run(config: dict[str, Any], **environment: str) -> Any:
        file = imagen_home / ".config" / "imagen.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(config))
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return imagen("config", "validate")

    return run


HALVES = [
    ({"SUPABASE_URL": URL}, "$SUPABASE_URL is set and $SUPABASE_SERVICE_KEY is not"),
    ({"MAI_SUPABASE_KEY": KEY}, "$MAI_SUPABASE_KEY is set and $SUPABASE_URL is not"),
    (
        {"SUPABASE_URL": "abcdefgh", "SUPABASE_SERVICE_KEY": KEY},
        "SUPABASE_URL is no http(s) address",
    ),
]
"""What somebody has begun to set, and what is said of it."""


@pytest.mark.parametrize(("environment", "told"), HALVES)
@pytest.mark.parametrize("words", ["enqueue cat --backend mock", "worker --once", "jobs"])
def test_half_a_project_is_no_reason_to_take_the_jobs_of_this_machine(
    imagen: Any,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    environment: dict[str, str],
    told: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    refused = imagen(*words.split())
    asked = imagen(*words.split(), "--store", "local")

    assert (refused.exit_code, refused.out) == (3, "")
    assert f"imagen: error: {told}\n" in refused.err
    assert "; --store local does without\n" in refused.err
    assert asked.exit_code == 0


def test_owner_alone_begins_no_project(imagen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEN_OWNER_USER_ID", OWNER)

    done = imagen("jobs")

    assert (done.exit_code, done.err) == (0, "imagen: there is no job in the queue 'local'\n")


@pytest.mark.parametrize(("environment", "told"), HALVES)
def test_usage_of_this_machine_in_place_of_half_a_project_is_warned_of(
    imagen: Any, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], told: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    done = imagen("usage")

    assert done.exit_code == 0
    assert f"imagen: store supabase: {told}; " in done.err


@pytest.mark.parametrize("words", ["enqueue cat --backend mock", "usage"])
def test_whoever_has_no_project_hears_nothing_of_it(imagen: Any, words: str) -> None:
    done = imagen(*words.split())

    assert done.exit_code == 0
    assert "supabase" not in done.err.lower()


@pytest.mark.parametrize("setting", [None, "auto", "on", "off"])
@pytest.mark.parametrize("owner", ["", OWNER])
def test_sync_without_an_owner_is_warned_of(validate: Any, setting: str | None, owner: str) -> None:
    output = {"output": {"cloud_sync": setting}} if setting else {}

    done = validate({"owner_user_id": owner, **output}, SUPABASE_URL=URL, SUPABASE_SERVICE_KEY=KEY)

    assert done.exit_code == 0
    told = f"output.cloud_sync is {setting or 'auto'}, and owner_user_id is empty"
    assert (told in done.err) == (setting != "off" and not owner)


def test_owner_that_is_no_id_is_warned_of(validate: Any) -> None:
    done = validate({"owner_user_id": "me"}, SUPABASE_URL=URL, SUPABASE_SERVICE_KEY=KEY)

    assert done.exit_code == 0
    assert "owner_user_id is no UUID, but 'me'" in done.err
    assert "select id, email from auth.users" in done.err


@pytest.mark.parametrize("setting", [None, "auto", "off"])
def test_whoever_has_no_project_is_not_asked_for_an_owner(
    validate: Any, setting: str | None
) -> None:
    done = validate({"output": {"cloud_sync": setting}} if setting else {})

    assert done.exit_code == 0
    assert re.fullmatch("imagen: .* is fine\n", done.err)


def test_half_a_project_without_an_owner_is_warned_of_twice(validate: Any) -> None:
    done = validate({}, SUPABASE_URL=URL)

    assert "$SUPABASE_URL is set and $SUPABASE_SERVICE_KEY is not" in done.err
    assert "output.cloud_sync is auto, and owner_user_id is empty" in done.err


def test_on_without_credentials_is_warned_of(validate: Any) -> None:
    done = validate({"owner_user_id": OWNER, "output": {"cloud_sync": "on"}})

    assert done.exit_code == 0
    assert (
        "output.cloud_sync is on, and $SUPABASE_URL and $SUPABASE_SERVICE_KEY are not set"
        in done.err
    )


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"SUPABASE_URL": URL}, "$SUPABASE_URL is set and $SUPABASE_SERVICE_KEY is not"),
        ({"SUPABASE_SERVICE_KEY": KEY}, "$SUPABASE_SERVICE_KEY is set and $SUPABASE_URL is not"),
        ({"MAI_SUPABASE_KEY": KEY}, "$MAI_SUPABASE_KEY is set and $SUPABASE_URL is not"),
        (
            {"SUPABASE_URL": "postgresql://u:p@h/db", "SUPABASE_SERVICE_KEY": KEY},
            "SUPABASE_URL is the URL of a database, and should be that of the project",
        ),
        (
            {"SUPABASE_URL": "abcdefgh", "SUPABASE_SERVICE_KEY": KEY},
            "SUPABASE_URL is no http(s) address",
        ),
        (
            {"SUPABASE_URL": URL, "SUPABASE_SERVICE_KEY": "sb_publishable_x"},
            "$SUPABASE_SERVICE_KEY holds a key for web pages, which may write nothing",
        ),
        (
            {"SUPABASE_URL": URL, "SUPABASE_SERVICE_KEY": jwt("anon")},
            "$SUPABASE_SERVICE_KEY holds a key for web pages, which may write nothing",
        ),
        (
            {"SUPABASE_URL": URL, "SUPABASE_SERVICE_KEY": "kéy"},
            "the key in $SUPABASE_SERVICE_KEY has a character that no header takes",
        ),
    ],
)
def test_credentials_that_can_not_work_are_warned_of(
    validate: Any, environment: dict[str, str], told: str
) -> None:
    done = validate({"owner_user_id": OWNER}, **environment)

    assert done.exit_code == 0
    assert told in done.err
    assert "sb_" not in done.err.replace("sb_secret_…", "")


@pytest.mark.parametrize("key", [KEY, jwt("service_role"), jwt("imagen_worker"), "a.b.c", "x"])
@pytest.mark.parametrize("url", [URL, f"{URL}/", f"{URL}/rest/v1/", "http://127.0.0.1:8000/api"])
def test_credentials_that_may_work_are_not_warned_of(validate: Any, key: str, url: str) -> None:
    done = validate({"owner_user_id": OWNER}, SUPABASE_URL=url, SUPABASE_SERVICE_KEY=key)

    assert done.exit_code == 0
    assert re.fullmatch("imagen: .* is fine\n", done.err)


def test_address_may_stand_in_the_file(validate: Any) -> None:
    config = {"owner_user_id": OWNER, "supabase": {"url": URL}}

    assert validate(config, SUPABASE_SERVICE_KEY=KEY).err.endswith(" is fine\n")


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"timeout": 0}, "supabase.timeout: expected `float` > 0.0".replace("`", "")),
        ({"timeout": "long"}, "supabase.timeout: expected float, got str"),
        ({"key": "x"}, "supabase.key: unknown key"),
    ],
)
def test_fault_of_the_block_is_named(validate: Any, block: dict[str, Any], told: str) -> None:
    done = validate({"owner_user_id": OWNER, "supabase": block})

    assert done.exit_code == 2
    assert told in done.err
