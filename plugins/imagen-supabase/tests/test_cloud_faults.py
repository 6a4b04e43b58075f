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
    "dropped": (faults.DROPPED, 3, "the connection to {who} broke off"),
    "time-out before it acts": (faults.HANGING, 1, "{who} did not answer in time"),
    "database down": (faults.DATABASE_DOWN, 3, "{who} answered 50[03]"),
    "gateway down": (faults.UNAVAILABLE, 3, "{who} answered 503"),
    "fault inside": (faults.INTERNAL_ERROR, 3, "{who} answered 500"),
    "HTML page, 502": (faults.page(502), 3, "{who} answered 502"),
    "HTML page, 200": (PAGE, 1, "{who} answers in another way than Supabase does"),
    "HTML page, 404": (faults.page(404), 1, "{who} answers in another way than Supabase does"),
    "401": (faults.BAD_API_KEY, 1, "{who} refuses it: "),
    "no key": (faults.NO_API_KEY, 1, "{who} refuses it: "),
    "403": (faults.FORBIDDEN, 1, "{who} refuses it: "),
    "expired key": (faults.EXPIRED_KEY, 1, "{who} refuses it: "),
    "413": (faults.BODY_TOO_LARGE, 1, "{who} (answered 413|refuses an object of that size)"),
    "rate limit": (faults.RATE_LIMITED, 1, "{who} answered 429"),
}
ACTED = {
    "reply lost": faults.REPLY_LOST,
    "time-out after it acted": faults.ACTED_AND_HANGING,
}
FULL = {
    UPLOAD: (faults.BUCKET_FULL, "{who} refuses an object of that size"),
    INSERT: (faults.BUCKET_FULL, "{who} answered 500"),
}
PASSING = {
    "dropped": faults.DROPPED,
    "reply lost": faults.REPLY_LOST,
    "database down": faults.DATABASE_DOWN,
    "502": faults.page(502),
}


@pytest.mark.parametrize("place", [UPLOAD, INSERT], ids=["upload", "row"])
@pytest.mark.parametrize(("fault", "tries", "reason"), FAULTS.values(), ids=FAULTS)
def test_fault_costs_no_picture_and_a_push_mends_it(
    machine: Any, place: str, fault: Any, tries: int, reason: str
) -> None:
    machine.gateway.fail(fault, method="POST", path=place, times=ALWAYS)

    done = machine.generate("--seed", "7", supabase={"timeout": 0.3})

    assert len([one for one in machine.asked if one.startswith(f"POST {place}")]) == tries
    check_that_nothing_is_lost(machine, done, reason, uploaded=place == INSERT)


@pytest.mark.parametrize(("place", "fault"), FULL.items(), ids=["upload", "row"])
def test_full_project_costs_no_picture(machine: Any, place: str, fault: Any) -> None:
    machine.gateway.fail(fault[0], method="POST", path=place, times=ALWAYS)

    done = machine.generate("--seed", "7", supabase={"timeout": 0.3})

    check_that_nothing_is_lost(machine, done, fault[1], uploaded=place == INSERT)


@pytest.mark.parametrize("fault", ACTED.values(), ids=ACTED)
def test_row_whose_reply_never_came_is_not_written_twice(machine: Any, fault: Any) -> None:
    machine.gateway.fail(fault, method="POST", path=INSERT, times=ALWAYS)

    done = machine.generate("--seed", "7", supabase={"timeout": 0.3})

    assert "but without its row: " in done.err
    assert len(machine.rows) == 1
    machine.gateway.mend()
    assert machine.run("cloud", "push").err == "imagen: pictures: 0 sent, 1 there already\n"


def test_upload_whose_reply_got_lost_is_found_at_the_next_try(machine: Any) -> None:
    machine.gateway.fail(faults.REPLY_LOST, method="POST", path=UPLOAD, times=1)

    done = machine.generate("--seed", "7")

    assert done.err == ""
    assert (len(machine.objects), len(machine.rows)) == (1, 1)


def check_that_nothing_is_lost(machine: Any, done: Any, reason: str, *, uploaded: bool) -> None:
    assert done.exit_code == 0
    [path] = done.paths
    sidecar = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert sidecar["size"] == path.stat().st_size
    assert_one_line(done.err, reason, sidecar, uploaded=uploaded)
    [run] = machine.runs()
    assert [note.warning for note in run.notes] == [True]
    machine.gateway.mend()
    pushed = machine.run("cloud", "push")
    assert pushed.exit_code == 0, pushed
    assert list(machine.objects.values()) == [path.read_bytes()]
    assert [row["storage_path"] for row in machine.rows] == list(machine.objects)
    [run] = machine.runs()
    assert [note.warning for note in run.notes] == [False]


def assert_one_line(err: str, reason: str, sidecar: Any, *, uploaded: bool) -> None:
    import re

    at = f"{sidecar['date']}/{sidecar['slug']}-7.png"
    landed = f"uploaded as {at}, but without its row: " if uploaded else ""
    line = f"imagen: cloud sync: {landed}{reason.format(who=WHO)}[^\n]*"
    assert re.fullmatch(f"{line}; 'imagen cloud push' sends it later\n", err), err
    assert "cat" not in err.replace(at, "")


def test_picture_that_no_ledger_has_is_pushed_by_its_path(machine: Any) -> None:
    machine.gateway.fail(faults.UNAVAILABLE, method="POST", path=UPLOAD, times=3)

    done = machine.generate("--no-ledger")

    [path] = done.paths
    assert done.err.endswith(f"; 'imagen cloud push {path}' sends it later\n")
    assert machine.run("cloud", "push", str(path)).exit_code == 0
    assert len(machine.rows) == 1


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

    assert len(machine.asked) == 1


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
        "imagen: pictures: 3 sent, 0 there already\n",
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


def test_row_that_the_database_refuses_is_told_without_the_prompt(own_machine: Any) -> None:
    own_machine.sql("alter table imagen.images add constraint no_cats check (prompt !~ 'cat')")

    done = own_machine.run("--debug", "generate", "a cat", "--backend", "mock", "--size", "32x32")

    assert done.exit_code == 0
    assert "refuses the row: new row for relation" in done.err
    assert " a cat" not in done.err
    assert own_machine.gateway.service_key not in done.err
