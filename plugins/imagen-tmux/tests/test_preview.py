"""The step `preview`: which window opens, what runs in it, and what is said when none does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import Done
from imagen_core.testing import StepConformance
from imagen_tmux.auto import wanted
from imagen_tmux.preview import show
from imagen_tmux.server import window_name
from tmux_previews import finished, opened, with_recorder

if TYPE_CHECKING:
    from collections.abc import Callable

    from tmux_world import World

HOSTILE = [
    "it's here",
    'a "quoted" name',
    "$(touch pwned)",
    "`touch pwned`",
    "#(touch pwned)",
    "#{pid}",
    "ends in ;",
    "has ; within",
    ";",
    "two\nlines",
    "100% %s %%",
    "-leading",
    "--hold",
    "x" * 200,
    "猫の絵",
    "a\ttab",
    "a\\",
    "a\\;",
    "$HOME ~ * ? [a] {b} | & > <",
    "{path}",
    "\x1b]0;title\x07",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_any_path_arrives_as_it_is_and_runs_nothing(
    name: str, world: World, recorder: Any, context: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "pictures" / name
    folder.mkdir(parents=True)
    path = str(folder / f"{name}")

    assert list(show(finished(path), context(with_recorder(world, recorder)))) == []

    assert opened(world, recorder) == [f"{recorder.folder}/tmux-img", "--hold", path]
    assert world.windows() == ["img:a-cat"]
    assert not list(tmp_path.rglob("pwned"))
    assert not Path("pwned").exists()


@pytest.mark.parametrize("slug", [*HOSTILE, ""])
def test_any_slug_makes_a_name_of_safe_characters(
    slug: str, world: World, recorder: Any, context: Callable[..., Any], tmp_path: Path
) -> None:
    show(finished("/x.png", slug=slug), context(with_recorder(world, recorder)))

    opened(world, recorder)
    [name] = world.windows()
    assert name == window_name(slug)
    assert name.startswith("img:")
    assert set(name) <= {*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:"}
    assert len("img:x") <= len(name) <= 40
    assert not list(tmp_path.rglob("pwned"))
    assert not Path("pwned").exists()


def test_focus_stays_and_other_windows_keep_their_numbers(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    world.tmux("new-window", "-d", "-t", "main:5", "sleep", "100000")
    before = world.ask("#{window_id} #{pane_id}")

    show(finished("/x.png"), context(with_recorder(world, recorder)))

    opened(world, recorder)
    assert world.ask("#{window_id} #{pane_id}") == before
    assert world.windows("#{window_index}") == ["5", "6"]


def test_the_window_is_in_the_session_of_the_pane(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    environment = with_recorder(world, recorder)
    world.tmux("new-session", "-d", "-s", "newer", "sleep", "100000")

    show(finished("/x.png"), context(environment))

    opened(world, recorder)
    assert world.windows() == ["img:a-cat"]
    assert len(world.tmux("list-windows", "-t", "newer").splitlines()) == 1


def test_the_window_is_in_the_own_session_also_without_the_pane(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    environment = {**with_recorder(world, recorder), "TMUX_PANE": ""}
    world.tmux("new-session", "-d", "-s", "newer", "sleep", "100000")

    show(finished("/x.png"), context(environment))

    opened(world, recorder)
    assert world.windows() == ["img:a-cat"]
    assert len(world.tmux("list-windows", "-t", "newer").splitlines()) == 1


def test_all_pictures_of_a_command_are_in_one_window(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    show(finished("/a.png", "/b;", "/c.png"), context(with_recorder(world, recorder)))

    assert opened(world, recorder)[1:] == ["--hold", "/a.png", "/b;", "/c.png"]
    assert world.windows() == ["img:a-cat"]


@pytest.fixture
def own(recorder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder is the viewer that imagen brings."""
    monkeypatch.setattr(sys, "executable", str(recorder.folder / "python"))


@pytest.mark.usefixtures("own")
def test_more_paths_than_tmux_takes_are_in_a_file(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    paths = [f"/pictures/{'x' * 100}/{number}\n.png" for number in range(2000)]

    show(finished(*paths), context(with_recorder(world, recorder)))

    *_, flag, file = opened(world, recorder)
    assert flag == "--list"
    assert Path(file).read_text().split("\0") == [*paths, ""]


@pytest.mark.parametrize("words", ["[tmux-img, '{path}']", "[tmux-img, --hold, --, '{path}']"])
def test_a_list_is_for_the_own_viewer_and_before_what_ends_the_options(
    words: str, world: World, recorder: Any, context: Callable[..., Any], request: Any
) -> None:
    if "--" in words.split(", "):
        request.getfixturevalue("own")
    paths = [f"/pictures/{'x' * 100}/{number}.png" for number in range(2000)]

    show(finished(*paths), context(with_recorder(world, recorder), f"tmux: {{command: {words}}}"))

    given = [word for word in opened(world, recorder)[1:] if not word.startswith("--h")]
    given = given[given.index("--") + 1 :] if "--" in given else given
    assert given == paths[: len(given)]
    assert len(given) > 50


@pytest.mark.usefixtures("own")
def test_old_lists_of_paths_are_removed(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    paths = [f"/pictures/{'x' * 100}/{number}.png" for number in range(200)]
    surroundings = context(with_recorder(world, recorder))

    for _ in range(20):
        show(finished(*paths), surroundings)

    assert len(list((surroundings.paths.cache / "previews").iterdir())) == 16


@pytest.mark.usefixtures("own")
def test_a_list_that_vanishes_meanwhile_is_no_error(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    paths = [f"/pictures/{'x' * 100}/{number}.png" for number in range(200)]
    surroundings = context(with_recorder(world, recorder))
    folder = surroundings.paths.cache / "previews"
    folder.mkdir(parents=True)
    (folder / "gone.list").symlink_to(folder / "nowhere")

    show(finished(*paths), surroundings)

    assert opened(world, recorder)[2] == "--list"


def test_nothing_opens_without_a_picture(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    assert list(show(finished(), context(with_recorder(world, recorder)))) == []

    assert world.windows() == []


def test_another_viewer_gets_its_arguments_without_a_shell(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    (recorder.folder / "tmux-img").rename(recorder.folder / "mine")
    config = 'tmux: {command: [mine, "--title={path};", "{path}", "$HOME", ";"]}'

    show(finished("/a b.png", "/c.png"), context(with_recorder(world, recorder), config))

    expected = ["--title=/a b.png;", "/a b.png", "/c.png", "$HOME", ";"]
    assert opened(world, recorder) == [f"{recorder.folder}/mine", *expected]


def test_another_viewer_gets_as_many_paths_as_fit(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    (recorder.folder / "tmux-img").rename(recorder.folder / "mine")
    paths = [f"/pictures/{'x' * 100}/{number}.png" for number in range(2000)]
    environment = with_recorder(world, recorder)

    show(finished(*paths), context(environment, 'tmux: {command: [mine, "{path}"]}'))

    given = opened(world, recorder)[1:]
    assert given == paths[: len(given)]
    assert len(given) > 50


def test_the_protocol_of_the_configuration_reaches_the_viewer(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    show(finished("/x"), context(with_recorder(world, recorder), "tmux: {protocol: sixel}"))

    opened(world, recorder)
    assert "\nTMUX_IMG_PROTOCOL=sixel\n" in f"\n{recorder.environments()[0]}"


def test_a_viewer_in_the_home_folder_is_found(
    world: World,
    recorder: Any,
    context: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(recorder.folder))

    show(finished("/x.png"), context(world.inside, 'tmux: {command: [~/tmux-img, "{path}"]}'))

    assert opened(world, recorder) == [f"{recorder.folder}/tmux-img", "/x.png"]


def test_the_own_viewer_is_found_beside_the_python_that_runs_it(
    world: World, context: Callable[..., Any], quarters: Callable[..., str], tmp_path: Path
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "tmux").symlink_to(world.tmux_program)

    show(finished(quarters()), context({**world.inside, "PATH": str(folder)}))

    [window] = world.windows("#{window_id}")
    world.painted(window, "quarters.png")


@pytest.mark.parametrize(
    ("tmux", "terminal", "expected"),
    [
        ("/socket,1,0", True, (True, "a terminal inside tmux")),
        ("/socket,1,0", False, (False, "standard output is no terminal")),
        ("", True, (False, "not inside tmux")),
        ("", False, (False, "not inside tmux")),
    ],
)
def test_auto_is_a_terminal_inside_tmux(
    tmux: str,
    terminal: bool,
    expected: tuple[bool, str],
    context: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)

    assert wanted(context({"TMUX": tmux})) == expected


class TestConformance(StepConformance):
    module = "imagen_tmux.hooks"
    name = "preview"

    @pytest.fixture
    def step(self, world: World, recorder: Any) -> Any:
        def inside(done: Done, context: Any) -> Any:
            context.environment = with_recorder(world, recorder)
            return show(done, context)

        return inside
