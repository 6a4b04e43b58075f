"""Plugins of every kind of badness, installed for real, and commands that must not care."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from imagen_core.cli.generate import command as generate
from imagen_core.discovery import RESERVED_FLAGS, _switch_problem, core, discover, read_specs
from imagen_core.errors import PluginError
from imagen_core.plugins import Catalog, Plugin
from imagen_core.specs import BackendSpec, SettingsSpec, StepSpec, Switch
from sites import GOOD, LAZY, SWITCHED, Site

BAD = {
    "raises": "raise RuntimeError('no GPU here')",
    "exits": "import sys\nsys.exit(3)",
    "syntax": "def broken(:\n",
    "missing": "import a_module_that_nobody_has",
    "prints": GOOD.replace("TYPE", "prints") + "\nprint('hello from import')\n",
    "misspelt": "from imagen_core import hookimpl\n@hookimpl\ndef imagen_backend(): return []\n",
    "unmarked": "def imagen_backends(): return []\n",
    "nonsense": "from imagen_core import hookimpl\n@hookimpl\ndef imagen_backends(): return [5]\n",
    "hookfails": "from imagen_core import hookimpl\n@hookimpl\ndef imagen_steps(): 1 / 0\n".replace(
        "imagen_steps", "imagen_backends"
    ),
    "nofactory": GOOD.replace("TYPE", "nofactory").replace("MODULE:Toy", "MODULE:Gone"),
    "factoryraises": GOOD.replace("TYPE", "factoryraises").replace(
        "self.config = config", "raise ValueError('bad luck')"
    ),
    "surrogate": "raise RuntimeError('bad \\udcff')",
    "untellable": "class Mute(Exception):\n    def __str__(self): 1 / 0\nraise Mute\n",
    "lazy": LAZY + GOOD.replace("TYPE", "lazy"),
    "badflag": SWITCHED.replace("FLAG", "--no-zz!"),
    "hijacks": SWITCHED.replace("FLAG", "--backend"),
}
PROBLEMS = {
    "raises": "RuntimeError: no GPU here",
    "exits": "SystemExit: 3",
    "missing": "ModuleNotFoundError: No module named 'a_module_that_nobody_has'",
    "unmarked": "the hook imagen_backends lacks its @hookimpl marker",
    "nonsense": "imagen_backends gave a int, expected BackendSpec",
    "hookfails": "ZeroDivisionError: division by zero",
    "surrogate": "RuntimeError: bad \\udcff",
    "untellable": "its import failed, and so did telling why",
    "badflag": "imagen_post_generate gave a bad Switch: the off_flag '--no-zz!' "
    "does not look like (--[a-z][a-z0-9-]+)?",
    "hijacks": "imagen_post_generate gave a bad Switch: --backend is imagen's own",
}
NO_TRACE = {"unmarked", "nonsense", "untellable", "badflag", "hijacks"}


@pytest.mark.parametrize("kind", BAD)
def test_bad_plugin_stops_no_command_that_does_not_need_it(site: Site, kind: str) -> None:
    site.install(f"imagen_{kind}", BAD[kind], name=kind)

    for args in (
        ("version",),
        ("--help",),
        ("plugins",),
        ("config", "validate"),
        ("generate", "a cat", "--backend", "mock", "--size", "32x32"),
    ):
        done = site.run(*args)
        assert done.returncode == 0, (args, done.stderr)
        assert "hello" not in done.stdout
        assert "Exception in thread" not in done.stderr


@pytest.mark.parametrize("kind", PROBLEMS)
def test_plugins_tells_what_is_wrong_with_a_broken_one(site: Site, kind: str) -> None:
    site.install(f"imagen_{kind}", BAD[kind], name=kind)

    plugin = site.plugins()[kind]

    assert (plugin["state"], plugin["problem"]) == ("broken", PROBLEMS[kind])
    assert f"imagen_{kind}.py" in plugin["trace"] or kind in NO_TRACE


def test_misspelt_hook_is_found(site: Site) -> None:
    site.install("imagen_misspelt", BAD["misspelt"])

    plugin = site.plugins()["imagen_misspelt"]

    assert plugin["state"] == "broken"
    assert "imagen_backend" in plugin["problem"]


def test_damaged_metadata_marks_that_distribution_broken(site: Site) -> None:
    site.install("imagen_good", GOOD.replace("TYPE", "good"), name="good")
    site.install("imagen_damaged", GOOD.replace("TYPE", "damaged"))
    (site.folder / "imagen_damaged-1.0.dist-info" / "METADATA").unlink()
    (site.folder / "imagen_damaged-1.0.dist-info" / "entry_points.txt").write_text("[imagen]\n=\n")

    plugins = site.plugins()

    assert plugins["good"]["state"] == "ok"
    assert [name for name, p in plugins.items() if p["state"] == "broken"] == ["imagen_damaged"]


def test_hanging_plugin_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hangs = (
        "import pathlib, threading\n"
        f"while not pathlib.Path({str(tmp_path / 'over')!r}).exists():\n"
        "    threading.Event().wait(0.01)\n"
    )
    site.install("imagen_hangs", hangs, name="hangs")
    monkeypatch.syspath_prepend(str(site.folder))

    plugins = {plugin.name: plugin for plugin in discover({}, limit=0.05)}
    (tmp_path / "over").touch()

    hanging = plugins["hangs"]
    assert (hanging.hangs, hanging.problem) == (True, "its import had not finished after 0.05 s")
    assert str(site.folder / "imagen_hangs.py") in hanging.files


def test_good_plugin_makes_pictures(site: Site, tmp_path: Path) -> None:
    site.install("imagen_good", GOOD.replace("TYPE", "good"), name="good")
    config = tmp_path / "c.yaml"
    config.write_text("default_backend: g\nbackends: {g: {type: good, color: navy}}\n")

    done = site.run("generate", "a cat", "--config", str(config))

    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()).is_file()


def test_needed_plugin_that_is_broken_is_named(site: Site, tmp_path: Path) -> None:
    site.install("imagen_raises", BAD["raises"], name="raises")
    config = tmp_path / "c.yaml"
    config.write_text("backends: {g: {type: raising}}\n")

    done = site.run("generate", "a cat", "--backend", "g", "--config", str(config))

    assert done.returncode == 2
    assert "backends.g.type: unknown type 'raising'" in done.stderr
    assert "raises (imagen-raises) is broken" in done.stderr


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nofactory", "cannot load imagen_nofactory:Gone: AttributeError"),
        ("factoryraises", "cannot make a backend of type 'factoryraises': ValueError: bad luck"),
    ],
)
def test_factory_that_fails_is_an_error_of_its_plugin(
    site: Site, tmp_path: Path, kind: str, message: str
) -> None:
    site.install(f"imagen_{kind}", BAD[kind], name=kind)
    config = tmp_path / "c.yaml"
    config.write_text(f"backends: {{g: {{type: {kind}}}}}\n")

    done = site.run("generate", "a cat", "--backend", "g", "--config", str(config))

    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_two_plugins_with_one_type_are_refused_when_it_is_used(site: Site, tmp_path: Path) -> None:
    site.install("imagen_one", GOOD.replace("TYPE", "toy"), name="one")
    site.install("imagen_two", GOOD.replace("TYPE", "toy"), name="two")
    config = tmp_path / "c.yaml"
    config.write_text("backends: {g: {type: toy}}\n")
    args = ("generate", "a cat", "--config", str(config), "--backend")

    used, other = site.run(*args, "g"), site.run(*args, "mock")

    assert used.returncode == 2
    assert "one (imagen-one) and two (imagen-two) both give the backend type 'toy'" in used.stderr
    assert "IMAGEN_DISABLE_PLUGINS=" in used.stderr
    assert other.returncode == 0
    assert site.run(*args, "g", IMAGEN_DISABLE_PLUGINS="two").returncode == 0
    assert {site.plugins()[name]["state"] for name in ("one", "two")} == {"clash"}


def test_plugin_that_claims_a_built_in_name_does_not_get_it(site: Site) -> None:
    site.install("imagen_thief", GOOD.replace("TYPE", "mock"), name="thief")

    done = site.run("generate", "a cat", "--backend", "mock", "--size", "32x32", "--json")

    assert json.loads(done.stdout)["model"] == "mock-landscape"
    assert "the built-in one is used" in done.stderr
    assert site.plugins()["thief"]["state"] == "clash"


def test_clash_that_a_run_does_not_meet_is_not_told(site: Site, tmp_path: Path) -> None:
    site.install("imagen_thief", GOOD.replace("TYPE", "mock"), name="thief")
    site.install("imagen_good", GOOD.replace("TYPE", "good"), name="good")
    config = tmp_path / "c.yaml"
    config.write_text("default_backend: g\nbackends: {g: {type: good}}\n")

    done = site.run("generate", "a cat", "--config", str(config))

    assert (done.returncode, done.stderr) == (0, "")


def test_clashing_command_is_refused_and_the_core_keeps_its_own(site: Site) -> None:
    source = """
    import click
    from imagen_core import CommandSpec, hookimpl

    @click.command()
    def hello():
        click.echo("hello from NAME")

    @hookimpl
    def imagen_commands():
        return [
            CommandSpec(name="hello", help="Say hello.", load="MODULE:hello"),
            CommandSpec(name="version", help="Not yours.", load="MODULE:hello"),
        ]
    """
    site.install("imagen_a", source.replace("NAME", "a"), name="a")
    assert site.run("hello").stdout == "hello from a\n"

    site.install("imagen_b", source.replace("NAME", "b"), name="b")

    assert site.run("hello").returncode == 2
    assert "a (imagen-a) and b (imagen-b) both give the command 'hello'" in site.run("hello").stderr
    assert site.run("version").stdout.startswith("imagen ")


def test_lazy_modules_do_no_harm(site: Site) -> None:
    site.install("imagen_lazy", BAD["lazy"], name="lazy")

    assert site.plugins()["lazy"]["state"] == "ok"


def test_steps_with_one_switch_are_dropped(site: Site) -> None:
    for name in ("one", "two"):
        source = SWITCHED.replace("FLAG", f"--no-{name}")
        site.install(f"imagen_{name}", source, name=name)

    done = site.run("generate", "a cat", "--backend", "mock", "--size", "32x32")

    clash = "one (imagen-one) and two (imagen-two) both give the switch 'zz'"
    assert (done.returncode, done.stderr) == (0, f"imagen: plugins: {clash}\n")
    assert site.plugins()["one"]["clashes"] == [clash]
    assert site.run("generate", "a cat", "--backend", "mock", "--no-one").returncode == 2


def test_core_keeps_its_switch_and_flags() -> None:
    step = core().steps[0]
    assert step.switch
    other = msgspec.structs.replace(step, name="other")
    catalog = Catalog((core(), Plugin(name="x", distribution="x", steps=(other,))))

    assert list(catalog.usable(StepSpec)) == [step.name]
    assert [clash.core for clash in catalog.clashes(StepSpec)] == [True]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"key": "Zz"}, "the key 'Zz' does not look like"),
        ({"key": "dir"}, "output.dir is imagen's own"),
        ({"env": "zz"}, "the env 'zz' does not look like"),
        ({"on_flag": "-z"}, "the on_flag '-z' does not look like"),
        ({"on_flag": "--zz", "off_flag": "--zz"}, "--zz cannot turn it both on and off"),
        ({"off_flag": "--no-ledger"}, "--no-ledger belongs to the switch 'ledger' of imagen-core"),
        ({}, ""),
    ],
)
def test_switches_are_checked(fields: dict[str, str], problem: str) -> None:
    switch = Switch(**{"key": "zz", "env": "ZZ", "help": "it", **fields})  # type: ignore[arg-type]

    assert _switch_problem(switch).startswith(problem)
    assert problem or not _switch_problem(switch)


def test_all_flags_of_generate_are_reserved() -> None:
    flags = {flag for param in generate.params for flag in (*param.opts, *param.secondary_opts)}

    assert {flag for flag in flags if flag.startswith("--")} <= RESERVED_FLAGS


def test_two_plugins_of_one_name_have_no_settings(site: Site) -> None:
    for name in ("one", "two"):
        source = SWITCHED.replace("zz", name).replace("FLAG", f"--no-{name}")
        site.install(f"imagen_{name}", source, name="same")

    listed = json.loads(site.run("plugins", "--json").stdout)

    clash = "same (imagen-one) and same (imagen-two) both give the plugin name 'same'"
    assert [p["clashes"] for p in listed if p["name"] == "same"] == [[clash], [clash]]
    assert {p["state"] for p in listed if p["name"] == "same"} == {"clash"}
    assert site.run("generate", "a cat", "--backend", "mock", "--no-one").returncode == 0


def test_block_of_a_clashing_name_is_refused() -> None:
    spec = BackendSpec(type="x", summary="", config="", create="")
    spec = msgspec.structs.replace(spec, settings=SettingsSpec(config="json:JSONDecoder"))
    one = Plugin(name="same", distribution="one", backends=(spec,))
    two = Plugin(name="same", distribution="two", backends=(spec,))

    assert Catalog((one,)).block("same") == (one, spec.settings)
    assert Catalog((one, two)).settings() == {}
    with pytest.raises(PluginError, match=r"same \(one\) and same \(two\) both give"):
        Catalog((one, two)).block("same")
    with pytest.raises(PluginError, match=r"the plugin same \(one\) cannot load json:nothing"):
        Catalog((one,)).load(one, "json:nothing")


@pytest.mark.parametrize(
    ("variable", "value", "state"),
    [
        ("IMAGEN_LOAD_PLUGINS", "", "blocked"),
        ("IMAGEN_LOAD_PLUGINS", "other", "blocked"),
        ("IMAGEN_LOAD_PLUGINS", "other, good", "ok"),
        ("IMAGEN_LOAD_PLUGINS", "imagen-good", "ok"),
        ("IMAGEN_DISABLE_PLUGINS", "good", "blocked"),
        ("IMAGEN_DISABLE_PLUGINS", "imagen-good", "blocked"),
        ("IMAGEN_DISABLE_PLUGINS", "other", "ok"),
    ],
)
def test_variables_allow_and_block(site: Site, variable: str, value: str, state: str) -> None:
    site.install("imagen_good", GOOD.replace("TYPE", "good"), name="good")

    assert site.plugins(**{variable: value})["good"]["state"] == state


@pytest.mark.parametrize("command", ["backends", "plugins", "generate cat --size 8x8"])
def test_name_of_no_plugin_is_warned_of_once(site: Site, command: str) -> None:
    site.install("imagen_good", GOOD.replace("TYPE", "good"), name="good")

    done = site.run(*command.split(), IMAGEN_LOAD_PLUGINS="god")

    told = "imagen: $IMAGEN_LOAD_PLUGINS: there is no plugin 'god'; did you mean 'good'?\n"
    assert (done.returncode, done.stderr.count(told)) == (0, 1)


def test_blocked_plugin_is_never_imported(site: Site) -> None:
    site.install("imagen_marks", "import pathlib\npathlib.Path('imported').touch()\n", name="marks")

    site.run("plugins", IMAGEN_DISABLE_PLUGINS="marks")
    assert not (site.home / "imported").exists()

    site.run("plugins")
    assert (site.home / "imported").exists()


def test_trace_prints_each_hook_call(site: Site) -> None:
    site.install("imagen_good", GOOD.replace("TYPE", "good"), name="good")

    done = site.run("plugins", IMAGEN_TRACE_PLUGINS="1")

    assert "imagen: good (imagen-good): calling imagen_backends" in done.stderr


def test_version_lists_plugins(site: Site) -> None:
    site.install("imagen_good", GOOD.replace("TYPE", "good"), name="good")

    assert "imagen-good 1.0" in site.run("version", "--plugins").stdout.splitlines()


def test_specs_are_checked_for_their_types() -> None:
    class Bad:
        @staticmethod
        def imagen_backends() -> list[BackendSpec]:
            return [BackendSpec(type=5, summary="", config="", create="")]  # type: ignore[arg-type]

    from imagen_core import hookimpl

    Bad.imagen_backends = staticmethod(hookimpl(Bad.imagen_backends))  # type: ignore[method-assign]

    with pytest.raises(
        TypeError, match=r"bad BackendSpec: Expected `str`, got `int` - at `\$.type`"
    ):
        read_specs(Plugin(name="bad", distribution="bad"), Bad)


def test_loading_a_name_that_is_not_there_is_a_plugin_error() -> None:
    spec = BackendSpec(type="x", summary="", config="no_such_module:X", create="json:nothing")
    catalog = Catalog((Plugin(name="x", distribution="imagen-x", backends=(spec,)),))

    with pytest.raises(PluginError, match=r"the plugin x \(imagen-x\) cannot load json:nothing"):
        catalog.load(spec, spec.create)
