"""Point cloud files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lumigrad.io import load_points, save_points
from lumigrad.scene import PointCloud


def cloud(channels: int = 3) -> PointCloud:
    random = torch.Generator().manual_seed(0)
    normals = torch.nn.functional.normalize(torch.randn(9, 3, generator=random), dim=-1)
    colors = torch.randint(0, 256, (9, channels), generator=random).float() / 255
    radii, opacities = torch.rand(2, 9, generator=random)
    return PointCloud(torch.randn(9, 3, generator=random), colors, normals, radii, opacities)


@pytest.mark.parametrize("channels", [3, 4])
def test_round_trip(tmp_path: Path, channels: int) -> None:
    save_points(cloud(channels), tmp_path / "deep" / "a.ply")
    again = load_points(tmp_path / "deep" / "a.ply")
    for name in ("positions", "normals", "radii", "opacities"):
        assert torch.equal(getattr(again, name), getattr(cloud(channels), name)), name
    assert again.colors is not None
    torch.testing.assert_close(again.colors[:, :channels], cloud(channels).colors)


def test_positions_alone(tmp_path: Path) -> None:
    save_points(PointCloud(torch.randn(1, 3)), tmp_path / "a.ply")
    again = load_points(tmp_path / "a.ply")
    assert len(again) == 1
    assert (again.colors, again.normals, again.radii, again.opacities) == (None, None, None, None)


def test_text_with_float_colours(tmp_path: Path) -> None:
    header = "ply\nformat ascii 1.0\nelement vertex 2\n"
    header += "".join(f"property float {name}\n" for name in ("x", "y", "z", "nx", "ny", "nz", "red", "green", "blue"))
    (tmp_path / "a.ply").write_text(header + "end_header\n1 2 3 0 0 1 0.5 0.25 1\n4 5 6 1 0 0 0 0 0\n")
    read = load_points(tmp_path / "a.ply")
    assert read.positions.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert read.normals is not None
    assert read.normals.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert read.colors is not None
    assert read.colors.tolist() == [[0.5, 0.25, 1], [0, 0, 0]]


def test_vertices_of_a_mesh(tmp_path: Path) -> None:
    header = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    header += "property uchar red\nproperty uchar green\nproperty uchar blue\nelement face 1\n"
    header += "property list uchar int vertex_indices\nend_header\n"
    (tmp_path / "a.ply").write_text(header + "0 0 0 255 0 0\n1 0 0 0 255 0\n0 1 0 0 0 255\n3 0 1 2\n")
    read = load_points(tmp_path / "a.ply")
    assert read.colors is not None
    torch.testing.assert_close(read.colors, torch.eye(3))


def test_a_real_scene(shared: Path, tmp_path: Path) -> None:
    path = shared / "data" / "garden_points.npz"
    if not path.is_file():
        pytest.skip("needs the points of the garden")
    numbers = np.load(path)
    positions = torch.from_numpy(next(numbers[k] for k in numbers.files if numbers[k].shape == (138766, 3))).float()
    save_points(PointCloud(positions), tmp_path / "a.ply")
    assert torch.equal(load_points(tmp_path / "a.ply").positions, positions)


def test_wrong_files_and_clouds(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.ply"):
        load_points(tmp_path / "none.ply")
    (tmp_path / "a.ply").write_bytes(b"rubbish")
    with pytest.raises(ValueError, match="cannot read"):
        load_points(tmp_path / "a.ply")
    (tmp_path / "a.ply").write_text("ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nend_header\n")
    with pytest.raises(ValueError, match="cannot read"):
        load_points(tmp_path / "a.ply")
    (tmp_path / "a.xyz").write_text("0 0 0")
    with pytest.raises(ValueError, match=r"expected \.ply"):
        load_points(tmp_path / "a.xyz")
    with pytest.raises(ValueError, match=r"expected \.ply"):
        save_points(cloud(), tmp_path / "a.xyz")
    with pytest.raises(ValueError, match="colors: expected 3 or 4"):
        save_points(cloud(5), tmp_path / "a.ply")
    with pytest.raises(ValueError, match="at least one point"):
        save_points(PointCloud(torch.zeros(0, 3)), tmp_path / "a.ply")
