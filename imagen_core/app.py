"""The composition root: settings, plugins, ledger and pipeline, each made when first needed."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagen_core import checks, known
from imagen_core.blocks import suggestion
from imagen_core.config import Decision, Origin, Settings, Value, default_paths, variable
from imagen_core.context import AppContext
from imagen_core.errors import ConfigError, ConfigErrors, CredentialsError, UsageError, told
from imagen_core.files import check_path, expand_home, is_folder
from imagen_core.instances import make_instance
from imagen_core.protocols import Instance, Store
from imagen_core.specs import BackendSpec, CallerSpec, StepSpec, StoreSpec, Switch
from imagen_core.types import Options, Paths, Request
from imagen_core.yaml_file import Document, examine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from imagen_core.files import Target
    from imagen_core.ledger import Ledger
    from imagen_core.pipeline import Pipeline, Step
    from imagen_core.plugins import Catalog
    from imagen_core.protocols import Console
    from imagen_core.queueing import Queue
    from imagen_core.types import InputImage


class App:
    """What a command has to work with. Commands get it as `ctx.obj`."""

    def __init__(
        self,
        console: Console,
        *,
        environment: Mapping[str, str] | None = None,
        paths: Paths | None = None,
        catalog: Catalog | None = None,
        completing: bool = False,
    ) -> None:
        self.console = console
        self.environment: Mapping[str, str] = os.environ if environment is None else environment
        self.paths = paths or default_paths(self.environment)
        self.config_file: Path | None = None
        self._given_catalog = catalog
        self._completing = completing
        self._instances: dict[str, Instance] = {}

    @classmethod
    def for_test(
        cls,
        console: Console,
        folder: Path,
        *,
        config: str = "",
        plugins: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> App:
        """An App that sees nothing but this folder, this YAML and these plugins."""
        from imagen_core.discovery import core, read_specs
        from imagen_core.plugins import Catalog, Plugin

        file = folder / "imagen.yaml"
        if config:
            file.write_text(config, encoding="utf-8")
        found = [core()]
        found += [
            read_specs(Plugin(name=name, distribution=f"test-{name}"), plugin)
            for name, plugin in (plugins or {}).items()
        ]
        return cls(
            console,
            environment={"IMAGEN_OUTPUT_DIR": str(folder / "pictures"), **(environment or {})},
            paths=Paths(config=file, data=folder / "data", cache=folder / "cache"),
            catalog=Catalog(tuple(found)),
        )

    @cached_property
    def catalog(self) -> Catalog:
        """What the installed plugins give."""
        return self._given_catalog or self.fresh_catalog(fresh=False)

    def fresh_catalog(self, *, fresh: bool = True) -> Catalog:
        """The catalog, read anew from the plugins themselves if `fresh`."""
        from imagen_core.index import open_catalog

        tracing = self.environment.get("IMAGEN_TRACE_PLUGINS", "") not in ("", "0")
        return open_catalog(
            self.environment,
            self.paths.cache,
            rebuild=not self._completing,
            fresh=fresh,
            trace=self.console.info if tracing else None,
        )

    @cached_property
    def document(self) -> Document:
        """The file with what is wrong with it; empty if there is none and none was asked for."""
        if not self.config_path.exists():
            if self.config_file or self.environment.get("IMAGEN_CONFIG"):
                source = "--config" if self.config_file else "$IMAGEN_CONFIG"
                raise UsageError(
                    f"the configuration {self.config_path} ({source}) does not exist",
                    hint="'imagen config init --write' makes one",
                )
            return Document()
        return examine(self.config_path)

    @property
    def config_path(self) -> Path:
        """The active configuration file, there or not."""
        return self.config_file or self.paths.config

    @cached_property
    def unchecked_settings(self) -> Settings:
        """The settings as they stand, for those who check them."""
        return Settings(self.document, self.environment)

    @cached_property
    def settings(self) -> Settings:
        """The settings, with every key known to somebody."""
        if problems := self._findings.problems:
            raise ConfigErrors.of(problems)
        return self.unchecked_settings

    @cached_property
    def _findings(self) -> checks.Findings:
        return checks.check_keys(self.unchecked_settings, self.catalog, self.switches())

    @cached_property
    def context(self) -> AppContext:
        """What plugins get to see."""
        return AppContext(self)

    @cached_property
    def ledger(self) -> Ledger:
        """The local record of every Run."""
        from imagen_core.ledger import Ledger

        return Ledger(self.paths.data)

    def switches(self) -> list[Switch]:
        """Every switch that the core and the plugins declare; the first of a key counts."""
        from imagen_core import ledger

        found = {ledger.SWITCH.key: ledger.SWITCH}
        for step in self.catalog.usable(StepSpec).values():
            if step.switch:
                found.setdefault(step.switch.key, step.switch)
        return list(found.values())

    def instances(self) -> list[str]:
        """The names of all backends, configured or built in."""
        return self.settings.instances()

    def instance(self, name: str) -> Instance:
        """The configured backend of that name; `mock` is there without configuration."""
        if name not in self._instances:
            self._instances[name] = make_instance(self.settings, self.catalog, self.context, name)
        return self._instances[name]

    def resolve(
        self,
        options: Options,
        *,
        lenient: bool = False,
        read: Callable[[str], InputImage] | None = None,
    ) -> tuple[Request, ...]:
        """The Requests that these Options come to.

        `lenient`: a size or steps that the backend does not honour are no reason to refuse.
        `read` gets an input image by what the Options call it, else that is a path.
        """
        from imagen_core.resolve import resolve

        return resolve(options, self.settings, self.instance, lenient=lenient, read=read)

    def target(self, output: str = "", flag: str = "--output") -> Target:
        """Where pictures go: to the path that `flag` gives, or by the template into a folder."""
        from imagen_core.files import Target

        naming = self.settings.knob("output.naming").text
        if output == "-":
            raise UsageError(
                "imagen writes pictures to files, not to standard output",
                hint="the path of the file is what it prints",
            )
        path = expand_home(output or self.settings.knob("output.dir").text)
        check_path(path)
        if not path.is_absolute():
            _check_working_folder(path)
        if not output or output.endswith(("/", os.sep)) or is_folder(path):
            return Target(folder=path, naming=naming, flag=flag)
        return Target(folder=path.parent, path=path, replace=True, flag=flag)

    def pipeline(self, flags: Mapping[str, str]) -> Pipeline:
        """A pipeline with the steps that are on."""
        from imagen_core import ledger
        from imagen_core.pipeline import Pipeline

        return Pipeline(
            instance=self.instance,
            ledger=self.ledger if self.decide(ledger.SWITCH, flags).on else None,
            data=self.paths.data,
            steps=list(self._steps(flags)),
            caller=self.caller(),
            on_error=self.console.trace,
        )

    def decide(self, switch: Switch, flags: Mapping[str, str]) -> Decision:
        """How a switch stands, with auto resolved and the reason for it."""
        from msgspec.structs import replace

        decision = self.settings.decide(switch, flags.get(switch.key, ""))
        if decision.setting != "auto":
            return replace(
                decision, on=decision.setting == "on", reason=f"set by {decision.origin}"
            )
        if not switch.auto:
            return replace(decision, on=True, reason="auto")
        try:
            step = next(s for s in self.catalog.usable(StepSpec).values() if s.switch == switch)
            on, reason = self.catalog.load(step, switch.auto)(self.context)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin's rule may raise anything
            self.console.warn(f"{_words(switch.key)}: {told(error)}")
            on, reason = False, f"its rule failed: {told(error)}"
        return replace(decision, on=on, reason=str(reason))

    def caller(self) -> str | None:
        """Who is asking: MAI_FROM_ID, else the first plugin that knows."""
        found = self.caller_value()
        return found.text if found else None

    def caller_value(self) -> Value | None:
        """Who is asking, and who says so."""
        if name := self.environment.get("MAI_FROM_ID"):
            text = name.encode(errors="backslashreplace").decode()
            return Value(text=text, origin=variable("MAI_FROM_ID"))
        for _, spec in sorted(self.catalog.usable(CallerSpec).items()):
            try:
                if found := self.catalog.load(spec, spec.resolve)(self.context):
                    place = f"the plugin {self.catalog.owner(spec)}"
                    return Value(text=str(found), origin=Origin(layer="default", place=place))
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything
                self.console.warn(f"{spec.name}: {told(error)}")
        return None

    def store(self, name: str = "", *, sure: bool = False) -> tuple[str, Store]:
        """The store of that name; `auto` is the first plugin's that is configured, else local.

        One that was begun to be configured, and can't be used, is warned of and left out; whoever
        wants to be `sure` gets its error.
        """
        stores = self.catalog.usable(StoreSpec)
        name = name or self.settings.knob("store").text
        if name != "auto":
            if name not in stores:
                raise UsageError(
                    f"there is no store '{name}'", hint=suggestion(name, stores, "there are")
                )
            return name, self._make_store(stores[name])
        for other in sorted(set(stores) - {"local"}):
            try:
                store = self._make_store(stores[other])
                if store.status().ok:
                    return other, store
            except (Exception, SystemExit) as error:  # a plugin may raise anything
                if sure and isinstance(error, (CredentialsError, ConfigError)):
                    error.hint = f"{error.hint}; --store local does without".removeprefix("; ")
                    raise
                self.console.warn(f"store {other}: {told(error)}")
        return "local", self._make_store(stores["local"])

    def queue(self, name: str = "") -> tuple[str, Queue]:
        """The jobs of that store; `auto` is the one that is configured, if it holds any."""
        asked = name or self.settings.knob("store").text
        found, store = self.store(asked, sure=True)
        queue = store.queue()
        if queue is None and asked == "auto":
            found, queue = "local", self.ledger.queue()
        if queue is None:
            raise UsageError(f"the store '{found}' holds no jobs", hint="--store local")
        return found, queue

    def warn_of_plugins(self, backend_type: str) -> None:
        """One line for each clash that a run on this type of backend meets."""
        clashes = self.catalog.clashes(BackendSpec)
        met = [clash for clash in clashes if clash.name == backend_type]
        for clash in [*met, *self.catalog.clashes(StepSpec, CallerSpec)]:
            self.console.warn(f"plugins: {clash}")

    def warn_of_settings(self) -> None:
        """One line for each setting that nobody who is there looks at, but for what is off."""
        for warning in self._findings.warnings:
            path = tuple(warning.key.split("."))
            if path[0] != "output" or str(self.settings.raw(path)).lower() not in ("false", "off"):
                self.console.warn(told(warning))

    def close(self) -> None:
        """Give back what is open."""
        if "context" in self.__dict__:
            self.context.close()
        if "ledger" in self.__dict__:
            self.ledger.close()

    def _make_store(self, spec: StoreSpec) -> Store:
        create = self.catalog.load(spec, spec.create)
        with self.catalog.making(spec, f"the store '{spec.name}'"):
            store: Store = create(self.context)
        return store

    def _steps(self, flags: Mapping[str, str]) -> Iterator[Step]:
        """The steps that are on: the core's first, then by plugin, each plugin's in its order."""
        from functools import partial

        from imagen_core.pipeline import Step

        usable = self.catalog.usable(StepSpec)
        found = [one for one in self.catalog.specs(StepSpec) if usable.get(one[1].name) is one[1]]
        found.sort(key=lambda one: (one[0].distribution != known.CORE, one[0].name))
        for _, spec in found:
            if spec.switch is None or self.decide(spec.switch, flags).on:
                key = spec.switch.key if spec.switch else ""
                yield Step(spec.name, spec.phase, partial(self._run_step, spec), key)

    def _run_step(self, spec: StepSpec, done: Any) -> Any:
        return self.catalog.load(spec, spec.run)(done, self.context)


def _check_working_folder(path: Path) -> None:
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(
            f"cannot write to {path}: the working folder is gone", hint="give an absolute path"
        ) from error


def _words(key: str) -> str:
    return key.replace("_", " ")
