"""`imagen enqueue`: what comes into the queue, and what does not."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core.queueing import Offer
from queues import OWNER, all_jobs, opened, shared, shared_folder
from scripted import png

if TYPE_CHECKING:
    from pathlib import Path

    from imagen_core.app import App

MOCK = ("--backend", "mock")


def options(folder: Path | None = None) -> list[Any]:
    """The options of each job, by the backend."""
    return [{job.backend: job.payload["options"]} for job in all_jobs(folder)]


def test_job_has_what_was_asked_for_and_its_id_is_printed(
    imagen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAI_FROM_ID", "agent")

    done = imagen(
        *("enqueue", "a cat", *MOCK, "--size", "64x32", "--steps", "3", "--negative", "dogs"),
        *("-p", "delay_ms=5", "-p", "format=webp", "--priority", "2", "--max-attempts", "7"),
    )

    [job] = all_jobs()
    assert (done.exit_code, done.out, done.err) == (0, f"{job.id}\n", "")
    assert job.payload == {
        "options": {
            "prompt": "a cat",
            "negative": "dogs",
            "size": "64x32",
            "steps": 3,
            "params": {"delay_ms": "5", "format": "webp"},
        },
        "caller": "agent",
    }
    assert (job.backend, job.owner, job.key, job.priority, job.max_attempts) == (
        "mock", "", "", 2, 7,
    )  # fmt: skip


def test_worker_makes_what_generate_would(imagen: Any) -> None:
    imagen("enqueue", "a cat", *MOCK, "--seed", "9", "--size", "64x32", "-p", "format=webp")
    made = imagen("worker", "--drain", "--json").json()
    [direct] = imagen(
        "generate", "a cat", *MOCK, "--seed", "9", "--size", "64x32", "-p", "format=webp"
    ).paths

    [path] = made[0]["paths"]
    assert path.endswith("a-cat-9.webp")
    with open(path, "rb") as picture:  # noqa: PTH123
        assert picture.read() == direct.read_bytes()


def test_prompt_comes_from_standard_input_however_long_it_is(imagen: Any) -> None:
    prompt = "a cat, " * 200_000

    done = imagen("enqueue", "-", *MOCK, input=f"{prompt}\n")

    assert done.exit_code == 0
    assert options() == [{"mock": {"prompt": prompt}}]


def test_several_have_consecutive_seeds_only_if_one_was_given(imagen: Any) -> None:
    imagen("enqueue", "a", *MOCK, "--count", "2", "--seed", "5")
    imagen("enqueue", "b", *MOCK, "--count", "2")

    assert options() == [
        {"mock": {"prompt": "a", "seed": 5}},
        {"mock": {"prompt": "a", "seed": 6}},
        {"mock": {"prompt": "b"}},
        {"mock": {"prompt": "b"}},
    ]


def test_several_on_an_instance_with_its_own_seed_are_not_all_the_same(
    imagen: Any, tmp_path: Path
) -> None:
    imagen("enqueue", "a", "--backend", "own", "--count", "2", app=shared(tmp_path))

    assert options(shared_folder(tmp_path)) == [
        {"own": {"prompt": "a", "seed": 7}},
        {"own": {"prompt": "a", "seed": 8}},
    ]


def test_json_is_an_object_a_job(imagen: Any) -> None:
    found = imagen("enqueue", "a", *MOCK, "--count", "2", "--key", "k", "--json").json()

    assert found == [
        {"id": job.id, "created": True, "store": "local", "backend": "mock", "key": key}
        | {"owner": None, "priority": 5}
        for job, key in zip(all_jobs(), ["k", "k#2"], strict=True)
    ]


def test_same_key_enqueues_nothing_twice_and_only_what_is_more(imagen: Any) -> None:
    first = imagen("enqueue", "a cat", *MOCK, "--key", "k")
    again = imagen("enqueue", "a dog", *MOCK, "--key", "k")
    more = imagen("enqueue", "a cat", *MOCK, "--key", "k", "--count", "3")
    quiet = imagen("enqueue", "a cat", *MOCK, "--key", "k", "--quiet")

    ids = [job.id for job in all_jobs()]
    assert (first.out, again.out, quiet.out) == (f"{ids[0]}\n",) * 3
    assert again.err == f"imagen: the job {ids[0]} is there already, by the key\n"
    assert quiet.err == ""
    assert more.out.split() == ids
    assert more.err == "imagen: 1 of 3 jobs are there already, by the key\n"
    assert len(ids) == 3


def test_delayed_job_is_not_ready(imagen: Any) -> None:
    imagen("enqueue", "a cat", *MOCK, "--delay", "3600.5")

    with opened() as queue:
        [load] = queue.stats()
    assert (load.ready, load.delayed) == (0, 1)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--size", "big"), "the size 'big' is not WIDTHxHEIGHT"),
        (("--seed", str(2**63)), "seeds go up to"),
        (("--seed", str(2**63 - 1), "--count", "2"), "seeds go up to"),
        (("--count", "0"), "the count is 1 to 10000"),
        (("--style", "noir"), "there is no style 'noir'"),
        (("-p", "delay=1"), "the backend 'mock' has no parameter 'delay'"),
        (("-p", "delay_ms=soon"), "the parameter delay_ms is int, got 'soon'"),
        (("-p", "delay_ms=5", "--image", "x.png"), "the backend 'mock' takes no input images"),
        (("--delay", "nan"), "the delay of a job is 0 to 315360000 seconds, not nan"),
        (("--delay", "inf"), "the delay of a job is 0 to 315360000 seconds, not inf"),
        (("--delay", "1e300"), "the delay of a job is 0 to 315360000 seconds, not 1e+300"),
        (("--delay", "-1"), "the delay of a job is 0 to 315360000 seconds, not -1.0"),
        (("--priority", "10"), "10 is not in the range 0<=x<=9"),
        (("--max-attempts", "0"), "0 is not in the range 1<=x<=20"),
        (("--key", " "), "the key is empty"),
        (("--key", "a\x1b[31m"), "the key has a control character (U+001B) at position 2"),
        (("--key", "a\udc80"), "the key is not valid UTF-8 at position 2"),
        (("--key", "k" * 201), "the key has 201 characters; 200 is the most"),
        (("-p", "format=\udc80"), "the parameter format is one of"),
        (("--store", "bank"), "there is no store 'bank'"),
        (("--repeat", "2"), "--format, --repeat and --expand are for the rows of a --file"),
        (("--file", "x.txt"), "a prompt and --file are two things"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, tuple) else "",
)
def test_what_makes_no_sense_is_refused_before_anything_is_queued(
    imagen: Any, args: tuple[str, ...], told: str
) -> None:
    done = imagen("enqueue", "a cat", *MOCK, *args)

    assert (done.exit_code, done.out) == (2, "")
    assert told in done.err
    assert all_jobs() == ()


@pytest.mark.parametrize("prompt", ["a\x07", "a\udc80", "\x1b]0;x"])
def test_prompt_that_no_backend_should_see_is_refused(imagen: Any, prompt: str) -> None:
    done = imagen("enqueue", prompt, *MOCK, "--json")

    assert (done.exit_code, done.err) == (2, "")
    assert done.json()[0]["error"]["code"] == "usage"
    assert all_jobs() == ()


def test_closed_stdout_leaves_all_jobs_in_the_queue(imagen_home: Path) -> None:
    del imagen_home
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        [sys.executable, "-m", "imagen_core", "enqueue", "a", *MOCK, "--count", "3"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)

    assert (done.returncode, done.stderr, len(all_jobs())) == (0, "", 3)


@pytest.mark.parametrize("key", ["", "k"])
def test_queue_that_goes_away_in_the_midst_says_how_many_are_there(
    imagen: Any, tmp_path: Path, key: str
) -> None:
    args = ("enqueue", "a", *MOCK, "--count", "3", *(("--key", key) if key else ()))
    shared_folder(tmp_path).mkdir(parents=True)
    full = shared_folder(tmp_path) / "full"
    full.touch()

    done = imagen(*args, app=shared(tmp_path))
    full.unlink()
    again = imagen(*args, app=shared(tmp_path))

    assert (done.exit_code, len(done.out.split())) == (5, 2)
    told = "; the same command adds the others" if key else ""
    assert f"imagen: 2 of 3 jobs are in the queue{told}\n" in done.err
    assert again.exit_code == 0
    assert len(all_jobs(shared_folder(tmp_path))) == (3 if key else 5)


# Input images and parameters that are not for everybody.


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "in.png"
    path.write_bytes(png())
    return path


def test_input_image_goes_into_the_queue_and_the_worker_finds_it(
    imagen: Any, tmp_path: Path, picture: Path
) -> None:
    imagen("enqueue", "a", "--backend", "picky", "--image", str(picture), app=shared(tmp_path))
    picture.unlink()

    name = f"sha256:{sha256(png()).hexdigest()}"
    assert options(shared_folder(tmp_path)) == [{"picky": {"prompt": "a", "images": [name]}}]
    done = imagen("worker", "--drain", "--json", app=shared(tmp_path))
    assert [(found["state"], found["error"]) for found in done.json()] == [("succeeded", None)]


@pytest.mark.parametrize("kind", ["missing", "text", "folder"])
def test_input_image_that_is_none_is_refused(imagen: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "in.png"
    if kind == "text":
        path.write_text("no picture")
    elif kind == "folder":
        path.mkdir()

    done = imagen("enqueue", "a", "--backend", "picky", "--image", str(path), app=shared(tmp_path))

    assert (done.exit_code, done.out) == (2, "")
    assert all_jobs(shared_folder(tmp_path)) == ()


@pytest.mark.parametrize(
    ("param", "told"),
    [
        ("mask=/etc/passwd", "a job can't set mask, which names a file at the backend 'picky'"),
        ("6.text=x", "a job can't set 6.text, which the backend 'picky' does not list"),
    ],
)
def test_parameter_that_a_job_may_not_set_is_refused(
    imagen: Any, tmp_path: Path, param: str, told: str
) -> None:
    done = imagen("enqueue", "a", "--backend", "picky", "-p", param, app=shared(tmp_path))

    assert (done.exit_code, done.out) == (2, "")
    assert told in done.err


# Backends that are a worker's alone.

ABOUT = {
    "type": "replicate",
    "model": "m",
    "honours": ["seed", "size", "images"],
    "size": "512x512",
    "steps": None,
    "params": [{"name": "guidance", "type": "float", "help": ""}],
}


@pytest.fixture
def offered(imagen_home: Path) -> None:
    del imagen_home
    with opened() as queue:
        queue.announce("far-1", [Offer(backend="flux", about=ABOUT)])


@pytest.mark.usefixtures("offered")
def test_backend_of_a_worker_is_accepted_with_a_style_of_its_own(
    imagen: Any, picture: Path
) -> None:
    done = imagen(
        *("enqueue", "a", "--backend", "flux", "--style", "noir", "-p", "guidance=2.5"),
        *("--image", str(picture), "--size", "64x64"),
    )

    assert done.exit_code == 0, done
    [found] = options()
    assert found["flux"]["style"] == "noir"
    assert found["flux"]["params"] == {"guidance": "2.5"}


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--steps", "4"), "the backend 'flux' does not honour --steps"),
        (("-p", "guidanse=2"), "the backend 'flux' has no parameter 'guidanse'"),
        (("-p", "guidance=much"), "the parameter guidance is float, got 'much'"),
        (("--size", "0x0"), "the size '0x0' is out of range"),
        (("--seed", "-1"), "the seed is at least 0"),
        (("--image", "none.png"), "cannot read the input image none.png"),
    ],
)
def test_backend_of_a_worker_is_checked_by_what_the_worker_said(
    imagen: Any, args: tuple[str, ...], told: str
) -> None:
    done = imagen("enqueue", "a", "--backend", "flux", *args)

    assert (done.exit_code, done.out) == (2, "")
    assert told in done.err


@pytest.mark.usefixtures("offered")
def test_backend_that_nobody_has_is_refused_with_what_is_near(imagen: Any) -> None:
    done = imagen("enqueue", "a", "--backend", "fluxx")

    assert done.exit_code == 2
    assert done.err == (
        "imagen: error: there is no backend 'fluxx' here, and no worker offers it\n"
        "  hint: did you mean 'flux'?\n"
    )


@pytest.mark.parametrize("about", [{}, {"honours": ["smell"]}, {"params": 5}, {"size": None}])
def test_offer_that_is_not_understood_leaves_the_judgement_to_the_worker(
    imagen: Any, imagen_home: Path, about: dict[str, Any]
) -> None:
    del imagen_home
    with opened() as queue:
        queue.announce("far-1", [Offer(backend="flux", about=about)])

    done = imagen("enqueue", "a", "--backend", "flux", "--steps", "4", "-p", "x=1")

    assert done.exit_code == 0, done


def test_worker_offers_what_a_job_may_set(imagen: Any, tmp_path: Path) -> None:
    imagen("worker", "--drain", app=shared(tmp_path))

    with opened(shared_folder(tmp_path)) as queue:
        params = {offer.backend: offer.about["params"] for offer in queue.offers()}
    assert params["picky"] == [{"name": "scale", "type": "float", "help": ""}]
    assert params["free"] is None


# Whose they are.


def test_job_in_a_shared_queue_belongs_to_the_configured_owner(imagen: Any, tmp_path: Path) -> None:
    done = imagen("enqueue", "a", "--store", "shared", app=shared(tmp_path))

    [job] = all_jobs(shared_folder(tmp_path))
    assert (done.exit_code, job.owner) == (0, OWNER)


def test_shared_queue_without_an_owner_is_refused(imagen: Any, tmp_path: Path) -> None:
    app: App = shared(tmp_path, config="{}")

    done = imagen("enqueue", "a", "--store", "shared", app=app)

    assert (done.exit_code, done.out) == (2, "")
    assert "no owner_user_id is configured" in done.err
    assert all_jobs(shared_folder(tmp_path)) == ()


def test_image_in_a_shared_queue_belongs_to_the_owner_alone(
    imagen: Any, tmp_path: Path, picture: Path
) -> None:
    args = ("enqueue", "a", "--backend", "picky", "--image", str(picture), "--store", "shared")
    imagen(*args, app=shared(tmp_path))

    with opened(shared_folder(tmp_path)) as queue:
        digest = sha256(png()).hexdigest()
        assert queue.image(digest, owner=OWNER) == png()
        assert queue.image(digest, owner="somebody") is None
