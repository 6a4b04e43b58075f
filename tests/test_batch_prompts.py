"""A row of a batch has a prompt, whatever its format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.jsonl", '{"prompt":"a cat"}\n{"prompt":null}\n'),
        ("rows.jsonl", '{"prompt":"a cat"}\n{"prompt":null,"seed":3}\n'),
        ("rows.yaml", "- a cat\n- prompt:\n"),
        ("rows.csv", "prompt,seed\na cat,1\n,2\n"),
        ("rows.csv", 'prompt,seed\na cat,1\n"",2\n'),
        ("rows.csv", "prompt,seed\na cat,1\n  ,2\n"),
    ],
)
def test_row_without_a_prompt_is_told_with_its_column(
    imagen: Any, tmp_path: Path, name: str, text: str
) -> None:
    file = tmp_path / name
    file.write_text(text)

    done = imagen("batch", str(file), "--backend", "mock", "--size", "16x16")

    line = 3 if name == "rows.csv" else 2
    assert (done.exit_code, done.out) == (2, "")
    assert done.err == f"imagen: error: {file}:{line}: row 2, prompt: is missing\n"
