"""Neither the token nor a secret input gets anywhere but to Replicate."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import imagen_replicate
from imagen_core import ImagenError, Options, Run
from imagen_core.testing import isolated_app
from imagen_replicate.testing import FakeReplicate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from imagen_core.testing import Result

TOKEN = "r8_Qx7 tell-nobody+42"
"""Has a space inside, which a header takes."""
HF_TOKEN = "hf_Zy9nobody-may-see-it"
LORA = "black-forest-labs/flux-dev-lora"
PAGE = "<html><head><title>502 Bad Gateway</title></head></html>"
MODES = [(), ("--debug",)]


@pytest.fixture
def server() -> Iterator[FakeReplicate]:
    with FakeReplicate(token=TOKEN) as fake:
        fake.echo_token()
        dev = fake.models["black-forest-labs/flux-dev"]
        said = {"type": "string", "description": f"for {TOKEN} and {HF_TOKEN}"}
        secret = {"hf_api_token": said, "lora_weights": {"type": "string"}}
        fake.models[LORA] = {**dev, "schema": {**dev["schema"], **secret}}
        yield fake


@pytest.fixture
def clean(imagen_home: Path, tmp_path: Path) -> Callable[..., None]:
    """Asserts that a Result, and all that is on disk, has no secret in it."""

    def look(done: Result, *secrets: str) -> None:
        for secret in (TOKEN, HF_TOKEN, *secrets):
            for shown in {secret, json.dumps(secret)[1:-1]}:
                assert shown not in done.out
                assert shown not in done.err
                assert files_with(shown, imagen_home, tmp_path) == []

    return look


def files_with(text: str, *folders: Path) -> list[Path]:
    """The files below these folders that have a text in their bytes."""
    found = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return [path for path in found if text.encode() in path.read_bytes()]


@pytest.fixture
def environment(server: FakeReplicate) -> dict[str, str]:
    odd = {"ODD_TOKEN": "r8_gehéim-42"}
    return {"REPLICATE_API_TOKEN": server.token, "HF_TOKEN": HF_TOKEN, **odd}


@pytest.fixture(autouse=True)
def lora(configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The instance `r` is of a model with a secret input."""
    monkeypatch.setenv("HF_TOKEN", HF_TOKEN)
    configured(model=LORA, secrets={"hf_api_token": "HF_TOKEN"})


def record(**fields: Any) -> dict[str, Any]:
    """A prediction that repeats all that it should not."""
    said = f"with {TOKEN} and {HF_TOKEN}"
    usual = {
        "id": "abc",
        "status": "succeeded",
        "model": LORA,
        "version": said,
        "input": {"prompt": said, "hf_api_token": HF_TOKEN, "lora_weights": TOKEN, TOKEN: said},
        "logs": said,
        "error": said,
        "metrics": {"predict_time": 1.0, TOKEN: said},
        "created_at": said,
        "deadline": said,
    }
    return {**usual, **fields}


# The command line


@pytest.mark.parametrize("debug", MODES)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_success_keeps_secrets(
    server: FakeReplicate, imagen: Any, clean: Any, debug: Any, form: Any
) -> None:
    done = imagen(*debug, "generate", "a cat", "-p", "lora_weights=x/y", *form)

    assert (done.exit_code, server.bills) == (0, 1)
    assert json.loads(server.creates[0].body)["input"]["hf_api_token"] == HF_TOKEN
    clean(done)


@pytest.mark.parametrize("debug", MODES)
@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"detail": f"no {HF_TOKEN}"}, 4),
        (401, {"detail": f"no {HF_TOKEN}"}, 3),
        (402, {"detail": f"no {HF_TOKEN}"}, 4),
        (413, {"detail": f"no {HF_TOKEN}"}, 4),
        (422, {"title": f"no {HF_TOKEN}"}, 4),
        (422, {"invalid_fields": [{"field": TOKEN, "description": HF_TOKEN}, HF_TOKEN]}, 4),
        (429, {"detail": f"no {HF_TOKEN}", "retry_after": 90}, 5),
        (500, {"detail": f"no {HF_TOKEN}"}, 1),
        (500, f"<html>{HF_TOKEN}</html>", 1),
        (502, f"<html>{HF_TOKEN}</html>", 1),
    ],
)
def test_refusal_keeps_secrets(
    server: FakeReplicate,
    imagen: Any,
    clean: Any,
    debug: Any,
    form: Any,
    status: int,
    body: Any,
    code: int,
) -> None:
    server.refuse("create", status, body, times=9)
    server.refuse("list", 500, {"detail": f"no {HF_TOKEN}"}, times=9)

    done = imagen(*debug, "generate", "a cat", *form)

    assert (done.exit_code, server.bills) == (code, 0)
    clean(done)


def test_wrong_token_is_not_repeated(
    imagen: Any, clean: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_wrong-and-secret")

    done = imagen("--debug", "generate", "a cat")

    assert done.exit_code == 3
    assert "refuses the token (401)" in done.err
    clean(done, "r8_wrong-and-secret")


@pytest.mark.parametrize("debug", MODES)
@pytest.mark.parametrize("status", [None, 502])
def test_lost_reply_keeps_secrets(
    server: FakeReplicate, imagen: Any, clean: Any, debug: Any, status: int | None
) -> None:
    server.accept_then("create", status, PAGE)

    done = imagen(*debug, "generate", "a cat")

    assert (done.exit_code, server.bills) == (0, 1)
    clean(done)


@pytest.mark.parametrize("debug", MODES)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_failure_that_tells_secrets_is_told_without_them(
    server: FakeReplicate, imagen: Any, clean: Any, debug: Any, form: Any
) -> None:
    said = f"Invalid token {TOKEN}, or {HF_TOKEN}"
    server.fail_with(said, logs=said)

    done = imagen(*debug, "generate", "a cat", *form)

    assert done.exit_code == 4
    assert "Invalid token ***, or ***" in (done.out or done.err)
    clean(done)


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize("status", ["succeeded", "failed", "canceled", "aborted"])
def test_record_that_tells_secrets_is_kept_without_them(
    server: FakeReplicate,
    imagen: Any,
    clean: Any,
    form: Any,
    status: str,
    png: bytes,
) -> None:
    output = [f"data:image/png;base64,{base64.b64encode(png).decode()}"]
    server.accept_then("create", 201, record(status=status, output=output))

    done = imagen("--debug", "generate", "a cat", *form)

    assert (done.exit_code == 0) is (status == "succeeded")
    clean(done)


def test_address_of_a_picture_that_tells_secrets_is_not_shown(
    server: FakeReplicate, imagen: Any, clean: Any
) -> None:
    output = [f"{server.files_url}/{TOKEN}/{HF_TOKEN}.png"]
    server.accept_then("create", 201, record(output=output))

    done = imagen("--debug", "generate", "a cat")

    assert done.exit_code == 1
    assert "its file is gone (404)" in done.err
    clean(done)


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize("fault", ["", "401", "502"])
def test_check_keeps_secrets_and_so_does_what_it_learns(
    server: FakeReplicate,
    imagen: Any,
    clean: Any,
    imagen_home: Path,
    form: Any,
    fault: str,
) -> None:
    if fault:
        server.refuse("model", int(fault), {"detail": HF_TOKEN}, times=9)

    done = imagen("--debug", "backends", "--check", *form)

    learned = list((imagen_home / "cache" / "replicate").glob("*.json"))
    assert bool(learned) is not bool(fault)
    assert [path for path in learned if b"for *** and ***" not in path.read_bytes()] == []
    clean(done)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_picture_that_is_fetched_later_has_no_secrets_beside_it(
    server: FakeReplicate, imagen: Any, clean: Any, imagen_home: Path, form: Any
) -> None:
    server.refuse("file", 503, "", times=3)
    imagen("generate", "a cat")
    [made] = server.predictions
    (imagen_home / "data" / "ledger.db").unlink()

    done = imagen("--debug", "replicate", "fetch", made.id, *form)

    assert done.exit_code == 0
    assert made.input["hf_api_token"] == HF_TOKEN
    clean(done)


@pytest.mark.parametrize("fault", [401, 404, 502])
def test_fetch_that_fails_keeps_secrets(
    server: FakeReplicate, imagen: Any, clean: Any, fault: int
) -> None:
    server.refuse("get", fault, {"detail": HF_TOKEN}, times=9)

    done = imagen("--debug", "replicate", "fetch", "abc")

    assert done.exit_code == {401: 3, 404: 4, 502: 5}[fault]
    clean(done)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_list_of_models_keeps_secrets(imagen: Any, clean: Any, form: Any) -> None:
    done = imagen("--debug", "replicate", "models", *form)

    assert done.exit_code == 0
    clean(done)


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize("words", [("generate", "a cat", "--dry-run"), ("config", "show")])
def test_plans_and_settings_keep_secrets(imagen: Any, clean: Any, words: Any, form: Any) -> None:
    clean(imagen("--debug", *words, *form))


# Where it should not be


def test_secret_that_is_typed_is_refused_and_not_repeated(
    server: FakeReplicate, imagen: Any, clean: Any
) -> None:
    done = imagen("--debug", "generate", "a cat", "-p", f"hf_api_token={HF_TOKEN}")

    assert (done.exit_code, server.requests) == (2, [])
    assert "the input hf_api_token is a secret" in done.err
    clean(done)


@pytest.mark.parametrize(
    "block",
    [
        {"params": {"hf_api_token": HF_TOKEN}},
        {"secrets": {"hf_api_token": HF_TOKEN}},
        {"api_token_env": TOKEN},
        {"api_url": f"https://me:{HF_TOKEN}@example.com/v1"},
    ],
    ids=["params", "secrets", "api_token_env", "api_url"],
)
def test_secret_in_the_block_is_refused_and_not_repeated(
    imagen: Any, configured: Any, block: Any
) -> None:
    configured(model=LORA, **block)

    done = imagen("--debug", "generate", "a cat")

    assert done.exit_code == 2
    assert [text for text in (TOKEN, HF_TOKEN) if text in done.out + done.err] == []


@pytest.mark.parametrize("token", ["r8_gehéim-42", "r8_秘密", "r8_two\nlines"])
def test_token_that_no_header_takes_is_not_repeated(
    imagen: Any, clean: Any, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", token)

    for words in (("generate", "a cat"), ("backends", "--check"), ("replicate", "fetch", "abc")):
        done = imagen("--debug", *words)

        assert (done.exit_code != 0) is (words[0] != "backends")
        clean(done, token)


# In memory


FAULTS: dict[str, Callable[[FakeReplicate], None]] = {
    "token": lambda s: s.refuse("create", 401),
    "input": lambda s: s.refuse("create", 422, {"detail": HF_TOKEN}),
    "no prediction": lambda s: s.refuse("create", 201, f"{TOKEN} {HF_TOKEN}"),
    "proxy": lambda s: s.refuse("create", 502, PAGE),
    "connection": lambda s: s.drop("create"),
    "prediction": lambda s: s.fail_with(f"{TOKEN} {HF_TOKEN}"),
    "file": lambda s: s.refuse("file", 404, HF_TOKEN, times=3),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_errors_have_no_secret_in_them(
    server: FakeReplicate,
    make: Any,
    ask: Any,
    fault: str,
) -> None:
    backend = make(model=LORA, secrets={"hf_api_token": "HF_TOKEN"})
    FAULTS[fault](server)

    with pytest.raises(ImagenError) as caught:
        list(backend.generate(ask()))

    assert len(server.creates) == 1
    texts = list(chain(caught.value))
    assert [text for text in texts if TOKEN in text or HF_TOKEN in text] == []


def test_backend_and_its_client_print_no_secret(make: Any) -> None:
    backend = make(model=LORA, secrets={"hf_api_token": "HF_TOKEN"})

    with backend.connect() as api:
        shown = f"{backend!r} {vars(backend)} {api!r} {backend.secrets} {api.client.headers!r}"

    assert [text for text in (TOKEN, HF_TOKEN) if text in shown] == []


def chain(error: BaseException | None) -> Iterator[str]:
    """The texts of an error, and of those behind it."""
    while error:
        yield f"{error!r} {error} {vars(error)} {getattr(error, '__notes__', '')}"
        error = error.__cause__ or error.__context__


def test_run_has_no_secret_in_it(
    server: FakeReplicate, environment: dict[str, str], tmp_path: Path, png: bytes
) -> None:
    block: dict[str, Any] = {"type": "replicate", "model": LORA, "api_url": server.url}
    block["secrets"] = {"hf_api_token": "HF_TOKEN"}
    app = isolated_app(
        tmp_path,
        config=json.dumps({"backends": {"r": block}}),
        plugins={"replicate": imagen_replicate},
        environment=environment,
    )
    output = [f"data:image/png;base64,{base64.b64encode(png).decode()}"]
    server.accept_then("create", 201, record(output=output))
    server.accept_then("create", 201, record(status="failed"))
    requests = app.resolve(Options(prompt="a cat", backend="r", count=2))

    items = app.pipeline({}).each(requests, app.target(), threading.Event())
    happened = [item for _, item in items]

    assert Counter(bool(run.failure) for run in happened if isinstance(run, Run)) == {
        False: 1,
        True: 1,
    }
    assert [text for text in (TOKEN, HF_TOKEN) if text in repr(happened)] == []
    app.close()


# What is still wrong


@pytest.mark.parametrize("secret", ['hf_"quoted"', "hf_back\\slash", "hf_gehéim"])
def test_secret_that_json_writes_in_another_way_is_not_shown(
    server: FakeReplicate,
    imagen: Any,
    clean: Any,
    monkeypatch: pytest.MonkeyPatch,
    secret: str,
) -> None:
    monkeypatch.setenv("HF_TOKEN", secret)
    server.fail_with(f"Invalid token {secret}")

    clean(imagen("--debug", "generate", "a cat"), secret)


@pytest.mark.parametrize("secret", ['hf_"quoted"', "hf_gehéim"])
def test_secret_that_json_writes_in_another_way_is_not_kept(
    server: FakeReplicate,
    imagen: Any,
    clean: Any,
    imagen_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    secret: str,
) -> None:
    monkeypatch.setenv("HF_TOKEN", secret)
    imagen("generate", "a cat")
    (imagen_home / "data" / "ledger.db").unlink()

    clean(imagen("--debug", "replicate", "fetch", server.predictions[0].id), secret)


def test_secret_input_of_a_record_is_not_kept_by_a_block_that_does_not_name_it(
    server: FakeReplicate, imagen: Any, configured: Any, clean: Any, imagen_home: Path
) -> None:
    imagen("generate", "a cat")
    (imagen_home / "data" / "ledger.db").unlink()
    configured(model=LORA)

    done = imagen("replicate", "fetch", server.predictions[0].id)

    assert done.exit_code == 0
    clean(done)


@pytest.mark.parametrize("token", ["r8_gehéim-42"])
def test_error_of_a_token_that_no_header_takes_has_it_nowhere(
    make: Any, ask: Any, token: str
) -> None:
    with pytest.raises(ImagenError) as caught:
        list(make(model=LORA, api_token_env="ODD_TOKEN").generate(ask()))

    assert [text for text in chain(caught.value) if token in text] == []


def test_host_of_a_redirect_that_tells_secrets_is_not_shown(
    server: FakeReplicate, imagen: Any, clean: Any
) -> None:
    server.redirect_files(f"http://{HF_TOKEN}.localhost:9/x.png")

    done = imagen("--debug", "generate", "a cat")

    assert done.exit_code != 0
    clean(done, HF_TOKEN.lower())
