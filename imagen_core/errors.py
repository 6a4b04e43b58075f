"""Every error that imagen shows to a user, as one tree.

ImagenError            1    the generation failed
├── UsageError         2    what was typed makes no sense
│   ├── ConfigError    2    what is configured makes no sense: file, line, key
│   └── PluginError    2    a plugin that is needed is broken, blocked or clashes
├── CredentialsError   3    missing or refused; the hint names the variable
├── RejectedError      4    the backend refused the request
├── UnavailableError   5    not now: refused connection, time-out, rate limit; retryable
├── UnsavedError       1    a picture came, and no folder takes it
├── PartialFailure     7    several were asked for, and some failed
└── Cancelled        130    interrupted

Exit code 6 is kept for a budget that was reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class ImagenError(Exception):
    """An error with a message for people: what happened to which thing, and what to type next."""

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "failed"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ImagenError):
    """What was typed, or sent, makes no sense."""

    exit_code = 2
    code = "usage"


class ConfigError(UsageError):
    """What is configured makes no sense; says in which file, line and key."""

    code = "config"

    def __init__(
        self, message: str, *, hint: str = "", key: str = "", file: str = "", line: int = 0
    ) -> None:
        super().__init__(message, hint=hint)
        self.key = key
        self.file = file
        self.line = line

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file and self.line else ""
        place = place or (f"{self.file}: " if self.file else "")
        return f"{place}{self.key}: {self.message}" if self.key else f"{place}{self.message}"


class ConfigErrors(ConfigError):
    """Several problems of one configuration, told together."""

    def __init__(self, problems: Sequence[ConfigError]) -> None:
        super().__init__(
            "\n".join(str(problem) for problem in problems),
            hint=next((problem.hint for problem in problems if problem.hint), ""),
        )
        self.problems = tuple(problems)

    @classmethod
    def of(cls, problems: Sequence[ConfigError]) -> ConfigError:
        """One error for these problems: the only one, or all of them together."""
        return problems[0] if len(problems) == 1 else cls(problems)


class PluginError(UsageError):
    """A plugin that is needed is missing, broken, blocked, or clashes with another."""

    code = "plugin"


class CredentialsError(ImagenError):
    """Credentials are missing or were refused; the hint names the variable."""

    exit_code = 3
    code = "credentials"


class RejectedError(ImagenError):
    """The backend refused the request: invalid, unknown model, unwanted content."""

    exit_code = 4
    code = "rejected"


class UnavailableError(ImagenError):
    """Out of reach, too slow, overloaded, or in use by another process; later may work."""

    exit_code = 5
    code = "unavailable"
    retryable = True


class UnsavedError(ImagenError):
    """A picture came that could be written nowhere; its server may still have it."""

    code = "unsaved"


class PartialFailure(ImagenError):
    """Several pictures were asked for, and some of them failed."""

    exit_code = 7
    code = "partial"


class Cancelled(ImagenError):
    """Somebody interrupted it."""

    exit_code = 130
    code = "cancelled"


def told(error: BaseException) -> str:
    """An error in one line: with its hint, or with its type if it is none of imagen's."""
    if isinstance(error, ImagenError):
        said = "; ".join(str(error).split("\n"))  # several problems of one configuration
        return f"{said}; {error.hint}" if error.hint else said
    return f"{type(error).__name__}: {error}"


ERRORS: dict[str, type[ImagenError]] = {
    kind.code: kind
    for kind in (
        ImagenError,
        UsageError,
        ConfigError,
        PluginError,
        CredentialsError,
        RejectedError,
        UnavailableError,
        UnsavedError,
        PartialFailure,
        Cancelled,
    )
}
"""Each error class by its code, which is what a stored Failure carries."""
