"""What comes from elsewhere: what makes no sense fails at once, and says why."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from imagen_core import NewJob
from imagen_core.payload import drawn_seed
from scripted import png

if TYPE_CHECKING:
    from shift import Shift

PICTURE = png(8, 6)
DIGEST = sha256(PICTURE).hexdigest()
OWNERS = ("6f0b7c1e-0000-4000-8000-000000000001", "6f0b7c1e-0000-4000-8000-000000000002")


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def options(**fields: Any) -> dict[str, Any]:
    return {"options": {"prompt": "a cat", **fields}}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "its payload makes no sense: Object missing required field `options`"),
    "no prompt": ({"options": {}}, "Object missing required field `prompt` - at `$.options`"),
    "a list": ({"options": []}, "Expected `object`, got `array` - at `$.options`"),
    "a prompt that is none": (options(prompt=7), "Expected `str`, got `int` - at `$.options.pr"),
    "null": (options(prompt=None), "Expected `str`, got `null` - at `$.options.prompt`"),
    "a seed of text": (options(seed="7"), "Expected `int`, got `str` - at `$.options.seed`"),
    "a seed too large": (options(seed=2**80), "seeds go up to 9223372036854775807"),
    "a seed below 0": (options(seed=-1), "seed"),
    "an unknown field": (options(shell="rm"), "contains unknown field `shell` - at `$.options`"),
    "a caller of no type": ({**options(), "caller": 1}, "Expected `str`, got `int` - at `$.caller"),
    "two pictures": (options(count=2), "a job is one picture: enqueue several instead"),
    "no picture": (options(count=0), "a job is one picture: enqueue several instead"),
    "another backend": (options(backend="mock"), "its payload names the backend 'mock'"),
    "an unknown style": (options(style="noir"), "noir"),
    "an odd size": (options(size="huge"), "the size 'huge' is not WIDTHxHEIGHT"),
    "a huge size": (options(size="99999x99999"), "is out of range"),
    "steps": (options(steps=4), "does not honour --steps"),
    "a control character": (options(prompt="a\x1b[2Jcat"), "has a control character (U+001B)"),
    "an unknown parameter": (options(params={"x": 1}), "has no parameter 'x'"),
    "a file of the worker": (options(params={"style_file": "/etc/passwd"}), "which names a file"),
    "a hidden parameter": (options(params={"secret_word": "x"}), "does not list"),
    "a number of text": (options(params={"strength": "much"}), "strength is float, got 'much'"),
    "no number": (options(params={"strength": "NaN"}), "strength is"),
    "deep nesting": (options(params={"strength": deep(400)}), "strength is float"),
    "a path": (options(images=["/etc/passwd"]), "names its input images as sha256:"),
    "a path upwards": (options(images=["../../secret.png"]), "names its input images as sha256:"),
    "a digest upwards": (options(images=["sha256:../../secret"]), "names its input images as"),
    "a digest with more": (options(images=[f"sha256:{DIGEST}/x"]), "names its input images as"),
    "a URL": (options(images=["http://127.0.0.1/x.png"]), "names its input images as sha256:"),
    "no such image": (options(images=["sha256:" + "0" * 64]), "the queue has no input image"),
    "many images": (options(images=["sha256:" + "0" * 64] * 17), "up to 16 input images, got 17"),
    "an image of no type": (options(images=[3]), "Expected `str`, got `int`"),
}


def test_payloads_that_make_no_sense_fail_at_once_and_the_worker_lives(shift: Shift) -> None:
    def put(payload: dict[str, Any]) -> str:
        return shift.queue.enqueue(NewJob(backend="gated", payload=payload)).id

    ids = {case: put(payload) for case, (payload, _) in BAD.items()}
    good = shift.enqueue()

    assert shift.work() == ["failed"] * len(BAD) + ["succeeded"]

    for case, job_id in ids.items():
        job = shift.job(job_id)
        [error] = job.errors
        assert BAD[case][1] in error.failure.message, case
        assert (job.state, job.attempt, error.failure.code) == ("failed", 1, "usage"), case
    assert set(shift.gates.seen("asked")) == {good}


def test_payload_of_a_newer_version_is_told(shift: Shift) -> None:
    job_id = shift.queue.enqueue(
        NewJob(backend="gated", payload={"anything": 1}, payload_version=2)
    ).id

    assert shift.work() == ["failed"]

    [error] = shift.job(job_id).errors
    assert error.failure.message == "its payload has version 2, and this imagen reads 1"
    assert error.failure.hint == "a newer imagen can"


def test_unknown_field_beside_the_options_is_one_of_a_page_that_knows_more(shift: Shift) -> None:
    shift.queue.enqueue(NewJob(backend="gated", payload={**options(), "page": "gallery"}))

    assert shift.work() == ["succeeded"]


def test_input_image_is_that_of_the_owner_and_of_nobody_else(shift: Shift) -> None:
    shift.queue.put_image(PICTURE, owner=OWNERS[0])
    named = [f"sha256:{DIGEST}"]
    theirs = shift.enqueue(images=named, owner=OWNERS[0])
    other = shift.enqueue(images=named, owner=OWNERS[1])
    nobody = shift.enqueue(images=named)

    shift.work()

    states = [shift.job(job_id).state for job_id in (theirs, other, nobody)]
    assert states == ["succeeded", "failed", "failed"]
    [asked] = (shift.job(theirs).result or {})["request"]["images"]
    assert (asked["sha256"], asked["size"]) == (DIGEST, len(PICTURE))


def test_image_with_other_bytes_than_its_name_says_is_refused(shift: Shift) -> None:
    shift.queue.put_image(PICTURE, owner="")
    with shift.queue.database.write() as connection:
        connection.execute("update images set data = ?", (png(5, 5),))
    job_id = shift.enqueue(images=[f"sha256:{DIGEST}"])

    assert shift.work() == ["failed"]
    assert "has other bytes than its name says" in shift.job(job_id).errors[0].failure.message


def test_image_that_is_no_picture_is_refused(shift: Shift) -> None:
    digest = shift.queue.put_image(b"#!/bin/sh", owner="")
    job_id = shift.enqueue(images=[f"sha256:{digest}"])

    assert shift.work() == ["failed"]
    assert "is no picture that imagen knows" in shift.job(job_id).errors[0].failure.message


def test_seed_that_is_not_given_is_the_same_at_each_attempt(shift: Shift) -> None:
    shift.gates.shut("asked", "fail", "UnavailableError")
    job_id = shift.enqueue(max_attempts=3)
    shift.start(most=1)
    shift.join()
    shift.gates.open("asked", "fail")

    assert shift.work() == ["queued", "succeeded"]

    result = shift.job(job_id).result or {}
    assert result["request"]["seed"] == result["outputs"][0]["seed"] == drawn_seed(job_id)
    assert not result["request"]["seed_asked"]
    assert len({drawn_seed(job_id), drawn_seed(shift.enqueue())}) == 2


def test_caller_and_owner_go_into_all_that_is_kept(shift: Shift) -> None:
    job_id = shift.enqueue(caller="web: anna", owner=OWNERS[0], seed=5)

    assert shift.work() == ["succeeded"]

    [run] = shift.app.ledger.runs()
    assert (run.id, run.caller, run.owner, run.request.seed) == (
        job_id,
        "web: anna",
        OWNERS[0],
        5,
    )
    [path] = shift.pictures()
    sidecar = json.loads(Path(f"{path}.json").read_text())
    assert (sidecar["id"], sidecar["caller"]) == (job_id, "web: anna")
    result = shift.job(job_id).result or {}
    assert (result["caller"], result["owner"]) == ("web: anna", OWNERS[0])


def test_parameter_of_text_is_read_as_one_that_was_typed(shift: Shift) -> None:
    job_id = shift.enqueue(params={"strength": "0.5"})

    assert shift.work() == ["succeeded"]
    assert (shift.job(job_id).result or {})["request"]["params"] == {"strength": 0.5}


@pytest.mark.parametrize(
    "other",
    [{"owner": OWNERS[1]}, {"owner": OWNERS[0], "prompt": "a dog"}],
    ids=["owner", "prompt"],
)
def test_picture_that_others_have_under_an_id_is_not_taken_for_it(
    shift: Shift, other: dict[str, str]
) -> None:
    job_id = shift.enqueue(owner=OWNERS[0])
    shift.work()
    with shift.queue._change() as (connection, _):
        connection.execute("delete from jobs")
    [before] = shift.app.ledger.runs()
    shift.enqueue(id=job_id, **other)

    assert shift.work() == ["succeeded", "failed"]

    [error] = shift.job(job_id).errors
    assert error.failure.message == f"the id {job_id} is that of another picture"
    assert [*shift.app.ledger.runs()] == [before]


def test_picture_that_nobody_owns_is_taken_for_the_job_of_its_id(shift: Shift) -> None:
    """Somebody at the keys may have fetched it meanwhile."""
    job_id = shift.enqueue(owner=OWNERS[0])
    shift.work()
    with shift.queue._change() as (connection, _):
        connection.execute("delete from jobs")
    [before] = shift.app.ledger.runs()
    shift.app.ledger.record(replace(before, owner=""), finished=True)
    shift.enqueue(id=job_id, owner=OWNERS[0])

    assert shift.work() == ["succeeded", "succeeded"]
    assert shift.gates.seen("asked") == [job_id]
