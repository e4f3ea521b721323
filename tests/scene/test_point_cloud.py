"""Point clouds and batches of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lumigrad.scene import PointCloud, PointClouds


def cloud(count: int, seed: int = 0) -> PointCloud:
    random = torch.Generator().manual_seed(seed)
    normals = torch.nn.functional.normalize(torch.randn(count, 3, generator=random), dim=-1)
    return PointCloud(
        torch.randn(count, 3, generator=random), torch.rand(count, 5, generator=random), normals,
        torch.rand(count, generator=random),
    )  # fmt: skip


def same(a: PointCloud, b: PointCloud) -> None:
    for name in ("positions", "colors", "normals", "radii"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name))


def test_batches_index_and_pad() -> None:
    clouds = PointClouds.join([cloud(3), PointClouds.join([cloud(0), cloud(5, 1)])])
    assert len(clouds) == 3
    same(clouds[2], cloud(5, 1))  # type: ignore[arg-type]
    assert [len(c) for c in clouds[[2, 0]]] == [5, 3]  # type: ignore[union-attr]
    assert clouds.cloud_of_point.tolist() == [0, 0, 0, 2, 2, 2, 2, 2]
    padded = clouds.padded("colors", -1.0)
    assert padded.shape == (3, 5, 5)
    assert torch.equal(padded[0, :3], cloud(3).colors)  # type: ignore[arg-type]
    assert (padded[1] == -1).all()
    assert clouds.padded("radii").shape == (3, 5)
    assert clouds.to(torch.float64).packed.radii.dtype == torch.float64  # type: ignore[union-attr]


def test_parts_of_a_cloud() -> None:
    some = cloud(6)
    same(some[2:4], PointCloud(*(getattr(some, n)[2:4] for n in ("positions", "colors", "normals", "radii"))))
    assert len(some[some.positions[:, 0] > 0]) == int((some.positions[:, 0] > 0).sum())
    assert len(some[3]) == 1
    low, high = some.bounds()
    assert (some.positions >= low).all()
    assert (some.positions <= high).all()
    with pytest.raises(ValueError, match="positions: an empty cloud"):
        cloud(0).bounds()


def test_transforms() -> None:
    matrix = torch.tensor([[0.0, -2, 0, 1], [2, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])  # twice as large, turned
    moved = PointCloud(torch.tensor([[1.0, 0, 0]]), None, torch.tensor([[0.0, 1, 0]]), torch.tensor([0.5])).transformed(
        matrix
    )
    assert moved.positions.tolist() == [[1, 2, 0]]
    torch.testing.assert_close(moved.normals, torch.tensor([[-1.0, 0, 0]]))
    torch.testing.assert_close(moved.radii, torch.tensor([1.0]))
    clouds = PointClouds.join([cloud(3), cloud(4, 1)])
    matrices = torch.stack([matrix, torch.eye(4)])
    for i, one in enumerate(clouds):
        same(clouds.transformed(matrices)[i], one.transformed(matrices[i]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="matrix"):
        clouds.transformed(matrices[:1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PointCloud(torch.zeros(3, 2)), "positions: expected"),
        (lambda: PointCloud(torch.zeros(3, 3), torch.zeros(2, 3)), "colors: expected"),
        (lambda: PointCloud(torch.zeros(3, 3), None, torch.zeros(3)), "normals: expected"),
        (lambda: PointCloud(torch.zeros(3, 3), None, None, torch.zeros(3, 1)), "radii: expected"),
        (lambda: PointClouds.join([]), "parts: expected at least one"),
        (lambda: PointClouds.join([cloud(2), PointCloud(torch.zeros(1, 3))]), "colors: expected all clouds"),
        (lambda: PointClouds.join([cloud(2), cloud(2).to(torch.float64)]), "positions: expected the same kind"),
        (lambda: PointClouds.join([cloud(2)]).padded("masses"), "name: expected a field"),
    ],
)
def test_wrong_clouds_name_the_culprit(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", ["positions", "normals", "radii", "opacities"])
def test_whole_numbers_are_refused_by_name(name: str) -> None:
    points = replace(cloud(3), opacities=torch.ones(3))
    with pytest.raises(TypeError, match=rf"{name}: expected a floating type, got int64"):
        replace(points, **{name: getattr(points, name).long()})
