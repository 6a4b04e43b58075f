"""The Supabase plugin of imagen: what it gives, and nothing that would take time to import."""

from __future__ import annotations

from imagen_core import CommandSpec, SettingsSpec, StepSpec, StoreSpec, Switch, hookimpl

__version__ = "0.1.0"


SAMPLE = """\
# Your own cloud, and what things cost: SUPABASE_URL and SUPABASE_SERVICE_KEY are in the
# environment, and owner_user_id above says who sees the pictures.
supabase:
  timeout: 30                # seconds for each request
"""


@hookimpl
def imagen_post_generate() -> tuple[StepSpec, ...]:
    """What was spent, then the picture itself."""
    return (
        StepSpec(name="usage", phase="publish", run="imagen_supabase.usage:record"),
        StepSpec(
            name="cloud sync",
            phase="publish",
            run="imagen_supabase.cloud:sync",
            switch=Switch(
                key="cloud_sync",
                env="IMAGEN_CLOUD_SYNC",
                off_flag="--no-cloud",
                default="auto",
                auto="imagen_supabase.config:auto",
                help="a copy of each picture in your Supabase project",
            ),
            settings=SettingsSpec(
                config="imagen_supabase.config:SupabaseConfig",
                sample=SAMPLE,
                check="imagen_supabase.config:check",
            ),
        ),
    )


@hookimpl
def imagen_stores() -> tuple[StoreSpec, ...]:
    """The usage of all machines, and the jobs that they share."""
    return (StoreSpec(name="supabase", create="imagen_supabase.store:SupabaseStore"),)


@hookimpl
def imagen_commands() -> tuple[CommandSpec, ...]:
    """`imagen cloud` and `imagen supabase`."""
    return (
        CommandSpec(
            name="cloud",
            help="Push pictures to the cloud.",
            load="imagen_supabase.cloud_commands:cloud",
        ),
        CommandSpec(
            name="supabase",
            help="Set up and check the Supabase project.",
            load="imagen_supabase.commands:supabase",
        ),
    )
