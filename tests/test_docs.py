"""The snippets of the documentation run, and what they assert holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
SNIPPETS = [
    pytest.param(match.group(1), id=f"{name} line {text[: match.start()].count(chr(10)) + 1}")
    for name in ("conventions.md", "rendering.md", "splats.md")
    for text in [(DOCS / name).read_text(encoding="utf-8")]
    for match in re.finditer(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippets(snippet: str) -> None:
    exec(compile(snippet, "snippet", "exec"), {})
