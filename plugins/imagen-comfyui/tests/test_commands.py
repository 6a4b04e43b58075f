"""`imagen workflow`, and ComfyUI through the other commands, as a user types them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_comfyui.testing import FakeComfyUI

if TYPE_CHECKING:
    pass

GRAPHS = Path(__file__).parent / "graphs"


# Making pictures


def test_generate_prints_the_path_and_keeps_what_made_it(
    server: FakeComfyUI, imagen: Any, configured: Any
) -> None:
    configured(url=server.url)

    done = imagen("generate", "a cat", "--seed", "7", "--size", "768x768")

    assert (done.exit_code, done.err) == (0, "")
    [path] = done.paths
    kept = json.loads(Path(f"{path}.json").read_text())
    assert (kept["width"], kept["height"], kept["seed"], kept["steps"]) == (768, 768, 7, 4)
    assert (kept["model"], kept["type"]) == ("flux1-schnell.safetensors", "comfyui")
    assert kept["metadata"]["workflow"] == "flux1-schnell"
    assert kept["remote_id"] == kept["id"] == kept["metadata"]["prompt_id"]
    assert (kept["cost_usd_estimate"], kept["cost_basis"]) == (0, "local")


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("--size", "100x100"), 2, "in multiples of 16; 100x100 is none"),
        (("--steps", "10001"), 2, "the parameter steps is at least 1 and at most 10000"),
        (("-p", "cfg=1000"), 2, "the parameter cfg is at least 0 and at most 100; got 1000.0"),
        (("-p", "cgf=1"), 2, "hint: did you mean 'cfg'?"),
        (("-p", "nothing=1"), 2, "hint: it has: base_shift, batch_size, cfg, clip_l, "),
        (("-p", "sampler=eulr"), 4, "hint: sampler_name takes euler, "),
        (("-p", "unet=none.safetensors"), 4, "lacks the file 'none.safetensors'"),
        (("-p", "8.denoise=7"), 4, "node 8 'Sampler': Value 7.0 bigger than max of 1.0"),
        (("-p", "7.width=512"), 2, "the input 7.width is the placeholder ${width}"),
        (("-p", "8.cfg=5"), 2, "hint: set it with -p cfg=VALUE"),
        (("-p", "steps=5"), 2, "hint: use --steps"),
        (("-p", "filename_prefix=../x"), 2, "leads out of the server's output folder"),
    ],
)
def test_what_can_not_work_is_told(
    server: FakeComfyUI, imagen: Any, configured: Any, args: Any, code: int, told: str
) -> None:
    configured(url=server.url)

    done = imagen("generate", "a cat", *args)

    assert (done.exit_code, done.out) == (code, "")
    assert told in done.err
    assert server.submits == []


def test_dry_run_refuses_what_generate_would(imagen: Any, configured: Any) -> None:
    configured(url="http://127.0.0.1:9")

    assert imagen("generate", "a cat", "--dry-run").exit_code == 0
    assert imagen("generate", "a cat", "--dry-run", "--size", "100x100").exit_code == 2


def test_negative_prompt_that_the_model_ignores_is_noted(
    server: FakeComfyUI, imagen: Any, configured: Any
) -> None:
    configured(url=server.url)

    done = imagen("generate", "a cat", "--negative", "dogs")

    assert done.err == "imagen: the backend 'flux' ignores the negative prompt\n"
    kept = json.loads(Path(f"{done.paths[0]}.json").read_text())
    assert kept["warnings"] == ["the backend 'flux' ignores the negative prompt"]


def test_black_picture_is_kept_with_a_warning(
    server: FakeComfyUI, imagen: Any, configured: Any
) -> None:
    configured(url=server.url)
    server.black()

    done = imagen("generate", "a cat")

    assert (done.exit_code, len(done.paths)) == (0, 1)
    assert "imagen: the picture is all black: " in done.err


def test_seed_of_the_block_is_the_usual_one(
    server: FakeComfyUI, imagen: Any, configured: Any
) -> None:
    configured(url=server.url, seed=11)

    seeds = [
        json.loads(Path(f"{path}.json").read_text())["seed"]
        for args in ((), ("--seed", "5"))
        for path in imagen("generate", "a cat", *args).paths
    ]

    assert seeds == [11, 5]


def test_input_image_of_the_command_line(
    server: FakeComfyUI, imagen: Any, configured: Any, tmp_path: Path, png: bytes
) -> None:
    (tmp_path / "ref.png").write_bytes(png)
    configured(url=server.url, workflow="sd15-img2img")

    done = imagen("generate", "a cat", "--image", str(tmp_path / "ref.png"))
    without = imagen("generate", "a cat")

    assert done.exit_code == 0
    assert (without.exit_code, "--image PATH" in without.err) == (2, True)


def test_unreachable_server_is_exit_5_with_the_hint(imagen: Any, configured: Any) -> None:
    configured(url="http://127.0.0.1:9", unreachable_hint="boot-whitetower mrock")

    done = imagen("generate", "a cat")

    assert done.exit_code == 5
    assert done.err == (
        "imagen: error: ComfyUI at http://127.0.0.1:9 is unreachable: Connection refused\n"
        "  hint: boot-whitetower mrock\n"
    )


def test_backends_check_tells_how_the_server_does(
    server: FakeComfyUI, imagen: Any, configured: Any
) -> None:
    configured(url=server.url)

    [found] = imagen("backends", "--check", "--json").json()

    assert found["instances"][0]["status"].startswith("ComfyUI 0.33.0, the queue is empty, ")


# imagen workflow list and show


def test_list_has_the_bundled_and_the_users_own(imagen: Any, configured: Any) -> None:
    folder = Path(configured())
    folder.mkdir(parents=True)
    (folder / "mine.json").write_text('{"1": {"class_type": "A", "inputs": {"t": "${prompt}"}}}')
    (folder / "odd.json").write_text("{")

    rows = {row["name"]: row for row in imagen("workflow", "list", "--json").json()}
    table = imagen("workflow", "list").out.splitlines()

    assert list(rows)[:2] == ["mine", "odd"]
    assert (rows["mine"]["source"], rows["mine"]["images"]) == ("yours", 0)
    assert rows["odd"]["title"].startswith(f"broken: {folder}/odd.json:1: not JSON")
    assert rows["sd15-img2img"]["images"] == 1
    assert table[0] == "workflow\tfrom\tinput images\ttitle"
    assert "sd15\timagen-workflows\t0\tStable Diffusion 1.5" in table


def test_show_tells_what_it_takes_and_needs(imagen: Any) -> None:
    done = imagen("workflow", "show", "sd35-medium")

    assert done.out.startswith("sd35-medium: Stable Diffusion 3.5 Medium\n")
    assert "-p shift\tfloat\t3.0\t0..100\t" in done.out
    assert "--steps\tint\t28\t1..10000\t" in done.out
    assert (
        "sd3.5_medium.safetensors\tcheckpoints\tstabilityai/stable-diffusion-3.5-medium" in done.out
    )


def test_show_as_json_and_as_graph(imagen: Any) -> None:
    [found] = imagen("workflow", "show", "sd15", "--json").json()
    graph = json.loads(imagen("workflow", "show", "sd15", "--graph").out)

    assert found["placeholders"]["prompt"] == ["2.text"]
    assert {"cfg", "sampler", "checkpoint"} <= {param["name"] for param in found["params"]}
    assert graph["2"]["inputs"]["text"] == "${prompt}"


def test_graph_and_manifest_that_are_shown_make_the_same_workflow(
    server: FakeComfyUI, imagen: Any, configured: Any
) -> None:
    folder = Path(configured(url=server.url, workflow="mine"))
    folder.mkdir(parents=True)
    (folder / "mine.json").write_text(imagen("workflow", "show", "sd15", "--graph").out)
    (folder / "mine.yaml").write_text(imagen("workflow", "show", "sd15", "--manifest").out)

    assert imagen("generate", "a cat", "--size", "64x64").exit_code == 0
    both = imagen("workflow", "show", "sd15", "--graph", "--manifest")
    assert (both.exit_code, both.out) == (2, "")


def test_import_takes_the_manifest_that_lies_beside(
    imagen: Any, configured: Any, tmp_path: Path
) -> None:
    folder = Path(configured())
    (tmp_path / "mine.json").write_text(imagen("workflow", "show", "sd15", "--graph").out)
    (tmp_path / "mine.yaml").write_text(imagen("workflow", "show", "sd15", "--manifest").out)

    assert imagen("workflow", "import", str(tmp_path / "mine.json")).exit_code == 0
    assert (folder / "mine.yaml").read_text() == (tmp_path / "mine.yaml").read_text()


def test_show_of_an_unknown_one_is_exit_2(imagen: Any) -> None:
    done = imagen("workflow", "show", "sd1")

    assert (done.exit_code, done.out) == (2, "")
    assert "there is no workflow 'sd1'\n  hint: did you mean 'sd15'?" in done.err


# imagen workflow import


def test_import_writes_a_workflow_that_runs(
    server: FakeComfyUI, imagen: Any, configured: Any, tmp_path: Path
) -> None:
    folder = configured(url=server.url, workflow="mine")
    plain = imagen("workflow", "show", "sd15", "--graph").out
    for name, value in {"prompt": "a dog", "negative": "", "seed": 5, "steps": 20}.items():
        plain = plain.replace(f'"${{{name}}}"', json.dumps(value))
    for name, value in {"cfg": 7.0, "width": 512, "height": 512}.items():
        plain = plain.replace(f'"${{{name}}}"', json.dumps(value))
    plain = plain.replace("${sampler}", "euler").replace("${scheduler}", "normal")
    plain = plain.replace("${checkpoint}", "v1-5-pruned-emaonly-fp16.safetensors")
    plain = plain.replace('"${batch_size}"', "1").replace("${filename_prefix}", "ComfyUI")
    (tmp_path / "export.json").write_text(plain)

    done = imagen("workflow", "import", str(tmp_path / "export.json"), "--name", "mine")

    assert done.exit_code == 0
    assert "prompt\t2.text\t" in done.out
    assert "seed\t5.seed\t" in done.out
    assert f"written: {folder}/mine.json and mine.yaml" in done.err
    made = imagen("generate", "a cat", "--seed", "9", "--size", "64x64")
    assert (made.exit_code, made.err) == (0, "")
    assert server.last.graph["2"]["inputs"]["text"] == "a cat"
    assert server.last.graph["5"]["inputs"]["seed"] == 9


def test_import_of_a_picture_that_comfyui_wrote(
    server: FakeComfyUI, imagen: Any, configured: Any
) -> None:
    configured(url=server.url)
    [path] = imagen("generate", "a cat", "--size", "64x64").paths

    done = imagen("workflow", "import", str(path), "--name", "again", "--json")

    [found] = done.json()
    assert found["mapped"]["prompt"] == ["5.text"]
    assert found["mapped"]["width"] == ["4.width", "7.width"]
    shown = imagen("workflow", "show", "again", "--json").json()[0]
    assert shown["manifest"]["parameters"]["steps"]["default"] == 4


def test_prefix_of_an_imported_picture_is_without_the_id_of_its_run(
    server: FakeComfyUI, imagen: Any, configured: Any
) -> None:
    configured(url=server.url, filename_prefix="foxes/")
    [path] = imagen("generate", "a cat", "--size", "64x64").paths
    imagen("workflow", "import", str(path), "--name", "again")
    configured(url=server.url, workflow="again")

    imagen("generate", "a cat", "--size", "64x64")

    first, second = (s.graph["10"]["inputs"]["filename_prefix"] for s in server.submits)
    assert [len(first), len(second)] == [len("foxes/") + 36] * 2
    assert first[:6] == second[:6] == "foxes/"


def test_import_overwrites_nothing_unasked(imagen: Any, configured: Any, tmp_path: Path) -> None:
    folder = Path(configured())
    export = tmp_path / "mine.json"
    export.write_text('{"1": {"class_type": "A", "inputs": {}}}')
    assert imagen("workflow", "import", str(export)).exit_code == 0
    before = (folder / "mine.json").read_bytes()
    export.write_text('{"1": {"class_type": "B", "inputs": {}}}')

    again = imagen("workflow", "import", str(export))
    assert (again.exit_code, (folder / "mine.json").read_bytes()) == (2, before)
    assert "exists already" in again.err

    assert imagen("workflow", "import", str(export), "--force").exit_code == 0
    assert b'"B"' in (folder / "mine.json").read_bytes()


def test_import_says_what_it_did_not_find(imagen: Any, configured: Any, tmp_path: Path) -> None:
    configured()
    export = tmp_path / "odd.json"
    export.write_text('{"1": {"class_type": "A", "inputs": {"x": 5}}}')

    done = imagen("workflow", "import", str(export))

    assert done.exit_code == 0
    assert "imagen: not found: prompt" in done.err
    assert "what is not found can be set with -p NODE.INPUT=VALUE" in done.err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "not JSON"),
        (b'{"nodes": [], "links": []}', "ComfyUI's format for its editor"),
        (b"\xff\xfe\x00", "neither JSON nor a picture of ComfyUI's"),
        (b"\x89PNG\r\n\x1a\nrubbish", "export.json"),
        (b"", "not JSON"),
    ],
)
def test_import_of_what_is_no_graph_is_exit_2(
    imagen: Any, configured: Any, tmp_path: Path, content: bytes, told: str
) -> None:
    folder = Path(configured())
    (tmp_path / "export.json").write_bytes(content)

    done = imagen("workflow", "import", str(tmp_path / "export.json"))

    assert (done.exit_code, done.out) == (2, "")
    assert told in done.err
    assert not folder.exists()


@pytest.mark.parametrize("name", ["../up", "a b", "", ".hidden", "a/b", "a.json"])
def test_import_takes_no_odd_name(imagen: Any, configured: Any, tmp_path: Path, name: str) -> None:
    configured()
    export = tmp_path / "a b.json"
    export.write_text('{"1": {"class_type": "A", "inputs": {}}}')

    done = imagen("workflow", "import", str(export), "--name", name)

    assert (done.exit_code, "can't be the name of a workflow" in done.err) == (2, True)


def test_import_of_a_missing_file_is_exit_2(imagen: Any) -> None:
    done = imagen("workflow", "import", "none.json")

    assert (done.exit_code, done.err) == (
        2,
        "imagen: error: cannot read none.json: No such file or directory\n",
    )


def test_import_beside_a_bundled_one_says_so(imagen: Any, configured: Any, tmp_path: Path) -> None:
    configured()
    export = tmp_path / "sd15.json"
    export.write_text('{"1": {"class_type": "A", "inputs": {}}}')

    assert "takes the place of the workflow 'sd15'" in imagen("workflow", "import", str(export)).err
    assert os.environ["HOME"]
