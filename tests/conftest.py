"""Fixtures for all tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))  # helper modules beside this file: `from meshes import ...`


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared meshes and reference numbers beside the checkout; skips where there is none."""
    folder = TESTS.parent.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder ../shared beside the checkout")
    return folder
