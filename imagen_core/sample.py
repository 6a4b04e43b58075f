"""The sample configuration: put together from what the core and every plugin contribute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen_core.config import KNOBS
from imagen_core.specs import BackendSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imagen_core.plugins import Catalog
    from imagen_core.specs import Sample, Switch

_HEAD = """\
# The configuration of imagen. 'imagen config validate' checks it, 'imagen config path' says
# where imagen looks for it. Everything here can be left out; a flag beats an environment
# variable, which beats this file.
"""
_OWNER = """\
# The owner of the rows that a cloud plugin writes: your id in auth.users. To look it up, run
# in the project's SQL editor: select id from auth.users where email = 'you@example.com';
# Empty: no rows are inserted.
"""
_STYLES = """\
# A style wraps the prompt ({prompt} stands for it) and may bring a negative prompt.
styles:
  blog-header:
    prompt: "{prompt}, wide editorial illustration, muted palette"
    negative: "text, watermark"
  line-art:
    prompt: "{prompt}, clean black line art on white"
"""
_BACKENDS = """\
# One instance a line or block; `type` says which plugin makes the pictures. Tokens never go
# in here: name the environment variable that holds one.
backends:
"""


def sample_config(catalog: Catalog, switches: Iterable[Switch]) -> str:
    """A complete, commented configuration that parses and validates as it stands."""
    samples = _samples(catalog)
    default = max(samples, key=lambda sample: sample.rank)
    parts = [
        _HEAD,
        f"# {_about('default_backend')}\ndefault_backend: {default.name}\n",
        f'{_OWNER}owner_user_id: ""\n',
        f"# {_about('store')}\nstore: auto\n",
        _output(switches),
        _STYLES,
        _BACKENDS + "".join(_instance(sample) for sample in samples),
        *(
            f"{settings.sample.rstrip()}\n"
            for settings in catalog.settings().values()
            if settings.sample
        ),
    ]
    return "\n".join(parts)


def _samples(catalog: Catalog) -> list[Sample]:
    """Every plugin's instances; of two with one name, the one of the higher rank."""
    found: dict[str, Sample] = {}
    for spec in catalog.usable(BackendSpec).values():
        for sample in spec.samples:
            other = found.setdefault(sample.name, sample)
            if sample.rank > other.rank:
                found[sample.name] = sample
    return list(found.values())


def _output(switches: Iterable[Switch]) -> str:
    lines = ["output:"]
    for key in ("output.dir", "output.naming"):
        name, value = key.partition(".")[2], KNOBS[key].default
        value = f'"{value}"' if "{" in value else value
        lines.append(f"  {name}: {value}  # {_about(key)}")
    lines += [
        f"  {switch.key}: {switch.default}  # auto, on or off: {switch.help} (${switch.env})"
        for switch in switches
    ]
    return "\n".join(lines) + "\n"


def _instance(sample: Sample) -> str:
    block = sample.block.strip()
    if "\n" not in block and block.startswith("{"):
        return f"  {sample.name}: {block}\n"
    indented = "".join(f"    {line}\n" if line else "\n" for line in block.splitlines())
    return f"  {sample.name}:\n{indented}"


def _about(key: str) -> str:
    knob = KNOBS[key]
    return f"{knob.help[0].upper()}{knob.help[1:]} (${knob.env})"
