"""Gaussians in the PLY files that viewers read."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest
import torch

from lumigrad.io import load_gaussians, save_gaussians
from lumigrad.scene import GaussianCloud


def cloud(coefficients: int = 16, count: int = 7) -> GaussianCloud:
    random = torch.Generator().manual_seed(1)
    quats = torch.nn.functional.normalize(torch.randn(count, 4, generator=random), dim=-1)
    return GaussianCloud(
        torch.randn(count, 3, generator=random),
        quats,
        torch.rand(count, 3, generator=random) + 1e-3,
        0.01 + 0.98 * torch.rand(count, generator=random),
        torch.randn(count, coefficients, 3, generator=random),
    )


@pytest.mark.parametrize("coefficients", [1, 4, 9, 16, 25])
def test_round_trip(tmp_path: Path, coefficients: int) -> None:
    save_gaussians(cloud(coefficients), tmp_path / "deep" / "a.ply")
    again = load_gaussians(tmp_path / "deep" / "a.ply")
    for name, value in vars(cloud(coefficients)).items():
        torch.testing.assert_close(getattr(again, name), value, rtol=1e-5, atol=1e-6)


def test_bytes_are_those_of_the_format(tmp_path: Path) -> None:
    """Order, logit, logarithm and the channel-wise order of coefficients, read without the reader."""
    one = GaussianCloud(
        torch.tensor([[1.0, 2, 3]]),
        torch.tensor([[2.0, 0, 0, 0]]),
        torch.tensor([[1.0, math.e, math.e**2]]),
        torch.tensor([0.5]),
        torch.arange(12.0).reshape(1, 4, 3),
    )
    save_gaussians(one, tmp_path / "a.ply")
    header, data = (tmp_path / "a.ply").read_bytes().split(b"end_header\n")
    names = [line.split()[-1] for line in header.decode().splitlines() if line.startswith("property float")]
    assert names[:9] == ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    assert names[9:18] == [f"f_rest_{i}" for i in range(9)]
    assert names[18:] == ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    values = struct.unpack("<26f", data)
    expected = [1, 2, 3, 0, 0, 0, 0, 1, 2, 3, 6, 9, 4, 7, 10, 5, 8, 11, 0, 0, 1, 2, 1, 0, 0, 0]
    assert values == pytest.approx(expected, abs=1e-6)


def test_extremes_stay_finite(tmp_path: Path) -> None:
    base = cloud(1, 2)
    edge = GaussianCloud(base.means, base.quats, torch.zeros(2, 3), torch.tensor([0.0, 1.0]), base.harmonics)
    save_gaussians(edge, tmp_path / "a.ply")
    again = load_gaussians(tmp_path / "a.ply")
    torch.testing.assert_close(again.opacities, edge.opacities, rtol=0, atol=1e-5)
    assert again.scales.isfinite().all()


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.ply"):
        load_gaussians(tmp_path / "none.ply")
    with pytest.raises(ValueError, match=r"expected \.ply"):
        save_gaussians(cloud(), tmp_path / "a.txt")
    path = tmp_path / "a.ply"
    save_gaussians(cloud(), path)
    whole = path.read_bytes()
    for length in (3, 60, len(whole) - 9):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cannot read .*a\.ply"):
            load_gaussians(path)
    path.write_bytes(whole.replace(b"rot_3", b"rot_7"))
    with pytest.raises(ValueError, match="it lacks rot_3"):
        load_gaussians(path)
    path.write_bytes(whole.replace(b"f_rest_44", b"g_rest_44"))
    with pytest.raises(ValueError, match="f_rest"):
        load_gaussians(path)


def test_wrong_clouds() -> None:
    good = vars(cloud())
    for name in good:
        with pytest.raises(ValueError, match=f"{name}: expected shape"):
            GaussianCloud(**{**good, name: good[name][:, None]})
