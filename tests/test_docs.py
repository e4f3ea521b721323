"""The snippets of the documentation run, and what they assert holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# All pages with snippets but architecture.md, whose snippet changes the memory cache of the whole process.
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.stem != "architecture"),
    *sorted((ROOT / "docs" / "tutorials").glob("*.md")),
]
SNIPPETS = [
    pytest.param(match.group(1), id=f"{page.name} line {text[: match.start()].count(chr(10)) + 1}")
    for page in PAGES
    for text in [page.read_text(encoding="utf-8")]
    for match in re.finditer(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippets(snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are written in an empty folder."""
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "snippet", "exec"), {})
