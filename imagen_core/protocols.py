"""The shapes that code from different rooms meets by: Backend, Store, Context, Console, App."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from imagen_core.errors import ImagenError
from imagen_core.types import About, Cost, Event, Options, Paths, Request, Run, Status, UsageRow

if TYPE_CHECKING:
    from pathlib import Path

    from imagen_core.files import Target
    from imagen_core.pipeline import Pipeline
    from imagen_core.queueing import Queue
    from imagen_core.types import InputImage
    from imagen_core.usage import Spent

T = TypeVar("T")


@runtime_checkable
class Backend(Protocol):
    """Makes pictures. Subclass it; `about` and `generate` are all that must be there.

    Instances with an equal `resource` never run at the same time. It knows nothing of the
    command line, the disk or the cloud, and neither of the other plugins.

    `lasting`: what was accepted goes on at the remote side when nobody looks, for money, and
    `Request.resume` picks it up; a worker that has to stop leaves it there for the next one.
    """

    resource: str | None = None
    lasting: bool = False

    @property
    def about(self) -> About:
        """What it is and what it honours; no network."""
        ...

    def generate(self, request: Request) -> Generator[Event, None, None]:
        """Yield what happens. Closing the generator stops the remote side, too."""
        ...

    def check(self, request: Request) -> None:
        """Raise a UsageError for a Request that can't work, before anybody is asked; no network."""
        del request

    def estimate(self, request: Request) -> Cost | None:  # noqa: ARG002
        """What the request will cost; None if nobody knows."""
        return None

    def remarks(self, request: Request) -> Iterable[str]:  # noqa: ARG002
        """What to know of the request beforehand, such as another size; no network."""
        return ()

    def status(self) -> Status:
        """Whether it is configured; no network."""
        return Status(ok=True)

    def probe(self) -> Status:
        """Whether it answers; asks the server."""
        return self.status()


class Instance(NamedTuple):
    """A configured backend, ready to run."""

    name: str
    type: str
    backend: Backend


class Store(Protocol):
    """Answers for what was made and spent."""

    def usage(self, since: str, *, everything: bool) -> Iterator[UsageRow]:
        """Rows from the UTC date `since` on (empty: all), oldest first.

        Without `everything`, those that succeeded and were, or may have been, billed.
        """
        ...

    def spent(self, since: str, *, everything: bool) -> Iterable[Spent] | None:  # noqa: ARG002
        """The same in groups, for a store that can sum up sooner than it gives its rows."""
        return None

    def queue(self) -> Queue | None:
        """The jobs that it holds, if it can hold any; whoever asks closes it."""
        return None

    def status(self) -> Status:
        """Whether it can be used; no network.

        A CredentialsError or ConfigError if it can't, although somebody has begun to configure it:
        who asks for no store by name hears of that.
        """
        ...


class Context(Protocol):
    """What steps, switches, stores, callers and backends get to see of the program."""

    environment: Mapping[str, str]

    @property
    def paths(self) -> Paths:
        """Where this user's things lie; `config` is the file that is active."""
        ...

    @property
    def owner_user_id(self) -> str:
        """The configured owner of what goes to a shared store, or an empty string."""
        ...

    def settings(self, plugin: str) -> Any:
        """The plugin's own top-level block of the configuration, typed."""
        ...

    def secret(self, variable: str) -> Any:
        """The value of an environment variable as a Secret, or None if it is not set."""
        ...

    def setting(self, key: str) -> str:
        """How the switch `output.<key>` is set without a flag: auto, on or off."""
        ...

    @property
    def ledger(self) -> Any:
        """The local record of every Run."""
        ...

    def once(self, make: Callable[[Context], AbstractContextManager[T]]) -> T:
        """What `make` opens for this program: at the first call, shared, closed at the end."""
        ...


class Bar(Protocol):
    """Shows how far several makings are."""

    def take(self, key: str, event: Event) -> None:
        """Show what the making with this id reports."""
        ...

    def say(self, text: str) -> None:
        """Show this from now on, in place of what the makings report."""
        ...

    def finish(self, key: str) -> None:
        """That making is over."""
        ...

    def hide(self) -> None:
        """Take the bar away."""
        ...


class Board(Protocol):
    """Shows several makings, each in a line of its own."""

    def take(self, key: str, event: Event) -> None:
        """Show what the making with this id reports."""
        ...

    def finish(self, key: str, run: Run) -> None:
        """That making is over."""
        ...

    def hide(self) -> None:
        """Take the lines away."""
        ...


class Console(Protocol):
    """What a command may print, and where it goes."""

    as_json: bool
    quiet: bool

    def line(self, text: str) -> None:
        """A line of the result, on stdout."""
        ...

    def json(self, value: Any) -> None:
        """A JSON object on one line of stdout."""
        ...

    def info(self, text: str) -> None:
        """A line for the reader, on stderr."""
        ...

    def warn(self, text: str) -> None:
        """A line about something that is not as it should be, on stderr."""
        ...

    def error(self, error: ImagenError, about: Mapping[str, Any] | None = None) -> None:
        """An error, on stderr; with `--json` on stdout, with what else there is to say of it."""
        ...

    def trace(self, error: BaseException) -> None:
        """The trace of an error, if somebody asked for traces."""
        ...

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns under their heads."""
        ...

    def bar(self, total: int) -> Bar:
        """A progress bar over so many makings."""
        ...

    def board(self, names: Mapping[str, str]) -> Board:
        """A live line for each of these makings, by its id."""
        ...


class App(Protocol):
    """What a plugin's command gets as `ctx.obj`."""

    console: Console
    config_file: Path | None

    @property
    def context(self) -> Context:
        """Settings, environment, paths and ledger."""
        ...

    def instances(self) -> list[str]:
        """The names of all backends, configured or built in."""
        ...

    def instance(self, name: str) -> Instance:
        """The configured backend of that name."""
        ...

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
        ...

    def target(self, output: str = "") -> Target:
        """Where pictures go: to this path, or by the naming template into a folder."""
        ...

    def pipeline(self, flags: Mapping[str, str]) -> Pipeline:
        """What makes Requests into Runs: `run` and `each`, with the steps that are on.

        `flags`: switches by key, on or off, as a command line set them.
        """
        ...

    def store(self, name: str = "") -> tuple[str, Store]:
        """The store of that name, or the one that is configured, and its name."""
        ...

    def queue(self, name: str = "") -> tuple[str, Queue]:
        """The jobs of that store, or of the one that is configured, and its name."""
        ...
