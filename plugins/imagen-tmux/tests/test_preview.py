"""The step `preview`: which window opens, what runs in it, and what is said when none does."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import Done, ImagenError, Output, Request, Run
from imagen_core.testing import StepConformance, isolated_app
from imagen_tmux import hooks
from imagen_tmux.auto import wanted
from imagen_tmux.preview import show
from imagen_tmux.server import window_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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


def finished(*paths: str, slug: str = "a-cat") -> Done:
    request = Request(
        id="1", prompt="a cat", typed_prompt="a cat", backend="mock", width=8, height=8, seed=1
    )
    about: dict[str, Any] = {"mime": "image/png", "width": 8, "height": 8, "sha256": "", "size": 1}
    outputs = tuple(
        Output(path=path, date="2026-05-08", time="143015", slug=slug, seed=1, **about)
        for path in paths
    )
    run = Run(id="1", started_at="2026-05-08T14:30:15.000Z", request=request, outputs=outputs)
    return Done(runs=(run,), paths=paths)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Makes a Context of an environment and a configuration."""
    apps: list[Any] = []

    def make(environment: Mapping[str, str], config: str = "") -> Any:
        folder = tmp_path / f"home-{len(apps)}"
        folder.mkdir()
        app = isolated_app(
            folder, config=config, environment=dict(environment), plugins={"tmux": hooks}
        )
        apps.append(app)
        return app.context

    yield make
    for app in apps:
        app.close()


def opened(world: World, recorder: Any) -> list[str]:
    """The arguments of the viewer in the one window that opened."""
    world.wait(recorder.calls)
    [call] = recorder.calls()
    return call


def with_recorder(world: World, recorder: Any) -> dict[str, str]:
    inside = world.inside
    return {**inside, "PATH": f"{recorder.folder}{os.pathsep}{inside['PATH']}"}


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


def test_without_the_session_it_says_so(world: World, context: Callable[..., Any]) -> None:
    environment = {**world.inside, "TMUX_PANE": "", "TMUX": world.socket}

    message, hint = refused(finished("/x.png"), context(environment))

    assert message == "neither $TMUX nor $TMUX_PANE says which session this is"
    assert "new shell" in hint
    assert world.windows() == []


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


def test_the_newest_eight_of_the_own_windows_stay(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    surroundings = context(with_recorder(world, recorder))
    theirs = world.open("-n", "img:theirs", "sleep", "100000")

    for number in range(11):
        show(finished("/x.png", slug=f"n{number}"), surroundings)

    assert world.windows() == ["img:theirs", *(f"img:n{number}" for number in range(3, 11))]
    assert theirs in world.windows("#{window_id}")


def test_a_window_that_somebody_looks_at_stays(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    surroundings = context(with_recorder(world, recorder))
    show(finished("/x.png", slug="looked-at"), surroundings)
    world.tmux("select-window", "-t", "main:{end}")

    for number in range(9):
        show(finished("/x.png", slug=f"n{number}"), surroundings)

    assert "img:looked-at" in world.windows()
    assert world.ask("#{window_name}") == "img:looked-at"


def test_a_window_that_somebody_has_split_stays(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    surroundings = context(with_recorder(world, recorder))
    show(finished("/x.png", slug="split"), surroundings)
    world.tmux("split-window", "-d", "-t", "main:{end}", "sleep", "100000")

    for number in range(9):
        show(finished("/x.png", slug=f"n{number}"), surroundings)

    assert "img:split" in world.windows()


def test_what_somebody_runs_in_the_window_of_a_preview_that_has_ended_stays(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    surroundings = context(with_recorder(world, recorder))
    show(finished("/x.png", slug="split"), surroundings)
    world.tmux("split-window", "-d", "-t", "main:{end}", "sleep", "100000")
    world.tmux("kill-pane", "-t", "main:{end}.0")
    [theirs] = world.windows("#{pane_pid}")

    for number in range(9):
        show(finished("/x.png", slug=f"n{number}"), surroundings)

    assert theirs in world.windows("#{pane_pid}")
    assert world.windows() == ["img:split", *(f"img:n{number}" for number in range(1, 9))]


@pytest.mark.parametrize("session", ["main", "other"])
def test_a_window_that_any_session_of_a_group_looks_at_stays(
    session: str, world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    surroundings = context(with_recorder(world, recorder))
    show(finished("/x.png", slug="looked-at"), surroundings)
    world.tmux("new-session", "-d", "-t", "main", "-s", "other")
    world.tmux("select-window", "-t", f"{session}:{{end}}")

    for number in range(9):
        show(finished("/x.png", slug=f"n{number}"), surroundings)

    assert world.windows() == ["img:looked-at", *(f"img:n{number}" for number in range(1, 9))]


def test_a_window_that_somebody_comes_to_look_at_meanwhile_stays(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    surroundings = context(with_recorder(world, recorder))
    for number in range(8):
        show(finished("/x.png", slug=f"n{number}"), surroundings)
    [oldest, *_] = world.windows("#{window_id}")
    world.tmux("set-hook", "-g", "after-list-panes", f"select-window -t {oldest}")

    show(finished("/x.png", slug="n8"), surroundings)

    assert world.windows() == [f"img:n{number}" for number in range(9)]


def test_a_tmux_that_says_nothing_is_told(
    world: World, context: Callable[..., Any], tmp_path: Path
) -> None:
    message, _ = refused(finished("/x.png"), context(fake_tmux(world, tmp_path, "exit 0")))

    assert message == "tmux says: nothing, where the id of a pane should be"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo garbage", "'garbage'"),
        ("echo; echo; echo x", "nothing"),
        ("echo %", "'%'"),
        ("printf 'a\\tb\\033[31m'", "'a b [31m'"),
        ("head -c 3000000 /dev/zero | tr '\\0' x", f"'{'x' * 198}…'"),
    ],
)
def test_an_answer_that_makes_no_sense_is_told(
    script: str, told: str, world: World, context: Callable[..., Any], tmp_path: Path
) -> None:
    message, _ = refused(finished("/x.png"), context(fake_tmux(world, tmp_path, script)))

    assert message == f"tmux says: {told}, where the id of a pane should be"


@pytest.mark.parametrize("line", ["garbage", "garbage 1 0a", "%x 1 0a", "%1", "", "a b c d"])
def test_a_list_of_panes_that_makes_no_sense_closes_nothing(
    line: str, world: World, context: Callable[..., Any], tmp_path: Path
) -> None:
    script = f"echo %7; for i in 1 2 3 4 5 6 7 8 9 10; do echo '{line}'; done"

    assert list(show(finished("/x.png"), context(fake_tmux(world, tmp_path, script)))) == []


def test_a_viewer_in_the_home_folder_is_found(
    world: World,
    recorder: Any,
    context: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(recorder.folder))

    show(finished("/x.png"), context(world.inside, 'tmux: {command: [~/tmux-img, "{path}"]}'))

    assert opened(world, recorder) == [f"{recorder.folder}/tmux-img", "/x.png"]


def test_a_window_that_a_hook_opens_is_not_taken_for_an_own_one(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    world.tmux(
        "set-hook", "-g", "after-new-window", "new-window -d -a -t ':{end}' -n hooked 'sleep 9999'"
    )

    show(finished("/x.png"), context(with_recorder(world, recorder)))

    asked = "#{window_name} #{?@imagen-preview,marked,}"
    windows = world.wait(lambda: w if len(w := world.windows(asked)) == 2 else [])
    assert sorted(windows) == ["hooked ", "img:a-cat marked"]


def refused(done: Done, surroundings: Any) -> tuple[str, str]:
    with pytest.raises(ImagenError) as caught:
        list(show(done, surroundings))
    return str(caught.value), caught.value.hint


def test_outside_tmux_it_says_so(context: Callable[..., Any]) -> None:
    message, hint = refused(finished("/x.png"), context({"PATH": os.defpath}))

    assert message == "this is not inside tmux: $TMUX is not set"
    assert "--no-preview" in hint


def test_without_tmux_it_says_so(world: World, context: Callable[..., Any], tmp_path: Path) -> None:
    message, hint = refused(finished("/x"), context({**world.inside, "PATH": str(tmp_path)}))

    assert message == "there is no tmux in the PATH"
    assert hint.startswith("install it")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('tmux: {command: [no-such, "{path}"]}', "there is no viewer 'no-such' in the PATH"),
        ('tmux: {command: [/no/such, "{path}"]}', "there is no viewer '/no/such' in the PATH"),
    ],
)
def test_without_the_viewer_it_says_so(
    config: str, said: str, world: World, context: Callable[..., Any]
) -> None:
    message, hint = refused(finished("/x.png"), context(world.inside, config))

    assert (message, hint) == (said, "correct tmux.command in the configuration")
    assert world.windows() == []


def test_without_tmux_img_it_says_so(
    world: World, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "tmux").symlink_to(world.tmux_program)

    message, hint = refused(finished("/x"), context({**world.inside, "PATH": str(folder)}))

    assert message == "there is no viewer 'tmux-img' in the PATH"
    assert "reinstall imagen-tmux" in hint


def test_the_own_viewer_is_found_beside_the_python_that_runs_it(
    world: World, context: Callable[..., Any], quarters: Callable[..., str], tmp_path: Path
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "tmux").symlink_to(world.tmux_program)

    show(finished(quarters()), context({**world.inside, "PATH": str(folder)}))

    [window] = world.windows("#{window_id}")
    world.painted(window, "quarters.png")


def test_a_server_that_is_gone_is_told(world: World, context: Callable[..., Any]) -> None:
    stale = {**world.inside, "TMUX": f"{world.socket}-old,1,0"}

    message, hint = refused(finished("/x.png"), context(stale))

    assert message.startswith(
        f"the tmux server of $TMUX is gone: error connecting to {world.socket}-old"
    )
    assert "new shell" in hint


def test_a_server_that_says_no_is_told(
    world: World, context: Callable[..., Any], tmp_path: Path
) -> None:
    message, _ = refused(
        finished("/x.png"), context(fake_tmux(world, tmp_path, "echo odd >&2; exit 3"))
    )

    assert message == "tmux says: odd"


def test_a_server_that_hangs_is_not_waited_for(
    world: World, context: Callable[..., Any], tmp_path: Path
) -> None:
    message, hint = refused(
        finished("/x.png"), context(fake_tmux(world, tmp_path, "exec sleep 600"))
    )

    assert message == "tmux did not answer within 2 s"
    assert "--no-preview" in hint


def fake_tmux(world: World, folder: Path, script: str) -> dict[str, str]:
    program = folder / "fake" / "tmux"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    inside = world.inside
    return {**inside, "PATH": f"{program.parent}{os.pathsep}{inside['PATH']}"}


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
