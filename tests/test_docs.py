"""The documentation is run: what it shows is what imagen does."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    pass


ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
SHOWN_HOME = "/home/ada"
SHOWN_DATE = "2026-11-21"


class Block(NamedTuple):
    """A fenced block of a page. `title` is the name of the file that it shows."""

    page: Path
    line: int
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


class Command(NamedTuple):
    """A command of a console block and what the page says that it prints."""

    text: str
    shown: list[str]


def blocks(page: Path, *languages: str) -> list[Block]:
    found = []
    fence = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    text = page.read_text(encoding="utf-8")
    for match in fence.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, line, match[1], match[2] or "", match[3]))
    return [block for block in found if not languages or block.language in languages]


def untitled(language: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page, language) if not block.title]


def pages_with(*languages: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, *languages)]


def commands(block: Block) -> list[Command]:
    found: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], []))
        elif not found[-1].shown and found[-1].text.endswith("\\"):
            found[-1] = found[-1]._replace(text=f"{found[-1].text}\n{line}")
        else:
            found[-1].shown.append(line)
    return found


def install(module: str, site: Path, *, distribution: str, version: str, name: str) -> None:
    """What `pip install -e` would leave: metadata with the entry point."""
    folder = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
    )
    (folder / "entry_points.txt").write_text(f"[imagen]\n{name} = {module}\n")


def write_files(shown: list[Block], site: Path) -> None:
    """Write the files that these blocks show; a one-file plugin among them is installed, too."""
    for block in shown:
        path = site / block.title.removeprefix("~/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
        if block.title == "pyproject.toml":
            project = tomllib.loads(block.text)["project"]
            [(name, module)] = project["entry-points"]["imagen"].items()
            install(
                module, site, distribution=project["name"], version=project["version"], name=name
            )
        elif re.fullmatch(r"imagen_\w+\.py", block.title) and block.title != "imagen_solid.py":
            module = block.title.removesuffix(".py")
            install(
                module,
                site,
                distribution=module.replace("_", "-"),
                version="0.1.0",
                name=module.removeprefix("imagen_"),
            )


def isolated(home: Path) -> dict[str, str]:
    """The environment of a user who has nothing but imagen."""
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def run_block(block: Block, home: Path) -> list[tuple[Command, str, int]]:
    """Each command of the block in one shell session, with what it printed and its exit code."""
    script = [
        f'{{ {command.text}\n}} 2>&1\ncode=$?; echo "<<$code>>"; (exit $code)'
        for command in commands(block)
    ]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=home,
        env=isolated(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == "", f"{block}: {done.stderr}"
    parts = re.split(r"<<(\d+)>>\n", done.stdout)
    return list(zip(commands(block), parts[0::2], map(int, parts[1::2]), strict=False))


def normal(text: str, home: Path) -> str:
    text = text.replace(str(home), SHOWN_HOME)
    return re.sub(r"\b20\d\d-\d\d-\d\d\b", SHOWN_DATE, text)


def matches(shown: list[str], printed: str) -> bool:
    """Whether it was printed as shown; `...` is any text, alone on a line any lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else f"{_any_text(line)}\n" for line in shown
    )
    return re.fullmatch(pattern, printed) is not None


def _any_text(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.split("..."))


@pytest.mark.parametrize("page", pages_with("console"), ids=lambda page: page.name)
def test_every_console_block_prints_what_it_shows(page: Path, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.title:
            write_files([block], tmp_path)
        if block.language != "console":
            continue
        results = run_block(block, tmp_path)
        assert len(results) == len(commands(block)), f"{block} did not run to its end"
        for index, (command, printed, code) in enumerate(results):
            printed = normal(printed, tmp_path)
            if command.shown:
                assert matches(command.shown, printed), f"{block}: {command.text}\n{printed}"
            failing = "error:" in "\n".join(command.shown)
            asked = any("$?" in later.text for later in commands(block)[index + 1 : index + 2])
            assert code == 0 or failing or asked, f"{block}: {command.text}\n{printed}"


@pytest.mark.parametrize("block", untitled("python"), ids=str)
def test_every_other_python_block_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize("block", untitled("yaml"), ids=str)
def test_every_other_yaml_block_validates(block: Block, imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "imagen.yaml"
    file.write_text(block.text, encoding="utf-8")

    result = imagen("config", "validate", "--config", str(file))

    assert (result.exit_code, result.err) == (0, f"imagen: {file} is fine\n")


def test_the_plugins_of_the_page_pass_the_tests_of_the_page(tmp_path: Path) -> None:
    shown = [block for block in blocks(DOCS / "plugins.md") if block.title]
    tests = [block.title for block in shown if block.title.startswith("test_")]
    write_files(shown, tmp_path)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *tests],
        cwd=tmp_path,
        env=isolated(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert {name for name in tests if f"{name}::" not in done.stdout} == set()


def test_the_picture_of_the_readme_is_what_its_command_makes(imagen: Any, tmp_path: Path) -> None:
    from PIL import Image as Picture

    shown = re.search(r"\*`imagen (generate [^`]+)`", (ROOT / "README.md").read_text("utf-8"))
    assert shown
    made = tmp_path / "made.png"
    result = imagen(*shlex.split(shown[1]), "--output", str(made))

    assert result.exit_code == 0
    with Picture.open(made) as new, Picture.open(DOCS / "images" / "first-light.png") as old:
        assert new.convert("RGB").tobytes() == old.convert("RGB").tobytes()


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda p: p.name
)
def test_every_relative_link_of_a_page_at_the_root_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#([^)]+))?\)", page.read_text("utf-8"))

    for path, anchor in links:
        assert (ROOT / path).exists(), path
        if anchor:
            assert anchor in anchors((ROOT / path).read_text("utf-8")), f"{path}#{anchor}"


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_every_target_that_the_docs_name_is_in_the_makefile() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    shown = "".join(block.text for page in PAGES for block in blocks(page, "sh"))

    assert set(re.findall(r"^make (?:[A-Z]\S+ )*(\w+)", shown, re.MULTILINE)) <= {*targets}
    assert {*targets} - {"help"} <= set(re.findall(r"^make (\w+)", shown, re.MULTILINE))


def test_every_page_is_in_the_navigation() -> None:
    nav = re.findall(r"^  - [^:]+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.M)

    assert sorted(nav) == sorted(page.name for page in DOCS.glob("*.md"))


@pytest.mark.system
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}

    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
