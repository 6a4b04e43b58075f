"""`imagen jobs`: what is in a queue, and what can be done about it."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core.cli import run
from imagen_core.cli.jobs_shown import ago, now
from imagen_core.queueing import NewJob, Offer
from imagen_core.script import columns
from imagen_core.terminal import Terminal
from imagen_core.types import Progress, new_id
from queues import FAILURE, OWNER, all_jobs, end_next, opened, script, shared, shared_folder
from screens import Screen, screen_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOSTILE = "a\x1b[31m\ncat\t\udc80\u202e\x07"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def put(imagen_home: Path) -> Callable[..., str]:
    """Puts a job into the queue; its id."""
    del imagen_home

    def enqueue(prompt: str = "a cat", backend: str = "mock", **fields: Any) -> str:
        payload = {"options": {"prompt": prompt}}
        with opened() as queue:
            return queue.enqueue(NewJob(backend=backend, **{"payload": payload, **fields})).id

    return enqueue


@pytest.fixture
def three(put: Callable[..., str]) -> list[str]:
    """A job that failed, one that succeeded and one that waits; the first first."""
    ids = [put("a"), put("b", owner=OWNER), put("c", backend="flux")]
    with opened() as queue:
        assert end_next(queue, failure=FAILURE) == ids[0]
        end_next(queue, result={"outputs": [{"path": "/p/b.png", "seed": 4}]})
    return ids


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    return screen_of(monkeypatch, 72, 10)


# The list.


def test_latest_job_is_the_first_of_the_list_which_is_whole_on_a_pipe(
    imagen: Any, three: list[str]
) -> None:
    done = imagen("jobs")

    first, *rows = [line.split("\t") for line in done.out.splitlines()]
    assert first == ["id", "state", "backend", "attempt", "created", "prompt"]
    jobs = all_jobs()
    assert rows == [
        [three[2], "queued", "flux", "0/3", jobs[2].created_at, "c"],
        [three[1], "succeeded", "mock", "1/3", jobs[1].created_at, "b"],
        [three[0], "failed", "mock", "1/3", jobs[0].created_at, "a"],
    ]
    assert imagen("jobs", "list").out == done.out


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (("--state", "failed"), [0]),
        (("--state", "failed", "--state", "queued"), [2, 0]),
        (("--backend", "flux"), [2]),
        (("--owner", OWNER), [1]),
        (("--owner", ""), [2, 0]),
        (("--limit", "2"), [2, 1]),
        (("--before", "1"), [0]),
        (("--state", "running"), []),
    ],
    ids=str,
)
def test_list_is_what_was_asked_for(
    imagen: Any, three: list[str], args: tuple[str, ...], found: list[int]
) -> None:
    args = tuple(three[1][:8] if arg == "1" else arg for arg in args)

    done = imagen("jobs", *args, "--json")

    assert [job["id"] for job in done.json()] == [three[place] for place in found]


@pytest.mark.parametrize(
    ("args", "told"),
    [((), "no job"), (("--limit", "3"), "no job"), (("--state", "failed"), "no such job")],
)
def test_empty_list_is_told(imagen: Any, args: tuple[str, ...], told: str) -> None:
    done = imagen("jobs", *args)

    assert (done.exit_code, len(done.out.splitlines())) == (0, 1)
    assert done.err == f"imagen: there is {told} in the queue 'local'\n"


def test_list_on_a_terminal_is_short_and_fits(put: Callable[..., str], screen: Screen) -> None:
    first, second = put("a very long prompt " * 20), put("一只猫" * 30)

    run(["jobs", "--limit", "2"], terminal=Terminal(screen, io.StringIO(), {}))

    lines = screen.getvalue().splitlines()

    assert [line.split()[0] for line in lines[1:]] == [second[:8], first[:8]]
    assert all(columns(line) <= 72 for line in lines)
    assert re.search(r" (now|\d+ s ago) ", lines[1])


def test_ids_that_begin_alike_are_shown_as_far_as_tells_them_apart(
    put: Callable[..., str], screen: Screen
) -> None:
    for last in "ab":
        put(id=f"12345678-1234-4234-8234-12345678{last}000")

    run(["jobs"], terminal=Terminal(screen, io.StringIO(), {}))

    shown = [line.split()[0] for line in screen.getvalue().splitlines()[1:]]
    assert shown == ["12345678-1234-4234-8234-12345678b", "12345678-1234-4234-8234-12345678a"]


@pytest.mark.parametrize("args", [(), ("show", "ID"), ("--json",)], ids=str)
def test_hostile_prompt_steers_no_terminal(
    put: Callable[..., str], screen: Screen, args: tuple[str, ...]
) -> None:
    hostile = HOSTILE.replace("\udc80", "")
    payload = {"options": {"prompt": hostile, "x\x1b": [{"\x9b": hostile}]}, "caller": hostile}
    job_id = put(payload=payload, key=hostile)

    code = run(
        ["jobs", *(job_id if arg == "ID" else arg for arg in args)],
        terminal=Terminal(screen, io.StringIO(), {}),
    )

    plain = screen.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\n", "")
    assert (code, [c for c in plain if not c.isprintable()]) == (0, [])
    assert "cat" in plain


@pytest.mark.parametrize("payload", [{}, {"options": 5}, {"options": {"prompt": [1]}}])
@pytest.mark.parametrize("command", ["list", "show"])
def test_payload_that_makes_no_sense_is_shown_all_the_same(
    imagen: Any, put: Callable[..., str], payload: dict[str, Any], command: str
) -> None:
    job_id = put(payload=payload)

    done = imagen("jobs", command, *([job_id] if command == "show" else []))

    assert (done.exit_code, job_id in done.out) == (0, True)


def test_job_that_runs_says_how_far_it_is(put: Callable[..., str], screen: Screen) -> None:
    put()
    put(delay=90)
    token = new_id()
    with opened() as queue:
        job = queue.claim("w", token, backends={"mock": ""}, lease=60, deadline=60)
        assert job
        queue.heartbeat(job.id, token, lease=60, progress=Progress(fraction=0.25))

    run(["jobs"], terminal=Terminal(screen, io.StringIO(), {}))

    states = [
        line.split("mock")[0].split(maxsplit=1)[1] for line in screen.getvalue().split("\n")[1:3]
    ]
    assert [state.strip() for state in states] == ["queued, for later", "running 25%"]


# One job.


def test_show_has_everything_that_is_known(imagen: Any, put: Callable[..., str]) -> None:
    job_id = put("a cat", key="k", owner=OWNER, priority=2)
    with opened() as queue:
        end_next(queue, failure=FAILURE)

    text = imagen("jobs", "show", job_id[:6]).out
    [whole] = imagen("jobs", "show", job_id, "--json").json()

    lines = dict(line.split(": ", 1) for line in text.splitlines())
    assert lines["id"] == job_id
    assert (lines["state"], lines["prompt"], lines["key"]) == ("failed", "a cat", "k")
    assert (lines["owner"], lines["priority"], lines["attempts"]) == (OWNER, "2", "1 of 3")
    assert re.fullmatch(r"attempt 1, .*, far-1: rejected: not this; another one", lines["error"]), (
        lines["error"]
    )
    assert whole["errors"][0]["failure"]["message"] == "not this"
    assert whole["state"] == "failed"


def test_show_has_the_pictures_and_what_was_said_of_them(
    imagen: Any, put: Callable[..., str]
) -> None:
    job_id = put()
    result = {
        "outputs": [{"path": "/p/b.png", "seed": 4}, 5],
        "notes": [{"step": "cloud sync", "text": "there", "url": "https://x/b"}],
        "cost": {"usd": 0.003, "basis": "table"},
    }
    with opened() as queue:
        end_next(queue, result=result)

    lines = imagen("jobs", "show", job_id).out.splitlines()

    assert {"path: /p/b.png", "seed of the picture: 4", "note: cloud sync: there"} < {*lines}
    assert {"address: https://x/b", "cost: 0.003 USD (table)"} < {*lines}


def test_cancelling_says_what_each_is_now(imagen: Any, put: Callable[..., str]) -> None:
    running, waiting = put(), put()
    with opened() as queue:
        queue.claim("w", new_id(), backends={"mock": ""}, lease=60, deadline=60)

    done = imagen("jobs", "cancel", running, waiting)
    again = imagen("jobs", "cancel", running, waiting, "--json")

    assert (done.exit_code, done.out) == (0, f"{running} requested\n{waiting} cancelled\n")
    assert again.json() == [
        {"id": running, "state": "requested"},
        {"id": waiting, "state": "cancelled"},
    ]


def test_job_of_a_dead_worker_is_cancelled_at_once(imagen: Any, put: Callable[..., str]) -> None:
    job_id = [put() for _ in range(25)][-1]
    with opened() as found:
        queue: Any = found
        while queue.claim("dead", new_id(), backends={"mock": ""}, lease=9, deadline=9):
            pass
        with queue._change() as (connection, _):
            connection.execute("update jobs set lease_expires_at = created_at")

    assert imagen("jobs", "cancel", job_id).out == f"{job_id} cancelled\n"


def test_what_is_over_can_not_be_cancelled(imagen: Any, three: list[str]) -> None:
    done = imagen("jobs", "cancel", three[1])

    assert (done.exit_code, done.out) == (1, f"{three[1]} succeeded\n")
    assert "can't be cancelled: it has succeeded" in done.err


def test_retrying_queues_what_failed_anew(imagen: Any, three: list[str]) -> None:
    done = imagen("jobs", "retry", three[0])
    refused = imagen("jobs", "retry", three[1])

    assert (done.exit_code, done.out) == (0, f"{three[0]} queued\n")
    assert [job.attempt for job in all_jobs() if job.id == three[0]] == [0]
    assert refused.exit_code == 1
    assert "can't be retried: it has succeeded" in refused.err


@pytest.mark.parametrize("command", ["show", "cancel", "retry"])
def test_unknown_id_keeps_nobody_from_the_others(
    imagen: Any, put: Callable[..., str], command: str
) -> None:
    job_id = put()
    imagen("jobs", "cancel", job_id)

    one = imagen("jobs", command, UNKNOWN)
    some = imagen("jobs", command, UNKNOWN, job_id)
    none = imagen("jobs", command, UNKNOWN, "nonsense", "--json")

    assert (one.exit_code, some.exit_code, none.exit_code) == (2, 7, 1)
    assert f"imagen: error: there is no job '{UNKNOWN}'\n" in one.err
    assert job_id in some.out
    assert [(found["id"], found["error"]["code"]) for found in none.json()] == [
        (UNKNOWN, "usage"),
        ("nonsense", "usage"),
    ]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("123", "'123' is too short for the beginning of an id"),
        ("1234", "'1234' begins the ids of 2 jobs: "),
        ("12345678-b", "12345678-b"),
        ("\udc80" * 36, "there is no job '"),
        ("%" * 36, "there is no job '"),
        ("' or 1", "there is no job '' or 1'"),
        ("", "there is no job ''"),
    ],
)
def test_beginning_of_an_id_stands_for_it_if_no_other_begins_so(
    imagen: Any, put: Callable[..., str], given: str, told: str
) -> None:
    for middle in "ab":
        put(id=f"12345678-{middle}234-4234-8234-123456789012")

    done = imagen("jobs", "cancel", given)

    assert told in done.out + done.err
    assert done.exit_code == (0 if given == "12345678-b" else 2)


def test_id_may_be_typed_in_capitals(imagen: Any, put: Callable[..., str]) -> None:
    job_id = put()

    assert imagen("jobs", "cancel", f" {job_id.upper()} ").out == f"{job_id} cancelled\n"


# All of them.


def test_stats_count_jobs_and_tell_of_workers(imagen: Any, three: list[str]) -> None:
    with opened() as queue:
        queue.announce("far-1", [Offer(backend="flux", resource="gpu 0")])

    lines = [line.split("\t") for line in imagen("jobs", "stats").out.splitlines()]
    [found] = imagen("jobs", "stats", "--json").json()

    assert len(three) == 3
    assert [line[:-1] for line in lines[1:3]] == [
        ["flux", "1", "0", "0", "0", "0", "0"],
        ["mock", "0", "0", "0", "1", "1", "0"],
    ]
    assert lines[5][:4] == ["flux", "gpu 0", "1", "far-1"]
    assert found["store"] == "local"
    assert [load["backend"] for load in found["backends"]] == ["flux", "mock"]
    assert found["offers"][0]["worker"] == "far-1"


def test_queue_without_a_worker_says_so(imagen: Any, three: list[str]) -> None:
    assert three
    assert "no worker has served the queue 'local'" in imagen("jobs", "stats").err


def test_pruning_forgets_what_is_over(imagen: Any, three: list[str]) -> None:
    kept = imagen("jobs", "prune")
    some = imagen("jobs", "prune", "--succeeded", "0")
    rest = imagen("jobs", "prune", "--others", "0", "--json")

    assert (kept.out, some.out, rest.json()) == (
        "forgotten: 0\n",
        "forgotten: 1\n",
        [{"forgotten": 1}],
    )
    assert [job.id for job in all_jobs()] == [three[2]]


def test_jobs_of_another_store_are_its_own(imagen: Any, tmp_path: Path) -> None:
    [job] = imagen("enqueue", "a", "--store", "shared", app=shared(tmp_path)).out.split()

    here = imagen("jobs", "--json", "--store", "local", app=shared(tmp_path))
    there = imagen("jobs", "--json", "--store", "shared", app=shared(tmp_path))

    assert here.json() == []
    assert [found["id"] for found in there.json()] == [job]
    assert all_jobs(shared_folder(tmp_path))[0].id == job


def test_queue_out_of_reach_ends_with_five(imagen: Any, tmp_path: Path) -> None:
    script(tmp_path, "no answer", "no answer")

    listed = imagen("jobs", "--json", app=shared(tmp_path))
    shown = imagen("jobs", "show", UNKNOWN, app=shared(tmp_path))

    assert (listed.exit_code, listed.json()[0]["error"]["code"]) == (5, "unavailable")
    assert (shown.exit_code, shown.err) == (5, "imagen: error: no answer\n")


def test_wrong_state_is_told_with_json_as_an_object(imagen: Any) -> None:
    done = imagen("jobs", "--state", "lost", "--json")

    assert (done.exit_code, done.err) == (2, "")
    assert json.loads(done.out)["error"]["code"] == "usage"


@pytest.mark.parametrize("option", ["--owner", "--backend"])
def test_filter_that_is_no_text_is_refused(imagen: Any, option: str) -> None:
    assert imagen("jobs", option, "\udc80").exit_code == 2


def test_shell_is_offered_the_commands_and_the_options_of_the_list(imagen: Any, site: Any) -> None:
    del imagen

    def offered(words: str) -> set[str]:
        done = site.run(
            _IMAGEN_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(words.count(" "))
        )
        return {line.partition(",")[2] for line in done.stdout.split()}

    assert {"list", "show", "cancel", "retry", "stats", "prune"} <= offered("imagen jobs ")
    assert offered("imagen jobs --state fa") == {"failed"}


@pytest.mark.parametrize(
    ("at", "told"),
    [
        (0.4, "now"),
        (3, "3 s ago"),
        (-3, "in 3 s"),
        (200, "3 min ago"),
        (7300, "2 h ago"),
        (-90_000, "in 1 d"),
    ],
)
def test_time_is_told_in_the_unit_that_says_most(at: float, told: str) -> None:
    from datetime import timedelta

    moment = now()

    assert ago((moment - timedelta(seconds=at)).isoformat(), moment) == told


def test_time_that_is_none_is_shown_as_it_is() -> None:
    assert (ago("soon", now()), ago("2026-05-08T12:00:00", now()), ago(None, now())) == (
        "soon",
        "2026-05-08T12:00:00",
        "",
    )
