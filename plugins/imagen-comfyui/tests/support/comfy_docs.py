"""The pages, by their headings."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[4] / "docs"


def section(page: str, heading: str) -> str:
    """What a page has under this heading, down to the next one that is as high."""
    text = (DOCS / page).read_text(encoding="utf-8")
    start = text.index(f"\n{heading}\n") + 1
    level = heading.partition(" ")[0]
    end = re.search(rf"^#{{1,{len(level)}}} ", text[start + len(heading) :], re.MULTILINE)
    return text[start:][: len(heading) + end.start()] if end else text[start:]
