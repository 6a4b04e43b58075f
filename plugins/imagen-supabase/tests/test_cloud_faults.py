"""Whatever fails in the cloud: the picture is there, one line says so, and a push mends it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imagen_supabase.testing import faults

pytestmark = [pytest.mark.system, pytest.mark.parametrize("cluster", ["system"], indirect=True)]

ALWAYS = 99
UPLOAD, INSERT = "/storage/v1/object/imagen-generated", "/rest/v1/images"
WHO = r"Supabase at 127\.0\.0\.1:\d+"
PAGE = faults.page(200)
FAULTS = {
    "unreachable": (faults.DROPPED, "the connection to {who} broke off"),
    "reply lost": (faults.REPLY_LOST, "the connection to {who} broke off"),
    "time-out before it acts": (faults.HANGING, "{who} did not answer in time"),
    "time-out after it acted": (faults.ACTED_AND_HANGING, "{who} did not answer in time"),
    "database down": (faults.DATABASE_DOWN, "{who} answered 50[03]"),
    "gateway down": (faults.UNAVAILABLE, "{who} answered 503"),
    "fault inside": (faults.INTERNAL_ERROR, "{who} answered 500"),
    "HTML page, 502": (faults.page(502), "{who} answered 502"),
    "HTML page, 200": (PAGE, "{who} answers in another way than Supabase does"),
    "401": (faults.BAD_API_KEY, "{who} refuses it: "),
    "no key": (faults.NO_API_KEY, "{who} refuses it: "),
    "403": (faults.FORBIDDEN, "{who} refuses it: "),
    "expired key": (faults.EXPIRED_KEY, "{who} refuses it: "),
    "413": (faults.BODY_TOO_LARGE, "{who} answered 413"),
    "bucket full": (faults.BUCKET_FULL, "{who} answered (413|500)"),
    "rate limit": (faults.RATE_LIMITED, "{who} answered 429"),
}
PASSING = {
    "dropped": faults.DROPPED,
    "reply lost": faults.REPLY_LOST,
    "database down": faults.DATABASE_DOWN,
    "502": faults.page(502),
}


@pytest.mark.parametrize("place", [UPLOAD, INSERT], ids=["upload", "row"])
@pytest.mark.parametrize(("fault", "reason"), FAULTS.values(), ids=FAULTS)
def test_fault_costs_no_picture_and_a_push_mends_it(
    machine: Any, place: str, fault: Any, reason: str
) -> None:
    machine.gateway.fail(fault, method="POST", path=place, times=ALWAYS)

    done = machine.generate("--seed", "7", supabase={"timeout": 0.3})

    assert done.exit_code == 0
    [path] = done.paths
    sidecar = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert sidecar["size"] == path.stat().st_size
    assert_one_line(done.err, reason, sidecar, uploaded=place == INSERT)
    [run] = machine.runs()
    assert [note.warning for note in run.notes] == [True]
    machine.gateway.mend()
    pushed = machine.run("cloud", "push")
    assert pushed.exit_code == 0, pushed
    assert list(machine.objects.values()) == [path.read_bytes()]
    assert [row["storage_path"] for row in machine.rows] == list(machine.objects)


def assert_one_line(err: str, reason: str, sidecar: Any, *, uploaded: bool) -> None:
    import re

    at = f"{sidecar['date']}/{sidecar['slug']}-7.png"
    landed = f"uploaded as {at}, but without its row: " if uploaded else ""
    line = f"imagen: cloud sync: {landed}{reason.format(who=WHO)}[^\n]*"
    assert re.fullmatch(f"{line}; 'imagen cloud push' sends it later\n", err), err
    assert "cat" not in err.replace(at, "")


@pytest.mark.parametrize("place", [UPLOAD, INSERT], ids=["upload", "row"])
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_passing_fault_is_tried_again(machine: Any, place: str, fault: Any) -> None:
    machine.gateway.fail(fault, method="POST", path=place, times=1)

    done = machine.generate()

    assert done.err == ""
    assert (len(machine.objects), len(machine.rows)) == (1, 1)


@pytest.mark.parametrize("fault", [faults.FORBIDDEN, faults.BODY_TOO_LARGE], ids=str)
def test_refusal_is_not_tried_again(machine: Any, fault: Any) -> None:
    machine.gateway.fail(fault, method="POST", path=UPLOAD, times=ALWAYS)

    machine.generate()

    assert [one.split("/w")[0] for one in machine.asked] == [machine.asked[0].split("/w")[0]]


def test_later_pictures_do_not_wait_for_a_cloud_that_is_down(machine: Any) -> None:
    machine.gateway.fail(faults.UNAVAILABLE, times=ALWAYS)

    done = machine.generate("--count", "4")

    assert len(done.paths) == 4
    assert len(machine.asked) == 3
    machine.gateway.mend()
    machine.run("cloud", "push")
    assert (len(machine.objects), len(machine.rows)) == (4, 4)


def test_push_ends_where_nobody_answers_and_the_next_one_goes_on(machine: Any) -> None:
    machine.generate("--count", "3", "--no-cloud")
    machine.gateway.fail(faults.UNAVAILABLE, method="POST", path=INSERT, times=ALWAYS)

    down = machine.run("cloud", "push")

    assert down.exit_code == 5
    assert "answered 503: name resolution failed; 3 pictures are left" in down.err
    machine.gateway.mend()
    up = machine.run("cloud", "push")
    assert (up.exit_code, up.err) == (
        0,
        "imagen: 3 sent, 0 there already; 0 rows of usage sent\n",
    )
    assert sorted(machine.objects) == sorted(row["storage_path"] for row in machine.rows)


def test_refused_key_ends_a_push_with_its_code(machine: Any) -> None:
    machine.generate("--no-cloud")
    machine.gateway.fail(faults.EXPIRED_KEY, times=ALWAYS)

    done = machine.run("cloud", "push")

    assert done.exit_code == 3
    assert "refuses it: JWT expired" in done.err
    assert "SUPABASE_SERVICE_KEY" in done.err


def test_object_that_was_lost_is_put_back_to_its_row(machine: Any) -> None:
    [path] = machine.generate().paths
    [row] = machine.rows
    machine.lose(row["storage_path"])

    done = machine.run("cloud", "push")

    assert done.out.splitlines() == [row["storage_path"]]
    assert machine.objects == {row["storage_path"]: path.read_bytes()}
    assert machine.rows == [row]
