"""Consistency checks of a release (.ci/release.py)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / ".ci/release.py"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="needs the whole checkout")


@pytest.fixture(scope="module")
def release() -> ModuleType:
    specification = importlib.util.spec_from_file_location("release", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose files agree on version 1.2.3."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "lumigrad"\nversion = "1.2.3"\n')
    (tmp_path / "src/lumigrad").mkdir(parents=True)
    (tmp_path / "src/lumigrad/__init__.py").write_text('__version__ = "1.2.3"\n')
    log = "# Changelog\n\n## Unreleased\n\n## 1.2.3 (2026-01-31)\n\n- A thing.\n\n## 1.2.2 (2026-01-30)\n\n- Older.\n"
    (tmp_path / "CHANGELOG.md").write_text(log)
    return tmp_path


def test_versions_of_this_checkout_agree(release: ModuleType) -> None:
    assert release.find_faults(ROOT, None) == []


def test_a_release_that_is_complete(release: ModuleType, project: Path) -> None:
    assert release.find_faults(project, "v1.2.3") == []
    assert release.notes("1.2.3", project) == "- A thing."


def test_contradictions_are_found(release: ModuleType, project: Path) -> None:
    assert release.find_faults(project, "1.2.3")[0].startswith("tag: expected v1.2.3")
    (project / "src/lumigrad/__init__.py").write_text('__version__ = "1.2.4"\n')
    assert "expected version 1.2.3, as in pyproject.toml, got 1.2.4" in release.find_faults(project, None)[0]
    for heading in ("## 1.2.3", "## 1x2x3 (2026-01-31)", "## 1.2.3 (2026-01-31)\n\n## 1.2.1 (2026-01-01)"):
        (project / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n")
        assert release.find_faults(project, "v1.2.3")[-1].startswith("CHANGELOG.md: expected a section '## 1.2.3 (")
