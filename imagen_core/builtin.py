"""What the core itself gives, through the same hooks as everybody."""

from __future__ import annotations

from imagen_core import known
from imagen_core.hookspecs import hookimpl
from imagen_core.specs import BackendSpec, CommandSpec, Sample, StepSpec, StoreSpec, Switch

SIDECAR = Switch(
    key="sidecar",
    env="IMAGEN_SIDECAR",
    off_flag="--no-sidecar",
    help="a JSON sidecar beside each picture",
)


@hookimpl
def imagen_backends() -> tuple[BackendSpec, ...]:
    """The mock."""
    return (
        BackendSpec(
            type="mock",
            summary="draws a landscape; no network, no cost",
            config="imagen_core.mock:MockConfig",
            create="imagen_core.mock:MockBackend",
            samples=(Sample(name="mock", block="{type: mock}", rank=-1),),
        ),
    )


@hookimpl
def imagen_post_generate() -> tuple[StepSpec, ...]:
    """The sidecar."""
    return (
        StepSpec(
            name="sidecar",
            phase="record",
            run="imagen_core.sidecar:write_sidecars",
            switch=SIDECAR,
        ),
    )


@hookimpl
def imagen_stores() -> tuple[StoreSpec, ...]:
    """The ledger of this machine."""
    return (StoreSpec(name="local", create="imagen_core.ledger:local_store"),)


@hookimpl
def imagen_commands() -> tuple[CommandSpec, ...]:
    """The core's commands, one module each."""
    return tuple(
        CommandSpec(name=name, help=what.help, load=f"imagen_core.cli.{name}:command")
        for name, what in known.COMMANDS.items()
        if what.distribution == known.CORE
    )
