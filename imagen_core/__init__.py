"""imagen: one prompt in, a picture on disk with all that is needed to make it again.

The names here are what a plugin may use; the modules below are private to the core, except
`imagen_core.http` and `imagen_core.testing`. Names load on first use, so that importing this
package costs nothing.
"""

from __future__ import annotations

# Importing typing for this one name would take longer than all the rest of this module.
TYPE_CHECKING = False

__version__ = "0.1.0"

_HOMES = {
    "imagen_core.errors": (
        "Cancelled",
        "ConfigError",
        "ConfigErrors",
        "CredentialsError",
        "ImagenError",
        "PartialFailure",
        "PluginError",
        "RejectedError",
        "UnavailableError",
        "UnsavedError",
        "UsageError",
        "told",
    ),
    "imagen_core.hookspecs": ("hookimpl",),
    "imagen_core.blocks": ("read_yaml", "suggestion"),
    "imagen_core.cli.shared": ("config_option", "json_option", "pass_app", "see_through"),
    "imagen_core.config": ("Secret",),
    "imagen_core.files": ("expand_home", "sidecar_path", "write_atomically"),
    "imagen_core.header": ("image_header",),
    "imagen_core.ledger": ("is_billed", "usage_row"),
    "imagen_core.png": ("png_texts",),
    "imagen_core.sidecar": ("document",),
    "imagen_core.sound": ("damage", "is_black"),
    "imagen_core.resolve": ("check_param",),
    "imagen_core.protocols": (
        "App",
        "Backend",
        "Context",
        "Instance",
        "Store",
    ),
    "imagen_core.queueing": (
        "DAY",
        "UNREADABLE",
        "Beat",
        "Completion",
        "Ending",
        "State",
        "Enqueued",
        "Job",
        "JobError",
        "Load",
        "NewJob",
        "Offer",
        "Queue",
        "legible",
        "longest_backoff",
    ),
    "imagen_core.specs": (
        "BackendSpec",
        "CallerSpec",
        "CommandSpec",
        "Sample",
        "SettingsSpec",
        "StepSpec",
        "StoreSpec",
        "Switch",
    ),
    "imagen_core.types": (
        "About",
        "Accepted",
        "Cost",
        "Done",
        "Event",
        "Failure",
        "Image",
        "InputImage",
        "Note",
        "Options",
        "Output",
        "Param",
        "Paths",
        "Preview",
        "Progress",
        "Remark",
        "Request",
        "Run",
        "Status",
        "UsageRow",
    ),
    "imagen_core.usage": ("Spent", "iso_week"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:
    from imagen_core.blocks import read_yaml as read_yaml, suggestion as suggestion
    from imagen_core.cli.shared import (
        config_option as config_option,
        json_option as json_option,
        pass_app as pass_app,
        see_through as see_through,
    )
    from imagen_core.config import Secret as Secret
    from imagen_core.errors import (
        Cancelled as Cancelled,
        ConfigError as ConfigError,
        ConfigErrors as ConfigErrors,
        CredentialsError as CredentialsError,
        ImagenError as ImagenError,
        PartialFailure as PartialFailure,
        PluginError as PluginError,
        RejectedError as RejectedError,
        UnavailableError as UnavailableError,
        UnsavedError as UnsavedError,
        UsageError as UsageError,
        told as told,
    )
    from imagen_core.files import (
        expand_home as expand_home,
        sidecar_path as sidecar_path,
        write_atomically as write_atomically,
    )
    from imagen_core.header import image_header as image_header
    from imagen_core.hookspecs import hookimpl as hookimpl
    from imagen_core.ledger import is_billed as is_billed, usage_row as usage_row
    from imagen_core.png import png_texts as png_texts
    from imagen_core.protocols import (
        App as App,
        Backend as Backend,
        Context as Context,
        Instance as Instance,
        Store as Store,
    )
    from imagen_core.queueing import (
        DAY as DAY,
        UNREADABLE as UNREADABLE,
        Beat as Beat,
        Completion as Completion,
        Ending as Ending,
        Enqueued as Enqueued,
        Job as Job,
        JobError as JobError,
        Load as Load,
        NewJob as NewJob,
        Offer as Offer,
        Queue as Queue,
        State as State,
        legible as legible,
        longest_backoff as longest_backoff,
    )
    from imagen_core.resolve import check_param as check_param
    from imagen_core.sidecar import document as document
    from imagen_core.sound import damage as damage, is_black as is_black
    from imagen_core.specs import (
        BackendSpec as BackendSpec,
        CallerSpec as CallerSpec,
        CommandSpec as CommandSpec,
        Sample as Sample,
        SettingsSpec as SettingsSpec,
        StepSpec as StepSpec,
        StoreSpec as StoreSpec,
        Switch as Switch,
    )
    from imagen_core.types import (
        About as About,
        Accepted as Accepted,
        Cost as Cost,
        Done as Done,
        Event as Event,
        Failure as Failure,
        Image as Image,
        InputImage as InputImage,
        Note as Note,
        Options as Options,
        Output as Output,
        Param as Param,
        Paths as Paths,
        Preview as Preview,
        Progress as Progress,
        Remark as Remark,
        Request as Request,
        Run as Run,
        Status as Status,
        UsageRow as UsageRow,
    )
    from imagen_core.usage import Spent as Spent, iso_week as iso_week


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value
