"""`imagen enqueue --file`: jobs from the rows of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imagen_core.queueing import Offer
from queues import all_jobs, opened, shared, shared_folder
from scripted import png

if TYPE_CHECKING:
    from pathlib import Path

MOCK = ("--backend", "mock")


def options() -> list[Any]:
    return [job.payload["options"] for job in all_jobs()]


def test_each_row_is_a_job_with_its_own_options(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("prompt,size,seed,p.format\na cat,64x48,3,webp\na dog,,,\n")

    done = imagen("enqueue", "--file", str(file), *MOCK, "--size", "32x32", "--style", "")

    assert done.out.split() == [job.id for job in all_jobs()]
    assert options() == [
        {"prompt": "a cat", "size": "64x48", "seed": 3, "params": {"format": "webp"}},
        {"prompt": "a dog", "size": "32x32"},
    ]


def test_rows_come_from_standard_input_and_worker_makes_them(imagen: Any) -> None:
    args = ("enqueue", "--file", "-", "--format", "jsonl", *MOCK, "--size", "32x32")
    rows = '{"prompt": "a", "params": {"delay_ms": 1}}\n{"prompt": "b", "seed": 4}\n'

    imagen(*args, input=rows)
    made = imagen("worker", "--drain", "--json").json()

    assert [found["state"] for found in made] == ["succeeded", "succeeded"]


def test_choices_are_made_before_it_is_queued(imagen: Any) -> None:
    text = r"a {red|blue} cat, \{kept\}" + "\n"

    imagen("enqueue", "--file", "-", *MOCK, "--expand", "all", "--repeat", "2", input=text)
    imagen("enqueue", "--file", "-", *MOCK, "--repeat", "20", input="{a|b}")

    prompts = [found["prompt"] for found in options()]
    red, blue = "a red cat, {kept}", "a blue cat, {kept}"
    assert prompts[:4] == [red, red, blue, blue]
    assert set(prompts[4:]) == {"a", "b"}
    assert len(prompts) == 24


def test_seeds_of_a_row_are_consecutive_and_of_others_left_to_the_worker(imagen: Any) -> None:
    rows = "prompt,seed,count\na,7,2\nb,,2\nc,,\n"

    imagen("enqueue", "--file", "-", "--format", "csv", *MOCK, "--count", "3", input=rows)

    found = [(one["prompt"], one.get("seed")) for one in options()]
    assert found == [("a", 7), ("a", 8), *[("b", None)] * 2, *[("c", None)] * 3]


def test_everything_that_is_wrong_is_told_and_nothing_is_queued(imagen: Any) -> None:
    rows = (
        "prompt,size,output,backend,p.format\n"
        "a,big,x.png,,\n,,,,\nb,,,flux,\nc,,,,gif\nd,64x64,,,\n"
    )

    done = imagen("enqueue", "--file", "-", "--format", "csv", *MOCK, input=rows)

    assert (done.exit_code, done.out) == (2, "")
    lines = [line.partition(": row ")[2] for line in done.err.splitlines()]
    assert [line.split(";")[0] for line in lines] == [
        "1, output: a job's picture is named where it is made",
        "1, size: the size 'big' is not WIDTHxHEIGHT",
        "2, backend: there is no backend 'flux' here, and no worker offers it",
        "3, params.format: the parameter format is one of png, jpeg, webp",
    ]
    assert all_jobs() == ()


def test_row_may_name_the_backend_of_a_worker(imagen: Any, imagen_home: Path) -> None:
    del imagen_home
    with opened() as queue:
        queue.announce("far-1", [Offer(backend="flux", about={"model": "m", "honours": []})])

    done = imagen("enqueue", "--file", "-", "--format", "csv", input="prompt,backend\na,flux\n")

    assert (done.exit_code, [job.backend for job in all_jobs()]) == (0, ["flux"])


def test_parameter_that_a_job_may_not_set_is_told_with_its_row(imagen: Any, tmp_path: Path) -> None:
    rows = "prompt,backend,p.mask\na,picky,/etc/passwd\n"

    done = imagen("enqueue", "--file", "-", "--format", "csv", input=rows, app=shared(tmp_path))

    assert done.exit_code == 2
    assert "row 1, params.mask: a job can't set mask, which names a file" in done.err


def test_images_of_rows_are_put_into_the_queue_once(imagen: Any, tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(png())
    rows = f"prompt,image\na,{tmp_path}/in.png\nb,{tmp_path}/in.png\n"
    args = ("enqueue", "--file", "-", "--format", "csv", "--backend", "picky")

    imagen(*args, input=rows, app=shared(tmp_path))

    jobs = all_jobs(shared_folder(tmp_path))
    assert len({job.payload["options"]["images"][0] for job in jobs}) == 1


def test_key_of_a_file_finds_all_of_its_jobs(imagen: Any) -> None:
    args = ("enqueue", "--file", "-", *MOCK, "--key", "k")

    first = imagen(*args, input="a\n{b|c|d|e|f}\n")
    again = imagen(*args, input="a\n{b|c|d|e|f}\n")

    assert again.out == first.out
    assert len(all_jobs()) == 2


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("none.txt", "cannot read the rows of none.txt: No such file"),
        ("x.parquet", "is none that imagen reads rows from"),
        ("", "a prompt is needed"),
    ],
)
def test_file_that_has_no_rows_is_refused(
    imagen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.parquet").touch()

    done = imagen("enqueue", *([f"--file={file}"]))

    assert (done.exit_code, done.out) == (2, "")
    assert told in done.err
