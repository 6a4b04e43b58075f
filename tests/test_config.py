"""Layers and their origins, switches, styles, secrets, paths."""

from __future__ import annotations

import copy
import itertools
import json
import logging
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest

from imagen_core import Switch
from imagen_core.config import Secret, Settings, Style, default_paths
from imagen_core.errors import ConfigError
from imagen_core.yaml_file import parse

TOKEN = "r8_0123456789abcdefghijABCDEFGHIJ"
SWITCH = Switch(
    key="preview",
    env="IMAGEN_PREVIEW",
    help="a window",
    default="auto",
    on_flag="--preview",
    off_flag="--no-preview",
)


def settings(text: str = "", **environment: str) -> Settings:
    return Settings(parse(text, "f.yaml"), environment)


@pytest.mark.parametrize(
    ("text", "environment", "value", "origin"),
    [
        ("", "", "~/Pictures/imagen", "default"),
        ("output:", "", "~/Pictures/imagen", "default"),
        ("output: {dir: }", "", "~/Pictures/imagen", "default"),
        ("\noutput:\n  dir: /a", "", "/a", "f.yaml:3"),
        ("output: {dir: /a}", "/b", "/b", "$IMAGEN_OUTPUT_DIR"),
        ("", "/b", "/b", "$IMAGEN_OUTPUT_DIR"),
    ],
)
def test_value_comes_from_the_first_layer_that_has_it(
    text: str, environment: str, value: str, origin: str
) -> None:
    found = settings(text, IMAGEN_OUTPUT_DIR=environment).knob("output.dir")

    assert (found.text, str(found.origin)) == (value, origin)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("default_backend: 5", "f.yaml:1: default_backend: expected text, got 5"),
        ("default_backend: on", "f.yaml:1: default_backend: expected text, got True"),
        ("\ndefault_backend: [a]", "f.yaml:2: default_backend: expected text, got ['a']"),
    ],
)
def test_knob_that_is_no_text_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(text).knob("default_backend")

    assert (str(caught.value), caught.value.hint) == (told, 'put it in quotes: "…"')


SPELLINGS = {
    "": None,
    "auto": "auto",
    "on": "on",
    "off": "off",
    '"on"': "on",
    "'off'": "off",
    "true": "on",
    "false": "off",
    '"true"': "on",
    "'false'": "off",
    "ON": "on",
    "Off": "off",
    '"AUTO"': "auto",
}
VARIABLE = {"": None, "auto": "auto", "on": "on", "off": "off", "true": "on", "FALSE": "off"}


@pytest.mark.parametrize(
    ("spelling", "variable", "flag"),
    list(itertools.product(SPELLINGS, VARIABLE, ["", "on", "off"])),
)
def test_switch_is_set_by_flag_then_environment_then_file(
    spelling: str, variable: str, flag: str
) -> None:
    layers = [
        (flag, "--preview" if flag == "on" else "--no-preview"),
        (VARIABLE[variable], "$IMAGEN_PREVIEW"),
        (SPELLINGS[spelling], "f.yaml:2"),
        ("auto", "default"),
    ]
    expected = next(layer for layer in layers if layer[0])

    decision = settings(f"output:\n  preview: {spelling}", IMAGEN_PREVIEW=variable).decide(
        SWITCH, flag
    )

    assert (decision.setting, str(decision.origin)) == expected


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("maybe", "'maybe'"),
        ('"yes"', "'yes'"),
        ("1", "1"),
        ("0", "0"),
        ("[on]", "[True]"),
        ("{on_: 1}", "{'on_': 1}"),
        ('""', "''"),
        ('" on"', "' on'"),
    ],
)
def test_switch_with_any_other_value_in_the_file_is_an_error_with_its_place(
    text: str, shown: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(f"output:\n  preview: {text}").decide(SWITCH)

    expected = f"f.yaml:2: output.preview: expected auto, on or off, got {shown}"
    assert str(caught.value) == expected


@pytest.mark.parametrize("text", ["maybe", "yes", "1", "0", " on"])
def test_switch_with_any_other_value_in_the_environment_is_an_error_with_its_name(
    text: str,
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings("output: {preview: on}", IMAGEN_PREVIEW=text).decide(SWITCH)

    assert str(caught.value) == f"$IMAGEN_PREVIEW: expected auto, on or off, got {text!r}"


def test_flag_hides_a_bad_value_further_down() -> None:
    bad = settings("output: {preview: maybe}", IMAGEN_PREVIEW="never")

    assert bad.decide(SWITCH, "on").setting == "on"


def test_block_raises_all_its_problems_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        settings("styles:\n  a: {prompt: 5, tone: x}").block(("styles", "a"), Style)

    assert str(caught.value) == (
        "f.yaml:2: styles.a.prompt: expected str, got int\nf.yaml:2: styles.a.tone: unknown key"
    )


def test_style_has_its_placeholder() -> None:
    text = 'styles:\n  good: {prompt: "{prompt}, ink"}\n  bad: {prompt: ink}'

    assert settings(text).style("good") == Style(prompt="{prompt}, ink")
    with pytest.raises(ConfigError) as caught:
        settings(text).style("bad")
    told = "f.yaml:3: styles.bad: the prompt of a style must have {prompt} in it"
    assert str(caught.value) == told


def test_secret_never_shows_itself(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(TOKEN)
    logging.getLogger("test").warning("with %s and %r", secret, [secret])
    shown = [
        repr(secret),
        str(secret),
        format(secret),
        f"{secret} {secret!s} {secret!r} {[secret]} { {'k': secret} }",
        "%s %r" % (secret, secret),  # noqa: UP031
        str(ValueError("denied", secret)),
        json.dumps({"token": secret}, default=str),
        msgspec.json.encode({"token": secret}, enc_hook=str).decode(),
        caplog.text,
    ]

    assert not any(TOKEN in text for text in shown)
    assert all("***" in text for text in shown)
    assert secret.reveal() == TOKEN


@pytest.mark.parametrize(
    "store",
    [pickle.dumps, copy.deepcopy, json.dumps, msgspec.json.encode, msgspec.to_builtins],
    ids=["pickle", "deepcopy", "json", "msgspec", "builtins"],
)
def test_secret_is_not_stored(store: Any) -> None:
    with pytest.raises(TypeError) as caught:
        store({"a": [Secret(TOKEN)]})

    assert TOKEN not in str(caught.value)


def test_paths_come_from_the_environment_and_an_empty_variable_is_none(imagen_home: Path) -> None:
    usual = default_paths({})
    moved = default_paths({"IMAGEN_CONFIG": "~/x.yaml", "IMAGEN_DATA_DIR": "/d"})

    assert default_paths({"IMAGEN_CONFIG": "", "IMAGEN_CACHE_DIR": ""}) == usual
    assert (moved.config, moved.data) == (imagen_home / "x.yaml", Path("/d"))
    assert (moved.cache, usual.config.name) == (usual.cache, "imagen.yaml")
