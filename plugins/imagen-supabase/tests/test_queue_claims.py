"""What the kit does not ask of the queue: tokens, what can't be read, images, and its work."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any
from uuid import uuid4

import httpx
import pytest

from imagen_core import Failure, ImagenError, NewJob, Offer, Progress, UsageError
from imagen_supabase.pictures import EXTENSIONS
from supabase_plans import filled

pytestmark = [pytest.mark.system, pytest.mark.parametrize("cluster", ["system"], indirect=True)]

FAILURE = Failure(code="unavailable", message="busy", retryable=True)
FLUX = {"flux": ""}
USER = "3f1c6f0e-8a6b-4c1e-9a56-1f0a5f4f9a10"
SIGNATURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0"


def put(queue: Any, **fields: Any) -> str:
    job = NewJob(**{"backend": "flux", "payload": {"prompt": "a cat"}, **fields})
    return str(queue.enqueue(job).id)


def take(queue: Any, token: str = "", backends: dict[str, str] | None = None) -> Any:
    token = token or str(uuid4())
    return queue.claim("w", token, backends=backends or FLUX, lease=60, deadline=600)


# A token is good for one claim


@pytest.mark.parametrize("ending", ["complete", "fail", "fail and retry", "release", "rescue"])
def test_token_that_has_ended_its_job_gets_no_other(jobs: Any, ending: str) -> None:
    queue, token = jobs.queue(), str(uuid4())
    put(queue)
    put(queue)
    job = take(queue, token)

    match ending:
        case "complete":
            queue.complete(job.id, token, {})
        case "fail" | "fail and retry":
            queue.fail(job.id, token, FAILURE, retry=ending != "fail", after=0)
        case "release":
            queue.release(job.id, token)
        case "rescue":
            jobs.elapse(61)
            assert queue.rescue() == 1

    assert take(queue, token) is None
    assert queue.complete(job.id, token, {}) == ("already" if ending == "complete" else "lost")
    assert take(queue) is not None


def test_token_that_got_nothing_may_ask_again(jobs: Any) -> None:
    queue, token = jobs.queue(), str(uuid4())
    assert take(queue, token) is None

    job_id = put(queue)

    assert take(queue, token).id == job_id


# What can't be read


def test_job_that_cannot_be_read_fails_and_the_same_token_takes_the_next(jobs: Any) -> None:
    queue, token = jobs.queue("imagen_worker"), str(uuid4())
    service = jobs.queue()
    strange, sound = put(service, priority=0), put(service)
    jobs.sql("update imagen.jobs set checkpoint = '[1]' where id = %s", strange)

    job = take(queue, token)

    assert job.id == sound
    [(state, errors)] = jobs.sql("select state, errors from imagen.jobs where id = %s", strange)
    assert (state, errors[0]["failure"]["code"]) == ("failed", "unreadable")
    assert "can't be read: Expected `object`, got `array`" in errors[0]["failure"]["message"]
    assert take(queue, token) == job
    assert queue.complete(sound, token, {}) == "ok"


@pytest.mark.parametrize("errors", ["[7]", "{}", '"x"'])
def test_job_whose_errors_are_none_can_still_fail(jobs: Any, errors: str) -> None:
    queue = jobs.queue()
    job_id = put(queue)
    jobs.sql("update imagen.jobs set errors = %s where id = %s", errors, job_id)

    assert take(queue) is None

    assert jobs.sql("select state from imagen.jobs where id = %s", job_id) == [("failed",)]


def test_who_looks_at_a_job_is_spared_what_cannot_be_read_of_it(jobs: Any) -> None:
    queue = jobs.queue()
    job_id = put(queue)
    jobs.sql("update imagen.jobs set progress = '7', checkpoint = '[1]', errors = '{}'")

    for job in (*queue.jobs(), queue.get(job_id)):
        assert (job.id, job.progress, job.checkpoint, job.errors) == (job_id, None, {}, ())


def test_fields_of_a_newer_imagen_do_no_harm(jobs: Any) -> None:
    queue = jobs.queue()
    job_id = put(queue)
    progress = {"fraction": 0.5, "mood": "good"}
    jobs.sql("update imagen.jobs set progress = %s", json.dumps(progress))

    assert queue.get(job_id).progress == Progress(fraction=0.5)


# What goes in


def test_nul_becomes_a_sign_that_the_database_keeps(jobs: Any) -> None:
    queue = jobs.queue()

    job_id = put(queue, payload={"prompt": "a\0b"}, key="k\0")

    assert queue.get(job_id).payload == {"prompt": "a\N{REPLACEMENT CHARACTER}b"}


@pytest.mark.parametrize("payload", [{"a": object()}, {"a": "\ud800"}, {1j: 1}])
def test_what_is_no_json_is_refused_before_anybody_is_asked(jobs: Any, payload: Any) -> None:
    with pytest.raises(UsageError, match="this can't be written into the queue: "):
        put(jobs.queue(), payload=payload)

    assert jobs.gateway.requests == []


def test_owner_who_is_no_user_is_refused(jobs: Any) -> None:
    queue = jobs.queue()

    with pytest.raises(UsageError, match="the owner of a job is the id of a user, and not 'ada'"):
        put(queue, owner="ada")

    assert queue.jobs(owner="ada") == ()


def test_ids_that_are_none_are_those_of_no_job(jobs: Any) -> None:
    queue = jobs.queue()
    put(queue)

    assert queue.get("1") is None
    assert (queue.cancel("1"), queue.retry("1")) == ("gone", "gone")
    assert queue.complete("1", str(uuid4()), {}) == "gone"
    assert queue.jobs(before="1") == ()


def test_pages_of_a_long_list_are_one_list(jobs: Any) -> None:
    queue = jobs.queue()
    jobs.sql(filled("one"), 450)

    found = queue.jobs(limit=430)

    assert len({job.id for job in found}) == 430
    created = [job.created_at for job in found]
    assert created == sorted(created, reverse=True)
    assert queue.jobs(limit=100, before=found[-1].id)[0].created_at <= created[-1]
    assert len(queue.jobs(limit=100, before=found[-1].id)) == 20


def test_offer_that_is_given_twice_is_told_once(jobs: Any) -> None:
    queue = jobs.queue()

    queue.announce("w", [Offer(backend="flux"), Offer(backend="flux", about={"later": True})])

    [offer] = queue.offers()
    assert (offer.about, offer.worker) == ({"later": True}, "w")


# Input images


def png() -> bytes:
    return SIGNATURE + uuid4().bytes


@pytest.mark.parametrize("owner", ["", USER])
def test_image_is_kept_once_for_its_owner_alone(jobs: Any, owner: str) -> None:
    queue, data = jobs.queue(), png()

    names = {queue.put_image(data, owner=owner) for _ in range(2)}

    assert names == {sha256(data).hexdigest()}
    [name] = names
    worker = jobs.queue("imagen_worker")
    assert worker.image(name, owner=owner) == data
    assert worker.image(name, owner=str(uuid4())) is None
    assert worker.image(name, owner="ada") is None
    assert worker.image("0" * 64, owner=owner) is None


def test_worker_may_not_put_images(jobs: Any) -> None:
    with pytest.raises(ImagenError, match="refuses it"):
        jobs.queue("imagen_worker").put_image(png(), owner="")


def test_other_bytes_under_the_name_of_an_image_are_none(jobs: Any) -> None:
    queue, data = jobs.queue(), png()
    name = uuid4().hex * 2
    url = f"{jobs.gateway.url}/storage/v1/object/imagen-inputs/shared/{name}"
    headers = {"Authorization": f"Bearer {jobs.gateway.service_key}", "Content-Type": "image/png"}
    httpx.post(url, content=data, headers=headers, timeout=60).raise_for_status()

    assert queue.image(name, owner="") is None


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"%PDF"])
def test_what_is_no_picture_is_not_kept(jobs: Any, data: bytes) -> None:
    with pytest.raises(UsageError, match="the input image is no PNG, JPEG or WebP"):
        jobs.queue().put_image(data, owner="")

    assert "image/png" in EXTENSIONS
