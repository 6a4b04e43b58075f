"""What the plugin gives: the step `preview`, and who is asking by the name of the pane."""

from __future__ import annotations

from imagen_core import CallerSpec, SettingsSpec, StepSpec, Switch, hookimpl

SAMPLE = """\
# tmux:                          # the preview window
#   command: [tmux-img, --hold, "{path}"]  # a program and its arguments, no shell
#   protocol: auto               # auto, kitty, sixel, blocks or blocks-256"""

SETTINGS = SettingsSpec(
    config="imagen_tmux.settings:TmuxSettings",
    sample=SAMPLE,
    check="imagen_tmux.settings:check",
)
SWITCH = Switch(
    key="preview",
    env="IMAGEN_PREVIEW",
    help="the preview in a tmux window",
    default="auto",
    on_flag="--preview",
    off_flag="--no-preview",
    auto="imagen_tmux.auto:wanted",
)


@hookimpl
def imagen_post_generate() -> tuple[StepSpec, ...]:
    """The preview window."""
    spec = StepSpec(
        name="preview",
        phase="show",
        run="imagen_tmux.preview:show",
        switch=SWITCH,
        settings=SETTINGS,
    )
    return (spec,)


@hookimpl
def imagen_callers() -> tuple[CallerSpec, ...]:
    """The name that somebody gave to this pane."""
    return (CallerSpec(name="tmux", resolve="imagen_tmux.caller:pane_name"),)
