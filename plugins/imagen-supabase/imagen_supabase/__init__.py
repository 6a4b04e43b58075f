"""The Supabase plugin of imagen: what it gives, and nothing that would take time to import."""

from __future__ import annotations

from imagen_core import CommandSpec, hookimpl

__version__ = "0.1.0"


@hookimpl
def imagen_commands() -> tuple[CommandSpec, ...]:
    """`imagen supabase`."""
    return (
        CommandSpec(
            name="supabase",
            help="Set up and check the Supabase project.",
            load="imagen_supabase.commands:supabase",
        ),
    )
