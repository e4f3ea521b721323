"""Every public name is in a page of the documents; those of `compat` are other libraries' names."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import lumigrad

DOCS = Path(lumigrad.__file__).resolve().parents[2]
PAGES = [DOCS / "README.md", *sorted((DOCS / "docs").glob("*.md"))]


def _public() -> dict[str, list[str]]:
    """The names in `__all__` of every module whose path has no part that begins with an underscore."""
    modules = [lumigrad] + [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(lumigrad.__path__, "lumigrad.")
        if found.ispkg and not any(part.startswith("_") for part in found.name.split("."))
    ]
    return {module.__name__: list(module.__all__) for module in modules if hasattr(module, "__all__")}


@pytest.mark.skipif(not (DOCS / "docs").is_dir(), reason="documents are not part of an installation")
@pytest.mark.parametrize("module", [name for name in _public() if name.split(".")[1:2] not in (["compat"], ["cli"])])
def test_every_public_name_is_in_a_page(module: str) -> None:
    words = set(re.findall(r"\w+", "\n".join(page.read_text(encoding="utf-8") for page in PAGES)))
    assert [name for name in _public()[module] if name not in words] == []
