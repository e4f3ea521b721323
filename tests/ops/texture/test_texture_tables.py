"""Texture lookups of another renderer: bilinear and nearest; repeated, clamped and mirrored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import lumigrad as lg

TABLES = Path(__file__).resolve().parents[4] / "shared" / "oracles" / "mi_emitter_tables.npz"


@pytest.mark.skipif(not TABLES.exists(), reason="the tables are not here")
@pytest.mark.parametrize(
    ("name", "filtering", "wrap"),
    [
        ("bilinear_repeat", "linear", "repeat"), ("bilinear_clamp", "linear", "clamp"),
        ("nearest_mirror", "nearest", "mirror"),
    ],
)  # fmt: skip
def test_lookups(name: str, filtering: str, wrap: str) -> None:
    tables = np.load(TABLES)
    texels, uv, value = (torch.from_numpy(tables[f"tex.{name}.{k}"]).double() for k in ("texels", "uv", "value"))
    found = lg.texture(texels[None], uv[None, None], filter=filtering, wrap=wrap)[0, 0]
    assert (found - value).abs().max() < 1e-6
