"""What a release needs to agree upon: `check` the version, print the `notes` of the changelog.

    python3 .ci/release.py check               # pyproject.toml and the package name the same version
    python3 .ci/release.py check --tag v0.1.0  # and so does the tag, and CHANGELOG.md has a section of it with a date
    python3 .ci/release.py notes               # that section, for the page of the release

Nothing but the standard library, and nothing that has to be built. Used by .github/workflows/wheels.yml.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["check", "notes"])
    parser.add_argument("--tag", help="the tag that is to be released, such as v0.1.0")
    arguments = parser.parse_args(argv)
    if arguments.command == "notes":
        if arguments.tag:
            parser.error("--tag: only with check")
        print(notes(version(ROOT), ROOT))
        return 0
    faults = find_faults(ROOT, arguments.tag)
    print("\n".join(faults) or f"version {version(ROOT)}")
    return 1 if faults else 0


def version(root: Path) -> str:
    """That of pyproject.toml."""
    return _search(r'^version = "(.+)"$', root / "pyproject.toml")


def find_faults(root: Path, tag: str | None) -> list[str]:
    """What contradicts the version of pyproject.toml, in words."""
    expected = version(root)
    faults = []
    package = _search(r'^__version__ = "(.+)"$', root / "src/lumigrad/__init__.py")
    if package != expected:
        faults.append(f"src/lumigrad/__init__.py: expected version {expected}, as in pyproject.toml, got {package}")
    if tag is not None:
        if tag != f"v{expected}":
            faults.append(f"tag: expected v{expected}, for the version of pyproject.toml, got {tag}")
        if not notes(expected, root):
            faults.append(f"CHANGELOG.md: expected a section '## {expected} (year-month-day)' that says something")
    return faults


def notes(released: str, root: Path) -> str:
    """The changelog's section of a version; empty where there is none."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    section = re.search(
        rf"^## {re.escape(released)} \(\d{{4}}-\d\d-\d\d\)$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE
    )
    return section.group(1).strip() if section else ""


def _search(pattern: str, path: Path) -> str:
    found = re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        sys.exit(f"{path}: nothing in it matches {pattern}")
    return found.group(1)


if __name__ == "__main__":
    sys.exit(main())
